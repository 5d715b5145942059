"""All that is known of one parcel's season: what was observed, decided and declared, and what is missing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from s4c_hpc.config import Config
from s4c_hpc.confounders.read import ConfounderFile
from s4c_hpc.core.errors import InputError, MissingDataError, NoInputsError, listing
from s4c_hpc.core.workspace import Workspace, tile_dir
from s4c_hpc.drawing.text import day
from s4c_hpc.parcels import latest_version, read_attributes
from s4c_hpc.parcels.store import read_centre
from s4c_hpc.report.decision import Decision, Period
from s4c_hpc.report.parcel_radar import Radar, radar_of
from s4c_hpc.report.read_decisions import read_decisions
from s4c_hpc.report.sky import CATEGORIES, Sky, sky_states, usable_columns
from s4c_hpc.report.timeline.optical import Observation
from s4c_hpc.series import CLASS_COUNTS, ParcelSeries, open_series
from s4c_hpc.weather import rain_of, weather_now

_COUNT_OF: Final = {category: column for column, category in CLASS_COUNTS.items()}
_MAX_NEW_ID: Final = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Optical:
    """The index as one sensor and grid, or one import, has it."""

    name: str
    """``s2 10m``."""
    observations: tuple[Observation, ...]
    knows_sky: bool


@dataclass(frozen=True, kw_only=True)
class ParcelSeason:
    """One parcel from the first to the last day of the season."""

    new_id: int
    name: str
    """Id in the declaration."""
    crop: str
    tile: str
    area_m2: float | None
    start: dt.date
    end: dt.date
    variable: str
    """``NDVI``."""
    optical: tuple[Optical, ...] = ()
    ratio: tuple[Radar, ...] = ()
    coherence: tuple[Radar, ...] = ()
    coherence_name: str = "VV"
    rain: tuple[tuple[dt.date, float], ...] = ()
    """Millimetres by day."""
    decisions: tuple[Decision, ...] = ()
    periods: tuple[Period, ...] = ()
    missing: tuple[str, ...] = ()
    """What is not there, and why."""

    @property
    def title(self) -> str:
        """For headings."""
        return f"Parcel {self.name}"

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "parcel": self.new_id,
            "id": self.name,
            "crop": self.crop,
            "tile": self.tile,
            "season": [day(self.start), day(self.end)],
            "optical": [
                {
                    "series": one.name,
                    "variable": self.variable,
                    "values": [
                        {"day": day(o.day), "value": o.value, "sky": o.sky.label if one.knows_sky else None}
                        for o in one.observations
                    ],
                }
                for one in self.optical
            ],
            "backscatter_ratio_db": [_radar_json(one) for one in self.ratio],
            "coherence": [_radar_json(one) for one in self.coherence],
            "rain_mm": [{"day": day(d), "value": mm} for d, mm in self.rain],
            "decisions": [one.to_json() for one in self.decisions],
            "declared": [one.to_json() for one in self.periods],
            "missing": list(self.missing),
        }


def _radar_json(one: Radar) -> dict[str, Any]:
    values = [{"day": day(m.day), "value": m.value} for m in one.measured]
    return {"orbit": one.orbit, "sensor": one.sensor, "values": values}


def find_parcel(workspace: Workspace, text: str, *, own: bool = False) -> dict[str, Any]:
    """Attributes of a parcel of the newest version, by NewID or by its id in the declaration.

    Parameters
    ----------
    own : whether a number is an id of the declaration

    Raises
    ------
    NoInputsError
        If there is no such parcel, or several have the id.
    MissingDataError
        If there are no parcels.
    """
    version = latest_version(workspace)
    if version is None:
        raise MissingDataError("there are no parcels", where=str(workspace.parcels), hint="run 's4c parcels import'")
    table = read_attributes(workspace, version, ["NewID", "ori_id", "ori_crop", "tile", "Area_meters"])
    own_id = table["ori_id"].cast(pa.string())
    is_number = text.isdecimal() and int(text) < _MAX_NEW_ID and not own
    chosen = table.filter(pc.equal(table["NewID"], int(text)) if is_number else pc.equal(own_id, text))
    if is_number and not chosen.num_rows:
        chosen = table.filter(pc.equal(own_id, text))
    if chosen.num_rows == 1:
        row: dict[str, Any] = chosen.to_pylist()[0]
        return row
    if chosen.num_rows:
        raise NoInputsError(
            f"{chosen.num_rows} parcels have the id {text!r}",
            where=f"parcels {version}",
            hint=f"name one by its NewID: {listing([str(i) for i in chosen['NewID'].to_pylist()])}",
        )
    first = [str(one) for one in table["ori_id"].slice(0, 5).to_pylist()]
    raise NoInputsError(
        f"there is no parcel {text!r}",
        where=f"parcels {version}",
        hint=f"give a NewID or an id of the declaration ({listing(first)} ...); 's4c parcels query' lists them",
    )


def parcel_season(workspace: Workspace, config: Config, parcel: str, *, own: bool = False) -> ParcelSeason:
    """Read everything about a parcel.

    Raises
    ------
    NoInputsError
        If there is no such parcel, or nothing is known of it.
    InputError
        If a file is damaged.
    """
    row = find_parcel(workspace, parcel, own=own)
    start, end = config.site.season_start, config.site.season_end
    new_id, tile = row["NewID"], row["tile"] or ""
    why = ""
    try:
        strands = open_series(workspace).parcel(new_id)
    except (InputError, MissingDataError, NoInputsError) as error:
        strands, why = (), error.what
    variable = config.practices.ndvi
    optical = tuple(_optical(strands, variable, config))
    ratio, coherence, polarisation = radar_of(strands, config, _confounders(workspace, tile))
    known = read_decisions(workspace, config, [new_id], [tile] if tile else None).get(new_id)
    decisions = tuple(known.decisions) if known else ()
    periods = tuple(known.periods) if known else ()
    found = ParcelSeason(
        new_id=new_id,
        name=str(row["ori_id"]),
        crop=row["ori_crop"] or "",
        tile=tile,
        area_m2=row["Area_meters"],
        start=start,
        end=end,
        variable=variable.upper(),
        optical=optical,
        ratio=ratio,
        coherence=coherence,
        coherence_name=polarisation,
        rain=_rain(workspace, new_id, start, end),
        decisions=decisions,
        periods=periods,
    )
    if not (optical or ratio or coherence or decisions):
        raise NoInputsError(
            f"nothing is known of parcel {found.name} from {start} to {end}{': ' if why else ''}{why}",
            where=f"tile {tile or '(none)'}",
            hint="'s4c run' computes series, 's4c series import' brings some",
        )
    return _with_missing(found, workspace, config)


def _with_missing(season: ParcelSeason, workspace: Workspace, config: Config) -> ParcelSeason:
    return replace(season, missing=tuple(_missing(season, workspace, config)))


def _missing(season: ParcelSeason, workspace: Workspace, config: Config) -> Iterator[str]:
    """A sentence for each strip that is left out."""
    if not season.periods:
        yield (
            "Declared periods: nothing is declared of this parcel (practices.table)."
            if config.practices.enabled
            else "Declared periods: practices are not judged here (practices.enabled = true, and a table of them)."
        )
    if not season.decisions:
        yield "Decisions: none was made (practices.enabled, mowing.enabled, then 's4c run')."
    if not season.optical:
        yield f"{season.variable}: no series of this parcel has it in the season."
    if not season.ratio:
        yield "Backscatter ratio: no series with VV and VH (radar sources, or 's4c series import')."
    if not season.coherence:
        yield "Coherence: no series of radar pairs (radar sources, or 's4c series import')."
    if not season.rain:
        yield (
            "Rain: no weather was imported."
            if weather_now(workspace) is None
            else "Rain: no cell of the weather that was imported is near in the season ('s4c weather show')."
        )


def _optical(strands: Sequence[ParcelSeries], variable: str, config: Config) -> Iterator[Optical]:
    column = f"{variable}_mean"
    for strand in strands:
        if column not in strand.columns:
            continue
        observations, knows_sky = observations_of(strand, column, config)
        inside = tuple(o for o in observations if config.site.season_start <= o.day <= config.site.season_end)
        if any(np.isfinite(o.value) for o in inside) or (knows_sky and inside):
            yield Optical(name=f"{strand.sensor} {strand.grid}", observations=inside, knows_sky=knows_sky)


def observations_of(series: ParcelSeries, column: str, config: Config) -> tuple[list[Observation], bool]:
    """A column of a parcel by time, its quartiles where they are known, and whether anything tells of the sky.

    Without counts of classes, as in imported tables, a value is all that is known of the sky.
    """
    values = series.values(column)
    knows_sky = all(_COUNT_OF[category] in series.columns for category in CATEGORIES)
    variable = column.rpartition("_")[0]
    blank = np.full(values.shape, np.nan, np.float32)
    low, high = (series.values(n) if (n := f"{variable}_{q}") in series.columns else blank for q in ("p25", "p75"))
    counts: NDArray[Any] | None = None
    if knows_sky:
        counts = np.stack([series.values(_COUNT_OF[category]) for category in CATEGORIES], axis=-1)
        states = sky_states(counts, usable_columns(config.validity.use))
    else:
        states = np.where(np.isfinite(values), np.uint8(Sky.CLEAR), np.uint8(Sky.NODATA))
    found = [
        Observation(
            day=acquisition.day,
            sky=Sky(int(states[i])),
            value=float(values[i]),
            low=float(low[i]),
            high=float(high[i]),
            counts={} if counts is None else dict(zip(CATEGORIES, counts[i].tolist(), strict=True)),
        )
        for i, acquisition in enumerate(series.acquisitions)
        if knows_sky or np.isfinite(values[i])
    ]
    return found, knows_sky


def _rain(workspace: Workspace, new_id: int, start: dt.date, end: dt.date) -> tuple[tuple[dt.date, float], ...]:
    """Millimetres by day at the parcel's centre; none where no weather was imported, or no cell is near."""
    version = latest_version(workspace)
    if version is None or (found := rain_of(workspace, *read_centre(workspace, version, new_id), start, end)) is None:
        return ()
    if not np.isfinite(found.mm).any():
        return ()
    days = (dt.date(1970, 1, 1) + dt.timedelta(days=int(number)) for number in found.day)
    return tuple(zip(days, found.mm[0].tolist(), strict=True))


def _confounders(workspace: Workspace, tile: str) -> ConfounderFile | None:
    """The newest file of doubts of a tile, if there is one."""
    found = sorted((workspace.root / tile_dir(tile) / "confounders").glob("*.arrow"), key=lambda p: p.stat().st_mtime)
    return ConfounderFile(found[-1]) if tile and found else None
