"""Entry point of the ``s4c`` command: groups, and the way from an error to an exit code."""

from __future__ import annotations

import errno
import os
import traceback
from typing import Annotated

import typer

from s4c_hpc import __version__
from s4c_hpc.cli import (
    catalog,
    classify,
    config,
    demo,
    export,
    guide,
    markers,
    markers_sql,
    parcels,
    parcels_check,
    practices,
    report,
    run,
    series,
    series_import,
    serve,
    slurm,
    status,
    validate,
    weather,
    workspace,
    zonal,
)
from s4c_hpc.core.errors import ExitCode, S4cError, is_disk_full

TYPER_INTERRUPTED = 130
"""What typer makes of Ctrl-C before ours is asked."""
TYPER_READER_GONE = 1
"""What typer makes of a closed pipe (``| head``), which is no error; no command of ours leaves with 1."""

app = typer.Typer(
    name="s4c",
    help="Turn a season of Sentinel products and a parcel declaration into per-parcel marker files.",
    epilog="Exit codes: 0 done or up to date, 2 usage, 3 configuration, 4 input, 5 some rows failed, 6 nothing "
    "matched, 7 scheduler, 8 external tool, 9 bug, 75 try again.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.demo)
app.command("init")(workspace.init)
app.add_typer(config.app, name="config")
app.add_typer(catalog.app, name="catalog")
parcels.app.command("check")(parcels_check.check)
app.add_typer(parcels.app, name="parcels")
app.command("plan")(run.plan)
app.command("run")(run.run)
app.command("status")(status.status)
app.command("cancel")(status.cancel)
app.command("logs")(status.logs)
markers.app.command("sql")(markers_sql.sql)
app.add_typer(markers.app, name="markers")
app.add_typer(export.app, name="export")
app.add_typer(practices.app, name="practices")
series.app.command("import")(series_import.import_)
series.app.command("compare")(series_import.compare)
app.add_typer(series.app, name="series")
app.add_typer(report.app, name="report")
app.add_typer(serve.app, name="serve")
app.add_typer(weather.app, name="weather")
app.add_typer(validate.app, name="validate")
app.command("zonal")(zonal.zonal)
app.command("guide")(guide.guide)
app.add_typer(classify.app, name="classify")
app.add_typer(slurm.app, name="slurm")


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)] = False,
) -> None:
    """Answer ``--version``."""
    if show:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; every error becomes one message and the exit code of its kind."""
    os.umask(0o027)  # farm data is nobody else's business
    try:
        app()
    except S4cError as error:
        _fail(str(error), error.exit_code)
    except SystemExit as leave:
        if leave.code == TYPER_INTERRUPTED:
            _fail("interrupted; run the same command again to go on", ExitCode.TEMPORARY)
        if leave.code == TYPER_READER_GONE:
            raise SystemExit(int(ExitCode.OK)) from None
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        if is_disk_full(error):
            _fail(f"{where}the disk is full; free some space and run the same command again", ExitCode.TEMPORARY)
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            _fail(f"{where}{error.strerror}; check owner and mode of the file and its folders", ExitCode.INPUT)
        if error.errno in {errno.ENOENT, errno.EISDIR, errno.ENOTDIR} and error.filename:
            _fail(f"{where}{error.strerror}; check the name", ExitCode.INPUT)
        _bug()
    except Exception:  # noqa: BLE001 - the last line of defence: no error leaves without its exit code
        _bug()


def _bug() -> None:
    traceback.print_exc()
    _fail("this is a bug in s4c-hpc; please report it with the lines above", ExitCode.INTERNAL)


def _fail(message: str, code: ExitCode) -> None:
    typer.echo(f"s4c: {message}", err=True)
    raise SystemExit(int(code))
