"""The text that goes to sbatch: golden scripts for every way to ask, and quoting that survives any word."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from s4c_hpc.config.slurm import MemoryMode, Mpi, Slurm, SlurmLaunch
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.slurm.directives import directive
from s4c_hpc.slurm.jobs import JobSpec
from s4c_hpc.slurm.script import batch_script, log_pattern

GIB = 1024**3

ARRAY = JobSpec(
    name="s4c-gather-6f1c-w0003",
    comment="6f1c",
    words=("-m", "s4c_hpc.execute.element", "/scratch/run 1", "w0003"),
    output=log_pattern("/scratch/run 1/logs", "w0003_%4a.log"),
    workdir="/scratch/run 1",
    cpus=4,
    mem_bytes=3 * GIB + 1,
    walltime_s=3601,
    n_elements=250,
    throttle=40,
    qos="s1-16g",
    partition="main",
    account="cap",
)

GOLDEN_ARRAY = """\
#!/bin/bash -l
#SBATCH --job-name=s4c-gather-6f1c-w0003
#SBATCH --comment=6f1c
#SBATCH --output="/scratch/run 1/logs/w0003_%4a.log"
#SBATCH --open-mode=append
#SBATCH --chdir="/scratch/run 1"
#SBATCH --no-requeue
#SBATCH --export=NIL
#SBATCH --propagate=NONE
#SBATCH --partition=main
#SBATCH --account=cap
#SBATCH --qos=s1-16g
#SBATCH --array=0-249%40
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=3073M
#SBATCH --time=61

umask 0027
export OMP_NUM_THREADS=4
export MKL_NUM_THREADS=4
export OPENBLAS_NUM_THREADS=4
export NUMEXPR_NUM_THREADS=4
export NUMBA_NUM_THREADS=4
export GDAL_NUM_THREADS=4
export RAYON_NUM_THREADS=4
export MALLOC_ARENA_MAX=2

exec /venv/bin/python -m s4c_hpc.execute.element '/scratch/run 1' w0003 "$SLURM_ARRAY_TASK_ID"
"""

GOLDEN_MPI = """\
#!/bin/bash
#SBATCH --job-name=s4c-merge-6f1c-w0004
#SBATCH --comment=6f1c
#SBATCH --output=/run/logs/w0004_%4a.log
#SBATCH --open-mode=append
#SBATCH --chdir=/run
#SBATCH --no-requeue
#SBATCH --export=ALL
#SBATCH --propagate=NONE
#SBATCH --array=0-0
#SBATCH --ntasks=8
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=1024M
#SBATCH --time=1
#SBATCH --constraint=skylake --exclusive

umask 0027
export OMP_NUM_THREADS=1
export MKL_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export NUMEXPR_NUM_THREADS=1
export NUMBA_NUM_THREADS=1
export GDAL_NUM_THREADS=1
export RAYON_NUM_THREADS=1
export MALLOC_ARENA_MAX=2
export SLURM_EXPORT_ENV=ALL
module load mpich/4.2

exec srun --mpi=pmix --ntasks=8 --cpus-per-task=1 --kill-on-bad-exit=1 --distribution=cyclic \
apptainer exec --bind '/archive:/archive:ro' /sw/s4c.sif python3 -m s4c_hpc.execute.ranks /run w0004 \
"$SLURM_ARRAY_TASK_ID"
"""

GOLDEN_TICK = """\
#!/bin/bash -l
#SBATCH --job-name=s4c-tick-6f1c
#SBATCH --output=/run/logs/tick.log
#SBATCH --open-mode=append
#SBATCH --chdir=/run
#SBATCH --no-requeue
#SBATCH --export=NONE
#SBATCH --propagate=NONE
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --time=10
#SBATCH --begin=now+30
#SBATCH --dependency=singleton

umask 0027
export OMP_NUM_THREADS=1
export MKL_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export NUMEXPR_NUM_THREADS=1
export NUMBA_NUM_THREADS=1
export GDAL_NUM_THREADS=1
export RAYON_NUM_THREADS=1
export MALLOC_ARENA_MAX=2

