"""Identity of tasks and inputs: what was asked for, never where or when."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from typing import Any

NAMESPACE = uuid.UUID("6f1f9d0c-5b1e-5c8c-9d0e-2b7a5f0f9a11")
"""Root of every uuid5 that this package makes; changing it re-runs the world."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def task_id(stage: str, version: str, input_keys: Iterable[str], params: str) -> str:
    """Identity of a task: uuid5 of (stage, version, input keys in order, effective parameters of that stage only).

    ``params`` is canonical JSON. Paths, times and host names must not enter either argument.
    """
    return str(uuid.uuid5(NAMESPACE, "\n".join((stage, version, *input_keys, params))))


def short(identity: str) -> str:
    """First 12 hex digits of a task id: enough to keep file names apart within a folder."""
    return identity.replace("-", "")[:12]
