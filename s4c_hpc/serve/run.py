"""Start the service: only where it is safe to."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import re
import ssl
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from s4c_hpc.core.errors import ConfigError, S4cError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels.pseudonyms import outside
from s4c_hpc.serve import audit, page, tokens
from s4c_hpc.serve.app import Exposure, Settings, create_app
from s4c_hpc.serve.connections import Connection
from s4c_hpc.serve.limits import Limits
from s4c_hpc.serve.problems import Problem
from s4c_hpc.serve.roles import EVERY_SITE, Caller, Role
from s4c_hpc.serve.sites import Site, open_sites

PORT: Final = 8470
_ANY_ADDRESS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - told from others only
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+")
_WHERE: Final = "s4c serve"
_HEADER_BYTES: Final = 32_768


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says."""

    workspaces: Sequence[Path]
    host: str = "127.0.0.1"
    port: int = PORT
    """0: any that is free."""
    tokens: Path = field(default_factory=tokens.default_file)
    audit: Path = field(default_factory=audit.default_file)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    proxy_addresses: str = "127.0.0.1"
    """From which addresses headers of a proxy are believed, separated by commas."""
    anonymous: Role | None = None
    """What somebody without a token may do; on loopback only."""
    hosts: Sequence[str] = ()
    """Further names by which the service may be called."""
    cors_origins: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)


