"""A year of acquisitions in several layers is more files than a process may have open."""

from __future__ import annotations

import itertools
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.season import SeasonSpace

from s4c_hpc.markers.part import part_from_file
from s4c_hpc.series import open_series


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """Room for a handful of files beside those that are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    free = (number for number in itertools.count() if number not in taken)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(itertools.islice(free, 16, None)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def space(tmp_path: Path) -> SeasonSpace:
    """Thirty days of two grids."""
    space = SeasonSpace(tmp_path / "space")
    space.workspace.config.touch()
    for day in range(1, 31):
        space.acquire(f"201806{day:02d}T102648", grids=("10m", "20m"))
    return space


@pytest.mark.usefixtures("few_descriptors")
def test_months_are_compacted_pointed_to_merged_and_read(space: SeasonSpace) -> None:
    assert {name: outcome.n_rows for name, outcome in space.season().items()} == {
        "s2 10m 2018-06": len(space.ids),
        "s2 20m 2018-06": len(space.ids),
        "current": 60,
    }
    assert [outcome.n_rows for outcome in space.merge()] == [len(space.ids)]
    series = open_series(space.root)
    (found,) = series.variable("ndvi", "mean", grid="10m")
    assert found.matrix.shape == (30, len(space.ids))


@pytest.mark.usefixtures("few_descriptors")
def test_parts_hold_no_descriptor(space: SeasonSpace) -> None:
    paths = [space.root / path for task in space.stats for path in task.outputs]
    parts = [part_from_file(path, lambda _: {}) for path in paths]
    assert all(part.batch(0)["NewID"].to_pylist() == part.ids[: part.starts[1]].tolist() for part in parts)
    assert len(parts) == 60
