"""Masks that FMask 4 made of the same acquisitions: found beside the products and attached to them.

FMask names its result after the level 1 product that it was made from:
``L1C_T32UPU_A015929_20180710T104540_Fmask4.tif`` or ``LC08_L1TP_193026_20180710_20200831_02_T1_Fmask4.tif``; whose it
is, is told by tile (or scene) and time.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from s4c_hpc.catalog.archive import is_folder, list_folder, status
from s4c_hpc.catalog.content import add_content
from s4c_hpc.catalog.discover import check_root
from s4c_hpc.catalog.model import OK, Band, Product
from s4c_hpc.catalog.rasters import read_header
from s4c_hpc.core.errors import InputError, MissingDataError
from s4c_hpc.core.grid import TOLERANCE_M, Grid

LAYER: Final = "FMASK"
"""Name of the layer in the index."""

_DIGEST: Final = "fmask:"
"""Begins the part of a product's revision that tells the content of its mask."""

_SENTINEL2 = re.compile(r"(?:^|_)T(?P<tile>\d{2}[C-X][A-Z]{2})(?=[_.]|$)")
_TIME = re.compile(r"(?<!\d)(?P<day>\d{8})[T-](?P<time>\d{6})(?!\d)")
_LANDSAT = re.compile(r"L[COTE]\d{2}_L\w{3}_(?P<scene>\d{6})_(?P<day>\d{8})(?=_)")

_ONE_PASS = dt.timedelta(minutes=50)
"""Products tell the time of their datatake, masks that of their tile; the next orbit is 100 minutes later."""


@dataclass(frozen=True, slots=True)
class _Sight:
    """What a name says of the acquisition."""

    place: str
    """MGRS tile, or WRS-2 path and row."""
    time: dt.datetime
    """UTC; the day's beginning for Landsat."""


