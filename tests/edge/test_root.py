"""The routing table, the daemon's own paths, the access log."""

from __future__ import annotations

import re

import pytest
from memory_http import Echo, Server, Waiting, failures, logged, post, request
from twisted.internet.testing import MemoryReactorClock

from chatbridge import __version__
from chatbridge.protocol.errors import ApiError
from chatbridge.web.resource import JsonResource, write_error, write_json

ORIGIN = "https://app.example.test"
UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA")


def code(answer):
    assert answer.header("content-type") == "application/json"
    assert set(answer.json["error"]) == {"message", "type", "param", "code"}
    return answer.status, answer.json["error"]["code"]


# Paths


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/responses/", "/responses", "/responses/", "/v1/responses?x=y"])
def test_responses(path):
    answer = Server().ask(post(b"{}", path=path))
    assert (answer.status, answer.json["size"]) == (200, 2)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/",
        "/v2/responses",
        "/v1/responses/compact",
        "/v1/responses//",
        "/V1/responses",
        "/%2e",
        "/healthz/x",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "BREW"])
def test_unknown_paths(method, path):
    answer = Server().ask(request(method, path))
    assert code(answer) == (404, "not_found")


def test_path_that_is_not_ascii():
    with logged() as events:
        answer = Server().ask(request("GET", "/\xff"))
    assert answer.status in (400, 404)  # newer Twisted refuses it itself
    assert failures(events) == []


def test_unknown_path_with_head():
    answer = Server().ask(request("HEAD", "/x"), head_only=True)
    assert answer.status == 404


@pytest.mark.parametrize("path", ["/healthz", "/healthz/"])
def test_healthz(path):
    server = Server()
    server.running = 3
    answer = server.ask(request("GET", path))
    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    assert answer.json == {"status": "ok", "version": __version__, "running": 3}


def test_head_is_get_without_a_body():
    server = Server()
    length = server.ask(request()).header("content-length")
    connection = server.connect()
    connection.send(request("HEAD"))
    assert connection.raw.endswith(b"\r\n\r\n")
    answer = connection.answer(head_only=True)
    assert (answer.status, answer.header("content-length")) == (200, length)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/healthz", "GET, HEAD"),
        ("DELETE", "/healthz", "GET, HEAD"),
        ("OPTIONS", "/healthz", "GET, HEAD"),
        ("BREW", "/healthz", "GET, HEAD"),
        ("get", "/healthz", "GET, HEAD"),
        ("GET", "/v1/responses", "POST"),
        ("PUT", "/v1/responses", "POST"),
        ("GET", "/responses/", "POST"),
        ("PUT", "/shutdown", "GET, HEAD, POST"),
    ],
)
def test_wrong_method(method, path, allowed):
    answer = Server(http_shutdown=True).ask(request(method, path))
    assert code(answer) == (405, "method_not_allowed")
    assert answer.header("allow") == allowed


def test_wrong_method_with_head():
    answer = Server().ask(request("HEAD", "/v1/responses"), head_only=True)
    assert (answer.status, answer.header("allow")) == (405, "POST")


def test_server_header_tells_no_version():
    assert Server().ask(request()).header("server") == "chatbridge"


def test_connection_is_kept_after_errors():
    connection = Server().connect()
    connection.send(request(path="/x") + request("PUT") + request())
    assert [answer.status for answer in connection.answers()] == [404, 405, 200]
    assert not connection.closing


# WebSocket


@pytest.mark.parametrize("path", ["/v1/responses", "/responses"])
@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "h2c, websocket"])
def test_websocket_is_refused_at_once(path, upgrade):
    answer = Server().ask(request("GET", path, f"Upgrade: {upgrade}", *UPGRADE[1:]))
    assert code(answer) == (426, "websocket_not_supported")
    assert answer.reason == "Upgrade Required"
    assert answer.header("upgrade") == "HTTP/1.1"
    assert answer.header("connection") == "Upgrade"


def test_other_upgrades_are_no_websocket():
    assert code(Server().ask(request("GET", "/v1/responses", "Upgrade: h2c"))) == (405, "method_not_allowed")


def test_upgrade_header_elsewhere_does_not_matter():
    assert Server().ask(request("GET", "/healthz", *UPGRADE)).status == 200
    assert Server().ask(post(b"{}", "Upgrade: websocket")).status == 200
    assert code(Server().ask(request("PUT", "/v1/responses", *UPGRADE))) == (405, "method_not_allowed")


# The guard


