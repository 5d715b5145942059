"""The client, the scripts and the judgement of ends, on a real Slurm."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from support.runs import wait_until
from support.slurm import MPICH_BY_PMI

from s4c_hpc.config.slurm import MemoryMode, Slurm, SlurmLaunch
from s4c_hpc.slurm.client import SlurmClient
from s4c_hpc.slurm.cluster import Cluster
from s4c_hpc.slurm.ending import Ending
from s4c_hpc.slurm.errors import SlurmUnreachable, SubmitInDoubt, SubmitLater, SubmitRefused
from s4c_hpc.slurm.jobs import JobSpec
from s4c_hpc.slurm.reconcile import Element, Sight, by_element, look
from s4c_hpc.slurm.script import batch_script, log_pattern

MIB = 1024**2
SITE = Slurm(launch=SlurmLaunch(python="/bin/bash"))
"""Python stands for any program; a shell is there on every machine."""


def client(cluster: Cluster, timeout_s: float = 60) -> SlurmClient:
    return SlurmClient(timeout_s=timeout_s, env={**os.environ, **cluster.env})


def job(folder: Path, command: str, **changes: object) -> JobSpec:
    """An array of one element, with a name of its own, that runs a shell command."""
    spec = JobSpec(
        name=f"s4c-test-{uuid4()}",
        comment="test",
        words=("-c", command),
        output=log_pattern(folder, "%4a.log"),
        workdir=str(folder),
        cpus=1,
        mem_bytes=50 * MIB,
        walltime_s=600,
        n_elements=1,
    )
    return replace(spec, **changes)  # type: ignore[arg-type]


def submit(cluster: Cluster, spec: JobSpec, site: Slurm = SITE) -> int:
    return client(cluster).submit(batch_script(spec, site, python="/bin/bash"))


def sights(cluster: Cluster, spec: JobSpec, since: float, *, accounts: bool = True) -> dict[int | None, Sight]:
    """What is seen of every element of a job."""
    asked = client(cluster)
    queue = by_element(asked.queue(names_start=spec.name, ended=True))
    accounting = by_element(asked.accounting([spec.name], since)) if accounts else None

    def tail(index: int | None) -> Callable[[], str]:
        path = Path(spec.output.replace("%%", "%").replace("%4a", f"{index:04}"))
        return lambda: path.read_text() if path.exists() else ""

    return {
        index: look(
            Element(name=spec.name, index=index, submitted_at=since, job_id=1),
            queue,
            accounting,
            now=time.time(),
            missing_since=None,
            forgotten_after_s=120,
            log_tail=tail(index),
        )
        for index in range(spec.n_elements or 1)
    }


def await_end(cluster: Cluster, *specs: JobSpec) -> None:
    """Wait until none of the jobs waits or runs any more."""
    names = [spec.name for spec in specs]
    wait_until(lambda: not any(row.name in names for row in client(cluster).queue()), f"{names} have ended")


def await_accounts(cluster: Cluster, spec: JobSpec, since: float, n_ended: int) -> None:
    """Wait until the accounts have that many ends of elements: they lag by some seconds."""

    def known() -> bool:
        rows = client(cluster).accounting([spec.name], since)
        return sum(row.ending is not None and row.end is not None and not row.is_step for row in rows) >= n_ended

    wait_until(known, f"the accounts know {n_ended} ends of {spec.name}")


@contextlib.contextmanager
def frozen(cluster: Cluster, daemon: str) -> Iterator[None]:
    """A daemon that takes connections and never answers."""
    pid = cluster.daemons[daemon].pid()
    assert pid is not None
    process = psutil.Process(pid)
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def down(cluster: Cluster, daemon: str) -> Iterator[None]:
    cluster.stop(daemon)
    try:
        yield
    finally:
        cluster.start(daemon)


@pytest.mark.parametrize("export", ["NIL", "NONE", "ALL"])
def test_odd_paths_and_words_arrive_as_they_were(
    cluster: Cluster, tmp_path: Path, export: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sp ace #1 \"double\" 'single' 100% %4a $HOME é ;"
    folder.mkdir()
    words = ("a b", "$HOME", "`id`", "it's", '"', "\\", "", "*", "%a", "#x", "ß")
    show = tmp_path / "show it.py"
    show.write_text("""import json, os, sys
