"""Observations as series files: one a tile and moment, a row a parcel of the tile, in the order of its blocks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.config.imports import ImportMapping
from s4c_hpc.config.model import Weighting
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.parcels import BLOCK
from s4c_hpc.series.contract import ID, PIXEL, SeriesHeader
from s4c_hpc.series.import_parcels import Declaration
from s4c_hpc.series.import_rows import Moment, Observations
from s4c_hpc.series.import_values import PASSES
from s4c_hpc.series.imported import N_VALID

UNKNOWN: Final = "unknown"
"""Stands for the platform, which a table does not tell."""

_PASS_OF_NAME: Final = ("", "_ASC", "_DESC")


@dataclass(frozen=True)
class Written:
    """A series file that was written."""

    tile: str
    file: str
    """Name in the folder of the tile."""
    header: SeriesHeader


def described_columns(mapping: ImportMapping, *, has_count: bool) -> dict[str, dict[str, str]]:
    """Columns of a series file and what is said of each, in order."""
    columns: dict[str, dict[str, str]] = {}
    if has_count:
        columns[N_VALID] = {"long_name": "Count of pixels that are valid", "unit": PIXEL, "method": "imported"}
    for name, variable in mapping.variables.items():
        statistics = [statistic for statistic, _ in variable.columns] or _common(mapping)
        for statistic in statistics:
            columns[f"{name}_{statistic}"] = {
                "long_name": f"{variable.long_name or name}, {statistic}",
                "unit": PIXEL if statistic == "count" else variable.unit,
                "variable": name,
                "statistic": statistic,
                "formula": UNKNOWN,
                "method": "imported",
                "resampling": UNKNOWN,
                "source": f"imported as {mapping.name}",
            }
    return columns


def _common(mapping: ImportMapping) -> list[str]:
    """Statistics of all variables of a table with a column that names the variable."""
    cells = (("mean", mapping.value), ("stdev", mapping.stdev), ("count", mapping.count))
    return [statistic for statistic, column in cells if column is not None]


def write_files(
    folder: Path, found: Sequence[Observations], mapping: ImportMapping, declaration: Declaration
) -> Iterator[Written]:
    """Write a file for each tile and moment, tile by tile and in time, below ``folder/<tile>``.

    Notes
    -----
    Memory: the observations once more in order, and the values of one file.
    """
    columns = described_columns(mapping, has_count=any(N_VALID in one.columns for one in found))
    ordered = [_ordered(one) for one in found]
    for tile, (begin, end) in declaration.tiles.items():
        parts = [_of_tile(one, begin, end) for one in ordered]
        moments = np.unique(np.concatenate([part.when for part in parts]))
        for code in moments.tolist():
            values: dict[str, NDArray[np.float32]] = {}
            for part in parts:
                first, last = np.searchsorted(part.when, [code, code + 1])
                for name, column in part.columns.items():
                    target = values.setdefault(name, np.full(end - begin, np.nan, np.float32))
                    target[part.place[first:last] - begin] = column[first:last]
            header = _header(mapping, Moment.of(code), tile, declaration.keys[tile])
            file = f"{header.datetime:%Y%m%d}{_suffix(Moment.of(code))}.arrow"
            (folder / tile).mkdir(exist_ok=True)
            _write(folder / tile / file, header, columns, values, declaration.new_id[begin:end], mapping)
            yield Written(tile, file, header)


def _ordered(found: Observations) -> Observations:
    order = np.lexsort((found.place, found.when))
    columns = {name: values[order] for name, values in found.columns.items()}
    return Observations(found.place[order], found.when[order], columns)


def _of_tile(found: Observations, begin: int, end: int) -> Observations:
    mine = (found.place >= begin) & (found.place < end)
    if mine.all():
        return found
    return Observations(found.place[mine], found.when[mine], {n: v[mine] for n, v in found.columns.items()})


def _write(
    path: Path,
    header: SeriesHeader,
    columns: Mapping[str, Mapping[str, str]],
    values: Mapping[str, NDArray[np.float32]],
    new_id: NDArray[np.int32],
    mapping: ImportMapping,
) -> None:
    nothing = np.full(new_id.size, np.nan, np.float32)
    fields = [pa.field(ID, pa.int32(), nullable=False, metadata={"long_name": "Parcel", "unit": ""})]
    fields += [pa.field(name, pa.float32(), nullable=False, metadata=dict(said)) for name, said in columns.items()]
    about = {"import": mapping.name}
    if mapping.season_year is not None:
        about["season_year"] = f"{mapping.season_year}: years of all rows moved onto this one by day of the year"
    schema = pa.schema(fields, metadata={**header.to_metadata(), **about})
    arrays = [new_id, *(values.get(name, nothing) for name in columns)]
    write_ipc(
        path,
        schema,
        (
            pa.RecordBatch.from_arrays([pa.array(a[i : i + BLOCK]) for a in arrays], schema=schema)
            for i in range(0, new_id.size, BLOCK)
        ),
    )


def _header(mapping: ImportMapping, moment: Moment, tile: str, key: str) -> SeriesHeader:
    """Buffer and weighting are not known: NaN, and the centre, for there has to be one."""
    day = dt.date(1970, 1, 1) + dt.timedelta(days=moment.day)
    return SeriesHeader(
        product=f"import-{mapping.name}_{day:%Y%m%d}{_suffix(moment)}",
        product_key=f"import:{mapping.name}",
        sensor=mapping.sensor,
        platform=UNKNOWN,
        datetime=dt.datetime.combine(day, dt.time(), dt.UTC),
        relative_orbit=None if moment.orbit < 0 else moment.orbit,
        orbit_direction=PASSES[moment.passed],
        tile=tile,
        grid=mapping.name,
        parcels=key,
        weighting=Weighting.CENTRE,
        buffer_m=float("nan"),
        validity=canonical_json({"classes": UNKNOWN, "use": UNKNOWN}),
        task=f"import:{mapping.name}",
    )


def _suffix(moment: Moment) -> str:
    orbit = "" if moment.orbit < 0 else f"_{moment.orbit:03d}"
    return f"{_PASS_OF_NAME[moment.passed]}{orbit}"
