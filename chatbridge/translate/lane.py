"""The fast lane: deltas that differ from the one before in nothing but their text.

Nearly all events of an answer are such. Parsing each, looking for all that vendors may have put into it, and writing
an event costs ten times what copying the text does. So the bytes around the text of a chunk that was read in full are
kept, and proven: with another text between them the full reader finds that text and nothing else. What is written
around the text comes from the event that the full way gave.

Whatever differs in a byte, or holds a surrogate, which may be a half, is read in full. The turn drops the lane with
each chunk that was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

from chatbridge.protocol import sse
from chatbridge.protocol.chat import CallPiece, Chunk, read_chunk
from chatbridge.protocol.jsontext import loads
from chatbridge.protocol.plain import read_plain

Texts = list[str]

_PROBE = '\n "{probe}" \\'
_QUOTED = encode_basestring(_PROBE)
# The inside of a JSON string, without surrogates. One way to match only, so the time is linear.
_INSIDE = re.compile(
    r'[^"\\\x00-\x1f]*'
    r'(?:\\(?:["\\/bfnrt]|u(?:[0-9a-cA-CefEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))[^"\\\x00-\x1f]*)*'
)
# The same for several, with a line feed between them, where nothing is escaped.
_PLAIN = re.compile(r'[^"\\\x00-\x09\x0b-\x1f]*')
_END = "}\n\n"
_TRIES = frozenset({3, 6, 12, 24})
"""After how many deltas without a lane a shape is learned: not for the shortest answers, nor without end."""
_KEPT = 4


@dataclass(frozen=True, slots=True)
class Shape:
    """The bytes around the text of a chunk that says nothing else, the quotes included."""

    before: bytes
    after: bytes

    def plain(self, payloads: list[bytes]) -> list[str] | None:
        """Return what :meth:`insides` does, where all of them fit and nothing is escaped; else None.

        Nothing is done for each alone but to cut it out: that all fit is seen when they are put together again.
        """
        before, after = self.before, self.after
        begin, behind = len(before), len(after)
        if not (payloads[-1].startswith(before) and payloads[-1].endswith(after)):
            return None  # something else follows, most likely
        pieces = [payload[begin:-behind] for payload in payloads]
        if b"" in pieces:
            return None
        if before + (after + b"\n" + before).join(pieces) + after != b"\n".join(payloads):
            return None
        try:
            text = b"\n".join(pieces).decode()
        except UnicodeDecodeError:
            return None
        found = text.split("\n")
        return found if len(found) == len(pieces) and _PLAIN.fullmatch(text) is not None else None

    def insides(self, payloads: Iterable[bytes]) -> list[str]:
        """Return the JSON between the quotes of the first payloads, as far as they fit."""
        before, after, fullmatch = self.before, self.after, _INSIDE.fullmatch
        begin, behind = len(before), len(after)
        found = []
        for payload in payloads:
            if not (payload.startswith(before) and payload.endswith(after)):
                break
            try:
                inside = payload[begin : len(payload) - behind].decode()
            except UnicodeDecodeError:
                break
            if not inside or fullmatch(inside) is None:
                break
            found.append(inside)
        return found


@dataclass(slots=True)
class Run:
    """What some payloads gave: their events, framed; how many they were; the length of their text."""

    frames: bytes
    count: int
    characters: int


class Lane:
    """A shape, and the item that the text belongs to. *event* is one that the full way gave for it."""

    def __init__(self, shape: Shape, event: dict[str, Any], collected: tuple[Texts, ...]) -> None:
        framed = sse.frame({**event, "delta": _PROBE, "sequence_number": 0}).decode()
        self._shape = shape
        self._collected = collected
        self._head, _, tail = framed.partition(_QUOTED)
        self._head += '"'
        self._tail = '"' + tail.removesuffix("0" + _END)
        begin, end = b"data: " + shape.before, shape.after + b"\n\n"
        self._begin, self._behind = begin, end
        self._between = slice(len(begin), -len(end))
        # Data of several lines stands in an event in another way.
        self._copies = b"\n" not in shape.before and b"\n" not in shape.after

    def copy(self, event: bytes, sequence: int) -> tuple[bytes, int] | None:
        """Do what :meth:`take` does, for one whole upstream event with plain text; return its frame and text length."""
        if not (event.startswith(self._begin) and event.endswith(self._behind) and self._copies):
            return None
        try:
            text = event[self._between].decode()
        except UnicodeDecodeError:
            return None
        if not text or not text.isprintable() or '"' in text or "\\" in text:
            return None
        for collected in self._collected:
            collected.append(text)
        return f"{self._head}{text}{self._tail}{sequence}{_END}".encode(), len(text)

    def take(self, payloads: list[bytes], at: int, sequence: int) -> Run | None:
        """Read the payloads from *at* on as far as they fit, as the events numbered from *sequence* on."""
        insides = texts = self._shape.plain(payloads[at:] if at else payloads)
        if insides is None or texts is None:
            insides = texts = self._shape.insides(islice(payloads, at, None))
            if not insides:
                return None
            if any("\\" in inside for inside in insides):
                texts = loads('["' + '","'.join(insides) + '"]')
                insides = [encode_basestring(text)[1:-1] for text in texts]
        for collected in self._collected:
            collected.extend(texts)
        head, tail = self._head, self._tail
        frames = [f"{head}{inside}{tail}{number}{_END}" for number, inside in enumerate(insides, sequence)]
        return Run("".join(frames).encode(), len(texts), sum(map(len, texts)))


class Shapes:
    """The shapes of one answer's chunks."""

    def __init__(self) -> None:
        self._known: list[tuple[Chunk, Shape]] = []
        self.missed = 0
        """How many chunks there were that might have had a lane, since one was of use."""

    def find(self, payload: bytes, chunk: Chunk) -> Shape | None:
        """Return the shape of *payload*, which was read as *chunk*."""
        text = _only_text(chunk)
        if not text:
            return None
        self.missed += 1
        if not self._known and self.missed not in _TRIES:
            return None
        probed = _probed(chunk)
        for known, shape in self._known:
            if known == probed and shape.insides((payload,)):
                self.missed -= 1
                return shape
        learned = _learn(payload, text, probed) if self.missed in _TRIES else None
        if learned is not None:
            self._known = [(probed, learned), *self._known[: _KEPT - 1]]
        return learned


