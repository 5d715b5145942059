"""The map of a site whose parcels can be told apart: outlines by crop and by share of clear dates."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from markupsafe import Markup
from numpy.typing import NDArray

from s4c_hpc.drawing.svg import element, join, polyline
from s4c_hpc.drawing.text import hectares, plural
from s4c_hpc.report.geometry import outlines
from s4c_hpc.report.map_sheet import Frame, sheet
from s4c_hpc.report.sources import Parcels

MAX_OUTLINES = 5000
"""Above this number of parcels the report shows ``density_map`` instead."""

MAX_CROPS = 7
"""Crop codes with a colour of their own, as many as the palette holds; the rest share one."""

SHARE_CLASSES = (0.2, 0.4, 0.6, 0.8)
"""Limits between the classes of the share of clear dates."""

_MAX_LABELS = 60
_LETTER = 6.2
"""Mean width of a letter of a label, in drawing units."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A crop code in the legend of the map."""

    code: str
    n: int
    slot: int
    """Number of its colour and hatching; ``MAX_CROPS`` for the shared one."""


@dataclass(frozen=True, kw_only=True)
class ParcelMap:
    """What the template needs to show the map."""

    drawing: Markup
    crs: str
    crops: tuple[Crop, ...]
    graticule_m: float
    """Distance of its lines, in metres."""
    n_without_geometry: int


def crop_slots(parcels: Parcels) -> tuple[Crop, ...]:
    """The most frequent crop codes, each with a colour; then one entry for all others."""
    counted = pc.value_counts(pc.fill_null(parcels.table["ori_crop"], "")).to_pylist()
    ranked = sorted(((c["counts"], c["values"]) for c in counted), key=lambda c: (-c[0], c[1]))
    crops = [Crop(code=code, n=n, slot=i) for i, (n, code) in enumerate(ranked[:MAX_CROPS])]
    if len(ranked) > MAX_CROPS:
        rest = ranked[MAX_CROPS:]
        crops.append(Crop(code=f"{len(rest)} other codes", n=sum(n for n, _ in rest), slot=MAX_CROPS))
    return tuple(crops)


def share_class(n_clear: int, n_dates: int) -> str:
    """Class of the share of clear dates, ``0`` for the lowest; ``none`` where no date reached the parcel."""
    return str(bisect.bisect_right(SHARE_CLASSES, n_clear / n_dates)) if n_dates else "none"


def parcel_map(
    parcels: Parcels, n_clear: NDArray[np.int32], n_dates: NDArray[np.int32], linked: Sequence[int]
) -> ParcelMap | None:
    """Draw the parcels of a site; ``None`` if none of them has a geometry.

    Parameters
    ----------
    n_clear, n_dates : (n_parcels,) clear and all dates, in row order
    linked : NewIDs that have a time line to link to
    """
    drawn = outlines(parcels)
    rows = np.flatnonzero(~(shapely.is_missing(drawn.geometry) | shapely.is_empty(drawn.geometry)))
    if len(rows) == 0:
        return None
    frame = Frame.around(shapely.total_bounds(drawn.geometry))
    # A third of a drawing unit cannot be seen.
    geometry = shapely.simplify(drawn.geometry[rows], 0.3 / frame.per_m, preserve_topology=True)
    crops = crop_slots(parcels)
    slots = {c.code: c.slot for c in crops}
    columns = parcels.table.select(["NewID", "ori_id", "ori_crop", "Area_meters"]).take(pa.array(rows)).to_pylist()
    with_page = set(linked)
    shapes = []
    for outline, row, n, of in zip(geometry, columns, n_clear[rows].tolist(), n_dates[rows].tolist(), strict=True):
        crop = row["ori_crop"] or ""
        sentence = (
            f"{row['ori_id']} (NewID {row['NewID']}): crop {crop or 'not declared'}, "
            f"{hectares(row['Area_meters'])}, {n} clear of {plural(of, 'date')}"
        )
        shape = element(
            "path",
            element("title", sentence),
            d=outline_path(outline, frame),
            class_=f"parcel c{slots.get(crop, MAX_CROPS)} s{share_class(n, of)}",
            data_parcel=row["NewID"],
        )
        shapes.append(element("a", shape, href=f"#parcel-{row['NewID']}") if row["NewID"] in with_page else shape)
    labels = _labels(_boxes(geometry, frame), [str(row["ori_id"]) for row in columns], frame)
    return ParcelMap(
        drawing=sheet(
            join([hatchings(), element("g", *shapes), labels]), frame, f"Map of {plural(len(shapes), 'parcel')}"
        ),
        crs=drawn.crs.name,
        crops=crops,
        graticule_m=frame.graticule_m,
        n_without_geometry=parcels.n - len(rows),
    )


