"""``s4c markers``: list, show, describe, query, export."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4c_hpc.cli.options import HERE, JsonOption, WorkspaceOption, open_workspace
from s4c_hpc.cli.output import print_json, print_table, say
from s4c_hpc.cli.selection import EVERYTHING, Chosen, choosing_parcels
from s4c_hpc.core.text import human_bytes

if TYPE_CHECKING:
    import pyarrow as pa

    from s4c_hpc.report.describe import Column
    from s4c_hpc.report.questions import Question

app = typer.Typer(help="Look at the marker files and take values out of them.", no_args_is_help=True)

MarkerSetOption = Annotated[str | None, typer.Option("--marker-set", help="Marker set; needed when there are several.")]
TilesOption = Annotated[list[str] | None, typer.Option("--tile", help="Tile or pattern (32U*); may be repeated.")]
PeriodsOption = Annotated[
    list[str] | None, typer.Option("--period", help="Month or pattern (2018-0[5-7]); may be repeated.")
]
ColumnsOption = Annotated[
    list[str] | None, typer.Option("--columns", "-c", help="Column pattern, s2_ndvi_mean__*; may be repeated.")
]
AttributesOption = Annotated[
    list[str] | None, typer.Option("--attributes", help="Parcel attribute or pattern to add (ori_id); may be repeated.")
]


@app.command("list")
def list_(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """List the marker files."""
    from s4c_hpc.core.errors import NoInputsError
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.markers import list_markers

    ws = Workspace(workspace.resolve()).require()
    files = list_markers(ws)
    if not files:
        raise NoInputsError("there are no marker files yet", where=str(ws.markers), hint="run 's4c run'")
    rows = [
        {
            "set": f.set,
            "period": f.period,
            "tile": f.tile,
            "parcels": f.n_parcels,
            "columns": f.n_columns,
            "products": f.n_products,
            "missing": f.n_missing,
            "size": f.n_bytes if as_json else human_bytes(f.n_bytes),
            "path": str(f.path),
            "problem": f.problem,
        }
        for f in files
    ]
    print_json(rows) if as_json else print_table(rows)


@app.command()
def show(file: Annotated[Path, typer.Argument(help="A marker file.")], as_json: JsonOption = False) -> None:
    """Explain the columns of one marker file: what each holds, its unit and where it comes from."""
    from s4c_hpc.markers import show_marker

    details = show_marker(file)
    if as_json:
        print_json({"metadata": details.metadata, "columns": details.columns})
        return
    for key, value in details.metadata.items():
        say(f"{key}: {value}")
    print_table({"column": name, **facts} for name, facts in details.columns.items())


@app.command()
def describe(
    set_name: Annotated[
        str | None, typer.Argument(metavar="[SET]", help="Marker set, l4c; all when not given.")
    ] = None,
    workspace: WorkspaceOption = HERE,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Explain every column of every marker set, and which column answers which question; before a run as well."""
    from s4c_hpc.report.describe import describe as described
    from s4c_hpc.report.questions import QUESTIONS

    if sum((as_csv, as_markdown, as_json)) > 1:
        raise typer.BadParameter("choose one of --json, --csv, --markdown")
    # Without a workspace there are still sets whose columns are always the same.
    ws, loaded = open_workspace(workspace, None) if (workspace / "s4c.toml").is_file() else (None, None)
    columns = described(ws, None if loaded is None else loaded.config, set_name)
    asked = [one for one in QUESTIONS if set_name is None or set_name in one.sets]
    if as_json:
        print_json(
            {
                "columns": [{**one.row(), "codes": dict(one.codes)} for one in columns],
                "questions": [{"question": one.question, "answer": one.answer} for one in asked],
            }
        )
    elif as_csv:
        _print_rows([one.row() for one in columns])
    elif as_markdown:
        from s4c_hpc.report.markdown import markdown_lines

        for line in markdown_lines(columns, asked):
            typer.echo(line)
    else:
        _print_columns(columns, asked)


