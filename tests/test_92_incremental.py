"""After an update of the parcels only what is new is computed, from stacks, and nothing shows how it came about."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.safe import image_path, truncate
from support.updates import (
    DAYS,
    TILES,
    ULX,
    ULY,
    Declaration,
    Site,
    build_landsat_archive,
    field_at,
    opened,
    opens,
    stages_of,
    todo,
    twenty_fields,
)

from s4c_hpc import catalog
from s4c_hpc.core.errors import ExitCode, InputError
from s4c_hpc.core.ipc import open_ipc
from s4c_hpc.extract import Stack
from s4c_hpc.parcels import latest_version, read_attributes
from s4c_hpc.report import write_report
from s4c_hpc.series import open_series, read_set

WIDE = {"parcels": {"layer_share_max": 0.5}}
"""Of twenty parcels some may change and make a layer still."""
FILES = 13
"""Of a product: twelve bands and the classes."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, products: Path) -> Site:
    """Two days of the first declaration, all done."""
    site = Site(tmp_path_factory.mktemp("finished"), products, **WIDE)
    site.deliver(0, 1)
    site.declare(twenty_fields())
    site.run()
    return site


@dataclass
class Updated:
    """A finished site whose declaration has changed."""

    site: Site
    declaration: Declaration


Update = Callable[..., Updated]


@pytest.fixture
def update(finished: Site, tmp_path: Path) -> Update:
    """Edits of the declaration, which is imported as v0002 into a copy of the finished site."""

    def make(*edits: Callable[[Declaration], object], **sections: object) -> Updated:
        site, declaration = finished.copy(tmp_path / "site", **sections), twenty_fields()
        for edit in edits:
            edit(declaration)
        assert site.declare(declaration) == "v0002"
        return Updated(site, declaration)

    return make


def in_one_run(site: Site, declarations: list[Declaration], *days: int) -> Site:
    """A new workspace that was given the same declarations and all products before its only run."""
    new = Site(site.root.parent / "once", site.products, **site.sections)
    for declaration in declarations:
        new.declare(declaration)
    new.deliver(*days)
    new.run()
    return new


def of_the_last_alone(site: Site, declaration: Declaration, *days: int) -> Site:
    """A new workspace that knows the last declaration only."""
    new = Site(site.root.parent / "last", site.products, **site.sections)
    new.declare(declaration)
    new.deliver(*days)
    new.run()
    return new


def test_parcels_within_the_mask_are_computed_from_stacks(update: Update) -> None:
    updated = update(lambda d: d.move("P001", 3, -4), lambda d: d.split("P007"), lambda d: d.crop("P020", "maize"))
    site, plan = updated.site, updated.site.plan()
    assert opens(plan) == 0
    wanted = todo(plan)
    assert stages_of(wanted) == {"index", "stats", "compact", "series", "merge"}
    assert {name.split(" ")[1] for name in wanted} == {"32UPU"}, "the other tile has another crop code only"
    assert plan.reasons() == {
        "index": {"parcels v0002: 3 new or changed": 3},
        "stats": {"parcels v0002: 3 new or changed": 2},
        "compact": {"a new input: parcels v0002: 3 new or changed": 2},
        "merge": {"input changed: parcels v0002: 3 new or changed": 1},
        "series": {"input changed: parcels v0002: 3 new or changed": 1},
    }
    before, here = opened(site.workspace), catalog.opened()
    site.run()
    assert (opened(site.workspace), catalog.opened()) == (before, here)
    assert site.files() == in_one_run(site, [twenty_fields(), updated.declaration], 0, 1).files()
    assert site.values("v0002") == of_the_last_alone(site, updated.declaration, 0, 1).values("v0001")


