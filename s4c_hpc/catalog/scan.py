"""Bring the product index up to date with what lies in the sources; only what is new or changed is opened."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from s4c_hpc.catalog import geotiff, landsat
from s4c_hpc.catalog.archive import patience
from s4c_hpc.catalog.discover import check_root, measure_file, measure_folder, shown
from s4c_hpc.catalog.fmask import FmaskFolder
from s4c_hpc.catalog.identity import settle
from s4c_hpc.catalog.index import Entry, read_entries, write_entries
from s4c_hpc.catalog.layout_fields import Wanted
from s4c_hpc.catalog.layout_report import why_nothing
from s4c_hpc.catalog.layout_search import Found, Sought, find_products
from s4c_hpc.catalog.layout_template import Template
from s4c_hpc.catalog.layouts import PLAIN, load_layout, templates_of
from s4c_hpc.catalog.model import BROKEN, OK, SUPERSEDED
from s4c_hpc.catalog.readers import READERS, FolderSource, Reader
from s4c_hpc.catalog.scan_session import Access, Session
from s4c_hpc.config import Config, GeoTiffSource, LandsatSource
from s4c_hpc.core.errors import ConfigError, InputError, listing
from s4c_hpc.core.grid import Tile
from s4c_hpc.core.mgrs import mgrs_tile
from s4c_hpc.core.workspace import Workspace

READER_VERSION = 3
"""Raised when a reader comes to other results: then every product is read again, once."""

_MARGIN = dt.timedelta(days=1)
"""Looked for before and after the season: the day of a folder or name may be that of the datatake's start."""


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
    """Rows that have gone because the product is no longer there, or no longer looked for."""
    looked_in: tuple[str, ...]
    """One sentence a source: what was looked for, where, and how many there were."""
    warnings: tuple[str, ...]
    """What could not be looked into or was left alone, and why."""


def scan(config: Config, workspace: Workspace, tiles: Sequence[Tile] | None = None) -> ScanReport:
    """Search all sources of ``config`` and replace the product index of ``workspace``.

    A product that cannot be used becomes a row with the reason. Finding none is not an error here: the report says
    what was looked for and where, and with a layout what lies there instead.

    Parameters
    ----------
    tiles : those with parcels, if they are known yet: in sources with a layout, products of others are left out

    Raises
    ------
    MissingDataError
        If the folder of a source is not there or cannot be listed; the index stays as it was.
    ConfigError
        If a declared set can never be read: unknown tile, a band number that none of its files has. If two sets
        declare the same file. If there is no such layout, or it has no place for such products.
    TemporaryError
        If an archive does not answer, after as many tries as ``[archive]`` says; the index stays as it was.
    """
    session = Session(recheck=config.archive.recheck)
    if workspace.catalog.exists():
        try:
            session.remember(read_entries(workspace.catalog))
        except InputError as error:
            session.warnings.append(f"the index was not usable and is made anew: {error}")
    with patience(config.archive):
        for number, source in enumerate(config.sources):
            where = f"sources.{number}"
            check_root(source.root, f"{where}.root")
            if isinstance(source, GeoTiffSource):
                tile = geotiff.check_declaration(source, config.grid.tiles, where)
                _scan_geotiff(session, source, tile, where)
            else:
                _scan_folders(session, config, source, tiles, where)
    kinds = list(dict.fromkeys(source.kind for source in config.sources))
    entries = settle(chain.from_iterable(session.entries.values()), kinds)
    write_entries(workspace.catalog, entries)
    return _report(session, entries)


def check_layouts(config: Config) -> None:
    """Raise a ``ConfigError`` if a source names a layout that is not there or has no place for its products."""
    for number, source in enumerate(config.sources):
        if not isinstance(source, GeoTiffSource):
            where = f"sources.{number}.layout"
            templates_of(load_layout(source.layout or PLAIN, where), source.kind, where)


def _scan_folders(
    session: Session, config: Config, source: FolderSource, tiles: Sequence[Tile] | None, where: str
) -> None:
    reader = READERS[source.kind]
    layout = load_layout(source.layout or PLAIN, f"{where}.layout")
    templates = templates_of(layout, source.kind, f"{where}.layout")
    wanted = _wanted(config, source, tiles, is_plain=layout.name == PLAIN)
    found = find_products(source.root, templates, Sought(reader.is_product, reader.prefixes, wanted))
    near = _near(config, source, tiles)
    masks = FmaskFolder.find(source.fmask_root, source.fmask_pattern, where)
    declaration = f"{source.kind} {READER_VERSION}"
    if reader.depends_on_tiles:
        declaration += f" {sorted(map(repr, near))}" if near is not None else " any tile"
    access = Access(
        lambda folder: declaration + masks.declaration(folder.name),
        measure_folder,
        lambda folder, measure: [masks.attach(product) for product in reader.read(folder, measure, near)],
        reader.unreadable,
    )
    for folder in found.folders:
        session.add(source.kind, folder, access)
    session.revise(source.kind, found.folders, masks.unshared(session.products(source.kind, found.folders)))
    session.warnings += masks.report(session.products(source.kind, found.folders))
    for folder, reason in found.unreadable:
        session.warnings.append(f"folder {shown(folder)} cannot be read ({reason}); what is in it was not looked at")
        session.break_below(source.kind, Path(shown(folder)), reason)
    for folder, reason in found.silent:
        session.warnings.append(f"folder {shown(folder)}: {reason}; what the index has of it is kept")
        session.keep_below(source.kind, Path(shown(folder)))
    _tell(session, source, found, reader, templates, wanted, layout.name)
    if isinstance(source, LandsatSource):
        session.looked_in += _serving_no_tile(session, source, found.folders, near)
    if layout.name != PLAIN and wanted.tiles is None and not isinstance(source, LandsatSource):
        session.warnings.append(
            f"{source.root}: it is not known which tiles are needed, so products of all tiles were looked at; import "
            f"the parcels first, or name the tiles in {where}.tiles"
        )


