"""HTML as a tree, from the standard library's parser; a tag that is not closed where it should be is an error."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from xml.etree.ElementTree import Element, TreeBuilder

VOID = frozenset({"meta", "link", "input", "br", "hr", "img"})


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.builder = TreeBuilder()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({k for k, _ in attrs}) == len(attrs), f"an attribute stands twice in <{tag}>"
        self.builder.start(tag, {k: v or "" for k, v in attrs})
        if tag in VOID:
            self.builder.end(tag)
        else:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.builder.end(self.open.pop())

    def handle_data(self, data: str) -> None:
        if self.open:
            self.builder.data(data)


def parse(text: str) -> Element:
    """The root element of a whole page."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    assert not parser.open, f"not closed: {parser.open}"
    return parser.builder.close()


def text_of(element: Element) -> str:
    """All text within, blanks collapsed."""
    return " ".join("".join(element.itertext()).split())


def by_class(root: Element, name: str) -> Iterator[Element]:
    """Elements that have a class."""
    return (e for e in root.iter() if name in e.get("class", "").split())


def by_id(root: Element, identity: str) -> Element:
    """The element with an id."""
    (found,) = (e for e in root.iter() if e.get("id") == identity)
    return found
