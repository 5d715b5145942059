"""``s4c guide``: the guides, which travel with the package, where there is no network to read them on."""

from __future__ import annotations

import difflib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from s4c_hpc.cli.output import print_table, say
from s4c_hpc.core.errors import NoInputsError

GUIDES = Path(__file__).resolve().parents[1] / "guides"

_MARKS = (
    (r"^<!-- folder: .* -->$", ""),
    (r"^<!-- file: (.*), added -->$", r"Added to `\1`:"),
    (r"^<!-- file: (.*) -->$", r"File `\1`:"),
    (r"^<!-- output -->$", "Prints:"),
    (r"^<!-- shown: (.*) -->$", r"Not run by the tests (\1):"),
)
"""What the comment above a block says to those who execute it, and in words."""


@dataclass(frozen=True)
class Guide:
    """A Markdown file of the package."""

    name: str
    """``operator``, ``own-classifier``: the name of the file."""
    path: Path

    @property
    def title(self) -> str:
        """Its first heading."""
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return next((line.removeprefix("# ") for line in lines if line.startswith("# ")), self.name)


def guides() -> dict[str, Guide]:
    """All guides by name; recipes after the others."""
    found = sorted(GUIDES.rglob("*.md"), key=lambda path: (len(path.parts), path.name))
    return {path.stem: Guide(path.stem, path) for path in found if path.name != "README.md"}


def guide(
    name: Annotated[
        str, typer.Argument(help="Which guide, or the beginning of its name; without one they are listed.")
    ] = "",
) -> None:
    """List the guides, or print one (Markdown; on a terminal easier to read, page by page)."""
    there = guides()
    if not name:
        print_table([{"guide": one.name, "about": one.title} for one in there.values()])
        say("s4c guide NAME prints one; they are files, with pictures, in " + str(GUIDES))
        return
    path = _one_of(there, name.removesuffix(".md").rpartition("/")[2]).path
    text = path.read_text(encoding="utf-8")
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        os.environ.setdefault("LESS", "FRX")  # as git: less shows colours, and leaves a page that fits where it is
        console = Console()
        with console.pager(styles=True):
            console.print(Markdown(for_terminal(text, path.parent), hyperlinks=False))
    else:
        typer.echo(text, nl=False)


def for_terminal(text: str, folder: Path) -> str:
    """A guide whose marks of blocks are words, and whose pictures are paths: a terminal shows neither.

    Parameters
    ----------
    text
        Markdown.
    folder
        Where it lies; the paths of pictures begin there.
    """
    for mark, words in _MARKS:
        text = re.sub(mark, words, text, flags=re.MULTILINE)
    return re.sub(
        r"^!\[([^]]*)\]\(([^)]+)\)$",
        lambda found: f"Picture, {found[1]}: `{(folder / found[2]).resolve()}`",
        text,
        flags=re.MULTILINE,
    )


def _one_of(there: dict[str, Guide], name: str) -> Guide:
    if name in there:
        return there[name]
    begun = [one for key, one in there.items() if key.startswith(name)]
    if len(begun) == 1:
        return begun[0]
    near = difflib.get_close_matches(name, there, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise NoInputsError(f"there is no guide '{name}'", hint=f"{hint}there are {', '.join(there)}")
