"""The worker processes of a master: started, watched, replaced, stopped."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.runner.procmon import LoggingProtocol, ProcessMonitor

from chatbridge.service.control import BEAT_SECONDS, LEDGER, LISTENING, ORDERS, REPORTS, Control, Message
from chatbridge.service.drain import FLUSH_SECONDS
from chatbridge.service.handover import Handover
from chatbridge.service.metrics import Family
from chatbridge.service.samples import Sums
from chatbridge.web.ledger import Ledger

START_SECONDS = 30.0
"""How long a new worker may take until it serves; another one is tried then."""
SILENT_BEATS = 12
"""A worker of which nothing is heard for so many beats of the master's own clock is killed."""
KILL_AFTER = 3.0
"""How long after the end of its drain a worker may still be there."""
SCRAPE_SECONDS = 2.0
"""How long a worker may take to hand over its metrics; without them its last ones count."""

_log = Logger()


class WorkerProcess(LoggingProtocol):
    """One process, seen from the master. *number* is its row in the ledger."""

    def __init__(self, monitor: Workers, name: str, number: int) -> None:
        self.service = self._monitor = monitor
        self.name = name
        self.number = number
        self.pid = 0
        self.silent = 0
        """For how many beats nothing was heard of it."""
        self.ready = False
        self.retired = False
        self.families: list[Family] = []
        """Its metrics when it handed them over last."""
        self._control = Control(self._heard)
        self._reports: list[Deferred[Any]] = []
        self._starts: list[Deferred[Any]] = []
        self._ends: list[Deferred[Any]] = []

    def connectionMade(self) -> None:
        super().connectionMade()
        transport: Any = self.transport
        self.pid = transport.pid
        self._control.makeConnection(_Orders(transport))

    def hand_over(self, packed: bytes) -> None:
        """Tell it what to do."""
        self._control.sendString(packed)

    def say(self, message: Message) -> None:
        """Send it an order."""
        self._control.say(message)

    def report(self) -> Deferred[None]:
        """Ask for its metrics; fires when they are here."""
        report: Deferred[None] = Deferred()
        self._reports.append(report)
        self.say({"report": True})
        return report

    def serves(self) -> Deferred[bool]:
        """Fire when it serves, with True; or with False when it ends before."""
        if self.ready:
            return succeed(True)
        start: Deferred[bool] = Deferred()
        self._starts.append(start)
        return start

    def takes_no_more(self) -> Deferred[None]:
        """Fire when it takes no new connections, which it must have been told; or has ended."""
        end: Deferred[None] = Deferred()
        self._ends.append(end)
        return end

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if childFD == REPORTS:
            self._control.dataReceived(data)
        else:
            super().childDataReceived(childFD, data)

    def _heard(self, message: Message) -> None:
        self.silent = 0
        if "families" in message:
            self.families = message["families"]
            _fire(self._reports, None)
        if message.get("ready"):
            self.ready = True
            _fire(self._starts, True)
        if message.get("closed"):
            _fire(self._ends, None)
        self._monitor.heard(self, message)

    def processEnded(self, reason: Failure) -> None:
        self._monitor.ended(self, reason)
        super().processEnded(reason)
        _fire(self._reports, None)
        _fire(self._starts, False)
        _fire(self._ends, None)


