"""Markdown whose fenced blocks are executed: what a block is for, by its language and the comment above it.

| block | what becomes of it |
|---|---|
| ``sh``, ``python``, ``r``, ``js`` | is run; folder, exports and variables of the shell, and Python's names, last |
| any other, below ``<!-- file: NAME -->`` | is written to that file (``<!-- file: NAME, added -->``: to its end) |
| any, below ``<!-- output -->`` | is what the block before it prints; ``...`` stands for anything |
| any, below ``<!-- shown: reason -->`` | is not run; the tests hold a list of all of them |

All else is a mistake. The first line says what the folder holds at the start: ``<!-- folder: empty -->`` or, for a
finished demo in ``s4c-demo``, ``<!-- folder: demo -->``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sybil import Document, Region
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

LANGUAGES = ("sh", "python", "r", "js")
FOLDERS = ("empty", "demo")
_ANY_FENCE = RawFencedCodeBlockLexer(re.compile(r"(?P<language>[^\n]*)$\n", re.MULTILINE))
_COMMENT = re.compile(r"\s*<!--\s*(?P<kind>[\w-]+)\s*(?::\s*(?P<argument>.*?))?\s*-->\s*")


class DocumentError(AssertionError):
    """A document that cannot be executed as it is written."""


@dataclass(frozen=True)
class Block:
    """A fenced block and what it is for."""

    kind: str
    """``run``, ``file``, ``output`` or ``shown``."""
    language: str
    source: str
    line: int
    argument: str = ""
    """Name of the file, or the reason for being shown only."""


def blocks(document: Document) -> Iterable[Region]:
    """The document's blocks, as a parser of sybil."""
    lines = document.text.splitlines()
    before = "nothing"
    fenced: set[int] = set()
    for region in sorted(_ANY_FENCE(document), key=lambda one: one.start):
        first = document.text.count("\n", 0, region.start)  # of the fence, from 0
        last = document.text.count("\n", 0, region.end)
        where = f"{document.path}, line {first + 1}"
        *_, closing = document.text[region.start : region.end].splitlines()
        if last == first or closing.strip(" \t`~>"):
            raise DocumentError(f"{where}: this block is not closed")
        fenced.update(range(first, last + 1))
        block = _block(region, first, lines[first - 1] if first else "", where)
        if block.kind == "output" and before != "run":
            raise DocumentError(f"{where}: an output that follows no block that runs")
        before = block.kind
        fenced.add(first - 1)
        yield Region(region.start, region.end, parsed=block)
    for number, line in enumerate(lines):
        marker = _COMMENT.fullmatch(line)
        if marker and marker["kind"] in {"output", "shown", "file"} and number not in fenced:
            raise DocumentError(f"{document.path}, line {number + 1}: no block follows this comment")


def _block(region: Region, first: int, above: str, where: str) -> Block:
    language, source = str(region.lexemes["language"]).strip(), str(region.lexemes["source"])
    marker = _COMMENT.fullmatch(above)
    if marker is None or marker["kind"] == "folder":
        if language not in LANGUAGES:
            raise DocumentError(
                f"{where}: a block of '{language}' is neither run ({', '.join(LANGUAGES)}) nor marked as file, output "
                "or shown in the line above"
            )
        return Block("run", language, source, first + 1)
    kind, argument = marker["kind"], marker["argument"] or ""
    if kind not in {"file", "output", "shown"} or (kind == "output") == bool(argument):
        raise DocumentError(f"{where}: not understood: {above.strip()}")
    return Block(kind, language, source, first + 1, argument)


def read_document(path: Path) -> Document:
    """A document and its blocks.

    Raises
    ------
    DocumentError
        A block of which nobody can tell what becomes of it.
    """
    return Document.parse(str(path), blocks)


def folder_of(document: Document) -> str:
    """What the folder holds at the start; ``empty`` for a document without blocks that says nothing."""
    marker = _COMMENT.fullmatch(document.text.partition("\n")[0])
    if marker and marker["kind"] == "folder" and marker["argument"] in FOLDERS:
        return str(marker["argument"])
    if marker is None and not document.regions:
        return "empty"
    raise DocumentError(f"{document.path}, line 1: must say <!-- folder: {' | '.join(FOLDERS)} -->")


def shown(document: Document) -> list[str]:
    """Blocks that are not run: ``first line -- reason`` of each."""
    found = [example.parsed for example in document.examples() if example.parsed.kind == "shown"]
    return [f"{(one.source.splitlines() or [''])[0].strip()} -- {one.argument}" for one in found]


def missing(expected: str, printed: str) -> str:
    """The first line of what is expected that a program did not print in its place; nothing if all is there.

    ``...`` stands for anything. Blanks at ends of lines stand for nothing, and any number and kind of them elsewhere for
    one: the widths of columns are those of numbers, of which some are measured.
    """
    wanted, there = _plain(expected), _plain(printed)
    for n, line in enumerate(wanted, start=1):
        pattern = ".*?".join(map(re.escape, "\n".join(wanted[:n]).split("...")))
        if not re.match(f"{pattern}(\n|$)", "\n".join(there), re.DOTALL):
            return line or "(an empty line)"
    pattern = ".*?".join(map(re.escape, "\n".join(wanted).split("...")))
    return "" if re.fullmatch(pattern, "\n".join(there), re.DOTALL) else "(the end)"


def _plain(text: str) -> list[str]:
    return [re.sub(r"\s+", " ", line).rstrip() for line in text.strip("\n").splitlines()]
