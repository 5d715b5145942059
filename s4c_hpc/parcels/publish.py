"""How a version gets into a workspace: whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from s4c_hpc.core.atomic import sync_directory, sync_file
from s4c_hpc.core.errors import MissingDataError, TemporaryError, is_disk_full
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels.store import PARCELS

_PREFIX = "parcels-"


def no_room(error: BaseException) -> bool:
    """Whether an error of the system says that a disk, a quota or the largest size of a file is used up."""
    return is_disk_full(error) or (isinstance(error, OSError) and error.errno == errno.EFBIG)


def publish(folder: Path, final: Path) -> None:
    """Give a finished folder its final name, durable and in one step."""
    for path in sorted(folder.iterdir()):
        sync_file(path)
    sync_directory(folder)
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.rename(final)
    except OSError as error:
        if final.exists() and not (final / PARCELS).is_file():
            raise MissingDataError(
                f"the folder of version {final.name} is damaged: it has no {PARCELS}, and no import can replace it",
                where=str(final),
                hint=f"put {PARCELS} back, or move the whole folder away, and run the import again",
            ) from error
        if final.exists():
            raise TemporaryError(
                f"another import has just made {final.name}", where=str(final), hint="run the import again"
            ) from error
        raise
    sync_directory(final.parent)


@contextlib.contextmanager
def temporary_folder(workspace: Workspace) -> Iterator[Path]:
    """A private folder in the workspace, which is gone afterwards unless it got another name.

    What imports that were killed have left is removed, where the file system can tell that none is at work.

    Raises
    ------
    TemporaryError
        Another import is at work.
    """
    workspace.temporary.mkdir(parents=True, exist_ok=True)
    with _alone(workspace.temporary) as alone:
        if alone:
            for left in workspace.temporary.glob(f"{_PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)
        folder = workspace.temporary / f"{_PREFIX}{uuid.uuid4().hex}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Keep other imports away; ``False`` where the file system cannot lock a folder, as NFS."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TemporaryError(
                "another import is at work", where=str(folder), hint="wait until it is done and run this one again"
            ) from error
        except OSError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def disk_full_is_temporary(workspace: Workspace) -> Iterator[None]:
    """Tell a full disk as what it is."""
    try:
        yield
    except OSError as error:
        if not no_room(error):
            raise
        raise TemporaryError(
            f"the disk is full ({error.strerror})",
            where=str(workspace.root),
            hint="make room and run the import again; nothing was changed",
        ) from error