names = ["OMP_NUM_THREADS", "SECRET", "SLURM_JOB_NAME"]
print(json.dumps([sys.argv[1:], os.getcwd(), oct(os.umask(0)), [os.environ.get(name) for name in names]]))
""")
    monkeypatch.setenv("SECRET", "of the submitting shell")
    spec = job(folder, "", words=(str(show), *words), cpus=2, n_elements=2, comment="run \"1\" 'x' #2 \\ %j")
    # A backslash is in the folder of work only: in that of logs, Slurm would fill in nothing.
    work = tmp_path / "back\\slash"
    work.mkdir()
    spec = replace(spec, workdir=str(work))
    array = client(cluster).submit(batch_script(spec, Slurm(export=export), python="/usr/bin/python3"))
    [comment] = {row.comment for row in client(cluster).queue(ended=True) if row.array_id == array}
    assert comment == spec.comment
    await_end(cluster, spec)
    secret = "of the submitting shell" if export == "ALL" else None
    for index in range(2):
        said = json.loads((folder / f"{index:04}.log").read_text())
        assert said == [[*words, str(index)], str(work), "0o27", ["2", secret, spec.name]]
    assert sorted(path.name for path in folder.iterdir()) == ["0000.log", "0001.log"]


def test_every_end_is_told_apart(cluster: Cluster, tmp_path: Path) -> None:
    eat = "exec python3 -c 'import time; x = bytearray(200 << 20); time.sleep(300)'"
    command = f'case "$0" in 0) exit 0;; 1) exit 3;; 2) kill -9 $$;; 3) {eat};; *) exec sleep 300;; esac'
    since = time.time()
    spec = job(tmp_path, command, n_elements=7, throttle=5)
    array = submit(cluster, spec)

    def only_sleepers() -> bool:
        found = sights(cluster, spec, since)
        return [found[index].alive for index in range(7)] == [False] * 4 + [True] * 3

    wait_until(only_sleepers, "the first four have ended")
    client(cluster).cancel([row.job_id for row in client(cluster).queue() if row.name == spec.name and row.index == 4])
    wait_until(lambda: not sights(cluster, spec, since)[4].alive, "element 4 is cancelled")
    client(cluster).cancel(names=[spec.name])
    await_end(cluster, spec)
    endings = [Ending.DONE, Ending.FAILED, Ending.FAILED, Ending.MEMORY, *[Ending.CANCELLED] * 3]
    assert [sight.ending for sight in sights(cluster, spec, since, accounts=False).values()] == endings
    await_accounts(cluster, spec, since, 5)
    found = sights(cluster, spec, since)
    assert [sight.ending for sight in found.values()] == endings
    assert [found[index].reason for index in (1, 2, 4)] == [
        "exit code 3",
        "killed by signal 9",
        f"cancelled by user id {os.getuid()}",
    ]
    client(cluster).cancel([array], [spec.name])  # they have ended: no error


def test_what_never_began_is_seen_waiting_and_cancelled(cluster: Cluster, tmp_path: Path) -> None:
    since = time.time()
    spec = job(tmp_path, "true", n_elements=3, begin_s=3000)
    submit(cluster, spec)
    wait_until(lambda: sights(cluster, spec, since)[0].reason == "BeginTime", "the job waits for its time")
    assert {sight.state for sight in sights(cluster, spec, since).values()} == {"pending"}
    client(cluster).cancel(names=[spec.name])
    await_end(cluster, spec)
    # It was never eligible, so the accounts do not show it: squeue does, for a while.
    assert {sight.ending for sight in sights(cluster, spec, since).values()} == {Ending.CANCELLED}


def test_a_job_that_makes_room_is_preempted_and_not_requeued(cluster: Cluster, tmp_path: Path) -> None:
    since = time.time()
    low = job(tmp_path, "exec sleep 300", qos="s4c-small", cpus=4, n_elements=4)
    submit(cluster, low)
    wait_until(lambda: {s.state for s in sights(cluster, low, since).values()} == {"running"}, "all nodes are busy")
    high = job(tmp_path, "true", qos="s4c-urgent", cpus=4)
    submit(cluster, high)
    await_end(cluster, high)
    endings = [sight.ending for sight in sights(cluster, low, since).values()]
    assert sorted(map(str, endings)) == ["None", "None", "None", "preempted"]


def test_the_accounts_have_time_and_memory_of_steps(cluster: Cluster, tmp_path: Path) -> None:
    since = time.time()
    spec = job(tmp_path, "exec python3 -c 'import time; x = bytearray(30 << 20); time.sleep(3)'")
    submit(cluster, spec)
    await_end(cluster, spec)
    await_accounts(cluster, spec, since, 1)
    element, batch = client(cluster).accounting([spec.name], since)
    assert (element.index, element.state, element.is_step, element.req_mem_bytes) == (0, "COMPLETED", False, 50 * MIB)
    assert (batch.name, batch.index, batch.step) == (spec.name, 0, "batch")
    assert element.submit is not None
    assert since - 1 < element.submit < time.time()
    assert 2 <= element.elapsed_s < time.time() - since + 1
    assert batch.max_rss_bytes is not None
    assert 20 * MIB < batch.max_rss_bytes < 50 * MIB


@pytest.mark.parametrize("mode", list(MemoryMode))
def test_memory_is_understood_in_every_mode(cluster: Cluster, tmp_path: Path, mode: MemoryMode) -> None:
    site = SITE.model_copy(update={"memory": mode})
    spec = job(tmp_path, "echo $SLURM_MEM_PER_NODE,$SLURM_MEM_PER_CPU", cpus=2, mem_bytes=100 * MIB)
    submit(cluster, spec, site)
    await_end(cluster, spec)
    # Not asked for: the cluster gives its DefMemPerCPU.
    said = {MemoryMode.PER_NODE: "100,", MemoryMode.PER_CPU: ",50", MemoryMode.NONE: ",512"}
    assert (tmp_path / "0000.log").read_text().strip() == said[mode]


@pytest.mark.parametrize("launcher", ["srun", "mpiexec"])
@pytest.mark.parametrize("export", ["NIL", "ALL"])
def test_ranks_find_each_other_and_their_variables(
    cluster: Cluster, tmp_path: Path, launcher: str, export: str
) -> None:
    program = tmp_path / "ranks.py"
    program.write_text("""from mpi4py import MPI
