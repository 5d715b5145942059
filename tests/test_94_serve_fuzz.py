"""What nobody thought of: requests made up from the OpenAPI document (schemathesis), and conditions made up from words.

Every answer has to be one that the document knows, in the form that it says, without a bug behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.serving import NEW, SITE, Served, build_small, served, write_results

from s4c_hpc.core.errors import InputError
from s4c_hpc.serve.app import build_api
from s4c_hpc.serve.filters import parcels_where

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 20
"""Of each of some twenty routes."""
KNOWN: dict[str, Any] = {
    "site": SITE,
    "season": "latest",
    "collection": f"parcels.{NEW}.v0001",
    "parcel": 7,
    "marker_set": "l4a",
    "kind": "evidence",
    "z": 0,
    "x": 0,
    "y": 0,
}
"""Of paths: made-up ones hardly ever lead anywhere."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("fuzz")
    workspace = build_small(folder / "ws").workspace
    write_results(workspace, "2019")
    with served(folder, workspace) as one:
        yield one


def operations() -> list[Any]:
    schema = schemathesis.openapi.from_dict(build_api().openapi())
    return [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]


@pytest.mark.parametrize("operation", operations(), ids=lambda one: one.label)
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "made-up"])
def test_answers_are_those_of_the_document(service: Served, operation: Any, is_known: bool) -> None:
    seen: set[int] = set()
    headers = {"Authorization": f"Bearer {service.held['admin']}"}

    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES if is_known else 4,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        if is_known:
            case.path_parameters = {name: KNOWN[name] for name in case.path_parameters or ()}
        case.headers = headers
        answer = case.call(base_url=service.url)
        case.validate_response(answer, checks=CHECKS)
        seen.add(answer.status_code)
        if answer.status_code >= 400:
            assert answer.headers["content-type"][0] == "application/problem+json"
            assert str(service.audit.parent) not in answer.text

    ask()
    assert not seen & {500, 503}
    if is_known:
        assert 200 in seen, "an answer was among them"


PARCELS = pa.table(
    {
        "NewID": pa.array(range(60), pa.int32()),
        "ori_crop": ["wheat" if i % 3 else None if i % 2 else "grass" for i in range(60)],
        "Area_meters": [1e3 * i for i in range(60)],
        "Overlap": [i % 4 == 0 for i in range(60)],
    }
)
Truth = Callable[[dict[str, Any]], bool | None]
"""Of a row; ``None``: not known, as in SQL."""


def _not(one: bool | None) -> bool | None:
    return None if one is None else not one


def _and(one: bool | None, other: bool | None) -> bool | None:
    return False if one is False or other is False else None if one is None or other is None else True


LEAVES: list[tuple[str, Truth]] = [
    ("ori_crop = 'wheat'", lambda row: None if row["ori_crop"] is None else row["ori_crop"] == "wheat"),
    ("ori_crop IS NULL", lambda row: row["ori_crop"] is None),
    ("ori_crop LIKE 'gr%'", lambda row: None if row["ori_crop"] is None else row["ori_crop"].startswith("gr")),
    ("Area_meters > 2e4", lambda row: row["Area_meters"] > 2e4),
    ("NewID BETWEEN 10 AND 30", lambda row: 10 <= row["NewID"] <= 30),
    ("NewID IN (1, 2, 3, 50)", lambda row: row["NewID"] in {1, 2, 3, 50}),
    ("Overlap", lambda row: row["Overlap"]),
    ("Overlap = false", lambda row: not row["Overlap"]),
    ("Area_meters / 1e3 + 1 = NewID + 1", lambda _: True),
]


def conditions() -> st.SearchStrategy[tuple[str, Truth]]:
    """Conditions and what they mean."""

    def more(inner: st.SearchStrategy[tuple[str, Truth]]) -> st.SearchStrategy[tuple[str, Truth]]:
        two = st.tuples(inner, inner)
        return st.one_of(
            inner.map(lambda a: (f"NOT ({a[0]})", lambda row: _not(a[1](row)))),
            two.map(lambda p: (f"({p[0][0]}) AND ({p[1][0]})", lambda row: _and(p[0][1](row), p[1][1](row)))),
            two.map(
                lambda p: (
                    f"({p[0][0]}) OR ({p[1][0]})",
                    lambda row: _not(_and(_not(p[0][1](row)), _not(p[1][1](row)))),
                )
            ),
        )

    return st.recursive(st.sampled_from(LEAVES), more, max_leaves=6)


@given(condition=conditions())
@settings(max_examples=40)
def test_a_condition_means_what_it_says(condition: tuple[str, Truth]) -> None:
    text, truth = condition
    expected = [row["NewID"] for row in PARCELS.to_pylist() if truth(row) is True]
    assert sorted(parcels_where(PARCELS, text).tolist()) == expected


WORDS = [
    *("NewID", "ori_crop", "Overlap", "parcels", "information_schema.tables", "rowid", "*", "1", "'a'", "NULL", "true"),
    *(
        "(",
        ")",
        ",",
        ";",
        "--",
        "/*",
        "*/",
        "=",
        "<",
        ">",
        "!=",
        "->",
        "+",
        "-",
        "||",
        "~",
        "[",
        "]",
        "{",
        "}",
        "?",
        "$1",
    ),
    *("IN", "LIKE", "AND", "OR", "NOT", "IS", "BETWEEN", "ANY", "EXISTS", "SELECT", "FROM", "WHERE", "UNION", "LIMIT"),
    *(
        "ORDER",
        "BY",
        "COPY",
        "TO",
        "ATTACH",
        "PRAGMA",
        "SET",
        "CAST",
        "::",
        "AS",
        "VARCHAR",
        "CASE",
        "WHEN",
        "THEN",
        "END",
    ),
    *("range(9)", "getenv('HOME')", "read_text('/etc/passwd')", "glob('/*')", "version()", "COLUMNS(*)"),
]


@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=9))
@settings(max_examples=120)
def test_words_in_any_order_are_a_condition_or_refused(words: list[str]) -> None:
    try:
        found = parcels_where(PARCELS, " ".join(words))
    except InputError:
        return
    text = " ".join(words).split("--")[0]
    assert not {"SELECT", "UNION", "COPY", "CAST", "CASE", "COLUMNS(*)", "getenv('HOME')"} & set(
        re.sub(r"/\*.*?\*/", " ", text).split()
    )
    assert set(found.tolist()) <= set(range(60))
