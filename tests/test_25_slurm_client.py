"""How Slurm's programs are called, with programs on PATH that are not Slurm's: arguments, patience, odd answers."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from s4c_hpc.core.errors import ExitCode, S4cError
from s4c_hpc.slurm.client import SlurmClient
from s4c_hpc.slurm.errors import (
    SlurmFailed,
    SlurmMissing,
    SlurmUnreachable,
    SubmitInDoubt,
    SubmitLater,
    SubmitRefused,
    SubmitTooLarge,
    SubmitUnreachable,
)

FAKE = """#!{python} -IS
import json, os, sys, time
text = "" if sys.stdin is None else sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
with open({calls!r}, "a") as log:
    seen = {{k: v for k, v in os.environ.items() if k.startswith(("SLURM", "SBATCH", "SQUEUE", "OTHER"))}}
    print(json.dumps({{"args": [os.path.basename(sys.argv[0]), *sys.argv[1:]], "stdin": text, "env": seen}}), file=log)
sys.stderr.write({stderr!r})
sys.stderr.flush()
time.sleep({sleep_s})
sys.stdout.write({stdout!r})
sys.exit({code})
"""


class Fakes:
    """Programs that say what they are told to, and remember how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls_path = folder / "calls"
        self.calls_path.touch()

    def says(self, program: str, stdout: str = "", *, stderr: str = "", code: int = 0, sleep_s: float = 0) -> None:
        path = self.folder / program
        path.write_text(
            FAKE.format(
                python=os.path.realpath(sys.executable),
                calls=str(self.calls_path),
                stdout=stdout,
                stderr=stderr,
                code=code,
                sleep_s=sleep_s,
            )
        )
        path.chmod(0o755)

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.calls_path.read_text().splitlines()]

    def client(self, *, timeout_s: float = 30, **env: str) -> SlurmClient:
        return SlurmClient(timeout_s=timeout_s, env={"PATH": str(self.folder), **env})


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    return Fakes(tmp_path)


def fields(*values: str) -> str:
    return "\x1f".join(values)


def test_a_script_reaches_sbatch_byte_for_byte(fakes: Fakes) -> None:
    fakes.says("sbatch", "123;lab\n")
    script = "#!/bin/bash\n# é \udce9 $(id) 'quoted'\n"
    assert fakes.client().submit(script) == 123
    assert fakes.calls[0]["args"] == ["sbatch", "--parsable"]
    assert fakes.calls[0]["stdin"] == script


def test_variables_that_would_win_over_the_script_are_left_out(fakes: Fakes) -> None:
    fakes.says("sbatch", "1\n")
    fakes.client(
        SLURM_CONF="/etc/x", SBATCH_EXPORT="ALL", SLURM_MEM_PER_CPU="5", SQUEUE_FORMAT="%i", OTHER="kept"
    ).submit("#!/bin/bash\n")
    assert fakes.calls[0]["env"] == {"SLURM_CONF": "/etc/x", "OTHER": "kept"}


@pytest.mark.parametrize(
    ("stdout", "stderr", "code", "error", "exit_code"),
    [
        ("", "sbatch: error: Batch job submission failed: Invalid qos specification", 1, SubmitRefused, 7),
        ("", "sbatch: error: AssocMaxSubmitJobLimit", 1, SubmitLater, 75),
        ("", "sbatch: error: Unable to contact slurm controller (connect failure)", 1, SubmitUnreachable, 75),
        ("", "sbatch: error: QOSMaxMemoryPerJob", 1, SubmitTooLarge, 7),
        ("", "sbatch: error: Requested node configuration is not available", 1, SubmitTooLarge, 7),
        (
            "",
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
            1,
            SubmitInDoubt,
            75,
        ),
        ("all is well\n", "", 0, SubmitInDoubt, 75),
        ("12\n", "a plug-in crashed", 1, SubmitRefused, 7),
    ],
)
def test_a_failed_submission_says_what_a_caller_may_do(
    fakes: Fakes, stdout: str, stderr: str, code: int, error: type[S4cError], exit_code: int
) -> None:
    fakes.says("sbatch", stdout, stderr=stderr, code=code)
    with pytest.raises(error) as caught:
        fakes.client().submit("#!/bin/bash\n")
    assert caught.value.exit_code == exit_code
    assert (stderr or stdout.strip()) in str(caught.value)


def test_an_sbatch_that_hangs_leaves_doubt_and_repeats_what_it_said(fakes: Fakes) -> None:
    said = "Slurm temporarily unable to accept job, sleeping and retrying"
    fakes.says("sbatch", "12\n", stderr=said, sleep_s=60)
    began = time.monotonic()
    with pytest.raises(SubmitInDoubt, match=f"no answer within 2 s: {said}"):
        fakes.client(timeout_s=2).submit("#!/bin/bash\n")
    assert time.monotonic() - began < 20


def test_a_query_that_hangs_is_no_answer(fakes: Fakes) -> None:
    fakes.says("squeue", sleep_s=60)
    with pytest.raises(SlurmUnreachable, match="squeue gave no answer within 1 s"):
        fakes.client(timeout_s=1).queue()


ASKS: Sequence[Callable[[SlurmClient], object]] = (
    SlurmClient.queue,
    lambda client: client.accounting(["a"], 0.0),
    lambda client: client.cancel([1]),
    SlurmClient.limits,
    SlurmClient.nodes,
    SlurmClient.qos,
    SlurmClient.associations,
)