def test_a_parcel_beyond_the_mask_costs_what_it_hits(update: Update) -> None:
    updated = update(lambda d: d.move("P002", 150, 0), lambda d: d.move("P001", 3, -4))
    site, plan = updated.site, updated.site.plan()
    assert plan.reasons()["mask"] == {"parcels v0002: 1 beyond the farmland mask": 1}
    assert plan.reasons()["gather"] == {"parcels v0002: 1 beyond the farmland mask": 2}
    assert sorted(plan.reasons()["index"]) == ["parcels v0002"]
    assert opens(plan) == opens(plan, "beyond") == 2 * FILES
    before = opened(site.workspace)
    site.run()
    assert opened(site.workspace) - before == 2 * FILES
    (mask,) = [t for t in plan.tasks.to_pylist() if t["stage"] == "mask" and "beyond" in t["subject"]]
    rows = {
        t["subject"]: Stack(site.workspace.root / t["outputs"][0]).n_rows
        for t in plan.tasks.to_pylist()
        if t["stage"] == "gather" and t["tile"] == "32UPU"
    }
    small = {n for subject, n in rows.items() if "beyond" in subject}
    assert len(rows) == 4
    assert max(small) < 90 * 70 / 100 * 4 < min(set(rows.values()) - small), "the one parcel and its ring"
    assert mask["depends_on"], "what a mask holds is left to it"
    # The next day's products come for both pieces of the mask.
    site.deliver(2)
    assert opens(site.plan()) == 3 * FILES
    site.run()
    assert site.files() == in_one_run(site, [twenty_fields(), updated.declaration], 0, 1, 2).files()
    assert site.values("v0002") == of_the_last_alone(site, updated.declaration, 0, 1, 2).values("v0001")


def test_a_parcel_whose_side_is_a_hair_from_a_cell_has_its_values(update: Update) -> None:
    """Without a ring, its own mask does not hold it for certain: it takes its pixels there all the same."""
    west, south = ULX + 1000, ULY - 1100  # on the borders of cells
    corners = [(west, south + 2e-4), (west + 100, south + 1e-4), (west + 100, south + 80), (west, south + 80)]
    added = shapely.Polygon(corners)
    updated = update(lambda d: d.add(added), lambda d: d.split("P001"), extract={"mask_ring_m": 0.0})
    updated.site.run()
    assert updated.site.values("v0002") == of_the_last_alone(updated.site, updated.declaration, 0, 1).values("v0001")


def test_what_is_deleted_goes_from_files_and_readers_and_makes_no_layer(update: Update) -> None:
    updated = update(lambda d: d.delete("P003"))
    site, plan = updated.site, updated.site.plan()
    assert stages_of(todo(plan)) == {"compact", "series", "merge"}
    site.run()
    names = read_attributes(site.workspace, "v0001", ["NewID", "ori_id"]).to_pylist()
    gone = next(row["NewID"] for row in names if row["ori_id"] == "P003")
    for path in site.workspace.markers.rglob("*.arrow"):
        assert gone not in open_ipc(path).read_all()["NewID"].to_pylist()
    series = open_series(site.workspace)
    with pytest.raises(InputError, match=rf"parcel {gone}"):
        series.parcel(gone)
    for one in series.variable("ndvi", "mean"):
        assert gone not in one.new_id
        assert len(one.new_id) == (8 if one.tile == "32UQU" else 11)
    assert gone not in series.table()["NewID"].to_pylist()
    assert site.values("v0002") == of_the_last_alone(site, updated.declaration, 0, 1).values("v0001")


