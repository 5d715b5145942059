"""What Slurm 22.05 says, literally, and what we read in it. Every odd line ever met becomes a case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.core.errors import ExitCode, S4cError
from s4c_hpc.slurm.answers import query_error, submit_error
from s4c_hpc.slurm.ending import Ending
from s4c_hpc.slurm.errors import (
    SlurmFailed,
    SlurmUnreachable,
    SubmitInDoubt,
    SubmitLater,
    SubmitRefused,
    SubmitTooLarge,
    SubmitUnreachable,
)
from s4c_hpc.slurm.parse import parse_accounting, parse_queue, parse_submitted
from s4c_hpc.slurm.parse_site import parse_associations, parse_limits, parse_nodes, parse_qos, parse_uses
from s4c_hpc.slurm.rows import AccountingRow, QueueRow
from s4c_hpc.slurm.units import duration_s, indices, size_bytes, tres

MIB = 1024**2


def queue(*lines: str) -> list[QueueRow]:
    """Lines with readable separators, as squeue gives them."""
    return parse_queue("".join("\x1e" + line.replace("|", "\x1f") + "\n" for line in lines))


def accounts(*lines: str) -> list[AccountingRow]:
    return parse_accounting("".join(line.replace("|", "\x1f") + "\n" for line in lines))


@pytest.mark.parametrize(
    ("stdout", "job_id"),
    [
        ("24\n", 24),
        ("123;cluster\n", 123),
        ("sbatch: warning: can't run 1 processes on 2 nodes, setting nnodes to 1\n123;alpha\n", 123),
        ("*** 12 hours left in project cap ***\n\n4711\n\n", 4711),
        ("4711\nThank you for computing with us.\n", 4711),
    ],
)
def test_the_job_id_is_found_among_messages(stdout: str, job_id: int) -> None:
    assert parse_submitted(stdout) == job_id


@pytest.mark.parametrize("stdout", ["", "\n", "Submitted batch job\n", "x123\n"])
def test_success_without_a_job_id_is_a_job_that_must_be_looked_for(stdout: str) -> None:
    with pytest.raises(SubmitInDoubt, match="success without a job id"):
        parse_submitted(stdout)


def test_a_running_element() -> None:
    assert queue("54|51|0|RUNNING|None|6f1c|qos_mdb1|main|proj|n1|1795376353|1795376354|s4c-a") == [
        QueueRow(
            name="s4c-a",
            index=0,
            state="RUNNING",
            reason="",
            job_id=54,
            array_id=51,
            comment="6f1c",
            qos="qos_mdb1",
            partition="main",
            account="proj",
            nodes="n1",
            submit=1795376353.0,
            start=1795376354.0,
        )
    ]


@pytest.mark.parametrize(
    "reason",
    [
        "Priority",
        "Resources",
        "BeginTime",
        "Dependency",
        "DependencyNeverSatisfied",
        "JobArrayTaskLimit",
        "JobHeldUser",
        "JobHeldAdmin",
        "QOSGrpMemLimit",
        "QOSGrpJobsLimit",
        "QOSMaxJobsPerUserLimit",
        "PartitionTimeLimit",
        "PartitionNodeLimit",
        "PartitionConfig",
        "ReqNodeNotAvail, UnavailableNodes:n[1-3]",
        "launch failed requeued held",
    ],
)
def test_a_waiting_element_says_why(reason: str) -> None:
    [row] = queue(f"27|27|1|PENDING|{reason}|(null)|qos|main|proj||1795375758|N/A|s4c-a")
    assert (row.state, row.reason, row.ending, row.start, row.comment) == ("PENDING", reason, None, None, "")


def test_collapsed_waiting_elements_are_a_row_each() -> None:
    rows = queue("49|49|2-5%2|PENDING|JobArrayTaskLimit|(null)|q|main|p||1795376353|N/A|s4c-a")
    assert [(row.job_id, row.index) for row in rows] == [(49, 2), (49, 3), (49, 4), (49, 5)]


def test_an_array_cancelled_before_it_began_is_one_row_without_index() -> None:
    [row] = queue("25|25|N/A|CANCELLED|JobHeldUser|(null)|normal|main|proj||1795375758|1795375766|s4c-a")
    assert (row.index, row.ending) == (None, Ending.CANCELLED)


def test_names_and_comments_of_other_jobs_may_hold_anything() -> None:
    rows = queue(
        "1|1|N/A|RUNNING|None|two\nlines; 'x' , %|q|main|p|n1|1|1|we;ird\tname\nin two lines",
        "2|2|N/A|RUNNING|None|(null)|q|main|p|n1|1|1|s4c-a",
    )
    assert [row.name for row in rows] == ["we;ird\tname\nin two lines", "s4c-a"]
    assert rows[0].comment == "two\nlines; 'x' , %"


def test_an_empty_queue_is_an_empty_queue() -> None:
    assert parse_queue("") == []


@pytest.mark.parametrize(
    "line", ["1|2|3", "x|1|N/A|RUNNING|None|c|q|m|p|n|1|1|a", "1|1|?|RUNNING|None|c|q|m|p|n|1|1|a"]
)
def test_a_broken_queue_is_not_an_empty_queue(line: str) -> None:
    with pytest.raises(SlurmFailed, match="squeue said something that cannot be read"):
        queue(line)


def test_a_job_its_script_and_its_step() -> None:
    job, batch, step = accounts(
        "32|24_3|FAILED|0:9|1795375758|1795375758|1795375759|1||billing=1,cpu=1,mem=50M,node=1|n1|s4c-a",
        "32.batch|24_3.batch|CANCELLED by 0|0:9|1795375758|1795375758|1795375759|1|154926K||n1|batch",
        "32.0|24_3.0|COMPLETED|0:0|1795375758|1795375758|1795375759|1|1.50M||n1|python",
    )
    assert job == AccountingRow(
        name="s4c-a",
        index=3,
        job_id_raw=32,
        step="",
        state="FAILED",
        state_by=None,
        exit_code=(0, 9),
        submit=1795375758.0,
        start=1795375758.0,
        end=1795375759.0,
        elapsed_s=1,
        max_rss_bytes=None,
        req_mem_bytes=50 * MIB,
        node_list="n1",
    )
    assert (batch.name, batch.index, batch.step, batch.is_step) == ("s4c-a", 3, "batch", True)
    assert (batch.state, batch.state_by, batch.max_rss_bytes) == ("CANCELLED", 0, 154926 * 1024)
    assert (step.name, step.step, step.max_rss_bytes) == ("s4c-a", "0", 3 * MIB // 2)


@pytest.mark.parametrize(
    ("line", "state", "by", "code", "ending"),
    [
        ("29|24_0|COMPLETED|0:0|1|2|3|0||cpu=1|n1|a", "COMPLETED", None, (0, 0), Ending.DONE),
        ("30|24_1|FAILED|3:0|1|2|3|0||cpu=1|n1|a", "FAILED", None, (3, 0), Ending.FAILED),
        ("31|24_2|FAILED|0:9|1|2|3|0||cpu=1|n1|a", "FAILED", None, (0, 9), Ending.FAILED),
        ("7|7|OUT_OF_MEMORY|0:125|1|2|3|9||cpu=1|n1|a", "OUT_OF_MEMORY", None, (0, 125), Ending.MEMORY),
        ("50|50|TIMEOUT|0:0|1|2|3|87||cpu=1|n1|a", "TIMEOUT", None, (0, 0), Ending.TIME),
        ("50|50|DEADLINE|0:0|1|2|3|87||cpu=1|n1|a", "DEADLINE", None, (0, 0), Ending.TIME),
        ("8|8|PREEMPTED|0:0|1|2|3|9||cpu=1|n1|a", "PREEMPTED", None, (0, 0), Ending.PREEMPTED),
        ("46|46|NODE_FAIL|0:0|1|2|3|35||cpu=1|n3|a", "NODE_FAIL", None, (0, 0), Ending.NODE_FAIL),
        ("9|9|BOOT_FAIL|0:0|1|2|3|35||cpu=1|n3|a", "BOOT_FAIL", None, (0, 0), Ending.NODE_FAIL),
        ("33|24_4|CANCELLED by 1000|0:0|1|2|3|8||cpu=1|n1|a", "CANCELLED", 1000, (0, 0), Ending.CANCELLED),
        ("33|24_4|CANCELLED||1|None|3|8||cpu=1|None assigned|a", "CANCELLED", None, (0, 0), Ending.CANCELLED),
        ("28|27_0|RUNNING|0:0|1|2|Unknown|11||cpu=1|n1|a", "RUNNING", None, (0, 0), None),
        ("60|60|PENDING|0:0|1|Unknown|Unknown|0||cpu=1|None assigned|allocation", "PENDING", None, (0, 0), None),
    ],
)
def test_states_and_codes(line: str, state: str, by: int | None, code: tuple[int, int], ending: Ending | None) -> None:
    [row] = accounts(line)
    assert (row.state, row.state_by, row.exit_code, row.ending) == (state, by, code, ending)
    assert row.max_rss_bytes is None


def test_a_node_that_failed_and_the_run_after_it_are_two_rows() -> None:
    rows = accounts(
        "45|45|NODE_FAIL|0:0|100|100|138|38||cpu=1,mem=50M|n3|s4c-a",
        "45.batch|45.batch|CANCELLED||100|100|138|38|||n3|batch",
        "45|45|COMPLETED|0:0|138|160|185|25||cpu=1,mem=50M|n1|s4c-a",
        "45.batch|45.batch|COMPLETED|0:0|160|160|185|25|363K||n1|batch",
    )
    assert [(row.state, row.step, row.submit) for row in rows if not row.is_step] == [
        ("NODE_FAIL", "", 100.0),
        ("COMPLETED", "", 138.0),
    ]


def test_a_job_id_given_out_twice_keeps_two_names() -> None:
    rows = accounts(
        "60|60|PENDING|0:0|50|Unknown|Unknown|0||cpu=1|None assigned|allocation",
        "60|60_3|COMPLETED|0:0|100|100|110|10||cpu=1|n1|si",
        "60.batch|60_3.batch|COMPLETED|0:0|100|100|110|10|363K||n1|batch",
    )
    assert [(row.job_id_raw, row.name, row.index) for row in rows] == [
        (60, "allocation", None),
        (60, "si", 3),
        (60, "si", 3),
    ]


@pytest.mark.parametrize(
    ("job_id", "found"), [("25_[0-3%2]", [0, 1, 2, 3]), ("25_[1,4-5]", [1, 4, 5]), ("25_7", [7]), ("25", [None])]
)
def test_collapsed_accounts_are_a_row_each(job_id: str, found: list[int | None]) -> None:
    rows = accounts(f"25|{job_id}|CANCELLED by 0|0:0|1|None|3|0||cpu=1|None assigned|s4c-a")
    assert [row.index for row in rows] == found
    assert {row.node_list for row in rows} == {""}


def test_broken_accounts_are_not_empty_accounts() -> None:
    with pytest.raises(SlurmFailed, match="sacct said something that cannot be read"):
        accounts("1|2|3")


CONFIG = """\
Configuration data as of 2026-11-22T19:40:00
AccountingStorageEnforce = associations,limits,qos
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = lab
DefMemPerCPU            = 500
KillWait                = 5 sec
MaxArraySize            = 20001
MaxJobCount             = 50000
MaxMemPerNode           = UNLIMITED
MinJobAge               = 300 sec
MpiDefault              = pmi2
PreemptMode             = REQUEUE
SchedulerParameters     = sched_interval=5,bf_interval=5
SLURM_VERSION           = 22.05.8

