"""Polygons of every awkward kind, made from a seed, and slow answers to check fast ones against."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import affinity

from s4c_hpc.core.grid import Grid, Tile

TILE = Tile(id="T1", crs="EPSG:32632", ulx=600_000.0, uly=5_300_000.0, width_m=1200.0, height_m=960.0)
"""120 x 96 pixels of 10 m: small enough to test every pixel against every polygon."""


def star(rng: np.random.Generator, x: float, y: float, radius: float, n_vertices: int = 12) -> shapely.Polygon:
    """A simple polygon around a point, concave as a rule."""
    angle = np.sort(rng.uniform(0, 2 * np.pi, n_vertices))
    reach = radius * rng.uniform(0.3, 1.0, n_vertices)
    return shapely.Polygon(np.c_[x + reach * np.cos(angle), y + reach * np.sin(angle)]).buffer(0)


def random_parcels(seed: int, n: int, tile: Tile = TILE) -> NDArray[np.object_]:
    """Plain fields, holes, multi-parts, slivers, sub-pixel ones, overlaps, off the raster, and none at all."""
    rng = np.random.default_rng(seed)
    west, south, east, north = tile.bounds
    found: list[shapely.Geometry | None] = []
    for i in range(n):
        x, y = rng.uniform(west - 60, east + 60), rng.uniform(south - 60, north + 60)
        field = star(rng, x, y, rng.uniform(15, 220))
        match i % 8:
            case 0 | 1:
                found.append(field)
            case 2:
                found.append(field.difference(star(rng, x, y, 40)))
            case 3:
                found.append(field.union(star(rng, x + rng.uniform(-300, 300), y + rng.uniform(-300, 300), 60)))
            case 4:
                found.append(affinity.rotate(shapely.box(x, y, x + 300, y + 1.5), rng.uniform(0, 180)))
            case 5:
                found.append(shapely.box(x, y, x + rng.uniform(0.1, 6), y + rng.uniform(0.1, 6)))
            case 6:
                # Corners on whole and half pixels: edges run through centres and along borders.
                a, b = west + 5 * rng.integers(0, 200), south + 5 * rng.integers(0, 160)
                found.append(shapely.box(a, b, a + 5 * rng.integers(1, 40), b + 5 * rng.integers(1, 40)))
            case _:
                found.append(rng.choice(np.array([None, shapely.Polygon(), field], dtype=object)))
    return np.array(found, dtype=object)


def centres(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates (height, width) of pixel centres."""
    x = grid.ulx + (np.arange(grid.width) + 0.5) * grid.res_m
    y = grid.uly - (np.arange(grid.height) + 0.5) * grid.res_m
    east, north = np.meshgrid(x, y)
    return east, north


def boxes(grid: Grid) -> NDArray[np.object_]:
    """(height, width) pixels as polygons."""
    x, y = centres(grid)
    half = grid.res_m / 2
    found: NDArray[np.object_] = shapely.box(x - half, y - half, x + half, y + half)
    return found


def coverage_of(geometry: shapely.Geometry | None, grid: Grid) -> NDArray[np.float64]:
    """(height, width) covered share of every pixel, by intersecting polygons."""
    if geometry is None or geometry.is_empty:
        return np.zeros((grid.height, grid.width))
    found: NDArray[np.float64] = shapely.area(shapely.intersection(boxes(grid), geometry)) / grid.res_m**2
    return found
