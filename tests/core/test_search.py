from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import json_values
from support import (
    TERMINAL,
    Event,
    call_delta,
    calls_of,
    check_stream,
    delta,
    new_turn,
    output,
    run,
    text_of,
    translate,
)

from chatbridge.protocol.errors import ApiError, Kind
from chatbridge.protocol.responses import parse_request
from chatbridge.translate.learning import learn
from chatbridge.translate.notes import Notes
from chatbridge.translate.request import translate_request
from chatbridge.translate.turn import Turn
from chatbridge.vendors.profile import Profile, profile_named

A, B, C = "https://a.example/one", "https://b.example/two", "https://c.example/three"
STOP = delta(finish_reason="stop")
COMPACT = {"input": [{"role": "user", "content": "hi"}, {"type": "compaction_trigger"}]}


def cited(turn: Turn) -> list[tuple[str, str, int, int]]:
    """Return url, title and span of all annotations."""
    parts = [part for item in output(turn, "message") for part in item["content"] if part["type"] == "output_text"]
    notes = [note for part in parts for note in part["annotations"]]
    return [(note["url"], note["title"], note["start_index"], note["end_index"]) for note in notes]


def urls(turn: Turn) -> list[str]:
    return [url for url, *_ in cited(turn)]


def actions(turn: Turn) -> list[dict[str, Any]]:
    return [item["action"] for item in output(turn, "web_search_call")]


def kinds(turn: Turn) -> list[str]:
    return [item["type"] for item in turn.response["output"]]


