"""The ``s4c`` command as a user runs it: a process of its own, its words and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

DEMO_DATA = Path(__file__).parents[1] / "data" / "tum-freising-2018"


def s4c(*arguments: str | Path, workspace: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``s4c`` and wait for it."""
    return subprocess.run(
        [sys.executable, "-m", "s4c_hpc.cli", *map(str, arguments)],
        env=cli_environment(workspace, **environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def cli_environment(workspace: Path | None, **extra: str) -> dict[str, str]:
    """The environment of such a process.

    One worker, as tests run side by side already: each takes seconds to start. Tests of workers ask for more.
    """
    own = {"S4C_WORKSPACE": str(workspace)} if workspace else {}
    return {**os.environ, "S4C_DEMO_DATA": str(DEMO_DATA), "S4C_SET__EXECUTE__WORKERS": "1", **own, **extra}


def s4c_json(*arguments: str | Path, workspace: Path) -> Any:
    """What a command prints with ``--json``; it must succeed."""
    done = s4c(*arguments, "--json", workspace=workspace)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def tree_bytes(root: Path, *parts: str) -> dict[str, bytes]:
    """Contents of all files below ``parts``, by relative path; manifests aside, which carry times."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for part in parts
        for path in sorted((root / part).rglob("*"))
        if path.is_file() and not path.name.endswith("manifest.json")
    }
