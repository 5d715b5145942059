"""A layer of polygons as Mapbox Vector Tile 2.1 (https://github.com/mapbox/vector-tile-spec), arrays in, bytes out.

Written here because the libraries there are take a dictionary a feature: for 10 000 polygons a tile, all of them at
once in numpy is what makes tiles on the fly possible.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

Ints = NDArray[np.int64]

EXTENT: Final = 4096
"""Units of a tile's side."""
NONE: Final = -1
"""Of a property: the feature does not have it."""

_MOVE_TO_ONE: Final = 1 << 3 | 1
_LINE_TO: Final = 2
_CLOSE: Final = 1 << 3 | 7
_POLYGON: Final = b"\x18\x03"


def encode(name: str, ids: Ints, shapes: NDArray[np.object_], properties: Mapping[str, Ints]) -> bytes:
    """A tile with one layer; no bytes, which is an empty tile, if nothing is left of the shapes.

    Parameters
    ----------
    ids : (n,) of features, 0 or more
    shapes : (n,) Polygon or MultiPolygon in units of the tile, y down
    properties : by name, (n,) whole numbers of 0 or more, or ``NONE``
    """
    owners, geometries = _geometries(shapes)
    if not owners.size:
        return b""
    values = np.unique(np.concatenate([*(one[owners] for one in properties.values()), np.empty(0, np.int64)]))
    values = values[values != NONE]
    tags = _tags(np.column_stack([one[owners] for one in properties.values()]) if properties else None, values, owners)
    parts = [b"\x78\x02", _sized(0x0A, name.encode())]
    for new_id, tag, geometry in zip(ids[owners].tolist(), tags, geometries, strict=True):
        parts.append(_sized(0x12, b"\x08" + _varint(new_id) + tag + _POLYGON + _sized(0x22, geometry)))
    parts += [_sized(0x1A, key.encode()) for key in properties]
    parts += [_sized(0x22, b"\x28" + _varint(value)) for value in values.tolist()]
    parts.append(b"\x28" + _varint(EXTENT))
    return _sized(0x1A, b"".join(parts))


def _tags(table: Ints | None, values: Ints, owners: Ints) -> list[bytes]:
    """Keys and values of each feature as its field 2; features that are alike share the bytes."""
    if table is None:
        return [b""] * owners.size
    kinds, which = np.unique(table, axis=0, return_inverse=True)
    places = np.searchsorted(values, kinds)
    known = kinds != NONE
    texts = [
        _sized(0x12, b"".join(_varint(k) + _varint(int(places[i, k])) for k in np.flatnonzero(known[i]).tolist()))
        for i in range(len(kinds))
    ]
    return [texts[i] for i in which.ravel().tolist()]


def _geometries(shapes: NDArray[np.object_]) -> tuple[Ints, list[bytes]]:
    """Which shapes have an area in whole units, ascending, and their commands."""
    polygons, of_shape = shapely.get_parts(shapes, return_index=True)
    rings, of_polygon = shapely.get_rings(shapely.orient_polygons(polygons), return_index=True)
    points, of_ring = shapely.get_coordinates(rings, return_index=True)
    xy = np.rint(points).astype(np.int64)
    # Rings are closed: a vertex that equals the one before it in its ring is left out, and so is the first.
    fresh = np.zeros(len(xy), dtype=bool)
    fresh[1:] = (of_ring[1:] == of_ring[:-1]) & (xy[1:] != xy[:-1]).any(axis=1)
    xy, of_ring = xy[fresh], of_ring[fresh]
    enough = np.bincount(of_ring, minlength=len(rings)) >= 3
    keep = enough[of_ring]
    xy, of_ring = xy[keep], of_ring[keep]
    if not len(xy):
        return np.empty(0, np.int64), []
    _, starts, sizes = np.unique(of_ring, return_index=True, return_counts=True)
    owner = of_shape[of_polygon[of_ring]]
    moved = np.diff(xy, axis=0, prepend=0)
    first_of_shape = np.concatenate(([True], owner[1:] != owner[:-1]))
    moved[first_of_shape] = xy[first_of_shape]
    # A ring of k vertices: MoveTo x y, LineTo and k - 1 pairs, ClosePath: 2 k + 3 numbers.
    begins = np.concatenate(([0], np.cumsum(2 * sizes + 3)))
    commands = np.zeros(begins[-1], dtype=np.uint32)
    commands[begins[:-1]] = _MOVE_TO_ONE
    commands[begins[:-1] + 3] = (sizes - 1) << 3 | _LINE_TO
    commands[begins[1:] - 1] = _CLOSE
    nth = np.arange(len(xy)) - np.repeat(starts, sizes)
    at = np.repeat(begins[:-1], sizes) + 1 + 2 * nth + (nth > 0)
    zigzag = (moved << 1 ^ moved >> 63).astype(np.uint32)
    commands[at], commands[at + 1] = zigzag[:, 0], zigzag[:, 1]
    data, offsets = _varints(commands)
    owners, first_ring = np.unique(owner[starts], return_index=True)
    bounds = offsets[np.concatenate((begins[first_ring], begins[-1:]))]
    return owners, [data[a:b] for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]


def _varints(numbers: NDArray[np.uint32]) -> tuple[bytes, Ints]:
    """Numbers as base 128 varints, and where each begins, with the end last."""
    longer_than = [(numbers >= 1 << bits).astype(np.int64) for bits in (7, 14, 21, 28)]
    sizes = np.ones(numbers.size, np.int64) + np.sum(longer_than, axis=0)
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    out = np.zeros(offsets[-1], dtype=np.uint8)
    for i in range(5):
        longer = np.flatnonzero(sizes > i)
        more = np.where(sizes[longer] > i + 1, 0x80, 0)
        out[offsets[longer] + i] = (numbers[longer] >> np.uint32(7 * i) & np.uint32(0x7F)) | more
    return out.tobytes(), offsets


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _sized(tag: int, content: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(content)) + content