@pytest.mark.parametrize("compact", [True, False])
def test_readers_of_series_see_the_newest_outlines(update: Update, compact: bool) -> None:
    updated = update(
        lambda d: d.move("P002", 150, 0),
        lambda d: d.move("P001", 1150, 100),  # to the other tile
        lambda d: d.delete("P004"),
        lambda d: d.add(field_at(700, 640)),
        series={"compact": compact},
    )
    site = updated.site
    site.run()
    version = latest_version(site.workspace)
    assert version is not None
    ori_id = {
        row["NewID"]: row["ori_id"] for row in read_attributes(site.workspace, version, ["NewID", "ori_id"]).to_pylist()
    }
    expected = of_the_last_alone(site, updated.declaration, 0, 1).values("v0001")
    series = open_series(site.workspace)
    dates = {a.datetime.date(): a for _, a in series.acquisitions()}
    seen = set()
    for new_id, ori in ori_id.items():
        if ori not in updated.declaration.parcels:
            continue
        seen.add(ori)
        for season in series.parcel(new_id):
            name = {"10m": "ndvi", "20m": "b11"}[season.grid]
            for acquisition, value in zip(season.acquisitions, season.values(f"{name}_mean"), strict=True):
                marker = f"s2.{name}.mean.{acquisition.day:%Y%m%d}"
                found = [v for (who, column), v in expected.items() if who == ori and _like(column, marker)]
                assert found == [np.float32(value).tobytes()], (ori, marker)
    assert seen == set(updated.declaration.parcels)
    everyone = sorted(new_id for new_id, ori in ori_id.items() if ori in updated.declaration.parcels)
    for day in dates:
        ids = np.concatenate([one.new_id for one in series.date(day, grid="10m")])
        assert sorted(ids.tolist()) == everyone
    table = series.table(["ndvi_mean"], grid="10m")
    assert sorted(table["NewID"].to_pylist()) == sorted(everyone * len(dates))


def _like(column: str, marker: str) -> bool:
    """Whether a marker column is that of a variable, statistic and day, however names are put together."""
    return set(marker.split(".")) <= set(column.replace("_", ".").replace("-", ".").split("."))


def test_a_stack_that_was_removed_is_gathered_again_for_a_new_layer(
    finished: Site, update: Update, tmp_path: Path
) -> None:
    updated = update(lambda d: d.move("P001", 3, -4), retention={"keep_stacks": "none"})
    site = updated.site
    kept = {path.name for path in (site.workspace.root / "tiles").glob("*/stack/*/*/*.arrow")}
    assert kept
    shutil.rmtree(site.root)
    site = finished.copy(tmp_path / "site", retention={"keep_stacks": "none"})
    site.run()
    assert not list((site.workspace.root / "tiles").glob("*/stack/*/*/*.arrow"))
    site.declare(updated.declaration)
    plan = site.plan()
    assert plan.reasons()["gather"] == {"removed after use ([retention]) and needed again": 2}
    assert opens(plan) == 2 * FILES
    site.run()
    assert not list((site.workspace.root / "tiles").glob("*/stack/*/*/*.arrow"))
    assert site.values("v0002") == of_the_last_alone(site, updated.declaration, 0, 1).values("v0001")


def test_what_was_found_of_outlines_may_be_lost_or_damaged(update: Update) -> None:
    updated = update(lambda d: d.move("P002", 150, 0), lambda d: d.move("P012", 3, -4))
    workspace = updated.site.workspace
    first = updated.site.plan()
    known = workspace.state / "farmland"
    (path,) = known.glob("*.json")
    text = path.read_text()
    ids = first.tasks["id"].to_pylist()
    for damage in ("", "{", "[]", '{"x": 1}', json.dumps({key: {"0": ["a"]} for key in json.loads(text)})):
        path.write_text(damage)
        assert updated.site.plan().tasks["id"].to_pylist() == ids
        assert path.read_text() == text
    shutil.rmtree(known)
    for mask in (workspace.root / "tiles").glob("*/mask/*.arrow"):  # nor does it matter whether masks are there
        mask.unlink()
    known.write_text("no folder")
    assert updated.site.plan().tasks.drop_columns(["id"]).equals(first.tasks.drop_columns(["id"]))


