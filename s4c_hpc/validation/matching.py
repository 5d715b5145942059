"""Events that were found against events that are known: one to one, within a tolerance, and the scores of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

N_BOOTSTRAP: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How the events of a parcel and season were found."""

    parcel: str
    """What is drawn together when intervals are made."""
    n_known: int
    n_found: int
    errors: tuple[float, ...]
    """Days from the known to the found date of each pair."""
    pairs: tuple[tuple[int, int], ...]
    """Positions of each pair among the found and the known ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Of several parcels and seasons; NaN where there is nothing to judge by."""

    precision: float
    recall: float
    f1: float
    false_per_season: float
    false_per_season_without: float
    """False events a season in which none is known."""
    median_error_days: float
    """Median of absolute errors."""
    median_shift_days: float
    """Median of errors; positive: found later than known."""


def matched(found: Sequence[float], known: Sequence[float], tolerance: float) -> list[tuple[int, int]]:
    """Pairs of found and known days, each in one pair at most, as many as possible and then as near as possible.

    Parameters
    ----------
    found, known : days in any order
    tolerance : most days between the two of a pair

    Returns
    -------
    Positions in ``found`` and in ``known``, by time.

    Notes
    -----
    On a line there is always a best assignment whose pairs do not cross, so a table over both sorted lists finds one.
    """
    a, b = np.argsort(found, kind="stable"), np.argsort(known, kind="stable")
    best = [[(0, 0.0)] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            best[i][j] = max(best[i - 1][j], best[i][j - 1])
            gap = abs(float(found[a[i - 1]]) - float(known[b[j - 1]]))
            if gap <= tolerance:
                n, cost = best[i - 1][j - 1]
                best[i][j] = max(best[i][j], (n + 1, cost - gap))
    pairs = []
    i, j = len(a), len(b)
    while i and j:
        if best[i][j] == best[i - 1][j]:
            i -= 1
        elif best[i][j] == best[i][j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((int(a[i]), int(b[j])))
    return pairs[::-1]


def counted(parcel: str, found: Sequence[float], known: Sequence[float], tolerance: float) -> Counts:
    """How one parcel's season was found."""
    pairs = matched(found, known, tolerance)
    errors = tuple(float(found[i]) - float(known[j]) for i, j in pairs)
    return Counts(parcel=parcel, n_known=len(known), n_found=len(found), errors=errors, pairs=tuple(pairs))


def scores(counts: Sequence[Counts]) -> Scores:
    """Scores of all together (micro averages)."""
    errors = np.array([error for one in counts for error in one.errors])
    precision, recall, f1, false, without = _rates(_table(counts).sum(axis=0))
    return Scores(
        precision=precision,
        recall=recall,
        f1=f1,
        false_per_season=false,
        false_per_season_without=without,
        median_error_days=float(np.median(np.abs(errors))) if errors.size else np.nan,
        median_shift_days=float(np.median(errors)) if errors.size else np.nan,
    )


def intervals(counts: Sequence[Counts], *, n: int = N_BOOTSTRAP, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Intervals of 95 % of precision, recall and F1: parcels drawn with replacement, each with all its seasons."""
    rates = np.stack([_rates(row)[:3] for row in _drawn(counts, n, seed)])
    low, high = np.nanpercentile(rates, [2.5, 97.5], axis=0)
    names = ("precision", "recall", "f1")
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}


def gain(
    counts: Sequence[Counts], baseline: Sequence[Counts], *, n: int = N_BOOTSTRAP, seed: int = 0
) -> tuple[float, float, float]:
    """F1 less that of another rule on the same parcels and seasons, with an interval of 95 % of the same draws."""
    if [one.parcel for one in counts] != [one.parcel for one in baseline]:
        raise ValueError("the two rules were not judged on the same parcels")
    pairs = zip(_drawn(counts, n, seed), _drawn(baseline, n, seed), strict=True)
    gains = [_rates(one)[2] - _rates(other)[2] for one, other in pairs]
    low, high = np.nanpercentile(gains, [2.5, 97.5])
    return scores(counts).f1 - scores(baseline).f1, float(low), float(high)


def _table(counts: Sequence[Counts]) -> NDArray[np.float64]:
    """A row a season: pairs, found, known, 1, found where none is known, 1 where none is known."""
    rows = [(len(c.errors), c.n_found, c.n_known, 1, c.n_found * (c.n_known == 0), c.n_known == 0) for c in counts]
    return np.array(rows, np.float64).reshape(-1, 6)


def _drawn(counts: Sequence[Counts], n: int, seed: int) -> NDArray[np.float64]:
    """(n, 6) sums of ``_table`` over parcels drawn with replacement."""
    parcels, place = np.unique([one.parcel for one in counts], return_inverse=True)
    by_parcel = np.zeros((parcels.size, 6))
    np.add.at(by_parcel, place, _table(counts))
    draws = np.random.default_rng(seed).multinomial(parcels.size, np.full(parcels.size, 1 / parcels.size), size=n)
    sums: NDArray[np.float64] = draws @ by_parcel
    return sums


def _rates(sums: NDArray[np.float64]) -> tuple[float, float, float, float, float]:
    pairs, found, known, seasons, false_without, without = (float(x) for x in sums)
    return (
        _share(pairs, found),
        _share(pairs, known),
        _share(2 * pairs, found + known),
        _share(found - pairs, seasons),
        _share(false_without, without),
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
