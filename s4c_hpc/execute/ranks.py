"""``python -m s4c_hpc.execute.ranks RUN WAVE INDEX``: a chunk of an MPI stage, on ranks that srun or mpiexec starts.

All ranks do a task together; rank 0 alone keeps the journal, publishes and hashes. A rank that fails waits a little for
the others: where all have met, the task has failed and the next one begins. Where it has failed alone, the others wait
for it in their messages, for ever: then it leaves the reason in a journal of its own, ``<attempt>.rank.jsonl``, and
ends the whole program.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from s4c_hpc.config.slurm import Mpi
from s4c_hpc.core.errors import ExitCode, SchedulerError
from s4c_hpc.core.publish import Publisher
from s4c_hpc.core.stage import TaskIO
from s4c_hpc.core.task import Task
from s4c_hpc.execute.chunk_log import ChunkLog, bound_to_task
from s4c_hpc.execute.element import STARTED_TWICE, was_started
from s4c_hpc.execute.journal import Closed, Journal, Kind, Opened
from s4c_hpc.execute.manifest import Chunk, read_wave
from s4c_hpc.execute.perform import Performed, Trouble, Use, failed, perform
from s4c_hpc.execute.worker import run_chunk
from s4c_hpc.plan import RunFolder

PATIENCE_S = 5.0
"""Ranks that read the same bad file all fail, but not at the same moment."""
POLL_S = 0.001


def main() -> int:
    """Do the chunk with this index, unless the ranks are not those that were asked for."""
    began = time.monotonic()
    run, wave_name, index = RunFolder(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
    os.umask(0o027)
    wave = read_wave(run, wave_name)
    chunk = wave.chunks[index]
    mpi = run.frozen_config().slurm.mpi
    try:
        # Starts MPI. Late: the rest of the package works without it.
        library = importlib.import_module("mpi4py.MPI")
    except (ImportError, RuntimeError) as error:
        return refuse(run, chunk.attempt, SchedulerError(f"MPI does not start ({error})", hint=_HINT_INSTALL))
    world = library.COMM_WORLD
    wrong = wrong_world(world.size, chunk.cpus, mpi, os.environ, library.Get_library_version().splitlines()[0])
    if wrong is not None:
        return refuse(run, chunk.attempt if world.rank == 0 else None, wrong)
    try:
        # Before rank 0 opens the journal, and said by it: the others might see the one that it has just opened.
        if world.bcast(was_started(run, chunk.attempt) if world.rank == 0 else None):
            return STARTED_TWICE
        ranks = Ranks(world, run, chunk)
        if world.rank == 0:
            run_chunk(
                run.root,
                chunk.attempt,
                job=os.environ.get("SLURM_JOB_ID"),
                deadline=began + wave.walltime_s,
                do=ranks.lead,
            )
            ranks.dismiss()
        else:
            ranks.follow()
    except BaseException:  # noqa: BLE001 - the other ranks would wait for this one
        traceback.print_exc()
        world.Abort(ExitCode.INTERNAL)
    return ExitCode.OK


_HINT_INSTALL = "install s4c-hpc[mpi] where nodes find it, or mpi4py built with the site's own MPI"


def wrong_world(size: int, expected: int, mpi: Mpi, environ: Mapping[str, str], library: str) -> SchedulerError | None:
    """What is wrong with the number of ranks; ``None`` if nothing is.

    A launcher that does not speak the library's protocol starts n programs of one rank each: every one would do all
    the work, and write to the files of the others.

    Parameters
    ----------
    size : ranks of this world
    expected : ranks that the chunk asks for
    mpi : how they were to be started
    environ : of this process
    library : name and version of the MPI library
    """
    # mpiexec starts a helper a node, as tasks of a step: only srun's tasks are ranks.
    keys = ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
    asked = next((int(environ[key]) for key in keys if mpi.launcher == "srun" and key in environ), expected)
    if size == expected == asked:
        return None
    seen = ", ".join(f"{key}={environ[key]}" for key in (*keys, "SLURM_MPI_TYPE", "SLURM_JOB_ID") if key in environ)
    by = f"srun --mpi={mpi.plugin}" if mpi.launcher == "srun" and mpi.plugin else mpi.launcher
    return SchedulerError(
        f"{max(expected, asked)} MPI ranks were to start together, this world has {size}"
        f" (launcher {by}; {library}; {seen or 'no SLURM_* variables'})",
        hint="nothing was begun, as launcher and MPI library do not understand each other: set slurm.mpi.plugin to what"
        " 'srun --mpi=list' shows and the library speaks (mpich: pmi2, OpenMPI: pmix), or slurm.mpi.launcher to "
        "mpiexec",
    )


def refuse(run: RunFolder, attempt: str | None, error: SchedulerError) -> int:
    """Say why nothing is begun; the first of the processes that are here by mistake does so in the journal.

    Parameters
    ----------
    attempt : ``None`` if the journal is another rank's
    """
    if attempt is not None:
        with contextlib.suppress(FileExistsError), Journal(run.journals / f"{attempt}.jsonl") as journal:
            job = os.environ.get("SLURM_JOB_ID")
            journal.write(Opened(attempt=attempt, host=platform.node(), pid=os.getpid(), job=job))
            journal.write(Closed(attempt=attempt, kind=Kind.TEMPORARY, what=str(error)))
    sys.stderr.write(f"{error}\n")
    return error.exit_code


class Ranks:
    """This process among those that do a chunk together.

    Parameters
    ----------
    world : all ranks, ``mpi4py.MPI.Comm``; stages, their files and this class get communicators of their own, whose
        messages cannot be taken for each other's
    """

    def __init__(self, world: Any, run: RunFolder, chunk: Chunk) -> None:
        self._world, self._run, self._chunk = world, run, chunk
        self._ours, self._stage, self._files = world.Dup(), world.Dup(), world.Dup()

    def lead(self, task: Task, io: TaskIO, log: ChunkLog) -> Performed:
        """Do a task together with the ranks that follow; what all of them say as one."""
        self._ours.bcast((task, io))
        return self._together(task, io, log)

    def dismiss(self) -> None:
        """Let the other ranks go."""
        self._ours.bcast(None)

    def follow(self) -> None:
        """Take part in every task that rank 0 begins."""
        log = ChunkLog(self._run.log(self._chunk.stage, self._chunk.attempt))
        while (given := self._ours.bcast(None)) is not None:
            task, io = given
            with bound_to_task(
                run=self._run.id,
                stage=task.stage,
                tile=task.tile,
                subject=task.subject,
                task=task.id,
                attempt=self._chunk.attempt,
            ):
                self._together(task, io, log)

    def _together(self, task: Task, io: TaskIO, log: ChunkLog) -> Performed:
        shared = SharedPublisher(io.publisher.root, io.publisher.scratch, comm=self._files)
        mine = perform(task, replace(io, publisher=shared, comm=self._stage), log)
        if not self._have_met(patience_s=PATIENCE_S if isinstance(mine.end, Trouble) else None):
            self._end_all(task, mine)
        return as_one(self._ours.allgather(mine))

    def _have_met(self, patience_s: float | None) -> bool:
        request = self._ours.Ibarrier()
        deadline = None if patience_s is None else time.monotonic() + patience_s
        while not request.Test():
            if deadline is not None and time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def _end_all(self, task: Task, mine: Performed) -> NoReturn:
        """Tell why and end every rank: some of them wait for this one."""
        assert isinstance(mine.end, Trouble)  # noqa: S101 - for the type checker
        trouble = of_rank(mine.end, self._world.rank, self._world.size)
        number = self._chunk.numbers[self._chunk.ids.index(task.id)]
        try:
            with Journal(self._run.journals / f"{self._chunk.attempt}.rank.jsonl") as journal:
                journal.write(failed(mine, trouble, task=task.id, attempt=self._chunk.attempt, number=number))
        except FileExistsError:
            time.sleep(PATIENCE_S)  # another rank tells, and ends this one when it has
        self._world.Abort(ExitCode.TEMPORARY)
        raise AssertionError  # not reached


@dataclass
class SharedPublisher(Publisher):
    """Publishes what several ranks write together; every rank enters its contexts, in the same order.

    All are given the same private path. Rank 0 publishes, once all have left the file alone.
    """

    comm: Any = field(kw_only=True)

    @contextlib.contextmanager
    def new(self, relative: str) -> Iterator[Path]:
        """Yield the private path; see ``Publisher.new``."""
        with self._by_rank_0(super().new(relative), relative) as temporary:
            yield temporary

    @contextlib.contextmanager
    def replace(self, relative: str) -> Iterator[Path]:
        """Yield the private path; see ``Publisher.replace``."""
        with self._by_rank_0(super().replace(relative), relative) as temporary:
            yield temporary

    @contextlib.contextmanager
    def _by_rank_0(self, publishing: contextlib.AbstractContextManager[Path], relative: str) -> Iterator[Path]:
        if self.comm.rank == 0:
            with publishing as temporary:
                self.comm.bcast(temporary)
                yield temporary
                self.comm.Barrier()  # nobody writes to it any more
        else:
            temporary = self.comm.bcast(None)
            yield temporary
            self.published.append(relative)
            self.comm.Barrier()


def as_one(ranks: Sequence[Performed]) -> Performed:
    """What the ranks say of a task, as if one process had done it.

    Memory and processor time add up; as ranks have their peaks at different moments, that of memory is an upper bound.
    Of several troubles that tells most which is no bug: bugs follow from others.
    """
    uses = [one.use for one in ranks]
    use = Use(
        wall_s=max(use.wall_s for use in uses),
        cpu_s=sum(use.cpu_s for use in uses),
        peak_anon_bytes=sum(use.peak_anon_bytes for use in uses),
        base_anon_bytes=sum(use.base_anon_bytes for use in uses),
        max_rss_bytes=sum(use.max_rss_bytes for use in uses),
    )
    troubles = [(rank, one.end) for rank, one in enumerate(ranks) if isinstance(one.end, Trouble)]
    if not troubles:
        return replace(ranks[0], use=use)
    rank, trouble = min(troubles, key=lambda it: (not it[1].stops_run, it[1].kind is Kind.INTERNAL, it[0]))
    if len(troubles) < len(ranks) or any(other != trouble for _, other in troubles):
        trouble = of_rank(trouble, rank, len(ranks))
    return Performed(use=use, end=trouble)


def of_rank(trouble: Trouble, rank: int, size: int) -> Trouble:
    """``trouble`` that says whose it is."""
    return replace(trouble, what=f"{trouble.what} (rank {rank} of {size})")


if __name__ == "__main__":
    sys.exit(main())