def short(events: list[Event]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def noted(turn: Turn) -> list[str]:
    return [kind for kind, _ in turn._notes]


def beside(chunk: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**chunk, **fields}


def nested(url: str, **fields: Any) -> dict[str, Any]:
    return {"type": "url_citation", "url_citation": {"url": url, **fields}}


# --- citations that come unasked


def test_S40_a_list_on_every_chunk_is_cited_once_at_its_marks():
    links = {
        "citations": [A, B, C],
        "search_results": [{"title": "One", "url": A}, {"title": "Two", "url": B, "date": None}],
    }
    last = beside(delta(content="", finish_reason="stop"), object="chat.completion.done", **links)
    turn, events = run(
        [beside(delta(content="First[2]"), **links), beside(delta(content=", then[1]."), **links), last], done=False
    )
    assert text_of(turn) == "First[2], then[1]."
    assert cited(turn) == [(A, "One", 14, 17), (B, "Two", 5, 8), (C, "c.example", 18, 18)]
    assert short(events)[-7:] == ["output_text.annotation.added"] * 3 + [
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["annotation_index"] for event in events if "annotation" in event] == [0, 1, 2]


@pytest.mark.parametrize(
    "field", ["annotations", "citations", "search_results", "references", "web_search", "search_info"]
)
@pytest.mark.parametrize("place", ["before", "with", "after", "choice", "top", "whole", "last message"])
def test_S40_sources_are_carried_wherever_they_stand(field, place):
    value: Any = [{"url": A, "title": "One"}]
    value = {"search_results": value} if field == "search_info" else value
    found, text, choice = {field: value}, delta(content="ok"), {"index": 0, "finish_reason": "stop"}
    chunks = {
        "before": [delta(content="", **found), text, STOP],
        "with": [delta(content="ok", **found), STOP],
        "after": [text, delta(finish_reason="stop", **found)],
        "choice": [text, {"choices": [{**choice, "delta": {}, **found}]}],
        "top": [text, STOP, {"choices": [], **found}],
        "whole": [{"choices": [{**choice, "message": {"role": "assistant", "content": "ok", **found}}]}],
        "last message": [text, {"choices": [{**choice, "delta": {}, "message": {"content": "ok", **found}}]}],
    }[place]
    turn, _ = run(chunks)
    assert turn.response["status"] == "completed"
    assert (text_of(turn), kinds(turn)) == ("ok", ["message"])
    assert cited(turn) == [(A, "One", 2, 2)]


def test_S40_one_annotation_a_chunk_before_the_text():
    first = delta(content="", annotations=[nested(A, title="One", start_index=0, end_index=0, content="long text")])
    second = delta(content="", annotations=[nested(B, title="", start_index=0, end_index=0)])
    turn, _ = run([first, second, delta(content="See both [1]."), STOP, STOP])
    # Without numbers of their own the mark stands for neither.
    assert cited(turn) == [(A, "One", 13, 13), (B, "b.example", 13, 13)]


def test_S40_spans_of_the_vendor_are_kept_where_they_fit():
    spans = [
        nested(A, title="a", start_index=3, end_index=6),
        nested(B, title="b", start_index=3, end_index=60),
        nested(C, title="c", start_index=4, end_index=4),
    ]
    turn, _ = run([delta(content="It is so."), delta(finish_reason="stop", annotations=spans)])
    assert [(start, end) for *_, start, end in cited(turn)] == [(3, 6), (9, 9), (9, 9)]


def test_S40_what_is_told_in_several_places_is_put_together():
    given_first = nested(A, start_index=0, end_index=2)
    turn, _ = run([
        delta(annotations=[given_first, nested(B, start_index=0, end_index=0)]), delta(content="ok[7]."),
        delta(annotations=[nested(A, title="One", start_index=2, end_index=5), nested(B, start_index=2, end_index=5)], finish_reason="stop"),
        {"search_results": [{"url": A, "title": "Uno"}, {"url": B, "title": "Two", "index": 7}], "choices": []},
    ])  # fmt: skip
    assert cited(turn) == [(A, "One", 0, 2), (B, "Two", 2, 5)]


@pytest.mark.parametrize(("text", "span"), [
    ("so[2].", (2, 5)), ("so[^2].", (2, 6)), ("so^[2]^.", (2, 7)), ("so[ref_2].", (2, 9)), ("so【2】.", (2, 5)), ("so【2†source】.", (2, 12)),
    ("so [22].", (8, 8)), ("so [2, 3].", (10, 10)), ("so (2).", (7, 7)),
])  # fmt: skip
def test_S40_marks_in_the_text(text, span):
    turn, _ = run([beside(delta(content=text), citations=[A, B]), STOP])
    assert cited(turn)[1][2:] == span


def test_S40_the_words_of_a_mark_are_found_in_the_text():
    annotation = {"text": "【5†source】", "url": A, "quote": "x"}
    messages = [
        {"role": "tool", "content": "[]"},
        {"role": "assistant", "content": "Yes【5†source】.", "annotations": [annotation]},
    ]
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls", "messages": messages}]}
    turn, _ = run([delta(content="Yes"), delta(content="【5†source】."), last])
    assert cited(turn) == [(A, "a.example", 3, 13)]
    assert text_of(turn) == "Yes【5†source】."


def test_S40_two_sources_with_one_number_do_not_share_its_mark():
    turn, _ = run([beside(delta(content="so[1]."), citations=[A], references=[{"url": B}]), STOP])
    assert cited(turn) == [(A, "a.example", 2, 5), (B, "b.example", 6, 6)]


def test_S40_what_was_held_goes_to_the_next_message_and_is_told_once():
    turn, _ = run([
        beside(delta(content="one[1]"), citations=[A]), delta(reasoning="hm"), beside(delta(content=""), citations=[A, B]),
        delta(content="two[2]"), beside(delta(content="."), citations=[A, B]), STOP,
    ])  # fmt: skip
    assert [
        [note["url"] for part in item["content"] for note in part["annotations"]] for item in output(turn, "message")
    ] == [[A], [B]]


def test_S40_a_source_that_comes_after_the_text_was_closed_is_noted():
    turn, _ = run(
        [
            delta(content="text"),
            call_delta("{}", id="c", name="f"),
            delta(annotations=[nested(A)], finish_reason="tool_calls"),
        ]
    )
    assert (cited(turn), noted(turn)) == ([], ["citations:late", "usage:none"])
    assert kinds(turn) == ["message", "function_call"]


def test_S40_a_refusal_holds_no_annotations():
    turn, _ = run([beside(delta(refusal="no"), citations=[A]), STOP])
    assert (text_of(turn), "citations:late" in noted(turn)) == ("no", True)
    turn, _ = run([beside(delta(refusal="no"), citations=[A]), STOP], for_codex=True)
    assert urls(turn) == [A]


def test_S40_an_endless_list_is_cut_and_noted():
    turn, _ = run([beside(delta(content="x"), citations=[f"https://a.example/{n}" for n in range(99)]), STOP])
    assert (len(cited(turn)), "citations:many" in noted(turn)) == (50, True)


def test_S40_an_answer_that_breaks_off_tells_no_annotations():
    turn, _ = run([beside(delta(content="x"), citations=[A])], done=False)
    assert (turn.response["status"], cited(turn)) == ("failed", [])


def test_S40_an_answer_that_is_cut_has_its_sources():
    turn, _ = run([beside(delta(content="x"), citations=[A]), delta(finish_reason="length")])
    assert (turn.response["status"], urls(turn)) == ("incomplete", [A])


def test_S40_a_summary_holds_neither_sources_nor_searches():
    executed = [{"index": 0, "type": "search", "arguments": '{"query":"q"}'}]
    hosted = {"index": 0, "type": "web_search", "function": {"name": "s", "arguments": '{"query":"q"}'}}
    turn, _ = run(
        [beside(delta(content="sum", executed_tools=executed, tool_calls=[hosted]), citations=[A]), STOP], **COMPACT
    )
    assert kinds(turn) == ["compaction"]


# --- searches that the vendor has carried out


def executed(**fields: Any) -> dict[str, Any]:
    return delta(executed_tools=[{"index": 0, "type": "search", "arguments": '{"query": "the weather"}', **fields}])


def test_S40_executed_tools_are_a_search_before_the_message_and_its_sources():
    found = {"results": [{"title": "One", "url": A, "content": "x", "score": 0.9}]}
    turn, events = run([
        delta(role="assistant", content=""), delta(reasoning="<think>\nI search"), executed(search_results={"results": []}),
        delta(reasoning="found"), executed(output="Title: One", search_results=found), delta(content="Sunny."), STOP,
    ])  # fmt: skip
    assert kinds(turn) == ["reasoning", "web_search_call", "message"]
    assert output(turn, "web_search_call")[0] | {"id": ""} == {
        "id": "", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "the weather"},
    }  # fmt: skip
    assert cited(turn) == [(A, "One", 6, 6)]
    told = [event["item"] for event in events if event.get("item", {}).get("type") == "web_search_call"]
    assert [item["status"] for item in told] == ["in_progress", "completed"]
    assert told[0]["action"] == told[1]["action"]
    assert told[0]["id"].startswith("ws_")


