"""Images: build them, look at what is in them, start them.

``python -m benchmarks.bench_image --engine 'buildah --storage-driver vfs' [--options ...]`` builds the OCI image by
'make image' and prints size, seconds and what the program says in it. Set BUILDAH_ISOLATION=chroot where namespaces are
not to be had.

``python -m benchmarks.bench_image --definition FOLDER [--wheels FOLDER]``, as root, carries out the sections of the
Apptainer definition in a plain Debian 12 (``debootstrap --variant=minbase bookworm FOLDER``): what can be known of it
where there is no Apptainer. The folder holds the installation afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.images import ROOT, copied_by_definition, sections

Run = Callable[[str], str]
"""Runs a line of shell in an image and returns what it prints."""
HOUR_S = 3600


def seconds(act: Callable[[], object]) -> float:
    """How long something takes."""
    started = time.perf_counter()
    act()
    return round(time.perf_counter() - started, 2)


def said(words: Sequence[str | Path], **environment: str) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(
        words, check=False, stdout=subprocess.PIPE, text=True, timeout=HOUR_S, env={**os.environ, **environment}
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} failed with {done.returncode}")
    return done.stdout.strip()


def build(engine: str, options: str) -> dict[str, Any]:
    """The OCI image, by the documented command."""
    return {
        "build, s": seconds(lambda: said(["make", "-C", ROOT, "image", f"ENGINE={engine}", f"IMAGE_OPTIONS={options}"]))
    }


def carry_out(folder: Path, wheels: Path | None) -> dict[str, Any]:
    """Sections ``%files``, ``%post`` and ``%test`` of the Apptainer definition, in ``folder``."""
    for source, to in copied_by_definition().items():
        target = folder / to.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copy(ROOT / source, target)
    if wheels is not None:
        shutil.copytree(wheels, folder / "wheels", dirs_exist_ok=True)
    shutil.copy("/etc/resolv.conf", folder / "etc" / "resolv.conf")
    inside = in_chroot(folder)
    found = {"%post, s": seconds(lambda: inside(sections()["post"]))}
    shutil.rmtree(folder / "wheels", ignore_errors=True)
    found["%test, s"] = seconds(lambda: inside(sections()["test"]))
    return found


def in_chroot(folder: Path) -> Run:
    """Runs lines in a tree with /proc, and an environment as small as that of a build."""
    clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"]
    enter = 'mount -t proc proc "$0/proc" && exec chroot "$0" /bin/sh -ec "$1"'
    return lambda line: said([*clean, "unshare", "--mount", "/bin/sh", "-c", enter, folder, line])


@contextlib.contextmanager
def in_container(engine: str, image: str) -> Iterator[Run]:
    """Runs lines in containers of podman or docker, or in one of buildah."""
    words = shlex.split(engine)
    if Path(words[0]).name != "buildah":
        yield lambda line: said([*words, "run", "--rm", "--entrypoint", "/bin/sh", image, "-ec", line])
        return
    name = said([*words, "from", "--pull=never", image])
    try:
        yield lambda line: said([*words, "run", name, "--", "/bin/sh", "-ec", line])
    finally:
        said([*words, "rm", name])


def look(run: Run, begin: str = "true") -> dict[str, Any]:
    """What is in an image, and how fast it starts; ``begin`` sets the environment up."""
    home = "cd $(mktemp -d)"
    return {
        "s4c --version": run(f"{begin}\ns4c --version"),
        "MB": round(int(run("du -sxk / 2>/dev/null | cut -f1 || true")) / 1000),
        "MB of packages": round(int(run("du -sk /opt/s4c | cut -f1")) / 1000),
        "s4c --help, s": [seconds(lambda: run(f"{begin}\ns4c --help")) for _ in range(5)],
        "an empty command, s": min(seconds(lambda: run("true")) for _ in range(5)),
        "s4c demo, s": seconds(lambda: run(f"{begin}\n{home}\ns4c demo")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="podman")
    parser.add_argument("--options", default="", help="further options of the build")
    parser.add_argument("--image", default="s4c-hpc:latest")
    parser.add_argument("--no-build", action="store_true", help="look at what is there")
    parser.add_argument("--definition", type=Path, metavar="FOLDER")
    parser.add_argument("--wheels", type=Path)
    asked = parser.parse_args()
    if asked.definition is not None:
        found = {} if asked.no_build else carry_out(asked.definition, asked.wheels)
        found |= look(in_chroot(asked.definition), sections()["environment"])
    else:
        found = {} if asked.no_build else build(asked.engine, asked.options)
        with in_container(asked.engine, asked.image) as run:
            found |= look(run)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
