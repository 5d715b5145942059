"""How a table of values from elsewhere is read: the mapping file of ``s4c series import --config``."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from s4c_hpc.config.load import explain
from s4c_hpc.config.model import VariableName
from s4c_hpc.config.section import Section
from s4c_hpc.core.errors import ConfigError, MissingDataError

DATE: Final = "{date}"
"""Stands in the name of a column of a wide table for the date."""

_WITH_YEAR: Final = re.compile(r"%[YyGcxDF]")
"""Directives of a date format that tell a year."""


class Form(StrEnum):
    """How a table is laid out."""

    LONG = "long"
    """A row a parcel and date, or a parcel, date and variable."""
    WIDE = "wide"
    """A row a parcel, a column a date and variable."""


def _not_reserved(name: str) -> str:
    if name.startswith("sen4cap-"):
        raise ValueError(f"{name!r}: names that begin with sen4cap- are those of imported marker files")
    return name


ImportName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$"), AfterValidator(_not_reserved)]
"""Name of an import: a folder, and what stands for the grid of its series, so no number comes first."""


def _with_date(pattern: str | None) -> str | None:
    if pattern is not None and pattern.count("{") + pattern.count("}") not in {0, 2}:
        raise ValueError(f"{pattern!r} has other braces than those of one {DATE}")
    if pattern is not None and "{" in pattern and DATE not in pattern:
        raise ValueError(f"{pattern!r} has braces, but only {DATE} has a meaning")
    return pattern


def _readable(form: str) -> str:
    a_day = dt.datetime(2000, 12, 30)  # noqa: DTZ001 - a day
    if "%" not in form:
        raise ValueError(f"{form!r} has no directive such as %Y")
    has_year = "%Y" in form or "%y" in form
    text, full = (a_day.strftime(form), form) if has_year else (f"2000 {a_day.strftime(form)}", f"%Y {form}")
    try:
        read = dt.datetime.strptime(text, full)  # noqa: DTZ007 - a day
    except ValueError as error:
        raise ValueError(f"{form!r} is no form of dates ({error})") from error
    if (read.month, read.day) != (a_day.month, a_day.day):
        raise ValueError(f"{form!r} does not tell the day: a week or a month is none")
    return form


ColumnName = Annotated[str, Field(min_length=1), AfterValidator(_with_date)]
"""Name of a column; of a wide table with ``{date}`` in it."""


class ImportedVariable(Section):
    """A variable of the table."""

    column: ColumnName | None = Field(
        None, description="Column of its values; in a wide table a pattern with {date} in it, ndvi_doy{date}."
    )
    label: str | None = Field(
        None, description="What the column named by 'variable' calls it; by default as it is called here."
    )
    stdev: ColumnName | None = Field(None, description="Column (pattern) of its standard deviation over the parcel.")
    count: ColumnName | None = Field(None, description="Column (pattern) of the number of pixels that it stands on.")
    scale: float = Field(1.0, description="Stored values are multiplied by this; standard deviations as well.")
    offset: float = Field(0.0, description="Added to scaled values.")
    nodata: tuple[float, ...] = Field((), description="Stored values that mean that there is none.")
    unit: str = Field("1", description="Unit of scaled values; 1 for a number without one, dB for decibels.")
    long_name: str = Field("", description="What it is, for people; by default its name.")

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Statistic and column (pattern) of each that is named."""
        named = (("mean", self.column), ("stdev", self.stdev), ("count", self.count))
        return tuple((statistic, column) for statistic, column in named if column is not None)


