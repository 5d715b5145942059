"""User data of a machine in a cloud, as the recipe shows it: cloud-init would take it, and shells would run it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from support.documents import read_document

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "s4c_hpc" / "guides" / "recipes" / "cloud-vm.md"
SCHEMA = json.loads((ROOT / "tests" / "data" / "cloud-init" / "schema-cloud-config-v1.json").read_text())


@pytest.fixture(scope="module")
def text() -> str:
    """The file as it stands in the recipe."""
    (found,) = [e.parsed.source for e in read_document(RECIPE).examples() if e.parsed.argument == "vm.yaml"]
    return str(found)


@pytest.fixture
def config(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def test_the_file_says_what_it_is_and_fits_the_schema_of_cloud_init(text: str, config: dict[str, Any]) -> None:
    assert text.startswith("#cloud-config\n")
    jsonschema.Draft4Validator(SCHEMA).validate(config)


@pytest.mark.parametrize("key", ["mounts", "write_files", "runcmd", "users"])
def test_the_schema_would_find_a_mistake(config: dict[str, Any], key: str) -> None:
    config[key] = 42
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(SCHEMA).validate(config)


def test_commands_are_words_that_a_shell_reads(config: dict[str, Any]) -> None:
    script = "set -eu\n" + "\n".join(config["runcmd"])
    done = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_line_of_cron_has_five_times_a_user_and_a_command(config: dict[str, Any]) -> None:
    (cron,) = [one["content"] for one in config["write_files"] if one["path"].startswith("/etc/cron.d/")]
    lines = [line for line in cron.splitlines() if not re.match(r"\w+=", line)]
    assert lines
    for line in lines:
        assert re.match(r"([\d*/,-]+ +){5}s4c +\S", line), line
        assert "%" not in line  # cron takes it for a line break


def test_the_archive_is_mounted_read_only_and_no_key_is_in_the_file(text: str, config: dict[str, Any]) -> None:
    options = {mount[1]: mount[3].split(",") for mount in config["mounts"]}
    assert {"ro", "passwd_file=/etc/passwd-s3fs", "nofail"} <= set(options["/eodata"])
    assert not any(" " in option for option in options["/eodata"])
    assert all(one["path"] != "/etc/passwd-s3fs" for one in config["write_files"])
    assert "CHANGE" in text
