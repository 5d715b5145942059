"""Imports that are killed or run out of room: the version before stays whole, nothing half-made is seen or left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shapely
from support.cli import tree_bytes
from support.parcels import make_config, squares, write_layer

from s4c_hpc.config import ImportMode
from s4c_hpc.core.errors import TemporaryError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import import_parcels, read_attributes
from s4c_hpc.parcels.store import versions

MODES = [ImportMode.REPLACE, ImportMode.UPDATE]
N_MANY = 12_000
"""Parcels whose version takes more than a MiB."""
DIES = """
import os, signal, sys
from pathlib import Path
import pyarrow.parquet as pq
from support.parcels import make_config
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import declare, import_parcels, publish

file, workspace, mode, where = sys.argv[1:]

def dying(real, after=True):
    def call(*args, **options):
        if after:
            real(*args, **options)
        os.kill(os.getpid(), signal.SIGKILL)
    return call

if where == "reading":
    declare.repair_outlines = dying(declare.repair_outlines)
elif where == "writing":
    pq.ParquetWriter.write_table = dying(pq.ParquetWriter.write_table)
elif where == "before it is there":
    Path.rename = dying(Path.rename, after=False)
elif where == "when it is there":
    Path.rename = dying(Path.rename)
import_parcels(Path(file), Workspace(Path(workspace)), make_config(mode=mode))
"""
OUTGROWN = """
import resource, sys
from pathlib import Path
from support.parcels import make_config
from s4c_hpc.core.errors import TemporaryError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import import_parcels, outlines

file, workspace, mode, in_memory = sys.argv[1:]
outlines._IN_MEMORY_BYTES = int(in_memory)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
try:
    import_parcels(Path(file), Workspace(Path(workspace)), make_config(mode=mode))
except TemporaryError as error:
    print(error)
"""


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parcels that cannot be packed well."""
    west, south, east, north = shapely.bounds(squares(N_MANY)).T + np.random.default_rng(1).uniform(0, 1, (4, N_MANY))
    fields = shapely.box(west, south, east, north)
    return write_layer(tmp_path_factory.mktemp("many") / "many.parquet", fields, columns={"id": range(N_MANY)})


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layer(tmp_path_factory.mktemp("few") / "few.parquet", squares(3), columns={"id": range(3)})


def still_works(workspace: Workspace, file: Path, before: dict[str, bytes], mode: ImportMode, n: int) -> None:
    """The old version is what it was, and an import into the same workspace succeeds and leaves nothing else."""
    after = tree_bytes(workspace.root, "parcels/v0001")
    assert after == before
    report = import_parcels(file, workspace, make_config(mode=mode))
    assert report.version == "v0002"
    assert (versions(workspace), report.n_parcels) == (["v0001", "v0002"], n)
    assert tree_bytes(workspace.root, "parcels/v0001") == before
    assert [p.name for p in workspace.temporary.iterdir()] == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("where", ["reading", "writing", "before it is there", "when it is there"])
def test_an_import_that_is_killed(tmp_path: Path, few: Path, where: str, mode: ImportMode) -> None:
    workspace = Workspace(tmp_path / "site")
    import_parcels(few, workspace, make_config())
    before = tree_bytes(workspace.root, "parcels/v0001")
    other = write_layer(tmp_path / "other.parquet", squares(5)[1:], columns={"id": range(1, 5)})
    done = run(DIES, other, workspace.root, mode, where)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert any(workspace.temporary.iterdir()) == (where != "when it is there")
    # It is there whole or not at all.
    assert versions(workspace) == (["v0001", "v0002"] if where == "when it is there" else ["v0001"])
    rows = read_attributes(workspace, versions(workspace)[-1]).num_rows
    assert rows == (3 if where != "when it is there" else 4 if mode is ImportMode.REPLACE else 5)
    still_works(workspace, other, before, mode, 4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("in_memory", [1 << 26, 1000])
def test_a_file_that_must_not_grow(tmp_path: Path, few: Path, many: Path, mode: ImportMode, in_memory: int) -> None:
    workspace = Workspace(tmp_path / "site")
    import_parcels(few, workspace, make_config())
    before = tree_bytes(workspace.root, "parcels/v0001")
    done = run(OUTGROWN, many, workspace.root, mode, in_memory)
    assert "the disk is full" in done.stdout, done.stdout + done.stderr
    assert not any(workspace.temporary.iterdir())
    assert versions(workspace) == ["v0001"]
    still_works(workspace, many, before, mode, N_MANY)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("in_memory", [1 << 26, 1000])
def test_a_full_disk(
    small_disk: Path | None, few: Path, many: Path, mode: ImportMode, in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if small_disk is None:
        pytest.skip("no file system can be mounted here: a limit of the size of files stands in, see above")
    workspace = Workspace(small_disk / "site")
    import_parcels(few, workspace, make_config())
    before = tree_bytes(workspace.root, "parcels/v0001")
    monkeypatch.setattr("s4c_hpc.parcels.outlines._IN_MEMORY_BYTES", in_memory)
    with pytest.raises(TemporaryError, match="the disk is full"):
        import_parcels(many, workspace, make_config(mode=mode))
    assert not any(workspace.temporary.iterdir())
    assert versions(workspace) == ["v0001"]
    other = write_layer(small_disk.parent / "other.parquet", squares(4), columns={"id": range(4)})
    still_works(workspace, other, before, mode, 4)


def test_two_imports_do_not_work_at_once(tmp_path: Path, few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path / "site")

    def meanwhile(*_: object, **__: object) -> None:
        import_parcels(few, workspace, make_config())

    monkeypatch.setattr("s4c_hpc.parcels.version.declare", meanwhile)
    with pytest.raises(TemporaryError, match="another import is at work"):
        import_parcels(few, workspace, make_config())
    monkeypatch.undo()
    assert import_parcels(few, workspace, make_config()).version == "v0001"
