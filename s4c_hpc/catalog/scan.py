"""Bring the product index up to date with what lies in the sources; only what is new or changed is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from s4c_hpc.catalog import geotiff, safe_s2
from s4c_hpc.catalog.discover import Measure, check_root, find_safe, measure_file, measure_folder, shown
from s4c_hpc.catalog.identity import settle
from s4c_hpc.catalog.index import Entry, read_entries, write_entries
from s4c_hpc.catalog.model import BROKEN, OK, SUPERSEDED, Product
from s4c_hpc.config import Config, GeoTiffSource, Sentinel2Source
from s4c_hpc.core.errors import ConfigError, InputError
from s4c_hpc.core.grid import Tile
from s4c_hpc.core.workspace import Workspace

READER_VERSION = 2
"""Raised when a reader comes to other results: then every product is read again, once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanReport:
    """What a scan came to. Numbers other than the first three and ``n_removed`` are of the whole index."""

    n_products: int
    """Rows of the index now."""
    n_new: int
    """Read in this scan: not known before, or changed."""
    n_unchanged: int
    """Not opened, because size and times are as they were."""
    n_usable: int
    n_broken: int
    n_superseded: int
    n_removed: int
    """Rows that have gone because the product is no longer there."""
    looked_in: tuple[str, ...]
    """One sentence a source: what was looked for, where, and how many there were."""
    warnings: tuple[str, ...]
    """What could not be looked into or was left alone, and why."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """What a kind of source can do with a path."""

    measure: Callable[[Path], Measure]
    read: Callable[[Path, Measure], Product]
    unreadable: Callable[[Path, str], Product]


@dataclass(slots=True)
class _Session:
    """A scan under way."""

    known: dict[tuple[str, str], Entry]
    """Rows of the index as it was, by kind of source and path."""
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    declared: dict[Path, str] = field(default_factory=dict)
    """Declaration of each GeoTIFF, ``sources.0``."""
    n_read: int = 0
    looked_in: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, kind: str, path: Path, declaration: str, reader: _Reader) -> None:
        """Take a product over from the index if nothing has changed, else read it."""
        if (text := shown(path)) != str(path):
            reason = "its path is not UTF-8; rename the folder or file"
            self.add_unreadable(kind, Path(text), reader.unreadable(Path(text), reason))
            return
        try:
            measured = reader.measure(path)
        except OSError as error:
            self.add_unreadable(kind, path, reader.unreadable(path, _why(error, path)))
            return
        fingerprint = measured.fingerprint(path, declaration)
        old = self.known.get((kind, str(path)))
        if old is not None and old.fingerprint == fingerprint:
            self.entries[kind, str(path)] = old
            return
        product = reader.read(path, measured)
        self.n_read += 1
        self.entries[kind, str(path)] = Entry(
            product=product, native_id=product.id, path=str(path), fingerprint=fingerprint
        )

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
        self.n_read += 1
        self.entries[kind, str(path)] = Entry(product=product, native_id=product.id, path=str(path), fingerprint="")


def scan(config: Config, workspace: Workspace) -> ScanReport:
    """Search all sources of ``config`` and replace the product index of ``workspace``.

    A product that cannot be used becomes a row with the reason. Finding none is not an error here: the report says
    what was looked for and where.

    Raises
    ------
    MissingDataError
        If the folder of a source is not there or cannot be listed; the index stays as it was.
    ConfigError
        If a declared set can never be read: unknown tile, a band number that none of its files has. If two sets
        declare the same file.
    """
    session = _Session(known={})
    if workspace.catalog.exists():
        try:
            session.known = {(e.product.source, e.path): e for e in read_entries(workspace.catalog)}
        except (InputError, KeyError) as error:
            session.warnings.append(f"the index was not usable and is made anew: {error}")
    for number, source in enumerate(config.sources):
        where = f"sources.{number}"
        check_root(source.root, f"{where}.root")
        if isinstance(source, Sentinel2Source):
            _scan_safe(session, source)
        else:
            tile = geotiff.check_declaration(source, config.grid.tiles, where)
            _scan_geotiff(session, source, tile, where)
    entries = settle(session.entries.values())
    write_entries(workspace.catalog, entries)
    return _report(session, entries)


def _why(error: OSError, path: Path) -> str:
    """Reason of a broken row, with the part of the product that is to blame."""
    blamed = Path(str(error.filename or path))
    inside = f"{shown(blamed.relative_to(path))}: " if blamed != path and blamed.is_relative_to(path) else ""
    return f"{inside}cannot be read ({error.strerror})"


def _scan_safe(session: _Session, source: Sentinel2Source) -> None:
    found = find_safe(source.root)
    declaration = f"{safe_s2.SOURCE} {READER_VERSION}"
    reader = _Reader(measure_folder, safe_s2.read_safe, safe_s2.unreadable_safe)
    for folder in found.folders:
        session.add(safe_s2.SOURCE, folder, declaration, reader)
    for folder, reason in found.unreadable:
        session.warnings.append(f"folder {shown(folder)} cannot be read ({reason}); what is in it was not looked at")
        _keep_below(session, Path(shown(folder)), reason)
    looked = f"*.SAFE folders of Sentinel-2 at any depth below {source.root}: {len(found.folders)} found"
    session.looked_in.append(looked)
    if found.n_other:
        session.warnings.append(f"{source.root}: {found.n_other} SAFE folders of other satellites were left alone")
    if found.n_archives:
        session.warnings.append(f"{source.root}: {found.n_archives} packed products were left alone; unpack them")


def _keep_below(session: _Session, folder: Path, reason: str) -> None:
    """Products known below a folder that cannot be read just now are broken, not gone."""
    for (kind, path), entry in session.known.items():
        if kind == safe_s2.SOURCE and Path(path).is_relative_to(folder):
            product = entry.as_read().broken(f"folder {folder} cannot be read ({reason})")
            session.add_unreadable(kind, Path(path), product)


def _scan_geotiff(session: _Session, source: GeoTiffSource, tile: Tile, where: str) -> None:
    declaration = f"{geotiff.SOURCE} {READER_VERSION} {source.model_dump_json()} {tile}"
    files = geotiff.find_geotiffs(source)
    session.declare(source.root.resolve(), files, where)
    reader = _Reader(
        measure_file,
        partial(geotiff.read_geotiff, source=source, tile=tile),
        partial(geotiff.unreadable_geotiff, source=source),
    )
    for file in files:
        session.add(geotiff.SOURCE, file, declaration, reader)
    session.looked_in.append(f"{source.pattern} in {source.root}: {len(files)} found")
    products = [session.entries[geotiff.SOURCE, shown(file)].as_read() for file in files]
    headers_read = [p for p in products if p.status == OK or geotiff.missing_numbers(p)]
    if headers_read and all(geotiff.missing_numbers(p) for p in headers_read):
        raise ConfigError(
            f"{headers_read[0].reason}, and so has every other file in {source.root}",
            where=f"{where}.bands",
            hint="correct the band numbers; they count from 1",
        )


def _report(session: _Session, entries: Iterable[Entry]) -> ScanReport:
    products = [entry.product for entry in entries]
    return ScanReport(
        n_products=len(products),
        n_new=session.n_read,
        n_unchanged=len(products) - session.n_read,
        n_usable=sum(p.status == OK for p in products),
        n_broken=sum(p.status == BROKEN for p in products),
        n_superseded=sum(p.status == SUPERSEDED for p in products),
        n_removed=len(session.known.keys() - session.entries.keys()),
        looked_in=tuple(session.looked_in) or ("nowhere: the configuration names no [[sources]]",),
        warnings=tuple(session.warnings),
    )