def test_an_acquisition_counts_with_all_its_layers_or_not_at_all(update: Update) -> None:
    """Else parcels would keep the values of an outline that they no longer have."""
    updated = update(lambda d: d.move("P002", 150, 0))
    site = updated.site
    (product,) = (site.root / "archive").glob(f"*MSIL2A_{DAYS[0]:%Y%m%d}*T32UPU*")
    truncate(image_path(product, "B08"), 0.6)
    result = site.run(exit_code=ExitCode.PARTIAL)
    assert result.exit_code is ExitCode.PARTIAL
    (manifest,) = [m for (name, _), m in site.manifests().items() if "32UPU" in name]
    (missing,) = manifest["missing"]
    assert product.name.startswith(missing["product"])
    assert missing["reason"].startswith("parcels v0002: 1 new or changed beyond the farmland mask: ")
    assert f"{DAYS[1]:%Y-%m-%d}" in {one["datetime"][:10] for one in manifest["inputs"]}
    assert len(manifest["inputs"]) == 1
    current = read_set(site.workspace, "32UPU")
    assert {a.day for a in current.acquisitions} == {DAYS[1]}
    assert [name for name, _ in current.missing] == [missing["product"]]


def test_the_report_is_of_the_newest_version(update: Update, tmp_path: Path) -> None:
    updated = update(lambda d: d.move("P002", 150, 0), lambda d: d.delete("P004"), lambda d: d.split("P005"))
    updated.site.run()
    path = write_report(updated.site.workspace, updated.site.config, tmp_path / "report.html")
    text = path.read_text()
    assert "v0002" in text


def test_landsat_on_its_own_pixels_and_an_index_after_the_update(tmp_path: Path) -> None:
    """A grid that is not nested in the mask's: a parcel's pixels of 30 m reach beyond the cells that it touches."""
    site = Site(tmp_path / "site", build_landsat_archive(tmp_path / "scenes"), kind="landsat-c2l2", **WIDE)
    declaration = twenty_fields()
    site.deliver(0)
    site.declare(declaration)
    site.run()
    declaration.move("P001", 3, -4)
    declaration.move("P002", 150, 0)  # beyond the mask
    declaration.move("P003", 1150, 100)  # to the other tile
    site.declare(declaration)
    plan = site.plan()
    assert 0 < opens(plan) == opens(plan, "beyond the farmland mask")
    site.run()
    site.configure(variables={"indices": ["ndvi", "ndwi_gao"]})
    plan = site.plan()
    assert opens(plan) == 0
    assert stages_of(todo(plan)) == {"stats", "compact", "series", "merge"}
    site.run()
    assert {path.parent.name for path in (site.workspace.root / "tiles").glob("*/stack/l8/*/*.arrow")} == {"30m"}
    found = site.values("v0002")
    assert any(_like(column, "l8.ndwi.gao.mean") for _, column in found)
    assert site.files() == in_one_run(site, [twenty_fields(), declaration], 0).files()
    assert found == of_the_last_alone(site, declaration, 0).values("v0001")


@dataclass(frozen=True)
class Round:
    """What happens between two looks at the site."""

    edits: tuple[tuple[str, int, int, int], ...]
    """What, to which parcel (by rank), and by how many metres."""
    arrives: bool = False
    """Whether the next day's products arrive."""
    index: bool = False
    """Whether an index joins the configuration, unless it has."""
    runs: bool = True
    """Whether it is run before the next round."""


SEASON = (
    Round((("nudge", 1, 90, -120), ("split", 6, 0, 0), ("crop", 19, 1, 0))),
    Round((("move", 1, 150, 0), ("move", 2, 0, 80), ("delete", 3, 0, 0)), arrives=True, index=True, runs=False),
    Round((("move", 0, 1150, 100), ("back", 1, 0, 0), ("add", 300, 20, -40), ("nudge", 14, 60, 60)), arrives=True),
    Round((("crop", 4, 2, 0), ("move", 2, 0, -80))),
)
"""Every kind of edit, within the mask and beyond it, to another tile and back."""
SETTINGS = ((0.1, "centre"), (0.5, "coverage"), (1.0, "centre"), (1.0, "coverage"))
"""Share of a tile's parcels beyond which a version starts over, and how pixels are weighted."""

