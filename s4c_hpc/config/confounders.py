"""What else than a farmer changes coherence: thresholds of the comparison with fields around, and of rain."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from s4c_hpc.config.section import Section


class Confounders(Section):
    """Rain, and what fields around have in common: doubts about changes of coherence.

    All numbers are proposals to be calibrated: none of them is published for coherence of parcels.
    """

    enabled: bool | None = Field(
        None,
        description="true: always; false: never; by default where weather was imported and mowing or practices are "
        "asked for, so that nothing changes for who has no weather.",
    )
    polarisation: Literal["VV", "VH"] = Field("VV", description="Of the coherence that is compared.")
    crop: str = Field(
        "ori_crop",
        description="Column of the parcels whose values are crop groups: fields of the same one are compared. "
        "A column of the declaration with fewer groups finds more of them.",
    )
    distance_m: float = Field(5000, gt=0, description="Fields around are at most so far away, from centre to centre.")
    min_peers: int = Field(8, ge=3, description="Fewer fields around with a change on that day tell nothing.")
    max_peers: int = Field(64, ge=3, description="Of more fields around, so many nearest ones count, for speed.")
    min_spread: float = Field(
        0.02, gt=0, description="Least standard deviation of changes, where fields around agree by chance."
    )
    rise: float = Field(0.05, gt=0, description="A change of coherence by as much is a rise.")
    min_z: float = Field(
        1.0,
        description="A rise must exceed the median change around by so many standard deviations, or it is common.",
    )
    wet_mm: float = Field(5.0, gt=0, description="Rain of a day that makes a field wet.")
    wet_mads: float = Field(
        2.0,
        gt=0,
        description="All fields around count as wet where the median of their changes exceeds so many of its median "
        "absolute deviations over the season.",
    )
    min_season: int = Field(6, ge=3, description="Medians of a season and orbit that wet_mads needs.")
