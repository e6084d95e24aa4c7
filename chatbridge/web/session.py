"""A client's WebSocket on /v1/responses: from its messages to running answers, one after another."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatbridge.protocol import codex
from chatbridge.protocol.errors import ApiError, internal
from chatbridge.protocol.jsontext import dumps
from chatbridge.protocol.responses import ResponsesRequest
from chatbridge.service.routes import Route
from chatbridge.store.archive import Archive
from chatbridge.store.record import Stored
from chatbridge.translate.continuation import Ask, Continuation, Recall, Room, Send, error_event, limit_reached
from chatbridge.translate.turn import Turn
from chatbridge.web.access import Access, Client
from chatbridge.web.answer import Answer
from chatbridge.web.body import parse
from chatbridge.web.bridge import Bridge
from chatbridge.web.bridges import Bridges, without_dropped
from chatbridge.web.ids import new_id
from chatbridge.web.intake import Intake, client_headers
from chatbridge.web.record import Record
from chatbridge.web.responses import addition
from chatbridge.web.sink import MessageStream
from chatbridge.web.sockets import NORMAL, WebSockets

if TYPE_CHECKING:
    from chatbridge.web.websocket import WebSocket

_log = Logger()


class Sessions:
    """Opens a session for each WebSocket; *sockets* knows them all."""

    def __init__(self, bridges: Bridges, archive: Archive | None, sockets: WebSockets) -> None:
        self._bridges = bridges
        self._archive = archive
        self._sockets = sockets

    def open(self, request: Any) -> int:
        """Make *request*'s connection a WebSocket. Raises :class:`ApiError`."""
        client = request.channel.site.access.client(request.requestHeaders)
        for_codex = codex.is_codex(client_headers(request))
        return self._sockets.open(
            request, client, lambda socket: self._session(socket, request, client), for_codex=for_codex
        )

    def _session(self, socket: WebSocket, request: Any, client: Client) -> Session:
        return Session(socket, request, client, bridges=self._bridges, archive=self._archive, room=self._sockets.room)


class Session:
    """Reads *socket*, which *request* opened. *archive* holds what may be gone on from besides the latest response."""

    def __init__(
        self,
        socket: WebSocket,
        request: Any,
        client: Client,
        *,
        bridges: Bridges,
        archive: Archive | None,
        room: Room,
    ) -> None:
        self._socket = socket
        self._request = request
        self._client = client
        self._bridges = bridges
        self._archive = archive
        self._intake = Intake(bridges, archive)
        self._access: Access = request.channel.site.access
        self._headers = client_headers(request)
        self._for_codex = codex.is_codex(self._headers)
        self._expired = self._lost = self._pumping = False
        self._exchange: Exchange | None = None
        self._continuation = Continuation(
            parse,
            room,
            new_id=new_id,
            now=time.time,
            recalls=archive is not None,
            for_codex=self._for_codex,
        )

    @property
    def is_lost(self) -> bool:
        """The client is gone."""
        return self._lost

    @property
    def idle(self) -> bool:
        return not self._continuation.busy

    @property
    def full(self) -> bool:
        return self._continuation.full

    def received(self, message: bytes) -> None:
        self._continuation.add(message)
        self._pump()

    def drained(self) -> None:
        self._pump()

    def expired(self) -> None:
        self._expired = True
        self._close_if_idle()

    def lost(self) -> None:
        self._lost = True
        self._continuation.forget()
        if self._exchange is not None:
            self._exchange.lost()

    # --- what to do

    def _pump(self) -> None:
        """Do what there is to do, until an answer runs or nothing waits. What is done may call this again."""
        if self._pumping:
            return
        self._pumping = True
        while not (self._lost or self._socket.ending or self._expired or self._socket.blocked):
            action = self._continuation.next()
            if action is None:
                break
            self._do(action)
        self._pumping = False
        self._socket.go_on()

    def _do(self, action: Send | Recall | Ask) -> None:
        match action:
            case Send(events):
                self._socket.send([dumps(event) for event in events])
            case Recall(id):
                ensureDeferred(self._recall(id)).addErrback(self._failed)
            case Ask():
                self._ask(action)

    async def _recall(self, id: str) -> None:  # noqa: A002 - the API's own word
        assert self._archive is not None
        try:
            items = await self._archive.history(id, self._client.name)
        except ApiError as error:
            self._refuse(error)
        else:
            if not self._lost:
                self._do(self._continuation.recalled(items))
                self._free()

    def _failed(self, failure: Failure) -> None:
        _log.failure("a WebSocket's message failed inside chatbridge", failure)
        self._refuse(internal())

    def _refuse(self, error: ApiError) -> None:
        if not self._lost:
            self._do(self._continuation.refused(error))
            self._free()

    def _ask(self, ask: Ask) -> None:
        exchange = self._exchange = Exchange(self, self._socket, self._request, self._continuation, ask)
        try:
            self._access.enter(self._client)
        except ApiError as error:
            exchange.refused(error)
            return
        exchange.leave = lambda: self._access.leave(self._client)
        ensureDeferred(self._begin(ask, exchange))

    async def _begin(self, ask: Ask, exchange: Exchange) -> None:
        """Begin the answer: at once, unless the store has to be asked what it goes on from."""
        try:
            bridge, route = self._bridges.find(self._request, ask.value.get("model"))
            value = {**without_dropped(ask.value, route), "stream": True}
            before = len(ask.value["input"]) - len(ask.own)
            asked = await self._intake.checked(value, self._client.name, before=before, after=ask.previous)
            if self._lost:
                return
            if self._intake.goes_on(value):
                self._continuation.resolved(asked.own)
            answer = self._answer(ask, exchange, asked, bridge, route)
        except ApiError as error:
            exchange.refused(error)
        except Exception:  # noqa: BLE001 - our own fault must still be told
            _log.failure("a WebSocket's message failed inside chatbridge")
            exchange.refused(internal())
        else:
            answer.start()

    def _answer(self, ask: Ask, exchange: Exchange, asked: ResponsesRequest, bridge: Bridge, route: Route) -> Answer:
        if self._archive is not None and asked.get("store") is not False:
            asked = replace(asked, stored=True)
        headers = codex.message_headers(self._headers, asked.get("client_metadata"))
        answer = bridge.answer(
            asked,
            headers,
            lambda turn: MessageStream(exchange, turn, for_codex=self._for_codex),
            exchange.gone,
            route=route,
        )
        record = exchange.record = answer.record
        record.id = new_id("req")
        if self._for_codex:
            answer.on_turn_state = exchange.turn_state
        if asked.stored:
            answer.keep = lambda turn, _events: self._keep(ask, exchange, asked, turn)
        return answer

    def _keep(self, ask: Ask, exchange: Exchange, asked: ResponsesRequest, turn: Turn) -> Deferred[bool] | None:
        """Store the answer, if the client was told its id. What goes on from one that is not stored is stored whole."""
        if self._archive is None or not exchange.opened:
            return None
        response = turn.response
        stored = Stored(
            id=response["id"],
            owner=self._client.name,
            previous=ask.previous if ask.stored else "",
            created=response["created_at"],
            input=asked.input if ask.previous and not ask.stored else asked.own,
            response=response,
        )
        return self._archive.keep(stored, addition(asked, response))

    # --- what was done

    def finished(self) -> None:
        """An answer is over."""
        self._exchange = None
        self._free()

    def _free(self) -> None:
        self._close_if_idle()
        self._pump()

    def _close_if_idle(self) -> None:
        if not self.idle or self._lost:
            return
        if self._socket.ending:
            self._socket.end()
        elif self._expired:
            if not self._for_codex:  # which would take it for the next answer's
                self._do(Send([error_event(limit_reached(), for_codex=False)]))
            self._socket.close(NORMAL)


