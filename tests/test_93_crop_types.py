"""From imagery to crop types on real data, with the commands that a person types."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from support.cli import s4c

CHANGES = {
    "features.sets": "['optical']",
    "classify.enabled": "true",
    "classify.classes": "declared",
    "classify.class_min_parcels": "3",
    "classify.trees": "50",
    "classify.folds": "3",
}
"""Settings of the demo's 18 fields: 14 of winter wheat (115), 4 of winter barley (131)."""


@pytest.mark.slow
def test_the_demo_classifies_its_fields(tmp_path: Path) -> None:
    flags = [text for key, value in CHANGES.items() for text in ("--set", f"{key}={value}")]
    done = s4c("demo", "-w", tmp_path / "ws", *flags)
    assert done.returncode == 0, done.stderr
    shown = s4c("classify", "show", "--json", workspace=tmp_path / "ws")
    (found,) = json.loads(shown.stdout).values()
    assert found["parcels"] == found["classified"] == 18
    assert found["roles"] == {"training": 13, "validation": 5}  # three quarters of 14 and of 4
    assert found["classes"] == {"115": "", "131": ""}
    assert found["cross_validation"]["accuracy"] >= 14 / 18, "no worse than calling everything wheat"
    assert not any("Sentinel-2 pixels" in note for note in found["notes"]), "these are counted"
    printed = s4c("markers", "query", "--marker-set", "l4a", workspace=tmp_path / "ws")
    rows = list(csv.DictReader(printed.stdout.splitlines()))
    assert len(rows) == 18
    confirmed = [row["CT_decl"] == row["CT_pred_1"] for row in rows]
    assert sum(confirmed) == sum(row["agreement"] == "first" for row in rows) >= 14
    folder = tmp_path / "ws" / "markers" / "l4a" / "2018"
    assert "ndvi" in (folder / "freising.html").read_text()
    again = s4c("run", *flags, workspace=tmp_path / "ws")
    assert (again.returncode, "everything is up to date" in again.stderr) == (0, True)
    assert s4c("run", workspace=tmp_path / "ws").returncode == 0
    assert not [path for path in folder.rglob("*") if path.is_file()], "what is not asked for any more is removed"
