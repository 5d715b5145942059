"""Optical quantities: which pixels count, which variables there are, and how each is computed."""

from s4c_hpc.optical.catalogue import (
    IndexEntry,
    Variable,
    check_bands,
    index_variable,
    list_indices,
    resolve,
)
from s4c_hpc.optical.formula import Formula, parse
from s4c_hpc.optical.validity import CATEGORY_ORDER, CODE, class_lut, class_table, usable_codes

__all__ = [
    "CATEGORY_ORDER",
    "CODE",
    "Formula",
    "IndexEntry",
    "Variable",
    "check_bands",
    "class_lut",
    "class_table",
    "index_variable",
    "list_indices",
    "parse",
    "resolve",
    "usable_codes",
]
