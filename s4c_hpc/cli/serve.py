"""``s4c serve``: look at workspaces over HTTP, and who may."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4c_hpc.cli.options import HERE, JsonOption
from s4c_hpc.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from s4c_hpc.serve.roles import Role

app = typer.Typer(
    help="Serve workspaces over HTTP, read-only (needs the extra 'serve'; nothing else needs it to run).",
    invoke_without_command=True,
)
token = typer.Typer(help="Who may ask: tokens by role and site, of which hashes are kept.", no_args_is_help=True)
app.add_typer(token, name="token")

TokensOption = Annotated[
    Path | None,
    typer.Option("--tokens", envvar="S4C_TOKENS", help="File of tokens; ~/.config/s4c/tokens.json if not given."),
]
_DAYS = re.compile(r"(\d{1,5})d", re.ASCII)


@app.callback()
def serve(
    context: typer.Context,
    workspace: Annotated[
        list[Path] | None,
        typer.Option("--workspace", "-w", envvar="S4C_WORKSPACE", help="Workspace to serve; may be repeated."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback need tokens and TLS.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0: any that is free.")] = 8470,
    tokens: TokensOption = None,
    audit: Annotated[
        Path | None, typer.Option(help="Audit log; ~/.local/state/s4c/serve-audit.jsonl if not given.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate (PEM).")] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Key of the certificate (PEM), readable by its owner only.")
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy ends TLS and hands requests on.")
    ] = False,
    proxy_addresses: Annotated[
        str, typer.Option(help="Addresses from which a proxy's headers are believed, separated by commas.")
    ] = "127.0.0.1",
    anonymous: Annotated[
        str | None,
        typer.Option(
            metavar="viewer|operator|admin",
            help="What may be done without a token, on loopback: by everybody who has an account on this machine.",
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="Further name by which the service is called; may be repeated.")
    ] = None,
    cors_origin: Annotated[
        list[str] | None, typer.Option(help="Origin whose pages may read answers (https://...); may be repeated.")
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, help="Requests a second of a token, on average.")] = 50.0,
    burst: Annotated[int, typer.Option(min=1, help="Requests of a token at once.")] = 200,
) -> None:
    """Serve parcels, series and results of workspaces on loopback, until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    _require_extra()
    from s4c_hpc.serve import audit as audit_log
    from s4c_hpc.serve.limits import Limits
    from s4c_hpc.serve.run import Options
    from s4c_hpc.serve.run import serve as start

    options = Options(
        workspaces=[path.resolve() for path in workspace or [HERE]],
        host=host,
        port=port,
        tokens=_file(tokens),
        audit=audit or audit_log.default_file(),
        tls_cert=tls_cert,
        tls_key=tls_key,
        behind_proxy=behind_proxy,
        proxy_addresses=proxy_addresses,
        anonymous=None if anonymous is None else _role(anonymous),
        hosts=tuple(allowed_host or ()),
        cors_origins=tuple(cors_origin or ()),
        limits=Limits(rate_per_s=rate, burst=burst),
    )
    start(options, say)


@app.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    _require_extra()
    from s4c_hpc.serve.app import build_api

    print_json(build_api().openapi())


@token.command()
def add(
    name: Annotated[str, typer.Argument(help="Who holds it; stands in the audit log.")],
    role: Annotated[str, typer.Option(metavar="viewer|operator|admin", help="What it allows.")],
    site: Annotated[
        list[str], typer.Option(help="Site, or site=role for another role there; '*' for all; may be repeated.")
    ],
    expires: Annotated[
        str | None, typer.Option(help="Until when: a day (2027-01-31, inclusive) or so many days (90d).")
    ] = None,
    tokens: TokensOption = None,
) -> None:
    """Make a token and print it, once."""
    from s4c_hpc.serve.tokens import TokenFile

    roles = {one.partition("=")[0]: _role(one.partition("=")[2] or role) for one in site}
    typer.echo(TokenFile(_file(tokens)).add(name, roles, None if expires is None else _until(expires)))
    say("this is the only time that it is shown; what is kept is its hash")


@token.command("list")
def list_(tokens: TokensOption = None, as_json: JsonOption = False) -> None:
    """List tokens: names, roles, and whether they are valid."""
    from s4c_hpc.serve.tokens import TokenFile

    now = dt.datetime.now(dt.UTC)
    rows = [
        {
            "name": entry.name,
            "state": entry.state(now),
            "roles": ", ".join(f"{site}={role}" for site, role in entry.roles.items()),
            "created": entry.created,
            "expires": entry.expires or "",
        }
        for entry in TokenFile(_file(tokens)).entries()
    ]
    print_json(rows) if as_json else print_table(rows)


@token.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Who holds it.")],
    tokens: TokensOption = None,
) -> None:
    """End a token; a service that runs knows it at once."""
    from s4c_hpc.serve.tokens import TokenFile

    TokenFile(_file(tokens)).revoke(name)
    say(f"the token of {name} is revoked")


def _file(path: Path | None) -> Path:
    from s4c_hpc.serve.tokens import default_file

    return path or default_file()


def _role(text: str) -> Role:
    from s4c_hpc.core.errors import ConfigError
    from s4c_hpc.serve.roles import Role

    try:
        return Role(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no role", where="--role", hint=f"roles are {', '.join(Role)}") from error


def _until(text: str) -> dt.datetime:
    from s4c_hpc.core.errors import ConfigError

    if found := _DAYS.fullmatch(text):
        return dt.datetime.now(dt.UTC) + dt.timedelta(days=int(found[1]))
    try:
        day = dt.date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no day", where="--expires", hint="e.g. 2027-01-31, or 90d") from error
    return dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.UTC)


def _require_extra() -> None:
    import importlib.util

    from s4c_hpc.core.errors import ConfigError

    if missing := [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]:
        raise ConfigError(
            f"{' and '.join(missing)} not installed", where="s4c serve", hint="pip install 's4c-hpc[serve]'"
        )
