"""What the columns of the reference's marker files hold, and which of them mean nothing."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.core.errors import ConfigError
from s4c_hpc.markers.compat import STATISTICS, VARIABLES, compat_name
from s4c_hpc.markers.compat_parse import (
    AMBIGUOUS_BAND,
    EPOCH,
    LANDSAT,
    TWICE,
    UNKNOWN,
    ForeignColumn,
    Source,
    read_compat_name,
    read_compat_names,
)
from s4c_hpc.markers.compat_values import Scales
from s4c_hpc.markers.naming import MarkerName

DAY = dt.date(2020, 3, 2)


@pytest.mark.parametrize(
    ("name", "series_column", "kind", "source"),
    [
        ("20200302_mean_NDVI", "ndvi_mean", "NDVI", Source(sensor="s2", day=DAY)),
        ("20200302_stdev_LAI", "lai_stdev", "LAI", Source(sensor="s2", day=DAY)),
        ("20200302_min_FAPAR", "fapar_min", "FAPAR", Source(sensor="s2", day=DAY)),
        ("20200302_max_FCOVER_31UDS", "fcover_max", "FCOVER", Source(sensor="s2", day=DAY, tile="31UDS")),
        ("20200302_median_NDWI", "ndwi_gao_median", "NDWI", Source(sensor="s2", day=DAY)),
        ("20200302_p25_BRIGHTNESS", "brightness_l3b_p25", "BRIGHTNESS", Source(sensor="s2", day=DAY)),
        ("20200302_valid_pixels_cnt_NDVI", "ndvi_count", "NDVI", Source(sensor="s2", day=DAY)),
        ("20200302_p75_L2A_31UDS_B4", "b04_p75", "L2A", Source(sensor="s2", day=DAY, tile="31UDS")),
        ("20200302_mean_L2A_31UDS_B8A", "b8a_mean", "L2A", Source(sensor="s2", day=DAY, tile="31UDS")),
        ("20200302_mean_L2A_B12", "b12_mean", "L2A", Source(sensor="s2", day=DAY)),
        ("20200302_mean_AMP_VV_088", "vv_sigma0_db_mean", "AMP", Source(sensor="s1", day=DAY, relative_orbit=88)),
        ("20200302_stdev_AMP_VH_015", "vh_sigma0_db_stdev", "AMP", Source(sensor="s1", day=DAY, relative_orbit=15)),
        ("20200302_stdev_COHE_VV_088", "vv_coherence_stdev", "COHE", Source(sensor="s1", day=DAY, relative_orbit=88)),
        ("20200302_mean_AMP_VVVH_088", "vv_minus_vh_db_mean", "AMP", Source(sensor="s1", day=DAY, relative_orbit=88)),
        ("XX_2020_03_02_s2_mean_b3", "b03_mean", "L2A", Source(sensor="s2", day=DAY, interpolated=True)),
        ("XX_2020_03_02_s2_dev_ndvi", "ndvi_stdev", "NDVI", Source(sensor="s2", day=DAY, interpolated=True)),
        ("XX_2020_03_02_s2_mean_ndwi", "ndwi_l4a_mean", "NDWI", Source(sensor="s2", day=DAY, interpolated=True)),
        ("XX_2020_03_02_s2_dev_b12", "b12_stdev", "L2A", Source(sensor="s2", day=DAY, interpolated=True)),
        (
            "XX_2020_03_02_s2_mean_brightness",
            "brightness_mean",
            "BRIGHTNESS",
            Source(sensor="s2", day=DAY, interpolated=True),
        ),
    ],
)
def test_grammar(name: str, series_column: str, kind: str, source: Source) -> None:
    column = read_compat_name(name)
    assert isinstance(column, ForeignColumn)
    assert (column.name, column.kind, column.source) == (series_column, kind, source)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("19700101_mean_L3B", EPOCH),  # NDWI and brightness, whose names the reference cannot read
        ("20200302_stdev_AMP_VVVH_088", "a difference of stdevs of VV and VH, which is not the stdev of anything"),
        ("20200302_mean_L2A_193026_B4", LANDSAT),
        ("20200302_mean_NDVI_193026", LANDSAT),
        ("20200231_mean_NDVI", "holds no real date"),
        ("20200302_M1", UNKNOWN),  # practices
        ("20200302_mean_EVI", UNKNOWN),
        ("20200302_p10_NDVI", UNKNOWN),
        ("20200302_mean_COHE_VVVH_088", UNKNOWN),
        ("20200302_mean_L2A_../../etc_B4", UNKNOWN),
        ("XX_W202010_ASC_VV_BCK_MEAN", UNKNOWN),
        ("s2_ndvi_mean__20200302", UNKNOWN),
        ("ori_id", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_what_is_left_out_and_why(name: str, reason: str) -> None:
    said = read_compat_name(name)
    assert isinstance(said, str)
    assert said.startswith(reason)


def test_b1_may_be_b10_and_is_left_out() -> None:
    found = read_compat_names(["20200302_mean_L2A_31UDS_B1", "20200302_mean_L2A_31UDS_B2"])
    assert found.left_out == {"20200302_mean_L2A_31UDS_B1": AMBIGUOUS_BAND}
    assert [c.variable for c in found.kept.values()] == ["b02"]


def test_b1_beside_b10_was_written_by_somebody_who_tells_them_apart() -> None:
    found = read_compat_names(["20200302_mean_L2A_31UDS_B1", "20200302_mean_L2A_31UDS_B10"])
    assert [c.variable for c in found.kept.values()] == ["b01", "b10"]
    assert not found.left_out


def test_two_columns_of_one_name_are_both_left_out() -> None:
    found = read_compat_names(["20200302_mean_NDVI", "20200302_min_NDVI", "20200302_mean_NDVI"])
    assert list(found.kept) == [1]
    assert found.left_out == {"20200302_mean_NDVI": TWICE}


BANDS = ("b02", "b03", "b04", "b05", "b06", "b07", "b08", "b8a", "b09", "b10", "b11", "b12", "b01")


@given(
    variable=st.sampled_from([*VARIABLES, *BANDS]),
    statistic=st.sampled_from(list(STATISTICS)),
    day=st.dates(dt.date(1971, 1, 1), dt.date(2099, 12, 31)),
    tile=st.from_regex(r"[A-Z0-9][A-Za-z0-9_-]{0,12}[A-Z]", fullmatch=True),
)
def test_what_we_call_like_the_reference_is_read_back(variable: str, statistic: str, day: dt.date, tile: str) -> None:
    native = MarkerName(sensor="s2", variable=variable, statistic=statistic, day=day)
    name = compat_name(native, tile)
    assert name is not None
    column = read_compat_name(name)
    assert isinstance(column, ForeignColumn)
    assert (column.source.sensor, column.source.day) == ("s2", day)
    assert column.name == native.series_column
    assert column.source.tile == (tile if variable in BANDS else None)


@pytest.mark.parametrize("text", ["NDVI", "NDVI=", "NDVI=x", "NDVI=0", "NDVI=-1", "NDVI=inf", "AMP=0.1", "EVI=0.1", ""])
def test_a_factor_must_be_one_of_a_type_that_has_one(text: str) -> None:
    with pytest.raises(ConfigError, match="--scale"):
        Scales.parse([text])


def test_a_type_has_one_factor() -> None:
    with pytest.raises(ConfigError, match="second one"):
        Scales.parse(["NDVI=0.0001", "NDVI=0.001"])
