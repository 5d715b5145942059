"""``s4c parcels``: import a declaration, list the versions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4c_hpc.cli.options import HERE, JsonOption, SetOption, WorkspaceOption, open_workspace
from s4c_hpc.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from s4c_hpc.parcels import ImportReport

app = typer.Typer(help="Read the declaration of parcels.", no_args_is_help=True)


@app.command("import")
def import_(
    file: Annotated[Path | None, typer.Argument(help="Any format that OGR reads; parcels.file when not given.")] = None,
    workspace: WorkspaceOption = HERE,
    layer: Annotated[str | None, typer.Option(help="Layer of the file.")] = None,
    id_column: Annotated[
        list[str] | None, typer.Option(help="Column that identifies a parcel; may be repeated.")
    ] = None,
    crop_column: Annotated[str | None, typer.Option(help="Column with the declared crop.")] = None,
    overrides: SetOption = None,
) -> None:
    """Check a declaration and freeze it as a version; nothing is dropped silently."""
    from s4c_hpc import parcels
    from s4c_hpc.core.errors import ConfigError

    ws, loaded = open_workspace(workspace, overrides)
    source = file or loaded.config.parcels.file
    if source is None:
        raise ConfigError("no declaration is named", where=str(ws.config), hint="give a FILE, or set parcels.file")
    report = parcels.import_parcels(
        source,
        ws,
        loaded.config,
        layer=layer,
        id_columns=tuple(id_column) if id_column else None,
        crop_column=crop_column,
    )
    say_import(report)


@app.command("list")
def list_(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """List the tiles of the latest version and their parcels."""
    from s4c_hpc import parcels
    from s4c_hpc.core.errors import NoInputsError
    from s4c_hpc.core.workspace import Workspace

    ws = Workspace(workspace.resolve()).require()
    version = parcels.latest_version(ws)
    if version is None:
        raise NoInputsError("no parcels have been imported", where=str(ws.parcels), hint="run 's4c parcels import'")
    rows = [
        {"version": version, "tile": t.tile.id, "crs": t.tile.crs, "parcels": t.n_parcels, "hectares": t.area_m2 / 1e4}
        for t in parcels.read_tiles(ws, version)
    ]
    print_json(rows) if as_json else print_table(rows)


def say_import(report: ImportReport) -> None:
    """Tell what an import came to."""
    news = "new version" if report.new_version else "nothing has changed, still version"
    say(f"{news} {report.version}: {report.n_parcels} parcels, {report.n_usable} usable, tiles {_tiles(report.tiles)}")
    findings = {k: n for k, n in report.counts.items() if n and k not in {"parcels", "usable"}}
    if findings:
        say(f"findings: {', '.join(f'{name} {n}' for name, n in findings.items())}; see {report.path / 'report.json'}")
    for note in report.notes:
        say(note)


def _tiles(tiles: Mapping[str, int]) -> str:
    return ", ".join(f"{tile} ({n})" for tile, n in tiles.items()) or "none"
