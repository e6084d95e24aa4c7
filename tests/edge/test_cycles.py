"""What an answer was made of goes with its end, without the collector: references do not run in circles.

Else each answer's text, request and tables would stay until Python's collector comes by, which is seldom in a server.
"""

import gc
from contextlib import contextmanager

import pytest
from memory_agent import URL, Network
from memory_bridge import STREAM, Bridge
from support import delta, sse
from twisted.internet.error import ConnectionLost

from chatbridge.translate.entries import Call, Output
from chatbridge.translate.turn import Turn
from chatbridge.upstream.attempts import Attempts
from chatbridge.upstream.body import Body
from chatbridge.upstream.connection import Exchange, Response
from chatbridge.upstream.deadlines import Deadlines
from chatbridge.web.answer import Answer
from chatbridge.web.channel import BridgeRequest

KINDS = (Turn, Attempts, Body, Answer, BridgeRequest, Deadlines, Exchange, Response, Call, Output)
HISTORY = [
    {"type": "message", "role": "user", "content": "hello"},
    {"type": "function_call", "call_id": "c", "name": "t", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "done"},
]
DATA = sse([delta(content="Hel"), delta(content="lo"), delta(finish_reason="stop")])


@contextmanager
def nothing_left():
    """Check that no more of *KINDS* are alive after the block than before it, with the collector away."""
    gc.collect()
    gc.disable()
    try:
        before = _alive()
        yield
        assert _alive() - before == set()
    finally:
        gc.enable()


def _alive():
    return {(type(it).__name__, id(it)) for it in gc.get_objects() if isinstance(it, KINDS)}


def whole(bridge, connection):
    response = bridge.head()
    response.send(DATA)
    response.end()


def cut(bridge, connection):
    response = bridge.head()
    response.send(DATA[:200])
    response.end(ConnectionLost())


@pytest.mark.parametrize("course", [whole, cut])
@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_leaves_nothing(course, stream):
    bridge = Bridge()
    with nothing_left():
        course(bridge, bridge.ask(STREAM | {"stream": stream, "input": HISTORY}))
        bridge.client.pending.clear()


@pytest.mark.parametrize("kind", ["whole", "cut", "never"])
def test_an_exchange_leaves_nothing(kind):
    network = Network("ours")
    with nothing_left():
        answered = network.agent.request(b"GET", URL)
        wire = network.wires.pop()
        if kind != "never":
            wire.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh")
            answered.addCallback(lambda response: response.deliverBody(Body(lambda _: None, lambda _: None)))
        if kind == "whole":
            wire.receive(b"i")
        wire.lose()
        answered.addErrback(lambda _: None)
        del answered, wire