exec /venv/bin/python -m s4c_hpc.execute.tick /run
"""


def ranks(**changes: object) -> JobSpec:
    values: dict[str, object] = {
        "name": "s4c-merge-6f1c-w0004",
        "comment": "6f1c",
        "words": ("-m", "s4c_hpc.execute.ranks", "/run", "w0004"),
        "output": "/run/logs/w0004_%4a.log",
        "workdir": "/run",
        "cpus": 8,
        "ranks": 8,
        "mem_bytes": 8 * GIB,
        "walltime_s": 20,
        "n_elements": 1,
    }
    return JobSpec(**{**values, **changes})  # type: ignore[arg-type]


def test_an_array_of_elements() -> None:
    assert batch_script(ARRAY, Slurm(), python="/venv/bin/python") == GOLDEN_ARRAY


def test_mpi_in_a_container_with_modules_and_options_of_the_site() -> None:
    site = Slurm(
        export="ALL",
        directives_add=("--constraint=skylake --exclusive",),
        launch=SlurmLaunch(
            python="python3",
            setup=("module load mpich/4.2",),
            prefix=("apptainer", "exec", "--bind", "/archive:/archive:ro", "/sw/s4c.sif"),
        ),
        mpi=Mpi(plugin="pmix", options=("--distribution=cyclic",)),
    )
    text = GOLDEN_MPI.replace("'/archive:/archive:ro'", "/archive:/archive:ro")
    assert batch_script(ranks(), site, python="/venv/bin/python") == text


def test_a_tick_is_one_small_job_that_waits_for_the_one_before() -> None:
    tick = JobSpec(
        name="s4c-tick-6f1c",
        comment="6f1c",
        words=("-m", "s4c_hpc.execute.tick", "/run"),
        output="/run/logs/tick.log",
        workdir="/run",
        cpus=1,
        mem_bytes=GIB,
        walltime_s=600,
        begin_s=30,
        singleton=True,
    )
    site = Slurm(export="NONE", memory=MemoryMode.NONE, directives_drop=("--comment",))
    assert batch_script(tick, site, python="/venv/bin/python") == GOLDEN_TICK


@pytest.mark.parametrize(
    ("job", "mode", "line"),
    [
        (ARRAY, MemoryMode.PER_NODE, "--mem=3073M"),
        (ARRAY, MemoryMode.PER_CPU, "--mem-per-cpu=769M"),
        (ARRAY, MemoryMode.NONE, None),
        # Ranks may be spread over nodes, each of which would be asked for the whole --mem.
        (ranks(), MemoryMode.PER_NODE, "--mem-per-cpu=1024M"),
        (ranks(), MemoryMode.PER_CPU, "--mem-per-cpu=1024M"),
        (ranks(mem_bytes=1), MemoryMode.PER_CPU, "--mem-per-cpu=1M"),
        (ranks(), MemoryMode.NONE, None),
    ],
)
def test_memory_is_asked_for_as_the_site_wants_it(job: JobSpec, mode: MemoryMode, line: str | None) -> None:
    script = batch_script(job, Slurm(memory=mode), python="python")
    asked = [text.removeprefix("#SBATCH ") for text in script.splitlines() if "--mem" in text]
    assert asked == ([] if line is None else [line])


def test_mpiexec_instead_of_srun() -> None:
    site = Slurm(mpi=Mpi(launcher="mpiexec", plugin=None, options=("-bind-to", "core")))
    command = batch_script(ranks(), site, python="python").splitlines()[-1]
    assert command.startswith("exec mpiexec -n 8 -bind-to core python -m s4c_hpc.execute.ranks")


def test_srun_chooses_the_plugin_itself_where_the_site_names_none() -> None:
    command = batch_script(ranks(), Slurm(mpi=Mpi(plugin=None)), python="python").splitlines()[-1]
    assert command.startswith("exec srun --ntasks=8 ")


@pytest.mark.parametrize("drop", ["--comment", "--propagate", "--no-requeue", "--mem", "-t", "--open-mode"])
def test_a_site_may_forbid_an_option(drop: str) -> None:
    script = batch_script(ARRAY, Slurm(directives_drop=(drop,)), python="python")
    gone = set(batch_script(ARRAY, Slurm(), python="python").splitlines()) - set(script.splitlines())
    assert len(gone) == 1
    assert drop.strip("-")[0] in gone.pop()


@pytest.mark.parametrize("drop", ["--job-name", "--array", "-o", "--dependency"])
def test_what_a_job_is_found_by_cannot_be_dropped(drop: str) -> None:
    with pytest.raises(ConfigError, match=r"slurm\.directives_drop: .* cannot be left out"):
        batch_script(ARRAY, Slurm(directives_drop=(drop,)), python="python")


def test_dropping_what_was_never_there_is_an_error_and_names_what_is() -> None:
    with pytest.raises(ConfigError, match=r"--signal.*can leave out --account, --chdir, --comment"):
        batch_script(ARRAY, Slurm(directives_drop=("--signal",)), python="python")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--array=0-3", r"sets --array itself.*slurm\.throttle"),
        ("--arr=0-3", "sets --array itself"),  # sbatch takes any unambiguous beginning
        ("-a0-3", "sets --array itself"),
        ("--exclusive -J mine", "sets --job-name itself"),
        ("--requeue", "sets --requeue itself.*cannot be changed"),
        ("--output=/dev/null", "sets --output itself"),
        ("--mem-per-cpu=3G", r"set slurm\.memory instead"),
        ("--qos=high", r"set slurm\.qos instead"),
        ("-phuge", r"set slurm\.partition instead"),
        ("constraint=skylake", "is not an sbatch option"),
        ("", "is not an sbatch option"),
        ("--licenses='a", "without its twin"),
    ],
)
def test_options_that_are_ours_are_refused_politely(line: str, why: str) -> None:
    with pytest.raises(ConfigError, match=rf"slurm\.directives_add: .*{why}"):
        batch_script(ARRAY, Slurm(directives_add=(line,)), python="python")


@pytest.mark.parametrize(
    "line",
    ["--gres=gpu:1", "-C skylake", "--mem-bind=local", "--nodes=2", "--time-min=5", "--reservation='a b'", "-x n[1-3]"],
)
def test_other_options_are_added_as_they_are(line: str) -> None:
    assert f"\n#SBATCH {line}\n" in batch_script(ARRAY, Slurm(directives_add=(line,)), python="python")


@pytest.mark.parametrize("field", ["name", "comment", "output", "workdir", "qos", "partition", "account", "words"])
@pytest.mark.parametrize("mark", ["\n", "\r", "\0"])
def test_a_line_break_is_refused_wherever_it_comes_from(field: str, mark: str) -> None:
    bad = f"a{mark}#SBATCH --uid=0"
    values = {name: getattr(ARRAY, name) for name in JobSpec.__slots__}
    job = JobSpec(**{**values, field: (bad,) if field == "words" else bad})
    with pytest.raises(ConfigError, match="a line break cannot stand in a batch script"):
        batch_script(job, Slurm(), python="python")


def test_the_folder_of_logs_is_taken_literally_and_the_name_is_a_pattern() -> None:
    assert log_pattern(Path("/data/100%/x y"), "%4a.log") == "/data/100%%/x y/%4a.log"
    assert log_pattern("/", "%j.log") == "/%j.log"


@pytest.mark.parametrize(
    ("folder", "why"), [("logs", "must be absolute"), ("/a\\b", "cannot write logs there"), ("/a\nb", "line break")]
)
def test_folders_that_slurm_cannot_log_to(folder: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        log_pattern(folder, "%4a.log")


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("/a/b-c_%4a.log", "#SBATCH --output=/a/b-c_%4a.log"),
        ("/a b", '#SBATCH --output="/a b"'),
        ("/a#b", '#SBATCH --output="/a#b"'),
        ("it's", '#SBATCH --output="it\'s"'),
        ('say "hi"', '#SBATCH --output="say \\"hi\\""'),
        ("back\\slash", '#SBATCH --output="back\\\\slash"'),
        ("", '#SBATCH --output=""'),
        ("ß", '#SBATCH --output="ß"'),
    ],
)
def test_a_directive_is_quoted_as_sbatch_reads_it(value: str, line: str) -> None:
    assert directive("--output", value) == line


def read_as_sbatch(line: str) -> list[str]:
    """``_get_argument`` of Slurm's src/sbatch/opt.c: words of a directive, told here a second time as an oracle."""
    words: list[str] = []
    word, quote, escaped, begun = "", "", False, False
    for char in line.removeprefix("#SBATCH"):
        if escaped:
            word, escaped = word + char, False
        elif char == "\\":
            escaped = begun = True
        elif quote:
            quote, word = ("", word) if char == quote else (quote, word + char)
        elif char in "\"'":
            quote, begun = char, True
        elif char == "#":
            break
        elif char.isspace():
            words, word, begun = ([*words, word] if begun else words), "", False
        else:
            word, begun = word + char, True
    return [*words, word] if begun else words


