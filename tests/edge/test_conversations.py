"""Conversations, and references to what is stored."""

import json

import pytest
from memory_bridge import STREAM, Bridge, last_event
from memory_http import Connection, logged, request
from support import call_delta, sse

from chatbridge.store.memory import MemoryStore
from chatbridge.web.access import digest

ANSWER = sse([{"choices": [{"delta": {"content": "the answer"}, "finish_reason": "stop"}]}])
ASK = {"model": "m", "input": "hi"}
USER = {"role": "user", "content": "hello"}


@pytest.fixture
def bridge():
    return Bridge(store=MemoryStore(lambda: 0.0, 1e12))


def at(bridge, method, path, body=None, *headers):
    connection = Connection(bridge.site)
    data = b"" if body is None else json.dumps(body).encode()
    connection.send(request(method, path, "Content-Type: application/json", *headers, body=data))
    return connection.answer()


def create(bridge, body=None, *headers):
    answer = at(bridge, "POST", "/v1/conversations", body or {}, *headers)
    assert answer.status == 200, answer.body
    return answer.json["id"]


def texts(bridge, id, query="order=asc&limit=100"):
    listed = at(bridge, "GET", f"/v1/conversations/{id}/items?{query}").json["data"]
    return [item["content"][0]["text"] if item["type"] == "message" else item["type"] for item in listed]


def answered(bridge, body, data=ANSWER):
    connection = bridge.ask(body)
    upstream = bridge.head()
    upstream.send(data)
    upstream.end()
    return connection.answer().json


def test_create_show_update_delete(bridge):
    made = at(bridge, "POST", "/v1/conversations", {"metadata": {"topic": "x"}, "items": [USER]}).json
    id = made["id"]
    assert id.startswith("conv_")
    assert made == {"id": id, "object": "conversation", "created_at": made["created_at"], "metadata": {"topic": "x"}}
    assert at(bridge, "GET", f"/v1/conversations/{id}").json == made
    assert at(bridge, "GET", f"/conversations/{id}/").json == made
    changed = at(bridge, "POST", f"/v1/conversations/{id}", {"metadata": {"topic": "y"}}).json
    assert changed == made | {"metadata": {"topic": "y"}}
    assert at(bridge, "GET", f"/v1/conversations/{id}").json == changed
    assert texts(bridge, id) == ["hello"]
    deleted = at(bridge, "DELETE", f"/v1/conversations/{id}").json
    assert deleted == {"id": id, "object": "conversation.deleted", "deleted": True}
    assert at(bridge, "GET", f"/v1/conversations/{id}").status == 404


def test_a_create_without_a_body(bridge):
    assert at(bridge, "POST", "/v1/conversations").json["metadata"] == {}


def test_items(bridge):
    id = create(bridge)
    path = f"/v1/conversations/{id}/items"
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    added = at(bridge, "POST", path, {"items": [USER, {"role": "assistant", "content": "yes"}, call]}).json
    assert (added["object"], added["has_more"], len(added["data"])) == ("list", False, 3)
    assert [added["first_id"], added["last_id"]] == [added["data"][0]["id"], added["data"][2]["id"]]
    user, assistant, called = added["data"]
    assert user == {
        "id": user["id"], "type": "message", "role": "user", "status": "completed",
        "content": [{"type": "input_text", "text": "hello"}],
    }  # fmt: skip
    assert assistant["content"] == [{"type": "output_text", "text": "yes", "annotations": [], "logprobs": []}]
    assert called == call | {"id": called["id"], "status": "completed"}
    assert [item["id"].partition("_")[0] for item in added["data"]] == ["msg", "msg", "fc"]
    assert at(bridge, "GET", f"{path}/{called['id']}").json == called
    newest = at(bridge, "GET", f"{path}?limit=2").json
    assert (newest["data"], newest["has_more"]) == ([called, assistant], True)
    assert at(bridge, "GET", f"{path}?limit=2&after={newest['last_id']}").json["data"] == [user]
    left = at(bridge, "DELETE", f"{path}/{user['id']}").json
    assert (left["object"], left["id"]) == ("conversation", id)
    assert at(bridge, "GET", f"{path}/{user['id']}").status == 404
    assert at(bridge, "DELETE", f"{path}/{user['id']}").status == 404
    empty = at(bridge, "GET", f"/v1/conversations/{create(bridge)}/items").json
    assert (empty["data"], empty["has_more"]) == ([], False)


