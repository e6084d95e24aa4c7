"""The events of one answer as the bytes that were sent, to be sent again from any of them on."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import zstandard

BLOCK = 32 * 1024
"""Bytes that are compressed together. Deltas are alike, so what is left of them is about a fortieth. An open stream
holds less than one block that is not compressed."""
_HEAD = struct.Struct(">III")  # compressed, plain, events
_END = b"\n\n"
# Made once, because that takes longer than to compress a block. They are for one thread, the reactor's.
_COMPRESSOR = zstandard.ZstdCompressor(level=1)
_DECOMPRESSOR = zstandard.ZstdDecompressor()


@dataclass(frozen=True, slots=True)
class _Block:
    begin: int
    size: int
    first: int
    """The number of its first event."""
    count: int
    data: bytes


class EventLog:
    """Whole framed events one after the other, numbered from 0 on as their ``sequence_number`` says."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._tail = bytearray()
        self._begin = 0
        self._first = 0

    def __len__(self) -> int:
        return self._begin + len(self._tail)

    def append(self, frames: bytes) -> None:
        """Add one or more events, framed and whole."""
        self._tail += frames
        if len(self._tail) >= BLOCK:
            self._compress()

    def seek(self, after: int) -> int:
        """Return the place of the first event with a number above *after*."""
        wanted = max(0, after + 1)
        for block in self._blocks:
            if wanted < block.first + block.count:
                return block.begin + _place(_decompress(block.data), wanted - block.first)
        return self._begin + _place(bytes(self._tail), wanted - self._first)

    def read(self, place: int) -> bytes:
        """Return what stands at *place*: at least one byte, unless it is the end; never more than is at hand."""
        if place >= self._begin:
            return bytes(self._tail[place - self._begin :])
        low, high = 0, len(self._blocks) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._blocks[middle].begin <= place else (low, middle - 1)
        block = self._blocks[low]
        return _decompress(block.data)[place - block.begin :]

    def dump(self, more: bytes = b"") -> bytes:
        """Return the log as bytes for a store, with *more* events at its end, which are not added to it."""
        blocks = [*self._blocks]
        last = bytes(self._tail) + more
        if last:
            blocks.append(_block(last, self._begin, self._first))
        return b"".join([_HEAD.pack(len(it.data), it.size, it.count) + it.data for it in blocks])

    @classmethod
    def load(cls, data: bytes) -> EventLog:
        """Return the log that :meth:`dump` was called on."""
        log, at = cls(), 0
        while at < len(data):
            length, size, count = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            log._add(_Block(log._begin, size, log._first, count, data[at : at + length]))
            at += length
        return log

    def _compress(self) -> None:
        block = _block(bytes(self._tail), self._begin, self._first)
        self._tail.clear()
        self._add(block)

    def _add(self, block: _Block) -> None:
        self._blocks.append(block)
        self._begin += block.size
        self._first += block.count


def _block(frames: bytes, begin: int, first: int) -> _Block:
    data = _COMPRESSOR.compress(frames)
    return _Block(begin, len(frames), first, frames.count(_END), data)


def _decompress(data: bytes) -> bytes:
    return bytes(_DECOMPRESSOR.decompress(data))


def _place(frames: bytes, count: int) -> int:
    """Return where *count* events end in *frames*, which may hold fewer."""
    at = 0
    for _ in range(count):
        found = frames.find(_END, at)
        if found < 0:
            return len(frames)
        at = found + len(_END)
    return at
