"""MPI stages over several nodes, and pools of dask workers, on a real cluster."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.probe_mpi import MPI_PROBES, MpiRun, install_mpi_probe
from support.probe_stage import MIB, tree_hash
from support.runs import PATIENCE_S, TESTS, probe_workspace, wait_until
from support.slurm import MPICH_BY_PMI

from s4c_hpc.config import Config
from s4c_hpc.core.errors import SchedulerError
from s4c_hpc.core.stage import stage
from s4c_hpc.core.task import Launch
from s4c_hpc.execute import run_chunk
from s4c_hpc.execute.journal import Closed, Done, Event, Failed, Journal, Kind, Opened, read_events
from s4c_hpc.execute.manifest import Chunk, Wave, attempt_name, write_wave
from s4c_hpc.execute.pool import run_pool
from s4c_hpc.execute.pool_door import PoolDoor
from s4c_hpc.execute.pool_job import worker_job_name
from s4c_hpc.execute.slurm_executor import SlurmExecutor
from s4c_hpc.execute.submissions import job_name
from s4c_hpc.plan import RunFolder, make_plan, new_run_id
from s4c_hpc.slurm.client import SlurmClient
from s4c_hpc.slurm.cluster import Cluster

pytestmark = pytest.mark.slow


@pytest.fixture
def installed(probes: Path) -> Path:
    return install_mpi_probe(probes)


def site_config(installed: Path, **slurm: Any) -> Config:
    setup = [
        f"export PYTHONPATH={TESTS}{os.pathsep}{installed}",
        f"export FI_TCP_IFACE=lo {MPICH_BY_PMI}",
        f"export PATH={Path(sys.executable).parent}:$PATH",
    ]
    return Config.model_validate(
        {
            "site": {"name": "site", "season_start": "2018-01-01", "season_end": "2018-12-31"},
            "execute": {"executor": "slurm"},
            "slurm": {"launch": {"setup": setup}, "pool": {"workers": 2, "interface": "lo"}, **slurm},
        }
    )


def submit(cluster: Cluster, run: RunFolder, config: Config, wave: Wave) -> SlurmClient:
    client = SlurmClient(env={**os.environ, **cluster.env})
    SlurmExecutor(run, config.slurm, client).submit(run, wave)
    return client


def names_in_queue(client: SlurmClient, run: RunFolder) -> list[str]:
    return [row.name for row in client.queue(names_start="s4c-") if run.id in row.name]


def wait_for_end(client: SlurmClient, run: RunFolder) -> None:
    wait_until(lambda: not names_in_queue(client, run), f"no job of {run.id} in the queue")


def processes_of(run: RunFolder) -> list[psutil.Process]:
    """Live programs that were given the run on their command line."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(run.root) in process.cmdline():
                found.append(process)
    return found


def logs(run: RunFolder) -> str:
    """All job logs, for the message of a failed test."""
    return "\n".join(f"{path.name}: {path.read_text()}" for path in sorted(run.root.glob("logs/*/*")))


@pytest.mark.parametrize("mpi", [{"launcher": "srun", "plugin": "pmi2"}, {"launcher": "mpiexec"}])
def test_ranks_on_two_nodes_write_the_bytes_that_one_process_does(
    cluster: Cluster, tmp_path: Path, installed: Path, mpi: dict[str, str]
) -> None:
    config = site_config(installed, mpi=mpi, directives_add=["--nodes=2", "--ntasks-per-node=2"])
    alone = MpiRun.plan(tmp_path / "alone", installed, 1)
    stage.cache_clear()
    run_chunk(alone.run.root, alone.chunk.attempt)
    ranks = MpiRun.plan(tmp_path / "ranks", installed, 4, config)
    client = submit(cluster, ranks.run, config, ranks.wave)
    wait_for_end(client, ranks.run)
    assert [type(event).__name__ for event in ranks.events()] == ["Opened", *["Begin", "Done"] * 3, "Closed"], logs(
        ranks.run
    )
    assert tree_hash(tmp_path / "ranks") == tree_hash(tmp_path / "alone")
    opened = ranks.events()[0]
    assert isinstance(opened, Opened)
    assert opened.job is not None


def test_a_launcher_that_joins_no_ranks_begins_nothing(cluster: Cluster, tmp_path: Path, installed: Path) -> None:
    config = site_config(installed, mpi={"launcher": "srun", "plugin": "none"})
    ranks = MpiRun.plan(tmp_path, installed, 3, config)
    client = submit(cluster, ranks.run, config, ranks.wave)
    wait_for_end(client, ranks.run)
    assert [type(event) for event in ranks.events()] == [Opened, Closed], logs(ranks.run)
    closed = ranks.events()[-1]
    assert isinstance(closed, Closed)
    assert closed.what.startswith(
        "3 MPI ranks were to start together, this world has 1 (launcher srun --mpi=none; MPICH"
    )
    assert tree_hash(tmp_path) == {}


