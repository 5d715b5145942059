"""The stage on real ranks of MPI: the same bytes, and an end of one of them is no file and a reason."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.many_fields import SIDE, ManyFields, build_many_fields
from support.probe_mpi import MpiRun
from support.runs import PATIENCE_S

from s4c_hpc.config import Config
from s4c_hpc.core.stage import stage
from s4c_hpc.execute import run_chunk
from s4c_hpc.execute.journal import Begin, Closed, Done, Failed, Kind, Opened
from s4c_hpc.extract.index import read_index
from s4c_hpc.features import read_features
from s4c_hpc.features.shares import ranges_of


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> ManyFields:
    root = tmp_path_factory.mktemp("fields")
    return ManyFields.prepared(root, Config.model_validate(tomllib.loads(build_many_fields(root))))


def finish(run: MpiRun, ranks: int, fault: str = "") -> tuple[int, str]:
    """Exit code and output of the launcher for one machine, which opens no port.

    Parameters
    ----------
    fault : what the second rank does after the first block that it has made
    """
    launcher = [str(Path(sys.executable).with_name("mpiexec.gforker")), "-n", str(ranks)]
    words = [sys.executable, "-c", FAULT.format(fault=fault), *run.words[3:]] if fault else run.words
    done = subprocess.run(
        [*launcher, *words],
        env=run.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return done.returncode, done.stdout


FAULT = """
import os, signal, sys
sys.argv = ["ranks", *sys.argv[1:]]
from s4c_hpc.core.errors import InputError
from s4c_hpc.execute.ranks import main
from s4c_hpc.features import stage_features
if os.environ["PMI_RANK"] == "1":
    plain = stage_features.block_features
    def with_fault(*given):
        plain(*given)
        {fault}
    stage_features.block_features = with_fault
sys.exit(main())
"""


@pytest.fixture(scope="module")
def alone(fields: ManyFields) -> dict[str, bytes]:
    """The file as one process without MPI writes it."""
    run = fields.on_ranks(1)
    stage.cache_clear()
    run_chunk(run.run.root, run.chunk.attempt)
    assert [type(event) for event in run.events()] == [Opened, Begin, Done, Closed], run.events()
    (made,) = fields.remove().items()
    return dict([made])


def test_bytes_are_the_same_for_any_number_of_ranks_and_for_none(fields: ManyFields, alone: dict[str, bytes]) -> None:
    for ranks in (1, 2, 4):
        run = fields.on_ranks(ranks)
        assert finish(run, ranks) == (0, "")
        assert [type(event) for event in run.events()] == [Opened, Begin, Done, Closed]
        assert fields.files() == alone
        (done,) = (event for event in run.events() if isinstance(event, Done))
        asked = fields.task()["mem_bytes"]
        assert 0 < done.peak_anon_bytes <= ranks * asked
        assert fields.private() == []
        if ranks == 2:
            found = read_features(fields.workspace.root / next(iter(alone)))
            assert len(found.batches) == 6
            assert found.new_id.size == SIDE**2
            assert np.isfinite(found.batches[5].column("XX_2018_05_10_s2_mean_ndvi").to_numpy()).any()
        fields.remove()


def test_every_rank_has_something_to_do(fields: ManyFields) -> None:
    """Otherwise the test above says nothing."""
    row = fields.task()
    (path,) = fields.workspace.root.glob("tiles/SMALL/index/**/*.arrow")
    index = read_index(path)
    pixels = np.array([block.n_pixels.sum() for block in index])
    assert [len(mine) > 0 for mine in ranges_of(pixels, 4)] == [True] * 4
    assert row["cpus"] == 1, "without a cluster tiles are what runs side by side"
    slurm = fields.config.model_copy(update={"execute": fields.config.execute.model_copy(update={"executor": "slurm"})})
    planned = replace(fields, config=slurm).task()
    assert planned["cpus"] == 6, "a rank a block and no more"
    assert planned["id"] == row["id"]
    assert planned["mem_bytes"] == pytest.approx(6 * row["mem_bytes"], rel=1e-6)


def test_a_damaged_stack_fails_the_task_on_all_ranks_with_its_name(fields: ManyFields) -> None:
    stack = sorted(fields.workspace.root.glob("tiles/SMALL/stack/**/*.arrow"))[2]
    whole = stack.read_bytes()
    run = fields.on_ranks(2)
    stack.write_bytes(whole[:-100])
    try:
        assert finish(run, 2) == (0, "")
    finally:
        stack.write_bytes(whole)
    assert [type(event) for event in run.events()] == [Opened, Begin, Failed, Closed]
    failed = run.events()[2]
    assert isinstance(failed, Failed)
    assert failed.kind is Kind.TEMPORARY, "the season is not to blame: gathered again, it is whole"
    assert "not a whole Arrow file" in failed.what
    assert failed.where == str(stack)
    assert failed.hint == "delete the file and run 's4c run' again"
    assert fields.files() == {}
    assert fields.private() == []


def test_a_rank_that_fails_alone_ends_all_and_says_why(fields: ManyFields) -> None:
    run = fields.on_ranks(2)
    assert finish(run, 2, "raise InputError('pages that cannot be read', where='/stack')")[0] != 0
    assert [type(event) for event in run.events()] == [Opened, Begin]
    (failed,) = run.events(".rank")
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.what, failed.where) == (Kind.INPUT, "pages that cannot be read (rank 1 of 2)", "/stack")
    assert fields.files() == {}


def test_a_rank_that_is_killed_leaves_no_file_and_the_next_run_makes_it(
    fields: ManyFields, alone: dict[str, bytes]
) -> None:
    run = fields.on_ranks(2)
    # What the launcher makes of it is MPICH's business (gforker now and then ends with 0): the journal tells.
    finish(run, 2, "os.kill(os.getpid(), signal.SIGKILL)")
    assert [type(event) for event in run.events()] == [Opened, Begin], "it is found lost"
    assert fields.files() == {}
    again = fields.on_ranks(1)
    run_chunk(again.run.root, again.chunk.attempt)
    assert fields.remove() == alone
