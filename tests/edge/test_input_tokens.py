"""POST /v1/responses/input_tokens over the whole bridge."""

import pytest
from memory_bridge import Bridge, post_to
from support import sse

from chatbridge.store.memory import MemoryStore
from chatbridge.translate.tokens import ANSWER, MESSAGE


def counted(bridge, body, path="/v1/responses/input_tokens"):
    return post_to(bridge.site, path, body).answer()


@pytest.mark.parametrize("body", [
    {"model": "m", "input": "x" * 40}, {"input": "x" * 40}, {"input": [{"role": "user", "content": "x" * 40}], "model": None},
])  # fmt: skip
def test_a_request_is_counted_and_nobody_is_asked(body):
    bridge = Bridge()
    found = counted(bridge, body)
    assert found.json == {"object": "response.input_tokens", "input_tokens": ANSWER + MESSAGE + 10}
    assert bridge.client.bodies == []
    assert counted(bridge, body, "/responses/input_tokens/").json == found.json


def test_the_conversation_before_counts():
    bridge = Bridge(store=MemoryStore(lambda: 0.0, 1e12))
    connection = bridge.ask({"model": "m", "input": "x" * 40})
    upstream = bridge.head()
    upstream.send(sse([{"choices": [{"delta": {"content": "y" * 40}, "finish_reason": "stop"}]}]))
    upstream.end()
    first = connection.answer().json["id"]
    found = counted(bridge, {"model": "m", "input": "z" * 40, "previous_response_id": first})
    assert found.json["input_tokens"] == ANSWER + 3 * MESSAGE + 30


@pytest.mark.parametrize(("body", "status", "param"), [
    ({"model": "m"}, 400, "input"),
    ({"model": 5, "input": "hi"}, 400, "model"),
    ({"model": "m", "input": [{"role": "user", "content": [{"type": "input_image", "image_url": 5}]}]}, 400, "input[0].content[0].image_url"),
    ({"model": "m", "input": "hi", "previous_response_id": "resp_none"}, 404, "previous_response_id"),
])  # fmt: skip
def test_a_wrong_request_is_refused(body, status, param):
    found = counted(Bridge(), body)
    assert (found.status, found.json["error"]["param"]) == (status, param)