@pytest.mark.parametrize("path", ["/healthz", "/shutdown", "/v1/responses", "/x"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "BREW"])
def test_guard_stands_before_every_path(method, path):
    server = Server(http_shutdown=True)
    assert code(server.ask(request(method, path, host="evil.example.test:8787"))) == (403, "host_not_allowed")
    assert code(server.ask(request(method, path, f"Origin: {ORIGIN}"))) == (403, "origin_not_allowed")
    assert code(server.ask(request(method, path, host=None))) == (400, "bad_host")
    assert code(server.ask(request(method, path, "Host: localhost"))) == (400, "bad_host")
    assert server.stopped == []


def test_websocket_from_a_page_is_refused():
    answer = Server().ask(request("GET", "/v1/responses", f"Origin: {ORIGIN}", *UPGRADE))
    assert code(answer) == (403, "origin_not_allowed")
    assert "access-control-allow-origin" not in answer.headers


def test_image_in_a_page_does_not_stop_the_daemon():
    server = Server(http_shutdown=True)
    assert server.ask(request("GET", "/shutdown", "Sec-Fetch-Site: cross-site")).status == 403
    assert server.stopped == []


def test_allowed_host():
    server = Server(allow_hosts=("bridge.example.test",))
    assert server.ask(request(host="Bridge.Example.test:99")).status == 200


@pytest.mark.parametrize("path", ["/v1/responses", "/x"])
def test_allowed_origin_may_read_the_answer(path):
    answer = Server(allow_origins=(ORIGIN,)).ask(post(b"{}", f"Origin: {ORIGIN}", path=path))
    assert answer.status in (200, 404)
    assert answer.header("access-control-allow-origin") == ORIGIN
    assert answer.header("vary") == "Origin"


def test_no_cors_headers_without_an_origin():
    answer = Server(allow_origins=(ORIGIN,)).ask(request())
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_preflight():
    server = Server(allow_origins=(ORIGIN,))
    asked = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: X-Test, authorization")
    connection = server.connect()
    connection.send(request("OPTIONS", "/v1/responses", f"Origin: {ORIGIN}", *asked) + post(b"{}"))
    preflight, answer = connection.answers()
    assert (preflight.status, preflight.body) == (204, b"")
    assert "content-length" not in preflight.headers
    assert "transfer-encoding" not in preflight.headers
    assert preflight.header("access-control-allow-origin") == ORIGIN
    assert preflight.header("access-control-allow-methods") == "GET, POST"
    assert preflight.header("access-control-allow-headers") == "authorization, content-type, x-test"
    assert preflight.header("vary") == "Origin"
    assert answer.status == 200


def test_options_that_asks_nothing():
    answer = Server(allow_origins=(ORIGIN,)).ask(request("OPTIONS", "/v1/responses", f"Origin: {ORIGIN}"))
    assert code(answer) == (405, "method_not_allowed")


# Shutdown


def test_shutdown_is_off_by_default():
    server = Server()
    assert code(server.ask(request("GET", "/shutdown"))) == (404, "not_found")
    assert server.stopped == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_shutdown(method):
    server = Server(http_shutdown=True)
    answer = server.ask(request(method, "/shutdown"))
    assert (answer.status, answer.json) == (200, {"status": "shutting down"})
    assert server.stopped == [True]


def test_shutdown_answers_before_it_stops():
    server = Server(http_shutdown=True)
    connection = server.connect()
    server.stopped = Recorder(lambda: connection.raw)
    connection.send(request("GET", "/shutdown"))
    assert b"shutting down" in server.stopped.seen


class Recorder:
    def __init__(self, look):
        self._look = look

    def append(self, _):
        self.seen = self._look()


def test_head_does_not_shut_down():
    server = Server(http_shutdown=True)
    assert server.ask(request("HEAD", "/shutdown"), head_only=True).status == 200
    assert server.stopped == []


# Errors raised by a resource


class Failing(JsonResource):
    def __init__(self, error):
        super().__init__()
        self._error = error

    def render_POST(self, request):
        raise self._error


