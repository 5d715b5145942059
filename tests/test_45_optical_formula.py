"""Formulas: Python's arithmetic and nothing else of Python."""

from __future__ import annotations

import contextlib
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.core.errors import ConfigError, InternalError
from s4c_hpc.optical import Formula, parse

BANDS = {
    "B02": np.array([0.05, 0.1, 0.0, -0.02, np.nan, 0.3]),
    "B04": np.array([0.04, 0.1, 0.0, 0.03, 0.2, -0.3]),
    "B08": np.array([0.41, 0.3, 0.0, -0.03, 0.2, 0.9]),
    "B8A": np.array([0.40, 1.3, 0.2, 0.5, 0.0, 0.7]),
}
OPERATORS = ("+", "-", "*", "/", "**")
NUMBER = re.compile(r"(?<![A-Za-z0-9_.])\d+(\.\d*)?(e-?\d+)?")


def expressions() -> st.SearchStrategy[str]:
    """Texts with few parentheses, so that precedence and associativity are put to the test."""
    leaves = st.sampled_from([*BANDS, "2", "0.5", "3.0", "1e-3", "10", "0"])
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(OPERATORS), inner).map(" ".join),
            st.tuples(inner, st.sampled_from(OPERATORS), inner).map("".join),
            inner.map(lambda t: f"-{t}"),
            inner.map(lambda t: f"( {t})"),
            st.tuples(st.sampled_from(["abs", "sqrt", "log", "exp"]), inner).map(lambda p: f"{p[0]}({p[1]})"),
            st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda p: f"{p[0]}({p[1]}, {p[2]})"),
        ),
        max_leaves=12,
    )


def python_value(text: str) -> np.ndarray:
    """What Python itself makes of the text, numbers being numpy's so that 1/0 is inf and (-8)**0.5 is nan."""
    scope = {
        "__builtins__": {},
        "f64": np.float64,
        "abs": np.abs,
        "sqrt": np.sqrt,
        "log": np.log,
        "exp": np.exp,
        "min": np.minimum,
        "max": np.maximum,
        **BANDS,
    }
    with np.errstate(all="ignore"):
        # The oracle is Python's own grammar, on text that this test makes.
        value = eval(NUMBER.sub(lambda m: f"f64({m[0]})", text), scope)  # noqa: S307
    result = np.broadcast_to(np.asarray(value, np.float64), (6,)).copy()
    result[~np.isfinite(result)] = np.nan
    return result


@given(expressions())
def test_equals_pythons_own_evaluation(text: str) -> None:
    if not any(name in text for name in BANDS):
        with pytest.raises(ConfigError, match="names no band"):
            parse(text)
        return
    formula = parse(text)
    np.testing.assert_array_equal(formula.evaluate(BANDS), python_value(text))
    assert formula.names == tuple(name for name in sorted(BANDS) if name in text)


@given(expressions())
def test_canonical_text_is_a_fixed_point_and_keeps_the_value(text: str) -> None:
    if not any(name in text for name in BANDS):
        return
    formula = parse(text)
    again = parse(formula.text)
    assert again == formula
    np.testing.assert_array_equal(again.evaluate(BANDS), formula.evaluate(BANDS))


@given(st.text(max_size=80))
def test_any_text_is_a_formula_or_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(parse(text), Formula)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("(B08-B04)/(B08+B04)", "(B08 - B04) / (B08 + B04)"),
        (" ( B08 ) \n", "B08"),
        ("B08*2.0", "B08 * 2"),
        ("+B08", "B08"),
        ("B02-(B04-B08)", "B02 - (B04 - B08)"),
        ("(B02-B04)-B08", "B02 - B04 - B08"),
        ("(-B02)**2", "(-B02) ** 2"),
        ("-(B02**2)", "-B02 ** 2"),
        ("max(B02,min(B04 ,1e-4))", "max(B02, min(B04, 0.0001))"),
    ],
)
def test_white_space_and_needless_parentheses_do_not_show(text: str, canonical: str) -> None:
    assert parse(text).text == canonical


@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("B04 < 3", 5, "'<'"),
        ("B04 if B08 else B02", 1, "'B04 if B08 else B02'"),
        ("B04 ^ 2", 5, "'^'"),
        ("B04.real", 1, "'B04.real'"),
        ("B02 + ().__class__", 7, "'().__class__'"),
        ("B02 + __import__('os')", 18, '"\'"'),
        ("B02 + __import__(B04)", 7, "'__import__'"),
        ("B02 + open", 7, "'open'"),
        ("B02 + b04", 7, "'b04'"),
        ("B02 + sqrt", 7, "parentheses"),
        ("  B02 // 2", 10, "operator"),
        ("B02 +", 6, "not a formula"),
        ("B02 B04", 5, "not a formula"),
        ("(B02, B04)", 1, "'(B02, B04)'"),
        ("B02 * 1j", 7, "not a number"),
        ("B02 * True", 7, "True is not a number"),
        ("B02 * 1e999", 7, "too large"),
        ("B02 ** 1000", 8, "exponent"),
        ("B02 ** -1000", 8, "exponent"),
        ("sqrt(B02, B04)", 1, "one argument"),
        ("min(B02)", 1, "two or more"),
        ("min(*B02, B04)", 1, "plain arguments"),
        ("B02[0]", 4, "'['"),
        ("B02 + é", 7, "'é'"),
        ("(yield)", 2, "'(yield)'"),
    ],
)
def test_everything_else_is_refused_at_its_column(text: str, column: int, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, where="variables.formulas.mine")
    assert what in str(caught.value)
    assert caught.value.where == "variables.formulas.mine"
    assert f"at column {column} of" in caught.value.what
    assert caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "B02" + " + B02" * 1000,
        "-" * 1500 + "B02",
        "(" * 900 + "B02" + ")" * 900,
        "B02" + "**B02" * 300,
        "sqrt(" * 300 + "B02" + ")" * 300,
        "9" * 1500 + " * B02",
        "",
        "   ",
    ],
)
def test_abuse_is_refused_quickly(text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text)


def test_what_is_not_finite_is_nan() -> None:
    values = parse("B02 / B04").evaluate({"B02": np.array([1.0, 0.0, 1.0]), "B04": np.array([0.0, 0.0, 4.0])})
    np.testing.assert_array_equal(values, [np.nan, np.nan, 0.25])


def test_a_lone_band_is_copied_not_aliased() -> None:
    band = np.array([0.1, np.inf])
    values = parse("B02").evaluate({"B02": band})
    np.testing.assert_array_equal(values, [0.1, np.nan])
    assert np.isinf(band[1])


def test_a_band_that_was_not_given_is_an_internal_error() -> None:
    with pytest.raises(InternalError, match="B04"):
        parse("B02 + B04").evaluate({"B02": np.zeros(1)})


def test_a_formula_can_be_sent_to_another_process() -> None:
    formula = parse("sqrt(B02 ** 2 + B04 ** 2)")
    restored = pickle.loads(pickle.dumps(formula))  # noqa: S301 - our own bytes
    assert restored == formula
    np.testing.assert_array_equal(restored.evaluate(BANDS), formula.evaluate(BANDS))
