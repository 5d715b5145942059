"""Pseudonyms: keyed hashes in the place of ids, so that a workspace names nobody.

An id becomes the first 128 bits of HMAC-SHA256 (RFC 2104) of it. Without the key nobody can tell which parcel it was,
nor try all ids that there may be; with the key, the same id always gives the same pseudonym, so numbers stay from
version to version. The key never enters the workspace: only its fingerprint does, by which another key is noticed.

What else could give an id away is left out: the id columns themselves, columns that repeat their values (see
``revealing``), and what the reader of the file had to say, because it quotes values.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from s4c_hpc.config import Pseudonyms
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.core.workspace import Workspace

MIN_KEY_BYTES = 16
"""A shorter key could be guessed."""
_N_HEX = 32
"""Digits of a pseudonym, 128 bits: of ten million ids, two share one with a probability of 1e-25."""
_PARCEL, _HOLDING, _FINGERPRINT = b"parcel\0", b"holding\0", b"s4c-hpc fingerprint\0"
"""What a hash is of comes first, so that a parcel and a holding of the same id have nothing in common."""
_CHUNK = 65_536
"""Ids that are hashed at a time."""


@dataclass(frozen=True, slots=True)
class Key:
    """A secret, which no message or log shows."""

    secret: bytes = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """16 hex digits by which another key is told from this one."""
        return hmac.digest(self.secret, _FINGERPRINT, hashlib.sha256).hex()[:16]

    def parcels(self, ids: pa.StringArray) -> pa.StringArray:
        """Pseudonyms (n,) of parcel ids (n,), 32 hex digits each."""
        return self._hashed(_PARCEL, ids)

    def holdings(self, ids: pa.StringArray) -> pa.StringArray:
        """Pseudonyms (n,) of holding ids (n,), 32 hex digits each."""
        distinct = ids.dictionary_encode()
        return self._hashed(_HOLDING, distinct.dictionary).take(distinct.indices)

    def _hashed(self, kind: bytes, ids: pa.StringArray) -> pa.StringArray:
        hashed = [pa.array([], pa.string())]
        for start in range(0, len(ids), _CHUNK):
            some = ids[start : start + _CHUNK].to_pylist()
            texts = [hmac.digest(self.secret, kind + i.encode(), hashlib.sha256).hex()[:_N_HEX] for i in some]
            hashed.append(pa.array(texts, pa.string()))
        return pa.concat_arrays(hashed)


def read_key(settings: Pseudonyms, workspace: Workspace) -> Key:
    """The key, if it is kept as a key should be.

    Raises
    ------
    ConfigError
        It is not there, inside of the workspace, readable by others, someone else's, or too short to be one.
    """
    if settings.key_env is not None:
        text, where = os.environ.get(settings.key_env), f"environment variable {settings.key_env}"
        if text is None:
            raise ConfigError("is not set", where=where, hint="it should hold the key of parcels.pseudonyms")
        secret = text.strip().encode()
    else:
        path = settings.key_file or Path()
        secret, where = _read_key_file(path, workspace), str(path)
    if len(secret) < MIN_KEY_BYTES:
        raise ConfigError(
            f"the key has {len(secret)} bytes, {MIN_KEY_BYTES} are the least",
            where=where,
            hint="make one with 'openssl rand -hex 32'",
        )
    return Key(secret)


def _read_key_file(path: Path, workspace: Workspace) -> bytes:
    where = f"{path} (parcels.pseudonyms.key_file)"
    if outside(path, workspace) is False:
        raise ConfigError(
            "the key lies in the workspace", where=where, hint="keep it elsewhere: who has both can tell who is who"
        )
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(f"the key cannot be read ({error.strerror})", where=where) from error
    with os.fdopen(descriptor, "rb") as stream:
        # Of the open file, so that it is the one that is read.
        facts = os.fstat(stream.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise ConfigError("the key is not a file", where=where)
        if facts.st_uid != os.geteuid():
            raise ConfigError("the key belongs to someone else", where=where, hint="use a file of your own")
        if facts.st_mode & 0o077:
            raise ConfigError(
                f"others may read or write the key (mode {facts.st_mode & 0o777:04o})",
                where=where,
                hint=f"chmod 600 {path}; and make a new key if others have had access",
            )
        return stream.read().strip()


def outside(path: Path, workspace: Workspace) -> bool:
    """Whether a file lies outside of the workspace, links followed."""
    return not path.resolve().is_relative_to(workspace.root.resolve())
