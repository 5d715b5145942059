"""Sun and view angles of a product of MAJA, from its ``*_MTD_ALL.xml``.

The grids are those of the level 1C product that it was made from (see ``safe_angles``), under names of MUSCATE: nodes
5 km apart from the tile's upper left corner on, view angles for each band and detector.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from s4c_hpc.catalog.angles import Angles, mean_direction
from s4c_hpc.catalog.safe_angles import angle_grids
from s4c_hpc.catalog.xml import read_xml, text_of
from s4c_hpc.core.errors import InputError

BANDS: Final = ("B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
"""What the networks use; in some versions of the format written ``B03``."""


def read_maja_angles(path: Path) -> Angles | None:
    """Angles at the nodes of the product's grid; ``None`` where the file does not tell them.

    Raises
    ------
    InputError, MissingDataError
        If the file cannot be read, or its grids have different shapes.
    """
    root = read_xml(path)
    sun = root.find(".//Sun_Angles_Grids")
    corner = root.find(".//Group_Geopositioning[@group_id='R1']")
    bands = [
        [angle_grids(grid, path) for grid in band.iter("Viewing_Incidence_Angles_Grids")]
        for band in root.iter("Band_Viewing_Incidence_Angles_Grids_List")
        if band.get("band_id", "").replace("B0", "B") in BANDS
    ]
    if sun is None or corner is None or not any(bands):
        return None
    sun_zenith, sun_azimuth = angle_grids(sun, path)
    view_zenith, view_azimuth = mean_direction(mean_direction(found) for found in bands if found)
    if view_zenith.shape != sun_zenith.shape:
        raise InputError("has angle grids of different shapes", where=str(path), hint="fetch the product again")
    return Angles(
        ulx=float(text_of(corner, "ULX", str(path))),
        uly=float(text_of(corner, "ULY", str(path))),
        step_m=float(text_of(sun, "COL_STEP", str(path))),
        sun_zenith=sun_zenith,
        sun_azimuth=sun_azimuth,
        view_zenith=view_zenith,
        view_azimuth=view_azimuth,
    )
