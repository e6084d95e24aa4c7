"""The channel: head timeout, early refusals, bodies in memory, garbage."""

from __future__ import annotations

import io
import json
import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from memory_http import Connection, Server, Waiting, failures, logged, post, read_answers, request
from twisted.internet.testing import StringTransport
from twisted.web import http
from twisted.web.server import NOT_DONE_YET

from chatbridge.web.channel import HEAD_LIMIT, LINGER, printable
from chatbridge.web.ids import new_id
from chatbridge.web.resource import JsonResource, write_json

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


def error(answer):
    assert answer.header("content-type") == "application/json"
    return answer.json["error"]


def calls(server):
    return len(server.reactor.getDelayedCalls())


# The head's time


def test_silent_connection_is_closed_without_a_word():
    server = Server(header_timeout=10)
    connection = server.connect()
    server.reactor.advance(9.9)
    assert not connection.closing
    server.reactor.advance(0.2)
    assert connection.closing
    assert connection.raw == b""


def test_trickling_does_not_extend_the_time():
    server = Server(header_timeout=10)
    connection = server.connect()
    for byte in HEAD[:20]:
        connection.send(bytes([byte]))
        server.reactor.advance(0.51)
    assert connection.closing
    answer = connection.answer()
    assert (answer.status, answer.reason) == (408, "Request Timeout")
    assert answer.header("connection") == "close"
    assert error(answer)["code"] == "request_timeout"


def test_trickling_whole_lines_does_not_extend_the_time():
    server = Server(header_timeout=10)
    connection = server.connect()
    connection.send(HEAD)
    for number in range(11):
        connection.send(b"X-%d: y\r\n" % number)
        server.reactor.advance(1)
    assert connection.answer().status == 408


def test_expired_connection_is_aborted_when_it_does_not_close():
    server = Server(header_timeout=10)
    connection = server.connect()
    connection.send(HEAD)
    server.reactor.advance(10)
    assert connection.closing
    assert not connection.transport.disconnected
    server.reactor.advance(15)
    assert connection.transport.disconnected


def test_expired_connection_is_aborted_once():
    server = Server(header_timeout=50)
    connection = server.connect()
    connection.send(HEAD)
    for _ in range(65):
        server.reactor.advance(1)
    assert connection.transport.disconnected
    connection.lose()
    assert connection.answer().status == 408
    assert calls(server) == 0


def test_no_timer_while_an_answer_runs():
    waiting = Waiting()
    server = Server(waiting, header_timeout=10)
    connection = server.connect()
    connection.send(post(b"{}"))
    assert calls(server) == 0
    server.reactor.advance(1000)
    write_json(waiting.requests[0], 200, {})
    assert connection.answer().status == 200
    assert not connection.closing


def test_idle_connection_keeps_twisteds_time():
    server = Server(header_timeout=10)
    connection = server.connect()
    connection.send(request())
    server.reactor.advance(11)
    assert not connection.closing
    server.reactor.advance(50)
    assert connection.closing
    assert len(connection.answers()) == 1


def test_second_head_has_its_own_time():
    server = Server(header_timeout=10)
    connection = server.connect()
    server.reactor.advance(6)
    connection.send(request())
    server.reactor.advance(6)
    connection.send(HEAD)
    server.reactor.advance(6)
    assert not connection.closing
    connection.send(b"\r\n")
    server.reactor.advance(6)
    assert not connection.closing
    assert [answer.status for answer in connection.answers()] == [200, 200]


def test_part_of_the_next_head_in_the_same_read_starts_the_time():
    server = Server(header_timeout=10)
    connection = server.connect()
    connection.send(request() + b"GET")
    server.reactor.advance(10)
    assert [answer.status for answer in connection.answers()] == [200, 408]


def test_part_of_the_next_head_during_an_answer_starts_the_time_after_it():
    waiting = Waiting()
    server = Server(waiting, header_timeout=10)
    connection = server.connect()
    connection.send(post(b"{}"), HEAD)
    server.reactor.advance(100)
    assert connection.raw == b""
    write_json(waiting.requests[0], 200, {})
    server.reactor.advance(9)
    assert not connection.closing
    server.reactor.advance(1)
    assert [answer.status for answer in connection.answers()] == [200, 408]


def test_empty_line_after_a_request_is_no_head():
    server = Server(header_timeout=10)
    connection = server.connect()
    connection.send(request() + b"\r\n")
    server.reactor.advance(20)
    assert not connection.closing
    connection.send(request() + b"\r")
    server.reactor.advance(20)
    assert not connection.closing


