"""The Prometheus textfile: read back as a collector reads it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.runs import probe_config, probe_workspace, run_inline

from s4c_hpc.execute import QueueStatus, QueueUse, StatusLine, status
from s4c_hpc.execute.metrics import write_status_metrics
from s4c_hpc.execute.metrics_text import metrics_text
from s4c_hpc.plan import RunFolder, Span

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    """Value by name and labels; a text that is no exposition raises."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(found: Samples, name: str, **labels: str) -> float:
    return found[name, tuple(sorted({"site": "site", **labels}.items()))]


@pytest.mark.usefixtures("probes")
def test_a_run_keeps_its_file_up_to_date_and_ends_with_the_last_word(tmp_path: Path) -> None:
    target = tmp_path / "textfile" / "s4c.prom"
    target.parent.mkdir()
    workspace = probe_workspace(
        tmp_path / "ws",
        behaviour={"probe-mid 32UPU a": {"end": "input"}, "probe-mid 32UPU b": {"end": "internal", "times": 1}},
    )
    began = time.time()
    result = run_inline(workspace, probe_config(metrics_file=str(target)))
    assert result.status is not None
    found = samples(target.read_text())
    assert of(found, "s4c_tasks", stage="probe-mid", state="done") == 2
    assert of(found, "s4c_tasks", stage="probe-mid", state="quarantined") == 1
    assert of(found, "s4c_tasks", stage="probe-leaf", state="blocked") == 1
    assert of(found, "s4c_attempts_total", stage="probe-mid", kind="done") == 2
    assert of(found, "s4c_attempts_total", stage="probe-mid", kind="input") == 1
    assert of(found, "s4c_attempts_total", stage="probe-mid", kind="internal") == 1
    assert of(found, "s4c_written_bytes_total", stage="probe-sum") == 2000
    assert of(found, "s4c_cpu_seconds_total", stage="probe-mid") > 0.01
    assert of(found, "s4c_run_info", run=result.status.run, executor="local") == 1
    assert of(found, "s4c_run_seconds_left") == 0
    assert began <= of(found, "s4c_last_advance_timestamp_seconds") <= time.time()

    seen = status(workspace)
    assert seen is not None
    write_status_metrics(workspace, seen, tmp_path / "looked.prom")
    looked = samples((tmp_path / "looked.prom").read_text())
    assert looked == {key: value for key, value in found.items() if key[0] != "s4c_last_advance_timestamp_seconds"}


@pytest.mark.usefixtures("probes")
def test_a_folder_that_cannot_be_does_not_end_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = probe_workspace(tmp_path / "ws", products=["a"])
    (tmp_path / "file").touch()
    config = probe_config(metrics_file=str(tmp_path / "file" / "s4c.prom"))
    assert run_inline(workspace, config).exit_code == 0
    assert "metrics not written" in capsys.readouterr().err


def test_the_queue_and_the_interval_are_in_it(tmp_path: Path) -> None:
    pending = QueueUse(
        stage="gather", qos="s4c-s1", state="pending", reason="QOSGrpMemLimit", elements=12, explanation=""
    )
    uses = (
        pending,
        QueueUse(stage="mask", qos="s4c-s1", state="pending", reason="QOSGrpMemLimit", elements=1, explanation=""),
        QueueUse(stage="mask", qos='odd "name"\\', state="running", reason="x", elements=3, explanation=""),
    )
    line = StatusLine(stage="mask", tile="", done=1, running=2, waiting=3, failed=4, quarantined=5, blocked=6)
    text = metrics_text(
        site="site",
        folder=RunFolder(tmp_path / "run" / "01"),
        executor="slurm",
        stages=[line],
        queue=QueueStatus(t=1.0, trouble="", uses=uses),
        left=Span(seconds=30.0, low_s=20.0, high_s=40.0),
        advanced_at=1.7e9,
    )
    found = samples(text)
    assert of(found, "s4c_queue_elements", qos="s4c-s1", state="pending", reason="QOSGrpMemLimit") == 13
    assert of(found, "s4c_queue_elements", qos='odd "name"\\', state="running", reason="") == 3
    assert [of(found, f"s4c_run_seconds_left{end}") for end in ("", "_low", "_high")] == [30.0, 20.0, 40.0]
    assert of(found, "s4c_last_advance_timestamp_seconds") == 1.7e9
    assert [of(found, "s4c_tasks", stage="mask", state=s) for s in ("done", "failed", "blocked")] == [1, 4, 6]
