"""The products of a feature task, as seasons of some bands each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from s4c_hpc.catalog import Product
from s4c_hpc.config import Config
from s4c_hpc.core.grid import Grid
from s4c_hpc.extract.cells import Mask
from s4c_hpc.features.groups import has_bands, radar_pairs
from s4c_hpc.features.radar_recipe import RadarRecipe, pass_name
from s4c_hpc.features.season import Season


class Seasons:
    """Makes seasons of the same products over one mask and grid, and lets go of them together."""

    def __init__(
        self, products: Sequence[tuple[Product, Sequence[Path]]], mask: Mask, grid: Grid, config: Config
    ) -> None:
        """Nothing is mapped yet.

        Parameters
        ----------
        products : each with its stacks
        """
        self._products, self._place = products, (mask, grid)
        self._config = config
        self._made: list[Season] = []

    def of(self, bands: Sequence[str], direction: str = "") -> Season:
        """Those that have all of these bands, and a pass by its name."""
        chosen = [
            (product, paths)
            for product, paths in self._products
            if has_bands(product, bands) and direction in {"", pass_name(product.orbit_direction)}
        ]
        self._made.append(Season(chosen, *self._place, bands, self._config))
        return self._made[-1]

    def by_pass(self, made: RadarRecipe) -> tuple[dict[tuple[str, str], Season], dict[tuple[str, str], Season]]:
        """Backscatter and coherence by pass and polarisation, as far as there are some."""
        there = {pair for product, _ in self._products for pair in radar_pairs(product)}
        return (
            {(p, pol): self.of([pol], p) for p, pol in made.backscatter if (p, pol) in there},
            {(p, pol): self.of([f"COH{pol}"], p) for p, pol in made.coherence if (p, f"COH{pol}") in there},
        )

    def release(self) -> None:
        """Let go of the pages that were read."""
        for season in self._made:
            season.release()
