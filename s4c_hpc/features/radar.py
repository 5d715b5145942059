"""Radar features of the parcels of a piece: weekly composites of pixels, what they do over time, parcels, no gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.model import Weighting
from s4c_hpc.features.fill import fill
from s4c_hpc.features.moments import Members, moments, shares
from s4c_hpc.features.over_weeks import low_quantile, mean_and_variation
from s4c_hpc.features.periods import Period, place_of
from s4c_hpc.features.pixels import is_centre, pixels_of
from s4c_hpc.features.radar_recipe import LOW, RATIO, RadarRecipe, longest
from s4c_hpc.features.season import Season
from s4c_hpc.features.temporal import bridge, composite, count_observations

Pixels = NDArray[np.float32]

Key = tuple[str, str]
"""Pass and polarisation."""


class RadarFeatures:
    """The radar features of one tile; columns as ``RadarRecipe.columns`` says.

    Memory for each pixel of a piece: what one polarisation of one pass was seen at, and 4 bytes for each week, pass and
    polarisation, of coherence as well.
    """

    def __init__(
        self,
        recipe: RadarRecipe,
        backscatter: Mapping[Key, Season],
        coherence: Mapping[Key, Season],
        weighting: Weighting,
    ) -> None:
        """Bind a recipe to stacks.

        Parameters
        ----------
        backscatter, coherence : what this tile has, one band each; what the recipe has beyond is NaN
        """
        self._recipe, self._backscatter, self._coherence = recipe, backscatter, coherence
        self._is_centre = is_centre(weighting)
        firsts = [week.first for week in recipe.weeks]
        self._season_of = place_of(firsts, recipe.seasons)
        self._month_of = place_of(firsts, recipe.months)
        self.n_columns = len(recipe.columns(""))

    def fill(self, rows: NDArray[np.uint32], members: Members, out: NDArray[np.float32]) -> None:
        """Fill in columns of parcels, see ``PieceFeatures``."""
        recipe, n = self._recipe, rows.size
        empty = np.full((len(recipe.weeks), n), np.nan, np.float32)
        seen = {source: np.zeros(empty.shape, np.uint8) for source in recipe.sources}
        weekly: dict[Key, Pixels] = {}
        for key in recipe.backscatter:
            weekly[key] = self._weekly(self._backscatter.get(key), rows, seen[key[0], "BCK"], empty)
        for p in recipe.ratios:
            with np.errstate(divide="ignore", invalid="ignore"):
                weekly[p, RATIO] = weekly[p, "VV"] / weekly[p, "VH"]
        coherent = {
            key: self._weekly(self._coherence.get(key), rows, seen[key[0], "COHE"], empty) for key in recipe.coherence
        }
        out[0] = pixels_of(members)
        at = 1
        for counts in seen.values():
            shares(counts, members, out[at : at + len(counts)])
            at += len(counts)
        parts = [self._of_parcels(values, recipe.weeks, members) for values in (*weekly.values(), *coherent.values())]
        for values in weekly.values():
            mean, variation = self._over_time(values)
            parts += [self._of_parcels(values, recipe.seasons, members) for values in (mean, variation)]
        for pol in recipe.polarisations:
            of_pol = [values for (_, other), values in coherent.items() if other == pol]
            mean, low = self._of_months(of_pol)
            parts += [self._of_parcels(values, recipe.months, members) for values in (mean, low)]
        for pol in recipe.polarisations:
            every = np.concatenate([values for (_, other), values in coherent.items() if other == pol])
            spread = np.empty((1, n), np.float32)
            mean_and_variation(every, np.empty(n, np.float32), spread[0], _ABSOLUTE)
            parts.append(self._of_parcels(spread, (recipe.whole,), members))
        for part in parts:
            out[at : at + len(part)] = part
            at += len(part)

    def _weekly(
        self, season: Season | None, rows: NDArray[np.uint32], seen: NDArray[np.uint8], empty: Pixels
    ) -> Pixels:
        """(n_weeks, n) mean of the values above 0 of each week; what was seen is added to ``seen``."""
        if season is None:
            return empty
        observed = season.observe(rows)
        (stored,), valid = observed.stored, observed.valid
        days = [product.datetime.date() for product in season.products]
        week = place_of(days, self._recipe.weeks)
        scale, offset = season.scale[0], season.offset[0]
        valid &= stored * scale[:, None] + offset[:, None] > 0
        counts, share = np.empty(empty.shape, np.uint8), np.empty(empty.shape, np.float32)
        count_observations(valid, week, counts)
        bridge(counts, 0, share)
        found = np.empty(empty.shape, np.float32)
        composite(stored, valid, scale, offset, week, counts, share, found)
        np.maximum(seen, counts, out=seen)
        return found

    def _over_time(self, weekly: Pixels) -> tuple[Pixels, Pixels]:
        """(n_seasons, n) mean and coefficient of variation of the weeks of some months."""
        shape = len(self._recipe.seasons), weekly.shape[1]
        mean, variation = np.empty(shape, np.float32), np.empty(shape, np.float32)
        for k in range(shape[0]):
            mean_and_variation(weekly[self._season_of == k], mean[k], variation[k], _RELATIVE)
        return mean, variation

    def _of_months(self, weekly: Sequence[Pixels]) -> tuple[Pixels, Pixels]:
        """(n_months, n) mean and low quantile of the weeks of a month, of all passes."""
        shape = len(self._recipe.months), weekly[0].shape[1]
        mean, low = np.empty(shape, np.float32), np.empty(shape, np.float32)
        spread = np.empty(shape[1], np.float32)
        for k in range(shape[0]):
            every = np.concatenate([values[self._month_of == k] for values in weekly])
            mean_and_variation(every, mean[k], spread, _ABSOLUTE)
            low_quantile(every, LOW, low[k])
        return mean, low

    def _of_parcels(self, values: Pixels, periods: Sequence[Period], members: Members) -> NDArray[np.float32]:
        """(2 * n_periods, n_parcels) means, then standard deviations, without gaps that are not too long."""
        n_parcels = members[0].size - 1
        found = np.empty((len(periods), 2, n_parcels), np.float32)
        moments(values, members, self._is_centre, found)
        gap = longest(periods, self._recipe.max_gap_days)
        filled = [fill(found[:, statistic].T, gap).T for statistic in range(2)]
        return np.concatenate(filled)


_RELATIVE: Final = True
_ABSOLUTE: Final = False
