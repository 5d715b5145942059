"""The page of dependencies says what is locked, and no licence comes in unseen."""

from __future__ import annotations

import hashlib
import re
import sys
from importlib.metadata import Distribution, version
from pathlib import Path

import pytest

from s4c_hpc.guides.dependencies import BUILD, CORE, PAGE, ROOT, Row, locked, page, rows
from s4c_hpc.guides.licences import REVIEWED, UNKNOWN, is_permissive, licence_of, objection

STATIC = ROOT / "s4c_hpc" / "serve" / "static"


@pytest.fixture(scope="module")
def packages() -> dict[str, Row]:
    return {row.name: row for row in rows()}


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions of Python ask for other packages")
def test_the_page_is_what_its_command_prints(packages: dict[str, Row]) -> None:
    assert PAGE.read_text(encoding="utf-8") == page(packages.values()), (
        "python -m s4c_hpc.guides.dependencies > the page"
    )


def test_what_is_installed_is_what_is_locked() -> None:
    assert {name: version(name) for name in locked()} == locked()


def test_every_locked_package_is_asked_for(packages: dict[str, Row]) -> None:
    assert [name for name, row in packages.items() if not row.groups] == []
    assert packages["numpy"].groups == (CORE,)
    assert packages["starlette"].groups == ("serve", "dev")
    assert BUILD in packages["hatchling"].groups
    assert packages["resvg-py"].purpose.startswith("parcel pictures"), "the comment of pyproject.toml"
    assert packages["uvicorn"].purpose == "'s4c serve'; everything else does without", "the extra's comment"
    assert packages["llvmlite"].purpose == "for numba"


def test_no_licence_comes_in_unseen(packages: dict[str, Row]) -> None:
    assert [said for row in packages.values() if (said := objection(row.name, row.licence))] == []
    reasons_for_nothing = [name for name in REVIEWED if name not in packages or is_permissive(packages[name].licence)]
    assert reasons_for_nothing == []


def test_what_comes_always_or_into_images_is_permissive_but_for_certificates(packages: dict[str, Row]) -> None:
    shipped = [row for row in packages.values() if {CORE, "serve", "weather", "postgis"} & set(row.groups)]
    assert [row.name for row in shipped if not is_permissive(row.licence)] == ["certifi"]


@pytest.mark.parametrize(
    ("expression", "is_fine"),
    [
        ("MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND LGPL-2.1-only", False),
        ("BSD-3-Clause AND Apache-2.0 WITH LLVM-exception", True),
        ("Apache-2.0 WITH something-else", False),
        ("GPL-2.0-only", False),
        ("mit", False),
        ("(MIT OR GPL-2.0-only) AND AGPL-3.0-only", False),
        (UNKNOWN, False),
        ("", False),
    ],
)
def test_a_permissive_choice_must_be_left(expression: str, is_fine: bool) -> None:
    assert is_permissive(expression) is is_fine
    assert (objection("some-package", expression) is None) is is_fine


def test_a_reason_holds_for_the_licence_that_it_was_given_for() -> None:
    assert objection("certifi", "MPL-2.0") is None
    assert objection("certifi", "AGPL-3.0-only") is not None


@pytest.mark.parametrize(
    ("metadata", "text", "found"),
    [
        ("License-Expression: MIT OR Apache-2.0", "", ("MIT OR Apache-2.0", True)),
        ("License: MIT License", "", ("MIT", True)),
        ("Classifier: License :: OSI Approved :: Apache Software License", "", ("Apache-2.0", True)),
        ("License: BSD", "Redistribution and use in source\nand binary forms", ("BSD-2-Clause", False)),
        (
            "License: BSD",
            "Redistribution and use in source and binary forms ... Neither the name",
            ("BSD-3-Clause", False),
        ),
        ("License: BSD", "All rights reserved.", (UNKNOWN, False)),
        ("Classifier: License :: Other/Proprietary License", "", (UNKNOWN, False)),
        ("", "GNU GENERAL PUBLIC LICENSE Version 3", (UNKNOWN, False)),
    ],
)
def test_licences_are_read_where_they_stand(tmp_path: Path, metadata: str, text: str, found: tuple[str, bool]) -> None:
    folder = tmp_path / "some-1.dist-info"
    folder.mkdir()
    lines = ["Metadata-Version: 2.4", "Name: some", "Version: 1", *([metadata] if metadata else [])]
    (folder / "METADATA").write_text("\n".join(lines) + "\n")
    (folder / "LICENSE").write_text(text)
    (folder / "RECORD").write_text("some-1.dist-info/METADATA,,\nsome-1.dist-info/LICENSE,,\n")
    assert licence_of(Distribution.at(folder)) == found


def test_files_of_others_are_on_the_page_and_unchanged() -> None:
    text = PAGE.read_text(encoding="utf-8")
    foreign = [folder for folder in STATIC.iterdir() if folder.is_dir()]
    assert foreign
    for folder in foreign:
        assert f"`{folder.relative_to(ROOT)}/`" in text
        assert (folder / "LICENSE.txt").is_file()
        sums = dict(
            reversed(line.split())
            for line in re.findall(r"^ +([0-9a-f]{64} .*)$", (folder / "README.md").read_text(), re.MULTILINE)
        )
        library = {one.name for one in folder.iterdir() if one.suffix in {".js", ".css"}}
        assert set(sums) == library
        for name, digest in sums.items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
