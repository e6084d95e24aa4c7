"""The monitor of the worker processes, with processes that the test plays."""

from __future__ import annotations

import struct

import pytest
from memory_http import logged
from twisted.internet.defer import ensureDeferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from chatbridge.protocol.jsontext import dumps, loads
from chatbridge.service.control import BEAT_SECONDS, REPORTS
from chatbridge.service.handover import Handover
from chatbridge.service.settings import Settings
from chatbridge.service.workers import SILENT_BEATS, START_SECONDS, Workers
from chatbridge.web.ledger import ANSWERS, Ledger


class Process:
    """A worker's transport: what it was told, and what was done to it."""

    def __init__(self, reactor, protocol, descriptors):
        self.reactor = reactor
        self.protocol = protocol
        self.descriptors = descriptors
        self.pid = 1000 + len(reactor.processes)
        self.written = b""
        self.signals = []
        protocol.makeConnection(self)

    def writeToChild(self, descriptor, data):
        assert descriptor == 0
        self.written += data

    def signalProcess(self, number):
        self.signals.append(number)

    def orders(self):
        """Return what it was told after its handover."""
        found, data = [], self.written
        while data:
            (size,) = struct.unpack("!I", data[:4])
            found.append(data[4 : 4 + size])
            data = data[4 + size :]
        return [loads(text) for text in found[1:]]

    def say(self, **message):
        text = dumps(message)
        self.protocol.childDataReceived(REPORTS, struct.pack("!I", len(text)) + text)

    def end(self, code=None, signal=None):
        reason = ProcessDone(0) if code == 0 else ProcessTerminated(code, signal)
        self.protocol.processEnded(Failure(reason))


class Reactor(MemoryReactorClock):
    def __init__(self):
        super().__init__()
        self.processes = []

    def spawnProcess(self, protocol, executable, args=(), env=None, path=None, uid=None, gid=None, childFDs=None):
        self.processes.append(Process(self, protocol, childFDs))
        return self.processes[-1]


class Daemon:
    def __init__(self, workers=2, processes=10):
        self.reactor = Reactor()
        self.ledger = Ledger(processes=processes)
        self.stopped = []
        self.workers = Workers(
            self.reactor, processes=processes, opened=lambda: 50, ledger=self.ledger, descriptor=51,
            stop=lambda: self.stopped.append(True),
        )  # fmt: skip
        self.handover = self.with_workers(workers, processes)
        self.workers.startService()
        self.began = []
        ensureDeferred(self.workers.begin(self.handover)).addBoth(self.began.append)

    def with_workers(self, workers, processes=10):
        settings = Settings(workers=workers, store="none", drain_seconds=7)
        return Handover(settings=settings, number=0, processes=processes, clients={})

    @property
    def processes(self):
        return self.reactor.processes

    def advance(self, seconds, step=1.0):
        for _ in range(int(seconds / step)):
            self.reactor.advance(step)


@pytest.fixture
def daemon():
    return Daemon()


@pytest.fixture
def serving(daemon):
    for process in daemon.processes:
        process.say(ready=True)
    assert daemon.began == [None]
    return daemon


def test_each_gets_a_number_of_its_own_the_socket_and_the_ledger(daemon):
    assert [process.descriptors for process in daemon.processes] == [{0: "w", 1: 1, 2: 2, 3: "r", 4: 50, 5: 51}] * 2
    sizes = [struct.unpack("!I", process.written[:4])[0] for process in daemon.processes]
    handed = [Handover.unpacked(it.written[4 : 4 + size]) for it, size in zip(daemon.processes, sizes, strict=True)]
    assert len({it.number for it in handed}) == 2
    assert daemon.began == []
    assert daemon.workers.pids == []


def test_it_has_begun_when_all_serve_or_have_failed_once(daemon):
    daemon.processes[0].say(ready=True)
    assert daemon.began == []
    daemon.processes[1].end(1)
    assert daemon.began == [None]
    assert daemon.workers.pids == [1000]


def test_it_has_not_begun_before_one_serves(daemon):
    for process in list(daemon.processes):
        process.end(1)
    assert daemon.began == []
    daemon.advance(1)
    daemon.processes[2].say(ready=True)
    assert daemon.began == [None]


