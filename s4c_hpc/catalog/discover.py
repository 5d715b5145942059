"""Size and freshness of products: folders and files, without looking into them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from s4c_hpc.catalog.archive import list_folder, patiently, status
from s4c_hpc.core.errors import MissingDataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """Size and freshness of a file, or of everything in a folder."""

    size_bytes: int
    stamp: int
    """Newest modification or status change of any part, ns since the epoch: a chmod is a change, too."""
    files: dict[str, int] = field(default_factory=dict)
    """Size in bytes by path relative to the folder, with forward slashes; empty for a single file."""

    def fingerprint(self, path: Path, declaration: str) -> str:
        """Equal as long as nothing has changed: neither the product nor how it is to be read.

        Returns
        -------
        32 hex digits; the second half is ``declared(declaration)``
        """
        return _digits(f"{path}\n{self.size_bytes}\n{self.stamp}") + declared(declaration)


def declared(declaration: str) -> str:
    """16 hex digits of how a product is to be read."""
    return _digits(declaration)


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def shown(path: Path) -> str:
    r"""A path as text that can be stored and printed: bytes that are not UTF-8 stand as ``\xfc``."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def check_root(root: Path, where: str) -> None:
    """Raise a ``MissingDataError`` unless ``root`` is a folder that can be listed; a ``TemporaryError`` if not now."""
    try:
        patiently(lambda: _glance(root), root)
    except FileNotFoundError as error:
        hint = "correct the path, or mount the archive"
        raise MissingDataError(f"no such folder: {root}", where=where, hint=hint) from error
    except OSError as error:
        hint = "the user who scans needs read and search permission"
        raise MissingDataError(f"folder {root} cannot be read ({error.strerror})", where=where, hint=hint) from error


def _glance(folder: Path) -> None:
    with os.scandir(folder) as entries:
        next(entries, None)


def measure_folder(folder: Path) -> Measure:
    """Sizes and times of everything in ``folder``.

    Raises
    ------
    OSError
        If a part of it cannot be listed.
    TemporaryError
        If it cannot be listed just now.
    """
    files: dict[str, int] = {}
    stamps = [_stamp(status(folder))]
    for path, known in _walk(folder):
        stamps.append(_stamp(known))
        if not stat.S_ISDIR(known.st_mode):
            files[path.relative_to(folder).as_posix()] = known.st_size
    return Measure(size_bytes=sum(files.values()), stamp=max(stamps), files=dict(sorted(files.items())))


def measure_file(path: Path) -> Measure:
    """Size and time of one file; raises ``OSError``, or a ``TemporaryError`` if they cannot be read just now."""
    known = status(path)
    return Measure(size_bytes=known.st_size, stamp=_stamp(known))


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for entry in list_folder(folder):
        yield Path(entry.path), status(entry)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))


def _stamp(known: os.stat_result) -> int:
    return max(known.st_mtime_ns, known.st_ctime_ns)
