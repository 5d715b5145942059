"""What is written of a classification: a file a tile, accuracies and confusions of the site."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.classify.lights import rule_text
from s4c_hpc.classify.metrics import counts
from s4c_hpc.classify.selection import WORDS, Reason
from s4c_hpc.classify.site import Classified
from s4c_hpc.config.classify import Classify
from s4c_hpc.markers.merge import BATCH_ROWS
from s4c_hpc.series.contract import ID

CONTRACT: Final = "s4c-crops-1"
"""Changes when the meaning of columns or metadata changes."""

SET: Final = "l4a"
"""The marker set of these files."""

_ROLE: Final = (
    "training, related: judged by a model of the cross-validation that did not see the parcel, or by the saved model "
    "that it taught; validation, predicted: judged by a model that did not see it; none: not classified"
)

_COLUMNS: Final[dict[str, tuple[pa.DataType, str]]] = {
    "CT_decl": (pa.string(), "Declared class; empty where there is none"),
    "CT_pred_1": (pa.string(), "Most likely class; empty where the parcel is not classified"),
    "CT_conf_1": (pa.float32(), "Its probability, 0 to 1"),
    "CT_pred_2": (pa.string(), "Second class"),
    "CT_conf_2": (pa.float32(), "Its probability, 0 to 1"),
    "role": (pa.string(), _ROLE),
    "reason": (pa.string(), "Why the parcel neither teaches nor validates; empty if it does"),
    "agreement": (pa.string(), "Declared class among the predicted ones: first, second, other, none (cannot be told)"),
    "light": (pa.string(), "Check of the declaration: green, yellow, red, grey"),
}


_RULES: Final = {
    "CT_decl": "classify.class_column of the crop table for the declared code",
    "CT_pred_1": "class with the highest probability of a model that did not see the parcel",
    "CT_conf_1": "share of the model's votes",
    "CT_pred_2": "class with the second highest probability",
    "CT_conf_2": "share of the model's votes",
    "reason": "Sen4CAP's selection: geometry, pixels, land cover, size of the class",
    "light": "classify.lights: green_from and red_from against CT_conf_1",
}
"""What decides a column."""


def crop_schema(metadata: Mapping[str, str]) -> pa.Schema:
    """Schema of the file of a tile."""
    first = pa.field(ID, pa.int32(), nullable=False, metadata={"long_name": "Parcel", "unit": ""})
    fields = [
        pa.field(
            name,
            kind,
            nullable=False,
            metadata={
                "long_name": text,
                "unit": "1" if kind == pa.float32() else "",
                "missing": _missing(kind),
                **({"rule": _RULES[name]} if name in _RULES else {}),
            },
        )
        for name, (kind, text) in _COLUMNS.items()
    ]
    return pa.schema([first, *fields], metadata=dict(metadata))


def crop_batches(found: Classified, tile: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Record batches of the parcels of a tile, by NewID."""
    rows = np.flatnonzero(found.declared.tile == tile)
    columns: dict[str, NDArray[Any]] = {
        ID: found.declared.new_id,
        "CT_decl": found.declared.label,
        "CT_pred_1": found.first,
        "CT_conf_1": found.first_confidence,
        "CT_pred_2": found.second,
        "CT_conf_2": found.second_confidence,
        "role": found.role,
        "reason": found.reason,
        "agreement": found.agreed,
        "light": found.light,
    }
    for start in range(0, rows.size, BATCH_ROWS):
        mine = rows[start : start + BATCH_ROWS]
        # From pandas would take NaN for null: in these files it stays NaN.
        arrays = [pa.array(columns[f.name][mine], f.type, from_pandas=False) for f in schema]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def crop_metadata(found: Classified, names: Mapping[str, str], config: Classify, **header: str) -> dict[str, str]:
    """Metadata of the file of a tile.

    Parameters
    ----------
    header : model, site, tile, period, parcels, task
    """
    reasons = [Reason(r) for r in counts(found.reason) if r]
    return {
        "contract": CONTRACT,
        "set": SET,
        **header,
        "light_rule": rule_text(config.lights),
        "classes": json.dumps({c: names.get(c, "") for c in found.classes}, ensure_ascii=False),
        "reasons": json.dumps({r.value: WORDS[r] for r in reasons}),
    }


def accuracy_json(found: Classified, names: Mapping[str, str], config: Classify) -> dict[str, Any]:
    """All that is measured, for programs."""
    values: dict[str, Any] = {
        "contract": CONTRACT,
        "parcels": int(found.declared.new_id.size),
        "classified": int((found.first != "").sum()),
        "roles": counts(found.role),
        "reasons": {key: n for key, n in counts(found.reason).items() if key},
        "lights": counts(found.light),
        "light_rule": rule_text(config.lights),
        "classes": {c: names.get(c, "") for c in found.classes},
        "too_small": found.small,
    }
    for key, by_folds in (("validation", False), ("cross_validation", True)):
        metrics, reliable = found.accuracy(by_folds=by_folds)
        values[key] = None
        if metrics.n:
            values[key] = {**metrics.to_json(config.seed), "calibration": reliable.to_json()}
            weights = weights_of(found, config)
            if weights is not None:
                weighted, _ = found.accuracy(by_folds=by_folds, weights=weights)
                values[key]["weighted"] = {"by": config.weights, **weighted.to_json()}
    values["strata"] = {
        one.name: {"classes": list(one.classes), "taught": one.n_taught, "made_up": one.n_made_up}
        for one in found.strata
    }
    values["notes"] = list(found.notes)
    values["config"] = settings(config)
    return values


def weights_of(found: Classified, config: Classify) -> NDArray[np.float64] | None:
    """(n,) what parcels count by in the second table of accuracies; ``None``: there is none."""
    if config.weights == "area":
        return np.nan_to_num(found.declared.area_m2)
    if config.weights == "pixels" and found.s2_pixels is not None:
        return np.nan_to_num(found.s2_pixels.astype(np.float64))
    return None


def confusion_csv(found: Classified, names: Mapping[str, str]) -> str:
    """Confusion matrices: a row a declared class, a column a predicted one."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["by", "declared", "name", *found.classes])
    for key, by_folds in (("validation", False), ("cross-validation", True)):
        metrics, _ = found.accuracy(by_folds=by_folds)
        if metrics.n:
            for name, row in zip(found.classes, metrics.confusion, strict=True):
                writer.writerow([key, name, names.get(name, ""), *(int(n) for n in row)])
    return out.getvalue()


def settings(config: Classify) -> dict[str, Any]:
    """Settings that decide results; a path is where something lies, not what it is."""
    return config.model_dump(mode="json", exclude={"enabled", "cores", "model_file"})


def _missing(kind: pa.DataType) -> str:
    return "NaN" if pa.types.is_floating(kind) else ""
