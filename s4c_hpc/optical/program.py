"""Formulas as a short list of instructions for a register machine: what a compiled kernel runs over blocks of pixels.

A program is made of checked trees, never of text, and one program serves all variables: what two of them share (the sum
of two bands, say) is computed once. Values are those of NumPy bit for bit, which is why ``log``, ``exp`` and powers
other than a square are left to NumPy: its versions of them differ from a compiler's in the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.errors import InternalError
from s4c_hpc.optical.expression import BandValue, Binary, Call, Negative, Node, Number
from s4c_hpc.optical.formula import Formula


class Op(IntEnum):
    """Instructions. One of two operands, ``a`` and ``b``, or of ``a`` alone."""

    ADD = 0
    SUBTRACT = 1
    MULTIPLY = 2
    DIVIDE = 3
    MINIMUM = 4
    MAXIMUM = 5
    NEGATIVE = 6
    ABSOLUTE = 7
    SQUARE_ROOT = 8
    RESULT = 9
    """Put ``a`` out as variable number ``b``, NaN where it is not finite."""


_BINARY: Final = {"+": Op.ADD, "-": Op.SUBTRACT, "*": Op.MULTIPLY, "/": Op.DIVIDE, "min": Op.MINIMUM, "max": Op.MAXIMUM}
_UNARY: Final = {"abs": Op.ABSOLUTE, "sqrt": Op.SQUARE_ROOT}
_SQUARE: Final = Number(2.0)


@dataclass(frozen=True, eq=False)
class Program:
    """What a kernel needs to evaluate formulas.

    Operands are numbered: bands first, then constants, then registers.
    """

    names: tuple[str, ...]
    """Bands, in the order of their numbers."""
    constants: NDArray[np.float64]
    """(n_constants,)"""
    n_registers: int
    """Intermediate results that are alive at one time, at most."""
    code: NDArray[np.int32]
    """(n_instructions, 4): ``Op``, operand a, operand b, where the result goes."""


def is_exact(formula: object) -> bool:
    """Whether a program gives the bits that NumPy gives."""
    return isinstance(formula, Formula) and _is_exact(formula.tree)


def _is_exact(node: Node) -> bool:
    match node:
        case Negative(operand):
            return _is_exact(operand)
        case Binary(operator, left, right):
            return _is_exact(left) and (right == _SQUARE if operator == "**" else _is_exact(right))
        case Call(function, arguments):
            return (function in _UNARY or function in _BINARY) and all(map(_is_exact, arguments))
        case _:
            return True


def compile_formulas(formulas: Sequence[Formula]) -> Program:
    """One program for several formulas, each of which ``is_exact``; formula i gives result i."""
    names = tuple(sorted({name for formula in formulas for name in formula.names}))
    steps = _Steps(names)
    results = [steps.of(formula.tree) for formula in formulas]
    return steps.program(names, results)


class _Steps:
    """Instructions in an order in which they can be run, each distinct subtree once."""

    def __init__(self, names: Sequence[str]) -> None:
        self.known: dict[Node, int] = {BandValue(name): number for number, name in enumerate(names)}
        self.constants: list[float] = []
        self.made: list[tuple[Op, int, int]] = []
        self._n_bands = len(names)

    def of(self, node: Node) -> int:
        """Number of a value: of a band, of constant c as -1 - c, of instruction i as ``n_bands + i``."""
        if node not in self.known:
            self.known[node] = self._constant(node.value) if isinstance(node, Number) else self._made(node)
        return self.known[node]

    def _constant(self, value: float) -> int:
        self.constants.append(value)
        return -len(self.constants)

    def _made(self, node: Node) -> int:
        match node:
            case Negative(operand):
                return self._add(Op.NEGATIVE, self.of(operand))
            case Binary("**", left, right) if right == _SQUARE:
                return self._add(Op.MULTIPLY, self.of(left), self.of(left))
            case Binary(operator, left, right) if operator in _BINARY:
                return self._add(_BINARY[operator], self.of(left), self.of(right))
            case Call(function, arguments) if function in _UNARY:
                return self._add(_UNARY[function], self.of(arguments[0]))
            case Call(function, arguments) if function in _BINARY:
                result = self.of(arguments[0])
                for argument in arguments[1:]:
                    result = self._add(_BINARY[function], result, self.of(argument))
                return result
        raise InternalError(f"{node} has no instruction")

    def _add(self, op: Op, a: int, b: int | None = None) -> int:
        self.made.append((op, a, a if b is None else b))
        return self._n_bands + len(self.made) - 1

    def program(self, names: tuple[str, ...], results: Sequence[int]) -> Program:
        """Give every instruction a register, which is free again after its last use."""
        first = len(names) + len(self.constants)
        last_use: dict[int, int] = {}
        for i, (_, a, b) in enumerate(self.made):
            last_use[a] = last_use[b] = i
        wanted: dict[int, list[int]] = {}
        for variable, value in enumerate(results):
            wanted.setdefault(value, []).append(variable)
        register: dict[int, int] = {}
        free: list[int] = []
        n_registers = 0
        code: list[tuple[int, int, int, int]] = []

        def place(value: int) -> int:
            return register.get(value, value if value >= 0 else len(names) - 1 - value)

        code += [(Op.RESULT, place(v), n, 0) for v, numbers in wanted.items() if v < len(names) for n in numbers]
        for i, (op, a, b) in enumerate(self.made):
            value = len(names) + i
            if free:
                mine = free.pop()
            else:
                mine, n_registers = first + n_registers, n_registers + 1
            code.append((op, place(a), place(b), mine))  # never into an operand: the loops are vectorised without it
            register[value] = mine
            code += [(Op.RESULT, mine, n, 0) for n in wanted.get(value, ())]
            done = {v for v in (a, b) if v in register and last_use[v] == i}
            if value not in last_use:
                done.add(value)
            free += [register[v] for v in sorted(done)]
        return Program(names, np.array(self.constants), n_registers, np.array(code, dtype=np.int32).reshape(-1, 4))
