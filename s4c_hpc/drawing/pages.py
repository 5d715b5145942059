"""Templates of HTML pages: the filters that they use, and the style sheet that they share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

import jinja2
from markupsafe import Markup

from s4c_hpc.drawing import text

_OWN: Final = "s4c_hpc.drawing"
_ROOT: Final = re.compile(r":root \{([^}]*--[^}]*--card[^}]*)\}")
"""Colours: those of light pages, then those of dark ones."""
_VARIABLE: Final = re.compile(r"--([a-z-]+): (#[0-9a-f]+);")


def environment(package: str) -> jinja2.Environment:
    """Where the templates of a package are, and the filters that they use."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "count": text.count,
        "plural": text.plural,
        "size": text.size,
        "duration": text.duration,
        "share": text.share,
        "decimal": text.decimal,
        "hectares": text.hectares,
        "distance": text.distance,
        "day": text.day,
        "minute": text.minute,
    }
    return found


def style() -> Markup:
    """The style sheet of all pages, plots included."""
    return Markup(asset(_OWN, "style.css") + asset(_OWN, "plot.css"))  # noqa: S704 - our own files


@cache
def plot_style(*, dark: bool = False) -> Markup:
    """The style sheet of a plot that is a file of its own: colours as they are, for programs that know no variables.

    Parameters
    ----------
    dark : whether it also has dark colours, for screens whose reader likes them; never on paper
    """
    rules = asset(_OWN, "plot.css")
    light, night = (dict(_VARIABLE.findall(block)) for block in _ROOT.findall(asset(_OWN, "style.css")))
    text = _coloured(rules, light)
    if dark:
        text += f"@media screen and (prefers-color-scheme: dark) {{\n{_coloured(rules, {**light, **night})}}}\n"
    return Markup(text)  # noqa: S704 - our own file


def _coloured(rules: str, colours: Mapping[str, str]) -> str:
    return re.sub(r"var\(--([a-z-]+)\)", lambda match: colours[match[1]], rules)


def asset(package: str, name: str) -> str:
    """Text of a file beside the templates of a package."""
    return files(package).joinpath("templates", name).read_text(encoding="utf-8")
