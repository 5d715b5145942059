"""The check of a declaration: agreement, and a traffic light."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.classify import Lights

Texts = NDArray[np.object_]


class Light(StrEnum):
    """What the imagery says of a declaration."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"
    GREY = "grey"


class Agreement(StrEnum):
    """Where the declared class stands among the predicted ones."""

    FIRST = "first"
    SECOND = "second"
    OTHER = "other"
    NONE = "none"
    """Not predicted, or the declared class is not one that the model knows."""


def agreement(declared: Texts, first: Texts, second: Texts, is_known: NDArray[np.bool_]) -> Texts:
    """(n,) ``Agreement``.

    Parameters
    ----------
    declared, first, second : (n,) classes; empty for none
    is_known : (n,) whether the declared class is one that the model of the parcel knows
    """
    found = np.full(declared.size, Agreement.OTHER.value, object)
    found[declared == second] = Agreement.SECOND.value
    found[declared == first] = Agreement.FIRST.value
    found[~is_known | (first == "")] = Agreement.NONE.value
    return found


def lights(agreed: Texts, confidence: NDArray[np.float32], rule: Lights) -> Texts:
    """(n,) ``Light``; what it means says ``rule_text``.

    Parameters
    ----------
    agreed : (n,) ``Agreement``
    confidence : (n,) of the predicted class
    """
    found = np.full(agreed.size, Light.YELLOW.value, object)
    is_first = agreed == Agreement.FIRST.value
    found[is_first & (confidence >= rule.green_from)] = Light.GREEN.value
    found[~is_first & (confidence >= rule.red_from)] = Light.RED.value
    found[agreed == Agreement.NONE.value] = Light.GREY.value
    return found


def rule_text(rule: Lights) -> str:
    """The rule in words."""
    return (
        f"green: the predicted class is the declared one, confidence at least {rule.green_from:g}; "
        f"red: it is another one, confidence at least {rule.red_from:g}; yellow: less sure, either way; "
        "grey: not classified, or the model does not know the declared class"
    )