def test_one_that_keeps_dying_is_started_after_growing_delays(daemon):
    daemon.processes[1].say(ready=True)
    daemon.processes[0].end(1)
    started = []
    for _ in range(7):
        before, waited = len(daemon.processes), 0
        while len(daemon.processes) == before:
            daemon.advance(1)
            waited += 1
        started.append(waited)
        daemon.processes[-1].end(1)
    assert started == [1, 2, 4, 8, 16, 30, 30]


def test_one_that_dies_after_a_while_is_replaced_at_once_and_its_counts_are_cleared(serving):
    number = serving.processes[0].protocol.number
    Ledger(serving.ledger._memory, processes=10, number=number).enter(ANSWERS)
    assert serving.ledger.total(ANSWERS) == 1
    serving.advance(5)
    with logged() as events:
        serving.processes[0].end(None, 9)
    assert any("Worker 1.0 (pid 1000) ended: SIGKILL" in event["text"] for event in events)
    assert serving.ledger.total(ANSWERS) == 0
    serving.advance(1)
    assert len(serving.processes) == 3


def test_one_that_hangs_is_killed(serving):
    for _ in range(SILENT_BEATS + 2):
        serving.reactor.advance(BEAT_SECONDS)
        serving.processes[1].say(families=[])
    assert serving.processes[0].signals[:1] == ["KILL"]
    assert serving.processes[1].signals == []


def test_a_stop_tells_all_waits_for_them_and_kills_what_stays(serving):
    stopped = []
    serving.workers.stopService().addBoth(stopped.append)
    assert [process.orders()[-1] for process in serving.processes] == [{"stop": True}] * 2
    serving.processes[0].end(0)
    serving.advance(11)
    assert serving.processes[1].signals == []
    serving.advance(2)
    assert serving.processes[1].signals == ["KILL"]
    assert stopped == []
    serving.processes[1].end(None, 9)
    serving.advance(1)
    assert stopped == [None]
    assert len(serving.processes) == 2
    assert not serving.reactor.getDelayedCalls()


def renew(daemon, workers=2):
    done = []
    ensureDeferred(daemon.workers.renew(daemon.with_workers(workers))).addBoth(done.append)
    return done


def test_new_ones_take_over_one_after_the_other(serving):
    done = renew(serving)
    assert len(serving.processes) == 3
    assert serving.processes[0].orders() == []
    serving.processes[2].say(ready=True)
    assert serving.processes[0].orders() == [{"retire": True}]
    assert serving.workers.pids == [1001, 1002]
    assert len(serving.processes) == 3  # the next one waits until the first takes nothing more
    serving.processes[0].say(closed=True)
    serving.processes[3].say(ready=True)
    serving.processes[1].end(0)
    assert done == [""]
    assert serving.workers.pids == [1002, 1003]
    serving.processes[0].end(0)
    serving.advance(10)
    assert len(serving.processes) == 4


@pytest.mark.parametrize("how", ["it ends", "it says nothing"])
def test_a_new_one_that_does_not_start_leaves_the_old_ones(serving, how):
    done = renew(serving)
    if how == "it ends":
        serving.processes[2].end(1)
    else:
        serving.advance(START_SECONDS)
        assert serving.processes[2].signals == ["KILL"]
        serving.processes[2].end(None, 9)
    assert done == ["a worker with the new configuration did not start"]
    assert serving.workers.pids == [1000, 1001]
    serving.advance(40)
    assert len(serving.processes) == 3


@pytest.mark.parametrize(("count", "pids"), [(1, [1002]), (3, [1002, 1003, 1004])])
def test_another_number_of_workers(serving, count, pids):
    done = renew(serving, count)
    for _ in range(3):
        for process in serving.processes[2:]:
            if not process.protocol.ready:
                process.say(ready=True)
        for process in serving.processes[:2]:
            if {"retire": True} in process.orders():
                process.say(closed=True)
    assert done == [""]
    assert serving.workers.pids == pids


def test_a_worker_may_ask_for_the_stop(serving):
    serving.processes[0].say(stop=True)
    assert serving.stopped == [True]