class Exchange:
    """One message that asks for an answer, and what is sent for it."""

    def __init__(self, session: Session, socket: WebSocket, request: Any, continuation: Continuation, ask: Ask) -> None:
        self._session = session
        self._socket = socket
        self._request = request
        self._continuation = continuation
        self._started: float = request.channel.site.reactor.seconds()
        self._size = 0
        self._status = 0
        self.gone: Deferred[None] = Deferred()
        self.opened = False
        self.leave: Callable[[], None] = _nothing
        self.record = Record(model=str(ask.value.get("model") or ""))

    def open(self, producer: Any) -> None:
        """The answer begins; *producer* is the answer."""
        self.opened = True
        self._status = 200
        self._socket.registerProducer(producer)

    def send(self, texts: list[bytes]) -> None:
        """Send events."""
        self._size += self._socket.send(texts)

    def turn_state(self, state: bytes) -> None:
        """Tell Codex what over HTTP is a header of the answer; it comes back with its next messages."""
        told = {codex.TURN_STATE: state.decode("latin-1")}
        self.send([dumps({"type": "response.metadata", "headers": told})])

    def closed(self, turn: Turn) -> None:
        """The answer is over: its last event is sent, or it failed before its first."""
        self._socket.unregisterProducer()
        if self.opened:
            self._continuation.ended(turn.response, stored=turn.response["store"])
            self._over()
        else:
            self.refused(turn.error or internal())

    def refused(self, error: ApiError) -> None:
        """There is no answer, but *error*."""
        if self._session.is_lost:
            return
        self._status = error.status
        self.record.end = self.record.end or error.code or error.kind.value
        self.send([dumps(event) for event in self._continuation.refused(error).events])
        self._over()

    def lost(self) -> None:
        """The client is gone."""
        gone, self.gone = self.gone, Deferred()
        gone.addErrback(_nothing)
        gone.errback(Failure(ConnectionDone()))
        self._report()

    def _over(self) -> None:
        self._report()
        gone, self.gone = self.gone, Deferred()
        gone.callback(None)
        self._session.finished()

    def _report(self) -> None:
        leave, self.leave = self.leave, _nothing
        leave()
        record = self.record
        record.transport = "websocket"
        site = self._request.channel.site
        site.report(self._request, record, status=self._status, size=self._size, since=self._started)


def _nothing(*_: object) -> None:
    pass
