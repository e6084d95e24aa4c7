"""POST /v1/responses/compact over the whole bridge."""

import pytest
from memory_bridge import Bridge, post_to
from memory_http import failures, logged
from support import sse

from chatbridge.store.memory import MemoryStore
from chatbridge.translate import compaction

SUMMARY = sse([{"choices": [{"delta": {"content": "They like tea."}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}])  # fmt: skip
TALK = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "input_text", "text": "I like tea."}, {"type": "input_image", "image_url": "data:x"}]},
    {"role": "assistant", "content": "Noted."},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "42"},
    {"role": "user", "content": "And?"},
]  # fmt: skip


def compact(bridge, body, data=SUMMARY):
    connection = post_to(bridge.site, "/v1/responses/compact", body)
    if bridge.client.pending and not bridge.client.pending[-1].called:
        upstream = bridge.head()
        upstream.send(data)
        upstream.end()
    return connection.answer()


def test_a_conversation_becomes_the_users_words_and_a_summary():
    bridge = Bridge()
    found = compact(bridge, {"model": "m", "input": TALK}).json
    assert found.keys() == {"id", "object", "created_at", "output", "usage"}
    assert found["object"] == "response.compaction"
    assert found["usage"]["total_tokens"] == 13
    *messages, summary = found["output"]
    assert [(item["role"], item["content"]) for item in messages] == [
        ("developer", [{"type": "input_text", "text": "Be brief."}]),
        ("user", [{"type": "input_text", "text": "I like tea."}]),
        ("user", [{"type": "input_text", "text": "And?"}]),
    ]
    assert {(item["type"], item["status"]) for item in messages} == {("message", "completed")}
    assert compaction.unseal(summary["encrypted_content"]) == "They like tea."
    assert bridge.client.bodies[-1]["messages"][-1]["content"] == compaction.PROMPT
    assert len({item["id"] for item in found["output"]}) == 4


def test_what_comes_back_goes_on_as_input():
    bridge = Bridge()
    found = compact(bridge, {"model": "m", "input": TALK}).json
    bridge.ask({"model": "m", "input": [*found["output"], {"role": "user", "content": "What do I like?"}]})
    texts = [message["content"] for message in bridge.client.bodies[-1]["messages"]]
    assert texts[0] == "Be brief."
    assert "They like tea." in texts[3]
    assert texts[-1] == "What do I like?"


def test_a_stored_response_is_compacted_by_its_id():
    bridge = Bridge(store=MemoryStore(lambda: 0.0, 1e12))
    connection = bridge.ask({"model": "m", "input": "I like tea."})
    upstream = bridge.head()
    upstream.send(sse([{"choices": [{"delta": {"content": "Noted."}, "finish_reason": "stop"}]}]))
    upstream.end()
    first = connection.answer().json["id"]
    found = compact(bridge, {"model": "m", "previous_response_id": first}).json
    texts = [message["content"] for message in bridge.client.bodies[-1]["messages"]]
    assert texts == ["I like tea.", "Noted.", compaction.PROMPT]
    assert [item["type"] for item in found["output"]] == ["message", "compaction"]
    unknown = compact(bridge, {"model": "m", "previous_response_id": "resp_none"})
    assert (unknown.status, unknown.json["error"]["code"]) == (404, "previous_response_not_found")


@pytest.mark.parametrize(("body", "param"), [
    ({"input": "hi"}, "model"),
    ({"model": "m"}, "input"),
    ({"model": "m", "input": None}, "input"),
    ({"model": "m", "input": []}, "input"),
    ({"model": "m", "input": 5}, "input"),
    ({"model": "m", "input": [5]}, "input[0]"),
    ({"model": 5, "input": "hi"}, "model"),
    ({"model": "m", "input": "hi", "instructions": 5}, "instructions"),
    ([], None),
])  # fmt: skip
def test_a_wrong_request_is_a_400_and_asks_nobody(body, param):
    bridge = Bridge()
    found = compact(bridge, body)
    assert (found.status, found.json["error"]["param"]) == (400, param)
    assert bridge.client.bodies == []


def test_a_summary_that_does_not_come_is_an_error():
    filtered = sse([{"choices": [{"delta": {}, "finish_reason": "content_filter"}]}])
    assert compact(Bridge(), {"model": "m", "input": "hi"}, filtered).status == 502
    assert compact(Bridge(), {"model": "m", "input": "hi"}, sse([])).status == 502


@pytest.mark.parametrize("content", [[5.0, None, "x", {"text": 5}], {"a": 1}, 5])
@pytest.mark.parametrize("role", ["user", None, ["user"]])
def test_items_of_unknown_kinds_may_hold_anything(content, role):
    odd = {"type": "unheard_of", "role": role, "content": content}
    found = compact(Bridge(), {"model": "m", "input": [*TALK, odd]})
    assert found.status == 200
    assert found.json["output"][-1]["type"] == "compaction"


def test_a_fault_of_our_own_at_the_end_is_a_500(monkeypatch):
    monkeypatch.setattr(compaction, "retained", lambda *_: 1 / 0)
    with logged() as events:
        found = compact(Bridge(), {"model": "m", "input": TALK})
    assert (found.status, found.json["error"]["code"]) == (500, "internal_error")
    assert len(failures(events)) == 1


def test_the_newest_words_stay_and_each_once():
    ids = iter(range(99))
    long = "w" * (compaction.RETAINED_CHARACTERS - 10)
    items = [
        {"role": "user", "content": "old " * 9},
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "short"},
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": long},
        {"role": "user", "content": ""},
        compaction.TRIGGER,
    ]
    kept = compaction.retained(items, lambda prefix: f"{prefix}_{next(ids)}")
    assert [item["content"][0]["text"] for item in kept] == ["short", "Be brief.", long]
