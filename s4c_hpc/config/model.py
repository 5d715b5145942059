"""The configuration file as values: frozen, no unknown keys, every key with its meaning.

``s4c config schema`` prints the JSON Schema made from here; ``configs/schema.json`` is its committed copy.
"""

from __future__ import annotations

import datetime as dt
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ByteSize, Field, ValidationInfo, field_serializer, field_validator, model_validator

from s4c_hpc.config.classify import Classify
from s4c_hpc.config.confounders import Confounders
from s4c_hpc.config.features import Features
from s4c_hpc.config.mowing import Mowing
from s4c_hpc.config.practices import Practices
from s4c_hpc.config.secrets import without_password
from s4c_hpc.config.section import Section, Slug
from s4c_hpc.config.slurm import Slurm
from s4c_hpc.core.errors import listing
from s4c_hpc.core.grid import GRID_RES_M


def _no_class_count(name: str) -> str:
    if name == "n" or name.startswith("n_"):
        raise ValueError(f"{name!r} would pass for a class count such as n_total; choose another name")
    return name


VariableName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$"), AfterValidator(_no_class_count)]
"""A variable's name as it stands in column names."""

_GRIDS = [f"{res_m:g}m" for res_m in GRID_RES_M]


def _one_of_the_grids(name: str) -> str:
    if name not in _GRIDS:
        raise ValueError(f"there is no grid {name!r}, only {listing(_GRIDS)}")
    return name


GridName = Annotated[str, AfterValidator(_one_of_the_grids), Field(json_schema_extra={"enum": list(_GRIDS)})]
"""A grid by the size of its pixels, e.g. ``10m``."""

Statistic = Annotated[str, Field(pattern=r"^(count|mean|stdev|min|max|median|p(100|[1-9]?[0-9]))$")]
"""``count``, ``mean``, ``stdev``, ``min``, ``max``, ``median`` or a percentile ``p0`` ... ``p100``."""


Biophysical = Literal["lai", "fapar", "fcover", "ccc", "cwc"]
"""A variable that a neural network gives."""

BiophysicalSet = Literal[
    "auto",
    "auto_10m",
    "2.1/S2",
    "3.0/S2A",
    "3.0/S2B",
    "3.0/S2A_10m",
    "3.0/S2B_10m",
    "3.0/LANDSAT8",
    "sen2agri/S2_allbands",
]
"""A set of networks, or how it is chosen."""


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


MgrsTile = Annotated[str, Field(pattern=r"^\d{2}[C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V]$")]
"""A tile of the Sentinel-2 grid, upper case, without T."""

_LAYOUT = (
    "How the archive is laid out: a name from 's4c catalog layouts', or a TOML file of your own in the same form. "
    "Then only folders of the season and of the tiles are listed."
)
_TILES = (
    "Tiles to look for, MGRS without T; when none is named, those of the imported parcels where a layout is given, "
    "else all."
)

_FMASK_ROOT = (
    "Folder searched at any depth for masks that FMask 4 made of the same acquisitions, on the pixels of one of the "
    "product's grids; used as validity.mask says."
)
_FMASK_PATTERN = "File names of these masks; whose they are is told by tile (or scene) and time in the name."


class ProductFolders(Section):
    """What sources of folders in a provider's own format have in common."""

    kind: str
    root: Path = Field(description="Folder that is searched for products: as 'layout' says, else at any depth.")
    layout: str | None = Field(None, description=_LAYOUT)
    tiles: tuple[MgrsTile, ...] = Field((), description=_TILES)
    fmask_root: Path | None = Field(None, description=_FMASK_ROOT)
    fmask_pattern: str = Field("*_Fmask4.tif", description=_FMASK_PATTERN)


class Sentinel2Source(ProductFolders):
    """Sentinel-2 level 2A products as ESA delivers them."""

    kind: Literal["sentinel2-l2a"] = Field(
        description="Folders in ESA's SAFE format (*.SAFE), level 2A, any processing baseline."
    )


class MajaSource(ProductFolders):
    """Sentinel-2 level 2A products that MAJA made, in the format of MUSCATE."""

    kind: Literal["maja"] = Field(description="Folders in the format of MUSCATE (Theia), level 2A.")


