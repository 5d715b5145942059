"""How crop types are told apart, which parcels teach, and when a declaration is doubted."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from s4c_hpc.config.section import Section


class Lights(Section):
    """When a declaration is confirmed, doubted or open."""

    green_from: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Green: the predicted class is the declared one, with at least this confidence; else yellow.",
    )
    red_from: float = Field(
        0.7,
        ge=0,
        le=1,
        description="Red: another class is predicted with at least this confidence; with less it is yellow.",
    )


class Classify(Section):
    """Crop types from features ([features]), and the check of declarations. Numbers are Sen4CAP's, where it has any."""

    enabled: bool = Field(default=False, description="Whether crop types are classified.")
    classes: Literal["table", "declared"] = Field(
        "table",
        description="table: classes are those that parcels.crop_table has for the crop codes; declared: the codes "
        "themselves, ungrouped.",
    )
    class_column: Literal["CTnumL4A", "CTnum", "CTnumDIV"] = Field(
        "CTnumL4A", description="Column of parcels.crop_table that says which crop codes are one class."
    )
    lc: tuple[int, ...] = Field(
        (1, 2, 3, 4),
        description="Land cover classes (column LC of parcels.crop_table) whose parcels teach and are judged; an empty "
        "list means all.",
    )
    min_s2_pixels: int = Field(3, ge=0, description="Sentinel-2 pixels that a parcel needs to be judged.")
    min_s1_pixels: int = Field(1, ge=0, description="Sentinel-1 pixels that a parcel needs to be judged.")
    best_s2_pixels: int = Field(10, ge=0, description="Sentinel-2 pixels that a parcel needs to teach.")
    class_min_parcels: int = Field(
        30, ge=3, description="Parcels that could teach which a class needs; smaller classes are left out."
    )
    sampling: Literal["reference", "none"] = Field(
        "reference",
        description="reference: train_few, train_many, their ratios and smote_target say how many parcels of a class "
        "teach, the others validate; none: every parcel that can teach does, none is made up, and there is no "
        "validation but that by folds.",
    )
    train_many: int = Field(4000, ge=1, description="From so many parcels a class is large: ratio_many of them teach.")
    train_few: int = Field(
        1333,
        ge=1,
        description="Below so many parcels a class is small: ratio_few of them teach, and SMOTE adds to them.",
    )
    ratio_many: float = Field(0.25, gt=0, lt=1, description="Share of the parcels of a large class that teach.")
    ratio_few: float = Field(0.75, gt=0, lt=1, description="Share of the parcels of a small class that teach.")
    smote_target: int = Field(
        1000,
        ge=1,
        description="Parcels that teach of a class that is neither large nor small, and up to which SMOTE fills a "
        "small one; less than train_few.",
    )
    smote_k: int = Field(5, ge=1, description="Neighbours between which SMOTE makes up parcels; fewer in tiny classes.")
    model: Literal["forest", "ensemble", "gradient-boosting"] = Field(
        "forest",
        description="forest: a random forest, as Sen4CAP; ensemble: extra trees and a kernel discriminant, better on "
        "rare classes (best with sampling none); gradient-boosting: boosted trees over histograms.",
    )
    trees: int = Field(300, ge=1, description="Trees of the forest, or rounds of boosting.")
    min_node: int = Field(10, ge=2, description="Smallest node of the forest that is split.")
    seed: int = Field(42, ge=0, le=2**32 - 1, description="Seed of everything that is drawn.")
    folds: int = Field(5, ge=2, le=50, description="Parts of the cross-validation.")
    weights: Literal["none", "area", "pixels"] = Field(
        "none", description="What parcels count by in a second table of accuracies: their area, or S2 pixels."
    )
    lights: Lights = Lights()
    model_file: Path | None = Field(
        None,
        description="A model that was saved before (.skops): it judges, nothing is taught. Features are matched by "
        "what they are and how long after site.season_start.",
    )
    cores: int = Field(1, ge=1, le=256, description="Cores that the task may use; results do not depend on it.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.train_few > self.train_many:
            raise ValueError("train_few is larger than train_many")
        if self.sampling == "reference" and self.smote_target >= self.train_few:
            raise ValueError(
                "smote_target is not smaller than train_few: a small class would be filled beyond the next"
            )
        return self
