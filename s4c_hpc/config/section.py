"""What every table of the configuration file is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$")]
"""A name that may stand in a file name; no underscore, which separates the parts of one."""


class Section(BaseModel):
    """A table of the configuration file."""

    # JSON has no NaN: as a text it comes back from the frozen copy of a run as it was.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")
