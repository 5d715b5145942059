"""Doubts about changes of coherence: fields around, rain, and what the rules make of both."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from s4c_hpc.config.confounders import Confounders
from s4c_hpc.confounders.doubts import Doubt, Doubts, reasons
from s4c_hpc.confounders.peers import Peers
from s4c_hpc.confounders.read import CONTRACT, ConfounderFile, batch_of, schema_of
from s4c_hpc.confounders.rules import Passes, doubts_of_block, rain_at, standing_out, steps_of
from s4c_hpc.core.errors import InputError
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.series.generation import Acquisition
from s4c_hpc.weather import Rain

Floats = NDArray[np.float64]
RULES = Confounders()


def passes_of(*days: list[int]) -> Passes:
    """Days of each orbit."""
    orbit = np.concatenate([np.full(len(own), i, np.int64) for i, own in enumerate(days)])
    return Passes(orbit=orbit, day=np.concatenate([np.array(own, np.int64) for own in days]))


EVERY_SIX = passes_of(list(range(0, 126, 6)))


def judged(
    values: Floats, passes: Passes, rain: Rain | None = None, xy: Floats | None = None, rules: Confounders = RULES
) -> Doubts:
    """Doubts of parcels (n, c) of one crop that lie near each other."""
    n = len(values)
    xy = np.stack([np.arange(n) * 30.0, np.zeros(n)], axis=1) if xy is None else xy
    peers = Peers(xy, np.full(n, "wheat"), rules.distance_m, rules.max_peers)
    steps = steps_of(values, passes)
    return doubts_of_block(steps, slice(0, n), peers.of(0, n), rain_at(rain, n, passes, rules.wet_mm), passes, rules)


class TestSteps:
    def test_a_step_is_of_one_orbit_and_needs_both_values(self) -> None:
        passes = passes_of([0, 6, 12], [3, 9])
        steps = steps_of(np.array([[0.3, 0.5, np.nan, 0.9, 0.7]]), passes)
        np.testing.assert_allclose(steps, [[np.nan, 0.2, np.nan, np.nan, -0.2]], atol=1e-6)
        assert passes.before.tolist() == [-1, 0, 1, -1, 3]
        assert passes.earlier_day.tolist() == [-6, 0, 6, -3, 3]

    def test_none_at_all(self) -> None:
        passes = Passes(orbit=np.empty(0, np.int64), day=np.empty(0, np.int64))
        assert judged(np.empty((3, 0)), passes).flags.shape == (3, 0)
        assert passes_of([100]).earlier_day.tolist() == [94]


def oracle(values: Floats, passes: Passes, xy: Floats, crop: NDArray[np.str_], rules: Confounders) -> dict[str, Floats]:
    """The test against fields around, parcel by parcel and day by day, as one would write it down."""
    n, c = values.shape
    common, spread, flags = np.full((n, c), np.nan), np.full((n, c), np.nan), np.zeros((n, c))
    steps = np.full((n, c), np.nan)
    for t in range(c):
        if t and passes.orbit[t] == passes.orbit[t - 1]:
            steps[:, t] = (values[:, t] - values[:, t - 1]).astype(np.float32)
    for i in range(n):
        near = sorted(
            (float(np.hypot(*(xy[i] - xy[j]))), j)
            for j in range(n)
            if j != i and crop[j] == crop[i] and np.hypot(*(xy[i] - xy[j])) <= rules.distance_m
        )[: rules.max_peers]
        for t in range(c):
            around = np.array([steps[j, t] for _, j in near if np.isfinite(steps[j, t])])
            if around.size >= rules.min_peers:
                common[i, t] = np.median(around)
                spread[i, t] = 1.4826 * np.median(np.abs(around - np.median(around)))
    for i in range(n):
        for orbit in range(passes.n_orbits):
            own = [t for t in range(c) if passes.orbit[t] == orbit]
            seen = [common[i, t] for t in own if np.isfinite(common[i, t])]
            mad = np.median(np.abs(np.array(seen) - np.median(seen))) if len(seen) >= rules.min_season else np.nan
            wet = {t: abs(common[i, t]) > max(rules.wet_mads * mad, rules.min_spread) for t in own if np.isfinite(mad)}
            for t in own:
                z = (steps[i, t] - common[i, t]) / max(spread[i, t], rules.min_spread)
                recovers = t - 1 in own and wet.get(t - 1, False) and steps[i, t] > 0
                alike = steps[i, t] >= rules.rise and z < rules.min_z
                flags[i, t] = 1 * wet.get(t, False) + 2 * recovers + 4 * alike
    return {"common": common, "spread": spread, "flags": flags}


@pytest.mark.parametrize(("seed", "most"), [(1, 64), (2, 12), (3, 9)])
def test_fields_around_against_an_oracle(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    passes = passes_of(list(range(0, 60, 6)), list(range(3, 75, 12)))
    n = 90
    xy = rng.uniform(0, 9000, (n, 2))
    crop = rng.choice(["wheat", "maize", "rare"], n, p=[0.6, 0.35, 0.05])
    values = rng.uniform(0.1, 0.6, (n, passes.day.size)) + rng.normal(0, 0.15, passes.day.size)
    values[rng.random(values.shape) < 0.15] = np.nan
    rules = Confounders(max_peers=most)
    peers = Peers(xy, crop, rules.distance_m, rules.max_peers)
    steps, expected = steps_of(values, passes), oracle(values, passes, xy, crop, rules)
    for first, last in ((0, 50), (50, n)):  # blocks are judged with the fields of other blocks
        block = slice(first, last)
        rain = rain_at(None, last - first, passes, rules.wet_mm)
        found = doubts_of_block(steps, block, peers.of(first, last), rain, passes, rules)
        for name in ("common", "spread"):
            np.testing.assert_allclose(getattr(found, name), expected[name][block], atol=1e-6)
        np.testing.assert_array_equal(found.flags, expected["flags"][block])
    assert np.isnan(expected["common"][crop == "rare"]).all()
    assert 0 < np.isnan(expected["common"]).mean() < 0.9
    assert {1, 2, 4} <= set(expected["flags"].ravel().astype(int))


def test_peers_are_of_the_crop_near_and_others() -> None:
    xy = np.array([[0, 0], [0, 0], [5000, 0], [5000.01, 0], [10, 0], [np.nan, 0]], float)
    crop = np.array(["a", "a", "a", "a", "b", "a"])
    found = Peers(xy, crop, 5000, 4).of(0, 6)
    assert [set(own[own >= 0]) for own in found] == [{1, 2}, {0, 2}, {0, 1, 3}, {2}, set(), set()]
    assert found[2, 0] == 3  # the nearest one first
    assert (np.diff((found >= 0).astype(int), axis=1) <= 0).all()
    assert Peers(np.full((6, 2), np.nan), crop, 5000, 4).of(0, 6).max() == -1


class TestRain:
    days = np.arange(-10, 40)

    def rain(self, **mm: float) -> Rain:
        """Dry but on some days, ``d12=7``."""
        values = np.zeros((1, self.days.size), np.float32)
        for day, amount in mm.items():
            values[0, int(day[1:]) + 10] = amount
        return Rain(self.days, values)

    @pytest.mark.parametrize(
        ("day", "wet"), [("d12", [2, 3]), ("d11", [2, 3]), ("d10", []), ("d13", []), ("d0", [0, 1]), ("d5", [1, 2])]
    )
    def test_the_day_of_either_image_or_the_day_before(self, day: str, wet: list[int]) -> None:
        passes = passes_of([0, 6, 12, 18])
        found = rain_at(self.rain(**{day: 7.0}), 1, passes, 5.0)
        assert np.flatnonzero(found[0] >= 5).tolist() == wet
        assert not np.isnan(found).any()

    def test_days_that_are_missing_are_not_dry_and_a_wet_one_is_enough(self) -> None:
        passes = passes_of([0, 6, 12, 18])
        assert np.isnan(rain_at(self.rain(d12=np.nan), 1, passes, 5.0)[0]).tolist() == [False, False, True, True]
        found = rain_at(self.rain(d12=np.nan, d11=9.0), 1, passes, 5.0)
        assert found[0].tolist() == [0, 0, 9, 9]
        late = rain_at(self.rain(), 1, passes_of([36, 42, 48]), 5.0)
        assert np.isnan(late[0]).tolist() == [False, True, True]
        assert np.isnan(rain_at(None, 2, passes, 5.0)).all()


def wet_pair() -> Floats:
    """Of spec A10: flat coherence, one pair of .12 (the tenth), flat again; 12 fields that alike but for noise."""
    values = np.full((12, EVERY_SIX.day.size), 0.30)
    values[:, 10] = 0.12
    return values + np.random.default_rng(0).normal(0, 0.005, values.shape)


def test_the_wet_pair_is_flagged_and_so_is_its_recovery() -> None:
    """Its rise of .18 makes the reference's M5 true without an event."""
    found = judged(wet_pair(), EVERY_SIX)
    assert (found.flags[:, 10] == Doubt.WET).all()
    assert (found.flags[:, 11] == Doubt.WET | Doubt.RECOVERY | Doubt.COMMON).all()
    np.testing.assert_allclose(found.common[:, 11], 0.18, atol=0.02)
    others = np.delete(found.flags, [10, 11, 12], axis=1)
    assert not others.any()


