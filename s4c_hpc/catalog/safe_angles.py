"""Sun and view angles of a Sentinel-2 SAFE product, from the metadata of its granule (``MTD_TL.xml``).

Source: Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), Tile_Angles: grids of 5 km whose first node is
the tile's upper left corner; view angles for each band and detector, NaN where the detector did not look.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.catalog.angles import Angles, grid_values, mean_direction
from s4c_hpc.catalog.xml import read_xml, text_of
from s4c_hpc.core.errors import InputError

BANDS: Final = ("2", "3", "4", "5", "6", "7", "8", "11", "12")
"""``bandId`` of what the networks use: B03 to B08, B8A, B11 and B12. Detectors look a little forward or backward from
band to band: one direction stands for all, as in SNAP."""

Directions = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Zenith and azimuth in degrees."""


def read_safe_angles(path: Path) -> Angles | None:
    """Angles at the nodes of a granule's grid; ``None`` where the file does not tell them.

    Detectors are merged, and bands averaged, as directions. A file without grids of the view has its mean direction.

    Raises
    ------
    InputError, MissingDataError
        If the file cannot be read, or its grids have different shapes.
    """
    root = read_xml(path)
    sun = root.find(".//Sun_Angles_Grid")
    geoposition = root.find(".//Tile_Geocoding/Geoposition")
    if sun is None or geoposition is None:
        return None
    zenith, azimuth = angle_grids(sun, path)
    view = _view(root, path)
    if view is None:
        return None
    if {zenith.shape, azimuth.shape} != {view[0].shape} and view[0].size > 1:
        raise InputError("has angle grids of different shapes", where=str(path), hint="fetch the product again")
    return Angles(
        ulx=float(text_of(geoposition, "ULX", str(path))),
        uly=float(text_of(geoposition, "ULY", str(path))),
        step_m=float(text_of(sun, "COL_STEP", str(path))),
        sun_zenith=zenith,
        sun_azimuth=azimuth,
        view_zenith=np.broadcast_to(view[0], zenith.shape),
        view_azimuth=np.broadcast_to(view[1], zenith.shape),
    )


def _view(root: ET.Element, path: Path) -> Directions | None:
    """Direction to the sensor at each node, or one for the whole granule."""
    grids = [grid for grid in root.iter("Viewing_Incidence_Angles_Grids") if grid.get("bandId") in BANDS]
    if grids:
        # A band has a direction where any of its detectors has; then bands count equally.
        of_band = {band: [angle_grids(g, path) for g in grids if g.get("bandId") == band] for band in BANDS}
        return mean_direction(mean_direction(found) for found in of_band.values() if found)
    means = [mean for mean in root.iter("Mean_Viewing_Incidence_Angle") if mean.get("bandId") in BANDS]
    if not means:
        return None
    return mean_direction(
        (
            np.array([[float(text_of(mean, "ZENITH_ANGLE", str(path)))]]),
            np.array([[float(text_of(mean, "AZIMUTH_ANGLE", str(path)))]]),
        )
        for mean in means
    )


def angle_grids(element: ET.Element, path: Path) -> Directions:
    """Zenith and azimuth of a pair of grids; MAJA's have the same form.

    Raises
    ------
    InputError
        If they are not whole.
    """
    zenith, azimuth = (
        grid_values([row.text or "" for row in element.findall(f"{kind}/Values_List/VALUES")])
        for kind in ("Zenith", "Azimuth")
    )
    if zenith.ndim != 2 or zenith.shape != azimuth.shape:
        raise InputError("has an angle grid that is not whole", where=str(path), hint="fetch the product again")
    return zenith, azimuth
