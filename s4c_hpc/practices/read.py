"""Series of a tile as the rules want them: backscatter ratio, coherence and NDVI of parcels of a block."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.practices.days import day_number, day_numbers
from s4c_hpc.practices.decimals import Floats, any_week
from s4c_hpc.practices.weeks import Observations, coherence_rise, without_doubles
from s4c_hpc.series.generation import Acquisition
from s4c_hpc.series.imported import N_VALID
from s4c_hpc.series.layers import Ids, Layered, open_layers
from s4c_hpc.series.radar_names import radar_name

_DECIMALS: Final = 6
"""Series are single precision: .7 is .69999999 there, on the other side of a threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One acquisition and the columns of it that are of use; empty names for those that it has not."""

    acquisition: Acquisition
    file: Layered
    ndvi: str = ""
    vv: str = ""
    vh: str = ""
    is_db: bool = False
    coherence: str = ""
    count: str = ""
    ground: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Columns of what tells of bare ground, by name."""

    @property
    def orbit(self) -> str:
        """What tells orbits apart: the relative orbit, else the pass."""
        own = self.acquisition
        return f"{own.relative_orbit}" if own.relative_orbit is not None else f"{own.orbit_direction}"

    @property
    def is_amplitude(self) -> bool:
        """Whether it has both polarisations."""
        return bool(self.vv and self.vh)


def sources_of(
    workspace: Workspace,
    acquisitions: Iterable[Acquisition],
    ndvi: str,
    first: dt.date,
    last: dt.date,
    ground: Mapping[str, str] | None = None,
) -> tuple[Source, ...]:
    """Acquisitions from one day to another that have anything of use, by time.

    Parameters
    ----------
    ndvi : name of the variable
    ground : variables that tell of bare ground, by what they are called there; none by default

    Raises
    ------
    MissingDataError, InputError
        If a file has gone or is damaged.
    """
    found = []
    for one in sorted(acquisitions, key=lambda a: (a.datetime, a.sort_key)):
        if first <= one.day <= last:
            file = open_layers([workspace.root / path for path in one.layers]).mapped()
            own = {name: f"{variable}_mean" for name, variable in (ground or {}).items()}
            own = {name: column for name, column in own.items() if column in file.schema.names}
            source = replace(_source(one, file, ndvi), ground=own)
            if source.ndvi or source.is_amplitude or source.coherence or own:
                found.append(source)
    return tuple(found)


