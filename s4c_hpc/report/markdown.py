"""Columns and what they mean, as tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from s4c_hpc.report.describe import Column, by_set
from s4c_hpc.report.questions import Question


def markdown_lines(columns: Sequence[Column], asked: Iterable[Question]) -> Iterator[str]:
    """Columns as tables of Markdown, a set each, and where answers stand."""
    for name, own in by_set(columns).items():
        yield f"## {name}\n\n| column | type | unit | meaning | codes | rule |\n|---|---|---|---|---|---|"
        for one in own:
            cells = [markdown_cell(value) for key, value in one.row().items() if key != "set"]
            yield f"| `{cells[0]}` | {' | '.join(cells[1:])} |"
        yield ""
    for number, question in enumerate(asked):
        if not number:
            yield "## Questions\n"
        yield f"- **{question.question}** {question.answer}"


def markdown_cell(value: object) -> str:
    """A value as it stands between two bars."""
    return str(value).replace("|", "\\|")
