"""Outlines as flat arrays, read from their bytes: no geometry is made of what a kernel can look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.core.rings import certainly_valid as rings_valid
from s4c_hpc.core.wkb import Flat as WkbFlat
from s4c_hpc.core.wkb import flat_coordinates
from s4c_hpc.parcels.projection import Floats

WORTH_IT = 20_000
"""Outlines or pairs from which on kernels are called: loading numba takes as long as GEOS takes for so many."""


@dataclass(frozen=True, eq=False)
class Flat:
    """Vertices of polygons and multipolygons (n,), end to end; of anything else there are none."""

    x: Floats
    y: Floats
    rings: NDArray[np.int64]
    """(r + 1,) first vertex of each ring, and the end."""
    is_shell: NDArray[np.bool_]
    """(r,) whether a ring is the outer one of its polygon."""
    ring_first: NDArray[np.int64]
    """(n + 1,) first ring of each outline, and the end."""

    @property
    def first(self) -> NDArray[np.int64]:
        """(n + 1,) first vertex of each outline, and the end."""
        return self.rings[self.ring_first]


def flat(wkb: pa.LargeBinaryArray) -> Flat:
    """Vertices of outlines (n,) in two-dimensional WKB, little endian, as ``shapely.to_wkb`` writes it."""
    xy, rings, is_shell, ring_first, _ = _flat(wkb)
    x, y = np.ascontiguousarray(xy[:, 0]), np.ascontiguousarray(xy[:, 1])
    return Flat(x, y, rings, is_shell, ring_first)


def certainly_valid(wkb: pa.LargeBinaryArray) -> NDArray[np.bool_]:
    """Whether outlines (n,) certainly are valid polygons with an area; ``False`` means that it is not known.

    They are polygons of one ring that does not touch itself.
    """
    xy, rings, _, ring_first, _ = _flat(wkb)
    found: NDArray[np.bool_] = rings_valid(xy, rings, ring_first) & (np.diff(ring_first) == 1)
    return found


def _flat(wkb: pa.LargeBinaryArray) -> WkbFlat:
    _, offset_bytes, data = wkb.buffers()
    offsets = np.frombuffer(offset_bytes, np.int64)[wkb.offset : wkb.offset + len(wkb) + 1]
    raw = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    return flat_coordinates(raw, offsets[:-1], offsets[1:])
