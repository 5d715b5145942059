"""The values of every parcel: one file an acquisition and grid, and months of them turned round for reading by parcel.

``open_series`` is the way in. What readers need is handed on here; what makes the files (``compute``, ``write``, the
stages) brings compiled kernels with it and is imported from its own module.
"""

from s4c_hpc.series.collection import Series, open_series
from s4c_hpc.series.contract import CLASS_COUNTS, ID, PIXEL, SeriesHeader, column_names, series_schema, text_bytes
from s4c_hpc.series.gapfill import filled_name, filled_parcel, gap_filled
from s4c_hpc.series.generation import Acquisition, Block, SeriesSet, read_set
from s4c_hpc.series.parcel import ParcelSeries
from s4c_hpc.series.read import SeriesFile, read_series
from s4c_hpc.series.views import AcquisitionSeries, VariableSeries

__all__ = [
    "CLASS_COUNTS",
    "ID",
    "PIXEL",
    "Acquisition",
    "AcquisitionSeries",
    "Block",
    "ParcelSeries",
    "Series",
    "SeriesFile",
    "SeriesHeader",
    "SeriesSet",
    "VariableSeries",
    "column_names",
    "filled_name",
    "filled_parcel",
    "gap_filled",
    "open_series",
    "read_series",
    "read_set",
    "series_schema",
    "text_bytes",
]