@app.command()
@choosing_parcels
def query(
    workspace: WorkspaceOption = HERE,
    columns: ColumnsOption = None,
    chosen: Chosen = EVERYTHING,
    attributes: AttributesOption = None,
    marker_set: MarkerSetOption = None,
    tiles: TilesOption = None,
    periods: PeriodsOption = None,
    sql: Annotated[
        str | None,
        typer.Option(
            help="SQL over the tables markers, observations, dictionary and parcels, which also holds those that an "
            "update has deleted (column is_deleted); conditions and columns belong into it."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print values as CSV (or JSON): by parcel, by column, or by SQL."""
    from s4c_hpc import markers
    from s4c_hpc.core.workspace import Workspace

    named = [*(["-c"] if columns is not None else []), *chosen.given]
    if sql is not None and named:
        raise typer.BadParameter(f"does not go with {', '.join(named)}: say it in SQL", param_hint="--sql")
    ws = Workspace(workspace.resolve()).require()
    numbers, own = chosen.listed(ws)
    told: list[str] = []
    table = markers.query(
        ws,
        ids=numbers,
        ori_ids=own,
        parcels=chosen.conditions(),
        columns=columns,
        attributes=attributes,
        set_name=marker_set,
        tiles=tiles,
        periods=periods,
        sql=sql,
        tell=told.append,
    )
    print_json(table.to_pylist()) if as_json else _print_csv(table)
    chosen.say_left_out(told)


@app.command()
@choosing_parcels
def export(
    out: Annotated[Path, typer.Argument(help="File to write: .csv, .parquet, .geoparquet, .gpkg or .arrow.")],
    workspace: WorkspaceOption = HERE,
    columns: ColumnsOption = None,
    chosen: Chosen = EVERYTHING,
    attributes: AttributesOption = None,
    marker_set: MarkerSetOption = None,
    tiles: TilesOption = None,
    periods: PeriodsOption = None,
    compat: Annotated[bool, typer.Option("--compat", help="Use the reference system's column names.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write the season's values into one file, a row per parcel."""
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.markers import export_markers

    ws = Workspace(workspace.resolve()).require()
    numbers, own = chosen.listed(ws)
    told: list[str] = []
    report = export_markers(
        ws,
        out,
        set_name=marker_set,
        tiles=tiles,
        periods=periods,
        columns=columns,
        ids=numbers,
        ori_ids=own,
        parcels=chosen.conditions(),
        attributes=attributes,
        compat=compat,
        force=force,
        tell=told.append,
    )
    typer.echo(report.path)
    rows = "rows" if report.is_of_events else "parcels"
    say(f"{report.n_rows} {rows}, {report.n_columns} columns, {human_bytes(report.n_bytes)}")
    if report.left_out:
        say(f"{len(report.left_out)} columns have no name in the reference system and were left out")
    chosen.say_left_out(told)


def _print_rows(rows: list[dict[str, Any]]) -> None:
    import csv

    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _print_columns(columns: Sequence[Column], asked: Sequence[Question]) -> None:
    """A block a set: a line a column, its codes and its rule below it."""
    from s4c_hpc.report.describe import by_set

    for name, own in by_set(columns).items():
        typer.echo(f"{name}")
        width = min(max(len(one.name) for one in own), 40)
        for one in own:
            unit = f" [{one.unit}]" if one.unit not in {"", "1"} else ""
            typer.echo(f"  {one.name.ljust(width)}  {one.meaning}{unit}")
            pad = " " * (width + 6)
            if one.codes:
                typer.echo(f"{pad}{'; '.join(f'{code} = {text}' for code, text in one.codes.items())}")
            if one.rule:
                typer.echo(f"{pad}rule: {one.rule}")
        typer.echo("")
    if asked:
        typer.echo("Questions")
    for question in asked:
        typer.echo(f"  {question.question}\n      {question.answer}")


def _print_csv(table: pa.Table) -> None:
    import pyarrow.csv

    from s4c_hpc.markers import unknown_to_null

    sys.stdout.flush()
    pyarrow.csv.write_csv(unknown_to_null(table), sys.stdout.buffer)
