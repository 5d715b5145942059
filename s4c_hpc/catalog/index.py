"""``products.parquet``: one row a product, in the columns of stac-geoparquet and a few of our own (``s4c:``).

Columns follow STAC 1.1 and its extensions eo, grid, projection, raster, sat and the columns ``s2:`` of the Sentinel-2
extension; the file is GeoParquet 1.1. The same products give the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from s4c_hpc.catalog.model import OK, SUPERSEDED, Product
from s4c_hpc.catalog.stac import ASSET_FIELDS, FIXED_COLUMNS, asset_type, geo_metadata, product_of, row_of
from s4c_hpc.core.atomic import replacing
from s4c_hpc.core.errors import InputError, MissingDataError

_HINT = "run 's4c catalog scan'"
_ROWS_A_GROUP = 1024
"""Rows that are decoded together: rows are sorted by tile, so that those of a tile are found without all others."""
_COLUMNS = frozenset({field.name for field in FIXED_COLUMNS} | {"assets", "s4c:native_id", "s4c:path"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A product and how the scan came by it."""

    product: Product
    native_id: str
    """Its id before it had to be told from another one with the same."""
    path: str
    """Folder or file, absolute."""
    fingerprint: str
    """See ``discover.Measure.fingerprint``; empty if it is to be read again in any case."""

    def as_read(self) -> Product:
        """The product as its files alone make it, before it was compared with others."""
        if self.product.status == SUPERSEDED:
            return replace(self.product, id=self.native_id, status=OK, reason="")
        return replace(self.product, id=self.native_id)


def write_entries(path: Path, entries: Iterable[Entry]) -> None:
    """Replace the index at ``path``, whole or not at all; rows sorted by tile, acquisition and id."""
    ordered = sorted(entries, key=lambda e: (e.product.tile, e.product.datetime, e.product.id))
    rows = [
        {
            **row_of(entry.product),
            "s4c:native_id": entry.native_id,
            "s4c:path": entry.path,
            "s4c:fingerprint": entry.fingerprint,
        }
        for entry in ordered
    ]
    schema = pa.schema(
        [
            *FIXED_COLUMNS,
            pa.field("assets", asset_type(entry.product for entry in ordered)),
            pa.field("s4c:native_id", pa.string()),
            pa.field("s4c:path", pa.string()),
            pa.field("s4c:fingerprint", pa.string()),
        ],
        metadata=geo_metadata(entry.product for entry in ordered),
    )
    table = pa.Table.from_pylist(rows, schema=schema)
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", compression_level=3, row_group_size=_ROWS_A_GROUP)


def read_entries(path: Path) -> list[Entry]:
    """Every row of the index with what the scan keeps of it."""
    return [
        Entry(
            product=product_of(row),
            native_id=row["s4c:native_id"],
            path=row["s4c:path"],
            fingerprint=row["s4c:fingerprint"],
        )
        for row in products_table(path).to_pylist()
    ]


def products_table(path: Path) -> pa.Table:
    """The index as an Arrow table.

    Raises
    ------
    MissingDataError
        If there is no index yet.
    InputError
        If the file is not one, or was made by a version that kept less.
    """
    return _read(path, None)


def read_products(path: Path) -> list[Product]:
    """Every product of the index, broken and superseded ones too, by tile, acquisition and id."""
    return [product_of(row) for row in products_table(path).to_pylist()]


def load_product(path: Path, product_id: str) -> Product:
    """One product of the index; an ``InputError`` if it is not there. Cached as long as the file is the same."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise MissingDataError("there is no product index", where=str(path), hint=_HINT) from error
    return _load(path, product_id, (status.st_mtime_ns, status.st_ino, status.st_size))


def load_products(path: Path, tile: str, product_ids: Collection[str]) -> dict[str, Product]:
    """Products of a tile by id, in one look at the index.

    Raises
    ------
    MissingDataError, InputError
        If there is no index, or one of them is not in it.
    """
    if not product_ids:
        return {}
    table = _read(path, [("s4c:tile", "==", tile), ("id", "in", set(product_ids))])
    found = {row["id"]: product_of(row) for row in table.to_pylist()}
    if missing := sorted(set(product_ids) - set(found)):
        raise InputError(f"holds no product {missing[0]} of tile {tile}", where=str(path), hint=_HINT)
    return found


@lru_cache(maxsize=256)
def _load(path: Path, product_id: str, _version: tuple[int, int, int]) -> Product:
    rows = _read(path, [("id", "==", product_id)]).to_pylist()
    if not rows:
        raise InputError(f"holds no product {product_id}", where=str(path), hint=_HINT)
    return product_of(rows[0])


def _read(path: Path, filters: list[tuple[str, str, Any]] | None) -> pa.Table:
    try:
        table = pq.read_table(path, filters=filters, partitioning=None)
    except FileNotFoundError as error:
        raise MissingDataError("there is no product index", where=str(path), hint=_HINT) from error
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"is not a whole Parquet file ({error})", where=str(path), hint=_HINT) from error
    if "s4c:fingerprint" not in table.column_names:
        raise InputError("is not a product index", where=str(path), hint=_HINT)
    if not _is_current(table.schema):
        raise InputError("the index was made by another version", where=str(path), hint=_HINT)
    return table


def _is_current(schema: pa.Schema) -> bool:
    """Whether an index has all that products are made of."""
    if not _COLUMNS.issubset(schema.names):
        return False
    return all(ASSET_FIELDS.issubset(field.name for field in layer.type) for layer in schema.field("assets").type)
