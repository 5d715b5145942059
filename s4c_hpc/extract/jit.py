"""The one place where numba's decorator stands, so that every kernel is compiled the same way and keeps its types."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` at its first call and keep the machine code on disk; it runs without the GIL.

    numba sees changes of the file that holds a kernel, not of other files that it calls: a kernel and its helpers
    therefore live in one file.
    """
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True)(function))
