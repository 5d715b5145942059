"""Archives on shaky mounts: errors of the way to the data are waited out, damage is told at once, nothing is written.

Where it can be, the error is a real one of the kernel: reading ``/proc/self/mem`` from its beginning ends with EIO.
Where it has to go away again, a function at the edge to the operating system fails some times.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.errors import RasterioIOError
from support.permissions import permissions_count
from support.safe import build_safe, corrupt_band, drop_band, image_path, product_xml, truncate

from s4c_hpc.catalog import BROKEN, archive, open_raster, opened, rasters, read_products, scan
from s4c_hpc.catalog.archive import list_folder, listed, patience, patiently
from s4c_hpc.catalog.discover import measure_folder
from s4c_hpc.catalog.rasters import read_header
from s4c_hpc.catalog.safe_s2 import read_safe
from s4c_hpc.catalog.xml import read_xml
from s4c_hpc.config import Archive, Config
from s4c_hpc.core.errors import InputError, MissingDataError, TemporaryError
from s4c_hpc.core.workspace import Workspace

SICK = Path("/proc/self/mem")


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses that were asked for, in seconds; none is made."""
    made: list[float] = []
    monkeypatch.setattr(archive, "_pause", made.append)
    return made


def failing(n: int, error: Exception, function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, which fails at its first ``n`` calls."""
    left = [n]

    def call(*arguments: Any, **options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise error
        return function(*arguments, **options)

    return call


def eio() -> OSError:
    return OSError(errno.EIO, os.strerror(errno.EIO))


def config(root: Path, **source: Any) -> Config:
    site = {"name": "test", "season_start": "2023-01-01", "season_end": "2023-12-31"}
    return Config.model_validate({"site": site, "sources": [{"kind": "sentinel2-l2a", "root": root, **source}]})


def test_pauses_double_and_end(pauses: list[float]) -> None:
    with patience(Archive(retries=3, backoff_s=0.5)):
        assert patiently(failing(3, eio(), lambda: 7), "a") == 7
        assert pauses == [0.5, 1.0, 2.0]
        with pytest.raises(TemporaryError, match=r"^/eodata/x: cannot be read just now \(Input/output error, tried 4 "):
            patiently(failing(4, eio(), lambda: 7), "/eodata/x")
    assert pauses == [0.5, 1.0, 2.0] * 2
    assert patiently(failing(4, eio(), lambda: 7), "a") == 7, "afterwards the default holds again"


@pytest.mark.parametrize("number", ["EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "ENOTCONN"])
def test_errors_of_the_mount_are_tried_again(number: str, pauses: list[float]) -> None:
    error = OSError(getattr(errno, number), "away")
    assert patiently(failing(1, error, lambda: 7), "a") == 7
    assert pauses == [1.0]


@pytest.mark.parametrize("number", ["ENOENT", "EACCES", "ENOTDIR", "ENOSPC", "EMFILE"])
def test_other_errors_are_the_caller_s_at_once(number: str, pauses: list[float]) -> None:
    with pytest.raises(OSError, match="no") as caught:
        patiently(failing(1, OSError(getattr(errno, number), "no"), lambda: 7), "a")
    assert not isinstance(caught.value, TemporaryError)
    assert pauses == []


def test_a_folder_that_is_listed_twice_counts_once_and_comes_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "cab":
        (tmp_path / name).touch()
    monkeypatch.setattr(os, "scandir", failing(2, eio(), os.scandir))
    before = listed()
    assert [entry.name for entry in list_folder(tmp_path)] == ["a", "b", "c"]
    assert listed() == before + 1


def test_a_raster_that_cannot_be_read_is_not_called_damaged(tmp_path: Path, pauses: list[float]) -> None:
    path = tmp_path / "B04.jp2"
    path.symlink_to(SICK)
    with pytest.raises(TemporaryError, match=r"B04\.jp2: cannot be read just now \(Input/output error, tried 5 times"):
        read_header(path)
    assert pauses == [1.0, 2.0, 4.0, 8.0]


def test_a_damaged_raster_is_told_without_a_pause(tmp_path: Path, pauses: list[float]) -> None:
    safe = build_safe(tmp_path, size_m=600)
    corrupt_band(safe, "B04")
    with pytest.raises(InputError, match="cannot be decoded"):
        read_header(image_path(safe, "B04"))
    truncate(image_path(safe, "B08"))
    with pytest.raises(InputError, match="cannot be decoded"), open_raster(image_path(safe, "B08")) as raster:
        raster.read(1)
    assert pauses == []


def test_a_raster_that_must_not_be_read_is_told_as_such(tmp_path: Path, pauses: list[float]) -> None:
    path = image_path(build_safe(tmp_path, size_m=600), "B04")
    path.chmod(0o000)
    with permissions_count(), pytest.raises(MissingDataError, match=r"cannot be read \(Permission denied\)"):
        read_header(path)
    assert pauses == []


class Shaky:
    """A dataset whose first reads fail; the file below it is as ``bytes_come`` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, n_failures: int, *, bytes_come: bool) -> None:
        self.n_failures, self.n_opened = n_failures, 0
        really_open = rasterio.open
        monkeypatch.setattr(rasterio, "open", lambda path: self._opened(really_open(path)))
        if not bytes_come:
            monkeypatch.setattr(rasters, "check_bytes", failing(n_failures, eio(), archive.check_bytes))

    def _opened(self, dataset: Any) -> Any:
        self.n_opened += 1
        outer = self

        class Dataset:
            def __getattr__(self, name: str) -> Any:
                return getattr(dataset, name)

            def read(self, *arguments: Any, **options: Any) -> Any:
                if outer.n_failures:
                    outer.n_failures -= 1
                    raise RasterioIOError("Read failed. See previous exception for details.")
                return dataset.read(*arguments, **options)

        return Dataset()


