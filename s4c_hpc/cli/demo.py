"""``s4c demo``: the whole chain on bundled real data, as a user would do it step by step."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from s4c_hpc.cli.catalog import say_scan
from s4c_hpc.cli.output import say
from s4c_hpc.cli.parcels import say_import
from s4c_hpc.cli.run import run_and_tell
from s4c_hpc.core.text import human_seconds


def demo(
    workspace: Annotated[Path, typer.Option("--workspace", "-w", help="Folder for the demo's results.")] = Path(
        "s4c-demo"
    ),
    data: Annotated[Path | None, typer.Option("--data", help="Use this copy of the demo's data.")] = None,
) -> None:
    """Run everything on bundled real data: 23 Sentinel-2 dates of 2018, 18 fields near Freising."""
    from s4c_hpc import catalog, parcels
    from s4c_hpc.config import load_config
    from s4c_hpc.core.atomic import write_text
    from s4c_hpc.core.bundled import bundled
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.report import write_report

    started = time.monotonic()
    ws = Workspace(workspace.resolve())
    if not ws.config.exists():
        folder = (data or bundled("tests/data/tum-freising-2018")).resolve()
        template = bundled("configs/demo.toml").read_text(encoding="utf-8")
        write_text(ws.config, template.replace("${S4C_DEMO_DATA}", str(folder)))
    say(f"workspace {ws.root}")
    config = load_config(ws.config, environment=dict(os.environ)).config
    say_scan(catalog.scan(config, ws))
    say_import(parcels.import_parcels(None, ws, config))
    code = run_and_tell(ws, config)
    report = write_report(ws, config, ws.root / "report.html")
    say(f"finished in {human_seconds(time.monotonic() - started)}")
    say(f"try: s4c status -w {workspace}; s4c markers list -w {workspace}")
    typer.echo(f"markers: {ws.markers}")
    typer.echo(f"report:  {report}")
    raise typer.Exit(int(code))
