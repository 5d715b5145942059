"""Variables: bands, indices of two catalogues, formulas; every name means one thing or is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from s4c_hpc.config.model import Variables
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.optical import check_bands, index_variable, list_indices, resolve

# A bright soil, a meadow and a pond, as reflectances.
SCENE = {
    "B01": np.array([0.11, 0.03, 0.04]),
    "B02": np.array([0.12, 0.04, 0.05]),
    "B03": np.array([0.16, 0.07, 0.06]),
    "B04": np.array([0.20, 0.05, 0.03]),
    "B05": np.array([0.22, 0.11, 0.03]),
    "B06": np.array([0.24, 0.29, 0.02]),
    "B07": np.array([0.26, 0.36, 0.02]),
    "B08": np.array([0.28, 0.38, 0.02]),
    "B8A": np.array([0.29, 0.40, 0.02]),
    "B09": np.array([0.30, 0.41, 0.02]),
    "B11": np.array([0.35, 0.20, 0.01]),
    "B12": np.array([0.30, 0.10, 0.01]),
}
# The same three as a radar sees them, linear power.
RADAR = {
    "VV": np.array([0.10, 0.06, 0.004]),
    "VH": np.array([0.02, 0.015, 0.0004]),
    "HH": np.array([0.11, 0.07, 0.003]),
    "HV": np.array([0.02, 0.016, 0.0003]),
}


def value(name: str) -> np.ndarray:
    return index_variable(name).formula.evaluate(SCENE)


def test_our_indices_equal_their_definitions() -> None:
    b = SCENE
    expected = {
        "ndvi": (b["B08"] - b["B04"]) / (b["B08"] + b["B04"]),
        "ndwi_gao": (b["B08"] - b["B11"]) / (b["B08"] + b["B11"]),
        "ndwi_mcfeeters": (b["B03"] - b["B08"]) / (b["B03"] + b["B08"]),
        "brightness": np.sqrt(b["B03"] ** 2 + b["B04"] ** 2 + b["B08"] ** 2 + b["B11"] ** 2),
        "brightness_l3b": np.sqrt((b["B03"] ** 2 + b["B04"] ** 2) / 2),
        "savi": (b["B08"] - b["B04"]) / (b["B08"] + b["B04"] + 0.5) * (1 + 0.5),
        "bsi": (b["B11"] + b["B04"] - b["B08"] - b["B02"]) / (b["B11"] + b["B04"] + b["B08"] + b["B02"]),
    }
    for name, numbers in expected.items():
        np.testing.assert_allclose(value(name), numbers, rtol=1e-14, err_msg=name)


def test_the_two_water_indices_are_named_apart() -> None:
    for name in ("ndwi", "NDWI"):
        with pytest.raises(ConfigError, match=r"ndwi_gao .* or ndwi_mcfeeters"):
            index_variable(name)
    assert value("ndwi_gao")[1] > 0 > value("ndwi_mcfeeters")[1]
    assert value("ndwi_mcfeeters")[2] > 0


def test_every_listed_index_resolves_and_evaluates() -> None:
    entries = list_indices()
    assert len(entries) > 230
    names = [e.name for e in entries]
    assert len(set(names)) == len(names)
    for entry in entries:
        variable = index_variable(entry.name)
        assert (variable.name, variable.formula) == (entry.name.lower(), entry.formula)
        assert set(variable.formula.names) <= set(RADAR if entry.sensor == "radar" else SCENE)
        assert variable.unit == ("dB" if entry.name.endswith("_db") else "1")
        assert entry.long_name
        assert entry.source
        assert variable.formula.evaluate({**SCENE, **RADAR}).shape == (3,)


def test_spyndex_names_in_any_case_with_our_bands_and_constants() -> None:
    evi = index_variable("evi")
    assert evi.name == index_variable("EVI").name == "evi"
    b = SCENE
    np.testing.assert_allclose(
        evi.formula.evaluate(b), 2.5 * (b["B08"] - b["B04"]) / (b["B08"] + 6 * b["B04"] - 7.5 * b["B02"] + 1)
    )
    assert all(text in evi.source for text in ("spyndex", "C1 = 6", "C2 = 7.5", "g = 2.5", "L = 1"))
    np.testing.assert_allclose(value("MNDWI"), (b["B03"] - b["B11"]) / (b["B03"] + b["B11"]))


def test_wavelengths_are_those_of_sentinel_2a_and_are_told() -> None:
    fai = index_variable("FAI")
    b = SCENE
    slope = (832.8 - 664.6) / (1613.7 - 664.6)
    np.testing.assert_allclose(fai.formula.evaluate(b), b["B08"] - (b["B04"] + (b["B11"] - b["B04"]) * slope))
    assert "lambdaN = 832.8" in fai.source


@pytest.mark.parametrize(
    ("name", "missing"),
    [("kNDVI", "kernel"), ("EBBI", "thermal"), ("NIRvP", "photosynthetically"), ("CCI", "green")],
)
def test_what_no_sensor_gives_is_refused_with_what_is_missing(name: str, missing: str) -> None:
    with pytest.raises(ConfigError, match=missing):
        index_variable(name)


def test_radar_indices_stand_apart_and_need_radar_bands() -> None:
    sensors = [entry.sensor for entry in list_indices()]
    assert sensors == ["optical"] * sensors.count("optical") + ["radar"] * sensors.count("radar")
    assert sensors.count("radar") == 16
    ratio, rvi = (index_variable(name).formula for name in ("VHVVR", "DpRVIVV"))
    np.testing.assert_allclose(ratio.evaluate(RADAR), RADAR["VH"] / RADAR["VV"])
    np.testing.assert_allclose(rvi.evaluate(RADAR), 4 * RADAR["VH"] / (RADAR["VV"] + RADAR["VH"]))
    backscatter, own = resolve(Variables(bands=("VV",), indices=(), formulas={"mine": "(VV - VH) / HH"}))
    assert backscatter.long_name == "Radar backscatter in polarisation VV"
    np.testing.assert_allclose(own.formula.evaluate(RADAR), (RADAR["VV"] - RADAR["VH"]) / RADAR["HH"])
    with pytest.raises(ConfigError, match="'vhvvr' needs band VH, which no product"):
        check_bands([index_variable("VHVVR")], SCENE)


def test_backscatter_in_decibels() -> None:
    bands = {"VV": np.array([0.1, 1.0, 0.0, -0.1, np.nan]), "VH": np.array([0.01, 0.1, 0.1, 0.1, 0.1])}
    nothing = [np.nan] * 3
    for name, expected in (("vv_sigma0_db", [-10, 0]), ("vv_vh_db", [10, 10])):
        np.testing.assert_allclose(index_variable(name).formula.evaluate(bands), [*expected, *nothing], atol=1e-12)
    np.testing.assert_allclose(index_variable("vh_sigma0_db").formula.evaluate(bands), [-20, -10, -10, -10, -10])


LANDSAT = ("B01", "B02", "B03", "B04", "B08", "B11", "B12")
"""Bands of Landsat 8 and 9 by the Sentinel-2 name of the same role."""


@pytest.mark.parametrize("bands", [tuple(SCENE), LANDSAT], ids=["Sentinel-2", "Landsat"])
def test_the_indices_of_agricultural_monitoring_work_for_both_optical_sensors(bands: tuple[str, ...]) -> None:
    asked = ("ndvi", "ndwi_gao", "ndwi_mcfeeters", "mndwi", "evi", "savi", "bsi", "ndti", "ndtilli")
    variables = resolve(Variables(bands=(), indices=(*asked, "brightness", "brightness_l3b")))
    check_bands(variables, bands)
    assert len({v.name for v in variables}) == len({v.formula.text for v in variables}) == 11
    values = {v.name: v.formula.evaluate({name: SCENE[name] for name in bands}) for v in variables}
    assert all(np.isfinite(found).all() for found in values.values())
    # Two things are abbreviated NDTI: turbidity of water (red, green), and tillage (both shortwave infrared bands).
    b = SCENE
    np.testing.assert_allclose(values["ndti"], (b["B04"] - b["B03"]) / (b["B04"] + b["B03"]))
    np.testing.assert_allclose(values["ndtilli"], (b["B11"] - b["B12"]) / (b["B11"] + b["B12"]))


def test_names_that_differ_in_capitals_only_must_be_spelt_out() -> None:
    with pytest.raises(ConfigError, match=r"BAI \(Burned.* or BaI \(Bareness"):
        index_variable("bai")
    assert index_variable("BAI").formula != index_variable("BaI").formula
    with pytest.raises(ConfigError, match="two variables are called 'bai'"):
        resolve(Variables(bands=(), indices=("BAI", "BaI")))


def test_an_unknown_index_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no index is called 'ndvii'; did you mean .*ndvi"):
        index_variable("ndvii")


def test_resolve_keeps_the_order_and_the_defaults_work() -> None:
    names = [v.name for v in resolve(Variables(formulas={"ireci": "(B07 - B04) / (B05 / B06)"}))]
    assert names[:3] == ["b02", "b03", "b04"]
    assert names[-6:] == ["ndvi", "ndwi_gao", "ndwi_mcfeeters", "brightness", "bsi", "ireci"]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (Variables(bands=("b4",)), r"'b4' is not a band name.*did you mean .*B04"),
        (Variables(bands=("B04", "B04")), "two variables are called 'b04'"),
        (Variables(formulas={"ndvi": "B08 - B04"}), "two variables are called 'ndvi'"),
        (Variables(formulas={"mine": "B08 -"}), r"variables\.formulas\.mine: this is not a formula"),
        (Variables(bands=(), indices=()), "no variable is asked for"),
    ],
)
def test_bad_requests_are_refused(variables: Variables, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(variables)


def test_a_band_that_no_product_has_is_told_with_the_nearest() -> None:
    variables = resolve(Variables(bands=("B04", "NIR"), indices=()))
    check_bands(variables, ["B04", "NIR"])
    with pytest.raises(ConfigError, match=r"'nir' needs band NIR, which no product .* did you mean NIR1"):
        check_bands(variables, ["B04", "NIR1"])


def test_the_catalogue_is_read_without_importing_spyndex() -> None:
    code = "import sys; from s4c_hpc.optical import list_indices; list_indices(); sys.exit('spyndex' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
