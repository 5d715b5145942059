"""Which grid of a product each variable is computed on, decided the same way when planning and when running."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from s4c_hpc.catalog.angles import COSINES, has_angles
from s4c_hpc.catalog.model import Band, Product
from s4c_hpc.core.grid import Grid
from s4c_hpc.optical import Variable


@dataclass(frozen=True, slots=True, kw_only=True)
class GridVariables:
    """What one series file of a product holds."""

    grid: Grid
    variables: tuple[Variable, ...]
    """In the order of the configuration."""
    bands: tuple[Band, ...]
    """Every band that the variables need, by name; on this grid or a coarser one."""

    @property
    def resampled(self) -> dict[str, str]:
        """Band -> its own grid, for bands that are coarser than this grid."""
        return {b.name: b.grid.name for b in self.bands if b.grid.name != self.grid.name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """All series files of one product."""

    grids: tuple[GridVariables, ...]
    """Finest first."""
    missing: tuple[tuple[str, tuple[str, ...]], ...]
    """Variables that the product cannot give, each with the bands that it lacks."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the report."""
        return tuple(f"no {name}: the product has no {_in_words(bands)}" for name, bands in self.missing)


def assign(product: Product, variables: Sequence[Variable]) -> Assignment:
    """Put every variable on the finest grid among its bands.

    A variable of which the product lacks a band has no column in its files. Pseudo-bands of angles have no grid.
    """
    bands = {band.name: band for band in product.bands}
    angles = COSINES if has_angles(product) else ()
    by_grid: dict[str, list[Variable]] = {}
    grids: dict[str, Grid] = {}
    missing: list[tuple[str, tuple[str, ...]]] = []
    for variable in (one.on(product.platform) for one in variables):
        lacking = tuple(name for name in variable.formula.names if name not in bands and name not in angles)
        if lacking:
            if variable.statistics is None:  # a count that goes with another variable goes without a word
                missing.append((variable.name, lacking))
            continue
        finest = min((bands[n].grid for n in variable.formula.names if n in bands), key=lambda grid: grid.res_m)
        grids[finest.name] = finest
        by_grid.setdefault(finest.name, []).append(variable)
    return Assignment(
        grids=tuple(
            GridVariables(
                grid=grid,
                variables=tuple(by_grid[grid.name]),
                bands=tuple(
                    bands[n] for n in sorted({n for v in by_grid[grid.name] for n in v.formula.names} - {*COSINES})
                ),
            )
            for grid in sorted(grids.values(), key=lambda grid: grid.res_m)
        ),
        missing=tuple(missing),
    )


def _in_words(bands: tuple[str, ...]) -> str:
    """What is missing, the three pseudo-bands of angles as one."""
    words = [f"band {', '.join(real)}"] if (real := [name for name in bands if name not in COSINES]) else []
    return " and no ".join([*words, *(["sun and view angles"] if set(bands) & set(COSINES) else [])])
