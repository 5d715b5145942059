"""A mapping that makes no sense is refused with the key that is wrong, before any table is opened."""

from __future__ import annotations

import textwrap
import tomllib
from pathlib import Path

import pytest

from s4c_hpc.config.imports import ImportMapping, load_mapping
from s4c_hpc.core.errors import ConfigError, MissingDataError

ROOT = Path(__file__).parents[1]
HEAD = 'name = "test"\nsensor = "s2"\nparcel = "id"\n'
NDVI = '[variables.ndvi]\ncolumn = "ndvi"\n'
WIDE = '[variables.ndvi]\ncolumn = "ndvi_{date}"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + NDVI, "key 'form' is missing"),
        (HEAD + 'form = "long"\ndate = "d"\n', "key 'variables' is missing"),
        (HEAD + 'form = "long"\ndate = "d"\n[variables]\n', "key 'variables'"),
        (HEAD + 'form = "tall"\n' + NDVI, "key 'form'"),
        (HEAD + 'form = "long"\n' + NDVI, "a long table needs 'date'"),
        (HEAD + 'form = "long"\ndate = "d"\nparcels = "id"\n' + NDVI, "unknown key 'parcels', did you mean 'parcel'?"),
        (
            HEAD + 'form = "long"\ndate = "d"\n[variables.ndvi]\ncolumm = "ndvi"\n',
            "unknown key 'variables.ndvi.columm', did you mean 'column'?",
        ),
        (HEAD + 'form = "long"\ndate = "d"\nvalue = "v"\n' + NDVI, "'variable' and 'value' belong together"),
        (
            HEAD + 'form = "long"\ndate = "d"\nvariable = "k"\nvalue = "v"\n' + NDVI,
            "variables.ndvi: values are in 'v', so no column of its own",
        ),
        (HEAD + 'form = "long"\ndate = "d"\n[variables.ndvi]\n', "variables.ndvi: key 'column' is missing"),
        (HEAD + 'form = "long"\ndate = "d"\nstdev = "s"\n' + NDVI, "'stdev' of all variables needs"),
        (HEAD + 'form = "long"\ndate = "d"\n' + WIDE, "cannot have {date}, for the table is long"),
        (HEAD + 'form = "wide"\n' + NDVI, "needs {date}, for the table is wide"),
        (HEAD + 'form = "wide"\ndate = "d"\n' + WIDE, "a wide table has no column 'date'"),
        (HEAD + 'form = "wide"\n[variables.ndvi]\ncolumn = "doy{doy:03d}"\n', "only {date} has a meaning"),
        (HEAD + 'form = "wide"\n[variables.ndvi]\ncolumn = "a}{date}"\n', "other braces"),
        (HEAD + 'form = "wide"\ndate_format = "%j"\n' + WIDE, "date_format '%j' has no year"),
        (
            HEAD + 'form = "wide"\ndate_format = "%j"\nyear = 2018\nyear_column = "y"\n' + WIDE,
            "told by 'year' and by 'year_column'",
        ),
        (HEAD + 'form = "wide"\nyear = 2018\n' + WIDE, "dates tell their year already"),
        (HEAD + 'form = "wide"\nseason_year = 2018\n' + WIDE, "season_year needs the year"),
        (HEAD + 'form = "wide"\ndate_format = "%Q"\n' + WIDE, "is no form of dates"),
        (HEAD + 'form = "wide"\ndate_format = "year"\n' + WIDE, "has no directive"),
        (HEAD + 'form = "wide"\ndate_format = "%Y%W"\n' + WIDE, "does not tell the day"),
        (HEAD + 'form = "wide"\ndate_format = "%Y-%m"\n' + WIDE, "does not tell the day"),
        (
            HEAD + 'form = "wide"\npass_column = "p"\norbit_direction = "ascending"\n' + WIDE,
            "told by 'orbit_direction' and by 'pass_column'",
        ),
        (
            HEAD
            + 'form = "long"\ndate = "d"\nvariable = "k"\nvalue = "v"\n[variables.a]\nlabel = "b"\n[variables.b]\n',
            "two variables have the same label",
        ),
        (HEAD.replace("test", "sen4cap-1") + 'form = "wide"\n' + WIDE, "those of imported marker files"),
        (HEAD.replace("test", "10m") + 'form = "wide"\n' + WIDE, "key 'name'"),
        (HEAD + 'form = "wide"\n[variables.NDVI]\ncolumn = "{date}"\n', "variables.NDVI"),
        (HEAD + 'form = "wide"\n[variables.n_valid]\ncolumn = "{date}"\n', "class count"),
        ("name = ", "cannot be read as TOML"),
    ],
)
def test_refused_with_the_key(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_mapping(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no such mapping file"):
        load_mapping(tmp_path / "absent.toml")


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "imports").glob("*.toml")), ids=lambda path: path.stem)
def test_bundled_mappings_are_whole(path: Path) -> None:
    mapping = load_mapping(path)
    assert mapping.name == path.stem
    again = ImportMapping.model_validate(mapping.model_dump(mode="json", exclude_defaults=True))
    assert again == mapping
    assert set(tomllib.loads(path.read_text())) <= set(ImportMapping.model_fields)


def test_every_key_is_described() -> None:
    schema = ImportMapping.model_json_schema()
    for part in (schema, schema["$defs"]["ImportedVariable"]):
        assert all(one.get("description") for one in part["properties"].values()), textwrap.dedent(str(part))
