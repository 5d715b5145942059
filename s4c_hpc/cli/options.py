"""Options that many commands share, and how a command gets at its workspace and configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from s4c_hpc.config import LoadedConfig
    from s4c_hpc.core.workspace import Workspace

WorkspaceOption = Annotated[
    Path,
    typer.Option("--workspace", "-w", envvar="S4C_WORKSPACE", help="Folder that holds s4c.toml and all results."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one configuration value; may be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
HERE = Path()


def open_workspace(root: Path, flags: list[str] | None) -> tuple[Workspace, LoadedConfig]:
    """The workspace at ``root`` and its checked configuration."""
    from s4c_hpc.config import load_config
    from s4c_hpc.core.workspace import Workspace

    workspace = Workspace(root.resolve()).require()
    return workspace, load_config(workspace.config, flags=flags or ())