import os, sys
world = MPI.COMM_WORLD
line = f"{world.rank} of {world.size} {os.environ['MALLOC_ARENA_MAX']} {sys.argv[1:]}"
lines = world.gather(line)
if lines: print("\\n".join(lines))
""")
    spec = job(tmp_path, "", words=(str(program), "a b"), cpus=6, ranks=6, mem_bytes=600 * MIB)
    python = Path(sys.executable)
    site = Slurm.model_validate(
        {
            "export": export,
            "mpi": {"launcher": launcher},
            "launch": {"setup": [f"export PATH='{python.parent}':$PATH FI_TCP_IFACE=lo {MPICH_BY_PMI}"]},
        }
    )
    client(cluster).submit(batch_script(spec, site, python=str(python)))
    await_end(cluster, spec)
    said = (tmp_path / "0000.log").read_text().splitlines()
    assert said == [f"{rank} of 6 2 ['a b', '0']" for rank in range(6)]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"qos": "nope"}, r"Invalid qos.*slurm\.qos"),
        ({"account": "nope"}, r"Invalid account.*slurm\.account"),
        ({"partition": "nope"}, r"nvalid partition.*slurm\.partition"),
        ({"mem_bytes": 2**45}, r"emory.*slurm\.max_memory"),
        ({"n_elements": 10**6}, r"Invalid job array.*slurm\.max_array"),
        ({"qos": "s4c-s1", "mem_bytes": 17 * 1024 * MIB, "cpus": 4}, r"emory"),
    ],
)
def test_what_cannot_run_is_refused_with_slurms_reason_and_ours(
    cluster: Cluster, tmp_path: Path, changes: dict[str, object], why: str
) -> None:
    with pytest.raises(SubmitRefused, match=why):
        submit(cluster, job(tmp_path, "true", **changes))
    assert client(cluster).queue() == []


def test_a_full_queue_is_for_later(cluster: Cluster, tmp_path: Path) -> None:
    cluster.run("sacctmgr", "-i", "modify", "qos", "s4c-small", "set", "MaxSubmitJobsPerUser=3")
    try:
        with pytest.raises(SubmitLater, match="QOSMaxSubmitJobPerUserLimit"):
            submit(cluster, job(tmp_path, "true", qos="s4c-small", n_elements=4))
        submit(cluster, job(tmp_path, "true", qos="s4c-small", n_elements=3))
    finally:
        cluster.run("sacctmgr", "-i", "modify", "qos", "s4c-small", "set", "MaxSubmitJobsPerUser=-1")


def test_a_closed_partition_is_for_later(cluster: Cluster, tmp_path: Path) -> None:
    cluster.run("scontrol", "update", "partitionname=small", "state=inactive")
    try:
        with pytest.raises(SubmitLater, match="not available"):
            submit(cluster, job(tmp_path, "true", partition="small"))
    finally:
        cluster.run("scontrol", "update", "partitionname=small", "state=up")


def test_without_a_controller_nothing_is_known_and_nothing_was_submitted(cluster: Cluster, tmp_path: Path) -> None:
    spec = job(tmp_path, "true")
    with down(cluster, "slurmctld"):
        with pytest.raises(SubmitLater, match="Unable to contact slurm controller"):
            submit(cluster, spec)
        with pytest.raises(SlurmUnreachable, match=r"squeue failed.*Unable to contact slurm controller"):
            client(cluster).queue()
        with pytest.raises(SlurmUnreachable, match=r"squeue gave no answer within 0\.5 s"):
            client(cluster, timeout_s=0.5).queue()
    assert client(cluster).queue(names_start=spec.name, ended=True) == []


def test_a_submission_without_an_answer_may_have_made_a_job_which_is_found_by_name(
    cluster: Cluster, tmp_path: Path
) -> None:
    since = time.time()
    spec = job(tmp_path, "true")
    with frozen(cluster, "slurmctld"), pytest.raises(SubmitInDoubt, match="looked for by its name"):
        client(cluster, timeout_s=5).submit(batch_script(spec, SITE, python="/bin/bash"))
    wait_until(lambda: sights(cluster, spec, since)[0].ending is Ending.DONE, "the job that was in doubt has run")


def test_a_submission_whose_connection_broke_may_have_made_a_job(cluster: Cluster, tmp_path: Path) -> None:
    spec = job(tmp_path, "true")
    with frozen(cluster, "slurmctld"), pytest.raises(SubmitInDoubt, match="timed out"):
        submit(cluster, spec)
    wait_until(lambda: bool(client(cluster).queue(names_start=spec.name, ended=True)), "the job is known")


def test_without_a_database_jobs_go_on_and_their_ends_are_known(cluster: Cluster, tmp_path: Path) -> None:
    since = time.time()
    spec = job(tmp_path, "exit 3")
    with down(cluster, "slurmdbd"):
        submit(cluster, spec)
        with pytest.raises(SlurmUnreachable, match=r"sacct failed.*Connection refused"):
            client(cluster).accounting([spec.name], since)
        await_end(cluster, spec)
        assert sights(cluster, spec, since, accounts=False)[0].ending is Ending.FAILED
    await_accounts(cluster, spec, since, 1)
    assert sights(cluster, spec, since)[0].reason == "exit code 3"


def test_jobs_of_one_name_run_one_after_the_other(cluster: Cluster, tmp_path: Path) -> None:
    first = job(tmp_path, "exec sleep 300", n_elements=None, singleton=True)
    submit(cluster, first)
    wait_until(lambda: client(cluster).queue()[0].state == "RUNNING", "the first runs")
    submit(cluster, first)
    wait_until(
        lambda: (
            sorted((r.state, r.reason) for r in client(cluster).queue()) == [("PENDING", "Dependency"), ("RUNNING", "")]
        ),
        "the second waits",
    )


def test_limits_nodes_and_rights_of_the_cluster(cluster: Cluster) -> None:
    asked = client(cluster)
    limits = asked.limits()
    assert (limits.max_array, limits.kill_wait_s, limits.has_accounting) == (20001, 5, True)
    assert limits.enforced == {"associations", "limits", "qos"}
    nodes = asked.nodes("main")
    assert {node.name for node in nodes} == set(cluster.settings.node_names)
    assert {(node.cpus, node.mem_bytes, node.is_usable, node.max_time_s) for node in nodes} == {
        (cluster.settings.cpus, cluster.settings.memory_bytes, True, None)
    }
    assert [(node.name, node.max_time_s) for node in asked.nodes("small")] == [("n1", 600)]
    assert len(asked.nodes()) == len(nodes) + 1
    assert {"normal", "s4c-small", "s4c-s1", "s4c-urgent"} <= {
        qos for row in asked.associations() if row.account == "s4c" for qos in row.qos
    }


def test_the_use_of_a_qos_is_shown_beside_its_limits(cluster: Cluster, tmp_path: Path) -> None:
    spec = job(tmp_path, "exec sleep 300", qos="s4c-s1", mem_bytes=10240 * MIB, n_elements=3)
    submit(cluster, spec)
    since = time.time()
    wait_until(
        lambda: [s.reason for s in sights(cluster, spec, since).values()].count("QOSGrpMemLimit") == 2,
        "one runs and two wait for memory of the QoS",
    )
    qos = {row.name: row for row in client(cluster).qos()}
    assert qos["s4c-s1"].grp_tres == {"mem": 16384 * MIB}
    assert "DenyOnLimit" in qos["s4c-s1"].flags
    assert qos["s4c-urgent"].preempts == ("s4c-small",)
    use = qos["s4c-s1"].use
    assert use is not None
    assert (use.jobs, use.submitted, use.tres["mem"]) == (1, 3, 10240 * MIB)
