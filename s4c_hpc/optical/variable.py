"""A variable: a quantity that is computed per pixel, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from s4c_hpc.optical.formula import PixelFunction

DIMENSIONLESS: Final = "1"
"""Unit of reflectances and of everything made of them."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A quantity that is computed per pixel."""

    name: str
    """Lower case; the first part of its column names."""
    formula: PixelFunction
    unit: str
    long_name: str
    source: str
    """Publication or origin of the formula."""
    statistics: tuple[str, ...] | None = None
    """What is computed of it; ``None``: the statistics of the configuration."""
    by_platform: Mapping[str, Variable] = field(default_factory=dict, repr=False, compare=False)
    """What it is for products of certain satellites, where that differs."""

    def on(self, platform: str) -> Variable:
        """What it is for products of a satellite, e.g. ``sentinel-2b``."""
        return self.by_platform.get(platform, self)

    def statistics_of(self, configured: Sequence[str]) -> Sequence[str]:
        """Its statistics, given those of the configuration."""
        return configured if self.statistics is None else self.statistics
