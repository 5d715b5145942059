"""LAI, FAPAR, FCOVER, CCC and CWC: equal to published numbers, and sensitive to every way of feeding them wrongly."""

from __future__ import annotations

import csv
import typing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from s4c_hpc.config.model import Biophysical, BiophysicalSet, Variables
from s4c_hpc.core.bundled import bundled
from s4c_hpc.core.errors import ConfigError, InternalError
from s4c_hpc.optical import resolve
from s4c_hpc.optical.biophysical import BY_PLATFORM, QUANTITIES, SETS, gives, network
from s4c_hpc.optical.network import OUTSIDE, Flag, Outside

DATA = Path(__file__).parent / "data" / "sl2p"
CASES = [(name, variable) for name in SETS for variable in QUANTITIES if gives(name, variable)]
Table = dict[str, NDArray[np.float64]]


def read(name: str) -> Iterator[dict[str, str]]:
    with (DATA / name).open(newline="") as file:
        yield from csv.DictReader(file)


def columns(rows: list[dict[str, str]], names: typing.Iterable[str]) -> Table:
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}


def bands_of(rows: list[dict[str, str]], set_name: str) -> Table:
    """Reflectances and cosines; the near infrared of the Landsat cases stands under B8A."""
    found = columns(rows, [name for name in rows[0] if name.startswith(("B", "cos"))])
    return {**found, "B08": found["B8A"]} if "LANDSAT" in set_name else found


def vectors(set_name: str) -> tuple[Table, list[dict[str, str]]]:
    """Inputs of a set, and the rows of what it gives for them."""
    inputs = {row["id"]: row for row in read("inputs.csv")}
    outputs = [row for row in read("outputs.csv") if row["set"] == set_name]
    return bands_of([inputs[row["id"]] for row in outputs], set_name), outputs


@pytest.mark.parametrize(("set_name", "variable"), CASES)
def test_networks_equal_the_reference_vectors(set_name: str, variable: str) -> None:
    bands, rows = vectors(set_name)
    expected = columns(rows, [variable])[variable]
    assert expected.size >= 155
    np.testing.assert_allclose(network(set_name, variable).raw(bands), expected, rtol=1e-8, atol=0)


@pytest.mark.parametrize(("set_name", "variable"), [c for c in CASES if c[0] in {"2.1/S2", "3.0/S2A", "3.0/S2B"}])
def test_flags_and_thresholds_equal_those_of_snap(set_name: str, variable: str) -> None:
    """But for the grid of cells of version 3.0, which the makers' own cases do not obey: only its limits count."""
    bands, rows = vectors(set_name)
    one = network(set_name, variable)
    raw, values = one.raw(bands), one.evaluate(bands)
    flags = one.flags(bands, raw)
    theirs = columns(rows, [f"{variable}_flag", "in_box"])
    expected = theirs[f"{variable}_flag"].astype(int)
    if set_name.startswith("3.0"):
        expected = (expected & ~1) | (theirs["in_box"] == 0)
    assert np.array_equal(flags, expected)
    assert set(flags & (Flag.RAISED | Flag.TOO_LOW)) > {0}, "the vectors must reach the lower end"
    low, high = one.valid
    clamped = np.where(flags & Flag.RAISED, low, np.where(flags & Flag.LOWERED, high, raw))
    assert np.array_equal(values, clamped)
    dropped = network(set_name, variable, keeps_outside=False).evaluate(bands)
    assert np.array_equal(dropped, np.where(flags & OUTSIDE, np.nan, clamped), equal_nan=True)
    counted = Outside(one).evaluate(bands)
    assert np.array_equal(counted, np.where(flags & OUTSIDE, 1.0, np.nan), equal_nan=True)


MAKERS_TOLERANCE = {"lai": 4e-4, "fapar": 3e-5, "fcover": 3e-5, "ccc": 0.03}
"""Inputs and outputs of the makers' cases are rounded to some five digits."""


def test_networks_equal_the_makers_own_cases() -> None:
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in read("makers.csv"):
        groups.setdefault((row["set"], row["variable"]), []).append(row)
    assert len(groups) == 14
    for (set_name, variable), rows in groups.items():
        found = network(set_name, variable).evaluate(bands_of(rows, set_name))
        expected = columns(rows, ["expected"])["expected"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=MAKERS_TOLERANCE[variable], err_msg=set_name)


def swapped(bands: Table, one: str, other: str) -> Table:
    return {**bands, one: bands[other], other: bands[one]}


def with_offset(bands: Table) -> Table:
    return {name: values + 0.1 if name.startswith("B") else values for name, values in bands.items()}


