"""Which call a tool-call delta belongs to. Vendors agree on little here (quirks S01-S13)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chatbridge.protocol.chat import CallPiece
from chatbridge.protocol.jsontext import is_json, object_or_none


@dataclass(slots=True, eq=False)
class Call:
    """One tool call as collected so far. The first id and the first name win and are never appended to."""

    id: str = ""
    name: str = ""
    parts: list[str] = field(default_factory=list)
    index: tuple[int, float | str] | None = None
    extra: Any = None
    """``extra_content``, as the vendor sent it."""
    whole: str = ""
    """Arguments that came as an object; the last ones count, so they wait until the end (quirk S11)."""

    @property
    def arguments(self) -> str:
        """The argument text so far."""
        return self.whole or "".join(self.parts)


class CallIds:
    """The call ids that are in use. Clients and vendors pair calls and results by them."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def unique(self, wanted: str) -> str:
        """Return *wanted*, with a number behind it where it is in use, and count it as in use."""
        if wanted not in self._used:
            self._used[wanted] = 1
            return wanted
        found, count = wanted, self._used[wanted]
        while found in self._used:
            count += 1
            found = f"{wanted}_{count}"
        self._used[wanted] = count
        self._used[found] = 1
        return found


class Calls:
    """The calls of one answer, in order of first appearance."""

    def __init__(self) -> None:
        self.all: list[Call] = []
        self._by_id: dict[str, Call] = {}
        self._by_index: dict[tuple[int, float | str], Call] = {}

    def add(self, piece: CallPiece) -> tuple[Call, str]:
        """Take one piece; return its call and the argument text that the piece adds to it."""
        call = self._find(piece) or self._signed(piece) or self._open(piece)
        if piece.id and not call.id:
            call.id = piece.id
        if piece.id:
            self._by_id.setdefault(piece.id, call)
        if piece.name and not call.name:
            call.name = piece.name
        added = "" if piece.whole else piece.arguments
        if piece.whole and piece.arguments and not call.parts:
            call.whole = piece.arguments  # else what was streamed cannot be taken back
        if piece.extra is not None:
            call.extra = piece.extra
        if added:
            call.parts.append(added)
        return call, added

    def at(self, piece: CallPiece) -> Call | None:
        """Return the call that further pieces without id and name belong to when they come at the index of *piece*."""
        return self._by_index.get(piece.index) if piece.index is not None else None

    def _find(self, piece: CallPiece) -> Call | None:
        at_index = self._by_index.get(piece.index) if piece.index is not None else None
        last = self.all[-1] if self.all else None
        if piece.id:
            known = self._by_id.get(piece.id)
            if known is not None:
                renewed = piece.name and piece.index is not None and known.index != piece.index
                if not renewed and _repeats(known, piece):
                    piece.arguments = ""
                    return known
                replaced = piece.whole and piece.name in ("", known.name)
                return None if renewed or (self._second(known, piece) and not replaced) else known
            if piece.name:
                # The name may come late for a call that has begun (quirk S09); some repeat it with each fresh id.
                late = at_index is not None and not at_index.name and not at_index.id
                return at_index if late or _continues(at_index, piece) else None
            # A new id without a name continues: some converters give each fragment an id of its own (quirk S05).
            return at_index or (last if piece.index is None else None)
        if piece.index is not None:
            return None if at_index is None or self._second(at_index, piece) else at_index
        return last if not piece.name or _continues(last, piece) else None

    def _signed(self, piece: CallPiece) -> Call | None:
        """The call of which only the signature has come (quirk S41): it begins with this piece."""
        last = self.all[-1] if self.all else None
        if last is None or last.extra is None or last.name or last.id or last.parts or last.index is not None:
            return None
        if piece.index is not None:
            last.index = piece.index
            self._by_index[piece.index] = last
        return last

    @staticmethod
    def _second(call: Call, piece: CallPiece) -> bool:
        """A further call under a used id or index: another name, or the same after whole arguments (quirk S13)."""
        if not piece.name or not call.name:
            return False
        if piece.name != call.name:
            return True
        if not piece.arguments.lstrip().startswith("{") or not call.arguments:
            return False
        if not call.whole and not call.parts[-1].rstrip().endswith("}"):
            return False
        return object_or_none(call.arguments) is not None

    def _open(self, piece: CallPiece) -> Call:
        call = Call(index=piece.index)
        self.all.append(call)
        if piece.index is not None:
            self._by_index[piece.index] = call
        if piece.id:
            self._by_id[piece.id] = call
        return call

    def settle(self) -> list[tuple[Call, str]]:
        """Call at the end. Arguments that never got a name continue the call before them, unless that is whole.

        Returns the calls that grew by this, with the text that they got. What is left without a name stays in
        :attr:`all` when it holds arguments, and goes when it holds none.
        """
        grown, kept = [], []
        cut: Call | None = None
        for call in self.all:
            if call.name and call.whole:
                grown.append((call, call.whole))
            if call.name:
                cut = None if is_json(call.arguments) else call
            elif not call.arguments.strip():
                continue
            elif cut is not None and not call.whole:
                cut.parts += call.parts
                grown.append((cut, call.arguments))
                continue
            kept.append(call)
        self.all = kept
        return grown


def _continues(call: Call | None, piece: CallPiece) -> bool:
    """Tell whether *piece* goes on with the cut arguments of *call*, whose name it repeats (quirks S05, S07)."""
    if call is None or call.name != piece.name or not call.parts or piece.whole:
        return False
    if piece.arguments.lstrip()[:1] in ("", "{"):
        return False
    return not (call.parts[-1].rstrip().endswith("}") and is_json(call.arguments))


def _repeats(call: Call, piece: CallPiece) -> bool:
    """Tell whether *piece* says all of *call* once more, as some gateways do at the end: it must not run twice."""
    if piece.name != call.name or not piece.arguments.lstrip().startswith("{") or not call.arguments:
        return False
    return piece.arguments == call.arguments and object_or_none(piece.arguments) is not None
