"""Fields around: the nearest parcels of the same crop group."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class Peers:
    """Who is compared with whom on a tile."""

    def __init__(self, xy: NDArray[np.float64], group: NDArray[Any], distance_m: float, most: int) -> None:
        """Sort parcels by group.

        Parameters
        ----------
        xy : (n, 2) centres in metres; NaN where there is none
        group : (n,) names or numbers of crop groups
        most : of more fields within the distance, so many nearest ones are taken
        """
        from scipy.spatial import KDTree  # noqa: PLC0415 - heavy, and not needed to plan

        self._xy, self._distance_m, self._most = xy, distance_m, most
        known = np.isfinite(xy).all(axis=1)
        _, self._group = np.unique(group, return_inverse=True)
        self._group[~known] = -1
        order = np.argsort(self._group, kind="stable")
        starts = np.searchsorted(self._group[order], np.arange(self._group.max(initial=-1) + 2))
        self._members = [order[a:b] for a, b in pairwise(starts)]
        self._trees = [KDTree(xy[rows]) if rows.size > 1 else None for rows in self._members]

    def of(self, first: int, last: int) -> Rows:
        """(b, k) rows of the fields around each parcel of [first, last), nearest first; -1 where there are fewer."""
        found = np.full((last - first, self._most), -1, np.int64)
        group = self._group[first:last]
        for number in np.unique(group[group >= 0]):
            tree, members = self._trees[number], self._members[number]
            if tree is None:
                continue
            mine = np.flatnonzero(group == number)
            k = min(self._most + 1, members.size)
            _, near = tree.query(
                self._xy[first + mine], k=k, distance_upper_bound=np.nextafter(self._distance_m, np.inf)
            )
            rows = np.append(members, -1)[near]  # the tree says its size where there is nobody
            # A parcel is its own neighbour, first or not: others may lie at the very same place.
            rows[rows == (first + mine)[:, None]] = -1
            order = np.argsort(rows < 0, axis=1, kind="stable")[:, : self._most]
            kept = np.take_along_axis(rows, order, axis=1)
            found[mine, : kept.shape[1]] = kept
        return found
