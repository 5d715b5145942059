"""Which reader knows the angles of a product; asked once, when its imagery is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from s4c_hpc.catalog import maja, safe_s2
from s4c_hpc.catalog.angles import Angles
from s4c_hpc.catalog.maja_angles import read_maja_angles
from s4c_hpc.catalog.model import Product
from s4c_hpc.catalog.safe_angles import read_safe_angles
from s4c_hpc.core.errors import InputError, S4cError

_READERS: Final[Mapping[str, Callable[[Path], Angles | None]]] = {
    safe_s2.SOURCE: read_safe_angles,
    maja.SOURCE: read_maja_angles,
}
"""By kind of source."""


def read_angles(product: Product) -> Angles | None:
    """Grids of angles of a product, from its metadata file; ``None`` where it has none there.

    Raises
    ------
    MissingDataError
        If the file is not there or must not be read.
    InputError
        If it is damaged, or what it says are no angles.
    TemporaryError
        If it cannot be read just now.
    """
    if not product.angles_file:
        return None
    try:
        return _READERS[product.source](Path(product.angles_file))
    except S4cError:
        raise
    except ValueError as error:  # a text that is no number, rows or grids of different lengths
        hint = "fetch the product again"
        raise InputError(f"has angles that cannot be used ({error})", where=product.angles_file, hint=hint) from error
