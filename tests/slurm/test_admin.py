"""``s4c slurm check`` and ``s4c slurm qos`` on a real cluster."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.runs import wait_until
from support.slurm import submit, wait_for_state

from s4c_hpc.cli.sizing import print_sizing
from s4c_hpc.config import load_config
from s4c_hpc.config.slurm import Slurm
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.slurm.admin import AdminClient
from s4c_hpc.slurm.cluster import Cluster
from s4c_hpc.slurm.deep import check_on_node

ROOT = Path(__file__).parents[2]
SITE = '[site]\nname = "a"\nseason_start = 2018-01-01\nseason_end = 2018-12-31\n'
OURS = ("s4c-test-a", "s4c-test-b")

S4c = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def s4c(cluster: Cluster, tmp_path: Path) -> S4c:
    """Runs ``s4c`` in a workspace with the profile of the development cluster."""
    profile = ROOT / "configs" / "site" / "dev-cluster.toml"
    (tmp_path / "s4c.toml").write_text(f"profile = {json.dumps(str(profile))}\n{SITE}")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "s4c_hpc.cli", *words],
            env={**os.environ, "PATH": path, **cluster.env, **env},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def our_qos(cluster: Cluster) -> Iterator[list[str]]:
    """Options that make the profile name two QoS which the cluster does not have; they are gone afterwards."""
    yield [
        *("--set", 'slurm.stages.gather.qos="s4c-test-a"'),
        *("--set", 'slurm.stages.index.qos=[{qos="s4c-test-a", max_memory="1GiB"}, {qos="s4c-test-b"}]'),
        *("--set", "slurm.qos_limits.s4c-test-a.group_jobs=2"),
        *("--set", 'slurm.qos_limits.s4c-test-b.group_memory="16GiB"'),
    ]
    cluster.restore()
    for name in OURS:
        cluster.run("sacctmgr", "-i", "-Q", "delete", "qos", name)
    # slurmdbd 22.05 edits the list of a user as text, and loses one that is there as well, now and then.
    users = cluster.run("sacctmgr", "-nP", "show", "user", "format=user").split()
    qos = "qos=normal,s4c-small,s4c-s1,s4c-urgent"
    cluster.run("sacctmgr", "-i", "-Q", "modify", "user", users[0], "where", "account=s4c", "set", qos)


def verdicts(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str, str]]:
    """Item -> verdict, what the cluster says, hint; without those that are well."""
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    assert rows, done.stderr
    return {row["item"]: (row["verdict"], row["cluster"], row["hint"]) for row in rows if row["verdict"] != "ok"}


def test_the_development_cluster_fits_its_profile(s4c: S4c) -> None:
    done = s4c("slurm", "check", "--json")
    assert done.returncode == 0, done.stdout
    assert verdicts(done) == {"nodes": ("not tried", "", "give --deep")}


def test_a_job_on_a_node_finds_all_well_and_leaves_nothing(s4c: S4c, cluster: Cluster, tmp_path: Path) -> None:
    done = s4c("slurm", "check", "--deep", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert verdicts(done) == {}
    items = [row["item"] for row in json.loads(done.stdout)]
    assert items[-5:] == [
        "job on a node",
        "workspace on a node",
        "files of jobs",
        "sbatch on a node",
        "clock of a node",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["s4c.toml"]
    wait_until(lambda: cluster.run("squeue", "-h") == "", "the job is gone")


def test_a_launch_line_that_does_not_start_python_is_found(s4c: S4c) -> None:
    done = s4c("slurm", "check", "--deep", "--json", "--set", "slurm.launch.python=/nope/python")
    assert done.returncode == 3
    verdict, said, hint = verdicts(done)["job on a node"]
    assert verdict == "wrong"
    assert "/nope/python" in said
    assert "slurm.launch" in hint


def test_a_job_that_cannot_start_is_cancelled(s4c: S4c, cluster: Cluster, tmp_path: Path) -> None:
    busy = submit(cluster, "sleep 600", "--nodes=4", "--exclusive", "--mem=0")
    wait_for_state(cluster, busy, "RUNNING")
    client = AdminClient(env={**os.environ, **cluster.env})
    told: list[str] = []
    (found,) = check_on_node(client, Slurm(account="s4c"), tmp_path, patience_s=4, on_wait=told.append)
    assert found.verdict == "not tried"
    assert "the job is pending" in found.cluster
    assert told
    assert cluster.run("squeue", "-h", "-o", "%i").split() == [busy]


@pytest.mark.parametrize(
    ("value", "item", "said", "hint"),
    [
        ("slurm.qos=s4c-nope", "QoS s4c-nope", "not there", "'s4c slurm qos' prints"),
        ("slurm.qos=s4c-nope", "sbatch, other stages in s4c-nope", "refused", "Invalid qos specification"),
        ("slurm.partition=nope", "partition nope", "main, small", "set slurm.partition"),
        ("slurm.account=nope", "account nope", "s4c", "set slurm.account"),
        ("slurm.max_memory=20GiB", "largest job in main", "16.0 GiB", "set slurm.max_memory"),
        ("slurm.max_memory=20GiB", "sbatch, other stages in s4c-small", "refused", "configuration is not available"),
        ("slurm.max_array=30000", "array size", "MaxArraySize 20001", "set slurm.max_array to 20001"),
        ("slurm.mpi.plugin=pmix_v9", "MPI", "pmi2", "set slurm.mpi.plugin"),
        ("slurm.memory=none", "memory", "CR_CORE_MEMORY", "use 'per_node'"),
        ("slurm.directives_add=['--constraint=nope']", "sbatch, other stages in s4c-small", "refused", "feature"),
    ],
)
def test_what_does_not_fit_is_found(s4c: S4c, value: str, item: str, said: str, hint: str) -> None:
    done = s4c("slurm", "check", "--json", "--set", value)
    assert done.returncode == 3, done.stdout + done.stderr
    verdict, cluster_says, help_text = verdicts(done)[item]
    assert verdict == "wrong"
    assert said in cluster_says
    assert hint in help_text


def test_a_time_over_the_partition_s_is_found_though_sbatch_takes_it(s4c: S4c) -> None:
    done = s4c("slurm", "check", "--json", "--set", "slurm.partition=small", "--set", "slurm.max_minutes=20")
    assert done.returncode == 3
    assert set(verdicts(done)) == {"longest job in small", "nodes"}


def test_a_machine_without_slurm_is_told_so(s4c: S4c, tmp_path: Path) -> None:
    done = s4c("slurm", "check", PATH=str(tmp_path))
    assert done.returncode == 7
    assert "there is no program 'sbatch'" in done.stderr


def test_without_the_accounts_the_rest_is_still_checked(s4c: S4c, cluster: Cluster) -> None:
    cluster.stop("slurmdbd")
    done = s4c("slurm", "check", "--json")
    assert done.returncode == 0, done.stdout
    found = verdicts(done)
    assert found["accounting"][0] == "warning"
    assert "sacctmgr" in found["accounting"][2]


def qos_text(cluster: Cluster) -> list[str]:
    text = cluster.run("sacctmgr", "-nP", "show", "qos", "format=name,priority,flags,grptres,grpjobs,maxtres,preempt")
    return sorted(text.splitlines())


def test_qos_are_made_once_and_may_be_made_again(s4c: S4c, cluster: Cluster, our_qos: list[str]) -> None:
    done = s4c("slurm", "qos", "--apply", *our_qos)
    assert done.returncode == 0, done.stderr
    made = qos_text(cluster)
    assert {"s4c-test-a|0|DenyOnLimit||2||", "s4c-test-b|0|DenyOnLimit|mem=16G|||"} <= set(made)
    assert {"s4c-urgent|1000|DenyOnLimit||||s4c-small", "s4c-s1|100|DenyOnLimit|mem=16G|||"} <= set(made)
    assert s4c("slurm", "qos", "--apply", *our_qos).returncode == 0
    assert qos_text(cluster) == made
    assert s4c("slurm", "check", *our_qos).returncode == 0

    changed = [*our_qos, "--set", "slurm.qos_limits.s4c-test-a.group_jobs=3"]
    assert s4c("slurm", "qos", "--apply", *changed).returncode == 0
    assert "s4c-test-a|0|DenyOnLimit||3||" in qos_text(cluster)


def test_the_printed_commands_do_what_apply_does(
    s4c: S4c, cluster: Cluster, our_qos: list[str], tmp_path: Path
) -> None:
    printed = s4c("slurm", "qos", *our_qos)
    assert printed.returncode == 0
    script = tmp_path / "qos.sh"
    script.write_text(printed.stdout)
    if (shellcheck := shutil.which("shellcheck")) is not None:
        subprocess.run([shellcheck, str(script)], check=True)
    for _ in range(2):
        subprocess.run(["sh", str(script)], env={**os.environ, **cluster.env}, check=True, capture_output=True)
    by_script = qos_text(cluster)
    assert s4c("slurm", "qos", "--apply", *our_qos).returncode == 0
    assert qos_text(cluster) == by_script
    assert s4c("slurm", "check", *our_qos).returncode == 0


def test_use_is_shown_while_jobs_run(s4c: S4c, cluster: Cluster, our_qos: list[str]) -> None:
    assert s4c("slurm", "qos", "--apply", *our_qos).returncode == 0
    job = submit(cluster, "sleep 600", "--qos=s4c-test-a", "--array=0-4", "--mem=100M")
    wait_until(
        lambda: cluster.run("squeue", "-h", "-r", "-t", "R", "-o", "%F").split() == [job, job], "two of five run"
    )

    def use() -> dict[str, Any]:
        rows: list[dict[str, Any]] = json.loads(s4c("slurm", "qos", "--json", *our_qos).stdout)["use"]
        return next(row for row in rows if row["qos"] == "s4c-test-a")

    wait_until(lambda: use()["why"] == "3 QOSGrpJobsLimit", "all others wait for the limit")
    assert use() == {
        "qos": "s4c-test-a",
        "jobs": "2/2",
        "cores": "2/-",
        "memory": "200.0 MiB/-",
        "running": 2,
        "pending": 3,
        "why": "3 QOSGrpJobsLimit",
    }
    printed = s4c("slurm", "qos", *our_qos)
    assert "3 QOSGrpJobsLimit" in printed.stderr
    assert "QOSGrpJobsLimit" not in printed.stdout


def test_a_user_without_an_association_is_told_of(s4c: S4c, our_qos: list[str]) -> None:
    done = s4c("slurm", "qos", "--apply", "--user", "nobody", *our_qos)
    assert done.returncode == 7
    assert "nobody has no association that matches" in done.stderr


def test_a_job_over_a_limit_is_refused_at_once(s4c: S4c, cluster: Cluster, our_qos: list[str]) -> None:
    small = [*our_qos, "--set", 'slurm.qos_limits.s4c-test-b.group_memory="2GiB"']
    assert s4c("slurm", "qos", "--apply", *small).returncode == 0
    done = s4c("slurm", "check", "--json", *small)
    assert done.returncode == 3
    verdict, _, hint = verdicts(done)["QoS s4c-test-b"]
    assert verdict == "wrong"
    assert "a job of 12.0 GiB is refused (DenyOnLimit): GrpTRES has mem=2.0 GiB" in hint
    verdict, _, hint = verdicts(done)["sbatch, index in s4c-test-b"]
    assert verdict == "wrong"
    assert "QOSGrpMemLimit" in hint


def test_the_cluster_is_sized_and_its_profile_fits_it(
    s4c: S4c, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_CONF", cluster.env["SLURM_CONF"])
    config = load_config(tmp_path / "s4c.toml", flags=["slurm.demands.s1-pair={cpus=2, memory='5GiB'}"]).config
    print_sizing(Workspace(tmp_path), config, tmp_path / "site.toml", as_json=True)
    shown = json.loads(capsys.readouterr().out)
    fits = {fit["kind"]: (fit["jobs"], fit["limit"]) for fit in shown["fits"]}
    assert shown["where"] == "partition main"
    assert fits["s1-pair"] == (8, "cores")  # four nodes of 4 cores and 16 GiB
    assert fits["index"] == (12, "memory")
    (tmp_path / "s4c.toml").write_text(f'profile = "site.toml"\n{SITE}')
    assert s4c("slurm", "check").returncode == 0


def test_the_job_template_starts_a_run(s4c: S4c, cluster: Cluster, tmp_path: Path) -> None:
    """An empty workspace has nothing to plan: s4c says so, with its own exit code."""
    template = ROOT / "slurm" / "s4c-run.sbatch"
    s4c_program = Path(sys.executable).with_name("s4c")
    words = [
        f"--output={tmp_path}/job.log",
        "--mem=1G",
        f"--export=ALL,S4C={s4c_program}",
        str(template),
        str(tmp_path),
    ]
    job = cluster.run("sbatch", "--parsable", *words).strip()
    wait_for_state(cluster, job, "FAILED")
    assert cluster.run("sacct", "-X", "-n", "-P", "-j", job, "--format=ExitCode").strip() == "6:0"
    assert "s4c: " in (tmp_path / "job.log").read_text()
