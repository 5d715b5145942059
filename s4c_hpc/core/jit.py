"""The one place where numba's decorator stands, so that every kernel is compiled the same way and keeps its types.

numba takes a second to load, which a planner and a status command do without: it is loaded when a kernel is first
called.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS: Final[Mapping[str, Any]] = {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}


class Compiled:
    """A function that numba compiles at its first call."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        self.function, self._options = function, options
        functools.update_wrapper(self, function)

    @functools.cached_property
    def dispatcher(self) -> Any:
        """What ``numba.njit`` makes of the function, and of every helper that it calls."""
        import numba  # noqa: PLC0415 - see above

        names = self.function.__globals__
        for name in self.function.__code__.co_names:
            if isinstance(helper := names.get(name), Compiled):
                names[name] = helper.dispatcher  # compiled code calls what stands under the name when it is compiled
        return numba.njit(**_OPTIONS, **self._options)(self.function)

    def __call__(self, *args: Any) -> Any:
        """Call the machine code for arguments of these types."""
        return self.dispatcher(*args)


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` at its first call and keep the machine code on disk; it runs without the GIL.

    numba sees changes of the file that holds a kernel, not of other files that it calls: a kernel and its helpers
    therefore live in one file. Loops over scalars compile many times faster than array expressions.
    """
    return cast(Callable[P, R], Compiled(function))


def helper(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` for calls from kernels only, which saves the bridge to Python."""
    return cast(Callable[P, R], Compiled(function, no_cpython_wrapper=True))
