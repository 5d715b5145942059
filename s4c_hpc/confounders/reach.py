"""How many parcels a workspace's weather reaches: rain that is far away looks like no rain at all."""

from __future__ import annotations

from pyproj import CRS

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import latest_version, read_centroids, read_tiles
from s4c_hpc.parcels.projection import transform
from s4c_hpc.weather import weather_key
from s4c_hpc.weather.cells import nearest
from s4c_hpc.weather.rain import read_cells


def parcels_in_reach(workspace: Workspace) -> tuple[int, int] | None:
    """Parcels of the newest version that lie near a cell, and all of them; ``None`` without weather or parcels.

    Raises
    ------
    MissingDataError, InputError
        If the weather is damaged.
    """
    key, version = weather_key(workspace), latest_version(workspace)
    if key is None or version is None:
        return None
    cells = read_cells(workspace, key)
    n_near = n = 0
    for one in read_tiles(workspace, version):
        xy = read_centroids(workspace, version, one.tile)
        places = transform(xy, CRS.from_user_input(one.tile.crs), "EPSG:4326")
        cell = nearest(cells.lon, cells.lat, cells.reach_km, places[:, 0], places[:, 1])
        n_near, n = n_near + int((cell >= 0).sum()), n + cell.size
    return n_near, n
