"""A page as a browser would have to read it: every element closed, nothing fetched, no script."""

import re
from html.parser import HTMLParser

__all__ = ["Page"]

_VOID = {"meta", "br", "hr", "link", "img", "input"}
_FETCHING = {"script", "link", "img", "iframe", "object", "embed", "audio", "video", "source", "base", "form", "use", "image"}


class Page(HTMLParser):
    """Reads a page, and raises AssertionError at the first thing that should not be in one that stands alone."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.count: dict[str, int] = {}
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == [], f"not closed: {self.open}"
        assert len(self.ids) == len(set(self.ids)), "an id is there twice"
        assert {link[1:] for link in self.links} <= set(self.ids), "a link leads nowhere"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in _FETCHING, tag
        self.count[tag] = self.count.get(tag, 0) + 1
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} has a handler"
            assert name not in ("src", "srcset", "action", "style", "background"), f"{tag} has {name}"
            if name == "href":
                assert (value or "").startswith("#"), value
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if tag == "svg" and name == "aria-label":
                assert value

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if not self.open:
            assert data.strip() == ""
            return
        assert self.open[-1] != "style" or not re.search(r"url\(|@import", data)
        self.words.setdefault(self.open[-1], []).append(data)
