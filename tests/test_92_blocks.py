"""Blocks of the land register, or last year's declaration, imported first: they make the mask for what follows."""

from __future__ import annotations

from pathlib import Path

import shapely
from support.updates import SIZE_M, TILES, ULX, ULY, Declaration, Site, build_archive, opens, twenty_fields


def blocks() -> Declaration:
    """One block of farmland a tile, nearly as large as the tile."""
    found = Declaration()
    for place in range(len(TILES)):
        west = ULX + place * SIZE_M
        found.parcels[f"BLOCK{place}"] = (
            shapely.box(west + 20, ULY - SIZE_M + 20, west + SIZE_M - 20, ULY - 20),
            "grass",
        )
    return found


def test_blocks_that_were_imported_first_make_the_mask(tmp_path: Path) -> None:
    products = build_archive(tmp_path / "products")
    site = Site(tmp_path / "site", products)
    site.deliver(0)
    site.declare(blocks())
    site.declare(twenty_fields())
    plan = site.plan()
    assert [row["subject"] for row in plan.tasks.to_pylist() if row["stage"] == "mask"] == ["mask", "mask"]
    site.run()

    moved = twenty_fields()
    moved.move("P002", 150, 0)  # beyond the parcels, within its block
    site.declare(moved)
    assert opens(site.plan()) == 0
    site.run()
    alone = Site(tmp_path / "alone", products)
    alone.declare(moved)
    alone.deliver(0)
    alone.run()
    assert site.values("v0003") == alone.values("v0001")
