"""Numbers in Slurm's spellings: sizes, durations, times, lists of indices."""

from __future__ import annotations

import re

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4, "P": 1024**5}
_NOTHING = frozenset({"", "N/A", "n/a", "N", "NONE", "None", "Unknown", "UNLIMITED", "infinite", "(null)", "INVALID"})


def integer(text: str) -> int | None:
    """A count, None for the many spellings of 'no limit' and 'not yet'."""
    return None if text in _NOTHING else int(text.removesuffix("+"))


def epoch(text: str) -> float | None:
    """A time printed with ``SLURM_TIME_FORMAT=%s``, in seconds since 1970."""
    value = integer(text)
    return None if value is None else float(value)


def size_bytes(text: str, *, unit: str = "") -> int | None:
    """A size such as ``154926K``, ``1.50G`` or, with the unit that a field is counted in, ``4000``."""
    if text in _NOTHING:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTP]?)[nc]?\+?", text)
    if match is None:
        raise ValueError(f"{text!r} is not a size")
    return round(float(match[1]) * _UNITS[match[2] or unit])


def duration_s(text: str) -> int | None:
    """``days-hours:minutes:seconds`` with any of the leading parts left out; None for no limit."""
    if text in _NOTHING:
        return None
    match = re.fullmatch(r"(?:(?P<days>\d+)-)?(?P<clock>\d+(?::\d+){0,2})", text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration")
    parts = [int(part) for part in match["clock"].split(":")]
    hours, minutes, seconds = [0] * (3 - len(parts)) + parts
    return ((int(match["days"] or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def tres(text: str) -> dict[str, int]:
    """``cpu=4,mem=3000M,gres/gpu=1`` as counts; memory, which Slurm counts in MiB, in bytes."""
    found = {}
    for item in filter(None, text.split(",")):
        name, _, value = item.partition("=")
        amount = size_bytes(value, unit="M" if name == "mem" else "")
        if amount is not None:
            found[name] = amount
    return found


def indices(text: str) -> list[int]:
    """Array indices of a collapsed line: ``0-3,7,10-20:5%2``. What Slurm cut off ("...") is not in the list."""
    found: list[int] = []
    for part in text.partition("%")[0].split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if match is not None:
            found += range(int(match[1]), int(match[2] or match[1]) + 1, int(match[3] or 1))
        elif "..." not in part:
            raise ValueError(f"{text!r} is not a list of array indices")
    return found
