"""A job of a minute on a node, for ``s4c slurm check --deep``: what only a node can tell."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from s4c_hpc import __version__
from s4c_hpc.config.slurm import Slurm
from s4c_hpc.core.errors import S4cError
from s4c_hpc.slurm.admin import AdminClient
from s4c_hpc.slurm.answers import one_paragraph
from s4c_hpc.slurm.finding import Finding, Verdict, finding
from s4c_hpc.slurm.jobs import JobSpec
from s4c_hpc.slurm.node_check import ANSWER, TRIAL
from s4c_hpc.slurm.queues import OTHERS, qos_of, queue_of
from s4c_hpc.slurm.script import batch_script, log_pattern
from s4c_hpc.slurm.survey import trial_job

PATIENCE_S = 300.0
"""Longest wait for the job to start and answer."""
_GRACE_S = 10.0
"""Files of a node may show late on network file systems."""
_SKEW_S = 2.0
"""Clocks that are further apart put the lines of journals into a wrong order for people who read them."""
_POLL_S = 0.5
_MEMORY = 512 * 1024**2


def check_on_node(
    client: AdminClient,
    site: Slurm,
    workspace: Path,
    *,
    patience_s: float = PATIENCE_S,
    on_wait: Callable[[str], None] = lambda _: None,
) -> list[Finding]:
    """Submit a job for the queue of stages that the profile does not name, and judge what it finds on its node.

    Parameters
    ----------
    workspace : folder that the job writes its answer to; nothing stays in it
    patience_s : seconds to wait; then the job is cancelled
    on_wait : called with Slurm's reason while the job waits

    Raises
    ------
    SubmitRefused, SubmitLater, SubmitInDoubt
        If sbatch does not take it.
    """
    with _folder(workspace) as folder:
        name = f"s4c-check-{secrets.token_hex(6)}"
        queue = queue_of(site, OTHERS)
        qos = next(iter(qos_of(queue)), None)
        trial = trial_job(site, queue, qos, None, None)
        (folder / TRIAL).write_text(batch_script(trial, site, python=sys.executable), encoding="utf-8")
        job = JobSpec(
            name=name,
            comment="s4c slurm check --deep",
            words=("-m", "s4c_hpc.slurm.node_check", str(folder)),
            output=log_pattern(folder, "job.log"),
            workdir=str(folder),
            cpus=1,
            mem_bytes=_MEMORY,
            walltime_s=60,
            qos=qos,
            partition=queue.partition,
            account=queue.account,
        )
        asked = time.time()
        client.submit(batch_script(job, site, python=sys.executable))
        try:
            reason = _await(client, name, folder, patience_s, on_wait)
        finally:
            with contextlib.suppress(S4cError):  # it has ended, or ends by its time limit of a minute
                client.cancel(names=[name])
        return judge_answer(site, folder, asked, time.time(), reason)


@contextlib.contextmanager
def _folder(workspace: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=".s4c-check-", dir=workspace))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await(
    client: AdminClient, name: str, folder: Path, patience_s: float, on_wait: Callable[[str], None]
) -> str | None:
    """Why there is no answer; ``None``: there is one, or the job has ended without."""
    deadline = time.monotonic() + patience_s
    gone_since: float | None = None
    told = ""
    while not (folder / ANSWER).exists():
        rows = client.queue(names_start=name)
        now = time.monotonic()
        if not rows:
            gone_since = now if gone_since is None else gone_since
            if now - gone_since > _GRACE_S:
                return None
        elif now > deadline:
            return (
                f"after {patience_s:.0f} s the job is {rows[0].state.lower()} ({rows[0].reason or 'no reason given'})"
            )
        elif rows[0].state == "PENDING" and rows[0].reason not in {told, "", "None"}:
            told = rows[0].reason
            on_wait(told)
        time.sleep(_POLL_S)
        os.scandir(folder).close()  # makes network file systems look at the folder anew
    return None


def judge_answer(site: Slurm, folder: Path, asked: float, now: float, reason: str | None) -> list[Finding]:
    """Findings from what the job has left in ``folder``.

    Parameters
    ----------
    asked, now : when the job was submitted and its answer was seen, seconds since 1970 of the clock here
    reason : why there is no answer yet
    """
    launch = " ".join([*site.launch.prefix, site.launch.python or sys.executable])
    if reason is not None:
        hint = "give the command again when the cluster is less busy, or name a QoS that starts sooner"
        return [Finding(item="job on a node", profile=launch, cluster=reason, verdict=Verdict.UNTRIED, hint=hint)]
    if not (folder / ANSWER).exists():
        log = folder / "job.log"
        if not log.exists():
            hint = f"the workspace must be on a file system that nodes see under the same name: {folder.parent}"
            return [finding("job on a node", launch, "left neither log nor answer", wrong=hint)]
        said = one_paragraph(log.read_text(encoding="utf-8", errors="replace"), limit=300)
        hint = "see slurm.launch: python, setup and prefix must start this version of s4c-hpc on a node"
        return [finding("job on a node", launch, said, wrong=hint)]
    answer: dict[str, Any] = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
    return [
        _version(launch, answer),
        finding("workspace on a node", str(folder.parent), "seen and written"),
        _mode(folder / ANSWER),
        _submission(site, answer["refusal"]),
        _clock(answer["time"], asked, now),
    ]


def _version(launch: str, answer: dict[str, Any]) -> Finding:
    hint = ""
    if answer["version"] != __version__:
        hint = f"here it is {__version__}: install one version for the login node and the nodes"
    return finding("job on a node", launch, f"s4c-hpc {answer['version']} on {answer['host']}", wrong=hint)


def _mode(path: Path) -> Finding:
    mode = path.stat().st_mode & 0o777
    hint = "the umask of jobs is not kept: look for access lists on the folder and for setup lines that change it"
    return finding("files of jobs", "not for others", f"mode {mode:04o}", warning=hint if mode & 0o007 else "")


def _submission(site: Slurm, refusal: str | None) -> Finding:
    wrong = ""
    if refusal is not None and site.nodes_may_submit:
        wrong = "set slurm.nodes_may_submit to false; then --detach and pools cannot be used"
    return finding(
        "sbatch on a node",
        "nodes may submit" if site.nodes_may_submit else "nodes may not submit",
        "would take a job" if refusal is None else refusal,
        wrong=wrong,
    )


def _clock(node: float, asked: float, now: float) -> Finding:
    skew = asked - node if node < asked else max(0.0, node - now)
    hint = "clocks of node and login node differ: is time synchronised (chrony, ntpd)?" if skew > _SKEW_S else ""
    return finding("clock of a node", "", f"{skew:.1f} s off" if hint else "same", warning=hint)