def _near(config: Config, source: FolderSource, tiles: Sequence[Tile] | None) -> Sequence[Tile] | None:
    """Tiles that a scene may belong to; ``None`` for all of the Sentinel-2 grid."""
    if source.tiles:
        return [mgrs_tile(name) for name in source.tiles]
    if tiles is None and config.grid.tiles:
        return [geotiff.own_tile(tile) for tile in config.grid.tiles]
    return tiles


def _wanted(config: Config, source: FolderSource, tiles: Sequence[Tile] | None, *, is_plain: bool) -> Wanted:
    """What is looked for in a source: everything in a plain folder, unless the source says otherwise."""
    scenes = frozenset(source.scenes) if isinstance(source, LandsatSource) and source.scenes else None
    named = frozenset(source.tiles) or None
    if is_plain:
        return Wanted(tiles=named, scenes=scenes)
    if named is None and tiles is not None and not config.grid.tiles:
        named = frozenset(tile.id for tile in tiles)
    days = (config.site.season_start - _MARGIN, config.site.season_end + _MARGIN)
    return Wanted(days=days, tiles=named, scenes=scenes)


def _tell(
    session: Session,
    source: FolderSource,
    found: Found,
    reader: Reader,
    templates: Sequence[Template],
    wanted: Wanted,
    layout: str,
) -> None:
    """Say what was looked for and found, what was left alone, and if nothing was found, why."""
    root = source.root
    if layout == PLAIN:
        looked = f"{reader.noun} at any depth below {root}: {len(found.folders)} found"
    else:
        looked = (
            f"{reader.noun} of {wanted.describe()} in layout {layout} below {root}: {len(found.folders)} found in "
            f"{found.n_listed} folders"
        )
    session.looked_in.append(looked + (f", {found.n_left_out} others left out" if found.n_left_out else ""))
    if found.n_other and source.kind == "sentinel2-l2a":
        session.warnings.append(f"{root}: {found.n_other} SAFE folders of other satellites were left alone")
    if found.refused:
        session.warnings.append(
            f"{root}: {len(found.refused)} folders that are called nearly like {reader.noun} were not taken for such, "
            f"e.g. {shown(Path(min(found.refused)))}"
        )
    if found.n_archives:
        session.warnings.append(f"{root}: {found.n_archives} packed products were left alone; unpack them")
    if layout != PLAIN and not found.folders:
        session.warnings.append(f"layout {layout} is {' or '.join(map(str, templates))}")
        session.warnings += why_nothing(found.dead_ends, wanted)


def _serving_no_tile(
    session: Session, source: LandsatSource, folders: Sequence[Path], near: Sequence[Tile] | None
) -> Iterator[str]:
    """How many healthy scenes are not in the index, or not for all tiles that they touch."""
    if n_elsewhere := sum(not session.products(source.kind, [folder]) for folder in folders):
        yield f"{n_elsewhere} scenes touch no tile of the site in their own UTM zone"
    n_scenes, names = landsat.of_other_zone(session.products(source.kind, folders), near or ())
    if n_scenes:
        yield (
            f"{n_scenes} scenes touch tiles of another UTM zone as well ({listing(names)}), which they cannot serve: "
            "pixels are not resampled"
        )


def _scan_geotiff(session: Session, source: GeoTiffSource, tile: Tile, where: str) -> None:
    declaration = f"{geotiff.SOURCE} {READER_VERSION} {source.model_dump_json()} {tile}"
    files = geotiff.find_geotiffs(source)
    session.declare(source.root.resolve(), files, where)
    access = Access(
        lambda _: declaration,
        measure_file,
        lambda path, measure: [geotiff.read_geotiff(path, measure, source=source, tile=tile)],
        partial(geotiff.unreadable_geotiff, source=source),
    )
    for file in files:
        session.add(geotiff.SOURCE, file, access)
    session.looked_in.append(f"{source.pattern} in {source.root}: {len(files)} found")
    products = session.products(geotiff.SOURCE, files)
    headers_read = [p for p in products if p.status == OK or geotiff.missing_numbers(p)]
    if headers_read and all(geotiff.missing_numbers(p) for p in headers_read):
        raise ConfigError(
            f"{headers_read[0].reason}, and so has every other file in {source.root}",
            where=f"{where}.bands",
            hint="correct the band numbers; they count from 1",
        )


def _report(session: Session, entries: Iterable[Entry]) -> ScanReport:
    products = [entry.product for entry in entries]
    gone = [len(old) - len(session.entries.get(key, ())) for key, old in session.known.items()]
    return ScanReport(
        n_products=len(products),
        n_new=session.n_read,
        n_unchanged=len(products) - session.n_read,
        n_usable=sum(p.status == OK for p in products),
        n_broken=sum(p.status == BROKEN for p in products),
        n_superseded=sum(p.status == SUPERSEDED for p in products),
        n_removed=sum(n for n in gone if n > 0),
        looked_in=tuple(session.looked_in) or ("nowhere: the configuration names no [[sources]]",),
        warnings=tuple(session.warnings),
    )
