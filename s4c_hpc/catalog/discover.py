"""Where products lie: folders and files, without looking into them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

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
        """Equal as long as nothing has changed: neither the product nor how it is to be read."""
        text = f"{path}\n{self.size_bytes}\n{self.stamp}\n{declaration}"
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


@dataclass(slots=True)
class Found:
    """What a search came upon."""

    folders: list[Path] = field(default_factory=list)
    """SAFE folders, sorted."""
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    """Folders that could not be listed, and why."""
    n_other: int = 0
    """SAFE folders of other satellites."""
    n_archives: int = 0
    """Zip and tar files with a SAFE name: they would have to be unpacked."""


def shown(path: Path) -> str:
    r"""A path as text that can be stored and printed: bytes that are not UTF-8 stand as ``\xfc``."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def check_root(root: Path, where: str) -> None:
    """Raise a ``MissingDataError`` unless ``root`` is a folder that can be listed."""
    try:
        with os.scandir(root) as entries:
            next(entries, None)
    except FileNotFoundError as error:
        hint = "correct the path, or mount the archive"
        raise MissingDataError(f"no such folder: {root}", where=where, hint=hint) from error
    except OSError as error:
        hint = "the user who scans needs read and search permission"
        raise MissingDataError(f"folder {root} cannot be read ({error.strerror})", where=where, hint=hint) from error


def find_safe(root: Path) -> Found:
    """SAFE folders of Sentinel-2 at any depth below ``root``, or ``root`` itself.

    Links to folders are followed; a folder that was seen before is not entered again, so that a loop ends.
    """
    found = Found()
    seen: set[tuple[int, int]] = set()
    pending = [root]
    while pending:
        folder = pending.pop()
        if folder.name.lower().endswith(".safe"):
            if folder.name[:2].upper() in {"S1", "S3", "S5"}:
                found.n_other += 1
            else:
                found.folders.append(folder)
            continue
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir():
                        pending.append(Path(entry.path))
                    elif entry.name.startswith("S2") and entry.name.lower().endswith(
                        (".zip", ".tar", ".tgz", ".tar.gz")
                    ):
                        found.n_archives += 1
        except OSError as error:
            found.unreadable.append((folder, error.strerror or str(error)))
    found.folders.sort()
    found.unreadable.sort()
    return found


def measure_folder(folder: Path) -> Measure:
    """Sizes and times of everything in ``folder``; raises ``OSError`` if a part of it cannot be listed."""
    files: dict[str, int] = {}
    stamps = [_stamp(folder.stat())]
    for path, status in _walk(folder):
        stamps.append(_stamp(status))
        if not path.is_dir():
            files[path.relative_to(folder).as_posix()] = status.st_size
    return Measure(size_bytes=sum(files.values()), stamp=max(stamps), files=dict(sorted(files.items())))


def measure_file(path: Path) -> Measure:
    """Size and time of one file; raises ``OSError``."""
    status = path.stat()
    return Measure(size_bytes=status.st_size, stamp=_stamp(status))


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            yield Path(entry.path), entry.stat()
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))


def _stamp(status: os.stat_result) -> int:
    return max(status.st_mtime_ns, status.st_ctime_ns)
