"""Expressions of SQL over the attributes of parcels."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.dataset
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError, listing


def meeting(parcels: pa.Table | pyarrow.dataset.Dataset, expression: str, where: str = "where") -> NDArray[np.int32]:
    """NewIDs of rows for which an expression is true, in any order.

    It sees the columns, and no other file, network or Python object. Only columns that it names are read.

    Raises
    ------
    InputError
        It cannot be evaluated, or is no condition.
    """
    import duckdb  # noqa: PLC0415 - heavy, and asked for rarely

    connection = duckdb.connect()
    try:
        connection.register("parcels", parcels)
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        chosen = connection.table("parcels").filter(expression)
        # A filter takes any value, and one that is not 0 for true.
        kinds = [str(kind) for kind in connection.table("parcels").project(expression).types]
        if kinds != ["BOOLEAN"]:
            raise InputError(
                f"{expression!r} is no condition: it is neither true nor false but {', '.join(kinds)}",
                where=where,
                hint="compare it with a value, e.g. Area_meters > 1e4",
            )
        found = chosen.project("NewID").to_arrow_table()
    except duckdb.Error as error:
        raise InputError(
            f"cannot be evaluated: {error}", where=where, hint=f"columns are {listing(parcels.schema.names, 40)}"
        ) from error
    finally:
        connection.close()
    ids: NDArray[np.int32] = found["NewID"].to_numpy()
    return ids
