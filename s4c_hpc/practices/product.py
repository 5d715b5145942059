"""Columns of the practices product: their types, units, meanings and codes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import pyarrow as pa

from s4c_hpc.core.ids import canonical_json
from s4c_hpc.practices.codes import PRACTICE_NAMES, REASONS, Index, Status

CONTRACT: Final = "s4c-practices-1"
"""Changes when the meaning of columns or metadata changes."""

ID: Final = "NewID"

_DAY: Final = "day as yyyymmdd"
_DAY_CODES: Final = {"-10000": "NA: data are missing", "-10001": "there is none", "-10002": "NA1: too few S1 pixels"}
_MARKER_CODES: Final = {
    "1": "TRUE",
    "0": "FALSE",
    "-1": "NA: data are missing",
    "-2": "NA1: too few S1 pixels",
    "-3": "NR: not relevant",
}


def _names(codes: type[IntEnum]) -> dict[str, str]:
    return {str(int(one)): one.name for one in codes}


_MARKERS: Final[Mapping[str, str]] = {
    "M1": "Vegetation was seen by the last week, in NDVI",
    "M2": "NDVI is lost in the last week",
    "M3": "Backscatter VV - VH grows in the last week",
    "M4": "Backscatter VV - VH is that of bare ground in the last week",
    "M5": "Coherence grows or is high in the last week",
    "M6": "NDVI of vegetation in the period of the practice",
    "M7": "NDVI stays in the period of the practice",
    "M8": "NDVI is not lost in the period of the practice",
    "M9": "Backscatter VV - VH does not grow in the period of the practice",
    "M10": "Coherence does not grow in the period of the practice",
}

_IMPROVED_MARKERS: Final[Mapping[str, str]] = {
    "M1": "Vegetation was seen by the week of the harvest, in NDVI",
    "M2": "NDVI is lost in the week of the harvest or the tolerance after it",
    "M3": "Backscatter VV - VH of an orbit grows then, and lasts",
    "M4": "Backscatter VV - VH of an orbit is that of bare ground then",
    "M5": "Coherence of an orbit rises or is high then; NA where it is always low",
}
"""Without a harvest, of the week that comes nearest to one."""

_IMPROVED_STATUS: Final[Mapping[Status, str]] = {
    Status.NO_S1: "judged; no backscatter or no coherence",
    Status.FEW_S1: "judged; fewer coherence values than the minimum of the reference",
    Status.NO_S2: "judged; no NDVI",
    Status.FEW_PIXELS: "judged without radar: fewer pixels of it than the minimum",
    Status.NO_PERIOD: "harvest judged; the practice has no period, or one that ends before it begins",
}

_DAYS: Final[Mapping[str, str]] = {
    "VEG_START": "First day of the crop's season",
    "H_START": "First day on which the harvest is looked for",
    "H_END": "Last day on which the harvest is looked for",
    "P_START": "First day of the practice, declared or found",
    "P_END": "Last day of the practice, declared or found",
    "L_WEEK": "Monday of the last week with backscatter and coherence",
    "H_W_START": "Monday of the week of the harvest",
    "H_W_END": "Sunday of the week of the harvest",
    "H_W_S1": "Monday of the week of the harvest by radar alone",
    "TL_W_START": "Monday of the week of tillage",
    "TL_W_END": "Sunday of the week of tillage",
    "H_EVENT_START": "Last observation before the harvest",
    "H_EVENT_END": "First observation after the harvest",
    "MOW_START": "Last observation before fallow land was mown or mulched",
    "MOW_END": "First observation after fallow land was mown or mulched",
}

_WEEKS: Final[Mapping[str, str]] = {
    "H_WEEK": "ISO number of the week of the harvest",
    "TL_WEEK": "ISO number of the week of tillage",
}

_COUNTS: Final[Mapping[str, tuple[str, str]]] = {
    "S1PIX": ("Pixels of radar inside", "pixel"),
    "S1GAPS": ("Weeks without radar in the year", "week"),
    "H_S1GAPS": ("Weeks without radar from H_START to H_END", "week"),
    "P_S1GAPS": ("Weeks without radar from P_START to P_END", "week"),
    "H_W_S1GAPS": ("Weeks without radar in the 35 days before the harvest's week", "week"),
}

_CONFIDENCES: Final[Mapping[str, str]] = {
    "H_CONF": "Confidence of the harvest, 0 to 1; NaN where nothing was observed",
    "C_CONF": "Confidence that the practice was kept, 0 to 1; NaN where it is not decided",
    "MOW_CONF": "Confidence that fallow land was mown or mulched, 0 to 1; NaN where nothing was observed",
    "TL_CONF": "Confidence of tillage, 0 to 1; NaN where nothing was observed",
}

_SOURCES: Final = {"0": "nothing", "1": "S2", "2": "S1", "3": "S1+S2"}

_YES_OR_NO: Final = {"1": "yes", "0": "no, or it does not apply"}

_CODED: Final[Mapping[str, tuple[str, str, Mapping[str, str]]]] = {
    "STATUS": (
        "Whether the parcel could be judged, and if not, why",
        "code",
        {str(int(one)): REASONS[one] or "judged" for one in Status},
    ),
    "PRACTICE": ("Declared practice", "code", {str(int(code)): name for name, code in PRACTICE_NAMES.items()}),
    "C_INDEX": ("How sure it is that the practice is there", "code", _names(Index)),
    "H_SOURCE": ("What the harvest stands on", "code", _SOURCES),
    "C_SOURCE": ("What was seen of the period of the practice", "code", _SOURCES),
    "H_QUALITY": ("Whether two weeks or more without radar lie before the harvest's week", "code", _YES_OR_NO),
    "C_QUALITY": ("Whether two weeks or more of the practice are without radar", "code", _YES_OR_NO),
}

_RULES: Final[Mapping[str, str]] = {
    "STATUS": "enough coherence values, in one orbit too, NDVI, pixels of radar, and a declared period",
    "PRACTICE": "PRACTICE of the table of practices; NA without one",
    "VEG_START": "of the table; without one the season's first day",
    "H_START": "of the table; without one the season's first day",
    "H_END": "of the table; without one the season's last day",
    "P_START": "of the table; for catch crops with an open P_END the last loss before it",
    "P_END": "of the table; for catch crops with an open one P_START and catch_crop_days",
    "L_WEEK": "the last week that has both",
    "M1": "weekly NDVI above ndvi_vegetation in this or an earlier week from VEG_START on",
    "M2": "weekly NDVI falls below ndvi_up or ndvi_down, from more than ndvi_before_loss, since H_START",
    "M3": "weekly VV - VH over the mean of the three weeks before, by more than backscatter_loss_db and its deviation",
    "M4": "weekly highest VV - VH above the season's mean less its deviation",
    "M5": "coherence grows by coherence_rise, or is at least coherence_level",
    "M6": "any NDVI from practice_ndvi on in the period",
    "M7": "no NDVI below practice_ndvi_least, and practice_ndvi reached or no fall",
    "M8": "no fall of NDVI below practice_ndvi_down or practice_ndvi_up",
    "M9": "no significant slope of VV - VH of practice_backscatter_slope_db a day",
    "M10": "coherence neither grows by practice_coherence_rise nor reaches practice_coherence_level",
    "H_WEEK": "first week from H_START on in which M1 to M5 are TRUE together",
    "H_W_START": "first week from H_START on in which M1 to M5 are TRUE together",
    "H_W_END": "first week from H_START on in which M1 to M5 are TRUE together",
    "H_W_S1": "the same without M2, NDVI's loss",
    "C_INDEX": "catch crops: FALSE among M6 to M10: none STRONG, 1 MODERATE, 2 WEAK, more POOR; others by rules of the "
    "country on M6, M8, M10 and the harvest",
    "S1PIX": "most pixels of any acquisition",
    "S1GAPS": "whole weeks that lie between two weeks with radar",
    "H_S1GAPS": "as S1GAPS, in these days",
    "P_S1GAPS": "as S1GAPS, in these days",
    "H_W_S1GAPS": "as S1GAPS, in these days",
    "H_QUALITY": "a harvest by radar was found, and H_W_S1GAPS is 2 or more",
    "C_QUALITY": "P_S1GAPS is 2 or more",
    "TL_WEEK": "first week after the harvest's in which M5, by tillage_coherence_*, turns FALSE; none after NDVI of "
    "vegetation",
    "H_CONF": "weights of practices.improved for what NDVI and each orbit show in the week of the harvest",
    "H_SOURCE": "which of them speak for it",
    "H_EVENT_START": "looks and pairs around the week of the harvest",
    "H_EVENT_END": "looks and pairs around the week of the harvest",
    "C_CONF": "weights of practices.improved for cover and loss in the period of the practice",
    "C_SOURCE": "whether looks or orbits watched the period",
    "MOW_START": "fall of NDVI or rise of coherence on fallow land in its period",
    "MOW_END": "fall of NDVI or rise of coherence on fallow land in its period",
    "MOW_CONF": "weights of practices.improved for these",
    "TL_CONF": "weights of practices.improved for the fall of coherence and bare ground after the harvest",
    "TL_W_START": "as TL_WEEK",
    "TL_W_END": "as TL_WEEK",
}
"""What decides each column: the rule, with the keys of ``practices.rules``."""

_OF_THE_HARVEST: Final = "the week from H_START on whose strands (NDVI, coherence and VV - VH of each orbit) weigh most"

_IMPROVED_RULES: Final[Mapping[str, str]] = {
    "STATUS": "what is missing; whatever is there is judged by",
    "P_START": "of the table; for catch crops with an open P_END the last sign of work on the field before it",
    "M2": "NDVI falls to bare ground, or BSI and SWIR1 show bare ground for the first time",
    "M3": "VV - VH of an orbit grows over the acquisitions before by more than its usual changes, and lasts",
    "M4": "VV - VH of an orbit above the season's mean less its deviation",
    "M5": "coherence of an orbit grows by coherence_rise, scaled to pairs of practices.improved.pair_days, and lasts",
    "M7": "NDVI stays from practice_ndvi_least on once it has come up",
    "M9": "no orbit shows a lasting growth of VV - VH in the period",
    **dict.fromkeys(("H_WEEK", "H_W_START", "H_W_END"), _OF_THE_HARVEST),
    "H_W_S1": "the same without NDVI",
    "C_INDEX": "C_CONF by strong_confidence, moderate_confidence and weak_confidence of practices.improved",
    **dict.fromkeys(
        ("TL_WEEK", "TL_W_START", "TL_W_END"),
        "week after the harvest in which coherence of bare ground falls by practices.improved.tillage_fall",
    ),
}
"""Those that are others in improved mode."""

_ORDER: Final = (
    *(
        "STATUS",
        "PRACTICE",
        "VEG_START",
        "H_START",
        "H_END",
        "P_START",
        "P_END",
        "L_WEEK",
        "M1",
        "M2",
        "M3",
        "M4",
        "M5",
    ),
    *("H_WEEK", "H_W_START", "H_W_END", "H_W_S1", "M6", "M7", "M8", "M9", "M10", "C_INDEX", "S1PIX", "S1GAPS"),
    *("H_S1GAPS", "P_S1GAPS", "H_W_S1GAPS", "H_QUALITY", "C_QUALITY"),
)
_TILLAGE: Final = ("TL_WEEK", "TL_W_START", "TL_W_END")
_ADDED: Final = ("H_CONF", "H_SOURCE", "H_EVENT_START", "H_EVENT_END", "C_CONF", "C_SOURCE")
_ADDED_FALLOW: Final = ("MOW_START", "MOW_END", "MOW_CONF")
_ADDED_TILLAGE: Final = ("TL_CONF",)


def product_schema(metadata: Mapping[str, str], *, tillage: bool, improved: bool = False) -> pa.Schema:
    """Columns of a file, the parcel first; names of the reference's table where it has them."""
    fields = [_field(ID, pa.int32(), "Parcel", "")]
    fields += [_described(name, improved=improved) for name in (*_ORDER, *(_TILLAGE if tillage else ()))]
    if improved:
        fields += [_described(name, improved=True) for name in added_columns(tillage=tillage)]
    return pa.schema(fields, metadata={"contract": CONTRACT, **metadata})


