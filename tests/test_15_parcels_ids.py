"""Ids of the user and numbers of ours."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.core.errors import InputError
from s4c_hpc.parcels.columns import as_text, plain, without_clashes
from s4c_hpc.parcels.ids import Register, original_ids

IDS = st.lists(st.text(min_size=1, max_size=6), unique=True, max_size=30)


def number(ids: list[str], known: dict[str, int]) -> list[int]:
    register = Register()
    register.add(pa.array(list(known), pa.string()), np.array(list(known.values()), np.int32))
    numbers = register.number(pa.array(ids, pa.string()))
    assert numbers.dtype == np.int32
    found: list[int] = numbers.tolist()
    return found


@given(ids=IDS, data=st.data())
def test_numbers_do_not_depend_on_the_order_of_rows(ids: list[str], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(ids))
    assert dict(zip(ids, number(ids, {}), strict=True)) == dict(zip(shuffled, number(shuffled, {}), strict=True))


@given(first=IDS, second=IDS)
def test_a_known_id_keeps_its_number_and_no_number_is_given_twice(first: list[str], second: list[str]) -> None:
    known = dict(zip(first, number(first, {}), strict=True))
    later = dict(zip(second, number(second, known), strict=True))
    for name in set(first) & set(second):
        assert later[name] == known[name]
    everyone = known | later
    assert len(set(everyone.values())) == len(everyone)
    fresh = sorted(set(second) - set(first))
    assert [later[name] for name in fresh] == list(range(len(first) + 1, len(first) + 1 + len(fresh)))


def test_an_id_of_several_versions_is_one() -> None:
    register = Register()
    register.add(pa.array(["a", "b"]), np.array([1, 2], np.int32))
    register.add(pa.array(["b", "c"]), np.array([2, 3], np.int32))
    assert register.number(pa.array(["d", "c", "b"])).tolist() == [4, 3, 2]


def test_numbers_are_int32_and_may_run_out() -> None:
    assert number(["a"], {"b": 2**31 - 2}) == [2**31 - 1]
    with pytest.raises(InputError, match="2147483647"):
        number(["a"], {"b": 2**31 - 1})


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([1, None, 3]), ["1", None, "3"]),
        (pa.array([123.0, float("nan"), 1.5, float("inf"), None]), ["123", None, "1.5", "inf", None]),
        (pa.array([2.0**60]), ["1152921504606846976"]),
        (pa.array([Decimal("7.00"), None]), ["7", None]),
        (pa.array([" a ", "", "  ", None, "b c"]), ["a", None, None, None, "b c"]),
        (pa.array(["x", "y", "x"]).dictionary_encode(), ["x", "y", "x"]),
        (pa.array([True]), ["True"]),
    ],
)
def test_values_as_text(values: pa.Array, texts: list[str | None]) -> None:
    assert as_text(pa.chunked_array([values])).to_pylist() == texts


def test_id_columns_are_joined() -> None:
    table = pa.table({"farm": ["A", "A"], "plot": [1.0, 2.0]})
    assert original_ids(table, ["farm", "plot"], "file").to_pylist() == ["A-1", "A-2"]


def test_missing_values_are_listed_by_row() -> None:
    table = pa.table({"id": pa.array([1.0, float("nan"), 3.0, None])})
    with pytest.raises(InputError, match="no value in 2 of 4 rows: 2, 4") as caught:
        original_ids(table, ["id"], "parcels.gpkg")
    assert "parcels.gpkg" in str(caught.value)


def test_duplicate_ids_are_listed_with_their_total() -> None:
    ids = [f"F{i // 2:02d}" for i in range(30)]
    with pytest.raises(InputError) as caught:
        original_ids(pa.table({"id": ids}), ["id"], "parcels.gpkg")
    assert caught.value.what.startswith("15 ids occur more than once, in 30 of 30 rows: F00 (2 times), F01 (2 times)")
    assert "F10" not in caught.value.what
    assert "(15 in all)" in caught.value.what
    assert "further id columns" in str(caught.value.hint)


def test_rows_are_named_where_ids_must_not_be() -> None:
    table = pa.table({"id": ["secret", "b", "secret", "other", "other", "secret"]})
    with pytest.raises(InputError) as caught:
        original_ids(table, ["id"], "parcels.gpkg", quote_values=False)
    assert caught.value.what == ("2 ids occur more than once, in 5 of 6 rows: rows 1, 3, 6, rows 4, 5, counted from 1")


def test_clashing_names_are_prefixed() -> None:
    table = pa.table({"newid": [1], "src_newid": [2], "ori_x": [3], "crop": [4], "Crop": [5]})
    renamed, notes = without_clashes(table, ["NewID", "tile"])
    assert renamed.column_names == ["src_src_newid", "src_newid", "src_ori_x", "crop", "src_Crop"]
    assert notes["src_src_newid"] == "newid"
    assert [c.to_pylist() for c in renamed.columns] == [[1], [2], [3], [4], [5]]


def test_plain_columns_do_not_remember_how_they_were_read() -> None:
    one = pa.table({"a": pa.chunked_array([["x"], ["y"]]).dictionary_encode()})
    two = pa.table({"a": pa.array(["x", "y"])}).replace_schema_metadata({"k": "v"})
    assert plain(one).equals(plain(two), check_metadata=True)
