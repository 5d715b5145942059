"""From imagery to numbers: farmland mask, parcel index, stacks, statistics; stages mask, index and gather."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s4c_hpc.core.lazy import lazily

if TYPE_CHECKING:
    from s4c_hpc.extract.blocks import BlockReader
    from s4c_hpc.extract.cells import BASE_RES_M, Cells, Mask, is_family
    from s4c_hpc.extract.farmland import farmland_mask, read_mask, write_mask
    from s4c_hpc.extract.gather import gather_grid
    from s4c_hpc.extract.index import IndexBlock, ParcelIndex, build_index, index_batches, read_index, write_index
    from s4c_hpc.extract.nearest import Nearest
    from s4c_hpc.extract.ranges import RowRanges
    from s4c_hpc.extract.stack import (
        CLASS_COLUMN,
        NO_CLASSES,
        NO_RASTER,
        STACK_BATCH_ROWS,
        Stack,
        StackColumn,
        StackWriter,
    )
    from s4c_hpc.extract.statistics import BlockStatistics, block_statistics

__all__ = [
    "BASE_RES_M",
    "CLASS_COLUMN",
    "NO_CLASSES",
    "NO_RASTER",
    "STACK_BATCH_ROWS",
    "BlockReader",
    "BlockStatistics",
    "Cells",
    "IndexBlock",
    "Mask",
    "Nearest",
    "ParcelIndex",
    "RowRanges",
    "Stack",
    "StackColumn",
    "StackWriter",
    "block_statistics",
    "build_index",
    "farmland_mask",
    "gather_grid",
    "index_batches",
    "is_family",
    "read_index",
    "read_mask",
    "write_index",
    "write_mask",
]

# ``s4c zonal`` starts in a third of the time when the readers of catalog and parcels stay out.
__getattr__ = lazily(
    __name__,
    {
        "blocks": ("BlockReader",),
        "cells": (
            "BASE_RES_M",
            "Cells",
            "Mask",
            "is_family",
        ),
        "farmland": (
            "farmland_mask",
            "read_mask",
            "write_mask",
        ),
        "gather": ("gather_grid",),
        "index": (
            "IndexBlock",
            "ParcelIndex",
            "build_index",
            "index_batches",
            "read_index",
            "write_index",
        ),
        "nearest": ("Nearest",),
        "ranges": ("RowRanges",),
        "stack": (
            "CLASS_COLUMN",
            "NO_CLASSES",
            "NO_RASTER",
            "STACK_BATCH_ROWS",
            "Stack",
            "StackColumn",
            "StackWriter",
        ),
        "statistics": (
            "BlockStatistics",
            "block_statistics",
        ),
    },
)
