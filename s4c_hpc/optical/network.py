"""The small neural networks that give LAI, FAPAR, FCOVER, CCC and CWC of a pixel from its reflectances and angles.

Method: Weiss and Baret 2016, S2ToolBox Level 2 products: LAI, FAPAR, FCOVER (ATBD 1.1). An input ``x`` is scaled to
``x' = 2 (x - low) / (high - low) - 1``; neuron ``k`` gives ``tanh(b_k + sum_j w_kj x'_j)``; the linear neuron
``y' = b + sum_k v_k h_k``; the variable is ``(y' + 1) / 2 * (output_high - output_low) + output_low``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.errors import InternalError

Bands = Mapping[str, NDArray[np.float64]]
"""(n,) values by name: reflectances from 0 to 1, NaN where there is no data, and cosines of angles."""

_CHUNK: Final = 8192
"""Pixels worked on at a time: what belongs to them stays in the processor's cache. Does not change the result."""

_CELL_BASE: Final = 11
"""Cells are numbered 1 to 10 in each band."""


class Flag(IntFlag):
    """What is wrong with the value of a pixel; the numbers are those that SNAP writes."""

    INPUT = 1
    """A reflectance lies outside of what the network was made for."""
    RAISED = 2
    """Below the valid range by less than the tolerance: set to its lower end."""
    LOWERED = 4
    """Above it by less than the tolerance: set to its upper end."""
    TOO_LOW = 8
    """Below the valid range by more than the tolerance."""
    TOO_HIGH = 16
    """Above it by more than the tolerance."""


OUTSIDE: Final = Flag.INPUT | Flag.TOO_LOW | Flag.TOO_HIGH
"""What makes a pixel one that the network does not vouch for; a value set to the end of its range is a good one."""


@dataclass(frozen=True, eq=False)
class Domain:
    """Reflectances that a set of networks was made for."""

    names: tuple[str, ...]
    """Bands, in the order of the arrays below."""
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    cells: NDArray[np.int64] | None
    """Sorted numbers of the grid cells with training cases; ``None``: everything between the limits."""

    def is_outside(self, bands: Bands) -> NDArray[np.bool_]:
        """Whether each pixel is outside, (n,) bool; not where a band has no value."""
        cell: NDArray[np.int64] | None = None
        outside = np.zeros(bands[self.names[0]].shape, dtype=np.bool_)
        known = np.ones_like(outside)
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            values = bands[name]
            outside |= (values < low) | (values > high)
            known &= np.isfinite(values)
            if self.cells is not None:
                step = np.floor(10.0 * (np.where(np.isfinite(values), values, low) - low) / (high - low) + 1.0)
                # A value at the upper end would be cell 11, which no grid has.
                place = np.clip(step, 0, _CELL_BASE).astype(np.int64)
                outside |= place == _CELL_BASE
                cell = place if cell is None else cell * _CELL_BASE + place
        if self.cells is not None and cell is not None:
            nearest = np.minimum(np.searchsorted(self.cells, cell), self.cells.size - 1)
            outside |= self.cells[nearest] != cell
        return outside & known


def cell_number(word: str) -> int:
    """Number of a grid cell that is written with a character a band, ``A`` being 10."""
    number = 0
    for character in word:
        number = number * _CELL_BASE + int(character, _CELL_BASE)
    return number


