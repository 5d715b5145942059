"""Every fenced block of README and guides is executed; what cannot be is listed, and links lead somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from support.cli import s4c
from support.demo import finished_demo
from support.documents import DocumentError, folder_of, missing, read_document, shown
from support.sessions import execute
from support.slurm import taken_down
from sybil.example import SybilFailure

from s4c_hpc.core.errors import ExitCode
from s4c_hpc.guides.diagrams import DIAGRAMS
from s4c_hpc.guides.dictionary import PAGE, dictionary_page

ROOT = Path(__file__).parents[1]
GUIDES = ROOT / "s4c_hpc" / "guides"
DOCUMENTS = [ROOT / "README.md", *sorted(GUIDES.rglob("*.md"))]
LINKED = [*DOCUMENTS, ROOT / "CHANGELOG.md", *sorted(ROOT.glob("*/**/*.md"))]
SHOWN = Path(__file__).parent / "data" / "shown-blocks.txt"


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_demo(tmp_path_factory).workspace


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of a document. Its path is short, because the sockets of a cluster in it have to be found."""
    with tempfile.TemporaryDirectory(prefix="s4c-") as name:
        yield Path(name)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_a_document_does_what_it_says(path: Path, folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    document = read_document(path)
    if folder_of(document) == "demo":
        shutil.copytree(request.getfixturevalue("demo"), folder / "s4c-demo")
    # Where a document says 's4c slurm cluster up': its daemons outlive the shell that started them.
    with taken_down(folder / ".s4c-cluster") if "s4c slurm cluster up" in document.text else nullcontext():
        execute(document, folder, tmp_path / "apart")


def test_blocks_that_are_not_executed_are_those_that_we_know_of() -> None:
    found = [f"{name_of(path)}: {one}" for path in DOCUMENTS for one in shown(read_document(path))]
    assert found == SHOWN.read_text().splitlines(), f"{name_of(SHOWN)} should be:\n" + "\n".join(found)


def test_the_dictionary_is_what_the_code_writes() -> None:
    assert PAGE.read_text() == dictionary_page(), "python -m s4c_hpc.guides.dictionary > s4c_hpc/guides/dictionary.md"


@pytest.mark.parametrize("name", DIAGRAMS)
def test_diagrams_are_those_of_their_script(name: str) -> None:
    assert (GUIDES / name).read_text() == DIAGRAMS[name], "python -m s4c_hpc.guides.diagrams"


def test_guides_are_listed_and_printed() -> None:
    listed = s4c("guide")
    assert listed.returncode == 0
    names = [line.split()[0] for line in listed.stdout.splitlines()[1:]]
    assert sorted(names) == sorted(path.stem for path in GUIDES.rglob("*.md") if path != GUIDES / "README.md")
    assert s4c("guide", "recipes/own-classifier").stdout == (GUIDES / "recipes" / "own-classifier.md").read_text()
    assert s4c("guide", "scien").stdout == s4c("guide", "scientist.md").stdout == (GUIDES / "scientist.md").read_text()
    wrong = s4c("guide", "sientist")
    assert wrong.returncode == ExitCode.NO_INPUTS
    assert "did you mean 'scientist'?" in wrong.stderr


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_readers_see_which_file_a_block_is(path: Path) -> None:
    """The mark above a block is a comment, which neither GitHub nor a terminal shows."""
    text = path.read_text()
    for found in re.finditer(
        r"<!-- file: ([^,\n]+)(?:, added)? -->\n```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL
    ):
        name = Path(found[1]).name
        above = text[: found.start()].rstrip().rpartition("\n\n")[2]
        assert name in above or name in found[2], f"{name_of(path)}: nobody sees that a block is {found[1]}"


def on_a_terminal(name: str) -> str:
    """A guide as a terminal of 120 columns gets it, without colours, past the pager."""
    command = f"stty cols 120; PAGER=cat {Path(sys.executable).parent}/s4c guide {name}"
    found = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, text=True, check=True)
    return re.sub(r"\x1b\[[0-9;]*m|\r", "", found.stdout)


def test_a_terminal_says_what_blocks_are_and_where_pictures_lie() -> None:
    printed = on_a_terminal("operator")
    assert "<!--" not in printed
    assert "File my-site/s4c.toml:" in printed
    assert "Added to s4c.toml:" in printed
    assert "Prints:" in printed
    assert "one's own crontab is no test's business" in printed
    assert str(GUIDES / "way-of-the-data.svg") in re.sub(r"\s*\n", "", printed)


def test_guides_are_known_to_their_index() -> None:
    index = (GUIDES / "README.md").read_text()
    for path in GUIDES.rglob("*.md"):
        assert path.name == "README.md" or f"({path.relative_to(GUIDES)})" in index


def headings(path: Path) -> set[str]:
    """Anchors as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", sorted({p for p in LINKED if ".venv" not in p.parts}), ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\((?!https?:|mailto:)([^)\s]*)\)", re.sub(r"`[^`\n]*`", "", text))
    targets += re.findall(r'(?:src|srcset|href)="(?!https?:|mailto:)([^"]+)"', text)
    for target in targets:
        file, _, anchor = target.partition("#")
        found = (path.parent / file) if file else path
        assert found.exists(), f"{name_of(path)} leads to {target}, which does not exist"
        assert not anchor or anchor in headings(found), f"{name_of(path)} leads to {target}: no such heading"


# What executes documents is itself put to the test.


def run(text: str, folder: Path) -> None:
    path = folder / "guide.md"
    path.write_text(text)
    work = folder / "work"
    work.mkdir()
    document = read_document(path)
    folder_of(document)
    execute(document, work, folder / "apart")


EMPTY = "<!-- folder: empty -->\n"


def test_folder_exports_variables_and_names_last_for_a_document(tmp_path: Path) -> None:
    run(
        EMPTY
        + """# Title
