"""One parcel's season as a picture of its own, drawn as in the report."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from s4c_hpc.config import Config
from s4c_hpc.drawing.pages import style
from s4c_hpc.drawing.svg import element
from s4c_hpc.report.sky import CATEGORIES, Sky, sky_states, usable_columns
from s4c_hpc.report.timeline import Observation, parcel_timeline_svg
from s4c_hpc.series import CLASS_COUNTS, ParcelSeries

_COUNT_OF = {category: column for column, category in CLASS_COUNTS.items()}


def parcel_plot(series: ParcelSeries, variable: str, statistic: str, config: Config) -> str:
    """SVG text of one variable of a parcel, its quartiles where they are known, and the sky on every date.

    Parameters
    ----------
    series : the parcel on one grid of one sensor
    variable, statistic : what is drawn
    config : which categories of pixels count as usable
    """
    column = f"{variable}_{statistic}"
    counts = np.stack([series.values(_COUNT_OF[category]) for category in CATEGORIES], axis=-1)
    states = sky_states(counts, usable_columns(config.validity.use))
    values = series.values(column)
    blank = np.full(values.shape, np.nan, np.float32)
    low, high = (series.values(n) if (n := f"{variable}_{q}") in series.columns else blank for q in ("p25", "p75"))
    observations = [
        Observation(
            day=acquisition.day,
            sky=Sky(int(states[i])),
            value=float(values[i]),
            low=float(low[i]),
            high=float(high[i]),
            counts=dict(zip(CATEGORIES, counts[i].tolist(), strict=True)),
        )
        for i, acquisition in enumerate(series.acquisitions)
    ]
    drawing = parcel_timeline_svg(
        observations,
        title=f"{variable.upper()} ({statistic}) of parcel {series.new_id}, {series.sensor} {series.grid}",
        variable=variable.upper(),
        start=series.acquisitions[0].day,
        end=series.acquisitions[-1].day,
        standalone=True,
    )
    opening, _, rest = drawing.partition(Markup(">"))
    return f"{opening}>{element('style', style())}{rest}\n"
