"""How agricultural practices are judged: every threshold of the rules, its default and what the reference calls it.

The defaults are those that the reference ships (S4C_L4C_Default_Config.cfg), not the fall-backs in its programs, which
differ. Countries have their own in ``configs/practices``, a file each.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator

from s4c_hpc.config.dips import DipRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.config.section import DayOfYear, Section
from s4c_hpc.core.bundled import bundled
from s4c_hpc.core.errors import ConfigError, listing

COUNTRIES: Final = ("CZE", "ESP", "ITA", "LTU", "NLD", "ROU")
"""Those with a file in ``configs/practices``."""

PracticeName = Literal["NA", "CatchCrop", "Fallow", "NFC"]


Thousandths = Annotated[int, Field(ge=-1000, le=1000)]
"""NDVI times 1000."""

Share = Annotated[float, Field(ge=0, le=1)]

_OR_NONE = BeforeValidator(lambda value: None if value == "none" else value)
"""TOML has no null: a key that a country leaves unset says "none"."""


class PracticeRules(Section):
    """Thresholds of the rules; NDVI in thousandths, coherence from 0 to 1, backscatter in dB."""

    ndvi_vegetation: Thousandths = Field(350, description="NDVI above which vegetation was seen (OPTTHRVEGCYCLE).")
    ndvi_down: Thousandths = Field(
        300, description="NDVI of bare ground; also the most that it may rise over a week that counts as loss (NDVIDW)."
    )
    ndvi_up: Thousandths = Field(350, description="NDVI below which a fall counts as a drop (NDVIUP).")
    ndvi_step: int = Field(5, ge=1, description="The lowest drop is rounded up to a multiple of this (NDVISTEP).")
    ndvi_before_loss: Thousandths = Field(100, description="NDVI that was there before a loss (OPTTHRMIN).")
    ndvi_buffer_divisor: float = Field(
        4, gt=0, description="The season's highest NDVI above the limit, divided by this, widens it (OPTTHRBUFDEN)."
    )
    coherence_rise: Share = Field(0.05, description="Growth of coherence that tells of work on the field (COHTHRBASE).")
    coherence_rise_high: Share = Field(
        0.15, description="Growth that stands in for backscatter in the weeks beside a fall of it (COHTHRHIGH)."
    )
    coherence_level: Share = Field(
        0.75,
        description="Coherence that is high by itself (COHTHRABS); where a parcel never has it, its highest one less "
        "coherence_rise, which makes the marker void on fields of low coherence.",
    )
    backscatter_loss_db: float = Field(
        0.1, ge=0, description="Least growth of VV - VH of a week that counts (AMPTHRMIN)."
    )
    backscatter_loss_divisor: float = Field(
        6, gt=0, description="Growth that counts, if more: standard deviation of weeks, divided (AMPTHRBREAKDEN)."
    )
    backscatter_presence_divisor: float = Field(
        2, gt=0, description="Level of VV - VH: mean less the standard deviation of weeks, divided (AMPTHRVALDEN)."
    )
    backscatter_presence_deviation: bool = Field(
        default=True, description="Whether that is taken from the mean (STDDEVINAMPTHR)."
    )
    max_vv_db: float = Field(-3.0, description="Acquisitions with more VV are outliers of mean and deviation.")
    max_pair_days: int = Field(
        6, ge=1, description="Growth of coherence counts from one pair to another that ends so many days later."
    )

    practice_ndvi: Thousandths = Field(
        325, description="NDVI from which vegetation of a practice is there (EFANDVITHR)."
    )
    practice_ndvi_up: Annotated[Thousandths | None, _OR_NONE] = Field(
        400, description="As ndvi_up, in the period of a practice (EFANDVIUP); without, ndvi_up."
    )
    practice_ndvi_down: Annotated[Thousandths | None, _OR_NONE] = Field(
        300, description="As ndvi_down, in the period of a practice (EFANDVIDW); without, ndvi_down."
    )
    practice_ndvi_least: Thousandths = Field(
        300, description="NDVI below which there is no vegetation, whether it fell or not (EFANDVIMIN)."
    )
    practice_backscatter_slope_db: float = Field(
        0.01, description="Growth of VV - VH in dB a day that tells of a loss, if significant at 5 % (EFAAMPTHR)."
    )
    practice_coherence_rise: Annotated[Share | None, _OR_NONE] = Field(
        0.2, description="Growth of coherence that tells of a loss (EFACOHCHANGE); without, coherence_rise_high."
    )
    practice_coherence_level: Annotated[Share | None, _OR_NONE] = Field(
        0.7, description="Coherence that tells of a loss (EFACOHVALUE); without, coherence_level."
    )

    catch_crop_days: Annotated[Annotated[int, Field(ge=1)] | None, _OR_NONE] = Field(
        56, description="Days that a catch crop has to stand (CATCHPERIOD); without, periods have to be given."
    )
    catch_crop_share: Share = Field(
        1 / 3, description="Share of the range of NDVI by which it may lie above its lowest (CATCHPROPORTION)."
    )
    catch_crop_from: DayOfYear | None = Field(
        None, description="No catch crop begins earlier, 07-15 (CATCHPERIODSTART)."
    )
    undersown_types: tuple[str, ...] = Field(
        ("CatchCropIsMain",),
        description="Types of catch crop that need no harvest before (CATCHMAIN, CATCHCROPISMAIN).",
    )
    loss_from: DayOfYear | None = Field(
        None, description="Vegetation of fallow land has to be lost from this day on (FLMARKSTARTDATE)."
    )
    loss_to: DayOfYear | None = Field(None, description="To this day (FLMARKSTENDDATE).")

    tillage: bool = Field(
        default=False, description="Whether tillage after the harvest is looked for (tillage_monitoring)."
    )
    tillage_coherence_rise: Share = Field(0.05, description="As coherence_rise, for tillage (TLCOHTHRBASE).")
    tillage_coherence_level: Share = Field(0.75, description="As coherence_level, for tillage (TLCOHTHRABS).")
    tillage_to: DayOfYear | None = Field(
        None, description="Last day that is looked at (TLMONITORINGENDDATE); without, the last week."
    )

    min_coherence_values: int = Field(15, ge=0, description="A parcel needs more values of coherence than this.")
    min_acquisitions: int = Field(
        15, ge=0, description="A parcel needs as many values of coherence of one orbit (tsa_min_acqs_no)."
    )
    min_s1_pixels: int = Field(1, ge=0, description="A parcel needs as many pixels of radar (s1pixthr).")


class OpticalEventRules(DipRules):
    """What harvests and catch crops look like in optical series alone; NDVI and other indices in their own unit.

    Two thresholds of NDVI are those of PracticeRules. The rest was set before or while looking at 18 cereal fields of
    one season (tests/data/tum-freising-2018); benchmarks/README.md says what becomes of each a quarter up and down.
    """

    shade_share: Share = Field(
        0.75, description="SWIR1 below this share of both neighbours is the shadow of a cloud: crops do not come back."
    )
    shade_days: float = Field(
        30, gt=0, description="It is one only if the neighbours are no more days apart: a crop grows and goes in more."
    )
    min_values: int = Field(3, ge=2, description="An index of which a parcel has fewer values is not used for it.")
    crop_days: float = Field(
        100, ge=0, description="Days before the harvest may be, from which on the crop's greenest look is taken."
    )
    vegetation: float = Field(0.35, description="NDVI from which there is vegetation (OPTTHRVEGCYCLE).")
    bare: float = Field(0.3, description="NDVI up to which there may be bare ground or stubble (NDVIDW).")
    bare_share: Share = Field(
        0.9, gt=0, description="Share of the deepest fall of NDVI from which on a look is as bare as the barest one."
    )
    ground_bsi: float = Field(
        0.0,
        description="BSI that ground is above: SWIR1 and red outweigh near infrared and blue; clouds, snow and "
        "green plants are below.",
    )
    min_rise: float = Field(
        0.05, gt=0, description="An index that rises by less from crop to ground tells nothing; twice its usual noise."
    )
    ground_share: Share = Field(
        0.8,
        description="Share of the way from greenest crop to barest ground from which the crop is gone: the end of "
        "season at 20 % of the amplitude, as in TIMESAT (Joensson and Eklundh 2004), on brightness instead of NDVI.",
    )
    full_change: float = Field(0.5, gt=0, description="Change of NDVI from full cover to bare ground, or back.")
    full_step: Share = Field(0.5, gt=0, description="Share of the way that a harvest between two near looks makes.")
    window_days: float = Field(30, gt=0, description="Length of a window that halves the confidence.")
    without_swir1: Share = Field(
        0.5, description="Confidence of a harvest is multiplied by this without SWIR1: senescence looks alike."
    )
    catch_rise: float = Field(
        0.15, gt=0, description="NDVI by which a catch crop is above the barest look since the harvest: weeds are less."
    )
    catch_looks: int = Field(2, ge=1, description="Looks that a catch crop has to be seen in.")


class Practices(Section):
    """Agricultural practices: harvest, catch crops, fallow land, nitrogen-fixing crops, tillage."""

    enabled: bool = Field(default=False, description="Whether practices are judged.")
    mode: Literal["improved", "reference"] = Field(
        "improved",
        description="improved: ours, which weighs NDVI and each orbit of radar, copes with gaps and says how sure "
        "it is; reference: as Sen4CAP's L4C, its defects included.",
    )
    country: str | None = Field(
        None,
        description="Thresholds of a country that the reference ships, of configs/practices: "
        f"{', '.join(COUNTRIES)}; or another code of a country, which has the defaults.",
        pattern=r"^[A-Z]{3}$",
    )
    table: Path | None = Field(
        None,
        description="CSV file of declared practices, a row a parcel: FIELD_ID (its id in the declaration), VEG_START, "
        "H_START, H_END, PRACTICE, P_TYPE, P_START, P_END. Without, the harvest of every parcel is looked for in the "
        "whole season.",
    )
    delimiter: str = Field(";", min_length=1, max_length=1, description="Between columns of the table.")
    ndvi: str = Field("ndvi", description="Variable that is NDVI.")
    rules: dict[str, Any] = Field(
        {}, description="Thresholds of your own, in place of those of the country, for every practice."
    )
    improved: ImprovedRules = Field(ImprovedRules(), description="Weights of mode improved.")
    optical: OpticalEventRules = Field(
        OpticalEventRules(),
        description="Mode improved: what harvests and catch crops look like in optical series; its thresholds of "
        "vegetation and bare ground are those of the practice.",
    )
    ground: dict[Literal["bsi", "swir1", "ndti"], str] = Field(
        {"bsi": "bsi", "swir1": "b11", "ndti": "ndtilli"},
        description="Mode improved: variables that tell of bare ground, where series have them: the bare soil index, "
        "the reflectance of SWIR1 and the tillage index. With them a harvest is told from ripening.",
    )

    @field_validator("rules")
    @classmethod
    def _known(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in sorted(value.keys() - PracticeRules.model_fields.keys()):
            near = difflib.get_close_matches(name, PracticeRules.model_fields, n=3, cutoff=0.4)
            raise ValueError(f"there is no threshold {name!r}; near are {listing(near)}")
        PracticeRules.model_validate(value)
        return value


def rules_of(practice: PracticeName, country: str | None, own: dict[str, Any] | None = None) -> PracticeRules:
    """Thresholds of a practice in a country: defaults, then the country's, then own ones.

    Raises
    ------
    ConfigError
        If the country's file has a key that there is not.
    """
    values: dict[str, Any] = {}
    if country in COUNTRIES:
        path = bundled(f"configs/practices/{country.lower()}.toml")
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        values = tables[practice]
        try:
            PracticeRules.model_validate(values)
        except ValidationError as error:
            raise ConfigError(str(error), where=f"{path} [{practice}]", hint="correct the key") from error
    return PracticeRules.model_validate({**values, **(own or {})})
