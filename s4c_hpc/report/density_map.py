"""The map of a site with more parcels than can be told apart: how many there are where."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from s4c_hpc.drawing.svg import element
from s4c_hpc.drawing.text import plural
from s4c_hpc.report.geometry import centres
from s4c_hpc.report.map_sheet import Frame, round_up, sheet
from s4c_hpc.report.sources import Parcels

_CELLS = 60
"""Cells along the longer side, about."""


@dataclass(frozen=True, kw_only=True)
class DensityMap:
    """What the template needs to show the map."""

    drawing: Markup
    crs: str
    fullest: int
    """Parcels in the fullest cell."""
    cell_m: float
    """Edge of a cell, in metres."""
    n_without_geometry: int


def density_map(parcels: Parcels) -> DensityMap:
    """Count parcels by their centroids in square cells."""
    crs, points = centres(parcels)
    points = points[np.isfinite(points).all(axis=1)]
    frame = Frame.around(np.concatenate([points.min(axis=0), points.max(axis=0)]))
    cell_m = round_up(max(frame.width, frame.height) / frame.per_m / _CELLS)
    cells, per_cell = np.unique(np.floor(points / cell_m).astype(np.int64), axis=0, return_counts=True)
    fullest = int(per_cell.max())
    shapes = []
    for (column, row), n in zip(cells.tolist(), per_cell.tolist(), strict=True):
        x, y = frame.place(column * cell_m, (row + 1) * cell_m)
        # The area of the square is the number of parcels: the map reads without colour too.
        edge = cell_m * frame.per_m
        drawn = 0.92 * edge * max(math.sqrt(n / fullest), 0.12)
        shapes.append(
            element(
                "rect",
                element("title", f"{plural(n, 'parcel')} in this cell"),
                x=x + (edge - drawn) / 2,
                y=y + (edge - drawn) / 2,
                width=drawn,
                height=drawn,
                class_="density",
            )
        )
    label = f"Density map of {plural(parcels.n, 'parcel')}"
    return DensityMap(
        drawing=sheet(element("g", *shapes), frame, label),
        crs=crs.name,
        fullest=fullest,
        cell_m=cell_m,
        n_without_geometry=parcels.n - len(points),
    )
