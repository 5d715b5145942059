"""Sun and view angles: from real metadata, merged over detectors and bands as directions, kept as text."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.safe import build_skeleton, tile_xml

from s4c_hpc.catalog.angle_files import read_angles
from s4c_hpc.catalog.angles import MAX_TEXT_BYTES, Angles, angles_of, mean_direction, unit_vectors
from s4c_hpc.catalog.discover import measure_folder
from s4c_hpc.catalog.safe_angles import read_safe_angles
from s4c_hpc.catalog.safe_s2 import read_safe
from s4c_hpc.core.errors import InputError

REAL = Path(__file__).parent / "data" / "safe-sentinel2" / "angles_S2B_20210122_T22HBD.xml"
"""Bands B04 and B8A, six detectors; the swath ends on this tile."""


def grid(*rows: str) -> NDArray[np.float64]:
    return np.array([[float(v) for v in row.split()] for row in rows])


def test_a_real_granule() -> None:
    angles = read_safe_angles(REAL)
    assert angles is not None
    assert (angles.ulx, angles.uly, angles.step_m) == (199_980.0, 5_900_020.0, 5000.0)
    assert angles.sun_zenith.shape == angles.view_azimuth.shape == (23, 23)
    # The first node as the file has it; what the producer states as means of the two bands.
    assert angles.sun_zenith[0, 0] == 32.6145
    assert not np.isnan(angles.sun_zenith).any()
    assert np.nanmean(angles.view_zenith) == pytest.approx((7.2116 + 7.3345) / 2, abs=0.05)
    assert np.nanmean(angles.view_azimuth) == pytest.approx((286.68 + 287.25) / 2, abs=0.5)
    # No detector looked at the south-eastern corner.
    assert np.isnan(angles.view_zenith[-1, -1])
    assert np.isnan(angles.view_zenith).sum() == np.isnan(angles.view_azimuth).sum() == 11
    # One detector: B04 at 4.80604 and 272.5, B8A at 4.94343 and 266.074.
    assert angles.view_zenith[0, 7] == pytest.approx((4.80604 + 4.94343) / 2, abs=0.01)
    assert angles.view_azimuth[0, 7] == pytest.approx((272.5 + 266.074) / 2, abs=0.1)


def test_a_product_tells_where_its_angles_are(tmp_path: Path) -> None:
    folder = build_skeleton(tmp_path, "05.09")
    product = read_safe(folder, measure_folder(folder))
    assert product.status == "ok", product.reason
    assert product.angles_file == str(tile_xml(folder))
    angles = read_angles(product)
    assert angles is not None
    # Without grids of the view: the mean of the means of nine bands, everywhere the same.
    assert np.unique(angles.view_zenith).size == 1
    assert angles.view_zenith[0, 0] == pytest.approx(3.2, abs=0.1)
    assert angles.view_azimuth[0, 0] == pytest.approx(139.6, abs=0.5)


def test_metadata_without_angles_give_none(tmp_path: Path) -> None:
    text = REAL.read_text()
    start, stop = text.index("<Tile_Angles"), text.index("</Tile_Angles>") + len("</Tile_Angles>")
    path = tmp_path / "MTD_TL.xml"
    path.write_text(text[:start] + text[stop:])
    assert read_safe_angles(path) is None


def test_a_grid_that_is_not_whole_is_told(tmp_path: Path) -> None:
    text = REAL.read_text()
    first = text.index("<VALUES>", text.index("<Azimuth>"))
    path = tmp_path / "MTD_TL.xml"
    path.write_text(text[:first] + text[text.index("</VALUES>", first) + len("</VALUES>") :])
    with pytest.raises(InputError, match="angle grid that is not whole"):
        read_safe_angles(path)


def test_angles_that_are_no_numbers_or_ragged_are_told(tmp_path: Path) -> None:
    folder = build_skeleton(tmp_path, "05.09")
    product = read_safe(folder, measure_folder(folder))
    path, whole = Path(product.angles_file), REAL.read_text()
    row = whole[whole.index("<VALUES>") + len("<VALUES>") : whole.index("</VALUES>")]
    for damage in (f"{row} 1.0", row.replace(row.split()[0], "x", 1)):
        path.write_text(whole.replace(row, damage, 1))
        with pytest.raises(InputError, match="has angles that cannot be used"):
            read_angles(product)


def test_detectors_are_merged_as_directions() -> None:
    """359 and 3 degrees are 1 degree, not 181; a detector that did not look does not count."""
    zenith, azimuth = mean_direction(
        [
            (grid("8 8 NaN NaN"), grid("359 120 NaN NaN")),
            (grid("8 NaN 9 NaN"), grid("3 NaN 10 NaN")),
        ]
    )
    np.testing.assert_allclose(azimuth, grid("1 120 10 NaN"), atol=1e-9)
    # Two directions 4 degrees of azimuth apart: their mean is a little steeper than both.
    steeper = math.degrees(math.atan(math.tan(math.radians(8)) * math.cos(math.radians(2))))
    np.testing.assert_allclose(zenith, [[steeper, 8, 9, np.nan]], atol=1e-9)


def test_angles_and_vectors_are_inverse() -> None:
    rng = np.random.default_rng(2)
    zenith, azimuth = rng.uniform(0.1, 80, (4, 5)), rng.uniform(0, 360, (4, 5))
    vectors = unit_vectors(zenith, azimuth)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1)
    back = angles_of(7 * vectors)
    np.testing.assert_allclose(back[0], zenith)
    np.testing.assert_allclose(back[1], azimuth)
    east = unit_vectors(np.array([90.0]), np.array([90.0]))
    np.testing.assert_allclose(east, [[1, 0, 0]], atol=1e-15)


def test_text_keeps_the_angles() -> None:
    angles = read_safe_angles(REAL)
    assert angles is not None
    text = angles.to_text()
    back = Angles.from_text(text)
    assert back.to_text() == text
    assert (back.ulx, back.uly, back.step_m) == (angles.ulx, angles.uly, angles.step_m)
    np.testing.assert_allclose(back.vectors(), angles.vectors(), rtol=0, atol=2e-7)
    assert np.array_equal(np.isnan(back.view_zenith), np.isnan(angles.view_zenith))


def test_no_text_is_longer_than_it_is_said_to_be() -> None:
    widest = np.full((23, 23), 359.987654321)
    angles = Angles(
        ulx=199_980.0,
        uly=10_000_000.0,
        step_m=5000.0,
        sun_zenith=widest / 2,
        sun_azimuth=widest,
        view_zenith=widest / 10,
        view_azimuth=widest,
    )
    assert len(angles.to_text()) <= MAX_TEXT_BYTES
