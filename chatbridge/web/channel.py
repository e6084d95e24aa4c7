"""The HTTP channel and request: head timeout, early refusals, bodies in memory.

Both lean on what :mod:`twisted.web.http` lets subclasses override. Of its private names only ``_buffer`` (what a line
receiver has not parsed yet) and ``_command``/``_path``/``_version`` (of a request that is not complete) are used:
where a Twisted has none of the latter, :mod:`chatbridge.web.head` is not, and the log does not tell of refused ones.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from functools import lru_cache
from io import SEEK_END, BytesIO
from time import time
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, datetimeToString
from twisted.web.http_headers import Headers
from twisted.web.server import Request

from chatbridge.protocol.errors import ApiError, internal
from chatbridge.protocol.jsontext import dumps
from chatbridge.upstream.headers import PlainHeaders
from chatbridge.web.access import Entry, unauthorized
from chatbridge.web.body import too_large
from chatbridge.web.head import Head, read_head
from chatbridge.web.ids import new_id
from chatbridge.web.record import Record
from chatbridge.web.resource import phrase, write_error

LINGER = 5.0
"""Seconds for which the rest of a refused body is read and thrown away, so that the client can read the refusal."""
HEAD_LIMIT = 65536
"""Bytes of a request's head. Codex describes its workspaces in a header; Twisted's own limit is 16 KiB."""

# Twisted 22.4 lets bare CR, LF and NUL in values and spaces in names pass; newer versions refuse them as here.
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*)")
# Longer numbers are above any limit, and very long ones are more than int() takes.
_LENGTH = re.compile(rb"[0-9]{1,18}[ \t]*")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_UNPRINTABLE = re.compile(rb"[^\x21-\x7e]")
_HEAD = b"%b %b %b\r\nServer: chatbridge\r\nDate: %b\r\nX-Request-Id: %b\r\n%b\r\n"
_date = lru_cache(maxsize=1)(datetimeToString)

_TAKES_HEADS = {"_command", "_path", "_version"} <= set(HTTPChannel.allContentReceived.__code__.co_names)
"""Whether Twisted's channel asks itself for a request line that :mod:`chatbridge.web.head` has read."""


def printable(raw: bytes, limit: int) -> str:
    """Return what a client sent as one word for the log: escaped, at most *limit* bytes of it."""
    if len(raw) <= limit and _UNPRINTABLE.search(raw) is None:
        return raw.decode("ascii")
    text = _UNPRINTABLE.sub(lambda match: b"\\x%02x" % match[0][0], raw[:limit]).decode("ascii")
    return text if len(raw) <= limit else f"{text}..."


def _lines(headers: Headers) -> bytes:
    return _joined([(name, value) for name, values in headers.getAllRawHeaders() for value in values])


def _joined(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % field for field in fields])


