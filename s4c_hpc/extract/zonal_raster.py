"""What is asked of ``zonal``, and the rasters that it reads."""

from __future__ import annotations

import contextlib
import errno
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError, NoInputsError
from s4c_hpc.extract.zonal_kernels import pieces
from s4c_hpc.extract.zonal_tally import Pieces
from s4c_hpc.extract.zonal_windows import Box, Cut, Lattice, Pixels

MOMENTS: Final = ("count", "mean", "stdev", "min", "max")

COMPILED: Final = ("uint8", "uint16", "int16", "float32", "float64")
"""Types that kernels are compiled for; others are read as float64."""


_OPTIONS: Final = {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
"""No listing of the folder; masks (.msk) and metadata (.aux.xml) beside the raster are looked for by their names."""

_EXACT: Final = 1 << 53
"""Whole numbers up to here are float64, which everything is reckoned in."""


@contextlib.contextmanager
def open_any(path: str) -> Iterator[Any]:
    """Open a raster that belongs to no archive; yields a ``rasterio.DatasetReader``.

    Not by the door of ``catalog.rasters``, whose retries need the configuration: loading that takes longer than
    the statistics of a small raster, and there is none here.

    Raises
    ------
    MissingDataError, InputError
        If there is no such file, or it is not a raster.
    """
    if not Path(path).exists():
        raise MissingDataError("no such raster", where=path, hint="check the name")
    with rasterio.Env(**_OPTIONS), _told(path), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a raster without CRS is refused later
        raster = rasterio.open(path)
    with raster:
        yield raster


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """Errors of GDAL as ours."""
    try:
        yield
    except RasterioError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if _no_more_files():
            raise ConfigError(
                "this process may open no more files",
                where=path,
                hint="raise the limit ('ulimit -n'), or use fewer --threads",
            ) from error
        raise InputError(
            f"cannot be decoded ({cause})", where=path, hint="the file is damaged or no raster: fetch it again"
        ) from error


def _no_more_files() -> bool:
    """Whether the limit of open files is reached: GDAL's messages do not always say so."""
    try:
        with Path(os.devnull).open("rb"):
            return False
    except OSError as error:
        return error.errno in {errno.EMFILE, errno.ENFILE}


@dataclass(frozen=True, kw_only=True)
class ZonalRequest:
    """What to reckon."""

    rasters: Sequence[Path]
    parcels: Path
    statistics: Sequence[str] = ("count", "mean", "stdev", "min", "max", "median")
    """``count mean stdev min max median`` and ``p<percent>``, e.g. ``p5`` or ``p97.5``."""
    weighting: str = "coverage"
    """``coverage`` (exact share of each pixel) or ``centre`` (pixels whose centre is inside)."""
    bands: Sequence[int] = ()
    """Numbers from 1; all bands if empty."""
    masks: Sequence[Path] = ()
    """None, one for all rasters, or one for each; on the same pixels."""
    mask_valid: Sequence[int] = ()
    """Values of the mask that count. If empty, all do but ``mask_invalid``, the mask's own no-data value and NaN."""
    mask_invalid: Sequence[int] = (0,)
    nodata: float | None = None
    """Instead of what the file says; as stored, before scale and offset."""
    buffer: float = 0.0
    """Inward buffer, in units of the raster's CRS."""
    threads: int = 2
    ids: Sequence[str] = ()
    """Columns of the parcels that go into the result; the row number if empty."""
    layer: str | None = None
    index: Path | None = None
    """File that keeps the pixels of the parcels; written if it is not there or does not fit."""

    @property
    def is_centre(self) -> bool:
        """Whether pixels count whole or not at all."""
        return self.weighting == "centre"

    @property
    def shares(self) -> dict[str, float]:
        """Share in [0, 1] of each statistic that is a quantile."""
        return {name: share_of(name) for name in self.statistics if name not in MOMENTS}


def share_of(statistic: str) -> float:
    """The quantile that a name asks for: ``median``, ``p0`` to ``p100``, also with decimals.

    Raises
    ------
    ConfigError
        If it is no name of a statistic.
    """
    try:
        share = 0.5 if statistic == "median" else float(statistic.removeprefix("p")) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1 or not (statistic == "median" or statistic.startswith("p")):
        raise ConfigError(
            f"{statistic!r} is not a statistic", hint=f"known are {', '.join(MOMENTS)}, median and p0 to p100"
        )
    return share


@dataclass(frozen=True, kw_only=True)
class Source:
    """A raster, and which of its bands are wanted."""

    path: str
    mask: str | None
    lattice: Lattice
    bands: tuple[int, ...]
    names: tuple[str, ...]
    """Of each band, in columns of the result."""
    dtype: str
    """As the kernels take it."""
    is_whole: bool
    """Whether its values are whole numbers."""
    nodata: tuple[float, ...]
    """Of each band; NaN if there is none."""
    scaling: tuple[tuple[float, float], ...]
    """Scale and offset of each band: a physical value is stored value * scale + offset."""
    is_masked: tuple[bool, ...]
    """Whether each band has a mask in the raster itself (internal, .msk, alpha)."""
    mask_nodata: float
    """Of the mask file; NaN if there is none."""
    wide: str | None
    """The type as stored, where it holds whole numbers that ``dtype`` does not."""
    keeps: str
    """The smallest type that holds every value, for those that have to wait."""

    @property
    def pixel_bytes(self) -> int:
        """Of all its bands."""
        return len(self.bands) * np.dtype(self.dtype).itemsize

    @property
    def n_files(self) -> int:
        """Files that are open while it is read, at most."""
        return 1 + (self.mask is not None) + any(self.is_masked)

    @staticmethod
    def stored_shares(shares: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
        """Which quantiles of the stored values those of the physical ones are: a negative scale turns their order."""
        return 1.0 - shares if scale < 0 else shares

    def opened(self, opener: Callable[[str], Any]) -> tuple[Any, Any]:
        """The raster and its mask."""
        return opener(self.path), None if self.mask is None else opener(self.mask)

    def pieces(
        self,
        readers: tuple[Any, Any],
        plan: Cut,
        i: int,
        pixels: Pixels,
        shares: NDArray[np.float64],
        request: ZonalRequest,
    ) -> Iterator[Pieces]:
        """What the pieces of parcels in the ``i``-th window come to, band by band."""
        box, block = plan.box(i), plan.lattice.block[1]
        raster, mask = readers
        image = np.zeros((len(self.bands), box.bottom - box.top, box.right - box.left), self.wide or self.dtype)
        with _told(self.path):
            _read(raster.read, list(self.bands), box, pixels, block, image)
        if self.wide is not None:
            image = self._narrowed(image)
        usable = np.empty(0, np.bool_)
        if mask is not None:
            classes = np.zeros((1, *image.shape[1:]), mask.dtypes[0])
            with _told(str(self.mask)):
                _read(mask.read, [1], box, pixels, block, classes)
            usable = _usable(classes.ravel(), self.mask_nodata, request)
        own = usable
        if any(self.is_masked):  # one mask for all bands that have any
            shown = np.zeros((1, *image.shape[1:]), np.uint8)
            with _told(self.path):
                _read(raster.read_masks, [self.bands[self.is_masked.index(True)]], box, pixels, block, shown)
            own = (shown.ravel() != 0) & (usable if usable.size else True)
        n_pixels = pixels.n_pixels
        index = (
            pixels.run_offsets, pixels.run_place, pixels.run_length,
            pixels.edge_offsets, pixels.edge_place, pixels.edge_fraction,
        )  # fmt: skip
        room, kept = int(n_pixels.max()), int(n_pixels[pixels.is_cut].sum()) if shares.size else 0
        bands = zip(image, self.nodata, self.is_masked, self.scaling, strict=True)
        for band, nodata, is_masked, (scale, _) in bands:
            yield pieces(
                index, band.ravel(), own if is_masked else usable, nodata, self.is_whole, request.is_centre,
                self.stored_shares(shares, scale), pixels.is_cut, room, kept,
            )  # fmt: skip

    def _narrowed(self, image: NDArray[Any]) -> NDArray[Any]:
        """64-bit whole numbers as float64; refused if that would make different ones equal."""
        found = image.astype(self.dtype)
        nodata = np.array(self.nodata)[:, None, None]
        if ((np.abs(found) >= _EXACT) & (found != nodata)).any():
            raise InputError(
                f"holds {self.wide} values beyond 2^53, which statistics cannot tell apart",
                where=self.path,
                hint="name the no-data value if that is what they are, or store the raster as float64",
            )
        return found


def _read(read: Callable[..., Any], bands: list[int], box: Box, pixels: Pixels, block: int, out: NDArray[Any]) -> None:
    """Decode the blocks of a window that may hold parcels; the others stay 0."""
    for left, right in pixels.column_ranges(block, out.shape[2]):
        window = Window(box.left + left, box.top, right - left, out.shape[1])
        read(bands, window=window, out=out[:, :, left:right])


def _usable(classes: NDArray[Any], nodata: float, request: ZonalRequest) -> NDArray[np.bool_]:
    """Whether each pixel of a mask counts."""
    is_valid = bool(request.mask_valid)
    values = request.mask_valid if is_valid else (*request.mask_invalid, nodata)
    if classes.dtype == np.uint8:  # a look-up is much faster than a comparison for each value
        table = np.full(256, not is_valid)
        table[[int(value) for value in values if 0 <= value < 256]] = is_valid
        found: NDArray[np.bool_] = table[classes]
        return found
    counts: NDArray[np.bool_] = np.isin(classes, values, invert=not is_valid) & ~np.isnan(classes)
    return counts


def described(request: ZonalRequest) -> list[Source]:
    """Open every raster once and see what it is.

    Raises
    ------
    ConfigError, InputError, MissingDataError, NoInputsError
        If the request does not make sense, or a file is not there, damaged, or does not fit.
    """
    if not request.rasters:
        raise NoInputsError("no raster is named", hint="give at least one, before the parcels")
    if not request.statistics:
        raise ConfigError("no statistic is named", hint=f"known are {', '.join(MOMENTS)}, median and p0 to p100")
    if request.weighting not in {"coverage", "centre"}:
        raise ConfigError(f"{request.weighting!r} is not a weighting", hint="known are coverage and centre")
    if request.threads < 1:
        raise ConfigError(f"{request.threads} threads do nothing", hint="use 1 or more")
    if len(request.masks) not in {0, 1, len(request.rasters)}:
        raise ConfigError(
            f"there are {len(request.masks)} masks for {len(request.rasters)} rasters",
            hint="name none, one for all, or one for each in the order of the rasters",
        )
    for name in request.shares:
        share_of(name)
    n = len(request.rasters)
    masks: Sequence[Path | None] = [*request.masks] * (n if len(request.masks) == 1 else 1) or [None] * n
    pairs = zip(request.rasters, masks, _names(request.rasters), strict=True)
    return [_source(str(raster), None if mask is None else str(mask), name, request) for raster, mask, name in pairs]


def _names(rasters: Sequence[Path]) -> list[str]:
    """The stem of each file, with as many of its folders before it as make it unique."""
    full = [path.resolve() for path in rasters]
    for depth in range(1, max(len(path.parts) for path in full) + 1):
        names = ["_".join([*path.parts[:-1], path.stem][-depth:]) for path in full]
        if len(set(names)) == len(names):
            return names
    twice = next(path for path, n in Counter(full).items() if n > 1)
    raise InputError("is named twice", where=str(twice), hint="name every raster once")


def _source(path: str, mask: str | None, name: str, request: ZonalRequest) -> Source:
    with open_any(path) as raster:
        lattice = Lattice.of(raster, path)
        bands = tuple(request.bands) or tuple(range(1, raster.count + 1))
        beyond = [band for band in bands if not 1 <= band <= raster.count]
        if beyond:
            raise InputError(f"has no band {beyond[0]}", where=path, hint=f"it has {raster.count}, counted from 1")
        stored = np.result_type(*(raster.dtypes[band - 1] for band in bands))
        if stored.kind not in "iuf":
            raise InputError(f"holds {stored} values", where=path, hint="statistics are of real numbers only")
        dtype = stored.name if stored.name in COMPILED else "float64"
        nodata = tuple(
            _nodata(raster.nodatavals[band - 1] if request.nodata is None else request.nodata, stored) for band in bands
        )
        scaling = tuple((float(raster.scales[band - 1]), float(raster.offsets[band - 1])) for band in bands)
        is_masked = tuple(MaskFlags.per_dataset in raster.mask_flag_enums[band - 1] for band in bands)
        names = tuple(f"{name}_b{band}" for band in bands) if raster.count > 1 else (name,)
    mask_nodata = np.nan
    if mask is not None:
        with open_any(mask) as raster:
            mask_nodata = _nodata(raster.nodatavals[0], np.dtype(raster.dtypes[0]))
            if not Lattice.of(raster, mask).same_pixels(lattice):
                raise InputError(
                    f"is not on the pixels of {path}", where=mask, hint="warp the mask to the raster first"
                )
    return Source(
        path=path, mask=mask, lattice=lattice, bands=bands, names=names, dtype=dtype,
        is_whole=stored.kind in "iu", nodata=nodata, scaling=scaling, is_masked=is_masked, mask_nodata=mask_nodata,
        wide=stored.name if stored.name in {"int64", "uint64"} else None,
        keeps=stored.name if stored.itemsize <= 4 else "float64",
    )  # fmt: skip


def _nodata(value: float | None, stored: np.dtype[Any]) -> float:
    """The value as pixels hold it: of a float32 raster, rounded as its pixels are."""
    if value is None:
        return np.nan
    return float(np.float32(value)) if stored == np.float32 else float(value)