def test_rain_flags_the_wet_pair_of_a_field_that_stands_alone() -> None:
    mm = np.zeros((1, 140), np.float32)
    mm[0, 60 + 5] = 12.4  # the day of the tenth pair; days begin five days before
    found = judged(wet_pair()[:1], EVERY_SIX, Rain(np.arange(-5, 135), mm))
    assert found.flags[0, 10] == Doubt.WET
    assert found.flags[0, 11] == Doubt.WET | Doubt.RECOVERY  # rain before the earlier image of that pair
    assert not np.delete(found.flags[0], [10, 11, 12]).any()
    assert np.isnan(found.common).all()
    assert reasons(int(found.flags[0, 11]), float(found.rain_mm[0, 11])) == ["rain 12 mm", "recovery after rain"]


def test_the_only_field_that_rises_is_in_no_doubt() -> None:
    values = wet_pair()
    values[:, 10] = 0.30
    values[0, 10:] = 0.55
    found = judged(values, EVERY_SIX)
    assert not found.flags[0].any()
    assert standing_out(
        steps_of(values, EVERY_SIX)[:1, 10:11], found.common[:1, 10:11], found.spread[:1, 10:11], RULES.min_spread
    ) == pytest.approx(12, abs=1.5)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), shift=st.floats(-0.5, 0.5))
