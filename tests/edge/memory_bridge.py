"""The whole bridge in memory: a site, a fake clock, and an upstream that the test answers for."""

import json

from memory_http import Connection, post
from support import parse_events
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers

from chatbridge.service.secret import Secret
from chatbridge.service.settings import Settings
from chatbridge.store.archive import Archive
from chatbridge.web.answers import Answers
from chatbridge.web.background import Runs
from chatbridge.web.bridge import Bridge as Core
from chatbridge.web.bridges import Bridges
from chatbridge.web.endpoints import endpoints
from chatbridge.web.intake import Intake
from chatbridge.web.models import Models
from chatbridge.web.responses import ResponsesResource
from chatbridge.web.root import build_site
from chatbridge.web.session import Sessions
from chatbridge.web.sockets import WebSockets
from chatbridge.web.stored import StoredResponse

KEY = "sk-verysecret-0123456789"
CODEX = "originator: codex_exec"
STREAM = {"model": "m", "input": "hello", "stream": True}


class FakeTransport:
    """The body's transport."""

    def __init__(self):
        self.log = []

    def pauseProducing(self):
        self.log.append("pause")

    def resumeProducing(self):
        self.log.append("resume")

    def stopProducing(self):
        self.log.append("stop")


class FakeResponse:
    def __init__(self, code=200, headers=None):
        self.code = code
        self.headers = Headers(headers or {})
        self.transport = FakeTransport()
        self.body = None

    def deliverBody(self, body):
        self.body = body
        body.makeConnection(self.transport)

    def send(self, data):
        self.body.dataReceived(data)

    def end(self, reason=None):
        self.body.connectionLost(Failure(reason or ResponseDone()))


class FakeClient:
    url = "http://upstream.test:9/v1/chat/completions"

    def __init__(self):
        self.bodies = []
        self.headers = []
        self.keys = []
        self.forwarded = []
        self.pending = []
        self.cancelled = 0

    def post(self, body, headers, *, key=None, forward=()):
        self.keys.append(key)
        self.forwarded.append(tuple(forward))
        self.bodies.append(json.loads(body))
        self.headers.append(headers)
        deferred = Deferred(self._cancel)
        self.pending.append(deferred)
        return deferred

    def get(self, url, *, key=None):
        self.list_key = key
        """No list of models."""
        return Deferred()

    def _cancel(self, deferred):
        self.cancelled += 1


class Bridge:
    def __init__(self, store=None, **settings):
        self.clock = MemoryReactorClock()
        self.client = FakeClient()
        self.answers = Answers()
        settings = Settings(**{"api_key": Secret(KEY), "retries": 0, **settings})
        core = self.core = Core(self.client, self.answers, settings, self.clock)
        routed = Bridges({settings.name: core}, settings.routes)
        self.store = store
        archive = Archive(store, self.clock) if store is not None else None
        runs = Runs(archive, self.clock) if archive is not None else None
        intake = Intake(routed, archive)
        self.sockets = WebSockets(self.clock)
        self.site = build_site(
            settings,
            responses=ResponsesResource(intake, archive, runs, Sessions(routed, archive, self.sockets).open),
            stored=StoredResponse(archive, runs, self.clock),
            models=Models(routed),
            also=endpoints(intake, archive, settings.max_request_bytes),
            running=lambda: len(self.answers),
            stop=lambda: None,
            reactor=self.clock,
        )

    def ask(self, body=STREAM, *headers):
        connection = Connection(self.site)
        connection.send(post(json.dumps(body).encode(), "Content-Type: application/json", *headers))
        return connection

    def head(self, response=None):
        response = response or FakeResponse()
        self.client.pending[-1].callback(response)
        return response


def post_to(site, path, body, *headers):
    """Send *body* as JSON to *path*; return the connection."""
    connection = Connection(site)
    connection.send(post(json.dumps(body).encode(), "Content-Type: application/json", *headers, path=path))
    return connection


def dechunk(connection):
    """Return head and events of a chunked answer, and whether it is whole."""
    head, _, rest = connection.raw.partition(b"\r\n\r\n")
    body, whole = b"", False
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            whole = True
            break
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return head.decode().lower(), body, whole


def events_of(connection):
    return parse_events(dechunk(connection)[1])


def last_event(connection):
    return events_of(connection)[-1]
