from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import any_text, chunks, json_values
from support import (
    TERMINAL,
    call_delta,
    calls_of,
    check_stream,
    delta,
    new_turn,
    output,
    reasoning_of,
    run,
    text_of,
)

from chatbridge.protocol.errors import ApiError, Kind, unavailable
from chatbridge.protocol.jsontext import repair
from chatbridge.translate import compaction
from chatbridge.translate.turn import Turn

STOP = delta(finish_reason="stop")
TOOLS = [
    {"type": "function", "name": "f"},
    {"type": "custom", "name": "exec"},
    {"type": "tool_search", "execution": "client"},
    {"type": "namespace", "name": "shop", "tools": [{"type": "function", "name": "buy"}]},
]
COMPACT = {"input": [{"role": "user", "content": "hi"}, {"type": "compaction_trigger"}]}


def kinds(turn: Turn) -> list[str]:
    return [item["type"] for item in turn.response["output"]]


def deltas(events: list[dict[str, Any]]) -> list[str]:
    return [event["delta"] for event in events if "delta" in event]


# --- the course of an answer


def test_text_as_it_streams():
    turn, events = run([delta(role="assistant", content=""), delta(content="Hel"), delta(content="lo"), STOP])
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert deltas(events) == ["Hel", "lo"]
    assert turn.response["status"] == "completed"
    assert (turn.response["created_at"], turn.response["completed_at"]) == (1000, 1000)


def test_reasoning_then_text_then_calls_are_three_items_in_their_order():
    turn, _ = run(
        [
            delta(reasoning_content="hm"),
            delta(content="ok"),
            call_delta("{}", id="c", name="f"),
            delta(finish_reason="tool_calls"),
        ]
    )
    assert kinds(turn) == ["reasoning", "message", "function_call"]
    assert (reasoning_of(turn), text_of(turn), calls_of(turn)) == ("hm", "ok", [("f", "{}")])


def test_an_item_that_goes_on_after_another_is_a_new_item():
    turn, _ = run(
        [
            delta(content="a"),
            delta(reasoning="b"),
            delta(content="c"),
            call_delta("{}", name="f"),
            delta(content="d"),
            STOP,
        ]
    )
    assert kinds(turn) == ["message", "reasoning", "message", "function_call", "message"]
    assert text_of(turn) == "acd"


def test_a_call_is_finished_only_at_the_end():
    turn = new_turn(tools=TOOLS)
    events = (
        turn.start() + turn.chunk(call_delta("{}", id="c", name="f")) + turn.chunk(delta(finish_reason="tool_calls"))
    )
    assert "response.output_item.done" not in [event["type"] for event in events]
    check_stream(events + turn.end())


def test_calls_that_stream_at_once_stay_apart():
    turn, events = run([
        call_delta('{"a"', index=0, id="x", name="f"), call_delta('{"input":"b', index=1, id="y", name="exec"),
        call_delta(":1}", index=0), call_delta('c"}', index=1), delta(finish_reason="tool_calls"),
    ], tools=TOOLS)  # fmt: skip
    assert calls_of(turn) == [("f", '{"a":1}')]
    assert [(item["call_id"], item["input"]) for item in output(turn, "custom_tool_call")] == [("y", "bc")]
    assert deltas(events) == ['{"a"', "b", ":1}", "c"]


def test_each_kind_of_tool_comes_back_as_its_own_kind_of_call():
    turn, _ = run([
        call_delta("{}", index=0, id="1", name="f"), call_delta('{"input":"x"}', index=1, id="2", name="exec"),
        call_delta('{"query":"q"}', index=2, id="3", name="tool_search"), call_delta("{}", index=3, id="4", name="shop__buy"),
        call_delta("{}", index=4, id="5", name="invented"), STOP,
    ], tools=TOOLS)  # fmt: skip
    found = [
        (item["type"], item["call_id"], item.get("name"), item.get("namespace")) for item in turn.response["output"]
    ]
    assert found == [
        ("function_call", "1", "f", None), ("custom_tool_call", "2", "exec", None), ("tool_search_call", "3", None, None),
        ("function_call", "4", "buy", "shop"), ("function_call", "5", "invented", None),
    ]  # fmt: skip
    assert output(turn, "tool_search_call")[0]["arguments"] == {"query": "q"}


