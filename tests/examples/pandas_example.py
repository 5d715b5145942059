"""Mean NDVI of all parcels by acquisition, with pandas: python pandas_example.py FILE.arrow."""

import sys

import pandas as pd

markers = pd.read_feather(sys.argv[1]).set_index("NewID")
ndvi = markers.filter(regex=r"^s2_ndvi_mean__")
for column, mean in ndvi.astype("float64").mean().items():
    print(f"{column},{mean:.12g}")
