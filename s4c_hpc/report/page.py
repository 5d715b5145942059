"""The page as a value: everything that the template shows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from markupsafe import Markup
from numpy.typing import NDArray

from s4c_hpc.config import Config
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.drawing.svg import spread
from s4c_hpc.report.coverage import Coverage, coverage, time_axis
from s4c_hpc.report.decision import Decision, Period
from s4c_hpc.report.density_map import DensityMap, density_map
from s4c_hpc.report.describe import Column, tables_there
from s4c_hpc.report.dictionary import Dictionary, dictionary
from s4c_hpc.report.efficiency import Efficiency, efficiency
from s4c_hpc.report.findings import Findings, Outcome, findings, outcome
from s4c_hpc.report.marker_files import marker_files
from s4c_hpc.report.marker_scan import MarkerScan, scan_markers
from s4c_hpc.report.parcel_map import MAX_OUTLINES, Crop, ParcelMap, crop_slots, parcel_map
from s4c_hpc.report.questions import QUESTIONS, Question
from s4c_hpc.report.read_decisions import Known, read_decisions
from s4c_hpc.report.sky import CATEGORIES, Sky, sky_states, usable_columns
from s4c_hpc.report.sources import Parcels, Sources, read_sources
from s4c_hpc.report.time_axis import TimeAxis
from s4c_hpc.report.timeline import DecisionStrip, Observation, OpticalStrip, PeriodStrip, Strip, timeline_svg
from s4c_hpc.report.timeline.optical import value_range
from s4c_hpc.report.timeline.picture import axis_of
from s4c_hpc.report.usage import Usage, usage

MAX_PRODUCTS = 500
"""Rows of the product table."""


@dataclass(frozen=True, kw_only=True)
class ParcelCard:
    """One parcel with its time line."""

    new_id: int
    name: str
    crop: str
    tile: str
    area_m2: float | None
    n_clear: int
    n_dates: int
    drawing: Markup
    observations: tuple[Observation, ...]
    decisions: tuple[Decision, ...] = ()
    periods: tuple[Period, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """All parts of the report; a part is ``None`` while the step that makes its data has not run."""

    workspace: Workspace
    config: Config
    generated: dt.datetime
    version: str
    sources: Sources
    outcome: Outcome
    scan: MarkerScan
    coverage: Coverage
    crops: tuple[Crop, ...]
    parcel_map: ParcelMap | None
    density_map: DensityMap | None
    cards: tuple[ParcelCard, ...]
    findings: Findings
    usage: Usage | None
    efficiency: Efficiency
    dictionary: Dictionary | None
    tables: Mapping[str, Sequence[Column]]
    """Sets whose columns are facts of the season, those that are there."""
    questions: tuple[Question, ...]
    """Those that they answer."""


def make_page(workspace: Workspace, config: Config, *, generated: dt.datetime, version: str) -> Page:
    """Read the workspace and prepare every part of the report.

    Raises
    ------
    InputError
        If a file of the workspace is there but damaged.
    """
    sources = read_sources(workspace)
    parcels = sources.parcels
    shown = _shown_rows(parcels, config)
    files = marker_files(workspace, config)
    scan = scan_markers(files, config, [] if parcels is None else parcels.new_id[shown].tolist())
    cards = () if parcels is None else _cards(workspace, parcels, shown, scan, config)
    found = findings(sources, scan)
    tables = tables_there(workspace)
    outlines = density = None
    if parcels is not None and parcels.n > MAX_OUTLINES:
        density = density_map(parcels)
    elif parcels is not None and parcels.n > 0:
        outlines = parcel_map(parcels, *_dates(parcels, scan), [c.new_id for c in cards])
    return Page(
        workspace=workspace,
        config=config,
        generated=generated,
        version=version,
        sources=sources,
        outcome=outcome(sources, found),
        scan=scan,
        coverage=coverage(scan, config),
        crops=() if parcels is None else crop_slots(parcels),
        parcel_map=outlines,
        density_map=density,
        cards=cards,
        findings=found,
        usage=usage(sources),
        efficiency=efficiency(workspace),
        dictionary=dictionary(workspace, files),
        tables=tables,
        questions=tuple(one for one in QUESTIONS if set(one.sets) & tables.keys()),
    )


def _shown_rows(parcels: Parcels | None, config: Config) -> list[int]:
    """Rows that get a time line: spread over the list by id, so that two reports show the same ones."""
    if parcels is None:
        return []
    by_id = np.argsort(parcels.new_id, kind="stable")
    return [int(by_id[i]) for i in spread(parcels.n, config.report.parcels)]


def _dates(parcels: Parcels, scan: MarkerScan) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(n_parcels,) clear and all dates, in the order of the parcel file; none for a parcel without markers."""
    n_clear, n_dates = np.zeros(parcels.n, np.int32), np.zeros(parcels.n, np.int32)
    _, rows, slots = np.intersect1d(parcels.new_id, scan.new_id, return_indices=True)
    n_clear[rows], n_dates[rows] = scan.n_clear[slots], scan.n_dates[slots]
    return n_clear, n_dates


