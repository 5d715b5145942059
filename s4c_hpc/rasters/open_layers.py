"""The files of a product that rasters are made from: each opened once, whatever is read of it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import rasterio

from s4c_hpc.catalog import Band, Product, open_raster
from s4c_hpc.core.grid import Grid
from s4c_hpc.extract.layer_file import LayerFile
from s4c_hpc.extract.stack import CLASS_COLUMN, FMASK_COLUMN
from s4c_hpc.extract.stage_gather import layers_by_grid


@dataclass(frozen=True, slots=True, eq=False)
class OpenGrid:
    """Open files of one pixel size of a product."""

    grid: Grid
    files: tuple[LayerFile, ...]
    """Layers are called as ``layers_by_grid`` calls them."""

    def with_column(self, column: str) -> tuple[LayerFile, ...]:
        """Files that hold a layer which a column of classes is made from."""
        return tuple(file for file in self.files if any(is_of(column, key) for key in file.layers))


def is_of(column: str, key: str) -> bool:
    """Whether a layer belongs to a column of classes."""
    return key == column or key.startswith(f"{column}/")


def needed_layers(product: Product, bands: Collection[str], columns: Collection[str]) -> dict[str, dict[str, Band]]:
    """By grid name and key, the layers of bands and of columns of classes (``CLASS_COLUMN``, ``FMASK_COLUMN``)."""
    grids = {}
    for name, layers in layers_by_grid(product).items():
        wanted = {
            key: band for key, band in layers.items() if key in bands or any(is_of(column, key) for column in columns)
        }
        if wanted:
            grids[name] = wanted
    return grids


def class_columns(product: Product) -> tuple[str, ...]:
    """Columns of classes that a product has."""
    own = (CLASS_COLUMN,) if product.class_layers else ()
    return own if product.external_mask is None else (*own, FMASK_COLUMN)


@contextlib.contextmanager
def open_layers(layers: dict[str, dict[str, Band]], max_block_rows: int, cache_bytes: int) -> Iterator[list[OpenGrid]]:
    """Open the files of layers; yields what is open of each grid, finest first.

    Parameters
    ----------
    max_block_rows : tallest blocks that the task's memory was promised for
    cache_bytes : of GDAL, for blocks

    Raises
    ------
    InputError
        If a file is not what the catalog says, or has blocks taller than ``max_block_rows``.
    """
    with rasterio.Env(GDAL_CACHEMAX=cache_bytes), contextlib.ExitStack() as stack:
        grids = []
        for wanted in layers.values():
            grid = next(iter(wanted.values())).grid
            files = []
            for path in dict.fromkeys(band.path for band in wanted.values()):
                own = {key: band for key, band in wanted.items() if band.path == path}
                files.append(LayerFile(path, stack.enter_context(open_raster(path)), own, grid, max_block_rows))
            grids.append(OpenGrid(grid, tuple(files)))
        yield grids
