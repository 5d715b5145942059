"""Statistics of parcels on any raster, decoded and reduced in one go: no workspace, no stack.

Numbers are those of ``extract.statistics``, for both weightings. With coverage weighting they equal exactextract's
(0.3) but for three things: it truncates quantiles of integer rasters to whole numbers, takes invalid polygons as they
are, and leaves out a raster's own mask for some polygons. Here that mask, scale and offset of a raster always apply.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import resource
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import rasterio
from numpy.typing import NDArray

from s4c_hpc.core.atomic import replacing
from s4c_hpc.core.errors import InputError, NoInputsError
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.extract.zonal_arrow import column
from s4c_hpc.extract.zonal_index import SCHEMA, VERSION, IndexFile, batch_of, digest_of
from s4c_hpc.extract.zonal_outlines import ParcelFile, read_ids, read_outlines
from s4c_hpc.extract.zonal_output import check_index
from s4c_hpc.extract.zonal_raster import Source, ZonalRequest, described, open_any
from s4c_hpc.extract.zonal_tally import Pieces, Tally
from s4c_hpc.extract.zonal_windows import Cut, Pixels, Placed, cut

CACHE_BYTES: Final = 32 << 20
"""GDAL's block cache: no block is asked for twice."""

MOST_OPEN: Final = 128
"""Rasters that are open at a time, once a thread; for more, parcels are placed anew."""

SPARE_FILES: Final = 64
"""File descriptors that are left for everything but rasters and masks."""


@dataclass(frozen=True, eq=False)
class ZonalResult:
    """What came out."""

    table: pa.Table
    """A row a parcel, in the order of its file: ids, then ``<raster>_<statistic>`` in float64."""
    notes: tuple[str, ...]
    """What the reader should know: reprojection, repairs, parcels off the raster, what became of the index."""


def zonal(request: ZonalRequest) -> ZonalResult:
    """Statistics of every parcel on every raster.

    Raises
    ------
    ConfigError, MissingDataError, InputError
        The request does not make sense; a file is not there, damaged, or does not fit the others; see the message.
    NoInputsError
        No parcel, or none that reaches any raster.

    Notes
    -----
    Memory: the parcels' coordinates and the result, and for each thread a window of every band of one raster
    (``zonal_windows.WINDOW_BYTES``) with the pixels of its parcels. Quantiles also keep the values of parcels that lie
    in several windows until the last of these is done: of a whole-number raster at most one of each value.
    """
    check_index(request)
    sources = described(request)
    groups = _groups(sources)
    if request.index is not None and len(groups) > 1:
        other = groups[1][1][0]
        raise InputError(
            "lies on another grid than the first raster",
            where=other.path,
            hint="an index holds the pixels of one grid: leave --index out, or make a call for each grid",
        )
    work = _Work(request)
    tallies: dict[str, Tally] = {}
    for wanted, members in groups:
        place, plan = work.placed(wanted)
        at_once = _at_once(request.threads, members)
        for first in range(0, len(members), at_once):
            tallies.update(_statistics(request, plan, place, work.n_parcels, members[first : first + at_once]))
    if not work.touched:
        raise NoInputsError(
            "none of the parcels reaches the raster", where=str(request.parcels), hint="check the CRS of both files"
        )
    columns = {name: values for source in sources for name, values in _columns(request, source, tallies)}
    table = work.ids
    for name, values in columns.items():
        if name in table.column_names:
            raise InputError(f"the id column {name!r} is called like a result", hint="rename it")
        table = table.append_column(name, column(values))
    return ZonalResult(table, tuple(dict.fromkeys(work.notes)))