```sh
mkdir sub && cd sub
export WORD=hello
number=7
greet() { echo "$WORD $number"; }
```
<!-- file: values.csv -->
```csv
a,b
1,2
```
<!-- file: values.csv, added -->
```csv
3,4
```
Text between.
```sh
greet
cat values.csv
```
<!-- output -->
```text
hello 7
a,b
...
3,4
```
```python
import os
word = os.environ["WORD"]
```
```python
print(word, os.path.basename(os.getcwd()))
```
<!-- output -->
```text
hello sub
```
```r
cat(Sys.getenv("WORD"), sum(read.csv("values.csv")$b), "\\n")
```
<!-- output -->
```text
hello 6
```
```js
import { readFileSync } from "node:fs";
console.log(process.env.WORD, readFileSync("values.csv", "utf8").length);
```
<!-- output -->
```text
hello 12
```
<!-- shown: takes a cluster -->
```sh
exit 1
```
""",
        tmp_path,
    )


@pytest.mark.parametrize(
    ("blocks", "line", "said"),
    [
        (
            "```sh\ntrue\n```\n\n```sh\necho before; false; echo after\n```\n",
            6,
            r"exit code 1:\necho before(.|\n)*before\n$",
        ),
        ("```sh\nfalse | cat\n```\n", 2, "exit code 1"),
        ("```sh\necho $UNSET\n```\n", 2, "UNSET: unbound"),
        ("```sh\nexit 0\n```\n", 2, "exit code 0"),
        ("```sh\nsleep 100 & false\n```\n", 2, "exit code 1"),
        (
            "```python\nx = 1\n```\n```python\nprint(x)\nraise ValueError('no')\n```\n",
            5,
            r"line 2, in <module>(.|\n)*no",
        ),
        ("```r\nstop('no')\n```\n", 2, "exit code 1"),
        ("```js\nthrow new Error('no')\n```\n", 2, "exit code 1"),
        ("```sh\necho 1\n```\n<!-- output -->\n```text\n2\n```\n", 6, "printed:\n1"),
        ("```sh\necho 1; echo 2\n```\n<!-- output -->\n```text\n1\n```\n", 6, "printed:\n1\n2"),
        ("```sh\necho ok; echo trouble >&2\n```\n<!-- output -->\n```text\nok\n```\n", 6, "trouble"),
    ],
)
def test_a_block_that_fails_is_caught(tmp_path: Path, blocks: str, line: int, said: str) -> None:
    with pytest.raises(SybilFailure, match=said) as caught:
        run(EMPTY + blocks, tmp_path)
    assert f"guide.md, line {line}," in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (EMPTY + "```bash\ntrue\n```\n", "line 2: a block of 'bash'"),
        (EMPTY + "```toml\na = 1\n```\n", "line 2: a block of 'toml'"),
        (EMPTY + "```\nwords\n```\n", "line 2: a block of ''"),
        (EMPTY + "<!-- output -->\n```text\n1\n```\n", "line 3: an output that follows no block"),
        (EMPTY + "```sh\ntrue\n```\n<!-- output -->\n\n```text\n1\n```\n", "line 7: a block of 'text'"),
        (EMPTY + "```sh\ntrue\n```\n<!-- output -->\n", "line 5: no block follows"),
        (EMPTY + "<!-- shown -->\n```sh\ntrue\n```\n", "line 3: not understood"),
        (EMPTY + "<!-- displayed: slow -->\n```sh\ntrue\n```\n", "line 3: not understood"),
        (EMPTY + "<!-- file -->\n```toml\n```\n", "line 3: not understood"),
        (EMPTY + "```sh\ntrue\n", "line 2: this block is not closed"),
        ("# Title\n```sh\ntrue\n```\n", "line 1: must say"),
        ("<!-- folder: full -->\n```sh\ntrue\n```\n", "line 1: must say"),
        (EMPTY + "```sh\nsleep 100 &\n```\n", "were not ended"),
    ],
)
def test_a_document_of_which_nobody_can_tell_what_to_do_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DocumentError, match=re.escape(said)):
        run(text, tmp_path)


def test_a_block_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.sessions.BLOCK_TIMEOUT_S", 0.5)
    with pytest.raises(SybilFailure, match=r"line 2,(.|\n)*not done after"):
        run(EMPTY + "```sh\nsleep 100\n```\n", tmp_path)


def test_dots_stand_for_anything_and_nothing_else_does() -> None:
    assert missing("a ... c\n", "a bb\nb c  \n") == ""
    assert missing("...\nlast\n", "first\nlast\n") == ""
    assert missing("12 ha", "12\u202fha\n") == ""
    assert missing("a  1", "a    1\n") == ""
    assert missing("a 1", "a1\n") == "a 1"
    assert missing("a.c", "abc") == "a.c"
    assert missing("a\nb ...\nd", "a\nb\nc\nd") == "b ..."
    assert missing("a\nb", "a\nb\nc") == "(the end)"
    assert missing("b\n...", "a b\n") == "b"
    assert missing("", "a\n") == "(the end)"
