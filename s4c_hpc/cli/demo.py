"""``s4c demo``: the whole chain on bundled real data, as a user would do it step by step."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import time
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from s4c_hpc.cli.catalog import say_scan
from s4c_hpc.cli.options import SetOption
from s4c_hpc.cli.output import say
from s4c_hpc.cli.parcels import say_import
from s4c_hpc.cli.run import ExecutorOption, run_and_tell, with_executor
from s4c_hpc.core.text import human_seconds


def demo(
    workspace: Annotated[Path, typer.Option("--workspace", "-w", help="Folder for the demo's results.")] = Path(
        "s4c-demo"
    ),
    data: Annotated[Path | None, typer.Option("--data", help="Use this copy of the demo's data.")] = None,
    executor: ExecutorOption = None,
    profile: Annotated[Path | None, typer.Option("--profile", help="Site profile, e.g. of configs/site.")] = None,
    overrides: SetOption = None,
) -> None:
    """Run everything on bundled real data: 23 Sentinel-2 dates of 2018, 18 fields near Freising."""
    from s4c_hpc import catalog, parcels
    from s4c_hpc.config import load_config
    from s4c_hpc.core.atomic import write_text
    from s4c_hpc.core.bundled import bundled
    from s4c_hpc.core.errors import InputError, MissingDataError
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.report import write_report

    started = time.monotonic()
    ws = Workspace(workspace.resolve())
    template = bundled("configs/demo.toml").read_text(encoding="utf-8")
    if profile is not None and not profile.is_file():
        raise MissingDataError("no such site profile", where=str(profile), hint="those of s4c-hpc are in configs/site")
    if not ws.config.exists():
        folder = (data or bundled("tests/data/tum-freising-2018")).resolve()
        if not (folder / "parcels.gpkg").is_file():
            raise MissingDataError(
                "holds no demo data", where=str(folder), hint="leave --data out to use the bundled data"
            )
        text = template.replace("${S4C_DEMO_DATA}", str(folder))
        if profile is not None:
            first, _, rest = text.partition("\n")
            text = f"{first}\nprofile = {json.dumps(str(profile.resolve()))}\n{rest}"
        write_text(ws.config, text)
    elif ws.config.read_text(encoding="utf-8").splitlines()[:1] != template.splitlines()[:1]:
        raise InputError("is a workspace of your own", where=str(ws.root), hint="give the demo another --workspace")
    elif profile is not None and _profile(ws.config) != str(profile.resolve()):
        raise InputError(
            "is a demo that was made without this profile", where=str(ws.root), hint="give the demo another --workspace"
        )
    say(f"workspace {ws.root}")
    config = load_config(ws.config, environment=dict(os.environ), flags=with_executor(overrides, executor)).config
    say_scan(catalog.scan(config, ws))
    say_import(parcels.import_parcels(None, ws, config))
    code = run_and_tell(ws, config)
    report = write_report(ws, config, ws.root / "report.html")
    say(f"finished in {human_seconds(time.monotonic() - started)}")
    command = "s4c" if shutil.which("s4c") else str(Path(sys.argv[0]))
    name = shlex.quote(str(workspace))
    tries = ("report parcel 7", "serve", "markers list")
    say(f"try: {'; '.join(f'{command} {one} -w {name}' for one in tries)}")
    typer.echo(f"markers: {ws.markers}")
    typer.echo(f"report:  {report}")
    raise typer.Exit(int(code))


def _profile(path: Path) -> object:
    """What a configuration file names as its site profile; ``None`` if it names none."""
    return tomllib.loads(path.read_text(encoding="utf-8")).get("profile")
