"""Mean NDVI of all parcels by acquisition, with polars: python polars_example.py FILE.arrow."""

import sys

import polars as pl
import polars.selectors as cs

# A lazy scan maps the file and touches only the columns it needs. In polars NaN is a number: fill it with null.
markers = pl.scan_ipc(sys.argv[1])
means = markers.select(cs.starts_with("s2_ndvi_mean__").cast(pl.Float64).fill_nan(None).mean()).collect()
for column, mean in means.row(0, named=True).items():
    print(f"{column},{mean:.12g}")