@pytest.mark.parametrize("named", ["id", "object"])
@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_goes_on_from_a_conversation_and_is_added_to_it(bridge, named, stream):
    id = create(bridge, {"items": [USER, {"role": "assistant", "content": "yes?"}]})
    asked = {"model": "m", "input": "who am I?", "conversation": id if named == "id" else {"id": id}, "stream": stream}
    connection = bridge.ask(asked)
    upstream = bridge.head()
    upstream.send(ANSWER)
    upstream.end()
    response = last_event(connection)["response"] if stream else connection.answer().json
    assert response["conversation"] == {"id": id}
    assert [m["content"] for m in bridge.client.bodies[-1]["messages"]] == ["hello", "yes?", "who am I?"]
    assert texts(bridge, id) == ["hello", "yes?", "who am I?", "the answer"]
    assert at(bridge, "GET", f"/v1/conversations/{id}/items").json["data"][0] == response["output"][0]
    listed = at(bridge, "GET", f"/v1/responses/{response['id']}/input_items").json["data"]
    assert [item["content"][0]["text"] for item in listed] == ["who am I?"]
    answered(bridge, {"model": "m", "input": "again", "conversation": id})
    assert [m["content"] for m in bridge.client.bodies[-1]["messages"]][-2:] == ["the answer", "again"]
    assert len(texts(bridge, id)) == 6


def test_nothing_is_said_not_to_be_carried_of_a_conversation(bridge):
    id = create(bridge)
    with logged() as events:
        answered(bridge, {"model": "m", "input": "hi", "conversation": id})
    assert [event["text"] for event in events if "not carried" in event["text"]] == [
        "not carried: the upstream reports no token counts; they are estimated from text lengths"
    ]


def test_calls_and_results_over_a_conversation(bridge):
    id = create(bridge)
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
    data = sse([call_delta("{}", id="c1", name="f"), {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}])
    first = answered(bridge, ASK | {"tools": [tool], "conversation": id}, data)
    result = {"type": "function_call_output", "call_id": first["output"][-1]["call_id"], "output": "42"}
    answered(bridge, {"model": "m", "tools": [tool], "conversation": id, "input": [result]})
    _, assistant, told = bridge.client.bodies[-1]["messages"]
    assert (assistant["tool_calls"][0]["id"], told["content"]) == (told["tool_call_id"], "42")
    assert texts(bridge, id) == ["hi", "function_call", "function_call_output", "the answer"]


def test_a_background_answer_is_added_at_its_end(bridge):
    id = create(bridge)
    bridge.ask(ASK | {"conversation": id, "background": True})
    assert texts(bridge, id) == []
    upstream = bridge.head()
    upstream.send(ANSWER)
    upstream.end()
    assert texts(bridge, id) == ["hi", "the answer"]


def test_a_failed_answer_adds_nothing(bridge):
    id = create(bridge)
    connection = bridge.ask(STREAM | {"conversation": id})
    upstream = bridge.head()
    upstream.send(b'data: {"choices": [{"delta": {"content": "half"}}]}\n\n')
    upstream.end()
    assert last_event(connection)["type"] == "response.failed"
    assert texts(bridge, id) == []


@pytest.mark.parametrize(
    ("fields", "status", "param", "code"),
    [
        ({"conversation": "conv_none"}, 404, "conversation", "conversation_not_found"),
        ({"conversation": {"id": "conv_none"}}, 404, "conversation", "conversation_not_found"),
        ({"conversation": ""}, 404, "conversation", "conversation_not_found"),
        ({"conversation": {}}, 400, "conversation.id", "missing_required_parameter"),
        ({"conversation": 5}, 400, "conversation", "invalid_type"),
        ({"conversation": "conv_none", "previous_response_id": "resp_none"}, 400, "conversation", "mutually_exclusive_parameters"),
        ({"conversation": "conv_none", "store": False}, 400, "conversation", "invalid_value"),
    ],
)  # fmt: skip
def test_a_conversation_that_cannot_be_used(bridge, fields, status, param, code):
    refused = bridge.ask(ASK | fields).answer()
    assert (refused.status, refused.json["error"]["param"], refused.json["error"]["code"]) == (status, param, code)
    assert bridge.client.bodies == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param"),
    [
        ("POST", "", {"metadata": {"a": 1}}, 400, "metadata.a"),
        ("POST", "", {"metadata": "x"}, 400, "metadata"),
        ("POST", "", {"items": "x"}, 400, "items"),
        ("POST", "", {"items": [USER, "x"]}, 400, "items[1]"),
        ("POST", "", [], 400, None),
        ("GET", "", None, 405, None),
        ("POST", "/none", {"metadata": {}}, 404, "conversation_id"),
        ("POST", "/none", {}, 400, "metadata"),
        ("GET", "/none", None, 404, "conversation_id"),
        ("DELETE", "/none", None, 404, "conversation_id"),
        ("GET", "/none/items", None, 404, "conversation_id"),
        ("POST", "/none/items", {"items": [USER]}, 404, "conversation_id"),
        ("POST", "/none/items", {}, 400, "items"),
        ("GET", "/none/items/x", None, 404, "conversation_id"),
        ("DELETE", "/none/items/x", None, 404, "conversation_id"),
        ("DELETE", "/none/items", None, 405, None),
        ("GET", "/none/other", None, 404, None),
        ("PUT", "/none", {}, 405, None),
    ],
)
def test_what_makes_no_sense(bridge, method, path, body, status, param):
    refused = at(bridge, method, f"/v1/conversations{path}", body)
    assert (refused.status, refused.json["error"]["param"]) == (status, param)