def test_a_change_of_all_fields_changes_nobodys_place_among_them(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.2, 0.5, (20, 8))
    passes = passes_of(list(range(0, 48, 6)))
    lifted = values.copy()
    lifted[:, 4:] += shift  # a step at the fifth acquisition, of all
    one, other = judged(values, passes), judged(lifted, passes)
    z, z_lifted = (
        standing_out(steps_of(v, passes), d.common, d.spread, RULES.min_spread)
        for v, d in ((values, one), (lifted, other))
    )
    np.testing.assert_allclose(z, z_lifted, atol=1e-3)
    np.testing.assert_allclose(other.common[:, 4] - one.common[:, 4], shift, atol=1e-5)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_doubts_do_not_depend_on_the_order_of_parcels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, xy = rng.uniform(0.1, 0.6, (25, 8)), rng.uniform(0, 6000, (25, 2))
    order = rng.permutation(25)
    passes = passes_of(list(range(0, 48, 6)))
    one, other = judged(values, passes, xy=xy), judged(values[order], passes, xy=xy[order])
    np.testing.assert_array_equal(one.flags[order], other.flags)
    np.testing.assert_array_equal(one.common[order], other.common)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), mm=st.floats(5, 100))
def test_rain_adds_doubts_and_takes_none_away(seed: int, mm: float) -> None:
    rng = np.random.default_rng(seed)
    values, passes = rng.uniform(0.1, 0.6, (20, 8)), passes_of(list(range(0, 48, 6)))
    rain = Rain(np.arange(-10, 60), np.where(rng.random((20, 70)) < 0.1, mm, 0).astype(np.float32))
    dry, wet = judged(values, passes).flags, judged(values, passes, rain).flags
    assert (dry & ~wet == 0).all()
    assert (wet & Doubt.COMMON == dry & Doubt.COMMON).all()


