"""The seam between science and execution: what a stage promises.

A stage is a pure function of a plan row. It neither knows Slurm nor dask; they know it by name only, through
the entry-point group ``s4c_hpc.stages``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from s4c_hpc.core.errors import InternalError
from s4c_hpc.core.publish import Publisher
from s4c_hpc.core.subject import name_of, subject_in
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.core.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

ENTRY_POINT_GROUP = "s4c_hpc.stages"

_T = TypeVar("_T")


@dataclass(frozen=True)
class PlanContext:
    """What a stage sees when it is asked for its rows."""

    workspace: Workspace
    config: Any
    """The frozen ``s4c_hpc.config.Config``; ``Any`` because core does not import config."""
    upstream: Mapping[str, pa.Table]
    """Rows already planned, by stage name; columns as in ``core.plan_schema.PLAN_SCHEMA``."""
    known: dict[str, Any] = field(default_factory=dict, repr=False)
    """What stages of this plan have looked up, see ``once``; one for all contexts of a plan."""

    def once(self, key: str, look_up: Callable[[], _T]) -> _T:
        """What the first stage that asked has found: the workspace may change between two stages of a plan."""
        if key not in self.known:
            self.known[key] = look_up()
        found: _T = self.known[key]
        return found


@dataclass(frozen=True)
class TaskIO:
    """What a running task may touch."""

    workspace: Workspace
    run_dir: Path
    """``run/<uuid>``: frozen copies of catalog and config for this plan."""
    config: Any
    publisher: Publisher
    """Where finished files go; first wins for intermediates, replace for deliverables."""
    settled: frozenset[str] = field(default=frozenset())
    """Ids of dependencies that are settled without output (bad input): the task does without them."""
    upstream_outputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Workspace-relative outputs of each dependency that is done, by task id, in ``depends_on`` order."""
    upstream_subjects: Mapping[str, str] = field(default_factory=dict)
    """Human-readable name (``stage tile subject``) of each dependency, by task id."""
    upstream_reasons: Mapping[str, str] = field(default_factory=dict)
    """Why a settled dependency has no output, by task id."""
    comm: Any = None
    """Communicator (mpi4py) of the ranks that do this task together; ``None``: this process does it alone."""

    def product_of(self, dependency: str) -> str:
        """Product id that a dependency is about (gather, stats); its own id where nobody has said."""
        return name_of(subject_in(self.upstream_subjects.get(dependency, dependency)))

    @cached_property
    def catalog_path(self) -> Path:
        """The product index as it was when the plan was made."""
        return self.run_dir / "products.parquet"


@runtime_checkable
class Stage(Protocol):
    """A step of the chain. ``name`` is also the key of its QoS; a changed ``version`` makes new task ids."""

    name: str
    version: str
    launch: Launch
    after: Sequence[str]
    """Names of stages whose rows ``tasks`` reads: the order of planning."""
    tolerates_missing: bool
    """Whether a task runs although a dependency ended without output (merge does, stats does not)."""
    deliverable: bool
    """Whether outputs are for people and are removed when the plan no longer makes them."""

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        """Rows of this stage in ``PLAN_SCHEMA``; a million of them in seconds."""
        ...

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Do the work of one row; raise ``InputError`` for bad input, anything else is a failure.

        A stage with ``Launch.MPI`` is called on every rank of ``io.comm``; all of them enter each context of
        ``io.publisher`` in the same order and find the same private path there. What rank 0 returns counts. The bytes
        must not depend on the number of ranks, nor on whether there is a communicator at all.
        """
        ...

    def resources(self, work: float, params: Mapping[str, Any]) -> Resources:
        """Upper bounds for a task of this size."""
        ...


@lru_cache(maxsize=1)
def stages() -> dict[str, Stage]:
    """All installed stages by name, each after the stages it reads."""
    found = {entry.name: entry.load()() for entry in entry_points(group=ENTRY_POINT_GROUP)}
    ordered: dict[str, Stage] = {}
    while len(ordered) < len(found):
        ready = sorted(n for n, s in found.items() if n not in ordered and all(a in ordered for a in s.after))
        if not ready:
            missing = {n: [a for a in s.after if a not in found] for n, s in found.items() if n not in ordered}
            raise InternalError(f"stages wait for each other or for stages that are not installed: {missing}")
        ordered.update((name, found[name]) for name in ready)
    return ordered


@lru_cache
def stage(name: str) -> Stage:
    """The installed stage called ``name``; no other stage is imported."""
    for entry in entry_points(group=ENTRY_POINT_GROUP, name=name):
        found: Stage = entry.load()()
        return found
    raise InternalError(
        f"no stage is called {name!r}",
        where=f"entry points {ENTRY_POINT_GROUP}",
        hint=f"installed are {', '.join(entry_points(group=ENTRY_POINT_GROUP).names)}; reinstall the package",
    )
