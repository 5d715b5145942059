"""What every column of every marker set means: from the files, or from what will be written before anything has run.

One source for ``s4c markers describe`` and for the dictionary of the report.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from s4c_hpc.classify.outputs import SET as CROPS
from s4c_hpc.classify.outputs import crop_schema
from s4c_hpc.config import Config
from s4c_hpc.core.errors import NoInputsError, listing
from s4c_hpc.core.ipc import open_ipc, read_metadata
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers.sets import Selection
from s4c_hpc.mowing.contract import EVENTS, MowingHeader, event_schema, parcel_schema
from s4c_hpc.mowing.contract import PARCELS as MOWN_PARCELS
from s4c_hpc.optical.catalogue import resolve
from s4c_hpc.practices.improved.evidence import EVIDENCE_SET, evidence_schema
from s4c_hpc.practices.product import product_schema
from s4c_hpc.practices.stage_practices import SET as PRACTICES
from s4c_hpc.report.dictionary import dictionary
from s4c_hpc.report.marker_files import marker_files
from s4c_hpc.series.contract import CLASS_COUNTS, ID, PIXEL

FEATURES: Final = "features"
"""Name under which features are described; their files are below ``tiles``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column, or a family of columns that differ in date, statistic or class only."""

    set_name: str
    name: str
    """``C_INDEX``; of a family a pattern, ``s2_ndvi_{statistic}__{date}``."""
    kind: str
    """Arrow type."""
    unit: str
    """``1`` is a pure number."""
    meaning: str
    rule: str = ""
    """What decides the value: formula, thresholds by their keys in the configuration."""
    codes: Mapping[str, str] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """For tables: codes in one text."""
        return {
            "set": self.set_name,
            "column": self.name,
            "type": self.kind,
            "unit": self.unit,
            "meaning": self.meaning,
            "codes": "; ".join(f"{code} = {text}" for code, text in self.codes.items()),
            "rule": self.rule,
        }


def describe(workspace: Workspace | None, config: Config | None, set_name: str | None = None) -> tuple[Column, ...]:
    """Columns of a set, or of all: those of the files where there are any, else those that would be written.

    Parameters
    ----------
    workspace : whose files count; without one only what will be written is known
    config : names the sets of values of dates; without one they are left out

    Raises
    ------
    NoInputsError
        If there is no such set.
    """
    tables = _tables()
    dated = [one.name for one in config.markers.sets] if config else []
    known = [*dated, FEATURES, *tables]
    if set_name is not None and set_name not in known:
        raise NoInputsError(f"there is no marker set {set_name!r}", hint=f"there are {listing(known)}")
    found: list[Column] = []
    for name in known if set_name is None else [set_name]:
        if config is not None and name in dated:
            found += _dated(workspace, config, name)
        elif name == FEATURES:
            found += _features(workspace)
        else:
            found += _of_schema(name, _schema_of_file(workspace, name) or tables[name])
    return tuple(found)


def tables_there(workspace: Workspace) -> dict[str, list[Column]]:
    """Sets whose columns are facts of the whole season and of which there are files."""
    return {
        name: list(_of_schema(name, schema))
        for name in _tables()
        if (schema := _schema_of_file(workspace, name)) is not None
    }


def _tables() -> dict[str, pa.Schema]:
    """Sets whose columns are facts of the whole season, as they will be written."""
    nothing = MowingHeader(set="", period="", site="", tile="", parcels="", mode="", rules="", task="")
    return {
        CROPS: crop_schema({}),
        EVENTS: event_schema(nothing),
        MOWN_PARCELS: parcel_schema(nothing),
        PRACTICES: product_schema({}, tillage=True, improved=True),
        EVIDENCE_SET: evidence_schema({}),
    }


def _schema_of_file(workspace: Workspace | None, name: str) -> pa.Schema | None:
    if workspace is None:
        return None
    path = next(iter(sorted(workspace.markers.glob(f"{name}/*/*.arrow"))), None)
    return None if path is None else open_ipc(path).schema


def _of_schema(name: str, schema: pa.Schema) -> Iterator[Column]:
    contract = {f.name: read_metadata(f) for f in _tables()[name]} if name in _tables() else {}
    for one in schema:
        # A file of an earlier version may say less than the contract does today.
        said = {**contract.get(one.name, {}), **read_metadata(one)}
        yield _column(name, one.name, str(one.type), said)


def _column(set_name: str, name: str, kind: str, said: Mapping[str, str]) -> Column:
    return Column(
        set_name=set_name,
        name=name,
        kind=kind,
        unit=said.get("unit", ""),
        meaning=said.get("long_name", ""),
        rule=said.get("rule", "") or said.get("formula", "") or said.get("source", ""),
        codes=json.loads(said.get("codes", "{}")),
    )


def _dated(workspace: Workspace | None, config: Config, name: str) -> Iterator[Column]:
    """Families of columns of values of dates."""
    yield Column(set_name=name, name=ID, kind="int32", unit="", meaning="Parcel")
    files = marker_files(workspace, config) if workspace else ()
    found = dictionary(workspace, tuple(f for f in files if f.set_name == name)) if workspace else None
    if found is None:
        yield from _expected(config, name)
        return
    for entry in found.entries:
        if "_n_{class}" in entry.pattern:
            yield _of_classes(name, entry.pattern, entry.names)
        else:
            yield Column(
                set_name=name,
                name=entry.pattern,
                kind="float",
                unit=entry.unit,
                meaning=entry.meaning,
                rule=entry.formula,
                codes=_statistics(entry.names),
            )


_CLASSES: Final = {
    column.removeprefix("n_"): "all pixels" if category is None else f"pixels that are {category.value}"
    for column, category in CLASS_COUNTS.items()
}
_STATISTICS: Final = {
    "count": "pixels that the others stand on",
    "mean": "mean",
    "stdev": "standard deviation",
    "min": "lowest",
    "max": "highest",
    "median": "median",
}


def _statistics(names: Iterable[str]) -> dict[str, str]:
    return {name: _STATISTICS.get(name, f"quantile of {name.removeprefix('p')} %") for name in names}


def _of_classes(set_name: str, pattern: str, names: Iterable[str]) -> Column:
    codes = {name: _CLASSES[name] for name in names}
    return Column(
        set_name=set_name, name=pattern, kind="int32", unit=PIXEL, meaning="Pixels of the parcel by class", codes=codes
    )


def _expected(config: Config, name: str) -> Iterator[Column]:
    """The same before there are files."""
    chosen = next(Selection.of(one) for one in config.markers.sets if one.name == name)
    if chosen.class_counts:
        yield _of_classes(name, "{sensor}_{grid}_n_{class}__{date}", _CLASSES)
    for variable in resolve(config.variables):
        every = variable.statistics_of(config.variables.statistics)
        if kept := [one for one in every if chosen.keeps(f"{variable.name}_{one}")]:
            formula = variable.formula.text
            yield Column(
                set_name=name,
                name=f"{{sensor}}_{variable.name}_{{statistic}}__{{date}}",
                kind="float",
                unit=variable.unit,
                meaning=variable.long_name,
                rule="" if formula.isalnum() else formula,
                codes=_statistics(kept),
            )


_NAMED_FEATURES: Final = (
    ("XX_{date}_{sensor}_mean_{feature}", "Mean of an index or band over the parcel in a period", "1"),
    ("XX_{date}_{sensor}_dev_{feature}", "Its standard deviation within the parcel", "1"),
    ("XX_{date}_{sensor}_observed", "Share of the pixels that were observed in the period, not interpolated", "1"),
    ("XX_{sensor}_pixels", "Pixels of the parcel", PIXEL),
    ("XX_W{week}_{pass}_{polarisation}_BCK_{moment}", "Backscatter of a week, linear, or its moment", "1"),
    ("XX_M{month}_{pass}_{polarisation}_{kind}_{moment}", "Moment over the weeks of a month", "1"),
    ("XX_S_{polarisation}_{kind}_{moment}", "Moment over the season", "1"),
)
_STAMP: Final = re.compile(r"(?<=XX_)(?:\d{4}_\d{2}_\d{2}|[WMS]\d{4,6})(?=_)")


def _features(workspace: Workspace | None) -> Iterator[Column]:
    paths = sorted(workspace.root.glob("tiles/*/features/*/*.arrow")) if workspace else []
    if not paths:
        rule = "composites of features.every_days per pixel, gaps filled up to features.max_gap_days, then the parcel"
        for name, meaning, unit in _NAMED_FEATURES:
            yield Column(set_name=FEATURES, name=name, kind="float", unit=unit, meaning=meaning, rule=rule)
        return
    families: dict[str, Column] = {}
    for path in paths:
        for one in open_ipc(path).schema:
            pattern = _STAMP.sub("{period}", one.name)
            families.setdefault(pattern, _column(FEATURES, pattern, str(one.type), read_metadata(one)))
    yield from families.values()


def by_set(columns: Sequence[Column]) -> dict[str, list[Column]]:
    """Columns by set, in their order."""
    found: dict[str, list[Column]] = {}
    for one in columns:
        found.setdefault(one.set_name, []).append(one)
    return found
