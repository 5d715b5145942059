"""Which parcels belong to the site, and in which stratum each lies.

A parcel belongs to an area if their interiors meet (``ST_Relate(area, parcel, '2********')``): neighbours that touch
its border do not. Parcels are moved to the reference system of the areas, whose borders stay as they were delivered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from s4c_hpc.config.model import Parcels
from s4c_hpc.core.errors import InputError, NoInputsError, listing
from s4c_hpc.parcels.checks import Flags, Texts, repair
from s4c_hpc.parcels.columns import as_text
from s4c_hpc.parcels.outlines import Outlines
from s4c_hpc.parcels.projection import Geometries, reproject

OFF_SITE: Final = "outside of the site"
"""The reason of a parcel whose interior does not meet ``parcels.within``."""
NOT_CHOSEN: Final = "not chosen by parcels.where"
"""The reason of a parcel for which the expression is not true."""
_SHARE_DIGITS = 9
"""Shares that differ by less are the same: intersections round in the sixteenth digit."""


@dataclass(frozen=True, eq=False)
class Areas:
    """Named areas of a file."""

    file: str
    """Name of the file, without its folder."""
    crs: CRS
    names: tuple[str, ...]
    """(k,) distinct, ascending."""
    shapes: Geometries
    """(k,) valid polygons and multipolygons, prepared."""


@dataclass(frozen=True, eq=False)
class Site:
    """What the configuration says of the place of parcels."""

    within: Areas | None
    strata: Areas | None
    column: str | None
    """Column of the file of strata that names them."""
    where: str | None
    notes: tuple[str, ...]

    @property
    def filters(self) -> bool:
        """Whether there may be parcels that do not belong to the site."""
        return self.within is not None or self.where is not None


@dataclass(frozen=True, eq=False)
class Places:
    """Where parcels (n,) lie."""

    off_site: Flags
    """(n,) whether there is an outline whose interior does not meet the site."""
    stratum: Texts | None
    """(n,) name of the stratum that has most of the parcel, empty where none has any; ``None`` without strata."""


def read_site(settings: Parcels) -> Site:
    """Read the files that say which parcels belong to the site and what strata there are.

    Raises
    ------
    InputError, MissingDataError, NoInputsError
        A file cannot be used; the message names the key.
    """
    notes: list[str] = []
    within = strata = None
    if settings.within is not None:
        within = _read(settings.within, "parcels.within", None, notes)
    if settings.strata is not None:
        strata = _read(settings.strata.file, "parcels.strata", settings.strata.column, notes)
    column = None if settings.strata is None else settings.strata.column
    return Site(within, strata, column, settings.where, tuple(notes))


def locate(site: Site, outlines: Outlines, crs: CRS) -> Places:
    """Find the place of each parcel, a batch at a time.

    Parameters
    ----------
    outlines : (n,) valid polygons in ``crs``, or missing
    """
    off_site = np.zeros(len(outlines), dtype=bool)
    stratum = None
    if site.strata is not None:
        stratum = np.full(len(outlines), "", dtype=object)
    if site.within is None and site.strata is None:
        return Places(off_site, stratum)
    for rows, geometry in outlines.batches():
        here = np.flatnonzero(~shapely.is_missing(geometry))
        if site.within is not None:
            off_site[rows.start + here] = largest(site.within, geometry[here], crs) < 0
        if site.strata is not None and stratum is not None:
            names = np.array([*site.strata.names, ""], dtype=object)
            stratum[rows.start + here] = names[largest(site.strata, geometry[here], crs)]
    return Places(off_site, stratum)


def largest(areas: Areas, geometry: Geometries, crs: CRS) -> NDArray[np.int64]:
    """Number of the area (m,) that holds most of each polygon (m,) in ``crs``; -1 where the interior meets none.

    Of areas with the same share the first counts.
    """
    moved = _moved(geometry, crs, areas.crs)
    size = shapely.area(moved)
    best, most = np.full(len(geometry), -1, dtype=np.int64), np.zeros(len(geometry))
    for number, near in _near(areas, moved):
        shape = areas.shapes[number]
        rows = near[shapely.intersects(shape, moved[near])]
        inside = shapely.contains_properly(shape, moved[rows])
        share = np.ones(len(rows))
        across = np.flatnonzero(~inside)
        # What reaches the border is asked in full: of a large area that takes a thousand times as long.
        across, touching = _split(across, shapely.touches(shape, moved[rows[across]]))
        share[across] = shapely.area(shapely.intersection(shape, moved[rows[across]])) / size[rows[across]]
        share = np.round(share, _SHARE_DIGITS)
        better = (best[rows] < 0) | (share > most[rows])
        better[touching] = False
        best[rows[better]], most[rows[better]] = number, share[better]
    return best


def _split(rows: NDArray[np.int64], away: Flags) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return rows[~away], rows[away]


def _moved(geometry: Geometries, crs: CRS, to: CRS) -> Geometries:
    moved = reproject(geometry, crs, to.to_wkt())
    if moved is geometry:
        return geometry
    moved = moved.copy()
    moved[~np.isfinite(shapely.bounds(moved)).all(axis=1)] = None  # beyond the projection of the areas
    broken = np.flatnonzero(~shapely.is_missing(moved) & ~shapely.is_valid(moved))
    moved[broken] = shapely.make_valid(moved[broken], method="structure", keep_collapsed=False)
    return moved


def _near(areas: Areas, geometry: Geometries) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each area in turn, and the rows whose bounds meet its bounds."""
    rows, number = shapely.STRtree(areas.shapes).query(geometry)
    order = np.lexsort((rows, number))
    rows, number = rows[order], number[order]
    found, begins, counts = np.unique(number, return_index=True, return_counts=True)
    for k, begin, count in zip(found.tolist(), begins.tolist(), counts.tolist(), strict=True):
        yield k, rows[begin : begin + count]


