"""The picture of a parcel as a file: SVG, PNG or an HTML page."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import resvg_py

from s4c_hpc import __version__
from s4c_hpc.core.atomic import replacing, write_text
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.drawing.pages import environment, style
from s4c_hpc.report.parcel_picture import parcel_svg, subtitle
from s4c_hpc.report.parcel_season import ParcelSeason

_PIXELS = 2000
"""Width of a PNG: 250 mm at 200 dots an inch."""


class PictureFormat(StrEnum):
    """What is written."""

    SVG = "svg"
    PNG = "png"
    HTML = "html"


def picture_format(path: Path) -> PictureFormat:
    """The format that a file's ending says.

    Raises
    ------
    ConfigError
        If it says none.
    """
    try:
        return PictureFormat(path.suffix.lower().removeprefix("."))
    except ValueError:
        known = ", ".join(f".{one}" for one in PictureFormat)
        raise ConfigError(
            f"{path.suffix or 'no ending'!r} is no format of a picture", where=str(path), hint=f"known are {known}"
        ) from None


def write_picture(season: ParcelSeason, path: Path, form: PictureFormat) -> None:
    """Write the picture of a parcel, whole or not at all; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if form is PictureFormat.SVG:
        write_text(path, parcel_svg(season) + "\n")
    elif form is PictureFormat.PNG:
        # Paper is white: no dark colours, whatever the screen.
        image = resvg_py.svg_to_bytes(svg_string=str(parcel_svg(season, dark=False)), width=_PIXELS)
        with replacing(path) as temporary:
            temporary.write_bytes(bytes(image))
    else:
        write_text(path, parcel_page(season))


def parcel_page(season: ParcelSeason) -> str:
    """HTML text: the picture, each decision with all its values, and the observations."""
    return (
        environment("s4c_hpc.report")
        .get_template("parcel.html.j2")
        .render(
            season=season,
            subtitle=subtitle(season),
            picture=parcel_svg(season, titled=False),
            style=style(),
            version=__version__,
        )
    )
