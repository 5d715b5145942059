"""From stacks to the rows of a series file: a pure function, one parcel block after the other.

What a formula gives for a pixel does not depend on its neighbours, nor a parcel's statistics on other parcels: how the
work is cut into pieces shows in the memory used and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.catalog.angles import COSINES
from s4c_hpc.config.model import Category, Weighting
from s4c_hpc.extract.blocks import BlockReader
from s4c_hpc.extract.formulas import Evaluator
from s4c_hpc.extract.index import IndexBlock, ParcelIndex
from s4c_hpc.extract.pieces import PIECE_PIXELS, Piece, pieces
from s4c_hpc.extract.statistics import BlockStatistics, block_statistics
from s4c_hpc.optical import CODE, Variable
from s4c_hpc.series.contract import CLASS_COUNTS, computed_statistics


@dataclass(frozen=True, slots=True, eq=False)
class PixelRules:
    """Which pixels count."""

    lut: NDArray[np.uint8] | None
    """(256,) category code of each class value; ``None`` for a product without a class layer: a pixel is then
    nodata where none of the bands that are needed has a value, else valid."""
    usable: NDArray[np.bool_]
    """(n_categories,) whether a category enters statistics, by code."""


def series_batches(
    index: ParcelIndex,
    reader: BlockReader,
    variables: Sequence[Variable],
    rules: PixelRules,
    statistics: Sequence[str],
    schema: pa.Schema,
    *,
    piece_pixels: int = PIECE_PIXELS,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a series file, one batch a parcel block.

    Parameters
    ----------
    index : the parcels' pixels on the grid of ``reader``
    reader : the stacks of the product; bands of coarser grids come by nearest neighbour
    variables : formulas over bands that ``reader`` has
    rules : which pixels count
    statistics : for every variable, in the order of ``schema``
    schema : see ``contract.series_schema``
    piece_pixels : pixels worked on at a time; does not change the result

    Notes
    -----
    Memory: 8 bytes a pixel of a piece for each band, each variable and each temporary of a function that is not
    compiled, beside 5 bytes a pixel for rows and categories and what ``reader`` holds.
    """
    computed = computed_statistics(variables, statistics)
    wanted = [(i, computed.index(s)) for i, v in enumerate(variables) for s in v.statistics_of(statistics)]
    evaluator = Evaluator([variable.formula for variable in variables])
    for block in index:
        parts = [
            _statistics(piece, reader, evaluator, rules, computed, index.weighting)
            for piece in pieces(block, piece_pixels)
        ]
        yield _batch(block, parts, wanted, schema)


def _statistics(
    piece: Piece,
    reader: BlockReader,
    evaluator: Evaluator,
    rules: PixelRules,
    statistics: tuple[str, ...],
    weighting: Weighting,
) -> BlockStatistics:
    bands = np.empty((len(evaluator.names), piece.n_pixels))
    for name, target in zip(evaluator.names, bands, strict=True):
        reader.physical(name, piece.row, target)
    if rules.lut is None:
        measured = [name not in COSINES for name in evaluator.names]
        categories = _by_presence(bands[measured] if not all(measured) else bands)
    else:
        categories = reader.categories(rules.lut, piece.row)
    values = evaluator.evaluate(bands)
    return block_statistics(piece.block, piece.places, values, categories, rules.usable, statistics, weighting)


def _by_presence(bands: NDArray[np.float64]) -> NDArray[np.uint8]:
    empty = np.ones(bands.shape[1], dtype=np.bool_)
    for values in bands:
        empty &= np.isnan(values)
    return np.where(empty, np.uint8(CODE[Category.NODATA]), np.uint8(CODE[Category.VALID]))


def _batch(
    block: IndexBlock, parts: Sequence[BlockStatistics], wanted: Sequence[tuple[int, int]], schema: pa.Schema
) -> pa.RecordBatch:
    """The columns of a block in the order and types of the schema; ``wanted`` are numbers of variable and statistic."""
    counts = np.concatenate([part.class_counts for part in parts])
    values, done = np.empty((*parts[0].values.shape[:2], block.n_parcels), dtype=np.float32), 0
    for part in parts:
        end = done + part.values.shape[2]
        with np.errstate(over="ignore"):  # beyond what float32 holds is inf, not a warning
            values[:, :, done:end] = part.values
        done = end
    columns: list[NDArray[Any]] = [block.new_id]
    columns += [counts.sum(axis=1) if c is None else counts[:, CODE[c]] for c in CLASS_COUNTS.values()]
    columns += [values[place] for place in wanted]
    arrays = [
        pa.array(np.ascontiguousarray(column, dtype=field.type.to_pandas_dtype()))
        for field, column in zip(schema, columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
