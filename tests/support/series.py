"""A small generated tile: parcels, bands on three grids, classes, and what NumPy alone makes of them.

The oracle below knows nothing of masks, stacks and indices: it looks at whole rasters and tests every pixel centre
with GEOS.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from s4c_hpc.catalog import Band, Product
from s4c_hpc.config import Config, Weighting
from s4c_hpc.core.grid import Tile
from s4c_hpc.extract import (
    CLASS_COLUMN,
    NO_CLASSES,
    NO_RASTER,
    Cells,
    Mask,
    Stack,
    StackColumn,
    StackWriter,
    farmland_mask,
    index_batches,
    write_index,
    write_mask,
)
from s4c_hpc.optical import CATEGORY_ORDER, Variable, class_lut, resolve, usable_codes
from s4c_hpc.series.assign import assign
from s4c_hpc.series.write import SeriesInputs, write_series

TILE = Tile(id="TEST", crs="EPSG:32632", ulx=600000.0, uly=5400000.0, width_m=1260.0, height_m=1200.0)
RES = {"B03": 10, "B04": 10, "B08": 10, "B05": 20, "B11": 20, "B09": 60}
SCL_RES = 20
CONFIG: Mapping[str, Mapping[str, Any]] = {
    "site": {"name": "test", "season_start": "2018-01-01", "season_end": "2018-12-31"},
    "variables": {"bands": ["B04", "B08", "B11", "B09"], "indices": ["ndvi", "ndwi_gao"]},
}


def config(**sections: Mapping[str, Any]) -> Config:
    """The test's configuration with sections changed key by key."""
    merged = {name: {**CONFIG.get(name, {}), **sections.get(name, {})} for name in {*CONFIG, *sections}}
    return Config.model_validate(merged)


def parcels(seed: int = 1, n: int = 30) -> NDArray[np.object_]:
    """Rotated boxes, some with a hole, some overlapping, one of two parts, one without any pixel, one missing."""
    rng = np.random.default_rng(seed)
    made: list[Any] = []
    for i in range(n):
        east, north = TILE.ulx + rng.uniform(80, 1150), TILE.uly - rng.uniform(80, 1100)
        box = shapely.box(east - 1, north - 1, east + rng.uniform(30, 160), north + rng.uniform(30, 160))
        box = shapely.affinity.rotate(box, rng.uniform(0, 90))
        if i % 5 == 0:
            box = box.difference(shapely.centroid(box).buffer(17.3))
        made.append(box)
    part = shapely.affinity.rotate(shapely.box(600200.3, 5399700.1, 600290.7, 5399850.9), 21)
    made[3] = shapely.MultiPolygon([part, shapely.affinity.translate(part, 401.7, -303.1)])
    made[7] = shapely.affinity.scale(made[7], 0.01, 0.01)
    made[11] = None
    order = np.argsort([-shapely.bounds(g)[3] if g is not None else 0 for g in made], kind="stable")
    return np.array([made[i] for i in order], dtype=object)


