"""Compile every kernel beforehand: ``python -m s4c_hpc.extract.warm``.

The machine code stays on disk, so that workers which start together do not all compile the same for a minute. It is
made for types: what is run here has those of a real run, arrays of mapped files (which are read-only) among them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import rasterio
import shapely
from numpy.typing import NDArray

from s4c_hpc.catalog import Band
from s4c_hpc.catalog.angles import COSINES, Angles
from s4c_hpc.config.model import Weighting
from s4c_hpc.core.grid import FAMILY_RES_M, Grid, Tile
from s4c_hpc.extract.blocks import BlockReader
from s4c_hpc.extract.cells import Mask
from s4c_hpc.extract.dilate import Widening, widened
from s4c_hpc.extract.farmland import farmland_mask, read_mask, write_mask
from s4c_hpc.extract.formulas import Evaluator
from s4c_hpc.extract.gather import gather_grid
from s4c_hpc.extract.index import index_batches, read_index, write_index
from s4c_hpc.extract.pieces import pieces
from s4c_hpc.extract.stack import CLASS_COLUMN, NO_RASTER, Stack, StackColumn, StackWriter
from s4c_hpc.extract.statistics import MOMENTS, block_statistics
from s4c_hpc.extract.zonal_warm import warm_zonal
from s4c_hpc.optical import parse
from s4c_hpc.parcels.apart import certainly_apart

_TILE: Final = Tile(id="warm", crs="EPSG:32632", ulx=600_000.0, uly=5_400_000.0, width_m=600.0, height_m=600.0)

_DTYPES: Final = ("uint8", "uint16", "int16", "float32")
"""Types of imagery that are met."""


def warm(folder: Path) -> None:
    """Run every kernel once, on a parcel with a hole; leaves its files in ``folder``."""
    square = shapely.box(600_100.0, 5_399_700.0, 600_300.0, 5_399_900.0)
    parcel = np.array([square.difference(square.centroid.buffer(25.0))], dtype=object)
    write_mask(folder / "mask", farmland_mask(parcel, _TILE, 40.0))
    mask = read_mask(folder / "mask")
    stacks = {grid.name: _stack(folder, mask, grid) for grid in map(_TILE.grid, FAMILY_RES_M)}
    for weighting in Weighting:
        for res_m in FAMILY_RES_M:
            reader = BlockReader(stacks, mask, _TILE.grid(res_m), angles=Angles.constant(30.0, 150.0, 5.0, 100.0))
            _statistics(folder / "index", parcel, reader, weighting)
    warm_zonal(folder)
    twice = pa.array(shapely.to_wkb(np.repeat(parcel, 2)), pa.large_binary())
    certainly_apart(twice, np.zeros(1, np.int64), np.ones(1, np.int64), worth_it=0)
    widened(np.full((3, 3), 4, np.uint8), slice(0, 1), [Widening(values=(4,), radius_m=20.0)], (), 10.0)


def _stack(folder: Path, mask: Mask, grid: Grid) -> Stack:
    """A stack with a band of every type, named by type and grid, and a class layer."""
    layers, columns = {}, []
    for dtype in _DTYPES:
        path = folder / f"{dtype}_{grid.name}.tif"
        profile = {"width": grid.width, "height": grid.height, "count": 1, "dtype": dtype, "crs": grid.crs}
        with rasterio.open(path, "w", driver="GTiff", transform=rasterio.Affine(*grid.transform), **profile) as raster:
            raster.write(np.ones((1, grid.height, grid.width), dtype))
        name = CLASS_COLUMN if dtype == "uint8" else f"{dtype}_{grid.name}"
        layers[name] = Band(
            name=name, path=str(path), index=1, grid=grid, dtype=dtype, scale=1.0, offset=0.0, nodata=None
        )
        columns.append(StackColumn(name=name, dtype=dtype, nodata=NO_RASTER if name == CLASS_COLUMN else None))
    with StackWriter(folder / grid.name, columns, {"class_kind": "scl"}) as writer:
        gather_grid(layers, mask.cells(grid), writer)
    return Stack(folder / grid.name)


def _statistics(path: Path, parcel: NDArray[np.object_], reader: BlockReader, weighting: Weighting) -> None:
    """Index the parcel on a grid and reduce bands of every grid."""
    ones = np.ones(1, dtype=np.int32)
    described = {"grid": reader.cells.grid.name, "weighting": weighting.value}
    write_index(path, index_batches(ones, ones, parcel, reader.cells, weighting, 1.0), described)
    names = [f"{dtype}_{res_m:g}m" for res_m in FAMILY_RES_M for dtype in _DTYPES if dtype != "uint8"]
    (block,) = read_index(path)
    (piece,) = pieces(block)
    bands = np.stack([reader.physical(name, piece.row) for name in (*names, *COSINES)])
    for name in names:
        taken = np.empty(piece.row.size, reader.column(name).dtype)
        reader.take(name, piece.row, taken, np.ones(piece.row.size, np.uint8))
    categories = reader.categories(np.zeros(256, dtype=np.uint8), piece.row)
    values, usable = Evaluator([parse("B04 + B08")]).evaluate(bands[:2]), np.ones(1, dtype=np.bool_)
    block_statistics(piece.block, piece.places, values, categories, usable, (*MOMENTS, "median"), weighting)


def main() -> None:
    """Warm up in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        warm(Path(folder))


if __name__ == "__main__":
    main()
