"""Conditions on attributes: those of ``s4c parcels query --where``, of which only what is harmless is let through.

DuckDB reads the condition and hands back its tree; what is not known to be harmless is refused: queries within it,
functions (some of which run for ever), casts, anything beside the one condition. It then sees a table with the columns
that the caller may see and no others, so a condition on a hidden column is one on a column that there is not.
"""

from __future__ import annotations

import json
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError
from s4c_hpc.parcels.expression import meeting

_CLASSES: Final = frozenset({"CONJUNCTION", "COMPARISON", "BETWEEN", "OPERATOR", "COLUMN_REF", "CONSTANT", "FUNCTION"})
_OPERATORS: Final = frozenset(
    {"OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "COMPARE_IN", "COMPARE_NOT_IN"}
)
_FUNCTIONS: Final = frozenset({"+", "-", "*", "/", "~~", "!~~", "~~*", "!~~*", "lower", "upper", "abs"})
"""``~~`` is LIKE, ``~~*`` is ILIKE."""
_LIKE: Final = frozenset({"~~", "!~~", "~~*", "!~~*"})
_WILDCARDS_MAX: Final = 4
"""Of a pattern of LIKE: each multiplies the time that it may take."""
_SELECT: Final = "SELECT 1 FROM parcels WHERE "
_EMPTY: Final = ("group_expressions", "group_sets", "having", "qualify", "sample", "modifiers")
_DEPTH_MAX: Final = 40


def parcels_where(parcels: pa.Table, expression: str) -> NDArray[np.int32]:
    """NewIDs of rows for which a condition is true, in any order.

    Parameters
    ----------
    parcels : the columns that may be named, and no others

    Raises
    ------
    InputError
        It is no condition, cannot be evaluated, or is more than a condition.
    """
    check(expression)
    return meeting(parcels, expression, where="filter")


def check(expression: str) -> None:
    """Refuse what is more than comparisons, joined by AND, OR and NOT.

    Raises
    ------
    InputError
        With what was not expected.
    """
    connection = duckdb.connect()
    try:
        answer = connection.execute("SELECT json_serialize_sql(?)", [_SELECT + expression]).fetchone()
    except duckdb.Error as error:
        raise InputError(f"cannot be read: {error}", where="filter") from error
    finally:
        connection.close()
    tree: dict[str, Any] = json.loads(answer[0]) if answer else {"error": True}
    if tree.get("error", True):
        raise InputError(
            f"cannot be read: {tree.get('error_message', '')}",
            where="filter",
            hint="e.g. ori_crop = '115' AND Area_meters > 1e4",
        )
    nodes = [one["node"] for one in tree["statements"]]
    node = nodes[0]
    if len(nodes) != 1 or node["type"] != "SELECT_NODE" or any(node.get(name) for name in _EMPTY):
        raise InputError("is more than one condition", where="filter", hint="it is what stands behind WHERE")
    _walk(node["where_clause"], 0)


def _walk(tree: Any, depth: int) -> None:
    if depth > _DEPTH_MAX:
        raise InputError("is nested too deeply", where="filter", hint="use IN for lists of values")
    kind = tree.get("class")
    if kind == "CAST" and tree.get("cast_type", {}).get("id") == "BOOLEAN" and tree["child"]["class"] == "CONSTANT":
        return  # how an older DuckDB reads true and false; other types may be of any size: INTEGER[100000][100000]
    name = tree.get("function_name") if kind == "FUNCTION" else tree.get("type") if kind == "OPERATOR" else None
    if kind not in _CLASSES or (name is not None and name not in _FUNCTIONS | _OPERATORS):
        raise InputError(
            f"has {(name or kind or '?').lower()}, which is not allowed here",
            where="filter",
            hint="comparisons, LIKE, IN, BETWEEN, IS NULL, AND, OR, NOT and arithmetic are",
        )
    if kind == "COLUMN_REF" and len(tree["column_names"]) != 1:
        raise InputError("names a column of another table", where="filter", hint="write the column's name alone")
    children = _children(tree)
    if name in _LIKE and (children[-1].get("class") != "CONSTANT" or str(children[-1]).count("%") > _WILDCARDS_MAX):
        raise InputError(
            "has a pattern that is no text, or has too many %", where="filter", hint=f"{_WILDCARDS_MAX} are allowed"
        )
    for child in children:
        _walk(child, depth + 1)


def _children(tree: dict[str, Any]) -> list[Any]:
    named = [tree[name] for name in ("left", "right", "input", "lower", "upper") if isinstance(tree.get(name), dict)]
    listed = [*tree.get("children", []), *tree.get("arguments", [])]
    # A newer DuckDB wraps arguments of functions, with a name beside them.
    return named + [one.get("expression", one) for one in listed]
