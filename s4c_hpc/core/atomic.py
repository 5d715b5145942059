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
from collections.abc import Iterator
from pathlib import Path


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
    final.parent.mkdir(parents=True, exist_ok=True)
    sync_file(temporary)
    try:
        os.link(temporary, final)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(final.parent)
    return True


def publish_replacing(temporary: Path, final: Path) -> None:
    """Give ``temporary`` its final name, replacing what was there in one step."""
    final.parent.mkdir(parents=True, exist_ok=True)
    sync_file(temporary)
    temporary.replace(final)
    sync_directory(final.parent)


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
