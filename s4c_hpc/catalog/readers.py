"""The formats that products come in as folders: what a scan asks of each, in a table.

A new format needs its section in ``config.model`` and its templates in the layouts as well; angles of its metadata are
read by ``angle_files``, and classes of a new kind are made by ``optical.classes``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from s4c_hpc.catalog import landsat, maja, safe_s2
from s4c_hpc.catalog.discover import Measure
from s4c_hpc.catalog.model import Product
from s4c_hpc.catalog.safe_layers import BAND_NAMES
from s4c_hpc.config import LandsatSource, MajaSource, Sentinel2Source
from s4c_hpc.config.model import GeoTiffSource, Source
from s4c_hpc.core.grid import Tile

FolderSource = Sentinel2Source | MajaSource | LandsatSource
"""Sources whose products are folders, found by a layout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What a format can do with a folder."""

    noun: str
    """What is looked for, in the plural, for messages."""
    prefixes: tuple[str, ...]
    """How names of its products begin."""
    is_product: Callable[[str], bool]
    """Whether a folder of this name is one of its products."""
    read: Callable[[Path, Measure, Sequence[Tile] | None], Sequence[Product]]
    """The products in a folder: one, or one for each tile that it touches. Broken ones are values; an
    ``OSError`` or ``TemporaryError`` tells that a file could not be read."""
    unreadable: Callable[[Path, str], Product]
    """The row of a folder that cannot even be listed."""
    depends_on_tiles: bool = False
    """Whether ``read`` looks at the tiles: other tiles then make it read again."""


READERS: Mapping[str, Reader] = {
    safe_s2.SOURCE: Reader(
        noun="*.SAFE folders of Sentinel-2",
        prefixes=("S2",),
        is_product=safe_s2.is_product,
        read=lambda folder, measure, _: [safe_s2.read_safe(folder, measure)],
        unreadable=safe_s2.unreadable_safe,
    ),
    maja.SOURCE: Reader(
        noun="products of MAJA",
        prefixes=("SENTINEL2",),
        is_product=maja.is_product,
        read=lambda folder, measure, _: [maja.read_maja(folder, measure)],
        unreadable=maja.unreadable_maja,
    ),
    landsat.SOURCE: Reader(
        noun="scenes of Landsat 8 and 9",
        prefixes=("LC08", "LC09"),
        is_product=landsat.is_product,
        read=landsat.read_landsat,
        unreadable=landsat.unreadable_landsat,
        depends_on_tiles=True,
    ),
}
"""By kind of source."""


def bands_of(sources: Sequence[Source]) -> frozenset[str]:
    """Names of bands that products of these sources can have; all formats but GeoTIFF sets take those of Sentinel-2."""
    declared = [one.bands for one in sources if isinstance(one, GeoTiffSource)]
    folders = [BAND_NAMES] if len(declared) < len(sources) else []
    return frozenset().union(*declared, *folders)
