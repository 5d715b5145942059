"""Options that say which parcels are meant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.parcels import Selection

DEGREES = "EPSG:4326"
WhereOption = Annotated[
    str | None, typer.Option(help="Expression over parcel attributes, \"ori_crop = '115' AND Area_meters > 1e4\".")
]
BoxOption = Annotated[
    str | None, typer.Option("--bbox", metavar="W,S,E,N", help="Parcels that meet a rectangle, in the system of --crs.")
]
CrsOption = Annotated[str, typer.Option("--crs", help="Reference system of --bbox.")]
PolygonOption = Annotated[
    Path | None, typer.Option(help="Parcels that meet a polygon of this file, in any format that OGR reads.")
]


def conditions(where: str | None, bbox: str | None, crs: str, polygon: Path | None, **more: object) -> Selection:
    """The conditions of these options."""
    from s4c_hpc.parcels import Selection

    return Selection(where=where, box=_box(bbox), box_crs=crs, polygon=polygon, **more)  # type: ignore[arg-type]


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
