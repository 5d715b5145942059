"""``s4c parcels``: import a declaration, list and compare versions, look parcels up."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4c_hpc.cli.options import HERE, JsonOption, SetOption, WorkspaceOption, open_workspace
from s4c_hpc.cli.output import print_json, print_table, say
from s4c_hpc.cli.selection import EVERYTHING, Chosen, choosing_parcels

if TYPE_CHECKING:
    from s4c_hpc.parcels import ImportReport

app = typer.Typer(help="Read the declaration of parcels.", no_args_is_help=True)
_N_SHOWN = 10
"""Parcels of a kind that ``diff`` names."""


@app.command("import")
def import_(
    file: Annotated[Path | None, typer.Argument(help="Any format that OGR reads; parcels.file when not given.")] = None,
    workspace: WorkspaceOption = HERE,
    layer: Annotated[str | None, typer.Option(help="Layer of the file.")] = None,
    id_column: Annotated[
        list[str] | None, typer.Option(help="Column that identifies a parcel; may be repeated.")
    ] = None,
    crop_column: Annotated[str | None, typer.Option(help="Column with the declared crop.")] = None,
    mode: Annotated[
        str | None, typer.Option(help="replace, update (missing: deleted) or incremental (missing: as before).")
    ] = None,
    overrides: SetOption = None,
) -> None:
    """Check a declaration and freeze it as a version; nothing is dropped silently."""
    from s4c_hpc import parcels
    from s4c_hpc.core.errors import ConfigError

    flags = [*(overrides or ()), *([f"parcels.mode={mode}"] if mode else [])]
    ws, loaded = open_workspace(workspace, flags)
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
def list_(
    workspace: WorkspaceOption = HERE,
    tiles: Annotated[bool, typer.Option("--tiles", help="The tiles of the latest version instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the versions, how each came about and what it changed; or the tiles of the latest one."""
    from s4c_hpc import parcels
    from s4c_hpc.core.errors import NoInputsError
    from s4c_hpc.core.workspace import Workspace

    ws = Workspace(workspace.resolve()).require()
    version = parcels.latest_version(ws)
    if version is None:
        raise NoInputsError("no parcels have been imported", where=str(ws.parcels), hint="run 's4c parcels import'")
    if tiles:
        rows: list[dict[str, Any]] = [
            {
                "version": version,
                "tile": t.tile.id,
                "crs": t.tile.crs,
                "parcels": t.n_parcels,
                "hectares": t.area_m2 / 1e4,
            }
            for t in parcels.read_tiles(ws, version)
        ]
    else:
        rows = [_version_row(name, ws.parcels / name / "report.json") for name in parcels.versions(ws)]
    print_json(rows) if as_json else print_table(rows)


def _version_row(name: str, report: Path) -> dict[str, Any]:
    from s4c_hpc.parcels.diff import KINDS

    told = json.loads(report.read_text(encoding="utf-8"))
    changed = told.get("diff", {})
    return {
        "version": name,
        "mode": told.get("mode"),
        "file": told["source"]["file"],
        "parcels": told["counts"]["parcels"],
        "tiles": len(told["tiles"]),
        **{kind: changed.get(kind) for kind in KINDS},
    }


