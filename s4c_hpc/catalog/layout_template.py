"""Path templates such as ``{year}/{month}/{day}/{product}.SAFE``: a small language that is checked when it is read.

Folder by folder, separated by ``/``. A folder is plain text and fields in curly brackets (``layout_fields``). The last
one is the product's own and holds ``{product}``. A folder ``**`` right before it stands for any number of folders.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from s4c_hpc.catalog.layout_fields import ANY, FIELDS, PRODUCT
from s4c_hpc.core.errors import ConfigError, listing

DEEP = "**"
_FIELD = re.compile(r"\{([^{}]*)\}")
_FIXED = frozenset({PRODUCT, "year", "doy", "tile", "path", "row"})
"""Fields that are written in one way only: once known, the name of a folder that repeats them is known as well."""


@dataclass(frozen=True)
class Part:
    """One folder of a template."""

    text: str

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Names of its fields, in order."""
        return tuple(_FIELD.findall(self.text))

    def match(self, name: str) -> dict[str, str] | None:
        """Values of the fields in a folder's name, as written; ``None`` if it is of another form.

        Upper and lower case are one: some archives write ``.safe``.
        """
        found = self._pattern.fullmatch(name)
        if found is None:
            return None
        return {key.rpartition("_")[0]: value for key, value in found.groupdict().items()}

    def name(self, written: Mapping[str, str]) -> str | None:
        """The folder's name, if it follows from the fields above it; ``None`` if the folder above must be listed."""
        if any(field not in written or field not in _FIXED for field in self.fields):
            return None
        return _FIELD.sub(lambda found: written[found[1]], self.text)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        pattern, end = "", 0
        for number, found in enumerate(_FIELD.finditer(self.text)):
            pattern += re.escape(self.text[end : found.start()]) + f"(?P<{found[1]}_{number}>{FIELDS[found[1]]})"
            end = found.end()
        return re.compile(pattern + re.escape(self.text[end:]), re.IGNORECASE)


@dataclass(frozen=True)
class Template:
    """Where products lie below the root of an archive."""

    text: str
    parts: tuple[Part, ...]

    def __str__(self) -> str:
        return self.text


def parse_template(text: str, where: str) -> Template:
    """A checked template.

    Parameters
    ----------
    text : as it is written, relative to the root of the source
    where : file and key, for messages

    Raises
    ------
    ConfigError
        Unknown field, unbalanced brackets, wildcards, an empty or absolute path, no ``{product}`` at the end.
    """
    names = text.split("/")
    for number, name in enumerate(names):
        is_last = number == len(names) - 1
        if name in {"", ".", ".."}:
            hint = "write it relative to the root, one slash between two folders, e.g. {year}/{product}.SAFE"
            raise ConfigError(f"template {text!r} has a folder {name!r}", where=where, hint=hint)
        if name == DEEP and number != len(names) - 2:
            raise ConfigError(f"in template {text!r} '**' may stand right before the last folder only", where=where)
        if name != DEEP:
            _check_name(name, text, where)
        if is_last and PRODUCT not in _FIELD.findall(name):
            hint = "the last folder is the product's own, e.g. {product}.SAFE"
            raise ConfigError(f"template {text!r} does not end with a {{product}}", where=where, hint=hint)
    return Template(text, tuple(Part(name) for name in names))


def _check_name(name: str, text: str, where: str) -> None:
    rest = _FIELD.sub("", name)
    if "{" in rest or "}" in rest:
        raise ConfigError(f"template {text!r} has a bracket without its counterpart", where=where)
    if set("*?[]") & set(rest):
        hint = f"write {{{ANY}}} for a folder of any name, or a field: {listing(list(FIELDS), 20)}"
        raise ConfigError(f"template {text!r} has a wildcard", where=where, hint=hint)
    for field in _FIELD.findall(name):
        if field not in FIELDS:
            nearest = difflib.get_close_matches(field, FIELDS, n=1, cutoff=0.4)
            hint = f"did you mean {{{nearest[0]}}}?" if nearest else f"fields are {listing(list(FIELDS), 20)}"
            raise ConfigError(f"template {text!r} has an unknown field {{{field}}}", where=where, hint=hint)
