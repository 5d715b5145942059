"""Columns and what they mean, as tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from s4c_hpc.core.text import markdown_table
from s4c_hpc.report.describe import Column, by_set
from s4c_hpc.report.questions import Question

_HEAD = ("column", "type", "unit", "meaning", "codes", "rule")


def markdown_lines(columns: Sequence[Column], asked: Iterable[Question]) -> Iterator[str]:
    """Columns as tables of Markdown, a set each, and where answers stand."""
    for name, own in by_set(columns).items():
        yield f"## {name}\n"
        rows = ([value for key, value in one.row().items() if key != "set"] for one in own)
        yield from markdown_table(_HEAD, ([f"`{row[0]}`", *row[1:]] for row in rows))
        yield ""
    for number, question in enumerate(asked):
        if not number:
            yield "## Questions\n"
        yield f"- **{question.question}** {question.answer}"
