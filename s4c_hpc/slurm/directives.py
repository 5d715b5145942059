"""``#SBATCH`` lines: how sbatch reads them, which of them are ours, which a site may add or drop."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from s4c_hpc.core.errors import ConfigError, listing

_LINE_BREAKS = frozenset("\n\r\0")

OWNED = {
    "--array": "slurm.throttle, slurm.max_array",
    "--job-name": None,
    "--output": None,
    "--error": None,
    "--open-mode": None,
    "--comment": None,
    "--chdir": None,
    "--dependency": None,
    "--begin": None,
    "--requeue": None,
    "--no-requeue": None,
    "--wait": None,
    "--wrap": None,
    "--parsable": None,
    "--test-only": None,
    "--export": "slurm.export",
    "--propagate": None,
    "--ntasks": None,
    "--cpus-per-task": None,
    "--mem": "slurm.memory",
    "--mem-per-cpu": "slurm.memory",
    "--time": "slurm.max_minutes",
    "--qos": "slurm.qos",
    "--partition": "slurm.partition",
    "--account": "slurm.account",
}
"""Options that s4c-hpc sets itself, and the configuration key that steers each."""

_SHORT = {
    "-a": "--array",
    "-J": "--job-name",
    "-o": "--output",
    "-e": "--error",
    "-D": "--chdir",
    "-d": "--dependency",
    "-b": "--begin",
    "-W": "--wait",
    "-n": "--ntasks",
    "-c": "--cpus-per-task",
    "-t": "--time",
    "-q": "--qos",
    "-p": "--partition",
    "-A": "--account",
}

_KEPT = frozenset({"--array", "--job-name", "--output", "--export", "--ntasks", "--dependency", "--begin"})
"""Without these a job would not be found again, run something else, or run too often."""


def one_line(text: str, where: str) -> str:
    """``text``, unless a line break in it would start a directive or command of its own.

    Raises
    ------
    ConfigError
        If it holds a line feed, a carriage return or a NUL.
    """
    if _LINE_BREAKS & set(text):
        raise ConfigError(
            f"a line break cannot stand in a batch script: {text!r}",
            where=where,
            hint="use a name or a path without line breaks",
        )
    return text


def directive(option: str, value: str | None = None) -> str:
    """One ``#SBATCH`` line, its value quoted as sbatch reads it.

    sbatch is no shell: ``#`` starts a comment, both kinds of quotes quote, and a backslash escapes the next character
    also between single quotes (``_get_argument`` in ``src/sbatch/opt.c`` of Slurm; seen with 22.05). So a value that
    is not plain stands between double quotes, with its backslashes and double quotes escaped.

    Raises
    ------
    ConfigError
        If the value holds a line break.
    """
    if value is None:
        return f"#SBATCH {option}"
    text = one_line(value, f"sbatch {option}")
    if not re.fullmatch(r"[A-Za-z0-9_.,:/=+@%^-]+", text):
        text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"#SBATCH {option}={text}"


def added(lines: Iterable[str]) -> list[str]:
    """``#SBATCH`` lines of a site, none of which sets what s4c-hpc sets itself.

    Parameters
    ----------
    lines : options as sbatch reads them in a script, e.g. ``--constraint=skylake``

    Raises
    ------
    ConfigError
        If one is no option, or one of ours.
    """
    directives = []
    for line in lines:
        where = "slurm.directives_add"
        try:
            words = shlex.split(one_line(line, where))
        except ValueError as error:
            raise ConfigError(f"{line!r} has a quotation mark without its twin", where=where) from error
        if not words or not words[0].startswith("-"):
            raise ConfigError(
                f"{line!r} is not an sbatch option", where=where, hint="write it like '--constraint=skylake'"
            )
        for word in words:
            _refuse_owned(word, where)
        directives.append(f"#SBATCH {line}")
    return directives


def _refuse_owned(word: str, where: str) -> None:
    option = word.partition("=")[0] if word.startswith("--") else _SHORT.get(word[:2], "")
    # sbatch takes any unambiguous beginning of a long option.
    owner = next((o for o in OWNED if len(option) > 2 and o.startswith(option)), None)
    if owner is not None:
        key = OWNED[owner]
        hint = "it cannot be changed" if key is None else f"set {key} instead"
        raise ConfigError(f"s4c-hpc sets {owner} itself, so {word!r} cannot be added", where=where, hint=hint)


def droppable(options: Iterable[str]) -> frozenset[str]:
    """Names of our options that a site wants left out.

    Raises
    ------
    ConfigError
        If one is not ours, or one that a job cannot do without.
    """
    dropped = set()
    for option in options:
        long = _SHORT.get(option, option)
        free = sorted(OWNED.keys() - _KEPT)
        if long in _KEPT:
            raise ConfigError(
                f"{option!r} cannot be left out",
                where="slurm.directives_drop",
                hint="without it jobs cannot be found again or would run something else",
            )
        if long not in OWNED:
            raise ConfigError(
                f"{option!r} is not an option that s4c-hpc writes",
                where="slurm.directives_drop",
                hint=f"it can leave out {listing(free, limit=20)}",
            )
        dropped.add(long)
    return frozenset(dropped)
