"""What a strip of a time line is, and where strips stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from markupsafe import Markup

from s4c_hpc.report.time_axis import TimeAxis

WIDTH: Final = 1000.0
LEFT, RIGHT = 46.0, 988.0
"""Drawing units between which the time axis of every plot of the report runs."""

LETTER: Final = 6.3
"""Width of a letter of the plots' 11 units, at most on average: text is laid out before anyone knows the font."""


class Strip(Protocol):
    """A band of the picture over all days."""

    @property
    def heading(self) -> str:
        """Its name, above it."""
        ...

    @property
    def about(self) -> str:
        """What it shows and how to read it, in plain words."""
        ...

    @property
    def height(self) -> float:
        """Drawing units, without the heading."""
        ...

    def draw(self, axis: TimeAxis, top: float) -> Markup:
        """Everything of it, from ``top`` to ``top + height``."""
        ...

    def sentences(self) -> Sequence[str]:
        """What is to be seen, for who does not see it."""
        ...
