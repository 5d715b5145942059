"""Features of a season, a row a parcel: what crop types are told apart by.

What readers need is handed on here; what makes the files brings compiled kernels with it and is imported from its own
module.
"""

from s4c_hpc.features.contract import Feature, FeatureHeader, feature_schema
from s4c_hpc.features.read import FeatureFile, FeatureTable, collect, read_features

__all__ = [
    "Feature",
    "FeatureFile",
    "FeatureHeader",
    "FeatureTable",
    "collect",
    "feature_schema",
    "read_features",
]
