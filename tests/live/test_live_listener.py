"""The listening socket, with the real reactor."""

import os
import socket
from contextlib import ExitStack

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol

from chatbridge.service.inherited import Inherited, Roomy
from chatbridge.service.master import HeldPort

CLIENTS = 200


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_many_clients_that_begin_at_once_all_get_through(kind, tmp_path):
    words = "tcp:0:interface=127.0.0.1" if kind == "tcp" else f"unix:{tmp_path}/socket"
    port = await serverFromString(Roomy(reactor), words).listen(Factory.forProtocol(Protocol))
    try:
        with ExitStack() as stack:
            # Nothing is accepted meanwhile: the reactor waits for this function.
            for _ in range(CLIENTS):
                client = stack.enter_context(
                    socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_UNIX, socket.SOCK_STREAM)
                )
                client.settimeout(0.9)  # a connection that found no room tries again after a second
                client.connect(("127.0.0.1", port.getHost().port) if kind == "tcp" else f"{tmp_path}/socket")
    finally:
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_backlog_that_the_description_names_counts(monkeypatch):
    asked = []
    listen = reactor.listenTCP
    monkeypatch.setattr(reactor, "listenTCP", lambda *words, **more: asked.append(more) or listen(*words, **more))
    port = await serverFromString(Roomy(reactor), "tcp:0:interface=127.0.0.1:backlog=7").listen(Factory())
    await port.stopListening()
    assert asked == [{"backlog": 7, "interface": "127.0.0.1"}]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_worker_accepts_one_client_at_a_time(kind, tmp_path):
    address = ("127.0.0.1", 0) if kind == "tcp" else f"{tmp_path}/socket"
    family = socket.AF_INET if kind == "tcp" else socket.AF_UNIX
    served = []

    class Counted(Factory):
        def buildProtocol(self, _addr):
            served.append(Protocol())
            return served[-1]

    with socket.create_server(address, family=family) as listening, ExitStack() as stack:
        listening.setblocking(False)
        for _ in range(4):
            client = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            client.connect(listening.getsockname())
        port = Inherited(reactor, os.dup(listening.fileno())).adoptStreamPort(0, 0, Counted())
        try:
            for number in range(1, 5):
                port.doRead()
                assert len(served) == number
        finally:
            await port.stopListening()
            for protocol in served:
                protocol.transport.abortConnection()


@pytest_twisted.ensureDeferred
async def test_the_master_closes_its_port_and_not_the_workers():
    held = HeldPort(serverFromString(Roomy(reactor), "tcp:0:interface=127.0.0.1"), Factory())
    held.privilegedStartService()
    with (
        socket.fromfd(held.descriptor(), socket.AF_INET, socket.SOCK_STREAM) as worker,
        socket.create_connection(("127.0.0.1", held.address.port)),
    ):
        await held.stopService()
        worker.settimeout(5)
        worker.accept()[0].close()
