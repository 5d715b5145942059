"""Writing what the reference's marker files hold as series files, one an acquisition."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.config.model import Weighting
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.markers.compat_parse import ForeignColumn, ForeignColumns, Source
from s4c_hpc.markers.compat_source import ForeignTable
from s4c_hpc.markers.compat_values import METHODS, PIXELS, Scales, physical
from s4c_hpc.series.contract import ID, PIXEL, SeriesHeader

UNKNOWN: Final = "unknown"
"""Stands for tile, grid and platform where the reference's file does not say."""
INTERPOLATED: Final = "interpolated"
"""Grid of values between acquisitions."""
PASS_BYTES: Final = 64 << 20
"""Values that are read at once; an acquisition more when a single one is larger."""


@dataclass(frozen=True)
class ImportWriter:
    """Series files of one import."""

    folder: Path
    path: Path
    name: str
    sha: str
    version: str
    tile: str | None
    scale: Scales
    false_zeros: Counter[str] = field(default_factory=Counter)

    def write(
        self, table: ForeignTable, columns: ForeignColumns, rows: NDArray[np.int64], new_ids: NDArray[np.int32]
    ) -> Iterator[str]:
        """Write a file an acquisition and yield their names; as many are read at once as ``PASS_BYTES`` allow."""
        groups: dict[Source, list[int]] = {}
        for place, column in columns.kept.items():
            groups.setdefault(column.source, []).append(place)
        most = max(1, PASS_BYTES // (4 * table.ids.size))
        ordered = sorted(groups.items(), key=lambda item: (item[0].day, _stem(item[0])))
        while ordered:
            now = [ordered.pop(0)]
            while ordered and sum(len(places) for _, places in now) + len(ordered[0][1]) <= most:
                now.append(ordered.pop(0))
            wanted = [place for _, places in now for place in places]
            values = dict(zip(wanted, table.columns(wanted), strict=True))
            for source, places in now:
                mine = {p: values.pop(p)[rows] for p in places}
                yield self._file(source, {table.names[p]: (columns.kept[p], mine[p]) for p in places}, new_ids)

    def notes(self) -> tuple[str, ...]:
        """What was changed in values."""
        scaled = [f"{kind} multiplied by {factor:g}" for kind, factor in self.scale.factors.items()]
        zeros = [
            f"{n} zeros in {kind} taken out: no pixel of value 0 counts in the reference, it starts there by mistake"
            for kind, n in sorted(self.false_zeros.items())
            if n
        ]
        return (*scaled, *zeros)

    def _file(
        self,
        source: Source,
        columns: Mapping[str, tuple[ForeignColumn, NDArray[np.float32]]],
        new_ids: NDArray[np.int32],
    ) -> str:
        fields = [pa.field(ID, pa.int32(), nullable=False, metadata={"long_name": "Parcel", "unit": ""})]
        arrays = [pa.array(new_ids)]
        for name, (column, stored) in sorted(columns.items(), key=lambda item: item[1][0].name):
            values, n_false = physical(stored, column, self.scale, where=f"{self.path}, column {name}")
            self.false_zeros[f"{column.kind} {column.statistic}"] += n_false
            arrays.append(pa.array(values))
            fields.append(pa.field(column.name, pa.float32(), nullable=False, metadata=_described(name, column)))
        about = {
            "imported_from": self.path.name,
            "imported_sha256": self.sha,
            "scale": canonical_json(self.scale.factors),
        }
        schema = pa.schema(fields, metadata={**self._header(source).to_metadata(), **about})
        file = f"{_stem(source)}.arrow"
        write_ipc(self.folder / file, schema, [pa.RecordBatch.from_arrays(arrays, schema=schema)])
        return file

    def _header(self, source: Source) -> SeriesHeader:
        """The reference's pixels are those whose centre is inside; the buffer of its files is not told: NaN."""
        return SeriesHeader(
            product=f"sen4cap-import-{self.name.rpartition('-')[2]}",
            product_key=f"import:{self.name}",
            sensor=source.sensor,
            platform=UNKNOWN,
            datetime=dt.datetime.combine(source.day, dt.time(), dt.UTC),
            relative_orbit=source.relative_orbit,
            orbit_direction=None,
            tile=source.tile or self.tile or UNKNOWN,
            grid=INTERPOLATED if source.interpolated else UNKNOWN,
            parcels=f"{UNKNOWN}; numbers of {self.version}",
            weighting=Weighting.CENTRE,
            buffer_m=float("nan"),
            validity=canonical_json({"classes": UNKNOWN, "use": UNKNOWN}),
            task=f"import:{self.name}",
        )


def _described(name: str, column: ForeignColumn) -> dict[str, str]:
    unit = PIXEL if column.statistic == "count" else "dB" if column.kind == "AMP" else "1"
    return {
        "long_name": f"{column.kind} of Sen4CAP, {column.statistic}",
        "unit": unit,
        "variable": column.variable,
        "statistic": column.statistic,
        "formula": UNKNOWN,
        "method": f"{METHODS[column.statistic]}; {PIXELS}",
        "resampling": UNKNOWN,
        "source": f"Sen4CAP marker file, column {name}",
    }


def _stem(source: Source) -> str:
    parts = [f"{source.day:%Y%m%d}", f"{source.sensor}-interpolated" if source.interpolated else source.sensor]
    if source.relative_orbit is not None:
        parts.append(f"{source.relative_orbit:03d}")
    if source.tile:
        parts.append(source.tile)
    return "_".join(parts)
