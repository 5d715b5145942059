"""What a series file holds: one acquisition on one grid, a row a parcel, in the order of the parcel blocks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import pyarrow as pa

from s4c_hpc.config.model import Category, Weighting
from s4c_hpc.core.errors import InputError
from s4c_hpc.extract.quantiles import quantile_of
from s4c_hpc.optical import Variable

CONTRACT: Final = "s4c-series-1"
"""Changes when the meaning of columns or metadata changes."""

ID: Final = "NewID"
"""First column of every file: the parcel."""

CLASS_COUNTS: Final[Mapping[str, Category | None]] = {
    "n_total": None,
    "n_valid": Category.VALID,
    "n_cloud": Category.CLOUD,
    "n_shadow": Category.SHADOW,
    "n_snow": Category.SNOW,
    "n_water": Category.WATER,
    "n_saturated": Category.SATURATED,
    "n_nodata": Category.NODATA,
}
"""Count column -> category; ``n_total`` is the sum of the others.

Pixels are counted by their class alone: a pixel with a DN that means saturated or no data in one band is missing from
the statistics of what uses that band, and is seen in their ``count``, not in ``n_saturated`` or ``n_nodata``.
"""

PIXEL: Final = "pixel"
"""Unit of counts; in coverage mode a sum of pixel fractions."""

_METHODS: Final[Mapping[Weighting, Mapping[str, str]]] = {
    Weighting.CENTRE: {
        "count": "number of pixels",
        "mean": "arithmetic mean",
        "stdev": "sample standard deviation (n - 1)",
        "min": "smallest value",
        "max": "largest value",
        "quantile": "quantile {q:g}, linear between order statistics (numpy 'linear')",
    },
    Weighting.COVERAGE: {
        "count": "sum of pixel fractions",
        "mean": "mean weighted by pixel fraction",
        "stdev": "population standard deviation weighted by pixel fraction",
        "min": "smallest value of any pixel touched",
        "max": "largest value of any pixel touched",
        "quantile": "quantile {q:g} weighted by pixel fraction, linear between distinct values (as exactextract)",
    },
}

_PIXELS: Final[Mapping[Weighting, str]] = {
    Weighting.CENTRE: "pixels whose centre is inside the parcel",
    Weighting.COVERAGE: "pixels by the exact fraction that is inside the parcel",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesHeader:
    """Where the numbers of a file come from: its schema metadata, as values."""

    product: str
    product_key: str
    sensor: str
    platform: str
    datetime: dt.datetime
    """Acquisition, UTC."""
    relative_orbit: int | None
    orbit_direction: str | None
    """``ascending`` or ``descending``."""
    tile: str
    grid: str
    """Name of the grid, ``10m``."""
    parcels: str
    """Key of the tile's parcels, ``parcels:<16 hex>``."""
    weighting: Weighting
    buffer_m: float
    """Inward buffer of the parcels, in metres."""
    validity: str
    """JSON: category of each class value of the source, and which categories enter statistics."""
    task: str
    """Id of the task that made the file."""

    def to_metadata(self) -> dict[str, str]:
        """As schema metadata; an unknown value is an empty text."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["datetime"] = self.datetime.astimezone(dt.UTC).isoformat()
        values["buffer_m"] = f"{self.buffer_m:g}"
        return {"contract": CONTRACT, **{k: "" if v is None else str(v) for k, v in values.items()}}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], where: str) -> SeriesHeader:
        """The inverse of ``to_metadata``.

        Raises
        ------
        InputError
            If the metadata are not those of a series file of this contract.
        """
        if metadata.get("contract") != CONTRACT:
            raise InputError(
                f"not a series file of contract {CONTRACT}", where=where, hint="run 's4c run' to make it again"
            )
        values: dict[str, Any] = {f.name: metadata[f.name] for f in fields(cls)}
        values["datetime"] = dt.datetime.fromisoformat(values["datetime"])
        values["relative_orbit"] = int(values["relative_orbit"]) if values["relative_orbit"] else None
        values["orbit_direction"] = values["orbit_direction"] or None
        values["weighting"] = Weighting(values["weighting"])
        values["buffer_m"] = float(values["buffer_m"])
        return cls(**values)


def column_names(variables: Sequence[Variable], statistics: Sequence[str]) -> list[str]:
    """Columns of a file in order: the parcel, class counts, then each variable's statistics."""
    return [ID, *CLASS_COUNTS, *(f"{v.name}_{s}" for v in variables for s in v.statistics_of(statistics))]


def computed_statistics(variables: Sequence[Variable], statistics: Sequence[str]) -> tuple[str, ...]:
    """Those of the configuration, then what single variables want beside them; each once."""
    return tuple(dict.fromkeys([*statistics, *(s for v in variables for s in v.statistics_of(statistics))]))


def text_bytes(variable: Variable) -> int:
    """Length of what each column of a variable says of it, in bytes; the rest of a description is much the same.

    Where that depends on the satellite, the longest.
    """
    own = (variable.name, variable.name, variable.long_name, variable.unit, variable.formula.text, variable.source)
    length = sum(len(text.encode()) for text in own) + len("B8A from 20m, ") * len(variable.formula.names)
    return max([length, *(text_bytes(form) for form in variable.by_platform.values())])


def series_schema(
    header: SeriesHeader,
    variables: Sequence[Variable],
    statistics: Sequence[str],
    resampled: Mapping[str, str],
) -> pa.Schema:
    """Schema of a series file, with the unit, method and source of every column.

    Parameters
    ----------
    header : the file's own metadata
    variables : in column order
    statistics : in column order, for every variable that has none of its own
    resampled : band -> grid it was taken from, for bands that are coarser than the file's grid

    Returns
    -------
    int32 ``NewID``; counts int32 in centre mode, float32 in coverage mode; all else float32. No column has nulls:
    a value that does not exist is NaN.
    """
    number = pa.int32() if header.weighting is Weighting.CENTRE else pa.float32()
    columns = [pa.field(ID, pa.int32(), nullable=False, metadata={"long_name": "Parcel", "unit": ""})]
    for name, category in CLASS_COUNTS.items():
        of = "all pixels" if category is None else f"pixels that are {category.value}"
        described = {"long_name": f"Count of {of}", "unit": PIXEL, "method": _PIXELS[header.weighting]}
        columns.append(pa.field(name, number, nullable=False, metadata=described))
    for variable in variables:
        nearest = sorted({f"{b} from {resampled[b]}" for b in variable.formula.names if b in resampled})
        for statistic in variable.statistics_of(statistics):
            described = {
                "long_name": f"{variable.long_name}, {statistic}",
                "unit": PIXEL if statistic == "count" else variable.unit,
                "variable": variable.name,
                "statistic": statistic,
                "formula": variable.formula.text,
                "method": f"{_method(statistic, header.weighting)}; {_PIXELS[header.weighting]}",
                "resampling": f"nearest: {', '.join(nearest)}" if nearest else "none",
                "source": variable.source,
            }
            kind = number if statistic == "count" else pa.float32()
            columns.append(pa.field(f"{variable.name}_{statistic}", kind, nullable=False, metadata=described))
    return pa.schema(columns, metadata=header.to_metadata())


def _method(statistic: str, weighting: Weighting) -> str:
    quantile = quantile_of(statistic)
    methods = _METHODS[weighting]
    return methods[statistic] if quantile is None else methods["quantile"].format(q=quantile)