# The simplest example, which is tried first, shall find something, too: hence the orders.
_EDIT = st.tuples(
    st.sampled_from(["move", "split", "add", "nudge", "back", "delete", "crop"]),
    st.integers(0, 19),
    st.sampled_from([150, -4, -300, 40, 0]) | st.integers(-300, 300),
    st.sampled_from([0, 3, 80]) | st.integers(-300, 300),
)
_YES = st.sampled_from([True, False])
_ROUND = st.builds(
    Round, edits=st.lists(_EDIT, min_size=1, max_size=4).map(tuple), arrives=_YES, index=st.booleans(), runs=_YES
)


def edited(declaration: Declaration, edits: tuple[tuple[str, int, int, int], ...]) -> None:
    """Do what a round says."""
    first = twenty_fields()
    for what, rank, dx, dy in edits:
        keys = sorted(declaration.parcels)
        key = keys[rank % len(keys)]
        match what:
            case "add":
                declaration.add(field_at(1200 + 3 * dx, 600 + dy))
            case "delete" if len(keys) > 2:
                declaration.delete(key)
            case "move":
                declaration.move(key, dx, dy)
            case "nudge":
                declaration.move(key, dx / 30, dy / 30)
            case "split":
                declaration.split(key)
            case "crop":
                declaration.crop(key, f"crop {dx}")
            case "back" if key in first.parcels:  # outlines come back that were there before
                declaration.parcels[key] = first.parcels[key]
            case _:
                pass


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("share", "weighting"), SETTINGS)
def test_after_a_season_of_updates_the_files_are_those_of_one_run(
    tmp_path: Path, products: Path, share: float, weighting: str
) -> None:
    check_season(tmp_path, products, SEASON, share, weighting)


# As many examples as make sense beside all other tests; a profile with more of them looks further.
@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=settings().max_examples // 20, derandomize=True, phases=[Phase.generate])
@given(rounds=st.lists(_ROUND, min_size=1, max_size=3), how=st.sampled_from(SETTINGS))
def test_whatever_happens_in_between_the_files_are_those_of_one_run(
    tmp_path_factory: pytest.TempPathFactory, products: Path, rounds: list[Round], how: tuple[float, str]
) -> None:
    folder = tmp_path_factory.mktemp("sites")
    check_season(folder, products, rounds, *how)
    shutil.rmtree(folder)


def check_season(folder: Path, products: Path, rounds: Sequence[Round], share: float, weighting: str) -> None:
    """Go through rounds, and hold what is there in the end against two workspaces that were made at once."""
    site = Site(folder / "step", products, parcels={"layer_share_max": share}, extract={"weighting": weighting})
    declaration = twenty_fields()
    declarations = [twenty_fields()]
    days: Iterator[int] = iter(range(len(DAYS)))
    seen, n_late = [next(days)], 0
    site.deliver(*seen)
    site.declare(declaration)
    site.run()
    for one in rounds:
        edited(declaration, one.edits)
        site.declare(declaration)
        declarations.append(Declaration(dict(declaration.parcels)))
        late = list(itertools.islice(days, 1)) if one.arrives else []
        seen += late
        if late:
            site.deliver(*late)
        n_late += len(late)
        if one.index:
            site.configure(variables={"indices": ["ndvi", "ndwi_gao"]})
        if one.runs:
            check_run(site, n_late)
            n_late = 0
    check_run(site, n_late)
    once = in_one_run(site, declarations, *seen)
    assert site.files() == once.files()
    assert site.manifests() == once.manifests()
    newest = latest_version(site.workspace)
    assert newest is not None
    assert site.values(newest) == of_the_last_alone(site, declaration, *seen).values("v0001")
    assert not site.plan().total.todo


def check_run(site: Site, n_late: int) -> None:
    """Run, and hold the rasters that are opened against the plan: none but for late products and beyond the mask."""
    plan = site.plan()
    assert opens(plan) - opens(plan, "beyond the farmland mask") <= n_late * len(TILES) * FILES
    before, here = opened(site.workspace), catalog.opened()
    site.run()
    assert opened(site.workspace) - before == catalog.opened() - here == opens(plan)
