"""How a version gets into a workspace: whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from s4c_hpc.core.atomic import sync_directory, sync_file
from s4c_hpc.core.errors import TemporaryError
from s4c_hpc.core.workspace import Workspace

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def publish(folder: Path, final: Path) -> None:
    """Give a finished folder its final name, durable and in one step."""
    for path in sorted(folder.iterdir()):
        sync_file(path)
    sync_directory(folder)
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.rename(final)
    except OSError as error:
        if final.exists():
            raise TemporaryError(
                f"another import has just made {final.name}", where=str(final), hint="run the import again"
            ) from error
        raise
    sync_directory(final.parent)


@contextlib.contextmanager
def temporary_folder(workspace: Workspace) -> Iterator[Path]:
    """A private folder in the workspace, which is gone afterwards unless it got another name."""
    folder = workspace.temporary / f"parcels-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def disk_full_is_temporary(workspace: Workspace) -> Iterator[None]:
    """Tell a full disk as what it is."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise TemporaryError(
            f"the disk is full ({error.strerror})",
            where=str(workspace.root),
            hint="make room and run the import again; nothing was changed",
        ) from error
