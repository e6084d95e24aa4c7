"""CPU time of the pure core, without network or Twisted: ``python benchmarks/micro.py``.

Each line: the best of five, in microseconds of CPU a unit. Only ratios between lines of one run mean something.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chatbridge.protocol import sse
from chatbridge.protocol.jsontext import dumps
from chatbridge.protocol.responses import ResponsesRequest, parse_request
from chatbridge.translate.notes import Notes
from chatbridge.translate.reader import Reader
from chatbridge.translate.request import Translation, translate_request
from chatbridge.translate.turn import Turn
from chatbridge.vendors.profile import Profile
from chatbridge.web.body import parse

DELTAS = 5000
TOOL = {"type": "function", "name": "shell", "description": "Runs a command.", "parameters": {
    "type": "object", "properties": {f"option_{n}": {"type": "string", "description": "What it is for. " * 8}
                   for n in range(12)},
}}  # fmt: skip


def request(**fields: Any) -> tuple[ResponsesRequest, Translation, Notes]:
    notes = Notes()
    asked = parse_request({"model": "m", "input": "hi", "stream": True, "tools": [TOOL], **fields})
    return asked, translate_request(asked, Profile(), notes), notes


def codex_request() -> bytes:
    """A request of the size that Codex sends in mid-task: 56 kB, 30 items, 9 tools."""
    tools = [{**TOOL, "name": f"tool_{n}"} for n in range(9)]
    items: list[dict[str, Any]] = []
    for n in range(10):
        items += [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go on. " * 60}]},
            {
                "type": "function_call",
                "call_id": f"c{n}",
                "name": "tool_1",
                "arguments": json.dumps({"a": "ls " * 100}),
            },
            {"type": "function_call_output", "call_id": f"c{n}", "output": "a line of output\n" * 80},
        ]
    return dumps({"model": "m", "stream": True, "instructions": "Rules. " * 1700, "input": items, "tools": tools})


def stream(make: Callable[[str], dict[str, Any]], *, padded: bool = False) -> list[bytes]:
    frames = []
    for n in range(DELTAS):
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        if padded:
            chunk["obfuscation"] = "x" * (n % 17)
        choice = {"index": 0, "delta": make(f"word{n} and a bit more "), "finish_reason": None}
        frames.append(b"data: " + dumps({**chunk, "choices": [choice]}) + b"\n\n")
    return frames


def call(text: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}


def run(frames: list[bytes], group: int, *, framed: bool = True, begin: dict[str, Any] | None = None) -> float:
    numbers = itertools.count()
    turn = Turn(*request(), new_id=lambda prefix: f"{prefix}_{next(numbers)}", now=lambda: 5.0)
    reader = Reader(turn, framed=framed)
    turn.start()
    if begin is not None:
        turn.chunk({"choices": [{"delta": begin}]})
    reads = [b"".join(frames[at : at + group]) for at in range(0, len(frames), group)]
    started = time.process_time()
    for read in reads:
        b"".join([sse.frame(event) for event in reader.feed(read)])
    return (time.process_time() - started) / len(frames)


def translate(body: bytes) -> float:
    started = time.process_time()
    for _ in range(20):
        asked = parse_request(parse(body))
        dumps(translate_request(asked, Profile(), Notes()).body)
    return (time.process_time() - started) / 20


def main() -> None:
    text, thought, calls = stream(lambda t: {"content": t}), stream(lambda t: {"reasoning_content": t}), stream(call)
    escaped = stream(lambda t: {"content": t + '"\n'})
    padded = stream(lambda t: {"content": t}, padded=True)
    named = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "shell", "arguments": ""}}]}
    body = codex_request()
    cases: dict[str, Callable[[], float]] = {
        "text delta, 20 a read": lambda: run(text, 20),
        "text delta, 20 a read, in full": lambda: run(text, 20, framed=False),
        "text delta, 1 a read": lambda: run(text, 1),
        "text delta, 1 a read, in full": lambda: run(text, 1, framed=False),
        "text delta with escapes, 20 a read": lambda: run(escaped, 20),
        "text delta of varying shape, 20 a read": lambda: run(padded, 20),
        "reasoning delta, 20 a read": lambda: run(thought, 20),
        "arguments delta, 20 a read": lambda: run(calls, 20, begin=named),
        f"request of {len(body)} bytes": lambda: translate(body),
    }
    for name, case in cases.items():
        print(f"{min(case() for _ in range(5)) * 1e6:10.1f} us  {name}")


if __name__ == "__main__":
    main()
