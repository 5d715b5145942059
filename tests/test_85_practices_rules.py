"""Thresholds: one default set, those of countries from files that are checked, own ones on top."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from s4c_hpc.config.practices import COUNTRIES, PracticeName, PracticeRules, Practices, rules_of

FILES = Path(__file__).parents[1] / "configs" / "practices"
PRACTICES: tuple[PracticeName, ...] = ("NA", "CatchCrop", "Fallow", "NFC")


def test_every_country_has_a_file_and_every_file_is_one_of_a_country() -> None:
    assert sorted(path.stem.upper() for path in FILES.glob("*.toml")) == sorted(COUNTRIES)


@pytest.mark.parametrize("country", COUNTRIES)
@pytest.mark.parametrize("practice", PRACTICES)
def test_files_are_whole(country: str, practice: PracticeName) -> None:
    tables = tomllib.loads((FILES / f"{country.lower()}.toml").read_text())
    assert set(tables) == set(PRACTICES)
    assert isinstance(rules_of(practice, country), PracticeRules)


@pytest.mark.parametrize(
    ("country", "practice", "key", "value"),
    [
        (None, "NA", "ndvi_up", 350),
        ("DEU", "NA", "ndvi_up", 350),
        ("NLD", "CatchCrop", "ndvi_up", 500),
        ("NLD", "CatchCrop", "catch_crop_from", "07-15"),
        ("NLD", "CatchCrop", "practice_backscatter_slope_db", 0.03),
        ("NLD", "NA", "practice_backscatter_slope_db", 0.01),
        ("CZE", "Fallow", "practice_ndvi_up", 600),
        ("CZE", "Fallow", "loss_to", "08-31"),
        ("CZE", "NFC", "ndvi_buffer_divisor", 8),
        ("ESP", "Fallow", "ndvi_down", 150),
        ("ESP", "NFC", "backscatter_presence_deviation", False),
        ("ESP", "NA", "backscatter_presence_deviation", True),
        ("ITA", "CatchCrop", "ndvi_up", 500),
        ("ITA", "Fallow", "backscatter_presence_divisor", 1),
        ("LTU", "CatchCrop", "catch_crop_days", None),
        ("LTU", "Fallow", "practice_coherence_rise", 0.2),
        ("ROU", "CatchCrop", "practice_coherence_level", 0.6),
        ("ROU", "NFC", "practice_coherence_level", None),
    ],
)
def test_values_of_the_reference(country: str | None, practice: PracticeName, key: str, value: Any) -> None:
    assert getattr(rules_of(practice, country), key) == value


def test_own_thresholds_are_on_top() -> None:
    own = Practices(country="NLD", rules={"ndvi_up": 420, "tillage": True})
    found = rules_of("NA", own.country, own.rules)
    assert (found.ndvi_up, found.tillage, found.coherence_rise) == (420, True, 0.1)


@pytest.mark.parametrize("wrong", [{"ndvi_upp": 1}, {"catch_crop_from": "02-30"}, {"coherence_level": 75}])
def test_wrong_thresholds_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Practices(rules=wrong)


def test_defaults_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(PracticeRules(), "ndvi_up", 1)  # noqa: B010 - the type checker refuses it, too
