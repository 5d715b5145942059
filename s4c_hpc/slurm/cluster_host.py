"""The name and address under which a development cluster knows its machine: always loopback.

Slurm can be told to listen on one address only, but not on which: every daemon, and every srun in a job, asks the
system for the name of its machine and listens on the address that this name leads to. Where that is not loopback, as
in most containers and on most cloud machines, the daemons and their jobs are told another name: nss_wrapper, a
library that is loaded before the C library, answers ``localhost``. That takes no privileges and changes no file of
the system, unlike namespaces (Docker allows none by default) and ``/etc/hosts``.
"""

from __future__ import annotations

import os
import socket
import subprocess

from s4c_hpc.core.errors import ExternalToolError

_LIBRARY = "libnss_wrapper.so"
_NAME = "localhost"


def find_wrapper() -> str:
    """Path of the library that renames this machine for the daemons; empty when its own name is on loopback.

    Raises
    ------
    ExternalToolError
        If it is needed and not installed.
    """
    if _address(_own_name()).startswith("127."):
        return ""
    # Found by loading it: where libraries are, and whether one may be loaded like this, differs between systems. Its
    # path is used from then on, for programs that run with the rights of another user complain of a mere name.
    loaded = subprocess.run(
        ["/bin/cat", "/proc/self/maps"],
        env={**os.environ, **wrapper_environment(_LIBRARY)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    paths = [line.split(maxsplit=5)[-1] for line in loaded.stdout.splitlines() if line.endswith(_LIBRARY)]
    if not paths:
        name = _own_name()
        raise ExternalToolError(
            f"the name of this machine, {name}, leads to {_address(name) or 'no address'}, and Slurm would listen"
            " there; not installed: libnss-wrapper, which keeps a cluster on loopback",
            hint="on Debian: sudo apt-get install --no-install-recommends libnss-wrapper;"
            f" or put this line before all others in /etc/hosts: 127.0.0.1 {name}",
        )
    return paths[0]


def wrapper_environment(wrapper: str) -> dict[str, str]:
    """What daemons, jobs and commands need in their environment to be renamed; ``wrapper`` as of ``find_wrapper``."""
    return {"LD_PRELOAD": wrapper, "NSS_WRAPPER_HOSTNAME": _NAME} if wrapper else {}


def host_name(wrapper: str) -> str:
    """The short name that daemons find when they ask for that of their machine; ``wrapper`` as of ``find_wrapper``."""
    return (_NAME if wrapper else _own_name()).partition(".")[0]


def host_address(wrapper: str) -> str:
    """The loopback address they find for it."""
    return _address(_NAME if wrapper else _own_name())


def _own_name() -> str:
    """The kernel's name for this machine: that of gethostname, unless the caller is renamed as our daemons are."""
    return os.uname().nodename


def _address(name: str) -> str:
    """IPv4 address that a name leads to; empty if there is none."""
    try:
        return socket.gethostbyname(name)
    except OSError:
        return ""
