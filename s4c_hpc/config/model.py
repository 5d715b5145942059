"""The configuration file as values: frozen, no unknown keys, every key with its meaning.

``s4c config schema`` prints the JSON Schema made from here; ``configs/schema.json`` is its committed copy.
"""

from __future__ import annotations

import datetime as dt
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ByteSize, Field, field_validator, model_validator

from s4c_hpc.config.section import Section, Slug
from s4c_hpc.config.slurm import Slurm
from s4c_hpc.core.errors import listing
from s4c_hpc.core.grid import FAMILY_RES_M


def _no_class_count(name: str) -> str:
    if name == "n" or name.startswith("n_"):
        raise ValueError(f"{name!r} would pass for a class count such as n_total; choose another name")
    return name


VariableName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$"), AfterValidator(_no_class_count)]
"""A variable's name as it stands in column names."""

_GRIDS = [f"{res_m:g}m" for res_m in FAMILY_RES_M]


def _one_of_the_grids(name: str) -> str:
    if name not in _GRIDS:
        raise ValueError(f"there is no grid {name!r}, only {listing(_GRIDS)}")
    return name


GridName = Annotated[str, AfterValidator(_one_of_the_grids), Field(json_schema_extra={"enum": list(_GRIDS)})]
"""A grid by the size of its pixels, e.g. ``10m``."""

Statistic = Annotated[str, Field(pattern=r"^(count|mean|stdev|min|max|median|p(100|[1-9]?[0-9]))$")]
"""``count``, ``mean``, ``stdev``, ``min``, ``max``, ``median`` or a percentile ``p0`` ... ``p100``."""


class Category(StrEnum):
    """What a pixel is, whatever the source's own classes are called. The counts of these sum to n_total."""

    NODATA = "nodata"
    VALID = "valid"
    CLOUD = "cloud"
    SHADOW = "shadow"
    SNOW = "snow"
    WATER = "water"
    SATURATED = "saturated"


class Weighting(StrEnum):
    """How a pixel at a parcel's edge counts."""

    CENTRE = "centre"
    """Whole if its centre is inside, else not at all."""
    COVERAGE = "coverage"
    """By the exact fraction of its area that is inside."""


class Site(Section):
    """The site and its season."""

    name: Slug = Field(description="Name of the site; stands in marker file names.")
    season_start: dt.date = Field(description="First acquisition day that counts (UTC).")
    season_end: dt.date = Field(description="Last acquisition day that counts (UTC), inclusive.")

    @model_validator(mode="after")
    def _ordered(self) -> Site:
        if self.season_end < self.season_start:
            raise ValueError(f"season_end {self.season_end} lies before season_start {self.season_start}")
        return self


class Sentinel2Source(Section):
    """Sentinel-2 level 2A products as ESA delivers them."""

    kind: Literal["sentinel2-l2a"] = Field(
        description="Folders in ESA's SAFE format, level 2A, any processing baseline."
    )
    root: Path = Field(description="Folder that is searched, at any depth, for *.SAFE folders.")


class GeoTiffSource(Section):
    """A declared set of GeoTIFF files."""

    kind: Literal["geotiff"] = Field(description="One GeoTIFF per acquisition, bands stacked in the file.")
    root: Path = Field(description="Folder that holds the files.")
    pattern: str = Field(description="File name with {datetime} where the acquisition time stands.")
    datetime_format: str = Field("%Y%m%dT%H%M%SZ", description="How {datetime} is written (strptime).")
    sensor: Slug = Field("s2", description="Sensor name in column names.")
    tile: Slug = Field(description="Tile that these files belong to: MGRS without T, or one of [[grid.tiles]].")
    bands: dict[str, Annotated[int, Field(ge=1)]] = Field(description="Band name -> number in the file, from 1.")
    scale: float = Field(1e-4, description="Physical value = DN * scale + offset.")
    offset: float = Field(0.0, description="See scale.")
    nodata: float | Literal["none"] = Field(
        0.0, description="DN that means no data; nan is one, too. 'none': every value is a value."
    )
    mask_band: int | None = Field(None, ge=1, description="Number of the band that holds the pixel classes.")
    mask_classes: dict[Annotated[int, Field(ge=0, le=254)], Category] = Field(
        default_factory=dict,
        description="Class value -> category; a value not listed counts as cloud. 255 is reserved: no raster here.",
    )

    @field_validator("pattern")
    @classmethod
    def _has_datetime(cls, value: str) -> str:
        if value.count("{datetime}") != 1:
            raise ValueError(f"{value!r} must contain {{datetime}} exactly once, e.g. 'S2_{{datetime}}.tif'")
        return value


