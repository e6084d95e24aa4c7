"""One worker process: the daemon without a port of its own, started by a master (:mod:`chatbridge.service.workers`).

It serves the master's socket with the settings that the master hands over, and ends when the master does: the pipe
between them then closes, whatever the master died of.
"""

from __future__ import annotations

import importlib
import mmap
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.stdio import StandardIO
from twisted.internet.task import LoopingCall
from twisted.logger import LogEvent, LogLevel, eventAsText, globalLogBeginner

from chatbridge.service.control import BEAT_SECONDS, LEDGER, LISTENING, ORDERS, REPORTS, Control, Message
from chatbridge.service.drain import stop
from chatbridge.service.handover import Handover
from chatbridge.service.inherited import InheritedEndpoint
from chatbridge.service.logs import at_level, json_log, text_log
from chatbridge.web.ledger import Ledger

RETIRED_SECONDS = 3600.0
"""How long a worker whose place another has taken may finish its answers."""
PARTING_SECONDS = 1.0
"""How long a worker that has nothing left to do waits until its master has its last metrics."""


class Worker:
    """The place of this process under its master, as :func:`chatbridge.service.tap.build` needs it."""

    def __init__(self, handover: Handover, reactor: Any) -> None:
        self.handover = handover
        self.ledger = Ledger(
            memoryview(mmap.mmap(LEDGER, 0)).cast("d"),
            processes=handover.processes,
            number=handover.number,
            clients=handover.clients,
        )
        self._reactor = reactor
        self._drain_seconds = handover.settings.drain_seconds
        self._control = Control(self._heard, self._lost)
        self._scrapes: dict[int, Deferred[bytes]] = {}
        self._scraped = 0
        self._parting: Deferred[None] | None = None
        self._alone = False
        self.families: Callable[[], Any] = lambda: None
        """Returns this process's metrics, or None."""
        self.within: Callable[[float], None] = lambda _: None
        """Sets how long running answers may go on after a stop."""

    def endpoint(self) -> IStreamServerEndpoint:
        """Return the endpoint of the master's socket."""
        return InheritedEndpoint(self.handover.settings.listen, self._reactor, LISTENING)

    def connect(self) -> None:
        """Begin to talk to the master."""
        pipes: Any = StandardIO
        pipes(self._control, stdin=ORDERS, stdout=REPORTS, reactor=self._reactor)

    def begin(self) -> None:
        """Tell the master that this process serves; to be called when the reactor runs."""
        # Twisted's own would complain where the master's order was first, as when a whole group is told to stop.
        signal.signal(signal.SIGTERM, lambda *_: self._reactor.callFromThread(self._end, self._drain_seconds))
        self._control.say({"ready": True})
        reports = LoopingCall(self._report)
        reports.clock = self._reactor
        # So much of the metrics is lost when a worker is killed.
        reports.start(BEAT_SECONDS, now=False)

    def closed(self) -> None:
        """Tell the master that no new connection is taken any more."""
        self._control.say({"closed": True})

    def part(self) -> Deferred[None]:
        """Hand over the last metrics; fires when the master has them, or does not say so in time.

        What stands in a pipe that is not written out when the reactor stops is lost.
        """
        if self._alone:
            return succeed(None)
        self._parting = Deferred()
        self._control.say({"families": self.families() or [], "parting": True})
        return self._parting.addTimeout(PARTING_SECONDS, self._reactor, lambda *_: None)

    def stop(self) -> None:
        """Ask for the stop of the whole daemon."""
        self._control.say({"stop": True})

    def metrics(self) -> Deferred[bytes]:
        """Return the metrics of all workers."""
        self._scraped += 1
        waiting = self._scrapes[self._scraped] = Deferred()
        self._control.say({"metrics": self._scraped})
        return waiting

    def log(self, event: LogEvent) -> None:
        """Write *event* where the master's log is."""
        level = event.get("log_level") or LogLevel.info
        self._control.say(
            {
                "log": {
                    "log_time": event.get("log_time", 0.0),
                    "log_level": level.name,
                    "log_namespace": event.get("log_namespace", ""),
                    "log_format": "{text}",
                    "text": eventAsText(event, includeTimestamp=False, includeSystem=False),
                }
            }
        )

    def _heard(self, message: Message) -> None:
        if "report" in message:
            self._report()
        if "text" in message:
            self._scrapes.pop(message["metrics"]).callback(message["text"].encode())
        if "retire" in message:
            self._end(RETIRED_SECONDS)
        if "stop" in message:
            self._end(self._drain_seconds)
        if "parted" in message:
            self._part()

    def _part(self) -> None:
        parting, self._parting = self._parting, None
        if parting is not None:
            parting.callback(None)

    def _lost(self) -> None:
        """The master is gone: whoever starts another one wants the port."""
        self._alone = True
        self._part()
        self._end(self._drain_seconds)

    def _report(self) -> None:
        self._control.say({"families": self.families() or []})

    def _end(self, seconds: float) -> None:
        self.within(seconds)
        stop(self._reactor)


def read_handover() -> Handover:
    """Wait for the master's first message."""
    return Handover.unpacked(_read(int.from_bytes(_read(4), "big")))


def _read(count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = os.read(ORDERS, count - len(data))
        if not more:
            sys.exit(1)  # the master is gone already
        data += more
    return data


def main() -> None:
    """Run the worker until its master says otherwise."""
    # A terminal tells the whole group of these; what follows from them is the master's to say.
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    handover = read_handover()
    importlib.import_module(sys.argv[2]).install()
    from twisted.internet import reactor

    from chatbridge.service.tap import RepeatedSignals, build

    worker = Worker(handover, reactor)
    worker.connect()
    observer: Any = worker.log if handover.relay else text_log(sys.stdout)
    if handover.settings.log_format == "json":
        observer = json_log(sys.stdout)
    observer = at_level(observer, handover.settings.log_level)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    service = build(handover.settings, reactor, worker=worker)
    RepeatedSignals(reactor).setServiceParent(service)
    service.privilegedStartService()
    service.startService()
    running: Any = reactor
    running.addSystemEventTrigger("before", "shutdown", lambda: ensureDeferred(_stop(service, worker)))
    # The port is the first thing that the service closes.
    running.addSystemEventTrigger("before", "shutdown", worker.closed)
    running.callWhenRunning(worker.begin)
    running.run(installSignalHandlers=True)


async def _stop(service: MultiService, worker: Worker) -> None:
    await service.stopService()
    await worker.part()


if __name__ == "__main__":
    main()
