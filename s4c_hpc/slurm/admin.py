"""What an admin asks of Slurm beside running jobs: partitions, trials, QoS. Run by hand, never by a run."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from s4c_hpc.config.slurm import QosLimits
from s4c_hpc.core.errors import S4cError, SchedulerError
from s4c_hpc.slurm.answers import one_paragraph, submit_error
from s4c_hpc.slurm.client import SlurmClient
from s4c_hpc.slurm.errors import SlurmFailed, SlurmMissing, SlurmUnreachable
from s4c_hpc.slurm.parse import FIELD
from s4c_hpc.slurm.partitions import Partition, parse_mpi_plugins, parse_partitions
from s4c_hpc.slurm.qos import Grant, add_command, grant_commands, modify_command

PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr", "srun")
"""The first five are indispensable."""
NEEDED = frozenset(PROGRAMS[:5])


class AdminClient(SlurmClient):
    """``SlurmClient`` and the questions of ``s4c slurm check`` and ``s4c slurm qos``."""

    def versions(self) -> dict[str, str | None]:
        """What each program says of its version; ``None`` for those that are not here.

        Raises
        ------
        SlurmMissing
            If an indispensable one is not here.
        """
        found: dict[str, str | None] = {}
        for program in PROGRAMS:
            try:
                found[program] = self._ask(program, "--version").strip()
            except SlurmMissing:
                if program in NEEDED:
                    raise
                found[program] = None
        return found

    def partitions(self) -> list[Partition]:
        """Every partition that this user sees."""
        return parse_partitions(self._ask("scontrol", "--oneliner", "show", "partition"))

    def mpi_plugins(self) -> frozenset[str] | None:
        """What ``srun --mpi=`` takes; ``None`` where srun does not tell."""
        try:
            done = self._query("srun", "--mpi=list")
        except SlurmMissing:
            return None
        return parse_mpi_plugins(done.stdout + done.stderr) or None if done.returncode == 0 else None

    def trial(self, script: str) -> S4cError | None:
        """Why sbatch would not take a batch script; ``None`` if it would. No job is made.

        Raises
        ------
        SlurmUnreachable
            If there was no answer.
        """
        try:
            done = self._run(["sbatch", "--test-only"], text=script)
        except subprocess.TimeoutExpired as late:
            raise SlurmUnreachable(
                f"sbatch --test-only gave no answer within {self._timeout_s:g} s", hint="try again later"
            ) from late
        return None if done.returncode == 0 else submit_error(done.stderr, done.returncode)

    def waiting(self, qos: Iterable[str]) -> dict[str, dict[str, int]]:
        """Jobs of everybody in these QoS: pending by reason and, as ``running``, those that run; by QoS.

        Sites with ``PrivateData=jobs`` show this user's jobs only.
        """
        counts: dict[str, Counter[str]] = {name: Counter() for name in qos}
        text = self._ask(
            "squeue", "--noheader", "--array", "--states=PENDING,RUNNING", f"--format={FIELD.join(('%q', '%T', '%r'))}"
        )
        for line in text.splitlines():
            name, state, reason = line.split(FIELD)
            if name in counts:
                counts[name]["running" if state == "RUNNING" else reason] += 1
        return {name: dict(found) for name, found in counts.items()}

    def apply_qos(self, limits: Mapping[str, QosLimits], grant: Grant, existing: Iterable[str]) -> None:
        """Make the QoS that are missing, set the limits of all, and let users use them. May be done again.

        Raises
        ------
        SchedulerError
            If this user may not, a user has no association, or sacctmgr fails.
        """
        there = set(existing)
        commands = [add_command(name) for name in limits if name not in there]
        commands += [modify_command(name, own) for name, own in limits.items()]
        for command in (*commands, *grant_commands(limits, grant)):
            self._change(command)

    def _change(self, words: Sequence[str]) -> None:
        done = self._query(words[0], *words[1:])
        said = done.stderr + done.stdout
        if done.returncode == 0 or "Nothing new added" in said:
            return
        # sacctmgr says so in several wordings, and begins with what it would have done.
        if "permission denied" in said or "privilege" in said:
            raise SchedulerError(
                "only an operator of Slurm's accounting may change QoS",
                where=" ".join(words),
                hint="hand the commands to one: 's4c slurm qos > qos.sh'; or ask to be one: "
                "sacctmgr modify user where name=YOU set adminlevel=operator",
            )
        if "Nothing modified" in said:
            user = next((word.removeprefix("name=") for word in words if word.startswith("name=")), "?")
            raise SchedulerError(
                f"{user} has no association that matches",
                where=" ".join(words),
                hint=f"an operator makes one: sacctmgr add user {user} account=ACCOUNT; then give this command again",
            )
        raise SlurmFailed(
            f"sacctmgr failed: {one_paragraph(said)}",
            where=" ".join(words),
            hint="what was done before stays; mend the cause and give the command again",
        )
