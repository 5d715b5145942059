"""``<site>_<tile>.manifest.json`` of the practices product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from s4c_hpc.practices.read import Source
from s4c_hpc.series import manifest


def manifest_text(
    schema: pa.Schema,
    *,
    selection: Mapping[str, Any],
    parcels_version: str,
    n_parcels: int,
    sources: Sequence[Source],
    missing: Sequence[tuple[str, str]],
) -> str:
    """Text of the manifest, see ``series.manifest``."""
    return manifest.manifest_text(
        schema,
        selection=selection,
        parcels_version=parcels_version,
        n_parcels=n_parcels,
        inputs=[(one.acquisition, one.file.header.task) for one in sources],
        missing=missing,
    )
