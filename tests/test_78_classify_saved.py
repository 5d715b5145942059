"""Saved models: the same bytes, the same answers, in another year, and nothing foreign is read."""

from __future__ import annotations

import datetime as dt
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer
from support.cli import s4c
from support.crops import LUT, CropSpace, columns_of, crop_values

from s4c_hpc.classify.apply import apply_model
from s4c_hpc.classify.matrix import Key, keys_of
from s4c_hpc.classify.models import probabilities
from s4c_hpc.classify.saved import read_model
from s4c_hpc.core.errors import InputError, MissingDataError

CROPS = [*"WMRG" * 12]


def space(root: Path, start: dt.date = dt.date(2018, 1, 1), seed: int = 0, **options: Any) -> CropSpace:
    made = CropSpace(root, CROPS, start=start, **options)
    made.features(crop_values(CROPS, 12, seed), columns_of(12, start=start))
    return made


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> CropSpace:
    made = space(tmp_path_factory.mktemp("taught"))
    made.run()
    return made


def test_what_is_read_answers_as_what_was_written(taught: CropSpace) -> None:
    saved = read_model(taught.path(".skops"))
    assert saved.classes == {"": ("11", "12", "13", "14")}
    assert saved.names == {"11": "Wheat", "12": "Maize", "13": "Rape", "14": "Grass"}
    assert saved.features[1] == Key(feature="ndvi", statistic="mean", day=10, days=10)
    assert saved.season_start == dt.date(2018, 1, 1)
    assert saved.config["trees"] == 15
    assert {"scikit-learn", "skops"} <= set(saved.software)
    files = [taught.workspace.root / t.outputs[0] for t in taught.feature_tasks]
    table = apply_model(saved, files, dt.date(2018, 1, 1)).to_pylist()
    rows = {row["NewID"]: row for row in taught.rows().values()}
    for row in table:
        if rows[row["NewID"]]["role"] == "validation":  # the others are judged by models of folds
            assert row["CT_pred_1"] == rows[row["NewID"]]["CT_pred_1"]
            assert row["CT_conf_1"] == pytest.approx(rows[row["NewID"]]["CT_conf_1"])


def test_no_chance_is_left_in_a_file(taught: CropSpace, tmp_path: Path) -> None:
    again = space(tmp_path)
    again.run()
    assert again.path(".skops").read_bytes() == taught.path(".skops").read_bytes()
    with zipfile.ZipFile(again.path(".skops")) as file:
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_another_year_is_judged_by_when_in_the_season(taught: CropSpace, tmp_path: Path) -> None:
    settings = {"model_file": str(taught.path(".skops"))}
    later = space(tmp_path, dt.date(2021, 1, 4), seed=5, settings=settings)
    outcome = later.run()
    assert not any(path.endswith(".skops") for path in outcome.outputs)
    found = later.accuracy("2021")
    assert found["roles"] == {"validation": 48}
    assert found["validation"]["accuracy"] > 0.7
    assert found["cross_validation"] is None
    assert (later.path(".html", "2021")).is_file()


def test_a_class_that_the_model_does_not_know_is_said(taught: CropSpace, tmp_path: Path) -> None:
    other = space(
        tmp_path,
        settings={"model_file": str(taught.path(".skops"))},
        lut=LUT.replace("G,4,Grass,3,14", "G,4,Grass,3,77"),
    )
    other.run()
    row = other.rows()["F0004"]
    assert (row["CT_decl"], row["reason"], row["agreement"], row["light"]) == ("77", "unknown-class", "none", "grey")


def test_the_model_is_part_of_the_identity(taught: CropSpace, tmp_path: Path) -> None:
    copy = tmp_path / "copy.skops"
    copy.write_bytes(taught.path(".skops").read_bytes())
    twin = tmp_path / "twin.skops"
    twin.write_bytes(copy.read_bytes())
    one = taught.plan(taught.configured(model_file=str(twin))).id
    assert taught.plan(taught.configured(model_file=str(copy))).id == one, "a path is where it lies, not what it is"
    other = space(tmp_path / "other", settings={"seed": 1})
    other.run()
    assert taught.plan(taught.configured(model_file=str(other.path(".skops")))).id != one


def test_features_that_are_missing_are_listed(taught: CropSpace, tmp_path: Path) -> None:
    made = CropSpace(tmp_path, CROPS, settings={"model_file": str(taught.path(".skops"))})
    made.features(crop_values(CROPS, 10), columns_of(10))
    with pytest.raises(
        InputError, match=r"2 of 12 features of the model are not there: ndvi mean day \+100, 10 d, ndvi"
    ):
        made.run()


def test_periods_are_matched_within_days_and_never_twice() -> None:
    start = dt.date(2018, 1, 1)
    keys = keys_of([*columns_of(2), *columns_of(1, feature="b04")], start)
    assert [str(k) for k in keys] == ["ndvi mean day +0, 10 d", "ndvi mean day +10, 10 d", "b04 mean day +0, 10 d"]
    twice = keys_of([*columns_of(1), *columns_of(1)], start)
    assert [k.number for k in twice] == [0, 1]


def test_types_that_are_none_of_a_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.skops"
    skops.io.dump({"about": "{}", "models": {"": FunctionTransformer(func=json.loads)}}, path)
    with pytest.raises(InputError, match=r"is not read: json\.loads"):
        read_model(path)


def test_other_files_are_no_models(taught: CropSpace, tmp_path: Path) -> None:
    text = tmp_path / "a.skops"
    text.write_text("no model")
    with pytest.raises(InputError, match="is no model of ours"):
        read_model(text)
    plain = tmp_path / "b.skops"
    skops.io.dump({"something": 1}, plain)
    with pytest.raises(InputError, match="is no model of ours"):
        read_model(plain)
    cut = tmp_path / "c.skops"
    cut.write_bytes(taught.path(".skops").read_bytes()[:-500])
    with pytest.raises(InputError, match="is no model of ours"):
        read_model(cut)
    with pytest.raises(MissingDataError, match="no such model"):
        read_model(tmp_path / "none.skops")


@pytest.mark.parametrize("model", ["forest", "ensemble", "gradient-boosting"])
def test_probabilities_are_the_same_bits_for_any_number_of_cores(tmp_path: Path, model: str) -> None:
    made = space(tmp_path, settings={"model": model})
    made.run()
    saved = read_model(made.path(".skops"))
    values = np.random.default_rng(0).normal(size=(9000, 12)).astype(np.float32)
    everyone = np.ones(9000, np.bool_)
    one, three = (probabilities(saved.models[""], values, everyone, saved.classes[""], cores) for cores in (1, 3))
    assert one.tobytes() == three.tobytes()


def test_commands_show_and_apply_a_model(taught: CropSpace) -> None:
    model, file = taught.path(".skops"), taught.workspace.root / taught.feature_tasks[0].outputs[0]
    (taught.workspace.root / "s4c.toml").touch()
    shown = s4c("classify", "model", model)
    assert "classes: 11 Wheat, 12 Maize" in shown.stderr
    assert "ndvi" in shown.stdout
    applied = s4c("classify", "apply", model, file, "--season-start", "2018-01-01")
    assert applied.stdout.splitlines()[0] == '"NewID","CT_pred_1","CT_conf_1","CT_pred_2","CT_conf_2"'
    assert len(applied.stdout.splitlines()) == 1 + len(CROPS)
    table = s4c("classify", "show", workspace=taught.workspace.root)
    assert "cross-validation" in table.stdout
    refused = s4c("classify", "apply", model, file, "--season-start", "2018-03-01")
    assert refused.returncode == 4
    assert "features of the model are not there" in refused.stderr