@dataclass
class Scene:
    """One acquisition of the tile."""

    geometry: NDArray[np.object_] = field(default_factory=parcels)
    seed: int = 2
    block_size: int = 12
    offset: float = 0.0
    classes_declared: Mapping[int, str] | None = None
    has_classes: bool = True

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.dn = {}
        for name, res in RES.items():
            shape = self.shape(res)
            values = rng.integers(1, 6000, shape).astype(np.uint16)
            values[rng.random(shape) < 0.03] = 0
            self.dn[name] = values
        shares = [0.02, 0.02, 0.04, 0.04, 0.5, 0.18, 0.05, 0.03, 0.04, 0.04, 0.02, 0.02]
        self.scl = rng.choice(np.arange(12, dtype=np.uint8), self.shape(SCL_RES), p=shares)

    @staticmethod
    def shape(res: float) -> tuple[int, int]:
        grid = TILE.grid(res)
        return grid.height, grid.width

    @property
    def new_id(self) -> NDArray[np.int32]:
        return np.arange(101, 101 + len(self.geometry), dtype=np.int32)

    @property
    def block(self) -> NDArray[np.int32]:
        return (np.arange(len(self.geometry)) // self.block_size).astype(np.int32)

    @property
    def product(self) -> Product:
        def layer(name: str, res: float, dtype: str, nodata: float | None) -> Band:
            scaled = (1e-4, self.offset) if dtype == "uint16" else (1.0, 0.0)
            return Band(
                name=name,
                path=f"/archive/{name}.jp2",
                index=1,
                grid=TILE.grid(res),
                dtype=dtype,
                scale=scaled[0],
                offset=scaled[1],
                nodata=nodata,
            )

        return Product(
            id="S2A_20180507",
            source="geotiff",
            sensor="s2",
            platform="sentinel-2a",
            tile=TILE.id,
            datetime=dt.datetime(2018, 5, 7, 10, 26, 48, tzinfo=dt.UTC),
            relative_orbit=65,
            orbit_direction="descending",
            size_bytes=1,
            datatake="one",
            bands=tuple(layer(name, res, "uint16", 0) for name, res in RES.items()),
            class_layers=(layer("SCL", SCL_RES, "uint8", None),) if self.has_classes else (),
            class_kind="declared" if self.classes_declared else "scl",
            class_table=self.classes_declared,
        )

    def write(self, folder: Path, settings: Config) -> SeriesInputs:
        """Mask, stacks and indices as the earlier stages leave them."""
        folder.mkdir(parents=True, exist_ok=True)
        mask = farmland_mask(self.geometry, TILE, settings.extract.mask_ring_m, parcels_key="parcels:test")
        write_mask(folder / "mask.arrow", mask)
        weighting = settings.extract.weighting
        self.write_stacks(folder, mask)
        for res in sorted({*RES.values()}):
            cells = mask.cells(TILE.grid(res))
            buffer_m = settings.extract.buffer_m[f"{res}m"]
            batches = index_batches(self.new_id, self.block, self.geometry, cells, weighting, buffer_m)
            described = {
                "tile": TILE.id,
                "grid": f"{res}m",
                "weighting": weighting.value,
                "buffer_m": repr(buffer_m),
                "parcels": mask.parcels_key,
            }
            write_index(folder / f"index_{res}m.arrow", batches, described)
        return SeriesInputs.open(
            folder / "mask.arrow", sorted(folder.glob("stack_*.arrow")), sorted(folder.glob("index_*.arrow"))
        )

    def write_stacks(self, folder: Path, mask: Mask) -> list[Path]:
        """A stack a grid, gathered with a mask; their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = {res: folder / f"stack_{res}m.arrow" for res in sorted({*RES.values()})}
        for res, path in paths.items():
            self._write_stack(path, res, mask.cells(TILE.grid(res)))
        return list(paths.values())

    def _write_stack(self, path: Path, res: int, cells: Cells) -> None:
        product = self.product
        columns = [
            StackColumn(name=b.name, dtype=b.dtype, scale=b.scale, offset=b.offset, nodata=b.nodata)
            for b in product.bands
            if b.grid.res_m == res
        ]
        rasters: dict[str, NDArray[Any]] = {c.name: self.dn[c.name] for c in columns}
        is_class_grid = self.has_classes and res == SCL_RES
        columns.append(StackColumn(name=CLASS_COLUMN, dtype="uint8", nodata=NO_RASTER))
        rasters[CLASS_COLUMN] = self.scl if is_class_grid else np.zeros(self.shape(res), np.uint8)
        kind = product.class_kind if is_class_grid else NO_CLASSES
        kept = np.zeros(self.shape(res), dtype=bool)
        for row, c0, c1 in zip(cells.row, cells.c0, cells.c1, strict=True):
            kept[row, c0:c1] = True
        with StackWriter(path, columns, {"grid": f"{res}m", "class_kind": kind}) as writer:
            writer.append({name: raster[kept] for name, raster in rasters.items()})

    def run(self, folder: Path, settings: Config, inputs: SeriesInputs | None = None) -> dict[str, Path]:
        """Series files by grid."""
        inputs = self.write(folder, settings) if inputs is None else inputs
        written = {}
        for work in assign(self.product, resolve(settings.variables)).grids:
            path = folder / f"series_{work.grid.name}.arrow"
            write_series(path, self.product, work, inputs, settings, tile=TILE.id, task="task-1")
            written[work.grid.name] = path
        return written


def raster_on(values: NDArray[Any], res: int, wanted: int) -> NDArray[Any]:
    """A raster on another grid by nearest neighbour: the parent, or the child at the centre."""
    height, width = Scene.shape(wanted)
    if res >= wanted:
        factor = res // wanted
        return np.repeat(np.repeat(values, factor, axis=0), factor, axis=1)[:height, :width]
    factor = wanted // res
    return values[factor // 2 :: factor, factor // 2 :: factor][:height, :width]


@dataclass
class Oracle:
    """Statistics by whole rasters and GEOS, centre weighting."""

    scene: Scene
    settings: Config

    def physical(self, name: str, wanted: int) -> NDArray[np.float64]:
        dn = raster_on(self.scene.dn[name], RES[name], wanted)
        return np.where(dn == 0, np.nan, dn.astype(np.float64) * 1e-4 + self.scene.offset)

    def categories(self, wanted: int) -> NDArray[np.uint8]:
        product = self.scene.product
        lut = class_lut(product.class_kind, self.settings.validity, product.class_table)
        categories: NDArray[np.uint8] = lut[raster_on(self.scene.scl, SCL_RES, wanted)]
        return categories

    def inside(self, wanted: int) -> Iterator[NDArray[np.bool_]]:
        """For each parcel, whether each pixel centre is inside its buffered polygon."""
        grid = TILE.grid(wanted)
        east = grid.ulx + (np.arange(grid.width) + 0.5) * wanted
        north = grid.uly - (np.arange(grid.height) + 0.5) * wanted
        x, y = np.meshgrid(east, north)
        for geometry in self.scene.geometry:
            if geometry is None:
                yield np.zeros(x.shape, dtype=bool)
                continue
            shrunk = geometry.buffer(-self.settings.extract.buffer_m[f"{wanted}m"], quad_segs=8)
            yield shapely.contains_xy(shrunk, x, y)

    def counts(self, wanted: int) -> list[dict[str, int]]:
        categories = self.categories(wanted)
        return [
            {c.value: int(np.sum(categories[pixels] == code)) for code, c in enumerate(CATEGORY_ORDER)}
            for pixels in self.inside(wanted)
        ]

    def statistics(self, variable: Variable, wanted: int, names: Sequence[str]) -> NDArray[np.float64]:
        """(n_parcels, n_statistics)"""
        values = variable.formula.evaluate({n: self.physical(n, wanted).ravel() for n in variable.formula.names})
        usable = usable_codes(self.settings.validity)[self.categories(wanted).ravel()] & np.isfinite(values)
        return np.array([[numpy_statistic(values[p.ravel() & usable], s) for s in names] for p in self.inside(wanted)])


def numpy_statistic(values: NDArray[np.float64], name: str) -> float:
    """One statistic of plain values, as NumPy defines it."""
    if name == "count":
        return float(values.size)
    if values.size == 0 or (name == "stdev" and values.size < 2):
        return float("nan")
    if name == "stdev":
        return float(np.std(values, ddof=1))
    if name in {"mean", "min", "max"}:
        return float(getattr(np, name)(values))
    return float(np.percentile(values, 50 if name == "median" else int(name[1:])))


def read_table(path: Path) -> pa.Table:
    """A series file without any code of the package."""
    with pa.OSFile(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


__all__ = ["CONFIG", "RES", "TILE", "Oracle", "Scene", "Stack", "Weighting", "config", "numpy_statistic", "parcels"]