@dataclass(slots=True)
class FmaskFolder:
    """The masks below a folder; empty where none is configured."""

    root: Path | None = None
    troubles: list[str] = field(default_factory=list)
    """What could not be used, and why."""
    _files: dict[str, list[tuple[dt.datetime, Path]]] = field(default_factory=lambda: defaultdict(list))
    """By place: time and path."""

    @classmethod
    def find(cls, root: Path | None, pattern: str, where: str) -> FmaskFolder:
        """Search a folder at any depth; the empty one for ``None``.

        Parameters
        ----------
        pattern : of file names, as in a shell
        where : key path of the source, for messages

        Raises
        ------
        MissingDataError
            If the folder is not there or cannot be listed.
        """
        masks = cls(root)
        if root is None:
            return masks
        check_root(root, f"{where}.fmask_root")
        seen: set[tuple[int, int]] = set()
        pending = [root]
        while pending:
            folder = pending.pop()
            try:
                found = status(folder)
                if (found.st_dev, found.st_ino) not in seen:  # a link may lead back
                    seen.add((found.st_dev, found.st_ino))
                    pending += masks._take(folder, pattern)
            except OSError as error:
                masks.troubles.append(
                    f"folder {folder} cannot be read ({error.strerror}); no FMask was looked for in it"
                )
        return masks

    def _take(self, folder: Path, pattern: str) -> list[Path]:
        """Note the masks of one folder; returns the folders in it."""
        inside = []
        for entry in list_folder(folder):
            if is_folder(entry):
                inside.append(folder / entry.name)
            elif fnmatch.fnmatchcase(entry.name, pattern) and (sight := _sight(entry.name)):
                self._files[sight.place].append((sight.time, folder / entry.name))
        return inside

    def declaration(self, name: str) -> str:
        """What decides the mask of a product of this name: equal as long as its candidates are the same.

        Parameters
        ----------
        name : of the product's folder
        """
        sight = _sight(name)
        return "".join(_state(path) for _, path in self._near(sight)) if sight else ""

    def attach(self, product: Product) -> Product:
        """The product with its mask, and the mask's content in its key; as it was where there is none."""
        sight = _sight(product.id)
        if self.root is None or product.status != OK or sight is None:
            return product
        candidates = self._near(replace(sight, time=product.datetime) if _TIME.search(product.id) else sight)
        if not candidates:
            return product
        path = candidates[0][1]
        try:
            return _with_mask(product, path)
        except (InputError, MissingDataError) as error:
            self.troubles.append(f"FMask {path} is left out: {error.what}")
        except OSError as error:
            self.troubles.append(f"FMask {path} is left out: cannot be read ({error.strerror})")
        return product

    @staticmethod
    def unshared(products: Iterable[Product]) -> Callable[[Product], Product]:
        """What takes a mask away from a product if it is that of another acquisition, which is nearer to it in time.

        Of a tile at the seam of two datastrips one mask may be missing; the other one does not cover both parts.
        Several processings of an acquisition, and the tiles of a scene, have one mask together.

        Parameters
        ----------
        products : all of the source, with their masks
        """
        claims: dict[str, tuple[dt.timedelta, str]] = {}
        for product in products:
            mask = product.external_mask
            if mask is not None and (sight := _sight(Path(mask.path).name)):
                claim = (abs(sight.time - product.datetime), product.datatake)
                claims[mask.path] = min(claim, claims.get(mask.path, claim))

        def change(product: Product) -> Product:
            mask = product.external_mask
            if mask is None or mask.path not in claims or claims[mask.path][1] == product.datatake:
                return product
            return replace(product, external_mask=None, revision=_without_mask(product.revision))

        return change

    def report(self, products: Iterable[Product]) -> list[str]:
        """Warnings of a scan: what was left out, and which products have no mask."""
        if self.root is None:
            return []
        usable = [product for product in products if product.status == OK]
        bare = sorted(product.id for product in usable if product.external_mask is None)
        missing = (
            f"{self.root}: {len(bare)} of {len(usable)} products have no FMask there, e.g. {bare[0]}" if bare else ""
        )
        return [*sorted(self.troubles), *([missing] if missing else [])]

    def _near(self, sight: _Sight) -> list[tuple[dt.datetime, Path]]:
        """Masks of one acquisition, the closest in time first; of equal ones the last name, a later processing."""
        found = [(time, path) for time, path in self._files.get(sight.place, []) if abs(time - sight.time) < _ONE_PASS]
        by_name = sorted(found, key=lambda one: one[1].name, reverse=True)
        return sorted(by_name, key=lambda one: abs(one[0] - sight.time))


def _state(path: Path) -> str:
    try:
        found = status(path)
    except OSError:
        return f" {path} cannot be read"
    return f" {path} {found.st_size} {found.st_mtime_ns}"


def _sight(name: str) -> _Sight | None:
    if found := _LANDSAT.search(name):
        return _Sight(found["scene"], _utc(found["day"]))
    tile, time = _SENTINEL2.search(name), _TIME.search(name)
    return _Sight(tile["tile"], _utc(f"{time['day']}T{time['time']}")) if tile and time else None


def _utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def _with_mask(product: Product, path: Path) -> Product:
    header = read_header(path)
    if header.dtypes[0] != "uint8":
        raise InputError(f"its values are {header.dtypes[0]}, not uint8")
    if not any(_share_pixels(header.grid, band.grid) for band in product.bands):
        raise InputError("its pixels are not those of any band of the product")
    digest = hashlib.sha256()
    add_content(digest, path)
    revision = "|".join(part for part in (product.revision, f"{_DIGEST}{digest.hexdigest()[:12]}") if part)
    mask = Band(
        name=LAYER,
        path=str(path),
        index=1,
        grid=header.grid,
        dtype="uint8",
        scale=1.0,
        offset=0.0,
        nodata=None,
    )
    return replace(product, external_mask=mask, revision=revision)


def _without_mask(revision: str) -> str:
    return "|".join(part for part in revision.split("|") if not part.startswith(_DIGEST))


def _share_pixels(one: Grid, other: Grid) -> bool:
    beside = [abs(d / one.res_m - round(d / one.res_m)) for d in (one.ulx - other.ulx, one.uly - other.uly)]
    return one.crs == other.crs and abs(one.res_m - other.res_m) < TOLERANCE_M and max(beside) * one.res_m < TOLERANCE_M
