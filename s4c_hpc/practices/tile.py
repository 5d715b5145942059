"""What is said of the parcels of a tile, a block at a time: the rules of each practice on the parcels that have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.config import Config
from s4c_hpc.config.practices import OpticalEventRules, PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.confounders.doubts import Doubts
from s4c_hpc.confounders.read import ConfounderFile
from s4c_hpc.parcels import BLOCK
from s4c_hpc.practices.codes import NA_DAY, PRACTICE_NAMES, Practice, Status
from s4c_hpc.practices.days import as_yyyymmdd
from s4c_hpc.practices.declared import Declared, without_practice
from s4c_hpc.practices.enough import status_of
from s4c_hpc.practices.improved.decisions import Decisions
from s4c_hpc.practices.improved.doubted import doubts_of
from s4c_hpc.practices.improved.evidence import evidence_batch
from s4c_hpc.practices.improved.judge import judge_improved
from s4c_hpc.practices.improved.season import Season
from s4c_hpc.practices.judge import Columns, judge
from s4c_hpc.practices.product import ID
from s4c_hpc.practices.read import Block, Source, last_day, read_block
from s4c_hpc.practices.table import PracticeTable
from s4c_hpc.series.layers import Ids


@dataclass(frozen=True, slots=True)
class Asked:
    """What a task is asked for, from its parameters."""

    params: Mapping[str, Any]
    config: Config

    @property
    def rules(self) -> dict[Practice, PracticeRules]:
        """Thresholds by practice."""
        return {PRACTICE_NAMES[name]: PracticeRules(**values) for name, values in self.params["rules"].items()}

    @property
    def improved(self) -> ImprovedRules | None:
        """Weights of the improved rules; ``None`` in reference mode."""
        own = self.params.get("improved")
        return None if own is None else ImprovedRules(**own)

    @property
    def optical(self) -> OpticalEventRules:
        """What harvests look like in optical series; the defaults in reference mode, which does not ask."""
        return OpticalEventRules(**self.params.get("optical", {}))

    @property
    def year(self) -> int:
        """Year of the harvest."""
        return self.config.site.season_end.year


@dataclass(frozen=True, slots=True)
class Evidence:
    """Rows of evidence, a batch a block of parcels, in the order in which blocks are judged."""

    schema: pa.Schema
    batches: list[pa.RecordBatch]


def batches(
    schema: pa.Schema,
    asked: Asked,
    sources: Sequence[Source],
    ids: Ids,
    table: PracticeTable | None,
    counted: Counter[int],
    evidence: Evidence | None = None,
    confounders: ConfounderFile | None = None,
) -> Iterator[pa.RecordBatch]:
    """One a block of parcels; how many have which status is added to ``counted``.

    Parameters
    ----------
    evidence : takes what decisions of the improved rules stand on
    confounders : what else may have moved radar, as far as it is known
    """
    rules = asked.rules
    for start in range(0, ids.size, BLOCK):
        block = ids[start : start + BLOCK]
        seen = read_block(sources, block, rules[Practice.NA], with_rise=asked.improved is None)
        rows = np.arange(start, start + block.size)
        doubts = None if asked.improved is None else doubts_of(confounders, sources, block)
        columns, decisions = _columns(schema, asked, rules, seen, doubts, table, rows)
        columns[ID] = block
        if evidence is not None:
            evidence.batches.append(evidence_batch(evidence.schema, block, decisions))
        counted.update(columns["STATUS"].tolist())
        yield pa.RecordBatch.from_arrays([pa.array(columns[name]) for name in schema.names], schema=schema)


def _columns(
    schema: pa.Schema,
    asked: Asked,
    rules: Mapping[Practice, PracticeRules],
    seen: Block,
    doubts: Doubts | None,
    table: PracticeTable | None,
    rows: NDArray[np.int64],
) -> tuple[Columns, list[Decisions]]:
    """All columns but the parcel, and the decisions of the improved rules."""
    n = rows.size
    absent = {pa.int32(): np.int32(NA_DAY), pa.float32(): np.float32(np.nan)}
    columns: Columns = {f.name: np.full(n, absent.get(f.type, 0), f.type.to_pandas_dtype()) for f in schema}
    decisions: list[Decisions] = []
    until = last_day(asked.year, asked.config.site.season_end)
    for practice, own in rules.items():
        chosen = np.ones(n, bool) if table is None else _has(table, rows, practice)
        if not chosen.any():
            continue
        declared = _declared(asked, table, rows[chosen], practice)
        pixels = None if seen.s1_pixels is None else seen.s1_pixels[chosen]
        observed = seen.observed.of(chosen)
        status = status_of(observed, seen.orbit, pixels, declared, own)
        status = np.where(seen.there[chosen], status, np.int8(Status.NO_SERIES)).astype(np.int8)
        if table is not None:
            status = np.where(table.practice[rows[chosen]] < 0, np.int8(Status.NO_SEASON), status).astype(np.int8)
        if asked.improved is None or doubts is None:
            made = judge(observed, declared, own, status, until)
        else:
            season = Season(
                seen=observed,
                amplitude_orbit=seen.amplitude_orbit,
                coherence_orbit=seen.orbit,
                doubts=doubts.of(chosen),
                ground={name: values[chosen] for name, values in seen.ground.items()},
            )
            made, own_decisions = judge_improved(season, declared, own, asked.improved, asked.optical, status, until)
            decisions += [one.moved(np.flatnonzero(chosen)) for one in own_decisions]
        made |= {
            "STATUS": status,
            "PRACTICE": np.full(int(chosen.sum()), practice, np.int8),
            "VEG_START": as_yyyymmdd(declared.veg_start),
            "H_START": as_yyyymmdd(declared.h_start),
            "H_END": as_yyyymmdd(declared.h_end),
        }
        for name, values in made.items():
            columns[name][chosen] = values
    if seen.s1_pixels is not None:
        columns["S1PIX"] = seen.s1_pixels.astype(np.int32)
    return columns, decisions


def _has(table: PracticeTable, rows: NDArray[np.int64], practice: Practice) -> NDArray[np.bool_]:
    """(n,) rows with a practice; those without any go with the parcels of which nothing is declared."""
    own = table.practice[rows]
    chosen: NDArray[np.bool_] = own == practice
    return chosen | (own < 0) if practice == Practice.NA else chosen


def _declared(asked: Asked, table: PracticeTable | None, rows: NDArray[np.int64], practice: Practice) -> Declared:
    country = asked.params["country"]
    if table is not None:
        return table.declared(rows, practice, country, asked.year)
    return without_practice(rows.size, country, asked.config.site.season_start, asked.config.site.season_end)
