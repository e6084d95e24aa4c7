"""Our decoder against the one of the Twisted that is installed: same bytes, same rest, same errors, for any reads."""

from __future__ import annotations

import runpy
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cuts
from twisted.internet.testing import StringTransport
from twisted.web._newclient import HTTP11ClientProtocol, Request
from twisted.web.client import Headers, HTTPConnectionPool
from twisted.web.http import _ChunkedTransferDecoder

from chatbridge.upstream import client
from chatbridge.upstream.chunked import ChunkedDecoder
from chatbridge.upstream.client import KeptPool
from chatbridge.upstream.connection import Connection, Factory


def decode(kind, reads):
    """Feed *reads* as HTTPClientParser does; return everything that can be seen from outside."""
    body, seen = [], []
    decoder = kind(body.append, lambda rest: seen.append((b"".join(body), rest)))
    calls = []
    for read in reads:
        before = len(body)
        try:
            decoder.dataReceived(read)
        except Exception as error:
            seen.append((type(error), str(error)))
            break
        finally:
            calls.append(len(body) - before)
    try:
        decoder.noMoreData()
    except Exception as error:
        seen.append((type(error), str(error)))
    return (b"".join(body), seen), calls


def same(reads):
    ours, calls = decode(ChunkedDecoder, reads)
    assert ours == decode(_ChunkedTransferDecoder, reads)[0]
    assert max(calls, default=0) <= 1
    return ours


_size = st.one_of(
    st.just("{:x}"), st.just("{:X}"), st.just("0{:x}"), st.just("{:x};a=b"), st.just("{:x} "), st.just("0x{:x}"),
    st.just("+{:x}"), st.just("{:08x}"), st.just("00000000{:x}"), st.just("{:x};\x00"), st.just("{:x};" + "e" * 1030), st.just(""), st.just("-1"), st.just("g"),
)  # fmt: skip
_end = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"", b"xx", b"\r"])


@st.composite
def streams(draw):
    """Chunked bodies, most of them right, some with every kind of mistake."""
    odd = draw(st.booleans())
    out = b""
    for data in draw(
        st.lists(st.binary(max_size=30) | st.sampled_from([b"\r\n", b"0\r\n\r\n", b"5\r\nabcde\r\n"]), max_size=6)
    ):
        form = draw(_size) if odd else "{:x}"
        out += (
            form.format(len(data)).encode() + (draw(_end) if odd else b"\r\n") + data + (draw(_end) if odd else b"\r\n")
        )
    last = [
        b"0\r\n\r\n",
        b"000\r\n\r\n",
        b"0;x\r\nA: b\r\n\r\nrest",
        b"0\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"0\r\n" + b"t: " + b"v" * 70000 + b"\r\n\r\n",
        b"",
        b"5\r\nab",
    ]
    return out + draw(st.sampled_from(last))


@given(streams(), st.data())
def test_any_reads_of_any_stream_give_what_the_stock_decoder_gives(stream, data):
    same(data.draw(cuts(stream)))


@given(st.binary(max_size=60), st.data())
def test_any_bytes_give_what_the_stock_decoder_gives(stream, data):
    same(data.draw(cuts(stream)))


BODY = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (b"a", b"\r\n" * 9, b"x" * 300)) + b"0\r\n\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 400])
def test_steps(step):
    ours = same([BODY[at : at + step] for at in range(0, len(BODY), step)])
    assert ours == (b"a" + b"\r\n" * 9 + b"x" * 300, [(b"a" + b"\r\n" * 9 + b"x" * 300, b"")])


def test_what_came_before_an_error_is_delivered():
    (body, seen), _ = decode(ChunkedDecoder, [b"1\r\na\r\n1\r\nb\r\n1\r\nc!!"])
    assert body == b"abc"
    assert "CRLF" in seen[0][1]


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def _ask(protocol):
    transport = StringTransport()
    protocol.makeConnection(transport)
    answers = []
    protocol.request(Request(b"GET", b"/", Headers({b"host": [b"x"]}), None)).addBoth(answers.append)
    return answers


def test_the_pool_s_connections_use_it_and_nobody_else_s_do():
    protocol = KeptPool._factory(lambda _: None, "x").buildProtocol(None)
    assert isinstance(protocol, Connection)
    answers = _ask(protocol)
    protocol.dataReceived(HEAD)
    assert answers[0].code == 200
    assert type(protocol._parser.bodyDecoder) is ChunkedDecoder
    other = HTTP11ClientProtocol()
    _ask(other)
    other.dataReceived(HEAD)
    assert type(other._parser.bodyDecoder) is _ChunkedTransferDecoder


def test_a_parser_built_otherwise_keeps_its_own_decoder(monkeypatch):
    from twisted.web import _newclient

    monkeypatch.setattr(_newclient.HTTPClientParser, "_transferDecoders", None)
    protocol = Connection(lambda _: None)
    _ask(protocol)
    assert protocol._parser._transferDecoders is None


def test_a_stock_factory_that_builds_something_else_is_left_alone(monkeypatch):
    monkeypatch.setattr(Factory.__mro__[1], "buildProtocol", lambda self, addr: "its own")
    assert Factory(lambda _: None, "x").buildProtocol(None) == "its own"


def test_without_the_private_names_the_stock_factory_is_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "chatbridge.upstream.connection", None)
    plain = runpy.run_path(client.__file__)["KeptPool"]
    assert plain._factory is HTTPConnectionPool._factory
    assert KeptPool._factory is Factory
