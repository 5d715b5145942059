"""The demo on a cluster, through the command line: the bytes of a run on one machine, whoever drives it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.cli import s4c, s4c_json, tree_bytes
from support.demo import FinishedDemo
from support.runs import PATIENCE_S, wait_for

from s4c_hpc.slurm.cluster import Cluster

PROFILE = Path(__file__).parents[2] / "configs" / "site" / "dev-cluster.toml"
DERIVED = ("tiles", "markers")


@pytest.fixture
def local(finished_demo: FinishedDemo) -> Path:
    """The demo as it comes from one machine."""
    return finished_demo.workspace


@pytest.fixture(autouse=True)
def _on_the_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
def test_the_demo_on_slurm_gives_the_same_bytes(local: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    done = s4c("demo", "--workspace", workspace, "--executor", "slurm", "--profile", PROFILE)
    assert done.returncode == 0, done.stderr
    assert tree_bytes(workspace, *DERIVED) == tree_bytes(local, *DERIVED)
    assert s4c_json("status", workspace=workspace)["state"] == "complete"


@pytest.mark.slow
def test_a_detached_run_goes_on_after_the_shell_has_gone(local: Path, tmp_path: Path, cluster: Cluster) -> None:
    """The same workspace without its results: the shell that begins the run ends at once."""
    workspace = Path(shutil.copytree(local, tmp_path / "workspace"))
    for name in (*DERIVED, "run", "state"):
        shutil.rmtree(workspace / name)
    text = (workspace / "s4c.toml").read_text()
    (workspace / "s4c.toml").write_text(f"profile = {json.dumps(str(PROFILE))}\n{text}")
    done = s4c("run", "-w", workspace, "--executor", "slurm", "--detach")
    assert done.returncode == 0, done.stderr
    assert "you may log out" in done.stderr
    complete = wait_for(
        lambda: (
            s4c_json("status", workspace=workspace)["state"] == "complete"
            and "s4c-tick" not in cluster.run("squeue", "-h", "-o", "%j")
        ),
        2 * PATIENCE_S,
    )
    assert complete, s4c("status", "-w", workspace).stderr
    assert tree_bytes(workspace, *DERIVED) == tree_bytes(local, *DERIVED)