def outline_path(geometry: shapely.Geometry, frame: Frame) -> str:
    """Path data of all rings of a polygon; holes stay holes under the even-odd rule."""
    rings = []
    for polygon in shapely.get_parts(geometry):
        if polygon.geom_type == "Polygon":
            rings += [polygon.exterior, *polygon.interiors]
    return "".join(
        polyline([frame.place(x, y) for x, y in shapely.get_coordinates(ring)[:-1].tolist()], close=True)
        for ring in rings
    )


def _boxes(geometry: NDArray[np.object_], frame: Frame) -> NDArray[np.float64]:
    """(n, 4) bounds in drawing units, top before bottom."""
    west, south, east, north = shapely.bounds(geometry).T
    left, top = frame.place(west, north)
    right, bottom = frame.place(east, south)
    return np.column_stack([left, top, right, bottom])


def hatchings() -> Markup:
    """Hatchings by number of crop: what the colour says, the hatching says again."""
    strokes = (None, "M0 6L6 0", "M0 0L6 6", "M0 3H6", "M3 0V6", "M0 3H6M3 0V6", "M2 3h2", "M0 6L6 0M0 0L6 6")
    return element(
        "defs",
        *(
            element(
                "pattern",
                element("rect", width=6, height=6, class_="ground"),
                element("path", d=stroke, class_="hatch") if stroke else None,
                id=f"crop-{i}",
                class_=f"crop-pattern k{i}",
                width=6,
                height=6,
                patternUnits="userSpaceOnUse",
            )
            for i, stroke in enumerate(strokes)
        ),
    )


def _labels(boxes: NDArray[np.float64], names: list[str], frame: Frame) -> Markup:
    """Names in or beside the largest parcels, left out where they would cover a name or a parcel.

    Parameters
    ----------
    boxes : (n, 4) ``left, top, right, bottom`` of each parcel, in drawing units
    """
    taken = np.empty((0, 4))
    parts = []
    sizes = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for i in np.argsort(-sizes, kind="stable")[:_MAX_LABELS].tolist():
        text = names[i] if len(names[i]) <= 24 else f"{names[i][:23]}\N{HORIZONTAL ELLIPSIS}"
        left, top, right, bottom = boxes[i].tolist()
        width, middle = _LETTER * len(text), (left + right) / 2
        inside = right - left > width + 6 and bottom - top > 16
        level = (top + bottom) / 2 + 4
        places = [
            *([(middle, level)] if inside else []),
            (middle, top - 5),
            (middle, bottom + 12),
            (right + 5 + width / 2, level),
            (left - 5 - width / 2, level),
        ]
        for x, y in places:
            box = np.array([x - width / 2, y - 9, x + width / 2, y + 3])
            obstacles = taken if y == level and x == middle else np.vstack([taken, boxes])
            on_sheet = box[0] > 2 and box[1] > 2 and box[2] < frame.width - 2 and box[3] < frame.height - 2
            if on_sheet and not _touches(box, obstacles):
                taken = np.vstack([taken, box])
                parts.append(element("text", text, x=x, y=y, class_="name mid"))
                break
    return element("g", *parts, aria_hidden="true")


def _touches(box: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    apart = (others[:, 2] < box[0]) | (others[:, 0] > box[2]) | (others[:, 3] < box[1]) | (others[:, 1] > box[3])
    return not bool(apart.all())
