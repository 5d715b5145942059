"""The QoS set: from a profile and the size of a cluster to sacctmgr's words, and its use as a table."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.sites import GIB, limits, nodes, qos

from s4c_hpc.cli.slurm import qos_rows
from s4c_hpc.config.slurm import Slurm
from s4c_hpc.core.errors import ConfigError, NoInputsError, SchedulerError
from s4c_hpc.slurm.admin import AdminClient
from s4c_hpc.slurm.qos import Grant, left_preempting, modify_command, plan_qos, qos_set, standard_set
from s4c_hpc.slurm.rows import QosUse
from s4c_hpc.slurm.sizing import usable_nodes

ROOT = Path(__file__).parents[1]
EXAMPLE = nodes(50, cpus=32, gib=128)


def plan(profile: dict[str, Any], users: tuple[str, ...] = ("anna",)) -> list[str]:
    """Lines of the script for a profile on two nodes of 4 cores and 16 GiB."""
    script = plan_qos(Slurm.model_validate(profile), limits(), nodes(), users).script
    return [line for line in script.splitlines() if not line.startswith("#")]


def test_the_example_is_what_the_command_writes() -> None:
    written = plan_qos(Slurm(account="agri"), limits(), EXAMPLE, ["anna", "ben"]).script
    assert (ROOT / "slurm" / "qos-example.sh").read_text() == written, "write it anew with plan_qos(...)"


def test_the_standard_set_follows_the_cluster() -> None:
    small = standard_set(usable_nodes(nodes(), "main"))
    assert set(small) == {"s4c-default", "s4c-mdb", "s4c-lai", "s4c-l4a", "s4c-s1-16g"}  # no node has 32 GiB
    assert small["s4c-s1-16g"].group_memory == 16 * GIB
    large = standard_set(usable_nodes(EXAMPLE, "main"))
    assert large["s4c-mdb"].group_cpus == 1200
    assert large["s4c-s1-32g"].group_memory == 1600 * GIB
    s1 = [own.group_memory for name, own in large.items() if name.startswith("s4c-s1")]
    assert sum(memory or 0 for memory in s1) < 50 * 128 * GIB  # all classes full leave room for other work


def test_a_profile_that_names_qos_gets_those_and_no_others() -> None:
    lines = plan(
        {
            "qos": "normal",
            "account": "proj",
            "stages": {
                "gather": {"qos": "s4c-io", "account": "other"},
                "index": {"qos": [{"qos": "s4c-a", "max_memory": "2GiB"}, {"qos": "s4c-b", "max_memory": "4GiB"}]},
                "stats": {"qos": "s4c-b"},
            },
            "qos_limits": {"s4c-io": {"group_jobs": 8, "group_memory": "3GiB", "preempts": ["s4c-a"]}},
        },
        users=("anna", "ben"),
    )
    modify = "sacctmgr -i modify qos where"
    rest8 = "Flags=DenyOnLimit GrpJobs=8 GrpTRES=cpu=-1,mem=3072M"
    rest = "Flags=DenyOnLimit GrpJobs=-1 GrpTRES=cpu=-1,mem=-1"
    assert [line for line in lines if "modify" in line] == [
        f"{modify} name=s4c-io set Priority=0 {rest8} MaxTRESPerJob=mem=-1 Preempt=s4c-a",
        f"{modify} name=s4c-a set Priority=0 {rest} MaxTRESPerJob=mem=2048M",
        f"{modify} name=s4c-b set Priority=0 {rest} MaxTRESPerJob=mem=-1",  # stats sends jobs of any size there
        *(
            f"sacctmgr -i modify user where name={user} account={account} cluster=example set qos+=s4c-io,s4c-a,s4c-b"
            for user in ("anna", "ben")
            for account in ("other", "proj")
        ),
    ]
    adds = [i for i, line in enumerate(lines) if " add qos " in line]
    assert len(adds) == 3
    assert max(adds) < min(i for i, line in enumerate(lines) if "modify" in line)  # io preempts a: both are there first


def test_the_site_s_own_qos_is_never_touched() -> None:
    script = plan_qos(Slurm(qos="normal"), limits(), nodes(), ["anna"]).script
    assert "The profile also names normal: the site's own, left as they are." in script
    assert not any("normal" in line for line in script.splitlines() if not line.startswith("#"))


def test_known_names_keep_the_standard_limits() -> None:
    chosen = qos_set(Slurm(qos="s4c-lai"), usable_nodes(nodes(), "main"))
    assert chosen == {"s4c-lai": standard_set(usable_nodes(nodes(), "main"))["s4c-lai"]}


def test_users_are_names_and_quoted() -> None:
    with pytest.raises(ConfigError, match="not the name of a user"):
        plan_qos(Slurm(), limits(), nodes(), ["anna; reboot"])


def test_without_accounting_or_nodes_there_is_no_set() -> None:
    with pytest.raises(SchedulerError, match="keeps no accounts"):
        plan_qos(Slurm(), limits(AccountingStorageType="(null)"), nodes(), [])
    with pytest.raises(NoInputsError, match="none of 2 nodes gets work"):
        plan_qos(Slurm(), limits(), nodes(state="drained"), [])


def test_what_cannot_be_cleared_is_told() -> None:
    chosen = qos_set(Slurm(qos="s4c-lai"), usable_nodes(nodes(), "main"))
    there = {"s4c-lai": qos("s4c-lai", preempts=("normal",)), "s4c-x": qos("s4c-x", preempts=("normal",))}
    assert left_preempting(chosen, there) == {"s4c-lai": ("normal",)}
    assert not any(word.startswith("Preempt") for word in modify_command("s4c-lai", chosen["s4c-lai"]))


def test_use_is_shown_against_limits() -> None:
    use = QosUse(jobs=2, submitted=5, tres={"cpu": 3, "mem": 4 * GIB})
    there = {
        "a": qos("a", grp_jobs=2, grp_tres={"mem": 16 * GIB}, use=use),
        "b": qos("b"),
    }
    waiting = {"a": {"running": 2, "QOSGrpJobsLimit": 2, "Priority": 1}, "b": {}}
    assert qos_rows(["a", "b", "c"], there, waiting) == [
        {
            "qos": "a",
            "jobs": "2/2",
            "cores": "3/-",
            "memory": "4.0 GiB/16.0 GiB",
            "running": 2,
            "pending": 3,
            "why": "1 Priority, 2 QOSGrpJobsLimit",
        },
        {"qos": "b", "jobs": "?/-", "cores": "?/-", "memory": "?/-", "running": 0, "pending": 0, "why": ""},
        {"qos": "c", "jobs": "", "cores": "", "memory": "", "running": 0, "pending": 0, "why": "there is no such QoS"},
    ]


class TestApply:
    """What sacctmgr answers (texts of 22.05), and what is made of it."""

    def apply(self, folder: Path, said: str, code: int) -> list[str]:
        """Apply a set with a sacctmgr that says this; the commands that it got."""
        program = folder / "sacctmgr"
        program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\ncat {folder}/said\nexit {code}\n')
        program.chmod(0o755)
        (folder / "said").write_text(said)
        client = AdminClient(env={"PATH": f"{folder}:/usr/bin:/bin"})
        chosen = qos_set(Slurm(qos="s4c-lai"), usable_nodes(nodes(), "main"))
        client.apply_qos(chosen, Grant(cluster="example", users=("anna",)), existing=())
        return (folder / "calls").read_text().splitlines()

    def test_missing_qos_are_made_limits_set_and_users_let_in(self, tmp_path: Path) -> None:
        calls = self.apply(tmp_path, " Modified qos...\n  s4c-lai\n", 0)
        assert [call.split(" set ")[0] for call in calls] == [
            "-i add qos s4c-lai",
            "-i modify qos where name=s4c-lai",
            "-i modify user where name=anna cluster=example",
        ]

    def test_somebody_else_was_first(self, tmp_path: Path) -> None:
        assert len(self.apply(tmp_path, " Nothing new added.\n", 1)) == 3

    @pytest.mark.parametrize(
        ("said", "message"),
        [
            (" Adding QOS(s)\n Problem adding QOS: Access/permission denied\n", "only an operator"),
            ("sacctmgr: error: Your user doesn't have privilege to perform this action\n", "only an operator"),
            ("sacctmgr: error: QOS Preemption loop detected\n", "sacctmgr failed: .*Preemption loop"),
            (" Nothing modified\n", "has no association that matches"),
        ],
    )
    def test_a_refusal_is_told(self, tmp_path: Path, said: str, message: str) -> None:
        with pytest.raises(SchedulerError, match=message):
            self.apply(tmp_path, said, 1)


def test_the_script_stops_at_the_first_failure(tmp_path: Path) -> None:
    program = tmp_path / "sacctmgr"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nexit 1\n')
    program.chmod(0o755)
    done = subprocess.run(
        ["sh", str(ROOT / "slurm" / "qos-example.sh")], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False
    )
    assert done.returncode != 0
    assert (tmp_path / "calls").read_text().splitlines() == ["-nP show qos format=name", "-i add qos s4c-default"]