def test_slow_body_is_not_a_slow_head():
    server = Server(header_timeout=10)
    connection = server.connect()
    connection.send(b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n")
    for _ in range(3):
        server.reactor.advance(20)
        connection.send(b"x")
    assert connection.answer().json["size"] == 3


def test_lost_connection_leaves_no_timer():
    server = Server(header_timeout=10)
    connection = server.connect()
    connection.send(HEAD)
    connection.lose()
    assert calls(server) == 0


# Bodies that are too large


def announce(length, *headers):
    return request("POST", "/v1/responses", f"Content-Length: {length}", *headers)


def test_announced_body_too_large_is_refused_at_once():
    server = Server(max_request_bytes=100)
    connection = server.connect()
    connection.send(announce(101))
    answer = connection.answer()
    assert (answer.status, answer.header("connection")) == (413, "close")
    assert error(answer)["code"] == "request_too_large"
    assert "100 bytes" in error(answer)["message"]
    assert not connection.closing


def test_body_of_exactly_the_limit_is_taken():
    server = Server(max_request_bytes=100)
    assert server.ask(post(b"x" * 100)).json["size"] == 100


def test_refused_body_is_read_to_its_end():
    server = Server(max_request_bytes=100)
    connection = server.connect()
    connection.send(announce(1000) + b"x" * 10, b"x" * 989)
    assert not connection.closing
    connection.send(b"x")
    assert connection.closing
    assert connection.answer().status == 413
    connection.lose()
    assert calls(server) == 0


def test_refused_body_is_not_kept():
    server = Server(max_request_bytes=100)
    connection = server.connect()
    connection.send(announce(10**9), b"x" * 100_000)
    assert connection.channel.requests[0].content.getvalue() == b""


def test_refused_body_is_read_for_a_limited_time():
    server = Server(max_request_bytes=100)
    connection = server.connect()
    connection.send(announce(10**12))
    for _ in range(int(LINGER)):
        assert not connection.closing
        connection.send(b"x" * 1000)
        server.reactor.advance(1)
    assert connection.closing
    assert connection.answer().status == 413


def test_client_that_leaves_after_the_refusal_leaves_no_timer():
    server = Server(max_request_bytes=100)
    connection = server.connect()
    connection.send(announce(1000))
    connection.lose()
    assert calls(server) == 0


def test_request_behind_a_refused_body_is_not_answered():
    server = Server(max_request_bytes=100)
    connection = server.connect()
    connection.send(announce(1000) + b"x" * 1000 + request())
    assert connection.answer().status == 413
    assert connection.closing


def test_expecting_client_gets_413_and_no_100():
    server = Server(max_request_bytes=100)
    assert server.ask(announce(101, "Expect: 100-continue")).status == 413


def test_expecting_client_gets_100():
    server = Server(max_request_bytes=100)
    connection = server.connect()
    connection.send(announce(3, "Expect: 100-continue"))
    assert connection.raw == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.send(b"abc")
    assert [answer.status for answer in connection.answers()] == [100, 200]


CHUNKED = request("POST", "/v1/responses", "Transfer-Encoding: chunked")


def test_chunked_body_is_taken():
    server = Server(max_request_bytes=100)
    assert (
        server.ask(CHUNKED + b"32\r\n" + b"x" * 50 + b"\r\n32\r\n" + b"x" * 50 + b"\r\n0\r\n\r\n").json["size"] == 100
    )


def test_chunked_body_past_the_limit_is_refused_and_read_to_its_end():
    server = Server(max_request_bytes=100)
    connection = server.connect()
    connection.send(CHUNKED, b"64\r\n" + b"x" * 100 + b"\r\n")
    assert connection.raw == b""
    connection.send(b"1\r\nx")
    assert connection.answer().status == 413
    connection.send(b"\r\n64\r\n" + b"x" * 100 + b"\r\n", b"0\r\n\r\n")
    assert connection.closing
    assert connection.answer().status == 413


def test_huge_chunk_is_refused_when_its_bytes_pass_the_limit():
    server = Server(max_request_bytes=100)
    connection = server.connect()
    connection.send(CHUNKED, b"FFFFFFFF\r\n", b"x" * 101)
    assert connection.answer().status == 413


def test_refusals_are_in_the_access_log():
    server = Server(max_request_bytes=100)
    with logged() as events:
        server.ask(request("POST", "/v1/responses?secret=1", "Content-Length: 101"))
    (text,) = [event["text"] for event in events]
    assert text.startswith("POST /v1/responses 413 ")


# Bodies stay in memory, and are no forms


def test_body_is_in_memory_however_large():
    waiting = Waiting()
    server = Server(waiting)
    server.connect().send(post(b"x" * 1_000_000))
    assert type(waiting.requests[0].content) is io.BytesIO


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        'multipart/form-data; boundary="',
        ";;;=",
        "\xff\xfe",
    ],
)
def test_form_types_are_not_parsed(content_type):
    server = Server()
    with logged() as events:
        answer = server.ask(post(b"--x\r\n\r\na=b&c=d\xff\r\n--x--", f"Content-Type: {content_type}"))
    assert answer.json["size"] == 22
    assert failures(events) == []


