"""Units of systemd, as far as tests carry out what is in them: no systemd runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SYSTEMD = Path(__file__).parents[2] / "configs" / "systemd"
INSTALLED = "/opt/s4c/bin/s4c"
"""Where the units expect the program."""


@dataclass
class Unit:
    """Settings of a unit with its drop-ins: every value of a key, in order; an empty one forgets those before it."""

    settings: dict[str, list[str]] = field(default_factory=dict)

    def read(self, path: Path) -> Unit:
        """Add a file."""
        text = re.sub(r"^\s*[#;].*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
        for line in text.splitlines():
            if found := re.fullmatch(r"(\w+)=(.*)", line.strip()):
                values = self.settings.setdefault(found[1], [])
                values.append(found[2]) if found[2] else values.clear()
        return self

    def one(self, key: str) -> str:
        """The only value of a key."""
        (value,) = self.settings[key]
        return value

    def commands(self, key: str, specifiers: Mapping[str, str], variables: Mapping[str, str]) -> list[list[str]]:
        """Command lines as systemd would start them: ``%S``, ``${WORD}`` is a word, ``$WORDS`` are several."""
        return [_command(line, specifiers, variables) for line in self.settings[key]]


def environment_file(path: Path) -> dict[str, str]:
    """Variables of an environment file."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith(("#", ";"))]
    return dict(line.split("=", 1) for line in lines)


def _command(line: str, specifiers: Mapping[str, str], variables: Mapping[str, str]) -> list[str]:
    words = []
    for word in shlex.split(re.sub("%(.)", lambda found: specifiers[found[1]], line)):
        if several := re.fullmatch(r"\$(\w+)", word):
            words += variables[several[1]].split()
        else:
            words.append(re.sub(r"\$\{(\w+)\}", lambda found: variables[found[1]], word))
    return words
