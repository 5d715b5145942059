"""The column names of the reference system (Sen4CAP MDB1), for scripts that were written for its files.

``20180507_mean_NDVI`` and ``20180507_mean_L2A_31UDS_B4``. Only the names are the reference's: values stay
physical (NDVI -1 ... 1, reflectance 0 ... 1), and every pixel that the configuration calls valid counts.

What has no reference name (class counts, other indices, other percentiles) has no place in such a file: it is
left out and reported, since a script that splits these names would take a foreign one for something else.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from s4c_hpc.core.errors import InputError, listing
from s4c_hpc.markers.naming import MarkerName

STATISTICS = {
    "mean": "mean",
    "stdev": "stdev",
    "min": "min",
    "max": "max",
    "median": "median",
    "p25": "p25",
    "p75": "p75",
    "count": "valid_pixels_cnt",
}
"""Ours -> the reference's word."""

VARIABLES = {
    "ndvi": "NDVI",
    "ndwi_gao": "NDWI",
    "brightness_l3b": "BRIGHTNESS",
    "lai": "LAI",
    "fapar": "FAPAR",
    "fcover": "FCOVER",
}
"""Ours -> the reference's type. Its L3B NDWI is Gao's, its L3B brightness sqrt((B04^2 + B03^2) / 2)."""

RADAR_VARIABLES = {
    "vv_sigma0_db": "AMP_VV",
    "vh_sigma0_db": "AMP_VH",
    "vv_coherence": "COHE_VV",
    "vh_coherence": "COHE_VH",
    "vv_minus_vh_db": "AMP_VVVH",
}
"""Ours -> the reference's type and polarisation. What it calls amplitude is backscatter in dB; ``AMP_VVVH`` is the
difference of two means of a parcel, each over its own valid pixels."""

RADAR_SENSORS = frozenset({"s1"})
OPTICAL_SENSORS = frozenset({"s2"})
"""Sensors whose bands the reference calls ``L2A_<tile>_<band>``."""

_BAND = re.compile(r"b(?P<number>[0-9]{1,2})(?P<letter>a?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompatNames:
    """Reference names of a set of columns."""

    names: dict[str, str]
    """Native name -> reference name, in the order given."""
    left_out: tuple[str, ...]
    """Native names that the reference has no name for."""


def compat_name(name: MarkerName, tile: str) -> str | None:
    """What the reference calls this column; ``None`` if it has no name for it.

    The reference drops **all** zeros of a band's number, so that B1 and B10 share a name; here only the leading
    one goes, and B10 stays ``B10``.
    """
    word = STATISTICS.get(name.statistic)
    if word is None or name.variable is None:
        return None
    if name.sensor in RADAR_SENSORS and name.variable in RADAR_VARIABLES:
        orbit = "" if name.orbit is None else f"_{name.orbit[:3]}"
        return f"{name.day:%Y%m%d}_{word}_{RADAR_VARIABLES[name.variable]}{orbit}"
    if name.sensor not in OPTICAL_SENSORS:
        return None
    kind = VARIABLES.get(name.variable)
    if kind is None and (band := _BAND.fullmatch(name.variable)):
        kind = f"L2A_{tile}_B{int(band['number'])}{band['letter'].upper()}"
    return None if kind is None else f"{name.day:%Y%m%d}_{word}_{kind}"


def compat_names(columns: Iterable[MarkerName], tile: str) -> CompatNames:
    """Reference names of the columns of a tile.

    Raises
    ------
    InputError
        If two columns would share a name: the reference keeps no time, so two acquisitions of one day do.
    """
    names: dict[str, str] = {}
    left_out: list[str] = []
    taken: dict[str, list[str]] = defaultdict(list)
    for column in columns:
        reference = compat_name(column, tile)
        if reference is None:
            left_out.append(str(column))
        else:
            names[str(column)] = reference
            taken[reference].append(str(column))
    if clashes := sorted(f"{reference} <- {' and '.join(of)}" for reference, of in taken.items() if len(of) > 1):
        raise InputError(
            f"reference names that are not unique: {listing(clashes)}",
            where=f"tile {tile}",
            hint="the reference's names have no time of day; choose columns of one acquisition a day, or native names",
        )
    return CompatNames(names=names, left_out=tuple(left_out))
