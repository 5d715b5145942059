"""Files are whole or absent, also when the writer is killed between writing and naming."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s4c_hpc.core.atomic import publish_new, publish_replacing, replacing, sha256_file, write_text
from s4c_hpc.core.publish import Publisher


def test_first_one_wins_and_the_twin_is_gone(tmp_path: Path) -> None:
    final = tmp_path / "out" / "file"
    for text, won in (("first", True), ("second", False)):
        temporary = tmp_path / text
        temporary.write_text(text)
        assert publish_new(temporary, final) is won
        assert not temporary.exists()
    assert final.read_text() == "first"


def test_replacing_keeps_the_old_file_when_the_writer_fails(tmp_path: Path) -> None:
    final = tmp_path / "file"
    write_text(final, "old")

    def fail() -> None:
        with replacing(final) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert final.read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


@pytest.mark.parametrize("verb", ["new", "replace"])
def test_publisher_leaves_nothing_behind_after_an_error(tmp_path: Path, verb: str) -> None:
    publisher = Publisher(root=tmp_path, scratch=tmp_path / "tmp" / "attempt")

    def fail() -> None:
        with getattr(publisher, verb)("a/b") as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert publisher.published == []
    assert not (tmp_path / "a" / "b").exists()
    assert list(publisher.scratch.iterdir()) == []


def test_publisher_counts_twins(tmp_path: Path) -> None:
    publisher = Publisher(root=tmp_path, scratch=tmp_path / "tmp")
    for text in ("one", "two"):
        with publisher.new("stack/x.arrow") as temporary:
            temporary.write_text(text)
    assert (tmp_path / "stack" / "x.arrow").read_text() == "one"
    assert publisher.twins_discarded == 1


def test_kill_between_write_and_rename_leaves_the_old_file(tmp_path: Path) -> None:
    final = tmp_path / "file"
    write_text(final, "old")
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from s4c_hpc.core.atomic import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('new')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = subprocess.run([sys.executable, "-c", code, os.fspath(final)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert final.read_text() == "old"


def test_sha256_is_the_standard_one(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # FIPS 180-4, example of a one-block message
    assert sha256_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("publish", [publish_new, publish_replacing])
def test_a_folder_that_is_removed_in_between_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publish: Callable[[Path, Path], object]
) -> None:
    """Whoever tidies the workspace removes folders that are empty at that moment."""
    temporary, final = tmp_path / "draft", tmp_path / "a" / "b" / "file"
    temporary.write_text("x")
    make = Path.mkdir
    removed: list[Path] = []

    def make_and_lose(folder: Path, *args: Any, **options: Any) -> None:
        make(folder, *args, **options)
        if folder == final.parent and len(removed) < 3:
            folder.rmdir()
            removed.append(folder)

    monkeypatch.setattr(Path, "mkdir", make_and_lose)
    publish(temporary, final)
    assert (final.read_text(), len(removed)) == ("x", 3)


def test_a_file_where_the_folder_should_be_is_no_twin(tmp_path: Path) -> None:
    (tmp_path / "draft").write_text("x")
    (tmp_path / "folder").write_text("y")
    with pytest.raises(OSError, match="folder"):
        publish_new(tmp_path / "draft", tmp_path / "folder" / "file")
