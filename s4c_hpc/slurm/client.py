"""The only module that runs Slurm's programs. It asks once, waits a bounded time, and never tries again itself."""

from __future__ import annotations

import math
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Self

from s4c_hpc.config.slurm import Slurm
from s4c_hpc.slurm.answers import one_paragraph, only_ended, query_error, submit_error
from s4c_hpc.slurm.errors import SlurmFailed, SlurmMissing, SlurmUnreachable, SubmitInDoubt
from s4c_hpc.slurm.parse import (
    ACCOUNTING_FORMAT,
    FIELD,
    QUEUE_FORMAT,
    parse_accounting,
    parse_queue,
    parse_submitted,
)
from s4c_hpc.slurm.parse_site import (
    ASSOCIATION_FORMAT,
    NODE_FORMAT,
    QOS_FORMAT,
    parse_associations,
    parse_limits,
    parse_nodes,
    parse_qos,
    parse_uses,
)
from s4c_hpc.slurm.rows import AccountingRow, AssociationRow, ClusterLimits, NodeRow, QosRow, QueueRow

_BATCH = 500
"""Names or ids on a command line: 128 KiB is the most that Linux lets one argument have."""

_KEPT = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"})
_STEERING = ("SLURM_", "SBATCH_", "SRUN_", "SQUEUE_", "SACCT_", "SCANCEL_", "SINFO_", "SCONTROL_")


