"""One parcel's season on one grid of one sensor, from compacted months and from what is not compacted yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError, listing
from s4c_hpc.core.ipc import read_metadata
from s4c_hpc.series.compact import Kind, blank, columns_by_kind
from s4c_hpc.series.compact_file import Matrix
from s4c_hpc.series.contract import ID
from s4c_hpc.series.generation import Acquisition
from s4c_hpc.series.layers import Layered

Columns = Mapping[Kind, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParcelSeries:
    """All values of one parcel on one grid of one sensor, by time."""

    new_id: int
    tile: str
    sensor: str
    grid: str
    acquisitions: tuple[Acquisition, ...]
    described: Mapping[str, Mapping[str, str]] = field(repr=False)
    """Column -> unit, long_name, method ..., in the order of the series files."""
    matrices: tuple[Matrix, ...] = field(repr=False)
    """(columns, acquisitions) for each type of columns."""
    places: Mapping[str, tuple[int, int]] = field(repr=False)
    """Column -> its matrix and its row there."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column, in the order of the series files."""
        return tuple(self.described)

    @property
    def times(self) -> NDArray[np.datetime64]:
        """(n,) acquisition times, UTC."""
        return times_of(self.acquisitions)

    def values(self, name: str) -> NDArray[Any]:
        """(n,) of one column; NaN, 0 in whole numbers, where an acquisition does not have the column or the parcel."""
        if name not in self.places:
            raise InputError(
                f"has no column {name!r}; it has {listing(list(self.columns), 20)}",
                where=f"parcel {self.new_id}, {self.sensor} {self.grid}",
            )
        kind, row = self.places[name]
        values: NDArray[Any] = self.matrices[kind][row]
        return values

    def table(self, names: Iterable[str] | None = None) -> pa.Table:
        """A row an acquisition: when, by what, and the columns asked for (all by default) with their metadata."""
        wanted = self.columns if names is None else tuple(names)
        about = acquisition_columns(self.acquisitions)
        fields = [*about.schema]
        arrays = [*about.columns]
        for name in wanted:
            values = pa.array(self.values(name))
            fields.append(pa.field(name, values.type, nullable=False, metadata=dict(self.described[name])))
            arrays.append(pa.chunked_array([values]))
        return pa.table(arrays, schema=pa.schema(fields, metadata={ID: str(self.new_id), "tile": self.tile}))


def times_of(acquisitions: Sequence[Acquisition]) -> NDArray[np.datetime64]:
    """(n,) acquisition times, UTC, to the microsecond."""
    return np.array([a.datetime.replace(tzinfo=None) for a in acquisitions], dtype="datetime64[us]")


def acquisition_columns(acquisitions: Sequence[Acquisition]) -> pa.Table:
    """Time, sensor, platform, orbit, grid and product of acquisitions, a row each."""
    return pa.table(
        {
            "datetime": pa.array([a.datetime for a in acquisitions], pa.timestamp("us", "UTC")),
            "sensor": pa.array([a.sensor for a in acquisitions], pa.string()),
            "platform": pa.array([a.platform for a in acquisitions], pa.string()),
            "orbit": pa.array([a.relative_orbit for a in acquisitions], pa.int32()),
            "direction": pa.array([a.orbit_direction for a in acquisitions], pa.string()),
            "grid": pa.array([a.grid for a in acquisitions], pa.string()),
            "product": pa.array([a.product for a in acquisitions], pa.string()),
        }
    )


class Segment(Protocol):
    """Some acquisitions that are read together."""

    @property
    def acquisitions(self) -> tuple[Acquisition, ...]:
        """What it holds, by time."""
        ...

    @property
    def columns(self) -> Columns:
        """Names by type."""
        ...

    @property
    def described(self) -> Mapping[str, Mapping[str, str]]:
        """What is said of each column."""
        ...

    def parcel(self, new_id: int, hint: int) -> tuple[Matrix, ...] | None:
        """(columns, acquisitions) for each of ``columns``; ``None`` if the parcel is not here."""
        ...


class SingleFile:
    """An acquisition that is not compacted yet."""

    def __init__(self, acquisition: Acquisition, layered: Layered) -> None:
        """One value of each column is read when a parcel is asked for."""
        self.acquisitions = (acquisition,)
        self._layered = layered
        schema = layered.schema
        self.columns: Columns = columns_by_kind([schema])
        self.described = {f.name: read_metadata(f) for f in schema if f.name != ID}
        self._places = [[schema.get_field_index(n) for n in names] for names in self.columns.values()]

    def parcel(self, new_id: int, hint: int) -> tuple[Matrix, ...] | None:
        """See ``Segment``."""
        found = self._layered.find(new_id, hint)
        if found is None:
            return None
        batch, row = found
        return tuple(
            np.array([[batch.column(i).to_numpy()[row]] for i in places], dtype=kind)
            for kind, places in zip(self.columns, self._places, strict=True)
        )


