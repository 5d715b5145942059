"""Formulas over band names: parsed against a short list of what is allowed, never executed as Python.

The text is only ever turned into a tree. The tree is checked node by node, kept as plain values, and evaluated by
walking it over arrays, so a formula can compute numbers and nothing else.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.model import BAND_NAME
from s4c_hpc.core.errors import ConfigError, InternalError
from s4c_hpc.optical.expression import (
    FUNCTIONS,
    OF_MANY,
    BandValue,
    Binary,
    Call,
    Negative,
    Node,
    Number,
    canonical_text,
    evaluate,
)

MAX_LENGTH = 2000
"""Characters of a formula."""
MAX_DEPTH = 100
"""Nesting of a formula; bounds the temporaries that are alive during its evaluation."""
MAX_EXPONENT = 100.0
"""Largest exponent written as a number."""

ALLOWED = "allowed are band names, numbers, + - * / **, parentheses and abs sqrt min max log exp"

_STRANGER = re.compile(r"[^A-Za-z0-9_.+\-*/(), \t\r\n]")
_OPERATORS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}


class PixelFunction(Protocol):
    """What gives a value for every pixel from the values of bands: a formula, a network."""

    @property
    def text(self) -> str:
        """Canonical text: equal texts are equal functions, and it enters task ids."""

    @property
    def names(self) -> tuple[str, ...]:
        """Bands it needs, sorted, each once; at least one."""

    def evaluate(self, bands: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """(n,) float64, NaN where there is no value, of (n,) float64 bands; a pixel's value depends on it alone."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A checked formula. Equal texts are equal formulas."""

    text: str
    """Canonical text: white space and needless parentheses of the original do not show (nor in task ids)."""
    names: tuple[str, ...]
    """Bands it needs, sorted, each once; at least one."""
    tree: Node = field(repr=False, compare=False)

    def evaluate(self, bands: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Value of the formula, element by element.

        Parameters
        ----------
        bands : (n,) float64 arrays in physical units, NaN where there is no data; every name of ``names``

        Returns
        -------
        (n,) float64, a new array; NaN where the result is not a finite number (division by zero, log of a
        negative value, NaN in a band)
        """
        missing = [name for name in self.names if name not in bands]
        if missing:
            raise InternalError(f"no values for {', '.join(missing)}", where=f"formula {self.text!r}")
        with np.errstate(all="ignore"):
            result = np.array(evaluate(self.tree, bands), dtype=np.float64)
        result[~np.isfinite(result)] = np.nan
        return result


def parse(text: str, *, where: str | None = None, symbols: Mapping[str, str | float] | None = None) -> Formula:
    """Check a formula and turn it into a ``Formula``.

    Parameters
    ----------
    text : e.g. ``(B08 - B04) / (B08 + B04)``; ``log`` is natural, ``**`` binds tighter than a minus before it
    where : configuration key for messages
    symbols : other names that may stand in ``text``, each a band name or a constant that is written in its place;
        when given, no other name is allowed

    Raises
    ------
    ConfigError
        Names the column (from 1) and the offending part.
    """
    reader = _Reader(text, where, symbols)
    tree = reader.read()
    if not reader.names:
        raise ConfigError(f"formula {text!r} names no band", where=where, hint="band names look like B04 or B8A")
    return Formula(canonical_text(tree), tuple(sorted(reader.names)), tree)


class _Reader:
    """From Python's syntax tree to ours; whatever is not listed here is refused."""

    def __init__(self, text: str, where: str | None, symbols: Mapping[str, str | float] | None) -> None:
        self.text, self.where, self.symbols = text, where, symbols
        self.names: set[str] = set()

    def read(self) -> Node:
        if not self.text.strip():
            raise ConfigError("the formula is empty", where=self.where, hint=ALLOWED)
        if len(self.text) > MAX_LENGTH:
            raise ConfigError(
                f"a formula may have {MAX_LENGTH} characters, this one has {len(self.text)}", where=self.where
            )
        stranger = _STRANGER.search(self.text)
        if stranger is not None:
            hint = "** raises to a power" if stranger[0] == "^" else ALLOWED
            raise self.refused(f"{stranger[0]!r} is not allowed", stranger.start(), hint)
        # One line for Python's parser, the same columns for messages.
        line = re.sub(r"[\t\r\n]", " ", self.text)
        indent = len(line) - len(line.lstrip())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # odd literals such as '1or' only draw a warning
                parsed = ast.parse(line.strip(), mode="eval")
        except SyntaxError as error:
            column = indent + error.offset - 1 if error.offset else len(line.rstrip())
            raise self.refused("this is not a formula", column) from error
        except (RecursionError, MemoryError) as error:
            raise self.refused(f"nested deeper than {MAX_DEPTH}", indent) from error
        for node in ast.walk(parsed.body):
            if isinstance(node, ast.expr):
                node.col_offset += indent
        return self.convert(parsed.body, 0)

    def refused(self, what: str, column: int, hint: str = ALLOWED) -> ConfigError:
        return ConfigError(f"{what}, at column {column + 1} of {_shortened(self.text)!r}", where=self.where, hint=hint)

    def convert(self, node: ast.expr, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.refused(f"nested deeper than {MAX_DEPTH}", node.col_offset, "split it into several formulas")
        if isinstance(node, ast.Constant):
            return self.number(node)
        if isinstance(node, ast.Name):
            return self.name(node)
        if isinstance(node, ast.UnaryOp):
            return self.sign(node, depth)
        if isinstance(node, ast.BinOp):
            return self.binary(node, depth)
        if isinstance(node, ast.Call):
            return self.call(node, depth)
        raise self.refused(f"{_shortened(ast.unparse(node))!r} is not allowed", node.col_offset)

    def number(self, node: ast.Constant) -> Number:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            raise self.refused(f"{node.value!r} is not a number", node.col_offset)
        try:
            value = float(node.value)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            raise self.refused("this number is too large", node.col_offset)
        return Number(value)

    def name(self, node: ast.Name) -> Node:
        if self.symbols is not None:
            if node.id not in self.symbols:
                raise self.refused(f"{node.id!r} is not known here", node.col_offset)
            meaning = self.symbols[node.id]
            if not isinstance(meaning, str):
                value = Number(abs(float(meaning)))
                return Negative(value) if meaning < 0 else value
            self.names.add(meaning)
            return BandValue(meaning)
        if not BAND_NAME.match(node.id):
            what = (
                "a function needs its argument in parentheses" if node.id in FUNCTIONS else "band names are in capitals"
            )
            raise self.refused(f"{node.id!r} is not a band name", node.col_offset, f"{what}, e.g. B04; {ALLOWED}")
        self.names.add(node.id)
        return BandValue(node.id)

    def sign(self, node: ast.UnaryOp, depth: int) -> Node:
        if not isinstance(node.op, ast.USub | ast.UAdd):
            raise self.refused("only - and + may stand before a value", node.col_offset)
        operand = self.convert(node.operand, depth + 1)
        return Negative(operand) if isinstance(node.op, ast.USub) else operand

    def binary(self, node: ast.BinOp, depth: int) -> Node:
        if type(node.op) not in _OPERATORS:
            raise self.refused("this operator is not allowed", node.right.col_offset)
        operator = _OPERATORS[type(node.op)]
        left, right = self.convert(node.left, depth + 1), self.convert(node.right, depth + 1)
        exponent = right.operand if isinstance(right, Negative) else right
        if operator == "**" and isinstance(exponent, Number) and exponent.value > MAX_EXPONENT:
            raise self.refused(f"an exponent may be {MAX_EXPONENT:g} at most", node.right.col_offset)
        return Binary(operator, left, right)

    def call(self, node: ast.Call, depth: int) -> Node:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            name = node.func.id if isinstance(node.func, ast.Name) else "this"
            raise self.refused(f"{name!r} is not a function that may be called", node.col_offset)
        name = node.func.id
        if node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
            raise self.refused(f"{name} takes plain arguments only", node.col_offset)
        if (len(node.args) < 2) if name in OF_MANY else (len(node.args) != 1):
            wanted = "two or more arguments" if name in OF_MANY else "one argument"
            raise self.refused(f"{name} takes {wanted}, not {len(node.args)}", node.col_offset)
        return Call(name, tuple(self.convert(a, depth + 1) for a in node.args))


def _shortened(text: str, limit: int = 120) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."
