"""Subjects of tasks that add to what another task of the same name has done: ``10m / parcels v0002: 12 new``."""

from __future__ import annotations

from typing import Final

MARK: Final = " / "
"""Between a name and what is added to it. Names come from files and folders, which cannot have it."""


def joined(name: str, addition: str) -> str:
    """Subject of a task: the name alone where nothing is added."""
    return f"{name}{MARK}{addition}" if addition else name


def name_of(subject: str) -> str:
    """What a task is about."""
    return subject.partition(MARK)[0]


def addition_of(subject: str) -> str:
    """What it adds, and thereby why it is there; empty for a task that stands alone."""
    return subject.partition(MARK)[2]


def subject_in(full_name: str) -> str:
    """Subject in the full name of a task, ``stage tile subject``; it may hold spaces, stage and tile do not."""
    return full_name.split(" ", 2)[-1]
