"""What radar saw of a parcel, by orbit: backscatter ratio and coherence, and what casts doubt on its changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config import Config
from s4c_hpc.confounders.doubts import Doubt
from s4c_hpc.confounders.read import ConfounderFile
from s4c_hpc.report.timeline.radar import Measured
from s4c_hpc.series import ParcelSeries
from s4c_hpc.series.generation import Acquisition
from s4c_hpc.series.radar_names import radar_name

Groups = defaultdict[tuple[str, str], list[Measured]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Radar:
    """A variable of one orbit."""

    orbit: str
    """``orbit 117, descending``; empty where nothing tells orbits apart."""
    sensor: str
    measured: tuple[Measured, ...]


def radar_of(
    strands: Sequence[ParcelSeries], config: Config, confounders: ConfounderFile | None = None
) -> tuple[tuple[Radar, ...], tuple[Radar, ...], str]:
    """Ratio and coherence by orbit, and the polarisation of the latter: VV, or VH where there is no other."""
    ratio: Groups = defaultdict(list)
    coherence: dict[str, Groups] = {
        "VV": defaultdict(list),
        "VH": defaultdict(list),
    }
    for strand in strands:
        columns = _radar_columns(strand, config)
        if {"VV", "VH"} <= columns.keys():
            values = _decibels(strand, *columns["VV"]) - _decibels(strand, *columns["VH"])
            _add(ratio, strand, values, config)
        for polarisation, groups in coherence.items():
            if (name := f"coherence {polarisation}") in columns:
                values = strand.values(columns[name][0]).astype(np.float64)
                _add(groups, strand, np.where(values > 0, values, np.nan), config, confounders)
    chosen = "VV" if coherence["VV"] or not coherence["VH"] else "VH"
    return _orbits(ratio), _orbits(coherence[chosen]), chosen


def _radar_columns(strand: ParcelSeries, config: Config) -> dict[str, tuple[str, bool]]:
    """Column and whether it is in decibels, of ``VV``, ``VH``, ``coherence VV`` and ``coherence VH``."""
    found: dict[str, tuple[str, bool]] = {}
    for column, said in strand.described.items():
        if said.get("statistic") != "mean":
            continue
        variable = said["variable"]
        name = radar_name(variable, said.get("unit", ""))
        if variable in config.mowing.coherence:
            found.setdefault(f"coherence {'VH' if 'vh' in variable else 'VV'}", (column, False))
        elif name is not None:
            key = f"coherence {name.polarisation}" if name.is_coherence else name.polarisation
            found.setdefault(key, (column, name.is_db))
    return found


def _decibels(strand: ParcelSeries, column: str, is_db: bool) -> NDArray[np.float64]:
    values = strand.values(column).astype(np.float64)
    if is_db:
        return np.where(values == 0, np.nan, values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(values > 0, 10.0 * np.log10(values), np.nan)


def _add(
    groups: Groups,
    strand: ParcelSeries,
    values: NDArray[np.float64],
    config: Config,
    confounders: ConfounderFile | None = None,
) -> None:
    flags, rain = np.zeros(values.size, np.uint8), np.full(values.size, np.nan)
    if confounders is not None:
        found = confounders.doubts_of(strand.acquisitions, np.array([strand.new_id], np.int32))
        flags, rain = found.flags[0], found.rain_mm[0].astype(np.float64)
    for i, acquisition in enumerate(strand.acquisitions):
        if np.isfinite(values[i]) and config.site.season_start <= acquisition.day <= config.site.season_end:
            one = Measured(acquisition.day, float(values[i]), Doubt(int(flags[i])), float(rain[i]))
            groups[strand.sensor, _orbit(acquisition)].append(one)


def _orbit(acquisition: Acquisition) -> str:
    number, direction = acquisition.relative_orbit, acquisition.orbit_direction
    return ", ".join(part for part in (f"orbit {number}" if number is not None else "", direction or "") if part)


def _orbits(groups: Groups) -> tuple[Radar, ...]:
    return tuple(
        Radar(orbit=orbit, sensor=sensor, measured=tuple(sorted(groups[sensor, orbit], key=lambda m: m.day)))
        for sensor, orbit in sorted(groups)
    )
