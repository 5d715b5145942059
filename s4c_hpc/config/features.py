"""What of a season becomes features of the crop type classification."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field, field_validator, model_validator

from s4c_hpc.config.section import Section

FeatureSet = Literal["optical", "red-edge", "sar", "series"]


class FeaturePreset(StrEnum):
    """How the optical features of a season are made."""

    DEFAULT = "default"
    """Composites of fixed periods that begin with the season, gaps filled up to a limit."""
    REFERENCE = "reference"
    """As Sen4CAP's L4A does: values at dates counted from the first product, interpolated over any gap."""


class Features(Section):
    """Features of a season: what crop types are told apart by."""

    sets: tuple[FeatureSet, ...] = Field(
        (),
        description="optical: bands and indices of Sentinel-2 and Landsat; red-edge: the bands of red_edge, on their "
        "own grid; sar: backscatter and coherence of Sentinel-1; series: of imported tables ('s4c series import'). "
        "By default none.",
    )
    preset: FeaturePreset = Field(
        FeaturePreset.DEFAULT,
        description="default: composites of every_days from season_start, gaps filled up to max_gap_days; reference: "
        "optical and red-edge as Sen4CAP's L4A (which weighs no pixels: extract.weighting = 'centre'), whatever the "
        "other keys say; radar and imported tables as by default.",
    )
    optical: tuple[str, ...] = Field(
        ("B03", "B04", "B08", "B11", "ndvi", "ndwi_gao", "brightness"),
        description="Bands, indices and own formulas (variables.formulas) of the set optical, on the finest grid.",
    )
    red_edge: tuple[str, ...] = Field(
        ("B05", "B06", "B07", "B12"), description="Those of the set red-edge, on the finest grid that one of them has."
    )
    every_days: int = Field(
        10, ge=1, le=92, description="Length of a period in days; the first begins with the season."
    )
    max_gap_days: int | None = Field(
        60,
        ge=1,
        description="Longest gap that is filled, in days, counted in whole empty periods (less than one: nothing is "
        "filled), also before the first observation of a pixel and after its last one. A longer one stays empty.",
    )
    sar_months: int = Field(
        2,
        ge=1,
        le=12,
        description="Months of a period of backscatter of which mean and coefficient of variation are made.",
    )
    ranks: int = Field(
        8, ge=1, le=4096, description="Most MPI ranks that share a tile on a cluster; small tiles take fewer."
    )

    values_per_rank: float = Field(
        2e9, gt=0, description="Pixel values (pixels x bands x dates) that are worth a rank: some 10 seconds."
    )

    @model_validator(mode="after")
    def _apart(self) -> Features:
        if twice := sorted({name.lower() for name in self.optical} & {name.lower() for name in self.red_edge}):
            raise ValueError(f"{twice[0]!r} is in optical and in red_edge; leave it out of one")
        return self

    @field_validator("sets", "optical", "red_edge")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(value))
