"""Styles of QGIS as QML: one symbol a value, with names that people read."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import quoteattr

from s4c_hpc.export.map_views import VERDICT_WORDS
from s4c_hpc.markers.relations import Meaning
from s4c_hpc.practices.codes import Index

QGIS: Final = "3.22"
"""The oldest release that the styles were read by."""

Colour = tuple[int, int, int]

_GREY: Final[Colour] = (190, 190, 190)
_SCALE: Final[Sequence[Colour]] = ((237, 248, 233), (186, 228, 179), (116, 196, 118), (49, 163, 84), (0, 109, 44))
"""ColorBrewer Greens of five classes (Brewer, Harrower; Apache-2.0)."""
_MONTHS: Final = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A value and how it is shown."""

    value: str
    """Empty: all other values."""
    label: str
    colour: Colour


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """A style of a layer."""

    name: str
    attribute: str
    """A column, or an expression of QGIS."""
    column: str
    """The column that it needs."""
    categories: tuple[Category, ...]


_OTHER: Final = Category(value="", label="not known", colour=_GREY)

_SURE: Final[Mapping[int, Colour]] = {
    Index.STRONG: (0, 104, 55),
    Index.MODERATE: (120, 198, 121),
    Index.WEAK: (254, 196, 79),
    Index.POOR: (204, 76, 2),
    Index.NA: (150, 150, 150),
    Index.NA1: (170, 170, 170),
    Index.NR: (220, 220, 220),
}

LIGHTS: Final = Style(
    name="Check of declarations",
    attribute="light",
    column="light",
    categories=(
        Category(value="green", label="green: the declared crop was found", colour=(51, 160, 44)),
        Category(value="yellow", label="yellow: it cannot be told for sure", colour=(255, 210, 60)),
        Category(value="red", label="red: another crop was found", colour=(214, 47, 39)),
        Category(value="grey", label="grey: not checked", colour=(150, 150, 150)),
        _OTHER,
    ),
)
MOWINGS: Final = Style(
    name="Number of mowings",
    attribute="mowings",
    column="mowings",
    categories=(
        Category(value="0", label="not mown", colour=(255, 255, 204)),
        *(
            Category(value=str(n), label=f"{n} mowing{'s' if n > 1 else ''}", colour=colour)
            for n, colour in enumerate(_SCALE[1:], 1)
        ),
        Category(value="", label="5 or more, or not known", colour=_GREY),
    ),
)
PRACTICES: Final = Style(
    name="Practice: how sure it is",
    attribute="practice_verdict",
    column="practice_verdict",
    categories=(
        *(Category(value=VERDICT_WORDS[code], label=VERDICT_WORDS[code], colour=c) for code, c in _SURE.items()),
        _OTHER,
    ),
)


def _hue(share: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(share, 0.55, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def by_month(name: str, column: str) -> Style:
    """Days by their month."""
    colours = [_hue(i / 12) for i in range(12)]
    months = (Category(value=str(i + 1), label=m, colour=colours[i]) for i, m in enumerate(_MONTHS))
    missing = Category(value="", label="none seen", colour=_GREY)
    return Style(name=name, attribute=f'month("{column}")', column=column, categories=(*months, missing))


HARVEST: Final = by_month("Month of the harvest", "harvest_from")
MOWING_MONTH: Final = by_month("Month of the mowing", "date")


def crops(classes: Sequence[str], names: Mapping[str, str]) -> Style:
    """Crop types by class, each with its name."""
    shown = tuple(
        Category(value=one, label=names.get(one) or one, colour=_hue(i * 0.618034 % 1.0))
        for i, one in enumerate(sorted(classes))
    )
    return Style(name="Crop types found", attribute="crop_found", column="crop_found", categories=(*shown, _OTHER))


PLAIN: Final = Style(
    name="Parcels", attribute="''", column="newid", categories=(Category(value="", label="parcel", colour=_GREY),)
)


def qml(style: Style, columns: Mapping[str, Meaning]) -> str:
    """A style as QGIS reads it, with what columns mean as their names in tables and forms."""
    categories = "\n".join(
        f'   <category render="true" symbol="{i}" value={quoteattr(c.value)} label={quoteattr(c.label)} type="string"/>'
        for i, c in enumerate(style.categories)
    )
    symbols = "\n".join(_symbol(i, c.colour) for i, c in enumerate(style.categories))
    aliases = "\n".join(
        f'  <alias index="{i}" field={quoteattr(name)} name={quoteattr(str(meaning))}/>'
        for i, (name, meaning) in enumerate(columns.items())
        if name != "geometry"
    )
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="{QGIS}" styleCategories="Symbology|Fields">
 <renderer-v2 type="categorizedSymbol" attr={quoteattr(style.attribute)} symbollevels="0" forceraster="0">
  <categories>
{categories}
  </categories>
  <symbols>
{symbols}
  </symbols>
 </renderer-v2>
 <aliases>
{aliases}
 </aliases>
</qgis>
"""


def _symbol(number: int, colour: Colour) -> str:
    red, green, blue = colour
    options = {
        "color": f"{red},{green},{blue},200",
        "style": "solid",
        "outline_color": "60,60,60,255",
        "outline_style": "solid",
        "outline_width": "0.15",
        "outline_width_unit": "MM",
    }
    listed = "\n".join(f'      <Option type="QString" name="{k}" value="{v}"/>' for k, v in options.items())
    return f"""   <symbol type="fill" name="{number}" alpha="1" clip_to_extent="1" force_rhr="0">
    <layer class="SimpleFill" enabled="1" locked="0" pass="0">
     <Option type="Map">
{listed}
     </Option>
    </layer>
   </symbol>"""
