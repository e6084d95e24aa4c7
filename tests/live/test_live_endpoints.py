"""What there is beside the Responses themselves, over real sockets, from the practice upstream."""

import http.client
import json

import pytest
from bridge_process import PATIENCE, Bridge


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    bridge = Bridge(tmp_path_factory.mktemp("bridge"), "--practice")
    try:
        yield bridge.info()["port"]
    finally:
        bridge.close()


def ask(port, path, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response, data


def test_a_conversation_is_compacted_and_goes_on(port):
    response, data = ask(port, "/v1/responses/compact", {"model": "practice", "input": "Say hello"})
    found = json.loads(data)
    assert (response.status, found["object"]) == (200, "response.compaction")
    assert [item["type"] for item in found["output"]] == ["message", "compaction"]
    response, data = ask(
        port, "/v1/responses", {"model": "practice", "input": [*found["output"], {"role": "user", "content": "hi"}]}
    )
    assert (response.status, json.loads(data)["status"]) == (200, "completed")


def test_tokens_are_counted(port):
    response, data = ask(port, "/v1/responses/input_tokens", {"model": "practice", "input": "Say hello"})
    assert (response.status, json.loads(data)["object"]) == (200, "response.input_tokens")
    assert json.loads(data)["input_tokens"] > 3


def test_chat_completions_pass_through(port):
    body = {"model": "practice", "messages": [{"role": "user", "content": "Say hello"}], "stream": True}
    response, data = ask(port, "/v1/chat/completions", body)
    assert response.status == 200
    assert response.getheader("Content-Type").startswith("text/event-stream")
    assert response.getheader("Content-Encoding") is None
    *chunks, last = [line.removeprefix(b"data: ") for line in data.split(b"\n") if line.startswith(b"data: ")]
    assert last == b"[DONE]"
    texts = [choice["delta"].get("content") or "" for chunk in chunks for choice in json.loads(chunk)["choices"]]
    assert "".join(texts)


@pytest.mark.parametrize("path", ["/v1/responses/compact", "/v1/responses/input_tokens", "/v1/chat/completions"])
def test_a_wrong_body_is_a_400(port, path):
    response, data = ask(port, path, {"model": 5, "input": "hi", "messages": [{"role": "user", "content": "hi"}]})
    assert (response.status, json.loads(data)["error"]["param"]) == (400, "model")