@pytest.mark.parametrize("ask", ASKS)
def test_every_query_tells_silence_from_an_empty_answer(fakes: Fakes, ask: Callable[[SlurmClient], object]) -> None:
    for program in ("squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr"):
        fakes.says(program, stderr="Unable to contact slurm controller (connect failure)", code=1)
    with pytest.raises(SlurmUnreachable, match="connect failure") as caught:
        ask(fakes.client())
    assert caught.value.exit_code is ExitCode.TEMPORARY


@pytest.mark.parametrize("ask", [*ASKS, lambda client: client.submit("#!/bin/bash\n")])
def test_a_machine_without_slurm_is_told_so(tmp_path: Path, ask: Callable[[SlurmClient], object]) -> None:
    with pytest.raises(SlurmMissing, match=r"there is no program.*--executor local") as caught:
        ask(SlurmClient(env={"PATH": str(tmp_path)}))
    assert caught.value.exit_code is ExitCode.SCHEDULER


def test_the_queue_is_asked_once_for_this_user_and_filtered_here(fakes: Fakes) -> None:
    lines = [
        fields("32", "24", "3", state, "None", "(null)", "q", "m", "p", "n1", "1", "1", name)
        for state, name in (("RUNNING", "s4c-a"), ("RUNNING", "mine"), ("FAILED", "s4c-a"))
    ]
    fakes.says("squeue", "".join(f"\x1e{line}\n" for line in lines))
    client = fakes.client(SQUEUE_STATES="PD")
    assert [row.name for row in client.queue()] == ["s4c-a", "mine"]
    assert [row.state for row in client.queue(names_start="s4c-")] == ["RUNNING"]
    assert [row.state for row in client.queue(names_start="s4c-", ended=True)] == ["RUNNING", "FAILED"]
    first, _, last = fakes.calls
    assert {"--noheader", "--array", f"--user={os.getuid()}"} < set(first["args"])
    assert "--states=all" in last["args"]
    assert first["env"] == {"SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}


def test_long_lists_of_names_are_asked_for_in_parts(fakes: Fakes) -> None:
    fakes.says("sacct", fields("32", "24_3", "COMPLETED", "0:0", "1", "2", "3", "1", "", "mem=1M", "n1", "a") + "\n")
    names = [f"s4c-gather-6f1c2a3b-6f1c-2a3b-6f1c-6f1c2a3b6f1c-w{number:04}" for number in range(1201)]
    rows = fakes.client().accounting(names, time.time() - 100)
    assert len(rows) == len(fakes.calls) == 3
    asked = [next(arg for arg in call["args"] if arg.startswith("--name=")) for call in fakes.calls]
    assert ",".join(text.removeprefix("--name=") for text in asked).split(",") == names
    assert max(map(len, asked)) < 2**17
    start = next(arg for arg in fakes.calls[0]["args"] if arg.startswith("--starttime="))
    assert start in {"--starttime=now-100seconds", "--starttime=now-101seconds"}


def test_no_names_no_question(fakes: Fakes) -> None:
    assert fakes.client().accounting([], 0.0) == []
    fakes.client().cancel()
    assert fakes.calls == []


def test_cancel_by_id_and_by_name(fakes: Fakes) -> None:
    fakes.says("scancel")
    fakes.client().cancel([7, 8], ["s4c-a", "s4c-b"])
    mine = f"--user={os.getuid()}"
    assert [call["args"] for call in fakes.calls] == [
        ["scancel", mine, "7", "8"],
        ["scancel", mine, "--name=s4c-a"],
        ["scancel", mine, "--name=s4c-b"],
    ]


ENDED = "scancel: error: Kill job error on job id 24: Invalid job id specified\n"
ENDING = "scancel: error: Kill job error on job id 25: Job/step already completing or completed\n"


@pytest.mark.parametrize("stderr", [ENDED, ENDING, ENDED + ENDING])
def test_cancelling_what_has_ended_is_no_error(fakes: Fakes, stderr: str) -> None:
    fakes.says("scancel", stderr=stderr, code=1)
    fakes.client().cancel([24])


@pytest.mark.parametrize("stderr", ["", ENDED + "scancel: error: Kill job error on job id 5: Access/permission denied"])
def test_what_could_not_be_cancelled_is_an_error(fakes: Fakes, stderr: str) -> None:
    fakes.says("scancel", stderr=stderr, code=1)
    with pytest.raises((SlurmFailed, SlurmUnreachable), match="scancel failed"):
        fakes.client().cancel([24, 5])


def test_a_site_may_keep_the_use_of_its_qos_to_itself(fakes: Fakes) -> None:
    fakes.says("sacctmgr", "normal|0||||||||||\n")
    fakes.says("scontrol", stderr="slurm_load_assoc_mgr_info error: Access/permission denied", code=1)
    [row] = fakes.client().qos()
    assert (row.name, row.use) == ("normal", None)


def test_accounts_that_are_switched_off_are_not_asked_again(fakes: Fakes) -> None:
    fakes.says("sacct", stderr="Slurm accounting storage is disabled", code=1)
    with pytest.raises(SlurmFailed, match="accounting storage is disabled"):
        fakes.client().accounting(["a"], 0.0)


def test_a_partition_is_one_argument_whatever_its_name(fakes: Fakes) -> None:
    fakes.says("sinfo", fields("n1", "main", "infinite", "4", "16000", "idle") + "\n")
    [node] = fakes.client().nodes("main; rm -rf $HOME")
    assert node.max_time_s is None
    assert "--partition=main; rm -rf $HOME" in fakes.calls[0]["args"]
