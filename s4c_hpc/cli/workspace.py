"""``s4c init``: a new workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from s4c_hpc.cli.output import say


def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the new workspace.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace a configuration that is there.")] = False,
) -> None:
    """Make a workspace: a folder with a commented configuration file to fill in."""
    from s4c_hpc.core.atomic import write_text
    from s4c_hpc.core.bundled import bundled
    from s4c_hpc.core.errors import InputError
    from s4c_hpc.core.workspace import Workspace

    workspace = Workspace(folder.resolve())
    if workspace.config.exists() and not force:
        raise InputError(
            "there is a configuration already", where=str(workspace.config), hint="edit it, or give --force"
        )
    write_text(workspace.config, bundled("configs/template.toml").read_text(encoding="utf-8"))
    say(f"wrote {workspace.config}; fill it in, then: s4c config check, s4c catalog scan, s4c parcels import, s4c run")
