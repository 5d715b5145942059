"""Precipitation from NetCDF and GRIB, as ERA5 and ERA5-Land come: through xarray, which is an extra."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.errors import ExternalToolError, InputError, MissingDataError, NoInputsError, listing
from s4c_hpc.weather.field import Field

if TYPE_CHECKING:
    import xarray as xr

NETCDF: Final = frozenset({".nc", ".nc4", ".netcdf", ".h5"})
GRIB: Final = frozenset({".grib", ".grib2", ".grb", ".grb2"})

FACTORS: Final = {"m": 1000.0, "mm": 1.0, "kg m**-2": 1.0, "kg m-2": 1.0, "mm/day": 1.0, "mm d-1": 1.0, "mm day-1": 1.0}
"""From the unit of a file to mm; a kilogram of water on a square metre is one."""

NAMES: Final = ("tp", "total_precipitation", "precipitation", "precipitation_mm", "pr", "prec", "rr", "rain")
"""What precipitation is called, tried in turn; ``--column precipitation_mm=NAME`` says another."""

_TIMES: Final = ("valid_time", "time", "date")
_LONS: Final = ("longitude", "lon", "x")
_LATS: Final = ("latitude", "lat", "y")


def read_grid(path: Path, name: str | None, unit: str | None) -> Field:
    """Read a file.

    Parameters
    ----------
    name : of the variable; by default the first of ``NAMES`` that there is
    unit : of its values, for a file that does not say, or says wrong

    Raises
    ------
    MissingDataError, InputError
        If it cannot be read, or has no such variable, unit, coordinates.
    ExternalToolError
        If xarray is not there, or what it needs for this kind of file.

    Notes
    -----
    Memory: twice the values of the file, in single precision.
    """
    if not path.is_file():
        raise MissingDataError("no such file", where=str(path), hint="check the path")
    try:
        import xarray as xr  # noqa: PLC0415 - an extra, and slow to load
    except ImportError as error:
        raise _without_extra(path) from error
    try:
        engine, options = _engine(path, name or NAMES[0])
        with xr.open_dataset(path, engine=engine, decode_timedelta=True, backend_kwargs=options) as data:
            return _field(data[_variable(data, name, path)], unit, path)
    except (ImportError, ModuleNotFoundError) as error:
        raise _without_extra(path) from error
    except (InputError, NoInputsError, ExternalToolError):
        raise
    except Exception as error:  # libraries of formats raise what they like at damaged files
        if "unrecognized engine" in str(error):
            raise _without_extra(path) from error
        raise InputError(
            f"cannot be read as {'GRIB' if engine == 'cfgrib' else 'NetCDF'} ({_first_line(error)})",
            where=str(path),
            hint="the file is damaged, or of another kind: download it again",
        ) from error


def _engine(path: Path, name: str) -> tuple[str | None, dict[str, Any]]:
    if path.suffix.lower() in GRIB:
        # No index beside the file: its folder may be read-only, and an old index would hide a new file. Of one variable
        # only: others may be of other moments, for which xarray has no place beside it.
        return "cfgrib", {"indexpath": "", "filter_by_keys": {"shortName": name}, "errors": "raise"}
    with path.open("rb") as stream:
        magic = stream.read(4)
    # Classic NetCDF is read by scipy, which is there anyway.
    return ("scipy" if magic.startswith(b"CDF") else "h5netcdf"), {}


def _variable(data: xr.Dataset, name: str | None, path: Path) -> str:
    there = sorted(map(str, data.data_vars))
    for one in (name,) if name else NAMES:
        if one in there:
            return one
    raise InputError(
        f"has no variable {name!r}" if name else "has no variable that is called like precipitation",
        where=str(path),
        hint=f"it has {listing(there) or 'none'}; name it with --column precipitation_mm=NAME",
    )


def _field(values: xr.DataArray, unit: str | None, path: Path) -> Field:
    """Moments, latitudes and longitudes, whatever dimensions the file has."""
    said = unit or str(values.attrs.get("units", ""))
    if said not in FACTORS:
        raise InputError(
            f"has precipitation in {said!r}" if said else "does not say the unit of precipitation",
            where=str(path),
            hint=f"say it with --unit: {', '.join(sorted(FACTORS))}",
        )
    if "expver" in values.dims:
        # ERA5 beside its preliminary twin ERA5T: where one has a value, the other has none.
        values = values.max("expver")
    time, lon, lat = (_coordinate(values, names, path) for names in (_TIMES, _LONS, _LATS))
    time_dims = list(values[time].dims)
    place_dims = list(dict.fromkeys([*values[lat].dims, *values[lon].dims]))
    others = [d for d in values.dims if d not in {*time_dims, *place_dims}]
    if big := [str(d) for d in others if values.sizes[d] != 1]:
        raise InputError(
            f"precipitation has a dimension {listing(big)}", where=str(path), hint="choose one of it beforehand"
        )
    values = values.isel(dict.fromkeys(others, 0)).transpose(*place_dims, *time_dims)
    lat_of, lon_of = (values[one].broadcast_like(values.isel(dict.fromkeys(time_dims, 0))) for one in (lat, lon))
    places = [one.transpose(*place_dims).to_numpy().astype(np.float64).ravel() for one in (lat_of, lon_of)]
    hour = values[time].to_numpy().astype("datetime64[h]").astype(np.int64).ravel()
    mm = values.to_numpy().astype(np.float32, copy=False).reshape(places[0].size, hour.size) * np.float32(FACTORS[said])
    return _by_moment(places[1], places[0], hour, mm, path)


def _by_moment(
    lon: NDArray[np.float64], lat: NDArray[np.float64], hour: NDArray[np.int64], mm: NDArray[np.float32], path: Path
) -> Field:
    """In order of time; of GRIB some pairs of forecast and step lie at the same moment, of which one has values."""
    seen = np.isfinite(mm).any(axis=0)
    if not seen.any():
        raise NoInputsError("has no value of precipitation", where=str(path), hint="nothing to import")
    hour, mm = hour[seen], mm[:, seen]
    order = np.argsort(hour, kind="stable")
    hour, mm = hour[order], mm[:, order]
    first = np.append(True, np.diff(hour) > 0)
    return Field(lon=lon, lat=lat, hour=hour[first], mm=mm[:, first])


def _coordinate(values: xr.DataArray, names: tuple[str, ...], path: Path) -> str:
    for name in names:
        if name in values.coords:
            return name
    raise InputError(
        f"precipitation has no coordinate {' or '.join(names)}",
        where=str(path),
        hint=f"it has {listing(sorted(map(str, values.coords)))}",
    )


def _without_extra(path: Path) -> ExternalToolError:
    return ExternalToolError(
        "NetCDF and GRIB are read by xarray, with h5netcdf or cfgrib, which are not all installed",
        where=str(path),
        hint="pip install 's4c-hpc[weather]', or make a CSV file of it",
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
