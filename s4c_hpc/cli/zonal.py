"""``s4c zonal``: statistics of parcels on any raster, without a workspace."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from s4c_hpc.cli.output import say


class Weight(StrEnum):
    """How pixels at a parcel's edge count."""

    COVERAGE = "coverage"
    CENTRE = "centre"


def zonal(
    rasters: Annotated[list[Path], typer.Argument(metavar="RASTER...", help="Rasters; any that GDAL reads.")],
    parcels: Annotated[Path, typer.Argument(metavar="PARCELS", help="Polygons; any file that OGR reads, GeoParquet.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Table to write: .arrow, .parquet or .csv.")],
    statistics: Annotated[
        str, typer.Option("--statistics", "-s", help="count, mean, stdev, min, max, median, p<percent>; with commas.")
    ] = "count,mean,stdev,min,max,median",
    weighting: Annotated[Weight, typer.Option(help="Exact share of each pixel, or pixels whose centre is inside.")] = (
        Weight.COVERAGE
    ),
    band: Annotated[list[int] | None, typer.Option(help="Band, from 1; may be repeated. All if not given.")] = None,
    mask: Annotated[
        list[Path] | None, typer.Option(help="Raster on the same pixels; one for all, or repeated for each raster.")
    ] = None,
    mask_valid: Annotated[
        str, typer.Option(help="Values of the mask that count, with commas; not with the next.")
    ] = "",
    mask_invalid: Annotated[str, typer.Option(help="Values that do not, besides the mask's own no-data.")] = "0",
    nodata: Annotated[
        float | None, typer.Option(help="Stored value, instead of the no-data value of the raster.")
    ] = None,
    buffer: Annotated[float, typer.Option(min=0.0, help="Inward buffer, in units of the raster's CRS.")] = 0.0,
    threads: Annotated[int, typer.Option(min=1, help="Threads that decode and reduce.")] = 2,
    id_column: Annotated[
        list[str] | None, typer.Option("--id", help="Column to keep; may be repeated. The row number if not given.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of the parcels.")] = None,
    index: Annotated[
        Path | None, typer.Option(help="Keep the parcels' pixels in this file for further rasters of the same grid.")
    ] = None,
) -> None:
    """Statistics of every parcel on every raster: columns <file>_<statistic>, a row a parcel.

    With coverage weighting the numbers are those of exactextract, except that quantiles of whole-number rasters are not
    truncated and that invalid polygons are repaired first. A raster's own mask, scale and offset are applied. Parcels
    may overlap; those in another CRS are reprojected.
    """
    from s4c_hpc.extract.zonal import zonal as statistics_of
    from s4c_hpc.extract.zonal_output import check_output, write_table
    from s4c_hpc.extract.zonal_raster import ZonalRequest

    request = ZonalRequest(
        rasters=rasters,
        parcels=parcels,
        statistics=tuple(dict.fromkeys(name.strip().lower() for name in statistics.split(",") if name.strip())),
        weighting=weighting.value,
        bands=tuple(dict.fromkeys(band or ())),
        masks=mask or (),
        mask_valid=_numbers(mask_valid, "--mask-valid"),
        mask_invalid=_numbers(mask_invalid, "--mask-invalid"),
        nodata=nodata,
        buffer=buffer,
        threads=threads,
        ids=tuple(dict.fromkeys(id_column or ())),
        layer=layer,
        index=index,
    )
    check_output(out, request)
    result = statistics_of(request)
    write_table(result.table, out)
    for note in result.notes:
        say(note)
    say(f"{result.table.num_rows} parcels, {len(rasters)} rasters: {out}")


def _numbers(text: str, option: str) -> tuple[int, ...]:
    from s4c_hpc.core.errors import ConfigError

    try:
        return tuple(int(value) for value in text.split(",") if value.strip())
    except ValueError:
        raise ConfigError(f"{text!r} is not a list of whole numbers", where=option, hint="write 4,5,6") from None
