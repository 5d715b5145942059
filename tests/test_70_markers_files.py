"""Marker files are found, explained and mapped without a copy."""

from __future__ import annotations

import gc
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support.markers import MarkerSpace, make_config

from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError, NoInputsError
from s4c_hpc.core.ipc import open_ipc
from s4c_hpc.markers import export_markers, list_markers, query, show_marker
from s4c_hpc.markers.attributes import parcels_version


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> MarkerSpace:
    made = MarkerSpace(
        tmp_path_factory.mktemp("files"),
        make_config(markers={"sets": [{"name": "mdb1"}, {"name": "small", "variables": ["ndvi"]}]}),
    )
    for when in ("20180507T102648", "20180512T102148", "20180603T101329"):
        made.acquire(when)
    made.merge(given_up={"S2_20180512T102148": "cloudy"})
    return made


def test_list(space: MarkerSpace) -> None:
    files = list_markers(space.workspace)
    assert [(f.set, f.period) for f in files] == [
        ("mdb1", "2018-05"),
        ("mdb1", "2018-06"),
        ("small", "2018-05"),
        ("small", "2018-06"),
    ]
    first = files[0]
    assert (first.site, first.tile, first.n_parcels, first.n_products, first.n_missing) == (
        "site",
        "FREISING",
        18,
        1,
        1,
    )
    assert first.n_columns == 8 + 2 * 3
    assert first.n_bytes == first.path.stat().st_size
    assert first.parcels_version == "v0001"
    assert not any(f.problem for f in files)


def test_list_by_pattern(space: MarkerSpace) -> None:
    assert len(list_markers(space.workspace, set_name="small")) == 2
    assert len(list_markers(space.workspace, periods=["2018-0[6-9]"])) == 2
    assert len(list_markers(space.workspace, tiles=["FREI*"], periods=["2018-05"], set_name="mdb1")) == 1
    assert list_markers(space.workspace, tiles=["32UPU"]) == []


def test_the_newest_parcels_version_is_the_highest_number(space: MarkerSpace) -> None:
    first, second, *_ = list_markers(space.workspace)
    first, second = replace(first, parcels_key=None), replace(second, parcels_key=None)
    files = [replace(first, parcels_version="v9999"), replace(second, parcels_version="v10000")]
    assert parcels_version(space.workspace, files) == parcels_version(space.workspace, files[::-1]) == "v10000"
    assert parcels_version(space.workspace, [replace(first, parcels_version=None)]) == "v0001"


def test_an_empty_workspace_lists_nothing(tmp_path: Path) -> None:
    assert list_markers(MarkerSpace(tmp_path).workspace) == []


def test_show(space: MarkerSpace) -> None:
    details = show_marker(space.marker("2018-05"))
    assert details.metadata["set"] == "mdb1"
    assert details.columns["NewID"]["type"] == "int32"
    assert details.columns["s2_ndvi_mean__20180507"]["unit"] == "1"
    assert details.columns["s2_ndvi_mean__20180507"]["type"] == "float"
    assert details.manifest is not None
    assert [m.product for m in details.manifest.missing] == ["S2_20180512T102148"]


