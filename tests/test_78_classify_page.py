"""The page of a classification: whole, closed, safe, and true to the files beside it."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import pytest
from support.crops import LUT, CropSpace, columns_of, crop_values
from support.html import by_class, by_id, parse, text_of

HOSTILE = "<script>alert(1)</script>"
CROPS = [*"WMRG" * 12, "F", "X"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> CropSpace:
    lut = LUT.replace("12,Maize", f'12,"{HOSTILE}"')
    found = CropSpace(tmp_path_factory.mktemp("page"), CROPS, lut=lut)
    values = crop_values(CROPS, 12)
    columns = [*columns_of(12), *columns_of(12, feature="b04")]
    # The second feature is noise, and one parcel of wheat looks like maize: what is declared cannot be true.
    values[0] = crop_values("M", 12, noise=0)[0]
    noise = np.random.default_rng(1).normal(size=values.shape).astype(np.float32)
    found.features(np.column_stack([values, noise]), columns)
    found.run()
    return found


@pytest.fixture(scope="module")
def html(made: CropSpace) -> str:
    return made.path(".html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Element:
    return parse(html)


def test_the_page_loads_nothing_and_runs_nothing(html: str) -> None:
    assert not re.search(r"https?:|//[a-z]|@import|<link|<img|<iframe|<script|\bsrc\s*=|\son[a-z]+=", html)
    assert "default-src 'none'" in html
    assert HOSTILE not in html
    assert "&lt;script&gt;alert(1)" in html


def test_the_sentence_and_the_facts_are_those_of_the_file_of_accuracies(made: CropSpace, page: Element) -> None:
    found = made.accuracy()
    (outcome,) = by_class(page, "outcome")
    share = round(100 * found["cross_validation"]["accuracy"])
    assert f"{share}\N{NARROW NO-BREAK SPACE}% of 48 declarations are confirmed" in "".join(outcome.itertext())
    assert f"{found['lights']['red']} declaration" in text_of(outcome)
    assert "48 of 50 parcels were checked; of the others 1 land cover" in text_of(outcome)
    (facts,) = by_class(page, "facts")
    shown = text_of(facts)
    for key in ("accuracy", "kappa", "macro_f1"):
        low, high = found["cross_validation"]["interval_95"][key]
        assert f"{found['cross_validation'][key]:.3f}" in shown
        assert f"{low:.3f} to {high:.3f}" in shown


def test_the_table_of_accuracies_has_both_ways(made: CropSpace, page: Element) -> None:
    found, shown = made.accuracy(), text_of(by_id(page, "accuracy"))
    for key in ("validation", "cross_validation"):
        assert f"{found[key]['accuracy']:.3f}" in shown
        assert f"{found[key]['calibration']['expected_calibration_error']:.3f}" in shown


def test_the_confusion_plot_has_the_counts(made: CropSpace, page: Element) -> None:
    plots = list(by_class(by_id(page, "confusion"), "confusion"))
    assert len(plots) == 2
    for plot, n in zip(plots, (48, 12), strict=True):
        assert sum(int(text_of(e)) for e in by_class(plot, "value")) == n
    titles = [text_of(e) for e in by_id(page, "confusion").iter("title")]
    assert any(re.fullmatch(r"\d+ of 12 declared as Wheat \(\d+ %\) predicted as Wheat", t) for t in titles)


def test_what_carries_no_signal_is_less_important(page: Element) -> None:
    section = by_id(page, "features")
    (bars,) = by_class(section, "bars")
    names = [text_of(e) for e in by_class(bars, "end")]
    assert names == ["ndvi mean", "b04 mean"]
    assert len(list(by_class(next(by_class(section, "season-bars")), "amount"))) == 12


def test_the_field_that_is_not_what_it_is_declared_as_is_doubted(made: CropSpace, page: Element) -> None:
    row = made.rows()["F0001"]
    assert (row["CT_decl"], row["CT_pred_1"]) == ("11", "12")
    cells = [[text_of(c) for c in tr] for tr in by_id(page, "doubted").iter("tr")][1:]
    mine = next(one for one in cells if one[1] == "F0001")
    assert mine[5] == "Wheat (11)"
    assert mine[6] == f"{HOSTILE} (12)"
    assert mine[7] == f"{row['CT_conf_1']:.3f}"
    sure = [float(one[7]) for one in cells]
    assert sure == sorted(sure, reverse=True)
    contradicted = [r for r in made.rows().values() if r["agreement"] in {"second", "other"}]
    assert len(cells) == len(contradicted)


def test_who_is_left_out_is_said_with_the_reason(page: Element) -> None:
    shown = text_of(by_id(page, "left-out"))
    assert "48 of 50 parcels teach or validate" in shown
    rows = {text_of(tr[0]): text_of(tr[1]) for tr in by_id(page, "left-out").iter("tr")}
    assert rows == {"Reason": "Parcels", "other-land-cover": "1", "no-class": "1"}
    assert "no feature file counts Sentinel-2 pixels" in shown


def test_settings_stand_at_the_end(page: Element) -> None:
    rows = {text_of(tr[0]): text_of(tr[1]) for tr in by_id(page, "settings").iter("tr")}
    assert rows["classify.trees"] == "15"
    assert rows["classify.lights.red_from"] == "0.7"


def test_boosting_is_asked_by_shuffling(tmp_path: Path) -> None:
    crops = [*"WM" * 30]
    found = CropSpace(tmp_path, crops, settings={"model": "gradient-boosting", "sampling": "none"})
    noise = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
    columns = [*columns_of(4), *columns_of(4, feature="b04")]
    values = crop_values(crops, 4, noise=0.02)
    found.features(np.column_stack([values, noise]), columns)
    found.run()
    page = parse(found.path(".html").read_text())
    shown = by_id(page, "features")
    assert "lost when it is shuffled" in text_of(shown)
    (bars,) = by_class(shown, "bars")
    assert text_of(next(by_class(bars, "end"))) == "ndvi mean"
    assert "Cross-validation" in text_of(by_id(page, "accuracy"))
    assert "that did not see the parcel" in text_of(next(by_class(page, "outcome")))
