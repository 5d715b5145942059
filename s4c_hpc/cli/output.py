"""How commands speak: data on standard output, talk on standard error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

from s4c_hpc.core.text import finite


def say(text: str) -> None:
    """Talk to the person at the terminal."""
    typer.echo(text, err=True)


def print_json(value: Any) -> None:
    """Print a value as JSON, keys in their own order; unknown types as text."""
    typer.echo(json.dumps(finite(value), indent=2, default=str, ensure_ascii=False, allow_nan=False))


def print_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Print rows as an aligned table: numbers to the right, text to the left."""
    for line in table_lines(rows, columns):
        typer.echo(line)


def table_lines(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> list[str]:
    """The lines of such a table."""
    listed = list(rows)
    names = list(columns or (listed[0] if listed else ()))
    cells = [[_text(row.get(name)) for name in names] for row in listed]
    right = [all(isinstance(row.get(n), int | float | None) for row in listed) and bool(listed) for n in names]
    widths = [max(len(name), *(len(row[i]) for row in cells), 0) for i, name in enumerate(names)]
    return [
        "  ".join(t.rjust(w) if r else t.ljust(w) for t, w, r in zip(line, widths, right, strict=True)).rstrip()
        for line in [names, *cells]
    ]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
