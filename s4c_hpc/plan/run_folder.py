"""The folder of one run: names of its parts, and the order of runs."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from s4c_hpc.config import Config
from s4c_hpc.core.workspace import Workspace


@dataclass(frozen=True, slots=True)
class RunFolder:
    """``run/<uuid>`` of a workspace. What the plan wrote in it never changes; journals only grow."""

    root: Path

    @property
    def id(self) -> str:
        """UUID (version 7) of the run: the order of these texts is the order of the runs."""
        return self.root.name

    @property
    def workspace(self) -> Workspace:
        """The workspace that this run belongs to."""
        return Workspace(self.root.parent.parent)

    @property
    def plan(self) -> Path:
        """Rows in ``core.plan_schema.PLAN_SCHEMA``."""
        return self.root / "plan.parquet"

    @property
    def status(self) -> Path:
        """What was done and what was to do when the plan was made, ``STATUS_SCHEMA``."""
        return self.root / "status.parquet"

    @property
    def estimates(self) -> Path:
        """Predicted seconds of each row, ``ESTIMATE_SCHEMA``."""
        return self.root / "estimates.parquet"

    @property
    def products(self) -> Path:
        """The product index as it was."""
        return self.root / "products.parquet"

    @property
    def config(self) -> Path:
        """The configuration as it was, JSON."""
        return self.root / "config.json"

    def frozen_config(self) -> Config:
        """The configuration that the run was begun with."""
        return Config.model_validate_json(self.config.read_bytes())

    @property
    def journals(self) -> Path:
        """Folder of append-only journals, one file a writer."""
        return self.root / "journal"

    @property
    def manifests(self) -> Path:
        """Folder of submitted waves, written before they are submitted."""
        return self.root / "manifest"

    @property
    def scratch(self) -> Path:
        """Private folders of this run's attempts."""
        return self.workspace.temporary / self.id

    def log(self, stage: str, attempt: str) -> Path:
        """Log of one attempt at a chunk of a stage."""
        return self.root / "logs" / stage / f"{attempt}.log"


def run_folders(workspace: Workspace) -> list[RunFolder]:
    """All runs of a workspace, oldest first."""
    try:
        names = sorted(path.name for path in workspace.runs.iterdir() if is_run_id(path.name))
    except FileNotFoundError:
        return []
    return [RunFolder(workspace.runs / name) for name in names]


def latest_run(workspace: Workspace) -> RunFolder | None:
    """The newest run, or ``None`` if there was none yet."""
    runs = run_folders(workspace)
    return runs[-1] if runs else None


def new_run_id(after: str | None = None) -> str:
    """A UUID of version 7 (RFC 9562) that sorts after ``after``, even if the clock went back."""
    milliseconds = time.time_ns() // 1_000_000
    if after is not None:
        milliseconds = max(milliseconds, (uuid.UUID(after).int >> 80) + 1)
    random = int.from_bytes(os.urandom(10))
    value = (
        (milliseconds << 80) | (0x7 << 76) | ((random >> 62 & 0xFFF) << 64) | (0b10 << 62) | (random & (1 << 62) - 1)
    )
    return str(uuid.UUID(int=value))


def is_run_id(name: str) -> bool:
    """Whether ``name`` is that of a run."""
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False
