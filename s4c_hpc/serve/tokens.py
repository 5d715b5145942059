"""Tokens: who holds one, and what it allows. A file outside of the workspaces holds their hashes and nothing else.

A token is 256 random bits, so a plain SHA-256 is all that it needs: nobody can try them out, and there is nothing for a
slow hash (scrypt) to slow down but the service itself, which anybody could then keep busy with wrong tokens.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, Final

from s4c_hpc.core.atomic import replacing
from s4c_hpc.core.errors import ConfigError, InputError, listing
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels.pseudonyms import outside
from s4c_hpc.serve.roles import Caller, Role

CONTRACT: Final = "s4c-tokens-1"
_PREFIX: Final = "s4c"
"""By which programs that look for leaked secrets find ours."""
_NOBODY: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is known of a token."""

    name: str
    id: str
    """12 hex digits that stand in the token; no secret."""
    sha256: str
    """Of the whole token."""
    roles: Mapping[str, Role]
    created: str
    """ISO 8601, UTC."""
    expires: str | None = None
    revoked: str | None = None

    def state(self, now: dt.datetime) -> str:
        """``valid``, ``expired`` or ``revoked``."""
        if self.revoked is not None:
            return "revoked"
        return "valid" if self.expires is None or now < dt.datetime.fromisoformat(self.expires) else "expired"


