"""The stage classify from feature files to marker files: what is written, for whom, and the same whatever the cores."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pytest
import shapely
from support.crops import PIXELS, CropSpace, columns_of, crop_values
from support.parcels import squares, write_layer

from s4c_hpc.classify.stage_classify import ClassifyStage
from s4c_hpc.core.errors import ConfigError, InputError, TemporaryError
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.stage import PlanContext, stages
from s4c_hpc.markers import export_markers, list_markers, query, read_manifest, show_marker

CROPS = [*"WMRG" * 12, *"FF", "X"]
"""Twelve parcels of each of four crops, two of a land cover that is left out, one of a code that the table lacks."""


def space(root: Path, **options: Any) -> CropSpace:
    made = CropSpace(root, CROPS, **options)
    made.features(crop_values(CROPS, 12), columns_of(12), pixels=np.full(len(CROPS), 50, np.float32))
    return made


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> CropSpace:
    made = space(tmp_path_factory.mktemp("crops"))
    made.run()
    return made


def test_every_parcel_has_a_row_and_every_prediction_a_judge(done: CropSpace) -> None:
    rows = done.rows()
    assert len(rows) == len(CROPS)
    roles = [row["role"] for row in rows.values()]
    assert {role: roles.count(role) for role in set(roles)} == {"training": 36, "validation": 12, "predicted": 3}
    for own, row in rows.items():
        crop = CROPS[int(own[1:]) - 1]
        assert row["CT_decl"] == {"W": "11", "M": "12", "R": "13", "G": "14", "F": "15", "X": ""}[crop]
        assert row["CT_pred_1"] in {"11", "12", "13", "14"}
        assert row["CT_pred_1"] != row["CT_pred_2"]
        assert 1 >= row["CT_conf_1"] >= row["CT_conf_2"] >= 0
        assert row["CT_conf_1"] == pytest.approx(round(row["CT_conf_1"], 3))
        assert row["reason"] == {"F": "other-land-cover", "X": "no-class"}.get(crop, "")
        if crop in "FX":
            assert (row["agreement"], row["light"]) == ("none", "grey")
        else:
            assert (row["light"] == "grey") is False
    right = [row["CT_pred_1"] == row["CT_decl"] for row in rows.values() if row["role"] != "predicted"]
    assert 0.7 < np.mean(right) < 1


def test_the_reference_draws_three_quarters_of_small_classes_and_fills_them(done: CropSpace) -> None:
    (stratum,) = done.accuracy()["strata"].values()
    assert stratum["taught"] == dict.fromkeys(["11", "12", "13", "14"], 9)
    assert stratum["made_up"] == dict.fromkeys(["11", "12", "13", "14"], 11)  # up to the target of 20


def test_accuracies_are_those_of_the_rows(done: CropSpace) -> None:
    found, rows = done.accuracy(), list(done.rows().values())
    mine = [row for row in rows if row["role"] == "validation"]
    share = np.mean([row["CT_pred_1"] == row["CT_decl"] for row in mine])
    assert found["validation"]["n"] == len(mine)
    assert found["validation"]["accuracy"] == pytest.approx(share, abs=1e-6)
    assert found["cross_validation"]["n"] == 48
    assert found["lights"] == {k: sum(r["light"] == k for r in rows) for k in {r["light"] for r in rows}}
    lines = list(csv.DictReader(done.path(".confusion.csv").read_text().splitlines()))
    of_fields = [line for line in lines if line["by"] == "validation"]
    assert sum(int(line[c]) for line in of_fields for c in ("11", "12", "13", "14")) == len(mine)
    assert of_fields[0]["name"] == "Wheat"
    assert sum(int(line[line["declared"]]) for line in of_fields) == round(share * len(mine))


def test_files_say_what_they_are(done: CropSpace) -> None:
    path = next(done.workspace.markers.glob("l4a/2018/*.arrow"))
    details = show_marker(path)
    assert details.metadata["contract"] == "s4c-crops-1"
    assert json.loads(details.metadata["classes"])["11"] == "Wheat"
    assert "green: " in details.metadata["light_rule"]
    assert set(json.loads(details.metadata["reasons"])) == {"other-land-cover", "no-class"}
    manifest = read_manifest(path)
    assert manifest.n_parcels == details.file.n_parcels == len(CROPS)
    assert [i.product for i in manifest.inputs] == ["features series test"]
    assert manifest.columns["CT_conf_1"]["unit"] == "1"
    frame = pyarrow.feather.read_feather(path)  # the way of pandas, and of R's arrow
    assert frame["CT_pred_1"].dtype.kind in "OUT"
    assert frame["NewID"].is_monotonic_increasing


def test_marker_commands_work_on_them(done: CropSpace, tmp_path: Path) -> None:
    ws = done.workspace
    assert [f.set for f in list_markers(ws)] == ["l4a"]
    some = query(ws, ori_ids=["F0002", "F0001"], columns=["CT_*1"], attributes=["ori_crop"], set_name="l4a")
    assert some.column_names == ["NewID", "ori_crop", "CT_pred_1", "CT_conf_1"]
    assert some["ori_crop"].to_pylist() == ["W", "M"]
    assert query(ws, sql="select count(*) n from markers where CT_conf_1 > 0")["n"].to_pylist() == [len(CROPS)]
    assert query(ws, sql="select count(*) n from dictionary")["n"].to_pylist() == [9]
    with pytest.raises(InputError, match="no values of dates"):
        query(ws, sql="select * from observations")
    report = export_markers(ws, tmp_path / "crops.csv", compat=True)
    assert report.left_out == ("role", "reason", "agreement", "light")
    (line, *_) = csv.DictReader((tmp_path / "crops.csv").read_text().splitlines())
    assert list(line) == ["NewID", "CT_decl", "CT_pred_1", "CT_conf_1", "CT_pred_2", "CT_conf_2"]
    assert export_markers(ws, tmp_path / "crops.gpkg").n_columns == 9


def digest(made: CropSpace) -> dict[str, str]:
    """All files but manifests, which hold a time."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(made.workspace.markers.rglob("*.*"))
        if not path.name.endswith(".manifest.json")
    }


