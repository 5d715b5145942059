"""Somebody who does what a document says, block by block: a shell and a Python that stay, in a folder of their own."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from support.documents import Block, DocumentError, missing
from sybil import Document
from sybil.example import Example

BLOCK_TIMEOUT_S = 300
_SHELL = """
while IFS=$'\\t' read -r -u 3 block printed state; do
  source "$block" >>"$printed" 2>&1 3<&- 4>&-
  { pwd; env -0; } >"$state"
  echo done >&4
done
"""
_PYTHON = """
import os
names = {"__name__": "__main__"}
for line in os.fdopen(3):
    block, printed, state = line.rstrip("\\n").split("\\t")
    folder, _, exported = open(state).read().partition("\\n")
    os.chdir(folder)
    os.environ.update(one.split("=", 1) for one in exported.split("\\0") if one)
    sink = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(sink, 1), os.dup2(sink, 2), os.close(sink)
    exec(compile(open(block).read(), block, "exec"), names)
    import sys; sys.stdout.flush()
    os.write(4, b"done\\n")
"""


class Session:
    """A program that runs one block after the other and remembers."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        theirs, self._say = os.pipe()
        self._hear, answers = os.pipe()
        # Descriptors 3 and 4 are the program's ends of the pipes; the shell of this line puts them there.
        # What the program starts must not keep the first ones: we would wait for an answer of a shell that has ended.
        closed = " ".join(f"{end}>&-" for end in (theirs, answers) if end not in (3, 4))
        script = f'exec "$@" 3<&{theirs} 4>&{answers} {closed}'
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", script, "bash", *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs, answers),
            start_new_session=True,
        )
        os.close(theirs)
        os.close(answers)

    def run(self, *paths: Path) -> str:
        """Run a block; why it failed, or nothing."""
        try:
            os.write(self._say, ("\t".join(map(str, paths)) + "\n").encode())
        except BrokenPipeError:
            return "the program ended"
        ready, _, _ = select.select([self._hear], [], [], BLOCK_TIMEOUT_S)
        if not ready:
            self.close()
            return f"not done after {BLOCK_TIMEOUT_S} s"
        if os.read(self._hear, 100) == b"done\n":
            return ""
        return f"ended with exit code {self.process.wait(30)}"

    def close(self) -> None:
        """End the program and all that it left behind."""
        for end in (self._say, self._hear):
            with contextlib.suppress(OSError):
                os.close(end)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


class Reader:
    """Evaluates the blocks of one document in ``folder``; scratch files and HOME are beside it, in ``apart``."""

    def __init__(self, folder: Path, apart: Path) -> None:
        self.folder, self.apart = folder, apart
        self.environment = environment(apart)
        self.shell = Session(
            ["/bin/bash", "--noprofile", "--norc", "-euo", "pipefail", "-c", _SHELL], folder, self.environment
        )
        self._python: Session | None = None
        self._printed = apart / "nothing"
        self._state = apart / "state"
        self._state.write_text(f"{folder}\n")

    @property
    def python(self) -> Session:
        """Started with the first block that needs it."""
        if self._python is None:
            self._python = Session([sys.executable, "-c", _PYTHON], self.folder, self.environment)
        return self._python

    def __call__(self, example: Example) -> str:
        """What is wrong with a block, as an evaluator of sybil."""
        block: Block = example.parsed
        if block.kind == "run":
            return self._run(block)
        if block.kind == "file":
            return self._write(block)
        if block.kind == "output":
            printed = self._printed.read_text(errors="replace")
            line = missing(block.source, printed)
            return line and f"not printed, or not there: {line}\nprinted:\n{printed}"
        return ""

    def _run(self, block: Block) -> str:
        self._printed = self.apart / f"line-{block.line}.out"
        self._printed.touch()
        program = self.apart / f"line-{block.line}.{'mjs' if block.language == 'js' else block.language}"
        program.write_text(block.source)
        if block.language == "sh":
            failed = self.shell.run(program, self._printed, self._state)
        elif block.language == "python":
            failed = self.python.run(program, self._printed, self._state)
        else:
            failed = self._once(["Rscript", "--vanilla"] if block.language == "r" else ["node"], program)
        return f"{failed}:\n{block.source}\nprinted:\n{self._printed.read_text(errors='replace')}" if failed else ""

    def _once(self, command: list[str], program: Path) -> str:
        folder, exported = self._now()
        with self._printed.open("ab") as sink:
            done = subprocess.run(
                [*command, str(program)],
                cwd=folder,
                env=exported,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                timeout=BLOCK_TIMEOUT_S,
                check=False,
            )
        return f"ended with exit code {done.returncode}" if done.returncode else ""

    def _write(self, block: Block) -> str:
        name, _, how = (part.strip() for part in block.argument.partition(","))
        if how not in {"", "added"}:
            return f"not understood: {block.argument}"
        path = Path(self._now()[0]) / name
        with path.open("a" if how else "w") as sink:
            sink.write(block.source)
        return ""

    def _now(self) -> tuple[str, dict[str, str]]:
        """The shell's folder and exports, after the block before."""
        folder, _, exported = self._state.read_text().partition("\n")
        return folder, dict(one.split("=", 1) for one in exported.split("\0") if one) or self.environment

    def left_behind(self) -> str:
        """Programs that the document started in the background and did not end."""
        program, printed = self.apart / "jobs.sh", self.apart / "jobs.out"
        program.write_text("jobs -p\n")
        failed = self.shell.run(program, printed, self._state)
        return failed or printed.read_text().strip()

    def close(self) -> None:
        """End what was started."""
        for session in (self.shell, self._python):
            if session is not None:
                session.close()


def environment(apart: Path) -> dict[str, str]:
    """A user's environment, with a HOME of its own and the installed ``s4c`` first on the PATH; no way to a network."""
    home = apart / "home"
    home.mkdir(parents=True, exist_ok=True)
    nowhere = "http://127.0.0.1:9"
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "COLUMNS": "120",
        "NO_COLOR": "1",
        "OMP_NUM_THREADS": "1",
        "http_proxy": nowhere,
        "https_proxy": nowhere,
        "no_proxy": "127.0.0.1,localhost",
    }


def execute(document: Document, folder: Path, apart: Path) -> None:
    """Do what a document says.

    Raises
    ------
    sybil.example.SybilFailure
        A block did not do what the document says; it names document and line.
    DocumentError
        The document leaves programs behind.
    """
    with reading(folder, apart) as reader:
        for example in document.examples():
            example.region.evaluator = reader
            example.evaluate()
        left = reader.left_behind()
        if left:
            raise DocumentError(f"{document.path}: programs started in the background were not ended: {left}")


@contextlib.contextmanager
def reading(folder: Path, apart: Path) -> Iterator[Reader]:
    """A reader that ends all it started."""
    apart.mkdir(parents=True, exist_ok=True)
    reader = Reader(folder, apart)
    try:
        yield reader
    finally:
        reader.close()
