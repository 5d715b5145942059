"""Least privilege of a run on a cluster: no open port, nothing for other users to read, no secret anywhere."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.privilege import SECRET, SECRET_NAME, Seen, holding, open_to_others
from support.runs import wait_for
from support.slurm_runs import SlurmRun

from s4c_hpc.slurm.cluster import Cluster


@pytest.fixture(autouse=True)
def _as_the_command_line_does(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A secret in the environment, and the mask that ``s4c`` sets."""
    monkeypatch.setenv(SECRET_NAME, SECRET)
    before = os.umask(0o027)
    yield
    os.umask(before)


def processes_of(run: SlurmRun) -> list[psutil.Process]:
    """Live programs of the run, elements and ticks: they have its folder on their command line."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(run.workspace.root) in " ".join(process.cmdline()):
                found.append(process)
    return found


@pytest.mark.parametrize("command", ["run", "detach"])
def test_a_run_opens_no_port_and_tells_nobody(cluster: Cluster, tmp_path: Path, probes: Path, command: str) -> None:
    run = SlurmRun(cluster, tmp_path, probes, slurm={"chunk_s": 0.001, "export": "NIL"})
    (run.workspace.root / "config.json").chmod(0o640)
    run.behave(a={"end": "sleep", "times": 1})
    seen = Seen()
    with run.start(command) as driver:
        run.wait_until_only_sleepers()
        workers = [p for p in processes_of(run) if "s4c_hpc.execute.element" in p.cmdline()]
        assert workers, "there is something to see"
        seen.look([*processes_of(run), *driver.family()])
        assert seen.listening == set()
        assert [p for p in workers if SECRET in p.environ().values()] == [], "jobs do not get the environment"
        jobs = cluster.run("squeue", "-h", "-o", "%i").split()
        scripts = [cluster.run("scontrol", "write", "batch_script", job, "-") for job in jobs]
        assert any("s4c_hpc.execute.element" in script for script in scripts)
        assert all(SECRET not in script and SECRET_NAME not in script for script in scripts)
        assert run.finish("cancel")[0] == 0
        _, out, err = driver.finish()
    assert wait_for(lambda: not cluster.run("squeue", "-h"))
    assert not [command for command in seen.commands if SECRET in command]
    assert SECRET not in out + err
    assert open_to_others(run.workspace.root) == []
    assert {path.suffix for path in run.newest.root.rglob("*")} >= {".jsonl", ".json", ".job", ".parquet"}
    assert holding(tmp_path, SECRET) == []
