"""The configuration file: layers and their origins, clear errors, no drift from its schema and templates."""

from __future__ import annotations

import json
import math
from pathlib import Path

import jsonschema
import pytest

from s4c_hpc.config import Category, Config, GeoTiffSource, Weighting, load_config
from s4c_hpc.config.schema import config_schema
from s4c_hpc.core.bundled import bundled
from s4c_hpc.core.errors import ConfigError, MissingDataError

ROOT = Path(__file__).parents[1]
MINIMAL = '[site]\nname = "a"\nseason_start = 2018-01-01\nseason_end = 2018-12-31\n'
GEOTIFF = "[[sources]]\nkind = 'geotiff'\nroot = 'x'\npattern = '{datetime}.tif'\ntile = 'A'\nbands = { B04 = 1 }\n"


def write(folder: Path, text: str = MINIMAL, name: str = "s4c.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_later_layers_win_and_every_origin_is_known(tmp_path: Path) -> None:
    write(tmp_path, '[extract]\nweighting = "coverage"\nmask_ring_m = 1\nbuffer_m = { 10m = 1 }\n', "hpc.toml")
    path = write(tmp_path, f'profile = "hpc.toml"\n{MINIMAL}[extract]\nmask_ring_m = 2\n')
    loaded = load_config(
        path,
        environment={"S4C_SET__EXTRACT__MASK_RING_M": "3", "S4C_SET__EXECUTE__WORKERS": "4"},
        flags=["execute.workers=5", "site.name=b"],
    )
    assert loaded.config.extract.weighting is Weighting.COVERAGE
    assert loaded.config.extract.mask_ring_m == 3
    assert loaded.config.execute.workers == 5
    assert loaded.config.site.name == "b"
    origins = {key: origin for key, _, origin in loaded.flat()}
    assert origins["extract.weighting"] == str(tmp_path / "hpc.toml")
    assert origins["extract.mask_ring_m"] == "environment S4C_SET__EXTRACT__MASK_RING_M"
    assert origins["execute.workers"] == "--set execute.workers"
    assert origins["site.season_end"] == str(path)
    assert origins["execute.max_attempts"] == "default"


def test_environment_is_expanded_and_must_be_there(tmp_path: Path) -> None:
    source = '[[sources]]\nkind = "sentinel2-l2a"\nroot = "${ARCHIVE}/${YEAR:-2018}"\n'
    path = write(tmp_path, MINIMAL + source)
    loaded = load_config(path, environment={"ARCHIVE": "/archive"})
    assert loaded.config.sources[0].root == Path("/archive/2018")
    with pytest.raises(ConfigError, match=r"ARCHIVE is not set.*export it"):
        load_config(path, environment={})


def test_a_file_that_anyone_may_write_is_refused(tmp_path: Path) -> None:
    """It names programs that jobs start; so does the profile."""
    profile = write(tmp_path, "[extract]\nmask_ring_m = 1\n", "site.toml")
    path = write(tmp_path, f'profile = "site.toml"\n{MINIMAL}')
    for file in (profile, path):
        file.chmod(0o666)
        with pytest.raises(ConfigError, match=rf"{file}: anyone may write this file; chmod o-w {file}"):
            load_config(path, environment={})
        file.chmod(0o664)
    load_config(path, environment={})


def test_a_profile_that_is_not_there_is_named_as_one(tmp_path: Path) -> None:
    path = write(tmp_path, f'profile = "site.toml"\n{MINIMAL}')
    with pytest.raises(MissingDataError, match=rf"{tmp_path}/site.toml: no such site profile; mend 'profile' at the"):
        load_config(path, environment={})


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + '[parcels]\nfile = "lpis/p.gpkg"\n')
    assert load_config(path, environment={}).config.parcels.file == tmp_path / "lpis" / "p.gpkg"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[extract]\nweigthing = 'centre'\n", r"s4c\.toml: unknown key 'extract\.weigthing', did you mean 'weighting'"),
        ("[exctract]\nweighting = 'centre'\n", r"unknown key 'exctract', did you mean 'extract'"),
        (
            "[[sources]]\nkind = 'geotiff'\nroot = 'x'\npatern = 'y'\n",
            r"unknown key 'sources\.0\.patern', did you mean 'pattern'",
        ),
        ("[execute]\nworkers = -1\n", r"key 'execute\.workers'.*greater than or equal to 0"),
        ("[variables]\nstatistics = ['p101']\n", r"variables\.statistics\.0"),
        ("[validity]\nuse = ['nodata']\n", "nodata pixels cannot enter"),
        (
            "[[sources]]\nkind = 'geotiff'\nroot = 'x'\npattern = 'y.tif'\ntile = 'A'\nbands = {B1 = 1}\n",
            "must contain {datetime}",
        ),
        ("[[sources]]\nkind = 'sentinel9'\nroot = 'x'\n", r"sources\.0.*sentinel2-l2a"),
        ("[[grid.tiles]]\nid = 'A'\ncrs = 'EPSG:32632'\n", r"key 'grid\.tiles\.0\.ulx' is missing"),
        (GEOTIFF + "nodata = 'None'\n", r"key 'sources\.0\.nodata': Input should be 'none'"),
        (GEOTIFF + "mask_classes = { 255 = 'valid' }\n", r"key 'sources\.0\.mask_classes\.255'.* equal to 254"),
        (
            "[extract]\nbuffer_m = { 15m = 5 }\n",
            r"extract\.buffer_m\.15m': there is no grid '15m', only 10m, 20m, 30m, 60m",
        ),
        ("[variables.formulas]\nn = 'B04'\n", r"key 'variables\.formulas\.n': 'n' would pass for a class count"),
        ("[variables.formulas]\nn_red = 'B04'\n", "'n_red' would pass for a class count"),
        ("[site\n", "not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    body = text if text.startswith("[site") else MINIMAL + text
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, body), environment={})