def test_show_of_something_else(space: MarkerSpace, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no such file; 's4c markers list' shows which there are"):
        show_marker(tmp_path / "none.arrow")
    (tmp_path / "text.arrow").write_text("not Arrow at all")
    with pytest.raises(InputError, match="not a whole Arrow file"):
        show_marker(tmp_path / "text.arrow")
    with pytest.raises(InputError, match="is an Arrow file but not a marker file"):
        show_marker(space.root / space.stats[0].outputs[0])


class TestDamage:
    @pytest.fixture
    def own(self, tmp_path: Path) -> MarkerSpace:
        made = MarkerSpace(tmp_path)
        made.acquire("20180507T102648")
        made.merge()
        return made

    def test_a_lost_manifest(self, own: MarkerSpace) -> None:
        own.marker("2018-05").with_suffix(".manifest.json").unlink()
        (file,) = list_markers(own.workspace)
        assert "no such manifest" in file.problem
        assert file.n_parcels is None
        assert show_marker(file.path).manifest is None
        assert query(own.workspace).num_rows == 18, "the values are there all the same"

    def test_a_manifest_of_another_run(self, own: MarkerSpace) -> None:
        manifest = own.marker("2018-05").with_suffix(".manifest.json")
        manifest.write_text(manifest.read_text().replace(own.plan()[0].id, "another"))
        (file,) = list_markers(own.workspace)
        assert "another version of the file" in file.problem

    def test_a_truncated_marker_file(self, own: MarkerSpace) -> None:
        path = own.marker("2018-05")
        path.write_bytes(path.read_bytes()[:3000])
        (file,) = list_markers(own.workspace)
        assert "not a whole Arrow file" in file.problem
        with pytest.raises(InputError, match=path.name):
            query(own.workspace)


class TestChoice:
    def test_several_sets_ask_for_a_name(self, space: MarkerSpace) -> None:
        with pytest.raises(ConfigError, match="there are 2 marker sets: mdb1, small; name one with --marker-set"):
            query(space.workspace)

    def test_an_unknown_set(self, space: MarkerSpace) -> None:
        with pytest.raises(NoInputsError, match="no marker set 'mdb2'; there are mdb1, small"):
            query(space.workspace, set_name="mdb2")

    def test_no_such_period(self, space: MarkerSpace) -> None:
        with pytest.raises(NoInputsError, match="periods are 2018-05, 2018-06"):
            query(space.workspace, set_name="mdb1", periods=["2019-*"])

    def test_two_sites_are_not_mixed(self, tmp_path: Path) -> None:
        """What a site that was renamed left behind; the next run removes it."""
        space = MarkerSpace(tmp_path)
        space.acquire("20180507T102648")
        space.acquire("20180603T101329")
        space.merge()
        path = space.marker("2018-05")
        shutil.copy(path, path.with_name("before_FREISING.arrow"))
        assert [f.site for f in list_markers(space.workspace)] == ["before", "site", "site"]
        both = r"markers of 2 sites: before, site; run 's4c run', which removes .* earlier configuration"
        with pytest.raises(InputError, match=both):
            query(space.workspace)
        with pytest.raises(InputError, match=both):
            export_markers(space.workspace, tmp_path / "out.csv")
        assert query(space.workspace, periods=["2018-06"]).num_rows == 18, "what is chosen is of one site"

    def test_no_markers_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(NoInputsError, match="there are no marker files; run 's4c run' first"):
            query(MarkerSpace(tmp_path).workspace)


def mappings(path: Path) -> list[tuple[int, int]]:
    """Address ranges where this process has mapped ``path``."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    ranges = [line[0].split("-") for line in lines if line[-1] == str(path)]
    return [(int(start, 16), int(end, 16)) for start, end in ranges]


def test_reading_copies_nothing(space: MarkerSpace) -> None:
    """Every value buffer lies inside the mapped file, and Arrow's memory pool stays as it was."""
    path = space.marker("2018-05")
    gc.collect()
    before = pa.total_allocated_bytes()
    table = open_ipc(path).read_all()
    arrays = [chunk.to_numpy(zero_copy_only=True) for column in table.columns for chunk in column.chunks]
    assert pa.total_allocated_bytes() == before
    ranges = mappings(path)
    assert ranges
    for column in table.columns:
        for chunk in column.chunks:
            validity, values = chunk.buffers()
            assert validity is None
            assert any(start <= values.address and values.address + values.size <= end for start, end in ranges)
    for array in arrays:
        address = array.__array_interface__["data"][0]
        assert any(start <= address < end for start, end in ranges)
        assert address % 8 == 0
    assert np.array_equal(arrays[0], np.arange(1, 19))


def test_pandas_reads_without_copying_the_values_of_a_column(space: MarkerSpace) -> None:
    path = space.marker("2018-05")
    column = open_ipc(path).read_all().column("s2_ndvi_mean__20180507")
    series = column.to_pandas(zero_copy_only=True)
    address = series.to_numpy().__array_interface__["data"][0]
    assert any(start <= address < end for start, end in mappings(path))
