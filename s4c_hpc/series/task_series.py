"""The acquisitions that a task over a tile's series was planned with: our own, then those of imports."""

from __future__ import annotations

from s4c_hpc.core.errors import InputError, MissingDataError, TemporaryError
from s4c_hpc.core.stage import TaskIO
from s4c_hpc.core.task import Task
from s4c_hpc.series.generation import Acquisition, pointer_path, read_set
from s4c_hpc.series.imported import acquisitions_of, is_import_key


def task_series(task: Task, io: TaskIO) -> tuple[list[Acquisition], tuple[tuple[str, str], ...]]:
    """Acquisitions of the tile, own ones first, and products that are missing with the reason.

    Parameters
    ----------
    task : depends on the task that writes the tile's pointer, if there is one, and perhaps on others, which are no
        business of this; keys of imports are among its inputs

    Raises
    ------
    TemporaryError
        If series have been replaced since the plan was made, or have gone.
    """
    found: list[Acquisition] = []
    missing: tuple[tuple[str, str], ...] = ()
    try:
        for dependency in task.depends_on:
            if not _is_series(dependency, io):
                continue
            if dependency in io.upstream_outputs:
                own = read_set(io.workspace, task.tile)
                if own.task != dependency:
                    raise TemporaryError(
                        "the series have changed since the plan was made",
                        where=pointer_path(task.tile),
                        hint="run 's4c run' again",
                    )
                found += own.acquisitions
                missing = own.missing
            else:
                missing = (("series", io.upstream_reasons.get(dependency, "not there")),)
        for key in filter(is_import_key, task.input_keys):
            found += acquisitions_of(io.workspace, key, task.tile)
    except (MissingDataError, InputError) as error:
        raise TemporaryError(error.what, where=error.where, hint="run 's4c run' again") from error
    return found, missing


def _is_series(dependency: str, io: TaskIO) -> bool:
    """Whether a task is one that writes the pointer of a tile."""
    return io.upstream_subjects.get(dependency, "series").split(" ")[0] == "series"
