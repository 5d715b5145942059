"""Which ready tasks start next, in chunks. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from s4c_hpc.execute.board import Board
from s4c_hpc.execute.manifest import Chunk

CHUNK_S = 10.0
"""Predicted seconds of a chunk: long beside the cost of starting one, short beside a person's patience."""


def choose_chunks(
    board: Board,
    in_flight: Sequence[Chunk],
    *,
    slots: int,
    memory_bytes: int,
    now: float,
    wave: str,
) -> list[Chunk]:
    """Chunks to submit now, so that neither cores nor memory are asked for twice.

    Later stages come first, so that tiles are finished one by one; within a stage the longest tasks do. Where the next
    chunk's memory is not free nothing smaller overtakes it, or it might wait for ever.

    Parameters
    ----------
    in_flight : chunks that were submitted and have not ended
    slots : cores of the executor
    memory_bytes : that all chunks together may ask for
    now : seconds since 1970
    wave : name of the manifest that the chunks will be in
    """
    free_cpus = slots - sum(chunk.cpus for chunk in in_flight)
    free_bytes = memory_bytes - sum(chunk.mem_bytes for chunk in in_flight)
    chunks: list[Chunk] = []
    if free_cpus <= 0:
        return chunks
    ready = board.ready(now)
    mem_bytes = np.minimum(board.mem_bytes[ready], memory_bytes)
    cpus = np.minimum(np.asarray(board.tasks["cpus"])[ready], slots)
    order = np.lexsort((ready, -board.seconds[ready], mem_bytes, cpus, -_depth(board, ready)))
    keys = np.stack([board.stage_code[ready], cpus, mem_bytes], axis=1)[order]
    starts = np.flatnonzero(np.r_[True, (keys[1:] != keys[:-1]).any(axis=1)]) if len(ready) else np.zeros(0, int)
    for group in np.split(order, starts[1:]):
        left = group
        most = math.ceil(len(group) / (2 * slots))
        while len(left):
            cpu, memory = int(cpus[left[0]]), int(mem_bytes[left[0]])
            if cpu > free_cpus or memory > free_bytes:
                return chunks
            size = min(most, _fitting(board.seconds[ready[left]]))
            chunks.append(_chunk(board, ready[left[:size]], f"{wave}-{len(chunks):04d}", cpu, memory))
            left = left[size:]
            free_cpus -= cpu
            free_bytes -= memory
    return chunks


def _depth(board: Board, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Place of each row's stage in the chain: plans list stages in their order."""
    names = list(dict.fromkeys(board.stage_code.tolist()))
    place = np.zeros(len(board.stage_names), dtype=np.int64)
    place[names] = np.arange(len(names))
    return np.asarray(place[board.stage_code[rows]])


def _fitting(seconds: npt.NDArray[np.float64]) -> int:
    """How many of the next tasks make a chunk of ``CHUNK_S``; at least one."""
    return max(1, int(np.searchsorted(np.cumsum(seconds), CHUNK_S, side="right")))


def _chunk(board: Board, rows: npt.NDArray[np.int64], attempt: str, cpus: int, mem_bytes: int) -> Chunk:
    settled: dict[str, str] = {}
    for row in rows:
        settled |= board.missing_needs(int(row))
    return Chunk(
        attempt=attempt,
        stage=board.stage_names[board.stage_code[rows[0]]],
        ids=tuple(board.tasks["id"][int(row)].as_py() for row in rows),
        numbers=tuple(int(board.attempts[row]) + 1 for row in rows),
        cpus=cpus,
        mem_bytes=mem_bytes,
        walltime_s=int(sum(board.tasks["walltime_s"][int(row)].as_py() for row in rows)),
        settled=settled,
    )