def test_the_response_echoes_the_function_tools_only():
    turn, _ = run([delta(content="a"), STOP], tools=TOOLS)
    assert [tool["name"] for tool in turn.response["tools"]] == ["f"]


def test_a_whole_completion_gives_the_same_response_as_its_stream():
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    usage = {"prompt_tokens": 5, "completion_tokens": 6}
    streamed, _ = run(
        [delta(reasoning="r"), delta(content="t"), delta(tool_calls=[call], finish_reason="tool_calls", usage=usage)]
    )
    message = {"role": "assistant", "content": "t", "reasoning": "r", "tool_calls": [call]}
    whole, _ = run([{"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": usage}])
    assert streamed.response == whole.response


def test_what_comes_after_the_end_is_passed_over():
    turn, _ = run([delta(content="a"), STOP])
    late = [
        *turn.chunk(delta(content="b")),
        *turn.data(b"{}"),
        *turn.end(),
        *turn.end(done=True),
        *turn.fail(unavailable("x")),
        *turn.keepalive(),
    ]
    assert late == []
    assert turn.response["status"] == "completed"


def test_a_sign_of_life_is_numbered_like_all_events():
    turn = new_turn()
    events = (
        turn.start()
        + turn.keepalive()
        + turn.chunk(delta(content="a"))
        + turn.keepalive()
        + turn.chunk(STOP)
        + turn.end()
    )
    check_stream(events)
    assert [event["type"] for event in events].count("response.in_progress") == 3


def test_payloads_are_chunks_or_done_or_junk():
    turn = new_turn()
    events = turn.start()
    for payload in (
        b"junk",
        b'{"choices":[{"delta":{"content":"a"}}]}',
        b"{" * 5000,
        b" [DONE] ",
        b'{"choices":[{"delta":{"content":"b"}}]}',
    ):
        events += turn.data(payload)
    check_stream(events)
    assert text_of(turn) == "a"
    assert "upstream:junk" in turn._notes
    assert turn.chunks == 1


# --- tool calls and finish (S01-S25); which piece belongs where is in test_calls


@pytest.mark.parametrize("wanted", [None, "", "call_1"])
def test_S06_a_call_without_an_id_gets_one_of_its_own(wanted):
    turn, _ = run(
        [call_delta("{}", index=0, id=wanted, name="f"), call_delta("{}", index=1, id=wanted, name="f"), STOP]
    )
    ids = [item["call_id"] for item in output(turn, "function_call")]
    assert len(set(ids)) == 2
    assert all(id_.startswith("call_") for id_ in ids)


def test_call_ids_are_unique_among_those_of_the_history_too():
    items = [
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": ""},
    ]
    turn, _ = run(
        [call_delta("{}", index=0, id="c", name="f"), call_delta("{}", index=1, id="c", name="f"), STOP], input=items
    )
    assert [item["call_id"] for item in output(turn, "function_call")] == ["c_2", "c_3"]


def test_S09_a_late_name_opens_the_item_with_all_arguments():
    turn, events = run([call_delta('{"a"', id="c"), call_delta(":1}"), call_delta("", name="f"), STOP])
    assert calls_of(turn) == [("f", '{"a":1}')]
    assert deltas(events) == ['{"a":1}']


def test_S09_arguments_that_never_got_a_name_are_not_passed_over():
    turn, _ = run([delta(content="a"), call_delta('{"a":1}', id="c"), delta(finish_reason="tool_calls")])
    assert turn.response["status"] == "failed"
    assert "name" in turn.response["error"]["message"]
    assert turn.error.kind is Kind.UNAVAILABLE


def test_S09_a_call_with_neither_name_nor_arguments_is_nothing():
    turn, _ = run([delta(content="a"), call_delta("", id="c"), delta(finish_reason="tool_calls")])
    assert kinds(turn) == ["message"]
    assert turn.response["status"] == "completed"


