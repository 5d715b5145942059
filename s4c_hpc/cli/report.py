"""``s4c report``: the HTML report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from s4c_hpc.cli.options import HERE, SetOption, WorkspaceOption, open_workspace


def report(
    workspace: WorkspaceOption = HERE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; report.html when not given.")
    ] = None,
    overrides: SetOption = None,
) -> None:
    """Write one HTML file: map, a time line per parcel, coverage, failures, times and memory."""
    from s4c_hpc.report import write_report

    ws, loaded = open_workspace(workspace, overrides)
    typer.echo(write_report(ws, loaded.config, output or ws.root / "report.html"))
