"""Features on a cluster, through the command line: ranks over two nodes write the bytes of one process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.cli import s4c, s4c_json, tree_bytes
from support.many_fields import build_many_fields
from support.runs import wait_for

from s4c_hpc.execute.journal import Done, read_events
from s4c_hpc.features import read_features
from s4c_hpc.slurm.cluster import Cluster

PROFILE = Path(__file__).parents[2] / "configs" / "site" / "dev-cluster.toml"
DERIVED = ("tiles", "markers")
RANKS = 6
"""One a block of parcels; a node of the cluster has four cores."""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace as it comes from one machine."""
    root = tmp_path_factory.mktemp("local")
    text = build_many_fields(root)
    workspace = root / "workspace"
    workspace.mkdir()
    (workspace / "s4c.toml").write_text(f"profile = {json.dumps(str(PROFILE))}\n{text}")
    for words in (["catalog", "scan"], ["parcels", "import"], ["run", "--executor", "local"]):
        done = s4c(*words, workspace=workspace)
        assert done.returncode == 0, done.stderr
    return workspace


@pytest.mark.slow
def test_ranks_on_two_nodes_write_the_bytes_of_one_process(
    spare: Cluster, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in spare.env.items():
        monkeypatch.setenv(name, value)
    workspace = Path(shutil.copytree(local, tmp_path / "workspace"))
    for name in (*DERIVED, "run", "state"):
        shutil.rmtree(workspace / name)
    done = s4c("run", "--executor", "slurm", workspace=workspace)
    assert done.returncode == 0, done.stderr
    assert tree_bytes(workspace, *DERIVED) == tree_bytes(local, *DERIVED)
    assert s4c_json("status", workspace=workspace)["state"] == "complete"
    (path,) = workspace.glob("tiles/*/features/*/*.arrow")
    assert len(read_features(path).batches) == RANKS

    expected = [["python", str(RANKS), "2", "COMPLETED"]]
    assert wait_for(lambda: steps(spare) == expected), steps(spare)  # the accounts lag behind the queue
    events = [event for journal in workspace.glob("run/*/journal/*.jsonl") for event in read_events(journal)[0]]
    made = [e for e in events if isinstance(e, Done) and any(str(path).endswith(o.path) for o in e.outputs)]
    assert len(made) == 1
    assert made[0].base_anon_bytes > RANKS * (20 << 20), "interpreters of all ranks"


def steps(cluster: Cluster) -> list[list[str]]:
    """Program, ranks, nodes and end of the steps that srun has started, of all jobs of the features."""
    text = cluster.run("sacct", "-n", "-P", "--format=JobID,JobName,NTasks,NNodes,State")
    rows = [line.split("|") for line in text.splitlines()]
    jobs = {row[0] for row in rows if row[1].startswith("s4c-features-")}
    return [row[1:] for row in rows if row[0].removesuffix(".0") in jobs and row[0].endswith(".0") and row[4]]
