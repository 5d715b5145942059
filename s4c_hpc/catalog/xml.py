"""XML of unknown origin, read without document types and entities."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from s4c_hpc.catalog.archive import read_bytes, status
from s4c_hpc.core.errors import InputError, MissingDataError

MAX_BYTES = 64 * 2**20
"""Larger files are refused; metadata of products and granules is below 1 MB."""


class _NoDoctype(ET.TreeBuilder):
    """Refuses a document type before any entity of it is declared."""

    def doctype(self, name: str, *_: str | None) -> None:
        """Called at the start of a document type, before the parser reads on."""
        raise InputError(f"declares a document type ({name}), which no product does")


def read_xml(path: Path) -> ET.Element:
    """Root element of an XML file.

    Raises
    ------
    MissingDataError
        If there is no such file, or it cannot be read.
    InputError
        If it is not well-formed (truncated, say), declares a document type or is larger than ``MAX_BYTES``.
    TemporaryError
        If it cannot be read just now.
    """
    try:
        size = status(path).st_size
        if size > MAX_BYTES:
            raise InputError(f"is {size} bytes long, more than {MAX_BYTES}", where=str(path))
        content = read_bytes(path)
    except FileNotFoundError as error:
        raise MissingDataError("no such file", where=str(path), hint="fetch the product again") from error
    except OSError as error:
        raise MissingDataError(f"cannot be read ({error.strerror})", where=str(path)) from error
    parser = ET.XMLParser(target=_NoDoctype())  # noqa: S314 - document types and entities are refused above
    try:
        parser.feed(content)
        root: ET.Element = parser.close()
    except ET.ParseError as error:
        raise InputError(f"is not whole XML ({error})", where=str(path), hint="fetch the product again") from error
    except InputError as error:
        raise InputError(error.what, where=str(path)) from error
    return root


def text_of(element: ET.Element, tag: str, where: str) -> str:
    """Text of the first descendant called ``tag``; an ``InputError`` if there is none or it is empty."""
    text = optional_text(element, tag)
    if not text:
        raise InputError(f"has no {tag}", where=where, hint="fetch the product again")
    return text


def optional_text(element: ET.Element, tag: str) -> str:
    """Text of the first descendant called ``tag``, or an empty text."""
    return (element.findtext(f".//{tag}") or "").strip()
