"""Daemons that outlive the command that starts them, and are told from strangers when they are ended.

A process number alone is no identity: it may belong to something else by the time it is read back. A *process file*
(``run/NAME.process``) therefore holds the kernel's own line about the process, start time included, and the boot it
belongs to. It is not called ``.pid``: ``kill $(cat ...)`` of such a line would signal every process of the machine.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from s4c_hpc.core.errors import SchedulerError

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LAUNCH = 'cat "/proc/$$/stat" "$1" >"$2.new" && mv "$2.new" "$2" && shift 2 && exec "$@"'
"""The process describes itself and then becomes the daemon: however the caller ends, a daemon has its process file."""
_TAIL_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """One long-running program of a cluster."""

    name: str
    command: tuple[str, ...]
    """Program and arguments, for running in the foreground."""
    env: Mapping[str, str]
    """All of its environment: nothing of the caller's may reach jobs."""
    root: Path
    """Folder of the cluster; pid files are in ``run``, what the daemon prints in ``log``."""

    @property
    def process_file(self) -> Path:
        """Who runs as this daemon."""
        return self.root / "run" / f"{self.name}.process"

    @property
    def output(self) -> Path:
        """What the daemon prints."""
        return self.root / "log" / f"{self.name}.out"

    def pid(self) -> int | None:
        """Number of the running process, or ``None``."""
        return alive(self.process_file)

    def start(self) -> None:
        """Start it unless it runs; returns when its process file is there.

        The process is in a session of its own, without terminal, input or the caller's output: slurmctld and munged
        would otherwise hold the reader of a pipe (``s4c slurm cluster up | tee log``) until the cluster is down.
        """
        if self.pid() is not None:
            return
        self.process_file.unlink(missing_ok=True)
        words = ["setsid", "--fork", "sh", "-c", _LAUNCH, "sh", str(_BOOT_ID), str(self.process_file), *self.command]
        with self.output.open("wb") as output:
            subprocess.run(
                words,
                cwd=self.root,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                umask=0o022,  # what it makes is for the users of the cluster; private folders are private as such
                check=True,
            )
        deadline = time.monotonic() + 10
        while not self.process_file.exists():
            if time.monotonic() > deadline:
                raise self.failure("did not start")
            time.sleep(0.005)

    def stop(self, how: signal.Signals = signal.SIGTERM, *, patience_s: float = 20.0) -> None:
        """End it and wait; what does not heed the signal within ``patience_s`` seconds is killed."""
        end(processes([self.pid()]), how, patience_s=patience_s)
        self.process_file.unlink(missing_ok=True)

    def failure(self, what: str) -> SchedulerError:
        """The error that tells of this daemon, with the end of its log."""
        return SchedulerError(f"{self.name} {what}", where=str(self.output), hint=f"it said last:\n{tail(self.output)}")


def tail(log: Path) -> str:
    """The last lines of a log, for a message."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    return "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:]) or "  (nothing)"


def alive(process_file: Path) -> int | None:
    """The process of a process file if it is still that very process, else ``None``; a zombie is dead."""
    try:
        *stat, boot = process_file.read_text(encoding="utf-8").splitlines()
        pid, started, _ = _identity("\n".join(stat))
        number, now_started, state = _identity(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8"))
        same_boot = boot == _BOOT_ID.read_text(encoding="utf-8").strip()
    except (OSError, ValueError, IndexError):
        return None
    return pid if same_boot and (number, now_started) == (pid, started) and state not in {"Z", "X"} else None


def _identity(stat: str) -> tuple[int, int, str]:
    """Number, start (clock ticks since boot) and state of a process, of ``/proc/PID/stat`` (man 5 proc)."""
    head, _, tail = stat.rpartition(")")
    fields = tail.split()
    return int(head.split()[0]), int(fields[19]), fields[0]


def processes(pids: Iterable[int | None]) -> list[psutil.Process]:
    """The processes of these numbers, without those that have just ended and those that are none."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            if pid is not None:
                found.append(psutil.Process(pid))
    return found


def end(processes: Iterable[psutil.Process], how: signal.Signals = signal.SIGTERM, *, patience_s: float = 20.0) -> None:
    """Signal processes, wait, and kill those that are left after ``patience_s`` seconds."""
    left = list(processes)
    for signum, wait_s in ((how, patience_s), (signal.SIGKILL, 10.0)):
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signum)
        left = _wait(left, wait_s)
    if left:
        raise SchedulerError(
            f"processes do not end: {', '.join(str(p.pid) for p in left)}",
            hint="they hang in the kernel, perhaps on a network file system; look at 'dmesg'",
        )


def _wait(processes: list[psutil.Process], patience_s: float) -> list[psutil.Process]:
    """Those that still live after at most ``patience_s`` seconds; zombies are dead."""
    deadline = time.monotonic() + patience_s
    while (left := [p for p in processes if lives(p)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def lives(process: psutil.Process) -> bool:
    """Whether a process runs; one that has ended and waits for its parent's notice does not."""
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
