"""How mowing is detected: thresholds of the reference's detectors and of ours, and rules of compliance by crop."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from s4c_hpc.config.dips import DipRules
from s4c_hpc.config.section import DayOfYear, Section

Share = Annotated[float, Field(ge=0, le=1)]


class MowingMode(StrEnum):
    """Which detector."""

    IMPROVED = "improved"
    """Ours: falls of NDVI judged by a fitted confidence."""
    REFERENCE = "reference"
    """As Sen4CAP's L4B does."""


class OpticalRules(Section):
    """The reference's Sentinel-2 detector; keys as in S4C_L4B_Default_Config.cfg."""

    corrupted_th: float = Field(0.1, description="NDVI below this is no value.")
    decreasing_abs_th: float = Field(0.12, description="A fall of NDVI must be larger than this.")
    decreasing_rate_th: float = Field(-1e-6, description="Change of NDVI a day over the fall must be less.")
    increasing_rate_th: float = Field(
        0.05, description="Change of NDVI a day after the fall must be less: quicker recovery is a cloud."
    )
    high_abs_th: float = Field(0.75, description="NDVI after the fall must be lower.")
    low_abs_th: float = Field(0.5, description="NDVI before the fall must be higher.")
    no_mowing_after_det: float = Field(
        30, gt=0, description="Longest window of an event in days, counted from its end."
    )
    non_overlap_interval_days: float = Field(45, ge=0, description="Days that two windows must span to be two events.")


class RadarRules(Section):
    """The reference's Sentinel-1 detector; keys as in S4C_L4B_Default_Config.cfg."""

    stat_smpl_n: int = Field(
        5, ge=3, description="Coherences before the one that is judged, to which a line is fitted."
    )
    pfa: float = Field(3e-8, gt=0, lt=0.5, description="Probability of a false alarm of one test; sets the threshold.")
    min_cohe_var: float = Field(
        0.024, ge=0, description="Variance of the coherence of a pixel; by pixels of the parcel the least variance."
    )
    saturate_sigma: bool = Field(default=True, description="Whether min_cohe_var counts.")
    s1_time_interval: int = Field(6, ge=1, description="Days of a pair, whatever they really are.")
    non_overlap_interval_days: float = Field(28, ge=0, description="Days between the ends of two events.")


class ReferenceRules(Section):
    """The reference's detectors and their fusion."""

    optical: OpticalRules = OpticalRules()
    radar: RadarRules = RadarRules()
    max_events: int = Field(4, ge=1, le=12, description="Events of a parcel that are kept, the most confident ones.")


class ImprovedRules(DipRules):
    """Our detector: what may be an event, and the weights of its confidence.

    Weights were fitted to all plots of gmd-slovakia-mowing; the figures in the docs are from folds over plots.
    """

    corrupted_th: float = Field(0.1, description="NDVI below this is no value.")
    min_fall: float = Field(0.02, gt=0, description="Smallest fall between two looks that is considered.")
    reference_days: float = Field(
        35, gt=0, description="Days before the fall whose highest NDVI is the local reference."
    )
    low_days: float = Field(20, gt=0, description="Days after the fall whose lowest NDVI is the stubble.")
    regrowth_days: tuple[float, float] = Field(
        (8, 70), description="Days after the fall, from and to, whose highest NDVI is the regrowth."
    )
    coherence_days: float = Field(30, gt=0, description="Days before and after the fall whose coherences are compared.")
    intercept: float = Field(-14.7, description="Of the log-odds that a fall is a mowing.")
    fall_weight: float = Field(13.5, description="Log-odds for each unit of the fall between the two looks.")
    reference_weight: float = Field(11.7, description="Log-odds for each unit of the local reference.")
    regrowth_weight: float = Field(13.9, description="Log-odds for each unit of NDVI that comes back afterwards.")
    regrowth_usual: float = Field(0.12, description="Regrowth that stands where nothing was seen afterwards.")
    coherence_weight: float = Field(1.22, description="Log-odds for each unit by which coherence has risen.")
    coherence_usual: float = Field(
        0.023, description="Rise of coherence that tells nothing; stands where there is none."
    )
    min_confidence: Share = Field(0.4, description="Events with less are not reported.")
    min_days: float = Field(28, ge=0, description="Days between two events; the more confident one is kept.")
    max_events: int = Field(6, ge=1, le=12, description="Events of a parcel that are kept, the most confident ones.")
    min_looks: int = Field(5, ge=3, description="Looks in the season that a parcel needs to be assessed.")


class CropRule(Section):
    """What a crop's mowings must or must not be in time."""

    crops: tuple[str, ...] = Field(min_length=1, description="Codes of the declaration (crop_codes).")
    periods: tuple[tuple[DayOfYear, DayOfYear], ...] = Field(
        min_length=1, description="First and last days, e.g. [['04-01', '07-31']] (crop_time_intervals)."
    )
    rule: Literal[0, 1] = Field(0, description="1: mowings outside of the periods are told apart (crop_rule).")


class Mowing(Section):
    """Mowing of grassland (L4B)."""

    enabled: bool = Field(default=False, description="Whether mowing is detected.")
    mode: MowingMode = Field(MowingMode.IMPROVED, description="improved: our detector; reference: as Sen4CAP's L4B.")
    crops: tuple[str, ...] = Field(
        (),
        description="Codes of the declaration whose parcels are assessed; all by default, and a harvest looks alike.",
    )
    season: tuple[DayOfYear, DayOfYear] = Field(("04-01", "10-31"), description="First and last day of events.")
    ndvi: str = Field("ndvi", description="Variable of the series that is NDVI; its means are used.")
    coherence: tuple[str, ...] = Field(
        (
            "cohvv",
            "cohvh",
            "coherence_vv",
            "coh_vv",
            "vv_coherence",
            "vv_coh",
            "coherence_vh",
            "coh_vh",
            "vh_coherence",
            "vh_coh",
        ),
        description="Variables that are coherence; those that there are. The reference uses VH alone.",
    )
    improved: ImprovedRules = ImprovedRules()
    reference: ReferenceRules = ReferenceRules()
    compliance: tuple[CropRule, ...] = Field((), description="Rules by crop; a crop without one gets the code -1.")
