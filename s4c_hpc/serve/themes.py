"""What a map may be coloured by: a theme gives each parcel one of a few kinds, with a name and a colour.

Themes come from our own columns of the parcels and from the last period of each result, so every role may see them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.serve.mvt import NONE
from s4c_hpc.serve.results import latest_columns
from s4c_hpc.serve.sites import Season

Codes = NDArray[np.int64]

_CATEGORIES: Final = (
    "#4477aa", "#ccbb44", "#117733", "#ee6677", "#66ccee", "#aa3377", "#774411", "#332288", "#f4a582"
)  # fmt: skip
"""Mostly Paul Tol's (personal.sron.nl/~pault); of those that were tried, told apart best by the colour-blind."""
_OTHER: Final = "#b4b4ae"
_STEPS: Final = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
"""Five of viridis, which grows in lightness."""
_MONTHS: Final = (
    "#0d0887", "#21068f", "#3a049a", "#5e02a4", "#8c0da2", "#b6308b", "#d6556d", "#ed7d50", "#faa836", "#fbcb26",
    "#f5e423", "#f0f921",
)  # fmt: skip
"""Plasma, likewise, with larger steps in the months in which most is harvested."""
_MONTH_NAMES: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_LIGHTS: Final = {"green": "#2e9f5b", "yellow": "#f2c230", "red": "#b3202a", "grey": _OTHER}
"""A dark red: the colour-blind tell it from the green by its lightness."""
_VERDICTS: Final = {"STRONG": "#2c5fa8", "MODERATE": "#7fc0ea", "WEAK": "#fdb863", "POOR": "#a8281e"}
_MOWINGS_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class Kind:
    """One colour of a map."""

    code: int
    name: str
    colour: str


@dataclass(frozen=True, slots=True)
class Theme:
    """A way to colour parcels."""

    name: str
    title: str
    kinds: tuple[Kind, ...]
    codes: Codes
    """(n,) by row of the book; ``NONE`` where nothing is known."""

    def counts(self, rows: NDArray[np.int64]) -> list[int]:
        """How many of some parcels are of each kind."""
        codes = self.codes[rows]
        return [int(np.count_nonzero(codes == one.code)) for one in self.kinds]

    def kind(self, row: int) -> Kind | None:
        """What one parcel is; ``None`` where nothing is known."""
        return next((one for one in self.kinds if one.code == self.codes[row]), None)


def themes_of(season: Season, parcels: pa.Table) -> tuple[Theme, ...]:
    """Themes for which there is anything.

    Parameters
    ----------
    parcels : attributes by NewID, ascending
    """
    ids = parcels["NewID"].to_numpy()
    crops = _named("crop", "Declared crop", _texts(parcels["ori_crop"]), np.arange(ids.size), ids.size)
    found = [crops, *_of_classes(season, ids), *_of_practices(season, ids), *_of_mowing(season, ids)]
    return tuple(one for one in found if one.kinds)


def _of_classes(season: Season, ids: NDArray[np.int32]) -> Iterator[Theme]:
    table, at = _joined(season, "classes", ("CT_pred_1", "CT_conf_1", "light"), ids)
    if table is None:
        return
    if "CT_pred_1" in table.column_names:
        yield _named("class", "Most likely crop type", _texts(table["CT_pred_1"]), at, ids.size)
    if "CT_conf_1" in table.column_names:
        share = table["CT_conf_1"].to_numpy()
        step = np.where(np.isfinite(share), np.clip(np.nan_to_num(share) * 5, 0, 4).astype(np.int64), NONE)
        names = [f"{20 * i} to {20 * i + 20} %" for i in range(5)]
        yield _ordered("confidence", "Confidence of the crop type", step, at, ids.size, names, _STEPS)
    if "light" in table.column_names:
        names = list(_LIGHTS)
        lights = np.array([names.index(one) if one in _LIGHTS else NONE for one in _texts(table["light"])])
        yield _ordered("light", "Check of the declaration", lights, at, ids.size, names, tuple(_LIGHTS.values()))