class LandsatSource(ProductFolders):
    """Landsat 8 and 9 level 2 products of Collection 2."""

    kind: Literal["landsat-c2l2"] = Field(description="Folders of Collection 2, level 2 (L2SP), of Landsat 8 and 9.")
    scenes: tuple[Annotated[str, Field(pattern=r"^\d{6}$")], ...] = Field(
        (), description="WRS-2 path and row of the scenes to look for, e.g. '193026'; all when none is named."
    )


class SunAndView(Section):
    """Directions that hold for all pixels of all products of a source."""

    sza: float = Field(ge=0, lt=90, description="Sun zenith angle in degrees.")
    saa: float = Field(ge=0, le=360, description="Sun azimuth in degrees, clockwise from north.")
    vza: float = Field(ge=0, lt=90, description="View zenith angle in degrees.")
    vaa: float = Field(ge=0, le=360, description="View azimuth in degrees, clockwise from north.")


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
    relative_orbit: int | None = Field(
        None, ge=1, le=175, description="Relative orbit of the acquisitions, of radar: a source for each."
    )
    orbit_direction: Literal["ascending", "descending"] | None = Field(
        None, description="Pass of the acquisitions; with relative_orbit it stands in the names of radar's columns."
    )
    angles: SunAndView | None = Field(
        None,
        description="Sun and view angles, e.g. { sza = 40, saa = 150, vza = 5, vaa = 100 }: variables.biophysical "
        "needs them.",
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


Source = Annotated[Sentinel2Source | MajaSource | LandsatSource | GeoTiffSource, Field(discriminator="kind")]


class Archive(Section):
    """How patient reading from the sources is: they may lie on a slow or shaky mount."""

    retries: int = Field(
        4, ge=0, le=20, description="How often reading is tried again after an error of the mount, e.g. EIO or ESTALE."
    )
    backoff_s: float = Field(
        1.0, ge=0, le=600, description="Pause before the first retry, in seconds; doubled before each further one."
    )
    recheck: bool = Field(
        default=True,
        description="Whether a scan compares sizes and times of the files of every known product. false: those that "
        "were whole stay as they are, which spares a hundred requests each where products never change.",
    )


class ImportMode(StrEnum):
    """What a declaration says about the parcels that are not in it."""

    REPLACE = "replace"
    """They are not there: the file is the declaration."""
    UPDATE = "update"
    """They were deleted: they stay, marked."""
    INCREMENTAL = "incremental"
    """Nothing: they are as before. The file holds additions and changes only."""


class Pseudonyms(Section):
    """What replaces the ids of parcels and holdings: keyed hashes (HMAC-SHA256)."""

    key_file: Path | None = Field(
        None, description="File with the key, outside of the workspace, readable by its owner only (mode 0600)."
    )
    key_env: str | None = Field(
        None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Or the environment variable that holds the key."
    )
    drop_columns: tuple[str, ...] = Field(
        (), description="Columns that are left out as well, e.g. names and addresses."
    )

    @model_validator(mode="after")
    def _one_key(self) -> Pseudonyms:
        if (self.key_file is None) == (self.key_env is None):
            raise ValueError("name one of key_file and key_env")
        return self


class Strata(Section):
    """Areas that divide the site, of which each parcel gets the one that has most of it."""

    file: Path = Field(description="Vector file of the strata, any format that OGR reads, in any reference system.")
    column: str = Field(min_length=1, description="Column that names them; areas of one name are one stratum.")


class Parcels(Section):
    """The declaration and how to read it."""

    mode: ImportMode = Field(
        ImportMode.REPLACE,
        description="replace: the file is the declaration; update: parcels that are missing from it are marked as "
        "deleted; incremental: it holds additions and changes only.",
    )
    file: Path | None = Field(None, description="Declaration file, any format that OGR reads.")
    layer: str | None = Field(None, description="Layer of the file; needed when it holds several.")
    id_columns: tuple[str, ...] = Field((), description="Columns that together identify a parcel from year to year.")
    holding_columns: tuple[str, ...] = Field((), description="Columns that together identify a holding (a farm).")
    crop_column: str | None = Field(None, description="Column with the declared crop code.")
    crop_table: Path | None = Field(
        None, description="CSV file with a row a crop code: ori_crop, CTnum, CT, LC, CTnumL4A, CTL4A, ..."
    )
    hcat_table: Path | None = Field(
        None, description="CSV file of EuroCrops from crop codes (original_code) to HCAT, the common European taxonomy."
    )
    pseudonyms: Pseudonyms | None = Field(
        None, description='Replace ids of parcels and holdings, e.g. { key_file = "/etc/s4c/parcels.key" }.'
    )
    within: Path | None = Field(
        None,
        description="Vector file of the site: parcels whose interior does not meet it stay in the version, with a "
        "reason, and lie on no tile.",
    )
    where: str | None = Field(
        None,
        description="Expression over parcel attributes, as in 's4c parcels query --where': parcels for which it is not "
        "true stay in the version, with a reason, and lie on no tile.",
    )
    strata: Strata | None = Field(
        None,
        description='Column stratum of the parcels: the area that has most of each, e.g. { file = "strata.gpkg", '
        'column = "name" }; empty where no area has any.',
    )
    geometry_tolerance_m: float = Field(
        0.0,
        ge=0,
        le=100,
        description="An outline this close to that of the version before is taken to be the same, which is kept.",
    )
    overlap_limit: float = Field(
        0.10, ge=0, le=1, description="Share of a parcel's area that others may cover before it is flagged Overlap."
    )
    sliver_min_width_m: float = Field(
        2.0, ge=0, description="A parcel narrower than this on average (2 area / perimeter) is a sliver; 0: no rule."
    )
    sliver_min_area_m2: float = Field(100.0, ge=0, description="A parcel smaller than this is a sliver; 0: no rule.")
    sliver_max_shape_index: float = Field(
        6.0, ge=0, description="A parcel with a larger ShapeInd (perimeter / (2 sqrt(pi area))) is one; 0: no rule."
    )
    min_pixels: int = Field(
        1, ge=0, description="Pixels of a grid that a parcel needs so as not to be listed as too small for it."
    )
    layers_max: int = Field(
        4, ge=0, le=50, description="Updates of a tile that are computed as a layer each before it is computed anew."
    )
    layer_share_max: float = Field(
        0.10,
        ge=0,
        le=1,
        description="Share of a tile's parcels that such layers may hold together before it is computed anew.",
    )

    @field_serializer("file", when_used="json-unless-none")
    def _file_to_show(self, file: Path) -> str:
        # Plans and messages hold the configuration: a password need not get there.
        return without_password(str(file)) if str(file).startswith("PG:") else str(file)


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


class Dilation(Section):
    """How far masks are widened, in metres, when imagery is read; a changed width reads it again."""

    cloud: float = Field(0.0, ge=0, le=5000, description="Pixels this close to a cloud become that cloud.")
    shadow: float = Field(0.0, ge=0, le=5000, description="The same with cloud shadows.")
    snow: float = Field(0.0, ge=0, le=5000, description="The same with snow.")


class Extract(Section):
    """How pixels become members of parcels."""

    weighting: Weighting = Field(
        Weighting.CENTRE, description="centre: pixel centre inside; coverage: exact area fraction."
    )
    buffer_m: dict[GridName, Annotated[float, Field(ge=0)]] = Field(
        default_factory=lambda: {"10m": 5.0, "20m": 10.0, "30m": 15.0, "60m": 30.0},
        description="Inward buffer of a parcel on each grid, in metres.",
    )
    mask_ring_m: float = Field(
        40.0, ge=0, description="Ring around the declared parcels that is kept as well, in metres."
    )
    decode_cpus: int = Field(
        1,
        ge=1,
        le=64,
        description="Cores of a task that decodes imagery: more make a product sooner, and a season of them later.",
    )
    dilate_m: Dilation = Dilation()


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


MAJA_DEFAULT: dict[int, Category] = {
    0: Category.VALID,
    1: Category.WATER,
    2: Category.SHADOW,
    3: Category.SNOW,
    4: Category.CLOUD,
    5: Category.SATURATED,
    6: Category.SHADOW,
    7: Category.NODATA,
    8: Category.VALID,
    254: Category.NODATA,
}
"""Classes made of MAJA's flags (``optical.classes``): 0 land, 1 water, 2 cloud shadow, 3 snow, 4 cloud, 5 saturated in
any band of that pixel size, 6 topographic shadow, 7 hidden by relief, 8 sun too low or tangent to the slope, 254
outside of the image. The reference system counts 2 as cloud and does not look at 6, 7 and 8."""

LANDSAT_DEFAULT: dict[int, Category] = {
    0: Category.VALID,
    1: Category.WATER,
    2: Category.SHADOW,
    3: Category.SNOW,
    4: Category.CLOUD,
    5: Category.SATURATED,
    6: Category.CLOUD,
    7: Category.CLOUD,
    8: Category.NODATA,
    9: Category.VALID,
    254: Category.NODATA,
}
"""Classes made of Landsat's QA_PIXEL and QA_RADSAT (``optical.classes``): 0 land, 1 water, 2 cloud shadow, 3 snow,
4 cloud, 5 saturated in any of bands 1 to 7, 6 dilated cloud, 7 cirrus, 8 occluded by terrain, 9 cloud with
medium confidence (the USGS calls it clear), 254 fill."""

FMASK_DEFAULT: dict[int, Category] = {
    0: Category.VALID,
    1: Category.WATER,
    2: Category.SHADOW,
    3: Category.SNOW,
    4: Category.CLOUD,
}
"""Values of FMask 4 (Qiu, Zhu and He 2019, doi:10.1016/j.rse.2019.05.024): 0 land, 1 water, 2 cloud shadow, 3 snow,
4 cloud; its 255, no observation, is no data."""

_DEFAULT_TABLES = {"scl": SCL_DEFAULT, "maja": MAJA_DEFAULT, "landsat": LANDSAT_DEFAULT, "fmask": FMASK_DEFAULT}

ClassTable = dict[Annotated[int, Field(ge=0, le=254)], Category]
"""Class value -> category; one that names some values changes these only, and a value not listed is cloud."""


class MaskChoice(StrEnum):
    """Which mask says what a pixel is."""

    PRODUCT = "product"
    """The product's own classes."""
    FMASK = "fmask"
    """FMask alone; a product without it has no usable pixel."""
    BOTH = "both"
    """A pixel that either of them leaves out is left out; the product's own classes alone where there is no FMask."""


class Validity(Section):
    """Which pixel classes count as what."""

    mask: MaskChoice = Field(
        MaskChoice.PRODUCT,
        description="product: the product's own classes; fmask: FMask alone (fmask_root of [[sources]]), without which "
        "all pixels are nodata; both: what either leaves out, and the product's own where there is no FMask.",
    )
    scl: ClassTable = Field(default_factory=lambda: dict(SCL_DEFAULT), description="Sen2Cor scene class -> category.")
    maja: ClassTable = Field(
        default_factory=lambda: dict(MAJA_DEFAULT),
        description="Class of MAJA -> category: 0 land, 1 water, 2 cloud shadow, 3 snow, 4 cloud, 5 saturated, "
        "6 topographic shadow, 7 hidden by relief, 8 sun too low or tangent, 254 outside of the image.",
    )
    landsat: ClassTable = Field(
        default_factory=lambda: dict(LANDSAT_DEFAULT),
        description="Class of Landsat -> category: 0 land, 1 water, 2 cloud shadow, 3 snow, 4 cloud, 5 saturated, "
        "6 dilated cloud, 7 cirrus, 8 occluded by terrain, 9 cloud with medium confidence, 254 fill.",
    )
    fmask: ClassTable = Field(
        default_factory=lambda: dict(FMASK_DEFAULT),
        description="Value of FMask -> category: 0 land, 1 water, 2 cloud shadow, 3 snow, 4 cloud.",
    )
    use: tuple[Category, ...] = Field(
        (Category.VALID, Category.WATER), description="Categories whose pixels enter the statistics."
    )

    @field_validator("scl", "maja", "landsat", "fmask")
    @classmethod
    def _over_defaults(cls, value: dict[int, Category], info: ValidationInfo) -> dict[int, Category]:
        """A table that names one class changes that class only."""
        return {**_DEFAULT_TABLES[str(info.field_name)], **value}

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
    biophysical: tuple[Biophysical, ...] = Field(
        (),
        description="Of lai, fapar, fcover, ccc (ug/cm2) and cwc (g/cm2), by published neural networks (Weiss & "
        "Baret); they need sun and view angles, which SAFE, MAJA and Landsat products have.",
    )
    biophysical_set: BiophysicalSet = Field(
        "auto",
        description="Networks: auto = version 3.0 of the product's satellite, auto_10m = the same from bands of 10 m "
        "only, or one set by name for all products (configs/biophysical).",
    )
    biophysical_outside: Literal["keep", "drop"] = Field(
        "keep",
        description="Pixels whose reflectances or result lie outside of what the networks were made for: keep = with "
        "their value, as in SNAP; drop = without one.",
    )
    biophysical_counts: bool = Field(
        default=True, description="Whether such pixels are counted, e.g. in lai_outside_count, kept or not."
    )
    statistics: tuple[Statistic, ...] = Field(
        ("count", "mean", "stdev", "min", "max", "median", "p25", "p75"), description="Computed for every variable."
    )

    @field_validator("biophysical")
    @classmethod
    def _once(cls, value: tuple[Biophysical, ...]) -> tuple[Biophysical, ...]:
        return tuple(dict.fromkeys(value))

    @field_validator("statistics")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one statistic")
        return tuple(dict.fromkeys(value))


class Series(Section):
    """How the values of every parcel and acquisition are kept."""

    compact: bool = Field(
        default=True,
        description="Whether each month is also kept parcel by parcel, for reading one parcel's season in a "
        "millisecond; takes as many bytes as the series themselves.",
    )


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
        if "l4a" in names:
            raise ValueError("'l4a' is the set of crop types ([classify]); choose another name")
        return self


RASTER_SCALES: dict[str, float] = {"lai": 1e-3, "ccc": 0.1}
"""Steps of variables that are larger than 3: leaf area index to 32, canopy chlorophyll to 3276 ug/cm2."""


class Rasters(Section):
    """Rasters of variables, one a tile, acquisition and variable, for maps; the imagery is read a second time."""

    variables: tuple[str, ...] = Field(
        (),
        description="What rasters are made of: indices by name, own formulas (variables.formulas), bands, e.g. "
        "['ndvi', 'B04']; by default nothing.",
    )
    mask: bool = Field(
        default=True, description="Whether pixels that [validity] leaves out of the statistics are no data here, too."
    )
    scale: float = Field(
        1e-4,
        gt=0,
        description="Step of the stored 16-bit integers: value = stored * scale, so 0.0001 holds -3.2767 to 3.2767.",
    )
    scales: dict[VariableName, Annotated[float, Field(gt=0)]] = Field(
        default_factory=lambda: dict(RASTER_SCALES), description="Another step for some variables."
    )
    compress: Literal["deflate", "zstd"] = Field(
        "deflate", description="Lossless compression: deflate is read everywhere, zstd is quicker."
    )

    @field_validator("variables")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(value))

    @field_validator("scales")
    @classmethod
    def _over_defaults(cls, value: dict[str, float]) -> dict[str, float]:
        return {**RASTER_SCALES, **value}


