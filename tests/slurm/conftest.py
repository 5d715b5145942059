"""A real Slurm for the tests in this folder. Missing packages fail them, with the command that installs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.slurm import running_cluster
from support.slurm_runs import SlurmRun

from s4c_hpc.slurm.cluster import Cluster

TIMEOUT_S = 1200
"""Of a test, in place of pytest's own: several waits of ``PATIENCE_S`` one after the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of this folder time."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.fixture(scope="session")
def session_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all tests of this process; tests take ``cluster``."""
    with running_cluster(Cluster(tmp_path_factory.mktemp("cluster"))) as running:
        yield running


@pytest.fixture
def cluster(session_cluster: Cluster) -> Cluster:
    """The cluster with all daemons up, all nodes idle and no jobs, whatever the test before has done to it."""
    session_cluster.restore()
    _use_up_lost_numbers(session_cluster)
    return session_cluster


LOST_NUMBERS = 24
"""More jobs than a test has had when it killed the controller."""

_controllers: dict[Path, int | None] = {}


def _use_up_lost_numbers(cluster: Cluster) -> None:
    """A controller that was killed gives numbers of jobs out again, and nodes that know them refuse the job."""
    pid = cluster.daemons["slurmctld"].pid()
    if _controllers.setdefault(cluster.root, pid) != pid:
        for _ in range(LOST_NUMBERS):
            cluster.run("sbatch", "--hold", "--output=/dev/null", "--wrap", "true")
        cluster.restore()
        _controllers[cluster.root] = pid


@pytest.fixture(scope="module")
def module_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One more, for the tests of one file; tests take ``spare``."""
    with running_cluster(Cluster(tmp_path_factory.mktemp("spare"), nodes=2, cgroup=False)) as running:
        yield running


@pytest.fixture
def spare(module_cluster: Cluster) -> Cluster:
    """A second cluster, as ``cluster`` is; this one may be taken down and started otherwise."""
    module_cluster.up()
    module_cluster.restore()
    return module_cluster


@pytest.fixture
def run(cluster: Cluster, tmp_path: Path, probes: Path) -> SlurmRun:
    """Three tasks of stage mid, a job each."""
    return SlurmRun(cluster, tmp_path, probes, slurm={"chunk_s": 0.001})
