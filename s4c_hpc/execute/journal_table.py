"""Journals of finished tasks as a table: a million lines in seconds, where one value a line would take a minute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

_TEXTS = pa.list_(pa.string())
_OUTPUTS = pa.list_(pa.struct([("path", pa.string()), ("bytes", pa.int64()), ("sha256", pa.string())]))
_DONE = pa.schema(
    [
        ("event", pa.string()),
        ("id", pa.string()),
        ("attempt", pa.string()),
        ("number", pa.int32()),
        ("outputs", _OUTPUTS),
        ("n_rows", pa.int64()),
        ("absent", _TEXTS),
        ("rasters_opened", pa.int32()),
        ("twins", pa.int32()),
        ("cpu_s", pa.float64()),
        ("wall_s", pa.float64()),
        ("peak_anon_bytes", pa.int64()),
        ("base_anon_bytes", pa.int64()),
        ("max_rss_bytes", pa.int64()),
        ("t", pa.float64()),
        ("notes", _TEXTS),
    ]
)
_IS_DONE, _IS_FAILED = b'"event":"done"', b'"event":"failed"'
_OPTIONS = pj.ParseOptions(explicit_schema=_DONE, unexpected_field_behavior="error")


def read_lines(path: Path, offset: int) -> tuple[bytes, bool, int]:
    """Lines of done tasks that begin at or after byte ``offset``, whether tasks failed as well, and where to read on.

    An unfinished last line is left for later.
    """
    with path.open("rb") as stream:
        stream.seek(offset)
        data = stream.read()
    end = data.rfind(b"\n") + 1
    done = [line for line in data[:end].splitlines(keepends=True) if _IS_DONE in line]
    return b"".join(done), _IS_FAILED in data, offset + end


def done_table(lines: bytes) -> pa.Table | None:
    """Columns of the history that journals know, of lines of done tasks; ``None`` if one of them is not regular."""
    try:
        options = pj.ReadOptions(use_threads=True, block_size=max(1 << 20, lines.find(b"\n") + 1))
        events = pj.read_json(pa.BufferReader(lines), options, _OPTIONS)
    except pa.ArrowInvalid:
        return None
    if any(column.null_count for column in events.columns):
        return None
    outputs = events["outputs"].combine_chunks()
    sizes = outputs.flatten().field("bytes") if isinstance(outputs, pa.ListArray) else pa.array([], pa.int64())
    if sizes.null_count:
        return None
    row = pc.list_parent_indices(outputs)
    n = events.num_rows
    columns = {
        "id": events["id"],
        "attempt": events["attempt"],
        "kind": pa.repeat("done", n),
        "reason": pa.repeat("", n),
        "attempts": events["number"],
        "bytes": pa.array(np.bincount(row, sizes, minlength=n).astype(np.int64)),
        "finished": pa.array(np.rint(np.asarray(events["t"]) * 1e6).astype(np.int64)),
    }
    same = [
        name
        for name in events.column_names
        if name not in {"event", "id", "attempt", "number", "outputs", "t", "notes"}
    ]
    return pa.table(columns | {name: events[name] for name in same})
