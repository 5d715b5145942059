"""The development cluster itself: up, down, alone, side by side, broken and mended."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from support.cli import s4c
from support.runs import PATIENCE_S, wait_until
from support.slurm import cgroup_turn, submit, wait_for_state

from s4c_hpc.core.errors import ConfigError, ExternalToolError, InputError, SchedulerError
from s4c_hpc.slurm.cluster import Cluster
from s4c_hpc.slurm.daemons import lives, processes
from s4c_hpc.slurm.node_processes import node_processes

NOBODY = 65534


def processes_of(cluster: Cluster) -> list[psutil.Process]:
    daemons = processes(daemon.pid() for daemon in cluster.daemons.values())
    return list({*daemons, *node_processes(cluster.root)})


def listening(cluster: Cluster) -> set[tuple[str, int]]:
    found = set()
    for process in processes_of(cluster):
        with suppress(psutil.NoSuchProcess):  # jobs start programs, which come and go
            connections = process.net_connections("inet")
            found |= {(one.laddr.ip, one.laddr.port) for one in connections if one.status == psutil.CONN_LISTEN}
    return found


def test_two_of_them_share_nothing(cluster: Cluster, spare: Cluster) -> None:
    assert spare.node_states() == {"n1": "idle", "n2": "idle"}
    assert not {port for _, port in listening(cluster)} & {port for _, port in listening(spare)}
    here, there = submit(cluster, "sleep 600"), submit(spare, "sleep 600", "--job-name=theirs")
    wait_for_state(cluster, here, "RUNNING")
    wait_for_state(spare, there, "RUNNING")
    assert spare.run("squeue", "-h", "-o", "%j").split() == ["theirs"]
    assert spare.down()
    assert cluster.run("squeue", "-h", "-o", "%i %T").split() == [here, "RUNNING"]
    assert cluster.is_up()


def test_a_job_runs_and_is_accounted_for_and_every_port_is_loopback(cluster: Cluster, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = f"srun --ntasks=2 sh -c 'echo $SLURMD_NODENAME; until [ -e {seen} ]; do sleep 0.1; done'"
    job = submit(cluster, script, "--nodes=2", "--mem=50", "--comment=note", folder=tmp_path)
    output = tmp_path / f"{job}.out"
    wait_until(lambda: output.exists() and output.stat().st_size > 0, "the step runs")
    sockets = listening(cluster)
    seen.touch()
    assert len(sockets) >= 6
    assert {address.split(".")[0] for address, _ in sockets} == {"127"}
    wait_for_state(cluster, job, "COMPLETED")
    assert sorted(output.read_text().split()) == ["n1", "n2"]
    columns = "Account,NNodes,Comment"
    assert cluster.run("sacct", "-X", "-n", "-P", "-j", job, f"--format={columns}").strip() == "s4c|2|note"


def test_memory_overrun_is_killed_and_the_memory_of_a_qos_is_limited(cluster: Cluster, tmp_path: Path) -> None:
    greedy = f"{sys.executable} -c 'import time; b = bytearray(300 << 20); time.sleep(600)'"
    overrun = submit(cluster, greedy, "--mem=100", folder=tmp_path)
    full = submit(cluster, "sleep 600", "--qos=s4c-s1", "--mem=12000")
    waiting = submit(cluster, "sleep 600", "--qos=s4c-s1", "--mem=12000")
    passing = submit(cluster, "true", "--qos=s4c-small", "--mem=12000")
    wait_for_state(cluster, passing, "COMPLETED")
    wait_for_state(cluster, full, "RUNNING")
    wait_until(lambda: cluster.run("squeue", "-h", "-j", waiting, "-o", "%r").strip() == "QOSGrpMemLimit", "it waits")
    wait_for_state(cluster, overrun, "FAILED")
    assert "exceeded memory limit" in (tmp_path / f"{overrun}.out").read_text()


def test_an_urgent_job_takes_the_place_of_a_small_one(cluster: Cluster) -> None:
    whole = ("--nodes=4", "--exclusive")
    small = submit(cluster, "sleep 600", "--qos=s4c-small", "--requeue", *whole)
    wait_for_state(cluster, small, "RUNNING")
    urgent = submit(cluster, "true", "--qos=s4c-urgent", *whole)
    wait_for_state(cluster, urgent, "COMPLETED")
    assert cluster.run("squeue", "-h", "-j", small, "-o", "%T").strip() == "PENDING"


def test_down_ends_jobs_too_and_up_again_knows_of_them(spare: Cluster, tmp_path: Path) -> None:
    done = submit(spare, "true")
    wait_for_state(spare, done, "COMPLETED")
    # A daemon of the job's own: out of its process group, its parent gone.
    escaped = submit(spare, "setsid --fork sleep 1234 && touch escaped && sleep 1234", f"--chdir={tmp_path}")
    wait_until((tmp_path / "escaped").exists, "the job runs")
    before = processes_of(spare)
    assert sum(process.name() == "sleep" for process in before) == 2
    assert spare.down()
    assert not [process for process in before if lives(process)]
    assert not spare.down()
    assert spare.up()
    wait_for_state(spare, done, "COMPLETED")
    wait_until(lambda: escaped in spare.run("squeue", "-h", "-o", "%i"), "the job is queued again")
    assert int(submit(spare, "true")) == int(escaped) + 1


def test_a_node_whose_power_is_cut_is_down_until_it_is_started(cluster: Cluster) -> None:
    job = submit(cluster, "sleep 600", "--nodelist=n4", "--requeue")
    wait_for_state(cluster, job, "RUNNING")
    victims = node_processes(cluster.root, "n4")
    cluster.kill_node("n4")
    assert not [process for process in victims if lives(process)]
    assert not node_processes(cluster.root, "n4")
    wait_until(lambda: cluster.node_states()["n4"].startswith("down"), "n4 is down")
    ask = ("sacct", "-D", "-X", "-n", "-P", "-j", job, "--format=State")
    wait_until(lambda: "NODE_FAIL" in cluster.run(*ask), "the job is known to have lost its node")
    cluster.start("slurmd-n4")
    wait_until(lambda: cluster.node_states()["n4"] == "idle", "n4 is back")


def test_daemons_that_are_killed_can_be_started_again(cluster: Cluster) -> None:
    with pytest.raises(InputError, match="no daemon 'slurmd-n9'"):
        cluster.stop("slurmd-n9")
    for daemon in ("slurmctld", "slurmdbd", "slurmd-n1"):
        cluster.stop(daemon, signal=signal.SIGKILL)
        assert not cluster.is_up()
        cluster.start(daemon)
        assert cluster.is_up()
    cluster.wait_up()
    job = submit(cluster, "true", "--nodelist=n1")
    wait_for_state(cluster, job, "COMPLETED")


@contextmanager
def starting(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command that starts a cluster, at work; its output is not read."""
    words = [sys.executable, "-m", "s4c_hpc.cli", "slurm", "cluster", "up", str(root)]
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as command:
        yield command