@app.command("diff")
def diff_(
    before: Annotated[str | None, typer.Argument(help="Version; the one before the latest when not given.")] = None,
    after: Annotated[str | None, typer.Argument(help="Version; the latest when not given.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Tell what two versions differ in. Exit code 0: in nothing; 5: in something."""
    from s4c_hpc import parcels
    from s4c_hpc.core.errors import ExitCode, NoInputsError
    from s4c_hpc.core.workspace import Workspace

    ws = Workspace(workspace.resolve()).require()
    names = parcels.versions(ws)
    if len(names) < 2 and None in (before, after):
        raise NoInputsError(
            f"there are {len(names)} versions, and two are compared", where=str(ws.parcels), hint="name them"
        )
    after = after or names[-1]
    if before is None:
        before = names[-2]
    found = parcels.diff(ws, before, after)
    if as_json:
        ids: dict[str, Any] = {kind: ids.tolist() for kind, ids in found.ids.items() if kind != "unchanged"}
        print_json({"after": after} | found.report() | {"NewID": ids | {"geom_change_ratio": found.ratio.tolist()}})
    else:
        print_table(
            {
                "kind": kind,
                "parcels": n,
                "NewID": _few(found.ids[kind].tolist()) if kind != "unchanged" else "",
            }
            for kind, n in found.counts.items()
        )
        for what, columns in (("new", found.columns_added), ("gone", found.columns_removed)):
            if columns:
                say(f"columns that are {what}: {', '.join(columns)}")
    raise typer.Exit(ExitCode.OK if found.is_empty else ExitCode.PARTIAL)


def _few(ids: list[int]) -> str:
    shown = ", ".join(map(str, ids[:_N_SHOWN]))
    return shown if len(ids) <= _N_SHOWN else f"{shown}, ..."


@app.command()
@choosing_parcels
def query(
    workspace: WorkspaceOption = HERE,
    chosen: Chosen = EVERYTHING,
    deleted: Annotated[bool, typer.Option("--deleted", help="Also parcels that an update has deleted.")] = False,
    columns: Annotated[
        list[str] | None, typer.Option("--columns", "-c", help="Column or pattern; may be repeated; all by default.")
    ] = None,
    version: Annotated[str | None, typer.Option("--version", help="The latest when not given.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print what is known of parcels as CSV (or JSON); with several conditions, of those that meet all."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv

    from s4c_hpc import parcels
    from s4c_hpc.core.errors import NoInputsError
    from s4c_hpc.core.workspace import Workspace

    ws = Workspace(workspace.resolve()).require()
    version = version or parcels.latest_version(ws)
    if version is None:
        raise NoInputsError("no parcels have been imported", where=str(ws.parcels), hint="run 's4c parcels import'")
    found = parcels.select(ws, version, chosen.selection(ws, deleted=deleted))
    if not len(found):
        raise NoInputsError("no parcel meets the conditions", where=f"parcels {version}")
    table = parcels.read_attributes(ws, version)
    names = [n for n in table.column_names if columns is None or any(fnmatchcase(n, p) for p in columns)]
    if not names:
        raise NoInputsError(f"no column matches {columns}", where=f"parcels {version}", hint=f"{table.column_names}")
    for pattern in columns or ():
        if not any(fnmatchcase(n, pattern) for n in table.column_names):
            say(f"no column matches {pattern!r}")
    table = table.filter(pc.is_in(table["NewID"], value_set=pa.array(found))).sort_by("NewID").select(names)
    if as_json:
        print_json(table.to_pylist())
        return
    sys.stdout.flush()
    pyarrow.csv.write_csv(table, sys.stdout.buffer)


@app.command()
def identify(
    out: Annotated[Path, typer.Argument(help="CSV file that is made, outside of the workspace, for you alone.")],
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", help="The declaration; parcels.file when not given. May be repeated: later ones count."),
    ] = None,
    key_file: Annotated[Path | None, typer.Option(help="The key; parcels.pseudonyms when not given.")] = None,
    workspace: WorkspaceOption = HERE,
    overrides: SetOption = None,
) -> None:
    """Make the table from pseudonyms back to ids, from the declaration and the key."""
    from s4c_hpc import parcels
    from s4c_hpc.config import Pseudonyms

    ws, loaded = open_workspace(workspace, overrides)
    changes: dict[str, Any] = {}
    if key_file is not None:
        changes["pseudonyms"] = Pseudonyms(key_file=key_file.resolve(), key_env=None)
    found = parcels.identify(ws, loaded.config.parcels.model_copy(update=changes), out, files=files)
    say(f"{found.n_parcels} parcels in {out}: it tells who is who, so remove it when it is not needed any more")
    if found.missing:
        say(found.missing)


def say_import(report: ImportReport) -> None:
    """Tell what an import came to."""
    news = "new version" if report.new_version else "nothing has changed, still version"
    say(f"{news} {report.version}: {report.n_parcels} parcels, {report.n_usable} usable, tiles {_tiles(report.tiles)}")
    changed = {kind.replace("_", " "): n for kind, n in report.diff.items() if n}
    if report.new_version and set(changed) != {"added"}:
        say(f"{report.mode}: {', '.join(f'{n} {kind}' for kind, n in changed.items())}")
    findings = {k: n for k, n in report.counts.items() if n and k not in {"parcels", "usable"}}
    if findings:
        say(f"findings: {', '.join(f'{name} {n}' for name, n in findings.items())}; see {report.path / 'report.json'}")
    for note in report.notes:
        say(note)


def _tiles(tiles: Mapping[str, int]) -> str:
    return ", ".join(f"{tile} ({n})" for tile, n in tiles.items()) or "none"
