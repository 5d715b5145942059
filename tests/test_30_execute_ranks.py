"""Chunks of MPI stages, by real ranks of MPICH on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from support.probe_mpi import MpiRun, install_mpi_probe, wait_for_begin
from support.probe_stage import MIB, tree_hash
from support.runs import PATIENCE_S

from s4c_hpc.config.slurm import Mpi
from s4c_hpc.core.stage import stage
from s4c_hpc.core.task import Outcome
from s4c_hpc.execute import run_chunk
from s4c_hpc.execute.element import STARTED_TWICE
from s4c_hpc.execute.journal import Begin, Closed, Done, Failed, Kind, Opened
from s4c_hpc.execute.perform import Performed, Trouble, Use
from s4c_hpc.execute.ranks import as_one, wrong_world


@pytest.fixture
def installed(probes: Path) -> Path:
    return install_mpi_probe(probes)


def mpiexec(ranks: int) -> list[str]:
    # The launcher for one machine: unlike the other it opens no port.
    return [str(Path(sys.executable).with_name("mpiexec.gforker")), "-n", str(ranks)]


def finish(run: MpiRun, ranks: int, within_s: float = PATIENCE_S) -> tuple[int, str]:
    with run.start(mpiexec(ranks)) as process:
        try:
            out, _ = process.communicate(timeout=within_s)
        finally:
            process.kill()
    return process.returncode, out


def kinds(events: Sequence[object]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_bytes_are_the_same_for_any_number_of_ranks_and_for_none(tmp_path: Path, installed: Path) -> None:
    alone = MpiRun.plan(tmp_path / "alone", installed, 1)
    stage.cache_clear()
    run_chunk(alone.run.root, alone.chunk.attempt)
    expected = tree_hash(tmp_path / "alone")
    assert len(expected) == 3
    for ranks in (1, 2, 3):
        run = MpiRun.plan(tmp_path / str(ranks), installed, ranks)
        assert finish(run, ranks) == (0, "")
        assert tree_hash(tmp_path / str(ranks)) == expected
        assert kinds(run.events()) == ["Opened", *["Begin", "Done"] * 3, "Closed"]
        assert run.events(".rank") == []
        done = [event for event in run.events() if isinstance(event, Done)]
        assert [event.outputs for event in done] == [e.outputs for e in alone.events() if isinstance(e, Done)]
        assert not list(run.run.scratch.rglob("*.arrow"))


def test_memory_and_processor_time_of_a_task_are_those_of_all_ranks(tmp_path: Path, installed: Path) -> None:
    behaviour = {"probe-mpi 32UPU b": {"mb": 192}}
    run = MpiRun.plan(tmp_path, installed, 3, products=["a", "b"], behaviour=behaviour)
    assert finish(run, 3) == (0, "")
    small, large = sorted((e for e in run.events() if isinstance(e, Done)), key=lambda e: e.peak_anon_bytes)
    assert small.base_anon_bytes > 3 * 20 * MIB, "three interpreters"
    window = large.peak_anon_bytes - large.base_anon_bytes
    assert 190 * MIB < window < 2 * 192 * MIB, "a window that three ranks have mapped does not count thrice"
    assert large.cpu_s > 0


def test_programs_that_were_to_be_one_world_begin_nothing(tmp_path: Path, installed: Path) -> None:
    run = MpiRun.plan(tmp_path, installed, 3)
    environment = {"SLURM_NTASKS": "3", "SLURM_JOB_ID": "71"}
    programs = [run.start([], **environment) for _ in range(3)]
    for program in programs:
        with program:
            out, _ = program.communicate(timeout=PATIENCE_S)
            assert program.returncode == 7
            assert (
                "3 MPI ranks were to start together, this world has 1 (launcher srun --mpi=pmi2; MPICH Version:" in out
            )
            assert "SLURM_NTASKS=3, SLURM_JOB_ID=71" in out
            assert "srun --mpi=list" in out
    opened, closed = run.events()
    assert isinstance(opened, Opened)
    assert opened.job == "71"
    assert isinstance(closed, Closed)
    assert closed.kind is Kind.TEMPORARY
    assert closed.what.startswith("3 MPI ranks were to start together, this world has 1")
    assert tree_hash(tmp_path) == {}


@pytest.mark.parametrize(
    ("size", "launcher", "environ", "told"),
    [
        (4, "srun", {"SLURM_NTASKS": "4"}, None),
        (4, "srun", {}, None),
        (4, "srun", {"SLURM_STEP_NUM_TASKS": "8"}, "8 MPI ranks were to start together, this world has 4"),
        (4, "mpiexec", {"SLURM_NTASKS": "2"}, None),  # a helper a node
        (
            1,
            "mpiexec",
            {"SLURM_NTASKS": "4"},
            "4 MPI ranks were to start together, this world has 1 (launcher mpiexec;",
        ),
        (1, "srun", {"SLURM_MPI_TYPE": "none"}, "(launcher srun --mpi=pmi2; MPICH 5; SLURM_MPI_TYPE=none)"),
        (1, "srun", {}, "no SLURM_* variables"),
        (8, "srun", {}, "4 MPI ranks were to start together, this world has 8"),
    ],
)
def test_a_world_of_the_wrong_size_is_told_apart(
    size: int, launcher: str, environ: dict[str, str], told: str | None
) -> None:
    error = wrong_world(size, 4, Mpi.model_validate({"launcher": launcher}), environ, "MPICH 5")
    assert (error is None) == (told is None)
    assert told is None or told in str(error)


@pytest.mark.parametrize("ranks", [[1, 2], [0]])
def test_ranks_that_fail_while_others_wait_end_the_program_and_say_why(
    tmp_path: Path, installed: Path, ranks: list[int]
) -> None:
    behaviour = {"probe-mpi 32UPU b": {"ranks": ranks, "end": "input"}}
    run = MpiRun.plan(tmp_path, installed, 3, behaviour=behaviour)
    order = list(run.chunk.ids)
    assert finish(run, 3)[0] != 0
    assert "InputError" in run.run.log("probe-mpi", run.chunk.attempt).read_text()
    begun = [event.id for event in run.events() if isinstance(event, Begin)]
    done = [event.id for event in run.events() if isinstance(event, Done)]
    assert begun == order[: len(begun)]
    assert begun[:-1] == done, "the task was not settled by rank 0, and none was begun after it"
    (failed,) = run.events(".rank")
    assert isinstance(failed, Failed)
    assert (failed.id, failed.kind, failed.number) == (begun[-1], Kind.INPUT, 1)
    assert failed.what.removeprefix("cannot be decoded (rank ")[0] in map(str, ranks)
    assert failed.where == "/data/b.jp2"
    assert "Closed" not in kinds(run.events()), "whether all ranks are gone is for the launcher to say"


@pytest.mark.parametrize(
    ("wish", "what"),
    [
        ({"ranks": [0, 1, 2], "end": "input"}, "cannot be decoded"),
        ({"ranks": [1, 2], "end": "memory", "when": "after"}, "MemoryError (rank 1 of 3)"),
    ],
)
def test_a_task_that_fails_on_ranks_that_nobody_waits_for_does_not_stop_the_next_one(
    tmp_path: Path, installed: Path, wish: dict[str, object], what: str
) -> None:
    run = MpiRun.plan(tmp_path, installed, 3, behaviour={"probe-mpi 32UPU b": wish})
    assert finish(run, 3) == (0, "")
    (failed,) = (event for event in run.events() if isinstance(event, Failed))
    assert failed.what == what
    assert failed.kind is (Kind.INPUT if wish["end"] == "input" else Kind.RESOURCE)
    assert kinds(run.events()).count("Done") == 2
    assert isinstance(run.events()[-1], Closed)
    assert run.events(".rank") == []


def test_a_full_disk_on_one_rank_stops_the_chunk(tmp_path: Path, installed: Path) -> None:
    full = {"ranks": [1], "end": "full", "when": "after"}
    behaviour = {f"probe-mpi 32UPU {name}": full for name in "abc"}
    run = MpiRun.plan(tmp_path, installed, 2, behaviour=behaviour)
    assert finish(run, 2) == (0, "")
    assert kinds(run.events()) == ["Opened", "Begin", "Failed", "Closed"]
    failed = run.events()[2]
    assert isinstance(failed, Failed)
    assert failed.stops_run
    assert failed.what == "No space left on device (rank 1 of 2)"


def test_a_rank_that_is_killed_takes_the_others_along(tmp_path: Path, installed: Path) -> None:
    behaviour = {f"probe-mpi 32UPU {name}": {"ranks": [1], "end": "kill"} for name in "abc"}
    run = MpiRun.plan(tmp_path, installed, 3, behaviour=behaviour)
    finish(run, 3)
    assert kinds(run.events()) == ["Opened", "Begin"], "it is found lost"
    assert run.events(".rank") == []
    assert tree_hash(tmp_path) == {}


def test_a_chunk_that_has_a_journal_is_not_begun_again(tmp_path: Path, installed: Path) -> None:
    run = MpiRun.plan(tmp_path, installed, 2)
    journal = run.run.journals / f"{run.chunk.attempt}.jsonl"
    journal.parent.mkdir(exist_ok=True)
    journal.write_bytes(b"")
    code, out = finish(run, 2)
    assert code == STARTED_TWICE, f"nobody's fault, and the first one may be at work: {out}"
    assert "has been started before" in out
    assert journal.read_bytes() == b""
    assert tree_hash(tmp_path) == {}


def test_ranks_end_when_their_launcher_is_told_to(tmp_path: Path, installed: Path) -> None:
    behaviour = {f"probe-mpi 32UPU {name}": {"sleep_s": 600} for name in "abc"}
    run = MpiRun.plan(tmp_path, installed, 2, behaviour=behaviour)
    with run.start(mpiexec(2)) as process:
        wait_for_begin(run)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
    _, alive = psutil.wait_procs(family, timeout=PATIENCE_S)
    for one in alive:
        with contextlib.suppress(psutil.Error):
            one.kill()
    assert alive == []


def performed(end: Outcome | Trouble, **use: float) -> Performed:
    values = {"wall_s": 1.0, "cpu_s": 0.5, "peak_anon_bytes": 10, "base_anon_bytes": 5, "max_rss_bytes": 20}
    return Performed(use=Use(**values | use), end=end)  # type: ignore[arg-type]


def test_what_ranks_say_becomes_what_one_process_would() -> None:
    good = Outcome(outputs=("a",), n_rows=3)
    other = Outcome(outputs=("a",), n_rows=99)
    one = as_one([performed(good, wall_s=2.0), performed(other), performed(other)])
    assert one.end == good
    assert one.use == Use(wall_s=2.0, cpu_s=1.5, peak_anon_bytes=30, base_anon_bytes=15, max_rss_bytes=60)

    bug, bad = Trouble(kind=Kind.INTERNAL, what="bug"), Trouble(kind=Kind.INPUT, what="bad")
    full = Trouble(kind=Kind.TEMPORARY, what="full", stops_run=True)

    def told(*ends: Outcome | Trouble) -> str:
        end = as_one([performed(end) for end in ends]).end
        assert isinstance(end, Trouble)
        return end.what

    assert told(bad, bad) == "bad"
    assert told(good, bad) == "bad (rank 1 of 2)"
    assert told(bug, bad) == "bad (rank 1 of 2)", "what comes of bad input elsewhere is no news"
    assert told(bug, bad, full) == "full (rank 2 of 3)"
    assert told(bug, good) == "bug (rank 0 of 2)"