def test_a_first_start_that_is_killed_is_made_up_for(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "c", nodes=1)
    with starting(cluster.root) as command:
        wait_until((cluster.root / "db" / "data" / "mysql").exists, "the database is being made")
        command.kill()
    try:
        assert cluster.up()  # at once: what was left of the first start may still be writing
        wait_for_state(cluster, submit(cluster, "true"), "COMPLETED")
    finally:
        cluster.purge()
    assert not cluster.root.exists()


@pytest.mark.parametrize(("last", "how"), [("mariadbd", signal.SIGINT), ("slurmctld", signal.SIGKILL)])
def test_a_start_that_is_interrupted_leaves_nothing_that_down_does_not_end(
    spare: Cluster, last: str, how: signal.Signals
) -> None:
    spare.down()
    with starting(spare.root) as command:
        wait_until(lambda: spare.daemons[last].pid() is not None, f"{last} runs")
        left = processes_of(spare)
        command.send_signal(how)
    assert left
    if how is signal.SIGKILL:
        assert spare.down()
    assert command.returncode != 0
    assert not processes_of(spare)
    assert not [process for process in left if lives(process)]


def renamed(name: str) -> list[str]:
    """Words that run a command on a machine of another name; none where that is not allowed."""
    as_user = [] if os.getuid() == 0 else ["--map-current-user", "--keep-caps"]
    words = ["unshare", "--uts", *as_user, "sh", "-c", f'hostname {name} && exec "$@"', "sh"]
    return words if subprocess.run([*words, "true"], check=False, capture_output=True).returncode == 0 else []