def default_file() -> Path:
    """Where tokens are when nothing else is said."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "s4c" / "tokens.json"


def new_token(name: str, roles: Mapping[str, Role], expires: dt.datetime | None = None) -> tuple[str, Entry]:
    """A token, which is shown once, and what is kept of it."""
    number = secrets.token_hex(6)
    token = f"{_PREFIX}_{number}_{secrets.token_urlsafe(32)}"
    now = dt.datetime.now(dt.UTC)
    return token, Entry(
        name=name,
        id=number,
        sha256=_hash(token),
        roles=dict(roles),
        created=now.isoformat(timespec="seconds"),
        expires=None if expires is None else expires.astimezone(dt.UTC).isoformat(timespec="seconds"),
    )


class SessionToken:
    """A token that is in no file and ends with the process: for whoever starts the service on their own machine."""

    def __init__(self, caller: Caller) -> None:
        """Make it; ``text`` is to be shown once."""
        self.text = f"{_PREFIX}_session_{secrets.token_urlsafe(32)}"
        self._caller = caller

    def caller(self, token: str) -> Caller | None:
        """Who holds a token; ``None`` if it is not this one."""
        return self._caller if hmac.compare_digest(_hash(token), _hash(self.text)) else None


class TokenFile:
    """The file of tokens; what it says counts from the moment it is written."""

    def __init__(self, path: Path, workspaces: Sequence[Workspace] = ()) -> None:
        """Nothing is read yet.

        Raises
        ------
        ConfigError
            The file would lie in a workspace, where everybody who reads the workspace reads it.
        """
        self.path = path
        self._lock = Lock()
        self._seen: tuple[int, ...] | None = None
        self._entries: dict[str, Entry] = {}
        for workspace in workspaces:
            if not outside(path, workspace):
                raise ConfigError(
                    "the file of tokens lies in the workspace", where=str(path), hint="keep it elsewhere: --tokens FILE"
                )

    def entries(self) -> list[Entry]:
        """All tokens by name, those that are over as well; none if there is no file.

        Raises
        ------
        ConfigError
            The file is not kept as secrets should be, or is none of ours.
        """
        with self._lock:
            return sorted(self._read().values(), key=lambda entry: entry.name)

    def caller(self, token: str) -> Caller | None:
        """Who holds a token; ``None`` if it is not valid."""
        with self._lock:
            entries = self._read()
        parts = token.split("_", 2)
        entry = entries.get(parts[1]) if len(parts) == 3 and parts[0] == _PREFIX else None
        # Compared in constant time, and always: how long it takes tells nothing about ids either.
        same = hmac.compare_digest(_hash(token), _NOBODY if entry is None else entry.sha256)
        if entry is None or not same or entry.state(dt.datetime.now(dt.UTC)) != "valid":
            return None
        return Caller(entry.name, entry.roles, entry.id)

    def add(self, name: str, roles: Mapping[str, Role], expires: dt.datetime | None = None) -> str:
        """Make a token; returns it, and nothing else ever will.

        Raises
        ------
        InputError
            The name has a valid token; or nobody could use this one.
        """
        if not name.isprintable() or not name.strip() or not all(roles):
            raise InputError("a token needs a name and sites, of letters that can be seen", where=str(self.path))
        if expires is not None and expires <= dt.datetime.now(dt.UTC):
            raise InputError("the token would be over at once", where="--expires", hint="name a day to come")
        with self._changing() as entries:
            now = dt.datetime.now(dt.UTC)
            if any(entry.name == name and entry.state(now) == "valid" for entry in entries.values()):
                raise InputError(
                    f"{name!r} has a token", where=str(self.path), hint="revoke it first, or take another name"
                )
            token, entry = new_token(name, roles, expires)
            entries[entry.id] = entry
        return token

    def revoke(self, name: str) -> None:
        """End a token now.

        Raises
        ------
        InputError
            The name has no valid token.
        """
        with self._changing() as entries:
            now = dt.datetime.now(dt.UTC)
            found = [e for e in entries.values() if e.name == name and e.revoked is None]
            if not found:
                names = sorted({e.name for e in entries.values() if e.state(now) == "valid"})
                raise InputError(
                    f"{name!r} has no token", where=str(self.path), hint=f"valid are those of {listing(names) or '-'}"
                )
            for entry in found:
                entries[entry.id] = replace(entry, revoked=now.isoformat(timespec="seconds"))

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Entry]]:
        """The entries to change; written when all went well. One at a time, whoever else is at it."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with self._lock:
                entries = dict(self._read())
                yield entries
                text = json.dumps({CONTRACT: [asdict(e) for e in entries.values()]}, indent=1)
                with replacing(self.path) as temporary:
                    opened = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
                    with os.fdopen(opened, "w", encoding="utf-8") as stream:
                        stream.write(text + "\n")
                self._seen = None
        finally:
            os.close(descriptor)

    def _read(self) -> dict[str, Entry]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            self._seen, self._entries = None, {}
            return self._entries
        except OSError as error:
            raise ConfigError(f"the tokens cannot be read ({error.strerror})", where=str(self.path)) from error
        with os.fdopen(descriptor, "rb") as stream:
            # Of the open file, so that it is the one that is read.
            facts = os.fstat(stream.fileno())
            seen = (facts.st_ino, facts.st_mtime_ns, facts.st_size, facts.st_mode, facts.st_uid)
            if seen != self._seen:
                self._check(facts)
                self._entries = _parsed(stream.read(), self.path)
                self._seen = seen
        return self._entries

    def _check(self, facts: os.stat_result) -> None:
        where = str(self.path)
        if not stat.S_ISREG(facts.st_mode):
            raise ConfigError("the tokens are not in a file", where=where)
        if facts.st_uid != os.geteuid():
            raise ConfigError("the file of tokens belongs to someone else", where=where, hint="use a file of your own")
        if facts.st_mode & 0o077:
            raise ConfigError(
                f"others may read or write the tokens (mode {facts.st_mode & 0o777:04o})",
                where=where,
                hint=f"chmod 600 {self.path}; and make new tokens if others have written it",
            )


def _parsed(text: bytes, path: Path) -> dict[str, Entry]:
    try:
        values: dict[str, Any] = json.loads(text)
        found = [_entry(one) for one in values[CONTRACT]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"not a file of tokens ({error})", where=str(path), hint="move it away") from error
    return {entry.id: entry for entry in found}


def _entry(values: Mapping[str, Any]) -> Entry:
    """An entry as it stands in the file, which people edit; a time has a zone, or it could not be compared."""
    known = [values[name] for name in ("name", "id", "sha256", "created")]
    times = [values[name] for name in ("expires", "revoked") if values.get(name) is not None]
    if not all(isinstance(one, str) for one in (*known, *times)):
        raise TypeError("names, hashes and times are texts")
    if not values["sha256"].isascii():
        raise ValueError("a hash is hex digits")
    if any(dt.datetime.fromisoformat(one).tzinfo is None for one in times):
        raise ValueError("a time has no time zone")
    return Entry(**{**values, "roles": _roles(values["roles"])})


def _roles(values: Mapping[str, str]) -> dict[str, Role]:
    return {site: Role(role) for site, role in values.items()}


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