def test_S05_fragments_with_ids_and_indexes_of_their_own_join_at_the_end():
    turn, _ = run(
        [
            call_delta('{"a"', index=0, id="1", name="f"),
            call_delta(":1", index=1, id="2"),
            call_delta("}", index=2, id="3"),
            STOP,
        ]
    )
    assert calls_of(turn) == [("f", '{"a":1}')]


def test_S10_a_whole_call_with_the_finish_reason_in_one_chunk():
    call = {"id": "c", "function": {"name": "f", "arguments": '{"a":1}'}}
    turn, _ = run([delta(tool_calls=[call], finish_reason="tool_calls")], done=False)
    assert calls_of(turn) == [("f", '{"a":1}')]


def test_S11_arguments_as_an_object():
    turn, _ = run([call_delta({"city": "Brno", "n": 1}, id="c", name="f"), STOP])
    assert calls_of(turn) == [("f", '{"city":"Brno","n":1}')]


def test_S12_empty_arguments_are_an_empty_object():
    turn, events = run([call_delta("", id="c", name="f"), STOP])
    assert calls_of(turn) == [("f", "{}")]
    assert deltas(events) == ["{}"]


@pytest.mark.parametrize("name", ["f", "exec"])
def test_S13_glued_arguments_fail_and_may_be_tried_again(name):
    turn, events = run([call_delta('{"input":"1"}', id="c", name=name), call_delta('{"input":"2"}'), STOP], tools=TOOLS)
    assert turn.response["status"] == "failed"
    assert turn.error.kind is Kind.UNAVAILABLE
    assert name in turn.error.message
    assert "response.output_item.done" not in [event["type"] for event in events]


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "function_call", "end_turn", "eos", "normal", "whatever"])
def test_S14_S18_calls_count_and_not_the_reason(reason):
    turn, _ = run([call_delta("{}", id="c", name="f"), delta(finish_reason=reason)])
    assert (turn.response["status"], kinds(turn)) == ("completed", ["function_call"])


def test_S15_the_reason_twice_ends_once():
    turn, events = run(
        [delta(content="a"), STOP, delta(finish_reason="stop", usage={"prompt_tokens": 3, "completion_tokens": 1})]
    )
    assert turn.response["usage"]["total_tokens"] == 4
    assert sum(event["type"] in TERMINAL for event in events) == 1


@pytest.mark.parametrize("later", [None, ""])
def test_S16_a_reason_that_is_reset_stays(later):
    turn, _ = run(
        [delta(content="a"), delta(finish_reason="length"), {"choices": [{"delta": {}, "finish_reason": later}]}],
        done=False,
    )
    assert turn.response["status"] == "incomplete"


def test_S17_done_after_output_is_enough():
    turn, _ = run([delta(content="a")], done=True)
    assert turn.response["status"] == "completed"


