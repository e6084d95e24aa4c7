"""Heads that are read in one pass: the same requests and refusals as Twisted's own way, whatever comes."""

from __future__ import annotations

import re
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from memory_http import Server, logged, post, request
from twisted.web.server import NOT_DONE_YET

from chatbridge.web import channel as channels
from chatbridge.web.access import digest
from chatbridge.web.head import read_head
from chatbridge.web.resource import JsonResource, write_json

LINES = st.sampled_from(
    [
        b"Host: localhost",
        b"host:localhost",
        b"HOST: \t localhost \t",
        b"Host: elsewhere",
        b"Content-Type: application/json",
        b"content-length: 5",
        b"Content-Length: 5 ",
        b"Content-Length: 0",
        b"Content-Length: 05",
        b"Content-Length: 5, 5",
        b"Content-Length: +5",
        b"Content-Length: \xb2",
        b"Content-Length : 5",
        b"Content-Length: 101",
        b"Content-Length: 0x5",
        b"Content-Length:",
        b"Content_Length: 5",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: gzip, chunked",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: keep-alive, close",
        b"Connection: x close",
        b"Expect: 100-continue",
        b"Authorization: Bearer right",
        b"Authorization: Bearer wrong",
        b"X-Request-Id: mine",
        b"Cookie: a=b; c",
        b"Upgrade: websocket",
        b"X: a\rb",
        b"X: a\nHost: b",
        b"X: a\x00b",
        b"X: \xff\xfe\x0b\x0c\x1c\x85",
        b"X:",
        b"X",
        b": x",
        b" folded: line",
        b"\tfolded",
        b"Bad name: x",
        b"\x0bX: y",
        b"X: " + b"y" * 3000,
        b"",
    ]
)
FIRST = st.sampled_from(
    [
        b"POST /v1/responses HTTP/1.1",
        b"POST /v1/responses?a=b HTTP/1.1",
        b"GET /healthz HTTP/1.1",
        b"GET /healthz HTTP/1.0",
        b"HEAD /healthz HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"post /v1/responses HTTP/1.1",
        b"POST  /v1/responses HTTP/1.1",
        b"POST /v1/responses HTTP/1.1 ",
        b" POST /v1/responses HTTP/1.1",
        b"POST /v1/resp\x7f HTTP/1.1",
        b"POST /v1/resp\xa0 HTTP/1.1",
        b"POST http://localhost/v1/responses HTTP/1.1",
        b"POST /v1/responses HTTP/2.0",
        b"",
    ]
)
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n"])
REST = st.sampled_from(
    [b"", b"hello", b"hel", b"hello\r\n", b"hello" + request(), b"5\r\nhello\r\n0\r\n\r\n", b"x" * 101]
)


@st.composite
def requests(draw):
    """One request, or nearly one."""
    first, lines = draw(FIRST), draw(st.lists(LINES, max_size=6))
    head = b"".join(line + draw(ENDS) for line in [first, *lines])
    return head + b"\r\n" + draw(REST)


class Recorder(JsonResource):
    """Keeps what each request is, answers every other one later."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.later = []

    def render_GET(self, request):
        return self.render_POST(request)

    def render_POST(self, request):
        fields = {name.lower(): list(values) for name, values in request.requestHeaders.getAllRawHeaders()}
        what = (request.method, request.uri, request.path, request.clientproto, request.args, request.received)
        self.seen.append((*what, fields, request.content.read(), bool(request.channel.persistent)))
        if len(self.seen) % 2:
            self.later.append(request)
        else:
            write_json(request, 200, {})
        return NOT_DONE_YET


def told(pieces, step, tokens, read=read_head):
    """Return all that can be seen of a connection on which *pieces* arrive, *step* seconds apart."""
    recorder = Recorder()
    allowed = (("me", digest("right")),) if tokens else ()
    server = Server(recorder, max_request_bytes=100, header_timeout=10, client_tokens=allowed)
    seen = []
    with mock.patch.object(channels, "read_head", side_effect=read), logged() as events:
        connection = server.connect()
        for piece in pieces:
            connection.send(piece)
            server.reactor.advance(step)
            timers = sorted(call.getTime() for call in server.reactor.getDelayedCalls())
            seen.append((connection.raw, connection.closing, timers))
            for waiting in recorder.later:
                if not connection.closing:
                    write_json(waiting, 200, {})
            recorder.later.clear()
        connection.lose()
    whole = repr((seen, connection.raw, recorder.seen, [event["text"] for event in events]))
    return re.sub(r"req_[0-9a-f]{32}|Date: [^\\]+", "", whole)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.lists(st.one_of(requests(), st.binary(max_size=30)), min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 300), max_size=3),
    step=st.sampled_from([0.0, 3.0, 7.0]),
    tokens=st.booleans(),
)
@example(data=[post(b"hello"), post(b"")], cuts=[], step=0.0, tokens=False)
@example(data=[post(b"hello")], cuts=[90], step=7.0, tokens=False)
@example(data=[post(b"x" * 101)], cuts=[], step=0.0, tokens=True)
def test_both_ways_see_the_same(data, cuts, step, tokens):
    pieces = []
    for each in data:
        at = 0
        for cut in sorted(cuts):
            pieces.append(each[at:cut])
            at = max(at, cut)
        pieces.append(each[at:])
    pieces = [piece for piece in pieces if piece]
    assert told(pieces, step, tokens) == told(pieces, step, tokens, lambda *_: None)


@pytest.mark.parametrize("pieces", [[post(b"{}")], [post(b"{}")[:-1], b"}"], [post(b"{}")[:-2], b"{", b"}"]])
def test_lines_are_not_looked_at(pieces, monkeypatch):
    monkeypatch.setattr(channels.BridgeChannel, "lineReceived", None)
    connection = Server().connect()
    connection.send(*pieces)
    connection.send(*pieces)
    assert [answer.status for answer in connection.answers()] == [200, 200]


@pytest.mark.parametrize(
    "data",
    [
        request(),
        post(b"{}", "Content-Type: application/json", "Accept: */*", "Connection: keep-alive"),
        post(b"{}", *(f"X-{number}: y" for number in range(497))),
    ],
)
def test_usual_heads_are_read_at_once(data):
    head = read_head(data, 65536, 500)
    assert head is not None
    assert head.size + head.length == len(data)


def test_repeated_names_keep_their_values_in_order():
    head = read_head(request("GET", "/", "X: 1", "Y: 2", "x:3 \t", "X:"), 65536, 500)
    assert head.fields == {b"host": [b"127.0.0.1:8787"], b"x": [b"1", b"3", b""], b"y": [b"2"]}


@pytest.mark.parametrize(
    "data",
    [
        request("GET", "/", "Transfer-Encoding: chunked"),
        request("GET", "/", "Expect: 100-continue"),
        request("GET", "/", "Content-Length: 1", "Content-Length: 1"),
        request("GET", "/", "X: a\n\nb"),
        request("GET", "/", " X: folded"),
        request("GET", "/", *["X: y"] * 500),
        request("GET", "/", "X: " + "y" * 65536),
        b"GET / HTTP/1.1\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"\r\n\r\n",
        b"",
    ],
)
def test_unusual_heads_are_not(data):
    assert read_head(data, 65536, 500) is None


def test_a_twisted_with_other_names_reads_heads_itself(monkeypatch):
    expected = told([post(b"{}")], 0.0, False)
    assert channels._TAKES_HEADS
    monkeypatch.setattr(channels, "_TAKES_HEADS", False)
    assert told([post(b"{}")], 0.0, False, lambda *_: pytest.fail("it was asked")) == expected
