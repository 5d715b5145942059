"""The tree of a formula: six kinds of plain values, their evaluation over arrays and their one way of writing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "abs": np.abs,
    "sqrt": np.sqrt,
    "log": np.log,
    "exp": np.exp,
    "min": np.minimum,
    "max": np.maximum,
}
"""What a formula may call."""
OF_MANY: Final = frozenset({"min", "max"})
"""Functions of two or more arguments; the others take one."""

_UFUNCS: Final[Mapping[str, Callable[..., Any]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "**": np.power,
}
_PRECEDENCE: Final[Mapping[str, int]] = {"+": 1, "-": 1, "*": 2, "/": 2, "**": 4}
_NEGATIVE, _ATOM = 3, 5
"""A minus sign binds tighter than * and looser than **, as in Python."""


@dataclass(frozen=True, slots=True)
class Number:
    """A finite constant, never negative (a minus sign is a node of its own)."""

    value: float


@dataclass(frozen=True, slots=True)
class BandValue:
    """The values of a band."""

    name: str


@dataclass(frozen=True, slots=True)
class Negative:
    """Minus something."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands and one of ``+ - * / **``."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Call:
    """A function of one argument, or ``min``/``max`` of several."""

    function: str
    arguments: tuple[Node, ...]


Node = Number | BandValue | Negative | Binary | Call


def evaluate(node: Node, bands: Mapping[str, NDArray[np.float64]]) -> Any:
    """Value of a tree over arrays; numpy's broadcasting and floating-point rules."""
    match node:
        case Number(value):
            return np.float64(value)
        case BandValue(name):
            return bands[name]
        case Negative(operand):
            return np.negative(evaluate(operand, bands))
        case Binary(operator, left, right):
            return _UFUNCS[operator](evaluate(left, bands), evaluate(right, bands))
        case Call(function, arguments):
            values = [evaluate(a, bands) for a in arguments]
            result = values[0] if function in OF_MANY else FUNCTIONS[function](values[0])
            for value in values[1:]:
                result = FUNCTIONS[function](result, value)
            return result


def canonical_text(node: Node) -> str:
    """The one text of a tree; parsing it gives the same tree."""
    return _write(node)[0]


def _write(node: Node) -> tuple[str, int]:
    """Text of a tree and how tightly its outermost operator binds."""
    match node:
        case Number(value):
            return (repr(int(value)) if value.is_integer() and value < 2**53 else repr(value)), _ATOM
        case BandValue(name):
            return name, _ATOM
        case Negative(operand):
            return f"-{_wrapped(operand, _NEGATIVE)}", _NEGATIVE
        case Binary("**", left, right):
            return f"{_wrapped(left, _ATOM)} ** {_wrapped(right, _NEGATIVE)}", _PRECEDENCE["**"]
        case Binary(operator, left, right):
            binding = _PRECEDENCE[operator]
            return f"{_wrapped(left, binding)} {operator} {_wrapped(right, binding + 1)}", binding
        case Call(function, arguments):
            return f"{function}({', '.join(_write(a)[0] for a in arguments)})", _ATOM


def _wrapped(node: Node, at_least: int) -> str:
    text, binding = _write(node)
    return text if binding >= at_least else f"({text})"
