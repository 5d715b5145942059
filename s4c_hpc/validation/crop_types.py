"""Crop types that were found against crops that people know, and the declarations beside them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from s4c_hpc.classify.metrics import Metrics, measure
from s4c_hpc.classify.outputs import SET
from s4c_hpc.core.errors import InputError, NoInputsError, listing
from s4c_hpc.core.ipc import open_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.series.contract import ID


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCrops:
    """Crop types of a season."""

    period: str
    names: Mapping[str, str]
    """Of each class; empty where it has none."""
    first: Mapping[int, str]
    """Most likely class of each parcel; empty where it is not classified."""
    declared: Mapping[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CropValidation:
    """How crop types agree with known ones."""

    period: str
    found: Metrics
    declared: Metrics
    """Of the same parcels, what was declared."""
    left_out: Mapping[str, int]
    """Parcels of the truth by the reason why they were not judged."""
    unknown: Mapping[str, int]
    """Crops of the truth that are no class, with the parcels that have them."""


def found_crops(workspace: Workspace, period: str | None = None) -> FoundCrops:
    """Crop types of a workspace.

    Parameters
    ----------
    period : year of the files; the only one when not given

    Raises
    ------
    NoInputsError
        If nothing was classified.
    InputError
        If there are several seasons and none was chosen.
    """
    home = workspace.markers / SET
    paths = sorted(home.glob(f"{period or '*'}/*.arrow"))
    if not paths:
        raise NoInputsError(
            "there are no crop types" + (f" of {period}" if period else ""),
            where=str(home),
            hint="set classify.enabled = true and run 's4c run'",
        )
    if len(periods := sorted({path.parent.name for path in paths})) > 1:
        raise InputError(
            f"there are crop types of {listing(periods)}", where=str(home), hint="choose one with --period"
        )
    first: dict[int, str] = {}
    declared: dict[int, str] = {}
    names: dict[str, str] = {}
    for path in paths:
        with open_ipc(path) as reader:
            table = reader.read_all()
        names |= json.loads((table.schema.metadata or {}).get(b"classes", b"{}"))
        ids = table[ID].to_pylist()
        first |= dict(zip(ids, table["CT_pred_1"].to_pylist(), strict=True))
        declared |= dict(zip(ids, table["CT_decl"].to_pylist(), strict=True))
    return FoundCrops(period=periods[0], names=names, first=first, declared=declared)


def validated_crops(found: FoundCrops, known: Mapping[str, str], number_of: Mapping[str, int]) -> CropValidation:
    """Judge crop types.

    Parameters
    ----------
    known : a class, or the name of one, by parcel
    number_of : NewID by what the truth calls a parcel

    Raises
    ------
    NoInputsError
        If no parcel of the truth could be judged.
    """
    class_of = {name: code for code, name in found.names.items() if name} | {code: code for code in found.names}
    left: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    rows: list[tuple[str, str, str]] = []
    for parcel, crop in sorted(known.items()):
        number = number_of.get(parcel)
        if number is None:
            left["no such parcel"] += 1
        elif crop not in class_of:
            unknown[crop] += 1
        elif not found.first.get(number):
            left["not classified"] += 1
        else:
            rows.append((class_of[crop], found.first[number], found.declared[number]))
    if not rows:
        reasons = ", ".join(f"{n} {reason}" for reason, n in (left | unknown).items())
        hint = f"check --by; classes are {listing(sorted(class_of))}"
        raise NoInputsError("no parcel of the truth could be judged", where=reasons, hint=hint)
    # What is declared may be a crop that the model does not know.
    classes = tuple(sorted({label for row in rows for label in row}))
    place = {label: i for i, label in enumerate(classes)}
    truth, predicted, declared = (np.array([place[label] for label in column]) for column in zip(*rows, strict=True))
    return CropValidation(
        period=found.period,
        found=measure(truth, predicted, classes),
        declared=measure(truth, declared, classes),
        left_out=dict(left),
        unknown=dict(unknown),
    )