def test_a_read_that_fails_for_a_while_gives_the_same_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    path = image_path(build_safe(tmp_path, size_m=600), "B04")
    with rasterio.open(path) as raster:
        expected = raster.read(1)
    shaky = Shaky(monkeypatch, 3, bytes_come=False)
    before = opened()
    with open_raster(path) as raster:
        np.testing.assert_array_equal(raster.read(1), expected)
        assert raster.read([1], window=((0, 2), (0, 3))).shape == (1, 2, 3)
    assert pauses == [1.0, 2.0, 4.0]
    assert opened() - before == shaky.n_opened == 4, "a stale handle is replaced, and that is counted"


def test_a_fault_that_has_gone_by_when_the_bytes_are_read_needs_no_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    path = image_path(build_safe(tmp_path, size_m=600), "B04")
    Shaky(monkeypatch, 1, bytes_come=True)
    with open_raster(path) as raster:
        assert raster.read(1).shape == (60, 60)
    assert pauses == []


def test_data_that_fail_twice_although_all_bytes_come_are_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    path = image_path(build_safe(tmp_path, size_m=600), "B04")
    Shaky(monkeypatch, 2, bytes_come=True)
    with pytest.raises(InputError, match="cannot be decoded"), open_raster(path) as raster:
        raster.read(1)
    assert pauses == []


