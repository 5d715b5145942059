"""Directions to the sun and to the sensor over a tile, as the metadata of products give them: values only, no I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.catalog.model import Product

COS_VIEW_ZENITH: Final = "cosVZA"
COS_SUN_ZENITH: Final = "cosSZA"
COS_RELATIVE_AZIMUTH: Final = "cosRAA"
"""Of the sun's azimuth minus that of the view."""

COSINES: Final = (COS_VIEW_ZENITH, COS_SUN_ZENITH, COS_RELATIVE_AZIMUTH)
"""Pseudo-bands that products with known angles have. Formulas of users cannot name them: bands are in capitals."""

_GRIDS: Final = ("sun_zenith", "sun_azimuth", "view_zenith", "view_azimuth")

DECIMALS: Final = 5
"""Of angles in degrees, as they are kept: a hundred-thousandth is 2e-7 in a cosine, at most."""

MAX_TEXT_BYTES: Final = 40_000
"""Most bytes of ``Angles.to_text`` for a grid of 23 x 23 nodes, which a tile of 110 km has at 5 km."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Angles:
    """Angles in degrees at the nodes of a coarse grid; one node stands for the whole tile.

    All arrays are (rows, columns) float64, NaN where none is known. Azimuths run clockwise from north and tell where
    the sun or the sensor is, seen from the ground.
    """

    ulx: float
    """Easting of the first node, in the CRS of the product."""
    uly: float
    """Northing of the first node; rows run southwards."""
    step_m: float
    """Distance of the nodes, in metres."""
    sun_zenith: NDArray[np.float64]
    sun_azimuth: NDArray[np.float64]
    view_zenith: NDArray[np.float64]
    view_azimuth: NDArray[np.float64]

    @classmethod
    def constant(cls, sun_zenith: float, sun_azimuth: float, view_zenith: float, view_azimuth: float) -> Angles:
        """The same angles everywhere, in degrees."""
        values = (sun_zenith, sun_azimuth, view_zenith, view_azimuth)
        nodes: dict[str, Any] = {n: np.array([[v]], dtype=np.float64) for n, v in zip(_GRIDS, values, strict=True)}
        return cls(ulx=0.0, uly=0.0, step_m=1.0, **nodes)

    def to_text(self) -> str:
        """As JSON; the same angles give the same text."""
        grids = {
            name: [[None if np.isnan(v) else round(float(v), DECIMALS) for v in row] for row in getattr(self, name)]
            for name in _GRIDS
        }
        corner = {"ulx": self.ulx, "uly": self.uly, "step_m": self.step_m}
        return json.dumps({**corner, **grids}, separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Angles:
        """The inverse of ``to_text``, but for what it has rounded."""
        content = json.loads(text)
        fields: dict[str, Any] = {name: np.array(content[name], dtype=np.float64) for name in _GRIDS}
        return cls(ulx=content["ulx"], uly=content["uly"], step_m=content["step_m"], **fields)

    def vectors(self) -> NDArray[np.float64]:
        """(rows, columns, 6) unit vectors to the sun, then to the sensor, each as east, north and up."""
        sun = unit_vectors(self.sun_zenith, self.sun_azimuth)
        return np.concatenate([sun, unit_vectors(self.view_zenith, self.view_azimuth)], axis=-1)


def unit_vectors(zenith: NDArray[np.float64], azimuth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Direction of each pair of angles in degrees, (..., 3) as east, north and up.

    Directions are averaged and interpolated as vectors: an azimuth jumps from 360 to 0 degrees, and turns quickly near
    the zenith, where it means little.
    """
    zenith, azimuth = np.radians(zenith), np.radians(azimuth)
    return np.stack([np.sin(zenith) * np.sin(azimuth), np.sin(zenith) * np.cos(azimuth), np.cos(zenith)], axis=-1)


def angles_of(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Zenith and azimuth in degrees of vectors (..., 3) of any length; the inverse of ``unit_vectors``."""
    east, north, up = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    zenith = np.degrees(np.arctan2(np.hypot(east, north), up))
    return zenith, np.mod(np.degrees(np.arctan2(east, north)), 360.0)


def mean_direction(
    grids: Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of directions at each node, of those that are known there.

    Parameters
    ----------
    grids : zenith and azimuth in degrees, all of one shape; a detector's grid is NaN where it did not look

    Returns
    -------
    zenith, azimuth : degrees; NaN where no grid has a value
    """
    total: NDArray[np.float64] | None = None
    for zenith, azimuth in grids:
        vectors = unit_vectors(zenith, azimuth)
        known = np.isfinite(vectors).all(axis=-1, keepdims=True)
        # The fourth component counts.
        step = np.concatenate([np.where(known, vectors, 0.0), known.astype(np.float64)], axis=-1)
        total = step if total is None else total + step
    if total is None:
        nothing = np.full((1, 1), np.nan)
        return nothing, nothing
    zenith, azimuth = angles_of(total[..., :3])
    unknown = total[..., 3] == 0
    return np.where(unknown, np.nan, zenith), np.where(unknown, np.nan, azimuth)


def has_angles(product: Product) -> bool:
    """Whether the product has the pseudo-bands ``COSINES``."""
    return bool(product.angles_file) or product.mean_angles is not None


def mean_angles(product: Product) -> Angles | None:
    """Angles of a product that states one value for all its pixels."""
    return None if product.mean_angles is None else Angles.constant(*product.mean_angles)


def grid_values(rows: Sequence[str]) -> NDArray[np.float64]:
    """(rows, columns) of a table that is written as lines of numbers and ``NaN``."""
    return np.array([[float(value) for value in row.split()] for row in rows], dtype=np.float64)
