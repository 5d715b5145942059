"""The page of a check of a declaration: verdict, findings, map of the offenders, overlapping pairs, columns."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyproj
import shapely
from markupsafe import Markup

from s4c_hpc import __version__
from s4c_hpc.core.atomic import write_text
from s4c_hpc.drawing.pages import environment, style
from s4c_hpc.drawing.svg import drawing, element, join, spread
from s4c_hpc.drawing.text import plural
from s4c_hpc.parcels.check import Check
from s4c_hpc.parcels.findings import Finding, Weight
from s4c_hpc.parcels.projection import is_metric, reproject
from s4c_hpc.report.map_sheet import Frame, sheet
from s4c_hpc.report.parcel_map import MAX_CROPS, hatchings, outline_path

MAX_DRAWN = 2000
"""Offenders on the map; of more, evenly spread ones."""
MAX_LISTED = 25
"""Offenders of each kind, and pairs, in the tables of the page; check.json has more, offenders.gpkg all."""
_DOT = 5.0
"""Drawing units: an outline smaller than this is drawn as a dot of this size."""

CONSEQUENCES = {
    "no_id": "The import refuses the file: every parcel needs an id.",
    "id_repeated": "The import refuses the file: name further columns that make ids unique.",
    "unusable": "Keeps its row without values.",
    "without_tile": "Keeps its row without values.",
    "repaired": "The repaired outline is used.",
    "duplicate": "Every one of them gets values.",
    "overlap": "Gets values; pixels count for each parcel that holds them.",
    "sliver": "Gets values where it has pixels.",
    "crosses_tile": "Values come from the part inside its tile.",
    "crosses_zone": "Belongs to a tile of one of the zones.",
    "too_small_s2": "Values on this grid are empty or stand on hardly a pixel.",
    "too_small_s1": "Values on this grid are empty or stand on hardly a pixel.",
    "off_site": "Keeps its row without values.",
    "no_crop": "Gets values; its crop stays unknown.",
}


@dataclass(frozen=True, kw_only=True)
class OffenderMap:
    """What the template needs to show the map."""

    drawing: Markup
    crs: str
    graticule_m: float
    n_offenders: int
    n_drawn: int
    n_without_geometry: int


def write_page(path: Path, check: Check, *, now: dt.datetime | None = None) -> None:
    """Write the page of a check; it holds everything that it shows and loads nothing."""
    shown = [f for f in check.findings if f.n]
    largest = np.argsort(-check.overlaps.pair_area_m2, kind="stable")[:MAX_LISTED]
    text = (
        environment("s4c_hpc.report")
        .get_template("parcel_check.html.j2")
        .render(
            check=check,
            shown=shown,
            looked_for=[f for f in check.findings if not f.n],
            slots=_slots(shown),
            consequences=CONSEQUENCES,
            swatch=_swatch,
            max_listed=MAX_LISTED,
            map=_map(check, shown),
            pairs=[
                {"id": check.ids[a], "other": check.ids[b], "area_m2": float(check.overlaps.pair_area_m2[i])}
                for i, (a, b) in zip(largest.tolist(), check.overlaps.pairs[largest].tolist(), strict=True)
            ],
            generated=now or dt.datetime.now(dt.UTC),
            version=__version__,
            style=style(),
            error=Weight.ERROR,
        )
    )
    write_text(path, text)


def _map(check: Check, shown: list[Finding]) -> OffenderMap | None:
    """The offenders where they lie, the gravest last; ``None`` if there is none to draw."""
    worst: dict[int, Finding] = {}
    for finding in sorted(shown, key=lambda f: list(Weight).index(f.weight), reverse=True):
        worst |= dict.fromkeys(finding.rows.tolist(), finding)
    offenders = np.array(sorted(worst), dtype=np.int64)
    present = offenders[~check.outlines.missing[offenders]] if len(offenders) else offenders
    if not len(present):
        return None
    rows = present[spread(len(present), MAX_DRAWN)]
    crs = _map_crs(check)
    geometry = reproject(check.outlines[rows], check.crs, crs.to_wkt())
    frame = Frame.around(shapely.total_bounds(geometry))
    geometry = shapely.simplify(geometry, 0.3 / frame.per_m, preserve_topology=True)
    slots = _slots(shown)
    shapes = []
    for outline, row in zip(geometry, rows.tolist(), strict=True):
        finding = worst[row]
        titles = [f"{f.title}: {why}" for f in shown if (why := _reason(f, row))]
        title = element("title", f"{check.ids[row]} (row {row + 1}): {'; '.join(titles)}")
        west, south, east, north = outline.bounds
        class_ = f"parcel c{slots[finding.name]}"
        if max(east - west, north - south) * frame.per_m < _DOT:
            x, y = frame.place((west + east) / 2, (south + north) / 2)
            shapes.append(element("circle", title, cx=x, cy=y, r=_DOT / 2, class_=class_))
        else:
            shapes.append(element("path", title, d=outline_path(outline, frame), class_=class_))
    label = f"Map of {plural(len(shapes), 'parcel')} with findings"
    return OffenderMap(
        drawing=sheet(join([hatchings(), element("g", *shapes)]), frame, label),
        crs=crs.name,
        graticule_m=frame.graticule_m,
        n_offenders=len(offenders),
        n_drawn=len(rows),
        n_without_geometry=len(offenders) - len(present),
    )


def _slots(shown: list[Finding]) -> dict[str, int]:
    """Number of the colour and hatching of each kind; the last is shared where there are more kinds than colours."""
    return {f.name: min(i, MAX_CROPS) for i, f in enumerate(shown)}


def _reason(finding: Finding, row: int) -> str:
    """Why a row is among the offenders; empty if it is not."""
    i = int(np.searchsorted(finding.rows, row))
    return finding.reason(i) if i < finding.n and finding.rows[i] == row else ""


def _map_crs(check: Check) -> pyproj.CRS:
    """The declaration's CRS if it is in metres, else an equal-area one centred on the parcels."""
    if is_metric(check.crs):
        return check.crs
    known = check.bounds[~np.isnan(check.bounds[:, 0])]
    middle = (known[:, :2].min(axis=0) + known[:, 2:].max(axis=0)) / 2
    to_degrees = pyproj.Transformer.from_crs(check.crs, 4326, always_xy=True)
    longitude, latitude = to_degrees.transform(*middle.tolist())
    return pyproj.CRS.from_dict(
        {"proj": "laea", "lat_0": round(latitude, 3), "lon_0": round(longitude, 3), "units": "m"}
    )


def _swatch(slot: int) -> Markup:
    box = element("rect", x=1, y=1, width=20, height=12, class_=f"parcel c{slot}")
    return drawing(box, width=22, height=14, label=f"colour {slot + 1}", class_="swatch")
