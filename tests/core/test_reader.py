from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cuts
from support import call_delta, calls_of, check_stream, delta, new_turn, sse, text_of

from chatbridge.protocol.errors import Kind
from chatbridge.translate import reader
from chatbridge.translate.reader import Reader
from chatbridge.translate.turn import Turn

STOP = delta(finish_reason="stop")
COMPLETION = {"choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
BOM = b"\xef\xbb\xbf"


def read(*reads: bytes, **options: Any) -> tuple[Turn, list[dict[str, Any]]]:
    """Feed the reads; return the turn and its events, after checking the rules."""
    turn = new_turn(**options)
    bytes_ = Reader(turn)
    events = turn.start()
    for data in reads:
        events += bytes_.feed(data)
    events += bytes_.close()
    check_stream(events)
    return turn, events


ANSWER = sse([
    delta(role="assistant", content=""), delta(reasoning_content="žluťoučký 🐎"), delta(content="<b>\r\n 😀"), delta(content="\ud83d"), delta(content="\ude00"),
    call_delta('{"a":', id="c", name="f"), call_delta('"ř"}'), {**STOP, "usage": {"prompt_tokens": 4, "completion_tokens": 2}},
])  # fmt: skip
LATER_ERROR = sse([delta(content="a"), {"error": {"message": "over", "code": 500}}], done=False)
BODIES = {
    "answer": ANSWER,
    "crlf": ANSWER.replace(b"\n", b"\r\n"),
    "cr": ANSWER.replace(b"\n", b"\r"),
    "comments and a mark": BOM + b": hold on\n\n" * 3 + ANSWER,
    "cut": ANSWER[:300],
    "cut event": sse([delta(content="a")], done=False) + b'data: {"choices":[{"fin',
    "last event without its blank line": sse([delta(content="a")], done=False) + b"data: " + json.dumps(STOP).encode(),
    "error": LATER_ERROR,
    "event error": sse([delta(content="a")], done=False) + b'event: error\ndata: {"error":{"message":"over"}}\n\n',
    "junk events": sse([b"junk", delta(content="a"), b"{", STOP]),
    "nothing": b"",
    "only comments": b": hold on\n\n" * 3,
    "only done": sse([]),
    "completion": json.dumps(COMPLETION).encode(),
    "completion behind a mark and blanks": b"\n\r\n " + BOM + b"\n" + json.dumps(COMPLETION).encode() + b"\n",
    "completion after many blanks": b"\n" * 5000 + json.dumps(COMPLETION).encode(),
    "error body": b'{"error":{"message":"over","code":"insufficient_quota"}}',
    "list body": b'[{"error":{"message":"over","code":404}}]',
    "html": b"<!doctype html><title>Gateway</title>",
    "text": b"no such route",
    "long text": b"no " * 5000,
    "long json text": b'"' + b"no " * 5000 + b'"',
    "other json": b'{"hello":"world"}',
}  # fmt: skip


@given(st.sampled_from(sorted(BODIES)), st.data(), st.booleans())
def test_S56_the_same_bytes_in_any_reads_give_the_same_events(name, data, for_codex):
    body = BODIES[name]
    assert read(*data.draw(cuts(body)), for_codex=for_codex)[1] == read(body, for_codex=for_codex)[1]


@pytest.mark.parametrize("name", BODIES)
def test_S56_byte_by_byte(name):
    body = BODIES[name]
    assert read(*(body[at : at + 1] for at in range(len(body))))[1] == read(body)[1]


@pytest.mark.parametrize("name", ["answer", "crlf", "cr", "comments and a mark"])
def test_S50_S55_framing_makes_no_difference(name):
    turn, _ = read(BODIES[name])
    assert text_of(turn) == "<b>\r\n 😀😀"
    assert calls_of(turn) == [("f", '{"a":"ř"}')]
    assert turn.response["usage"]["total_tokens"] == 6


@pytest.mark.parametrize(("name", "status"), [
    ("answer", "completed"), ("junk events", "completed"), ("last event without its blank line", "completed"),
    ("cut", "failed"), ("cut event", "failed"), ("error", "failed"), ("event error", "failed"),
    ("nothing", "failed"), ("only comments", "failed"), ("only done", "failed"),
])  # fmt: skip
def test_S51_S53_S54_S59_how_streams_end(name, status):
    turn, _ = read(BODIES[name])
    assert turn.response["status"] == status
    assert turn.error is None or turn.error.kind is Kind.UNAVAILABLE


@pytest.mark.parametrize("name", ["completion", "completion behind a mark and blanks", "completion after many blanks"])
def test_S58_a_whole_completion_is_an_answer(name):
    turn, _ = read(BODIES[name])
    assert (turn.response["status"], text_of(turn)) == ("completed", "whole")


@pytest.mark.parametrize(("name", "kind", "text"), [
    ("error body", Kind.QUOTA, "over"),
    ("list body", Kind.NOT_FOUND, "over"),
    ("html", Kind.UNAVAILABLE, "Gateway"),
    ("text", Kind.UNAVAILABLE, "no such route"),
    ("long text", Kind.UNAVAILABLE, "no no no"),
    ("other json", Kind.UNAVAILABLE, '{"hello":"world"}'),
])  # fmt: skip
def test_S58_a_body_that_is_no_answer_is_told(name, kind, text):
    turn, _ = read(BODIES[name])
    assert turn.error.kind is kind
    assert "not a chat completion" in turn.error.message
    assert text in turn.error.message
    assert len(turn.error.message) < 700


@pytest.mark.parametrize("body", [b'{"choices":[', b"{}", b"[]", b'{"choices":' + b"[" * 5000 + b"]" * 5000 + b"}"])
def test_S58_broken_and_empty_bodies(body):
    turn, _ = read(body)
    assert turn.error.kind is Kind.UNAVAILABLE


def test_what_follows_done_is_passed_over():
    turn, _ = read(ANSWER + b"data: {}\n\n", b"more\n\n")
    assert turn.response["status"] == "completed"


def test_several_events_in_one_read_come_in_one_batch():
    turn = new_turn()
    turn.start()
    body = Reader(turn)
    assert [event.get("delta") for event in body.feed(sse([delta(content="a"), delta(content="b")], done=False))][
        2:
    ] == ["a", "b"]
    assert body.feed(b": comment\n\n") == []


@pytest.mark.parametrize("body", [b"data: " + b"x" * 200, b"{" + b" " * 200])
def test_what_never_ends_is_given_up(body, monkeypatch):
    monkeypatch.setattr(reader, "LIMIT", 100)
    turn, _ = read(body[:50], body[50:], b"and more", b"\n\n")
    assert turn.error.kind is Kind.UNAVAILABLE
    assert "100 bytes" in turn.error.message


def test_a_large_event_in_small_reads():
    # With work that grows by the square this would take minutes.
    body = sse([delta(content="x" * 5_000_000), STOP])
    turn, _ = read(*(body[at : at + 1000] for at in range(0, len(body), 1000)))
    assert len(text_of(turn)) == 5_000_000