def test_a_file_that_ends_early_is_a_fault_of_the_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mounts of object stores answer with fewer bytes when a part cannot be fetched."""
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    archive.check_bytes(path)
    true_size = os.fstat

    def larger(descriptor: int) -> os.stat_result:
        values = list(true_size(descriptor))
        values[6] += 1
        return os.stat_result(values)

    monkeypatch.setattr(os, "fstat", larger)
    with pytest.raises(OSError, match="only 5 of 6 bytes came") as caught:
        archive.check_bytes(path)
    assert caught.value.errno in archive.TRANSIENT


def sicken(file: Path) -> None:
    """Replace a file by one that cannot be read."""
    file.unlink()
    file.symlink_to(SICK)


def test_metadata_that_cannot_be_read_break_no_product(tmp_path: Path) -> None:
    safe = build_safe(tmp_path, size_m=600)
    sicken(product_xml(safe))
    with pytest.raises(TemporaryError, match=r"MTD_MSIL2A\.xml: cannot be read just now"):
        read_xml(product_xml(safe))
    with pytest.raises(TemporaryError):
        read_safe(safe, measure_folder(safe))


def test_a_new_product_that_does_not_answer_is_tried_again_by_the_next_scan(tmp_path: Path) -> None:
    root, ws = tmp_path / "archive", Workspace(tmp_path / "ws")
    safe = build_safe(root, size_m=600)
    content = product_xml(safe).read_bytes()
    sicken(product_xml(safe))
    report = scan(config(root), ws)
    assert (report.n_broken, report.n_new) == (1, 1)
    why = "cannot be read just now (Input/output error, tried 5 times); it is tried again by the next scan"
    assert report.warnings == (f"{safe}/MTD_MSIL2A.xml: {why}",)
    assert read_products(ws.catalog)[0].reason.startswith("cannot be read just now (Input/output error")
    metadata = product_xml(safe)
    metadata.unlink()
    metadata.write_bytes(content)
    assert scan(config(root), ws).n_usable == 1


def test_what_is_known_of_a_product_that_does_not_answer_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, ws = tmp_path / "archive", Workspace(tmp_path / "ws")
    safe = build_safe(root, size_m=600)
    scan(config(root), ws)
    content = ws.catalog.read_bytes()
    scandir = os.scandir

    def sick(folder: Any) -> Any:
        if Path(folder).name == "GRANULE":
            raise eio()
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", sick)
    report = scan(config(root), ws)
    assert (report.n_usable, report.n_broken, report.n_removed, report.n_new) == (1, 0, 0, 0)
    assert report.warnings[0].startswith(f"{safe}/GRANULE: cannot be read just now")
    assert report.warnings[0].endswith("what the index has of it is kept")
    assert ws.catalog.read_bytes() == content


def test_products_below_a_folder_that_does_not_answer_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, ws = tmp_path / "archive", Workspace(tmp_path / "ws")
    build_safe(root / "shaky", size_m=600)
    scan(config(root), ws)
    scandir = os.scandir

    def sick(folder: Any) -> Any:
        if Path(folder).name == "shaky":
            raise OSError(errno.ESTALE, "Stale file handle")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", sick)
    report = scan(config(root), ws)
    assert (report.n_usable, report.n_broken, report.n_removed) == (1, 0, 0)
    why = "cannot be read just now (Stale file handle, tried 5 times); what the index has of it is kept"
    assert report.warnings == (f"folder {root}/shaky: {why}",)


def test_an_archive_that_is_away_ends_the_scan_and_leaves_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    root, ws = tmp_path / "archive", Workspace(tmp_path / "ws")
    for number in range(8):
        shutil.copytree(build_safe(tmp_path / "one", size_m=600), root / str(number) / "a.SAFE")
        shutil.rmtree(tmp_path / "one")
    scan(config(root), ws)
    content = ws.catalog.read_bytes()
    scandir = os.scandir

    def sick(folder: Any) -> Any:
        if Path(folder) != root and Path(folder).is_relative_to(root):
            raise eio()
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", sick)
    pauses.clear()
    with pytest.raises(TemporaryError, match="look after the mount of the archive"):
        scan(config(root), ws)
    assert len(pauses) == 3 * 4, "three folders are asked, five times each; the others are spared"
    assert ws.catalog.read_bytes() == content


@pytest.mark.parametrize("is_layout", [False, True])
def test_scattered_silence_costs_those_products_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_layout: bool
) -> None:
    """Each second folder does not answer: products of an index, or folders above them."""
    root, ws = tmp_path / "archive", Workspace(tmp_path / "ws")
    build_safe(tmp_path / "one", size_m=600)
    for number in range(9):
        shutil.copytree(tmp_path / "one", root / str(number))
    scan(config(root), ws)
    sick_ones = [root / str(number) for number in range(1, 9, 2)]
    scandir = os.scandir

    def sick(folder: Any) -> Any:
        above = Path(folder) if is_layout else Path(folder).parent
        if above in sick_ones:
            raise eio()
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", sick)
    report = scan(config(root), ws)
    assert (report.n_products, report.n_broken, report.n_removed) == (9, 0, 0)
    assert len(report.warnings) == len(sick_ones)
    for folder, warning in zip(sick_ones, sorted(report.warnings), strict=True):
        assert str(folder) in warning
        assert warning.endswith("what the index has of it is kept")


def test_a_root_that_does_not_answer_is_a_temporary_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, ws = tmp_path / "archive", Workspace(tmp_path / "ws")
    root.mkdir()
    monkeypatch.setattr(os, "scandir", failing(5, eio(), os.scandir))
    with pytest.raises(TemporaryError, match=f"{root}: cannot be read just now"):
        scan(config(root), ws)
    assert not ws.catalog.exists()


def test_products_that_were_whole_need_not_be_looked_at_again(tmp_path: Path) -> None:
    root, ws = tmp_path / "archive", Workspace(tmp_path / "ws")
    whole, broken = build_safe(root, size_m=600), build_safe(root, baseline="04.00", size_m=600)
    drop_band(broken, "B08")
    trusting = config(root).model_copy(update={"archive": Archive(recheck=False)})
    scan(trusting, ws)
    image_path(whole, "B04").unlink()
    before = listed()
    report = scan(trusting, ws)
    folders_of_the_broken_one = 1 + sum(path.is_dir() for path in broken.rglob("*"))
    assert listed() - before == 1 + folders_of_the_broken_one
    assert (report.n_usable, report.n_unchanged) == (1, 2)
    assert scan(config(root), ws).n_usable == 0, "by default it is noticed"
    scan(trusting, ws)
    shutil.rmtree(whole)
    assert scan(trusting, ws).n_removed == 1


def test_nothing_is_written_into_an_archive(tmp_path: Path) -> None:
    """Neither files beside the images (.aux.xml) nor times of change: it may be somebody else's, and read-only."""
    root, ws = tmp_path / "archive", Workspace(tmp_path / "ws")
    folder = root / "Sentinel-2" / "MSI" / "L2A" / "2023" / "06" / "25"
    safe = build_safe(folder, size_m=600)
    everything = [root, *root.rglob("*")]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in everything}
    try:
        with permissions_count():
            for source in ({}, {"layout": "creodias"}):
                assert scan(config(root, **source), ws).n_usable == 1
            with open_raster(image_path(safe, "B04")) as raster:
                raster.read(1)
                raster.stats(indexes=1)
    finally:
        after = {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]}
        for path in everything:
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert after == before


def test_a_product_that_is_broken_stays_broken_without_a_pause(tmp_path: Path, pauses: list[float]) -> None:
    root, ws = tmp_path / "archive", Workspace(tmp_path / "ws")
    truncate(product_xml(build_safe(root, size_m=600)))
    scan(config(root), ws)
    assert [product.status for product in read_products(ws.catalog)] == [BROKEN]
    assert scan(config(root), ws).n_unchanged == 1
    assert pauses == []


def test_it_is_a_dataset_in_all_but_read(tmp_path: Path) -> None:
    path = image_path(build_safe(tmp_path, size_m=600), "B04")
    with open_raster(path) as raster:
        assert (raster.width, raster.count, raster.dtypes) == (60, 1, ("uint16",))
        with pytest.raises(AttributeError, match="colour"):
            raster.colour  # noqa: B018 - looking it up is the test
