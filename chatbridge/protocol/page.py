"""A page of the web as lines of text.

Pages may be made to be slow to read, and this runs beside others' answers: the time that it takes grows with the page's
length and no faster. That is why it is not :mod:`html.parser`, for which 100 kB of unclosed tags are minutes.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator

LINES = 5000
WIDTH = 200

_HIDDEN = frozenset({"noscript", "template", "svg", "iframe", "object", "select", "head"})
_RAW = frozenset({"script", "style", "title", "textarea"})
"""Elements that hold no tags."""
_BLOCKS = frozenset(
    {
        *("address", "article", "aside", "blockquote", "body", "br", "caption", "dd", "details", "div", "dl", "dt"),
        *("fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr"),
        *("li", "main", "nav", "ol", "p", "pre", "section", "summary", "table", "tbody", "td", "th", "tr", "ul"),
    }
)
# Nothing is tried twice (possessive); a quote that is never closed is looked for once, since then there is no other.
_TAG = re.compile(r"""<(/?)([A-Za-z][^\s/>]*+)(?:[^>=]|=\s*+"[^"]*+"|=\s*+'[^']*+'|=)*+>""")
_ENDS = {name: re.compile(f"</{name}", re.IGNORECASE) for name in _RAW}
_CHARSETS = re.compile(
    r"utf-?(?:8|16)|(?:us-)?ascii|iso-?8859-?\d+|latin-?\d|(?:windows-|cp)\d+|koi8-[ru]|shift_?jis|euc-(?:jp|kr)|gb\w+|big5",
    re.IGNORECASE,
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
    said = charset or (found[1].decode() if found else "")
    if _CHARSETS.fullmatch(said):  # some of Python's other codecs take long, or are none for text
        try:
            return data.decode(said, "replace")
        except LookupError:
            pass
    return data.decode("utf-8", "replace")


class _Text:
    """Collects what a reader would see."""

    def __init__(self) -> None:
        self.title = ""
        self.text: list[str] = []
        self._hidden = ""  # the outermost element that is not seen, and how often it is open
        self._depth = 0
        self._pre = 0

    def read(self, page: str) -> None:
        at = 0
        while at < len(page):
            begin = page.find("<", at)
            if begin < 0:
                begin = len(page)
            self._said(page[at:begin])
            at = self._markup(page, begin) if begin < len(page) else begin

    def _markup(self, page: str, at: int) -> int:
        """Read what begins with ``<`` at *at*; return where it ends. What is never closed reaches to the end."""
        if page.startswith("<!--", at):
            return _behind(page, "-->", at + 4)
        if page.startswith(("<!", "<?"), at):
            return _behind(page, ">", at)
        name = page[at + 1 : at + 3].lstrip("/")[:1]
        if not (name.isascii() and name.isalpha()):
            self._said("<")
            return at + 1
        tag = _TAG.match(page, at)
        if tag is None:
            return len(page)
        name = tag[2].lower()
        if tag[1]:
            self._closed(name)
        elif name in _RAW:
            return self._raw(page, tag.end(), name)
        else:
            self._opened(name)
        return tag.end()

    def _raw(self, page: str, at: int, name: str) -> int:
        end = _ENDS[name].search(page, at)
        if end is None:
            return len(page)
        if name == "title":
            self.title = self.title or html.unescape(page[at : end.start()])
        return _behind(page, ">", end.end())

    def _opened(self, name: str) -> None:
        if name == "body":
            self._hidden = ""  # a head that nobody closed
        if self._hidden:
            self._depth += name == self._hidden
        elif name in _HIDDEN:
            self._hidden, self._depth = name, 1
        self._pre += name == "pre"
        if name in _BLOCKS:
            self.text.append("\n- " if name == "li" else "\n")

    def _closed(self, name: str) -> None:
        if name == self._hidden:
            self._depth -= 1
            if not self._depth:
                self._hidden = ""
        self._pre -= name == "pre" and self._pre > 0
        if name in _BLOCKS:
            self.text.append("\n")

    def _said(self, text: str) -> None:
        if text and not self._hidden:
            text = html.unescape(text)
            self.text.append(text if self._pre else text.replace("\n", " "))


def _behind(page: str, end: str, at: int) -> int:
    found = page.find(end, at)
    return len(page) if found < 0 else found + len(end)


def read_page(data: bytes, kind: str, charset: str) -> tuple[str, list[str]]:
    """Return title and lines of a page of the media type *kind*."""
    text = decoded(data, charset)
    if "html" not in kind:
        return "", list(_lines(cleaned(text).splitlines()))
    found = _Text()
    found.read(text)
    joined = (" ".join(line.split()) for line in cleaned("".join(found.text)).splitlines())
    return " ".join(cleaned(found.title).split())[:200], list(_lines(line for line in joined if line))


def _lines(lines: Iterable[str]) -> Iterator[str]:
    count = 0
    for line in lines:
        for piece in _wrapped(line):
            if count >= LINES:
                return
            count += 1
            yield piece


def _wrapped(line: str) -> Iterator[str]:
    at = 0
    while len(line) - at > WIDTH:
        space = line.rfind(" ", at + 1, at + WIDTH + 1)
        end = space if space > 0 else at + WIDTH
        yield line[at:end]
        at = end + (space > 0)
    yield line[at:]


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
