"""Models in files that run no code when they are read (skops), with all that is needed to use them elsewhere."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import platform
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.classify.matrix import Key
from s4c_hpc.classify.selection import Declared
from s4c_hpc.classify.sound import require_sound
from s4c_hpc.core.errors import InputError, MissingDataError, listing

FORMAT: Final = "s4c-model-2"
"""Changes when the structure of the file changes."""

TRUSTED: Final = frozenset(
    {
        "numpy.dtype",
        "s4c_hpc.classify.ensemble.CropEnsemble",
        "sklearn.tree._tree.Tree",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    }
)
"""Types beyond those that skops takes anyway: what our models and their trees are made of. No other is read. None runs
code of the file; a forged tree would crash the process, so trees are looked through before (``sound``)."""

_DAMAGES: Final = (
    zipfile.BadZipFile,
    zlib.error,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
    ImportError,
    EOFError,
    RecursionError,
)
"""What reading a file of another shape may end in."""

_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time that every part of the file bears: the same model is the same file."""


@dataclass(frozen=True, eq=False)
class SavedModel:
    """The models of a site, one a stratum."""

    models: Mapping[str, Any]
    """By stratum; the empty text is parcels without one."""
    classes: Mapping[str, tuple[str, ...]]
    """Classes that each tells apart."""
    names: Mapping[str, str]
    """Class -> its name."""
    features: tuple[Key, ...]
    """In the order of the columns that the models take."""
    season_start: dt.date
    site: str
    config: Mapping[str, Any]
    """Settings that they were taught with."""
    software: Mapping[str, str]
    taught: tuple[str, ...]
    """``digests`` of the fields that taught, ascending: whoever passes a model on does not pass on their names."""

    def has_seen(self, declared: Declared, site: str, season_start: dt.date) -> NDArray[np.bool_]:
        """(n,) whether a parcel, or another row of its field, taught in this season."""
        return np.isin(digests(declared, site, season_start), self.taught)

    def of(self, stratum: str) -> str | None:
        """Whose model judges a stratum: its own, or that of parcels without one; ``None`` if there is neither."""
        return next((name for name in (stratum, "") if name in self.models), None)

    def about(self) -> dict[str, Any]:
        """All but the models."""
        return {
            "format": FORMAT,
            "site": self.site,
            "season_start": self.season_start.isoformat(),
            "strata": {name: list(classes) for name, classes in self.classes.items()},
            "names": dict(self.names),
            "features": [dataclasses.asdict(key) for key in self.features],
            "config": dict(self.config),
            "software": dict(self.software),
            "taught": list(self.taught),
        }


def software() -> dict[str, str]:
    """Versions of what decides predictions."""
    packages = ("s4c-hpc", "numpy", "scikit-learn", "imbalanced-learn", "skops")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def digests(declared: Declared, site: str, season_start: dt.date) -> NDArray[np.str_]:
    """(n,) 16 hex digits for each field and season; a row without an id of its own counts by its NewID."""
    names = (own or f"NewID {number}" for own, number in zip(declared.ori_id, declared.new_id, strict=True))
    keys = (f"{site}\x1f{season_start.year}\x1f{name}" for name in names)
    return np.array([hashlib.sha256(key.encode()).hexdigest()[:16] for key in keys], "U16")


def write_model(path: Path, saved: SavedModel) -> None:
    """Write models into one file; the same models give the same bytes."""
    import skops.io  # noqa: PLC0415 - heavy, and not needed to plan

    about = json.dumps(saved.about(), sort_keys=True, ensure_ascii=False)
    raw = path.with_name(f"{path.name}.raw")
    try:
        skops.io.dump({"about": about, "models": dict(saved.models)}, raw)
        _without_chance(raw, path)
    finally:
        raw.unlink(missing_ok=True)


def read_model(path: Path) -> SavedModel:
    """Models out of a file.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InputError
        If it is not one of ours, damaged, forged, or holds types that are none of a model's.
    """
    import skops.io  # noqa: PLC0415 - heavy, and not needed to plan
    from skops.io.exceptions import UntrustedTypesFoundException  # noqa: PLC0415 - as above

    try:
        foreign = sorted(set(skops.io.get_untrusted_types(file=path)) - TRUSTED)
        if foreign:
            raise InputError(
                f"holds what no model of ours is made of, and is not read: {listing(foreign)}",
                where=str(path),
                hint="use a model that 's4c run' has written, from somebody whom you trust",
            )
        found = skops.io.load(path, trusted=sorted(TRUSTED))
        about = json.loads(found["about"])
        if about["format"] != FORMAT:
            raise InputError(f"is of format {about['format']}, not {FORMAT}", where=str(path))
        return _whole(
            SavedModel(
                models=found["models"],
                classes={name: tuple(classes) for name, classes in about["strata"].items()},
                names=about["names"],
                features=tuple(Key(**key) for key in about["features"]),
                season_start=dt.date.fromisoformat(about["season_start"]),
                site=about["site"],
                config=about["config"],
                software=about["software"],
                taught=tuple(about["taught"]),
            )
        )
    except FileNotFoundError as error:
        if isinstance(error, MissingDataError):
            raise
        raise MissingDataError("no such model", where=str(path), hint="check classify.model_file") from error
    except (*_DAMAGES, UntrustedTypesFoundException) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"is no model of ours ({error})", where=str(path), hint="use a .skops file that 's4c run' has written"
        ) from error


def _whole(saved: SavedModel) -> SavedModel:
    """The same, if what it says of itself holds; else ``ValueError`` or what comes of a value of another kind."""
    mappings = (saved.models, saved.names, saved.config, saved.software)
    if not all(isinstance(one, dict) for one in mappings) or not isinstance(saved.site, str):
        raise ValueError("what is said of the model is of another shape")
    texts = (*saved.taught, *saved.names.values(), *(name for classes in saved.classes.values() for name in classes))
    numbers = (number for key in saved.features for number in (key.day or 0, key.days, key.number))
    if not all(isinstance(one, str) for one in texts) or not all(isinstance(one, int) for one in numbers):
        raise ValueError("what is said of the model is of another kind")
    if not saved.models or set(saved.models) != set(saved.classes):
        raise ValueError(f"models are of strata {sorted(saved.models)}, classes of {sorted(saved.classes)}")
    for name, model in saved.models.items():
        require_sound(model, saved.classes[name], len(saved.features))
    return saved


def _without_chance(raw: Path, path: Path) -> None:
    """Copy a file of skops: numbers in the order of their appearance instead of addresses in memory, and no times."""
    with zipfile.ZipFile(raw) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        schema = json.loads(source.read("schema.json"))
        numbers: dict[int, int] = {}
        files: dict[str, str] = {}
        _renumber(schema, numbers, files)
        for old, new in files.items():
            target.writestr(zipfile.ZipInfo(new, _EARLIEST), source.read(old), zipfile.ZIP_DEFLATED)
        text = json.dumps(schema, separators=(",", ":"))
        target.writestr(zipfile.ZipInfo("schema.json", _EARLIEST), text, zipfile.ZIP_DEFLATED)


def _renumber(node: Any, numbers: dict[int, int], files: dict[str, str]) -> None:
    """Change addresses in a node and those below it, which stay equal where they were."""
    if isinstance(node, list):
        for one in node:
            _renumber(one, numbers, files)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "__id__":
                node[key] = numbers.setdefault(value, len(numbers))
            elif key == "file" and isinstance(value, str):
                node[key] = files.setdefault(value, f"{len(files)}{Path(value).suffix}")
            else:
                _renumber(value, numbers, files)
