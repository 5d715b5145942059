"""The stage merge: what it plans, what it writes, and what it says about what is missing."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support.markers import TILE, MarkerSpace, make_config, read

from s4c_hpc.config import Weighting
from s4c_hpc.core.errors import ConfigError, InputError, TemporaryError
from s4c_hpc.core.stage import Stage
from s4c_hpc.markers import parse_name, read_manifest
from s4c_hpc.markers.stage_merge import MergeStage

MAY, JUNE = ("20180507T102648", "20180512T102148"), ("20180603T101329",)


@pytest.fixture
def space(tmp_path: Path) -> MarkerSpace:
    """Two months, the first product on two grids."""
    made = MarkerSpace(tmp_path)
    made.acquire(MAY[0], grids=("10m", "20m"))
    made.acquire(MAY[1])
    made.acquire(JUNE[0])
    return made


def test_it_is_a_stage() -> None:
    stage: Stage = MergeStage()
    assert isinstance(stage, Stage)
    assert (stage.name, list(stage.after), stage.tolerates_missing) == ("merge", ["stats"], True)
    assert stage.deliverable


class TestPlan:
    def test_one_task_a_month_and_set(self, tmp_path: Path) -> None:
        sets = {"sets": [{"name": "mdb1"}, {"name": "ndvi-only", "variables": ["NDVI"], "class_counts": False}]}
        space = MarkerSpace(tmp_path, make_config(markers=sets))
        for when in (*MAY, *JUNE):
            space.acquire(when)
        tasks = space.plan()
        assert [t.subject for t in tasks] == ["mdb1 2018-05", "ndvi-only 2018-05", "mdb1 2018-06", "ndvi-only 2018-06"]
        assert tasks[0].outputs == (
            f"markers/mdb1/2018-05/site_{TILE}.arrow",
            f"markers/mdb1/2018-05/site_{TILE}.manifest.json",
        )
        assert len(tasks[0].depends_on) == 2
        assert all(t.opens_imagery == 0 for t in tasks)
        assert len({t.id for t in tasks}) == 4
        assert tasks[0].work > tasks[1].work

    def test_identity_is_inputs_and_the_set(self, space: MarkerSpace) -> None:
        before = {t.subject: t.id for t in space.plan()}
        assert {t.subject: t.id for t in space.plan()} == before
        space.stats.reverse()
        assert {t.subject: t.id for t in space.plan()} == before
        space.acquire("20180616T102021")
        late = {t.subject: t.id for t in space.plan()}
        assert late["mdb1 2018-05"] == before["mdb1 2018-05"], "a product of June leaves May alone"
        assert late["mdb1 2018-06"] != before["mdb1 2018-06"]

    @pytest.mark.parametrize(
        "changed",
        [
            {"name": "mdb1", "variables": ["ndvi"]},
            {"name": "mdb1", "statistics": ["mean"]},
            {"name": "mdb1", "class_counts": False},
        ],
    )
    def test_a_changed_set_is_another_task(self, space: MarkerSpace, changed: dict[str, object]) -> None:
        before = {t.id for t in space.plan()}
        space.config = make_config(markers={"sets": [changed]})
        assert not before & {t.id for t in space.plan()}

    def test_the_order_in_a_set_does_not_matter(self, space: MarkerSpace) -> None:
        ids = []
        for names in (["ndvi", "b04"], ["B04", "ndvi"]):
            space.config = make_config(markers={"sets": [{"name": "mdb1", "variables": names}]})
            ids.append([t.id for t in space.plan()])
        assert ids[0] == ids[1]

    def test_an_unknown_variable_is_a_config_error_with_the_nearest(self, space: MarkerSpace) -> None:
        space.config = make_config(markers={"sets": [{"name": "mdb1", "variables": ["nvdi"]}]})
        with pytest.raises(ConfigError, match=r"markers.sets.0 \(mdb1\).variables: .*'nvdi'; did you mean 'ndvi'\?"):
            space.plan()

    def test_a_statistic_that_is_not_computed_is_a_config_error(self, space: MarkerSpace) -> None:
        space.config = make_config(markers={"sets": [{"name": "mdb1", "statistics": ["p10"]}]})
        with pytest.raises(ConfigError, match=r"'p10' is not computed; add it to variables.statistics"):
            space.plan()

    def test_an_empty_set_is_a_config_error(self, space: MarkerSpace) -> None:
        space.config = make_config(markers={"sets": [{"name": "none", "variables": [], "class_counts": False}]})
        with pytest.raises(ConfigError, match="the set is empty"):
            space.plan()

    def test_nothing_planned_before_is_nothing_to_merge(self, tmp_path: Path) -> None:
        assert MarkerSpace(tmp_path).plan() == []

    def test_no_task_writes_more_than_it_says(self, space: MarkerSpace) -> None:
        space.merge()
        for task in space.plan():
            written = sum((space.root / path).stat().st_size for path in task.outputs)
            assert written <= task.bytes_out < 3 * written


class TestFile:
    def test_values_are_those_of_the_series(self, space: MarkerSpace) -> None:
        outcomes = space.merge()
        assert [o.n_rows for o in outcomes] == [18, 18]
        assert all(o.rasters_opened == 0 and not o.absent for o in outcomes)
        marker = read(space.marker("2018-05"))
        assert marker.column_names[0] == "NewID"
        assert marker["NewID"].to_pylist() == space.ids
        compared = 0
        for key, table in space.tables.items():
            product, grid = key.split(" ")
            if product == f"S2_{JUNE[0]}":
                continue
            day = product[3:11]
            order = np.argsort(table["NewID"].to_numpy())
            for name in table.column_names[1:]:
                native = f"s2_{grid}_{name}__{day}" if name.startswith("n_") else f"s2_{name}__{day}"
                assert marker[native].type == table[name].type
                assert np.array_equal(marker[native].to_numpy(), table[name].to_numpy()[order], equal_nan=True)
                compared += 1
        assert compared == marker.num_columns - 1

    def test_columns_carry_unit_method_and_source(self, space: MarkerSpace) -> None:
        space.merge()
        schema = read(space.marker("2018-05")).schema
        said = {k.decode(): v.decode() for k, v in schema.field("s2_ndvi_mean__20180507").metadata.items()}
        assert said["unit"] == "1"
        assert said["formula"] == "(B08 - B04) / (B08 + B04)"
        assert said["product"] == f"S2_{MAY[0]}"
        assert said["datetime"] == "2018-05-07T10:26:48+00:00"
        assert {"method", "source", "long_name", "grid", "sensor"} <= said.keys()
        assert schema.metadata[b"period"] == b"2018-05"
        assert not any(f.nullable for f in schema)

    def test_no_nulls_and_no_validity_bitmaps(self, space: MarkerSpace) -> None:
        space.merge()
        table = read(space.marker("2018-05"))
        assert all(column.null_count == 0 for column in table.columns)
        assert all(chunk.buffers()[0] is None for column in table.columns for chunk in column.chunks)

    def test_the_same_bytes_whatever_the_order_of_inputs(self, space: MarkerSpace, tmp_path: Path) -> None:
        space.merge()
        first = space.marker("2018-05").read_bytes()
        space.marker("2018-05").unlink()
        space.stats.reverse()
        space.merge()
        assert space.marker("2018-05").read_bytes() == first

    def test_a_set_chooses_columns(self, space: MarkerSpace) -> None:
        chosen = {"name": "small", "variables": ["NDVI"], "statistics": ["mean"], "class_counts": False}
        space.config = make_config(markers={"sets": [chosen]})
        space.merge()
        names = read(space.marker("2018-05", "small")).column_names
        assert names == ["NewID", "s2_ndvi_mean__20180507", "s2_ndvi_mean__20180512"]

    def test_parcels_that_a_file_does_not_have(self, space: MarkerSpace) -> None:
        space.acquire("20180527T101010", ids=[2, 4])
        space.merge()
        table = read(space.marker("2018-05"))
        assert table.num_rows == 18
        counts = table["s2_10m_n_total__20180527"].to_numpy()
        assert not counts[[0, 2, *range(4, 18)]].any()
        assert np.isnan(table["s2_ndvi_mean__20180527"].to_numpy()[[0, 2]]).all()

    def test_fractional_counts(self, tmp_path: Path) -> None:
        space = MarkerSpace(tmp_path)
        space.acquire(MAY[0], weighting=Weighting.COVERAGE)
        space.acquire(MAY[1], weighting=Weighting.COVERAGE, ids=[1, 2])
        space.merge()
        table = read(space.marker("2018-05"))
        for name in ("s2_10m_n_valid__20180512", "s2_ndvi_count__20180512"):
            assert table.schema.field(name).type == pa.float32()
            assert not table[name].to_numpy()[2:].any(), "no pixel seen is zero, in fractions too"

    def test_radar_names_carry_the_orbit(self, tmp_path: Path) -> None:
        space = MarkerSpace(tmp_path)
        space.acquire(MAY[0], sensor="s1", relative_orbit=88, orbit_direction="descending")
        space.merge()
        names = read(space.marker("2018-05")).column_names
        assert {"s1_088d_ndvi_mean__20180507", "s1_088d_10m_n_valid__20180507"} <= set(names)

    def test_a_later_run_replaces_the_file(self, space: MarkerSpace) -> None:
        space.merge()
        before = read(space.marker("2018-05"))
        space.acquire("20180527T101010")
        space.merge()
        assert read(space.marker("2018-05")).num_columns > before.num_columns
        assert before.num_rows == 18, "who has mapped the old file keeps it whole"
        assert not list((space.root / "tmp").rglob("*.arrow"))


class TestSameDay:
    def test_both_acquisitions_carry_their_time(self, space: MarkerSpace) -> None:
        space.acquire("20180507T101012")
        space.merge()
        names = read(space.marker("2018-05")).column_names
        assert "s2_ndvi_mean__20180507t102648" in names
        assert "s2_ndvi_mean__20180507t101012" in names
        assert "s2_ndvi_mean__20180507" not in names
        assert "s2_ndvi_mean__20180512" in names

    def test_a_quarantined_product_keeps_its_place(self, space: MarkerSpace) -> None:
        twin = space.acquire("20180507T101012")
        space.merge(given_up={twin: "cannot be decoded"})
        names = read(space.marker("2018-05")).column_names
        assert "s2_ndvi_mean__20180507t102648" in names, "the name does not change when the other one is repaired"

    @pytest.mark.parametrize("first", [True, False])
    def test_of_two_products_of_one_second_the_later_id_is_left_out_and_told(self, tmp_path: Path, first: bool) -> None:
        """Once an error of the whole month: one product too many must not cost all the others."""
        space = MarkerSpace(tmp_path)
        if first:
            space.acquire(MAY[0], product="S2_again")
        for when in MAY:
            space.acquire(when)
        if not first:
            space.acquire(MAY[0], product="S2_again")
        (outcome,) = space.merge()
        why = f"acquired in the same second as S2_{MAY[0]}"
        assert outcome.notes == (f"without S2_again: {why}",)
        assert outcome.absent == (), "it was there: nothing is to be done again when it stays"
        table, manifest = read(space.marker("2018-05")), read_manifest(space.marker("2018-05"))
        (missing,) = manifest.missing
        assert (missing.product, missing.reason, missing.datetime) == ("S2_again", why, "2018-05-07T10:26:48+00:00")
        assert [i.product for i in manifest.inputs] == [f"S2_{when}" for when in MAY]
        kept = space.tables[f"S2_{MAY[0]} 10m"].sort_by("NewID")
        assert np.array_equal(table["s2_ndvi_mean__20180507"], kept["ndvi_mean"], equal_nan=True)
        assert "s2_ndvi_mean__20180512" in table.column_names

    def test_two_sets_of_one_acquisition_are_merged(self, tmp_path: Path) -> None:
        """10 m bands in one GeoTIFF, 20 m bands in another: no column of the one is in the other."""
        space = MarkerSpace(tmp_path)
        space.acquire(MAY[0], product="fine", grids=("10m",))
        space.acquire(MAY[0], product="coarse", grids=("20m",))
        (outcome,) = space.merge()
        assert outcome.notes == ()
        manifest = read_manifest(space.marker("2018-05"))
        assert manifest.missing == ()
        assert [i.product for i in manifest.inputs] == ["coarse", "fine"]
        names = read(space.marker("2018-05")).column_names
        assert {"s2_ndvi_mean__20180507", "s2_b11_mean__20180507", "s2_10m_n_valid__20180507"} <= set(names)
        assert manifest.columns["s2_b11_mean__20180507"]["product"] == "coarse"

    def test_two_sets_of_one_acquisition_and_a_second_overpass(self, tmp_path: Path) -> None:
        space = MarkerSpace(tmp_path)
        space.acquire(MAY[0], product="fine", grids=("10m",))
        space.acquire(MAY[0], product="coarse", grids=("20m",))
        space.acquire("20180507T101012")
        space.merge()
        names = read(space.marker("2018-05")).column_names
        stamped = {"s2_ndvi_mean__20180507t102648", "s2_b11_mean__20180507t102648", "s2_ndvi_mean__20180507t101012"}
        assert stamped <= set(names)

    def test_a_third_product_is_held_against_all_that_stay(self, tmp_path: Path) -> None:
        space = MarkerSpace(tmp_path)
        space.acquire(MAY[0], product="a", grids=("10m",))
        space.acquire(MAY[0], product="b", grids=("20m",))
        space.acquire(MAY[0], product="c", grids=("10m", "20m"))
        space.acquire(MAY[0], product="d", grids=("20m",))
        (outcome,) = space.merge()
        assert outcome.notes == (
            "without c: acquired in the same second as a",
            "without d: acquired in the same second as b",
        )

    def test_a_twin_takes_the_place_of_a_product_that_cannot_be_used(self, space: MarkerSpace) -> None:
        twin = space.acquire(MAY[0], product="S2_again")
        space.merge(given_up={f"S2_{MAY[0]}": "cannot be decoded"})
        manifest = read_manifest(space.marker("2018-05"))
        assert twin in [i.product for i in manifest.inputs]
        assert [m.product for m in manifest.missing] == [f"S2_{MAY[0]}"]
        assert "s2_ndvi_mean__20180507" in read(space.marker("2018-05")).column_names

    def test_one_second_in_two_orbits_of_radar_is_no_clash(self, tmp_path: Path) -> None:
        space = MarkerSpace(tmp_path)
        for orbit, direction in ((88, "descending"), (15, "ascending")):
            space.acquire(MAY[0], product=direction, sensor="s1", relative_orbit=orbit, orbit_direction=direction)
        assert space.merge()[0].notes == ()

    def test_two_sensors_of_one_day(self, space: MarkerSpace) -> None:
        space.acquire("20180507T100000", product="LC08", sensor="l8")
        space.merge()
        names = read(space.marker("2018-05")).column_names
        assert {"s2_ndvi_mean__20180507", "l8_ndvi_mean__20180507"} <= set(names)


class TestMissing:
    def test_a_quarantined_product_is_told_and_done_without(self, space: MarkerSpace) -> None:
        lost = f"S2_{MAY[1]}"
        outcomes = space.merge(given_up={lost: "cannot be decoded: B04.jp2"})
        task = next(t for t in space.stats if t.subject == lost)
        assert outcomes[0].absent == (task.id,)
        assert outcomes[0].notes == (f"without {lost}: cannot be decoded: B04.jp2",)
        manifest = read_manifest(space.marker("2018-05"))
        (missing,) = manifest.missing
        assert (missing.product, missing.reason) == (lost, "cannot be decoded: B04.jp2")
        assert missing.datetime == "2018-05-12T10:21:48+00:00"
        assert [i.product for i in manifest.inputs] == [f"S2_{MAY[0]}"]
        assert outcomes[1].absent == ()

    def test_a_broken_product_of_the_catalog_is_told(self, space: MarkerSpace) -> None:
        broken = dt.datetime(2018, 5, 20, 10, tzinfo=dt.UTC)
        space.catalogue("S2_broken", broken, status="broken", reason="MTD_MSIL2A.xml is truncated")
        space.catalogue("S2_old", broken, status="superseded", reason="by S2_new")
        outcome = space.merge()[0]
        assert outcome.absent == ()
        manifest = read_manifest(space.marker("2018-05"))
        assert [(m.product, m.reason) for m in manifest.missing] == [("S2_broken", "MTD_MSIL2A.xml is truncated")]

    def test_no_usable_product_is_bad_input_not_success(self, space: MarkerSpace) -> None:
        given_up = {f"S2_{when}": f"reason {i}" for i, when in enumerate(MAY)}
        with pytest.raises(InputError, match=r"no usable product for tile FREISING in 2018-05; .*reason 0.*reason 1"):
            space.merge(given_up=given_up)
        assert not space.marker("2018-05").exists()

    @pytest.mark.parametrize("damage", ["gone", "truncated"])
    def test_a_series_file_that_is_gone_or_damaged_is_made_again(self, space: MarkerSpace, damage: str) -> None:
        path = space.root / space.stats[0].outputs[0]
        path.unlink() if damage == "gone" else path.write_bytes(path.read_bytes()[:500])
        with pytest.raises(TemporaryError, match=path.name):
            space.merge()
        assert not space.marker("2018-05").exists()

    def test_a_month_without_a_column_of_the_set(self, space: MarkerSpace) -> None:
        space.config = make_config(markers={"sets": [{"name": "b11", "variables": ["b11"], "class_counts": False}]})
        with pytest.raises(InputError, match="no product of 2018-06 has a column of this set"):
            space.merge()
        assert space.marker("2018-05", "b11").exists()


class TestManifest:
    def test_provenance(self, space: MarkerSpace) -> None:
        space.merge()
        (task, _) = space.plan()
        manifest = read_manifest(space.marker("2018-05"))
        assert (manifest.site, manifest.tile, manifest.period, manifest.set) == ("site", TILE, "2018-05", "mdb1")
        assert manifest.task_id == task.id
        assert manifest.parcels_version == "v0001"
        assert manifest.n_parcels == 18
        first, second = manifest.inputs
        assert (first.product, first.datetime) == (f"S2_{MAY[0]}", "2018-05-07T10:26:48+00:00")
        assert [s.grid for s in first.series] == ["10m", "20m"]
        assert {s.task_id for s in second.series} == {space.stats[1].id}
        assert all((space.root / s.path).is_file() for i in manifest.inputs for s in i.series)
        assert {"python", "s4c-hpc", "numpy", "pyarrow"} <= manifest.software.keys()
        age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(manifest.created)
        assert dt.timedelta(seconds=-2) < age < dt.timedelta(minutes=5)

    def test_dictionary_of_columns(self, space: MarkerSpace) -> None:
        space.merge()
        manifest = read_manifest(space.marker("2018-05"))
        assert list(manifest.columns) == read(space.marker("2018-05")).column_names[1:]
        for name, said in manifest.columns.items():
            meaning = parse_name(name)
            assert said["date"] == meaning.day.isoformat()
            assert said["variable"] == (meaning.variable or f"n_{meaning.statistic}")
            assert said["statistic"] == ("count" if meaning.is_class_count else meaning.statistic)
            assert said["unit"] == ("pixel" if said["statistic"] == "count" else "1")

    def test_it_is_plain_json_and_survives_a_round_trip(self, space: MarkerSpace) -> None:
        space.merge()
        path = space.marker("2018-05").with_suffix(".manifest.json")
        values = json.loads(path.read_text())
        assert values["format"] == 1
        assert json.loads(read_manifest(space.marker("2018-05")).to_json()) == values

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}'])
    def test_a_damaged_manifest_is_told(self, space: MarkerSpace, text: str) -> None:
        space.merge()
        space.marker("2018-05").with_suffix(".manifest.json").write_text(text)
        with pytest.raises(InputError, match=r"site_FREISING.manifest.json: not a manifest of format 1"):
            read_manifest(space.marker("2018-05"))


def test_asked_memory_grows_with_work_to_a_bound() -> None:
    stage = MergeStage()
    small, large, huge = (stage.resources(work, {}).mem_bytes for work in (1e3, 1e7, 1e12))
    assert small < large < huge < 2**30
