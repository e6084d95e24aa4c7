"""Micro-benchmarks of the pure core with pytest-benchmark, and how its cost grows: ``make bench-core``.

Outside the default tests. The curves fail when twice the work costs much more than twice the time.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench import codex_request, tool

from chatbridge.protocol import sse
from chatbridge.protocol.jsontext import dumps
from chatbridge.protocol.responses import ResponsesRequest, parse_request
from chatbridge.translate.notes import Notes
from chatbridge.translate.reader import Reader
from chatbridge.translate.request import Translation, translate_request
from chatbridge.translate.turn import Turn
from chatbridge.vendors.profile import Profile
from chatbridge.web.body import parse

DELTAS = 2000
PROFILE = Profile()


def request(**fields: Any) -> tuple[ResponsesRequest, Translation, Notes]:
    notes = Notes()
    asked = parse_request({"model": "m", "input": "hi", "stream": True, "tools": [tool(0)], **fields})
    return asked, translate_request(asked, PROFILE, notes), notes


def stream(make: Callable[[str], dict[str, Any]], count: int = DELTAS, *, padded: bool = False) -> list[bytes]:
    frames = []
    for n in range(count):
        chunk: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        if padded:
            chunk["obfuscation"] = "x" * (n % 17)
        choice = {"index": 0, "delta": make(f"word{n} and a bit more "), "finish_reason": None}
        frames.append(b"data: " + dumps({**chunk, "choices": [choice]}) + b"\n\n")
    return frames


def call(text: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}


NAMED = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "tool_0", "arguments": ""}}]}


def answer(frames: list[bytes], group: int, begin: dict[str, Any] | None = None) -> bytes:
    numbers = itertools.count()
    turn = Turn(*request(), new_id=lambda prefix: f"{prefix}_{next(numbers)}", now=lambda: 5.0)
    reader = Reader(turn, framed=True)
    out = [sse.frame(event) for event in turn.start()]
    if begin is not None:
        turn.chunk({"choices": [{"delta": begin}]})
    for at in range(0, len(frames), group):
        events = reader.feed(b"".join(frames[at : at + group]))
        out.append(b"".join([sse.frame(event) for event in events]))
    out += [sse.frame(event) for event in turn.end(done=True)]
    return b"".join(out)


STREAMS = {
    "text": (lambda text: {"content": text}, None, False),
    "text with escapes": (lambda text: {"content": text + '"\n'}, None, False),
    "text, each of another shape": (lambda text: {"content": text}, None, True),
    "reasoning": (lambda text: {"reasoning_content": text}, None, False),
    "arguments": (call, NAMED, False),
}


@pytest.mark.parametrize("group", [20, 1])
@pytest.mark.parametrize("kind", STREAMS)
def test_deltas(benchmark: Any, kind: str, group: int) -> None:
    """2000 deltas, *group* of them a read."""
    make, begin, padded = STREAMS[kind]
    frames = stream(make, padded=padded)
    benchmark(answer, frames, group, begin)


def translate(body: bytes) -> bytes:
    return translate_request(parse_request(parse(body)), PROFILE, Notes()).text()


@pytest.mark.parametrize("turns", [10, 100])
def test_requests(benchmark: Any, turns: int) -> None:
    """A Codex-sized request, and one of a long session: bytes from the client to bytes for the upstream."""
    benchmark(translate, json.dumps(codex_request("hi", turns)).encode())


# --- curves


def seconds(work: Callable[[], Any]) -> float:
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def curve(name: str, sizes: list[int], make: Callable[[int], Callable[[], Any]]) -> None:
    """Measure the work of each size, and print it; fail when it grows much faster than the size.

    What no longer fits into the processor's caches takes up to twice as long; work that grew by the square, 16 times.
    """
    times = [seconds(make(size)) for size in sizes]
    told = "  ".join(f"{size}: {taken * 1e3:.2f} ms" for size, taken in zip(sizes, times, strict=True))
    print(f"\n{name}: {told}")
    grown, larger = times[-1] / times[0], sizes[-1] / sizes[0]
    assert grown < 4 * larger, f"{name}: {larger:g} times the size takes {grown:.1f} times as long"


@pytest.mark.parametrize("kind", STREAMS)
def test_cost_grows_with_the_number_of_deltas(kind: str) -> None:
    make, begin, padded = STREAMS[kind]
    frames = {size: stream(make, size, padded=padded) for size in (1000, 16000)}
    curve(f"deltas, {kind}", [1000, 16000], lambda size: lambda: answer(frames[size], 20, begin))


def test_cost_grows_with_the_number_of_items() -> None:
    bodies = {turns: json.dumps(codex_request("hi", turns)).encode() for turns in (20, 320)}
    curve("turns in the history", [20, 320], lambda turns: lambda: translate(bodies[turns]))


def test_cost_grows_with_the_size_of_an_item() -> None:
    def body(size: int) -> bytes:
        text = 'a line with "quotes" and é\n' * (size // 26)
        return json.dumps({"model": "m", "input": text, "stream": True}).encode()

    bodies = {size: body(size) for size in (300_000, 4_800_000)}
    curve("bytes of text", [300_000, 4_800_000], lambda size: lambda: translate(bodies[size]))


def test_cost_grows_with_the_number_of_calls_at_once() -> None:
    def frames(count: int) -> list[bytes]:
        chunks = [
            {"tool_calls": [{"index": n, "id": f"c{n}", "function": {"name": "tool_0", "arguments": "{}"}}]}
            for n in range(count)
        ]
        return [b"data: " + dumps({"choices": [{"index": 0, "delta": chunk}]}) + b"\n\n" for chunk in chunks]

    made = {count: frames(count) for count in (50, 800)}
    curve("calls in one answer", [50, 800], lambda count: lambda: answer(made[count], 20))


def test_cost_grows_with_the_number_of_tools() -> None:
    bodies = {
        count: json.dumps({"model": "m", "input": "hi", "tools": [tool(n, 5) for n in range(count)]}).encode()
        for count in (16, 256)
    }
    curve("tools", [16, 256], lambda count: lambda: translate(bodies[count]))