@pytest.mark.skipif(not renamed("nowhere-xyz"), reason="this machine cannot be renamed for a test: unshare fails")
def test_it_is_on_loopback_whatever_the_name_of_the_machine_leads_to(spare: Cluster, tmp_path: Path) -> None:
    spare.down()
    words = renamed("nowhere-xyz")
    up = subprocess.run(
        [*words, sys.executable, "-m", "s4c_hpc.cli", "slurm", "cluster", "up", str(spare.root)],
        check=False,
        capture_output=True,
        text=True,
    )
    try:
        assert up.returncode == 0, up.stderr
        assert "export LD_PRELOAD=/" in up.stdout  # of use for srun outside of jobs
        seen = tmp_path / "seen"
        show = f"cat /proc/sys/kernel/hostname; until [ -e {seen} ]; do sleep 0.1; done"
        step = f"srun --nodes=2 --ntasks=2 sh -c '{show}'"
        job = submit(spare, step, "--nodes=2", folder=tmp_path)
        output = tmp_path / f"{job}.out"
        wait_until(lambda: output.exists() and output.stat().st_size > 0, "the step runs")
        assert {address for address, _ in listening(spare)} == {"127.0.0.1"}
        seen.touch()
        wait_for_state(spare, job, "COMPLETED")
        assert output.read_text().split() == ["nowhere-xyz"] * 2
        script = f"{up.stdout}exec srun --nodes=2 hostname"
        direct = subprocess.run(
            [*words, "sh", "-c", script], check=False, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert direct.stdout.split() == ["localhost"] * 2, direct.stderr
    finally:
        spare.down()


@contextmanager
def as_nobody() -> Iterator[tuple[list[str], Path]]:
    """Words that run a command as an ordinary user, and a folder of that user's."""
    with tempfile.TemporaryDirectory(prefix="s4c-user-") as name:
        folder = Path(name)
        if os.getuid() != 0:
            yield [], folder
            return
        os.chown(folder, NOBODY, NOBODY)
        words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all"]
        plain = subprocess.run([*words, sys.executable, "-c", "import s4c_hpc"], check=False, capture_output=True)
        if plain.returncode:  # this Python lies in a folder of root's: let the user reach it, without being root
            words = words[:-1] + [
                f"--{kind}=-all,+dac_override" for kind in ("bounding-set", "inh-caps", "ambient-caps")
            ]
        yield words, folder


def test_an_ordinary_user_has_a_cluster_by_the_command_line() -> None:
    with as_nobody() as (words, folder):

        def run(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*words, *command],
                cwd=folder,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                capture_output=True,  # returns only when nobody holds the pipes: daemons must not
                text=True,
                check=False,
                timeout=PATIENCE_S,
            )

        s4c_cluster = (sys.executable, "-m", "s4c_hpc.cli", "slurm", "cluster")
        try:
            up = run(*s4c_cluster, "up", "mine", "--nodes", "2", "--memory", "2GiB")
            assert up.returncode == 0, up.stderr
            assert up.stdout.splitlines()[0] == f"export SLURM_CONF={folder}/mine/etc/slurm.conf"
            serves = re.fullmatch(r"2 nodes serve after ([\d.]+) s\n", up.stderr)
            assert serves, up.stderr
            assert 0 < float(serves[1]) < PATIENCE_S
            owners = {
                psutil.Process(daemon.pid()).uids().effective for daemon in Cluster(folder / "mine").daemons.values()
            }
            assert owners == {folder.stat().st_uid}
            conf = Cluster(folder / "mine").env
            waited = run("sbatch", "--wait", "--nodes=2", "--wrap", "srun id -u; exit 42", **conf)
            assert waited.returncode == 42, waited.stderr
            assert (folder / "slurm-1.out").read_text().split() == [str(folder.stat().st_uid)] * 2
            assert "already" in run(*s4c_cluster, "up", "mine").stderr
            status = run(*s4c_cluster, "status", "mine")
            assert status.returncode == 0, status.stderr
            assert "slurmd-n2" in status.stdout
        finally:
            down = run(*s4c_cluster, "down", "mine")
        assert (down.returncode, down.stderr) == (0, "it is down\n")
        assert run(*s4c_cluster, "down", "mine").stderr == "it was down already\n"
        status = run(*s4c_cluster, "status", "mine")
        assert status.returncode == 7
        assert "the cluster is down; start it with: s4c slurm cluster up mine" in status.stderr
        (folder / "mine" / "my.txt").write_text("kept")
        assert run(*s4c_cluster, "down", "mine", "--purge").returncode == 0
        assert [path.name for path in (folder / "mine").iterdir()] == ["my.txt"]


