"""The batch script of a job: a pure function, so that a dry run shows what will be submitted."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from s4c_hpc.config.slurm import MemoryMode, Slurm
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.slurm.directives import added, directive, droppable, one_line
from s4c_hpc.slurm.jobs import JobSpec

_MIB = 1024**2

_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "GDAL_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
"""Libraries that would otherwise start a thread a core of the node, whatever the job was given."""


def log_pattern(folder: str | PurePath, name: str) -> str:
    """Path pattern of a log for ``JobSpec.output``.

    Parameters
    ----------
    folder : absolute; taken as it is, also where it holds a '%'
    name : file name in which Slurm fills in e.g. ``%4a`` (index, at least four digits) or ``%j`` (job id)

    Raises
    ------
    ConfigError
        If the folder is relative or holds a backslash: Slurm then fills in nothing at all (sbatch(1), "filename
        pattern"), and all elements of an array would share one log.
    """
    text = one_line(str(folder), "folder of job logs")
    if not text.startswith("/") or "\\" in text:
        raise ConfigError(
            "Slurm cannot write logs there" if text.startswith("/") else "the path must be absolute",
            where=text,
            hint="use a workspace without a backslash in its path",
        )
    return f"{text.replace('%', '%%').rstrip('/')}/{name}"


def batch_script(job: JobSpec, site: Slurm, *, python: str) -> str:
    """Text for the standard input of ``sbatch --parsable``.

    Parameters
    ----------
    job : what to run
    site : how this cluster wants to be asked, and how programs are started on it
    python : interpreter where the site names none

    Raises
    ------
    ConfigError
        If a value holds a line break, or a directive of the site is one of ours.
    """
    dropped = droppable(site.directives_drop)
    # A login shell makes modules and the paths of the site known where nothing comes from the submitting shell; where
    # everything does, it would put back paths that have been set there.
    lines = ["#!/bin/bash" if site.export == "ALL" else "#!/bin/bash -l"]
    lines += [directive(option, value) for option, value in _options(job, site) if option not in dropped]
    lines += added(site.directives_add)
    # Outputs are for the group of a project, not for everybody on the cluster.
    lines += ["", "umask 0027"]
    threads = job.cpus if job.ranks is None else 1
    lines += [f"export {name}={threads}" for name in _THREADS]
    # Otherwise glibc keeps a heap a thread, and memory grows beyond what was asked for.
    lines += ["export MALLOC_ARENA_MAX=2"]
    if job.ranks is not None:
        # The launcher hands --export of the job on to the ranks, which would lose these variables.
        lines += ["export SLURM_EXPORT_ENV=ALL"]
    lines += [one_line(line, "slurm.launch.setup") for line in site.launch.setup]
    lines += ["", _command(job, site, python), ""]
    return "\n".join(lines)


def _options(job: JobSpec, site: Slurm) -> Iterator[tuple[str, str | None]]:
    yield "--job-name", job.name
    yield "--comment", job.comment
    yield "--output", job.output
    yield "--open-mode", "append"
    yield "--chdir", job.workdir
    # Whether a chunk is run again is decided by the reason of its end, not by Slurm.
    yield "--requeue" if job.requeue else "--no-requeue", None
    yield "--export", site.export
    # Limits of a login node (seconds, address space) are not for jobs.
    yield "--propagate", "NONE"
    for option, name in (("--partition", job.partition), ("--account", job.account), ("--qos", job.qos)):
        if name is not None:
            yield option, name
    if job.n_elements is not None:
        throttle = "" if job.throttle is None else f"%{job.throttle}"
        yield "--array", f"0-{job.n_elements - 1}{throttle}"
    yield "--ntasks", str(job.ranks or 1)
    yield "--cpus-per-task", str(job.cpus if job.ranks is None else 1)
    yield from _memory(job, site.memory)
    yield "--time", str(_ceil(job.walltime_s, 60))
    if job.begin_s is not None:
        yield "--begin", f"now+{job.begin_s}"
    if job.singleton:
        yield "--dependency", "singleton"


def _memory(job: JobSpec, mode: MemoryMode) -> Iterator[tuple[str, str]]:
    if mode is MemoryMode.NONE:
        return
    if job.ranks is None and mode is MemoryMode.PER_NODE:
        yield "--mem", f"{_ceil(job.mem_bytes, _MIB)}M"
    else:
        # Ranks may be spread over nodes, and --mem would be asked for on each of them: a rank asks for its share.
        yield "--mem-per-cpu", f"{_ceil(job.mem_bytes, _MIB * (job.ranks or job.cpus))}M"


def _command(job: JobSpec, site: Slurm, python: str) -> str:
    words = [*_launcher(job, site), *site.launch.prefix, site.launch.python or python, *job.words]
    # exec: signals of Slurm reach the program and not a shell around it.
    command = "exec " + shell_words(words)
    return command if job.n_elements is None else f'{command} "$SLURM_ARRAY_TASK_ID"'


def _launcher(job: JobSpec, site: Slurm) -> list[str]:
    if job.ranks is None:
        return []
    if site.mpi.launcher == "mpiexec":
        return ["mpiexec", "-n", str(job.ranks), *site.mpi.options]
    words = ["srun"]
    if site.mpi.plugin is not None:
        words.append(f"--mpi={site.mpi.plugin}")
    # The cores are not inherited from sbatch (since Slurm 22.05).
    # A dead rank must end the others, which would wait for it until the time limit.
    words += [f"--ntasks={job.ranks}", "--cpus-per-task=1", "--kill-on-bad-exit=1"]
    return [*words, *site.mpi.options]


def shell_words(words: Sequence[str]) -> str:
    """Words as a shell reads them back.

    Raises
    ------
    ConfigError
        If one holds a line break.
    """
    return shlex.join([one_line(word, "command line of a job") for word in words])


def _ceil(value: int, unit: int) -> int:
    """At least 1: Slurm reads 0 as 'no limit'."""
    return max(1, -(-value // unit))