Source = Annotated[Sentinel2Source | GeoTiffSource, Field(discriminator="kind")]


class Parcels(Section):
    """The declaration and how to read it."""

    file: Path | None = Field(None, description="Declaration file, any format that OGR reads.")
    layer: str | None = Field(None, description="Layer of the file; needed when it holds several.")
    id_columns: tuple[str, ...] = Field((), description="Columns that together identify a parcel from year to year.")
    crop_column: str | None = Field(None, description="Column with the declared crop code.")
    overlap_limit: float = Field(
        0.10, ge=0, le=1, description="Share of a parcel's area that others may cover before it is flagged Overlap."
    )


class OwnTile(Section):
    """A tile of the site's own, for imagery that is not on the MGRS grid."""

    id: Slug = Field(description="Name of the tile.")
    crs: str = Field(description="Authority code of a projected CRS in metres, e.g. EPSG:32632.")
    ulx: float = Field(description="Easting of the upper left corner.")
    uly: float = Field(description="Northing of the upper left corner.")
    width_m: float = Field(gt=0, description="Width in metres, eastwards.")
    height_m: float = Field(gt=0, description="Height in metres, southwards.")


class GridSection(Section):
    """The grid that parcels and imagery are laid on."""

    tiles: tuple[OwnTile, ...] = Field(
        (), description="Own tiles; when none is given the MGRS grid of Sentinel-2 is used."
    )

    @model_validator(mode="after")
    def _distinct(self) -> GridSection:
        names = [t.id for t in self.tiles]
        if len(set(names)) < len(names):
            raise ValueError("two own tiles have the same id")
        return self


class Extract(Section):
    """How pixels become members of parcels."""

    weighting: Weighting = Field(
        Weighting.CENTRE, description="centre: pixel centre inside; coverage: exact area fraction."
    )
    buffer_m: dict[GridName, Annotated[float, Field(ge=0)]] = Field(
        default_factory=lambda: {"10m": 5.0, "20m": 10.0, "60m": 30.0},
        description="Inward buffer of a parcel on each grid, in metres.",
    )
    mask_ring_m: float = Field(
        40.0, ge=0, description="Ring around the declared parcels that is kept as well, in metres."
    )


SCL_DEFAULT: dict[int, Category] = {
    0: Category.NODATA,
    1: Category.SATURATED,
    2: Category.SHADOW,
    3: Category.SHADOW,
    4: Category.VALID,
    5: Category.VALID,
    6: Category.WATER,
    7: Category.VALID,
    8: Category.CLOUD,
    9: Category.CLOUD,
    10: Category.CLOUD,
    11: Category.SNOW,
}
"""Sen2Cor scene classes; the reference system also treats 2 and 7 as cloud and 6 as invalid."""


class Validity(Section):
    """Which pixel classes count as what."""

    scl: dict[Annotated[int, Field(ge=0, le=254)], Category] = Field(
        default_factory=lambda: dict(SCL_DEFAULT), description="Sen2Cor scene class -> category."
    )
    use: tuple[Category, ...] = Field(
        (Category.VALID, Category.WATER), description="Categories whose pixels enter the statistics."
    )

    @field_validator("scl")
    @classmethod
    def _over_defaults(cls, value: dict[int, Category]) -> dict[int, Category]:
        """A table that names one class changes that class only."""
        return {**SCL_DEFAULT, **value}

    @field_validator("use")
    @classmethod
    def _never_nodata(cls, value: tuple[Category, ...]) -> tuple[Category, ...]:
        if Category.NODATA in value:
            raise ValueError("nodata pixels cannot enter the statistics")
        if not value:
            raise ValueError("at least one category must be used")
        return tuple(dict.fromkeys(value))


