"""Formulas over the pixels of a piece: one kernel runs the program of all of them, block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.jit import helper, kernel
from s4c_hpc.optical import Formula, PixelFunction
from s4c_hpc.optical.network import Network, Outside
from s4c_hpc.optical.program import Op, compile_formulas, is_exact

_BLOCK: Final = 1024
"""Pixels that an instruction works on: so many that choosing it costs nothing, so few that they stay in the cache."""

_ADD: Final = int(Op.ADD)
_SUBTRACT: Final = int(Op.SUBTRACT)
_MULTIPLY: Final = int(Op.MULTIPLY)
_MINIMUM: Final = int(Op.MINIMUM)
_NEGATIVE: Final = int(Op.NEGATIVE)
_ABSOLUTE: Final = int(Op.ABSOLUTE)
_RESULT: Final = int(Op.RESULT)


class Evaluator:
    """Evaluates functions of bands together."""

    def __init__(self, functions: Sequence[PixelFunction]) -> None:
        """Compile what can be compiled; other functions are called."""
        self.names = tuple(sorted({name for function in functions for name in function.names}))
        """Bands that are needed, sorted."""
        self._n_functions = len(functions)
        exact = [(i, f) for i, f in enumerate(functions) if isinstance(f, Formula) and is_exact(f)]
        others = [(i, f) for i, f in enumerate(functions) if not (isinstance(f, Formula) and is_exact(f))]
        self._called = [(i, f) for i, f in others if not isinstance(f, Network | Outside)]
        self._of_networks: dict[str, list[tuple[int, Network | Outside]]] = {}
        """By the name of the network that they are made of: equal names are equal numbers."""
        for i, f in others:
            if isinstance(f, Network | Outside):
                self._of_networks.setdefault(_network(f).name, []).append((i, f))
        self._program = compile_formulas([formula for _, formula in exact])
        self._bands = np.array([self.names.index(name) for name in self._program.names], dtype=np.int64)
        self._results = np.array([i for i, _ in exact], dtype=np.int64)

    def evaluate(self, bands: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of all functions.

        Parameters
        ----------
        bands : (n_names, n) physical values in the order of ``names``, NaN where there is none

        Returns
        -------
        (n_functions, n) in the order given; NaN where the result is not a finite number
        """
        values = np.empty((self._n_functions, bands.shape[1]))
        program = self._program
        if program.code.size:
            _run(program.code, program.constants, program.n_registers, bands, self._bands, self._results, values)
        named = dict(zip(self.names, bands, strict=True))
        for i, function in self._called:
            values[i] = function.evaluate(_own(function, named))
        for group in self._of_networks.values():
            network = _network(group[0][1])
            own = _own(network, named)
            raw = network.raw(own)
            for i, function in group:
                values[i] = function.finish(own, raw)
        return values


def _network(function: Network | Outside) -> Network:
    return function.network if isinstance(function, Outside) else function


def _own(function: PixelFunction, bands: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """What a function may see of the bands."""
    return {name: bands[name] for name in function.names}


@helper
def _binary(op: int, a: NDArray[np.float64], b: NDArray[np.float64], z: NDArray[np.float64]) -> None:
    n = z.size
    if op == _ADD:
        for i in range(n):
            z[i] = a[i] + b[i]
    elif op == _SUBTRACT:
        for i in range(n):
            z[i] = a[i] - b[i]
    elif op == _MULTIPLY:
        for i in range(n):
            z[i] = a[i] * b[i]
    else:
        for i in range(n):
            z[i] = a[i] / b[i]


@helper
def _extreme(op: int, a: NDArray[np.float64], b: NDArray[np.float64], z: NDArray[np.float64]) -> None:
    """The smaller or the larger one, NaN if one of them is."""
    n = z.size
    if op == _MINIMUM:
        for i in range(n):
            z[i] = a[i] if a[i] < b[i] or np.isnan(a[i]) else b[i]
    else:
        for i in range(n):
            z[i] = a[i] if a[i] > b[i] or np.isnan(a[i]) else b[i]


@helper
def _unary(op: int, a: NDArray[np.float64], z: NDArray[np.float64]) -> None:
    n = z.size
    if op == _NEGATIVE:
        for i in range(n):
            z[i] = -a[i]
    elif op == _ABSOLUTE:
        for i in range(n):
            z[i] = abs(a[i])
    else:
        for i in range(n):
            z[i] = np.sqrt(a[i])


@kernel
def _run(
    code: NDArray[np.int32],
    constants: NDArray[np.float64],
    n_registers: int,
    bands: NDArray[np.float64],
    numbers: NDArray[np.int64],
    results: NDArray[np.int64],
    values: NDArray[np.float64],
) -> None:
    """Run a program; band k of it is row ``numbers[k]`` of ``bands``, result k goes to row ``results[k]``."""
    n_bands, n = numbers.size, bands.shape[1]
    registers = np.empty((constants.size + n_registers, _BLOCK))
    for c in range(constants.size):
        for i in range(_BLOCK):
            registers[c, i] = constants[c]
    for start in range(0, n, _BLOCK):
        m = min(_BLOCK, n - start)
        for step in range(code.shape[0]):
            op, first, second, target = code[step]
            a = bands[numbers[first], start : start + m] if first < n_bands else registers[first - n_bands, :m]
            if op == _RESULT:
                out = values[results[second], start : start + m]
                for i in range(m):
                    out[i] = a[i] if np.isfinite(a[i]) else np.nan
                continue
            b = bands[numbers[second], start : start + m] if second < n_bands else registers[second - n_bands, :m]
            z = registers[target - n_bands, :m]
            if op >= _NEGATIVE:
                _unary(op, a, z)
            elif op >= _MINIMUM:
                _extreme(op, a, b, z)
            else:
                _binary(op, a, b, z)
