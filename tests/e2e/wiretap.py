"""A relay between Codex and the bridge that notes each request and the status it got, and what goes over WebSockets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from dataclasses import dataclass, field

from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage
from wsproto.extensions import PerMessageDeflate


@dataclass
class Exchange:
    """One request as Codex sent it, or one message (its method is ``message``); *status* is the answer's."""

    method: str
    path: str
    headers: dict
    body: bytes = b""
    status: int | None = None
    answered: dict = field(default_factory=dict)  # the answer's headers

    @property
    def upgrade(self):
        return "upgrade" in self.headers

    def json(self):
        return json.loads(self.body)


class Wiretap:
    """Listens on a port of its own; every connection goes on to *port*. :attr:`exchanges` is what passed."""

    def __init__(self, port):
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self.exchanges = []
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self):
        self.exchanges = []

    def close(self):
        self._listener.close()

    @property
    def posts(self):
        return [exchange for exchange in self.exchanges if exchange.method == "POST"]

    @property
    def messages(self):
        """What Codex sent over WebSockets, as JSON."""
        return [exchange.json() for exchange in self.exchanges if exchange.method == "message"]

    @property
    def asked(self):
        """The bodies of all requests for an answer, whichever way they came."""
        bodies = [e.json() for e in self.exchanges if e.method in ("POST", "message")]
        return [body for body in bodies if body.get("generate") is not False]

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            passing = []  # exchanges of this connection, in order
            for source, drain, note in ((client, server, self._request), (server, client, self._response)):
                threading.Thread(target=_copy, args=(source, drain, note, passing), daemon=True).start()

    def _request(self, head, passing):
        (method, path, _), headers = head
        exchange = Exchange(method, path, headers)
        passing.append(exchange)
        self.exchanges.append(exchange)
        if exchange.upgrade:
            return _Messages(exchange, self.exchanges), exchange
        return int(headers.get("content-length", 0)), exchange

    def _response(self, head, passing):
        (_, status, *_), headers = head
        waiting = next((exchange for exchange in passing if exchange.status is None), None)
        if waiting is not None:
            waiting.status, waiting.answered = int(status), headers
        if status == "101":
            return _NOTHING, None
        return _CHUNKED if "chunked" in headers.get("transfer-encoding", "") else int(
            headers.get("content-length", 0)
        ), None


class _Messages:
    """Reads the client's messages behind *handshake*. They come when the answer is known."""

    def __init__(self, handshake, exchanges):
        self._handshake = handshake
        self._exchanges = exchanges
        self._parts = []
        self._connection = None

    def feed(self, data):
        if self._connection is None:
            self._connection = Connection(ConnectionType.SERVER, extensions=self._extensions())
        self._connection.receive_data(data)
        for event in self._connection.events():
            if isinstance(event, TextMessage):
                self._parts.append(event.data)
                if event.message_finished:
                    body = "".join(self._parts).encode()
                    self._exchanges.append(Exchange("message", self._handshake.path, {}, body, 101))
                    self._parts = []

    def _extensions(self):
        deflate = PerMessageDeflate()
        if "permessage-deflate" in self._handshake.answered.get("sec-websocket-extensions", ""):
            deflate.accept(self._handshake.headers["sec-websocket-extensions"])
        return [deflate]


class _Nothing:
    def feed(self, data):
        pass


_CHUNKED = -1
_NOTHING = _Nothing()


def _copy(source, drain, note, passing):
    """Pass bytes on, and read them on the way."""
    reader = _Reader(lambda head: note(head, passing))
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            reader.feed(data)
            drain.sendall(data)
    for end in (source, drain):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class _Reader:
    """Finds the messages in one direction of an HTTP/1.1 connection."""

    def __init__(self, note):
        self._note = note
        self._data = b""
        self._left = None  # bytes of the body still to come; None between messages
        self._exchange = None

    def feed(self, data):
        self._data += data
        while self._step():
            pass

    def _step(self):
        if hasattr(self._left, "feed"):
            data, self._data = self._data, b""
            if data:
                self._left.feed(data)
            return False
        if self._left is None:
            head, found, rest = self._data.partition(b"\r\n\r\n")
            if not found:
                return False
            self._left, self._exchange = self._note(_head(head))
            self._data = rest
            if hasattr(self._left, "feed"):
                return True
        if self._left == _CHUNKED:
            size, found, rest = self._data.partition(b"\r\n")
            length = int(size, 16) if found else 0
            if not found or len(rest) < length + 2:
                return False
            self._data = rest[length + 2 :]
            self._left = _CHUNKED if length else None
            return True
        taken, self._data = self._data[: self._left], self._data[self._left :]
        self._left -= len(taken)
        if self._exchange is not None:
            self._exchange.body += taken
        if self._left:
            return False
        self._left = None
        return bool(self._data)


def _head(data):
    first, *lines = data.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return first.split(" ", 2), headers