@pytest.mark.parametrize(("mpi", "end"), [("srun", "kill"), ("mpiexec", "kill"), ("srun", "input")])
def test_the_end_of_one_rank_is_the_end_of_all(
    cluster: Cluster, tmp_path: Path, installed: Path, mpi: str, end: str
) -> None:
    config = site_config(installed, mpi={"launcher": mpi}, directives_add=["--nodes=2", "--ntasks-per-node=2"])
    behaviour = {f"probe-mpi 32UPU {name}": {"ranks": [3], "end": end} for name in "abc"}
    ranks = MpiRun.plan(tmp_path, installed, 4, config, behaviour=behaviour)
    client = submit(cluster, ranks.run, config, ranks.wave)
    wait_for_end(client, ranks.run)
    assert [type(event).__name__ for event in ranks.events()] == ["Opened", "Begin"], logs(ranks.run)
    failed = [event for event in ranks.events(".rank") if isinstance(event, Failed)]
    assert [(event.kind, event.what) for event in failed] == (
        [(Kind.INPUT, "cannot be decoded (rank 3 of 4)")] if end == "input" else []
    )


class Pooled:
    """A wave of six chunks of one task each, for a pool."""

    def __init__(self, cluster: Cluster, folder: Path, config: Config, **probe: Any) -> None:
        workspace = probe_workspace(folder, products=list("abcdef"), **probe)
        plan = make_plan(workspace, config, registry=MPI_PROBES)
        self.cluster, self.config = cluster, config
        self.run = plan.write(workspace.runs / new_run_id())
        self.subjects = dict(zip(plan.tasks["id"].to_pylist(), plan.tasks["subject"].to_pylist(), strict=True))
        chunks = [
            Chunk(
                attempt=attempt_name("000001", i),
                stage="probe-mpi",
                ids=(key,),
                numbers=(1,),
                seconds=(60,),
                cpus=1,
                mem_bytes=512 * MIB,
            )
            for i, key in enumerate(self.subjects)
        ]
        self.wave = Wave(name="000001", launch=Launch.POOL, chunks=tuple(chunks))
        write_wave(self.run, self.wave)

    def submit(self) -> SlurmClient:
        return submit(self.cluster, self.run, self.config, self.wave)

    def events(self, chunk: Chunk) -> list[Event]:
        path = self.run.journals / f"{chunk.attempt}.jsonl"
        return read_events(path)[0] if path.exists() else []

    def ends(self) -> dict[str, list[str]]:
        return {self.subjects[c.ids[0]]: [type(e).__name__ for e in self.events(c)] for c in self.wave.chunks}

    def opened(self) -> list[Opened]:
        return [event for chunk in self.wave.chunks for event in self.events(chunk) if isinstance(event, Opened)]


def received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(4096)
    except ConnectionError:
        return b""


WHOLE = ["Opened", "Begin", "Done", "Closed"]


def test_a_pool_does_every_chunk_once_and_ends(cluster: Cluster, tmp_path: Path, installed: Path) -> None:
    held = {f"probe-mpi 32UPU {name}": {"until": "gate"} for name in "abcdef"}  # one worker starts after the other
    pooled = Pooled(cluster, tmp_path, site_config(installed), behaviour=held)
    begun = pooled.wave.chunks[2]
    with Journal(pooled.run.journals / f"{begun.attempt}.jsonl"):
        pass  # of a pool that was there before
    client = pooled.submit()
    wait_until(lambda: len(pooled.opened()) == 2, "both workers are at work")
    (tmp_path / "gate").touch()
    wait_for_end(client, pooled.run)
    assert pooled.ends() == {subject: [] if subject == "c" else WHOLE for subject in "abcdef"}, logs(pooled.run)
    assert len({event.job for event in pooled.opened()}) == 2, "two workers, each with a job of its own"
    assert not PoolDoor.of(pooled.run, "000001").folder.exists()
    done = [e for chunk in pooled.wave.chunks for e in pooled.events(chunk) if isinstance(e, Done)]
    assert all(e.peak_anon_bytes <= 512 * MIB for e in done)


