"""What a column of the reference system's marker files holds: the inverse of ``compat``, and what has no inverse.

Two families of names are known, those of its MDB1 and MDB2, ``<YYYYMMDD>_<stat>_<TYPE>[_<pol>][_<orbit>][_<tile>]
[_<band>]``, and the optical ones of its crop types, ``XX_YYYY_MM_DD_s2_mean_<feature>``. Every other column is told
apart as unknown; known ones whose values mean nothing are left out with the reason.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from s4c_hpc.markers.compat import RADAR_VARIABLES, STATISTICS, VARIABLES

UNKNOWN: Final = "not a name of the reference's marker files"
EPOCH: Final = "its date is 1970-01-01: the reference found none in the file name, and which index it was is not known"
TWICE: Final = "the name stands twice in the file; which one is which is not known"
AMBIGUOUS_BAND: Final = "the reference drops zeros of band numbers: this is B01 or B10"
DIFFERENCE_OF_SPREADS: Final = "a difference of {word}s of VV and VH, which is not the {word} of anything"
LANDSAT: Final = "a Landsat scene, whose bands the reference renames"
SCALED_BY: Final = ("NDVI", "LAI", "FAPAR", "FCOVER", "NDWI", "BRIGHTNESS", "L2A", "COHE")
"""Types that may have been stored with a factor; dB values may not."""

_WORDS = {word: ours for ours, word in STATISTICS.items()}
_INDICES = {kind: ours for ours, kind in VARIABLES.items()}
_RADAR = {kind: ours for ours, kind in RADAR_VARIABLES.items()}

_START = rf"(?P<day>[0-9]{{8}})_(?P<word>{'|'.join(_WORDS)})"
_INDEX = re.compile(rf"{_START}_(?P<kind>{'|'.join(_INDICES)})(?:_(?P<tile>[A-Za-z0-9.-]+))?")
_REFLECTANCE = re.compile(rf"{_START}_(?P<kind>L2A)(?:_(?P<tile>[A-Za-z0-9._-]+))?_(?P<band>B[0-9]{{1,2}}A?)")
_BACKSCATTER = re.compile(
    rf"{_START}_(?P<kind>AMP|COHE)_(?P<pol>VVVH|VV|VH)(?:_(?P<orbit>[0-9]{{3}}))?(?:_(?P<tile>[A-Za-z0-9.-]+))?"
)
_NO_DATE = re.compile(r"19700101_.+")
_CROP = re.compile(
    r"[A-Z]{2}_(?P<day>[0-9]{4}_[0-9]{2}_[0-9]{2})_s2_(?P<word>mean|dev)_(?P<feature>b[0-9]{1,2}|ndvi|ndwi|brightness)"
)
_LANDSAT_TILE = re.compile(r"[0-9]{6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a file of the reference says of an acquisition: columns of one source belong together."""

    sensor: str
    day: dt.date
    relative_orbit: int | None = None
    tile: str | None = None
    """``None`` where the name has none: the column is of the whole site."""
    interpolated: bool = False
    """Whether values are of a date in a ten-day rhythm, between acquisitions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignColumn:
    """What a column of the reference holds, in our words."""

    source: Source
    variable: str
    statistic: str
    kind: str
    """The reference's type, ``NDVI``, ``L2A``, ``AMP``."""

    @property
    def name(self) -> str:
        """The column's name in a series file."""
        return f"{self.variable}_{self.statistic}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignColumns:
    """The columns of a file."""

    kept: Mapping[int, ForeignColumn]
    """By place among the names."""
    left_out: Mapping[str, str]
    """Name -> reason."""


