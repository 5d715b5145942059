"""Remove what a plan calls obsolete, so that nobody takes the files of an earlier configuration for results."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from s4c_hpc.core.workspace import Workspace


def retire(workspace: Workspace, paths: Iterable[str]) -> tuple[str, ...]:
    """Remove files, and the folders below the workspace that are empty then; who has mapped a file keeps it.

    Killed in between, the next call goes on: the plan calls obsolete what is still there.

    Parameters
    ----------
    paths : workspace-relative, see ``Plan.obsolete``

    Returns
    -------
    The paths that were removed.
    """
    removed = []
    for relative in paths:
        path = workspace.root / relative
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        removed.append(relative)
        with contextlib.suppress(OSError):  # the first folder that holds something else ends the way up
            for folder in path.relative_to(workspace.root).parents[:-1]:
                (workspace.root / folder).rmdir()
    return tuple(removed)