@pytest.mark.parametrize("model", ["forest", "ensemble", "gradient-boosting"])
def test_bytes_do_not_depend_on_cores_or_on_what_was_before(tmp_path: Path, model: str) -> None:
    made = space(tmp_path / "one", settings={"model": model})
    made.run()
    first = digest(made)
    assert set(first) == {"site.accuracy.json", "site.confusion.csv", "site.html", "site.skops", "site_32UNU.arrow"}
    made.run(made.configured(cores=3))
    assert digest(made) == first


def test_bytes_do_not_depend_on_the_order_of_files_and_of_rows_in_the_declaration(tmp_path: Path) -> None:
    columns, values = columns_of(12), crop_values(CROPS, 12)
    half, n = columns[:6], len(CROPS)
    one, other = CropSpace(tmp_path / "one", CROPS), CropSpace(tmp_path / "other", CROPS)
    one.features(values[:, :6], half, set_name="series a")
    one.features(values[:, 6:], columns[6:], set_name="series b")
    # Parcels of a file in two parts, the second one a layer over the first that has wrong values.
    wrong = values[:, :6].copy()
    wrong[: n // 2] = 9
    other.features(wrong, half, set_name="series a")
    other.features(values[: n // 2, :6], half, set_name="series a", only=range(n // 2))
    other.features(values[:, 6:], columns[6:], set_name="series b")
    assert [t.subject for t in other.feature_tasks] == ["series a", "series a", "series b"]
    for made in (one, other):
        made.run()
    tables = []
    for made in (one, other):
        (path,) = made.workspace.markers.glob("l4a/2018/*.arrow")
        with pa.ipc.open_file(path) as reader:
            tables.append(reader.read_all().replace_schema_metadata(None))
    assert tables[0].equals(tables[1])
    assert one.path(".skops").read_bytes() == other.path(".skops").read_bytes()


def test_the_identity_is_that_of_what_is_read(tmp_path: Path) -> None:
    made = space(tmp_path)
    first = made.plan().id
    assert made.plan(made.configured(cores=2)).id == first
    assert made.plan(made.configured(seed=1)).id != first
    made.feature_tasks.pop()
    made.features(crop_values(CROPS, 12, seed=1), columns_of(12), set_name="series other")
    assert made.plan().id != first


def test_a_corrected_crop_code_classifies_again(tmp_path: Path) -> None:
    made = space(tmp_path / "one")
    other = CropSpace(tmp_path / "other", ["M", *CROPS[1:]])
    other.feature_tasks = made.feature_tasks
    assert made.plan().id != other.plan().id


def test_strata_have_models_of_their_own_and_a_small_one_is_said(tmp_path: Path) -> None:
    crops = [*"WMRG" * 20, *"WM" * 2]
    shapes = squares(len(crops))
    areas = [shapely.union_all(shapes[of]) for of in (slice(40), slice(40, 80), slice(80, None))]
    zones = write_layer(tmp_path / "zones.gpkg", areas, columns={"zone": ["north", "south", "tiny"]})
    made = CropSpace(
        tmp_path / "ws",
        crops,
        parcels={"strata": {"file": str(zones), "column": "zone"}},
        settings={"sampling": "none"},
    )
    values = crop_values(crops, 12)
    values[40:80] = values[40:80, ::-1]  # the season runs backwards in the south
    made.features(values, columns_of(12))
    outcome = made.run()
    assert any("stratum tiny: no class has 5 parcels" in note for note in outcome.notes)
    found = made.accuracy()
    assert set(found["strata"]) == {"north", "south"}
    assert found["cross_validation"]["n"] == 80
    assert not any(row["agreement"] == "none" for row in list(made.rows().values())[:80])
    rows = made.rows()
    assert {rows[f"F{i + 1:04d}"]["reason"] for i in range(80, 84)} == {"no-model"}
    assert rows["F0081"]["CT_pred_1"] == ""
    assert np.isnan(rows["F0081"]["CT_conf_1"])


def test_tiles_teach_together_and_have_a_file_each(tmp_path: Path) -> None:
    place = {"crs": "EPSG:32632", "uly": 5301000, "width_m": 600, "height_m": 1200}
    tiles = [{"id": "WEST", "ulx": 599940, **place}, {"id": "EAST", "ulx": 600540, **place}]
    made = space(tmp_path, grid={"tiles": tiles})
    assert len(made.feature_tasks) == 2
    outcome = made.run()
    assert sum(path.endswith(".arrow") for path in outcome.outputs) == 2
    held = {}
    for tile in ("WEST", "EAST"):
        with pa.ipc.open_file(made.path(f"_{tile}.arrow")) as reader:
            held[tile] = reader.read_all()["NewID"].to_pylist()
        assert held[tile] == sorted(n for own, n in made.new_id.items() if made.tile_of[own] == tile)
        (one,) = read_manifest(made.path(f"_{tile}.arrow")).inputs
        assert f"tiles/{tile}/" in one.series[0].path
    assert made.accuracy()["cross_validation"]["n"] == 48
    together = query(made.workspace, columns=["light"])
    assert together["NewID"].to_pylist() == sorted(held["WEST"] + held["EAST"])
    assert query(made.workspace, tiles=["EAST"])["NewID"].to_pylist() == held["EAST"]
    said = query(made.workspace, sql="select tile, count(*) n from markers group by tile order by tile").to_pylist()
    assert said == [{"tile": tile, "n": len(held[tile])} for tile in ("EAST", "WEST")]


def test_crop_types_do_not_get_in_the_way_of_the_only_set_of_markers(tmp_path: Path) -> None:
    made = space(tmp_path)
    made.run()
    path = made.workspace.markers / "mdb1" / "2018-05" / "site_32UNU.arrow"
    path.parent.mkdir(parents=True)
    name = "s2_ndvi_mean__20180507"
    fields = [pa.field("NewID", pa.int32()), pa.field(name, pa.float32())]
    schema = pa.schema(fields, metadata={"contract": "s4c-markers-1"})
    values = [pa.array([1], pa.int32()), pa.array([0.5], pa.float32())]
    write_ipc(path, schema, [pa.RecordBatch.from_arrays(values, schema=schema)])
    assert query(made.workspace).column_names == ["NewID", name]
    assert query(made.workspace, set_name="l4a").num_rows == len(CROPS)


def test_parcels_that_cannot_be_told_apart_on_the_ground_are_not_classified(tmp_path: Path) -> None:
    shapes = squares(len(CROPS)).tolist()
    shapes[1] = shapes[0]  # declared twice
    made = CropSpace(tmp_path, CROPS, geometry=shapes)
    values = crop_values(CROPS, 12)
    values[7] = np.nan
    made.features(values, columns_of(12), pixels=np.array([50, 50, 2, *[50] * (len(CROPS) - 3)], np.float32))
    made.run()
    rows = made.rows()
    assert [rows[f"F{i:04d}"]["reason"] for i in (1, 2, 3, 8)] == [
        "duplicate",
        "duplicate",
        "few-s2-pixels",
        "no-features",
    ]
    assert [rows[f"F{i:04d}"]["CT_pred_1"] != "" for i in (1, 2, 3, 8)] == [False, False, True, False]
    assert [rows[f"F{i:04d}"]["role"] for i in (1, 3, 8)] == ["none", "predicted", "none"]


def test_missing_values_are_no_reason_to_leave_a_parcel_out(tmp_path: Path) -> None:
    values = crop_values(CROPS, 12)
    values[np.random.default_rng(0).uniform(size=values.shape) < 0.3] = np.nan
    values[:, 5] = np.nan
    made = CropSpace(tmp_path, CROPS)
    made.features(values, columns_of(12))
    outcome = made.run()
    assert all(row["CT_pred_1"] for row in made.rows().values())
    assert made.accuracy()["cross_validation"]["accuracy"] > 0.5
    assert any("Sentinel-2 pixels" in note for note in outcome.notes), "a rule that is not applied is said"


def test_weights_are_in_a_table_of_their_own(tmp_path: Path) -> None:
    made = space(tmp_path, settings={"weights": "area"})
    made.run()
    found = made.accuracy()["cross_validation"]
    assert found["weighted"]["by"] == "area"
    assert found["weighted"]["n"] == pytest.approx(48 * 1e4, rel=1e-3)
    assert found["weighted"]["accuracy"] == pytest.approx(found["accuracy"], rel=1e-3), "all fields are equally large"


def test_a_feature_file_that_was_given_up_is_done_without_and_said(tmp_path: Path) -> None:
    made = space(tmp_path)
    made.features(crop_values(CROPS, 3), columns_of(3, feature="b04"), set_name="series more")
    lost = made.feature_tasks[1].id
    outcome = made.run(lost={lost: "no table"})
    assert outcome.absent == (lost,)
    assert any("without series-features 32UNU series more: no table" in note for note in outcome.notes)
    (manifest,) = [read_manifest(p) for p in made.workspace.markers.glob("l4a/2018/*.arrow")]
    assert [m.reason for m in manifest.missing] == ["no table"]


def test_a_feature_file_that_has_gone_is_tried_again(tmp_path: Path) -> None:
    made = space(tmp_path)
    (made.workspace.root / made.feature_tasks[0].outputs[0]).unlink()
    with pytest.raises(TemporaryError, match="no such file"):
        made.run()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"lut": None}, ConfigError, r"no column CTnumL4A: no table of crop codes \(LUT\).*classes = 'declared'"),
        ({"settings": {"class_column": "CTnumDIV"}}, ConfigError, "no column CTnumDIV"),
        (
            {"settings": {"lc": [9]}},
            ConfigError,
            "not one of 51 parcels can teach; left out: 1 no crop code, .* 50 land cover class",
        ),
        (
            {"settings": {"class_min_parcels": 13}},
            ConfigError,
            r"no class has 13 .* smaller ones are 11 \(12\), 12 \(12\)",
        ),
        ({"settings": {"min_s2_pixels": 60}}, InputError, "too few Sentinel-2 pixels"),
    ],
)
def test_refusals_say_what_to_do(tmp_path: Path, options: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        space(tmp_path, **options).run()


def test_a_class_of_two_parcels_is_left_out_and_no_class_may_be_that_small(tmp_path: Path) -> None:
    crops = [*"WMRG" * 12, "F", "F"]
    made = CropSpace(tmp_path, crops, settings={"lc": [], "class_min_parcels": 3})
    made.features(crop_values(crops, 12), columns_of(12))
    made.run()
    assert made.accuracy()["too_small"] == {"15": 2}
    assert made.rows()["F0049"]["reason"] == "small-class"
    assert made.rows()["F0049"]["light"] == "grey"
    with pytest.raises(ValueError, match="greater than or equal to 3"):
        made.configured(class_min_parcels=2)


def test_a_single_class_cannot_be_told_apart(tmp_path: Path) -> None:
    crops = ["W"] * 20
    made = CropSpace(tmp_path, crops)
    made.features(crop_values(crops, 4), columns_of(4))
    with pytest.raises(ConfigError, match="only one class, 11, has 5 parcels"):
        made.run()


def test_features_that_are_all_missing_are_refused(tmp_path: Path) -> None:
    made = CropSpace(tmp_path, CROPS)
    made.features(np.full((len(CROPS), 3), np.nan, np.float32), columns_of(3))
    with pytest.raises(InputError, match="not one of 51 parcels has a value of a feature"):
        made.run()


def test_files_without_a_feature_are_refused(tmp_path: Path) -> None:
    made = CropSpace(tmp_path, CROPS)
    made.features(np.ones((len(CROPS), 1), np.float32), [PIXELS])
    with pytest.raises(InputError, match="has a value of a feature"):
        made.run()


def test_nothing_is_planned_unless_asked_for_and_never_without_features(tmp_path: Path) -> None:
    made = CropSpace(tmp_path, CROPS)
    quiet = made.configured(enabled=False)
    batches = list(ClassifyStage().tasks(PlanContext(made.workspace, quiet, {})))
    assert sum(batch.num_rows for batch in batches) == 0
    with pytest.raises(ConfigError, match=r"no features to tell.*features\.sets"):
        made.plan()


def test_codes_as_declared_need_no_table(tmp_path: Path) -> None:
    made = space(tmp_path, lut=None, settings={"classes": "declared"})
    made.run()
    assert set(made.accuracy()["classes"]) == {"G", "M", "R", "W"}
    assert made.accuracy()["too_small"] == {"F": 2, "X": 1}


def test_the_installed_stage_comes_after_those_that_make_features() -> None:
    names = list(stages())
    found = stages()["classify"]
    assert isinstance(found, ClassifyStage)
    assert all(names.index(one) < names.index("classify") for one in found.after)


PEAK = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import numpy as np
from support.crops import CropSpace, columns_of, crop_values
from s4c_hpc.execute.memory import MemoryPeak

crops = [*"WMRG" * 1000]
made = CropSpace(Path(sys.argv[1]), crops, settings={"sampling": "none", "trees": 40, "folds": 2})
# Noise makes the largest trees that there are.
made.features(np.tile(crop_values(crops, 40, noise=5), (1, 10)), columns_of(400, days=1))
task = made.plan()
with MemoryPeak() as peak:
    made.run()
written = sum((made.workspace.root / path).stat().st_size for path in task.outputs)
print(json.dumps({"peak": peak.peak_bytes, "base": peak.base_bytes, "asked": task.resources.mem_bytes,
                  "said": task.bytes_out, "written": written}))
"""


@pytest.mark.slow
def test_measured_memory_and_bytes_stay_within_what_was_asked(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(done.stdout)
    assert figures["base"] < figures["peak"] <= figures["asked"]
    assert figures["written"] <= figures["said"]
