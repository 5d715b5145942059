"""Everything of the configuration that decides the numbers in a series, and nothing that does not."""

from __future__ import annotations

from typing import Any

from s4c_hpc.catalog import Product
from s4c_hpc.config import Config
from s4c_hpc.optical import class_table
from s4c_hpc.series.assign import Assignment


def effective_params(product: Product, assignment: Assignment, config: Config) -> dict[str, Any]:
    """Parameters of the task of a product: resolved formulas, not their names.

    The buffer is not among them: it is part of the index, whose id is an input key.
    """
    return {
        "grids": {
            work.grid.name: {
                "variables": [[v.name, v.formula.text] for v in work.variables],
                "bands": {b.name: b.grid.name for b in work.bands},
            }
            for work in assignment.grids
        },
        "statistics": list(config.variables.statistics),
        "weighting": config.extract.weighting.value,
        "validity": validity_params(product, config),
    }


def validity_params(product: Product, config: Config) -> dict[str, Any]:
    """What each class value of the product means, and which categories enter statistics."""
    classes: Any = "none: nodata where no band has a value, else valid"
    if product.classes is not None:
        table = class_table(product.class_kind, config.validity, product.class_table)
        classes = {str(value): table[value].value for value in sorted(table)}
    return {"classes": classes, "use": sorted(category.value for category in config.validity.use)}