def test_S40_a_search_is_told_at_once_where_nothing_is_open():
    turn = new_turn()
    events = turn.start() + turn.chunk(executed())
    assert short(events)[-2:] == ["output_item.added", "output_item.done"]
    check_stream(events + turn.chunk(delta(content="x")) + turn.end(done=True))


def test_S40_a_search_told_late_stands_behind_the_message():
    turn, _ = run([delta(content="Sun"), executed(), delta(content="ny."), STOP])
    assert (kinds(turn), text_of(turn)) == (["message", "web_search_call"], "Sunny.")


def test_S40_a_whole_completion_has_the_search_before_the_message():
    message = {
        "content": "Sunny.",
        "executed_tools": [
            {"type": "search", "arguments": '{"query":"a"}'},
            {"type": "search", "arguments": '{"query":"b"}'},
        ],
    }
    turn, _ = run([{"choices": [{"message": message, "finish_reason": "stop"}]}])
    assert kinds(turn) == ["web_search_call", "web_search_call", "message"]
    assert [action["query"] for action in actions(turn)] == ["a", "b"]


def test_S40_what_no_client_can_show_is_noted():
    turn, _ = run(
        [
            executed(type="python", arguments='{"code":"1"}'),
            executed(type="search", arguments="{}"),
            delta(content="x"),
            STOP,
        ]
    )
    assert (kinds(turn), "upstream ran:python" in noted(turn)) == (["message"], True)


