"""Make file permissions count for root as well: tests often run as root, to whom no folder is unreadable."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

_VERSION_3 = 0x20080522  # linux/capability.h, _LINUX_CAPABILITY_VERSION_3
_OVERRIDES = (1 << 1) | (1 << 2)  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextlib.contextmanager
def permissions_count() -> Iterator[None]:
    """Within the block this thread may do no more with a file than its mode allows (capabilities(7), capset(2)).

    Only the effective capabilities change, and only of this thread; they are put back at the end.
    """
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = _Header(_VERSION_3, 0)
    before = (_Data * 2)()
    within = (_Data * 2)()
    _checked(libc.capget(ctypes.byref(header), before))
    _checked(libc.capget(ctypes.byref(header), within))
    within[0].effective &= ~_OVERRIDES
    _checked(libc.capset(ctypes.byref(header), within))
    try:
        yield
    finally:
        _checked(libc.capset(ctypes.byref(header), before))


def _checked(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
