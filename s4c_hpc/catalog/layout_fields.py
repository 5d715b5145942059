"""What stands in curly brackets in a path template, and what it tells of the products below a folder.

The same fields are read from names of folders and from names of products, so that both can be left out alike when
they are of another season, tile or scene than what is looked for.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

PRODUCT: Final = "product"
ANY: Final = "any"

FIELDS: Final[Mapping[str, str]] = {
    "year": r"\d{4}",
    "month": r"\d{1,2}",
    "day": r"\d{1,2}",
    "doy": r"\d{3}",
    "quarter": r"[1-4]",
    "tile": r"\d{2}[C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V]",
    "utm": r"\d{1,2}",
    "lat_band": r"[C-HJ-NP-X]",
    "square": r"[A-HJ-NP-Z][A-HJ-NP-V]",
    "path": r"\d{3}",
    "row": r"\d{3}",
    "platform": r"[A-Za-z0-9-]+",
    PRODUCT: r".+",
    ANY: r".+",
}
"""Regular expression of each field. Months, days and zones may be written with or without a leading zero."""

MEANINGS: Final[Mapping[str, str]] = {
    "year": "year of the acquisition, four digits",
    "month": "its month, 1 to 12",
    "day": "its day, 1 to 31",
    "doy": "its day of the year, 001 to 366",
    "quarter": "its quarter, 1 to 4",
    "tile": "MGRS tile without T, e.g. 32UPU",
    "utm": "zone of the tile, e.g. 32",
    "lat_band": "latitude band of the tile, e.g. U",
    "square": "100 km square of the tile, e.g. PU",
    "path": "WRS-2 path, three digits",
    "row": "WRS-2 row, three digits",
    "platform": "satellite, e.g. S2A",
    PRODUCT: "name of the product",
    ANY: "any one folder",
}
"""For people, in the order of ``FIELDS``."""

_NUMBERS: Final = frozenset({"year", "month", "day", "doy", "quarter", "utm", "path", "row"})

_SENTINEL2 = re.compile(
    r"(?P<platform>S2[A-Z]|SENTINEL2[A-Z])_(?:MSI[A-Z0-9]+_)?(?P<date>\d{8})[T-].*?_T(?P<tile>\d{2}[C-X][A-Z]{2})(?=[_.]|$)"
)
_LANDSAT = re.compile(r"(?P<platform>L[A-Z]\d{2})_[A-Z0-9]+_(?P<path>\d{3})(?P<row>\d{3})_(?P<date>\d{8})(?=_|$)")

Fields = Mapping[str, str]
"""Text by field."""


def comparable(field: str, text: str) -> str:
    """The value of a field in the one form that it is compared in."""
    return str(int(text)) if field in _NUMBERS else text.upper() if field not in {PRODUCT, "platform"} else text


def fields_of_name(name: str) -> dict[str, str]:
    """What a product's name tells of it; empty if it is of none of the known forms.

    Source: Sentinel-2 Products Specification Document (naming since 2016), MUSCATE format of Theia, Landsat
    Collection 2 product identifiers (LSDS-1619).
    """
    found = _SENTINEL2.match(name) or _LANDSAT.match(name)
    if found is None:
        return {}
    date = found["date"]
    written = {**found.groupdict(), "year": date[:4], "month": date[4:6], "day": date[6:]}
    return as_fields({field: text for field, text in written.items() if field in FIELDS})


def as_fields(written: Fields) -> dict[str, str]:
    """Fields in the form that they are compared in; a tile gives its parts as well."""
    found = {field: comparable(field, text) for field, text in written.items()}
    return {**(parts_of_tile(found["tile"]) if "tile" in found else {}), **found}


def together(known: Fields, more: Fields) -> dict[str, str] | None:
    """Fields of two parts of a path; ``None`` if they contradict each other, as 2020 in a folder of 2019 does."""
    if any(known.get(field, value) != value for field, value in more.items() if field != ANY):
        return None
    return {**known, **{field: value for field, value in more.items() if field != ANY}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is looked for; ``None`` stands for everything."""

    days: tuple[dt.date, dt.date] | None = None
    """First and last day of acquisition, inclusive."""
    tiles: frozenset[str] | None = None
    """MGRS without T."""
    scenes: frozenset[str] | None = None
    """WRS-2 path and row, six digits."""

    def admits(self, fields: Fields) -> bool:
        """Whether there can be something that is looked for where ``fields`` have these values."""
        return self._admits_tile(fields) and self._admits_scene(fields) and self._admits_days(fields)

    def _admits_days(self, fields: Fields) -> bool:
        try:
            span = days_of(fields)
        except ValueError:  # the 30th of February
            return False
        return span is None or self.days is None or (span[0] <= self.days[1] and span[1] >= self.days[0])

    def _admits_tile(self, fields: Fields) -> bool:
        if self.tiles is None:
            return True
        if "tile" in fields:
            return fields["tile"] in self.tiles
        return any(
            all(fields.get(field, value) == value for field, value in parts_of_tile(tile).items())
            for tile in self.tiles
        )

    def _admits_scene(self, fields: Fields) -> bool:
        if self.scenes is None:
            return True
        return any(
            fields.get("path", path) == path and fields.get("row", row) == row
            for path, row in ((comparable("path", s[:3]), comparable("row", s[3:])) for s in self.scenes)
        )

    def describe(self) -> str:
        """For a message: ``2020-03-01 to 2020-10-31, tiles 32UPU, 32UQU``."""
        parts = [f"{self.days[0]} to {self.days[1]}"] if self.days else []
        for what, values in (("tiles", self.tiles), ("scenes", self.scenes)):
            if values is not None:
                parts.append(f"{what} {_few(values)}")
        return ", ".join(parts) or "anything"


def parts_of_tile(tile: str) -> dict[str, str]:
    """The fields that the name of a tile gives."""
    return {"tile": tile, "utm": str(int(tile[:2])), "lat_band": tile[2], "square": tile[3:]}


def days_of(fields: Fields) -> tuple[dt.date, dt.date] | None:
    """First and last day that the fields leave open; ``None`` without a year. A ``ValueError`` if there is none."""
    if "year" not in fields:
        return None
    year = int(fields["year"])
    if "doy" in fields:
        day = dt.date(year, 1, 1) + dt.timedelta(days=int(fields["doy"]) - 1)
        if day.year != year:
            raise ValueError(fields["doy"])
        return day, day
    months = (1, 12)
    if "quarter" in fields:
        months = (3 * int(fields["quarter"]) - 2, 3 * int(fields["quarter"]))
    if "month" in fields:
        month = int(fields["month"])
        if "day" in fields:
            day = dt.date(year, month, int(fields["day"]))
            return day, day
        months = (max(months[0], month), min(months[1], month))
    following = dt.date(year, months[1], 28) + dt.timedelta(days=4)
    return dt.date(year, months[0], 1), following - dt.timedelta(days=following.day)


def _few(values: Collection[str], limit: int = 6) -> str:
    ordered = sorted(values)
    return ", ".join(ordered[:limit]) + (f", ... ({len(ordered)} in all)" if len(ordered) > limit else "")