def _at_once(threads: int, sources: Sequence[Source]) -> int:
    """Rasters that may be open together: every thread opens each of them, and its masks."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return MOST_OPEN
    return max(1, min(MOST_OPEN, (most - SPARE_FILES) // (threads * max(source.n_files for source in sources))))


def _columns(
    request: ZonalRequest, source: Source, tallies: dict[str, Tally]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    for name, (scale, offset) in zip(source.names, source.scaling, strict=True):
        tally = tallies[name]
        found = tally.columns(scale, offset)
        found |= dict(zip(request.shares, tally.quantiles * scale + offset, strict=True))
        for statistic in request.statistics:
            yield f"{name}_{statistic}", found[statistic]


def _groups(sources: Sequence[Source]) -> list[tuple[Cut, list[Source]]]:
    """Rasters of one grid, and how they are cut: by the tallest blocks, so that few of the others are decoded twice."""
    groups: list[list[Source]] = []
    for source in sources:
        found = next((group for group in groups if group[0].lattice.same_pixels(source.lattice)), None)
        if found is None:
            groups.append([source])
        else:
            found.append(source)
    return [
        (
            cut(
                max(group, key=lambda source: source.lattice.block).lattice, max(source.pixel_bytes for source in group)
            ),
            group,
        )
        for group in groups
    ]


Place = Callable[[int], Pixels]
"""The pixels of the i-th window."""


class _Work:
    """The parcels, read when they are needed and for as many CRS as there are."""

    def __init__(self, request: ZonalRequest) -> None:
        self._request, self._file, self._crs = request, None, None
        self.notes: list[str] = []
        self.touched = False
        self._ids: pa.Table | None = None

    _file: ParcelFile | None
    _crs: Any

    @property
    def ids(self) -> pa.Table:
        """The id columns."""
        assert self._ids is not None  # noqa: S101 - every group of rasters places the parcels first
        return self._ids

    @property
    def n_parcels(self) -> int:
        """Number of parcels."""
        return int(self.ids.num_rows)

    def placed(self, plan: Cut) -> tuple[Place, Cut]:
        """The pixels of the parcels by window: from the index if one is given and fits, else reckoned.

        An index says how the raster is cut, too: other blocks do not make it useless.
        """
        request, key = self._request, {}
        if request.index is not None:
            key = {
                "s4c": VERSION,
                "parcels": digest_of(request.parcels) if request.parcels.exists() else "",
                "layer": request.layer or "",
                "weighting": request.weighting,
                "buffer": repr(request.buffer),
                "grid": plan.lattice.key(),
            }
            known = self._from_index(request.index, key, plan)
            if known is not None:
                return known
        if self._file is None or self._crs != plan.lattice.crs:
            crs = plan.lattice.crs
            self._file = read_outlines(request.parcels, request.layer, request.ids, crs, request.buffer)
            self._crs, self._ids = crs, self._file.ids
            self.notes.extend(self._file.notes)
        placed = Placed.on(self._file.outlines, plan)
        self._reached(placed.n_touching)
        is_centre = request.is_centre
        if request.index is None or not self.touched:
            return (lambda i: placed.pixels(i, is_centre)), plan
        with replacing(request.index) as path:
            more = {"cut": f"{plan.rows} {plan.columns} {plan.lattice.block[1]}", "n_touching": str(placed.n_touching)}
            schema = SCHEMA.with_metadata(key | more)
            with ThreadPoolExecutor(request.threads) as pool:
                batches = (
                    batch_of(pixels) for pixels in _ahead(pool, placed.pixels, plan.n, request.threads, is_centre)
                )
                write_ipc(path, schema, batches)
        self.notes.append(f"the index was written to {request.index}")
        return IndexFile(request.index).pixels, plan

    def _reached(self, n_touching: int) -> None:
        """Take note of how many parcels may have pixels."""
        self.touched |= n_touching > 0
        off = self.n_parcels - n_touching
        if off:
            self.notes.append(f"{off} of {self.n_parcels} parcels have no pixel of the raster: their count is 0")

    def _from_index(self, path: Path, key: dict[str, str], plan: Cut) -> tuple[Place, Cut] | None:
        if not path.exists():
            return None
        index = IndexFile(path)
        if {name: index.metadata.get(name) for name in key} != key:
            self.notes.append(f"{path} is of another grid, other parcels or an older version: it is written anew")
            return None
        request = self._request
        self._ids = read_ids(request.parcels, request.layer, request.ids, plan.lattice.crs)
        if self._ids is None:
            self._file = read_outlines(request.parcels, request.layer, request.ids, plan.lattice.crs, request.buffer)
            self._crs, self._ids = plan.lattice.crs, self._file.ids
        self._reached(int(index.metadata["n_touching"]))
        rows, columns, block = map(int, index.metadata["cut"].split())
        return index.pixels, Cut(replace(plan.lattice, block=(rows, block)), rows, columns)


def _ahead(pool: ThreadPoolExecutor, task: Callable[..., Any], n: int, lookahead: int, *more: Any) -> Iterator[Any]:
    """Results of ``task(i, *more)`` for i below n, in order, a few of them begun before they are asked for."""
    waiting: deque[Future[Any]] = deque()
    for i in itertools.chain(range(n), itertools.repeat(None)):
        if i is not None:
            waiting.append(pool.submit(task, i, *more))
        if not waiting:
            return
        if i is None or len(waiting) > lookahead:
            yield waiting.popleft().result()


def _statistics(
    request: ZonalRequest, plan: Cut, place: Place, n_parcels: int, sources: Sequence[Source]
) -> dict[str, Tally]:
    """Statistics of rasters of one grid, by column name."""
    shares = np.array(list(request.shares.values()))
    tallies = {
        name: Tally(n_parcels, source.stored_shares(shares, scale), source.is_whole, request.is_centre, source.keeps)
        for source in sources
        for name, (scale, _) in zip(source.names, source.scaling, strict=True)
    }
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), contextlib.ExitStack() as opened:
        idle: queue.SimpleQueue[list[tuple[Any, Any]]] = queue.SimpleQueue()
        for _ in range(request.threads):  # a dataset is not for two threads at once
            idle.put([source.opened(lambda path: opened.enter_context(open_any(path))) for source in sources])

        def window(i: int) -> tuple[Pixels, list[Pieces]]:
            pixels = place(i)
            if not pixels.parcel.size:
                return pixels, []
            readers = idle.get()
            try:
                read = (
                    source.pieces(reader, plan, i, pixels, shares, request)
                    for source, reader in zip(sources, readers, strict=True)
                )
                return pixels, list(itertools.chain.from_iterable(read))
            finally:
                idle.put(readers)

        # The pool is left before the rasters are closed: after an error its threads still read for a moment.
        with ThreadPoolExecutor(request.threads) as pool:
            for i, (pixels, found) in enumerate(_ahead(pool, window, plan.n, request.threads)):
                for tally, pieces in zip(tallies.values(), found, strict=bool(found)):
                    tally.add(i, pixels, pieces)
    for tally in tallies.values():
        tally.finish()
    return tallies
