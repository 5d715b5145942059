"""What the pieces of parcels come to, put together window by window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.extract.zonal_kernels import joined
from s4c_hpc.extract.zonal_windows import Pixels

_POOL: Final = 1 << 20
"""Values that wait for the rest of their parcels before equal ones are counted together."""

Pieces = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
"""What ``zonal_kernels.pieces`` returns."""


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Values of parts of parcels."""

    parcel: NDArray[np.int32]
    """(n,) owner of each part, and the number of its values, which stand together."""
    n: NDArray[np.int64]
    value: NDArray[Any]
    weight: NDArray[Any]
    """float32 where that is exact: of most pixels it is one, or a share that came as float32."""

    @classmethod
    def of(
        cls, parcel: NDArray[np.int32], n: NDArray[np.int64], value: NDArray[Any], weight: NDArray[Any], keeps: str
    ) -> _Chunk:
        """In as little memory as holds the same numbers."""
        short = weight.astype(np.float32)
        return cls(parcel, n, value.astype(keeps), short if np.array_equal(short, weight) else weight.copy())


def _together(chunks: list[_Chunk]) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Parcels, offsets, values and weights (float64), every parcel once, its values in the order they came."""
    parcel, n = (np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("parcel", "n"))
    order = np.argsort(parcel, kind="stable")
    ends, begins = np.cumsum(n[order]), np.cumsum(n) - n
    place = np.repeat(begins[order] - (ends - n[order]), n[order]) + np.arange(n.sum())
    last = np.flatnonzero(np.diff(parcel[order], append=-1))
    value, weight = (
        np.concatenate([getattr(chunk, name) for chunk in chunks])[place].astype(np.float64)
        for name in ("value", "weight")
    )
    return parcel[order][last], np.concatenate([np.zeros(1, np.int64), ends[last]]), value, weight


class Tally:
    """Statistics of one band, by parcel."""

    def __init__(
        self, n_parcels: int, shares: NDArray[np.float64], is_whole: bool, is_centre: bool, keeps: str
    ) -> None:
        """Begin with nothing.

        Parameters
        ----------
        shares : (n_quantiles,) in [0, 1]
        is_whole : whether values are whole numbers
        keeps : type that holds every value
        """
        self._shares, self._is_whole, self._is_centre, self._keeps = shares, is_whole, is_centre, keeps
        self.moments = np.zeros((5, n_parcels))
        """Weight, mean, sum of squared deviations, least, greatest value."""
        self.moments[3], self.moments[4] = np.inf, -np.inf
        self.quantiles = np.full((shares.size, n_parcels), np.nan)
        self._waiting: dict[int, list[_Chunk]] = {}
        """By the last window of their parcels."""
        self._limit = _POOL

    @property
    def n_waiting(self) -> int:
        """Values that wait for the rest of their parcels."""
        return sum(chunk.value.size for chunks in self._waiting.values() for chunk in chunks)

    def add(self, window: int, pixels: Pixels, pieces: Pieces) -> None:
        """Take up the pieces of a window; windows come in order, those without parcels may be left out."""
        moments, quantiles, offsets, value, weight = pieces
        whole = ~pixels.is_cut
        self.moments[:, pixels.parcel[whole]] = moments[:, whole]
        self.quantiles[:, pixels.parcel[whole]] = quantiles[:, whole]
        self._join(pixels.parcel[pixels.is_cut], moments[:, pixels.is_cut])
        if self._shares.size:
            n = np.diff(offsets)
            for last in np.unique(pixels.last[n > 0]).tolist():
                mine = (pixels.last == last) & (n > 0)
                ours = np.repeat(mine, n)
                chunk = _Chunk.of(pixels.parcel[mine], n[mine], value[ours], weight[ours], self._keeps)
                self._waiting.setdefault(last, []).append(chunk)
            self._settle(window)

    def finish(self) -> None:
        """Take up what still waits: a last window may have held no pixel."""
        self._settle(max(self._waiting, default=0))

    def _join(self, parcel: NDArray[np.int32], new: NDArray[np.float64]) -> None:
        """Add moments of parts to those of their parcels (Chan, Golub and LeVeque 1983, equation 2.1)."""
        old = self.moments[:, parcel]
        total = old[0] + new[0]
        share = np.divide(new[0], total, out=np.zeros_like(total), where=total > 0)
        apart = new[1] - old[1]
        self.moments[:, parcel] = (
            total,
            old[1] + apart * share,
            old[2] + new[2] + apart**2 * old[0] * share,
            np.minimum(old[3], new[3]),
            np.maximum(old[4], new[4]),
        )

    def _settle(self, window: int) -> None:
        """Quantiles of parcels that end in this window or before; equal values of the others are put together."""
        for last in [last for last in self._waiting if last <= window]:
            parcel, offsets, value, weight = _together(self._waiting.pop(last))
            self.quantiles[:, parcel], _ = joined(offsets, value, weight, self._is_whole, self._is_centre, self._shares)
        if self.n_waiting > self._limit:
            self._waiting = {last: [self._merged(chunks)] for last, chunks in self._waiting.items()}
            self._limit = max(_POOL, 2 * self.n_waiting)

    def _merged(self, chunks: list[_Chunk]) -> _Chunk:
        parcel, offsets, value, weight = _together(chunks)
        _, n = joined(offsets, value, weight, self._is_whole, self._is_centre, self._shares)
        size = np.diff(offsets)
        is_left = np.arange(value.size) - np.repeat(offsets[:-1], size) < np.repeat(n, size)
        return _Chunk.of(parcel, n, value[is_left], weight[is_left], self._keeps)

    def columns(self, scale: float, offset: float) -> dict[str, NDArray[np.float64]]:
        """(n_parcels,) of each moment of value * scale + offset by name, as ``extract.statistics`` defines it."""
        weight, mean, second, low, high = self.moments
        none = weight == 0.0
        with np.errstate(invalid="ignore", divide="ignore"):
            stdev = np.sqrt(second / (weight - 1.0 if self._is_centre else weight))
        stdev[none if not self._is_centre else weight < 2.0] = np.nan
        for values in (mean, low, high):
            values[none] = np.nan
        if scale < 0:
            low, high = high, low
        return {
            "count": weight,
            "mean": mean * scale + offset,
            "stdev": stdev * abs(scale),
            "min": low * scale + offset,
            "max": high * scale + offset,
        }
