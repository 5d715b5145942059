"""The one place where numba's decorator stands, so that every kernel is compiled the same way and keeps its types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS: Final = {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}

_njit: Any = numba.njit
"""Its published types do not know every option."""


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` at its first call and keep the machine code on disk; it runs without the GIL.

    numba sees changes of the file that holds a kernel, not of other files that it calls: a kernel and its helpers
    therefore live in one file. Loops over scalars compile many times faster than array expressions.
    """
    return cast(Callable[P, R], _njit(**_OPTIONS)(function))


def helper(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` for calls from kernels only, which saves the bridge to Python."""
    return cast(Callable[P, R], _njit(**_OPTIONS, no_cpython_wrapper=True)(function))
