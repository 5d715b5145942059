"""Compiled formulas, against NumPy's evaluation of the same trees: bit for bit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from s4c_hpc.extract.formulas import Evaluator
from s4c_hpc.optical import Formula, PixelFunction, index_variable, list_indices, parse
from s4c_hpc.optical.biophysical import network
from s4c_hpc.optical.network import Network, Outside
from s4c_hpc.optical.program import compile_formulas, is_exact

NAMES = ("B02", "B04", "B08", "B8A")
SIZES = (0, 1, 7, 1023, 1024, 1025, 3000)
"""Around the block that a kernel works on."""


def bands(seed: int, n: int, names: tuple[str, ...] = NAMES) -> NDArray[np.float64]:
    """Reflectances of stored integers, with what else may stand in a band: no data, zero of either sign, infinity."""
    rng = np.random.default_rng(seed)
    values: NDArray[np.float64] = rng.integers(-500, 12_000, (len(names), n)).astype(np.float64) * 1e-4
    for special in (np.nan, 0.0, -0.0, np.inf, 1e-310, 1e300):
        values[rng.random(values.shape) < 0.03] = special
    return values


def expressions() -> st.SearchStrategy[str]:
    leaves = st.sampled_from([*NAMES, "2", "0.5", "3.0", "1e-3", "0"])
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
            inner.map(lambda t: f"(-{t})"),
            inner.map(lambda t: f"({t}) ** 2"),
            st.tuples(st.sampled_from(["abs", "sqrt"]), inner).map(lambda p: f"{p[0]}({p[1]})"),
            st.tuples(st.sampled_from(["min", "max"]), st.lists(inner, min_size=2, max_size=4)).map(
                lambda p: f"{p[0]}({', '.join(p[1])})"
            ),
        ),
        max_leaves=16,
    ).filter(lambda text: any(name in text for name in NAMES))


def same_bits(found: NDArray[np.float64], expected: NDArray[np.float64]) -> bool:
    """NaN are all alike, as they are once written: zeros of two signs are not."""
    numbers = np.isfinite(expected)
    return bool(
        (np.isnan(found) == ~numbers).all()
        and (found[numbers].view(np.int64) == expected[numbers].view(np.int64)).all()
    )


def by_name(evaluator: Evaluator, values: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
    return dict(zip(evaluator.names, values, strict=True))


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(expressions(), min_size=1, max_size=4), seed=st.integers(0, 99), n=st.sampled_from(SIZES))
def test_a_program_gives_the_bits_of_numpy(texts: list[str], seed: int, n: int) -> None:
    formulas = [parse(text) for text in texts]
    assert all(map(is_exact, formulas))
    evaluator = Evaluator(formulas)
    values = bands(seed, n, evaluator.names)
    found = evaluator.evaluate(values)
    for formula, row in zip(formulas, found, strict=True):
        expected = formula.evaluate(by_name(evaluator, values))
        if "min" in formula.text or "max" in formula.text:
            np.testing.assert_array_equal(row, expected)  # which of two zeros is the smaller is NumPy's to say
        else:
            assert same_bits(row, expected)


@pytest.mark.parametrize("text", ["log(B08)", "exp(-B04) + B08", "B08 ** 0.5", "B08 ** B04", "B08 ** -2", "B08 ** 3"])
def test_what_a_compiler_would_round_otherwise_is_left_to_numpy(text: str) -> None:
    compiled, called = parse("(B08 - B04) / (B08 + B04)"), parse(text)
    assert is_exact(compiled)
    assert not is_exact(called)
    evaluator = Evaluator([called, compiled])
    values = bands(1, 2000, evaluator.names)
    found = evaluator.evaluate(values)
    assert same_bits(found[0], called.evaluate(by_name(evaluator, values)))
    assert same_bits(found[1], compiled.evaluate(by_name(evaluator, values)))


def test_every_index_of_the_catalogue() -> None:
    """All at once, in one program, as a season with all of them would."""
    formulas = [index_variable(entry.name).formula for entry in list_indices() if isinstance(entry.formula, Formula)]
    evaluator = Evaluator(formulas)
    values = bands(2, 1500, evaluator.names)
    found = evaluator.evaluate(values)
    for formula, row in zip(formulas, found, strict=True):
        np.testing.assert_array_equal(row, formula.evaluate(by_name(evaluator, values)), err_msg=formula.text)
    assert sum(map(is_exact, formulas)) > 0.8 * len(formulas)


@dataclass(frozen=True)
class Doubled:
    """A function that is no formula."""

    text: str = "twice B04"
    names: tuple[str, ...] = ("B04",)

    def evaluate(self, bands: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        assert set(bands) == {"B04"}
        return 2.0 * bands["B04"]


def test_other_functions_are_called_with_their_own_bands() -> None:
    evaluator = Evaluator([Doubled(), parse("B02 + B04")])
    assert evaluator.names == ("B02", "B04")
    np.testing.assert_array_equal(evaluator.evaluate(np.array([[1.0], [3.0]])), [[6.0], [4.0]])


def test_a_network_is_computed_once_for_its_value_and_its_count(monkeypatch: pytest.MonkeyPatch) -> None:
    lai = network("3.0/S2A", "lai")
    functions: list[PixelFunction] = [
        lai,
        Outside(lai),
        network("3.0/S2A", "lai", keeps_outside=False),
        network("3.0/S2A", "fapar"),
    ]
    evaluator = Evaluator(functions)
    values = np.random.default_rng(3).uniform(0.0, 0.6, (len(evaluator.names), 1500))
    values[:, ::7] = np.nan
    expected = [function.evaluate(by_name(evaluator, values)) for function in functions]
    computed: list[str] = []
    raw = Network.raw

    def counted(self: Network, own: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        computed.append(self.name)
        return raw(self, own)

    monkeypatch.setattr(Network, "raw", counted)
    np.testing.assert_array_equal(evaluator.evaluate(values), expected)
    assert sorted(computed) == sorted([lai.name, network("3.0/S2A", "fapar").name])


def test_shared_parts_are_computed_once_and_registers_are_used_again() -> None:
    ndvi, other = parse("(B08 - B04) / (B08 + B04)"), parse("(B08 - B04) * (B08 + B04)")
    program = compile_formulas([ndvi, other, ndvi])
    assert len(program.code) == 4 + 3  # two sums, a quotient, a product; three results
    long = compile_formulas([parse(" + ".join(f"(B04 * {i})" for i in range(1, 60)))])
    assert long.n_registers <= 3
    assert len(long.constants) == 59


def test_a_result_is_never_written_over_an_operand() -> None:
    """The loops of the kernel are vectorised without regard to it."""
    formulas = [parse(t) for t in ("-(-(-B04))", "abs(sqrt(B04 ** 2) - (B04 + 1) * (B04 - 1)) ** 2 / B08")]
    program = compile_formulas(formulas)
    first = len(program.names) + len(program.constants)
    for op, a, b, target in program.code.tolist():
        if op < 9:
            assert target >= first
            assert target not in {a, b}


def test_the_text_of_a_formula_never_reaches_the_compiler() -> None:
    """A program is numbers: what was checked, and nothing of what was written."""
    program = compile_formulas([parse("max(B04, 0.25)")])
    assert program.names == ("B04",)
    assert program.constants.tolist() == [0.25]
    assert re.fullmatch(r"[\[\], \d]+", str(program.code.tolist()))
