"""JSON Schema of the configuration file, for editors and for people."""

from __future__ import annotations

from typing import Any

from s4c_hpc.config.model import Config


def config_schema() -> dict[str, Any]:
    """Schema of ``s4c.toml`` (JSON Schema 2020-12), with the meaning and default of every key."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