@pytest.mark.parametrize("text", [False, True])
def test_S40_a_call_that_the_vendor_has_carried_out_is_no_function_call(text):
    results: Any = [{"index": 1, "url": A, "title": "One", "summary": "x"}, {"index": 2, "url": B, "title": "Two"}]
    if text:
        results = json.dumps(results)
    call = {
        "index": 0,
        "id": "c1",
        "type": "web_search",
        "function": {"name": "vendor_search", "arguments": '{"keyword":"q"}', "results": results},
    }
    for chunks in (
        [delta(role="assistant", content="", tool_calls=[call]), delta(content="Yes[2]."), STOP],
        [{"choices": [{"message": {"content": "Yes[2].", "tool_calls": [call]}, "finish_reason": "stop"}]}],
    ):
        turn, _ = run(chunks)
        assert kinds(turn) == ["web_search_call", "message"]
        assert actions(turn) == [{"type": "search", "query": "q"}]
        assert cited(turn) == [(A, "One", 7, 7), (B, "Two", 3, 6)]


def test_S40_the_vendors_call_may_stream_beside_a_clients_call():
    turn, _ = run([
        delta(tool_calls=[{"index": 0, "id": "s", "type": "web_search", "function": {"name": "search", "arguments": '{"que'}}]),
        call_delta('{"a"', index=1, id="f", name="f"),
        delta(tool_calls=[{"index": 0, "function": {"arguments": 'ry":"q"}'}}]),
        call_delta(":1}", index=1), delta(finish_reason="tool_calls"),
    ])  # fmt: skip
    assert calls_of(turn) == [("f", '{"a":1}')]
    assert actions(turn) == [{"type": "search", "query": "q"}]


def test_S40_an_index_that_a_client_call_takes_over_is_the_clients():
    turn, _ = run([
        delta(tool_calls=[{"index": 0, "id": "s", "type": "web_search", "function": {"name": "search", "arguments": '{"query":"q"}'}}]),
        call_delta('{"a"', id="f", name="f"), call_delta(":1}"), delta(finish_reason="tool_calls"),
    ])  # fmt: skip
    assert calls_of(turn) == [("f", '{"a":1}')]


@pytest.mark.parametrize("kind", ["function", "", None, 7, "Function"])
def test_S40_a_call_without_a_type_of_its_own_is_the_clients(kind):
    turn, _ = run(
        [
            delta(
                tool_calls=[
                    {"index": 0, "id": "x", "type": kind, "function": {"name": "web_search", "arguments": "{}"}}
                ]
            ),
            STOP,
        ]
    )
    assert calls_of(turn) == [("web_search", "{}")]


def test_S40_what_a_tool_answered_is_no_text():
    found = json.dumps([{"title": "One", "url": A, "snippet": "x"}])
    call = {"id": "s", "type": "web_search", "function": {"name": "plugin", "arguments": '{"query_tag":["q"]}'}}
    turn, _ = run(
        [
            delta(role="assistant", tool_calls=[call]),
            delta(role="tool", content=found),
            delta(role="assistant", content="Yes."),
            delta(finish_reason="tool_calls"),
        ]
    )
    assert (text_of(turn), kinds(turn)) == ("Yes.", ["web_search_call", "message"])
    assert cited(turn) == [(A, "One", 4, 4)]


def test_S40_an_answer_of_a_tool_without_a_source_is_noted():
    turn, _ = run([delta(role="tool", content="raw"), delta(content="Yes."), STOP])
    assert (text_of(turn), "upstream:tool" in noted(turn)) == ("Yes.", True)