def test_query_is_not_parsed():
    server = Server()
    assert server.ask(request(path="/healthz?a=%ff&b;c==&%")).status == 200


# Malformed requests


@pytest.mark.parametrize(
    "data",
    [
        b"GET /healthz\r\n",
        b"\xff\xfe / HTTP/1.1\r\n",
        HEAD + b"No colon\r\n\r\n",
        HEAD + b"Bad name: x\r\n\r\n",
        HEAD + b": x\r\n\r\n",
        HEAD + b"X: a\rb\r\n\r\n",
        HEAD + b"X: a\nb\r\n\r\n",
        HEAD + b"X: a\x00b\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 0x10\r\n\r\n",
        HEAD + b"Content-Length: 1, 1\r\n\r\n",
        HEAD + b"Content-Length: \r\n\r\n",
        HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"X: y\r\n" * 600 + b"\r\n",
        b"GET /healthz HTTP/1.1\r\n folded: first\r\n\r\n",
        b"GET /healthz FOO/7\r\nHost: localhost\r\n\r\n",
        b"GET /healthz \x00\r\nHost: localhost\r\n\r\n",
    ],
)
def test_malformed_request_is_a_400(data):
    server = Server()
    connection = server.connect()
    with logged() as events:
        connection.send(data)
    assert connection.raw.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert connection.raw.count(b"HTTP/1.1") == 1
    assert connection.closing
    assert failures(events) == []
    server.reactor.advance(11)
    assert connection.raw.count(b"HTTP/1.1") == 1
    connection.lose()
    assert calls(server) == 0


def test_malformed_header_is_a_json_400():
    connection = Server().connect()
    connection.send(HEAD + b"Bad name: x\r\n\r\n")
    assert error(connection.answer())["code"] == "bad_request"


@pytest.mark.parametrize("data", [b"G" * (HEAD_LIMIT + 2), HEAD + b"X: " + b"y" * (HEAD_LIMIT + 2)])
def test_too_long_line_is_a_431(data):
    connection = Server().connect()
    connection.send(data)
    answer = connection.answer()
    assert (answer.status, answer.reason) == (431, "Request Header Fields Too Large")
    assert error(answer)["code"] == "head_too_large"
    assert connection.closing


def test_head_larger_than_twisteds_limit_is_taken():
    assert Server().ask(request("GET", "/healthz", "X-Codex-Turn-Metadata: " + "x" * 40_000)).status == 200


def test_data_after_the_close_is_dropped():
    connection = Server().connect()
    connection.send(HEAD + b"Bad name: x\r\n\r\n")
    before = connection.raw
    connection.channel.dataReceived(request())
    assert connection.closing
    assert connection.raw == before