def test_a_worker_that_dies_takes_one_chunk_along(cluster: Cluster, tmp_path: Path, installed: Path) -> None:
    behaviour = {"probe-mpi 32UPU a": {"sleep_s": 300}, "probe-mpi 32UPU b": {"ranks": [0], "end": "kill"}}
    pooled = Pooled(cluster, tmp_path, site_config(installed), behaviour=behaviour)
    client = pooled.submit()
    chunk = next(c for c in pooled.wave.chunks if pooled.subjects[c.ids[0]] == "a")
    wait_until(lambda: len(pooled.events(chunk)) == 2, "the long task has begun")
    (opened,) = (event for event in pooled.events(chunk) if isinstance(event, Opened))
    assert opened.job is not None
    client.cancel([int(opened.job)])
    wait_for_end(client, pooled.run)
    expected = {subject: ["Opened", "Begin"] if subject in "ab" else WHOLE for subject in "abcdef"}
    assert pooled.ends() == expected, logs(pooled.run)


def test_workers_end_with_their_pool_and_nothing_is_open_to_others(
    cluster: Cluster, tmp_path: Path, installed: Path
) -> None:
    behaviour = {f"probe-mpi 32UPU {subject}": {"sleep_s": 300} for subject in "abcdef"}
    pooled = Pooled(cluster, tmp_path, site_config(installed), behaviour=behaviour)
    client = pooled.submit()
    wait_until(lambda: len(pooled.opened()) == 2, "both workers are at work")

    door = PoolDoor.of(pooled.run, "000001")
    assert stat.S_IMODE(door.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in door.folder.iterdir() if p.is_file()} == {0o600}
    driver, worker = job_name(pooled.run, "probe-mpi", "000001"), worker_job_name(pooled.run, pooled.wave)
    rows = {row.name: row.job_id for row in client.queue(names_start="s4c-")}
    assert set(rows) == {driver, worker}
    script = cluster.run("scontrol", "write", "batch_script", str(rows[worker]), "-")
    for secret in ("PRIVATE KEY", "tls://", str(door.folder)):
        assert secret not in script

    programs = processes_of(pooled.run)
    assert len(programs) == 3
    family = {p.pid: p for program in programs for p in [program, *program.children(recursive=True)]}
    listening = [c.laddr for p in family.values() for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert {address.ip for address in listening} == {"127.0.0.1"}

    host, port = door.address.removeprefix("tls://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as plain:
        plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"HTTP" not in received(plain)
    trusting = ssl.create_default_context(cafile=str(door.folder / "cert.pem"))
    trusting.check_hostname = False
    with (
        socket.create_connection((host, int(port)), timeout=PATIENCE_S) as bare,
        trusting.wrap_socket(bare) as stranger,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        stranger.recv(4096)  # TLS 1.3 tells of a missing certificate after the handshake
    assert len(pooled.opened()) == 2

    client.cancel([rows[driver]])
    wait_for_end(client, pooled.run)
    wait_until(lambda: not any(p.is_running() for p in family.values()), "no process of the pool lives")
    assert all(len(pooled.events(chunk)) <= 2 for chunk in pooled.wave.chunks)


@pytest.mark.parametrize("wish", [{"sleep_s": 300}, {"ranks": [0], "end": "deaf"}])
def test_workers_end_soon_when_their_pool_is_killed(
    cluster: Cluster, tmp_path: Path, installed: Path, wish: dict[str, Any]
) -> None:
    behaviour = {f"probe-mpi 32UPU {subject}": wish for subject in "abcdef"}
    pooled = Pooled(cluster, tmp_path, site_config(installed), behaviour=behaviour)
    client = pooled.submit()
    wait_until(lambda: len(pooled.opened()) == 2, "both workers are at work")
    for program in processes_of(pooled.run):
        if "s4c_hpc.execute.pool" in program.cmdline():
            program.kill()
    wait_for_end(client, pooled.run)
    assert processes_of(pooled.run) == []


@pytest.mark.parametrize(
    ("site", "told"),
    [
        ({"stages": {"probe-mpi": {"partition": "nowhere"}}}, "invalid partition specified: nowhere"),
        ({"directives_add": ["--hold"]}, "no worker has come for 3 s, 6 chunks are left for another attempt"),
    ],
)
def test_a_pool_without_workers_says_so(
    cluster: Cluster, tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch, site: dict[str, Any], told: str
) -> None:
    pooled = Pooled(cluster, tmp_path, site_config(installed, **site))
    for key, value in cluster.env.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(SchedulerError, match=told):
        run_pool(pooled.run, pooled.wave, wait_s=3)
    wait_for_end(SlurmClient(), pooled.run)
    assert not PoolDoor.of(pooled.run, "000001").folder.exists()
