"""Does a site profile fit a cluster: every misfit is found, with a hint that names the key to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.sites import CONFIG, GIB, association, limits, nodes, qos, survey

from s4c_hpc import __version__
from s4c_hpc.config.slurm import Slurm
from s4c_hpc.slurm.check import is_fit, judge
from s4c_hpc.slurm.deep import judge_answer
from s4c_hpc.slurm.errors import SubmitRefused
from s4c_hpc.slurm.finding import Finding, Verdict
from s4c_hpc.slurm.node_check import ANSWER
from s4c_hpc.slurm.partitions import parse_mpi_plugins, parse_partitions
from s4c_hpc.slurm.survey import trial_scripts


def troubles(profile: dict[str, Any] | None = None, **cluster: Any) -> dict[str, tuple[str, str]]:
    """Verdict and hint of every item that is not well."""
    found = judge(Slurm.model_validate(profile or {}), survey(**cluster))
    return {f.item: (str(f.verdict), f.hint) for f in found if f.verdict is not Verdict.OK}


def test_a_profile_that_fits_has_a_line_for_everything() -> None:
    found = judge(Slurm(partition="main", account="proj", qos="normal"), survey(trials={"gather": None}))
    assert is_fit(found)
    assert {f.item: (f.profile, f.cluster) for f in found} == {
        "programs": ("", "slurm-wlm 22.05.8"),
        "accounting": ("", "slurmdbd"),
        "partition main": ("main", "main up"),
        "longest job in main": ("", "no limit"),
        "largest job in main": ("", "16.0 GiB (2 of 2 nodes in use, 8 cores)"),
        "account proj": ("proj", "proj"),
        "QoS normal": ("", "no limit"),
        "array size": ("", "MaxArraySize 1001"),
        "jobs in the queue": ("2000", "MaxJobCount 10000"),
        "memory": ("per_node", "CR_CORE_MEMORY"),
        "memory limit": ("", "by sampling (OverMemoryKill)"),
        "MPI": ("srun --mpi=pmi2", "cray_shasta, none, pmi2, pmix, pmix_v4"),
        "preemption": ("", "by qos, REQUEUE"),
        "sbatch, gather": ("largest job", "would be taken"),
    }
    assert {f.verdict for f in found} == {Verdict.OK}


@pytest.mark.parametrize(
    ("profile", "cluster", "item", "verdict", "hint"),
    [
        ({"partition": "nope"}, {}, "partition nope", "wrong", "set slurm.partition to one that it has"),
        ({"partition": "old"}, {}, "partition old", "wrong", "it takes or starts no jobs"),
        ({}, {"partitions": []}, "partition (default)", "wrong", "no default partition: set slurm.partition"),
        ({"partition": "small", "max_minutes": 11}, {}, "longest job in small", "wrong", "slurm.max_minutes to 10"),
        ({"partition": "small", "account": "x"}, {}, "account in small", "wrong", "admits none but these"),
        ({"partition": "small", "qos": "fast"}, {}, "QoS in small", "wrong", "admits none but these"),
        ({"max_memory": "17GiB"}, {}, "largest job in main", "wrong", "set slurm.max_memory to 16.0 GiB or less"),
        ({}, {"nodes": nodes(state="down*")}, "largest job in main", "wrong", "'sinfo -R' tells why"),
        ({"account": "nope"}, {}, "account nope", "wrong", "anna may use proj: set slurm.account"),
        ({}, {"associations": []}, "account (default)", "wrong", "sacctmgr add user anna account=ACCOUNT"),
        ({"qos": "nope"}, {}, "QoS nope", "wrong", "sacctmgr show qos"),
        ({"qos": "s4c-lai"}, {}, "QoS s4c-lai", "wrong", "'s4c slurm qos' prints"),
        ({"qos": "long"}, {"qos": {"long": qos("long")}}, "QoS long", "wrong", "where name=anna set qos+=long"),
        ({"max_array": 1002}, {}, "array size", "wrong", "set slurm.max_array to 1001 or less"),
        ({"max_submitted": 10000}, {}, "jobs in the queue", "wrong", "lower slurm.max_submitted"),
        ({"max_submitted": 5001}, {}, "jobs in the queue", "warning", "lower slurm.max_submitted"),
        (
            {"max_array": 101},
            {"associations": [association(max_submit=100)]},
            "jobs of the user",
            "wrong",
            "slurm.max_array to 100 or less",
        ),
        ({"memory": "none"}, {}, "memory", "wrong", "a job that asks for none has 500.0 MiB a core"),
        (
            {"memory": "none"},
            {"limits": limits(DefMemPerCPU="UNLIMITED")},
            "memory",
            "warning",
            "has all memory of its node to itself",
        ),
        ({"partition": "old"}, {}, "memory", "warning", "memory is not given out by amount"),
        ({}, {"limits": limits(JobAcctGatherParams="(null)")}, "memory limit", "warning", "ConstrainRAMSpace"),
        ({"mpi": {"plugin": "pmix_v9"}}, {}, "MPI", "wrong", "set slurm.mpi.plugin"),
        ({"mpi": {"plugin": None}}, {"limits": limits(MpiDefault="none")}, "MPI", "warning", "set slurm.mpi.plugin"),
        ({}, {"limits": limits(PreemptMode="GANG,SUSPEND")}, "preemption", "warning", "may be suspended"),
        ({}, {"limits": limits(AccountingStorageType="(null)")}, "accounting", "warning", "neither QoS nor accounts"),
        ({}, {"accounting_trouble": "Connection refused"}, "accounting", "warning", "Connection refused"),
        (
            {"qos": "normal"},
            {"limits": limits(AccountingStorageEnforce="associations")},
            "QoS limits",
            "warning",
            "have no effect here",
        ),
        ({}, {"versions": {"sbatch": "slurm 22.05.8", "sacct": None}}, "programs", "warning", "sacct not found here"),
        ({}, {"versions": {"sbatch": "slurm 22.05.8", "sinfo": "slurm 23.02.1"}}, "programs", "warning", "versions"),
        (
            {},
            {"trials": {"gather": SubmitRefused("Invalid qos specification", hint="set slurm.qos")}},
            "sbatch, gather",
            "wrong",
            "Invalid qos specification; set slurm.qos",
        ),
    ],
)
def test_a_misfit_is_found(
    profile: dict[str, Any], cluster: dict[str, Any], item: str, verdict: str, hint: str
) -> None:
    found = troubles(profile, **cluster)
    assert item in found
    assert found[item][0] == verdict
    assert hint in found[item][1]


@pytest.mark.parametrize(
    ("rules", "hint"),
    [
        (
            {"max_tres_per_job": {"mem": 4 * GIB}},
            "a job of 8.0 GiB is refused (DenyOnLimit): MaxTRESPerJob has mem=4.0",
        ),
        ({"grp_tres": {"mem": 4 * GIB}, "flags": frozenset()}, "a job of 8.0 GiB waits for ever: GrpTRES has mem=4.0"),
        ({"max_wall_s": 3600}, "a job of 90 min is refused (DenyOnLimit): MaxWall is 60 min"),
        ({"max_submit_per_user": 99}, "an array of 100 is never taken: 99 jobs may be submitted"),
    ],
)
def test_a_qos_that_is_too_small_for_the_largest_job_is_wrong(rules: dict[str, Any], hint: str) -> None:
    profile = {"qos": "normal", "max_memory": "8GiB", "max_minutes": 90, "max_array": 100}
    verdict, said = troubles(profile, qos={"normal": qos("normal", **rules)})["QoS normal"]
    assert verdict == "wrong"
    assert hint in said


def test_a_class_of_jobs_is_held_against_its_own_qos() -> None:
    """The small QoS need not take the large jobs."""
    classes = [{"qos": "small", "max_memory": "2GiB"}, {"qos": "large", "max_memory": "12GiB"}]
    rows = {name: qos(name, max_tres_per_job={"mem": 4 * GIB}) for name in ("small", "large")}
    mine = [association("proj", "small", "large")]
    found = troubles({"max_memory": "12GiB", "stages": {"index": {"qos": classes}}}, qos=rows, associations=mine)
    assert set(found) == {"QoS large"}


def test_jobs_that_no_qos_takes_are_told_of() -> None:
    classes = [{"qos": "normal", "max_memory": "2GiB"}]
    found = troubles({"stages": {"index": {"qos": classes}}})
    assert found == {
        "QoS of index": ("warning", "no QoS for jobs between that and the largest node: add one without max_memory")
    }


def test_without_enforcement_an_unknown_account_is_no_more_than_a_warning() -> None:
    found = troubles({"account": "nope"}, limits=limits(AccountingStorageEnforce="none"))
    assert found["account nope"][0] == "warning"


def test_trials_ask_for_the_largest_job_of_every_class_once() -> None:
    site = Slurm.model_validate(
        {
            "qos": "normal",
            "max_memory": "8GiB",
            "max_minutes": 90,
            "max_array": 50,
            "stages": {
                "gather": {"partition": "small"},
                "index": {"qos": [{"qos": "a", "max_memory": "1GiB"}, {"qos": "b"}]},
            },
        }
    )
    scripts = trial_scripts(site, limits())
    assert list(scripts) == ["other stages in normal", "gather in normal", "index in a", "index in b"]
    wanted = {"--mem=1024M", "--time=90", "--array=0-49", "--qos=a"}
    assert wanted <= {line.removeprefix("#SBATCH ") for line in scripts["index in a"].splitlines()}
    assert "--mem=8192M" in scripts["index in b"]
    assert "--partition=small" in scripts["gather in normal"]


def test_partitions_and_plugins_are_read() -> None:
    text = (
        "PartitionName=night AllowAccounts=a,b AllowQos=ALL Default=NO MaxTime=1-12:30:00 State=UP "
        "SelectTypeParameters=CR_SOCKET_MEMORY\n\nNot a partition\n"
    )
    (night,) = parse_partitions(text)
    assert (night.name, night.is_default, night.max_minutes) == ("night", False, 36 * 60 + 30)
    assert (night.accounts, night.qos, night.shares_memory) == (frozenset({"a", "b"}), None, True)
    newer = (
        "MPI plugin types are...\n\tnone\n\tpmi2\n\tpmix\nspecific pmix plugin versions available: pmix_v3,pmix_v5\n"
    )
    assert parse_mpi_plugins(newer) == {"none", "pmi2", "pmix", "pmix_v3", "pmix_v5"}


class TestAnswerOfANode:
    """What a test job leaves in its folder, and what is made of it."""

    def judge(self, folder: Path, *, reason: str | None = None, **answer: Any) -> dict[str, Finding]:
        sound = {"host": "n1", "version": __version__, "python": "/p", "time": 1005.0, "refusal": None}
        if reason is None:
            (folder / ANSWER).write_text(json.dumps({**sound, **answer}))
            (folder / ANSWER).chmod(0o640)
        return {f.item: f for f in judge_answer(Slurm(), folder, 1000.0, 1010.0, reason)}

    def test_all_is_well(self, tmp_path: Path) -> None:
        assert {f.verdict for f in self.judge(tmp_path).values()} == {Verdict.OK}

    @pytest.mark.parametrize(
        ("answer", "item", "verdict", "words"),
        [
            ({"version": "0.0.1"}, "job on a node", "wrong", "install one version"),
            ({"refusal": "there is no program 'sbatch'"}, "sbatch on a node", "wrong", "nodes_may_submit to false"),
            ({"time": 990.0}, "clock of a node", "warning", "is time synchronised"),
            ({"time": 1060.0}, "clock of a node", "warning", "is time synchronised"),
        ],
    )
    def test_a_fault_is_told(self, tmp_path: Path, answer: dict[str, Any], item: str, verdict: str, words: str) -> None:
        found = self.judge(tmp_path, **answer)[item]
        assert str(found.verdict) == verdict
        assert words in found.hint

    def test_a_job_that_never_started_proves_nothing(self, tmp_path: Path) -> None:
        (found,) = self.judge(tmp_path, reason="after 300 s the job is pending (Priority)").values()
        assert found.verdict is Verdict.UNTRIED

    def test_python_that_does_not_start_is_told_with_its_words(self, tmp_path: Path) -> None:
        (tmp_path / "job.log").write_text("/sw/python: No module named s4c_hpc\n")
        (found,) = judge_answer(Slurm(), tmp_path, 0.0, 1.0, None)
        assert (found.verdict, found.cluster) == (Verdict.WRONG, "/sw/python: No module named s4c_hpc")

    def test_a_workspace_that_nodes_do_not_see_is_told(self, tmp_path: Path) -> None:
        (found,) = judge_answer(Slurm(), tmp_path, 0.0, 1.0, None)
        assert found.verdict is Verdict.WRONG
        assert "on a file system that nodes see" in found.hint


def test_the_sample_settings_are_complete() -> None:
    assert limits().settings == CONFIG
