"""A scan under way: what was known, what is found, and what has not answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from s4c_hpc.catalog.discover import Measure, declared, shown
from s4c_hpc.catalog.index import Entry
from s4c_hpc.catalog.layout_search import MAX_SILENT
from s4c_hpc.catalog.model import OK, Product
from s4c_hpc.core.errors import ConfigError, S4cError, TemporaryError

Key = tuple[str, str]
"""Kind of source and path; a folder may hold several products (one for each tile that it touches)."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a source can do with a path."""

    declaration: Callable[[Path], str]
    """How it is to be read: another text makes it read again."""
    measure: Callable[[Path], Measure]
    read: Callable[[Path, Measure], Sequence[Product]]
    unreadable: Callable[[Path, str], Product]


@dataclass(slots=True)
class Session:
    """A scan under way."""

    recheck: bool = True
    """Whether products that are known to be whole are measured again."""
    known: dict[Key, list[Entry]] = field(default_factory=dict)
    """Rows of the index as it was."""
    entries: dict[Key, list[Entry]] = field(default_factory=dict)
    declared: dict[Path, str] = field(default_factory=dict)
    """Declaration of each GeoTIFF, ``sources.0``."""
    n_read: int = 0
    """Rows that were made in this scan."""
    n_silent: int = 0
    """Products that did not answer, one after the other."""
    looked_in: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def remember(self, entries: Iterable[Entry]) -> None:
        """Take note of the index as it was."""
        for entry in entries:
            self.known.setdefault((entry.product.source, entry.path), []).append(entry)

    def add(self, kind: str, path: Path, access: Access) -> None:
        """Take a product over from the index if nothing has changed, else read it.

        One that does not answer stays as it was: what is not known just now is neither broken nor gone.

        Raises
        ------
        TemporaryError
            If the ones before it did not answer either: then the archive is away.
        """
        if (text := shown(path)) != str(path):
            reason = "its path is not UTF-8; rename the folder or file"
            self.add_unreadable(kind, Path(text), access.unreadable(Path(text), reason))
            return
        try:
            self._add(kind, path, access)
        except TemporaryError as error:
            self.n_silent += 1
            if self.n_silent >= MAX_SILENT:
                raise
            kept = self.keep(kind, path)
            told = "what the index has of it is kept" if kept else "it is tried again by the next scan"
            self.warnings.append(f"{error.where or path}: {error.what}; {told}")
            if not kept:
                self.add_unreadable(kind, path, access.unreadable(path, error.what))

    def _add(self, kind: str, path: Path, access: Access) -> None:
        old = self.known.get((kind, str(path)), [])
        try:
            declaration = access.declaration(path)
            if not self.recheck and _are_whole(old, declaration):
                self.entries[kind, str(path)] = old
                return
            measured = access.measure(path)
            fingerprint = measured.fingerprint(path, declaration)
            if old and all(entry.fingerprint == fingerprint for entry in old):
                self.entries[kind, str(path)] = old
                self.n_silent = 0
                return
            products = access.read(path, measured)
        except OSError as error:  # a permission can be mended without a trace in sizes and times
            self.add_unreadable(kind, path, access.unreadable(path, _why(error, path)))
            return
        self.n_silent = 0
        self.n_read += len(products)
        self.entries[kind, str(path)] = [
            Entry(product=product, native_id=product.id, path=str(path), fingerprint=fingerprint)
            for product in products
        ]

    def declare(self, folder: Path, files: Iterable[Path], where: str) -> None:
        """Note whose the files are; a ``ConfigError`` if one is another set's: it is read in one way only."""
        for file in files:
            other = self.declared.setdefault(folder / file.name, where)
            if other != where:
                raise ConfigError(
                    f"file {file} belongs to {other} as well",
                    where=f"{where}.pattern",
                    hint="let the patterns tell the files apart, or declare all bands in one of the two",
                )

    def add_unreadable(self, kind: str, path: Path, product: Product) -> None:
        """Add a row for what cannot be read now; it is tried again by the next scan."""
        self._put(kind, path, [product])

    def products(self, kind: str, paths: Iterable[Path]) -> list[Product]:
        """Products at these paths as they were read."""
        return [entry.as_read() for path in paths for entry in self.entries.get((kind, shown(path)), [])]

    def revise(self, kind: str, paths: Iterable[Path], change: Callable[[Product], Product]) -> None:
        """Change what the rows at these paths say, once all of them are known."""
        for key in ((kind, shown(path)) for path in paths):
            self.entries[key] = [replace(entry, product=change(entry.product)) for entry in self.entries[key]]

    def keep(self, kind: str, path: Path) -> bool:
        """Leave the rows of a path as they were, unless it was read in this scan; ``False`` if there were none."""
        old = self.known.get((kind, str(path)))
        if old:
            self.entries.setdefault((kind, str(path)), old)
        return bool(old)

    def keep_below(self, kind: str, folder: Path) -> None:
        """Leave what is known below a folder that does not answer as it was."""
        for path in self._known_below(kind, folder):
            self.keep(kind, path)

    def break_below(self, kind: str, folder: Path, reason: str) -> None:
        """Products known below a folder that cannot be read are broken, not gone."""
        for path in self._known_below(kind, folder):
            old = self.known[kind, str(path)]
            self._put(
                kind, path, [entry.as_read().broken(f"folder {folder} cannot be read ({reason})") for entry in old]
            )

    def _known_below(self, kind: str, folder: Path) -> list[Path]:
        return [Path(path) for known, path in self.known if known == kind and Path(path).is_relative_to(folder)]

    def _put(self, kind: str, path: Path, products: Sequence[Product]) -> None:
        self.n_read += len(products)
        self.entries[kind, str(path)] = [
            Entry(product=product, native_id=product.id, path=str(path), fingerprint="") for product in products
        ]


def _are_whole(entries: Sequence[Entry], declaration: str) -> bool:
    """Whether these rows are of usable products that would be read in the same way again."""
    known = declared(declaration)
    return bool(entries) and all(e.as_read().status == OK and e.fingerprint.endswith(known) for e in entries)


def _why(error: OSError, path: Path) -> str:
    """Reason of a broken row, with the part of the product that is to blame."""
    if isinstance(error, S4cError):
        part = str(error.where or path).removeprefix(str(path)).removeprefix("/")
        return f"{part}: {error.what}" if part else error.what
    blamed = Path(str(error.filename or path))
    inside = f"{shown(blamed.relative_to(path))}: " if blamed != path and blamed.is_relative_to(path) else ""
    return f"{inside}cannot be read ({error.strerror})"