def test_clients_do_not_see_each_others():
    tokens = (("ann", digest("cb-ann-0123456789")), ("bob", digest("cb-bob-0123456789")))
    bridge = Bridge(store=MemoryStore(lambda: 0.0, 1e12), client_tokens=tokens)
    ann, bob = "Authorization: Bearer cb-ann-0123456789", "Authorization: Bearer cb-bob-0123456789"
    id = create(bridge, {"items": [USER]}, ann)
    for method, path, body in (
        ("GET", "", None), ("POST", "", {"metadata": {}}), ("DELETE", "", None), ("GET", "/items", None),
        ("POST", "/items", {"items": [USER]}),
    ):  # fmt: skip
        assert at(bridge, method, f"/v1/conversations/{id}{path}", body, bob).status == 404
    assert bridge.ask(ASK | {"conversation": id}, bob).answer().status == 404
    assert at(bridge, "GET", f"/v1/conversations/{id}", None, ann).status == 200


def test_without_a_store():
    bridge = Bridge()
    assert at(bridge, "POST", "/v1/conversations", {}).status == 400
    refused = bridge.ask(ASK | {"conversation": "conv_1"}).answer()
    assert (refused.status, refused.json["error"]["param"]) == (400, "conversation")


# --- references to items, as the AI SDK sends them


def test_a_reference_stands_for_an_item_that_an_answer_had(bridge):
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
    data = sse([call_delta("{}", id="c1", name="f"), {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}])
    first = answered(bridge, ASK | {"tools": [tool]}, data)
    result = {"type": "function_call_output", "call_id": first["output"][-1]["call_id"], "output": "42"}
    references = [{"type": "item_reference", "id": item["id"]} for item in first["output"]]
    asked = {"model": "m", "tools": [tool], "input": [USER, *references, result]}
    second = answered(bridge, asked)
    user, assistant, told = bridge.client.bodies[-1]["messages"]
    assert (user["content"], assistant["tool_calls"][0]["id"]) == ("hello", told["tool_call_id"])
    listed = at(bridge, "GET", f"/v1/responses/{second['id']}/input_items?order=asc").json["data"]
    assert [item["type"] for item in listed] == ["message", *(item["type"] for item in first["output"]), "function_call_output"]  # fmt: skip


def test_a_reference_to_what_stands_before_anyhow_says_nothing_twice(bridge):
    first = answered(bridge, ASK)
    reference = {"type": "item_reference", "id": first["output"][0]["id"]}
    asked = {"model": "m", "input": [reference, USER], "previous_response_id": first["id"]}
    answered(bridge, asked)
    assert [m["content"] for m in bridge.client.bodies[-1]["messages"]] == ["hi", "the answer", "hello"]


@pytest.mark.parametrize("odd", [["x"], {"a": 1}, 5, None])
def test_a_reference_beside_items_with_odd_ids(bridge, odd):
    first = answered(bridge, {"model": "m", "input": [USER | {"id": odd}]})
    reference = {"type": "item_reference", "id": first["output"][0]["id"]}
    answered(bridge, {"model": "m", "input": [reference, USER], "previous_response_id": first["id"]})
    assert [m["content"] for m in bridge.client.bodies[-1]["messages"]] == ["hello", "the answer", "hello"]


def test_a_reference_to_nothing_is_a_404_with_its_place(bridge):
    first = answered(bridge, ASK)
    at(bridge, "DELETE", f"/v1/responses/{first['id']}")
    for id in ("msg_none", first["output"][0]["id"]):
        refused = bridge.ask(ASK | {"input": [USER, {"type": "item_reference", "id": id}]}).answer()
        assert (refused.status, refused.json["error"]["code"]) == (404, "item_not_found")
        assert refused.json["error"]["param"] == "input[1].id"
