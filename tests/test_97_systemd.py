"""The units: sound for systemd, as closed as they say, and their commands run as they stand in them."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest
from support.certificates import certificate
from support.cli import cli_environment, s4c
from support.demo import finished_demo
from support.serving import SITE, build_small
from support.units import INSTALLED, SYSTEMD, Unit, environment_file

from s4c_hpc.core.errors import ExitCode

PROGRAM = Path(sys.executable).with_name("s4c")
UNITS = ["s4c-serve.service", "s4c-run@north.service", "s4c-run@north.timer"]
NAME = "farms.example"
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units as somebody installs them who has the program elsewhere."""
    folder = tmp_path_factory.mktemp("units")
    for path in SYSTEMD.iterdir():
        name = path.name.replace("@.", "@north.")
        (folder / name).write_text(path.read_text().replace(INSTALLED, str(PROGRAM)))
    drop_in = folder / "with-tls" / "s4c-serve.service.d"
    drop_in.mkdir(parents=True)
    shutil.copy(folder / "s4c-serve.service", drop_in.parent)
    (folder / "s4c-serve-tls.conf").rename(drop_in / "tls.conf")
    return folder


@needs_systemd
@pytest.mark.parametrize("name", [*UNITS, "with-tls/s4c-serve.service"])
def test_systemd_finds_nothing_wrong(installed: Path, name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", installed / name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize(("name", "exposure"), [("s4c-serve.service", 1.5), ("s4c-run@north.service", 1.7)])
def test_little_is_left_to_whoever_takes_them_over(installed: Path, name: str, exposure: float) -> None:
    words = ["systemd-analyze", "security", "--offline=true", f"--threshold={exposure * 10:.0f}", "--no-pager"]
    done = subprocess.run([*words, installed / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:]


@needs_systemd
def test_what_systemd_is_asked_can_be_refused(installed: Path, tmp_path: Path) -> None:
    text = (installed / "s4c-serve.service").read_text()
    wrong = tmp_path / "s4c-serve.service"
    wrong.write_text(text.replace("ProtectSystem=strict", "ProtectSystem=very").replace("NoNewPrivileges=yes\n", ""))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", wrong], capture_output=True, text=True, check=False)
    assert "protect system" in done.stderr
    words = ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager"]
    assert subprocess.run([*words, wrong], capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("name", ["s4c-serve.service", "s4c-run@.service"])
def test_nothing_can_be_written_but_what_is_named(name: str) -> None:
    unit = Unit().read(SYSTEMD / name)
    assert unit.one("ProtectSystem") == "strict"
    assert unit.one("NoNewPrivileges") == "yes"
    assert unit.one("User") == "s4c"
    assert unit.settings["CapabilityBoundingSet"] == []
    assert ("MemoryMax" in unit.settings) is (name == "s4c-serve.service")
    assert unit.settings.get("ReadWritePaths", []) == ([] if name == "s4c-serve.service" else ["%f"])


def test_what_will_not_get_better_by_itself_is_not_tried_again() -> None:
    unit = Unit().read(SYSTEMD / "s4c-serve.service")
    codes = set(map(int, unit.one("RestartPreventExitStatus").split()))
    assert codes == {ExitCode.USAGE, ExitCode.CONFIG, ExitCode.INPUT}
    nightly = Unit().read(SYSTEMD / "s4c-run@.service")
    codes = set(map(int, nightly.one("RestartPreventExitStatus").split()))
    assert set(ExitCode) - codes == {ExitCode.OK, ExitCode.TEMPORARY}


class Machine:
    """Folders that systemd would make for the service, and what it is told."""

    def __init__(self, folder: Path, workspace: Path) -> None:
        self.folder = folder
        self.specifiers = {"S": str(folder / "state"), "L": str(folder / "log"), "C": str(folder / "cache")}
        for parent in self.specifiers.values():
            (Path(parent) / "s4c").mkdir(mode=0o700, parents=True)
        self.tokens = folder / "state" / "s4c" / "tokens.json"
        self.variables = environment_file(SYSTEMD / "serve.env")
        words = re.sub(r"--workspace \S+", "", self.variables["S4C_SERVE_OPTIONS"])
        self.variables["S4C_SERVE_OPTIONS"] = f"{words} --workspace {workspace} --port 0"

    def run(self, unit: Unit, key: str) -> list[list[str]]:
        """Command lines of the unit, with this checkout's program."""
        commands = unit.commands(key, self.specifiers, self.variables)
        return [[str(PROGRAM) if word == INSTALLED else word for word in words] for words in commands]

    def environment(self, unit: Unit) -> dict[str, str]:
        """Nothing of ours but the search path: a service has no home, and here none that could be written."""
        own = re.sub("%(.)", lambda found: self.specifiers[found[1]], unit.one("Environment"))
        return {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **dict([own.split("=", 1)]), **self.variables}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_small(tmp_path_factory.mktemp("units") / "north").workspace.root


@pytest.fixture
def machine(tmp_path: Path, workspace: Path) -> Machine:
    return Machine(tmp_path, workspace)


@contextlib.contextmanager
def started(words: Sequence[str], environment: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command of a unit as a process, and where it listens."""
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True, cwd="/") as process:
        try:
            assert process.stderr is not None
            said = ""
            for line in process.stderr:
                if found := re.match(r"serving on (\S+)/v1 ", line):
                    yield process, found[1]
                    return
                said += line
            raise AssertionError(said)
        finally:
            process.kill()


def test_the_service_serves_with_its_environment_file_and_ends_when_told(machine: Machine) -> None:
    unit = Unit().read(SYSTEMD / "s4c-serve.service")
    assert unit.one("EnvironmentFile") == "/etc/s4c/serve.env"
    token = s4c("serve", "token", "add", "anna", "--role", "viewer", "--site", SITE, "--tokens", machine.tokens)
    (words,) = machine.run(unit, "ExecStart")
    with started(words, machine.environment(unit)) as (process, url):
        with httpx.Client(base_url=url, trust_env=False, headers={"Host": NAME}) as client:
            assert client.get("/v1/health").json() == {"status": "ok"}
            assert client.get("/v1/sites").status_code == 401
            sites = client.get("/v1/sites", headers={"Authorization": f"Bearer {token.stdout.strip()}"})
        assert [one["site"] for one in sites.json()["sites"]] == [SITE]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in {0, -signal.SIGTERM}, "either is a success to systemd"
    assert (machine.folder / "log" / "s4c" / "serve-audit.jsonl").read_text().count("\n") >= 2


def test_without_tokens_it_does_not_start_and_is_left_alone(machine: Machine) -> None:
    unit = Unit().read(SYSTEMD / "s4c-serve.service")
    (words,) = machine.run(unit, "ExecStart")
    done = subprocess.run(words, env=machine.environment(unit), capture_output=True, text=True, check=False)
    assert "nobody has a token" in done.stderr
    assert str(done.returncode) in unit.one("RestartPreventExitStatus").split()


def test_with_the_drop_in_it_ends_tls_itself(machine: Machine) -> None:
    unit = Unit().read(SYSTEMD / "s4c-serve.service").read(SYSTEMD / "s4c-serve-tls.conf")
    assert unit.settings["IPAddressDeny"] == []
    credentials, runtime = machine.folder / "credentials", machine.folder / "run"
    credentials.mkdir()
    runtime.mkdir(mode=0o700)
    cert, key = certificate(machine.folder)
    assert [one.partition(":")[0] for one in unit.settings["LoadCredential"]] == ["tls.cert", "tls.key"]
    shutil.copy(cert, credentials / "tls.cert")
    shutil.copy(key, credentials / "tls.key")
    (credentials / "tls.key").chmod(0o440)  # as with the access list by which systemd hands it out
    machine.variables |= {"CREDENTIALS_DIRECTORY": str(credentials), "RUNTIME_DIRECTORY": str(runtime)}
    options = machine.variables["S4C_SERVE_OPTIONS"].replace("--behind-proxy", "--host 127.0.0.1")
    machine.variables["S4C_SERVE_OPTIONS"] = options
    s4c("serve", "token", "add", "anna", "--role", "viewer", "--site", SITE, "--tokens", machine.tokens)
    for words in machine.run(unit, "ExecStartPre"):
        subprocess.run(words, check=True)
    (words,) = machine.run(unit, "ExecStart")
    trusted = ssl.create_default_context(cafile=str(cert))
    with started(words, machine.environment(unit)) as (_, url):
        assert url.startswith("https://")
        assert httpx.get(f"{url}/v1/health", verify=trusted, trust_env=False).status_code == 200


@pytest.mark.slow
def test_a_night_looks_for_products_and_brings_the_workspace_up_to_date(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    workspace = shutil.copytree(finished_demo(tmp_path_factory).workspace, tmp_path / "north")
    unit = Unit().read(SYSTEMD / "s4c-run@.service")
    assert unit.one("ReadWritePaths") == "%f"
    commands = unit.commands("ExecStart", {"f": str(workspace)}, {})
    assert [words[1:3] for words in commands] == [["catalog", "scan"], ["run", "--workspace"]]
    for words in commands:
        assert words[0] == INSTALLED
        done = subprocess.run(
            [PROGRAM, *words[1:]], env=cli_environment(None), cwd="/", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="no systemd-sysusers")
def test_the_user_is_made_without_a_shell(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "s4c.sysusers"], check=True, capture_output=True
    )
    (line,) = [one for one in (tmp_path / "etc" / "passwd").read_text().splitlines() if one.startswith("s4c:")]
    assert line.endswith(":/var/lib/s4c:/usr/sbin/nologin")
    assert int(line.split(":")[2]) < 1000