def test_a_daemon_that_ends_at_its_start_is_named_with_its_log(spare: Cluster) -> None:
    spare.down()
    name = spare.root / "state" / "clustername"
    right = name.read_text()
    name.write_text("somebody_elses")
    with pytest.raises(SchedulerError, match=r"slurmctld ended by itself; it said last:(?s:.*)CLUSTER NAME"):
        spare.up()
    name.write_text(right)
    assert not processes_of(spare)


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SchedulerError, match=rf"port .*\b{port}\b.* of {port - 1} to {port + 4} is taken"):
            Cluster(tmp_path / "c", port=port - 1).up()


def test_missing_packages_are_named_with_the_command_that_installs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("s4c_hpc.slurm.cluster_boot._SBIN", ())
    with pytest.raises(ExternalToolError, match=r"not installed: slurmctld, .*apt-get install .* mariadb-server$"):
        Cluster(tmp_path / "c").up()


@pytest.mark.parametrize(
    ("name", "message"),
    [("x" * 90, "bytes too long: the path of a unix socket"), ("two words", "slurm.conf cannot name a path with ' '")],
)
def test_folders_that_daemons_cannot_work_in_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Cluster(tmp_path / name).up()
    assert not (tmp_path / name).exists()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    done = s4c("slurm", "cluster", "up", tmp_path)
    assert (done.returncode, "not empty and holds no cluster" in done.stderr) == (4, True)
    done = s4c("slurm", "cluster", "down", tmp_path, "--purge")
    assert (done.returncode, "there is no cluster here" in done.stderr) == (7, True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.skipif(Cluster.cgroups_work() is not None, reason=f"no cgroups here: {Cluster.cgroups_work()}")
def test_with_cgroups_the_kernel_kills_and_slurm_says_so(spare: Cluster, tmp_path: Path) -> None:
    with cgroup_turn():
        spare.down()
        limited = Cluster(spare.root, cgroup=True)
        limited.up()
        try:
            with pytest.raises(SchedulerError, match="another cluster with --cgroup is up"):
                Cluster(tmp_path / "d", nodes=1, cgroup=True).up()
            greedy = f"{sys.executable} -c 'import time; b = bytearray(300 << 20); time.sleep(600)'"
            job = submit(limited, greedy, "--mem=100")
            wait_for_state(limited, job, "OUT_OF_MEMORY")
        finally:
            limited.down()
