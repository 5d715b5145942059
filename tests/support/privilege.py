"""What processes open and what files tell, for tests of least privilege."""

from __future__ import annotations

import contextlib
import stat
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SECRET_NAME, SECRET = "S4C_TEST_SECRET", "hunter2-7f3a9c41"


@dataclass
class Seen:
    """What a family of processes was seen to do."""

    listening: set[tuple[str, int]] = field(default_factory=set)
    commands: set[str] = field(default_factory=set)

    def look(self, family: list[psutil.Process]) -> None:
        for process in family:
            with contextlib.suppress(psutil.Error):
                self.commands.add(" ".join(process.cmdline()))
            with contextlib.suppress(psutil.Error):
                self.listening |= {
                    (connection.laddr.ip, connection.laddr.port)
                    for connection in process.net_connections(kind="inet")
                    if connection.status == psutil.CONN_LISTEN
                }


def open_to_others(root: Path) -> list[str]:
    """Files and folders that others may read or write."""
    return [
        f"{stat.filemode(path.lstat().st_mode)} {path}"
        for path in (root, *root.rglob("*"))
        if not path.is_symlink() and stat.S_IMODE(path.lstat().st_mode) & 0o007
    ]


def holding(root: Path, secret: str) -> list[Path]:
    """Files that hold a text."""
    return [path for path in root.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