Slurmctld(primary) at vm is UP
"""


def test_limits_of_a_cluster() -> None:
    limits = parse_limits(CONFIG)
    assert (limits.version, limits.cluster, limits.max_array, limits.max_jobs) == ("22.05.8", "lab", 20001, 50000)
    assert (limits.kill_wait_s, limits.min_job_age_s, limits.has_accounting) == (5, 300, True)
    assert limits.enforced == {"associations", "limits", "qos"}
    assert (limits.def_mem_per_cpu_bytes, limits.max_mem_per_node_bytes) == (500 * MIB, None)
    assert limits.settings["SchedulerParameters"] == "sched_interval=5,bf_interval=5"


def test_a_cluster_without_accounts() -> None:
    text = CONFIG.replace("accounting_storage/slurmdbd", "(null)").replace("associations,limits,qos", "none")
    limits = parse_limits(text)
    assert (limits.has_accounting, limits.enforced) == (False, frozenset())


def test_limits_that_cannot_be_read_name_what_is_missing() -> None:
    with pytest.raises(SlurmFailed, match="MaxArraySize"):
        parse_limits(CONFIG.replace("MaxArraySize", "Max"))


NODES = """\
n1|main*|infinite|4|16000|mixed
n1|small|10:00|4|16000|mixed
n2|main*|1-12:00:00|4+|16000+|idle~
n3|main*|infinite|4|16000|down*
n4|main*|infinite|4|16000|drained
"""


def test_nodes() -> None:
    rows = parse_nodes(NODES.replace("|", "\x1f"))
    assert [(row.name, row.partition, row.is_default_partition, row.max_time_s, row.is_usable) for row in rows] == [
        ("n1", "main", True, None, True),
        ("n1", "small", False, 600, True),
        ("n2", "main", True, 129600, True),  # powered down, comes up for a job
        ("n3", "main", True, None, False),
        ("n4", "main", True, None, False),
    ]
    assert {(row.cpus, row.mem_bytes) for row in rows} == {(4, 16000 * MIB)}


USES = """\
Current Association Manager state