def _cards(
    workspace: Workspace, parcels: Parcels, shown: list[int], scan: MarkerScan, config: Config
) -> tuple[ParcelCard, ...]:
    n_clear, n_dates = _dates(parcels, scan)
    axis = time_axis(scan, config)
    variable = scan.choice.variable
    name = f"{variable.upper()}" + (" (median)" if scan.choice.statistic == "median" else "")
    rows = parcels.table.select(["NewID", "ori_id", "ori_crop", "tile", "Area_meters"]).take(
        pa.array(shown, pa.int64())
    )
    series = {int(new_id): _observations(scan, i, config) for i, new_id in enumerate(scan.shown.new_id)}
    values = value_range([o for observations in series.values() for o in observations], variable)
    known = read_decisions(workspace, config, parcels.new_id[shown].tolist()) if shown else {}
    days = axis_of(axis.start, axis.end)
    cards = []
    for place, row in zip(shown, rows.to_pylist(), strict=True):
        observations = series.get(row["NewID"], ())
        own = known.get(row["NewID"], Known())
        svg = timeline_svg(
            [*_said(own, days), OpticalStrip(observations=observations, variable=name, values=values)],
            title=f"{name or 'Sky'} of parcel {row['ori_id']}",
            start=axis.start,
            end=axis.end,
        )
        cards.append(
            ParcelCard(
                new_id=row["NewID"],
                name=str(row["ori_id"]),
                crop=row["ori_crop"] or "",
                tile=row["tile"] or "",
                area_m2=row["Area_meters"],
                n_clear=int(n_clear[place]),
                n_dates=int(n_dates[place]),
                drawing=svg,
                observations=observations,
                decisions=tuple(own.decisions),
                periods=tuple(own.periods),
            )
        )
    return tuple(cards)


def _said(own: Known, axis: TimeAxis) -> list[Strip]:
    """What is declared and decided, above the values; what was not found is in the words below the picture."""
    found: list[Strip] = []
    if own.periods:
        found.append(PeriodStrip(periods=own.periods, axis=axis))
    if dated := [one for one in own.decisions if one.start is not None]:
        found.append(DecisionStrip(decisions=dated, axis=axis))
    return found


def _observations(scan: MarkerScan, slot: int, config: Config) -> tuple[Observation, ...]:
    """What is known of one shown parcel, in the order of time; dates of other tiles are not among it."""
    counts = scan.shown.counts[slot]
    counted = ~np.isnan(counts).all(axis=1)
    states = sky_states(np.nan_to_num(counts), usable_columns(config.validity.use))
    found = []
    for i, acquisition in enumerate(scan.choice.acquisitions):
        value = float(scan.shown.value[slot, i])
        if counted[i] or np.isfinite(value):
            # Without pixel counts in the marker set, a value is all that is known of the sky.
            state = Sky(int(states[i])) if counted[i] else Sky.CLEAR
            found.append(
                Observation(
                    day=acquisition.day,
                    sky=state,
                    value=value,
                    low=float(scan.shown.low[slot, i]),
                    high=float(scan.shown.high[slot, i]),
                    counts=dict(zip(CATEGORIES, counts[i].tolist(), strict=True)) if counted[i] else {},
                )
            )
    return tuple(found)
