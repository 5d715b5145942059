"""Files that are either whole or absent.

A file is written under a temporary name on the same file system, synced, and only then given its name:
by ``link`` for immutable files (the first one wins, a twin's file is discarded), by ``rename`` for files
that are replaced. Whatever is killed in between leaves the old state.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

PLACE_TRIES: Final = 10
"""How often the folder of a file is made again: whoever tidies removes folders that are empty at that moment."""


def sync_directory(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make the bytes of ``path`` durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish_new(temporary: Path, final: Path) -> bool:
    """Give ``temporary`` its final name unless that name is taken; ``False`` if a twin was first.

    ``temporary`` is gone afterwards in both cases.
    """
    sync_file(temporary)
    try:
        is_first = _place(final, lambda: _linked(temporary, final))
    finally:
        temporary.unlink(missing_ok=True)
    if is_first:
        sync_directory(final.parent)
    return is_first


def publish_replacing(temporary: Path, final: Path) -> None:
    """Give ``temporary`` its final name, replacing what was there in one step."""
    sync_file(temporary)
    _place(final, lambda: bool(temporary.replace(final)))
    sync_directory(final.parent)


def _linked(temporary: Path, final: Path) -> bool:
    """Link a file to a name; ``False`` if that is taken."""
    try:
        os.link(temporary, final)
    except FileExistsError:
        return False
    return True


def _place(final: Path, give_name: Callable[[], bool]) -> bool:
    """Give a file its name in a folder that may not be there, or no longer."""
    for n_before in range(PLACE_TRIES):
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            return give_name()
        except FileNotFoundError:
            if n_before + 1 == PLACE_TRIES:
                raise
    raise AssertionError  # the last try returns or raises


@contextlib.contextmanager
def replacing(final: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``final``; on a clean exit it replaces ``final``, else it is removed."""
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        yield temporary
        publish_replacing(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(final: Path, text: str) -> None:
    """Replace the file ``final`` by ``text``, whole or not at all."""
    with replacing(final) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
