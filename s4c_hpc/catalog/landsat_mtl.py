"""The metadata of a Landsat scene, in any of the three forms that it is delivered in.

Source: USGS LSDS-1328, Landsat 8-9 OLI/TIRS Collection 2 Level 2 Data Format Control Book: ``*_MTL.xml``,
``*_MTL.json`` and ``*_MTL.txt`` (ODL) hold the same groups with the same names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s4c_hpc.catalog.archive import read_bytes
from s4c_hpc.catalog.xml import read_xml
from s4c_hpc.core.errors import InputError

_ROOT = "LANDSAT_METADATA_FILE"
_LINE = re.compile(r'\s*(?P<key>\w+)\s*=\s*(?:"(?P<quoted>[^"]*)"|(?P<plain>\S+))\s*')
ENDINGS = ("_MTL.xml", "_MTL.json", "_MTL.txt")
"""The first that is there is read."""


class Mtl:
    """Texts by group and key; a key such as ``REFLECTANCE_MULT_BAND_1`` means other things in other groups."""

    def __init__(self, groups: Mapping[str, Mapping[str, str]], where: str) -> None:
        self._groups, self._where = groups, where

    def text(self, group: str, key: str) -> str:
        """A value as it is written; an ``InputError`` if there is none."""
        value = self._groups.get(group, {}).get(key, "")
        if not value:
            raise InputError(f"has no {key} in {group}", where=self._where, hint="fetch the product again")
        return value

    def number(self, group: str, key: str) -> float:
        """A value as a number; raises ``ValueError`` if it is none."""
        return float(self.text(group, key))


def read_mtl(path: Path) -> Mtl:
    """Read a metadata file.

    Raises
    ------
    MissingDataError, InputError
        If there is no such file, or it is not whole.
    TemporaryError
        If it cannot be read just now.
    """
    if path.suffix == ".xml":
        root = read_xml(path)
        return Mtl({g.tag: {e.tag: (e.text or "").strip() for e in g} for g in root}, path.name)
    try:
        text = read_bytes(path).decode("utf-8")
        groups = _of_json(text) if path.suffix == ".json" else _of_odl(text)
    except (UnicodeDecodeError, ValueError, LookupError, AttributeError) as error:
        raise InputError(f"is not whole ({error})", where=path.name, hint="fetch the product again") from error
    return Mtl(groups, path.name)


def _of_json(text: str) -> dict[str, dict[str, str]]:
    content: dict[str, dict[str, Any]] = json.loads(text)[_ROOT]
    return {group: {key: str(value) for key, value in values.items()} for group, values in content.items()}


def _of_odl(text: str) -> dict[str, dict[str, str]]:
    groups: dict[str, dict[str, str]] = {}
    open_groups: list[str] = []
    for line in text.split("\n"):
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        key, value = found["key"], found["quoted"] if found["plain"] is None else found["plain"]
        if key == "GROUP":
            open_groups.append(value)
        elif key == "END_GROUP":
            open_groups.pop()
        elif open_groups:
            groups.setdefault(open_groups[-1], {})[key] = value
    if open_groups or not groups:
        raise ValueError("a group has no end")
    return groups
