"""When the first messages of a WebSocket's answer leave: with the next ones, or when there are none."""

import pytest

from chatbridge.web.sink import MessageStream


class Exchange:
    def __init__(self):
        self.told = []

    def open(self, producer):
        self.told.append(producer)

    def send(self, texts):
        self.told.append(texts)

    def closed(self, turn):
        self.told.append("closed")


class Turn:
    def start(self):
        return [{"type": "first", "sequence_number": 0}]

    def keepalive(self):
        return [{"type": "alive", "sequence_number": 1}]


FIRST = b'{"type":"first","sequence_number":0}'
SECOND = {"type": "second", "sequence_number": 1}


@pytest.mark.parametrize(
    ("then", "told"),
    [
        (lambda sink: None, []),
        (lambda sink: sink.write([]), []),
        (lambda sink: sink.flush(), [[FIRST]]),
        (lambda sink: (sink.flush(), sink.flush()), [[FIRST]]),
        (lambda sink: sink.write([SECOND]), [[FIRST, b'{"type":"second","sequence_number":1}']]),
        (lambda sink: sink.keepalive(), [[FIRST, b'{"type":"alive","sequence_number":1}']]),
        (lambda sink: sink.close([]), [[FIRST], "closed"]),
        (lambda sink: sink.close([SECOND]), [[FIRST, b'{"type":"second","sequence_number":1}'], "closed"]),
    ],
)
def test_what_an_open_answer_holds(then, told):
    exchange = Exchange()
    sink = MessageStream(exchange, Turn(), for_codex=False)
    sink.flush()
    sink.write([SECOND])
    sink.open("the answer")
    then(sink)
    assert exchange.told == ["the answer", *told]
