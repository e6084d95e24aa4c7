"""Listening, with room for many who wait; and on sockets that systemd or the master of several workers opened."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet import unix
from twisted.internet.defer import Deferred, execute
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer


class AdoptedUnixPort(unix.Port):
    """A listening UNIX socket that is somebody else's: its file stays as it is, and others go on to listen on it.

    Twisted's own way to adopt one makes the file world-writable, and when the port closes it removes the file and shuts
    the socket down for all who have it.
    """

    _shouldShutdown = False

    @classmethod
    def of(cls, reactor: Any, descriptor: int, factory: IProtocolFactory) -> AdoptedUnixPort:
        # A name outside of the file system, so that nothing is done to a file; getHost() asks the socket itself.
        port = cls(b"\x00adopted", factory, reactor=reactor)
        port._preexistingSocket = socket.fromfd(descriptor, socket.AF_UNIX, socket.SOCK_STREAM)
        return port


BACKLOG = 1024
"""How many clients may wait to be accepted. The kernel lets the next one try again a second later."""
_TWISTED_BACKLOG = 50


class Adopting:
    """A *reactor* for :func:`twisted.internet.endpoints.serverFromString` that leaves adopted UNIX sockets alone."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory) -> IListeningPort:
        if addressFamily != socket.AF_UNIX:
            adopted: IListeningPort = self._reactor.adoptStreamPort(fileDescriptor, addressFamily, factory)
            return adopted
        port = AdoptedUnixPort.of(self._reactor, fileDescriptor, factory)
        port.startListening()
        return port


class Roomy(Adopting):
    """The same, where the backlog is :data:`BACKLOG` if the endpoint's description names no other.

    Twisted's own is full when a hundred clients begin at once.
    """

    def listenTCP(self, port: int, factory: IProtocolFactory, backlog: int = 0, interface: str = "") -> IListeningPort:
        opened: IListeningPort = self._reactor.listenTCP(port, factory, backlog=_room(backlog), interface=interface)
        return opened

    def listenSSL(
        self, port: int, factory: IProtocolFactory, contextFactory: Any, backlog: int = 0, interface: str = ""
    ) -> IListeningPort:
        opened: IListeningPort = self._reactor.listenSSL(
            port, factory, contextFactory, backlog=_room(backlog), interface=interface
        )
        return opened

    def listenUNIX(self, address: str, factory: IProtocolFactory, backlog: int = 0, **more: Any) -> IListeningPort:
        opened: IListeningPort = self._reactor.listenUNIX(address, factory, backlog=_room(backlog), **more)
        return opened


def _room(backlog: int) -> int:
    return BACKLOG if backlog in (0, _TWISTED_BACKLOG) else backlog


class Inherited(Adopting):
    """The same, where the socket that the endpoint describes is open already, as *descriptor*.

    What else the endpoint says, as the certificate of an ``ssl:`` one, still counts.
    """

    def __init__(self, reactor: Any, descriptor: int) -> None:
        super().__init__(reactor)
        self._descriptor = descriptor

    def listenTCP(self, _port: int, factory: IProtocolFactory, **_more: Any) -> IListeningPort:
        return self._adopt(factory)

    def listenUNIX(self, _address: str, factory: IProtocolFactory, **_more: Any) -> IListeningPort:
        return self._adopt(factory)

    def listenSSL(self, _port: int, factory: IProtocolFactory, contextFactory: Any, **_more: Any) -> IListeningPort:
        return self._adopt(TLSMemoryBIOFactory(contextFactory, False, factory))

    def adoptStreamPort(self, _descriptor: int, _family: int, factory: IProtocolFactory) -> IListeningPort:
        return self._adopt(factory)

    def _adopt(self, factory: IProtocolFactory) -> IListeningPort:
        with socket.socket(fileno=os.dup(self._descriptor)) as opened:
            family = opened.family
        port = super().adoptStreamPort(self._descriptor, family, factory)
        os.close(self._descriptor)  # the port has a copy; with this one open it would never close
        _share(port)
        return port


def _share(port: Any) -> None:
    """Have *port* accept one connection in a turn of the reactor: the next is for whoever is free then.

    Else the worker that wakes up first takes all that wait, and serves them alone while the others have none.
    """
    accept = port.doRead

    def accept_one() -> Any:
        port.numberAccepts = 1
        return accept()

    port.doRead = accept_one


@implementer(IStreamServerEndpoint)
class InheritedEndpoint:
    """Listens on the socket *descriptor*, which the master opened as *description* says."""

    def __init__(self, description: str, reactor: Any, descriptor: int) -> None:
        self._description = description
        self._reactor = Inherited(reactor, descriptor)

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        if self._description.startswith("systemd:"):
            # The master has systemd's sockets and variables; here there is only the one.
            return execute(self._reactor.adoptStreamPort, -1, -1, protocolFactory)
        listening: Deferred[IListeningPort] = serverFromString(self._reactor, self._description).listen(protocolFactory)
        return listening
