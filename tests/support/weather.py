"""Small files of precipitation as ERA5 and ERA5-Land come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LON, LAT = np.array([11.0, 11.25, 11.5]), np.array([48.5, 48.25])
"""Six cells of ERA5, from west to east and from north to south."""


def hours(first: str, n: int) -> NDArray[np.datetime64]:
    """So many hours from a moment on."""
    return np.datetime64(first, "ns") + np.arange(n) * np.timedelta64(1, "h")


def write_netcdf(
    path: Path, time: NDArray[np.datetime64], metres: Floats, *, units: str | None = "m", kind: str = "h5netcdf"
) -> Path:
    """A NetCDF file of precipitation (t, 2, 3) in metres, as the Climate Data Store makes them."""
    import xarray as xr  # noqa: PLC0415 - slow to load

    values = xr.DataArray(
        metres.astype(np.float32),
        dims=("valid_time", "latitude", "longitude"),
        coords={"valid_time": time.astype("datetime64[ns]"), "latitude": LAT, "longitude": LON},
        attrs={} if units is None else {"units": units},
        name="tp",
    )
    values.to_dataset().to_netcdf(path, engine=kind)  # type: ignore[call-overload]
    return path


def write_grib(path: Path, date: int, steps: range, metres: Floats) -> Path:
    """A GRIB file of precipitation (s, 2, 3) in metres since the beginning of a day, as of ERA5-Land.

    A temperature of that day stands before it.
    """
    import eccodes  # noqa: PLC0415 - slow to load

    with path.open("wb") as stream:
        air: dict[str, object] = {"indicatorOfParameter": 167, "stepType": "instant", "endStep": 0}
        rain: list[dict[str, object]] = [{"endStep": step} for step in steps]
        for own, values in zip([air, *rain], [np.full(metres[0].shape, 280.0), *metres], strict=True):
            message = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib1")
            keys = {
                "centre": 98,
                "table2Version": 128,
                "indicatorOfParameter": 228,
                "dataDate": date,
                "dataTime": 0,
                "stepType": "accum",
                "startStep": 0,
                "Ni": LON.size,
                "Nj": LAT.size,
                "longitudeOfFirstGridPointInDegrees": LON[0],
                "longitudeOfLastGridPointInDegrees": LON[-1],
                "latitudeOfFirstGridPointInDegrees": LAT[0],
                "latitudeOfLastGridPointInDegrees": LAT[-1],
                "iDirectionIncrementInDegrees": 0.25,
                "jDirectionIncrementInDegrees": 0.25,
                "bitsPerValue": 24,
                **own,
            }
            for key, value in keys.items():
                eccodes.codes_set(message, key, value)
            eccodes.codes_set_values(message, values.ravel())
            eccodes.codes_write(message, stream)
            eccodes.codes_release(message)
    return path
