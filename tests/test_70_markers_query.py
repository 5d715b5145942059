"""Values for a set of parcels: by id, by column, with attributes, by SQL."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from support.cli import s4c
from support.markers import DATA, MarkerSpace, make_config, read

from s4c_hpc.core.errors import ConfigError, InputError, NoInputsError
from s4c_hpc.markers import export_markers, list_markers, query
from s4c_hpc.parcels import Selection, import_parcels, read_attributes
from s4c_hpc.parcels.modes import Previous


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> MarkerSpace:
    made = MarkerSpace(tmp_path_factory.mktemp("query"))
    for when in ("20180507T102648", "20180512T102148", "20180603T101329"):
        made.acquire(when)
    made.merge()
    return made


@pytest.fixture(scope="module")
def wide(space: MarkerSpace) -> pd.DataFrame:
    """The whole season, joined by pandas."""
    months: list[pd.DataFrame] = [read(space.marker(f"2018-{m}")).to_pandas().set_index("NewID") for m in ("05", "06")]
    return pd.concat(months, axis=1)


def equal(table: pa.Table, frame: pd.DataFrame) -> bool:
    read_back = table.to_pandas().set_index("NewID")
    return list(read_back.columns) == list(frame.columns) and bool(
        np.array_equal(read_back.to_numpy(np.float64), frame.to_numpy(np.float64), equal_nan=True)
    )


class TestColumnsAndIds:
    def test_the_whole_season(self, space: MarkerSpace, wide: pd.DataFrame) -> None:
        table = query(space.workspace)
        assert equal(table, wide)
        assert {str(t) for t in table.schema.types} == {"int32", "float"}

    def test_some_parcels_and_columns(self, space: MarkerSpace, wide: pd.DataFrame) -> None:
        table = query(space.workspace, ids=[11, 3, 3], columns=["s2_ndvi_mean__*", "*n_valid__201806*"])
        names = [
            "s2_ndvi_mean__20180507",
            "s2_ndvi_mean__20180512",
            "s2_10m_n_valid__20180603",
            "s2_ndvi_mean__20180603",
        ]
        assert equal(table, wide.loc[[3, 11], names])

    def test_some_periods(self, space: MarkerSpace, wide: pd.DataFrame) -> None:
        table = query(space.workspace, periods=["2018-06"], tiles=["FREISING"])
        assert equal(table, wide.filter(like="201806"))

    def test_own_ids_and_attributes(self, space: MarkerSpace) -> None:
        attributes = read_attributes(space.workspace, "v0001").to_pandas().set_index("NewID")
        wanted = attributes.loc[[4, 9], "ori_id"].tolist()
        table = query(space.workspace, ori_ids=wanted, columns=["s2_ndvi_mean__20180507"], attributes=["ori_*"])
        assert table.column_names == ["NewID", "ori_id", "ori_crop", "s2_ndvi_mean__20180507"]
        assert table["NewID"].to_pylist() == [4, 9]
        assert table["ori_id"].to_pylist() == wanted
        assert table["ori_crop"].to_pylist() == attributes.loc[[4, 9], "ori_crop"].tolist()

    def test_corrected_attributes_are_seen_at_once(self, tmp_path: Path) -> None:
        """The outlines are the same, so no marker file is made again; its manifest names the version it was made of."""
        space = MarkerSpace(tmp_path / "ws")
        space.acquire("20180507T102648")
        space.merge()
        layer = geopandas.read_file(DATA / "parcels.gpkg")
        layer["crop_code"] = [f"new {i}" for i in range(len(layer))]
        layer.to_file(tmp_path / "parcels.gpkg")
        assert import_parcels(tmp_path / "parcels.gpkg", space.workspace, space.config).version == "v0002"
        (file,) = list_markers(space.workspace)
        assert file.parcels_version == "v0001"
        table = query(space.workspace, attributes=["ori_id", "ori_crop"])
        crops = dict(zip(table["ori_id"].to_pylist(), table["ori_crop"].to_pylist(), strict=True))
        assert crops == dict(zip(layer["parcel_id"], layer["crop_code"], strict=True))
        seen = query(space.workspace, sql="SELECT DISTINCT ori_crop FROM markers JOIN parcels USING (NewID)")
        assert set(seen["ori_crop"].to_pylist()) == set(layer["crop_code"])

    def test_both_kinds_of_ids_together(self, space: MarkerSpace) -> None:
        own = read_attributes(space.workspace, "v0001").to_pandas().set_index("NewID").loc[4, "ori_id"]
        assert query(space.workspace, ids=[2], ori_ids=[own])["NewID"].to_pylist() == [2, 4]

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"ids": [1, 77, 99]}, InputError, r"2 of 3 parcels are not .* NewID 77, 99"),
            ({"ids": [2**40]}, InputError, r"not NewIDs, which are int32: 1099511627776"),
            ({"ids": []}, NoInputsError, r"no parcel"),
            ({"ori_ids": ["Nowhere"]}, InputError, r"1 of 1 ids are not in the parcels: Nowhere"),
            ({"columns": ["s2_nvdi_mean__*"]}, NoInputsError, r"'s2_nvdi_mean__\*'; near are s2_ndvi_mean__2018"),
            ({"attributes": ["crop"]}, NoInputsError, r"no parcel attribute matches 'crop'; there are"),
            ({"attributes": ["ori_id"], "sql": "SELECT 1"}, ConfigError, r"join the table parcels in SQL"),
        ],
    )
    def test_what_is_not_there(
        self, space: MarkerSpace, arguments: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            query(space.workspace, **arguments)


class TestSql:
    def test_wide(self, space: MarkerSpace, wide: pd.DataFrame) -> None:
        sql = "SELECT NewID, s2_ndvi_mean__20180507, s2_ndvi_mean__20180603 FROM markers ORDER BY NewID"
        assert equal(query(space.workspace, sql=sql), wide[["s2_ndvi_mean__20180507", "s2_ndvi_mean__20180603"]])

    def test_unknown_is_null_so_that_averages_are_right(self, space: MarkerSpace, wide: pd.DataFrame) -> None:
        table = query(space.workspace, sql="SELECT avg(s2_ndvi_mean__20180507) AS mean FROM markers")
        column = wide["s2_ndvi_mean__20180507"].astype(np.float64)
        assert column.isna().any()
        assert table["mean"][0].as_py() == pytest.approx(column.mean(), rel=1e-12)

    def test_long(self, space: MarkerSpace, wide: pd.DataFrame) -> None:
        sql = """SELECT NewID, tile, sensor, date, variable, statistic, value FROM observations
                 WHERE variable = 'ndvi' AND statistic = 'mean' ORDER BY date, NewID"""
        table = query(space.workspace, sql=sql)
        expected = wide.filter(regex="_ndvi_mean__").melt(ignore_index=False).dropna().reset_index()
        assert table["NewID"].to_pylist() == expected["NewID"].tolist()
        assert np.array_equal(table["value"].to_numpy(), expected["value"].to_numpy(np.float64))
        assert [f"{d:%Y%m%d}" for d in table["date"].to_pylist()] == [n[-8:] for n in expected["variable"]]
        assert set(table["tile"].to_pylist()) == {"FREISING"}
        assert set(table["sensor"].to_pylist()) == {"s2"}

    def test_every_known_value_is_an_observation(self, space: MarkerSpace, wide: pd.DataFrame) -> None:
        assert (
            query(space.workspace, sql="SELECT count(*) AS n FROM observations")["n"][0].as_py() == wide.count().sum()
        )

    def test_parcels_join(self, space: MarkerSpace) -> None:
        sql = "SELECT ori_id, s2_10m_n_total__20180507 AS n FROM markers JOIN parcels USING (NewID) ORDER BY NewID"
        table = query(space.workspace, sql=sql)
        attributes = read_attributes(space.workspace, "v0001").sort_by("NewID")
        assert table["ori_id"].to_pylist() == attributes["ori_id"].to_pylist()

    def test_dictionary(self, space: MarkerSpace) -> None:
        sql = """SELECT "column", formula, unit FROM dictionary
                 WHERE variable = 'ndvi' AND statistic = 'p25' ORDER BY date"""
        table = query(space.workspace, sql=sql)
        assert table["column"].to_pylist() == [f"s2_ndvi_p25__{d}" for d in ("20180507", "20180512", "20180603")]
        assert set(table["formula"].to_pylist()) == {"(B08 - B04) / (B08 + B04)"}

    def test_narrowed(self, space: MarkerSpace) -> None:
        sql = "SELECT DISTINCT variable, statistic FROM observations"
        table = query(space.workspace, sql=sql, columns=["s2_b04_mean__*"], ids=[1, 2])
        assert table.to_pylist() == [{"variable": "b04", "statistic": "mean"}]
        assert query(space.workspace, sql="SELECT NewID FROM markers", ids=[5, 2])["NewID"].to_pylist() == [2, 5]
        with pytest.raises(InputError, match="NewID 77"):
            query(space.workspace, sql="SELECT NewID FROM markers", ids=[77])

    @pytest.mark.parametrize(
        ("sql", "message"),
        [
            ("SELEC 1", "syntax error"),
            ("SELECT s2_nvdi_mean__20180507 FROM markers", "s2_n"),
            ("SELECT * FROM read_csv('/etc/passwd')", "disabled"),
            ("COPY markers TO '/tmp/stolen.csv'", "disabled"),
            ("SET enable_external_access = true", "configuration"),
            ("", "has no result"),
        ],
    )
    def test_bad_or_forbidden(self, space: MarkerSpace, sql: str, message: str) -> None:
        """A query sees the markers and nothing else: no file, no network, no Python object."""
        with pytest.raises(InputError, match=f"SQL: .*{message}"):
            query(space.workspace, sql=sql)


def test_months_of_different_parcels(tmp_path: Path) -> None:
    """A month that was made with other parcels: unknown there, in both ways of asking."""
    space = MarkerSpace(tmp_path)
    space.acquire("20180507T102648", ids=range(1, 10))
    space.acquire("20180603T101329", ids=range(5, 19))
    space.merge()
    table = query(space.workspace)
    assert table["NewID"].to_pylist() == list(range(1, 19))
    assert np.isnan(table["s2_ndvi_mean__20180507"].to_numpy()[9:]).all()
    assert not table["s2_10m_n_total__20180603"].to_numpy()[:4].any()
    by_sql = query(space.workspace, sql="SELECT NewID, s2_ndvi_mean__20180507 AS x FROM markers ORDER BY NewID")
    assert by_sql["NewID"].to_pylist() == list(range(1, 19))
    assert pc.all(pc.is_null(by_sql["x"].slice(9))).as_py()


def test_two_tiles(tmp_path: Path) -> None:
    """Each tile has its own parcels and days; a column that a tile does not have is unknown there."""
    space = MarkerSpace(tmp_path)
    space.acquire("20180507T102648", ids=range(1, 10))
    space.merge()
    first = space.marker("2018-05")
    moved = first.with_name("site_ELSEWHERE.arrow")
    first.rename(moved)
    first.with_suffix(".manifest.json").rename(moved.with_suffix(".manifest.json"))
    space.stats.clear()
    space.acquire("20180512T102148", ids=range(10, 19))
    space.merge()
    table = query(space.workspace, columns=["*_ndvi_mean__*"])
    assert table.column_names == ["NewID", "s2_ndvi_mean__20180507", "s2_ndvi_mean__20180512"]
    known = [~np.isnan(table[name].to_numpy()) for name in table.column_names[1:]]
    assert not known[0][9:].any()
    assert not known[1][:9].any()
    assert known[0].any()
    assert known[1].any()
    sql = (
        "SELECT tile, count(s2_ndvi_mean__20180512) AS n, count(*) AS parcels FROM markers GROUP BY tile ORDER BY tile"
    )
    counted = query(space.workspace, sql=sql).to_pylist()
    assert counted == [
        {"tile": "ELSEWHERE", "n": 0, "parcels": 9},
        {"tile": "FREISING", "n": int(known[1].sum()), "parcels": 9},
    ]
    assert query(space.workspace, tiles=["ELSE*"]).num_rows == 9


class TestConditions:
    """Values of parcels that meet conditions on attributes and place."""

    COLUMN = "s2_ndvi_mean__20180507"

    def found(self, space: MarkerSpace, wanted: Selection, **more: Any) -> list[int]:
        ids: list[int] = query(space.workspace, columns=[self.COLUMN], parcels=wanted, **more)["NewID"].to_pylist()
        return ids

    def test_by_attribute_and_with_a_list(self, space: MarkerSpace) -> None:
        crops = read_attributes(space.workspace, "v0001").to_pandas().set_index("NewID")["ori_crop"]
        expected = sorted(crops.index[crops == "115"])
        assert 0 < len(expected) < len(crops)
        wheat = Selection(where="ori_crop = '115'")
        assert self.found(space, wheat) == expected
        assert self.found(space, wheat, ids=[expected[0], int(crops.index[crops != "115"][0])]) == expected[:1]
        assert self.found(space, Selection(), ids=[3]) == [3]
        with pytest.raises(NoInputsError, match="no parcel meets the conditions"):
            self.found(space, Selection(where="ori_crop = 'none'"))

    def test_by_rectangle_and_polygon(self, space: MarkerSpace, tmp_path: Path) -> None:
        frame = geopandas.read_parquet(space.workspace.parcels / "v0001" / "parcels.parquet")
        area = frame[frame["NewID"] == 5][["NewID", "geometry"]]
        expected = sorted(frame["NewID"][frame.intersects(area.geometry.iloc[0])])
        area.to_file(tmp_path / "area.gpkg")
        assert self.found(space, Selection(polygon=tmp_path / "area.gpkg")) == expected
        box = tuple(area.total_bounds)
        expected = sorted(frame["NewID"][frame.intersects(area.envelope.iloc[0])])
        assert self.found(space, Selection(box=box, box_crs="EPSG:32632")) == expected

    def test_sql_and_export_see_the_same_parcels(self, space: MarkerSpace, tmp_path: Path) -> None:
        some = Selection(where="NewID <= 3")
        counted = query(space.workspace, sql="SELECT count(*) AS n FROM markers", parcels=some)
        assert counted["n"].to_pylist() == [3]
        report = export_markers(space.workspace, tmp_path / "a.csv", columns=[self.COLUMN], parcels=some)
        assert report.n_rows == 3


@pytest.fixture(scope="module")
def lacking(tmp_path_factory: pytest.TempPathFactory) -> MarkerSpace:
    """Beside 18 parcels with markers, one lies on no tile (number 19) and one was deleted (20)."""
    root = tmp_path_factory.mktemp("without")
    made = MarkerSpace(root / "ws")
    made.acquire("20180507T102648")
    made.merge()
    layer = geopandas.read_file(DATA / "parcels.gpkg")
    away = layer.iloc[:2].assign(parcel_id=["Far", "Gone"])
    away.geometry = away.translate(200_000)
    for n, mode in ((2, "replace"), (1, "update")):
        pd.concat([layer, away.iloc[:n]]).to_file(root / f"{n}.gpkg")
        config = make_config(parcels={**made.config.parcels.model_dump(mode="json"), "mode": mode})
        import_parcels(root / f"{n}.gpkg", made.workspace, config)
    (made.root / "s4c.toml").write_text("")
    return made


class TestParcelsWithoutMarkers:
    """They are told of, and the others are given."""

    COLUMN = "s2_ndvi_mean__20180507"
    FAR = "Far (outside of all tiles)"
    GONE = "Gone (deleted)"

    def asked(self, lacking: MarkerSpace, **wanted: Any) -> tuple[list[int], list[str]]:
        told: list[str] = []
        table = query(lacking.workspace, columns=[self.COLUMN], tell=told.append, **wanted)
        return table["NewID"].to_pylist(), told

    def test_a_list(self, lacking: MarkerSpace) -> None:
        assert self.asked(lacking, ids=[3, 4]) == ([3, 4], [])
        assert self.asked(lacking, ids=[3, 19]) == ([3], [f"1 of 2 parcels has no markers: {self.FAR}"])
        both = f"2 of 3 parcels have no markers: {self.FAR}, {self.GONE}"
        assert self.asked(lacking, ids=[3], ori_ids=["Gone", "Far"]) == ([3], [both])
        with pytest.raises(NoInputsError, match=r"parcels v0003: 1 of 1 parcel has no markers: Gone \(deleted\)"):
            self.asked(lacking, ids=[20])
        with pytest.raises(InputError, match="1 of 2 parcels are not in the chosen marker files: NewID 77"):
            self.asked(lacking, ids=[3, 77])

    def test_pseudonyms_are_not_told(self, lacking: MarkerSpace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Previous, "report", {"pseudonyms": {}})
        assert self.asked(lacking, ids=[3, 20]) == ([3], ["1 of 2 parcels has no markers: NewID 20 (deleted)"])

    def test_a_list_is_whole_for_those_who_are_not_told(self, lacking: MarkerSpace) -> None:
        with pytest.raises(InputError, match=r"1 of 2 parcels has no markers: Far \(outside of all tiles\)"):
            query(lacking.workspace, ids=[3, 19])

    def test_conditions(self, lacking: MarkerSpace) -> None:
        told = [f"2 of 4 parcels have no markers: {self.FAR}, {self.GONE}"]
        assert self.asked(lacking, parcels=Selection(where="NewID > 16")) == ([17, 18], told)
        assert self.asked(lacking, parcels=Selection(where="NewID > 16"), tiles=["FREISING"]) == ([17, 18], [])
        one = [f"1 of 2 parcels has no markers: {self.FAR}"]
        assert self.asked(lacking, parcels=Selection(where="NewID > 16"), ids=[18, 19]) == ([18], one)
        with pytest.raises(NoInputsError, match="1 of 1 parcel has no markers: Far"):
            self.asked(lacking, parcels=Selection(where="ori_id = 'Far'"))

    def test_exit_codes(self, lacking: MarkerSpace, tmp_path: Path) -> None:
        out = tmp_path / "a.csv"
        some = ["--parcels", "Far", "--ids", "3"]
        for arguments, code in (
            (["query", *some], 5),
            (["export", out, *some], 5),
            (["query", "--where", "NewID IN (3, 19)"], 0),
            (["query", "--parcels", "Far"], 6),
            (["query", "--parcels", "Nowhere"], 4),
        ):
            done = s4c("markers", *arguments, "-c", self.COLUMN, workspace=lacking.root)
            assert done.returncode == code, done.stderr
            if code in {0, 5}:
                assert f"1 of 2 parcels has no markers: {self.FAR}\n" in done.stderr
                rows = pd.read_csv(out if "export" in arguments else io.StringIO(done.stdout))
                assert rows["NewID"].tolist() == [3]