def added_columns(*, tillage: bool) -> tuple[str, ...]:
    """Columns of the improved rules beside those of the reference."""
    return (*_ADDED, *_ADDED_FALLOW, *(_ADDED_TILLAGE if tillage else ()))


def _described(name: str, *, improved: bool) -> pa.Field:
    field = _bare(name, improved=improved)
    rule = (_IMPROVED_RULES.get(name) if improved else None) or _RULES[name]
    return field.with_metadata({**field.metadata, "rule": rule})


def _bare(name: str, *, improved: bool) -> pa.Field:
    """Without the rule."""
    if name == "STATUS" and improved:
        text, unit, codes = _CODED[name]
        return _field(name, pa.int8(), text, unit, {**codes, **{str(int(k)): v for k, v in _IMPROVED_STATUS.items()}})
    if name in _CODED:
        return _field(name, pa.int8(), *_CODED[name])
    if name in _CONFIDENCES:
        return _field(name, pa.float32(), _CONFIDENCES[name], "1")
    if name in _MARKERS:
        text = _IMPROVED_MARKERS.get(name, _MARKERS[name]) if improved else _MARKERS[name]
        return _field(name, pa.int8(), text, "code", _MARKER_CODES)
    if name in _COUNTS:
        return _field(name, pa.int32(), *_COUNTS[name], _DAY_CODES)
    texts, unit = (_DAYS, _DAY) if name in _DAYS else (_WEEKS, "week")
    return _field(name, pa.int32(), texts[name], unit, _DAY_CODES)


def _field(name: str, kind: pa.DataType, long_name: str, unit: str, codes: Mapping[str, str] | None = None) -> pa.Field:
    described = {"long_name": long_name, "unit": unit, **({"codes": canonical_json(codes)} if codes else {})}
    return pa.field(name, kind, nullable=False, metadata=described)
