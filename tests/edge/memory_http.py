"""The HTTP side in memory: a site, a connection, and the answers read back."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET

from chatbridge.service.settings import Settings
from chatbridge.web.resource import JsonResource, write_json
from chatbridge.web.root import build_site


@dataclass
class Answer:
    status: int
    reason: str
    headers: dict[str, list[str]]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    def header(self, name):
        (value,) = self.headers[name]
        return value


def read_answers(data, *, head_only=False):
    """Read answers with Content-Length, chunked or no body; what is left over must be nothing."""
    answers = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        _, status, reason = first.split(" ", 2)
        headers = {}
        for line in lines:
            name, value = line.split(": ", 1)
            headers.setdefault(name.lower(), []).append(value)
        size = 0 if head_only or int(status) < 200 else int(headers.get("content-length", ["0"])[0])
        assert len(data) >= size
        body, data = data[:size], data[size:]
        answers.append(Answer(int(status), reason, headers, body))
    return answers


class Echo(JsonResource):
    """Stands for the real resource: tells what arrived."""

    def render_POST(self, request):
        write_json(request, 200, {"size": len(request.content.read()), "path": request.path.decode("latin-1")})
        return NOT_DONE_YET


class Waiting(JsonResource):
    """Answers when told to."""

    def __init__(self):
        super().__init__()
        self.requests = []

    def render_POST(self, request):
        self.requests.append(request)
        return NOT_DONE_YET


class Connection:
    def __init__(self, site):
        self.transport = StringTransport()
        self.channel = site.buildProtocol(None)
        self.channel.makeConnection(self.transport)

    def send(self, *pieces):
        for piece in pieces:
            if not self.closing:
                self.channel.dataReceived(piece)

    @property
    def closing(self):
        """Whether the server has closed: a real socket is not read from then on."""
        return self.transport.disconnecting or self.transport.disconnected

    @property
    def raw(self):
        return self.transport.value()

    def answers(self, **options):
        return read_answers(self.raw, **options)

    def answer(self, **options):
        (answer,) = self.answers(**options)
        return answer

    def lose(self):
        self.channel.connectionLost(Failure(ConnectionDone()))


class Server:
    """A built site with its fake clock."""

    def __init__(self, responses=None, *, web_search=None, **settings):
        self.reactor = MemoryReactorClock()
        self.stopped = []
        self.running = 0
        self.site = build_site(
            Settings(**settings),
            responses=responses or Echo(),
            running=lambda: self.running,
            stop=lambda: self.stopped.append(True),
            reactor=self.reactor,
            web_search=web_search,
        )

    def connect(self):
        return Connection(self.site)

    def ask(self, data, **options):
        connection = self.connect()
        connection.send(data)
        return connection.answer(**options)


def request(method="GET", path="/healthz", *headers, body=b"", host="127.0.0.1:8787"):
    lines = [f"{method} {path} HTTP/1.1", *([f"Host: {host}"] if host else []), *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def post(body, *headers, path="/v1/responses"):
    return request("POST", path, *headers, body=body)


@contextlib.contextmanager
def logged():
    """Collect log events; each with its text under ``text``."""
    events = []

    def observe(event):
        events.append({**event, "text": formatEvent(event)})

    globalLogPublisher.addObserver(observe)
    try:
        yield events
    finally:
        globalLogPublisher.removeObserver(observe)


def failures(events):
    return [event for event in events if "log_failure" in event]
