"""What marker files say was decided about some parcels, and which periods are declared of them.

Mowing is read from ``l4b``, practices from ``l4c-evidence`` where it is there, else from the codes of ``l4c``. Values
that a decision stands on are taken as the files describe them: a column more is shown without a change here.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.config import Config
from s4c_hpc.config.mowing import ImprovedRules, OpticalRules
from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.confounders.doubts import Doubt
from s4c_hpc.core.errors import S4cError
from s4c_hpc.core.ipc import open_ipc, read_metadata
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers import read_manifest
from s4c_hpc.mowing.contract import EVENTS as MOWING_EVENTS
from s4c_hpc.mowing.contract import PARCELS as MOWING_PARCELS
from s4c_hpc.mowing.contract import period_of
from s4c_hpc.mowing.detector import EVIDENCE as MOWING_EVIDENCE
from s4c_hpc.practices.codes import NA_DAY, PRACTICE_NAMES, REASONS, Index, Practice, Status
from s4c_hpc.practices.improved.evidence import EVIDENCE_SET, evidence_of
from s4c_hpc.practices.stage_practices import SET as PRACTICES
from s4c_hpc.report.decision import Decision, Evidence, Period
from s4c_hpc.series.contract import ID

_NAMED: Final = (ID, "decision", "verdict", "start", "end", "confidence", "source", "doubts", "reason")
_KINDS: Final = {Practice.CATCH_CROP: "catch-crop", Practice.FALLOW: "fallow", Practice.NFC: "nitrogen-fixing"}
_VERDICTS: Final = {Index.STRONG: "strong", Index.MODERATE: "moderate", Index.WEAK: "weak", Index.POOR: "poor"}
_OF_PRACTICE: Final = ("practice_ndvi", "practice_ndvi_down", "practice_ndvi_up", "practice_coherence_level")
_LIMITS: Final[Mapping[str, Sequence[str]]] = {
    "harvest": (
        *("ndvi_vegetation", "ndvi_down", "ndvi_up"),
        *("backscatter_loss_db", "coherence_rise", "coherence_level"),
    ),
    "tillage": ("tillage_coherence_rise", "tillage_coherence_level"),
    **dict.fromkeys(_KINDS.values(), _OF_PRACTICE),
}
"""Thresholds of a decision that a person may compare a value with."""


@dataclass(frozen=True, slots=True)
class Known:
    """Of one parcel."""

    decisions: list[Decision] = field(default_factory=list)
    periods: list[Period] = field(default_factory=list)


def read_decisions(
    workspace: Workspace, config: Config, ids: Sequence[int], tiles: Sequence[str] | None = None
) -> dict[int, Known]:
    """By parcel; those of which nothing is said are not among them.

    Parameters
    ----------
    ids : NewIDs
    tiles : where they are; all by default

    Raises
    ------
    InputError
        If a file is damaged.
    """
    found: defaultdict[int, Known] = defaultdict(Known)
    year = str(config.site.season_end.year)
    season = period_of(config.site.season_start, config.site.season_end)

    def rows(kind: str, period: str) -> Iterator[tuple[Path, pa.Table]]:
        return _tables(workspace, config, kind, period, ids, tiles)

    for path, table in rows(PRACTICES, year):
        thresholds = _thresholds_of(path)
        rules = {
            row[ID]: _rules(Practice(row["PRACTICE"]), thresholds) for row in table.select([ID, "PRACTICE"]).to_pylist()
        }
        told = _add_evidence(found, evidence_of(path), ids, rules)
        _add_practices(found, table, rules, told)
    for _, table in rows(MOWING_PARCELS, season):
        for row in table.to_pylist():
            if not row["assessed"] or not row["mow_n"]:
                found[row[ID]].decisions.append(_no_mowing(row))
    for _, table in rows(MOWING_EVENTS, season):
        described, limits = _described(table), _of_detector(read_metadata(table.schema))
        for row in table.to_pylist():
            found[row[ID]].decisions.append(_mowing(row, described, limits))
    return dict(found)


def _add_evidence(
    found: defaultdict[int, Known], path: Path | None, ids: Sequence[int], rules: Mapping[int, Mapping[str, Evidence]]
) -> frozenset[int]:
    """Decisions of a file of evidence, if there is one; parcels that it speaks of."""
    if path is None:
        return frozenset()
    table = _rows_of(path, ids)
    described, every = _described(table), table.to_pylist()
    for row in every:
        found[row[ID]].decisions.append(_from_evidence(row, described, rules.get(row[ID], {})))
    return frozenset(row[ID] for row in every)


def _add_practices(
    found: defaultdict[int, Known],
    table: pa.Table,
    rules: Mapping[int, Mapping[str, Evidence]],
    told: frozenset[int],
) -> None:
    """Declared periods, and decisions of parcels (not ``told``) of which no file with evidence speaks."""
    described = _described(table)
    is_declared = bool(read_metadata(table.schema).get("table"))
    for row in table.to_pylist():
        found[row[ID]].periods.extend(_periods(row, is_declared=is_declared))
        if row[ID] not in told:
            found[row[ID]].decisions.extend(_from_codes(row, described, rules[row[ID]]))


def _described(table: pa.Table) -> dict[str, dict[str, str]]:
    return {f.name: read_metadata(f) for f in table.schema}


def _tables(
    workspace: Workspace, config: Config, kind: str, period: str, ids: Sequence[int], tiles: Sequence[str] | None
) -> Iterator[tuple[Path, pa.Table]]:
    """Rows of some parcels of each file."""
    for path in sorted((workspace.markers / kind / period).glob(f"{config.site.name}_*.arrow")):
        if tiles is not None and path.stem.removeprefix(f"{config.site.name}_") not in tiles:
            continue
        yield path, _rows_of(path, ids)


def _rows_of(path: Path, ids: Sequence[int]) -> pa.Table:
    table = open_ipc(path).read_all()
    wanted = pa.array(np.unique(np.asarray(ids, np.int32)), pa.int32())
    return table.filter(pc.is_in(table[ID], value_set=wanted))


def _from_evidence(
    row: Mapping[str, Any], described: Mapping[str, Mapping[str, str]], rules: Mapping[str, Evidence]
) -> Decision:
    return Decision(
        kind=row["decision"],
        verdict=row["verdict"],
        start=row["start"],
        end=row["end"],
        confidence=_number(row["confidence"]),
        source=row["source"] or "",
        doubts=Doubt(row["doubts"] or 0),
        reason=row["reason"] or "",
        evidence=_values(row, [name for name in row if name not in _NAMED], described),
        thresholds=_chosen(rules, _LIMITS.get(row["decision"], ())),
        origin=EVIDENCE_SET,
    )


def _mowing(
    row: Mapping[str, Any], described: Mapping[str, Mapping[str, str]], thresholds: tuple[Evidence, ...]
) -> Decision:
    return Decision(
        kind="mowing",
        verdict="found",
        start=row["start"],
        end=row["end"],
        confidence=_number(row["confidence"]),
        source="+".join(sorted(row["source"].split("/"))),
        doubts=Doubt(row.get("doubts") or 0),
        # The column names doubts alone, and is none of the reasons for which the mowing was found.
        reason=f"doubtful: {said}" if (said := row.get("reason")) else "",
        evidence=_values(row, [name for name in MOWING_EVIDENCE if name in row], described),
        thresholds=thresholds,
        origin=MOWING_EVENTS,
    )


def _no_mowing(row: Mapping[str, Any]) -> Decision:
    return Decision(
        kind="mowing",
        verdict="not found" if row["assessed"] else "undecided",
        reason=row["reason"],
        evidence=(
            Evidence(name="looks", meaning="NDVI looks in the season", value=row["looks"]),
            Evidence(name="pairs", meaning="coherences in the season", value=row["pairs"]),
        ),
        origin=MOWING_PARCELS,
    )


def _from_codes(
    row: Mapping[str, Any],
    described: Mapping[str, Mapping[str, str]],
    rules: Mapping[str, Evidence],
) -> Iterator[Decision]:
    """Decisions of reference mode, whose files hold codes and days as numbers."""
    practice = Practice(row["PRACTICE"])
    status = Status(row["STATUS"])
    radar = _day(row["H_W_S1"])
    alone = "" if radar is None else f"by radar alone it would be in the week of {radar}"
    yield _of_week(row, "harvest", "H_W", REASONS[status], alone, _chosen(rules, _LIMITS["harvest"]))
    if practice in _KINDS:
        verdict = _VERDICTS.get(Index(row["C_INDEX"]), "undecided")
        missing = "data of the period are missing, or it is not over" if verdict == "undecided" else ""
        yield Decision(
            kind=_KINDS[practice],
            verdict=verdict,
            start=_day(row["P_START"]),
            end=_day(row["P_END"]),
            reason=REASONS[status] or missing,
            evidence=_values(row, ("M6", "M7", "M8", "M9", "M10"), described),
            thresholds=_chosen(rules, _LIMITS[_KINDS[practice]]),
            origin=PRACTICES,
        )
    if "TL_W_START" in row:
        yield _of_week(row, "tillage", "TL_W", REASONS[status], "", _chosen(rules, _LIMITS["tillage"]))


def _of_week(
    row: Mapping[str, Any], kind: str, column: str, problem: str, note: str, thresholds: tuple[Evidence, ...]
) -> Decision:
    start, end = _day(row[f"{column}_START"]), _day(row[f"{column}_END"])
    verdict = "found" if start else "undecided" if problem or row[f"{column}_START"] == NA_DAY else "not found"
    return Decision(
        kind=kind,
        verdict=verdict,
        start=start,
        end=end,
        source="S1+S2" if start and kind == "harvest" else "S1" if start else "",
        reason=problem or ("" if start else note) or ("data are missing" if verdict == "undecided" else ""),
        thresholds=thresholds,
        origin=PRACTICES,
    )


def _periods(row: Mapping[str, Any], *, is_declared: bool) -> Iterator[Period]:
    """Periods of a row of practices; without a table the season stands for what is declared, and says nothing."""
    days = {name: _day(row[name]) for name in ("VEG_START", "H_START", "H_END", "P_START", "P_END")}
    if is_declared and (begin := days["VEG_START"]) and (until := days["H_START"] or days["H_END"]):
        yield Period(kind="season", name="crop grows", start=begin, end=max(until, begin))
    if is_declared and (begin := days["H_START"]) and (until := days["H_END"]):
        yield Period(kind="harvest", name="harvest expected", start=begin, end=until)
    if (begin := days["P_START"]) and (until := days["P_END"]) and (kind := _KINDS.get(Practice(row["PRACTICE"]))):
        yield Period(kind="practice", name=f"{kind.replace('-', ' ')}, declared", start=begin, end=until)


def _values(
    row: Mapping[str, Any], names: Sequence[str], described: Mapping[str, Mapping[str, str]]
) -> tuple[Evidence, ...]:
    found = []
    for name in names:
        said = described.get(name, {})
        codes = json.loads(said.get("codes", "{}"))
        value = row[name]
        if isinstance(value, str):
            found.append(Evidence(name=name, meaning=said.get("long_name", name), value=math.nan, text=value))
            continue
        text = codes.get(str(value), "").partition(":")[0] if codes else ""
        meaning = said.get("long_name") or name
        found.append(Evidence(name=name, meaning=meaning, value=_number(value), unit=said.get("unit", ""), text=text))
    return tuple(found)


def _thresholds_of(path: Path) -> dict[str, dict[str, Evidence]]:
    """Thresholds by practice and key, from the manifest beside a file; none where there is no manifest."""
    try:
        rules = read_manifest(path).selection.get("rules", {})
    except S4cError:
        return {}
    meanings = {name: one.description or name for name, one in PracticeRules.model_fields.items()}
    return {practice: _limits(own, meanings) for practice, own in rules.items() if isinstance(own, dict)}


def _rules(practice: Practice, thresholds: Mapping[str, Mapping[str, Evidence]]) -> Mapping[str, Evidence]:
    """Those of a practice, by key."""
    return thresholds.get(next(name for name, code in PRACTICE_NAMES.items() if code == practice), {})


def _chosen(rules: Mapping[str, Evidence], names: Sequence[str]) -> tuple[Evidence, ...]:
    return tuple(rules[name] for name in names if name in rules)


def _of_detector(metadata: Mapping[str, str]) -> tuple[Evidence, ...]:
    """Thresholds of mowing that a person may compare a value with."""
    rules = json.loads(metadata.get("rules", "{}"))
    reference = metadata.get("mode") == "reference"
    own = rules.get("reference", {}).get("optical", {}) if reference else rules.get("improved", {})
    fields = OpticalRules.model_fields if reference else ImprovedRules.model_fields
    names = ("decreasing_abs_th", "high_abs_th", "low_abs_th") if reference else ("min_fall", "min_confidence")
    meanings = {name: fields[name].description or name for name in names}
    return tuple(_limits({name: own[name] for name in names if name in own}, meanings).values())


def _limits(own: Mapping[str, Any], meanings: Mapping[str, str]) -> dict[str, Evidence]:
    return {
        name: Evidence(name=name, meaning=meanings.get(name, name), value=float(value), unit=_unit(name, value))
        for name, value in own.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _unit(name: str, value: float) -> str:
    """NDVI is in thousandths in the rules of practices, whose thresholds are whole numbers."""
    return "thousandths" if "ndvi" in name and isinstance(value, int) else ""


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _day(number: int) -> dt.date | None:
    """``20210726`` as a day; ``None`` for the negative codes of those that are not."""
    return dt.date(number // 10000, number // 100 % 100, number % 100) if number > 0 else None
