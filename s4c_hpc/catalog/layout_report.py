"""Why a layout led to nothing: which folders were looked for, and what lies there instead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from s4c_hpc.catalog.archive import list_folder
from s4c_hpc.catalog.discover import shown
from s4c_hpc.catalog.layout_fields import Wanted
from s4c_hpc.catalog.layout_search import DeadEnd
from s4c_hpc.core.errors import TemporaryError, listing

_N_TOLD: Final = 3
"""Dead ends that are told; the others are counted."""


def why_nothing(ends: Sequence[DeadEnd], wanted: Wanted) -> list[str]:
    """A sentence for each of the first dead ends; duplicates of two templates are one.

    >>> from s4c_hpc.catalog.layout_search import DeadEnd
    >>> why_nothing([DeadEnd(0, Path("/a"), "{year}", ("2017", "2018"))], Wanted())
    ['in /a no {year} is what was looked for (anything); there lie 2017, 2018']
    """
    sentences = list(dict.fromkeys(_sentence(end, wanted) for end in ends[: 4 * _N_TOLD]))
    if len(ends) > _N_TOLD and len(sentences) > _N_TOLD:
        return [*sentences[:_N_TOLD], f"and so in {len(ends) - _N_TOLD} further folders"]
    return sentences


def _sentence(end: DeadEnd, wanted: Wanted) -> str:
    if end.names is None:
        above, names = _nearest(end.folder)
        return f"there is no folder {shown(end.folder)}; in {shown(above)} {_lie(names)}"
    return f"in {shown(end.folder)} no {end.part} is what was looked for ({wanted.describe()}); there {_lie(end.names)}"


def _nearest(folder: Path) -> tuple[Path, Sequence[str]]:
    """The nearest folder above that can be listed, and what lies in it."""
    for above in folder.parents:
        try:
            return above, [entry.name for entry in list_folder(above)]
        except (OSError, TemporaryError):
            continue
    return folder.parent, ()


def _lie(names: Sequence[str]) -> str:
    return f"lie {listing([shown(Path(name)) for name in names], 8)}" if names else "lies nothing"
