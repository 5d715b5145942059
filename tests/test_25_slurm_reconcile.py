"""Situations and what is made of them, one line each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.slurm.ending import Ending
from s4c_hpc.slurm.parse import parse_accounting, parse_queue
from s4c_hpc.slurm.reconcile import CLOCK_SLACK_S, Element, Sight, by_element, look

SUBMITTED = 1000.0
NOW = 2000.0
ELEMENT = Element(name="s4c-a", index=3, submitted_at=SUBMITTED, job_id=24)
OOM_LOG = "slurmstepd-n1: error: StepId=32.batch exceeded memory limit (158644224 > 52428800), being killed"
OOM_LOG_CGROUP = "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.batch. Some of your processes may have"


def queued(state: str, reason: str = "None", *, name: str = "s4c-a", index: str = "3", submit: int = 1000) -> str:
    """A line of squeue, its fields that matter here chosen."""
    nodes = "" if state == "PENDING" else "n1"
    return f"32|24|{index}|{state}|{reason}|(null)|q|main|p|{nodes}|{submit}|{submit + 1}|{name}"


def accounted(state: str, code: str = "0:0", *, name: str = "s4c-a", element: str = "24_3", submit: int = 1000) -> str:
    """A line of sacct."""
    return f"32|{element}|{state}|{code}|{submit}|{submit + 1}|{submit + 9}|8||cpu=1,mem=50M|n1|{name}"


def step(state: str, code: str = "0:0", rss: str = "40M") -> str:
    """The line of sacct for the script of the job before it."""
    return f"32.batch|24_3.batch|{state}|{code}|1001|1001|1009|8|{rss}||n1|batch"


def judge(
    queue: Sequence[str] | None = (),
    accounts: Sequence[str] | None = (),
    *,
    log: str = "",
    silent_s: float | None = None,
    element: Element = ELEMENT,
    log_tail: Callable[[], str] | None = None,
) -> Sight:
    rows = None if queue is None else parse_queue("".join(f"\x1e{line}\n" for line in queue).replace("|", "\x1f"))
    lines = None if accounts is None else parse_accounting("".join(f"{a}\n" for a in accounts).replace("|", "\x1f"))
    return look(
        element,
        None if rows is None else by_element(rows),
        None if lines is None else by_element(lines),
        now=NOW,
        missing_since=None if silent_s is None else NOW - silent_s,
        forgotten_after_s=120.0,
        log_tail=log_tail or (lambda: log),
    )


@pytest.mark.parametrize(
    ("line", "state", "reason"),
    [
        (queued("PENDING"), "pending", ""),
        (queued("PENDING", "QOSGrpMemLimit"), "pending", "QOSGrpMemLimit"),
        (queued("PENDING", "JobHeldUser"), "pending", "JobHeldUser"),
        (queued("PENDING", "DependencyNeverSatisfied"), "pending", "DependencyNeverSatisfied"),
        (queued("PENDING", "launch failed requeued held"), "pending", "launch failed requeued held"),
        (queued("PENDING", "JobArrayTaskLimit", index="2-5%2"), "pending", "JobArrayTaskLimit"),
        (queued("CONFIGURING"), "running", "CONFIGURING"),
        (queued("RUNNING"), "running", ""),
        (queued("COMPLETING"), "running", "COMPLETING"),
        (queued("SUSPENDED"), "running", "SUSPENDED"),
        (queued("STAGE_OUT"), "running", "STAGE_OUT"),
        (queued("SIGNALING"), "running", "SIGNALING"),
        (queued("RESIZING"), "running", "RESIZING"),
        (queued("STOPPED"), "running", "STOPPED"),
        (queued("REQUEUED"), "pending", "REQUEUED"),
        (queued("REQUEUE_HOLD", "JobHeldUser"), "pending", "REQUEUE_HOLD JobHeldUser"),
        (queued("SPECIAL_EXIT"), "pending", "SPECIAL_EXIT"),
        (queued("A_STATE_OF_THE_FUTURE"), "running", "A_STATE_OF_THE_FUTURE"),
    ],
)
def test_what_is_in_the_queue_is_alive_whatever_the_accounts_say(line: str, state: str, reason: str) -> None:
    for accounts in (None, [], [accounted("NODE_FAIL")], [accounted("COMPLETED")]):
        sight = judge([line], accounts, silent_s=1e6)
        assert (sight.alive, sight.state, sight.reason, sight.ending) == (True, state, reason, None)


ENDS = [
    # sacct, log -> ending, reason
    ([accounted("COMPLETED")], "", Ending.DONE, "completed"),
    ([accounted("FAILED", "3:0")], OOM_LOG, Ending.FAILED, "exit code 3"),
    ([accounted("FAILED", "0:11")], "", Ending.FAILED, "killed by signal 11"),
    ([accounted("FAILED", "0:9")], "", Ending.FAILED, "killed by signal 9"),
    ([accounted("FAILED", "0:9")], OOM_LOG, Ending.MEMORY, "using more memory"),
    ([accounted("FAILED", "0:9")], OOM_LOG_CGROUP, Ending.MEMORY, "using more memory"),
    ([accounted("FAILED", "0:9")], "slurmstepd: error: Exceeded job memory limit", Ending.MEMORY, "using more memory"),
    ([accounted("FAILED", "9:0")], OOM_LOG, Ending.MEMORY, "using more memory"),
    ([accounted("FAILED", "137:0")], "Out Of Memory", Ending.MEMORY, "using more memory"),
    ([accounted("FAILED", "0:125")], "", Ending.MEMORY, "using more memory"),
    ([accounted("OUT_OF_MEMORY", "0:125"), step("OUT_OF_MEMORY", "0:125")], "", Ending.MEMORY, "using more memory"),
    ([accounted("FAILED", "1:0"), step("OUT_OF_MEMORY", "0:125")], "", Ending.MEMORY, "using more memory"),
    ([accounted("FAILED", "0:9"), step("CANCELLED by 0", "0:9", "154926K")], "", Ending.MEMORY, "using more memory"),
    ([accounted("FAILED", "0:9"), step("CANCELLED", "0:9", "")], "", Ending.FAILED, "killed by signal 9"),
    ([accounted("TIMEOUT"), step("CANCELLED", "0:15")], "", Ending.TIME, "time limit"),
    ([accounted("DEADLINE")], "", Ending.TIME, "deadline"),
    ([accounted("NODE_FAIL"), step("CANCELLED", "")], "", Ending.NODE_FAIL, "n1 failed"),
    ([accounted("BOOT_FAIL")], "", Ending.NODE_FAIL, "did not boot"),
    ([accounted("PREEMPTED")], "", Ending.PREEMPTED, "room for a job of higher rank"),
    ([accounted("CANCELLED by 1000"), step("CANCELLED", "0:15")], "", Ending.CANCELLED, "cancelled by user id 1000"),
    ([accounted("CANCELLED")], "", Ending.CANCELLED, "cancelled"),
    ([accounted("CANCELLED by 0", element="24_[2-5%2]")], "", Ending.CANCELLED, "cancelled by user id 0"),
    ([accounted("CANCELLED by 0", element="24")], "", Ending.CANCELLED, "cancelled by user id 0"),
    # Requeued after its node had failed: a line for each run, the newest counts.
    ([accounted("NODE_FAIL"), accounted("COMPLETED", submit=1400)], "", Ending.DONE, "completed"),
    ([accounted("COMPLETED", submit=1400), accounted("NODE_FAIL")], "", Ending.DONE, "completed"),
    # Slurm has given the id to somebody else since, and had given it to somebody else before.
    ([accounted("COMPLETED", name="s4c-b"), accounted("FAILED", "7:0")], "", Ending.FAILED, "exit code 7"),
]


@pytest.mark.parametrize(("accounts", "log", "ending", "reason"), ENDS)
def test_what_left_the_queue_ended_as_the_accounts_say(
    accounts: list[str], log: str, ending: Ending, reason: str
) -> None:
    sight = judge([], accounts, log=log)
    assert (sight.alive, sight.state, sight.ending) == (False, "ended", ending)
    assert reason in sight.reason
    assert sight.nodes == "n1"
    # A lost node may go on computing: seen, a script wrote its last line after Slurm had given it up.
    assert sight.may_live is (ending is Ending.NODE_FAIL)


@pytest.mark.parametrize(
    ("line", "log", "ending", "reason"),
    [
        (queued("COMPLETED"), "", Ending.DONE, "completed"),
        (queued("FAILED", "NonZeroExitCode"), "", Ending.FAILED, "failed (NonZeroExitCode)"),
        (queued("FAILED", "JobLaunchFailure"), OOM_LOG, Ending.MEMORY, "using more memory"),
        (queued("OUT_OF_MEMORY", "OutOfMemory"), "", Ending.MEMORY, "using more memory"),
        (queued("TIMEOUT", "TimeLimit"), "", Ending.TIME, "time limit"),
        (queued("NODE_FAIL", "NodeDown"), "", Ending.NODE_FAIL, "n1 failed (NodeDown)"),
        (queued("CANCELLED"), "", Ending.CANCELLED, "cancelled"),
        # squeue has one line for all elements that had not begun.
        (queued("CANCELLED", "JobHeldUser", index="N/A"), "", Ending.CANCELLED, "cancelled (JobHeldUser)"),
    ],
)
@pytest.mark.parametrize("accounts", [None, [], [accounted("RUNNING")]])
def test_squeue_remembers_ends_that_the_accounts_do_not_know(
    line: str, log: str, ending: Ending, reason: str, accounts: list[str] | None
) -> None:
    sight = judge([line], accounts, log=log)
    assert (sight.alive, sight.ending) == (False, ending)
    assert reason in sight.reason


def test_the_accounts_know_more_of_an_end_than_squeue_does() -> None:
    sight = judge([queued("FAILED", "NonZeroExitCode")], [accounted("FAILED", "75:0")])
    assert (sight.ending, sight.reason) == (Ending.FAILED, "exit code 75")


HALF = "32|24_3|FAILED|0:0|1000|1001|Unknown|7||cpu=1,mem=50M|n1|s4c-a"
"""For some seconds after the database has been away: the state is there, its end and exit code are not."""


def test_half_an_end_in_the_accounts_is_less_than_squeue_knows() -> None:
    sight = judge([queued("FAILED", "NonZeroExitCode")], [HALF])
    assert (sight.ending, sight.reason) == (Ending.FAILED, "failed (NonZeroExitCode)")
    sight = judge([], [HALF])
    assert (sight.ending, sight.reason) == (Ending.FAILED, "failed")
    assert judge([], [HALF], log=OOM_LOG).ending is Ending.MEMORY


def test_an_element_that_ran_does_not_share_the_fate_of_those_cancelled_before_they_began() -> None:
    lines = [queued("COMPLETED"), queued("CANCELLED", "JobArrayTaskLimit", index="N/A", submit=1000)]
    for order in (lines, lines[::-1]):
        assert judge(order, None).ending is Ending.DONE


@pytest.mark.parametrize("accounts", [None, [], [accounted("COMPLETED")], [accounted("PENDING")]])
def test_without_an_answer_of_squeue_everything_may_live(accounts: list[str] | None) -> None:
    sight = judge(None, accounts, silent_s=1e6)
    assert (sight.alive, sight.state, sight.reason) == (True, "unknown", "squeue gives no answer")


STALE = "60|60|PENDING|0:0|900|Unknown|Unknown|0||cpu=1|None assigned|allocation"
SILENT = {
    "no trace": [],
    "no accounts": None,
    "of another wave": [accounted("COMPLETED", name="s4c-b")],
    "of another element": [accounted("COMPLETED", element="24_4")],
    "of an earlier job of that name": [accounted("COMPLETED", submit=int(SUBMITTED - CLOCK_SLACK_S - 1))],
    "a line that stays so for ever, of a job whose id is ours now": [STALE],
}


@pytest.mark.parametrize("accounts", SILENT.values(), ids=SILENT)
@pytest.mark.parametrize("silent_s", [None, 0.0, 119.0])
def test_what_nobody_knows_is_alive_for_a_while(accounts: list[str] | None, silent_s: float | None) -> None:
    sight = judge([], accounts, silent_s=silent_s)
    assert (sight.alive, sight.state) == (True, "unknown")
    assert sight.reason == f"neither queued nor in the accounts for {silent_s or 0:.0f} s"


@pytest.mark.parametrize("accounts", SILENT.values(), ids=SILENT)
def test_what_nobody_knows_is_forgotten_and_its_script_may_run_on(accounts: list[str] | None) -> None:
    sight = judge([], accounts, silent_s=120.0)
    assert (sight.alive, sight.ending, sight.may_live) == (False, Ending.FORGOTTEN, True)


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "REQUEUED"])
def test_accounts_lag_or_keep_what_the_controller_forgot(state: str) -> None:
    assert judge([], [accounted(state)], silent_s=5.0).alive
    sight = judge([], [accounted(state)], silent_s=121.0)
    assert (sight.ending, sight.may_live) == (Ending.FORGOTTEN, True)
    assert f"not queued, though sacct says {state}" in sight.reason


def test_without_a_trace_an_unanswered_submission_never_was() -> None:
    element = Element(name="s4c-a", index=3, submitted_at=SUBMITTED, job_id=None)
    assert judge([], [], silent_s=119.0, element=element).alive
    sight = judge([], [], silent_s=120.0, element=element)
    assert (sight.alive, sight.ending, sight.may_live) == (False, Ending.NEVER_SUBMITTED, True)
    assert "sbatch gave no answer" in sight.reason


@pytest.mark.parametrize(
    ("queue", "accounts", "alive", "ending"),
    [
        ([queued("RUNNING")], [], True, None),
        ([], [accounted("COMPLETED")], False, Ending.DONE),
        ([], [accounted("RUNNING")], False, Ending.FORGOTTEN),
    ],
)
def test_an_unanswered_submission_is_found_by_its_name(
    queue: list[str], accounts: list[str], alive: bool, ending: Ending | None
) -> None:
    element = Element(name="s4c-a", index=3, submitted_at=SUBMITTED, job_id=None)
    sight = judge(queue, accounts, silent_s=1e6, element=element)
    assert (sight.alive, sight.ending) == (alive, ending)


def test_a_job_that_is_no_array() -> None:
    tick = Element(name="s4c-tick", index=None, submitted_at=SUBMITTED, job_id=5)
    assert judge([queued("RUNNING", name="s4c-tick", index="N/A")], element=tick).state == "running"
    ended = judge([], [accounted("COMPLETED", name="s4c-tick", element="5")], element=tick)
    assert ended.ending is Ending.DONE


def test_the_log_is_read_only_where_it_decides() -> None:
    def tail() -> str:
        raise AssertionError("the log was read")

    for line in (accounted("COMPLETED"), accounted("FAILED", "1:0"), accounted("TIMEOUT"), accounted("CANCELLED")):
        assert not judge([], [line], log_tail=tail).alive
    assert judge([queued("RUNNING")], log_tail=tail).alive


WORDS = [*[e.upper() for e in Ending], "PENDING", "RUNNING", "COMPLETED", "COMPLETING", "TIMEOUT", "OUT_OF_MEMORY", "?"]


@given(
    queue=st.none() | st.lists(st.builds(queued, st.sampled_from(WORDS)), max_size=2),
    accounts=st.none() | st.lists(st.builds(accounted, st.sampled_from(WORDS), st.sampled_from(["0:9", "1:0", ""]))),
    silent_s=st.none() | st.floats(0, 1e6),
    log=st.sampled_from(["", OOM_LOG]),
)
def test_a_sight_is_never_both_alive_and_ended(
    queue: list[str] | None, accounts: list[str] | None, silent_s: float | None, log: str
) -> None:
    sight = judge(queue, accounts, log=log, silent_s=silent_s)
    assert sight.alive is (sight.ending is None) is (sight.state != "ended")
    assert sight.alive or sight.reason
    assert not (sight.alive and sight.may_live)
