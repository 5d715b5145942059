"""Find product folders by path templates: with as few listings as the templates, the season and the tiles allow."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from s4c_hpc.catalog.archive import is_folder, list_folder, listed, status
from s4c_hpc.catalog.layout_fields import PRODUCT, Fields, Wanted, as_fields, fields_of_name, together
from s4c_hpc.catalog.layout_template import DEEP, Part, Template
from s4c_hpc.core.errors import TemporaryError

MAX_SILENT: Final = 3
"""After so many folders or products in a row that did not answer, each asked patiently, the archive is taken to be
away."""

Answer = TypeVar("Answer")

_LONG_NAME: Final = re.compile(r"(?=(?:[^_]*_){3}).*(?<!\d)\d{8}(?!\d)")
"""Names of products have a day and at least four parts; folders above them, such as ``S2A_2018``, have not."""
_PACKED: Final = (".zip", ".tar", ".tgz", ".tar.gz")


@dataclass(frozen=True, slots=True)
class Sought:
    """What tells the products that are looked for from everything else."""

    is_product: Callable[[str], bool]
    """By the name of a folder."""
    prefixes: tuple[str, ...]
    """How names of such products begin, packed ones too."""
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class DeadEnd:
    """A place where a template led no further."""

    depth: int
    """Number of folders of the template above it."""
    folder: Path
    part: str
    """What the template has there."""
    names: tuple[str, ...] | None
    """What lies there; ``None`` if there is no such folder."""


@dataclass(slots=True)
class Found:
    """What a search came upon."""

    folders: list[Path] = field(default_factory=list)
    """Of products, sorted."""
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    """Folders that could not be listed, and why."""
    silent: list[tuple[Path, str]] = field(default_factory=list)
    """Folders that could not be listed just now, and why: nothing is known of them."""
    refused: set[str] = field(default_factory=set)
    """Names that are nearly those of such products, e.g. of another level."""
    n_other: int = 0
    """SAFE folders of other satellites."""
    n_archives: int = 0
    """Packed products: they would have to be unpacked."""
    n_left_out: int = 0
    """Products of other tiles, days or scenes, by their names."""
    n_listed: int = 0
    """Folders that were listed."""
    dead_ends: list[DeadEnd] = field(default_factory=list)
    """Where no product was found: the places that came nearest."""


def find_products(root: Path, templates: Iterable[Template], sought: Sought) -> Found:
    """Product folders below ``root`` that one of the templates leads to.

    Text of a template is followed without a look at what else is there; for a field the folder above it is listed.
    Links to folders are followed. Below ``**`` a folder that was seen before is not entered again: a loop ends.

    Raises
    ------
    TemporaryError
        If ``MAX_SILENT`` folders do not answer, one after the other.
    """
    search = _Search(sought)
    before = listed()
    for template in templates:
        search.descend(root, template.parts, {}, {}, 0)
    found = search.found
    found.folders = sorted(search.products)
    found.n_archives = len(search.packed)
    found.n_listed = listed() - before
    found.unreadable.sort()
    found.silent.sort()
    if not found.folders:
        deepest = max((end.depth for end in search.dead_ends), default=0)
        found.dead_ends = [end for end in search.dead_ends if end.depth == deepest]
    return found


@dataclass(slots=True)
class _Search:
    """A search under way."""

    sought: Sought
    found: Found = field(default_factory=Found)
    products: set[Path] = field(default_factory=set)
    packed: set[str] = field(default_factory=set)
    dead_ends: list[DeadEnd] = field(default_factory=list)
    _listings: dict[Path, list[os.DirEntry[str]] | None] = field(default_factory=dict)
    """Of folders above those of products: another template may ask for the same."""
    _walked: set[tuple[int, int]] = field(default_factory=set)
    _unanswered: Counter[str] = field(default_factory=Counter)
    """By kind of question, how many in a row: the answers to others may have come out of a cache."""

    def descend(self, folder: Path, parts: tuple[Part, ...], written: Fields, known: Fields, depth: int) -> None:
        """Follow the rest of a template from ``folder``, with the fields above it as written and as compared."""
        if not parts:
            self._take(folder)
            return
        part, rest = parts[0], parts[1:]
        if part.text == DEEP:
            self._walk(folder, rest[0], depth)
        elif (name := part.name(written)) is None:
            self._branch(folder, parts, written, known, depth)
        elif rest or self._is_there(folder / name, depth):
            self.descend(folder / name, rest, written, known, depth + 1)

    def _branch(self, folder: Path, parts: tuple[Part, ...], written: Fields, known: Fields, depth: int) -> None:
        part, rest = parts[0], parts[1:]
        entries = self._list(folder, part, depth, keep=bool(rest))
        if entries is None:
            return
        is_followed = False
        for entry in entries:
            own = part.match(entry.name)
            if own is None or (fields := self._below(known, own)) is None:
                continue
            if PRODUCT in own and not self._admits_name(own[PRODUCT]):
                self.found.n_left_out += 1
                continue
            if not self._is_folder(entry, part):  # last: some mounts ask their store for each
                continue
            is_followed = True
            self.descend(folder / entry.name, rest, {**written, **own}, fields, depth + 1)
        if not is_followed:
            self._note(DeadEnd(depth, folder, part.text, tuple(entry.name for entry in entries)))

    def _below(self, known: Fields, own: Fields) -> Fields | None:
        """Fields of a folder with those above it; ``None`` if nothing in it can be what is looked for."""
        if own.keys() <= {PRODUCT}:  # tells no more: a day of a worldwide archive has ten thousand of them
            return known
        fields = together(known, as_fields(own))
        return fields if fields is not None and self.sought.wanted.admits(fields) else None

    def _walk(self, top: Path, part: Part, depth: int) -> None:
        """Products at any depth, ``top`` itself included; what is in a product is not looked at."""
        pending = [top]
        while pending:
            folder = pending.pop()
            if part.match(folder.name) is not None and self._is_product(folder.name):
                if self._admits_name(folder.name):
                    self._take(folder)
                else:
                    self.found.n_left_out += 1
            elif folder.name.lower().endswith(".safe"):
                self.found.n_other += 1
            elif self._is_new(folder):
                self._refuse(folder.name)
                entries = self._list(folder, part, depth) or []
                pending += [folder / entry.name for entry in entries if self._is_folder(entry, part)]

    def _take(self, folder: Path) -> None:
        if self._is_product(folder.name):
            self.products.add(folder)
        elif folder.name.lower().endswith(".safe"):
            self.found.n_other += 1
        else:
            self._refuse(folder.name)

    def _refuse(self, name: str) -> None:
        """Note a name that is nearly that of a product."""
        if name.startswith(self.sought.prefixes) and _LONG_NAME.match(name) and self._admits_name(name):
            self.found.refused.add(name)

    def _is_product(self, name: str) -> bool:
        return self.sought.is_product(name)

    def _admits_name(self, name: str) -> bool:
        """Whether a product of this name may be looked for.

        Apart from the folders above it, which may be sorted by another day, that of the processing say.
        """
        return self.sought.wanted.admits(fields_of_name(name))

    def _is_folder(self, entry: os.DirEntry[str], part: Part) -> bool:
        try:
            found = self._ask(is_folder, entry)
        except OSError as error:
            self.found.unreadable.append((Path(entry.path), error.strerror or str(error)))
            return False
        if found is False:
            is_packed = entry.name.startswith(self.sought.prefixes) and entry.name.lower().endswith(_PACKED)
            if is_packed and PRODUCT in part.fields and self._admits_name(entry.name):
                self.packed.add(entry.path)
        return bool(found)

    def _is_there(self, folder: Path, depth: int) -> bool:
        try:
            return self._ask(status, folder) is not None
        except OSError:
            self._note(DeadEnd(depth, folder, folder.name, None))
        return False

    def _is_new(self, folder: Path) -> bool:
        try:
            known = self._ask(status, folder)
        except OSError as error:
            self.found.unreadable.append((folder, error.strerror or str(error)))
            return False
        if known is None:
            return False
        inode = (known.st_dev, known.st_ino)
        is_new = inode not in self._walked
        self._walked.add(inode)
        return is_new

    def _list(self, folder: Path, part: Part, depth: int, *, keep: bool = False) -> list[os.DirEntry[str]] | None:
        if folder in self._listings:
            return self._listings[folder]
        entries: list[os.DirEntry[str]] | None = None
        try:
            entries = self._ask(list_folder, folder)
        except (FileNotFoundError, NotADirectoryError):
            self._note(DeadEnd(depth, folder, part.text, None))
        except OSError as error:
            self.found.unreadable.append((folder, error.strerror or str(error)))
        if keep:
            self._listings[folder] = entries
        return entries

    def _ask(self, question: Callable[[Any], Answer], about: Path | os.DirEntry[str]) -> Answer | None:
        """The answer to a question about a folder; ``None`` if there is none just now. Raises ``OSError``."""
        asked = question.__name__
        try:
            answer = question(about)
        except TemporaryError as error:
            self.found.silent.append((Path(about), error.what))
            self._unanswered[asked] += 1
            if self._unanswered[asked] >= MAX_SILENT:
                raise
            return None
        except OSError:
            self._unanswered[asked] = 0
            raise
        self._unanswered[asked] = 0
        return answer

    def _note(self, end: DeadEnd) -> None:
        if not self.products:  # of no use to anyone otherwise
            self.dead_ends.append(end)
