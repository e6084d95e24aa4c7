"""A listening port as a service, and the error that ends the process before it serves."""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.failure import Failure

from chatbridge.service.settings import Settings
from chatbridge.web.guard import is_loopback


class StartError(Exception, SystemExit):
    """The daemon cannot start; the text is for whoever started it.

    twistd takes its pidfile away after an ``Exception``; Python prints the text of a ``SystemExit`` instead of a
    traceback and exits with status 1. Both are wanted.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text


class Listener(Service):
    """Listens on *endpoint* for *factory* from ``privilegedStartService`` until ``stopService``.

    Other than with Twisted's own service the address is known afterwards, and a port that cannot be had is a
    :exc:`StartError`. *listening* is called with the address as soon as the port is open.
    """

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        factory: IProtocolFactory,
        listening: Callable[[IAddress], None] = lambda _address: None,
    ) -> None:
        self._endpoint = endpoint
        self._factory = factory
        self._listening = listening
        self._port: IListeningPort | None = None

    @property
    def address(self) -> IAddress:
        """Where it listens; only while it does."""
        assert self._port is not None
        address: IAddress = self._port.getHost()
        return address

    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        self._port = _listen(self._endpoint, self._factory)
        self._listening(self.address)

    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        if self._port is None:
            return None
        port, self._port = self._port, None
        closed: Deferred[None] | None = port.stopListening()
        return closed


def _listen(endpoint: IStreamServerEndpoint, factory: IProtocolFactory) -> IListeningPort:
    """Return the open port. An endpoint that needs time is refused: the server-info file names an open port."""
    outcome: list[IListeningPort | Failure] = []
    endpoint.listen(factory).addBoth(outcome.append)
    if not outcome:
        raise StartError("chatbridge: this kind of endpoint does not listen at once, which is not supported")
    if isinstance(outcome[0], Failure):
        raise StartError(f"chatbridge: {_reason(outcome[0])}")
    return outcome[0]


def _reason(failure: Failure) -> str:
    error = failure.value
    if isinstance(error, CannotListenError):
        place = f"{error.interface or '*'}:{error.port}" if error.port is not None else f"{error.interface}"
        cause = getattr(error.socketError, "strerror", None) or error.socketError
        return f"cannot listen on {place}: {cause}"
    return f"cannot listen: {error or type(error).__name__}"


def refuse_open(settings: Settings, host: str | None) -> None:
    """Raise :exc:`StartError` when whoever reaches *host* (None: a UNIX socket) could use the upstream's key."""
    if host is None or is_loopback(host) or settings.client_tokens or settings.allow_anyone:
        return
    raise StartError(
        f"chatbridge: {host} is not a loopback address, and whoever reaches it would use your upstream. "
        "Give clients a token (--client-token-env or --client-token-file), or force it with --allow-anyone"
    )
