"""What ``make`` does about missing Debian packages: in a namespace where programs are hidden and apt-get is a fake."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "system-packages"
BROWSER = " chromium" if platform.freedesktop_os_release()["ID"] == "debian" else ""
SLURM = "slurmctld slurmd slurm-client slurmdbd munge mariadb-server"
PACKAGES = f"nodejs npm r-base-core{BROWSER} {SLURM} nginx-light curl openssl libnss-wrapper shellcheck systemd"
NAMESPACE = ["unshare", *([] if os.getuid() == 0 else ["--map-root-user"]), "--mount", "sh", "-c"]
HIDE = "mount -t tmpfs none /usr/sbin"
"""Where daemons and the policy about starting them are; what is written there ends with the namespace."""
APT_GET = """#!/bin/sh
echo "$* | $(tail -n 1 /usr/sbin/policy-rc.d)" >>"{log}"
[ "$1" != "{failing}" ]
"""

pytestmark = pytest.mark.skipif(
    subprocess.run([*NAMESPACE, HIDE], check=False, capture_output=True).returncode != 0,
    reason="this machine does not let a test hide /usr/sbin from a program",
)


class Machine:
    """A machine with next to nothing installed."""

    def __init__(self, folder: Path) -> None:
        self.programs, self.log = folder / "bin", folder / "apt-get.log"
        self.programs.mkdir()
        for name in ("bash", "chmod", "id", "rm", "sh", "tail"):
            (self.programs / name).symlink_to(shutil.which(name) or name)
        self.install("python3")  # new enough, with venv: all that it is asked succeeds

    def install(self, name: str, text: str = "#!/bin/sh\n") -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def install_apt_get(self, failing: str = "") -> None:
        self.install("apt-get", APT_GET.format(log=self.log, failing=failing))

    def run(self, purpose: str, before: str = "true") -> subprocess.CompletedProcess[str]:
        """Run the script after another; standard output is the policy that it leaves."""
        script = f'{HIDE} && {before} && PATH={self.programs} "$@"; code=$?; cat /usr/sbin/policy-rc.d; exit $code'
        words = [*NAMESPACE, script, "sh", str(self.programs / "bash"), str(SCRIPT), purpose, "python3"]
        return subprocess.run(words, check=False, capture_output=True, text=True)

    def asked(self) -> list[str]:
        """What apt-get was asked, each with the policy of that moment."""
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_root_has_what_is_missing_installed_and_no_daemon_started(machine: Machine) -> None:
    machine.install_apt_get()
    done = machine.run("test")
    assert done.returncode == 0, done.stderr
    assert machine.asked() == [
        "update -qq | exit 101",
        f"install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=900 {PACKAGES} | exit 101",
    ]
    assert done.stdout == ""  # the policy is gone again


def test_a_policy_of_the_machine_is_left_as_it_is(machine: Machine) -> None:
    machine.install_apt_get()
    done = machine.run("test", before="echo theirs >/usr/sbin/policy-rc.d")
    assert (done.returncode, done.stdout) == (0, "theirs\n")
    assert [line.split(" | ")[1] for line in machine.asked()] == ["theirs", "theirs"]


def test_without_fresh_lists_those_at_hand_are_used(machine: Machine) -> None:
    machine.install_apt_get(failing="update")
    done = machine.run("test")
    assert (done.returncode, len(machine.asked())) == (0, 2)
    assert "could not be refreshed" in done.stderr


def test_a_failed_installation_fails_and_takes_its_policy_back(machine: Machine) -> None:
    machine.install_apt_get(failing="install")
    done = machine.run("test")
    assert (done.returncode != 0, done.stdout) == (True, "")


@pytest.mark.parametrize("apt_get", [True, False])
def test_others_are_told_the_command(machine: Machine, apt_get: bool) -> None:
    (machine.programs / "id").unlink()
    machine.install("id", "#!/bin/sh\necho 1000\n")
    if apt_get:
        machine.install_apt_get()
    done = machine.run("test")
    command = f"  sudo apt-get update && sudo apt-get install -y --no-install-recommends {PACKAGES}\n"
    assert (done.returncode, command in done.stderr) == (1, True), done.stderr
    assert machine.asked() == []


def test_only_what_is_missing_is_installed(machine: Machine) -> None:
    machine.install_apt_get()
    programs = "node npm Rscript chromium slurmctld slurmd sbatch munged mariadbd nginx curl openssl shellcheck"
    for name in [*programs.split(), "systemd-analyze"]:
        machine.install(name)
    machine.install("hostname", '#!/bin/sh\necho "$NSS_WRAPPER_HOSTNAME"\n')
    assert machine.run("test").returncode == 0
    assert machine.asked()[-1].split(" | ")[0].split()[6:] == ["slurmdbd", "mariadb-server"]


def test_a_set_up_needs_python_only(machine: Machine) -> None:
    machine.install_apt_get()
    assert machine.run("setup").returncode == 0
    assert machine.asked() == []
    (machine.programs / "python3").unlink()
    assert machine.run("setup").returncode == 0
    assert machine.asked()[-1].split(" | ")[0].split()[6:] == ["python3", "python3-venv"]