def test_S40_an_empty_answer_of_a_tool_is_nothing():
    turn, _ = run([delta(role="tool", content=""), delta(content="Yes."), STOP])
    assert "upstream:tool" not in noted(turn)


def test_S40_messages_of_a_choice_are_not_printed_again():
    call = {"type": "web_search", "function": {"name": "plugin", "arguments": '{"query":"q"}'}}
    messages = [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": json.dumps([{"link": A}])},
        {"role": "assistant", "content": "Yes."},
    ]
    turn, _ = run([delta(content="Yes."), {"choices": [{"delta": {}, "finish_reason": "stop", "messages": messages}]}])
    assert (text_of(turn), urls(turn), actions(turn)) == ("Yes.", [A], [{"type": "search", "query": "q"}])


def test_S40_a_counter_alone_gives_no_search():
    usage = {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "server_tool_use_details": {"web_search_requests": 1},
        "web_search_usage": {"tool_usage": 1},
    }
    turn, _ = run([delta(content="x"), delta(finish_reason="stop", usage=usage)])
    assert (kinds(turn), turn.response["usage"]["total_tokens"]) == (["message"], 3)


@pytest.mark.parametrize("text", ["", "Let me look."])
@pytest.mark.parametrize("finish", ["tool_calls", "stop", None])
def test_S40_a_tool_that_waits_for_the_client_is_a_failure_that_names_it(text, finish):
    call = {"index": 0, "id": "s", "type": "builtin_function", "function": {"name": "$web_search", "arguments": ""}}
    pieces = [delta(tool_calls=[call]), call_delta('{"search_result"'), call_delta(':{"search_id":"x"}}')]
    turn, _ = run([delta(content=text), *pieces, delta(finish_reason=finish)])
    assert turn.response["status"] == "failed"
    assert "'$web_search'" in turn.response["error"]["message"]
    assert isinstance(turn.error, ApiError)
    assert turn.error.kind is Kind.INVALID
    assert output(turn, "function_call") == []


def test_S40_an_answer_of_nothing_but_a_waiting_call_of_another_kind_is_that_failure_too():
    call = {"index": 0, "type": "web_browser", "function": {"name": "", "arguments": "{}"}}
    turn, _ = run([delta(tool_calls=[call], finish_reason="tool_calls")])
    assert (turn.response["status"], "'web_browser'" in turn.response["error"]["message"]) == ("failed", True)
    turn, _ = run([delta(content="Done.", tool_calls=[call], finish_reason="tool_calls")])
    assert turn.response["status"] == "completed"


# --- asking for it


LIVE = {"type": "web_search", "external_web_access": True}
OFFER = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}


def asked(
    vendor: str, *, model: str = "m", on: bool = True, offer_tools: bool = True, **fields: Any
) -> tuple[dict[str, Any], list[str]]:
    notes = Notes()
    request = parse_request({"model": model, "input": "hello", **fields})
    profile = profile_named(vendor).for_model(model)
    found = translate_request(request, profile, notes, offer_tools=offer_tools, vendor_search=on)
    return found.body, [kind for kind, _ in notes]


def types(body: dict[str, Any]) -> list[str]:
    return [tool["type"] for tool in body.get("tools", [])]


