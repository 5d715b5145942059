"""Digest of a file's content that costs little, however large the file is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from s4c_hpc.catalog.archive import patiently

WHOLE_BYTES = 16 * 2**20
"""Files up to this size are read whole."""
_END_BYTES = 65_536
_SAMPLE_BYTES = 4_096
_N_SAMPLES = 256


def add_content(digest: Any, path: Path) -> None:
    """Feed a file into a ``hashlib`` digest: whole up to ``WHOLE_BYTES``, else in samples.

    Of a larger file both ends of 64 KiB and 256 evenly spaced samples of 4 KiB are read. A TIFF's directory, with
    the offsets and lengths of all compressed blocks, lies at an end, so in a compressed file other pixels hardly ever
    go unnoticed. The limit: a change of the same length between two samples, say of some blocks of a large file
    without compression, is not seen.

    Raises
    ------
    OSError
        If the file cannot be read.
    TemporaryError
        If it cannot be read just now.
    """
    digest.update(patiently(lambda: _samples(path), path))


def _samples(path: Path) -> bytes:
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size <= WHOLE_BYTES:
            return stream.read()
        parts = [stream.read(_END_BYTES)]
        for number in range(_N_SAMPLES):
            stream.seek(size * (number + 1) // (_N_SAMPLES + 1))
            parts.append(stream.read(_SAMPLE_BYTES))
        stream.seek(-_END_BYTES, os.SEEK_END)
        return b"".join((*parts, stream.read()))
