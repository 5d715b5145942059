"""Looking for ids in everything that a program has written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq


def clear_in_files(root: Path, ids: Iterable[str]) -> dict[str, set[str]]:
    """Ids that stand in the name, the bytes or (where they are packed) the values of a file, by its path."""
    wanted = {i.encode(): i for i in ids}
    found: dict[str, set[str]] = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name = str(path.relative_to(root))
        for content in _contents(path, name):
            hits = {text for raw, text in wanted.items() if raw in content}
            if hits:
                found.setdefault(name, set()).update(hits)
    return found


def _contents(path: Path, name: str) -> Iterator[bytes]:
    yield name.encode()
    yield path.read_bytes()
    if path.suffix == ".parquet":
        yield from _values(pq.read_table(path, partitioning=None))
    elif path.suffix == ".arrow":
        with pa.ipc.open_file(path) as reader:
            yield from _values(reader.read_all())


def _values(table: pa.Table) -> Iterator[bytes]:
    yield repr(table.schema).encode()
    for column in table.columns:
        # Text as numbers and bytes as text: whatever the type of a column is.
        yield repr(column.to_pylist()).encode()
