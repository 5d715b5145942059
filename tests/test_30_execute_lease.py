"""One driver a workspace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from support.runs import probe_workspace, run_inline

from s4c_hpc.core.errors import SchedulerError, TemporaryError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import cancel, current_owner, status
from s4c_hpc.execute.lease import lease, lease_path

HOLDER = """
import sys
from pathlib import Path
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.lease import lease
with lease(Workspace(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_driver_is_told_who_the_first_is(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path)
    with lease(workspace) as owner:
        assert owner.is_here
        with pytest.raises(TemporaryError, match=f"process {os.getpid()} on ") as caught:
            run_inline(workspace)
        assert caught.value.exit_code == 75
        assert not workspace.runs.exists()
    with lease(workspace):
        pass


def test_looking_at_the_owner_does_not_take_its_place(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert current_owner(workspace) is None
    with lease(workspace) as owner:
        for _ in range(3):
            assert current_owner(workspace) == owner
        with pytest.raises(TemporaryError), lease(workspace):
            pass
    assert current_owner(workspace) is None


def test_a_killed_owner_blocks_nobody_and_its_name_means_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    arguments = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        owner = current_owner(workspace)
        assert owner is not None
        assert owner.pid == process.pid
        with pytest.raises(TemporaryError, match=f"process {process.pid} "), lease(workspace):
            pass
        process.kill()
    assert lease_path(workspace).read_text(), "the name stays"
    assert current_owner(workspace) is None
    assert not owner.is_here
    with lease(workspace):
        pass


def test_a_later_process_with_the_same_number_is_not_the_owner(tmp_path: Path) -> None:
    with lease(Workspace(tmp_path)) as owner:
        written = json.loads(lease_path(Workspace(tmp_path)).read_text())
        other = type(owner)(**{**written, "process_started": psutil.Process().create_time() - 100})
        assert not other.is_here
        assert not type(owner)(**{**written, "host": "elsewhere"}).is_here


def test_a_driver_on_another_machine_is_not_signalled(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with lease(workspace):
        path = lease_path(workspace)
        path.write_text(json.dumps({**json.loads(path.read_text()), "host": "node7"}))
        with pytest.raises(SchedulerError, match="run 's4c cancel' on node7"):
            cancel(workspace)


def test_a_driver_of_someone_else_is_named_with_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.kill", refused)
    user = psutil.Process().username()
    with lease(Workspace(tmp_path)), pytest.raises(SchedulerError, match=f"{os.getpid()}, belongs to {user}.* ask "):
        cancel(Workspace(tmp_path))


def test_without_a_driver_there_is_nothing_to_cancel_and_without_a_run_no_status(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path)
    assert cancel(workspace).is_nothing
    assert status(workspace) is None


@pytest.mark.usefixtures("probes")
def test_a_run_in_a_thread_leaves_signals_alone(tmp_path: Path) -> None:
    codes: list[int] = []
    workspace = probe_workspace(tmp_path)
    thread = threading.Thread(target=lambda: codes.append(run_inline(workspace).exit_code))
    thread.start()
    thread.join()
    assert codes == [0]