class Retention(Section):
    """What is removed when it is no longer needed; a run of all stages does so at its end."""

    keep_stacks: Literal["season", "none"] = Field(
        "season",
        description="season: the pixels taken out of the imagery stay, so that a new index reads no imagery; none: "
        "they are removed once everything that reads them is done, and gathered again when something new needs them.",
    )
    keep_rasters_days: int | None = Field(
        None,
        ge=1,
        description="Only rasters of the last so many days of each tile's imagery are made and kept; by default those "
        "of the whole season.",
    )

    @property
    def spent_stages(self) -> frozenset[str]:
        """Stages whose files go once nothing waits for them."""
        return frozenset({"gather"} if self.keep_stacks == "none" else ())


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
    archive: Archive = Archive()
    parcels: Parcels = Parcels()
    grid: GridSection = GridSection()
    extract: Extract = Extract()
    validity: Validity = Validity()
    variables: Variables = Variables()
    series: Series = Series()
    features: Features = Features()
    classify: Classify = Classify()
    confounders: Confounders = Confounders()
    practices: Practices = Practices()
    mowing: Mowing = Mowing()
    markers: Markers = Markers()
    rasters: Rasters = Rasters()
    retention: Retention = Retention()
    execute: Execute = Execute()
    slurm: Slurm = Slurm()
    quota: Quota = Quota()
    report: Report = Report()

    @field_validator("validity")
    @classmethod
    def _has_masks(cls, value: Validity, info: ValidationInfo) -> Validity:
        sources = info.data.get("sources")  # not there if they are wrong themselves
        if value.mask is MaskChoice.PRODUCT or sources is None:
            return value
        if not any(getattr(source, "fmask_root", None) for source in sources):
            raise ValueError(f"validity.mask is '{value.mask.value}', but no source names fmask_root")
        return value


BAND_NAME = re.compile(r"^[A-Z][A-Z0-9]*$")
"""Band names start with a capital, variables do not: a formula cannot mistake one for the other."""
