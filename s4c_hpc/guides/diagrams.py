"""The diagrams of the guides: boxes and arrows, on a light card of their own, so that dark pages can be read as well.

``python -m s4c_hpc.guides.diagrams`` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from markupsafe import Markup

from s4c_hpc.drawing.svg import drawing, element, polyline

FOLDER: Final = Path(__file__).resolve().parent

_STYLE: Final = Markup("""
text { font: 14px system-ui, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif; fill: #1d242b; }
.mono { font-family: ui-monospace, "DejaVu Sans Mono", "Liberation Mono", monospace; font-size: 13px; }
.title { font-weight: 600; }
.small { font-size: 12.5px; fill: #4b555f; }
.card { fill: #ffffff; stroke: #c9ced3; }
.box { stroke-width: 1.25; }
.input { fill: #f1f3f5; stroke: #8a929b; }
.image { fill: #fdf0d5; stroke: #b97700; }
.work { fill: #e3f4ee; stroke: #00805f; }
.result { fill: #e6f0fa; stroke: #1f6fb2; }
.arrow { fill: none; stroke: #4b555f; stroke-width: 1.5; }
.head { fill: #4b555f; }
.lane { fill: none; stroke: #c9ced3; stroke-dasharray: 4 4; }
""")
"""Colours that are told apart by those who see no red and green; each box says in words what it is."""


def way_of_the_data() -> Markup:
    """From products, parcels and tables to answers; which step opens imagery."""
    return _card(
        1000,
        330,
        "The way of the data: products are decoded once; everything after that is made of the pixels at hand",
        _lane(16, 14, 418, 302, "imagery is opened here, once"),
        _lane(446, 14, 538, 302, "no image is opened here"),
        _box(32, 50, 150, 70, "input", "Products", "SAFE, MAJA, Landsat,", "GeoTIFF sets"),
        _box(32, 136, 150, 70, "input", "Declaration", "any format of OGR,", "PostGIS"),
        _box(32, 222, 150, 70, "input", "Tables", "radar and others,", "rain, practices"),
        _box(262, 94, 150, 70, "image", "Pixels of farmland", "a stack a product", "and grid"),
        _arrow((182, 85), (222, 85), (222, 118), (262, 118)),
        _arrow((182, 171), (222, 171), (222, 140), (262, 140)),
        _box(462, 94, 150, 70, "work", "Series", "statistics by parcel,", "date and variable"),
        _arrow((412, 129), (462, 129)),
        _arrow((182, 257), (537, 257), (537, 164)),
        _box(646, 34, 156, 62, "work", "Features", "periods without gaps"),
        _box(646, 112, 156, 62, "work", "Crop types", "check of declarations"),
        _box(646, 190, 156, 62, "work", "Practices, mowing", "with their evidence"),
        _arrow((612, 118), (630, 118), (630, 65), (646, 65)),
        _arrow((612, 140), (630, 140), (630, 221), (646, 221)),
        _arrow((724, 96), (724, 112)),
        _box(836, 94, 134, 100, "result", "Marker files", "Arrow, a row", "a parcel, with", "units and reasons"),
        _arrow((802, 143), (836, 143)),
        _arrow((802, 221), (820, 221), (820, 176), (836, 176)),
        _box(646, 268, 324, 36, "result", "Report, map, SQL, HTTP, PostGIS, GeoPackage"),
        _arrow((903, 194), (903, 268)),
    )


def on_slurm() -> Markup:
    """What runs where."""
    return _card(
        1000,
        330,
        "On Slurm: a driver, which may be killed at any time, sends job arrays; all that is known is on disk",
        _box(
            24,
            40,
            230,
            110,
            "work",
            "Driver",
            "s4c run, or a tick of --detach:",
            "reads journals, chooses what",
            "is ready, sends it; one at a time",
        ),
        _box(24, 216, 230, 90, "input", "You", "s4c plan, status, cancel, logs;", "Ctrl-C leaves the jobs alone"),
        _arrow((139, 216), (139, 150)),
        _box(
            330,
            40,
            190,
            110,
            "input",
            "Slurm",
            "arrays sized by prediction;",
            "QoS of its own for",
            "what needs much memory",
        ),
        _arrow((254, 80), (330, 80)),
        _text(292, 70, "sbatch"),
        _arrow((330, 120), (254, 120)),
        _text(292, 140, "states"),
        _lane(590, 14, 394, 146, "compute nodes"),
        _box(606, 44, 112, 100, "image", "gather", "decodes; asks", "for I/O and", "memory"),
        _box(730, 44, 112, 100, "work", "stats, series", "columnar; one", "core each"),
        _box(854, 44, 114, 100, "work", "features", "MPI ranks where", "a tile is large"),
        _arrow((520, 95), (590, 95)),
        _box(
            330,
            216,
            654,
            90,
            "result",
            "Workspace on a shared file system",
            "plan and intents (written before sbatch), a journal an attempt, results published by link:",
            "the first one wins, a twin is discarded. Whatever dies, the same command goes on from here.",
        ),
        _arrow((785, 160), (785, 216)),
        _text(838, 194, "journals, files"),
        _arrow((360, 216), (360, 190), (220, 190), (220, 150)),
        _text(292, 182, "journals, folded"),
    )


_PATHS: Final[tuple[tuple[str, str, str], ...]] = (
    ("s4c.toml", "input", "the configuration: the only file that you write"),
    ("catalog/products.parquet", "work", "index of products: where, when, usable or why not"),
    ("parcels/v0001/ ...", "work", "versions of the declaration, never changed"),
    ("imported/<name>/", "work", "series and weather from elsewhere"),
    ("tiles/<tile>/stack/ index/ mask/", "image", "pixels of farmland: a new index needs no imagery"),
    ("tiles/<tile>/series/ compact/", "work", "values by acquisition, and by parcel"),
    ("tiles/<tile>/features/ raster/", "work", "features of the season; rasters on demand"),
    ("markers/<set>/<period>/", "result", "what you came for: a file a site and tile, a manifest beside"),
    ("report.html", "result", "the report, one file"),
    ("run/<id>/", "input", "plan, journals and logs of a run"),
    ("state/", "input", "what is done and was measured; may be deleted"),
)


def workspace() -> Markup:
    """What lies where."""
    rows = []
    for number, (path, kind, text) in enumerate(_PATHS):
        y = 46 + 30 * number
        rows += [
            element("rect", x=24, y=y, width=310, height=24, rx=4, class_=f"box {kind}"),
            element("text", path, x=36, y=y + 17, class_="mono"),
            element("text", text, x=352, y=y + 17),
        ]
    y = 46 + 30 * len(_PATHS) + 22
    legend = (("input", "yours, and the run's"), ("image", "pixels"), ("work", "made of them"), ("result", "results"))
    for number, (kind, text) in enumerate(legend):
        x = 24 + 190 * number
        rows += [
            element("rect", x=x, y=y - 12, width=16, height=16, rx=3, class_=f"box {kind}"),
            element("text", text, x=x + 24, y=y + 1, class_="small"),
        ]
    title = element("text", "A workspace", x=24, y=30, class_="title")
    return _card(860, y + 18, "What lies where in a workspace", title, *rows)


def _card(width: float, height: float, label: str, *parts: Markup) -> Markup:
    card = element("rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=8, class_="card")
    style = element("style", _STYLE)
    return drawing(
        element("title", label), style, card, *parts, width=width, height=height, label=label, standalone=True
    )


def _box(x: float, y: float, width: float, height: float, kind: str, title: str, *lines: str) -> Markup:
    middle, first = x + width / 2, y + height / 2 - 8.5 * len(lines) + 5
    return element(
        "g",
        element("rect", x=x, y=y, width=width, height=height, rx=6, class_=f"box {kind}"),
        element("text", title, x=middle, y=first, class_="title", text_anchor="middle"),
        *(
            element("text", line, x=middle, y=first + 17 * n, class_="small", text_anchor="middle")
            for n, line in enumerate(lines, start=1)
        ),
    )


def _lane(x: float, y: float, width: float, height: float, text: str) -> Markup:
    return element(
        "g",
        element("rect", x=x, y=y, width=width, height=height, rx=8, class_="lane"),
        element("text", text, x=x + 10, y=y + 17, class_="small"),
    )


def _arrow(*points: tuple[float, float]) -> Markup:
    """A line through points, with a head at the last one, where it comes straight in."""
    (x0, y0), (x, y) = points[-2:]
    dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
    head = [(x, y), (x - 8 * dx - 4 * dy, y - 8 * dy - 4 * dx), (x - 8 * dx + 4 * dy, y - 8 * dy + 4 * dx)]
    return element(
        "g",
        element("path", d=polyline(points), class_="arrow"),
        element("path", d=polyline(head, close=True), class_="head"),
    )


def _text(x: float, y: float, text: str) -> Markup:
    return element("text", text, x=x, y=y, class_="small", text_anchor="middle")


DIAGRAMS: Final[Mapping[str, str]] = {
    "way-of-the-data.svg": f"{way_of_the_data()}\n",
    "on-slurm.svg": f"{on_slurm()}\n",
    "workspace.svg": f"{workspace()}\n",
}
"""Contents by name of the file."""

if __name__ == "__main__":
    for name, content in DIAGRAMS.items():
        (FOLDER / name).write_text(content, encoding="utf-8")
