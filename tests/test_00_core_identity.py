"""Identity: the same work has the same id, other work another one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.core.ids import canonical_json, short, task_id

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(st.dictionaries(st.text(), values))
def test_canonical_json_does_not_depend_on_key_order(mapping: dict[str, object]) -> None:
    backwards = dict(reversed(list(mapping.items())))
    assert canonical_json(mapping) == canonical_json(backwards)
    assert json.loads(canonical_json(mapping)) == mapping


def test_nan_is_no_parameter() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"buffer_m": float("nan")})


def test_task_id_is_pinned() -> None:
    """A changed id would re-run every season that users have on disk."""
    assert task_id("gather", "1", ["product:a", "mask-id"], "{}") == "97d46e8e-bafd-5e1f-aeb5-d2ad7b349c81"


@given(st.text(), st.text(), st.lists(st.text(min_size=1), max_size=4), st.text())
def test_every_part_enters_the_id(stage: str, version: str, keys: list[str], params: str) -> None:
    base = task_id(stage, version, keys, params)
    assert base == task_id(stage, version, tuple(keys), params)
    assert base != task_id(stage + "x", version, keys, params)
    assert base != task_id(stage, version + "x", keys, params)
    assert base != task_id(stage, version, [*keys, "x"], params)
    assert base != task_id(stage, version, keys, params + "x")


def test_short_is_twelve_hex_digits() -> None:
    assert short("fe5d20f9-68d3-5cdd-a0d4-93e33d11b5a7") == "fe5d20f968d3"
