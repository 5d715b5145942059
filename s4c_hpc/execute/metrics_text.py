"""The text of the Prometheus textfile. Counters are those of the whole workspace: they never go back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.queue_status import QueueStatus
from s4c_hpc.execute.status_lines import StatusLine
from s4c_hpc.plan import RunFolder, Span

STATES = ("done", "running", "waiting", "failed", "quarantined", "blocked")


def metrics_text(
    *,
    site: str,
    folder: RunFolder,
    executor: str,
    stages: Iterable[StatusLine],
    queue: QueueStatus | None,
    left: Span | None,
    advanced_at: float | None,
) -> str:
    """The textfile.

    Parameters
    ----------
    stages : totals of the run
    advanced_at : when a driver last looked, seconds since 1970; ``None`` if nobody knows
    """
    registry = CollectorRegistry()
    families = [
        _info(site, folder.id, executor),
        *_gauges(site, stages, queue, left, advanced_at),
        *_counters(site, folder.workspace),
    ]
    registry.register(_Collected(families))
    return generate_latest(registry).decode()


class _Collected:
    """Metrics that are there already, as a collector."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _info(site: str, run: str, executor: str) -> Metric:
    family = InfoMetricFamily("s4c_run", "The newest run.", labels=["site"])
    family.add_metric([site], {"run": run, "executor": executor})
    return family


def _gauges(
    site: str,
    stages: Iterable[StatusLine],
    queue: QueueStatus | None,
    left: Span | None,
    advanced_at: float | None,
) -> Iterable[Metric]:
    tasks = GaugeMetricFamily("s4c_tasks", "Tasks of the newest run.", labels=["site", "stage", "state"])
    for line in stages:
        for state in STATES:
            tasks.add_metric([site, line.stage, state], getattr(line, state))
    yield tasks
    elements = GaugeMetricFamily(
        "s4c_queue_elements", "Array elements of the run in Slurm's queue.", labels=["site", "qos", "state", "reason"]
    )
    counts: dict[tuple[str, str, str], int] = {}
    for use in queue.uses if queue else ():
        key = (use.qos, use.state, use.reason if use.state == "pending" else "")
        counts[key] = counts.get(key, 0) + use.elements
    for labels, n in sorted(counts.items()):
        elements.add_metric([site, *labels], n)
    yield elements
    if left is not None:
        parts = {"": ("Predicted", left.seconds), "_low": ("Low", left.low_s), "_high": ("High", left.high_s)}
        for suffix, (word, seconds) in parts.items():
            family = GaugeMetricFamily(f"s4c_run_seconds_left{suffix}", f"{word} time left.", labels=["site"])
            family.add_metric([site], seconds)
            yield family
    if advanced_at is not None:
        family = GaugeMetricFamily("s4c_last_advance_timestamp_seconds", "When a driver last looked.", labels=["site"])
        family.add_metric([site], advanced_at)
        yield family


def _counters(site: str, workspace: Workspace) -> Iterable[Metric]:
    attempts = CounterMetricFamily(
        "s4c_attempts", "Finished attempts at tasks, by how they ended.", labels=["site", "stage", "kind"]
    )
    written = CounterMetricFamily("s4c_written_bytes", "Size of published outputs.", labels=["site", "stage"])
    cpu = CounterMetricFamily("s4c_cpu_seconds", "Processor time of attempts.", labels=["site", "stage"])
    twins = CounterMetricFamily("s4c_twins", "Outputs that another attempt had published.", labels=["site", "stage"])
    sums: dict[str, list[float]] = {}
    for row in _sums(workspace):
        attempts.add_metric([site, row["stage"], row["kind"]], row["kind_count"])
        total = sums.setdefault(row["stage"], [0.0, 0.0, 0.0])
        for i, name in enumerate(("bytes_sum", "cpu_s_sum", "twins_sum")):
            total[i] += row[name]
    for stage, values in sums.items():
        for family, value in zip((written, cpu, twins), values, strict=True):
            family.add_metric([site, stage], value)
    return [attempts, written, cpu, twins]


def _sums(workspace: Workspace) -> list[dict[str, Any]]:
    """Sums over the stored history; a driver folds journals into it once a minute."""
    try:
        table = pq.ParquetFile(workspace.state / "history.parquet").read(["stage", "kind", "bytes", "cpu_s", "twins"])
    except (FileNotFoundError, pa.ArrowInvalid):
        return []
    grouped = table.unify_dictionaries().group_by(["stage", "kind"])
    sums = grouped.aggregate([("kind", "count"), ("bytes", "sum"), ("cpu_s", "sum"), ("twins", "sum")])
    return sorted(sums.to_pylist(), key=lambda row: (row["stage"], row["kind"]))
