"""Which parcels teach and are judged, which are not and why, which classes are told apart, and when nothing is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from s4c_hpc.classify.lights import agreement, lights
from s4c_hpc.classify.selection import NEVER_CLASSIFIED, WORDS, Declared, Reason, require_classes, select
from s4c_hpc.config.classify import Classify, Lights
from s4c_hpc.core.errors import InputError


def declared(n: int, **columns: Any) -> Declared:
    """Good parcels of two classes by turns, but for some columns."""
    values: dict[str, Any] = {
        "new_id": np.arange(1, n + 1, dtype=np.int32),
        "tile": np.full(n, "32UPU", object),
        "ori_id": np.array([f"F{i}" for i in range(n)], object),
        "label": np.array([("1", "2")[i % 2] for i in range(n)], object),
        "land_cover": np.ones(n, np.int64),
        "stratum": np.full(n, "", object),
        "is_valid": np.ones(n, np.bool_),
        "is_duplicate": np.zeros(n, np.bool_),
        "is_overlapping": np.zeros(n, np.bool_),
        "area_m2": np.full(n, 1e4),
    }
    return Declared(**{**values, **columns})


def some(n: int, first: Any, others: Any, kind: Any) -> Any:
    """A column whose first value is another than the rest."""
    return np.array([first] + [others] * (n - 1), kind)


N = 20
FEW = Classify(class_min_parcels=3)


@pytest.mark.parametrize(
    ("columns", "s2", "s1", "has", "reason"),
    [
        ({}, 50.0, 50.0, True, Reason.NONE),
        ({}, 50.0, 50.0, False, Reason.NO_FEATURES),
        ({"is_duplicate": some(N, 1, 0, bool)}, 50.0, 50.0, True, Reason.DUPLICATE),
        ({"is_overlapping": some(N, 1, 0, bool)}, 50.0, 50.0, True, Reason.OVERLAPPING),
        ({"is_valid": some(N, 0, 1, bool)}, 50.0, 50.0, True, Reason.INVALID),
        ({"label": some(N, "", "1", object)}, 50.0, 50.0, True, Reason.NO_CLASS),
        ({"land_cover": some(N, 5, 1, np.int64)}, 50.0, 50.0, True, Reason.LAND_COVER),
        ({"land_cover": some(N, -1, 1, np.int64)}, 50.0, 50.0, True, Reason.LAND_COVER),
        ({}, 2.0, 50.0, True, Reason.FEW_S2),
        ({}, np.nan, 50.0, True, Reason.FEW_S2),
        ({}, 3.0, 50.0, True, Reason.NONE),
        ({}, 50.0, 0.0, True, Reason.FEW_S1),
        ({}, 50.0, 1.0, True, Reason.NONE),
        ({"label": some(N, "9", "1", object)}, 50.0, 50.0, True, Reason.SMALL_CLASS),
    ],
)
def test_the_first_parcel_gets_its_reason_and_no_other_does(
    columns: dict[str, Any], s2: float, s1: float, has: bool, reason: Reason
) -> None:
    found = select(
        declared(N, **columns),
        some(N, has, 1, bool),
        some(N, s2, 50.0, np.float32),
        some(N, s1, 50.0, np.float32),
        FEW,
    )
    assert found.reason[0] == reason.value
    assert set(found.reason[1:]) == {""}
    assert found.is_classified[0] == (reason not in NEVER_CLASSIFIED)


def test_every_reason_has_words() -> None:
    assert set(WORDS) == set(Reason) - {Reason.NONE}


def test_rules_on_pixels_are_not_applied_where_nobody_counted_any() -> None:
    found = select(declared(N), np.ones(N, bool), None, None, FEW)
    assert set(found.reason) == {""}
    assert found.is_best.all()


def test_an_empty_list_of_land_covers_means_all() -> None:
    columns = {"land_cover": some(N, 5, 1, np.int64)}
    found = select(declared(N, **columns), np.ones(N, bool), None, None, FEW.model_copy(update={"lc": ()}))
    assert set(found.reason) == {""}


def test_only_the_best_parcels_make_a_class_and_small_parcels_still_validate() -> None:
    pixels = np.where(np.arange(N) % 2 == 0, 12, 9).astype(np.float32)  # class 2 has no parcel of 10 pixels
    pixels[[1, 3]] = 10
    found = select(declared(N), np.ones(N, bool), pixels, None, FEW)
    assert found.classes == ("1",)
    assert found.small == {"2": 2}
    pixels[5] = 10
    found = select(declared(N), np.ones(N, bool), pixels, None, FEW)
    assert found.classes == ("1", "2")
    assert found.is_best.tolist() == (pixels >= 10).tolist()
    assert found.is_chosen.all()


def test_classes_are_in_the_order_of_numbers() -> None:
    labels = np.array(["10", "9", "x"] * 6, object)
    found = select(declared(18, label=labels), np.ones(18, bool), None, None, FEW)
    assert found.classes == ("9", "10", "x")


def test_classes_of_a_saved_model_are_not_chosen_anew() -> None:
    found = select(declared(N), np.ones(N, bool), None, None, FEW, ("1", "7"))
    assert found.classes == ("1", "7")
    assert found.reason.tolist() == ["", Reason.UNKNOWN_CLASS.value] * 10


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["1"] * 20, "only one class, 1, has 3 parcels"),
        (
            ["1"] * 2 + ["2"] * 2 + [""] * 16,
            r"no class has 3 parcels that can teach; smaller ones are 1 \(2\), 2 \(2\)",
        ),
        ([""] * 20, "not one of 20 parcels can teach; left out: 20 no crop code"),
    ],
)
def test_a_stratum_that_cannot_teach_says_why(labels: list[str], said: str) -> None:
    found = select(declared(N, label=np.array(labels, object)), np.ones(N, bool), None, None, FEW)
    with pytest.raises(InputError, match=said):
        require_classes(found, "all parcels", FEW)


def test_lights_follow_their_rule() -> None:
    #            green  yellow: unsure  red   yellow  grey: unknown  grey: none
    declared_ = np.array(["a", "a", "a", "a", "z", "a"], object)
    first = np.array(["a", "a", "b", "b", "b", ""], object)
    second = np.array(["b", "b", "a", "c", "c", ""], object)
    sure = np.array([0.5, 0.499, 0.7, 0.699, 0.9, np.nan], np.float32)
    agreed = agreement(declared_, first, second, declared_ != "z")
    assert agreed.tolist() == ["first", "first", "second", "other", "none", "none"]
    rule = Lights(green_from=0.5, red_from=0.7)
    assert lights(agreed, sure, rule).tolist() == ["green", "yellow", "red", "yellow", "grey", "grey"]
