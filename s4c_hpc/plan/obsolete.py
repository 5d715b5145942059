"""Files of fixed names that were made once and that the plan no longer makes."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.plan.classify import PlanState
from s4c_hpc.plan.graph import Graph, Mask, flattened


def obsolete_outputs(
    tasks: pa.Table, status: pa.Table, failed: pa.Table, history: pa.Table, deliverable: Collection[str]
) -> set[str]:
    """Outputs of earlier deliverable tasks that no task of the plan writes, or only one that cannot: bad input.

    A task that failed for another reason keeps the file that it made before.

    Parameters
    ----------
    tasks, status : (n_tasks,) rows of a whole plan and their states
    failed, history : what is known, ``FAILED_SCHEMA`` and ``HISTORY_SCHEMA``
    deliverable : names of the stages whose outputs are removed when they are not made any more

    Returns
    -------
    Workspace-relative paths, whether or not they are there.
    """
    stages = pa.array(sorted(deliverable), pa.string())
    made = history.filter(
        pc.and_(pc.equal(history["kind"], "done"), pc.is_in(history["stage"].cast(pa.string()), value_set=stages))
    )
    wanted = tasks.filter(pa.array(~_without_input(tasks, status, failed)))
    return set(flattened(made["outputs"])[1].to_pylist()) - set(flattened(wanted["outputs"])[1].to_pylist())


def _without_input(tasks: pa.Table, status: pa.Table, failed: pa.Table) -> Mask:
    """Rows whose input is bad, and those that are blocked by one of them, directly or not."""
    bad_input = failed.filter(pc.equal(failed["kind"], "input"))["id"].combine_chunks()
    given_up = pc.equal(status["state"], PlanState.QUARANTINED.value)
    without: Mask = np.asarray(pc.and_(given_up, pc.is_in(tasks["id"], value_set=bad_input)))
    blocked = np.asarray(pc.equal(status["state"], PlanState.BLOCKED.value))
    graph = Graph.of(tasks)
    while (more := blocked & ~without & graph.any_needed(without)).any():
        without |= more
    return without
