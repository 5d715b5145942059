"""Optical quantities: which pixels count, which variables there are, and how each is computed."""

from s4c_hpc.optical.catalogue import (
    IndexEntry,
    check_bands,
    index_variable,
    list_indices,
    resolve,
)
from s4c_hpc.optical.classes import NO_CLASS, as_classes, to_classes
from s4c_hpc.optical.formula import Formula, PixelFunction, parse
from s4c_hpc.optical.named import named_variables
from s4c_hpc.optical.validity import (
    CATEGORY_ORDER,
    CODE,
    ExternalRule,
    class_lut,
    class_table,
    external_rule,
    own_lut,
    usable_codes,
)
from s4c_hpc.optical.variable import Variable

__all__ = [
    "CATEGORY_ORDER",
    "CODE",
    "NO_CLASS",
    "ExternalRule",
    "Formula",
    "IndexEntry",
    "PixelFunction",
    "Variable",
    "as_classes",
    "check_bands",
    "class_lut",
    "class_table",
    "external_rule",
    "index_variable",
    "list_indices",
    "named_variables",
    "own_lut",
    "parse",
    "resolve",
    "to_classes",
    "usable_codes",
]
