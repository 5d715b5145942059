"""What the columns of the marker files mean, and how to read them."""

from __future__ import annotations

from dataclasses import dataclass

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.report.marker_files import ID_COLUMN, MarkerColumn, MarkerFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A family of columns that differ only in statistic and date."""

    pattern: str
    """e.g. ``s2_ndvi_{statistic}__{date}``."""
    names: tuple[str, ...]
    """Its statistics, or the categories of its pixel counts."""
    unit: str
    """``1`` is a pure number."""
    meaning: str
    formula: str
    """Over band names; empty for pixel counts and for bands as they are."""
    set_name: str
    n: int


@dataclass(frozen=True, kw_only=True)
class Dictionary:
    """What the template needs."""

    entries: tuple[Entry, ...]
    n_files: int
    n_columns: int
    size_bytes: int
    sample_path: str
    """Workspace-relative path of a file for the examples of how to read."""
    sample_column: str


def dictionary(workspace: Workspace, files: tuple[MarkerFile, ...]) -> Dictionary | None:
    """Families of columns over all marker files; ``None`` without any."""
    if not files:
        return None
    families: dict[tuple[str, str], list[tuple[MarkerFile, MarkerColumn]]] = {}
    for file in files:
        for column in file.columns:
            families.setdefault((file.set_name, _pattern(column)), []).append((file, column))
    middle = files[len(files) // 2]
    averages = [c for c in middle.columns if c.variable and c.statistic == "mean"]
    sample = next((c for c in averages if c.variable == "ndvi"), next(iter(averages or middle.columns), None))
    return Dictionary(
        entries=tuple(_entry(set_name, pattern, members) for (set_name, pattern), members in families.items()),
        n_files=len(files),
        n_columns=sum(len(members) for members in families.values()),
        size_bytes=sum(f.size_bytes for f in files),
        sample_path=workspace.relative(middle.path),
        sample_column=sample.name if sample else ID_COLUMN,
    )


def _pattern(column: MarkerColumn) -> str:
    orbit = f"_{column.acquisition.orbit}" if column.acquisition.orbit else ""
    what = f"{column.grid}_n_{{class}}" if column.category else f"{column.variable}_{{statistic}}"
    return f"{column.acquisition.sensor}{orbit}_{what}__{{date}}"


def _entry(set_name: str, pattern: str, members: list[tuple[MarkerFile, MarkerColumn]]) -> Entry:
    # The count of a variable is in pixels; another statistic tells the variable's own unit.
    file, column = next((m for m in members if m[1].statistic != "count"), members[0])
    metadata = {k.decode(): v.decode() for k, v in (file.schema.field(column.index).metadata or {}).items()}
    is_count = bool(column.category)
    formula = metadata.get("formula", "")
    meaning = (
        f"Pixels by class on the {column.grid.removesuffix('m')} m grid" if is_count else metadata.get("long_name", "")
    )
    return Entry(
        pattern=pattern,
        names=tuple(dict.fromkeys(c.category or c.statistic for _, c in members)),
        unit=metadata.get("unit", ""),
        meaning=meaning.removesuffix(f", {column.statistic}"),
        formula="" if is_count or formula.isalnum() else formula,
        set_name=set_name,
        n=len(members),
    )
