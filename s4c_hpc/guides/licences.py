"""Under which licence a package comes, as an SPDX expression, and whether that is one we take without a second look."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import Distribution
from typing import Final

PERMISSIVE: Final = frozenset(
    ["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "PSF-2.0", "Zlib"]
) | {"Apache-2.0 WITH LLVM-exception"}
"""Licences that ask for nothing but their text, whatever is done with the package."""

REVIEWED: Final[Mapping[str, tuple[str, str]]] = {
    "certifi": ("MPL-2.0", "a list of certificates, unchanged; its terms end at its own files"),
    "codespell": ("GPL-2.0-only", "a program for developers: started, not linked, and in no image"),
    "hypothesis": ("MPL-2.0", "for tests, unchanged; its terms end at its own files"),
    "mpich": ("LicenseRef-MPICH", "permissive like BSD, under the name that the project gave it"),
    "pathspec": ("MPL-2.0", "for building the package, unchanged; its terms end at its own files"),
}
"""Other licences, by package: the licence for which the reason was given, and why it may stay."""

_WORDS: Final[Mapping[str, str]] = {
    "Apache 2.0": "Apache-2.0",
    "Apache License Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD 3-Clause": "BSD-3-Clause",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "New BSD": "BSD-3-Clause",
}
"""What older metadata says, where it means one licence. 'BSD' means several: the licence's text tells which."""

_SENTENCES: Final = (
    ("Mozilla Public License Version 2.0", "MPL-2.0"),
    ("Apache License Version 2.0", "Apache-2.0"),
    ("Permission is hereby granted, free of charge, to any person", "MIT"),
    ("Neither the name", "BSD-3-Clause"),
    ("may not be used to endorse or promote products", "BSD-3-Clause"),
    ("Redistribution and use in source and binary forms", "BSD-2-Clause"),
)
"""What stands in a licence's text, the first that is there."""

_SPDX: Final = re.compile(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*")
UNKNOWN: Final = "unknown"


def licence_of(package: Distribution) -> tuple[str, bool]:
    """SPDX expression of an installed package, ``unknown`` if nobody can tell, and whether its metadata says so itself.

    The metadata's own expression counts, then its older fields, then the text of the licence that comes with it.
    """
    fields = package.metadata.json
    if expression := fields.get("license_expression"):
        return str(expression), True
    classifiers = [one.rsplit(" :: ", 1)[-1] for one in fields.get("classifier", ()) if "License ::" in one]
    for words in (str(fields.get("license", "")).strip(), *classifiers):
        if words in PERMISSIVE or words in {licence for licence, _ in REVIEWED.values()}:
            return words, True
        if words in _WORDS:
            return _WORDS[words], True
    for file in package.files or ():
        if re.match(r"(licen[cs]e|copying)(\.\w+)?$", file.name, flags=re.IGNORECASE) and "dist-info" in str(file):
            text = " ".join(file.read_text(encoding="utf-8").split())
            for sentence, licence in _SENTENCES:
                if sentence.casefold() in text.casefold():
                    return licence, False
    return UNKNOWN, False


def is_permissive(expression: str) -> bool:
    """Whether an SPDX expression without brackets can be met by permissive licences alone; ``AND`` binds closer."""
    if not _SPDX.fullmatch(expression):
        return False
    return any(all(one in PERMISSIVE for one in choice.split(" AND ")) for choice in expression.split(" OR "))


def objection(name: str, licence: str) -> str | None:
    """Why a package may not stay; ``None`` if it may."""
    if is_permissive(licence) or (name in REVIEWED and REVIEWED[name][0] == licence):
        return None
    return f"{name}: {licence} is not permissive, and no reason is given in s4c_hpc/guides/licences.py"