def _read(path: Path, key: str, column: str | None, notes: list[str]) -> Areas:
    from s4c_hpc.parcels.read import read_layer  # noqa: PLC0415 - loads GDAL and pandas, which workers do without

    columns = [] if column is None else [column]
    try:
        layer = read_layer(path, None, columns)
    except (InputError, NoInputsError) as error:
        hint = error.hint
        if hint and ("parcels.file" in hint or "parcels.layer" in hint):  # which are not what is at fault
            hint = f"check {key}; of a file with several layers, save the one that is meant as a file of its own"
        raise type(error)(error.what, where=f"{error.where} ({key})", hint=hint) from error
    where = f"{path} ({key})"
    found = repair(layer.geometry, layer.unreadable)
    usable = ~shapely.is_missing(found.geometry)
    reasons = sorted(set(found.reason[~usable].tolist()))
    if not usable.any():
        raise NoInputsError(f"there is no polygon: {listing(reasons)}", where=where)
    if reasons:
        notes.append(f"{int((~usable).sum())} of {len(usable)} areas of {layer.file} are not used: {listing(reasons)}")
    names = np.full(len(usable), "", dtype=object)
    if column is not None:
        texts = as_text(layer.attributes.column(column))
        empty = np.flatnonzero(texts.is_null().to_numpy(zero_copy_only=False) & usable)
        if len(empty):
            raise InputError(
                f"column {column!r} has no value in {len(empty)} rows: {listing([str(i + 1) for i in empty])}",
                where=where,
                hint="every stratum needs a name; rows are counted from 1",
            )
        names = texts.to_numpy(zero_copy_only=False)
    return _united(layer.file, layer.crs, names[usable], found.geometry[usable])


def _united(file: str, crs: CRS, names: Texts, geometry: Geometries) -> Areas:
    distinct: Sequence[str] = sorted(set(names.tolist()))
    shapes = np.array([shapely.union_all(geometry[names == name]) for name in distinct], dtype=object)
    shapely.prepare(shapes)
    return Areas(file, crs, tuple(distinct), shapes)
