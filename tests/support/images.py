"""Definitions of images, as far as tests and benchmarks look into them."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "configs" / "images"
SOURCE = "/opt/s4c-src"
"""Where both definitions put what they copy."""


def containerfile() -> list[tuple[str, str]]:
    """Instructions of the Containerfile: word and arguments, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (IMAGES / "Containerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for line in lines if line.strip() for word, _, rest in [line.partition(" ")]]


def sections() -> dict[str, str]:
    """Header (under its own name) and sections of the Apptainer definition."""
    header, *parts = re.split(r"^%(\w+)\n", (IMAGES / "s4c-hpc.def").read_text(), flags=re.MULTILINE)
    return {"header": header, **dict(zip(parts[::2], parts[1::2], strict=True))}


def copied_by_containerfile() -> dict[str, str]:
    """Destination in the image of every path of the clone."""
    found = {}
    for word, rest in containerfile():
        if word == "COPY":
            *sources, to = shlex.split(rest)
            found.update({one: f"{to}{one}" if to.endswith("/") else to for one in sources})
    return found


def copied_by_definition() -> dict[str, str]:
    """The same of the Apptainer definition."""
    lines = [line.split() for line in sections()["files"].splitlines() if line.strip()]
    return dict(lines)


def copy_source(folder: Path) -> Path:
    """What the images get to see of the clone, in ``folder``."""
    for source, to in copied_by_containerfile().items():
        target = folder / Path(to).relative_to(SOURCE)
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, target)
    return folder
