"""``s4c series import`` and ``s4c series compare``: tables from elsewhere, marker files of the reference system."""

from __future__ import annotations

import csv
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4c_hpc.cli.options import HERE, JsonOption, WorkspaceOption, open_workspace
from s4c_hpc.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from s4c_hpc.markers.compat_import import ImportReport


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(help="With --config a table (.csv, .parquet, .arrow); else marker files of Sen4CAP."),
    ],
    workspace: WorkspaceOption = HERE,
    mapping: Annotated[
        Path | None, typer.Option("--config", metavar="MAPPING", help="TOML file that says what the table holds.")
    ] = None,
    tile: Annotated[str | None, typer.Option(help="Tile of columns whose name has none.")] = None,
    parcels_by: Annotated[
        str, typer.Option(help="Column of our parcels with the numbers that the files call NewID, e.g. ori_id.")
    ] = "NewID",
    scale: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TYPE=FACTOR", help="What stored values of a type are multiplied by, NDVI=0.0001; may be repeated."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Import a table of values by parcel and date, or marker files of Sen4CAP, as series of their own beside ours."""
    if mapping is not None:
        if tile is not None or parcels_by != "NewID" or scale:
            raise typer.BadParameter("is for marker files", param_hint="--tile, --parcels-by or --scale")
        _import_table(files, workspace, mapping, as_json=as_json)
        return
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.markers.compat_import import import_foreign
    from s4c_hpc.markers.compat_values import Scales

    scales = Scales.parse(scale or [])
    home = Workspace(workspace.resolve()).require()
    reports = [import_foreign(f, home, tile=tile, parcels_by=parcels_by, scale=scales) for f in files]
    if as_json:
        print_json([dataclasses.asdict(report) for report in reports])
        return
    for report in reports:
        _tell(report)


def compare(
    file: Annotated[str, typer.Argument(help="An imported file, or the name of its import.")],
    workspace: WorkspaceOption = HERE,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare an imported file with our series: ours minus theirs, for each variable and statistic."""
    from s4c_hpc.core.errors import NoInputsError
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.markers.compat_compare import compare_import, find_import
    from s4c_hpc.series import open_series

    home = Workspace(workspace.resolve()).require()
    report = find_import(home, file)
    rows = [dataclasses.asdict(one) for one in compare_import(report, open_series(home, imports=False))]
    if as_json:
        print_json(rows)
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        # Empty, not "nan", where there is no number, as in all CSV of this command.
        writer.writerows({k: "" if v != v else v for k, v in row.items()} for row in rows)  # noqa: PLR0124
    else:
        print_table(rows)
    if not any(row["n"] for row in rows):
        raise NoInputsError(
            "no value of it has a counterpart among our series",
            where=report.name,
            hint="days, variables and statistics must be the same; 's4c series list' names what there is",
        )


def _import_table(files: list[Path], workspace: Path, mapping: Path, *, as_json: bool) -> None:
    from s4c_hpc.config.imports import load_mapping
    from s4c_hpc.series.import_table import import_table

    if len(files) != 1:
        raise typer.BadParameter("a mapping is for one table", param_hint="FILES")
    ws, loaded = open_workspace(workspace, None)
    imported, is_new = import_table(files[0], load_mapping(mapping), ws, loaded.config)
    if as_json:
        print_json({**dataclasses.asdict(imported), "is_new": is_new})
        return
    typer.echo(f"imported/{imported.name}")
    days = sum(imported.tiles.values())
    say(
        f"{imported.source}: {imported.n_values} values of {imported.n_parcels} parcels, "
        f"{imported.first} to {imported.last}, {days} files on {len(imported.tiles)} tiles"
        + ("" if is_new else "; nothing new")
    )
    for one in imported.left_out:
        shown = f": {', '.join(one.examples)}" if one.examples else ""
        say(f"  {one.n} {one.what} left out, {one.reason}{shown}")
    for note in imported.notes:
        say(f"  note: {note}")


def _tell(report: ImportReport) -> None:
    typer.echo(f"imported/{report.name}")
    say(f"{report.source}: {report.n_columns} columns of {report.n_parcels} parcels, {len(report.series)} acquisitions")
    if report.n_strangers:
        shown = ", ".join(map(str, report.strangers))
        more = ", ..." if report.n_strangers > len(report.strangers) else ""
        say(f"  {report.n_strangers} of {report.n_rows} parcels are not ours and were left out: {shown}{more}")
    for reason, columns in report.reasons:
        shown = ", ".join(columns[:5]) + (", ..." if len(columns) > 5 else "")
        say(f"  {len(columns)} columns left out, {reason}: {shown}")
    for note in report.notes:
        say(f"  note: {note}")
