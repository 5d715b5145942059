"""``<site>_<tile>.manifest.json`` of products made of series, in the structure of that of marker files.

Times stand here and not in the product, whose bytes depend on the inputs alone.
"""

from __future__ import annotations

import datetime as dt
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

import pyarrow as pa

from s4c_hpc.series.generation import Acquisition

_FORMAT: Final = 1
"""That of manifests of marker files, whose readers read this one as well."""


def manifest_text(
    schema: pa.Schema,
    *,
    selection: Mapping[str, Any],
    parcels_version: str,
    n_parcels: int,
    inputs: Iterable[tuple[Acquisition, str]],
    missing: Sequence[tuple[str, str]],
) -> str:
    """Text of the manifest.

    Parameters
    ----------
    schema : of the file, whose metadata tell site, tile, period, set and task
    selection : mode and thresholds
    inputs : acquisitions that went in, each with the task that made its series
    missing : products that belong here and are not there, each with the reason
    """
    said = {key.decode(): value.decode() for key, value in schema.metadata.items()}
    values = {
        "site": said["site"],
        "tile": said["tile"],
        "period": said["period"],
        "set": said["set"],
        "selection": selection,
        "task_id": said["task"],
        "parcels_version": parcels_version,
        "n_parcels": n_parcels,
        "inputs": [_input(own, task) for own, task in inputs],
        "missing": [{"product": product, "datetime": None, "reason": reason} for product, reason in missing],
        "columns": {f.name: {k.decode(): v.decode() for k, v in f.metadata.items()} for f in list(schema)[1:]},
        "software": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("s4c-hpc", "numpy", "scipy", "pyarrow")},
        },
        "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "format": _FORMAT,
    }
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def _input(own: Acquisition, task: str) -> dict[str, Any]:
    return {
        "product": own.product,
        "sensor": own.sensor,
        "datetime": own.datetime.isoformat(),
        "series": [{"path": path, "grid": own.grid, "task_id": task} for path in own.layers],
        "note": "",
    }
