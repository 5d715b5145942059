"""Names of the reference system, and its collisions that are not repeated."""

from __future__ import annotations

import pytest

from s4c_hpc.core.errors import InputError
from s4c_hpc.markers import compat_name, compat_names, parse_name


@pytest.mark.parametrize(
    ("native", "reference"),
    [
        ("s2_ndvi_mean__20200301", "20200301_mean_NDVI"),
        ("s2_ndvi_stdev__20200301", "20200301_stdev_NDVI"),
        ("s2_ndvi_count__20200301", "20200301_valid_pixels_cnt_NDVI"),
        ("s2_ndvi_p25__20200301", "20200301_p25_NDVI"),
        ("s2_b04_mean__20200302", "20200302_mean_L2A_31UDS_B4"),
        ("s2_b8a_median__20200302", "20200302_median_L2A_31UDS_B8A"),
        ("s2_b12_max__20200302", "20200302_max_L2A_31UDS_B12"),
        ("s2_ndwi_gao_min__20200302", "20200302_min_NDWI"),
        ("s2_brightness_l3b_p75__20200302", "20200302_p75_BRIGHTNESS"),
    ],
)
def test_reference_names(native: str, reference: str) -> None:
    assert compat_name(parse_name(native), "31UDS") == reference


@pytest.mark.parametrize(
    "native",
    [
        "s2_ndwi_mcfeeters_mean__20200302",  # the reference's NDWI is Gao's
        "s2_brightness_mean__20200302",  # its MDB1 has the L3B formula
        "s2_evi_mean__20200302",
        "s2_ndvi_p10__20200302",
        "s2_10m_n_valid__20200302",
        "l8_b04_mean__20200302",  # the reference maps Landsat's bands to others
    ],
)
def test_what_has_no_reference_name(native: str) -> None:
    assert compat_name(parse_name(native), "31UDS") is None


def test_b1_and_b10_do_not_collide() -> None:
    names = compat_names([parse_name("s2_b01_mean__20200302"), parse_name("s2_b10_mean__20200302")], "31UDS")
    assert list(names.names.values()) == ["20200302_mean_L2A_31UDS_B1", "20200302_mean_L2A_31UDS_B10"]


def test_what_is_left_out_is_told() -> None:
    names = compat_names([parse_name("s2_ndvi_mean__20200302"), parse_name("s2_evi_mean__20200302")], "31UDS")
    assert names.names == {"s2_ndvi_mean__20200302": "20200302_mean_NDVI"}
    assert names.left_out == ("s2_evi_mean__20200302",)


def test_two_acquisitions_of_a_day_have_no_reference_names() -> None:
    twice = [parse_name(f"s2_ndvi_mean__20200302t{time}") for time in ("102648", "101012")]
    with pytest.raises(InputError, match=r"20200302_mean_NDVI <- s2_ndvi_mean__20200302t102648 and .*t101012"):
        compat_names(twice, "31UDS")
