"""Mean NDVI of all parcels by acquisition, with SQL: python duckdb_example.py FILE.arrow."""

import sys

import duckdb
import pyarrow as pa

# The file is mapped, and DuckDB reads only the columns that a query names. In SQL NaN is a number: make it NULL.
# 's4c markers query --sql' runs SQL over all tiles and months at once.
markers = pa.ipc.open_file(pa.memory_map(sys.argv[1])).read_all()
means = duckdb.execute("""
    SELECT avg(nullif(COLUMNS('s2_ndvi_mean__.*')::DOUBLE, 'NaN'::DOUBLE)) AS "\\0"
    FROM markers
""")
names = [column[0] for column in means.description]
for name, mean in zip(names, means.fetchall()[0], strict=True):
    print(f"{name},{mean:.12g}")
