"""Widened masks against distances measured pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from s4c_hpc.extract.dilate import Widening, widened

LAND, SHADOW, SNOW, CLOUD, THIN, NODATA, NOTHING = 0, 2, 3, 4, 6, 254, 255
CLOUDS, SHADOWS = (CLOUD, THIN), (SHADOW,)
PROTECTED = (NODATA, SNOW)
RES_M = 20.0

rasters = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
    elements=st.sampled_from([LAND, LAND, LAND, LAND, LAND, LAND, SHADOW, SNOW, CLOUD, THIN, NODATA, NOTHING]),
)


def near(classes: NDArray[np.uint8], values: tuple[int, ...], radius_m: float) -> NDArray[np.float64]:
    """Distance of each pixel to the closest of some values, in metres; infinite beyond the radius."""
    found = np.full(classes.shape, np.inf)
    for r, c in np.argwhere(np.isin(classes, values)):
        rows, columns = np.indices(classes.shape)
        found = np.minimum(found, np.hypot(rows - r, columns - c) * RES_M)
    return np.where(found <= radius_m + 1e-6, found, np.inf)


@settings(max_examples=200)
@given(rasters, st.sampled_from([20.0, 28.3, 40.0, 45.0, 100.0]), st.sampled_from([10.0, 20.0, 60.0]))
def test_a_pixel_takes_what_is_close_to_it(classes: NDArray[np.uint8], cloud_m: float, shadow_m: float) -> None:
    masks = [Widening(values=CLOUDS, radius_m=cloud_m), Widening(values=SHADOWS, radius_m=shadow_m)]
    found = widened(classes, slice(0, classes.shape[0]), masks, PROTECTED, RES_M)
    cloud, shadow = near(classes, CLOUDS, cloud_m), near(classes, SHADOWS, shadow_m)
    is_open = classes == LAND
    assert np.array_equal(found[~is_open], classes[~is_open])
    assert np.array_equal(np.isin(found, CLOUDS)[is_open], np.isfinite(cloud)[is_open])
    assert np.array_equal((found == SHADOW)[is_open], (np.isfinite(shadow) & ~np.isfinite(cloud))[is_open])
    # Of two kinds of cloud it is the closer one.
    for value in CLOUDS:
        here = is_open & (found == value)
        assert np.array_equal(near(classes, (value,), cloud_m)[here], cloud[here])


@given(rasters, st.integers(1, 5), st.sampled_from([20.0, 60.0, 200.0]))
def test_strips_make_no_difference(classes: NDArray[np.uint8], rows: int, radius_m: float) -> None:
    masks = [Widening(values=CLOUDS, radius_m=radius_m)]
    whole = widened(classes, slice(0, classes.shape[0]), masks, PROTECTED, RES_M)
    parts = [
        widened(classes, slice(top, min(top + rows, classes.shape[0])), masks, PROTECTED, RES_M)
        for top in range(0, classes.shape[0], rows)
    ]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("radius_m", [0.0, 19.9])
def test_less_than_a_pixel_widens_nothing(radius_m: float) -> None:
    classes = np.array([[LAND, CLOUD, LAND]], np.uint8)
    masks = [Widening(values=CLOUDS, radius_m=radius_m)]
    assert np.array_equal(widened(classes, slice(0, 1), masks, PROTECTED, RES_M), classes)