QOS Records

QOS=qos_lai(3)
    UsageRaw=0.000000
    GrpJobs=2(1) GrpJobsAccrue=N(3) GrpSubmitJobs=N(4) GrpWall=N(0.00)
    GrpTRES=cpu=N(4),mem=4000(2500),energy=N(0),node=N(1),billing=N(4),gres/gpu=N(0)
    GrpTRESMins=cpu=N(0),mem=N(0)
    Account Limits
      proj
        MaxJobsPA=N(0) MaxJobsAccruePA=N(3) MaxSubmitJobsPA=N(3)
    User Limits
      0
        MaxJobsPU=N(9) MaxJobsAccruePU=N(3) MaxSubmitJobsPU=N(3)
QOS=normal(1)
    UsageRaw=0.000000
    GrpJobs=N(0) GrpJobsAccrue=N(0) GrpSubmitJobs=N(0) GrpWall=N(0.00)
    GrpTRES=cpu=N(0),mem=N(0)
"""

QOS = """\
normal|0||||||||||
qos_s1snap|100||DenyOnLimit|mem=4000M|||cpu=4,mem=3000M|||3|
qos_lai|50|qos_mdb1,normal|DenyOnLimit,NoDecay||2|100||01:30:00|cpu=8,mem=1T||20000
"""


def test_qos_limits_and_their_use() -> None:
    normal, snap, lai = parse_qos(QOS, parse_uses(USES))
    assert (normal.grp_tres, normal.grp_jobs, normal.preempts, normal.flags) == ({}, None, (), frozenset())
    assert (snap.grp_tres, snap.max_tres_per_job) == ({"mem": 4000 * MIB}, {"cpu": 4, "mem": 3000 * MIB})
    assert (set(snap.flags), snap.max_jobs_per_user, snap.use) == ({"DenyOnLimit"}, 3, None)
    assert (lai.preempts, lai.grp_jobs, lai.grp_submit, lai.max_wall_s) == (("qos_mdb1", "normal"), 2, 100, 5400)
    assert (lai.max_tres_per_user, lai.max_submit_per_user) == ({"cpu": 8, "mem": 1024**4}, 20000)
    assert lai.use is not None
    assert (lai.use.jobs, lai.use.submitted, lai.use.tres["mem"], lai.use.tres["cpu"]) == (1, 4, 2500 * MIB, 4)
    assert all(row.use is None for row in parse_qos(QOS, None))


def test_associations() -> None:
    [row] = parse_associations("lab|proj||normal,qos_lai|normal||5|2-00:00:00\n")
    assert (row.account, row.partition, row.qos, row.default_qos) == ("proj", "", ("normal", "qos_lai"), "normal")
    assert (row.max_jobs, row.max_submit, row.max_wall_s) == (None, 5, 172800)


def test_site_answers_that_cannot_be_read() -> None:
    for read in (parse_nodes, parse_associations, lambda text: parse_qos(text, None)):
        with pytest.raises(SlurmFailed, match="cannot be read"):
            read("what?\n")


POLICY = (
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy "
    "(job submit limit, user's size and/or time limits)"
)
FAILED = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    ("stderr", "error", "hint"),
    [
        (FAILED + "Invalid qos specification", SubmitRefused, "set slurm.qos"),
        (FAILED + "Invalid account or account/partition combination specified", SubmitRefused, "set slurm.account"),
        (
            "sbatch: error: invalid partition specified: nope\n" + FAILED + "Invalid partition name specified",
            SubmitRefused,
            "set slurm.partition",
        ),
        (
            "sbatch: error: Memory specification can not be satisfied\n"
            + FAILED
            + "Requested node configuration is not available",
            SubmitTooLarge,
            "lower slurm.max_memory",
        ),
        ("sbatch: error: QOSMaxMemoryPerJob\n" + POLICY, SubmitTooLarge, "lower slurm.max_memory"),
        ("sbatch: error: QOSGrpMemLimit\n" + POLICY, SubmitTooLarge, "lower slurm.max_memory"),
        (
            FAILED + "Requested time limit is invalid (missing or exceeds some limit)",
            SubmitTooLarge,
            "slurm.max_minutes",
        ),
        ("sbatch: error: QOSMaxWallDurationPerJobLimit\n" + POLICY, SubmitTooLarge, "lower slurm.max_minutes"),
        (FAILED + "Invalid job array specification", SubmitRefused, "lower slurm.max_array"),
        (FAILED + "Invalid feature specification", SubmitRefused, "administrators"),
        (
            "sbatch: fatal: --mem, --mem-per-cpu, and --mem-per-gpu are mutually exclusive.",
            SubmitRefused,
            "set slurm.memory",
        ),
        ("sbatch: unrecognized option '--foo=1'", SubmitRefused, "directives_drop"),
        (POLICY, SubmitRefused, ""),
        ("", SubmitRefused, "administrators"),
        ("sbatch: error: AssocMaxSubmitJobLimit\n" + POLICY, SubmitLater, ""),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit\n" + POLICY, SubmitLater, ""),
        ("sbatch: error: AssocGrpSubmitJobsLimit\n" + POLICY, SubmitLater, ""),
        (
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n"
            + FAILED
            + "Resource temporarily unavailable",
            SubmitLater,
            "",
        ),
        (FAILED + "Required partition not available (inactive or drain)", SubmitLater, ""),
        (FAILED + "Required node not available (down, drained or reserved)", SubmitLater, ""),
        # Never connected, so nothing was sent.
        (FAILED + "Unable to contact slurm controller (connect failure)", SubmitUnreachable, ""),
        # Seen to have made a job all the same.
        (FAILED + "Socket timed out on send/recv operation", SubmitInDoubt, "looked for by its name"),
        (FAILED + "Zero Bytes were transmitted or received", SubmitInDoubt, "looked for by its name"),
        ("sbatch: error: plugin says hello\n" + FAILED + "Transport endpoint is not connected", SubmitInDoubt, ""),
    ],
)
def test_what_sbatch_says_when_it_fails(stderr: str, error: type[S4cError], hint: str) -> None:
    found = submit_error(stderr, 1)
    assert type(found) is error
    assert hint in (found.hint or "")
    assert all(line.strip() in str(found) for line in stderr.splitlines())


def test_a_killed_sbatch_may_have_made_a_job() -> None:
    assert type(submit_error("", -9)) is SubmitInDoubt


@pytest.mark.parametrize(
    ("program", "stderr", "error"),
    [
        ("squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)", SlurmUnreachable),
        ("squeue", "slurm_load_jobs error: Socket timed out on send/recv operation", SlurmUnreachable),
        (
            "sacct",
            "sacct: error: Sending PersistInit msg: Connection refused\nsacct: error: Problem talking to the database",
            SlurmUnreachable,
        ),
        ("sacct", "Slurm accounting storage is disabled", SlurmFailed),
        ("sacct", 'sacct: error: Invalid field requested: "Restarts"', SlurmFailed),
        ("squeue", "squeue: unrecognized option '--array'", SlurmFailed),
        ("squeue", "something new", SlurmUnreachable),
    ],
)
def test_what_the_others_say_when_they_fail(program: str, stderr: str, error: type[S4cError]) -> None:
    found = query_error(program, stderr, 1)
    assert type(found) is error
    assert stderr.splitlines()[0] in str(found)


def test_without_a_cluster_a_person_is_told_so_and_a_run_takes_it_for_an_outage() -> None:
    said = (
        "squeue: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\n"
        "squeue: error: fetch_config: DNS SRV lookup failed\n"
        "squeue: error: _establish_config_source: failed to fetch config\n"
        "squeue: fatal: Could not establish a configuration source\n"
    )
    found = query_error("squeue", said, 1)
    assert isinstance(found, SlurmUnreachable)
    assert found.exit_code is ExitCode.SCHEDULER
    assert str(found).startswith("squeue finds no Slurm cluster")
    assert "SLURM_CONF" in (found.hint or "")


def test_a_flood_of_messages_is_cut_at_its_beginning() -> None:
    text = str(submit_error("noise\n" * 1000 + FAILED + "Invalid qos specification", 1))
    assert len(text) < 900
    assert "Invalid qos specification" in text


@given(st.lists(st.integers(0, 10**5), min_size=1, max_size=9), st.none() | st.integers(1, 99))
def test_lists_of_indices(numbers: list[int], throttle: int | None) -> None:
    text = ",".join(map(str, numbers)) + ("" if throttle is None else f"%{throttle}")
    assert indices(text) == numbers


def test_ranges_of_indices() -> None:
    assert indices("0-3,7,10-20:5%2") == [0, 1, 2, 3, 7, 10, 15, 20]
    assert indices("1,3,5,...") == [1, 3, 5]  # cut off: the rest is not known
    with pytest.raises(ValueError, match="not a list of array indices"):
        indices("1,x")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10:00", 600), ("1-00:00:00", 86400), ("02:00:00", 7200), ("30", 30), ("infinite", None), ("n/a", None)],
)
def test_durations(text: str, seconds: int | None) -> None:
    assert duration_s(text) == seconds


@given(st.integers(0, 10**7))
def test_a_duration_is_read_as_it_is_written(seconds: int) -> None:
    clock = f"{seconds // 86400}-{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    assert duration_s(clock) == seconds


@pytest.mark.parametrize("text", ["x", "1:2:3:4", "-1", "1-"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        duration_s(text)


def test_sizes() -> None:
    assert [size_bytes(text) for text in ("154926K", "0", "1.50G", "3T", "", "4000Mc")] == [
        154926 * 1024,
        0,
        3 * 1024**3 // 2,
        3 * 1024**4,
        None,
        4000 * MIB,
    ]
    assert tres("billing=1,cpu=1,mem=50M,node=1,gres/gpu=2") == {
        "billing": 1,
        "cpu": 1,
        "mem": 50 * MIB,
        "node": 1,
        "gres/gpu": 2,
    }
    with pytest.raises(ValueError, match="not a size"):
        size_bytes("many")
