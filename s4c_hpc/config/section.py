"""What every table of the configuration file is made of."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$")]
"""A name that may stand in a file name; no underscore, which separates the parts of one."""


def _day_of_the_year(text: str) -> str:
    try:
        dt.date.fromisoformat(f"2000-{text}")
    except ValueError as error:
        raise ValueError(f"{text!r} is no day such as 07-15") from error
    return text


DayOfYear = Annotated[str, Field(pattern=r"^\d\d-\d\d$"), AfterValidator(_day_of_the_year)]
"""A month and a day, ``07-15``."""


class Section(BaseModel):
    """A table of the configuration file."""

    # JSON has no NaN: as a text it comes back from the frozen copy of a run as it was.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")
