"""The series of a workspace: one parcel, one date, one variable, or all, memory-mapped."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Final

import pyarrow as pa

from s4c_hpc.core.errors import InputError, MissingDataError, NoInputsError, listing
from s4c_hpc.core.ipc import read_metadata
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.series.compact_file import CompactFile
from s4c_hpc.series.generation import Acquisition, SeriesSet, read_set, tiles_with_series
from s4c_hpc.series.imported import Imported, imported_set, imports_of, is_imported
from s4c_hpc.series.layers import Ids, Layered, open_layers
from s4c_hpc.series.locate import Locator, parcels_of
from s4c_hpc.series.parcel import ParcelSeries, Segment, SingleFile, Strand
from s4c_hpc.series.views import AcquisitionSeries, VariableSeries, long_table, matrix_of

TILES_OPEN: Final = 8
"""Tiles whose files stay open for parcels: a process may have some thousand files open."""


def open_series(workspace: Workspace | Path | str, *, imports: bool = True) -> Series:
    """The series of a workspace; nothing is read before it is asked for.

    Parameters
    ----------
    workspace : the workspace, or its folder
    imports : whether tables that were imported count; the grid of their series is the name of the import

    Raises
    ------
    MissingDataError
        If the folder is no workspace.
    """
    found = workspace if isinstance(workspace, Workspace) else Workspace(Path(workspace).resolve())
    return Series(found.require(), imports=imports)


class Series:
    """The series of a workspace as they are when a tile is first asked for; later runs change nothing in it.

    Files are opened when they are read; one that a later run has removed before is then missing. Of parcels, the files
    of the last ``TILES_OPEN`` tiles stay open.
    """

    def __init__(self, workspace: Workspace, *, imports: bool = True) -> None:
        """Nothing is read yet."""
        self.workspace = workspace
        self._locator = Locator(workspace)
        self._with_imports = imports
        self._sets: dict[str, SeriesSet] = {}
        self._strands: dict[str, tuple[Strand, ...]] = {}
        self._only: dict[str, Ids | None] = {}

    @property
    def tiles(self) -> list[str]:
        """Tiles that have series.

        Raises
        ------
        NoInputsError
            If there are none.
        """
        found = sorted({*tiles_with_series(self.workspace), *(t for one in self._imported for t in one.tiles)})
        if not found:
            raise NoInputsError("there are no series yet", where=str(self.workspace.root), hint="run 's4c run'")
        return found

    def set_of(self, tile: str) -> SeriesSet:
        """What the series of a tile are made of: our own where there are any, with those of imports.

        Raises
        ------
        MissingDataError
            If the tile has neither.
        """
        if tile not in self._sets:
            imported = [imported_set(self.workspace, one, tile) for one in self._imported if tile in one.tiles]
            try:
                own = read_set(self.workspace, tile)
            except MissingDataError:
                if not imported:
                    raise
                own = SeriesSet(tile=tile, task="", acquisitions=())
            every = (a for one in (own, *imported) for a in one.acquisitions)
            self._sets[tile] = replace(own, acquisitions=tuple(every))
        return self._sets[tile]

    @cached_property
    def _imported(self) -> tuple[Imported, ...]:
        return imports_of(self.workspace) if self._with_imports else ()

    def acquisitions(
        self, *, tile: str | None = None, sensor: str | None = None, grid: str | None = None
    ) -> list[tuple[str, Acquisition]]:
        """Tile and acquisition of everything that is asked for; all by default."""
        return [
            (name, acquisition)
            for name in ([tile] if tile is not None else self.tiles)
            for acquisition in self.set_of(name).acquisitions
            if sensor in {None, acquisition.sensor} and grid in {None, acquisition.grid}
        ]

    def new_id(self, ori_id: str) -> int:
        """NewID of a parcel by the id that it has in the declaration."""
        return self._locator.new_id(ori_id)

    def parcel(self, new_id: int, *, sensor: str | None = None, grid: str | None = None) -> tuple[ParcelSeries, ...]:
        """One parcel's season, for each sensor and grid.

        Parameters
        ----------
        new_id : the parcel
        sensor, grid : only these; all by default

        Raises
        ------
        InputError
            If there is no such parcel, or it has no series.

        Notes
        -----
        From compacted months some ten microseconds a month once the pages are in memory; from files that are not
        compacted some milliseconds each.
        """
        tile, row = self._locator.locate(new_id)
        only = self._parcels_of(tile)
        strands = self._strands.pop(tile, None) or self._strands_of(tile)
        self._strands[tile] = strands  # the last one is the one used last
        if len(self._strands) > TILES_OPEN:
            del self._strands[next(iter(self._strands))]
        found = []
        counts = only is None or bool((only == new_id).any())
        for strand in strands:
            first = strand.acquisitions[0]
            wanted = sensor in {None, first.sensor} and grid in {None, first.grid}
            wanted &= counts or is_imported(first.layers[0])
            if wanted and (series := strand.parcel(new_id, row)) is not None:
                found.append(series)
        if not found:
            has = [f"{s.acquisitions[0].sensor} {s.acquisitions[0].grid}" for s in strands]
            raise InputError(
                f"parcel {new_id} has no such series",
                where=f"tile {tile}",
                hint=f"the tile has {listing(has)}; a parcel that was imported since has them after 's4c run'",
            )
        return tuple(found)

    def date(
        self, day: dt.date, *, tile: str | None = None, sensor: str | None = None, grid: str | None = None
    ) -> tuple[AcquisitionSeries, ...]:
        """Everything that was acquired on a day (UTC), for each tile, sensor, grid and product.

        Raises
        ------
        NoInputsError
            If there is nothing.
        """
        chosen = self.acquisitions(tile=tile, sensor=sensor, grid=grid)
        found = tuple(AcquisitionSeries(name, a, self._open(name, a).mapped()) for name, a in chosen if a.day == day)
        if not found:
            days = sorted({str(a.day) for _, a in chosen})
            raise NoInputsError(
                f"there is no such acquisition on {day}",
                where=str(self.workspace.root),
                hint=f"there are {listing(days)}" if days else "'s4c series list' names what there is",
            )
        return found

    def variable(
        self,
        name: str,
        statistic: str | None = None,
        *,
        tile: str | None = None,
        sensor: str | None = None,
        grid: str | None = None,
    ) -> Iterator[VariableSeries]:
        """One column of all parcels and acquisitions, a tile, sensor and grid at a time.

        Parameters
        ----------
        name : variable, or with no statistic the name of a column such as ``n_valid``
        statistic : ``mean``, ``p25`` ...

        Raises
        ------
        NoInputsError
            If no file has the column.
        """
        column = name if statistic is None else f"{name}_{statistic}"
        groups: dict[tuple[str, str, str], list[Acquisition]] = {}
        for where, acquisition in self.acquisitions(tile=tile, sensor=sensor, grid=grid):
            groups.setdefault((where, acquisition.sensor, acquisition.grid), []).append(acquisition)
        found = False
        for (where, of_sensor, of_grid), acquisitions in groups.items():
            files = [(a, self._open(where, a).mapped()) for a in acquisitions]
            having = [(a, layered) for a, layered in files if column in layered.schema.names]
            if not having:
                continue
            found = True
            ids, matrix = matrix_of([layered for _, layered in having], column)
            yield VariableSeries(
                tile=where,
                sensor=of_sensor,
                grid=of_grid,
                name=column,
                described=read_metadata(having[0][1].schema.field(column)),
                acquisitions=tuple(a for a, _ in having),
                new_id=ids,
                matrix=matrix,
            )
        if not found:
            raise NoInputsError(
                f"no series has a column {column!r}",
                where=str(self.workspace.root),
                hint="'s4c series list' names what there is",
            )

    def table(
        self,
        columns: Iterable[str] | None = None,
        *,
        tile: str | None = None,
        sensor: str | None = None,
        grid: str | None = None,
    ) -> pa.Table:
        """A row a parcel and acquisition, mapped and not read: one byte a row and text column is made beside.

        Parameters
        ----------
        columns : of the series files, beside ``NewID`` and what an acquisition is; all by default. Null where a file
            does not have one.
        """
        chosen = self.acquisitions(tile=tile, sensor=sensor, grid=grid)
        wanted = None if columns is None else list(columns)
        parts = [long_table(name, a, self._open(name, a).table(), wanted) for name, a in chosen]
        if not parts:
            raise NoInputsError(
                "there are no such series",
                where=str(self.workspace.root),
                hint="'s4c series list' names what there is",
            )
        return pa.concat_tables(parts, promote_options="default").replace_schema_metadata(None)

    def _open(self, tile: str, acquisition: Acquisition) -> Layered:
        # A file of an import holds the parcels that the tile had then, and no others.
        only = None if is_imported(acquisition.layers[0]) else self._parcels_of(tile)
        return open_layers([self.workspace.root / path for path in acquisition.layers], only)

    def _parcels_of(self, tile: str) -> Ids | None:
        """Parcels that the files of a tile are read for; ``None``: all that they have."""
        if tile not in self._only:
            key = self.set_of(tile).parcels
            self._only[tile] = parcels_of(self.workspace, tile, key) if key else None
        return self._only[tile]

    def _strands_of(self, tile: str) -> tuple[Strand, ...]:
        """Each sensor and grid of a tile: compacted months where they hold what is named, files for the rest."""
        known = self.set_of(tile)
        groups: dict[tuple[str, str], list[Acquisition]] = {}
        for acquisition in known.acquisitions:
            groups.setdefault((acquisition.sensor, acquisition.grid), []).append(acquisition)
        strands = []
        for (sensor, grid), wanted in groups.items():
            segments: list[Segment] = []
            rest = dict.fromkeys(wanted)
            for block in known.blocks:
                if (block.sensor, block.grid) != (sensor, grid):
                    continue
                try:
                    file = CompactFile(self.workspace.root / block.path)
                except (MissingDataError, InputError):
                    continue  # a second copy only: what it holds is read from the series files
                if any(a in rest for a in file.acquisitions):
                    segments.append(file)
                    for acquisition in file.acquisitions:
                        rest.pop(acquisition, None)
            segments += [SingleFile(a, self._open(tile, a)) for a in rest]
            strands.append(Strand(tile, segments, wanted))
        return tuple(strands)