class SlurmClient:
    """Slurm's programs as functions."""

    def __init__(self, *, timeout_s: float = 60.0, env: Mapping[str, str] | None = None) -> None:
        """Fix how programs are run.

        Parameters
        ----------
        timeout_s : longest wait for one program
        env : environment instead of this process's. Variables that steer Slurm's programs are left out, apart from
            those that say where the cluster is: ``SBATCH_*`` would win over the batch script, and what a surrounding
            job has in ``SLURM_*`` does not hold for the jobs it submits.
        """
        self._timeout_s = timeout_s
        base = os.environ if env is None else env
        self._env = {key: text for key, text in base.items() if key in _KEPT or not key.startswith(_STEERING)}

    @classmethod
    def of(cls, site: Slurm) -> Self:
        """A client as patient as the site profile says."""
        return cls(timeout_s=site.command_timeout_s)

    def submit(self, script: str) -> int:
        """Hand a batch script to ``sbatch``.

        Returns
        -------
        id of the job, or of the array

        Raises
        ------
        SubmitRefused, SubmitLater
            If there is certainly no job.
        SubmitInDoubt
            If there may be one.
        SlurmMissing
            If there is no sbatch here.
        """
        try:
            done = self._run(["sbatch", "--parsable"], text=script)
        except subprocess.TimeoutExpired as late:
            raise SubmitInDoubt(
                f"sbatch gave no answer within {self._timeout_s:g} s: {_said(late)}",
                hint="the job is looked for by its name",
            ) from late
        if done.returncode != 0:
            raise submit_error(done.stderr, done.returncode)
        return parse_submitted(done.stdout)

    def queue(self, *, names_start: str | None = None, ended: bool = False) -> list[QueueRow]:
        """Jobs of this user, a row for each element of an array.

        Parameters
        ----------
        names_start : only jobs whose names start so
        ended : also those that ended not long ago (MinJobAge, five minutes by default): known at once, where the
            accounts lag behind or do not exist

        Raises
        ------
        SlurmUnreachable
            If there was no answer: that is not an empty queue.
        """
        states = ["--states=all"] if ended else []
        rows = parse_queue(
            self._ask("squeue", "--noheader", "--array", f"--user={os.getuid()}", *states, f"--format={QUEUE_FORMAT}")
        )
        return [
            row
            for row in rows
            if (names_start is None or row.name.startswith(names_start)) and (ended or row.ending is None)
        ]

    def accounting(self, names: Sequence[str], since: float) -> list[AccountingRow]:
        """What the accounts know of jobs with these names, every run of a requeued job, with its steps.

        Parameters
        ----------
        names : exact names of jobs
        since : seconds since 1970; only what was eligible or ran after that is found

        Raises
        ------
        SlurmUnreachable
            If there was no answer.
        SlurmFailed
            If the cluster keeps no accounts.
        """
        ago = max(1, math.ceil(time.time() - since))
        rows: list[AccountingRow] = []
        for start in range(0, len(names), _BATCH):
            rows += parse_accounting(
                self._ask(
                    "sacct",
                    "--duplicates",
                    "--parsable2",
                    "--noheader",
                    f"--delimiter={FIELD}",
                    f"--name={','.join(names[start : start + _BATCH])}",
                    # Relative, because a local time is ambiguous in the night when clocks are set back.
                    f"--starttime=now-{ago}seconds",
                    f"--format={ACCOUNTING_FORMAT}",
                )
            )
        return rows

    def cancel(self, job_ids: Sequence[int] = (), names: Sequence[str] = ()) -> None:
        """End jobs of this user; those that have ended already are no error.

        Parameters
        ----------
        job_ids : of single elements or whole arrays
        names : exact names; one scancel each, for it takes no list

        Raises
        ------
        SlurmUnreachable
            If the controller did not answer.
        """
        mine = f"--user={os.getuid()}"
        for start in range(0, len(job_ids), _BATCH):
            self._cancel(mine, *map(str, job_ids[start : start + _BATCH]))
        for name in names:
            self._cancel(mine, f"--name={name}")

    def limits(self) -> ClusterLimits:
        """Settings of the cluster."""
        return parse_limits(self._ask("scontrol", "show", "config"))

    def nodes(self, partition: str | None = None) -> list[NodeRow]:
        """Nodes of a partition, or of all that this user sees; then a node stands once for each of its partitions."""
        chosen = [] if partition is None else [f"--partition={partition}"]
        return parse_nodes(self._ask("sinfo", "--Node", "--noheader", "--exact", *chosen, f"--format={NODE_FORMAT}"))

    def qos(self) -> list[QosRow]:
        """Every QoS with its limits and, where the controller tells, its use.

        Raises
        ------
        SlurmUnreachable, SlurmFailed
            If the accounts do not answer, or there are none.
        """
        limits = self._ask("sacctmgr", "--noheader", "--parsable2", "show", "qos", f"format={QOS_FORMAT}")
        try:
            uses = parse_uses(self._ask("scontrol", "show", "assoc_mgr", "flags=qos"))
        except (SlurmFailed, SlurmUnreachable):
            # Some sites keep the use to themselves; the limits hold all the same.
            uses = None
        return parse_qos(limits, uses)

    def associations(self) -> list[AssociationRow]:
        """What this user may submit as, on all clusters of the accounting database."""
        return parse_associations(
            self._ask(
                "sacctmgr",
                "--noheader",
                "--parsable2",
                "show",
                "associations",
                f"user={pwd.getpwuid(os.getuid()).pw_name}",
                f"format={ASSOCIATION_FORMAT}",
            )
        )

    def _ask(self, program: str, *args: str) -> str:
        done = self._query(program, *args)
        if done.returncode != 0:
            raise query_error(program, done.stderr, done.returncode)
        return done.stdout

    def _cancel(self, *args: str) -> None:
        # Not --quiet: it hides why it failed, and fails all the same for what has ended in the meantime.
        done = self._query("scancel", *args)
        if done.returncode != 0 and not only_ended(done.stderr):
            raise query_error("scancel", done.stderr, done.returncode)

    def _query(self, program: str, *args: str) -> subprocess.CompletedProcess[str]:
        try:
            return self._run([program, *args], more={"SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"})
        except subprocess.TimeoutExpired as late:
            raise SlurmUnreachable(
                f"{program} gave no answer within {self._timeout_s:g} s: {_said(late)}",
                hint="a driver asks again by itself; slurm.command_timeout_s is the longest wait",
            ) from late

    def _run(
        self, words: list[str], *, text: str = "", more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        program = shutil.which(words[0], path=self._env.get("PATH", os.defpath))
        if program is None:
            raise SlurmMissing(
                f"there is no program {words[0]!r} here",
                hint="load Slurm's module or run on a login node of the cluster (Debian package: slurm-client), "
                "or work on this machine with --executor local",
            )
        return subprocess.run(
            [program, *words[1:]],
            input=text,
            env={**self._env, **(more or {})},
            timeout=self._timeout_s,
            capture_output=True,
            encoding="utf-8",
            # Paths of users may be in any encoding, and go through unharmed.
            errors="surrogateescape",
            check=False,
        )


def _said(late: subprocess.TimeoutExpired) -> str:
    text = late.stderr or b""
    return one_paragraph(text.decode(errors="replace") if isinstance(text, bytes) else text)