class BridgeRequest(Request):
    """A request whose body stays in memory, within the limit, and is never taken for a form."""

    # With more than 30 names in their dictionaries, ever, a class's objects do not share the names any more: 1.3 kB
    # more for each. Twisted's own come near to that, so ours are kept apart, and some of those that it always sets.
    __slots__ = (
        "_complete", "_id", "_limit", "client_name", "cookies", "entry", "notifications", "prefix", "received",
        "received_cookies", "record", "refused", "requestHeaders", "responseHeaders", "route", "started",
    )  # fmt: skip

    defaultContentType = None
    channel: Any
    content: BytesIO
    _log = Logger()

    def __init__(self, channel: BridgeChannel, *args: Any, **kwargs: Any) -> None:
        super().__init__(channel, *args, **kwargs)
        self.started: float = channel.site.reactor.seconds()
        self.refused = False
        self.record: Record | None = None
        self.client_name = ""
        self.route = ""
        """The path by which the resource was found, see :class:`Record`."""
        self.received = 0
        """The body's size."""
        self._id = ""
        self.entry: Entry | None = None
        """What counts this request against its client's limits, where there are any."""
        self.prefix = ""
        """What stood before the path, when it is an upstream's or a route's word."""
        self._complete = False
        self._limit: int = channel.site.settings.max_request_bytes

    @property
    def request_id(self) -> str:
        """The client's own ``X-Request-Id`` where it has a plain one, else one of ours."""
        if not self._id:
            given = self.requestHeaders.getRawHeaders(b"x-request-id") or ()
            if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
                self._id = given[0].decode("ascii")
            else:
                self._id = new_id("req")
        return self._id

    @property
    def label(self) -> str:
        """Method and path for the log, without the query."""
        path = self.uri.partition(b"?")[0]
        return f"{printable(self.method, 20)} {printable(path, 200)}"

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()  # never a file on disk: conversations are private
        if length != 0 and not self.channel.site.access.knows(self.requestHeaders):
            self._refuse_body(unauthorized())  # before it fills memory
        elif length is not None and length > self._limit:
            self._refuse_body(too_large(self._limit))

    def handleContentChunk(self, data: bytes) -> None:
        if self.refused:
            return
        if self.content.tell() + len(data) > self._limit:
            self._refuse_body(too_large(self._limit))
        else:
            self.content.write(data)

    def _refuse_body(self, error: ApiError) -> None:
        self.refused = True
        self.content = BytesIO()
        self.requestHeaders.removeHeader(b"expect")  # or Twisted would send a 100 after the refusal
        self.channel.refuse(error, linger=True)

    def begin(self, more: bytes, *, chunked: bool) -> bytes:
        """Begin an answer; return its head with *more* lines, for whoever sends it. *chunked* is for any length."""
        self.startedWriting = 1
        if chunked and self.clientproto == b"HTTP/1.1":
            self.chunked = 1
            more += b"Transfer-Encoding: chunked\r\n"
        return self.head(b"%d" % self.code, self.code_message, _lines(self.responseHeaders) + more)

    def head(self, code: bytes, reason: bytes, lines: bytes) -> bytes:
        """Return an answer's head: what all have, then *lines*."""
        return _HEAD % (self.clientproto, code, reason, _date(int(time())), self.request_id.encode(), lines)

    def process(self) -> None:
        """Answer. Unlike Twisted's, this sets no headers, which :meth:`head` has, and there is one resource."""
        self.site = self.channel.site
        try:
            self.render(self.site.resource)
        except BaseException:  # noqa: BLE001 - as Twisted's own
            self.processingFailed(Failure())

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Start the answer. Unlike Twisted's, this parses neither the query nor the body."""
        if self.refused:
            self.channel.loseConnection()
            return
        self._complete = True
        self.received = self.content.seek(0, SEEK_END)
        self.content.seek(0)
        self.args = {}
        self.method, self.uri, self.clientproto = command, path, version
        # A target that is no path (``*``, a whole URL) must not be mistaken for one, nor get Twisted's own answer.
        plain = path.partition(b"?")[0]
        self.path = plain if plain.startswith(b"/") else b"/?" + plain
        if version not in (b"HTTP/1.1", b"HTTP/1.0"):
            self.clientproto = b"HTTP/1.1"  # Twisted 22.4 takes any word, and would send it back
            if not self.channel.site.access.knows(self.requestHeaders):
                write_error(self, unauthorized())
                return
            write_error(self, ApiError(400, "The HTTP version is not supported.", code="bad_request"))
            return
        self.process()

    def upgraded(self, head: bytes, protocol: Any) -> None:
        """Make this the connection's last request: *head* answers it, *protocol* has the connection from then on."""
        self.code, self.startedWriting, self.finished = 101, 1, 1
        self.channel.upgrade(self, protocol)
        self.channel.transport.write(head)
        self.channel.site.log(self)
        waiting, self.notifications = self.notifications, []
        for deferred in waiting:
            deferred.callback(None)

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer 500 for a mistake of our own. This is the one place that logs a traceback."""
        self._log.failure("Failed on {label}", failure=reason, label=self.label)
        if self.finished:
            return reason
        if self.startedWriting:
            self.loseConnection()
        else:
            write_error(self, internal())
        return reason

    def connectionLost(self, reason: Failure) -> None:
        site = self.channel.site
        super().connectionLost(reason)
        if self._complete:
            site.log(self)


class BridgeChannel(HTTPChannel):
    """HTTP/1.1 with a limit on the total time of a request's head. Its ``site`` is a :class:`BridgeSite`."""

    __slots__ = ("_closing", "_command", "_deadline", "_host", "_path", "_version", "upgraded")  # as BridgeRequest's

    MAX_LENGTH = HEAD_LIMIT
    totalHeadersSize = HEAD_LIMIT
    transport: Any
    site: Any

    def __init__(self) -> None:
        super().__init__()
        self._host: Any = None
        self.upgraded: Any = None
        """What has the connection when it is not HTTP now: ``dataReceived``, ``connectionLost``, ``end``, ``flush``."""
        self._deadline: IDelayedCall | None = None  # of the head; while a refused body is thrown away, of that
        self._closing = False

    def connectionMade(self) -> None:
        super().connectionMade()
        set_no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            with contextlib.suppress(OSError):  # a unix socket
                set_no_delay(True)
        self._start_head()

    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            return
        if self.upgraded is not None:
            self.upgraded.dataReceived(data)
            return
        # Nothing of a request is here yet, none is being answered, and the last one did not close the connection.
        if _TAKES_HEADS and self.line_mode and self.persistent and not self.requests and not self._buffer:
            head = read_head(data, HEAD_LIMIT, self.maxHeaders)
            if head is not None and len(data) <= head.size + head.length:
                self._begin(head, data[head.size :])
                return
        super().dataReceived(data)
        if self._deadline is None and not self._closing and self._head_begun():
            self._start_head()

    def _begin(self, head: Head, body: bytes) -> None:
        """Do what Twisted's channel does with a head's lines; *body* is what is here of the body."""
        request: Any = self.requestFactory(self)
        self.requests.append(request)
        request.requestHeaders = PlainHeaders(head.fields)
        self._command, self._path, self._version = head.method, head.target, b"HTTP/1.1"
        if len(body) == head.length:
            self._stop_deadline()
            if b"connection" in head.fields:
                self.persistent = self.checkPersistence(request, self._version)
            request.gotLength(head.length)
            if not request.refused:
                request.content = BytesIO(body)
            self.allContentReceived()
            return
        (length,) = head.fields.pop(b"content-length")
        self.headerReceived(b"Content-Length: " + length)  # which chooses what reads the body
        self.allHeadersReceived()
        self.setRawMode()
        self.resetTimeout()
        super().dataReceived(body)

    def rawDataReceived(self, data: bytes) -> None:
        if self.upgraded is not None:  # it came with the request's head
            self.upgraded.dataReceived(data)
        else:
            super().rawDataReceived(data)

    def getHost(self) -> Any:
        """Return this end's address, which each request asks for: from the kernel, once."""
        if self._host is None:
            self._host = super().getHost()
        return self._host

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Any) -> None:  # noqa: ARG002
        """Write the head of the answer to the first request."""
        lines = _lines(headers) if isinstance(headers, Headers) else _joined(headers)  # pairs: Twisted 22.4
        self.transport.write(self.requests[0].head(code, reason, lines))

    def upgrade(self, request: Request, protocol: Any) -> None:
        """Give the connection to *protocol*. *request*, the one being answered, is the last."""
        self.upgraded = protocol
        self.requests.remove(request)
        self.setTimeout(None)

    def _head_begun(self) -> bool:
        """Whether part of a head is here. An empty line between two requests is none."""
        return bool(self.line_mode and (self.requests or self._buffer.strip()))

    def _start_head(self) -> None:
        self._deadline = self.callLater(self.site.settings.header_timeout, self._head_expired)

    def _stop_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()

    def _head_expired(self) -> None:
        if self._head_begun():
            message = "The request's head did not arrive in time (--header-timeout)."
            self._write_refusal(ApiError(408, message, code="request_timeout"))
        self.timeoutConnection()

    def headerReceived(self, line: bytes) -> bool:
        match = _HEADER.fullmatch(line)
        if match is None or (match[1].lower() == b"content-length" and not _LENGTH.fullmatch(match[2])):
            self.refuse(ApiError(400, "The request has a malformed header.", code="bad_request"))
            return False
        return bool(super().headerReceived(line))

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002 - Twisted's interface
        message = f"The request's head is larger than {HEAD_LIMIT} bytes."
        self.refuse(ApiError(431, message, code="head_too_large"))

    def allHeadersReceived(self) -> None:
        self._stop_deadline()
        super().allHeadersReceived()

    def refuse(self, error: ApiError, *, linger: bool = False) -> None:
        """Answer *error* before the request is complete, and close the connection.

        With *linger* the body goes on to be read for :data:`LINGER` seconds or until it ends: closing a socket
        with unread bytes makes a reset, which can overtake the answer.
        """
        self._write_refusal(error)
        if linger:
            self._deadline = self.callLater(LINGER, self.timeoutConnection)
        else:
            self.loseConnection()

    def _write_refusal(self, error: ApiError) -> None:
        body = dumps(error.body())
        head = (
            b"HTTP/1.1 %d %s\r\nServer: chatbridge\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\nConnection: close\r\nX-Request-Id: %s\r\n\r\n"
        )
        request_id = self.requests[-1].request_id if self.requests else new_id("req")
        self.transport.write(head % (error.status, phrase(error.status), len(body), request_id.encode("ascii")) + body)
        if self.requests:
            request = self.requests[-1]
            request.method, request.uri = getattr(self, "_command", b"-"), getattr(self, "_path", b"-")
            request.code, request.sentLength = error.status, len(body)
            self.site.log(request)

    def timeoutConnection(self) -> None:
        self.setTimeout(None)  # once only: a second time would forget the first one's abort timer
        super().timeoutConnection()

    def loseConnection(self) -> None:
        self._stop_deadline()
        if self._closing:
            return
        self._closing = True
        if self.upgraded is not None:
            self.upgraded.flush()
        super().loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_deadline()
        self._closing = True
        super().connectionLost(reason)
        if self.upgraded is not None:
            self.upgraded.connectionLost(reason)
