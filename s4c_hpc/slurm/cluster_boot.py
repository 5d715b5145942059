"""What has to happen before a cluster's daemons can work together: programs, database, accounts."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from s4c_hpc.core.errors import ExternalToolError, SchedulerError
from s4c_hpc.slurm.daemons import tail

PATIENCE_S = 60.0
"""Longest wait for something that lives but does not answer; a second is usual."""
_SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")
"""Where daemons live; the PATH of ordinary users leaves these folders out."""
_PACKAGES = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "slurmdbd": "slurmdbd",
    "munged": "munge",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
}
"""The Debian package of each program; their dependencies bring the plugins."""


def locate(program: str) -> str | None:
    """Path of a program, or ``None``."""
    return shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", os.defpath), *_SBIN)))


def require_programs() -> None:
    """Make sure that Slurm, munge and MariaDB are installed.

    Raises
    ------
    ExternalToolError
        If one is missing; says the command that installs it.
    """
    missing = [program for program in _PACKAGES if locate(program) is None]
    if missing:
        packages = " ".join(dict.fromkeys(_PACKAGES[program] for program in missing))
        raise ExternalToolError(
            f"not installed: {', '.join(missing)}",
            hint=f"on Debian: sudo apt-get install --no-install-recommends {packages}",
        )


def make_database(root: Path, lock: int) -> None:
    """Make the empty database of a new cluster.

    Parameters
    ----------
    root : folder of the cluster
    lock : descriptor of the file that keeps other ``up`` and ``down`` away; they shall also wait for what is left of
        an installation whose ``up`` was killed, for it goes on writing for a moment
    """
    output = root / "log" / "mariadb-install-db.out"
    words = [
        locate("mariadb-install-db") or "mariadb-install-db",
        f"--defaults-file={root}/etc/my.cnf",
        "--auth-root-authentication-method=socket",
        f"--auth-root-socket-user={pwd.getpwuid(os.getuid()).pw_name}",
        "--skip-test-db",
    ]
    with output.open("wb") as stream:
        code = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, pass_fds=(lock,), check=False
        ).returncode
    if code:
        raise SchedulerError("mariadb-install-db failed", where=str(output), hint=f"it said last:\n{tail(output)}")


def make_accounts(paragraph: str, env: Mapping[str, str]) -> None:
    """Run the lines of one paragraph of ``etc/accounts`` with sacctmgr, at the same time."""
    commands = [line.split() for line in paragraph.splitlines() if not line.startswith("#")]
    with ThreadPoolExecutor(len(commands)) as pool:
        list(pool.map(lambda words: run_slurm(["sacctmgr", "-i", *words], env), commands))


def run_slurm(words: list[str], env: Mapping[str, str]) -> str:
    """Run a command of Slurm; its standard output.

    Raises
    ------
    SchedulerError
        If it fails or does not come back.
    """
    command = " ".join(words)
    try:
        done = subprocess.run(
            [locate(words[0]) or words[0], *words[1:]],
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SchedulerError(f"'{command}' gave no answer in {PATIENCE_S:.0f} s", where=env["SLURM_CONF"]) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise SchedulerError(f"'{command}' failed: {said}", where=env["SLURM_CONF"])
    return done.stdout
