"""XML of unknown origin: whole or refused, and no entity ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.safe import DATA, REAL, product_xml

from s4c_hpc.catalog import xml
from s4c_hpc.catalog.xml import optional_text, read_xml, text_of
from s4c_hpc.core.errors import InputError, MissingDataError

BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<lolz>&b;</lolz>"""

OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'


@pytest.mark.parametrize("text", [BOMB, OUTSIDE, '<!DOCTYPE a SYSTEM "a.dtd"><a/>'])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused_in_any_encoding(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(text, encoding=encoding)
    with pytest.raises(InputError, match="declares a document type") as caught:
        read_xml(path)
    assert caught.value.where == str(path)


def test_real_metadata_is_read() -> None:
    root = read_xml(product_xml(DATA / REAL["05.09"]))
    assert text_of(root, "PROCESSING_BASELINE", "x") == "05.09"
    assert optional_text(root, "NOT_THERE") == ""
    with pytest.raises(InputError, match="x: has no NOT_THERE"):
        text_of(root, "NOT_THERE", "x")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    content = product_xml(DATA / REAL["04.00"]).read_bytes()
    path = tmp_path / "a.xml"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match="is not whole XML"):
        read_xml(path)


def test_a_file_of_absurd_size_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml, "MAX_BYTES", 3)
    path = tmp_path / "a.xml"
    path.write_text("<a/>", encoding="utf-8")
    with pytest.raises(InputError, match="is 4 bytes long, more than 3"):
        read_xml(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no such file"):
        read_xml(tmp_path / "a.xml")
