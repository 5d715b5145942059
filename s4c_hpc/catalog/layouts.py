"""Layouts: how a provider arranges products in folders, declared in a TOML file of a few lines.

Those of known providers lie in ``configs/layouts``; a site adds its own as a file and names it in its source.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from s4c_hpc.catalog.layout_template import Template, parse_template
from s4c_hpc.core.bundled import bundled
from s4c_hpc.core.errors import ConfigError, listing

PLAIN = "plain"
"""The layout of a source that names none: products at any depth, everything is looked at."""

KINDS = ("sentinel2-l2a", "maja", "landsat-c2l2")
"""Kinds of sources that can have a layout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a provider keeps what."""

    name: str
    description: str
    """One sentence: whose, and since when."""
    root: str
    """Where it is mounted as a rule; for people, nothing is read from there."""
    templates: Mapping[str, tuple[Template, ...]]
    """By kind of source, relative to the root of the source; several where a provider has several trees."""


def layout_names() -> list[str]:
    """Names of the layouts that come with the package."""
    return sorted(path.stem for path in bundled("configs/layouts").glob("*.toml"))


def load_layout(name: str, where: str) -> Layout:
    """A layout by its name, or from a file of one's own.

    Parameters
    ----------
    name : of ``layout_names``, or the path of a TOML file
    where : key of the configuration that names it, e.g. ``sources.0.layout``

    Raises
    ------
    ConfigError
        If there is no such layout (with the nearest), or the file is not a correct one.
    """
    if "/" in name or name.endswith(".toml"):
        return _read(Path(name), where)
    known = layout_names()
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {listing(known, 20)}"
        raise ConfigError(f"no layout is called {name!r}", where=where, hint=f"{hint} or name a TOML file of your own")
    return _read(bundled(f"configs/layouts/{name}.toml"), where)


def templates_of(layout: Layout, kind: str, where: str) -> tuple[Template, ...]:
    """The templates for a kind of source; a ``ConfigError`` if the layout has none."""
    if kind not in layout.templates:
        others = listing(list(layout.templates))
        raise ConfigError(
            f"layout {layout.name!r} has no place for products of kind {kind!r}, only for {others}",
            where=where,
            hint="write a layout of your own: 's4c catalog layouts' shows the form",
        )
    return layout.templates[kind]


def _read(path: Path, where: str) -> Layout:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {path}", where=where, hint="'s4c catalog layouts' lists names") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"layout {path} cannot be read ({error})", where=where) from error
    _check_keys(values, {"description", "root", "templates"}, str(path))
    templates = values.get("templates")
    if not isinstance(templates, dict) or not templates:
        hint = 'e.g. [templates] with sentinel2-l2a = ["{year}/{product}.SAFE"]'
        raise ConfigError("has no table [templates]", where=str(path), hint=hint)
    _check_keys(templates, set(KINDS), f"{path}, templates")
    return Layout(
        name=path.stem,
        description=str(values.get("description", "")),
        root=str(values.get("root", "")),
        templates={kind: _templates(listed, f"{path}, templates.{kind}") for kind, listed in templates.items()},
    )


def _templates(listed: object, where: str) -> tuple[Template, ...]:
    texts = [listed] if isinstance(listed, str) else listed
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ConfigError("is neither a template nor a list of them", where=where, hint='e.g. "{year}/{product}.SAFE"')
    return tuple(parse_template(text, where) for text in texts)


def _check_keys(values: Mapping[str, object], known: set[str], where: str) -> None:
    for key in values:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"there may be {listing(sorted(known))}"
            raise ConfigError(f"has an unknown key {key!r}", where=where, hint=hint)
