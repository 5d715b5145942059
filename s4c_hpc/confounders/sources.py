"""Series of a tile as the rules want them: changes of coherence by orbit and day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.confounders.doubts import Doubts
from s4c_hpc.confounders.rules import Passes, Steps, steps_of
from s4c_hpc.core.stage import TaskIO
from s4c_hpc.series.generation import Acquisition
from s4c_hpc.series.layers import Ids, Layered, open_layers
from s4c_hpc.series.radar_names import radar_name
from s4c_hpc.weather.rain import EPOCH


@dataclass(frozen=True, slots=True)
class Source:
    """An acquisition with coherence."""

    acquisition: Acquisition
    file: Layered
    column: str

    @property
    def orbit(self) -> str:
        """What is compared with itself only: a relative orbit, or a pass, of one kind of series."""
        own = self.acquisition
        return f"{own.grid} {own.relative_orbit} {own.orbit_direction}"


def sources_of(io: TaskIO, acquisitions: Sequence[Acquisition], polarisation: str) -> list[Source]:
    """Those with coherence of a polarisation, by orbit and time."""
    found = []
    for one in acquisitions:
        file = open_layers([io.workspace.root / path for path in one.layers]).mapped()
        for name in file.schema.names:
            variable, _, statistic = name.rpartition("_")
            said = radar_name(variable, "") if statistic == "mean" else None
            if said is not None and said.is_coherence and said.polarisation == polarisation:
                found.append(Source(one, file, name))
                break
    return sorted(found, key=lambda s: (s.orbit, s.acquisition.datetime, s.acquisition.sort_key))


def passes_of(sources: Sequence[Source], ids: Ids) -> tuple[Steps, Passes, NDArray[np.int64]]:
    """(n, p) changes by orbit and day, these, and (c,) the one of each acquisition.

    Several products of one day on an orbit are pieces of one pass.
    """
    orbits = sorted({one.orbit for one in sources})
    pairs = [(orbits.index(one.orbit), (one.acquisition.day - EPOCH).days) for one in sources]
    distinct = sorted(set(pairs))
    column = np.array([distinct.index(pair) for pair in pairs], np.int64)
    values = np.full((ids.size, len(distinct)), np.nan, np.float32)
    for one, at in zip(sources, column, strict=True):
        own = one.file.values_of(one.column, ids).astype(np.float32, copy=False)
        # 0 stands for no data, as in the reference.
        values[:, at] = np.where(np.isnan(values[:, at]) & (own > 0), own, values[:, at])
    numbers = np.array(distinct, np.int64).reshape(-1, 2)
    passes = Passes(orbit=numbers[:, 0].copy(), day=numbers[:, 1].copy())
    return steps_of(values, passes), passes, column


def by_acquisition(made: Doubts, column: NDArray[np.int64]) -> Doubts:
    """Doubts at passes as those at acquisitions (c,)."""
    return Doubts(**{name: getattr(made, name)[:, column] for name in Doubts.__dataclass_fields__})
