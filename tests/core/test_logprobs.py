from __future__ import annotations

from typing import Any

import pytest
from support import check_stream, new_turn, output, run

from chatbridge.protocol.fields import LOGPROBS
from chatbridge.protocol.jsontext import dumps
from chatbridge.translate.padding import STEP


def chunk(text: str, *entries: Any, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "logprobs": {"content": list(entries)}, **fields}]}


def logprob(token: str, value: float = -0.5, **more: Any) -> dict[str, Any]:
    return {"token": token, "logprob": value, "bytes": list(token.encode()), "top_logprobs": [], **more}


TOP = {"token": "Ho", "logprob": -2, "bytes": [72, 111]}
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


@pytest.mark.parametrize("asked", [{"top_logprobs": 2}, {"include": [LOGPROBS]}])
def test_they_stand_in_deltas_done_events_and_parts(asked):
    first, second = logprob("Hi", top_logprobs=[TOP]), logprob("!")
    turn, events = run([chunk("Hi", first), chunk("!", second), STOP], **asked)
    deltas = [event["logprobs"] for event in events if event["type"] == "response.output_text.delta"]
    assert deltas == [[first], [second]]
    [done] = [event for event in events if event["type"] == "response.output_text.done"]
    [part] = [event["part"] for event in events if event["type"] == "response.content_part.done"]
    assert done["logprobs"] == part["logprobs"] == [first, second]
    assert output(turn, "message")[0]["content"] == [part]


def test_nobody_gets_what_was_not_asked_for():
    turn, events = run([chunk("Hi", logprob("Hi")), STOP])
    assert output(turn, "message")[0]["content"][0]["logprobs"] == []
    assert all(event.get("logprobs", []) == [] for event in events)


def test_they_wait_for_text_that_is_held_back():
    turn, _ = run([chunk("<", logprob("<")), chunk("b>", logprob("b>")), STOP], top_logprobs=1)
    assert [entry["token"] for entry in output(turn, "message")[0]["content"][0]["logprobs"]] == ["<", "b>"]
    turn, _ = run([chunk("\n", logprob("\n")), chunk("<thin", logprob("<thin")), STOP], top_logprobs=1)
    assert [entry["token"] for entry in output(turn, "message")[0]["content"][0]["logprobs"]] == ["\n", "<thin"]


def test_those_of_reasoning_have_no_place():
    chunks = [
        chunk("<think>", logprob("<think>")),
        chunk("hm", logprob("hm")),
        chunk("</think>Hi", logprob("Hi")),
        STOP,
    ]
    turn, _ = run(chunks, top_logprobs=1)
    assert [entry["token"] for entry in output(turn, "message")[0]["content"][0]["logprobs"]] == ["Hi"]


@pytest.mark.parametrize("given", [
    None, 5, [], {}, {"content": None}, {"content": 5}, {"content": [5, {}, {"token": 5, "logprob": 1}, {"token": "a"}]},
    {"content": [{"token": "a", "logprob": True}]}, {"content": [{"token": "a", "logprob": "1"}]},
])  # fmt: skip
def test_what_is_none_is_passed_over(given):
    turn, _ = run([{"choices": [{"delta": {"content": "Hi"}, "logprobs": given}]}, STOP], top_logprobs=1)
    assert output(turn, "message")[0]["content"][0]["logprobs"] == []
    assert "logprobs:none" in turn._notes


def test_bytes_that_a_vendor_leaves_out_are_made():
    entry = {"token": "é", "logprob": -1, "top_logprobs": [{"token": "e", "logprob": -3, "bytes": None}, 5]}
    turn, _ = run([chunk("é", entry), STOP], top_logprobs=1)
    [found] = output(turn, "message")[0]["content"][0]["logprobs"]
    assert found == {
        "token": "é", "logprob": -1, "bytes": [195, 169], "top_logprobs": [{"token": "e", "logprob": -3, "bytes": [101]}],
    }  # fmt: skip


@pytest.mark.parametrize("asked", [{"top_logprobs": 1}, {"stream_options": {"include_obfuscation": True}}])
def test_the_fast_lane_is_left_to_others(asked):
    turn = new_turn(**asked)
    turn.start()
    payloads = [dumps(chunk(f"word{number} ", logprob(f"word{number} "))) for number in range(40)]
    events = turn.read(payloads)
    assert all(isinstance(event, dict) for event in events)
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert len(deltas) == 40
    if "top_logprobs" in asked:
        assert [event["logprobs"][0]["token"] for event in deltas] == [event["delta"] for event in deltas]


def test_obfuscation_makes_the_sizes_of_deltas_alike():
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":1}'}}
    chunks = [
        {"choices": [{"delta": {"reasoning_content": "hm"}}]},
        *({"choices": [{"delta": {"content": "ü" * length}}]} for length in range(1, 40)),
        {"choices": [{"delta": {"tool_calls": [call]}}]},
        STOP,
    ]
    turn = new_turn(stream_options={"include_obfuscation": True})
    turn._new_id = lambda prefix: f"{prefix}_{'0123456789abcdef' * 2}"
    events = turn.start()
    for value in chunks:
        events += turn.chunk(value)
    deltas = [event for event in events if event["type"].endswith(".delta")]
    assert {event["type"] for event in deltas} == {
        "response.reasoning_summary_text.delta", "response.output_text.delta", "response.function_call_arguments.delta",
    }  # fmt: skip
    assert {(len(dumps(event["delta"])) + len(event["obfuscation"])) % STEP for event in deltas} == {0}
    assert all("obfuscation" not in event for event in events if event not in deltas)


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_obfuscation": False}}, {"stream_options": {}}])
def test_there_is_none_by_default(options):
    _, events = run([chunk("Hi"), STOP], **options)
    check_stream(events)  # which knows of no such key