@given(st.integers(0, 7), st.floats(0, 200))
def test_every_doubt_has_words(flags: int, mm: float) -> None:
    assert len(reasons(flags)) == len(reasons(flags, mm)) == flags.bit_count()
    assert reasons(int(Doubt.WET), 0.0) == ["change as by rain"]
    assert reasons(int(Doubt.WET)) == ["rain"]


class TestFile:
    def acquisition(self, day: int) -> Acquisition:
        when = dt.datetime(2020, 5, 1, tzinfo=dt.UTC) + dt.timedelta(days=day)
        return Acquisition(
            product=f"P{day}",
            sensor="s1",
            platform="S1A",
            datetime=when,
            relative_orbit=15,
            orbit_direction="ascending",
            grid="20m",
            layers=(),
        )

    def write(self, path: Path, days: list[int], ids: list[list[int]]) -> Path:
        """Flags are number of the parcel times acquisition, in blocks."""
        acquisitions = [self.acquisition(day) for day in days]
        schema = schema_of(acquisitions, ["15"] * len(days), {"tile": "32UPU"})

        def block(own: list[int]) -> Doubts:
            flags = np.outer(own, np.arange(1, len(days) + 1)).astype(np.uint8)
            values = flags.astype(np.float32)
            return Doubts(flags=flags, rain_mm=values, common=values / np.float32(10), spread=values)

        write_ipc(path, schema, (batch_of(schema, np.array(own, np.int32), block(own)) for own in ids))
        return path

    def test_parcels_and_acquisitions_in_the_order_that_they_are_asked_for(self, tmp_path: Path) -> None:
        file = ConfounderFile(self.write(tmp_path / "f.arrow", [0, 6, 12], [[9, 3, 5], [1, 7]]))
        asked = [self.acquisition(12), self.acquisition(99), self.acquisition(0)]
        found = file.doubts_of(asked, np.array([7, 4, 3, 9], np.int32))
        assert found.flags.tolist() == [[21, 0, 7], [0, 0, 0], [9, 0, 3], [27, 0, 9]]
        np.testing.assert_allclose(found.common[0], [2.1, np.nan, 0.7], rtol=1e-6)
        assert np.isnan(found.rain_mm[1]).all()
        assert file.doubts_of([], np.array([7], np.int32)).flags.shape == (1, 0)

    def test_no_coherence_is_a_file_without_doubts(self, tmp_path: Path) -> None:
        file = ConfounderFile(self.write(tmp_path / "f.arrow", [], [[1, 2]]))
        assert file.doubts_of([self.acquisition(0)], np.array([1], np.int32)).flags.tolist() == [[0]]

    def test_a_damaged_one_is_told(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "f.arrow", [0], [[1]])
        path.write_bytes(path.read_bytes().replace(CONTRACT.encode(), b"s4c-something-el1"))
        with pytest.raises(InputError, match=r"not a file of contract .*f\.arrow|f\.arrow: not a file of contract"):
            ConfounderFile(path)
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(InputError, match="not a whole Arrow file"):
            ConfounderFile(path)