def test_S17_S54_an_end_without_reason_or_done_is_a_failure():
    turn, _ = run([delta(content="a")], done=False)
    assert turn.response["status"] == "failed"
    assert turn.error.kind is Kind.UNAVAILABLE
    assert turn.response["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize("reason", ["length", "max_tokens", "model_length", "LENGTH"])
def test_S18_length_is_incomplete(reason):
    turn, _ = run([delta(content="a"), delta(finish_reason=reason)])
    assert turn.response["status"] == "incomplete"
    assert turn.response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert turn.response["output"][0]["status"] == "completed"


@pytest.mark.parametrize("reason", ["content_filter", "sensitive"])
def test_S18_a_content_filter_is_incomplete(reason):
    turn, _ = run([delta(content="a"), delta(finish_reason=reason)])
    assert turn.response["incomplete_details"] == {"reason": "content_filter"}


def test_S18_a_content_filter_for_codex_is_told_once():
    turn, _ = run([delta(content="a"), delta(finish_reason="content_filter")], for_codex=True)
    assert turn.response["error"]["code"] == "invalid_prompt"
    assert "content filter" in turn.response["error"]["message"]


def test_E10_S18_a_filtered_answer_keeps_its_text_for_codex():
    chunks = [delta(reasoning_content="r"), delta(content="a"), call_delta("{}", id="c", name="f")]
    turn, events = run([*chunks, delta(finish_reason="content_filter")], for_codex=True)
    done = [event["item"]["type"] for event in events if event["type"] == "response.output_item.done"]
    assert done == ["reasoning", "message"]  # and no call, which would be run
    assert turn.response["status"] == "failed"
    assert (text_of(turn), reasoning_of(turn)) == ("a", "r")


@pytest.mark.parametrize("reason", ["error", "network_error", "insufficient_system_resource"])
def test_S18_a_reason_that_is_a_failure(reason):
    turn, _ = run([delta(content="a"), delta(finish_reason=reason)])
    assert turn.response["error"]["code"] == "server_error"
    assert reason in turn.response["error"]["message"]


def test_S18_a_full_context_window():
    turn, _ = run([delta(content="a"), delta(finish_reason="model_context_window_exceeded")])
    assert turn.response["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(("first", "second"), [("{}", '{"a'), ('{"a', "{}")])
def test_S18_length_in_the_middle_of_a_call_delivers_the_whole_ones_only(first, second):
    turn, events = run([
        call_delta(first, index=0, id="x", name="f"), call_delta(second, index=1, id="y", name="f"), delta(finish_reason="length")
    ])  # fmt: skip
    assert turn.response["status"] == "incomplete"
    whole = "x" if first == "{}" else "y"
    assert {item["call_id"]: item["status"] for item in turn.response["output"]} == {
        whole: "completed", "x" if whole == "y" else "y": "incomplete"
    }  # fmt: skip
    assert [event["item"]["call_id"] for event in events if event["type"] == "response.output_item.done"] == [whole]


def test_S19_the_reason_tool_calls_without_a_call_is_a_message():
    turn, _ = run([delta(content="a"), delta(tool_calls=[], finish_reason="tool_calls")])
    assert (turn.response["status"], kinds(turn)) == ("completed", ["message"])


def test_S20_S21_S23_chunks_that_say_nothing_open_nothing():
    odd = [
        {"choices": [], "id": "", "model": ""},
        {"choices": [{"index": 0}]},
        delta(role="assistant"),
        {"object": "chat.completion.done"},
    ]
    turn, events = run([*odd, delta(role="assistant", content="a"), *odd, STOP])
    assert text_of(turn) == "a"
    assert turn.response["id"] == "resp_1"
    assert len(events) == 9


def test_S22_text_and_calls_in_different_choices_are_one_answer():
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    turn, _ = run(
        [
            {
                "choices": [
                    {"index": 0, "delta": {"content": "a"}},
                    {"index": 1, "delta": {"tool_calls": [call]}, "finish_reason": "stop"},
                ]
            }
        ]
    )
    assert kinds(turn) == ["message", "function_call"]


def test_S24_the_function_call_of_old():
    turn, _ = run(
        [
            delta(function_call={"name": "f", "arguments": '{"a"'}),
            delta(function_call={"arguments": ":1}"}),
            delta(finish_reason="function_call"),
        ]
    )
    assert calls_of(turn) == [("f", '{"a":1}')]


# --- reasoning and text (S30-S42)


def test_S32_S33_reasoning_in_several_fields_counts_once():
    turn, _ = run(
        [
            delta(reasoning="a", reasoning_details=[{"text": "a"}]),
            delta(reasoning_details=[{"text": "b"}]),
            delta(content="c"),
            STOP,
        ]
    )
    assert reasoning_of(turn) == "ab"


@pytest.mark.parametrize(
    "pieces", [["<think>a</think>b"], list("<think>a</think>b"), ["\n<think>", "a", "</think>", "b"]]
)
def test_S34_think_tags_are_reasoning(pieces):
    turn, _ = run([*(delta(content=piece) for piece in pieces), STOP])
    assert (reasoning_of(turn), text_of(turn)) == ("a", "b")


@pytest.mark.parametrize("content", ["<", "<thi", "<think"])
def test_S34_what_was_held_back_comes_at_the_end_or_before_a_call(content):
    turn, _ = run([delta(content=content), STOP])
    assert text_of(turn) == content
    turn, _ = run([delta(content=content), call_delta("{}", name="f"), STOP])
    assert kinds(turn) == ["message", "function_call"]


def test_S35_reasoning_that_comes_twice_counts_once():
    turn, _ = run([delta(reasoning_content="a", content="<think>a"), delta(content="</think>b"), STOP])
    assert (reasoning_of(turn), text_of(turn)) == ("a", "b")


@pytest.mark.parametrize("pieces", [["<think>a</think>b"], list("<think>a</think>b"), ["<think>", "a", "b"]])
def test_S36_think_tags_in_the_reasoning_go(pieces):
    turn, _ = run([*(delta(reasoning=piece) for piece in pieces), delta(content="c"), STOP])
    assert (reasoning_of(turn), text_of(turn)) == ("ab", "c")
    assert kinds(turn) == ["reasoning", "message"]


@pytest.mark.parametrize("after", [delta(content="c"), delta(refusal="c"), call_delta("{}", name="f"), delta()])
def test_S36_what_was_held_back_of_the_reasoning_comes_in_its_place(after):
    turn, _ = run([delta(reasoning="<th"), after, STOP])
    assert kinds(turn)[0] == "reasoning"
    assert reasoning_of(turn) == "<th"


def test_S37_content_as_a_list_and_then_as_text():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}
    turn, _ = run([delta(content=[thinking]), delta(content=[{"type": "text", "text": "b"}]), delta(content="c"), STOP])
    assert (reasoning_of(turn), text_of(turn)) == ("a", "bc")


def test_S38_white_space_alone_opens_no_message():
    turn, _ = run([delta(content="\n\n"), call_delta("{}", name="f"), delta(content="\n"), STOP])
    assert kinds(turn) == ["function_call"]


def test_S38_white_space_before_text_is_kept_with_it():
    turn, _ = run(
        [
            delta(reasoning="\n"),
            delta(reasoning="a"),
            delta(content="\n"),
            delta(content=" "),
            delta(content="b"),
            delta(content="\n"),
            STOP,
        ]
    )
    assert (reasoning_of(turn), text_of(turn)) == ("\na", "\n b\n")


def test_S38_endless_white_space():
    # With work that grows by the square this would take minutes.
    turn = new_turn()
    space = delta(content="\n", reasoning=" ")
    for _ in range(100_000):
        assert turn.chunk(space) == []
    assert deltas(turn.chunk(delta(reasoning="a"))) == [" " * 100_000 + "a"]


def test_S39_a_refusal_is_a_part_and_for_codex_it_is_text():
    refusal = [delta(content="a"), delta(refusal="no"), STOP]
    turn, _ = run(refusal)
    assert [part["type"] for part in turn.response["output"][0]["content"]] == ["output_text", "refusal"]
    turn, _ = run(refusal, for_codex=True)
    assert [part["type"] for part in turn.response["output"][0]["content"]] == ["output_text"]
    assert text_of(turn) == "ano"


def test_S42_a_last_message_that_repeats_the_text_is_passed_over():
    turn, _ = run(
        [delta(content="a"), delta(content="b"), {"choices": [{"message": {"content": "ab"}, "finish_reason": "stop"}]}]
    )
    assert text_of(turn) == "ab"


@pytest.mark.parametrize("first", [call_delta("", name="f"), delta(reasoning="x")])
def test_S42_also_after_anything_but_text(first):
    turn, _ = run([first, {"choices": [{"message": {"content": "ab"}, "finish_reason": "stop"}]}])
    assert text_of(turn) == ""


# --- framing and failure (S50-S59)


ERROR = {"error": {"message": "no more rooms", "code": 503}}


@pytest.mark.parametrize(
    "chunk",
    [ERROR, {**delta(content="b", finish_reason="stop", usage={"prompt_tokens": 5, "completion_tokens": 2}), **ERROR}],
)
def test_S51_S52_an_error_ends_the_answer_whatever_stands_beside_it(chunk):
    turn, events = run([delta(content="a"), call_delta('{"a"', name="f"), chunk, delta(content="c")])
    assert turn.response["error"] == {
        "code": "server_error",
        "message": "upstream answered 503 Service Unavailable: no more rooms",
    }
    assert text_of(turn) == "a"
    assert [event["item"]["type"] for event in events if event["type"] == "response.output_item.done"] == ["message"]
    assert (turn.response["usage"] is None) == ("usage" not in chunk)


def test_S51_the_status_inside_the_error_counts():
    turn, _ = run([{"error": {"message": "bad key", "status_code": 401}}], for_codex=True)
    assert turn.response["error"]["code"] == "invalid_prompt"
    assert turn.error.kind is Kind.AUTH


def test_S53_a_reason_without_done_is_enough():
    turn, _ = run([delta(content="a"), STOP], done=False)
    assert turn.response["status"] == "completed"


@pytest.mark.parametrize("name", ["f", "exec", "tool_search"])
@pytest.mark.parametrize("ending", [[], [STOP], [delta(finish_reason="tool_calls")]])
def test_S54_a_half_call_is_never_delivered(name, ending):
    turn, events = run([call_delta('{"input":"rm -r', id="c", name=name), *ending], tools=TOOLS, done=False)
    assert turn.response["status"] == "failed"
    assert turn.error.kind is Kind.UNAVAILABLE
    assert "response.output_item.done" not in [event["type"] for event in events]


def test_S54_a_whole_call_before_a_half_one_is_delivered():
    turn, events = run(
        [call_delta("{}", index=0, id="x", name="f"), call_delta('{"a', index=1, id="y", name="f"), STOP]
    )
    assert turn.response["status"] == "failed"
    assert [event["item"]["call_id"] for event in events if event["type"] == "response.output_item.done"] == ["x"]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_S54_who_reads_no_stream_gets_no_half_call_at_all(reason):
    turn = new_turn(stream=False, tools=TOOLS)
    turn.start()
    turn.chunk(delta(content="Calling."))
    turn.chunk(call_delta("{}", index=0, id="x", name="f"))
    turn.chunk(call_delta('{"a', index=1, id="y", name="f"))
    turn.chunk(delta(finish_reason=reason))
    turn.end(done=True)
    assert turn.response["status"] == "incomplete"
    assert [(item["type"], item["status"]) for item in turn.response["output"]] == [
        ("message", "completed"), ("function_call", "completed")
    ]  # fmt: skip


def test_S54_a_background_answer_may_be_read_as_a_stream_though_it_was_not_asked_for_as_one():
    turn = new_turn(stream=False, background=True, tools=TOOLS)
    events = [*turn.start(), *turn.chunk(call_delta('{"a', index=0, id="y", name="f"))]
    events += [*turn.chunk(delta(finish_reason="length")), *turn.end(done=True)]
    check_stream(events)
    assert [(item["type"], item["status"]) for item in turn.response["output"]] == [("function_call", "incomplete")]


def test_S57_halves_of_a_character_in_two_deltas():
    turn, events = run(
        [
            delta(content="a\ud83d"),
            delta(reasoning="r\ud83d"),
            delta(content="\ude00b"),
            delta(reasoning="\ude00"),
            STOP,
        ]
    )
    assert (text_of(turn), reasoning_of(turn)) == ("a😀b", "r😀")
    json.dumps(events, ensure_ascii=False).encode()


@pytest.mark.parametrize("name_first", [True, False])
def test_S57_halves_of_a_character_in_two_pieces_of_arguments(name_first):
    one, two = ("f", None) if name_first else (None, "f")
    turn, events = run([call_delta('{"a":"\ud83d', name=one), call_delta('\ude00"}', name=two), STOP])
    assert calls_of(turn) == [("f", '{"a":"😀"}')]
    json.dumps(events, ensure_ascii=False).encode()


def test_S57_a_half_without_another_is_replaced():
    turn, _ = run([delta(content="a\ud83d"), call_delta("raw \ud83d", name="exec"), STOP], tools=TOOLS)
    assert text_of(turn) == "a\ufffd"
    assert output(turn, "custom_tool_call")[0]["input"] == "raw \ufffd"


@pytest.mark.parametrize(
    "chunks_", [[], [STOP], [delta(content="")], [delta(content=" \n"), STOP], [delta(finish_reason="tool_calls")]]
)
@pytest.mark.parametrize("done", [True, False])
def test_S59_an_answer_without_content_is_a_failure(chunks_, done):
    turn, _ = run(chunks_, done=done)
    assert turn.response["error"]["code"] == "server_error"
    assert turn.error.kind is Kind.UNAVAILABLE


# --- usage


@pytest.mark.parametrize("chunks_", [
    [delta(content="a"), STOP, {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}],
    [delta(content="a"), delta(finish_reason="stop", usage={"prompt_tokens": 7, "completion_tokens": 2})],
    [delta(content="a", usage={"prompt_tokens": 7, "completion_tokens": 1}), delta(finish_reason="stop", usage={"prompt_tokens": 7, "completion_tokens": 2})],
    [delta(content="a"), {**STOP, "x_groq": {"usage": {"prompt_tokens": 7, "completion_tokens": 2}}}],
])  # fmt: skip
def test_U01_U02_U03_U04_the_last_usage_counts_wherever_it_stands(chunks_):
    turn, _ = run(chunks_)
    assert turn.response["usage"]["total_tokens"] == 9
    assert list(turn._notes) == []


@pytest.mark.parametrize("usage", [None, {"cost": 1}, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}])
def test_U07_without_counts_there_is_an_estimate_and_a_note(usage):
    turn, _ = run(
        [
            delta(content="x" * 40, reasoning="y" * 40),
            call_delta("{}", name="f"),
            delta(finish_reason="stop", usage=usage),
        ],
        input="z" * 400,
    )
    assert turn.response["usage"]["input_tokens"] == 100
    assert turn.response["usage"]["output_tokens"] == 21
    assert "usage:none" in turn._notes


# --- failing


def test_a_failure_from_outside():
    turn = new_turn(for_codex=True)
    events = turn.start() + turn.chunk(delta(content="a"))
    error = ApiError(429, "full", kind=Kind.RATE_LIMIT)
    events += turn.fail(error)
    check_stream(events)
    assert turn.error is error
    assert turn.response["error"] == {"code": "rate_limit_exceeded", "message": "full"}
    assert turn.response["output"][0]["content"][0]["text"] == "a"


def test_secrets_are_taken_out_of_what_the_upstream_says():
    turn = new_turn()
    turn._redact = lambda text: text.replace("sk-1", "***")
    turn.start()
    [event] = turn.chunk({"error": {"message": "bad key sk-1"}})
    assert event["response"]["error"]["message"].endswith("bad key ***")


def test_a_quota_for_codex_shows_the_text():
    turn, _ = run([{"error": {"message": "no money", "code": "insufficient_quota"}}], for_codex=True)
    assert turn.response["error"]["code"] == "invalid_prompt"


# --- compaction


def test_a_compaction_is_exactly_one_item_with_the_summary():
    call = call_delta("{}", id="c", name="f")
    turn, events = run(
        [delta(reasoning="hm"), delta(content="They like"), call, delta(content=" tea.\n"), STOP], **COMPACT
    )
    [item] = turn.response["output"]
    assert compaction.unseal(item["encrypted_content"]) == "They like tea."
    assert len(events) == 5
    assert turn.response["usage"]["output_tokens"] == 4


def test_a_compaction_without_tags():
    turn, _ = run([delta(content="<think>hm</think>tea"), delta(refusal="!"), STOP], **COMPACT)
    assert compaction.unseal(turn.response["output"][0]["encrypted_content"]) == "tea!"


@pytest.mark.parametrize(
    "chunks_", [[STOP], [delta(content=" "), STOP], [delta(reasoning="hm"), STOP], [call_delta("{}", name="f"), STOP]]
)
def test_a_compaction_without_a_summary_fails(chunks_):
    turn, _ = run(chunks_, **COMPACT)
    assert turn.response["error"]["code"] == "server_error"


def test_a_summary_that_was_cut_by_the_token_limit_is_kept():
    turn, _ = run([delta(content="They like"), delta(finish_reason="length")], **COMPACT)
    assert turn.response["status"] == "incomplete"
    assert compaction.unseal(turn.response["output"][0]["encrypted_content"]) == "They like"


def test_a_summary_without_a_reason_before_done():
    turn, _ = run([delta(content="tea")], done=True, **COMPACT)
    assert turn.response["status"] == "completed"


# --- anything, in any order

TEXTS = st.sampled_from(["a", "b ", "\n", "<", "<think>", "</think>", "{", "}", '"', "\ud83d", "\ude00", "č"])
NAMES = st.sampled_from([None, "", "f", "exec", "tool_search", "shop__buy", "other"])
STEPS = st.one_of(
    st.builds(lambda text: delta(content=text), TEXTS),
    st.builds(lambda text: delta(reasoning_content=text), TEXTS),
    st.builds(lambda text: delta(refusal=text), TEXTS),
    st.builds(lambda text: delta(content=[{"type": "text", "text": text}, {"type": "thinking", "thinking": text}]), TEXTS),
    st.builds(
        call_delta,
        st.sampled_from(["", "{", "}", '{"input":"', 'x"', "{}", '{"a":1}', None, "\ud83d"]) | st.just({"a": 1}),
        index=st.sampled_from([None, 0, 0, 1, "1"]),
        id=st.sampled_from([None, "", "c", "d", 5]),
        name=NAMES,
    ),
    st.builds(lambda reason: delta(finish_reason=reason), st.sampled_from(["stop", "tool_calls", "length", "content_filter", "error", "", None])),
    st.builds(lambda usage: {"choices": [], "usage": usage}, st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens"]), json_values)),
    st.sampled_from([ERROR, None, 5, [], {"choices": [{"message": {"content": "whole"}}]}, b"junk", b"[DONE]", "life"]),
    chunks,
)  # fmt: skip


@given(st.lists(STEPS, max_size=12), st.booleans(), st.booleans(), st.booleans())
@example([delta(content="a"), "life", b"[DONE]", delta(content="b")], True, False, False)
def test_any_order_of_anything_ends_once_and_keeps_the_rules(steps, done, for_codex, compact):
    turn = new_turn(for_codex=for_codex, tools=TOOLS, **(COMPACT if compact else {}))
    events = turn.start()
    for step in steps:
        if step == "life":
            events += turn.keepalive()
        else:
            events += turn.data(step) if isinstance(step, bytes) else turn.chunk(step)
    events += turn.end(done=done)
    check_stream(events)
    assert turn.closed
    json.loads(json.dumps(events))
    for item in turn.response["output"]:
        if item["type"] == "function_call" and item["status"] == "completed":
            json.loads(item["arguments"])
    if compact:
        assert kinds(turn) in ([], ["compaction"])


@given(st.lists(any_text, max_size=6), st.sampled_from(["content", "reasoning"]))
def test_no_text_is_lost_or_changed(pieces, field):
    turn, events = run([*(delta(**{field: piece}) for piece in pieces), STOP])
    whole = repair("".join(pieces))
    found = text_of(turn) if field == "content" else reasoning_of(turn)
    assert found == "".join(deltas(events))
    if whole.strip() and not whole.lstrip().startswith("<th"):
        assert found == whole


def test_large_arguments_in_small_deltas():
    # With work that grows by the square this would take minutes.
    text = json.dumps({"input": "line\n" * 60_000})
    turn = new_turn(tools=TOOLS)
    turn.start()
    turn.chunk(call_delta("", index=0, id="x", name="f"))
    turn.chunk(call_delta("", index=1, id="y", name="exec"))
    for at in range(0, len(text), 10):
        turn.chunk(call_delta(text[at : at + 10], index=0))
        turn.chunk(call_delta(text[at : at + 10], index=1))
    turn.chunk(STOP)
    turn.end()
    assert calls_of(turn) == [("f", text)]
    assert output(turn, "custom_tool_call")[0]["input"] == "line\n" * 60_000