@pytest.mark.parametrize(("vendor", "tools"), [
    ("openrouter", [{"type": "openrouter:web_search"}]),
    ("zai", [{"type": "web_search", "web_search": {"enable": True, "search_result": True}}]),
    ("xiaomi", [{"type": "web_search"}]),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["web_search", "web_search_preview", "web_search_2025_08_26"])
def test_the_vendors_own_tool_is_appended(vendor, tools, kind):
    body, notes = asked(vendor, tools=[{**LIVE, "type": kind}, OFFER])
    assert body["tools"][0]["function"]["name"] == "f"
    assert body["tools"][1:] == tools
    assert notes == []


def test_the_vendors_own_keys_are_merged():
    body, _ = asked("alibaba", tools=[LIVE, OFFER])
    assert (body["enable_search"], types(body)) == (True, ["function"])
    body, _ = asked("baidu", tools=[LIVE])
    assert body["web_search"]["enable_citation"] is True
    assert "tools" not in body


def test_a_request_that_offers_nothing_else_still_searches():
    body, _ = asked("openrouter", tools=[LIVE], tool_choice="auto", parallel_tool_calls=False)
    assert types(body) == ["openrouter:web_search"]
    assert not body.keys() & {"tool_choice", "parallel_tool_calls"}


def test_the_profile_is_not_changed_by_a_request():
    for _ in range(2):
        body, _ = asked("zai", tools=[LIVE, OFFER])
        body["tools"][1]["web_search"]["enable"] = False
    assert asked("zai", tools=[LIVE])[0]["tools"][0]["web_search"]["enable"] is True


def test_the_models_own_search_holds():
    body, _ = asked("openai", model="gpt-5-search-api", tools=[LIVE])
    assert body["web_search_options"] == {}
    body, notes = asked("openai", model="gpt-5.5", tools=[LIVE])
    assert "web_search_options" not in body
    assert notes == ["tool:web_search"]


@pytest.mark.parametrize(("vendor", "fields", "notes"), [
    ("openrouter", {"on": False, "tools": [LIVE]}, ["tool:web_search"]),
    ("openrouter", {"tools": [{"type": "web_search", "external_web_access": False}]}, ["web_search:cached"]),
    ("deepseek", {"tools": [LIVE]}, ["tool:web_search"]),
    ("openrouter", {"tools": [LIVE], "offer_tools": False}, []),
    ("openrouter", {"tools": [LIVE], **COMPACT}, []),
    ("openrouter", {"tools": [LIVE, OFFER], "tool_choice": "none"}, []),
    ("openrouter", {"tools": [LIVE, OFFER], "tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "f"}]}}, []),
    ("openrouter", {}, []),
])  # fmt: skip
def test_nothing_is_asked_for(vendor, fields, notes):
    body, found = asked(vendor, **fields)
    assert "function" in types(body) or types(body) == []
    assert "openrouter:web_search" not in types(body)
    assert found == notes


def test_what_the_client_does_not_say_about_live_access_allows_it():
    assert types(asked("openrouter", tools=[{"type": "web_search_preview"}])[0]) == ["openrouter:web_search"]


def test_the_filters_of_the_tool_are_noted():
    filters = {
        "filters": {"allowed_domains": ["a.example"]},
        "user_location": {"type": "approximate", "country": "DE"},
        "search_context_size": "high",
    }
    body, notes = asked("openrouter", tools=[{**LIVE, **filters, "search_content_types": None}])
    assert body["tools"] == [{"type": "openrouter:web_search"}]
    assert notes == ["web_search:filters", "web_search:user_location", "web_search:search_context_size"]


def test_a_search_can_be_allowed_but_not_forced():
    allowed = {"type": "allowed_tools", "tools": [{"type": "web_search"}]}
    assert types(asked("openrouter", tools=[LIVE, OFFER], tool_choice=allowed)[0]) == ["openrouter:web_search"]
    body, notes = asked("openrouter", tools=[LIVE, OFFER], tool_choice={"type": "web_search"})
    assert types(body) == ["function", "openrouter:web_search"]
    assert notes == ["tool_choice:web_search"]
    assert "tool_choice" not in body


def test_the_hosted_tool_among_the_input_items_counts():
    items = [{"type": "additional_tools", "tools": [LIVE]}, {"role": "user", "content": "hi"}]
    assert types(asked("openrouter", input=items)[0]) == ["openrouter:web_search"]


def test_the_response_does_not_echo_the_hosted_tool():
    turn, _ = run([delta(content="x"), STOP], tools=[LIVE])
    assert turn.response["tools"] == []


def test_a_search_in_the_history_is_left_out():
    items = [
        {"role": "user", "content": "hi"}, {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
        {"role": "assistant", "content": [{"type": "output_text", "text": "x", "annotations": [{"type": "url_citation", "url": A}, None, 5]}]},
    ]  # fmt: skip
    translation, notes = translate(input=items)
    assert translation.body["messages"] == [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "x"}]
    assert [kind for kind, _ in notes] == ["item:web_search_call"]


def test_a_refusal_of_a_request_that_searches_can_be_learned_from():
    body, _ = asked("openrouter", tools=[LIVE, {**OFFER, "strict": True}], temperature=1)
    assert learn_from("strict is not supported", body)["strict"] == "never"


def learn_from(text: str, body: dict[str, Any]) -> dict[str, Any]:
    from chatbridge.protocol.failure import Failure

    return learn(Failure(text), body, profile_named("openrouter"))


# --- any JSON


_KEYS = [
    "content",
    "annotations",
    "executed_tools",
    "citations",
    "search_results",
    "web_search",
    "references",
    "search_info",
    "role",
    "tool_calls",
]
_source = st.fixed_dictionaries({}, optional={
    "url": st.sampled_from([A, B]) | json_values, "link": json_values, "title": json_values, "index": json_values, "refer": json_values,
    "start_index": json_values, "end_index": json_values, "text": json_values, "url_citation": json_values,
})  # fmt: skip
_call = st.fixed_dictionaries({}, optional={
    "index": json_values, "id": json_values, "type": json_values | st.sampled_from(["web_search", "builtin_function", "function"]),
    "function": json_values | st.fixed_dictionaries({}, optional={"name": json_values, "arguments": json_values, "results": json_values}),
    "arguments": json_values, "search_results": json_values | st.lists(_source), "output": json_values,
})  # fmt: skip
_any = (
    json_values
    | st.lists(_source | _call | st.sampled_from([A, B, "tool"]) | json_values, max_size=3)
    | st.sampled_from(["tool", "x [1]"])
)
_table = st.dictionaries(st.sampled_from(_KEYS), _any, max_size=5)
_choice = st.fixed_dictionaries({}, optional={
    "delta": _table | json_values, "message": _table | json_values, "messages": _any | st.lists(_table, max_size=2),
    "finish_reason": st.sampled_from(["stop", "tool_calls", "length", None]) | json_values, "annotations": _any, "citations": _any,
})  # fmt: skip
_chunk = st.builds(
    lambda top, choices: {**top, "choices": choices}, _table, st.lists(_choice | json_values, max_size=2) | json_values
)


@given(st.lists(_chunk, max_size=6), st.booleans(), st.booleans())
@example([{"choices": [{"delta": {"content": "a[1]", "citations": [A]}, "finish_reason": "stop"}]}], True, True)
@example([{"citations": {"results": {}}, "choices": [{"messages": [{"role": "tool", "content": [[]]}]}]}], True, False)
def test_S40_no_json_breaks_an_answer(given_chunks, done, compact):
    turn, events = run(given_chunks, done=done, **(COMPACT if compact else {}))
    assert sum(event["type"] in TERMINAL for event in events) == 1
    assert turn.closed


@given(
    st.dictionaries(
        st.text(max_size=5) | st.sampled_from(["external_web_access", "filters", "user_location"]),
        json_values,
        max_size=4,
    )
)
def test_no_json_in_the_hosted_tool_breaks_a_request(fields):
    body, _ = asked("openrouter", tools=[{**fields, "type": "web_search"}, OFFER])
    assert types(body) == ["function"] + ["openrouter:web_search"] * (fields.get("external_web_access") is not False)


def test_a_profile_without_search_is_untouched():
    translation, notes = translate(Profile(), tools=[LIVE])
    assert "tools" not in translation.body
    assert "tool:web_search" in notes