class Strand:
    """The acquisitions of one sensor and grid of a tile, ready to be read by parcel."""

    def __init__(self, tile: str, segments: Sequence[Segment], wanted: Sequence[Acquisition]) -> None:
        """Lay out the result once, so that reading a parcel is slicing and one concatenation.

        Parameters
        ----------
        segments : together they hold every acquisition in ``wanted``, each once; what they hold beyond is not read
        """
        self._tile = tile
        self._wanted = set(wanted)
        self._columns = _union([s.columns for s in segments])
        self._described: dict[str, Mapping[str, str]] = {}
        for segment in segments:
            for name, said in segment.described.items():
                self._described.setdefault(name, said)
        self._places = {
            name: (kind, row) for kind, names in enumerate(self._columns.values()) for row, name in enumerate(names)
        }
        self._parts = [(segment, self._fit(segment)) for segment in segments]
        held = [a for segment in segments for a in segment.acquisitions if a in self._wanted]
        order = sorted(range(len(held)), key=lambda i: held[i].sort_key)
        self._order = None if order == list(range(len(held))) else np.array(order)
        self.acquisitions = tuple(held[i] for i in order)

    def parcel(self, new_id: int, hint: int) -> ParcelSeries | None:
        """All values of a parcel, without a copy where they are one compacted month; ``None`` if it has none."""
        parts: list[tuple[Matrix, ...]] = []
        found = False
        for segment, fit in self._parts:
            own = segment.parcel(new_id, hint)
            found = found or own is not None
            parts.append(own if own is not None and fit is None else self._fitted(segment, fit, own))
        if not found:
            return None
        matrices = parts[0] if len(parts) == 1 else tuple([np.concatenate(m, axis=1) for m in zip(*parts, strict=True)])
        if self._order is not None:
            matrices = tuple([m[:, self._order] for m in matrices])
        first = self.acquisitions[0]
        return ParcelSeries(
            new_id=new_id,
            tile=self._tile,
            sensor=first.sensor,
            grid=first.grid,
            acquisitions=self.acquisitions,
            described=self._described,
            matrices=matrices,
            places=self._places,
        )

    def _fit(self, segment: Segment) -> _Fit | None:
        """How a segment's matrices go into those of the result; ``None``: they are parts of it as they are."""
        take = [i for i, a in enumerate(segment.acquisitions) if a in self._wanted]
        same = {k: list(n) for k, n in segment.columns.items()} == {k: list(n) for k, n in self._columns.items()}
        if same and len(take) == len(segment.acquisitions):
            return None
        rows: list[tuple[int, list[int], list[int]] | None] = []
        for kind, names in self._columns.items():
            own = {name: i for i, name in enumerate(segment.columns.get(kind, ()))}
            place = list(segment.columns).index(kind) if own else -1
            both = [(own[name], i) for i, name in enumerate(names) if name in own]
            rows.append((place, [b[0] for b in both], [b[1] for b in both]) if both else None)
        return _Fit(take=take, rows=rows)

    def _fitted(self, segment: Segment, fit: _Fit | None, own: tuple[Matrix, ...] | None) -> tuple[Matrix, ...]:
        n = len(segment.acquisitions) if fit is None else len(fit.take)
        result: list[Matrix] = [np.full((len(names), n), blank(k), dtype=k) for k, names in self._columns.items()]
        if own is not None and fit is not None:
            for target, row in zip(result, fit.rows, strict=True):
                if row is not None:
                    place, here, there = row
                    target[there] = own[place][np.ix_(here, fit.take)]
        return tuple(result)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """Where the parts of a segment's matrices go."""

    take: list[int]
    """Acquisitions of the segment that are wanted."""
    rows: list[tuple[int, list[int], list[int]] | None]
    """For each matrix of the result, the segment's matrix, rows in it, and rows in the result."""


def _union(columns: Sequence[Columns]) -> dict[Kind, list[str]]:
    """Names of all by type, in order of first occurrence."""
    kinds = sorted({kind for one in columns for kind in one})
    return {kind: list(dict.fromkeys(name for one in columns for name in one.get(kind, ()))) for kind in kinds}
