"""Layouts of providers: products found in trees as they really are, with few listings; told why there are none."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.muscate import build_muscate
from support.permissions import permissions_count
from support.safe import build_safe

from s4c_hpc.catalog import OK, read_products, scan
from s4c_hpc.catalog.layout_fields import FIELDS, MEANINGS, Wanted, days_of, fields_of_name
from s4c_hpc.catalog.layout_report import why_nothing
from s4c_hpc.catalog.layout_search import Found, Sought, find_products
from s4c_hpc.catalog.layout_template import parse_template
from s4c_hpc.catalog.layouts import layout_names, load_layout
from s4c_hpc.catalog.readers import READERS
from s4c_hpc.config import Config
from s4c_hpc.core.bundled import bundled
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.core.mgrs import mgrs_tile
from s4c_hpc.core.workspace import Workspace

JUNE = (dt.date(2023, 6, 1), dt.date(2023, 6, 30))
TILE = "01WCP"

S2 = "S2A_MSIL2A_20230625T234621_N0509_R073_T01WCP_20230626T022157"
"""What ``build_safe`` makes: a product of 25 June."""
S2_OTHER_TILE = "S2A_MSIL2A_20230625T234621_N0509_R073_T01WDP_20230626T022157"
S2_REPROCESSED = "S2B_MSIL2A_20230610T234621_N0510_R073_T01WCP_20240626T022157"
S2_AUGUST = "S2A_MSIL2A_20230804T234621_N0509_R073_T01WCP_20230805T022157"
S2_2022 = "S2A_MSIL2A_20220625T234621_N0400_R073_T01WCP_20220626T022157"
MAJA = "SENTINEL2A_20230625-234621-461_L2A_T01WCP_C_V2-2"
MAJA_OTHER_TILE = "SENTINEL2A_20230625-234621-461_L2A_T01WDP_C_V2-2"
LANDSAT = "LC08_L2SP_193026_20230625_20230701_02_T1"
LANDSAT_9 = "LC09_L2SP_193026_20230617_20230701_02_T1"
LANDSAT_OTHER_ROW = "LC08_L2SP_193027_20230625_20230701_02_T1"

EODATA = {
    f"Sentinel-2/MSI/L2A/2023/06/25/{S2}.SAFE": True,
    f"Sentinel-2/MSI/L2A/2023/06/25/{S2_OTHER_TILE}.SAFE": False,
    f"Sentinel-2/MSI/L2A/2023/06/20/{S2_OTHER_TILE}.SAFE": False,
    f"Sentinel-2/MSI/L2A/2023/08/04/{S2_AUGUST}.SAFE": False,
    f"Sentinel-2/MSI/L2A/2022/06/25/{S2_2022}.SAFE": False,
    f"Sentinel-2/MSI/L2A_N0500/2023/06/10/{S2_REPROCESSED}.SAFE": True,
    f"Sentinel-2/MSI/L2A_N0500/2018/06/10/{S2_2022}.SAFE": False,
    f"Sentinel-2/MSI/L1C/2023/06/25/{S2.replace('L2A', 'L1C')}.SAFE": False,
    "Sentinel-1/SAR/GRD/2023/06/25/S1A_IW_GRDH.SAFE": False,
}

TREES: dict[tuple[str, str], tuple[dict[str, bool], int]] = {
    # L2A, 2023, 06, 25, 20; L2A_N0500, 2023, 06, 10
    ("creodias", "sentinel2-l2a"): (EODATA, 9),
    ("cdse", "sentinel2-l2a"): (EODATA, 9),
    ("wekeo", "sentinel2-l2a"): (EODATA, 9),
    # Landsat-8/OLI_TIRS/L2SP, 2023, 06, 25; the same of Landsat-9
    ("creodias", "landsat-c2l2"): (
        {
            f"Landsat-8/OLI_TIRS/L2SP/2023/06/25/{LANDSAT}": True,
            f"Landsat-8/OLI_TIRS/L2SP/2023/06/25/{LANDSAT_OTHER_ROW}": False,
            f"Landsat-8/OLI_TIRS/L1TP/2023/06/25/{LANDSAT.replace('L2SP', 'L1TP')}": False,
            f"Landsat-9/OLI_TIRS/L2SP/2023/06/17/{LANDSAT_9}": True,
        },
        8,
    ),
    # L2A, 2023, 06, 25
    ("code-de", "sentinel2-l2a"): (
        {f"Sentinel-2/MSI/L2A/2023/06/25/{S2}.SAFE": True, f"Sentinel-2/MSI/L3-WASP/2023/06/01/{S2}.SAFE": False},
        4,
    ),
    ("code-de", "maja"): (
        {
            f"Sentinel-2/MSI/L2A-MAJA/2023/06/25/{MAJA}": True,
            f"Sentinel-2/MSI/L2A-MAJA/2023/06/25/{MAJA_OTHER_TILE}": False,
            f"Sentinel-2/MSI/L2A/2023/06/25/{S2}.SAFE": False,
        },
        4,
    ),
    # root, bucket, zone, band; the year is known; year, month, day
    ("mundi", "sentinel2-l2a"): (
        {
            f"s2-l2a-2023-q2/1/W/CP/2023/6/25/{S2}": True,
            f"s2-l2a-2023-q2/1/W/DP/2023/6/25/{S2_OTHER_TILE}": False,
            f"s2-l2a-2023-q2/32/U/PU/2023/6/25/{S2_OTHER_TILE}": False,
            f"s2-l2a-2022-q2/1/W/CP/2022/6/25/{S2_2022}": False,
            f"s2-l1c-2023-q2/1/W/CP/2023/6/25/{S2.replace('L2A', 'L1C')}": False,
        },
        7,
    ),
    # S2MSI2A, 2023, 06, 25, each once for both templates; what is in a .zip is known beforehand
    ("onda", "sentinel2-l2a"): (
        {
            f"S2/MSI/LEVEL-2A/S2MSI2A/2023/06/25/{S2}.zip/{S2}.SAFE": True,
            f"S2/MSI/LEVEL-2A/S2MSI2A/2023/06/25/{S2_OTHER_TILE}.zip/{S2_OTHER_TILE}.SAFE": False,
            f"S2/MSI/LEVEL-2A/S2MSI2A/2022/06/25/{S2_2022}.zip/{S2_2022}.SAFE": False,
            f"S2/2A/MSI/LEVEL-2A/S2MSI2A/2023/06/25/{S2}.zip/{S2}.SAFE": False,
        },
        4,
    ),
    ("sobloo", "sentinel2-l2a"): (
        {f"{S2}.SAFE": True, f"{S2_REPROCESSED}/{S2_REPROCESSED}.SAFE": True, f"{S2_2022}.SAFE": False},
        2,
    ),
    ("usgs", "landsat-c2l2"): (
        {
            f"collection02/level-2/standard/oli-tirs/2023/193/026/{LANDSAT}": True,
            f"collection02/level-2/standard/oli-tirs/2023/193/027/{LANDSAT_OTHER_ROW}": False,
            f"collection02/level-2/standard/oli-tirs/2023/001/026/{LANDSAT_OTHER_ROW}": False,
            f"collection02/level-2/standard/oli-tirs/2022/193/026/{LANDSAT_OTHER_ROW}": False,
        },
        5,  # oli-tirs, 2023, 193, 026; level-2/standard/oli-tirs, which is not there
    ),
    ("azure", "sentinel2-l2a"): (
        {f"01/W/CP/2023/06/25/{S2}.SAFE": True, f"32/U/PU/2023/06/25/{S2_OTHER_TILE}.SAFE": False},
        7,
    ),
    # Everything: root, a, a/b, c, d; no product is entered
    ("plain", "sentinel2-l2a"): (
        {f"a/b/{S2}.SAFE": True, f"c/{S2_2022}.SAFE": True, f"d/{S2_OTHER_TILE}.safe": True, "d/S3A_OL.SAFE": False},
        5,
    ),
    ("plain", "maja"): ({f"a/{MAJA}": True, f"a/{S2}.SAFE": False, MAJA_OTHER_TILE: True}, 2),
    ("plain", "landsat-c2l2"): ({f"a/{LANDSAT}": True, f"b/{LANDSAT_OTHER_ROW}": True}, 3),
}
"""By layout and kind: paths below the root, each with whether it is to be found; and the number of folders listed."""


def make_tree(root: Path, paths: dict[str, bool]) -> list[Path]:
    """A tree of product folders with one folder inside each, which nobody need list."""
    for path in paths:
        (root / path / "GRANULE").mkdir(parents=True)
    return sorted(root / path for path, is_sought in paths.items() if is_sought)


def search(root: Path, layout: str, kind: str) -> Found:
    reader = READERS[kind]
    wanted = Wanted() if layout == "plain" else Wanted(days=JUNE, tiles=frozenset({TILE}), scenes=frozenset({"193026"}))
    templates = load_layout(layout, "test").templates[kind]
    return find_products(root, templates, Sought(reader.is_product, reader.prefixes, wanted))


@pytest.mark.parametrize(("layout", "kind"), TREES)
def test_products_of_a_provider_s_tree_are_found_with_few_listings(tmp_path: Path, layout: str, kind: str) -> None:
    paths, n_listed = TREES[layout, kind]
    expected = make_tree(tmp_path, paths)
    found = search(tmp_path, layout, kind)
    assert found.folders == expected
    assert found.n_listed == n_listed


def test_every_template_that_comes_with_the_package_has_a_tree_here() -> None:
    kinds = {(name, kind) for name in layout_names() for kind in load_layout(name, "test").templates}
    assert kinds == set(TREES)


def test_every_layout_says_where_it_comes_from() -> None:
    for name in layout_names():
        text = bundled(f"configs/layouts/{name}.toml").read_text(encoding="utf-8")
        assert name == "plain" or "ource" in text or "No public description" in text, name
        assert load_layout(name, "test").description


def config(root: Path, **source: Any) -> Config:
    site = {"name": "test", "season_start": "2023-06-01", "season_end": "2023-06-30"}
    values = {"kind": "sentinel2-l2a", "root": root, **source}
    return Config.model_validate({"site": site, "sources": [values], "archive": {"backoff_s": 0}})


def test_a_scan_reads_only_what_the_layout_the_season_and_the_parcels_ask_for(tmp_path: Path) -> None:
    archive, ws = tmp_path / "eodata", Workspace(tmp_path / "ws")
    built = build_safe(tmp_path, size_m=600)
    paths, n_listed = TREES["creodias", "sentinel2-l2a"]
    make_tree(archive, paths)
    whole = next(archive / path for path in paths if path.endswith(f"L2A/2023/06/25/{S2}.SAFE"))
    shutil.rmtree(whole)
    shutil.copytree(built, whole)
    report = scan(config(archive, layout="creodias"), ws, tiles=[mgrs_tile(TILE)])
    assert {product.id: product.status == OK for product in read_products(ws.catalog)} == {
        S2: True,
        S2_REPROCESSED: False,
    }
    # A day more at both ends: listings of 31 May and 1 July would be made if they were there.
    looked = f"*.SAFE folders of Sentinel-2 of 2023-05-31 to 2023-07-01, tiles 01WCP in layout creodias below {archive}"
    assert report.looked_in == (f"{looked}: 2 found in {n_listed} folders, 2 others left out",)
    assert report.warnings == ()


def test_products_without_the_ending_safe_are_read(tmp_path: Path) -> None:
    archive, ws = tmp_path / "mundi", Workspace(tmp_path / "ws")
    folder = archive / "s2-l2a-2023-q2" / "01" / "W" / "CP" / "2023" / "6" / "25"
    folder.mkdir(parents=True)
    build_safe(tmp_path, size_m=600).rename(folder / S2)
    scan(config(archive, layout="mundi", tiles=[TILE]), ws)
    assert [(product.id, product.status) for product in read_products(ws.catalog)] == [(S2, OK)]


def test_products_of_maja_are_found_and_read_through_a_layout(tmp_path: Path) -> None:
    archive, ws = tmp_path / "codede", Workspace(tmp_path / "ws")
    time = dt.datetime(2023, 6, 25, 10, 45, 40, 458_000, tzinfo=dt.UTC)
    product = build_muscate(archive / "Sentinel-2" / "MSI" / "L2A-MAJA" / "2023" / "06" / "25", time=time, size_m=600)
    report = scan(config(archive, kind="maja", layout="code-de"), ws, tiles=[mgrs_tile("32UPU")])
    assert [(found.id, found.source, found.status) for found in read_products(ws.catalog)] == [
        (product.name, "maja", OK)
    ]
    looked = f"products of MAJA of 2023-05-31 to 2023-07-01, tiles 32UPU in layout code-de below {archive}"
    assert report.looked_in == (f"{looked}: 1 found in 4 folders",)
    assert scan(config(archive, kind="maja", layout="code-de"), ws, tiles=[mgrs_tile("32UPU")]).n_unchanged == 1


def test_a_layout_of_one_s_own_is_a_file(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[templates]\nsentinel2-l2a = "{tile}/{year}{month}{day}/{product}.SAFE"\n')
    expected = make_tree(
        tmp_path / "archive",
        {
            f"01WCP/20230625/{S2}.SAFE": True,
            f"01WCP/20220625/{S2_2022}.SAFE": False,
            f"32UPU/20230625/{S2_OTHER_TILE}.SAFE": False,
        },
    )
    found = search(tmp_path / "archive", str(own), "sentinel2-l2a")
    assert (found.folders, found.n_listed) == (expected, 3)


def test_without_tiles_all_are_looked_at_and_the_report_says_so(tmp_path: Path) -> None:
    make_tree(tmp_path / "eodata", EODATA)
    ws = Workspace(tmp_path / "ws")
    report = scan(config(tmp_path / "eodata", layout="cdse"), ws)
    assert {product.id for product in read_products(ws.catalog)} >= {S2, S2_OTHER_TILE, S2_REPROCESSED}
    (warning,) = report.warnings
    assert warning == (
        f"{tmp_path}/eodata: it is not known which tiles are needed, so products of all tiles were looked at; "
        "import the parcels first, or name the tiles in sources.0.tiles"
    )


def test_tiles_that_a_source_names_hold_in_a_plain_folder_too(tmp_path: Path) -> None:
    make_tree(tmp_path / "plain", {f"{S2}.SAFE": True, f"{S2_OTHER_TILE}.SAFE": False})
    ws = Workspace(tmp_path / "ws")
    report = scan(config(tmp_path / "plain", tiles=[TILE]), ws)
    assert [product.id for product in read_products(ws.catalog)] == [S2]
    assert report.looked_in[0].endswith("1 found, 1 others left out")


def test_a_product_of_the_day_before_the_season_may_belong_to_it(tmp_path: Path) -> None:
    """A datatake that begins before midnight ends in a datastrip of the next day."""
    name = S2.replace("20230625T234621", "20230531T235501")
    make_tree(tmp_path / "eodata", {f"Sentinel-2/MSI/L2A/2023/05/31/{name}.SAFE": True})
    ws = Workspace(tmp_path / "ws")
    scan(config(tmp_path / "eodata", layout="cdse", tiles=[TILE]), ws)
    assert [product.id for product in read_products(ws.catalog)] == [name]


def test_packed_products_are_counted_and_told(tmp_path: Path) -> None:
    folder = tmp_path / "onda" / "S2" / "MSI" / "LEVEL-2A" / "S2MSI2A" / "2023" / "06" / "25"
    folder.mkdir(parents=True)
    (folder / f"{S2}.zip").touch()
    report = scan(config(tmp_path / "onda", layout="onda", tiles=[TILE]), Workspace(tmp_path / "ws"))
    assert f"{tmp_path}/onda: 1 packed products were left alone; unpack them" in report.warnings


def test_a_root_too_deep_is_told_with_what_lies_there(tmp_path: Path) -> None:
    make_tree(tmp_path / "eodata", EODATA)
    root = tmp_path / "eodata" / "Sentinel-2" / "MSI" / "L2A"
    report = scan(config(root, layout="code-de", tiles=[TILE]), Workspace(tmp_path / "ws"))
    assert report.warnings == (
        "layout code-de is Sentinel-2/MSI/L2A/{year}/{month}/{day}/{product}.SAFE",
        f"there is no folder {root}/Sentinel-2/MSI/L2A; in {root} lie 2022, 2023",
    )


def test_the_wrong_season_is_told_with_the_years_that_are_there(tmp_path: Path) -> None:
    make_tree(tmp_path, {f"Sentinel-2/MSI/L2A/{year}/06/25/{S2}.SAFE": False for year in (2016, 2017)})
    found = search(tmp_path, "code-de", "sentinel2-l2a")
    (sentence,) = why_nothing(found.dead_ends, Wanted(days=JUNE))
    assert sentence == (
        f"in {tmp_path}/Sentinel-2/MSI/L2A no {{year}} is what was looked for (2023-06-01 to 2023-06-30); "
        "there lie 2016, 2017"
    )


def test_many_dead_ends_are_counted(tmp_path: Path) -> None:
    make_tree(tmp_path, {f"Sentinel-2/MSI/L2A/2023/06/{day:02}/{S2_OTHER_TILE}.SAFE": False for day in range(1, 8)})
    found = search(tmp_path, "code-de", "sentinel2-l2a")
    sentences = why_nothing(found.dead_ends, Wanted(days=JUNE, tiles=frozenset({TILE})))
    assert len(sentences) == 4
    assert sentences[0] == (
        f"in {tmp_path}/Sentinel-2/MSI/L2A/2023/06/01 no {{product}}.SAFE is what was looked for "
        f"(2023-06-01 to 2023-06-30, tiles 01WCP); there lie {S2_OTHER_TILE}.SAFE"
    )
    assert sentences[-1] == "and so in 4 further folders"


def test_a_folder_that_may_not_be_listed_is_a_warning_and_the_rest_is_found(tmp_path: Path) -> None:
    (expected,) = make_tree(tmp_path, {f"Sentinel-2/MSI/L2A/2023/06/25/{S2}.SAFE": True})
    closed = tmp_path / "Sentinel-2" / "MSI" / "L2A" / "2023" / "06" / "26"
    closed.mkdir()
    closed.chmod(0o000)
    with permissions_count():
        found = search(tmp_path, "code-de", "sentinel2-l2a")
    closed.chmod(0o700)
    assert (found.folders, found.unreadable) == ([expected], [(closed, "Permission denied")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{yaer}/{product}.SAFE", r"unknown field \{yaer\}; did you mean \{year\}\?"),
        ("{xyzzy}/{product}", r"unknown field \{xyzzy\}; fields are year, month"),
        ("{year}/{month}", r"does not end with a \{product\}"),
        ("{year/{product}", "has a bracket without its counterpart"),
        ("20*/{product}", r"has a wildcard; write \{any\}"),
        ("/eodata/{product}", "has a folder ''"),
        ("../{product}", r"has a folder '\.\.'"),
        ("**/a/{product}", r"'\*\*' may stand right before the last folder only"),
        ("", "has a folder ''"),
    ],
)
def test_a_mistake_in_a_template_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_template(text, "own.toml, templates.maja")
    assert caught.value.where == "own.toml, templates.maja"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"own\.toml: has no table \[templates\]"),
        ("[templates]\nsentinel2 = 'x'", "unknown key 'sentinel2'; did you mean 'sentinel2-l2a'"),
        ("template = 1", "unknown key 'template'; did you mean 'templates'"),
        ("[templates]\nmaja = 1", r"own\.toml, templates\.maja: is neither a template nor a list"),
        ("[templates", r"own\.toml cannot be read"),
    ],
)
def test_a_mistake_in_a_layout_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "own.toml").write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_layout(str(tmp_path / "own.toml"), "sources.0.layout")


def test_an_unknown_layout_and_a_missing_kind_are_named(tmp_path: Path) -> None:
    ws = Workspace(tmp_path / "ws")
    with pytest.raises(
        ConfigError, match=r"sources\.0\.layout: no layout is called 'creodia'; did you mean 'creodias'"
    ):
        scan(config(tmp_path, layout="creodia"), ws)
    with pytest.raises(ConfigError, match=r"sources\.0\.layout: there is no file /none\.toml"):
        scan(config(tmp_path, layout="/none.toml"), ws)
    with pytest.raises(
        ConfigError, match="'usgs' has no place for products of kind 'sentinel2-l2a', only for landsat-"
    ):
        scan(config(tmp_path, layout="usgs"), ws)


def test_fields_have_meanings() -> None:
    assert list(FIELDS) == list(MEANINGS)


def test_names_tell_day_and_place() -> None:
    june = {"year": "2023", "month": "6", "day": "25"}
    place = {"tile": "01WCP", "utm": "1", "lat_band": "W", "square": "CP"}
    assert fields_of_name(S2) == {**june, **place, "platform": "S2A"}
    assert fields_of_name(f"{S2}.SAFE") == fields_of_name(S2)
    assert fields_of_name(MAJA) == {**june, **place, "platform": "SENTINEL2A"}
    assert fields_of_name(LANDSAT) == {**june, "path": "193", "row": "26", "platform": "LC08"}
    assert fields_of_name("GRANULE") == {}


@given(st.dates(dt.date(2015, 1, 1), dt.date(2099, 12, 31)), st.sampled_from(["{day}", "{any}"]))
def test_a_day_is_admitted_by_every_part_of_its_path_and_by_no_other_season(day: dt.date, last: str) -> None:
    template = parse_template(f"{{year}}/q{{quarter}}/{{month}}/{last}/{{product}}", "test")
    written: dict[str, str] = {}
    before, at = Wanted(days=(dt.date(2000, 1, 1), day - dt.timedelta(days=1))), Wanted(days=(day, day))
    for part, name in zip(
        template.parts, [f"{day.year}", f"q{(day.month + 2) // 3}", f"{day.month:02}", f"{day.day}"], strict=False
    ):
        written |= part.match(name) or pytest.fail(f"{part.text} does not fit {name}")
        fields = {key: str(int(value)) for key, value in written.items() if key != "any"}
        assert at.admits(fields)
        first, last_day = days_of(fields) or pytest.fail("no year")
        assert first <= day <= last_day
        assert before.admits(fields) == (first < day)


@given(st.text("{}/*ayer productSAFE.", max_size=30))
def test_any_text_is_a_template_or_a_mistake_of_the_configuration(text: str) -> None:
    try:
        template = parse_template(text, "test")
    except ConfigError:
        return
    assert str(template) == text
    assert "product" in template.parts[-1].fields


@pytest.mark.parametrize(("fields", "day"), [({"year": "2024", "doy": "60"}, dt.date(2024, 2, 29))])
def test_a_day_of_the_year_is_a_day(fields: dict[str, str], day: dt.date) -> None:
    assert days_of(fields) == (day, day)
    assert not Wanted().admits({"year": "2023", "doy": "366"})
    assert not Wanted().admits({"year": "2023", "month": "2", "day": "30"})
