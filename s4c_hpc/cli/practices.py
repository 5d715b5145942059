"""``s4c practices``: files of the reference from the practices product."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from s4c_hpc.cli.options import HERE, WorkspaceOption

app = typer.Typer(help="Take what is said of agricultural practices out of a workspace.", no_args_is_help=True)


class Format(StrEnum):
    """What is written."""

    SEN4CAP = "sen4cap"
    MDB3 = "mdb3"


@app.callback()
def practices() -> None:
    """Keep ``export`` a command of its own."""


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="Folder of the tables, or the file of mdb3.")],
    form: Annotated[
        Format, typer.Option("--format", help="sen4cap: a table a practice; mdb3: markers M1 to M5 as Arrow.")
    ] = Format.SEN4CAP,
    workspace: WorkspaceOption = HERE,
) -> None:
    """Write the practices product as Sen4CAP does."""
    from s4c_hpc.config import load_config
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.practices.export import last_week, read_product, write_mdb3, write_reference_tables
    from s4c_hpc.practices.stage_practices import SET

    ws = Workspace(workspace.resolve()).require()
    config = load_config(ws.config).config
    product = read_product(ws, config, SET)
    if form is Format.MDB3:
        write_mdb3(product, last_week(product), out)
        typer.echo(out)
        return
    for path in write_reference_tables(ws, config, product, out):
        typer.echo(path)
