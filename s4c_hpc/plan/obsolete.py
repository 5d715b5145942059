"""Files of fixed names that were made once and that the plan no longer makes."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.plan.classify import PlanState
from s4c_hpc.plan.graph import Graph, Mask, flattened
from s4c_hpc.plan.ledger import Ledger


def obsolete_outputs(tasks: pa.Table, graph: Graph, status: pa.Table, failed: pa.Table, made: pa.Array) -> pa.Array:
    """Outputs of earlier deliverable tasks that no task of the plan writes, or only one that cannot: bad input.

    A task that failed for another reason keeps the file that it made before.

    Parameters
    ----------
    tasks, graph, status : (n_tasks,) rows of a whole plan, their edges and their states
    failed : what is known, ``FAILED_SCHEMA``
    made : outputs of everything that deliverable stages ever finished

    Returns
    -------
    Workspace-relative paths, whether or not they are there, sorted.
    """
    row_of, planned = flattened(tasks["outputs"])
    without = _without_input(tasks, graph, status, failed)
    # The smaller ones are those to find the others by: a table of all that is planned would be large.
    wanted = planned.filter(pc.and_(pc.is_in(planned, value_set=made), pa.array(~without[row_of])))
    gone = made.filter(pc.invert(pc.is_in(made, value_set=wanted)))
    return gone.take(pc.sort_indices(gone))


def made_by(history: Ledger, stages: Collection[str]) -> pa.Array:
    """Distinct outputs of every task of these stages that was ever done."""
    names = pa.array(sorted(stages), pa.string())
    parts = []
    for batch in history.batches(["kind", "stage", "outputs"]):
        is_made = pc.and_(pc.equal(batch["kind"], "done"), pc.is_in(batch["stage"].cast(pa.string()), value_set=names))
        parts.append(batch["outputs"].filter(is_made).flatten())
    return pc.unique(pa.chunked_array(parts, pa.string()))


def _without_input(tasks: pa.Table, graph: Graph, status: pa.Table, failed: pa.Table) -> Mask:
    """Rows whose input is bad, and those that are blocked by one of them, directly or not."""
    bad_input = failed.filter(pc.equal(failed["kind"], "input"))["id"].combine_chunks()
    given_up = pc.equal(status["state"], PlanState.QUARANTINED.value)
    without: Mask = np.asarray(pc.and_(given_up, pc.is_in(tasks["id"], value_set=bad_input)))
    blocked = np.asarray(pc.equal(status["state"], PlanState.BLOCKED.value))
    while (more := blocked & ~without & graph.any_needed(without)).any():
        without |= more
    return without