@pytest.mark.parametrize(
    ("seconds", "header"), [(None, None), (0, "0"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (45, "45"), (-3.0, "0")]
)
def test_retry_after_is_whole_seconds(seconds, header):
    failing = Failing(
        ApiError(429, "slow down", type="rate_limit_error", code="rate_limit_exceeded", retry_after=seconds)
    )
    answer = Server(failing).ask(post(b"{}"))
    assert code(answer) == (429, "rate_limit_exceeded")
    assert answer.json["error"]["type"] == "rate_limit_error"
    assert answer.headers.get("retry-after") == (None if header is None else [header])


def test_status_without_a_standard_phrase():
    answer = Server(Failing(ApiError(599, "odd"))).ask(post(b"{}"))
    assert (answer.status, answer.reason) == (599, "Unknown Status")


def test_error_later():
    waiting = Waiting()
    connection = Server(waiting).connect()
    connection.send(post(b"{}"))
    write_error(waiting.requests[0], ApiError(400, "no"))
    assert connection.answer().json["error"]["message"] == "no"


# The access log


def test_access_log_is_one_line_without_the_query():
    server = Server()
    with logged() as events:
        server.ask(request("GET", "/healthz?key=s3cret", "User-Agent: s3cret", "Authorization: Bearer s3cret"))
    (event,) = events
    assert "s3cret" not in event["text"]
    size = len(b'{"status":"ok","version":"","running":0}') + len(__version__)
    more = f"request_id={event['access'].id} route=/healthz"
    assert event["text"] == f"GET /healthz 200 {size} B 0.000 s {more}"


def test_access_log_takes_the_sites_clock():
    waiting = Waiting()
    server = Server(waiting)
    connection = server.connect()
    with logged() as events:
        connection.send(post(b"{}"))
        server.reactor.advance(1.5)
        write_json(waiting.requests[0], 200, {})
    (event,) = events
    assert event["text"].startswith("POST /v1/responses 200 2 B 1.500 s ")
    assert event["text"].endswith(" route=/v1/responses request_bytes=2")


def test_access_log_escapes():
    with logged() as events:
        Server().ask(request("GET", "/{x!r}\\%0a\x7f"))
    (event,) = events
    assert event["text"].startswith("GET /{x!r}\\%0a\\x7f 404 ")


def test_access_log_cuts_long_paths():
    with logged() as events:
        Server().ask(request("GET", "/" + "x" * 5000))
    (event,) = events
    assert len(event["text"]) < 300


@pytest.mark.parametrize(
    ("begin", "status"), [(lambda request: None, "-"), (lambda request: request.write(b"x"), "200")]
)
def test_access_log_of_a_client_that_left(begin, status):
    waiting = Waiting()
    connection = Server(waiting).connect()
    with logged() as events:
        connection.send(post(b"{}"))
        begin(waiting.requests[0])
        connection.lose()
    (event,) = events
    assert event["text"].startswith(f"POST /v1/responses {status} ")
    assert event["text"].endswith(" end=client_gone")


def test_half_a_request_is_not_in_the_access_log():
    connection = Server().connect()
    with logged() as events:
        connection.send(post(b"{}")[:-1])
        connection.lose()
    assert events == []


def test_listening_site_has_no_ticking_clock():
    server = Server()
    reactor = MemoryReactorClock()
    server.site.doStart()
    assert reactor.getDelayedCalls() == server.reactor.getDelayedCalls() == []
    server.site.doStop()


def test_nothing_here_logs_a_traceback():
    with logged() as events:
        server = Server(Echo(), http_shutdown=True)
        for method in ("GET", "POST", "HEAD", "OPTIONS", "PUT"):
            for path in ("/", "/healthz", "/shutdown", "/v1/responses"):
                server.connect().send(request(method, path))
    assert failures(events) == []
    assert len([event for event in events if event["log_namespace"] == "chatbridge.web.root.BridgeSite"]) == 20


# --- request ids


def test_every_answer_has_a_request_id_which_is_the_logs():
    server = Server()
    asked = (request(), request("GET", "/nothing"), request("POST", "/v1/responses", "Content-Length: 99999999999"))
    for data in asked:
        with logged() as events:
            answer = server.ask(data)
        found = answer.header("x-request-id")
        assert re.fullmatch("req_[0-9a-f]{32}", found)
        assert [event["access"].id for event in events] == [found]


@pytest.mark.parametrize("given", ["trace-1", "550e8400-e29b-41d4-a716-446655440000", "a:b.c_d"])
def test_a_clients_request_id_is_given_back(given):
    assert Server().ask(request("GET", "/healthz", f"X-Request-Id: {given}")).header("x-request-id") == given


@pytest.mark.parametrize("given", [("a b",), ("x" * 129,), ("-",), ("a=1",), ("a", "b"), ("",), ("\xe9",)])
def test_a_request_id_that_is_no_plain_one_is_not(given):
    headers = [f"X-Request-Id: {value}" for value in given]
    assert Server().ask(request("GET", "/healthz", *headers)).header("x-request-id").startswith("req_")