def test_a_flag_is_blamed_when_the_flag_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--set extract\.weighting: key 'extract\.weighting'"):
        load_config(write(tmp_path), environment={}, flags=["extract.weighting=middle"])
    with pytest.raises(ConfigError, match="not of the form key=value"):
        load_config(write(tmp_path), environment={}, flags=["extract"])


def test_a_missing_file_and_an_unreadable_one(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="s4c init"):
        load_config(tmp_path / "s4c.toml")
    path = tmp_path / "s4c.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(path)


def test_changing_one_scene_class_keeps_the_others(tmp_path: Path) -> None:
    loaded = load_config(write(tmp_path, MINIMAL + '[validity.scl]\n7 = "cloud"\n'), environment={})
    assert loaded.config.validity.scl[7] is Category.CLOUD
    assert loaded.config.validity.scl[4] is Category.VALID


@pytest.mark.parametrize(("text", "value"), [("", 0.0), ("-9999", -9999.0), ("'none'", "none"), ("nan", math.nan)])
def test_nodata_comes_back_from_the_frozen_copy_of_a_run(tmp_path: Path, text: str, value: object) -> None:
    config = load_config(write(tmp_path, MINIMAL + GEOTIFF + (f"nodata = {text}\n" if text else ""))).config
    for found in (config, Config.model_validate(json.loads(config.model_dump_json()))):
        assert isinstance(found.sources[0], GeoTiffSource)
        assert repr(found.sources[0].nodata) == repr(value)


def test_a_mask_that_no_source_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s4c.toml"
    site = '[site]\nname = "a"\nseason_start = 2018-01-01\nseason_end = 2018-12-31\n'
    source = '[[sources]]\nkind = "maja"\nroot = "archive"\n'
    for mask in ("fmask", "both"):
        validity = f'[validity]\nmask = "{mask}"\n'
        path.write_text(site + validity + source)
        with pytest.raises(ConfigError, match=rf"validity\.mask is '{mask}', but no source names fmask_root"):
            load_config(path)
        path.write_text(site + validity + source + 'fmask_root = "masks"\n')
        assert load_config(path).config.validity.mask == mask


def test_a_category_that_is_named_twice_is_used_once(tmp_path: Path) -> None:
    loaded = load_config(write(tmp_path, MINIMAL + "[validity]\nuse = ['water', 'valid', 'water']\n"))
    assert loaded.config.validity.use == (Category.WATER, Category.VALID)


def test_a_formula_may_start_with_n(tmp_path: Path) -> None:
    loaded = load_config(write(tmp_path, MINIMAL + "[variables.formulas]\nndre = 'B08 - B05'\n"))
    assert set(loaded.config.variables.formulas) == {"ndre"}


def test_paths_of_parcels_are_relative_to_the_file(tmp_path: Path) -> None:
    keys = "file = 'a.gpkg'\ncrop_table = 'lut.csv'\nhcat_table = '/x/de.csv'\npseudonyms = { key_file = '../k' }\n"
    parcels = load_config(write(tmp_path, MINIMAL + "[parcels]\n" + keys)).config.parcels
    assert (parcels.file, parcels.crop_table, parcels.hcat_table) == (
        tmp_path / "a.gpkg",
        tmp_path / "lut.csv",
        Path("/x/de.csv"),
    )
    assert parcels.pseudonyms is not None
    assert parcels.pseudonyms.key_file == tmp_path / "../k"
    connection = load_config(write(tmp_path, MINIMAL + "[parcels]\nfile = 'PG:dbname=lpis'\n")).config.parcels.file
    assert str(connection) == "PG:dbname=lpis"


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ("mode = 'append'", "parcels.mode"),
        ("geometry_tolerance_m = -1", "parcels.geometry_tolerance_m"),
        ("pseudonyms = {}", "name one of key_file and key_env"),
        ("pseudonyms = { key_file = 'a', key_env = 'B' }", "name one of key_file and key_env"),
        ("pseudonyms = { key = 'secret' }", "unknown key 'parcels.pseudonyms.key'"),
    ],
)
def test_what_parcels_cannot_be(tmp_path: Path, keys: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        load_config(write(tmp_path, MINIMAL + f"[parcels]\n{keys}\n"))


def test_the_committed_schema_is_the_model_s() -> None:
    committed = json.loads((ROOT / "configs" / "schema.json").read_text())
    assert committed == config_schema(), "write it anew: s4c config schema > configs/schema.json"


@pytest.mark.parametrize("name", ["demo.toml", "template.toml"])
def test_bundled_files_load_and_fit_the_schema(name: str) -> None:
    loaded = load_config(bundled(f"configs/{name}"), environment={"S4C_DEMO_DATA": "/data"})
    jsonschema.validate(loaded.config.model_dump(mode="json"), config_schema())
    assert not loaded.config.grid.tiles or isinstance(loaded.config.sources[0], GeoTiffSource)


def test_a_dump_has_no_password(tmp_path: Path) -> None:
    path = tmp_path / "s4c.toml"
    site = '[site]\nname = "a"\nseason_start = 2024-01-01\nseason_end = 2024-12-31\n'
    path.write_text(f'{site}[parcels]\nfile = "PG:host=x password=${{PHRASE}} dbname=y"\n')
    loaded = load_config(path, environment={"PHRASE": "secret"})
    assert "secret" in str(loaded.config.parcels.file)
    assert "secret" not in loaded.config.model_dump_json()
    assert "secret" not in str(list(loaded.flat()))
