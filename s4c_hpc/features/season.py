"""All products of a season over one mask: the pixels of a piece at every date, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.catalog import Product
from s4c_hpc.config import Config
from s4c_hpc.core.grid import Grid
from s4c_hpc.extract.blocks import BlockReader, Routes
from s4c_hpc.extract.cells import Mask
from s4c_hpc.extract.stack import Stack
from s4c_hpc.optical import external_rule
from s4c_hpc.series.compute import PixelRules
from s4c_hpc.series.write import pixel_rules


@dataclass(frozen=True, eq=False)
class Observations:
    """What was seen of the pixels of a piece."""

    stored: tuple[NDArray[Any], ...]
    """(n_dates, n) of each band, as they are stored."""
    valid: NDArray[np.uint8]
    """(n_dates, n) 1 where the class of the pixel counts and every band has a value, else 0."""


@dataclass(frozen=True, eq=False)
class _Date:
    """One product."""

    product: Product
    reader: BlockReader
    rules: PixelRules


class Season:
    """Stacks of the products of one sensor, in the order of their acquisition; mapped, and read piece by piece."""

    def __init__(
        self,
        products: Iterable[tuple[Product, Sequence[Path]]],
        mask: Mask,
        grid: Grid,
        bands: Sequence[str],
        config: Config,
    ) -> None:
        """Map the stacks.

        Parameters
        ----------
        products : each with its stacks, gathered with ``mask``
        grid : where pixels are wanted; coarser bands come by nearest neighbour
        bands : that are wanted; every product has them

        Raises
        ------
        MissingDataError, InputError
            If a stack is not there, is not whole or belongs to another mask.
        """
        self.bands = tuple(bands)
        routes = Routes(mask.cells(grid))
        ordered = sorted(products, key=lambda pair: (pair[0].datetime, pair[0].id))
        self._stacks: list[Stack] = []
        self._dates = [self._date(product, paths, mask, routes, config) for product, paths in ordered]
        self.products = tuple(date.product for date in self._dates)
        columns = [[date.reader.column(band) for date in self._dates] for band in self.bands]
        self._dtypes = [np.result_type(*(np.dtype(c.dtype) for c in of_band)) for of_band in columns]
        self.scale = np.array([[c.scale for c in of_band] for of_band in columns], np.float32)
        """(n_bands, n_dates) physical value = stored * scale + offset."""
        self.offset = np.array([[c.offset for c in of_band] for of_band in columns], np.float32)
        """(n_bands, n_dates)."""

    @property
    def n_dates(self) -> int:
        """Number of products."""
        return len(self._dates)

    def observe(self, rows: NDArray[np.uint32]) -> Observations:
        """The pixels with these stack rows, (n,), at all dates.

        Notes
        -----
        Memory: for each date and pixel a byte and the bytes of all bands.
        """
        shape = self.n_dates, rows.size
        valid = np.ones(shape, np.uint8)
        stored = tuple(np.empty(shape, dtype) for dtype in self._dtypes)
        for t, date in enumerate(self._dates):
            if date.rules.lut is not None:  # else what has a value counts
                valid[t] = date.rules.usable[date.reader.categories(date.rules.lut, rows)]
            for band, values in zip(self.bands, stored, strict=True):
                date.reader.take(band, rows, values[t], valid[t])
        return Observations(stored, valid)

    def release(self) -> None:
        """Let go of the pages that were read: some clusters count mapped files as memory of a job."""
        for stack in self._stacks:
            stack.release()

    def _date(self, product: Product, paths: Sequence[Path], mask: Mask, routes: Routes, config: Config) -> _Date:
        stacks = [Stack(path) for path in paths]
        self._stacks += stacks
        external = external_rule(config.validity, has_mask=product.external_mask is not None)
        reader = BlockReader(
            {stack.metadata["grid"]: stack for stack in stacks}, mask, routes.cells.grid, external, routes=routes
        )
        return _Date(product, reader, pixel_rules(product, config))
