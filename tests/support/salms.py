"""JRC's ten grassland fields of 2020, read as their own package reads them."""

from __future__ import annotations

import datetime as dt
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

FOLDER: Final = Path(__file__).parents[1] / "data" / "jrc-salms"

DESCRIPTORS: Final = (
    *("MIN", "P25", "P50", "P75", "MAX", "MEDIAN", "MEAN", "SE.MEAN", "CI.MEAN.0.95", "VAR", "STD.DEV", "COEF.VAR"),
    *("SKEWNESS", "SKEW.2SE", "KURTOSIS", "KURT.2SE", "NORMTEST.W", "NORMTEST.P", "ENTROPY"),
)
N_WEEKS: Final = 7
"""Weeks before and after that of an event."""
_CLOUDS: Final = [f"hist.{scl}" for scl in (3, 8, 9, 10, 11)]
"""Classes of Sen2Cor: shadow, cloud of three kinds, snow."""


@cache
def series() -> pd.DataFrame:
    """All usable rows: ``ID``, ``band``, ``day`` (since 1970) and the descriptors."""
    parts = []
    for kind in ("s2", "s2_idx", "s1_bs", "s1_bsidx", "s1_coh6"):
        rows = pd.read_csv(FOLDER / f"{kind}_ts.csv.gz")
        if kind.startswith("s2"):
            classes = rows[[name for name in rows.columns if name.startswith("hist.")]].sum(axis=1)
            rows = rows[rows[_CLOUDS].sum(axis=1) / classes < 1e-6]
        if "week" in rows.columns:
            days = [dt.date.fromisocalendar(2020, int(week), 1) for week in rows["week"]]
        else:
            days = [dt.date.fromisoformat(text[:10]) for text in rows["date"]]
        rows = rows.assign(day=[(day - dt.date(1970, 1, 1)).days for day in days])
        of_2020 = np.array([day.year == 2020 for day in days], bool)
        parts.append(rows.loc[of_2020 & rows["MEAN"].notna(), ["ID", "band", "day", *DESCRIPTORS]])
    return pd.concat(parts, ignore_index=True)


@cache
def events() -> pd.DataFrame:
    """The 17 mowings: ``ID``, ``date`` as in the file, ``day`` (since 1970)."""
    rows = pd.read_csv(FOLDER / "FOIinfo.csv").rename(columns={"Event_date": "date"})
    days = pd.to_datetime(rows["date"], format="%d/%m/%Y")
    return rows.assign(day=(days - pd.Timestamp(1970, 1, 1)).dt.days)


@cache
def signals() -> pd.DataFrame:
    """The package's own weekly means around the events: ``WEEK`` 8 is that of the event."""
    return pd.read_csv(FOLDER / "signals.csv.gz")