class Variables(Section):
    """What is computed for every parcel and acquisition."""

    bands: tuple[str, ...] = Field(
        ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
        description="Bands kept as they are, as reflectance.",
    )
    indices: tuple[str, ...] = Field(
        ("ndvi", "ndwi_gao", "ndwi_mcfeeters", "brightness", "bsi"),
        description="Names from 's4c config indices': ours, or any of the spyndex catalogue.",
    )
    formulas: dict[VariableName, str] = Field(
        default_factory=dict, description="Own formulas over band names, e.g. ireci = '(B07 - B04) / (B05 / B06)'."
    )
    statistics: tuple[Statistic, ...] = Field(
        ("count", "mean", "stdev", "min", "max", "median", "p25", "p75"), description="Computed for every variable."
    )

    @field_validator("statistics")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one statistic")
        return tuple(dict.fromkeys(value))


class MarkerSet(Section):
    """A selection of variables and statistics that becomes one family of marker files."""

    name: Slug = Field(description="Name of the set, a folder below markers.")
    variables: tuple[str, ...] | None = Field(None, description="Variables in this set; all when not given.")
    statistics: tuple[Statistic, ...] | None = Field(None, description="Statistics in this set; all when not given.")
    class_counts: bool = Field(default=True, description="Whether n_total, n_valid, n_cloud ... are in the set.")


class Markers(Section):
    """The marker files to be made."""

    sets: tuple[MarkerSet, ...] = (MarkerSet(name="mdb1"),)

    @model_validator(mode="after")
    def _distinct(self) -> Markers:
        names = [s.name for s in self.sets]
        if len(set(names)) < len(names):
            raise ValueError("two marker sets have the same name")
        return self


class Execute(Section):
    """Where and how tasks run."""

    executor: Literal["local", "slurm"] = Field("local", description="This machine, or a Slurm cluster ([slurm]).")
    workers: int = Field(0, ge=0, description="Local worker processes; 0 means one per core.")
    memory: ByteSize | None = Field(
        None, description="Memory that all tasks together may ask for, e.g. '8GiB'; none means 80 % of what is free."
    )
    max_attempts: int = Field(3, ge=1, description="How often a task that fails for no fault of its input is tried.")
    metrics_file: Path | None = Field(
        None,
        description="Prometheus textfile that a run keeps up to date, e.g. in node_exporter's textfile folder.",
    )


class Quota(Section):
    """Limits that a plan must respect."""

    max_bytes: ByteSize | None = Field(None, description="Largest size that a plan may write, e.g. '2TB'.")
    max_files: int | None = Field(
        None, ge=1, description="Largest number of files that a plan may write, with folders, journals and logs."
    )


class Report(Section):
    """What the HTML report shows."""

    parcels: Annotated[int, Field(ge=0)] = Field(
        50, description="Number of parcels with a time line of their own in the HTML report."
    )


class Config(Section):
    """A site's configuration file, ``s4c.toml``."""

    site: Site
    sources: tuple[Source, ...] = Field((), description="Where products are; several may be given.")
    parcels: Parcels = Parcels()
    grid: GridSection = GridSection()
    extract: Extract = Extract()
    validity: Validity = Validity()
    variables: Variables = Variables()
    markers: Markers = Markers()
    execute: Execute = Execute()
    slurm: Slurm = Slurm()
    quota: Quota = Quota()
    report: Report = Report()


BAND_NAME = re.compile(r"^[A-Z][A-Z0-9]*$")
"""Band names start with a capital, variables do not: a formula cannot mistake one for the other."""
