"""Pseudonyms: keyed hashes in the place of ids, so that a workspace names nobody.

An id becomes the first 128 bits of HMAC-SHA256 (RFC 2104) of it. Without the key nobody can tell which parcel it was,
nor try all ids that there may be; with the key, the same id always gives the same pseudonym, so numbers stay from
version to version. The key never enters the workspace: only its fingerprint does, by which another key is noticed.

What else could give an id away is left out: the id columns themselves, columns that repeat their values, and what the
reader of the file had to say, because it quotes values.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.config import Pseudonyms
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels.columns import as_text

MIN_KEY_BYTES = 16
"""A shorter key could be guessed."""
_N_HEX = 32
"""Digits of a pseudonym, 128 bits: of ten million ids, two share one with a probability of 1e-25."""
_PARCEL, _HOLDING, _FINGERPRINT = b"parcel\0", b"holding\0", b"s4c-hpc fingerprint\0"
"""What a hash is of comes first, so that a parcel and a holding of the same id have nothing in common."""
_MIN_CONTAINED = 4
"""A shorter id is found inside of any text by chance."""
_MIN_ELSEWHERE = 6
"""A shorter id is met in another row by chance."""
_CHUNK = 65_536


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
        return pa.array(
            [hmac.digest(self.secret, kind + i.encode(), hashlib.sha256).hex()[:_N_HEX] for i in ids.to_pylist()],
            pa.string(),
        )


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


def revealing(table: pa.Table, names: Sequence[str], clear: Sequence[pa.StringArray], drop: Sequence[str]) -> list[str]:
    """Names of columns that must not be kept.

    These are the columns of the ids; what the user says; and columns in which ids are found: in the same row, equal
    or (ids of four characters and more) inside of a text, or in another row (texts that are an id of six characters
    and more). Of numbers, and of shorter ids, only a column that agrees with the ids in most of its rows is one,
    because a few agree by chance. Columns that hold bytes, lists or structures are left out as well.

    Parameters
    ----------
    names : columns of the ids
    clear : (n,) ids, and each of their parts
    """
    found = {*names, *drop}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name not in found and (_opaque(column.type) or any(_reveals(column, ids) for ids in clear)):
            found.add(name)
    return [name for name in table.column_names if name in found]


def _opaque(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _reveals(column: pa.ChunkedArray, ids: pa.StringArray) -> bool:
    if pa.types.is_temporal(column.type) or pa.types.is_boolean(column.type):
        return False
    texts = as_text(column)
    n_equal = int(pc.sum(pc.equal(texts, ids)).as_py() or 0)
    if n_equal * 2 > len(texts) - texts.null_count:
        return True
    if not pa.types.is_string(plain_type(column.type)):
        return False
    elsewhere = ids.filter(pc.greater_equal(pc.utf8_length(ids), _MIN_ELSEWHERE))
    is_elsewhere = pc.any(pc.is_in(texts.drop_null(), elsewhere)).as_py()
    return bool(is_elsewhere) or _contains(texts, ids)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values of a column; one type for short and long texts."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.string() if pa.types.is_large_string(kind) else kind


def _contains(texts: pa.StringArray, ids: pa.StringArray) -> bool:
    """Whether any text contains the id of its row."""
    long = pc.and_(pc.greater_equal(pc.utf8_length(ids), _MIN_CONTAINED), texts.is_valid())
    texts, ids = texts.filter(long), ids.filter(long)
    kind = np.dtypes.StringDType()
    for start in range(0, len(texts), _CHUNK):
        inside, whole = (np.array(c[start : start + _CHUNK].to_pylist(), dtype=kind) for c in (ids, texts))
        if np.any(np.strings.find(whole, inside) >= 0):
            return True
    return False
