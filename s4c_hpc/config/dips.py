"""What tells a cloud that was not masked from a change of plants, in a series of NDVI."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from s4c_hpc.config.section import Section

Share = Annotated[float, Field(ge=0, le=1)]


class DipRules(Section):
    """Looks far below both neighbours whose NDVI is back sooner than plants grow."""

    dip_depth: float = Field(
        0.08, gt=0, description="An NDVI this far below both of its neighbours may be a cloud that was not masked."
    )
    dip_days: float = Field(12, gt=0, description="It is one if the next look is no later and NDVI has come back.")
    dip_rate: float = Field(
        0.03, ge=0, description="It is one only if NDVI rises by more than this a day afterwards: grass is slower."
    )
    dip_share: Share = Field(0.8, description="Come back: short of the look before by less than this share of the dip.")
