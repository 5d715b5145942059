"""Series files as inputs of a marker file: what their columns are called there, and what is said about them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pyarrow as pa

from s4c_hpc.core.errors import InputError
from s4c_hpc.core.ipc import open_ipc, read_metadata
from s4c_hpc.markers.derived import derived_fields, with_derived
from s4c_hpc.markers.manifest import Input, SeriesEntry
from s4c_hpc.markers.merge import MISSING_KEY
from s4c_hpc.markers.naming import Acquisition, MarkerName, parse_series_column
from s4c_hpc.markers.part import ID_COLUMN, Part, part_from_file
from s4c_hpc.markers.sets import Selection
from s4c_hpc.series.contract import SeriesHeader
from s4c_hpc.series.params import mask_note

RADAR_SENSORS = frozenset({"s1"})
"""Sensors whose values of different orbits must not be compared: their names carry the orbit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesInput:
    """One series file, and those of further layers of its acquisition."""

    path: str
    """Relative to the workspace."""
    header: SeriesHeader
    schema: pa.Schema
    over: tuple[SeriesInput, ...] = ()
    """Files of parcels that are new or have changed; where several files have a parcel, the last one counts."""

    @property
    def files(self) -> tuple[SeriesInput, ...]:
        """The file itself and those over it."""
        return (self, *self.over)

    @property
    def orbit(self) -> str | None:
        """``088d`` where the sensor's names carry it."""
        return orbit_name(self.header.sensor, self.header.relative_orbit, self.header.orbit_direction)

    @property
    def acquisition(self) -> Acquisition:
        """What names depend on."""
        return Acquisition(
            product=self.header.product, sensor=self.header.sensor, datetime=self.header.datetime, orbit=self.orbit
        )

    def part(self, root: Path, selection: Selection, time: dt.time | None) -> Part:
        """The file, with those over it, as a part of a merge.

        Parameters
        ----------
        root : the workspace
        selection : the marker set
        time : time that the names carry, if any
        """
        columns = self.columns(selection, time)
        over = tuple(with_derived(part_from_file(root / file.path, lambda _: columns)) for file in self.over)
        return with_derived(part_from_file(root / self.path, lambda _: columns, over))

    def columns(self, selection: Selection, time: dt.time | None) -> Mapping[str, pa.Field]:
        """Columns that the set keeps -> their fields in the marker file; see ``part``."""
        columns: dict[str, pa.Field] = {}
        for field in self._kept(selection):
            variable, statistic = parse_series_column(field.name)
            is_count = variable is None or statistic == "count"
            described = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()} | {
                "variable": variable or f"n_{statistic}",
                "statistic": "count" if variable is None else statistic,
                "sensor": self.header.sensor,
                "grid": self.header.grid,
                "datetime": self.header.datetime.astimezone(dt.UTC).isoformat(),
                "date": self.header.datetime.date().isoformat(),
                "product": self.header.product,
                "buffer_m": f"{self.header.buffer_m:g}",
                MISSING_KEY: "0" if is_count else "NaN",
            }
            name = self._marker_name(field.name, time)
            columns[field.name] = pa.field(name, field.type, metadata=dict(sorted(described.items())))
        return columns

    def names(self, selection: Selection, time: dt.time | None) -> set[str]:
        """Names of ``columns`` in the marker file, without what is said of them."""
        return {self._marker_name(field.name, time) for field in self._kept(selection)}

    def _kept(self, selection: Selection) -> list[pa.Field]:
        """Fields of the series, and derived ones, that the set keeps."""
        fields = (*self.schema, *derived_fields(self.schema, selection))
        return [field for field in fields if field.name != ID_COLUMN and selection.keeps(field.name)]

    def _marker_name(self, column: str, time: dt.time | None) -> str:
        variable, statistic = parse_series_column(column)
        name = MarkerName(
            sensor=self.header.sensor,
            orbit=self.orbit,
            variable=variable,
            statistic=statistic,
            grid=self.header.grid if variable is None else None,
            day=self.header.datetime.date(),
            time=time,
        )
        return str(name)


def open_series(root: Path, path: str) -> SeriesInput:
    """A series file by its path in the workspace.

    Raises
    ------
    MissingDataError, InputError
        If it is not there or not a series file.
    """
    schema = open_ipc(root / path).schema
    header = SeriesHeader.from_metadata(read_metadata(schema), str(root / path))
    return SeriesInput(path=path, header=header, schema=schema)


def layered(files: Sequence[SeriesInput]) -> list[SeriesInput]:
    """Files of one product and grid as one, in their order.

    Raises
    ------
    InputError
        If one is no layer over another: it has other columns.
    """
    groups: dict[tuple[str, str], list[SeriesInput]] = {}
    for file in files:
        groups.setdefault((file.header.product, file.header.grid), []).append(file)
    for base, *over in groups.values():
        for file in over:
            if (file.schema.names, file.schema.types) != (base.schema.names, base.schema.types):
                raise InputError(
                    f"is no layer over {base.path}: it has other columns",
                    where=file.path,
                    hint="delete both files and run 's4c run'",
                )
    return [dataclasses.replace(base, over=tuple(over)) for base, *over in groups.values()]


def without_twins(files: Sequence[SeriesInput], selection: Selection) -> tuple[list[SeriesInput], Mapping[str, str]]:
    """Files whose columns can stand beside each other.

    Two products of one second may be two sets of bands of one acquisition: then no column is in both. Otherwise the
    one whose id sorts later is left out, whatever else there is that month.

    Returns
    -------
    kept : in the order of ``files``
    left_out : products that are left out -> the product that has their place
    """
    owner: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for product, group in _by_product(files):
        # With the time to the second in them, names are the same only if everything else is.
        names = set[str]().union(*(one.names(selection, one.acquisition.time) for one in group))
        if taken := sorted(names & owner.keys()):
            left_out[product] = owner[taken[0]]
        else:
            owner |= dict.fromkeys(names, product)
    return [f for f in files if f.header.product not in left_out], left_out


def orbit_name(sensor: str, relative_orbit: int | None, direction: str | None) -> str | None:
    """``088d`` for radar, ``None`` where values of all orbits are comparable."""
    if sensor not in RADAR_SENSORS or relative_orbit is None or direction is None:
        return None
    return f"{relative_orbit:03d}{direction[0]}"


def manifest_inputs(files: Sequence[SeriesInput]) -> tuple[Input, ...]:
    """One entry a product, by acquisition time."""
    return tuple(
        Input(
            product=product,
            sensor=group[0].header.sensor,
            datetime=group[0].header.datetime.isoformat(),
            series=tuple(
                SeriesEntry(path=f.path, grid=f.header.grid, task_id=f.header.task) for one in group for f in one.files
            ),
            note=mask_note(json.loads(group[0].header.validity or "{}")),
        )
        for product, group in sorted(_by_product(files), key=lambda pair: pair[1][0].header.datetime)
    )


def _by_product(files: Sequence[SeriesInput]) -> list[tuple[str, list[SeriesInput]]]:
    """Files of each product by path, products by id."""
    ordered = sorted(files, key=lambda f: (f.header.product, f.path))
    return [(product, list(group)) for product, group in groupby(ordered, key=lambda f: f.header.product)]
