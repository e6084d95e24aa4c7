import json

import pytest
from memory_bridge import Bridge, FakeResponse
from memory_http import Connection, request
from test_routes import Two
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.python.failure import Failure

from chatbridge.service.routes import Route
from chatbridge.upstream import catalogue
from chatbridge.upstream.catalogue import models_url
from chatbridge.vendors.profile import profile_named

LIST = {
    "data": [{"id": "deepseek-chat", "created": 3, "owned_by": "deepseek"}, {"id": "org/name:8b", "max_model_len": 5}]
}


class Listing:
    """What an upstream answers to GET, beside what the fake client does."""

    def __init__(self, client):
        self.asked = []
        client.get = self.get

    def get(self, url, *, key=None):
        self.asked.append((url, Deferred()))
        return self.asked[-1][1]

    def answer(self, body=LIST, code=200):
        response = FakeResponse(code)
        self.asked[-1][1].callback(response)
        response.send(body if isinstance(body, bytes) else json.dumps(body).encode())
        response.end()


@pytest.fixture
def bridge():
    bridge = Bridge(profile=profile_named("deepseek"))
    bridge.listing = Listing(bridge.client)
    return bridge


def ask(bridge, path="/v1/models"):
    connection = Connection(bridge.site)
    connection.send(request("GET", path))
    return connection


@pytest.mark.parametrize(
    ("chat", "models"),
    [
        ("http://h/v1/chat/completions", "http://h/v1/models"),
        ("https://h/openai/v1/chat/completions?api-version=1", "https://h/openai/v1/models?api-version=1"),
        ("http://h/chat/completions", "http://h/models"),
        ("http://h/odd/", "http://h/odd/models"),
    ],
)
def test_where_the_list_is(chat, models):
    assert models_url(chat) == models


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/v1/models/", "/v1/models?client_version=0.169.0"])
def test_the_list_in_both_forms(bridge, path):
    connection = ask(bridge, path)
    assert connection.raw == b""
    bridge.listing.answer()
    answer = connection.answer()
    assert answer.status == 200
    assert [model["id"] for model in answer.json["data"]] == ["deepseek-chat", "org/name:8b"]
    chat, other = answer.json["models"]
    assert chat["context_window"] == profile_named("deepseek").for_model("deepseek-chat").context_window > 0
    assert other["context_window"] == 5  # the upstream knows best


def test_it_is_asked_once_in_a_while_and_once_at_a_time(bridge):
    first, second = ask(bridge), ask(bridge)
    bridge.listing.answer()
    assert first.answer().body == second.answer().body == ask(bridge).answer().body
    assert len(bridge.listing.asked) == 1
    bridge.clock.advance(catalogue.FRESH_SECONDS + 1)
    ask(bridge)
    assert len(bridge.listing.asked) == 2


@pytest.mark.parametrize("status", [401, 404, 500])
def test_an_upstream_without_a_list(status):
    bridge = Bridge(profile=profile_named("mistral"))
    bridge.listing = Listing(bridge.client)
    connection = ask(bridge)
    bridge.listing.answer({"error": {"message": "no"}}, status)
    names = [model["id"] for model in connection.answer().json["data"]]
    assert "mistral-large-2411" in names  # those that the profile knows by name
    assert all("*" not in name for name in names)


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"data": 5}'])
def test_a_list_that_is_none(bridge, body):
    connection = ask(bridge)
    bridge.listing.answer(body)
    assert connection.answer().status == 200


def test_an_old_list_is_better_than_none(bridge):
    ask(bridge)
    bridge.listing.answer()
    bridge.clock.advance(catalogue.FRESH_SECONDS + 1)
    connection = ask(bridge)
    bridge.listing.asked[-1][1].errback(Failure(Refused()))
    assert len(connection.answer().json["data"]) == 2
    assert len(ask(bridge).answer().json["data"]) == 2
    assert len(bridge.listing.asked) == 2  # a failure is not asked about again at once


def test_an_upstream_that_does_not_answer(bridge):
    connection = ask(bridge)
    bridge.clock.advance(catalogue.PATIENCE)
    assert connection.answer().status == 200


def test_a_client_that_left(bridge):
    connection = ask(bridge)
    connection.lose()
    bridge.listing.answer()
    assert connection.raw == b""


def test_a_single_model(bridge):
    connection = ask(bridge, "/v1/models/org/name%3A8b")
    bridge.listing.answer()
    assert connection.answer().json == {"id": "org/name:8b", "object": "model", "created": 0, "owned_by": "upstream"}
    missing = ask(bridge, "/v1/models/nothing").answer()
    assert (missing.status, missing.json["error"]["code"]) == (404, "model_not_found")


def test_only_get(bridge):
    connection = Connection(bridge.site)
    connection.send(request("POST", "/v1/models", body=b"x"))
    assert connection.answer().status == 405


def test_several_upstreams_and_aliases():
    two = Two(Route(upstream="b", model="fast", send_model="y"), Route(upstream="b", model="gpt-*", send_model="y"))
    lists = {name: Listing(client) for name, client in two.clients.items()}
    connection = ask(two)
    lists["a"].answer({"data": [{"id": "x"}]})
    lists["b"].answer({"data": [{"id": "x", "context_length": 1}, {"id": "y", "context_length": 2}]})
    body = connection.answer().json
    assert [model["id"] for model in body["data"]] == ["x", "y", "fast"]
    assert body["models"][2]["context_window"] == 2
    assert [model["id"] for model in ask(two, "/b/v1/models").answer().json["data"]] == ["x", "y"]
