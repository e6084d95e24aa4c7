"""The reactor's turns with less around each read serve what its own do, in the same order and with the same end."""

import contextlib
import select
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_http import logged
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from zope.interface import implementer

from chatbridge.service import turns
from chatbridge.service.turns import Turns, is_known, turn

epollreactor = pytest.importorskip("twisted.internet.epollreactor")


@implementer(IHalfCloseableDescriptor)
class Reader:
    """One end of a pair of sockets, which does as told when it is read or written, and notes what is done with it."""

    def __init__(self, name, outcome, told):
        self.name, self.outcome, self.told = name, outcome, told
        self.own, self.other = socket.socketpair()
        self.closed = False
        self.others = []

    def fileno(self):
        return -1 if self.closed else self.own.fileno()

    def logPrefix(self):
        return f"reader {self.name}"

    def doRead(self):
        self.told.append((self.name, "read", self.own.recv(10)))
        return self._do()

    def doWrite(self):
        self.told.append((self.name, "write"))
        return self._do()

    def _do(self):
        match self.outcome:
            case "raise":
                raise ZeroDivisionError("a mistake")
            case "raise done":
                raise ConnectionDone

            case "done":
                return CONNECTION_DONE
            case "lost":
                return CONNECTION_LOST
            case "take away":
                for other in self.others:
                    self.reactor.removeReader(other)
                    self.reactor.removeWriter(other)
        return None

    def readConnectionLost(self, reason):
        self.told.append((self.name, "read lost", reason.type))

    def writeConnectionLost(self, reason):
        self.told.append((self.name, "write lost", reason.type))

    def connectionLost(self, reason):
        self.told.append((self.name, "lost", reason.type))


READER = st.tuples(
    st.sampled_from(["nothing", "raise", "raise done", "done", "lost", "take away", "closed"]),
    st.sampled_from(["read", "write", "both"]),
    st.sampled_from(["quiet", "speaks", "speaks and leaves", "leaves", "leaves by half"]),
)


@contextlib.contextmanager
def made(kind=epollreactor.EPollReactor):
    """Make a reactor that does not run."""
    reactor = kind()
    poller = reactor._poller
    try:
        yield reactor
    finally:
        poller.close()
        reactor.waker.connectionLost(None)


def course(readers, take):
    """Return what happens in three turns, taken by what *take* makes of the reactor, and what is logged."""
    told = []
    with contextlib.ExitStack() as stack, logged() as events, made() as reactor:
        others = []
        for name, (outcome, wanted, other) in enumerate(readers):
            reader = Reader(name, outcome, told)
            reader.reactor, reader.others = reactor, others
            others.append(reader)
            stack.callback(reader.own.close)
            stack.callback(reader.other.close)
            if wanted != "write":
                reactor.addReader(reader)
            if wanted != "read":
                reactor.addWriter(reader)
            if "speaks" in other:
                reader.other.send(b"x")
            if "half" in other:
                reader.other.shutdown(socket.SHUT_WR)
            elif "leaves" in other:
                reader.other.close()
            reader.closed = outcome == "closed"
        for _ in range(3):
            take(reactor)(0)
    return told, [(event["system"], event["failure"].type) for event in events if event.get("isError")]


@given(st.lists(READER, max_size=4))
def test_what_happens(readers):
    assert course(readers, turn) == course(readers, lambda reactor: reactor.doPoll)


def test_what_goes_wrong_is_told_with_its_name():
    told, errors = course([("raise", "read", "speaks")], turn)
    assert told == [(0, "read", b"x"), (0, "lost", ZeroDivisionError)]
    assert errors == [("reader 0", ZeroDivisionError)]
    assert course([("lost", "read", "speaks")], turn)[0][-1] == (0, "lost", ConnectionLost)
    assert course([("done", "read", "speaks")], turn)[0][-1] == (0, "read lost", ConnectionDone)


def test_an_interrupted_turn_is_none():
    class Poller:
        def poll(self, _timeout, _size):
            raise InterruptedError

    with made() as reactor:
        reactor._poller = Poller()
        turn(reactor)(None)


def test_while_it_runs_and_no_longer():
    with made() as reactor:
        service = Turns(reactor)
        service.startService()
        assert reactor.doIteration.__module__ == turns.__name__
        service.stopService()
        assert reactor.doIteration == reactor.doPoll


@pytest.mark.parametrize("missing", [None, *turns._NAMES])
def test_a_reactor_that_is_not_known_is_left_alone(missing, monkeypatch):
    class Other(epollreactor.EPollReactor):
        """Who derives from it has a reason."""

    with made(epollreactor.EPollReactor if missing else Other) as reactor:
        if missing:
            monkeypatch.setattr(turns, "_NAMES", ("_no_such_name",))
        assert not is_known(reactor)
        service = Turns(reactor)
        service.startService()
        assert reactor.doIteration == reactor.doPoll
        service.stopService()
    assert not is_known(object())


def test_reading_is_what_it_is_taken_for():
    assert turns._READ == select.EPOLLIN
