"""Files that travel with the package: templates and the demo's data."""

from __future__ import annotations

from pathlib import Path

from s4c_hpc.core.errors import MissingDataError

_PACKAGE = Path(__file__).resolve().parents[1]


def bundled(relative: str) -> Path:
    """Path of a bundled file or folder, in an installed package or in a clone.

    Parameters
    ----------
    relative : path as in the repository, e.g. ``configs/demo.toml``
    """
    for base in (_PACKAGE / "_bundled", _PACKAGE.parent):
        if (base / relative).exists():
            return base / relative
    raise MissingDataError(
        "a file that belongs to the package is missing", where=relative, hint="install s4c-hpc again"
    )
