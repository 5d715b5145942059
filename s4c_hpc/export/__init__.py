"""Everything of a workspace in another place: a folder a season, a PostGIS database, a GeoPackage with styles."""

from typing import TYPE_CHECKING

from s4c_hpc.core.lazy import lazily

if TYPE_CHECKING:
    from s4c_hpc.export.geopackage import export_gpkg
    from s4c_hpc.export.postgis import PostgisReport, export_postgis
    from s4c_hpc.export.whole_season import export_season

# GDAL, DuckDB and ADBC are heavy: each is loaded by whoever needs it.
__getattr__ = lazily(
    __name__,
    {
        "geopackage": ["export_gpkg"],
        "postgis": ["PostgisReport", "export_postgis"],
        "whole_season": ["export_season"],
    },
)

__all__ = ["PostgisReport", "export_gpkg", "export_postgis", "export_season"]