def _source(acquisition: Acquisition, file: Layered, ndvi: str) -> Source:
    columns: dict[str, str] = {}
    is_db = False
    if acquisition.orbit_direction is None or f"{ndvi}_mean" in file.schema.names:
        found = f"{ndvi}_mean" if f"{ndvi}_mean" in file.schema.names else ""
        return Source(acquisition=acquisition, file=file, ndvi=found)
    for field in file.schema:
        variable, _, statistic = field.name.rpartition("_")
        unit = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}.get("unit", "")
        if statistic != "mean" or (name := radar_name(variable, unit)) is None:
            continue
        if name.is_coherence:
            if name.polarisation == "VV":
                columns["coherence"] = field.name
            continue
        columns[name.polarisation.lower()] = field.name
        is_db = name.is_db
        if name.polarisation == "VV" and f"{variable}_count" in file.schema.names:
            columns["count"] = f"{variable}_count"
    if "count" not in columns and N_VALID in file.schema.names and "vv" in columns:
        columns["count"] = N_VALID
    return Source(
        acquisition=acquisition,
        file=file,
        vv=columns.get("vv", ""),
        vh=columns.get("vh", ""),
        is_db=is_db,
        coherence=columns.get("coherence", ""),
        count=columns.get("count", ""),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What was observed of n parcels."""

    observed: Observations
    orbit: NDArray[np.int64]
    """(c,) number of the orbit of each coherence."""
    amplitude_orbit: NDArray[np.int64]
    """(t,) that of each backscatter, counted alike."""
    s1_pixels: NDArray[np.int64] | None
    """(n,) most pixels of radar of any acquisition; ``None`` where no series tells."""
    there: NDArray[np.bool_]
    """(n,) whether any series has a value of the parcel."""
    ground: dict[str, Floats]
    """(n, d) what tells of bare ground, at the looks at NDVI; only what any series has."""


def read_block(sources: Sequence[Source], ids: Ids, rules: PracticeRules, *, with_rise: bool = True) -> Block:
    """What was observed of parcels.

    Parameters
    ----------
    ids : (n,) parcels
    with_rise : whether the reference's growth of coherence is wanted, which the improved rules do without
    """
    amplitude = [one for one in sources if one.is_amplitude]
    coherence = [one for one in sources if one.coherence]
    optical = [one for one in sources if one.ndvi]
    vv = np.stack([_backscatter(one, one.vv, ids) for one in amplitude], axis=1) if amplitude else _empty(ids)
    vh = np.stack([_backscatter(one, one.vh, ids) for one in amplitude], axis=1) if amplitude else _empty(ids)
    cohe = np.stack([_positive(_values(one, one.coherence, ids)) for one in coherence], axis=1) if coherence else None
    ndvi = np.stack([_values(one, one.ndvi, ids) for one in optical], axis=1) if optical else _empty(ids)
    amplitude_day, coherence_day, ndvi_day = (
        day_numbers([one.acquisition.day for one in part]) for part in (amplitude, coherence, optical)
    )
    names = sorted({one.orbit for one in (*coherence, *amplitude)})
    orbit, amplitude_orbit = (
        np.array([names.index(one.orbit) for one in part], np.int64) for part in (coherence, amplitude)
    )
    own = _empty(ids) if cohe is None else without_doubles(coherence_day, cohe)
    counted = [_values(one, one.count, ids) for one in amplitude if one.count]
    # An acquisition that has not seen a parcel says nothing of its pixels.
    pixels = np.nan_to_num(np.fmax.reduce(counted), nan=0.0).astype(np.int64) if counted else None
    there = any_week(np.isfinite(np.concatenate([vv, vh, own, ndvi], axis=1)))
    return Block(
        observed=Observations(
            amplitude_day=amplitude_day,
            ratio_db=without_doubles(amplitude_day, vv - vh),
            vv_db=vv,
            coherence_day=coherence_day,
            coherence=own,
            coherence_rise=(
                coherence_rise(coherence_day, orbit, own, rules.max_pair_days)
                if with_rise
                else np.full_like(own, np.nan)
            ),
            ndvi_day=ndvi_day,
            ndvi=without_doubles(ndvi_day, np.round(ndvi * 1000, 3)),
        ),
        orbit=orbit,
        amplitude_orbit=amplitude_orbit,
        s1_pixels=pixels,
        there=there,
        ground=_ground(sources, optical, ids),
    )


def _ground(sources: Sequence[Source], optical: Sequence[Source], ids: Ids) -> dict[str, Floats]:
    """What tells of bare ground at looks at NDVI, which other grids of the same product may have."""
    found = {}
    for name in sorted({name for one in sources for name in one.ground}):
        by_product = {one.acquisition.product: one for one in sources if name in one.ground}
        own = [by_product.get(one.acquisition.product) for one in optical]
        nothing = np.full(ids.size, np.nan)
        columns = [nothing if one is None else _values(one, one.ground[name], ids) for one in own]
        if columns:
            found[name] = np.stack(columns, axis=1)
    return found


def last_day(year: int, season_end: dt.date) -> int:
    """Last day on which radar may have been acquired: the season's, or the year's if that is earlier."""
    return day_number(min(dt.date(year, 12, 31), season_end))


def _empty(ids: Ids) -> Floats:
    return np.empty((ids.size, 0))


def _values(source: Source, name: str, ids: Ids) -> Floats:
    """(n,) of a column; NaN for parcels that are not there."""
    values: Floats = source.file.values_of(name, ids).astype(np.float64)
    return np.round(values, _DECIMALS)


def _positive(values: Floats) -> Floats:
    """0 stands for no data, as in the reference."""
    return np.where(values > 0, values, np.nan)


def _backscatter(source: Source, name: str, ids: Ids) -> Floats:
    """(n,) in dB."""
    values = _values(source, name, ids)
    if source.is_db:
        return np.where(values == 0, np.nan, values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.round(10.0 * np.log10(_positive(values)), _DECIMALS)
