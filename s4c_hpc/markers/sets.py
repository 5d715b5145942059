"""Marker sets: which variables and statistics the configuration puts into one family of files."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from s4c_hpc.config import Config
from s4c_hpc.config.model import MarkerSet
from s4c_hpc.core.errors import ConfigError, listing
from s4c_hpc.markers.naming import parse_series_column

DIFFERENCE: Final = "vv_minus_vh_db"
"""A variable that no pixel has, see ``derived``; it needs those of ``DIFFERENCE_OF``."""
DIFFERENCE_OF: Final = ("vv_sigma0_db", "vh_sigma0_db")


@dataclass(frozen=True, slots=True)
class Selection:
    """What a set keeps of a series file."""

    variables: frozenset[str] | None
    """All when ``None``."""
    statistics: frozenset[str] | None
    """All when ``None``."""
    class_counts: bool

    @classmethod
    def of(cls, chosen: MarkerSet) -> Selection:
        """The selection that a configured set stands for; variables are known in lower case."""
        return cls(
            variables=None if chosen.variables is None else frozenset(v.lower() for v in chosen.variables),
            statistics=None if chosen.statistics is None else frozenset(chosen.statistics),
            class_counts=chosen.class_counts,
        )

    @classmethod
    def from_params(cls, params: dict[str, list[str] | bool | None]) -> Selection:
        """The inverse of ``params``."""
        variables, statistics = params["variables"], params["statistics"]
        return cls(
            variables=frozenset(variables) if isinstance(variables, list) else None,
            statistics=frozenset(statistics) if isinstance(statistics, list) else None,
            class_counts=bool(params["class_counts"]),
        )

    def params(self) -> dict[str, list[str] | bool | None]:
        """The definition as it enters a task's identity: the order in which things were named does not matter."""
        return {
            "variables": None if self.variables is None else sorted(self.variables),
            "statistics": None if self.statistics is None else sorted(self.statistics),
            "class_counts": self.class_counts,
        }

    def keeps(self, series_column: str) -> bool:
        """Whether a column of a series file is in the set."""
        variable, statistic = parse_series_column(series_column)
        if variable is None:
            return self.class_counts
        return (self.variables is None or variable in self.variables) and (
            self.statistics is None or statistic in self.statistics
        )

    def n_columns(self, variables: Sequence[str], statistics: Sequence[str]) -> int:
        """Number of value columns that an acquisition with these variables has in the set."""
        return sum(self.keeps(f"{v}_{s}") for v in variables for s in statistics)


def check_sets(config: Config, variables: Iterable[str]) -> None:
    """Refuse sets that ask for what is not computed.

    Parameters
    ----------
    config : the site's configuration
    variables : names of all variables that are computed

    Raises
    ------
    ConfigError
        Names the set, the unknown name and the nearest known one.
    """
    if not config.markers.sets:
        raise ConfigError("no marker set is configured", where="markers.sets", hint="add [[markers.sets]]")
    known = sorted(variables)
    for i, one in enumerate(config.markers.sets):
        where = f"markers.sets.{i} ({one.name})"
        for name in one.variables or ():
            if name.lower() == DIFFERENCE:
                _check_difference(config, known, f"{where}.variables")
            elif name.lower() not in known:
                raise ConfigError(
                    f"no variable is called {name!r}", where=f"{where}.variables", hint=_nearest(name.lower(), known)
                )
        for statistic in one.statistics or ():
            if statistic not in config.variables.statistics:
                raise ConfigError(
                    f"statistic {statistic!r} is not computed",
                    where=f"{where}.statistics",
                    hint=f"add it to variables.statistics, which has {listing(list(config.variables.statistics))}",
                )
        if (one.variables == () or one.statistics == ()) and not one.class_counts:
            raise ConfigError("the set is empty", where=where, hint="name variables and statistics, or class counts")


def _check_difference(config: Config, known: Sequence[str], where: str) -> None:
    if not set(DIFFERENCE_OF) <= set(known) or "mean" not in config.variables.statistics:
        raise ConfigError(
            f"{DIFFERENCE!r} is the difference of two means that are not both computed",
            where=where,
            hint=f"add {' and '.join(DIFFERENCE_OF)} to variables.indices, and mean to variables.statistics",
        )


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"there are {listing(list(known), 30)}"