@pytest.mark.parametrize(
    ("wrong", "median_errors"),
    [
        (lambda bands: swapped(bands, "cosVZA", "cosSZA"), {"lai": 0.14, "fapar": 0.12, "fcover": 0.13, "ccc": 13}),
        (lambda bands: swapped(bands, "B07", "B8A"), {"lai": 0.13, "fapar": 0.03, "fcover": 0.02, "ccc": 7}),
        (with_offset, {"lai": 0.61, "fapar": 0.12, "fcover": 0.08, "ccc": 34}),
    ],
    ids=["zeniths swapped", "B07 and B8A swapped", "offset of the baseline left in"],
)
def test_wrong_inputs_cannot_pass_for_right_ones(wrong: typing.Any, median_errors: dict[str, float]) -> None:
    """The vectors tell each of the usual mistakes apart, with the error that is known for it."""
    bands, _ = vectors("3.0/S2A")
    mixtures = {name: values[:260] for name, values in bands.items()}
    for variable, expected in median_errors.items():
        one = network("3.0/S2A", variable)
        error = np.median(np.abs(one.raw(wrong(mixtures)) - one.raw(mixtures)))
        assert error == pytest.approx(expected, rel=0.3), variable


def test_a_pixel_does_not_depend_on_its_neighbours() -> None:
    """Same bits however the pixels are cut into pieces: more than a chunk, one, an odd number."""
    rng = np.random.default_rng(1)
    one = network("3.0/S2A", "lai")
    bands = {name: rng.uniform(0.0, 0.5, 10_001) for name in one.names}
    whole = one.evaluate(bands)
    for start, stop in ((0, 1), (1, 4098), (8191, 8193), (9_999, 10_001), (3, 9_778)):
        part = one.evaluate({name: values[start:stop] for name, values in bands.items()})
        assert part.tobytes() == whole[start:stop].tobytes()


@pytest.mark.parametrize("set_name", ["2.1/S2", "3.0/S2B"])
def test_without_one_of_its_inputs_a_pixel_has_no_value_and_is_not_counted(set_name: str) -> None:
    bands, _ = vectors(set_name)
    one = network(set_name, "lai")
    for name in one.names:
        missing = {**bands, name: np.full_like(bands[name], np.nan)}
        assert np.isnan(one.evaluate(missing)).all()
        assert np.isnan(Outside(one).evaluate(missing)).all()
    with pytest.raises(InternalError, match="no values for cosRAA"):
        one.raw({name: values for name, values in bands.items() if name != "cosRAA"})


def test_a_grid_cell_without_training_cases_is_outside() -> None:
    """Version 2.1 knows combinations of reflectances that no canopy has, between its limits."""
    one = network("2.1/S2", "lai")
    bands = {name: np.array([0.2]) for name in one.names} | {"B8A": np.array([0.02]), "B07": np.array([0.7])}
    assert one.domain is not None
    limits = zip(one.domain.names, one.domain.low, one.domain.high, strict=True)
    assert all(low <= bands[name][0] <= high for name, low, high in limits)
    assert one.domain.is_outside(bands).tolist() == [True]


def test_the_files_are_the_choices_of_the_configuration() -> None:
    assert set(typing.get_args(BiophysicalSet)) == {*SETS, *BY_PLATFORM}
    assert set(typing.get_args(Biophysical)) == set(QUANTITIES)
    files = {path.stem for path in bundled("configs/biophysical").iterdir()}
    assert files == set(SETS.values())
    assert {name for sets in BY_PLATFORM.values() for name in sets.values()} < set(SETS)


def test_the_satellite_chooses_the_networks() -> None:
    lai, outside = resolve(Variables(bands=(), indices=(), biophysical=("lai",)))
    assert (lai.name, lai.unit) == ("lai", "m2 m-2")
    assert (outside.name, outside.statistics) == ("lai_outside", ("count",))
    chosen = {
        "sentinel-2a": "3.0/S2A",
        "sentinel-2b": "3.0/S2B",
        "sentinel-2c": "3.0/S2B",
        "landsat-9": "3.0/LANDSAT8",
        "": "2.1/S2",
    }
    for platform, set_name in chosen.items():
        assert lai.on(platform).formula == network(set_name, "lai")
        assert set_name in lai.on(platform).formula.text
        assert set_name in outside.on(platform).formula.text
        assert "Weiss" in lai.on(platform).source
    (fixed,) = resolve(
        Variables(bands=(), indices=(), biophysical=("ccc",), biophysical_set="2.1/S2", biophysical_counts=False)
    )
    assert fixed.on("sentinel-2a") == fixed.on("landsat-8") == fixed


def test_texts_tell_all_that_decides_the_numbers() -> None:
    """Texts enter task ids: no two networks share one, nor do kept and dropped values."""
    texts = [network(name, v, keeps_outside=keeps).text for name, v in CASES for keeps in (True, False)]
    assert len(set(texts)) == len(texts)
    digests = {text.split("(")[1][:12] for text in texts}
    assert len(digests) == len(CASES)


def test_a_set_without_the_variable_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'3.0/S2A_10m' do not give 'ccc'.*lai, fapar, fcover"):
        resolve(Variables(biophysical=("ccc",), biophysical_set="3.0/S2A_10m"))
    with pytest.raises(ConfigError, match="two variables are called 'lai_outside'"):
        resolve(Variables(biophysical=("lai",), formulas={"lai_outside": "B04"}))
