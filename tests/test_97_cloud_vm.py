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


@pytest.mark.parametrize("key", ["mounts", "packages", "runcmd", "users"])
def test_the_schema_would_find_a_mistake(config: dict[str, Any], key: str) -> None:
    config[key] = 42
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(SCHEMA).validate(config)


def test_commands_are_words_that_a_shell_reads(config: dict[str, Any]) -> None:
    script = "set -eu\n" + "\n".join(config["runcmd"])
    done = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_files_of_a_clone_that_commands_name_are_there(config: dict[str, Any]) -> None:
    named = [word for line in config["runcmd"] for word in re.findall(r"/opt/s4c-src/([\w./@-]+)", line)]
    assert "configs/systemd/s4c-run@.timer" in named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_units_that_are_enabled_are_installed_and_their_user_is_made(config: dict[str, Any]) -> None:
    lines = config["runcmd"]
    (enabled,) = [line.split()[-1] for line in lines if "systemctl enable" in line]
    template = re.sub(r"@[^.]*", "@", enabled)
    (copied,) = [i for i, line in enumerate(lines) if line.startswith("cp ") and f"/{template}" in line]
    assert copied < lines.index("systemctl daemon-reload") < lines.index(f"systemctl enable --now {enabled}")
    unit = (ROOT / "configs" / "systemd" / "s4c-run@.service").read_text()
    assert "User=s4c\n" in unit
    assert "s4c" in {one["name"] for one in config["users"] if isinstance(one, dict)}
    assert "ExecStart=/opt/s4c/bin/s4c " in unit
    assert "python3 -m venv /opt/s4c" in lines


def test_the_archive_is_mounted_read_only_and_no_key_is_in_the_file(text: str, config: dict[str, Any]) -> None:
    options = {mount[1]: mount[3].split(",") for mount in config["mounts"]}
    assert {"ro", "passwd_file=/etc/passwd-s3fs", "noauto", "x-systemd.automount"} <= set(options["/eodata"])
    assert not any(" " in option for option in options["/eodata"])
    assert "write_files" not in config
    assert "CHANGE" in text
