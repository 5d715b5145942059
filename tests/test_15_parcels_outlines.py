"""Outlines as WKB: what goes in comes out, in memory and from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from support.parcels import squares

from s4c_hpc.parcels import outlines as module
from s4c_hpc.parcels.outlines import Outlines, Spool

GEOMETRY = np.array(
    [*squares(5), None, shapely.Polygon(), shapely.MultiPolygon([shapely.box(0, 0, 1, 1)])], dtype=object
)


def same(outlines: Outlines, geometry: np.ndarray) -> bool:
    return list(outlines.wkb()) == list(shapely.to_wkb(geometry))


@pytest.mark.parametrize("in_memory", [0, 1 << 20])
def test_what_goes_in_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int) -> None:
    monkeypatch.setattr(module, "_IN_MEMORY_BYTES", in_memory)
    with Spool(tmp_path) as spool:
        spool.append(GEOMETRY[:3])
        spool.append(GEOMETRY[3:])
        outlines = spool.outlines()
    assert not any(tmp_path.iterdir())
    assert same(outlines, GEOMETRY)
    assert outlines.missing.tolist() == [g is None for g in GEOMETRY]
    assert [(r.start, r.stop) for r, _ in outlines.batches(3)] == [(0, 3), (3, 6), (6, 8)]


def test_rows_are_taken_replaced_and_joined() -> None:
    outlines = Outlines.of(GEOMETRY)
    order = np.array([7, 5, 0])
    assert same(outlines.taken(order), GEOMETRY[order])
    changed = outlines.replaced(np.array([0, 5, 1]), np.array([None, GEOMETRY[2], GEOMETRY[7]], dtype=object))
    expected = GEOMETRY.copy()
    expected[[0, 5, 1]] = None, GEOMETRY[2], GEOMETRY[7]
    assert same(changed, expected)
    assert same(Outlines.concat([changed, outlines]), np.concatenate([expected, GEOMETRY]))
    assert same(Outlines.concat([]), np.empty(0, object))
    moved = outlines.mapped(lambda g: shapely.transform(g, lambda xy: xy + 1))
    assert moved[:1][0].bounds == tuple(v + 1 for v in GEOMETRY[0].bounds)
