"""Seeded random kills; ``benchmarks/bench_faults.py`` has more rounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.slurm_chaos import chaos_round

from s4c_hpc.slurm.cluster import Cluster


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_killed_the_bytes_are_the_same(cluster: Cluster, tmp_path: Path, probes: Path, seed: int) -> None:
    found = chaos_round(cluster, tmp_path, probes, seed, n_kills=2)
    assert found.kinds["done"] >= 10
