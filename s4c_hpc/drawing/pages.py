"""Templates of HTML pages: the filters that they use, and the style sheet that they share."""

from __future__ import annotations

from importlib.resources import files

import jinja2
from markupsafe import Markup

from s4c_hpc.drawing import text


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
    """The style sheet of all pages."""
    return Markup(asset("s4c_hpc.drawing", "style.css"))  # noqa: S704 - our own file


def asset(package: str, name: str) -> str:
    """Text of a file beside the templates of a package."""
    return files(package).joinpath("templates", name).read_text(encoding="utf-8")