class ImportMapping(Section):
    """Where in a table from elsewhere parcels, dates and values are."""

    name: ImportName = Field(description="Name of the import; importing again under the same name replaces it.")
    sensor: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")] = Field(
        description="What measured: s2, l8, s1, modis ...; stands in the names of features."
    )
    form: Form = Field(description="long: a row a parcel and date; wide: a row a parcel, columns by date.")
    parcel: str = Field(description="Column with the parcels.")
    match: str = Field(
        "ori_id",
        description="What it holds: ori_id (ids of the declaration), NewID, row (number of the row in the "
        "declaration's file), or the name of another column of the imported parcels whose values all differ.",
    )
    first_row: int = Field(0, ge=0, le=1, description="Number of the first row, for match = row.")
    date: str | None = Field(None, description="Column with dates, of a long table.")
    date_format: Annotated[str, AfterValidator(_readable)] = Field(
        "%Y-%m-%d",
        description="Form of dates as of strptime: %Y-%m-%d, %d.%m.%Y, %j for the day of the year. Not used for "
        "columns that are dates already.",
    )
    year: int | None = Field(None, ge=1900, le=2200, description="Year of dates that tell none.")
    year_column: str | None = Field(None, description="Column of the table with the year of each row.")
    parcel_year_column: str | None = Field(
        None, description="Column of the imported parcels with the year of each parcel."
    )
    season_year: int | None = Field(
        None,
        ge=1900,
        le=2200,
        description="Move the years of all rows onto this one, day of the year by day of the year, so that parcels "
        "that were observed in different years make one season.",
    )
    variable: str | None = Field(
        None, description="Column that names the variable, of a long table with a value a row."
    )
    value: str | None = Field(None, description="Column of values, with 'variable'.")
    stdev: str | None = Field(None, description="Column of standard deviations, with 'variable'.")
    count: str | None = Field(
        None,
        description="Column with the number of pixels: of the variable, with 'variable'; else of the row (n_valid).",
    )
    orbit_direction: Literal["ascending", "descending"] | None = Field(
        None, description="Pass of all rows: makes them radar."
    )
    pass_column: str | None = Field(
        None, description="Column with the pass of each row: ascending, ASC, A, descending, DESC, D."
    )
    orbit_column: str | None = Field(None, description="Column with the relative orbit of each row.")
    missing: tuple[str, ...] = Field(
        ("NA", "N/A", "NaN", "nan", "null", "NULL", "None"),
        description="Texts that mean that there is no value, beside nothing at all.",
    )
    delimiter: str = Field(",", min_length=1, max_length=1, description="Between columns of a CSV file.")
    decimal_point: str = Field(".", min_length=1, max_length=1, description="Of numbers in a CSV file.")
    variables: dict[VariableName, ImportedVariable] = Field(
        min_length=1, description="Variables by the name that they shall have."
    )

    @model_validator(mode="after")
    def _whole(self) -> ImportMapping:
        for rule in (_form_of, _years_of, _columns_of):
            if problem := rule(self):
                raise ValueError(problem)
        return self

    @property
    def has_year(self) -> bool:
        """Whether dates tell their year."""
        return _WITH_YEAR.search(self.date_format) is not None

    @property
    def label_of(self) -> dict[str, str]:
        """Variable by what the table calls it, of a table with a column that names the variable."""
        return {one.label or name: name for name, one in self.variables.items()}


def load_mapping(path: Path) -> ImportMapping:
    """Read a mapping file.

    Raises
    ------
    MissingDataError
        If there is none.
    ConfigError
        If it is not a whole mapping, with the key and, for an unknown one, the nearest that there is.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingDataError("no such mapping file", where=str(path), hint="check --config") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot be read as TOML ({error})", where=str(path)) from error
    try:
        return ImportMapping.model_validate(values)
    except ValidationError as error:
        raise ConfigError(
            explain(error, {}, str(path), ImportMapping), hint="configs/imports holds mappings that work"
        ) from error


def _form_of(mapping: ImportMapping) -> str:
    """What is wrong between the form of a table and its columns; empty if nothing is."""
    long_only = ("date", "variable", "value", "stdev", "count")
    given = [key for key in long_only if getattr(mapping, key) is not None]
    if mapping.form is Form.WIDE:
        return f"a wide table has no column {given[0]!r}: give columns of each variable" if given else ""
    if mapping.date is None:
        return "a long table needs 'date', the column with dates"
    if (mapping.variable is None) != (mapping.value is None):
        return "'variable' and 'value' belong together: give both or none"
    if mapping.variable is None and mapping.stdev is not None:
        return "'stdev' of all variables needs 'variable' and 'value'; else give it to each variable"
    return ""


def _years_of(mapping: ImportMapping) -> str:
    named = [key for key in ("year", "year_column", "parcel_year_column") if getattr(mapping, key) is not None]
    if len(named) > 1:
        return f"the year is told by {named[0]!r} and by {named[1]!r}: give one"
    if not named and not mapping.has_year:
        return f"date_format {mapping.date_format!r} has no year: give year, year_column or parcel_year_column"
    if not named and mapping.season_year is not None:
        return "season_year needs the year that each row belongs to: give year, year_column or parcel_year_column"
    if named and mapping.has_year and mapping.season_year is None:
        return f"dates tell their year already: {named[0]!r} has a meaning with season_year only"
    return ""


def _columns_of(mapping: ImportMapping) -> str:
    if mapping.orbit_direction is not None and mapping.pass_column is not None:
        return "the pass is told by 'orbit_direction' and by 'pass_column': give one"
    if len(mapping.label_of) < len(mapping.variables):
        return "two variables have the same label"
    for name, variable in mapping.variables.items():
        if mapping.variable is not None:
            if variable.columns:
                return f"variables.{name}: values are in {mapping.value!r}, so no column of its own"
            continue
        if variable.column is None:
            return f"variables.{name}: key 'column' is missing"
        for _, column in variable.columns:
            if (DATE in column) != (mapping.form is Form.WIDE):
                wanted = "needs" if mapping.form is Form.WIDE else "cannot have"
                return f"variables.{name}: {column!r} {wanted} {DATE}, for the table is {mapping.form.value}"
    return ""
