"""The time line of a parcel: one picture, made of strips that share their days.

A strip is a small class that knows its height, draws itself below each other strip and says in words what it shows
(``strip.Strip``). Cards of the report show few of them, ``s4c report parcel`` all.
"""

from s4c_hpc.report.timeline.decision_strip import DecisionStrip
from s4c_hpc.report.timeline.optical import Observation, OpticalStrip
from s4c_hpc.report.timeline.periods import PeriodStrip
from s4c_hpc.report.timeline.picture import timeline_svg
from s4c_hpc.report.timeline.radar import RadarStrip
from s4c_hpc.report.timeline.rain import RainStrip
from s4c_hpc.report.timeline.strip import LEFT, RIGHT, WIDTH, Strip
from s4c_hpc.report.timeline.values import ValueRange

__all__ = [
    "LEFT",
    "RIGHT",
    "WIDTH",
    "DecisionStrip",
    "Observation",
    "OpticalStrip",
    "PeriodStrip",
    "RadarStrip",
    "RainStrip",
    "Strip",
    "ValueRange",
    "timeline_svg",
]