def _of_practices(season: Season, ids: NDArray[np.int32]) -> Iterator[Theme]:
    columns = ("H_EVENT_START", "H_W_START", "C_INDEX")
    table, at = _joined(season, "practices", columns, ids)
    if table is None:
        return
    day = next((table[name].to_numpy() for name in columns[:2] if name in table.column_names), None)
    if day is not None:  # yyyymmdd; negative numbers say why there is none
        month = np.where(day > 0, day // 100 % 100, 0).astype(np.int64)
        names = ["none found", *_MONTH_NAMES]
        yield _ordered("harvest", "Month of the harvest", month, at, ids.size, names, (_OTHER, *_MONTHS))
    if "C_INDEX" in table.column_names:
        words: dict[str, str] = json.loads((table.schema.field("C_INDEX").metadata or {}).get(b"codes", b"{}"))
        index = table["C_INDEX"].to_numpy()
        names = ["not judged", *(one.lower() for one in _VERDICTS)]
        verdict = np.zeros(index.size, np.int64)
        for code, word in words.items():
            if word in _VERDICTS:
                verdict[index == int(code)] = names.index(word.lower())
        colours = (_OTHER, *_VERDICTS.values())
        yield _ordered("practice", "Evidence of the declared practice", verdict, at, ids.size, names, colours)


def _of_mowing(season: Season, ids: NDArray[np.int32]) -> Iterator[Theme]:
    table, at = _joined(season, "mowing", ("mow_n", "assessed"), ids)
    if table is None:
        return
    number = np.clip(table["mow_n"].to_numpy().astype(np.int64), 0, _MOWINGS_MAX)
    assessed = np.asarray(table["assessed"].to_numpy(), dtype=bool)
    names = [*map(str, range(_MOWINGS_MAX)), f"{_MOWINGS_MAX} or more", "not assessed"]
    codes = np.where(assessed, number, _MOWINGS_MAX + 1)
    yield _ordered("mowings", "Number of mowings", codes, at, ids.size, names, (*_STEPS, _OTHER))


def _joined(
    season: Season, kind: str, columns: Sequence[str], ids: NDArray[np.int32]
) -> tuple[pa.Table | None, NDArray[np.int64]]:
    """The last period of a result, and the row of the book of each of its rows."""
    table = latest_columns(season, kind, columns)
    if table is None or not ids.size:
        return None, np.empty(0, np.int64)
    asked = table["NewID"].to_numpy()
    at = np.minimum(np.searchsorted(ids, asked), ids.size - 1)
    there = ids[at] == asked
    return table.filter(pa.array(there)), at[there]


def _named(name: str, title: str, texts: Sequence[str], at: NDArray[np.int64], n: int) -> Theme:
    """The most frequent texts each with a colour, the rest with one."""
    values, which, counts = np.unique(np.array([*texts, ""]), return_inverse=True, return_counts=True)
    which = which[:-1]
    order = [i for i in np.lexsort((values, -counts)).tolist() if values[i]]
    shown = order[: len(_CATEGORIES)]
    code_of = np.full(values.size, NONE, np.int64)
    code_of[order] = len(_CATEGORIES)
    code_of[shown] = np.arange(len(shown))
    kinds = [Kind(i, str(values[v]), _CATEGORIES[i]) for i, v in enumerate(shown)]
    if len(order) > len(shown):
        kinds.append(Kind(len(_CATEGORIES), f"{len(order) - len(shown)} others", _OTHER))
    return Theme(name, title, tuple(kinds), _spread(code_of[which], at, n))


def _ordered(
    name: str, title: str, codes: Codes, at: NDArray[np.int64], n: int, names: Sequence[str], colours: Sequence[str]
) -> Theme:
    """Kinds that there are, in their own order."""
    there = set(np.unique(codes).tolist())
    kinds = tuple(Kind(i, names[i], colours[i]) for i in range(len(names)) if i in there)
    return Theme(name, title, kinds, _spread(codes, at, n))


def _spread(codes: Codes, at: NDArray[np.int64], n: int) -> Codes:
    out = np.full(n, NONE, np.int64)
    out[at] = codes
    return out


def _texts(column: pa.ChunkedArray) -> list[str]:
    return ["" if one is None else str(one) for one in column.to_pylist()]
