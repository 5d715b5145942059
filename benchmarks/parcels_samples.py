"""``python -m benchmarks.parcels_samples [FOLDER]``: every file of a folder of declarations -> what becomes of it.

The folder is ``../shared/data/lpis-samples-fiboa``, raw files of some twenty countries and regions. Where a file holds
several layers each is read. Files of codes beside them (CSV) are tables without a geometry and say so.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pyogrio

from s4c_hpc.config.model import Parcels
from s4c_hpc.core.errors import S4cError
from s4c_hpc.parcels.check import check
from s4c_hpc.parcels.read import read_layer
from s4c_hpc.parcels.read_container import container

DATA = Path(__file__).parents[2] / "shared" / "data"
_BESIDE = {".md", ".txt", ".gfs"}


def rows(folder: Path) -> list[dict[str, Any]]:
    """One row a layer of every file, sorted by name."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix.lower() not in _BESIDE]
    return [row for file in files for row in _of(file, str(file.relative_to(folder)))]


def _of(file: Path, name: str) -> list[dict[str, Any]]:
    try:
        return [_read(file, name, None)]
    except S4cError as error:
        layers = _layers(file) if "layers" in error.what and "there are" in error.what else []
        refused = {"file": name, "layer": "", "result": f"{error.what}; {error.hint}"}
    found = [refused]
    for layer in layers:
        try:
            found.append(_read(file, name, layer))
        except S4cError as error:
            found.append({"file": name, "layer": layer, "result": f"{error.what}; {error.hint}"})
    return found


def _layers(file: Path) -> list[str]:
    with container(file) as held:
        return [str(layer) for layer, kind in pyogrio.list_layers(held.dataset) if kind is not None]


def _read(file: Path, name: str, layer: str | None) -> dict[str, Any]:
    found = check(read_layer(file, layer), Parcels())
    named = {f.name: f.n for f in found.findings if f.n} | {"pairs": len(found.overlaps.pairs)}
    return {
        "file": name,
        "layer": found.layer,
        "result": "imports",
        "features": found.n,
        "usable": found.n_usable,
        "crs": found.crs.to_string(),
        "tiles": ", ".join(found.tiles),
        "findings": ", ".join(f"{key} {n}" for key, n in named.items() if n) or "none",
    }


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(prog="benchmarks.parcels_samples", description="What becomes of every file.")
    parser.add_argument("folder", nargs="?", type=Path, default=DATA / "lpis-samples-fiboa")
    folder = parser.parse_args().folder
    if not folder.is_dir():
        sys.exit(f"skipped: there is no folder {folder}; the samples are not part of this repository")
    print(
        "| file | layer | features (usable) | CRS | tiles | findings, or why it is refused |\n|---|---|---|---|---|---|"
    )
    for row in rows(folder):
        if row["result"] == "imports":
            features = f"{row['features']} ({row['usable']})"
            print(
                f"| {row['file']} | {row['layer']} | {features} | {row['crs']} | {row['tiles']} | {row['findings']} |"
            )
        else:
            print(f"| {row['file']} | {row['layer']} | - | - | - | {row['result']} |")


if __name__ == "__main__":
    main()
