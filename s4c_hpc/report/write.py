"""From the page as a value to the one file that people open."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from pathlib import Path

from markupsafe import Markup

from s4c_hpc import __version__
from s4c_hpc.config import Config
from s4c_hpc.core.atomic import write_text
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.drawing.pages import asset, environment, style
from s4c_hpc.drawing.svg import drawing, element
from s4c_hpc.report.coverage import LABELS
from s4c_hpc.report.findings import MAX_ROWS
from s4c_hpc.report.page import MAX_PRODUCTS, Page, make_page
from s4c_hpc.report.parcel_map import MAX_CROPS
from s4c_hpc.report.sky import CATEGORIES, Sky, sign
from s4c_hpc.report.timeline.optical import LONG_GAP_DAYS
from s4c_hpc.report.usage_plot import MARKS


def write_report(workspace: Workspace, config: Config, path: Path, *, now: dt.datetime | None = None) -> Path:
    """Write the report of a workspace; what has not run yet is said, not left out.

    Parameters
    ----------
    workspace : any, also an empty one
    config : names the site and how many parcels get a time line
    path : HTML file, replaced in one step
    now : the time stamp, time zone included; all else in the file is a function of the workspace

    Returns
    -------
    ``path``

    Raises
    ------
    InputError
        If a file of the workspace is there but damaged.
    """
    generated = now or dt.datetime.now(dt.UTC)
    write_text(path, render(make_page(workspace, config, generated=generated, version=__version__)))
    return path


def render(page: Page) -> str:
    """The HTML text of a page. Everything from outside is escaped: parcel ids and reasons are other people's text."""
    script = asset("s4c_hpc.report", "script.js")
    return (
        environment("s4c_hpc.report")
        .get_template("report.html.j2")
        .render(
            page=page,
            style=style(),
            script=Markup(script),  # noqa: S704 - our own file
            # The browser runs this script and no other, whatever else should have found its way into the page.
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            skies=tuple(Sky),
            sky_icon=_sky_icon,
            stage_icon=_stage_icon,
            crop_icon=_crop_icon,
            categories=CATEGORIES,
            category_labels=LABELS,
            long_gap_days=LONG_GAP_DAYS,
            max_crops=MAX_CROPS,
            max_products=MAX_PRODUCTS,
            max_tried_again=MAX_ROWS,
        )
    )


def _sky_icon(state: Sky) -> Markup:
    return drawing(sign(state, 6, 6), width=12, height=12, label=state.label, class_="icon")


def _stage_icon(slot: int) -> Markup:
    mark = element("path", d=f"M6 6{MARKS[slot]}", class_=f"mark stage{slot}")
    return drawing(mark, width=12, height=12, label=f"sign {slot + 1}", class_="icon")


def _crop_icon(slot: int) -> Markup:
    box = element("rect", x=1, y=1, width=20, height=12, class_=f"parcel c{slot}")
    return drawing(box, width=22, height=14, label=f"hatching {slot + 1}", class_="swatch")