def read_compat_names(names: Sequence[str]) -> ForeignColumns:
    """What the columns of a file hold, and which are left out.

    Parameters
    ----------
    names : all but the parcel's; a name may occur twice

    Notes
    -----
    ``B1`` is left out, because the reference calls B10 so, too, unless the file also has a ``B10`` of that tile: then
    somebody wrote it who tells them apart.
    """
    parsed = [read_compat_name(name) for name in names]
    columns = [one for one in parsed if isinstance(one, ForeignColumn)]
    twice = {key for key, n in Counter((c.source, c.name) for c in columns).items() if n > 1}
    told_apart = {c.source.tile for c in columns if c.variable == "b10"}
    kept: dict[int, ForeignColumn] = {}
    left_out: dict[str, str] = {}
    for place, (name, one) in enumerate(zip(names, parsed, strict=True)):
        if isinstance(one, str):
            left_out[name] = one
        elif one.variable == "b01" and one.source.tile not in told_apart:
            left_out[name] = AMBIGUOUS_BAND
        elif (one.source, one.name) in twice:
            left_out[name] = TWICE
        else:
            kept[place] = one
    return ForeignColumns(kept=kept, left_out=left_out)


def read_compat_name(name: str) -> ForeignColumn | str:
    """What a column holds, or the reason why it is left out."""
    if _NO_DATE.fullmatch(name):
        return EPOCH
    for pattern, read in (
        (_INDEX, _index),
        (_REFLECTANCE, _reflectance),
        (_BACKSCATTER, _backscatter),
        (_CROP, _crop_type),
    ):
        if found := pattern.fullmatch(name):
            parts = {key: value or "" for key, value in found.groupdict().items()}
            try:
                day = dt.date.fromisoformat(parts["day"].replace("_", "-"))
            except ValueError as error:
                return f"holds no real date ({error})"
            return read(parts, day)
    return UNKNOWN


def _index(parts: Mapping[str, str], day: dt.date) -> ForeignColumn | str:
    if _LANDSAT_TILE.fullmatch(parts["tile"]):
        return LANDSAT
    source = Source(sensor="s2", day=day, tile=parts["tile"] or None)
    kind = parts["kind"]
    return ForeignColumn(source=source, variable=_INDICES[kind], statistic=_WORDS[parts["word"]], kind=kind)


def _reflectance(parts: Mapping[str, str], day: dt.date) -> ForeignColumn | str:
    if _LANDSAT_TILE.fullmatch(parts["tile"]):
        return LANDSAT
    source = Source(sensor="s2", day=day, tile=parts["tile"] or None)
    return ForeignColumn(source=source, variable=_band(parts["band"]), statistic=_WORDS[parts["word"]], kind="L2A")


def _backscatter(parts: Mapping[str, str], day: dt.date) -> ForeignColumn | str:
    variable = _RADAR.get(f"{parts['kind']}_{parts['pol']}")
    if variable is None:
        return UNKNOWN
    if parts["pol"] == "VVVH" and parts["word"] != "mean":
        return DIFFERENCE_OF_SPREADS.format(word=parts["word"])
    orbit = int(parts["orbit"]) if parts["orbit"] else None
    source = Source(sensor="s1", day=day, relative_orbit=orbit, tile=parts["tile"] or None)
    return ForeignColumn(source=source, variable=variable, statistic=_WORDS[parts["word"]], kind=parts["kind"])


def _crop_type(parts: Mapping[str, str], day: dt.date) -> ForeignColumn | str:
    feature = parts["feature"]
    is_band = feature.startswith("b") and feature != "brightness"
    # Its NDWI here is (B11 - B08) / (B11 + B08), of the opposite sign to that of its MDB1.
    variable = _band(feature.upper()) if is_band else {"ndwi": "ndwi_l4a"}.get(feature, feature)
    return ForeignColumn(
        source=Source(sensor="s2", day=day, interpolated=True),
        variable=variable,
        statistic="stdev" if parts["word"] == "dev" else "mean",
        kind="L2A" if is_band else feature.upper(),
    )


def _band(name: str) -> str:
    letter = "a" if name.endswith("A") else ""
    number = int(name.strip("BA"))
    return f"b{number}{letter}" if letter else f"b{number:02d}"
