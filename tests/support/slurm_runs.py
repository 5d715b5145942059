"""Runs of probe stages on a development cluster, their drivers in processes of their own, and ways to disturb them.

``python -m support.slurm_runs run|detach|cancel WORKSPACE [STAGE ...]`` is what the ``s4c`` commands of the same
names do, with probe stages; the configuration stands in the workspace.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from support.probe_stage import PROBES, describe_probe, tree_hash
from support.runs import MARK, TESTS, Driver, InlineExecutor, probe_workspace, run_inline, wait_for

from s4c_hpc.config import Config
from s4c_hpc.core.errors import S4cError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import cancel, fold_journals, run, run_detached
from s4c_hpc.execute.manifest import Wave, read_wave, wave_names
from s4c_hpc.execute.queue_view import QueueView, read_view
from s4c_hpc.plan import RunFolder, latest_run, run_folders
from s4c_hpc.slurm.cluster import Cluster

MIB = 1 << 20
GATE = "gate"
"""Held tasks wait for this file in the workspace."""
SITE = {"name": "site", "season_start": "2018-01-01", "season_end": "2018-12-31"}
QUICK = {
    "partition": "main",
    "account": "s4c",
    "qos": "s4c-small",
    "poll_s": 0.5,
    # No login shell: what a profile does at login (pyenv's rehash, say) is left half done by a test that kills a job.
    "export": "ALL",
    "tick_s": 1,
    "chunk_s": 5,
    "min_chunk_s": 0.0,
    "memory_overhead": 64 * MIB,
    "forgotten_after_s": 8,
    "command_timeout_s": 120,
}
CANCELLED_BY_OTHERS = re.compile(
    "all jobs that the run had in the queue were cancelled, but not by 's4c cancel': "
    rf"cancelled( by user id {os.getuid()})? \(\d+ jobs\)"
)
"""Why a run stops. By whom is told if the accounts, which lag behind squeue, know it by then."""
SHORT = ("probe-mid",)
"""Two stages, root and mid: enough for most faults, and half as long as all four."""


class SlurmRun:
    """A workspace of probes, and what becomes of it on a cluster.

    Parameters
    ----------
    folder : for the workspace and whatever else is needed
    probes : folder of the installed probe stages
    slurm : keys of the site profile that are not as in ``QUICK``
    stages : to bring up to date
    probe : keys of ``probe.json``; see ``describe_probe``
    """

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        probes: Path,
        *,
        slurm: dict[str, Any] | None = None,
        stages: tuple[str, ...] = SHORT,
        name: str = "workspace",
        **probe: Any,
    ) -> None:
        self.cluster, self.folder, self.stages = cluster, folder, stages
        self._probes = probes
        self.workspace = probe_workspace(folder / name, **{"ms": 1, "mem_bytes": 256 * MIB, **probe})
        self._shims = folder / "shims"
        self.configure(**(slurm or {}))

    def configure(self, **slurm: Any) -> None:
        """Write the configuration, with these keys of the site profile."""
        setup = [f"export PYTHONPATH='{TESTS}:{self._probes}'"]
        site = {**QUICK, "launch": {"setup": setup}, **slurm}
        values = {"site": SITE, "execute": {"executor": "slurm"}, "slurm": site}
        (self.workspace.root / "config.json").write_text(json.dumps(values))

    def behave(self, **behaviour: dict[str, Any]) -> None:
        """Say how tasks of products behave in stage mid: ``behave(a={"end": "sleep", "times": 1})``."""
        wishes = {f"probe-mid 32UPU {product}": wish for product, wish in behaviour.items()}
        describe_probe(self.workspace.root, behaviour=wishes)

    def hold(self, *products: str) -> None:
        """Have tasks of these products in stage mid wait for ``open_gate``."""
        self.behave(**{product: {"until": [GATE]} for product in products})

    def open_gate(self) -> None:
        """Let the tasks go on that are held, and all to come."""
        (self.workspace.root / GATE).touch()

    def shim(self, program: str, text: str) -> None:
        """Put a shell script before a program of Slurm, in which ``REAL`` stands for the program itself."""
        self._shims.mkdir(exist_ok=True)
        path = self._shims / program
        real = shutil.which(program)
        path.write_text(f"#!/bin/bash\nREAL={real}\nONCE={self._shims}/once\n{text}\n")
        path.chmod(0o755)

    def start(self, command: str = "run") -> SlurmDriver:
        """A driver, or another command, at work."""
        return SlurmDriver(self, command)

    def finish(self, command: str = "run") -> tuple[int, str]:
        """Exit code of a command and what it said."""
        with self.start(command) as driver:
            code, _, err = driver.finish()
        return code, err

    @property
    def env(self) -> dict[str, str]:
        """The environment of its drivers."""
        path = os.pathsep.join([str(self._shims), os.environ["PATH"]])
        python_path = os.pathsep.join([str(TESTS), str(self._probes)])
        return {**os.environ, **self.cluster.env, "PATH": path, "PYTHONPATH": python_path}

    @property
    def newest(self) -> RunFolder:
        """The newest run."""
        found = latest_run(self.workspace)
        assert found is not None
        return found

    def waves(self) -> list[Wave]:
        """Everything handed to sbatch, of all runs."""
        return [read_wave(folder, name) for folder in run_folders(self.workspace) for name in wave_names(folder)]

    def view(self) -> QueueView | None:
        """The queue as its driver last saw it."""
        newest = latest_run(self.workspace)
        return None if newest is None else read_view(newest)

    def queue(self, *options: str) -> list[list[str]]:
        """Jobs of chunks: number, state, name, node of each element."""
        text = self.cluster.run("squeue", "-h", "-r", "-o", "%i|%T|%j|%N", *options)
        rows = [line.split("|") for line in text.splitlines()]
        return [row for row in rows if row[2].startswith("s4c-probe")]

    def running(self) -> list[list[str]]:
        """Elements that run."""
        return [row for row in self.queue() if row[1] == "RUNNING"]

    def wait_until_asleep(self, n: int = 1) -> None:
        """Wait until ``n`` tasks have come to the point at which they sleep, or are held."""
        counters = self.workspace.root / "probe-count"
        assert wait_for(lambda: len(list(counters.glob("*"))) >= n), f"not {n} tasks asleep: {self.queue()}"

    def wait_until_only_sleepers(self, n: int = 1) -> None:
        """Wait until ``n`` tasks sleep and all others that began with them have come to their end."""
        self.wait_until_asleep(n)
        assert wait_for(lambda: len(self.running()) == n), self.queue()

    def wait_until_looked(self) -> None:
        """Wait until a driver that was started just now has seen the queue."""
        began = time.time()
        assert wait_for(lambda: (view := self.view()) is not None and view.t > began and view.lines), self.view()

    def history(self) -> list[dict[str, Any]]:
        """Every attempt at a task that has ended."""
        rows: list[dict[str, Any]] = fold_journals(self.workspace).to_pylist()
        return rows

    def kinds(self) -> Counter[str]:
        """How often attempts ended in which way."""
        return Counter(row["kind"] for row in self.history())

    def assert_as_undisturbed(self, *, same_run: bool = True, strays: bool = False) -> None:
        """The bytes are those of a run that nothing disturbed, nothing was done twice unnoticed, nothing is left.

        Parameters
        ----------
        same_run : there was one run only, which later drivers went on with
        strays : jobs given up may live on: their private files are the next run's to remove
        """
        whole = self._undisturbed()
        assert tree_hash(self.workspace.root) == tree_hash(whole.root)
        done = [row for row in self.history() if row["kind"] == "done"]
        tasks = Counter(row["id"] for row in done)
        again = sum(tasks.values()) - len(tasks)
        assert again == sum(row["twins"] > 0 for row in done), "a task was done twice, and nobody noticed"
        assert len(tasks) == sum(1 for row in fold_journals(whole).to_pylist() if row["kind"] == "done")
        if same_run:
            assert len(run_folders(self.workspace)) == 1
        if not strays:
            assert not list(self.workspace.temporary.glob("*")), "private files are left"
        assert wait_for(lambda: not self.cluster.run("squeue", "-h")), self.cluster.run("squeue")

    def _undisturbed(self) -> Workspace:
        probe = json.loads((self.workspace.root / "probe.json").read_text())
        whole = probe_workspace(self.folder / "undisturbed", **{**probe, "behaviour": {}})
        assert run_inline(whole, stages=self.stages, executor=InlineExecutor(memory_bytes=1 << 40)).exit_code == 0
        return whole


class SlurmDriver(Driver):
    """A command at work on a ``SlurmRun``: a process that can be killed."""

    def __init__(self, owner: SlurmRun, command: str) -> None:
        self.mark = os.urandom(8).hex()
        words = [sys.executable, "-W", "error", "-m", "support.slurm_runs", command, str(owner.workspace.root)]
        self.process = subprocess.Popen(
            [*words, *owner.stages],
            env={**owner.env, MARK: self.mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def kill(self) -> None:
        """End the process itself as the kernel does when memory is short."""
        self.process.kill()
        self.process.wait()


def add_qos(cluster: Cluster, name: str, limits: str) -> None:
    """Let everybody on the cluster use a QoS with these limits, in sacctmgr's words."""
    words = ["sacctmgr", "-i"]
    if name not in cluster.run("sacctmgr", "-n", "-P", "show", "qos", "format=name").split():
        cluster.run(*words, "add", "qos", name)
    cluster.run(*words, "modify", "qos", name, "set", limits)
    user = cluster.run("sacctmgr", "-n", "-P", "show", "user", "format=user").split()[0]
    cluster.run(*words, "modify", "user", user, "set", f"qos+={name}")


def main() -> int:
    """Run a command as ``s4c`` does."""
    command, folder, stages = sys.argv[1], Path(sys.argv[2]), sys.argv[3:] or None
    workspace = Workspace(folder)
    config = Config.model_validate(json.loads((folder / "config.json").read_text()))
    try:
        match command:
            case "run":
                return int(run(workspace, config, registry=PROBES, stages=stages).exit_code)
            case "detach":
                print(run_detached(workspace, config, registry=PROBES, stages=stages).job)
            case "cancel":
                print(cancel(workspace))
    except S4cError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