WORD = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), max_size=30)


@given(value=WORD)
@example(value=" 'a\\\"#b$(id)` ")
@example(value="\x85\u2028")
def test_sbatch_reads_back_any_value(value: str) -> None:
    assert read_as_sbatch(directive("--comment", value)) == [f"--comment={value}"]


ECHO = """#!{python} -IS
import json, os, sys
print(json.dumps([sys.argv[1:], os.environ["OMP_NUM_THREADS"], oct(os.umask(0))]))
"""


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(words=st.lists(WORD, max_size=4), prefix=st.lists(WORD.filter(bool), max_size=2))
@example(words=["$HOME", "`id`", "it's", '"', "\\", "", "*", "a b", "--", "~"], prefix=["$(id)"])
def test_any_word_reaches_the_program_unharmed(tmp_path: Path, words: list[str], prefix: list[str]) -> None:
    program = tmp_path / "fake python"
    program.write_text(ECHO.format(python=shlex.quote(os.path.realpath("/proc/self/exe"))))
    program.chmod(0o755)
    job = JobSpec(
        name="s4c-x",
        comment="",
        words=tuple(words),
        output="/dev/null",
        workdir="/",
        cpus=3,
        mem_bytes=1,
        walltime_s=1,
        n_elements=8,
    )
    site = Slurm(export="ALL", launch=SlurmLaunch(prefix=(str(program), *prefix)))
    run = subprocess.run(
        ["bash", "-s"],
        input=batch_script(job, site, python="py"),
        env={"SLURM_ARRAY_TASK_ID": "7", "PATH": os.defpath},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert json.loads(run.stdout) == [[*prefix, "py", *words, "7"], "3", "0o27"]


@given(n_elements=st.integers(1, 10**6), throttle=st.none() | st.integers(1, 100), seconds=st.integers(1, 10**7))
def test_time_and_elements_are_never_fewer_than_asked_for(n_elements: int, throttle: int | None, seconds: int) -> None:
    values = {name: getattr(ARRAY, name) for name in JobSpec.__slots__}
    job = JobSpec(**{**values, "n_elements": n_elements, "throttle": throttle, "walltime_s": seconds})
    script = batch_script(job, Slurm(), python="python")
    array = next(line for line in script.splitlines() if "--array" in line).partition("=")[2]
    assert array == f"0-{n_elements - 1}" + ("" if throttle is None else f"%{throttle}")
    minutes = int(next(line for line in script.splitlines() if "--time=" in line).partition("=")[2])
    assert 0 <= 60 * minutes - seconds < 60
