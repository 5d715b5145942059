"""The one place that opens rasters, so that every opening is counted and every failure is told the same way."""

from __future__ import annotations

import contextlib
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from s4c_hpc.catalog.archive import check_bytes, patiently, status
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
def open_raster(path: str | Path) -> Iterator[Raster]:
    """Open a raster for its pixels; yields a ``Raster``, which has what a ``rasterio.DatasetReader`` has.

    Raises
    ------
    MissingDataError
        If there is no such file, or it must not be read.
    InputError
        If it is damaged: it cannot be opened, or a read inside the ``with`` block fails.
    TemporaryError
        If it cannot be read just now, after as many tries as ``archive.patience`` says.
    """
    with _open(path, _pixels) as raster:
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
        If there is no such file, or it must not be read.
    InputError
        If it is not a raster, or its pixels are not squares of a projected CRS with an authority code, north up.
    TemporaryError
        If it cannot be read just now.
    """
    with _open(path, _headers) as raster:
        return Header(
            grid=_grid(raster, str(path)), n_bands=raster.count, dtypes=tuple(str(name) for name in raster.dtypes)
        )


class Raster:
    """An open raster: a ``rasterio.DatasetReader`` with a patient ``read``.

    After an error of the way to the file it is opened anew, since a stale handle stays stale, and that opening is
    counted as well. Not for several threads at once, as little as what it stands for.
    """

    def __init__(self, path: str | Path, counter: _Counter) -> None:
        """Open it; errors as of ``open_raster``."""
        self._path, self._counter = str(path), counter
        self._dataset: Any = None
        self._with_dataset(lambda dataset: dataset)

    def __getattr__(self, name: str) -> Any:
        """What a ``rasterio.DatasetReader`` has beside ``read``, e.g. ``width``; not tried again."""
        return getattr(self._dataset, name)

    def read(self, *arguments: Any, **options: Any) -> Any:
        """Pixels, as ``rasterio.DatasetReader.read`` gives them.

        Raises
        ------
        InputError
            If they cannot be decoded although every byte of the file can be read: it is damaged.
        TemporaryError
            If the file cannot be read just now.
        """
        return self._with_dataset(lambda dataset: dataset.read(*arguments, **options))

    def close(self) -> None:
        """Close the file; the next ``read`` would open it again."""
        if self._dataset is not None:
            self._dataset.close()
            self._dataset = None

    def _with_dataset(self, use: Callable[[Any], Any]) -> Any:
        """What ``use`` makes of the open file.

        GDAL does not say whether the data are damaged or the reading has failed: its errors carry no number. So the
        bytes are read plainly. If that fails, it was the way to the file, which ``patiently`` tries again; if every
        byte comes, a second try tells damage, which fails again, from a fault that has gone by.
        """

        def attempt() -> Any:
            try:
                return use(self._opened())
            except RasterioError:
                self.close()
                check_bytes(self._path)
            return use(self._opened())

        try:
            return patiently(attempt, self._path)
        except RasterioError as error:
            self.close()
            what = f"cannot be decoded ({_told_by_gdal(error)})"
            raise InputError(what, where=self._path, hint="fetch the file again") from error
        except OSError as error:
            raise _unreadable(error, self._path) from error

    def _opened(self) -> Any:
        if self._dataset is None:
            self._counter.add()
            with warnings.catch_warnings():
                # A band without georeference is judged by whoever compares it with the grid that is expected.
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                self._dataset = rasterio.open(self._path)
        return self._dataset


@contextlib.contextmanager
def _open(path: str | Path, counter: _Counter) -> Iterator[Raster]:
    try:
        is_file = stat.S_ISREG(status(Path(path)).st_mode)
    except FileNotFoundError:
        is_file = False
    except OSError as error:
        raise _unreadable(error, str(path)) from error
    if not is_file:
        raise MissingDataError("no such file", where=str(path), hint="put it back, or scan the catalog again")
    with rasterio.Env(**_GDAL_OPTIONS), contextlib.closing(Raster(path, counter)) as raster:
        try:
            yield raster
        except RasterioError as error:  # of something else than ``read``
            what = f"cannot be decoded ({_told_by_gdal(error)})"
            raise InputError(what, where=str(path), hint="fetch the file again") from error


def _unreadable(error: OSError, where: str) -> MissingDataError:
    return MissingDataError(
        f"cannot be read ({error.strerror})", where=where, hint="the user who runs this needs permission to read it"
    )


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
