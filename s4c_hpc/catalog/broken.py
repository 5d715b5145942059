"""Why a product cannot be used, told by what its reader raised."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from s4c_hpc.core.errors import S4cError, TemporaryError

DAMAGE: Final = (S4cError, ValueError, LookupError, OverflowError)
"""What a reader raises for a product that is damaged, incomplete or of another kind."""


def why_broken(error: Exception, folder: Path) -> str:
    """What is wrong with a product, its files named relative to ``folder``.

    Parameters
    ----------
    error : one of ``DAMAGE``

    Raises
    ------
    TemporaryError, OSError
        Again, if it is one: that a file is not there, or cannot be read just now, says nothing of the product.
    """
    if isinstance(error, TemporaryError | OSError):  # a MissingDataError is both an S4cError and an OSError
        raise error
    if isinstance(error, S4cError):
        where = str(error.where or "").replace(f"{folder}/", "")
        return ": ".join(part for part in (where, error.what) if part)
    return f"metadata with an impossible value ({error})"
