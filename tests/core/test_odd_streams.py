"""Whole answers in forms that vendors and gateways were seen or may be expected to send, in reads of any size."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support import call_delta, calls_of, check_stream, delta, new_turn, reasoning_of, sse, text_of, translate

from chatbridge.protocol.sse import Decoder, ErrorData
from chatbridge.translate.reader import Reader
from chatbridge.translate.think import ThinkTags
from chatbridge.vendors.profile import Profile

STOP = delta(finish_reason="stop")
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def read(data: bytes, *, think_tags: str = "start"):
    """Return the turn over *data*, which must be the same in reads of one byte, of three, and in one."""
    turns = []
    for size in (1, 3, len(data) or 1):
        turn = new_turn(tools=[{"type": "function", "name": "f"}])
        if think_tags != "start":
            turn.retranslate(replace(turn.translation, think_tags=think_tags))
        reader = Reader(turn)
        events = turn.start()
        for at in range(0, len(data), size):
            events += reader.feed(data[at : at + size])
        check_stream([*events, *reader.close()])
        turns.append(turn)
    assert turns[0].response == turns[1].response == turns[2].response
    return turns[0]


def failure(data: bytes) -> tuple[str, str]:
    turn = read(data)
    assert turn.response["status"] == "failed"
    return turn.response["error"]["code"], turn.response["error"]["message"]


SAID = sse([delta(content="so far")], done=False)


@pytest.mark.parametrize(("data", "code"), [
    (b'{"message":"boom"}', "server_error"), (b"boom", "server_error"), (b'{"error":{"message":"boom","code":429}}', "rate_limit_exceeded"),
    (b'{"detail":"boom: prompt is too long"}', "context_length_exceeded"), (b'"boom"', "server_error"),
])  # fmt: skip
@pytest.mark.parametrize("around", [(SAID, b""), (b"", b""), (SAID + sse([STOP], done=False), sse([]))])
def test_S51_an_event_named_error_is_one_whatever_it_holds(data, code, around):
    before, after = around
    found, message = failure(before + b"event: error\ndata: " + data + b"\n\n" + after)
    assert found == code
    assert "boom" in message


def test_S51_only_that_name_makes_an_error():
    assert (
        read(b"event: message\n" + sse([delta(content="a")], done=False) + b"event: error\n\n" + sse([STOP])).error
        is None
    )
    assert Decoder().feed(b"event: error\ndata: x\n\ndata: x\n\n") == [b"x", b"x"]
    assert [type(data) for data in Decoder().feed(b"event:error\ndata: x\n\ndata: x\n\n")] == [ErrorData, bytes]


@pytest.mark.parametrize(("chunk", "code"), [
    ({"choices": [{"index": 0, "delta": {}, "error": {"message": "boom", "code": 502}, "finish_reason": "error"}]}, "server_error"),
    ({"detail": "boom"}, "server_error"), ({"errors": [{"message": "boom"}]}, "server_error"), ({"code": 400, "message": "boom"}, "server_error"),
    ({"code": "InvalidParameter", "message": "boom", "request_id": "r"}, "server_error"), ({"success": False, "message": "boom"}, "server_error"),
    ({"message": "boom", "type": "too_many_requests_error", "code": "x"}, "rate_limit_exceeded"), ({"choices": [], "message": "boom"}, "server_error"),
    ([{"error": {"code": 429, "message": "boom", "status": "RESOURCE_EXHAUSTED"}}], "rate_limit_exceeded"),
])  # fmt: skip
def test_S52_errors_in_every_place_of_a_chunk(chunk, code):
    found, message = failure(SAID + sse([chunk, STOP]))
    assert "boom" in message
    assert found == ("invalid_prompt" if chunk == {"code": 400, "message": "boom"} else code)


@pytest.mark.parametrize(
    "chunk",
    [
        {"code": 0, "msg": "ok"},
        {"success": True, "message": "ok"},
        {"message": ""},
        {"errors": []},
        {"error": ""},
        {"error": {}},
    ],
)
def test_S52_what_says_that_all_is_well_is_no_error(chunk):
    assert text_of(read(sse([chunk, delta(content="a"), STOP]))) == "a"


def test_S55_events_without_the_blank_line_between_them():
    first, second = (json.dumps(chunk).encode() for chunk in (delta(content="a"), delta(content="b")))
    assert text_of(read(b"data: " + first + b"\ndata: " + second + b"\n\n" + sse([STOP]))) == "ab"


def test_S55_events_that_are_framed_twice():
    chunks = [b"data: " + json.dumps(chunk).encode() for chunk in (delta(content="a"), STOP)]
    assert text_of(read(sse([*chunks, b"data: [DONE]"], done=False))) == "a"


def test_S55_the_end_in_other_letters():
    assert text_of(read(sse([delta(content="a"), b" [done] "], done=False))) == "a"


WHOLE = {
    "choices": [{"message": {"content": "hi", "reasoning_content": "r", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}]}, "finish_reason": "tool_calls"}],
    "usage": USAGE,
}  # fmt: skip


@pytest.mark.parametrize("body", [
    WHOLE, [WHOLE], {"code": 0, "msg": "ok", "data": WHOLE}, {"success": True, "result": WHOLE}, {**WHOLE, "error": None, "base_resp": {"status_code": 0}},
])  # fmt: skip
def test_S58_a_completion_that_a_gateway_wrapped(body):
    turn = read(json.dumps(body, indent=1).encode())
    assert (text_of(turn), reasoning_of(turn), calls_of(turn)) == ("hi", "r", [("f", '{"a":1}')])
    assert turn.response["usage"]["total_tokens"] == 15


def test_S58_one_document_a_line_without_any_framing():
    turn = read(
        b"".join(json.dumps(chunk).encode() + b"\n" for chunk in (delta(content="a"), delta(content="b"), STOP))
    )
    assert text_of(turn) == "ab"
    assert failure(b'{"a":1}\n{"b":2}\n')[0] == "server_error"


def test_S42_calls_that_only_the_last_message_holds():
    piece = {"id": "c", "function": {"name": "f", "arguments": '{"a":1}'}}
    last = {"choices": [{"message": {"content": "a", "tool_calls": [piece]}, "finish_reason": "tool_calls"}]}
    turn = read(sse([delta(content="a"), last]))
    assert (text_of(turn), calls_of(turn)) == ("a", [("f", '{"a":1}')])
    turn = read(sse([call_delta('{"a":1}', id="other", name="f"), last]))
    assert calls_of(turn) == [("f", '{"a":1}')]


@pytest.mark.parametrize(("reason", "status"), [
    ("max_output_tokens", "max_output_tokens"), ("MAX_TOKENS", "max_output_tokens"), ("SAFETY", "content_filter"), ("content-filter", "content_filter"),
    ("RECITATION", "content_filter"),
])  # fmt: skip
def test_S18_reasons_in_other_letters(reason, status):
    turn = read(sse([delta(content="a"), delta(finish_reason=reason)]))
    assert turn.response["incomplete_details"] == {"reason": status}
    assert text_of(turn) == "a"


@pytest.mark.parametrize("reason", ["abort", "MALFORMED_FUNCTION_CALL", "network-error"])
def test_S18_reasons_that_are_failures_in_other_words(reason):
    assert failure(sse([delta(content="a"), delta(finish_reason=reason)]))[0] == "server_error"


def test_S20_a_choice_that_stands_in_no_list():
    assert text_of(read(sse([{"choices": {"delta": {"content": "a"}, "finish_reason": "stop"}}]))) == "a"


def test_S24_a_call_whose_name_and_arguments_stand_on_it():
    assert calls_of(
        read(sse([delta(tool_calls=[{"index": 0, "id": "c", "name": "f", "arguments": '{"a":1}'}]), STOP]))
    ) == [("f", '{"a":1}')]


def test_S24_text_as_completions_had_it_before_chat():
    assert (
        text_of(read(sse([{"choices": [{"text": "a"}]}, {"choices": [{"text": "b", "finish_reason": "stop"}]}])))
        == "ab"
    )


@pytest.mark.parametrize("fields", [
    {"thinking": "ab"}, {"reasoning_content": [{"type": "text", "text": "a"}, "b"]}, {"reasoning": {"summary": "ab"}},
    {"reasoning_details": {"type": "reasoning.text", "text": "ab"}}, {"content": {"type": "thinking", "thinking": "ab"}},
])  # fmt: skip
def test_S30_S31_reasoning_in_yet_other_shapes(fields):
    assert reasoning_of(read(sse([delta(**fields), delta(content="x"), STOP]))) == "ab"


@pytest.mark.parametrize(("content", "reasoning", "text"), [
    ("<think>a</think>\n\n<think>b</think>x", "ab", "x"), ("\n</think>\n\nx", "", "x"), ("<think></think></think>x", "", "x"),
    ("<think>a</think><b>x", "a", "<b>x"), ("<think>a</think>x <think>b</think>", "a", "x <think>b</think>"),
])  # fmt: skip
def test_S34_tags_that_come_again_or_alone(content, reasoning, text):
    for pieces in ([content], list(content)):
        turn = read(sse([*(delta(content=piece) for piece in pieces), STOP]))
        assert (reasoning_of(turn), text_of(turn).strip()) == (reasoning, text)


@pytest.mark.parametrize(("form", "content", "reasoning", "text"), [
    ("open", "ab</think>x", "ab", "x"), ("open", "<think>ab</think>x", "ab", "x"), ("open", "ab", "ab", ""), ("open", "</think>x", "", "x"),
    ("never", "<think>ab</think>x", "", "<think>ab</think>x"),
])  # fmt: skip
def test_S34_a_profile_says_where_the_tags_are(form, content, reasoning, text):
    for pieces in ([content], list(content)):
        turn = read(sse([*(delta(content=piece) for piece in pieces), STOP]), think_tags=form)
        assert (reasoning_of(turn), text_of(turn)) == (reasoning, text)


def test_S34_the_profile_reaches_the_turn():
    assert translate(Profile(think_tags="never"))[0].think_tags == "never"
    assert ThinkTags("never").plain


def test_S11_objects_that_grow_replace_each_other_under_one_id():
    chunks = [call_delta(value, id="c", name="f") for value in ({}, {"a": 1}, {"a": 1, "b": [2]})]
    assert calls_of(read(sse([*chunks, STOP]))) == [("f", '{"a":1,"b":[2]}')]


def test_S11_two_objects_without_ids_are_two_calls():
    chunks = [call_delta(value, index=None, name="f") for value in ({"a": 1}, {"a": 2})]
    assert calls_of(read(sse([*chunks, STOP]))) == [("f", '{"a":1}'), ("f", '{"a":2}')]


def test_U03_U04_zeros_at_the_end_and_counts_inside_the_delta():
    zeros = dict.fromkeys(USAGE, 0)
    turn = read(sse([{**delta(content="a"), "usage": USAGE}, {**STOP, "usage": zeros}]))
    assert turn.response["usage"]["total_tokens"] == 15
    turn = read(sse([delta(content="a"), {"choices": [{"delta": {"usage": USAGE}, "finish_reason": "stop"}]}]))
    assert turn.response["usage"]["total_tokens"] == 15
