"""The page of dependencies, ``dependencies.md``: made from pyproject.toml, the lock and what is installed.

``python -m s4c_hpc.guides.dependencies`` prints it, in a clone with everything installed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from s4c_hpc.core.text import markdown_table
from s4c_hpc.guides.licences import REVIEWED, licence_of

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = Path(__file__).with_name("dependencies.md")
CORE, BUILD, DEV = "always", "build", "dev"
_EDITABLE: Final = "editables"
"""What the build back-end asks for when a clone is installed in place, which its metadata does not say."""

_LIBRARIES: Final[Mapping[str, str]] = {
    "libgeos": "LGPL-2.1-only",
    "libgfortran": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libgomp": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libidn2": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libkeyutils": "LGPL-2.1-or-later",
    "libquadmath": "LGPL-2.1-or-later",
    "libunistring": "LGPL-3.0-or-later OR GPL-2.0-or-later",
}
"""Libraries under other than permissive licences that wheels carry as files of their own (Linux, x86-64)."""

_HEAD: Final = """# Dependencies

Versions are those of `requirements.lock`, with which the tests pass; pyproject.toml has the lower bounds.
`python -m s4c_hpc.guides.dependencies` prints this page. A test compares it with what is locked and installed, and
fails at a licence that is neither permissive nor listed here with a reason.

Comes with: `always`, an extra of the package (`pip install 's4c-hpc[serve]'`), `build` (making the wheel), or `dev`
(tests and checks; in no image). Licences are those of the packages' metadata, as SPDX; a star (*) marks those that were
read from the licence's text, because the metadata does not tell.
"""
_LIBRARIES_HEAD: Final = """## Libraries inside wheels

Wheels carry libraries in C, C++ and Fortran under licences of their own, which stand in the wheels. Nearly all are
permissive. Files of their own under other licences, which whoever hands on an image hands on as well:
"""
_TAIL: Final = """GEOS is linked into the GDAL of pyogrio, too. All are used unchanged.

## Files of others in this package

- `s4c_hpc/serve/static/maplibre-gl-5.24.1/`: MapLibre GL JS 5.24.1, which draws the map; BSD-3-Clause (`LICENSE.txt`
  there), unchanged (sums in the README there).
- `configs/biophysical/*.toml`: weights of the networks for LAI, FAPAR, FCOVER, CCC and CWC (Weiss and Baret, INRAE):
  numbers of published algorithms, in a form of our own.
- `configs/mowing/*.toml`, `configs/practices/*.toml`: settings of countries as Sen4CAP ships them, with the source in
  each file: facts, in a form of our own.
- `tests/data/tum-freising-2018/`: imagery and fields of the demo, the only data in the wheel; MIT, contains modified
  Copernicus Sentinel data 2018.

Other test data stay in the repository; `tests/data/README.md` has their sources and licences. Images hold packages of
Debian as well: `/usr/share/doc/*/copyright` in them.
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A locked package."""

    name: str
    version: str
    licence: str
    is_read: bool
    """The licence was read from its text."""
    groups: tuple[str, ...]
    purpose: str


def rows(root: Path = ROOT) -> list[Row]:
    """Packages of the lock in its order.

    Raises
    ------
    PackageNotFoundError
        A locked package is not installed.
    """
    groups = _groups(root)
    direct = {group: set(map(_name, asked)) for group, asked in groups.items()}
    reasons = _reasons(root)
    brought = {group: _closure(asked) for group, asked in groups.items()}
    found = []
    for name, version in locked(root).items():
        package = distribution(name)
        licence, is_said = licence_of(package)
        coming = tuple(group for group, names in brought.items() if name in names)
        if coming and name in direct[coming[0]]:
            purpose = reasons.get(name) or str(package.metadata["Summary"] or "").split("\n")[0].rstrip(".")
        else:
            parents = brought[coming[0]][name] if coming else {"nothing that is asked for"}
            purpose = f"for {', '.join(sorted(parents))}"
        found.append(
            Row(
                name=name,
                version=version,
                licence=licence,
                is_read=not is_said,
                groups=(CORE,) if CORE in coming else coming,
                purpose=purpose,
            )
        )
    return found


def locked(root: Path = ROOT) -> dict[str, str]:
    """Version of every locked package, by normalized name."""
    lines = (root / "requirements.lock").read_text(encoding="utf-8").split()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def page(packages: Iterable[Row]) -> str:
    """The page, in Markdown."""
    table = [
        (row.name, row.version, f"{row.licence}{'*' if row.is_read else ''}", ", ".join(row.groups), row.purpose)
        for row in packages
    ]
    reviewed = [(name, licence, reason) for name, (licence, reason) in sorted(REVIEWED.items())]
    libraries = [(name, licence, ", ".join(_carriers(name))) for name, licence in _LIBRARIES.items()]
    parts = (
        _HEAD,
        *markdown_table(("package", "version", "licence", "comes with", "what for"), table),
        "",
        "## Other than permissive, and why",
        "",
        *markdown_table(("package", "licence", "why it may stay"), reviewed),
        "",
        _LIBRARIES_HEAD,
        *markdown_table(("library", "licence", "in the wheels of"), libraries),
        "",
        _TAIL,
    )
    return "\n".join(parts)


def _groups(root: Path) -> dict[str, list[str]]:
    """Requirements by what brings them."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    build = [*project["build-system"]["requires"], _EDITABLE]
    others = {name: asked for name, asked in extras.items() if name != DEV}
    return {CORE: project["project"]["dependencies"], **others, BUILD: build, DEV: extras[DEV]}


def _reasons(root: Path) -> dict[str, str]:
    """Comments of pyproject.toml behind requirements: one of its own, or that of the extra."""
    found: dict[str, str] = {}
    for line in (root / "pyproject.toml").read_text(encoding="utf-8").splitlines():
        if match := re.match(r'^  "([^"]+)",\s*# (.+)$', line):
            found.setdefault(_name(match[1]), match[2])
        elif match := re.match(r"^(?:\w+) = \[(.+?)\]\s+# (.+)$", line):
            for asked in re.findall(r'"([^"]+)"', match[1]):
                found[_name(asked)] = match[2]
    return found


def _closure(asked: Iterable[str]) -> dict[str, set[str]]:
    """Packages that requirements bring, each with those that ask for it."""
    found: dict[str, set[str]] = {}
    todo = [(Requirement(one), "") for one in asked]
    done: set[tuple[str, str]] = set()
    while todo:
        requirement, parent = todo.pop()
        name = canonicalize_name(requirement.name)
        found.setdefault(name, set()).update({parent} - {""})
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) in done:
                continue
            done.add((name, extra))
            for text in distribution(name).requires or ():
                child = Requirement(text)
                if child.marker is None or child.marker.evaluate({"extra": extra}):
                    todo.append((child, name))
    return found


def _carriers(library: str) -> list[str]:
    """Installed packages that carry a library as a file."""
    site = Path(str(distribution("numpy").locate_file("")))
    return sorted({canonicalize_name(file.parent.stem) for file in site.glob(f"*.libs/{library}[-.]*")})


def _name(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


if __name__ == "__main__":
    sys.stdout.write(page(rows()))
