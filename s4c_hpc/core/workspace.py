"""The folder that holds everything: names of its parts, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from s4c_hpc.core.errors import MissingDataError

CONFIG_NAME = "s4c.toml"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace on a (shared) file system; all paths below it are relative in plans and journals."""

    root: Path

    @property
    def config(self) -> Path:
        """The site's configuration file."""
        return self.root / CONFIG_NAME

    @property
    def catalog(self) -> Path:
        """Product index, stac-geoparquet columns and ours."""
        return self.root / "catalog" / "products.parquet"

    @property
    def parcels(self) -> Path:
        """Folder of immutable parcel versions ``v0001`` ..."""
        return self.root / "parcels"

    @property
    def state(self) -> Path:
        """Folder of the folded journals."""
        return self.root / "state"

    @property
    def runs(self) -> Path:
        """Folder of runs: ``run/<uuid>`` holds a plan, its journals and logs."""
        return self.root / "run"

    @property
    def markers(self) -> Path:
        """The deliverable: ``markers/<set>/<period>/<site>_<tile>.arrow``."""
        return self.root / "markers"

    @property
    def imported(self) -> Path:
        """Values from elsewhere: ``imported/<name>``, a folder an import."""
        return self.root / "imported"

    @property
    def temporary(self) -> Path:
        """Private folders of running attempts; anything in here is garbage once its owner is dead."""
        return self.root / "tmp"

    def relative(self, path: Path) -> str:
        """``path`` relative to the workspace, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    def require(self) -> Workspace:
        """This workspace, or a clear error if it has no configuration file."""
        if not self.config.is_file():
            raise MissingDataError(
                f"no {CONFIG_NAME} here",
                where=str(self.root),
                hint=f"make a workspace with 's4c init {self.root}' or name one with --workspace",
            )
        return self


def tile_dir(tile: str) -> str:
    """Workspace-relative folder of one tile."""
    return f"tiles/{tile}"
