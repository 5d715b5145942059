"""What a development cluster is made of, as values and as the files that the daemons read."""

from __future__ import annotations

import json
import os
import pwd
import re
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2
from pydantic import ByteSize, TypeAdapter, ValidationError

from s4c_hpc.core.atomic import replacing, write_text
from s4c_hpc.core.bundled import bundled
from s4c_hpc.core.errors import ConfigError, InputError, SchedulerError
from s4c_hpc.slurm.cluster_host import host_address, host_name, wrapper_environment

MIB = 1024**2
GIB = 1024**3
_SOCKET_BYTES = 107
"""Longest path of a unix socket: ``sun_path`` of 108 bytes with its final zero (man 7 unix)."""
_LONGEST_SOCKET = "/spool/n98/n98_1234567.4294967291"
"""A step's socket below the cluster's folder; all others are shorter."""

FOLDERS = {
    "etc": 0o755, "log": 0o755, "run": 0o755, "munge": 0o755,  # all users' commands find munge's socket in there
    "db": 0o700, "db/tmp": 0o700, "state": 0o700, "spool": 0o755, "tmp": 0o755,
}  # fmt: skip
"""What a cluster's folder holds, with modes."""
_FILES = {
    "slurm.conf": 0o644,  # users of the cluster read it
    "slurmdbd.conf": 0o600,  # slurmdbd insists on being its only reader
    "cgroup.conf": 0o644,
    "my.cnf": 0o644,
    "accounts": 0o644,
    "task_prolog": 0o755,
}
"""The files in ``etc``, with modes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """The settings of one development cluster, kept in its folder from one start to the next."""

    nodes: int = 4
    cpus: int = 4
    """Cores that each node declares; the machine may have fewer."""
    memory_bytes: int = 16 * GIB
    """Memory that each node declares."""
    port: int | None = None
    """First of the ports in use (slurmctld, slurmdbd, one a node); a free one is looked for when not given."""
    cgroup: bool = False
    """Memory is limited by the kernel instead of by Slurm's sampling."""
    cluster_name: str = ""
    """Tells the accounts of clusters apart."""
    wrapper: str = ""
    """Path of the library that renames this machine for the daemons; empty when its own name is on loopback."""

    def __post_init__(self) -> None:
        for name, low, high in (("nodes", 1, 98), ("cpus", 1, 1024), ("memory_bytes", GIB // 4, 1 << 50)):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"{getattr(self, name)} is not between {low} and {high}", where=name)

    @classmethod
    def new(cls) -> ClusterSettings:
        """Defaults, with a name that no other cluster of this machine has."""
        return cls(cluster_name=f"s4c_{secrets.token_hex(3)}")

    @property
    def node_names(self) -> list[str]:
        """Names of the nodes."""
        return [f"n{i + 1}" for i in range(self.nodes)]

    @property
    def n_ports(self) -> int:
        """How many ports in a row it listens on."""
        return self.nodes + 2


def check_folder(root: Path) -> None:
    """Refuse a folder that the daemons cannot work in.

    Raises
    ------
    ConfigError
        If the path is too long for sockets, or holds characters that mean something in slurm.conf.
    """
    if odd := sorted(set(re.sub(r"[A-Za-z0-9_./+@~-]", "", str(root)))):
        raise ConfigError(
            f"slurm.conf cannot name a path with {', '.join(map(repr, odd))}",
            where=str(root),
            hint="choose a folder with letters, digits and _ . + @ ~ - only",
        )
    too_long = len(os.fsencode(str(root))) + len(_LONGEST_SOCKET) - _SOCKET_BYTES
    if too_long > 0:
        raise ConfigError(
            f"the path is {too_long} bytes too long: the path of a unix socket has at most {_SOCKET_BYTES} bytes",
            where=str(root),
            hint=f"choose a folder whose path has at most {_SOCKET_BYTES - len(_LONGEST_SOCKET)} bytes",
        )


def parse_memory(text: str) -> int:
    """Bytes of a size as people write it: ``16GiB``, ``500MB``.

    Raises
    ------
    ConfigError
        If it is no size.
    """
    try:
        return TypeAdapter(ByteSize).validate_python(text)
    except ValidationError as error:
        raise ConfigError(f"'{text}' is not a size", where="--memory", hint="write it like 16GiB") from error


def load_settings(path: Path) -> ClusterSettings:
    """The settings that were kept in ``path``."""
    try:
        return ClusterSettings(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise SchedulerError(
            "there is no cluster here", where=str(path.parent), hint="start one: 's4c slurm cluster up DIR'"
        ) from None
    except (ValueError, TypeError) as error:
        raise InputError(
            f"is damaged ({error})", where=str(path), hint="remove the cluster's folder and start anew"
        ) from error


def save_settings(path: Path, settings: ClusterSettings) -> None:
    """Keep the settings for the next start."""
    write_text(path, json.dumps(asdict(settings), indent=2) + "\n")


def write_files(root: Path, settings: ClusterSettings) -> None:
    """Make the folders, the key, and the files of the daemons from the templates in ``slurm/cluster``."""
    for folder, mode in FOLDERS.items():
        (root / folder).mkdir(exist_ok=True)
        (root / folder).chmod(mode)
    for node in settings.node_names:
        for folder in ("spool", "tmp"):
            (root / folder / node).mkdir(exist_ok=True)
    key = root / "munge" / "key"
    if not key.exists():
        with replacing(key) as new:
            new.touch(0o600)
            new.write_bytes(secrets.token_bytes(128))
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(bundled("slurm/cluster")),
        autoescape=jinja2.select_autoescape(),  # none of them is HTML
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    values = {
        **asdict(settings),
        "root": root,
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "host": host_name(settings.wrapper),
        "address": host_address(settings.wrapper),
        "task_environment": wrapper_environment(settings.wrapper),
        "memory_mib": settings.memory_bytes // MIB,
    }
    for name, mode in _FILES.items():
        path = root / "etc" / name
        write_text(path, templates.get_template(f"{name}.j2").render(values))
        path.chmod(mode)
