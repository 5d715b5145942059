"""The values of every parcel, one file an acquisition and grid.

What readers need is handed on here; what makes the files (``compute``, ``write``, ``stage_stats``) brings compiled
kernels with it and is imported from its own module.
"""

from s4c_hpc.series.contract import CLASS_COUNTS, ID, PIXEL, SeriesHeader, column_names, series_schema, text_bytes
from s4c_hpc.series.read import SeriesFile, read_series

__all__ = [
    "CLASS_COUNTS",
    "ID",
    "PIXEL",
    "SeriesFile",
    "SeriesHeader",
    "column_names",
    "read_series",
    "series_schema",
    "text_bytes",
]