class _Orders:
    """The pipe to the worker as a transport to write to."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        self._transport.writeToChild(ORDERS, data)


class Workers(ProcessMonitor):
    """Keeps as many workers running as the settings say; one that dies is replaced, at once or with growing delays.

    *opened* returns the descriptor of the listening socket, *ledger* counts for all in the memory *descriptor*, which
    has room for *processes* of them. *stop* stops the whole daemon, for a worker that was asked for it.
    """

    minRestartDelay = 1
    maxRestartDelay = 30

    def __init__(
        self,
        reactor: Any,
        *,
        processes: int,
        opened: Callable[[], int],
        ledger: Ledger,
        descriptor: int,
        stop: Callable[[], None],
    ) -> None:
        super().__init__(reactor)
        self.reactor = reactor
        self._opened = opened
        self._ledger = ledger
        self._descriptor = descriptor
        self._stop = stop
        self._handovers: dict[str, Handover] = {}
        self._generation = 0
        self._beats = LoopingCall(self._beat)
        self._beats.clock = reactor
        self._numbers = set(range(processes))
        self._sums = Sums()
        self._firsts: list[Deferred[Any]] = []
        self._gone: list[Deferred[Any]] = []
        self.changed: Callable[[], None] = lambda: None
        """Called when the pids are others."""

    # --- who is there

    def processes_running(self) -> Iterator[WorkerProcess]:
        """Yield those that are there, the retired ones too."""
        for protocol in list(self.protocols.values()):
            assert isinstance(protocol, WorkerProcess)
            yield protocol

    @property
    def pids(self) -> list[int]:
        """The workers that take requests."""
        return [worker.pid for worker in self.processes_running() if worker.ready and not worker.retired]

    # --- starting

    async def begin(self, handover: Handover) -> None:
        """Start the workers. Returns when each serves or has failed once, and one at least serves."""
        self.killTime = _kill_after(handover)
        for place in range(1, handover.settings.workers + 1):
            self._add(place, handover)
        await DeferredList([worker.serves() for worker in self.processes_running()])
        if not any(worker.ready for worker in self.processes_running()):
            _log.error("No worker could start; trying again until one can")
            first: Deferred[None] = Deferred()
            self._firsts.append(first)
            await first

    def _add(self, place: int, handover: Handover) -> str:
        name = f"{place}.{self._generation}"
        self._handovers[name] = handover
        self.addProcess(name, self._command(name))
        return name

    def startProcess(self, name: str) -> None:
        """Start the worker *name*, as procmon does, with more descriptors."""
        if name in self.protocols:
            return
        if not self._numbers:
            _log.error("Too many workers are still finishing their answers; trying again")
            self.restart[name] = self.reactor.callLater(self.maxRestartDelay, self.startProcess, name)
            return
        worker = WorkerProcess(self, name, self._numbers.pop())
        self.protocols[name] = worker
        self.timeStarted[name] = self.reactor.seconds()
        handover = replace(self._handovers[name], number=worker.number)
        # What a worker prints goes where the master's goes; or, where that is a file, through the master.
        output: Any = {1: "r", 2: "r"} if handover.relay else {1: 1, 2: 2}
        descriptors = {ORDERS: "w", **output, REPORTS: "r", LISTENING: self._opened(), LEDGER: self._descriptor}
        command = self._command(name)
        try:
            self.reactor.spawnProcess(worker, command[0], command, env=_environment(), childFDs=descriptors)
        except OSError as error:
            _log.error("Cannot start a worker: {error}", error=error)
            del self.protocols[name]
            self._numbers.add(worker.number)
            self.restart[name] = self.reactor.callLater(self.maxRestartDelay, self.startProcess, name)
            return
        worker.hand_over(handover.packed())
        self.changed()

    def _command(self, name: str) -> list[str]:
        return [sys.executable, "-P", "-m", "chatbridge.service.worker", name, type(self.reactor).__module__]

    # --- what they say

    def startService(self) -> None:
        super().startService()
        self._beats.start(BEAT_SECONDS, now=False)

    def _beat(self) -> None:
        """Each worker reports at each beat; one that does not hangs."""
        for worker in self.processes_running():
            worker.silent += 1
            if worker.silent > SILENT_BEATS:
                _log.error("Worker {name} (pid {pid}) hangs; killing it", name=worker.name, pid=worker.pid)
                worker.silent = 0
                _kill(worker.transport)

    def heard(self, worker: WorkerProcess, message: Message) -> None:
        """Act on what *worker* said."""
        if "metrics" in message:
            self._scrape().addCallback(lambda text: worker.say({"metrics": message["metrics"], "text": text}))
        if message.get("ready"):
            _fire(self._firsts, None)
            self.changed()
        if message.get("stop"):
            self._stop()
        if message.get("parting"):
            worker.say({"parted": True})
        if "log" in message:
            globalLogPublisher({**message["log"], "log_level": LogLevel.levelWithName(message["log"]["log_level"])})

    def _scrape(self) -> Deferred[str]:
        return ensureDeferred(self._scraped())

    async def _scraped(self) -> str:
        ready = [worker for worker in self.processes_running() if worker.ready]
        reports = [worker.report() for worker in ready]
        for report in reports:
            await report.addTimeout(SCRAPE_SECONDS, self.reactor, lambda *_: None)
        families = [family for worker in self.processes_running() for family in worker.families]
        serving = sum(worker.ready and not worker.retired for worker in self.processes_running())
        name = "chatbridge_workers"
        families.append([name, "gauge", "Workers that take requests.", [[name, {}, serving]]])
        return self._sums.text(families).decode()

    # --- ending

    def ended(self, worker: WorkerProcess, reason: Failure) -> None:
        """Clear up after *worker*, which has ended."""
        self._ledger.clear(worker.number)
        self._numbers.add(worker.number)
        self._sums.ended(worker.families)
        if self.running and not worker.retired:
            _log.warn("Worker {name} (pid {pid}) ended: {why}", name=worker.name, pid=worker.pid, why=_why(reason))
        self.reactor.callLater(0, self._left)

    def _left(self) -> None:
        self.changed()
        if not self.protocols:
            _fire(self._gone, None)

    def removeProcess(self, name: str) -> None:
        """Let the worker *name* finish its answers without taking new requests, and start no other in its place."""
        super().removeProcess(name)
        del self._handovers[name]
        restart = self.restart.pop(name, None)
        if restart is not None and restart.active():
            restart.cancel()

    def stopProcess(self, name: str) -> None:
        worker = self.protocols.get(name)
        if isinstance(worker, WorkerProcess):
            worker.retired = True
            worker.say({"retire": True})

    def stopService(self) -> Deferred[None]:  # type: ignore[override]
        """Stop all; fires when the last one is gone."""
        Service.stopService(self)
        if self._beats.running:
            self._beats.stop()
        for restart in self.restart.values():
            if restart.active():
                restart.cancel()
        for worker in self.processes_running():
            worker.say({"stop": True})
            self.murder[worker.name] = self.reactor.callLater(self.killTime, _kill, worker.transport)
        if not self.protocols:
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        return gone

    # --- a new configuration

    async def renew(self, handover: Handover) -> str:
        """Put workers with *handover* in the place of all that are there, one after the other.

        Returns why that did not succeed; the old ones that are left then go on.
        """
        self._generation += 1
        self.killTime = _kill_after(handover)
        old = list(self._handovers)
        for place in range(1, max(handover.settings.workers, len(old)) + 1):
            if place <= handover.settings.workers:
                name = self._add(place, handover)
                if not await self._serves(name):
                    self._drop(name)
                    return "a worker with the new configuration did not start"
            if place <= len(old):
                await self._replaced(old[place - 1])
            self.changed()
        return ""

    async def _serves(self, name: str) -> bool:
        worker = self.protocols.get(name)
        if not isinstance(worker, WorkerProcess):
            return False
        serves: bool = await worker.serves().addTimeout(START_SECONDS, self.reactor, lambda *_: False)
        return serves

    async def _replaced(self, name: str) -> None:
        """Take no new requests by the worker *name* any more."""
        worker = self.protocols.get(name)
        self.removeProcess(name)
        if isinstance(worker, WorkerProcess):
            await worker.takes_no_more().addTimeout(START_SECONDS, self.reactor, lambda *_: None)

    def _drop(self, name: str) -> None:
        """Try the worker *name* no more."""
        worker = self.protocols.get(name)
        self.removeProcess(name)
        if isinstance(worker, WorkerProcess):
            _kill(worker.transport)


def _fire(waiting: list[Deferred[Any]], result: Any) -> None:
    fired, waiting[:] = list(waiting), []
    for deferred in fired:
        deferred.callback(result)


def _kill_after(handover: Handover) -> int:
    return math.ceil(handover.settings.drain_seconds + FLUSH_SECONDS + KILL_AFTER)


def _kill(transport: Any) -> None:
    with suppress(ProcessExitedAlready):
        transport.signalProcess("KILL")


def _why(reason: Failure) -> str:
    number = getattr(reason.value, "signal", None)
    if number is not None:
        return signal.Signals(number).name
    return f"exit status {getattr(reason.value, 'exitCode', None)}"


def _environment() -> dict[str, str]:
    """Return the master's environment without what is between it and systemd, and with its module path."""
    mine = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
    kept = {name: value for name, value in os.environ.items() if name not in mine}
    return {**kept, "PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path)}
