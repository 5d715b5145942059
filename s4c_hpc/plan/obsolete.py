"""Files that were made once and that nobody wants: the plan no longer makes them, or all who read them are done."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.plan.classify import PlanState
from s4c_hpc.plan.graph import Graph, Mask, flattened
from s4c_hpc.plan.ledger import Ledger

_PLACE: Final = ["stage", "tile", "subject"]
_SEPARATOR: Final = "\x1f"


def obsolete_outputs(
    tasks: pa.Table, graph: Graph, status: pa.Table, failed: pa.Table, history: Ledger, deliverable: Collection[str]
) -> pa.Array:
    """Outputs of earlier deliverable tasks that no task of the plan writes, or only one that cannot: bad input.

    As long as a task is neither done nor without input, what was made for the same tile and subject before stays.

    Parameters
    ----------
    tasks, graph, status : (n_tasks,) rows of a whole plan, their edges and their states
    failed : what is known, ``FAILED_SCHEMA``
    history : every attempt ever, ``HISTORY_SCHEMA``
    deliverable : stages whose outputs are for people

    Returns
    -------
    Workspace-relative paths, whether or not they are there, sorted.
    """
    made = made_by(history, deliverable)
    row_of, planned = flattened(tasks["outputs"])
    without = _without_input(tasks, graph, status, failed)
    # The smaller ones are those to find the others by: a table of all that is planned would be large.
    wanted = planned.filter(pc.and_(pc.is_in(planned, value_set=made), pa.array(~without[row_of])))
    gone = made.filter(pc.invert(pc.is_in(made, value_set=wanted)))
    expected = pa.array(~without & np.asarray(pc.not_equal(status["state"], PlanState.DONE.value)))
    places = _places(_of_stages(tasks.select(_PLACE).filter(expected), deliverable))
    if len(gone) and len(places):
        kept = made_by(history, deliverable, places)
        gone = gone.filter(pc.invert(pc.is_in(gone, value_set=kept)))
    return gone.take(pc.sort_indices(gone))


def spent_outputs(tasks: pa.Table, graph: Graph, status: pa.Table, made: pa.Array) -> pa.Array:
    """Outputs of earlier tasks that nothing to do reads: their task is done and so is every one that depends on it.

    Parameters
    ----------
    tasks, graph, status : (n_tasks,) rows of a whole plan, their edges and their states
    made : outputs of everything that stages whose files are removed after use ever finished

    Returns
    -------
    Workspace-relative paths, whether or not they are there, sorted. Also of tasks that are not planned any more.
    """
    unfinished: Mask = np.asarray(pc.not_equal(status["state"], PlanState.DONE.value))
    wanted = unfinished.copy()
    wanted[graph.needed[unfinished[graph.waiting]]] = True
    row_of, planned = flattened(tasks["outputs"])
    kept = planned.filter(pc.and_(pc.is_in(planned, value_set=made), pa.array(wanted[row_of])))
    gone = made.filter(pc.invert(pc.is_in(made, value_set=kept)))
    return gone.take(pc.sort_indices(gone))


def made_by(history: Ledger, stages: Collection[str], places: pa.Array | None = None) -> pa.Array:
    """Distinct outputs of every task of these stages that was ever done.

    Parameters
    ----------
    places : only of tasks that stand there in the chain: stage, tile and subject as one text
    """
    parts = []
    for batch in history.batches(["kind", *(_PLACE if places is not None else ["stage"]), "outputs"]):
        rows = _of_stages(pa.table(batch).filter(pc.equal(batch["kind"], "done")), stages)
        if places is not None:
            rows = rows.filter(pc.is_in(_places(rows), value_set=places))
        parts += [chunk.flatten() for chunk in rows["outputs"].chunks]
    return pc.unique(pa.chunked_array(parts, pa.string()))


def _of_stages(rows: pa.Table, stages: Collection[str]) -> pa.Table:
    return rows.filter(pc.is_in(rows["stage"].cast(pa.string()), value_set=pa.array(sorted(stages), pa.string())))


def _places(rows: pa.Table) -> pa.Array:
    """(n_rows,) stage, tile and subject as one text."""
    texts = [rows[name].cast(pa.string()).combine_chunks() for name in _PLACE]
    return pc.binary_join_element_wise(*texts, _SEPARATOR)


def _without_input(tasks: pa.Table, graph: Graph, status: pa.Table, failed: pa.Table) -> Mask:
    """Rows whose input is bad, and those that are blocked by one of them, directly or not."""
    bad_input = failed.filter(pc.equal(failed["kind"], "input"))["id"].combine_chunks()
    given_up = pc.equal(status["state"], PlanState.QUARANTINED.value)
    without: Mask = np.asarray(pc.and_(given_up, pc.is_in(tasks["id"], value_set=bad_input)))
    blocked = np.asarray(pc.equal(status["state"], PlanState.BLOCKED.value))
    while (more := blocked & ~without & graph.any_needed(without)).any():
        without |= more
    return without