def _only_text(chunk: Chunk) -> str:
    """Return the text of a chunk that says nothing else, empty for any other."""
    if chunk.finish or not (chunk.usage is chunk.extra is chunk.error is chunk.beside is None) or chunk.details:
        return ""
    if len(chunk.pieces) == 1:
        return "" if chunk.calls else chunk.pieces[0][1]
    if len(chunk.calls) != 1 or chunk.pieces:
        return ""
    piece = chunk.calls[0]
    return piece.arguments if piece == CallPiece(piece.index, "", "", piece.arguments) else ""


def _probed(chunk: Chunk) -> Chunk:
    """Return the chunk that the probe in place of the text would give."""
    if chunk.pieces:
        return Chunk(pieces=[(chunk.pieces[0][0], _PROBE)])
    return Chunk(calls=[CallPiece(chunk.calls[0].index, "", "", _PROBE)])


def _learn(payload: bytes, text: str, probed: Chunk) -> Shape | None:
    for quoted in {encode_basestring(text), encode_basestring_ascii(text)}:
        inner = quoted.encode("utf-8", "replace")
        at = payload.find(inner)
        while at >= 0:
            shape = Shape(payload[: at + 1], payload[at + len(inner) - 1 :])
            if _proven(shape, probed):
                return shape
            at = payload.find(inner, at + 1)
    return None


def _proven(shape: Shape, probed: Chunk) -> bool:
    try:
        value = loads(shape.before[:-1] + _QUOTED.encode() + shape.after[1:])
    except ValueError:
        return False
    return (read_plain(value) or read_chunk(value, streamed=True)) == probed