@pytest.mark.parametrize(
    "target", ["*", "healthz", "xhealthz", "http://127.0.0.1/healthz", "//healthz", "/?", "?/healthz"]
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_target_that_is_no_path_is_a_404(method, target):
    answer = Server().ask(request(method, target))
    assert answer.status == 404
    assert error(answer)["code"] == "not_found"


def test_http_1_0_is_served():
    connection = Server().connect()
    connection.send(b"GET /healthz HTTP/1.0\r\n\r\n")
    head, _, body = connection.raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK\r\n")
    assert json.loads(body)["status"] == "ok"
    assert connection.closing


# Our own mistakes


class Broken(JsonResource):
    def __init__(self, start):
        super().__init__()
        self._start = start

    def render_POST(self, request):
        self._start(request)
        raise ZeroDivisionError("s3cret detail")


def broken(start=lambda request: None):
    connection = Server(Broken(start)).connect()
    with logged() as events:
        connection.send(post(b"{}", path="/v1/responses?q=1"))
    (failed,) = failures(events)
    assert failed["text"].startswith("Failed on POST /v1/responses")
    assert "?" not in failed["text"].splitlines()[0]
    return connection


def test_exception_is_a_json_500_without_details():
    answer = broken().answer()
    assert answer.status == 500
    assert error(answer)["type"] == "server_error"
    assert error(answer)["code"] == "internal_error"
    assert b"s3cret" not in answer.body
    assert b"Traceback" not in answer.body


def test_exception_in_the_middle_of_an_answer_closes():
    connection = broken(lambda request: request.write(b"begun"))
    assert b"internal_error" not in connection.raw
    assert not connection.raw.endswith(b"0\r\n\r\n")
    assert connection.closing


def test_exception_after_the_answer_is_only_logged():
    connection = broken(lambda request: write_json(request, 200, {}))
    assert connection.answer().status == 200


def test_exception_after_the_client_left_is_only_logged():
    connection = broken(lambda request: request.connectionLost(None))
    assert connection.raw == b""


def test_answer_to_a_client_that_left_does_nothing():
    waiting = Waiting()
    connection = Server(waiting).connect()
    connection.send(post(b"{}"))
    connection.lose()
    write_json(waiting.requests[0], 200, {})
    assert connection.raw == b""


# The transport


class TcpTransport(StringTransport):
    no_delay = None

    def setTcpNoDelay(self, enabled):
        self.no_delay = enabled


class UnixTransport(StringTransport):
    def setTcpNoDelay(self, enabled):
        raise OSError(95, "Operation not supported")


@pytest.mark.parametrize("kind", [TcpTransport, UnixTransport, StringTransport])
def test_no_delay_where_there_is_such_a_thing(kind):
    transport = kind()
    channel = Server().site.buildProtocol(None)
    channel.makeConnection(transport)
    channel.dataReceived(request())
    assert read_answers(transport.value())[0].status == 200
    assert getattr(transport, "no_delay", True) is True


def test_http2_is_not_offered_where_it_could_be(monkeypatch):
    monkeypatch.setattr(http, "H2_ENABLED", True)
    assert Server().site.acceptableProtocols() == [b"http/1.1"]


# Garbage

WORDS = st.sampled_from(
    [
        b"GET ",
        b"POST ",
        b"OPTIONS ",
        b"HEAD ",
        b"/healthz",
        b"/v1/responses",
        b"/shutdown",
        b"/%",
        b"*",
        b"?",
        b" HTTP/1.1",
        b" HTTP/1.0",
        b"\r\n",
        b"\r\n\r\n",
        b"\r\n ",
        b"Host: localhost\r\n",
        b"Host: [\r\n",
        b"Host: ::\r\n",
        b"Origin: \xff\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 99999\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Content-Type: multipart/form-data; boundary=\r\n",
        b"Cookie: =;;a\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"Upgrade: websocket\r\n",
        b"5\r\nabcde\r\n",
        b"FFFFF\r\n",
        b"0\r\n\r\n",
        b"0;\x00\r\n",
        b"hello",
        b"\x00",
        b"\r",
        b"\n",
        b": ",
        b"\xff\xfe",
        b"a" * 2000,
    ]
)
PIECES = st.lists(st.one_of(st.binary(max_size=40), st.lists(WORDS, max_size=6).map(b"".join)), max_size=12)


class ByMood(JsonResource):
    """Answers every other request later."""

    def __init__(self):
        super().__init__()
        self.later = []
        self.count = 0

    def render_POST(self, request):
        self.count += 1
        if self.count % 2:
            self.later.append(request)
        else:
            write_json(request, 200, {})
        return NOT_DONE_YET


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pieces=PIECES, step=st.floats(0, 8))
@example(pieces=[b"", CHUNKED, b"5\r\nabcde\r\n0\r\n\r\n" * 2], step=0)
@example(pieces=[announce(99999, "Expect: 100-continue"), b"x" * 99999, b"\r\n\r\n"], step=1)
@example(pieces=[CHUNKED, b"FFFFF\r\n", b"x" * 2000, b"\r\nzz\r\n"], step=1)
def test_garbage_never_fails(pieces, step):
    moody = ByMood()
    server = Server(moody, max_request_bytes=1000, http_shutdown=True)
    connection: Connection = server.connect()
    with logged() as events:
        for piece in pieces:
            connection.send(piece)
            server.reactor.advance(step)
            for request in moody.later:
                if not connection.closing:
                    write_json(request, 200, {})
            moody.later.clear()
        connection.lose()
        server.reactor.advance(100)
    assert failures(events) == []
    assert calls(server) == 0
    assert b"\x00" not in connection.raw
    for event in events:
        assert "\n" not in event["text"]


@given(st.binary(max_size=60))
def test_printable_is_one_short_word(raw):
    text = printable(raw, 20)
    assert all("\x21" <= character <= "\x7e" for character in text)
    assert len(text) <= 20 * 4 + 3


def test_ids_are_random_and_no_two_the_same():
    ids = [new_id("x") for _ in range(500)]
    assert len({*ids}) == 500
    assert all(re.fullmatch("x_[0-9a-f]{32}", one) for one in ids)
