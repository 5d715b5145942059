"""From what is known of a parcel to its picture: a strip for everything that there is, and what each means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from markupsafe import Markup

from s4c_hpc.drawing.text import hectares
from s4c_hpc.report.parcel_radar import Radar
from s4c_hpc.report.parcel_season import ParcelSeason
from s4c_hpc.report.timeline import DecisionStrip, OpticalStrip, PeriodStrip, RadarStrip, RainStrip, Strip, timeline_svg
from s4c_hpc.report.timeline.optical import value_range
from s4c_hpc.report.timeline.picture import axis_of
from s4c_hpc.report.timeline.values import ValueRange

_ABOUT_PERIODS: Final = "what the farmer or the rules of the crop say"
_ABOUT_DECISIONS: Final = "what the images say: when, how sure it is, and seen by what (S1 radar, S2 optical)"
_ABOUT_OPTICAL: Final = (
    "how green the field is: near 0.8 dense and green, below 0.3 bare soil, stubble or dead plants. "
    "It falls at harvest and mowing"
)
_ABOUT_RATIO: Final = (
    "radar echo of the surface (VV) over that of stems and leaves (VH), in decibels. It falls while plants grow and "
    "rises when they are gone; clouds do not matter"
)
_ABOUT_COHERENCE: Final = (
    "how alike two radar images some days apart are. Low: plants move and grow. High: nothing moves, bare or mown. "
    "Ploughing and rain make it fall for a while"
)


def strips_of(season: ParcelSeason) -> list[Strip]:
    """What there is, from top to bottom."""
    return list(_strips(season))


def parcel_svg(season: ParcelSeason, *, dark: bool = True, titled: bool = True, words: bool = True) -> Markup:
    """The picture as a file of its own.

    Parameters
    ----------
    dark : whether it has dark colours as well, for screens
    titled : whether it says which parcel it is
    words : whether it says in words what was decided and what is not shown
    """
    return timeline_svg(
        strips_of(season),
        title=season.title,
        subtitle=subtitle(season),
        start=season.start,
        end=season.end,
        notes=season.missing,
        standalone=True,
        titled=titled,
        words=words,
        dark=dark,
    )


def subtitle(season: ParcelSeason) -> str:
    """What a parcel is, in one line."""
    parts = [
        f"crop {season.crop}" if season.crop else "",
        hectares(season.area_m2),
        f"NewID {season.new_id}",
        f"tile {season.tile}" if season.tile else "",
        f"{season.start} to {season.end}",
    ]
    return " · ".join(part for part in parts if part)


def _strips(season: ParcelSeason) -> Iterator[Strip]:
    axis = axis_of(season.start, season.end)
    if season.periods:
        yield PeriodStrip(periods=season.periods, axis=axis, heading="Declared", about=_ABOUT_PERIODS)
    if season.decisions:
        yield DecisionStrip(decisions=season.decisions, axis=axis, heading="Decided", about=_ABOUT_DECISIONS)
    for one in season.optical:
        yield OpticalStrip(
            observations=one.observations,
            variable=season.variable,
            values=value_range([o for every in season.optical for o in every.observations], season.variable),
            heading=f"{season.variable} ({one.name})",
            about=_ABOUT_OPTICAL if season.variable == "NDVI" else "mean over the parcel",
            knows_sky=one.knows_sky,
        )
    # Orbits of a variable share their axis, so that they can be compared.
    ratios = ValueRange.around([m.value for one in season.ratio for m in one.measured], ticks=4)
    yield from _radar(season.ratio, "Backscatter VV \N{MINUS SIGN} VH", _ABOUT_RATIO, "dB", ratios)
    name = f"Coherence {season.coherence_name}"
    # From 0 to 1; an imported table may hold what no coherence is, which shall be seen.
    unit = ValueRange.around([0.0, 1.0, *(m.value for one in season.coherence for m in one.measured)], ticks=4)
    yield from _radar(season.coherence, name, _ABOUT_COHERENCE, "", unit)
    if season.rain:
        days, mm = zip(*season.rain, strict=True)
        yield RainStrip(days=days, mm=mm)


def _radar(orbits: Sequence[Radar], name: str, about: str, unit: str, values: ValueRange) -> Iterator[RadarStrip]:
    for i, one in enumerate(orbits):
        where = f", {one.orbit}" if one.orbit else f" ({one.sensor})" if len(orbits) > 1 else ""
        yield RadarStrip(
            measured=one.measured,
            kind="ratio" if unit else "coherence",
            unit=unit,
            values=values,
            heading=f"{name}{where}",
            about=about if not i else "the same, seen from another orbit",
        )
