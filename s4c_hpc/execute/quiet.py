"""Waves that came to a good end, so that the next driver of a run need not read their manifests and journals again.

Each attempt told its own orderly end and no task failed: what remains of such a wave are tasks that are done, and those
the history has in columns. The list is a shortcut and no truth: whatever of it the history does not hold is read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.core.atomic import write_text
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.execute.manifest import wave_of
from s4c_hpc.execute.state import folded_of
from s4c_hpc.plan import RunFolder
from s4c_hpc.plan.graph import Rows, positions


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietWave:
    """What is worth knowing of such a wave."""

    attempts: int
    journal_bytes: int
    """Of all its journals together."""
    ended: float
    """When the last attempt ended, seconds since 1970."""


def write_quiet(run: RunFolder, waves: Mapping[str, QuietWave]) -> None:
    """Keep the list; the one before is replaced."""
    write_text(_path(run), canonical_json({name: asdict(wave) for name, wave in waves.items()}))


def read_quiet(run: RunFolder) -> tuple[dict[str, QuietWave], pa.Table]:
    """Waves that need not be read, and the tasks that were done in them: columns ``id`` and ``wall_s``."""
    try:
        listed = {name: QuietWave(**wave) for name, wave in json.loads(_path(run).read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        listed = {}
    if not listed:
        return {}, pa.table({"id": pa.array([], pa.string()), "wall_s": pa.array([], pa.float64())})
    rows, ends = folded_of(run, ["id", "attempt", "kind", "wall_s"])
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for name, end in ends.items():
        wave = wave_of(name)
        counts[wave] += 1
        sizes[wave] += end
    whole = {
        name: wave
        for name, wave in listed.items()
        if (counts[name], sizes[name]) == (wave.attempts, wave.journal_bytes)
    }
    attempts = rows["attempt"].combine_chunks().dictionary_encode()
    inside = np.asarray([wave_of(name) in whole for name in attempts.dictionary.to_pylist()], dtype=bool)
    is_done = np.asarray(pc.equal(rows["kind"], "done"), dtype=bool)
    return whole, rows.select(["id", "wall_s"]).filter(pa.array(is_done & inside[np.asarray(attempts.indices)]))


def rows_done(done: pa.Table, ids: pa.ChunkedArray) -> tuple[Rows, npt.NDArray[np.float64]]:
    """Rows of a plan that are done, each once, and their wall times in seconds.

    Parameters
    ----------
    done : as ``read_quiet`` gives it; a task may stand there several times
    ids : of the plan's tasks
    """
    at = positions(done["id"], ids)
    known = at >= 0
    rows, first = np.unique(at[known], return_index=True)
    return rows, np.asarray(done["wall_s"], dtype=np.float64)[known][first]


class GoodEnds:
    """Counts the ends of attempts, to tell which waves are quiet."""

    def __init__(self) -> None:
        self._sums: dict[str, QuietWave] = {}
        self._troubled: set[str] = set()

    def trouble(self, attempt: str) -> None:
        """An attempt, or a task of it, did not come to a good end."""
        self._troubled.add(wave_of(attempt))

    def ended(self, attempt: str, *, journal_bytes: int, t: float) -> None:
        """An attempt told its orderly end, in a journal of this size; to be said once."""
        wave = wave_of(attempt)
        before = self._sums.get(wave, QuietWave(attempts=0, journal_bytes=0, ended=t))
        self._sums[wave] = QuietWave(
            attempts=before.attempts + 1,
            journal_bytes=before.journal_bytes + journal_bytes,
            ended=max(before.ended, t),
        )

    def quiet(self, n_chunks: Mapping[str, int]) -> dict[str, QuietWave]:
        """Waves of which every attempt came to a good end.

        Parameters
        ----------
        n_chunks : attempts of each wave
        """
        return {
            name: wave
            for name, wave in self._sums.items()
            if name not in self._troubled and wave.attempts == n_chunks.get(name)
        }


def _path(run: RunFolder) -> Path:
    return run.root / "quiet.json"
