"""Layers: what of a tile has to be computed after an update."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.parcels import make_config, squares, write_layer

from s4c_hpc.core.errors import InputError, MissingDataError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import (
    BLOCK,
    Layer,
    all_layers,
    current,
    import_parcels,
    read_layer_parcels,
    read_tile_parcels,
    read_tiles,
    versions_by_key,
)
from s4c_hpc.parcels.store import stamp

WEST = {"id": "W", "crs": "EPSG:32632", "ulx": 600_000, "uly": 5_320_000, "width_m": 20_000, "height_m": 20_000}
EAST = WEST | {"id": "E", "ulx": 620_000}
N = 40
FIELDS = dict(zip([f"F{i:02d}" for i in range(N)], squares(N), strict=True))
AWAY = shapely.transform(squares(N), lambda xy: xy + np.array([20_000.0, 0.0]))


class Sequence:
    """A workspace that takes one declaration after the other."""

    def __init__(self, root: Path, **limits: Any) -> None:
        self.workspace = Workspace(root / "workspace")
        self.file = root / "parcels.gpkg"
        self.config = make_config(tiles=[WEST, EAST], **limits)

    def take(self, fields: Mapping[str, Any], **options: Any) -> str:
        self.file.unlink(missing_ok=True)
        columns = {"id": list(fields), "crop": options.pop("crop", ["x"] * len(fields))}
        write_layer(self.file, list(fields.values()), columns=columns, **options)
        return import_parcels(self.file, self.workspace, self.config).version

    def layers(self, tile: str = "W") -> list[tuple[str, bool, int]]:
        return [(layer.version, layer.full, layer.n_parcels) for layer in all_layers(self.workspace).get(tile, ())]

    def parcels_of(self, layer: Layer) -> dict[int, Any]:
        table = read_layer_parcels(self.workspace, layer.tile, layer.key)
        assert table.block.tolist() == [i // BLOCK for i in range(len(table.new_id))]
        assert (len(table.new_id), table.block[-1] + 1) == (layer.n_parcels, layer.n_blocks)
        assert layer.area_m2 == pytest.approx(shapely.area(table.geometry).sum())
        assert layer.perimeter_m == pytest.approx(shapely.length(table.geometry).sum())
        return dict(zip(table.new_id.tolist(), shapely.to_wkb(table.geometry), strict=True))

    def given(self, tile: str) -> dict[int, bytes]:
        """What the layers give: the last one that has a parcel counts."""
        found: dict[int, bytes] = {}
        for layer in current(all_layers(self.workspace).get(tile, ())):
            found |= self.parcels_of(layer)
        return found


@pytest.fixture
def sequence(tmp_path: Path) -> Sequence:
    return Sequence(tmp_path)


def moved(*names: str, by: float = 1.0) -> dict[str, Any]:
    return FIELDS | {name: shapely.affinity.translate(FIELDS[name], 0, by) for name in names}


def test_one_version_is_one_full_layer_as_it_stands(sequence: Sequence) -> None:
    version = sequence.take(FIELDS)
    (layer,) = all_layers(sequence.workspace)["W"]
    (tile,) = read_tiles(sequence.workspace, version)
    for name in ("tile", "key", "n_parcels", "n_blocks", "area_m2", "perimeter_m"):
        assert getattr(layer, name) == getattr(tile, name)
    assert (layer.version, layer.full) == (version, True)
    whole = read_tile_parcels(sequence.workspace, version, tile.tile)
    table = read_layer_parcels(sequence.workspace, tile.tile, layer.key)
    assert np.array_equal(table.new_id, whole.new_id)
    assert np.array_equal(table.block, whole.block)
    assert np.array_equal(shapely.to_wkb(table.geometry), shapely.to_wkb(whole.geometry))
    assert not (sequence.workspace.parcels / version / "layers.parquet").exists()


def test_what_changed_is_a_layer(sequence: Sequence) -> None:
    sequence.take(FIELDS)
    base = all_layers(sequence.workspace)["W"][0]
    sequence.take(moved("F03", "F17"))
    assert sequence.layers() == [("v0001", True, N), ("v0002", False, 2)]
    first, second = all_layers(sequence.workspace)["W"]
    assert first == base
    assert list(sequence.parcels_of(second)) == [18, 4]  # from north to south
    assert all_layers(sequence.workspace) == {"W": (first, second)}


def test_attributes_and_deletions_are_no_layer(sequence: Sequence) -> None:
    sequence.take(FIELDS)
    sequence.take(FIELDS, crop=["y"] * N)
    sequence.take({name: field for name, field in FIELDS.items() if name != "F09"})
    assert sequence.layers() == [("v0001", True, N)]


def test_a_change_and_its_revert_are_layers_and_what_comes_back_is_known(sequence: Sequence) -> None:
    sequence.take(FIELDS)
    sequence.take({name: field for name, field in FIELDS.items() if name != "F09"})
    sequence.take(FIELDS)
    assert sequence.layers() == [("v0001", True, N)]
    sequence.take(moved("F03"))
    sequence.take(FIELDS)
    sequence.take(moved("F03"))
    assert sequence.layers() == [("v0001", True, N), ("v0004", False, 1), ("v0005", False, 1), ("v0004", False, 1)]
    _, there, back, again = all_layers(sequence.workspace)["W"]
    # The same parcels with the same outlines are the same layer, by the name that its files have.
    assert there == again
    assert there.key != back.key


def test_what_returns_or_comes_from_another_tile_is_new(sequence: Sequence) -> None:
    fewer = {name: field for name, field in FIELDS.items() if name != "F09"}
    sequence.take(FIELDS | {"X": AWAY[0]})
    sequence.take(fewer | {"X": AWAY[0]})
    assert sequence.layers() == [("v0001", True, N)]
    here = shapely.affinity.translate(FIELDS["F30"], 0, 200)
    sequence.take(FIELDS | {"X": here, "Y": AWAY[1]})
    assert sequence.layers() == [("v0001", True, N), ("v0003", False, 2)]
    # Its own tile has only parcels that are new there.
    assert sequence.layers("E") == [("v0001", True, 1), ("v0003", True, 1)]


def test_too_many_layers_begin_anew(tmp_path: Path) -> None:
    sequence = Sequence(tmp_path, layers_max=2)
    sequence.take(FIELDS)
    for i in range(1, 5):
        sequence.take(moved("F03", by=i))
    assert sequence.layers() == [
        ("v0001", True, N),
        ("v0002", False, 1),
        ("v0003", False, 1),
        ("v0004", True, N),
        ("v0005", False, 1),
    ]
    layers = all_layers(sequence.workspace)["W"]
    assert current(layers) == layers[3:]
    assert layers[3].key == read_tiles(sequence.workspace, "v0004")[0].key


def test_too_large_layers_begin_anew(tmp_path: Path) -> None:
    sequence = Sequence(tmp_path, layer_share_max=0.1)
    sequence.take(FIELDS)
    sequence.take(moved("F03", "F04"))
    changed = moved("F03", "F04")
    sequence.take(changed | moved("F05", "F06") | {n: changed[n] for n in ("F03", "F04")})
    assert sequence.layers() == [("v0001", True, N), ("v0002", False, 2), ("v0003", False, 2)]  # 4 of 40 is 10 %
    sequence.take(moved("F03", "F04", "F05", "F06", "F07"))
    assert sequence.layers()[-1] == ("v0004", True, N)


def test_another_rectangle_or_reference_system_begins_anew(tmp_path: Path) -> None:
    sequence = Sequence(tmp_path)
    sequence.take(FIELDS)
    sequence.take(moved("F03"))
    sequence.config = make_config(tiles=[WEST | {"width_m": 19_000}, EAST])
    sequence.take(moved("F03"))
    before = [("v0001", True, N), ("v0002", False, 1), ("v0003", True, N)]
    assert sequence.layers() == before
    assert [layer.tile.width_m for layer in all_layers(sequence.workspace)["W"]] == [20_000, 20_000, 19_000]
    sequence.take(moved("F03"), crs="EPSG:25832")
    assert sequence.layers() == [*before, ("v0004", True, N)]


def test_a_version_whose_predecessor_is_gone_stands_alone(sequence: Sequence) -> None:
    sequence.take(FIELDS)
    sequence.take(moved("F03"))
    sequence.take(moved("F03", "F04"))
    shutil.rmtree(sequence.workspace.parcels / "v0002")
    assert sequence.layers() == [("v0001", True, N), ("v0003", True, N)]
    # As one that an earlier release has made.
    (sequence.workspace.parcels / "v0003" / "layers.parquet").unlink()
    assert sequence.layers() == [("v0001", True, N), ("v0003", True, N)]


def test_a_file_of_layers_that_goes_while_it_is_looked_at_is_as_if_it_was_not_there(
    sequence: Sequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence.take(FIELDS)
    sequence.take(moved("F03"))
    path = sequence.workspace.parcels / "v0002" / "layers.parquet"
    seen = stamp(path)
    path.unlink()
    monkeypatch.setattr("s4c_hpc.parcels.layers.stamp", lambda _: seen)
    # Alone, it has all of its parcels.
    assert sequence.layers() == [("v0001", True, N), ("v0002", True, N)]


def test_what_is_not_there_is_told(sequence: Sequence) -> None:
    assert all_layers(sequence.workspace) == {}
    sequence.take(FIELDS)
    version = sequence.take(moved("F03"))
    (tile,) = read_tiles(sequence.workspace, version)
    with pytest.raises(MissingDataError, match="parcels:0 on tile W"):
        read_layer_parcels(sequence.workspace, tile.tile, "parcels:0")
    path = sequence.workspace.parcels / version / "layers.parquet"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="import the parcels again"):
        all_layers(sequence.workspace)


def test_versions_are_read_once_and_again_when_put_back(
    sequence: Sequence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence.take(FIELDS)
    sequence.take(moved("F03"))
    folder = sequence.workspace.parcels / "v0002"
    shutil.copytree(folder, tmp_path / "kept")
    sequence.take(moved("F03", "F04"))
    before, by_key = all_layers(sequence.workspace), versions_by_key(sequence.workspace)
    with monkeypatch.context() as patch:
        patch.setattr("pyarrow.parquet.read_table", lambda path, **_: pytest.fail(f"{path} was read again"))
        assert all_layers(sequence.workspace) == before
        assert versions_by_key(sequence.workspace) == by_key
    shutil.rmtree(folder)
    (sequence.workspace.parcels / "v0003").rename(tmp_path / "v0003")
    assert sequence.take(moved("F05", "F06")) == "v0002"
    assert sequence.layers() == [("v0001", True, N), ("v0002", False, 2)]
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "kept", folder)
    (tmp_path / "v0003").rename(sequence.workspace.parcels / "v0003")
    assert all_layers(sequence.workspace) == before


STATES = st.dictionaries(st.integers(0, 11), st.tuples(st.booleans(), st.integers(0, 2)), min_size=1)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states=st.lists(STATES, min_size=1, max_size=5), layers_max=st.integers(0, 3), share=st.sampled_from([0.2, 1.0]))
def test_layers_give_the_newest_outline_of_every_parcel(
    tmp_path: Path, states: list[dict[int, tuple[bool, int]]], layers_max: int, share: float
) -> None:
    root = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    root.mkdir()
    sequence = Sequence(root, layers_max=layers_max, layer_share_max=share)
    for state in states:
        fields = {
            f"F{i:02d}": shapely.affinity.translate((AWAY if east else squares(N))[i], 0, float(shift))
            for i, (east, shift) in state.items()
        }
        version = sequence.take(fields)
        for tile in read_tiles(sequence.workspace, version):
            newest = read_tile_parcels(sequence.workspace, version, tile.tile)
            found = sequence.given(tile.tile.id)
            for new_id, wkb in zip(newest.new_id.tolist(), shapely.to_wkb(newest.geometry), strict=True):
                assert found[new_id] == wkb
            assert len(current(all_layers(sequence.workspace).get(tile.tile.id, ()))) <= 1 + layers_max
