"""One variable of a parcel as a picture of its own, drawn as in the report."""

from __future__ import annotations

from s4c_hpc.config import Config
from s4c_hpc.report.parcel_season import observations_of
from s4c_hpc.report.timeline import OpticalStrip, timeline_svg
from s4c_hpc.series import ParcelSeries


def parcel_plot(series: ParcelSeries, variable: str, statistic: str, config: Config) -> str:
    """SVG text of one variable of a parcel, its quartiles where they are known, and the sky on every date.

    Parameters
    ----------
    series : the parcel on one grid of one sensor
    variable, statistic : what is drawn
    config : which categories of pixels count as usable
    """
    observations, knows_sky = observations_of(series, f"{variable}_{statistic}", config)
    strip = OpticalStrip(
        observations=observations,
        variable=variable.upper(),
        heading=f"{variable.upper()} ({statistic})",
        about=f"{series.sensor} {series.grid}, over the usable pixels of the parcel",
        knows_sky=knows_sky,
    )
    return (
        timeline_svg(
            [strip],
            title=f"{variable.upper()} ({statistic}) of parcel {series.new_id}, {series.sensor} {series.grid}",
            start=series.acquisitions[0].day,
            end=series.acquisitions[-1].day,
            standalone=True,
            dark=True,
        )
        + "\n"
    )
