"""Everything of the configuration that decides the numbers in a series, and nothing that does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from s4c_hpc.catalog import Product
from s4c_hpc.catalog.angles import COSINES
from s4c_hpc.config import Category, Config
from s4c_hpc.config.model import MaskChoice
from s4c_hpc.optical import class_table
from s4c_hpc.series.assign import Assignment, GridVariables

NO_FMASK: Final = "the product has none"
"""Stands for the table of FMask where it is asked for and a product does not have it."""


def effective_params(product: Product, assignment: Assignment, config: Config) -> dict[str, Any]:
    """Parameters of the task of a product: resolved formulas, not their names.

    The buffer is not among them: it is part of the index, whose id is an input key.
    """
    params: dict[str, Any] = {
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
    if needs_angles(assignment.grids):
        params["angles"] = angles_params(product)
    return params


def needs_angles(works: Sequence[GridVariables]) -> bool:
    """Whether a formula asks for cosines of the angles of sun and view."""
    return any(set(v.formula.names) & set(COSINES) for work in works for v in work.variables)


def angles_params(product: Product) -> Any:
    """Where the angles of a product come from: constants stand for themselves, grids are read with its imagery.

    Grids change with the product's key, constants of the configuration do not.
    """
    return "grid" if product.angles_file else product.mean_angles


def validity_params(product: Product, config: Config) -> dict[str, Any]:
    """What each class value of the product means, and which categories enter statistics."""
    classes: Any = "none: nodata where no band has a value, else valid"
    if product.class_layers:
        classes = _described(class_table(product.class_kind, config.validity, product.class_table))
    rules: dict[str, Any] = {"classes": classes, "use": sorted(category.value for category in config.validity.use)}
    if config.validity.mask is MaskChoice.PRODUCT:
        return rules
    fmask = _described(class_table("fmask", config.validity)) if product.external_mask else NO_FMASK
    if config.validity.mask is MaskChoice.FMASK:
        del rules["classes"]
    return {**rules, "mask": config.validity.mask.value, "fmask": fmask}


def mask_note(rules: Mapping[str, Any]) -> str:
    """What to say of a product that lacks the mask that is asked for; empty if it has it.

    Parameters
    ----------
    rules : see ``validity_params``; they stand in the header of a series file, too
    """
    if rules.get("fmask") != NO_FMASK:
        return ""
    if rules["mask"] == MaskChoice.BOTH.value:
        return "no FMask: the product's own mask alone was used"
    return "no FMask, which validity.mask asks for: all pixels are nodata"


def _described(table: dict[int, Category]) -> dict[str, str]:
    return {str(value): table[value].value for value in sorted(table)}
