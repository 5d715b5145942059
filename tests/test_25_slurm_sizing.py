"""How many jobs fit at once: exact on small clusters, within limits of control groups, and as a profile that loads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ByteSize
from support.sites import GIB, PARTITIONS, limits, nodes

from s4c_hpc.cli.sizing import print_sizing
from s4c_hpc.config import load_config
from s4c_hpc.config.slurm import DEMANDS, Demand, MemoryMode, Slurm
from s4c_hpc.core.errors import ConfigError, InputError, NoInputsError
from s4c_hpc.core.stage import stage
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.slurm.errors import SlurmMissing
from s4c_hpc.slurm.partitions import parse_partitions
from s4c_hpc.slurm.sizing import (
    MEMORY_SHARE,
    Node,
    cluster_facts,
    profile_text,
    size,
    this_machine,
    usable_nodes,
    write_profile,
)

SITE = '[site]\nname = "a"\nseason_start = 2018-01-01\nseason_end = 2018-12-31\n'


def machine(cpus: int, gib: float) -> Node:
    return Node(name="n", cpus=cpus, mem_bytes=int(gib * GIB))


@pytest.mark.parametrize(
    ("machines", "cpus", "memory", "low", "answer"),
    [
        ([machine(32, 128)], 4, 20, 10, (6, 8, "memory")),  # a node of a cluster: six pairs of 20 GiB, eight of 10
        ([machine(32, 128)] * 50, 4, 20, 10, (300, 400, "memory")),
        ([machine(8, 256)], 4, 20, 10, (2, 2, "cores")),
        ([machine(4, 16), machine(4, 64)], 4, 20, 10, (1, 2, "memory")),  # a job does not reach over two nodes
        ([machine(4, 16)] * 9, 4, 20, 10, (0, 9, "size of a node")),
        ([machine(2, 64)], 4, 20, 10, (0, 0, "size of a node")),
    ],
)
def test_jobs_that_fit(machines: list[Node], cpus: int, memory: int, low: int, answer: tuple[int, int, str]) -> None:
    demand = Demand(cpus=cpus, memory=ByteSize(memory * GIB), memory_low=ByteSize(low * GIB))
    (fit,) = size(machines, {"job": demand})
    assert (fit.jobs, fit.jobs_low, fit.limit) == answer


@given(
    st.lists(st.tuples(st.integers(1, 64), st.integers(1, 512)), min_size=1, max_size=6),
    st.integers(1, 16),
    st.integers(1, 64),
)
def test_no_node_is_ever_asked_for_more_than_it_has(sizes: Sequence[tuple[int, int]], cpus: int, memory: int) -> None:
    machines = [machine(cores, gib) for cores, gib in sizes]
    demand = {"job": Demand(cpus=cpus, memory=ByteSize(memory * GIB))}
    (whole,) = size(machines, demand)
    parts = [size([one], demand)[0].jobs for one in machines]
    assert whole.jobs == sum(parts)
    for one, jobs in zip(machines, parts, strict=True):
        assert jobs * cpus <= one.cpus
        assert jobs * memory * GIB <= one.mem_bytes
        assert (jobs + 1) * cpus > one.cpus or (jobs + 1) * memory * GIB > one.mem_bytes


def test_figures_of_our_stages_are_their_bounds() -> None:
    tile = 300e6  # metres of boundary: a tile full of parcels of 4 ha
    index = stage("index").resources(tile, {"res_m": 10.0})
    dtypes = {"10m": ["uint16"] * 4 + ["uint8"], "20m": ["uint16"] * 6 + ["uint8"]}
    grids = {name: [{"dtype": dtype} for dtype in listed] for name, listed in dtypes.items()}
    gather = stage("gather").resources(11 * 10980**2, {"grids": grids})
    for name, bound in (("index", index), ("gather", gather)):
        assert DEMANDS[name].cpus == bound.cpus
        assert 0 <= DEMANDS[name].memory - bound.mem_bytes < 2**20, "write the bound anew into config/slurm.py"


@pytest.mark.parametrize("values", [{"memory": 0}, {"memory": "1GiB", "memory_low": "2GiB"}])
def test_a_demand_that_cannot_be_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="memory must be above 0"):
        Demand.model_validate(values)


def test_every_figure_names_its_source() -> None:
    assert all(demand.source for demand in DEMANDS.values())


def cgroups(root: Path, lines: str, files: dict[str, str]) -> Path:
    """A file system with these control groups."""
    for name, text in {
        "proc/self/cgroup": lines,
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


V1 = "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/"


@pytest.mark.parametrize(
    ("lines", "files", "memory", "cpus"),
    [
        ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": str(GIB), "a/b/cpu.max": "max 100000"}, GIB, None),
        ("0::/", {"memory.max": str(GIB), "cpu.max": "100000 100000"}, GIB, 1),  # inside a container
        ("0::/../../x", {"memory.max": str(GIB)}, GIB, None),
        ("0::/a", {"a/cpu.max": "50000 100000"}, None, 1),  # half a core is still one process
        (V1, {"memory/docker/abc/memory.limit_in_bytes": str(GIB)}, GIB, None),
        (V1, {"memory/memory.limit_in_bytes": "9223372036854771712"}, None, None),  # version 1's word for none
        (
            V1,
            {"cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "100000", "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000"},
            None,
            1,
        ),
        (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, None, None),
    ],
)
def test_limits_of_control_groups_hold(
    tmp_path: Path, lines: str, files: dict[str, str], memory: int | None, cpus: int | None
) -> None:
    free = this_machine(tmp_path / "none")
    assert free.mem_bytes == int(MEMORY_SHARE * psutil.virtual_memory().total)
    found = this_machine(cgroups(tmp_path, lines, files))
    assert found.mem_bytes == (free.mem_bytes if memory is None else int(MEMORY_SHARE * memory))
    assert found.cpus == (free.cpus if cpus is None else cpus)


def test_nodes_out_of_use_do_not_count() -> None:
    rows = [*nodes(1), *nodes(1, state="down*"), *nodes(3, partition="small")]
    assert len(usable_nodes(rows, "main")) == 1
    assert len(usable_nodes(nodes(2, state="idle~"), "main")) == 2  # a cloud's, powered down
    with pytest.raises(NoInputsError, match="partition nope"):
        usable_nodes(rows, "nope")


def test_a_cluster_profile_loads_and_says_what_was_found(tmp_path: Path) -> None:
    facts = cluster_facts(Slurm(partition="small"), limits(), parse_partitions(PARTITIONS))
    found = usable_nodes(nodes(2, cpus=32, gib=128), "main")
    write_profile(tmp_path / "site.toml", profile_text(found, size(found, DEMANDS), facts))
    (tmp_path / "s4c.toml").write_text('profile = "site.toml"\n' + SITE)
    config = load_config(tmp_path / "s4c.toml", environment={}).config
    assert config.execute.executor == "slurm"
    site = config.slurm
    assert (site.partition, site.cores, site.max_memory) == ("small", 64, 128 * GIB)
    assert (site.max_minutes, site.max_array, site.memory) == (10, 1001, MemoryMode.PER_NODE)
    comments = [line for line in (tmp_path / "site.toml").read_text().splitlines() if line.startswith("#   s1-pair")]
    assert comments[0].startswith("#   s1-pair: 12 to 16, limited by memory (4 core(s), 20.0 GiB each;")


def test_a_partition_that_gives_out_whole_nodes_is_not_asked_for_memory() -> None:
    assert cluster_facts(Slurm(partition="old"), limits(), parse_partitions(PARTITIONS)).memory is MemoryMode.NONE
    with pytest.raises(ConfigError, match=r"no such partition.*it has main, small, old"):
        cluster_facts(Slurm(partition="nope"), limits(), parse_partitions(PARTITIONS))


def test_a_profile_of_this_machine_loads(tmp_path: Path) -> None:
    one = Node(name="vm", cpus=6, mem_bytes=10 * GIB)
    write_profile(tmp_path / "site.toml", profile_text([one], size([one], DEMANDS), None))
    (tmp_path / "s4c.toml").write_text('profile = "site.toml"\n' + SITE)
    execute = load_config(tmp_path / "s4c.toml", environment={}).config.execute
    assert (execute.executor, execute.workers, execute.memory) == ("local", 6, 10 * GIB)


def test_a_profile_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text("mine")
    with pytest.raises(InputError, match="the file is there"):
        write_profile(path, "other")
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_without_slurm_this_machine_is_sized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "s4c.toml").write_text(SITE)
    workspace, config = Workspace(tmp_path), load_config(tmp_path / "s4c.toml", environment={}).config
    print_sizing(workspace, config, tmp_path / "site.toml", as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["where"] == "this machine"
    assert {fit["kind"] for fit in shown["fits"]} == set(DEMANDS)
    assert 'executor = "local"' in (tmp_path / "site.toml").read_text()
    cluster = load_config(tmp_path / "s4c.toml", environment={}, flags=["execute.executor=slurm"]).config
    with pytest.raises(SlurmMissing, match="no program 'sinfo'"):
        print_sizing(workspace, cluster, None, as_json=False)
