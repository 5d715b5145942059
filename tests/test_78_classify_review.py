"""What a classification must not claim or learn: gaps, fields and parcels that a model has seen, forged models."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from support.crops import CropSpace, columns_of, crop_values
from support.html import by_class, by_id, parse, text_of
from test_78_classify_selection import declared

from s4c_hpc.classify.apply import apply_model
from s4c_hpc.classify.metrics import calibration, measure
from s4c_hpc.classify.sampling import TrainingSet, small_classes, training_set
from s4c_hpc.classify.saved import SavedModel, read_model, write_model
from s4c_hpc.classify.selection import class_order, select
from s4c_hpc.classify.sound import require_sound
from s4c_hpc.classify.stratum import judge
from s4c_hpc.config.classify import Classify
from s4c_hpc.core.errors import ConfigError, InputError

CROPS = [*"WMRG" * 12]
SEASONS = (("site", dt.date(2018, 1, 1)), ("site", dt.date(2019, 1, 1)), ("other", dt.date(2018, 1, 1)))


def test_gaps_say_nothing_of_the_size_of_a_class() -> None:
    rng = np.random.default_rng(3)
    labels = np.array(["large"] * 400 + ["small"] * 40, object)
    values = rng.normal(size=(440, 10)).astype(np.float32)
    values[rng.uniform(size=values.shape) < 0.3] = np.nan
    config = Classify(smote_target=400)
    found = training_set(values, labels, frozenset({"small"}), config)
    rate = {name: np.isnan(found.values[found.labels == name]).mean() for name in ("large", "small")}
    assert (found.labels == "small").sum() == 400
    assert rate["small"] == pytest.approx(rate["large"], abs=0.05)
    again = training_set(values, labels, frozenset({"small"}), config)
    assert np.array_equal(found.values, again.values, equal_nan=True)


def test_what_is_made_up_follows_from_the_parcels_that_may_teach_in_folds_too() -> None:
    n = {"1": 21, "2": 19}  # of a class between large and small, and of a small one
    labels = np.array([name for name, k in n.items() for _ in range(k)], object)
    parcels = declared(40, label=labels)
    config = Classify(class_min_parcels=3, trees=2, folds=3, train_many=100, train_few=20, smote_target=19)
    values = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    selection = select(parcels, np.ones(40, bool), None, None, config)
    assert small_classes(labels, selection.is_best, ("1", "2"), config) == {"2"}
    kept: list[TrainingSet] = []

    def watched(*args: Any) -> TrainingSet:
        kept.append(training_set(*args))
        return kept[-1]

    judge(values, parcels, selection, config, training=watched)
    assert len(kept) == 4
    for one in kept:
        assert set(one.labels[one.n_real :].tolist()) == {"2"}
    assert min((one.labels[: one.n_real] == "1").sum() for one in kept) < 19, "a fold lends fewer than the target"


def test_a_small_class_is_not_filled_beyond_those_that_are_not_small() -> None:
    with pytest.raises(ValueError, match="smote_target is not smaller than train_few"):
        Classify(train_few=100, smote_target=100)


def test_a_row_that_is_not_chosen_is_not_judged_by_a_model_that_saw_its_field() -> None:
    n = 40
    own = np.array([f"F{i // 2}" for i in range(n)], object)  # two rows a field, of one class
    parcels = declared(n, ori_id=own, label=np.array([("1", "2")[i // 2 % 2] for i in range(n)], object))
    is_chosen = np.arange(n) % 2 == 0
    valid = declared(n, ori_id=own, label=parcels.label, is_valid=is_chosen)
    values = np.random.default_rng(0).normal(size=(n // 2, 3)).astype(np.float32).repeat(2, axis=0)
    config = Classify(class_min_parcels=3, trees=20, min_node=2, folds=4, sampling="none")
    found = judge(values, valid, select(valid, np.ones(n, bool), None, None, config), config)
    assert set(found.role[is_chosen]) == {"training"}
    assert set(found.role[~is_chosen]) == {"related"}
    assert np.array_equal(found.chances[~is_chosen], found.chances[is_chosen]), "both rows by the model of one fold"
    assert np.isnan(found.chances_cv[~is_chosen]).all()


def test_where_all_are_right_the_intervals_have_a_width() -> None:
    same = np.array([0] * 20 + [1] * 12, np.intp)
    spans = measure(same, same, ("a", "b", "c")).intervals(1)
    for key in ("kappa", "macro_f1"):
        low, high = spans[key]
        assert 0.6 < low < 0.99
        assert high == 1


def test_a_class_called_by_another_digit_is_a_text() -> None:
    assert sorted(["²", "10", "9", "a"], key=class_order) == ["9", "10", "a", "²"]


def test_a_confidence_at_an_edge_belongs_to_the_upper_bin() -> None:
    edges = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], np.float32)
    for values in (edges, edges.astype(np.float64)):
        assert calibration(values, np.ones(9, bool)).n.tolist() == [0, *[1] * 9]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> CropSpace:
    made = CropSpace(tmp_path_factory.mktemp("taught"), CROPS)
    made.features(crop_values(CROPS, 12), columns_of(12))
    made.run()
    return made


@pytest.fixture(scope="module")
def copy(taught: CropSpace) -> Path:
    return Path(shutil.copy(taught.path(".skops"), taught.root / "copy.skops"))


def test_parcels_that_taught_a_saved_model_do_not_validate_it(taught: CropSpace, copy: Path) -> None:
    made = CropSpace(copy.parent / "again", CROPS, settings={"model_file": str(copy)})
    made.features(crop_values(CROPS, 12), columns_of(12))
    outcome = made.run()
    before = {own: row["role"] for own, row in taught.rows().items()}
    assert {own: row["role"] for own, row in made.rows().items()} == before
    n = list(before.values()).count("training")
    assert made.accuracy()["validation"]["n"] == len(CROPS) - n
    assert any(f"{n} of {len(CROPS)} parcels taught the saved model" in note for note in outcome.notes)


def test_where_all_parcels_taught_the_saved_model_nothing_is_claimed(tmp_path: Path) -> None:
    first = CropSpace(tmp_path / "first", CROPS, settings={"sampling": "none"})
    first.features(crop_values(CROPS, 12), columns_of(12))
    first.run()
    model = shutil.copy(first.path(".skops"), tmp_path / "copy.skops")
    made = CropSpace(tmp_path / "again", CROPS, settings={"model_file": str(model)})
    made.features(crop_values(CROPS, 12), columns_of(12))
    made.run()
    assert made.accuracy()["validation"] is None
    (outcome,) = by_class(parse(made.path(".html").read_text()), "outcome")
    assert "attention" in outcome.get("class", "")
    said = text_of(outcome)
    assert "No declaration was checked by a model that did not see it" in said
    assert "48 taught the saved model" in said
    assert "confirmed" not in said


def test_another_season_of_the_same_fields_validates(taught: CropSpace, copy: Path) -> None:
    saved = read_model(copy)
    parcels = declared(2, ori_id=np.array(["F0001", "none"], object))
    all_seen = [saved.has_seen(declared(48, ori_id=np.array(taught.ids, object)), *at).sum() for at in SEASONS]
    assert all_seen == [len(saved.taught), 0, 0]
    assert not saved.has_seen(parcels, "site", dt.date(2018, 1, 1))[1]
    assert list(saved.taught) == sorted(set(saved.taught))
    assert not any(own in "".join(saved.taught) for own in taught.ids)


def test_a_model_among_the_markers_of_the_workspace_is_refused(taught: CropSpace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="copy it elsewhere first"):
        taught.plan(taught.configured(model_file=str(taught.path(".skops"))))
    (tmp_path / "link.skops").symlink_to(taught.path(".skops"))
    with pytest.raises(ConfigError, match="copy it elsewhere first"):
        taught.plan(taught.configured(model_file=str(tmp_path / "link.skops")))


def test_a_parcel_without_a_feature_of_the_model_is_not_judged(copy: Path, tmp_path: Path) -> None:
    made = CropSpace(tmp_path, CROPS, settings={"model_file": str(copy)})
    values = np.column_stack([crop_values(CROPS, 12), np.ones(48, np.float32)])
    values[4, :12] = np.nan  # all that is left is a feature that the model does not ask for
    made.features(values, [*columns_of(12), *columns_of(1, feature="b04")])
    made.run()
    row = made.rows()["F0005"]
    assert (row["reason"], row["CT_pred_1"], row["role"]) == ("no-features", "", "none")
    files = [made.workspace.root / t.outputs[0] for t in made.feature_tasks]
    table = apply_model(read_model(copy), files, dt.date(2018, 1, 1))
    assert made.new_id["F0005"] not in table["NewID"].to_pylist()
    assert table.num_rows == 47


@pytest.mark.parametrize(
    ("n_without", "noise", "mood"), [(0, 0.02, "good"), (60, 0.02, "attention"), (0, 9, "attention")]
)
def test_the_headline_says_how_many_were_checked_and_when_to_look(
    tmp_path: Path, n_without: int, noise: float, mood: str
) -> None:
    crops = [*CROPS, *["X"] * n_without]  # a code that the table lacks
    made = CropSpace(tmp_path, crops)
    made.features(crop_values(crops, 12, noise=noise), columns_of(12))
    made.run()
    page = parse(made.path(".html").read_text())
    (outcome,) = by_class(page, "outcome")
    said = text_of(outcome)
    assert mood in outcome.get("class", "").split()
    assert f"48 of {len(crops)} parcels were checked" in said
    assert ("60 no crop code" in said) is bool(n_without)
    shown = text_of(by_id(page, "accuracy"))
    assert shown.index("Cross-validation") < shown.index("another mix of classes")


def forged(field: str, value: int, node: int = 0) -> Callable[[SavedModel], SavedModel]:
    """A model of whose first tree one node has another value, or which says another number of nodes."""

    def change(saved: SavedModel) -> SavedModel:
        tree = saved.models[""].estimators_[0].tree_
        state = tree.__getstate__()
        if field == "node_count":
            state[field] = value
        else:
            state["nodes"] = state["nodes"].copy()
            state["nodes"][field][node] = value
        tree.__setstate__(state)
        return saved

    return change


def changed(**fields: Any) -> Callable[[SavedModel], SavedModel]:
    return lambda saved: dataclasses.replace(saved, **fields)


def fewer_features(saved: SavedModel) -> SavedModel:
    return dataclasses.replace(saved, features=saved.features[:-1])


def another_kind(saved: SavedModel) -> SavedModel:
    return dataclasses.replace(saved, models={"": LogisticRegression().fit(np.eye(12), [*"ab" * 6])})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (forged("left_child", 10**6), "leads out of itself"),
        (forged("right_child", 0), "leads out of itself"),
        (forged("feature", 12), "asks for a feature"),
        (forged("node_count", 0), "is none"),
        (another_kind, "none of our kinds"),
        (fewer_features, "takes 12 features, 11 are listed"),
        (changed(classes={"": ("11", "12", "13")}), "classes that are not listed"),
        (changed(classes={"north": ("11", "12", "13", "14")}), "models are of strata"),
    ],
)
def test_a_model_that_is_not_what_it_says_is_refused(
    copy: Path, tmp_path: Path, change: Callable[[SavedModel], SavedModel], said: str
) -> None:
    path = tmp_path / "forged.skops"
    write_model(path, change(read_model(copy)))
    with pytest.raises(InputError, match=said):
        read_model(path)


def test_a_tree_that_says_more_nodes_than_it_has_is_refused_before_they_are_looked_at(copy: Path) -> None:
    saved = forged("node_count", 10**9)(read_model(copy))  # writing it again would crash
    with pytest.raises(ValueError, match="a tree of the model is none"):
        require_sound(saved.models[""], saved.classes[""], 12)


def test_a_boosted_tree_that_leads_out_of_itself_is_refused(tmp_path: Path) -> None:
    made = CropSpace(tmp_path, CROPS, settings={"model": "gradient-boosting", "sampling": "none"})
    made.features(crop_values(CROPS, 12), columns_of(12))
    made.run()
    saved = read_model(made.path(".skops"))
    split = next(p for of_round in saved.models[""]._predictors for p in of_round if p.nodes.size > 1)
    split.nodes = split.nodes.copy()
    split.nodes["left"][0] = 10**6
    write_model(tmp_path / "forged.skops", saved)
    with pytest.raises(InputError, match="leads out of itself"):
        read_model(tmp_path / "forged.skops")


@pytest.mark.parametrize("text", ["[]", "{}", '{"__class__": 1}', "null", '{"__loader__": "x", "protocol": 2}'])
def test_a_file_whose_schema_has_another_shape_is_no_model(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.skops"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("schema.json", text)
    with pytest.raises(InputError, match="is no model of ours"):
        read_model(path)


@pytest.mark.parametrize("key", ["strata", "names", "features", "season_start", "config", "site", "taught"])
@pytest.mark.parametrize("value", [None, 1, [1]])
def test_what_is_said_of_a_model_in_another_shape_is_no_model(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: Any
) -> None:
    saved = read_model(copy)
    about = {**saved.about(), key: value}
    monkeypatch.setattr(SavedModel, "about", lambda _: json.loads(json.dumps(about)))
    write_model(tmp_path / "a.skops", saved)
    with pytest.raises(InputError, match="is no model of ours"):
        read_model(tmp_path / "a.skops")
