"""What the chain knows of a product: values only, no I/O."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace

from s4c_hpc.core.grid import Grid

OK = "ok"
BROKEN = "broken"
SUPERSEDED = "superseded"

UNKNOWN_TIME = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
"""Stands for the acquisition time of a broken product whose time could not be read; null in the index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One layer of one raster file."""

    name: str
    """``B04``; class layers have names of their source: ``SCL``, ``MASK``, ``MG2_R1``, ``QA_PIXEL``."""
    path: str
    """Absolute path of the file; layers of one file share it."""
    index: int
    """Number of the layer in the file, from 1."""
    grid: Grid
    dtype: str
    """NumPy name of the stored type, e.g. ``uint16``."""
    scale: float
    """Physical value = DN * scale + offset; reflectance is dimensionless."""
    offset: float
    """In physical units: -0.1 for Sentinel-2 from processing baseline 04.00 on."""
    nodata: float | None
    """DN that means no data."""
    saturated: float | None = None
    """DN that means saturated, where the format has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One acquisition of one tile, processed once."""

    id: str
    """Unique in the catalog: the SAFE name without ``.SAFE``, or the stem of a GeoTIFF."""
    source: str
    """Kind of source that it was found in: ``sentinel2-l2a`` or ``geotiff``."""
    sensor: str
    """Name used in paths and columns, e.g. ``s2``."""
    platform: str
    """``sentinel-2a``; empty where it is not known."""
    tile: str
    """Upper-case MGRS without ``T``, or the name of an own tile; empty in some broken products."""
    datetime: dt.datetime
    """Start of the acquisition, UTC: of the datatake, or of the datastrip if that begins later (see ``safe_s2``).
    ``UNKNOWN_TIME`` in some broken products."""
    relative_orbit: int | None = None
    orbit_direction: str | None = None
    """``ascending`` or ``descending``."""
    baseline: str | None = None
    """Processing baseline, e.g. ``05.09``."""
    generation_time: dt.datetime | None = None
    """When it was processed, UTC."""
    size_bytes: int
    """Sum of the sizes of the files that are used: what else lies beside them changes nothing."""
    datatake: str
    """Identity of the acquisition, whatever it was processed with; empty where the source does not tell it."""
    bands: tuple[Band, ...] = ()
    """Spectral bands, each at its native resolution or the next coarser one that the product holds."""
    class_layers: tuple[Band, ...] = ()
    """Layers that pixel classes are made from (``optical.to_classes``), those of one grid together; none where the
    source tells no classes."""
    class_kind: str = "scl"
    """How they are to be read: ``scl`` (Sen2Cor), ``declared`` (by ``class_table``), ``maja`` or ``landsat``."""
    class_table: Mapping[int, str] | None = None
    """Class value -> category, where the configuration declares it."""
    external_mask: Band | None = None
    """A mask that was made apart from the product, by FMask; which one counts is decided by ``validity.mask``."""
    cloud_cover: float | None = None
    """Share of clouds as the producer states it, in percent."""
    angles_file: str = ""
    """Metadata file, absolute, that holds grids of sun and view angles; read when imagery is."""
    mean_angles: tuple[float, float, float, float] | None = None
    """Sun zenith, sun azimuth, view zenith and view azimuth in degrees, where one value holds for all pixels."""
    revision: str = ""
    """Digest of what else decides the pixels of a product that has no generation time."""
    status: str = OK
    """``ok``, ``broken`` or ``superseded``; only ``ok`` products are used."""
    reason: str = ""
    """Why it is not used; empty when it is."""

    @property
    def key(self) -> str:
        """Identity as an input of tasks: never a path or a modification time, so a moved archive re-runs nothing."""
        generated = self.generation_time.isoformat() if self.generation_time else ""
        key = f"product:{self.id}|{generated}|{self.size_bytes}"
        return f"{key}|{self.revision}" if self.revision else key

    def broken(self, reason: str) -> Product:
        """This product as one that cannot be used."""
        return replace(self, status=BROKEN, reason=reason)
