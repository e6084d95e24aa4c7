"""Our agent and Twisted's: the same cases for both, and what only ours is asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_agent import Network
from strategies import cuts
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.web.client import (
    PotentialDataLoss,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IResponse
from zope.interface import implementer
from zope.interface.verify import verifyObject

from chatbridge.upstream import agent as module
from chatbridge.upstream.endpoint import Endpoints
from chatbridge.upstream.head import LIMIT
from chatbridge.upstream.headers import PlainHeaders, SentHeaders
from chatbridge.upstream.payload import Whole

both = pytest.mark.parametrize("kind", ["ours", "twisted"])

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-A: 1\r\nx-a: 2\r\n"
OK = HEAD + b"Content-Length: 2\r\n\r\nhi"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nTrailer: t\r\n\r\n"
ANSWERS = {
    "length": OK,
    "chunked": CHUNKED,
    "until close": HEAD + b"\r\nhi",
    "1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "no phrase": b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi",
    "informational": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
    "no content": b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
    "not modified": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    "empty": HEAD + b"Content-Length: 0\r\n\r\n",
    "empty chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 2\nX-A:b\n\nhi",
    "closing": b"HTTP/1.1 429 Too Many\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
    "cut length": HEAD + b"Content-Length: 5\r\n\r\nhi",
    "cut chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "cut head": HEAD,
    "nothing": b"",
    "no status": b"SSH-2.0-OpenSSH\r\n\r\n",
    "no field": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "no length": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhi",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhi",
    "a chunk without a size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n",
    "a chunk too short": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
}  # fmt: skip


def play(kind, *reads, method=b"GET"):
    """Let the server send *reads* and close; return all that can be seen."""
    network = Network(kind)
    asked = network.ask(method)
    (wire,) = network.wires
    wire.receive(*filter(None, reads))
    wire.lose()
    return asked.seen


def comparable(seen):
    """Twisted keeps the headers that frame the body apart."""
    told, *rest = seen
    if told is not None:
        framing = (b"content-length", b"transfer-encoding", b"connection")
        told = (*told[:4], [field for field in told[4] if field[0] not in framing])
    return told, *rest


@pytest.mark.parametrize("name", ANSWERS)
def test_any_answer_gives_what_twisteds_agent_gives(name):
    assert comparable(play("ours", ANSWERS[name])) == comparable(play("twisted", ANSWERS[name]))


@given(st.sampled_from(sorted(ANSWERS.values())).flatmap(cuts))
def test_answers_in_any_reads_are_the_same(reads):
    assert play("ours", *reads) == play("ours", b"".join(reads))


def test_a_head_has_no_body():
    for kind in ("ours", "twisted"):
        assert play(kind, HEAD + b"Content-Length: 5\r\n\r\n", method=b"HEAD")[1:] == (b"", "ResponseDone", "NoneType")


@both
def test_what_is_sent(kind):
    network = Network(kind)
    network.ask(b"GET", Headers({"accept": ["a", "b"], "X-Key": ["k"]}))
    first, headers, body = network.wires[0].take()
    assert first == b"GET /v1/chat/completions?a=b HTTP/1.1"
    assert headers == {b"host": [b"upstream.test:9100"], b"accept": [b"a", b"b"], b"x-key": [b"k"]}
    assert body == b""


@both
@pytest.mark.parametrize(
    ("url", "host"),
    [
        (b"http://a.test/", b"a.test"),
        (b"http://a.test:80/", b"a.test"),
        (b"https://a.test/", b"a.test"),
        (b"http://a.test:443/", b"a.test:443"),
        (b"http://[::1]:8080/", b"[::1]:8080"),
    ],
)
def test_the_host_header(kind, url, host):
    network = Network(kind)
    network.ask(url=url)
    assert network.wires[0].take()[1][b"host"] == [host]


@both
def test_a_host_of_ones_own(kind):
    network = Network(kind)
    network.ask(headers=Headers({"host": ["b.test"]}))
    assert network.wires[0].take()[1][b"host"] == [b"b.test"]


@both
def test_a_body_that_is_there(kind):
    network = Network(kind)
    network.ask(b"POST", None, Whole(b"x" * 70000))
    _, headers, body = network.wires[0].take()
    assert headers[b"content-length"] == [b"70000"]
    assert body == b"x" * 70000


@both
def test_a_post_without_a_body_says_so(kind):
    network = Network(kind)
    network.ask(b"POST")
    assert network.wires[0].take()[1][b"content-length"] == [b"0"]


@implementer(IBodyProducer)
class Slow:
    """Writes when the test says."""

    def __init__(self, length):
        self.length = length
        self.done = Deferred()
        self.log = []

    def startProducing(self, consumer):
        self.write = consumer.write
        return self.done

    def pauseProducing(self):
        self.log.append("pause")

    def resumeProducing(self):
        self.log.append("resume")

    def stopProducing(self):
        self.log.append("stop")


@both
def test_a_body_that_is_produced(kind):
    network = Network(kind)
    slow = Slow(4)
    asked = network.ask(b"POST", None, slow)
    wire = network.wires[0]
    assert wire.producer is not None
    slow.write(b"ab")
    slow.write(b"cd")
    slow.done.callback(None)
    assert wire.take()[2] == b"abcd"
    assert wire.producer is None
    wire.receive(OK)
    assert asked.body == b"hi"
    network.ask()
    assert len(network.wires) == 1


@both
def test_a_body_of_unknown_length(kind):
    network = Network(kind)
    slow = Slow(UNKNOWN_LENGTH)
    network.ask(b"POST", None, slow)
    slow.write(b"ab")
    slow.done.callback(None)
    _, headers, body = network.wires[0].take()
    assert headers[b"transfer-encoding"] == [b"chunked"]
    assert body == b"2\r\nab\r\n0\r\n\r\n"


@both
@pytest.mark.parametrize("written", [b"", b"abcde"])
def test_a_body_of_another_length_than_announced(kind, written):
    network = Network(kind)
    slow = Slow(4)
    asked = network.ask(b"POST", None, slow)
    try:
        if written:
            slow.write(written)
    except Exception as error:
        slow.done.errback(error)
    if not slow.done.called:
        slow.done.callback(None)
    network.wires[0].lose(ConnectionLost())
    assert isinstance(asked.error, RequestGenerationFailed)
    assert network.wires[0].closing


@both
def test_a_body_that_cannot_be_produced(kind):
    network = Network(kind)
    slow = Slow(4)
    asked = network.ask(b"POST", None, slow)
    slow.done.errback(ZeroDivisionError())
    network.wires[0].lose(ConnectionLost())
    assert isinstance(asked.error, RequestGenerationFailed)
    assert network.wires[0].closing


@both
def test_a_connection_lost_while_the_body_is_sent(kind):
    network = Network(kind)
    asked = network.ask(b"POST", None, Slow(4))
    network.wires[0].lose(ConnectionLost())
    assert isinstance(asked.error, RequestTransmissionFailed)


def test_an_answer_before_the_request_is_sent_is_read_and_the_connection_is_not_kept():
    network = Network("ours")
    slow = Slow(4)
    asked = network.ask(b"POST", None, slow)
    network.wires[0].receive(OK)
    assert asked.body == b"hi"
    assert isinstance(asked.end, ResponseDone)
    assert slow.log == ["stop"]
    assert network.wires[0].closing
    slow.done.callback(None)


def test_an_answer_may_begin_before_the_request_is_sent_and_both_go_on():
    network = Network("ours")
    slow = Slow(4)
    asked = network.ask(b"POST", None, slow)
    network.wires[0].receive(OK[:-1])
    slow.write(b"abcd")
    slow.done.callback(None)
    network.wires[0].receive(OK[-1:])
    assert asked.body == b"hi"
    network.ask()
    assert len(network.wires) == 1


def test_a_producer_that_fails_when_the_answer_has_begun_ends_it():
    network = Network("ours")
    slow = Slow(4)
    asked = network.ask(b"POST", None, slow)
    network.wires[0].receive(OK[:-1])
    slow.done.errback(ZeroDivisionError())
    assert isinstance(asked.end, ResponseFailed)
    assert network.wires[0].closing


@both
def test_connections_are_used_again(kind):
    network = Network(kind)
    for answer in (OK, CHUNKED, ANSWERS["no content"], ANSWERS["empty"], OK):
        asked = network.ask()
        network.wires[0].receive(answer)
        assert isinstance(asked.end, ResponseDone)
    assert len(network.wires) == 1


@both
def test_two_requests_at_once_have_two_connections(kind):
    network = Network(kind)
    first, second = network.ask(), network.ask()
    network.wires[1].receive(OK)
    network.wires[0].receive(OK)
    assert (first.body, second.body) == (b"hi", b"hi")
    assert len(network.wires) == 2


@both
def test_connections_lead_to_one_place_only(kind):
    network = Network(kind)
    network.ask()
    network.wires[0].receive(OK)
    network.ask(url=b"http://other.test:9100/")
    assert len(network.wires) == 2


@both
@pytest.mark.parametrize("name", ["until close", "closing"])
def test_connections_that_are_not_used_again(kind, name):
    network = Network(kind)
    network.ask()
    network.wires[0].receive(ANSWERS[name])
    if name == "until close":
        network.wires[0].lose()
    network.ask()
    assert len(network.wires) == 2


@both
def test_a_kept_connection_that_closes_is_forgotten(kind):
    network = Network(kind)
    network.ask()
    network.wires[0].receive(OK)
    network.wires[0].lose()
    network.ask()
    assert len(network.wires) == 2


@both
@pytest.mark.parametrize(
    ("sent", "error"), [(b"", ResponseNeverReceived), (b"HTTP/1.1 2", ResponseFailed), (HEAD, ResponseFailed)]
)
def test_a_connection_that_breaks_before_the_answer(kind, sent, error):
    network = Network(kind)
    asked = network.ask()
    if sent:
        network.wires[0].receive(sent)
    network.wires[0].lose(ConnectionLost())
    assert type(asked.error) is error
    assert asked.error.reasons[0].check(ConnectionLost)


@both
def test_an_answer_until_close_may_be_cut(kind):
    network = Network(kind)
    asked = network.ask()
    network.wires[0].receive(ANSWERS["until close"])
    network.wires[0].lose(ConnectionLost())
    assert isinstance(asked.end, PotentialDataLoss)


@both
def test_nothing_is_read_until_somebody_wants_the_body(kind):
    network = Network(kind)
    asked = network.ask(read=False)
    wire = network.wires[0]
    wire.receive(HEAD + b"Content-Length: 5\r\n\r\nhe")
    assert wire.producerState == "paused"
    assert asked.body == b""
    asked.deliver()
    assert wire.producerState == "producing"
    assert asked.body == b"he"
    wire.receive(b"llo")
    assert isinstance(asked.end, ResponseDone)


@both
def test_the_body_may_be_paused_and_the_connection_reads_again_when_it_is_over(kind):
    network = Network(kind)
    asked = network.ask()
    wire = network.wires[0]
    wire.receive(HEAD + b"Content-Length: 5\r\n\r\nhe")
    asked.protocol.transport.pauseProducing()
    assert wire.producerState == "paused"
    asked.protocol.transport.resumeProducing()
    assert wire.producerState == "producing"


def test_a_paused_connection_reads_again_before_it_is_kept():
    network = Network("ours")
    asked = network.ask()
    wire = network.wires[0]
    wire.receive(HEAD + b"Content-Length: 5\r\n\r\nhe")
    asked.protocol.transport.pauseProducing()
    wire.receive(b"llo")  # read already when it was paused
    assert isinstance(asked.end, ResponseDone)
    assert wire.producerState == "producing"


def test_a_body_that_was_lost_before_anybody_wanted_it_is_delivered_as_far_as_it_came():
    for sent, body, end in ((OK, b"hi", ResponseDone), (OK[:-1], b"h", ResponseFailed), (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi", b"hi", ResponseFailed)):  # fmt: skip
        network = Network("ours")
        asked = network.ask(read=False)
        network.wires[0].receive(sent)
        network.wires[0].lose()
        asked.deliver()
        assert (asked.body, type(asked.end)) == (body, end)


def test_a_body_is_delivered_once_only():
    network = Network("ours")
    asked = network.ask()
    network.wires[0].receive(OK[:-1])
    with pytest.raises(RuntimeError):
        asked.deliver()


@both
def test_stopping_the_body_closes_the_connection(kind):
    network = Network(kind)
    asked = network.ask()
    wire = network.wires[0]
    wire.receive(HEAD + b"Content-Length: 5\r\n\r\nhe")
    asked.protocol.transport.stopProducing()
    assert wire.closing or wire.producerState == "stopped"
    wire.lose(ConnectionLost())
    assert isinstance(asked.end, ResponseFailed)


@both
def test_cancelling_before_the_answer_closes_the_connection(kind):
    network = Network(kind)
    asked = network.ask()
    asked.deferred.cancel()
    assert network.wires[0].closing
    network.wires[0].lose(ConnectionLost())
    assert asked.error is not None


def test_cancelling_while_it_connects():
    network = Network("ours")
    cancelled = []
    network.outcome = Deferred(cancelled.append)
    asked = network.ask()
    asked.deferred.cancel()
    assert len(cancelled) == 1
    assert isinstance(asked.error, CancelledError)


@both
def test_errors_of_connecting_are_passed_on(kind):
    network = Network(kind)
    network.outcome = fail(ConnectionRefusedError())
    assert isinstance(network.ask().error, ConnectionRefusedError)


@both
@pytest.mark.parametrize(("method", "url"), [(b"GE T", b"http://a.test/"), (b"GET", b"http://a.test/\r\nX: y")])
def test_nothing_can_be_smuggled_into_the_request_line(kind, method, url):
    network = Network(kind)
    try:
        error = network.ask(method, url=url).error
    except ValueError as raised:  # Twisted raises
        error = raised
    assert isinstance(error, ValueError)
    assert not network.wires


# --- ours alone: what must not be believed


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nA\x00: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nA: b\rContent-Length: 1\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\n folded\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nhi",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nhi",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * LIMIT,
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * LIMIT + b"\r\n\r\n",
        b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\n" * 4000,
    ],
)
def test_heads_that_are_refused(sent):
    network = Network("ours")
    asked = network.ask()
    network.wires[0].receive(sent)
    assert isinstance(asked.error, ResponseFailed)
    assert network.wires[0].closing
    assert "head" in str(asked.error.reasons[0].value) or asked.error.reasons[0].value.args


def test_a_folded_header_and_equal_lengths_are_read():
    network = Network("ours")
    asked = network.ask()
    network.wires[0].receive(b"HTTP/1.1 200 OK\r\nA: b\r\n\t c\r\nContent-Length: 2, 2\r\n\r\nhi")
    assert asked.body == b"hi"
    assert asked.response.headers.getRawHeaders("a") == ["b c"]


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ANSWERS["1.0"],
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfalse",
    ],
)
def test_what_two_readers_may_read_otherwise_is_read_but_the_connection_is_not_used_again(answer):
    network = Network("ours")
    asked = network.ask()
    network.wires[0].receive(answer)
    assert asked.body == b"hi"
    assert network.wires[0].closing
    network.ask()
    assert len(network.wires) == 2


def test_what_comes_unasked_on_a_kept_connection_closes_it():
    network = Network("ours")
    network.ask()
    network.wires[0].receive(OK)
    network.wires[0].receive(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfalse")
    assert network.wires[0].closing
    asked = network.ask()
    network.wires[1].receive(OK)
    assert asked.body == b"hi"


def test_a_malformed_chunk_ends_the_body_after_what_came_before_it():
    network = Network("ours")
    asked = network.ask()
    network.wires[0].receive(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nzz\r\n")
    assert asked.body == b"hi"
    assert isinstance(asked.end, ResponseFailed)
    assert network.wires[0].closing


def test_all_chunks_of_a_read_come_as_one_piece():
    network = Network("ours")
    asked = network.ask()
    network.wires[0].receive(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 50 + b"5\r\nab", b"cde\r\n0\r\n\r\n"
    )
    assert asked.body == b"a" * 50 + b"abcde"
    assert asked.reads == 2


def test_connections_are_kept_for_a_while_and_only_so_many(monkeypatch):
    monkeypatch.setattr(module, "KEPT_CONNECTIONS", 2)
    network = Network("ours")
    for _ in range(3):
        network.ask()
    for wire in network.wires:
        wire.receive(OK)
        network.reactor.advance(10)
    assert [wire.closing for wire in network.wires] == [True, False, False]
    network.reactor.advance(module.KEPT_SECONDS - 20)
    assert [wire.closing for wire in network.wires] == [True, True, False]
    network.wires[1].lose()
    network.reactor.advance(10)
    assert network.wires[2].closing
    assert not network.reactor.getDelayedCalls()


def test_closing_the_pool_waits_and_keeps_nothing_more():
    network = Network("ours")
    first, second = network.ask(), network.ask()
    network.wires[0].receive(OK)
    closed = []
    network.pool.close().addCallback(closed.append)
    assert network.wires[0].closing
    assert not closed
    network.wires[0].lose()
    assert len(closed) == 1
    assert not network.reactor.getDelayedCalls()
    network.wires[1].receive(OK)
    assert (first.body, second.body) == (b"hi", b"hi")
    assert network.wires[1].closing


def test_the_agent_tells_whether_the_connection_was_used_before():
    network = Network("ours")
    network.ask()
    assert not network.agent.reused
    network.wires[0].receive(OK)
    network.ask()
    assert network.agent.reused


def test_other_schemes_are_refused():
    with pytest.raises(SchemeNotSupported):
        Endpoints(Network("ours").reactor, 1.0).endpointForURI(module.URI.fromBytes(b"ftp://a.test/"))


def test_a_response_is_one():
    network = Network("ours")
    asked = network.ask()
    network.wires[0].receive(OK)
    assert verifyObject(IResponse, asked.response)
    asked.response.setPreviousResponse(asked.response)
    assert asked.response.previousResponse is asked.response
    assert verifyObject(IBodyProducer, Whole(b""))


def test_whole_bodies_are_producers_for_any_agent():
    written = []
    whole = Whole(b"abc")
    assert whole.startProducing(type("C", (), {"write": written.append})()).called
    whole.pauseProducing()
    whole.resumeProducing()
    whole.stopProducing()
    assert (written, whole.length) == ([b"abc"], 3)


def test_headers_upstream_hold_no_line_breaks_and_show_no_values():
    headers = PlainHeaders()
    headers.setRawHeaders("Authorization", ["Bearer sk\r\nX: y"])
    headers.addRawHeader(b"authorization", b"two")
    copied = headers.copy()
    copied.removeHeader("authorization")
    assert headers.getRawHeaders("AUTHORIZATION") == ["Bearer sk X: y", "two"]
    assert headers.getRawHeaders(b"authorization") == [b"Bearer sk X: y", b"two"]
    assert copied.getRawHeaders("authorization", ["none"]) == ["none"]
    assert headers.hasHeader("Authorization")
    assert not copied.hasHeader("Authorization")
    assert headers == Headers({"authorization": ["Bearer sk X: y", "two"]})
    assert headers != copied
    assert headers != 1
    assert repr(headers) == "<PlainHeaders authorization>"
    for name in ("", "a b", "a:", "a\r\n"):
        with pytest.raises(ValueError):
            headers.setRawHeaders(name, ["x"])


def test_headers_made_once_stay_as_they_are_and_go_out_as_any_others():
    network = Network("ours")
    fields = {"User-Agent": "x", "authorization": "Bearer sk\r\nX: y", "accept-encoding": "identity", "te": "trailers"}
    once = SentHeaders(fields)
    for change in ("set", "add", "remove"):
        one = once.copy()
        if change == "set":
            one.setRawHeaders("user-agent", ["y"])
        elif change == "add":
            one.addRawHeader(b"Accept-Encoding", b"gzip")
        else:
            one.removeHeader("user-agent")
    network.ask(headers=once)
    network.ask(headers=Headers({name: [value] for name, value in fields.items()}))
    (_, sent, _), (_, other, _) = (wire.take() for wire in network.wires)
    assert sent == other
    assert sent[b"user-agent"] == [b"x"]
    assert sent[b"accept-encoding"] == [b"identity"]
    assert sent[b"authorization"] == [b"Bearer sk X: y"]


def test_headers_made_once_may_name_the_host():
    network = Network("ours")
    network.ask(headers=SentHeaders({"host": "other.test", "a": "b"}))
    assert network.wires[0].take()[1] == {b"host": [b"other.test"], b"a": [b"b"]}
    with pytest.raises(ValueError, match="no header name"):
        SentHeaders({"a b": "x"})