@dataclass(frozen=True)
class Network:
    """One variable of one set of networks. Equal names are equal numbers."""

    name: str
    """Variable, set and digest of the numbers."""
    names: tuple[str, ...]
    """Its inputs, sorted."""
    source: str = field(repr=False, compare=False)
    """Publication."""
    inputs: tuple[str, ...] = field(repr=False, compare=False)
    """In the order of the weights."""
    low: NDArray[np.float64] = field(repr=False, compare=False)
    """(n inputs,) what is scaled to -1."""
    high: NDArray[np.float64] = field(repr=False, compare=False)
    """(n inputs,) what is scaled to +1."""
    hidden: NDArray[np.float64] = field(repr=False, compare=False)
    """(n neurons, 1 + n inputs) bias and weights."""
    weights: NDArray[np.float64] = field(repr=False, compare=False)
    """(1 + n neurons,) bias and weights of the linear neuron."""
    output: tuple[float, float] = field(repr=False, compare=False)
    """What -1 and +1 of the linear neuron stand for, in the unit of the variable."""
    valid: tuple[float, float] = field(repr=False, compare=False)
    """Range of the variable."""
    tolerance: float = field(repr=False, compare=False)
    domain: Domain | None = field(repr=False, compare=False)
    keeps_outside: bool
    """Whether a pixel with one of the flags ``OUTSIDE`` keeps its value; else it has none."""

    @property
    def text(self) -> str:
        """Canonical text."""
        return self.name if self.keeps_outside else f"{self.name}, no value outside of domain or range"

    def raw(self, bands: Bands) -> NDArray[np.float64]:
        """What the network gives, whatever the range of the variable; (n,) float64, NaN where an input has no value."""
        missing = [name for name in self.names if name not in bands]
        if missing:
            raise InternalError(f"no values for {', '.join(missing)}", where=self.text)
        # The scaling of inputs and output is a linear map, too: it goes into the weights.
        spread = self.high - self.low
        weights = 2.0 * self.hidden[:, 1:] / spread
        bias = self.hidden[:, 0] - np.sum(self.hidden[:, 1:] * (2.0 * self.low / spread + 1.0), axis=1)
        half = (self.output[1] - self.output[0]) / 2.0
        out_weights, out_bias = half * self.weights[1:], half * (self.weights[0] + 1.0) + self.output[0]
        inputs = [bands[name] for name in self.inputs]
        result = np.empty(inputs[0].shape, dtype=np.float64)
        buffers = np.empty((2, bias.size, _CHUNK))
        for start in range(0, result.size, _CHUNK):
            stop = min(start + _CHUNK, result.size)
            # Sums term by term and not by a matrix product, whose bits depend on where a pixel lies in the array.
            neurons, term = buffers[:, :, : stop - start]
            neurons[:] = bias[:, None]
            for j, values in enumerate(inputs):
                np.multiply(weights[:, j : j + 1], values[start:stop], out=term)
                neurons += term
            np.tanh(neurons, out=neurons)
            neurons *= out_weights[:, None]
            total = result[start:stop]
            total[:] = out_bias
            for neuron in neurons:
                total += neuron
        result[~np.isfinite(result)] = np.nan
        return result

    def flags(self, bands: Bands, raw: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Flags of each pixel, (n,) uint8 of ``Flag``; 0 where there is no value.

        Parameters
        ----------
        bands : as in ``raw``
        raw : what that returned
        """
        raised, lowered = self._beyond_a_little(raw)
        (low, high), tolerance = self.valid, self.tolerance
        flags = raised * np.uint8(Flag.RAISED)
        flags |= lowered * np.uint8(Flag.LOWERED)
        flags |= (raw < low - tolerance) * np.uint8(Flag.TOO_LOW)
        flags |= (raw > high + tolerance) * np.uint8(Flag.TOO_HIGH)
        if self.domain is not None:
            flags |= (self.domain.is_outside(bands) & np.isfinite(raw)) * np.uint8(Flag.INPUT)
        return flags

    def evaluate(self, bands: Bands) -> NDArray[np.float64]:
        """The variable, (n,) float64 in its unit; NaN where an input has no value, and where values are not kept."""
        return self.finish(bands, self.raw(bands))

    def finish(self, bands: Bands, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """What ``evaluate`` gives, from what ``raw`` gave, which stays as it is."""
        values = raw.copy()
        if not self.keeps_outside:
            values[(self.flags(bands, values) & OUTSIDE) > 0] = np.nan
        raised, lowered = self._beyond_a_little(values)
        values[raised], values[lowered] = self.valid
        return values

    def _beyond_a_little(self, raw: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether values lie below the valid range, and above it, by less than the tolerance.

        The comparisons are strict, as SNAP's are: a value exactly as far off as the tolerance has no flag.
        """
        (low, high), tolerance = self.valid, self.tolerance
        return (low - tolerance < raw) & (raw < low), (high < raw) & (raw < high + tolerance)


@dataclass(frozen=True)
class Outside:
    """1 where a network has a value that it does not vouch for, no value elsewhere: its count is their number."""

    network: Network

    @property
    def text(self) -> str:
        """Canonical text."""
        return f"1 outside of domain or range: {self.network.name}"

    @property
    def names(self) -> tuple[str, ...]:
        """Inputs of the network."""
        return self.network.names

    def evaluate(self, bands: Bands) -> NDArray[np.float64]:
        """1 or NaN, (n,) float64."""
        return self.finish(bands, self.network.raw(bands))

    def finish(self, bands: Bands, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """What ``evaluate`` gives, from what the network's ``raw`` gave."""
        flags = self.network.flags(bands, raw)
        return np.where((flags & OUTSIDE) > 0, 1.0, np.nan)