def serve(options: Options, tell: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises
    ------
    ConfigError, MissingDataError
        What is asked for would not be safe, or cannot be served.
    """
    app, session = application(options)
    server = _Server(uvicorn.Config(app, **uvicorn_options(options)), session, tell)
    with contextlib.suppress(SystemExit, KeyboardInterrupt):  # its own exit codes, and Ctrl-C, which is how it ends
        server.run()
    if not server.started:
        raise ConfigError(f"cannot listen on {options.host}:{options.port}", where=_WHERE, hint="choose another --port")


def application(options: Options) -> tuple[ASGIApp, tokens.SessionToken | None]:
    """The application, and the token of this process if no others are at hand.

    Raises
    ------
    ConfigError, MissingDataError
        See ``serve``.
    """
    sites = open_sites(options.workspaces)
    workspaces = [season.workspace for site in sites.values() for season in site.seasons]
    file = tokens.TokenFile(options.tokens, workspaces)
    now = dt.datetime.now(dt.UTC)
    has_tokens = any(entry.roles and entry.state(now) == "valid" for entry in file.entries())
    check_exposure(options, has_tokens=has_tokens)
    log = _audit_log(options.audit, workspaces)
    every = {EVERY_SITE: Role.ADMIN}
    is_alone = not has_tokens and options.anonymous is None
    session = tokens.SessionToken(Caller("session", every, "session")) if is_alone else None
    anonymous = None
    if options.anonymous is not None:
        anonymous = Caller("anonymous", {EVERY_SITE: options.anonymous}, "anonymous")
    own = () if options.host in _ANY_ADDRESS else (_as_host(options.host),)
    warm(sites)
    settings = Settings(
        sites=sites,
        audit=log,
        tokens=file,
        anonymous=anonymous,
        session=session,
        limits=options.limits,
        exposure=Exposure(
            hosts=(*Exposure.hosts, *own, *(one.lower() for one in options.hosts)),
            cors_origins=tuple(options.cors_origins),
            is_tls=options.tls_cert is not None or options.behind_proxy,
        ),
    )
    return create_app(settings), session


def check_exposure(options: Options, *, has_tokens: bool) -> None:
    """Refuse to be open to others without tokens and encryption.

    Raises
    ------
    ConfigError
        Says what is missing.
    """
    if (options.tls_cert is None) != (options.tls_key is None):
        raise ConfigError("--tls-cert and --tls-key belong together", where=_WHERE, hint="give both")
    if options.tls_cert is not None and options.tls_key is not None:
        _check_tls(options.tls_cert, options.tls_key)
    _check_names(options)
    if options.host in _ANY_ADDRESS and not options.hosts:
        raise ConfigError("it answers to its name only", where=_WHERE, hint="say by which it is called: --allowed-host")
    if is_loopback(options.host) and not options.behind_proxy:
        return
    others = "behind a proxy" if options.behind_proxy else f"on {options.host}"
    if options.anonymous is not None:
        raise ConfigError(f"--anonymous is for this machine alone, not {others}", where=_WHERE, hint="give out tokens")
    if not has_tokens:
        raise ConfigError(
            f"nobody has a valid token, so nobody may be served {others}",
            where=str(options.tokens),
            hint="make one: s4c serve token add NAME --role viewer --site SITE",
        )
    if not options.behind_proxy and options.tls_cert is None:
        raise ConfigError(
            f"tokens would go unencrypted to {options.host}",
            where=_WHERE,
            hint="give --tls-cert and --tls-key, or --behind-proxy if a proxy on this machine or network ends TLS",
        )


def uvicorn_options(options: Options) -> dict[str, Any]:
    """How the server is to behave."""
    return {
        "host": options.host,
        "port": options.port,
        "http": Connection,
        "ws": "none",
        "log_level": "critical",  # what goes wrong is told by problems.py, once
        "access_log": False,  # the audit log holds less of what was asked
        "server_header": False,
        "proxy_headers": options.behind_proxy,
        "forwarded_allow_ips": options.proxy_addresses,
        "h11_max_incomplete_event_size": _HEADER_BYTES,
        "timeout_keep_alive": 15,
        "timeout_graceful_shutdown": 5,
        "ssl_certfile": options.tls_cert,
        "ssl_keyfile": options.tls_key,
    }


def is_loopback(host: str) -> bool:
    """Whether only this machine can call a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def warm(sites: dict[str, Site] | Any) -> None:
    """Read the parcels of latest seasons, so that the first who asks does not wait for it."""
    for site in sites.values():
        try:
            site.seasons[-1].look().book()
        except (Problem, S4cError):
            continue  # told to whoever asks


class _Server(uvicorn.Server):
    """Says where it listens once it does."""

    def __init__(
        self, config: uvicorn.Config, session: tokens.SessionToken | None, tell: Callable[[str], None]
    ) -> None:
        super().__init__(config)
        self._session, self._tell = session, tell

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            if self._session is not None:
                self._tell(f"token of this session, for all sites (shown once): {self._session.text}")
            scheme = "https" if self.config.is_ssl else "http"
            address = self.servers[0].sockets[0].getsockname()
            url = f"{scheme}://{_as_host(str(address[0]))}:{address[1]}/v1"
            self._tell(f"serving on {url} (Ctrl-C ends)")
            # Behind #, a browser keeps it to itself; the page takes it out of the address.
            key = "" if self._session is None else f"#token={self._session.text}"
            self._tell(f"map: {url}{page.PATH}/{key}")


def _as_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host.lower()


def _check_names(options: Options) -> None:
    """Pages whose scripts may read answers, and addresses of proxies, are named one by one."""
    if "*" in options.cors_origins:
        raise ConfigError(
            "scripts of all pages would read answers", where="--cors-origin", hint="name the pages' origins"
        )
    for origin in options.cors_origins:
        if not _ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"{origin!r} is no origin", where="--cors-origin", hint="e.g. https://maps.example, no path"
            )
    if "*" in options.proxy_addresses:
        raise ConfigError(
            "everybody could write any address into the audit log",
            where="--proxy-addresses",
            hint="name the addresses of the proxy",
        )


def _check_tls(cert: Path, key: Path) -> None:
    try:
        mode = key.stat().st_mode
    except OSError as error:
        raise ConfigError(f"the key cannot be read ({error.strerror})", where=str(key)) from error
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError(f"others may read the key (mode {stat.S_IMODE(mode):04o})", where=str(key), hint="chmod 600")
    try:
        # A key with a password cannot be used: nobody is there to type it.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key, password="")
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"certificate and key cannot be used ({error})", where=f"{cert}, {key}", hint="both are PEM and of one pair"
        ) from error


def _audit_log(path: Path, workspaces: Sequence[Workspace]) -> audit.AuditLog:
    if not all(outside(path, one) for one in workspaces):
        raise ConfigError(
            "the audit log lies in a workspace, which is only read", where=str(path), hint="keep it elsewhere: --audit"
        )
    try:
        return audit.AuditLog(path)
    except OSError as error:
        raise ConfigError(
            f"the audit log cannot be written ({error.strerror})", where=str(path), hint="name another: --audit"
        ) from error
