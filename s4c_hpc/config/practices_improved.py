"""How the improved rules of practices weigh what was seen; thresholds of markers are those of ``PracticeRules``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from s4c_hpc.config.section import Section

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, lt=1)]


class ImprovedRules(Section):
    """Weights and limits of the improved rules. No weight is fitted: there is too little truth; they order evidence."""

    tolerance_weeks: int = Field(
        1, ge=0, le=4, description="Weeks that may lie between the first and the last marker of a harvest."
    )
    max_pair_days: int = Field(
        24, ge=1, description="Values of an orbit further apart than this are not compared with each other."
    )
    pair_days: float = Field(
        6, gt=0, description="Days between values that thresholds of a rise of coherence are made for."
    )
    pair_exponent: Share = Field(
        0.5,
        description="A rise over more days is divided by (days / pair_days) to this power: 0.5, as chance changes "
        "grow; 0 leaves it, 1 makes it a rate.",
    )
    usual_share: float = Field(
        1.5,
        ge=0,
        description="A change of coherence or VV - VH of an orbit counts from so many standard deviations of its usual "
        "changes on, if that is more than the threshold of its marker.",
    )
    near_days: int = Field(
        21, ge=1, description="NDVI no further away than this can speak against a loss of vegetation."
    )
    ripening_days: int = Field(
        42, ge=0, description="After NDVI was lost, radar may show the harvest so many days later: crops ripen first."
    )
    least_looks: int = Field(3, ge=1, description="Looks at NDVI in the season that can tell that there is no crop.")

    weight_optical: Weight = Field(0.6, description="Confidence that a loss in NDVI gives by itself.")
    weight_coherence: Weight = Field(
        0.35,
        description="Confidence that a rise of coherence from coherence_rise_high on gives, of one orbit; half of it "
        "at coherence_rise, or where coherence is high and did not rise.",
    )
    weight_backscatter: Weight = Field(
        0.2,
        description="Confidence that a lasting growth of VV - VH by its standard deviation gives, of one orbit; half "
        "of it at the limit of the marker.",
    )
    weight_steady: Weight = Field(
        0.3, description="Confidence that cover stays which an orbit without any sign of work on the field gives."
    )
    weight_bare: Weight = Field(
        0.25, description="Confidence of tillage that NDVI of bare ground before it gives, where coherence falls."
    )
    doubt_share: Share = Field(0.5, description="What is left of the weight of a rise of coherence in doubt.")
    against_share: Share = Field(
        0.3, description="What is left of a confidence of radar where NDVI around shows that nothing was lost."
    )
    silent_share: Share = Field(
        0.75, description="What is left of a confidence of NDVI where radar was there and shows nothing."
    )
    least_confidence: Share = Field(0.4, description="Confidence from which something was found.")
    moderate_confidence: Share = Field(0.5, description="Confidence from which a practice is MODERATE.")
    strong_confidence: Share = Field(
        0.7,
        description="Confidence from which a practice is STRONG; with these weights two orbits, or one and NDVI, do.",
    )
    weak_confidence: Share = Field(0.3, description="Confidence from which a practice is WEAK, and not POOR.")

    mowing_fall: int = Field(
        120, ge=1, le=1000, description="Fall of NDVI, in thousandths, between two looks that tells of a cut."
    )
    mowing_regrowth: int = Field(60, ge=0, le=1000, description="Growth of NDVI after a cut, in thousandths.")
    mowing_regrowth_days: int = Field(60, ge=1, description="Days in which it has to grow again.")
    mowing_bare: int = Field(
        250, ge=-1000, le=1000, description="NDVI below which the ground is bare: turned rather than mown."
    )
    tillage_fall: Share = Field(0.15, description="Fall of coherence on bare ground that tells of tillage.")
