"""Packages that hand on their public names without loading the modules behind them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazily(package: str, names: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A package's ``__getattr__`` (PEP 562), which imports a public name when it is first asked for.

    Not for names that a module of the package has as well: that module would be found instead.

    Parameters
    ----------
    package : its ``__name__``
    names : public names by the module that defines them
    """
    homes = {name: module for module, listed in names.items() for name in listed}

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return find
