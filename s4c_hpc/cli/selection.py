"""Options that say which parcels are meant, once for all commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from s4c_hpc.cli.output import say

if TYPE_CHECKING:
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.parcels import Selection

DEGREES = "EPSG:4326"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Parcels of either list of ids, and of these (or of all, without a list) those that meet every condition."""

    ids: Annotated[
        str | None,
        typer.Option("--ids", help="NewIDs separated by commas, or a file with one a line (NewID or your own id)."),
    ] = None
    parcels: Annotated[
        str | None, typer.Option("--parcels", help="Your own parcel ids separated by commas, or @FILE with one a line.")
    ] = None
    where: Annotated[
        str | None,
        typer.Option(help="Expression over parcel attributes, \"ori_crop = '115' AND Area_meters > 1e4\"."),
    ] = None
    bbox: Annotated[
        str | None,
        typer.Option("--bbox", metavar="W,S,E,N", help="Parcels that meet a rectangle, in the system of --crs."),
    ] = None
    crs: Annotated[str, typer.Option("--crs", help="Reference system of --bbox.")] = DEGREES
    polygon: Annotated[
        Path | None, typer.Option(help="Parcels that meet a polygon of this file, in any format that OGR reads.")
    ] = None

    @property
    def given(self) -> list[str]:
        """Options that choose parcels."""
        return [f"--{f.name}" for f in fields(self) if f.name != "crs" and getattr(self, f.name) is not None]

    def listed(self, workspace: Workspace) -> tuple[list[int] | None, list[str] | None]:
        """NewIDs and the user's own ids that are named; ``None`` where there is no list."""
        return ids_and_own_ids(self.ids, self.parcels, workspace)

    def say_left_out(self, told: Sequence[str]) -> None:
        """Tell of parcels without markers; who named each of them does not have all that was asked for."""
        from s4c_hpc.core.errors import ExitCode

        for sentence in told:
            say(sentence)
        if told and (self.ids is not None or self.parcels is not None):
            raise typer.Exit(int(ExitCode.PARTIAL))

    def conditions(self, **more: Any) -> Selection:
        """The other conditions."""
        from s4c_hpc.parcels import Selection

        return Selection(where=self.where, box=_box(self.bbox), box_crs=self.crs, polygon=self.polygon, **more)

    def selection(self, workspace: Workspace, **more: Any) -> Selection:
        """All of them."""
        numbers, own = self.listed(workspace)
        return self.conditions(ids=numbers, ori_ids=own, **more)


EVERYTHING = Chosen()


def choosing_parcels(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose argument ``chosen`` is made of the options of ``Chosen``, which stand in its place."""
    hints = get_type_hints(Chosen, include_extras=True)
    options = [
        Parameter(f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name]) for f in fields(Chosen)
    ]

    @wraps(command)
    def expanded(**given: Any) -> None:
        mine = {f.name: given.pop(f.name) for f in fields(Chosen)}
        command(**given, chosen=Chosen(**mine))

    asked: list[Parameter] = []
    for one in signature(command, eval_str=True).parameters.values():
        asked += options if one.name == "chosen" else [one.replace(kind=Parameter.KEYWORD_ONLY)]
    # What typer reads: a signature, and annotations that are no texts.
    expanded.__signature__ = Signature(asked)  # type: ignore[attr-defined]
    expanded.__annotations__ = {one.name: one.annotation for one in asked}
    return expanded


def ids_and_own_ids(
    ids: str | None, own: str | None, workspace: Workspace | None = None
) -> tuple[list[int] | None, list[str] | None]:
    """NewIDs and the user's own ids: each a list with commas, or a file with one a line (``@`` before it or not).

    Parameters
    ----------
    workspace : whose latest parcels tell which column of a file has the user's own ids
    """
    from s4c_hpc.core.errors import InputError
    from s4c_hpc.parcels import read_id_file
    from s4c_hpc.parcels.select import read_own_ids

    numbers: list[int] | None = None
    named: list[str] | None = None
    if ids is not None and (path := _file(ids)) is not None:
        numbers, named = read_id_file(path, _id_columns(workspace))
    elif ids is not None:
        try:
            numbers = [int(word) for word in _words(ids)]
        except ValueError:
            what = f"no NewIDs, which are numbers: {ids}" if "," in ids else f"no file {ids}, and no NewID"
            raise InputError(what, where="--ids", hint="use --parcels for your own ids") from None
    if own is not None and (path := _file(own)) is not None:
        named = [*(named or ()), *read_own_ids(path, _id_columns(workspace))]
    elif own is not None:
        named = [*(named or ()), *_words(own)]
    return numbers, named


def _id_columns(workspace: Workspace | None) -> list[str]:
    from s4c_hpc.parcels.modes import previous_version

    latest = None if workspace is None else previous_version(workspace)
    return [] if latest is None else latest.report["source"].get("id_columns", [])


def _file(text: str) -> Path | None:
    if text.startswith("@"):
        return Path(text[1:])
    return Path(text) if "," not in text and Path(text).is_file() else None


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _box(text: str | None) -> tuple[float, float, float, float] | None:
    from s4c_hpc.core.errors import ConfigError

    if text is None:
        return None
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{text!r} is no rectangle", where="--bbox", hint="write west,south,east,north") from None
    return west, south, east, north
