"""Optical features of the parcels of a piece: from observations to periods, to functions of bands, to parcels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.model import Weighting
from s4c_hpc.extract.formulas import Evaluator
from s4c_hpc.features.moments import Members, moments, shares
from s4c_hpc.features.periods import place_of
from s4c_hpc.features.pixels import is_centre, pixels_of
from s4c_hpc.features.recipe import Recipe
from s4c_hpc.features.season import Season
from s4c_hpc.features.temporal import bridge, composite, count_observations, interpolate_whole
from s4c_hpc.optical import Formula


class OpticalFeatures:
    """The features of one recipe; columns as ``Recipe.columns`` says.

    Memory for each pixel of a piece: see ``Season.observe``; 4 bytes for each band and period, 5 for each period, and 8
    for each band and variable.
    """

    def __init__(self, recipe: Recipe, season: Season, weighting: Weighting) -> None:
        """Bind a recipe to stacks that have its bands."""
        self._recipe, self._season = recipe, season
        self._is_centre = is_centre(weighting)
        days = [product.datetime.date() for product in season.products]
        self._day = np.array([day.toordinal() for day in days], np.int64)
        self._at = np.array([period.first.toordinal() for period in recipe.periods], np.int64)
        self._period = place_of(days, recipe.periods)
        """(n_dates,) -1 for a day of no period: between the dates of an interpolation."""
        self._plain = {
            i: season.bands.index(v.formula.names[0])
            for i, v in enumerate(recipe.variables)
            if isinstance(v.formula, Formula) and v.formula.text == v.formula.names[0]
        }
        """Variables that are a band, and which one."""
        self._others = [i for i in range(len(recipe.variables)) if i not in self._plain]
        self._evaluator = Evaluator([recipe.variables[i].formula for i in self._others])
        self._needed = [season.bands.index(name) for name in self._evaluator.names]
        self.n_columns = 1 + len(recipe.periods) * (1 + 2 * len(recipe.variables))

    def fill(self, rows: NDArray[np.uint32], members: Members, out: NDArray[np.float32]) -> None:
        """Fill in columns of parcels, see ``PieceFeatures``."""
        season, n_periods, n_variables = self._season, len(self._recipe.periods), len(self._recipe.variables)
        observed = season.observe(rows)
        inside = self._period >= 0
        counts = np.empty((n_periods, rows.size), np.uint8)
        count_observations(observed.valid[inside], self._period[inside], counts)
        out[0] = pixels_of(members)
        shares(counts, members, out[1 : 1 + n_periods])
        filled = self._filled(observed.stored, observed.valid, counts)
        of_parcels = np.empty((n_periods, n_variables, 2, out.shape[1]), np.float32)
        for i, band in self._plain.items():
            found = np.empty((n_periods, 2, out.shape[1]), np.float32)
            moments(filled[band], members, self._is_centre, found)
            of_parcels[:, i] = found
        if self._others:
            bands = np.empty((len(self._needed), rows.size))
            found = np.empty((len(self._others), 2, out.shape[1]), np.float32)
            for k in range(n_periods):
                np.copyto(bands, filled[self._needed, k])
                moments(self._evaluator.evaluate(bands), members, self._is_centre, found)
                of_parcels[k, self._others] = found
        out[1 + n_periods :] = of_parcels.transpose(2, 0, 1, 3).reshape(-1, out.shape[1])

    def _filled(
        self, stored: tuple[NDArray[np.generic], ...], valid: NDArray[np.uint8], counts: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """(n_bands, n_periods, n) without gaps."""
        season = self._season
        filled = np.empty((len(stored), *counts.shape), np.float32)
        if self._recipe.interpolates:
            for values, scale, offset, out in zip(stored, season.scale, season.offset, filled, strict=True):
                interpolate_whole(values, valid, scale, offset, self._day, self._at, out)
            return filled
        share = np.empty(counts.shape, np.float32)
        bridge(counts, self._recipe.max_gap, share)
        for values, scale, offset, out in zip(stored, season.scale, season.offset, filled, strict=True):
            composite(values, valid, scale, offset, self._period, counts, share, out)
        return filled
