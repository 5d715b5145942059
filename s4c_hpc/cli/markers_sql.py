"""``s4c markers sql``: a query over everything that a workspace holds."""

from __future__ import annotations

import itertools
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from s4c_hpc.cli.options import HERE, JsonOption, WorkspaceOption
from s4c_hpc.cli.output import print_json, print_table, say
from s4c_hpc.cli.selection import EVERYTHING, Chosen, choosing_parcels

if TYPE_CHECKING:
    import pyarrow as pa

    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.markers.part import Ids

SHOWN: Final = 100
"""Rows that a table at the terminal has at most."""


class Printed(StrEnum):
    """What is printed where no file is named."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@choosing_parcels
def sql(
    query: Annotated[str | None, typer.Argument(help="One SELECT, as DuckDB understands it; '-' reads it.")] = None,
    workspace: WorkspaceOption = HERE,
    list_: Annotated[bool, typer.Option("--list", help="Show views and columns, with what they mean.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="File to write: .csv, .json, .arrow or .parquet.")
    ] = None,
    form: Annotated[Printed, typer.Option("--format", help="What is printed without --out.")] = Printed.TABLE,
    as_json: JsonOption = False,
    tiles: Annotated[list[str] | None, typer.Option("--tile", help="Tile or pattern.")] = None,
    periods: Annotated[list[str] | None, typer.Option("--period", help="Month or season, or pattern.")] = None,
    chosen: Chosen = EVERYTHING,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Ask parcels, markers, series, crop types, mowings and practices in SQL; nothing is changed.

    Parcels that options choose are a table: add JOIN chosen USING (NewID).
    """
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.markers.workspace_sql import run_workspace_sql

    ws = Workspace(workspace.resolve()).require()
    if list_:
        _list(ws, tiles, periods, as_json=as_json or form is Printed.JSON)
        return
    if query is None:
        raise typer.BadParameter("give a SELECT, or --list", param_hint="QUERY")
    if query == "-":
        query = typer.get_text_stream("stdin").read()
    ids = _chosen_ids(ws, chosen) if chosen.given else None
    reader = run_workspace_sql(ws, query, tiles=tiles, periods=periods, chosen=ids)
    if out is not None:
        from s4c_hpc.markers.result_files import write_result

        n_rows = write_result(reader, out, force=force)
        typer.echo(out)
        say(f"{n_rows} rows, {len(reader.schema)} columns")
        return
    _print(reader, Printed.JSON if as_json else form)


def _chosen_ids(ws: Workspace, chosen: Chosen) -> Ids:
    from s4c_hpc.core.errors import NoInputsError
    from s4c_hpc.parcels import latest_version, select

    version = latest_version(ws)
    if version is None:
        raise NoInputsError("there are no parcels", where=str(ws.parcels), hint="run 's4c parcels import'")
    found: Ids = select(ws, version, chosen.selection(ws))
    if not len(found):
        raise NoInputsError("no parcel meets the conditions", where=f"parcels {version}")
    return found


def _print(reader: pa.RecordBatchReader, form: Printed) -> None:
    import sys

    from s4c_hpc.markers.result_files import as_rows, print_csv

    if form is Printed.CSV:
        sys.stdout.flush()
        print_csv(reader, sys.stdout.buffer)
    elif form is Printed.JSON:
        print_json(list(as_rows(reader)))
    else:
        rows = list(itertools.islice(as_rows(reader), SHOWN + 1))
        print_table(rows[:SHOWN], reader.schema.names)
        if len(rows) > SHOWN:
            say(f"... only the first {SHOWN} rows are shown: --format csv prints all, -o FILE writes them")


def _list(ws: Workspace, tiles: list[str] | None, periods: list[str] | None, *, as_json: bool) -> None:
    from s4c_hpc.markers.workspace_sql import views_of

    views = views_of(ws, tiles=tiles, periods=periods)
    if as_json:
        print_json(
            [
                {
                    "view": view.name,
                    "about": view.about,
                    "columns": [
                        {"column": name, "type": kind, "meaning": said.text, "unit": said.unit, "codes": said.codes}
                        for name, (kind, said) in view.columns().items()
                    ],
                }
                for view in views
            ]
        )
        return
    for view in views:
        typer.echo(f"{view.name}: {view.about}")
        print_table(
            {"  column": f"  {name}", "type": kind, "meaning": str(said)}
            for name, (kind, said) in view.columns().items()
        )
        typer.echo("")
