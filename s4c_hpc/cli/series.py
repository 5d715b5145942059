"""``s4c series``: what there is, and one parcel's season."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from s4c_hpc.cli.options import HERE, JsonOption, WorkspaceOption, open_workspace
from s4c_hpc.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    import pyarrow as pa

    from s4c_hpc.series import ParcelSeries, Series

app = typer.Typer(
    help="Look at the values of every acquisition: what there is, one parcel's season.", no_args_is_help=True
)

SensorOption = Annotated[str | None, typer.Option("--sensor", help="Only this sensor, s2.")]
GridOption = Annotated[str | None, typer.Option("--grid", help="Only this grid, 10m, or this import.")]
COUNTS = ("n_valid", "n_total")


@app.command("list")
def list_(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """List the series: acquisitions by tile, sensor and grid or import, and how many of their months are compacted."""
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.series import open_series

    series = open_series(Workspace(workspace.resolve()).require())
    rows = [row for tile in series.tiles for row in _tile_rows(series, tile)]
    print_json(rows) if as_json else print_table(rows)


@app.command()
def show(
    parcel: Annotated[str, typer.Argument(help="NewID, or the id in the declaration.")],
    workspace: WorkspaceOption = HERE,
    own: Annotated[bool, typer.Option("--own", help="Take a number for the id in the declaration.")] = False,
    variable: Annotated[
        list[str] | None, typer.Option(help="Variable or pattern (b*); may be repeated; all by default.")
    ] = None,
    statistic: Annotated[list[str] | None, typer.Option(help="Statistic or pattern (p*); may be repeated.")] = None,
    sensor: SensorOption = None,
    grid: GridOption = None,
    fill: Annotated[
        Literal["linear"] | None, typer.Option(help="Show gaps filled as well, beside what was observed.")
    ] = None,
    max_gap_days: Annotated[float, typer.Option(min=0, help="Longest gap that --fill bridges, in days.")] = 30.0,
    every_days: Annotated[
        int | None, typer.Option(min=1, help="With --fill: values every so many days, not at acquisitions.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: JsonOption = False,
    plot: Annotated[Path | None, typer.Option(help="SVG file to draw one variable into.")] = None,
) -> None:
    """Show one parcel's season, an acquisition a row; by default the mean of every variable."""
    from s4c_hpc.core.errors import ConfigError
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.series import open_series

    if every_days is not None and fill is None:
        raise ConfigError("--every-days needs --fill linear", where="s4c series show", hint="give both")
    if plot is not None and fill is not None:
        raise ConfigError(
            "a plot shows what was observed", where="s4c series show", hint="leave out --fill, or take --csv"
        )
    series = open_series(Workspace(workspace.resolve()).require())
    # A number of more digits than a NewID can have is an id of the declaration.
    is_own = own or not parcel.isdecimal() or int(parcel) >= 2**31
    new_id = series.new_id(parcel) if is_own else int(parcel)
    chosen = list(_chosen(series.parcel(new_id, sensor=sensor, grid=grid), variable, statistic or ["mean"]))
    if plot is not None:
        _plot(plot, chosen, open_workspace(workspace, None)[1].config)
        return
    table = _table(chosen, None if fill is None else max_gap_days, every_days)
    if as_json:
        print_json(_document(table, new_id, chosen))
    elif as_csv:
        _print_csv(table)
    else:
        say(f"parcel {new_id}, tile {chosen[0][0].tile}")
        print_table(_lines(table))


def _tile_rows(series: Series, tile: str) -> Iterator[dict[str, Any]]:
    from s4c_hpc.series.imported import is_imported

    known = series.set_of(tile)
    groups = dict.fromkeys((a.sensor, a.grid) for a in known.acquisitions)
    for sensor, grid in groups:
        mine = [a for a in known.acquisitions if (a.sensor, a.grid) == (sensor, grid)]
        compacted = {b.month for b in known.blocks if (b.sensor, b.grid) == (sensor, grid)}
        yield {
            "tile": tile,
            "sensor": sensor,
            "grid": grid,
            "imported": is_imported(mine[0].layers[0]),
            "acquisitions": len(mine),
            "first": str(mine[0].day),
            "last": str(mine[-1].day),
            "months": len({f"{a.day:%Y-%m}" for a in mine}),
            "compacted": len(compacted),
            "missing": len(known.missing),
        }


