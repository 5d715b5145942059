"""The one place that opens rasters, so that every opening is counted and every failure is told the same way."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from s4c_hpc.core.errors import InputError, MissingDataError
from s4c_hpc.core.grid import Grid

_GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no listing of the folder on a slow file system
    "GDAL_PAM_ENABLED": "NO",  # neither read nor leave .aux.xml files: an archive may be read-only
}


class _Counter:
    """Number of openings in this process."""

    def __init__(self) -> None:
        self.n = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        with self._lock:
            self.n += 1


_pixels = _Counter()
_headers = _Counter()


def opened() -> int:
    """Number of rasters that this process has opened for their pixels so far."""
    return _pixels.n


def headers_read() -> int:
    """Number of rasters of which this process has read the header only."""
    return _headers.n


@contextlib.contextmanager
def open_raster(path: str | Path) -> Iterator[Any]:
    """Open a raster for its pixels; yields a ``rasterio.DatasetReader``.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InputError
        If it cannot be opened, or a read inside the ``with`` block fails.
    """
    _pixels.add()
    with _open(path) as raster:
        yield raster


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the header of a raster says."""

    grid: Grid
    n_bands: int
    dtypes: tuple[str, ...]
    """NumPy names, one a band."""


def read_header(path: str | Path) -> Header:
    """Read the header of a raster; no pixel is decoded.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InputError
        If it is not a raster, or its pixels are not squares of a projected CRS with an authority code, north up.
    """
    _headers.add()
    with _open(path) as raster:
        return Header(
            grid=_grid(raster, str(path)), n_bands=raster.count, dtypes=tuple(str(name) for name in raster.dtypes)
        )


@contextlib.contextmanager
def _open(path: str | Path) -> Iterator[Any]:
    if not Path(path).is_file():
        raise MissingDataError("no such file", where=str(path), hint="put it back, or scan the catalog again")
    try:
        with rasterio.Env(**_GDAL_OPTIONS):
            with warnings.catch_warnings():
                # A band without georeference is judged by whoever compares it with the grid that is expected.
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                raster = rasterio.open(path)
            with raster:
                yield raster
    except RasterioError as error:
        raise InputError(
            f"cannot be decoded ({_told_by_gdal(error)})", where=str(path), hint="fetch the file again"
        ) from error


def _told_by_gdal(error: BaseException) -> str:
    """The message of GDAL itself: rasterio wraps it in 'see previous exception for details'."""
    return str(error.__cause__ or error).strip()


def _grid(raster: Any, where: str) -> Grid:
    if raster.crs is None:
        raise InputError("has no CRS", where=where, hint="assign one, e.g. with 'gdal_edit.py -a_srs'")
    if not raster.crs.is_projected or abs(raster.crs.linear_units_factor[1] - 1.0) > 1e-9:
        raise InputError("its CRS is not a projected one in metres", where=where, hint="warp it to UTM first")
    authority = raster.crs.to_authority()
    if authority is None:
        raise InputError("its CRS has no authority code", where=where, hint="assign one such as EPSG:32632")
    a, b, c, d, e, f = tuple(raster.transform)[:6]
    if b or d or a <= 0 or e >= 0 or abs(a + e) > 1e-9 * a:
        raise InputError(
            f"its pixels are not north-up squares (transform {(a, b, c, d, e, f)})", where=where, hint="warp it first"
        )
    return Grid(crs=":".join(authority), ulx=c, uly=f, res_m=a, width=raster.width, height=raster.height)
