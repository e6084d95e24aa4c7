"""A page of the web as lines of text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from textwrap import wrap

LINES = 5000
WIDTH = 200

_HIDDEN = frozenset({"script", "style", "noscript", "template", "svg", "iframe", "object", "select", "head"})
_BLOCKS = frozenset(
    {
        *("address", "article", "aside", "blockquote", "body", "br", "caption", "dd", "details", "div", "dl", "dt"),
        *("fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr"),
        *("li", "main", "nav", "ol", "p", "pre", "section", "summary", "table", "tbody", "td", "th", "tr", "ul"),
    }
)
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
# Controls, and what changes how text reads without being seen: bidi marks, zero-width characters, tags.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)


def cleaned(text: str) -> str:
    """Return *text* without escape sequences, control characters and unseen ones; lone surrogates are replaced."""
    text = _UNSEEN.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))
    return text.encode("utf-8", "replace").decode()


def decoded(data: bytes, charset: str) -> str:
    """Return the text of a page; *charset* is what its header says, or empty."""
    found = _CHARSET.search(data[:2048])
    for name in (charset, found[1].decode() if found else "", "utf-8"):
        try:
            return data.decode(name, "replace") if name else data.decode()
        except (LookupError, UnicodeError):
            continue
    return data.decode("latin-1")


class _Text(HTMLParser):
    """Collects what a reader would see."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self.text: list[str] = []
        self._hidden: list[str] = []
        self._in_title = False
        self._pre = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - its interface
        if tag == "title":
            self._in_title = True
        elif tag in _HIDDEN:
            self._hidden.append(tag)
        elif tag == "body":
            self._hidden.clear()  # a head that nobody closed
        if tag in _BLOCKS:
            self.text.append("\n")
        self._pre += tag == "pre"
        if tag == "li":
            self.text.append("- ")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        self._pre -= tag == "pre" and self._pre > 0
        if tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]
        if tag in _BLOCKS:
            self.text.append("\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._hidden:
            self.text.append(data if self._pre else data.replace("\n", " "))


def read_page(data: bytes, kind: str, charset: str) -> tuple[str, list[str]]:
    """Return title and lines of a page of the media type *kind*."""
    text = decoded(data, charset)
    if "html" not in kind:
        return "", list(_lines(cleaned(text).splitlines()))
    parser = _Text()
    parser.feed(text)
    parser.close()
    joined = (" ".join(line.split()) for line in cleaned("".join(parser.text)).splitlines())
    return " ".join(cleaned(parser.title).split())[:200], list(_lines(line for line in joined if line))


def _lines(lines: Iterable[str]) -> Iterator[str]:
    count = 0
    for line in lines:
        for piece in wrap(line, WIDTH, break_on_hyphens=False) or [""]:
            if count >= LINES:
                return
            count += 1
            yield piece


def window(lines: list[str], first: int, limit: int) -> str:
    """Return the lines from number *first* on (the first is 1), each with its number, at most *limit* characters."""
    first = min(max(first, 1), max(len(lines), 1))
    shown: list[str] = []
    size = 0
    for number, line in enumerate(lines[first - 1 :], first):
        told = f"L{number}: {line}"
        size += len(told) + 1
        if size > limit:
            break
        shown.append(told)
    last = first + len(shown) - 1
    more = f"\n(lines {first} to {last} of {len(lines)})" if shown else "(there is no text)"
    return "\n".join(shown) + more


def find(lines: list[str], pattern: str, limit: int) -> str:
    """Return the lines that hold *pattern* in any case, with those around them; at most *limit* characters."""
    wanted = pattern.casefold()
    hits = [number for number, line in enumerate(lines) if wanted in line.casefold()]
    if not hits:
        return f"Nothing on the page holds {pattern[:100]!r}."
    near = sorted({number for hit in hits for number in range(max(hit - 1, 0), min(hit + 2, len(lines)))})
    shown: list[str] = []
    size = 0
    for number in near:
        told = f"L{number + 1}: {lines[number]}"
        size += len(told) + 1
        if size > limit:
            break
        shown.append(told)
    return f"{len(hits)} line(s) hold {pattern[:100]!r}:\n" + "\n".join(shown)