def _chosen(
    strands: Sequence[ParcelSeries], variables: Sequence[str] | None, statistics: Sequence[str]
) -> Iterator[tuple[ParcelSeries, list[str]]]:
    """Each sensor and grid that has a column asked for, with the columns' names."""
    from s4c_hpc.core.errors import NoInputsError, listing

    found = False
    for one in strands:
        names = [
            name
            for name, said in one.described.items()
            if "variable" in said
            and any(fnmatchcase(said["variable"], pattern) for pattern in variables or ["*"])
            and any(fnmatchcase(said["statistic"], pattern) for pattern in statistics)
        ]
        if names:
            found = True
            yield one, names
    if not found:
        there = dict.fromkeys(
            said["variable"] for one in strands for said in one.described.values() if "variable" in said
        )
        has = dict.fromkeys(
            said["statistic"] for one in strands for said in one.described.values() if "statistic" in said
        )
        raise NoInputsError(
            f"no column is {', '.join(variables or ['*'])} and {', '.join(statistics)}",
            where=f"parcel {strands[0].new_id}",
            hint=f"variables are {listing(list(there), 30)}; statistics {listing(list(has))}",
        )


def _table(
    chosen: Sequence[tuple[ParcelSeries, list[str]]], max_gap_days: float | None, every_days: int | None
) -> pa.Table:
    """All sensors and grids, by time; a column that a row's sensor does not have is null there."""
    import pyarrow as pa

    from s4c_hpc.series import filled_parcel

    parts = []
    for one, names in chosen:
        if max_gap_days is None:
            part = one.table([*(n for n in COUNTS if n in one.columns), *names])
        else:
            part = filled_parcel(one, names, max_gap_days=max_gap_days, every_days=every_days)
        fields = [f.with_nullable(True) for f in part.schema]  # noqa: FBT003 - pyarrow's signature
        parts.append(part.cast(pa.schema(fields, metadata=part.schema.metadata)))
    table = pa.concat_tables(parts, promote_options="default")
    if len(parts) == 1:
        return table
    # Which sensor and grid stands in each row; of the whole table it would be that of the first part.
    common = {k: v for k, v in table.schema.metadata.items() if k not in {b"sensor", b"grid"}}
    return table.replace_schema_metadata(common).sort_by("datetime")


def _document(table: pa.Table, new_id: int, chosen: Sequence[tuple[ParcelSeries, list[str]]]) -> dict[str, Any]:
    from s4c_hpc.core.ipc import read_metadata

    about = read_metadata(table.schema)
    how = {key: about[key] for key in ("gap_fill", "max_gap_days") if key in about}
    return {
        "parcel": new_id,
        "tile": chosen[0][0].tile,
        "filled": how or None,
        "columns": {f.name: read_metadata(f) for f in table.schema if f.metadata},
        "rows": [{**row, "datetime": row["datetime"].isoformat()} for row in table.to_pylist()],
    }


def _lines(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Rows for the terminal: short times, no product ids."""
    for row in table.drop_columns(
        [n for n in ("platform", "direction", "product") if n in table.column_names]
    ).to_pylist():
        yield {**row, "datetime": f"{row['datetime']:%Y-%m-%d %H:%M}"}


def _print_csv(table: pa.Table) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv

    from s4c_hpc.markers import unknown_to_null

    shown = unknown_to_null(table)
    seconds = shown["datetime"].cast(pa.timestamp("s", "UTC"), safe=False)
    times = pc.strftime(seconds, format="%Y-%m-%dT%H:%M:%SZ")
    shown = shown.set_column(shown.column_names.index("datetime"), "datetime", times)
    sys.stdout.flush()
    pyarrow.csv.write_csv(shown, sys.stdout.buffer)


def _plot(out: Path, chosen: Sequence[tuple[ParcelSeries, list[str]]], config: Any) -> None:
    from s4c_hpc.core.atomic import write_text
    from s4c_hpc.core.errors import InputError, listing
    from s4c_hpc.report.parcel_plot import parcel_plot

    columns = [(one, one.described[name]) for one, names in chosen for name in names]
    titles = [f"{said['long_name']} ({one.sensor} {one.grid})" for one, said in columns]
    if len(columns) > 1:
        raise InputError(
            f"a plot has room for one column, not for {len(columns)}",
            where=str(out),
            hint=f"choose with --variable, --statistic, --grid; there are {listing(titles)}",
        )
    ((one, said),) = columns
    write_text(out, parcel_plot(one, said["variable"], said["statistic"], config))
    typer.echo(out)
