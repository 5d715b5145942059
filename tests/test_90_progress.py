"""What a person sees while a run is on: a bar on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.cli import cli_environment
from support.runs import PATIENCE_S

from s4c_hpc.cli import progress
from s4c_hpc.execute import Progress


def moment(done: int, total: int = 10) -> Progress:
    return Progress(
        total=total,
        done=done,
        running=int(done < total),
        submitted=0,
        waiting=max(total - done - 1, 0),
        failed=0,
        quarantined=0,
        blocked=0,
        seconds_left=125.0,
        current="gather 32UPU x",
    )


def test_a_log_gets_a_line_a_minute_and_one_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    with progress.progress_shown() as show:
        for second in range(130):
            clock[0] = float(second)
            show(moment(second // 20))
        show(moment(10))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0] == "3 of 10 tasks done, 1 running, 6 waiting, 0 without a result, about 2 min left"
    assert lines[-1].startswith("10 of 10 tasks done")


def test_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "s4c_hpc.cli", "demo", "--workspace", str(tmp_path / "ws")],
        env=cli_environment(None, TERM="xterm", COLUMNS="120"),
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    )
    os.close(terminal)
    text = b""
    while True:
        try:
            text += os.read(main, 65536)
        except OSError:  # the other end is closed
            break
    os.close(main)
    assert process.wait(timeout=PATIENCE_S) == 0
    shown = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", text).decode()
    assert re.search(r"64/64 .*practices FREISING l4c", shown)
