"""What admins read and copy: site profiles, templates, the admin's page. Nothing on them may not be there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
from pydantic import BaseModel
from support.sites import limits

from s4c_hpc.cli.main import app
from s4c_hpc.config import Config, load_config
from s4c_hpc.config.load import _models_in
from s4c_hpc.config.slurm import Slurm
from s4c_hpc.slurm.directives import added, droppable
from s4c_hpc.slurm.survey import trial_scripts

ROOT = Path(__file__).parents[1]
ADMIN = ROOT / "s4c_hpc" / "guides" / "admin.md"
PROFILES = sorted((ROOT / "configs" / "site").glob("*.toml"))
SITE = '[site]\nname = "a"\nseason_start = 2018-01-01\nseason_end = 2018-12-31\n'


def load(profile: Path, folder: Path) -> Config:
    (folder / "s4c.toml").write_text(f"profile = {json.dumps(str(profile))}\n{SITE}")
    return load_config(folder / "s4c.toml", environment={}).config


def test_the_profiles_that_are_documented_are_there() -> None:
    assert [path.name for path in PROFILES] == ["cloud-vm.toml", "dev-cluster.toml", "example.toml", "strict.toml"]


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_site_profile_loads_and_makes_batch_scripts(path: Path, tmp_path: Path) -> None:
    config = load(path, tmp_path)
    assert config.execute.executor == "slurm"
    assert added(config.slurm.directives_add) is not None
    assert droppable(config.slurm.directives_drop) <= {"--comment", "--open-mode"}
    assert trial_scripts(config.slurm, limits())


def test_the_strict_profile_asks_as_the_site_wants(tmp_path: Path) -> None:
    (script,) = trial_scripts(load(ROOT / "configs/site/strict.toml", tmp_path).slurm, limits()).values()
    lines = script.splitlines()
    assert "#SBATCH --mem-per-cpu=98304M" in lines
    assert "#SBATCH --constraint=cpu2023" in lines
    assert not any(line.startswith(("#SBATCH --mem=", "#SBATCH --comment", "#SBATCH --open-mode")) for line in lines)
    assert lines[-1].startswith("exec apptainer exec --cleanenv --bind /archive:/archive:ro")


def test_the_example_shows_every_key_of_the_profile() -> None:
    text = (ROOT / "configs/site/example.toml").read_text()
    shown = set(re.findall(r"^(?:# )?([a-z_]+) = ", text, flags=re.MULTILINE))
    tables = set(re.findall(r"^\[slurm\.([a-z_]+)", text, flags=re.MULTILINE))
    for key, field in Slurm.model_fields.items():
        inner = [name for model in _models_in(field.annotation) for name in model.model_fields]
        assert key in shown | tables, key
        if key in tables:
            assert set(inner) - {"max_memory"} <= shown, key  # max_memory of a QoS stands inside of a list


def test_the_example_s_defaults_are_the_defaults() -> None:
    text = (ROOT / "configs/site/example.toml").read_text()
    own = tomllib.loads(text)["slurm"]
    default = Slurm()
    same = (
        "memory",
        "max_submitted",
        "chunk_s",
        "min_chunk_s",
        "start_s",
        "poll_s",
        "tick_s",
        "forgotten_after_s",
        "export",
    )
    assert all(own[key] == getattr(default, key) for key in same)
    pair = Slurm.model_validate({"demands": own["demands"]}).demands["s1-pair"]
    assert pair == default.demands["s1-pair"]


COMMAND = re.compile(r"^s4c [a-z]")


def commands(text: str) -> list[list[str]]:
    """Command lines of s4c in code blocks and between back quotes."""
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL))
    outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines = [*blocks.splitlines(), *re.findall(r"`([^`\n]+)`", outside)]
    return [shlex.split(line, comments=True) for line in lines if COMMAND.match(line)]


def unknown_words(words: list[str]) -> list[str]:
    """Subcommands and options of a command line that the command line interface does not have."""
    command: Any = typer.main.get_command(app)
    missing, context = [], click.Context(command)
    for word in words[1:]:
        if word.startswith("-"):
            options = {option for parameter in command.params for option in parameter.opts}
            missing += [] if word.partition("=")[0] in {*options, "--help"} else [word]
        elif hasattr(command, "commands"):
            command = command.get_command(context, word)
            if command is None:
                return [word]
    return missing


def test_commands_on_the_admin_s_page_exist() -> None:
    found = commands(ADMIN.read_text())
    assert ["s4c", "slurm", "check", "--deep"] in found
    assert len(found) > 15
    assert {shlex.join(words): missing for words in found if (missing := unknown_words(words))} == {}


def test_a_wrong_command_would_be_found() -> None:
    assert unknown_words(shlex.split("s4c slurm checks")) == ["checks"]
    assert unknown_words(shlex.split("s4c slurm qos --apply-it")) == ["--apply-it"]


def is_key(dotted: str) -> bool:
    """Whether the configuration has such a key; ``NAME`` stands for any."""
    models: list[type[BaseModel]] = [Config]
    parts = dotted.split(".")
    for i, part in enumerate(parts):
        if part == "NAME":
            continue
        models = [m for m in models if part in m.model_fields]
        if not models:
            return False
        if i + 1 < len(parts):
            models = [inner for m in models for inner in _models_in(m.model_fields[part].annotation)]
    return True


def test_keys_on_the_admin_s_page_exist(tmp_path: Path) -> None:
    text = ADMIN.read_text()
    keys = set(re.findall(r"`((?:slurm|execute|quota)\.[A-Za-z_.]+)`", text)) - {"slurm.conf"}
    assert len(keys) > 15
    assert {key for key in keys if not is_key(key)} == set()
    assert not is_key("slurm.pol_s")
    for block in re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL):
        (tmp_path / "site.toml").write_text(block)
        load(tmp_path / "site.toml", tmp_path)


def test_files_on_the_admin_s_page_exist() -> None:
    named = re.findall(r"`((?:slurm|configs)/[A-Za-z0-9./-]+)`", ADMIN.read_text())
    assert len(named) >= 4
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_qos_on_the_admin_s_page_are_the_standard_set() -> None:
    example = (ROOT / "slurm" / "qos-example.sh").read_text()
    made = set(re.findall(r"add qos (s4c-\S+)", example))
    assert made <= set(re.findall(r"`(s4c-[a-z0-9-]+)`", ADMIN.read_text()))


class TestJobTemplate:
    """``sbatch slurm/s4c-run.sbatch``, here without Slurm: what it would call."""

    def call(self, folder: Path, *words: str, **environment: str) -> list[str]:
        program = folder / "s4c"
        program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        program.chmod(0o755)
        done = subprocess.run(
            ["bash", str(ROOT / "slurm" / "s4c-run.sbatch"), *words],
            env={"PATH": "/usr/bin:/bin", "S4C": str(program), **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    def test_the_driver(self, tmp_path: Path) -> None:
        called = self.call(tmp_path, "/data/my site")
        assert called == ["run", "--workspace", "/data/my site", "--executor", "slurm"]
        assert unknown_words(["s4c", *called]) == []

    def test_one_large_node_is_used_as_far_as_it_was_given(self, tmp_path: Path) -> None:
        given = {"SLURM_CPUS_PER_TASK": "64", "SLURM_MEM_PER_NODE": "240000"}
        called = self.call(tmp_path, "w", "local", **given)
        assert called[3:] == ["--executor", "local", "--set", "execute.workers=64", "--set", "execute.memory=216000MiB"]
        (tmp_path / "s4c.toml").write_text(SITE)
        execute = load_config(tmp_path / "s4c.toml", environment={}, flags=called[6::2]).config.execute
        assert (execute.workers, execute.memory) == (64, 216000 * 2**20)

    def test_a_workspace_must_be_named(self, tmp_path: Path) -> None:
        with pytest.raises(subprocess.CalledProcessError):
            self.call(tmp_path)
