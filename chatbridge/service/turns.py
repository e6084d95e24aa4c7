"""The reactor's turns, with less around each read.

Twisted's epoll reactor serves every event inside a context that tells messages of its old log whose they are: six calls
and two dicts around a read of a few bytes, a tenth of what a single delta costs. Nothing that is read here logs so.
What goes wrong in a read, and whatever is not a read alone, is served with the context, as before.

The reactor's ``_poller``, ``_selectables``, ``_doReadOrWrite`` and ``_disconnectSelectable`` are not public names:
where the reactor is another one, or lacks one of them, this changes nothing.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.python import log

_READ = getattr(select, "EPOLLIN", 0)
_NAMES = ("_poller", "_selectables", "_doReadOrWrite", "_disconnectSelectable")


class Turns(Service):
    """Has *reactor* take its turns so while this runs."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def startService(self) -> None:
        super().startService()
        if is_known(self._reactor):
            self._reactor.doIteration = turn(self._reactor)

    def stopService(self) -> None:
        super().stopService()
        vars(self._reactor).pop("doIteration", None)


def is_known(reactor: Any) -> bool:
    """Whether *reactor* is the epoll reactor, with the names that are needed."""
    try:
        from twisted.internet.epollreactor import EPollReactor
    except ImportError:  # not on this system
        return False
    return type(reactor) is EPollReactor and all(hasattr(reactor, name) for name in _NAMES)


def turn(reactor: Any) -> Callable[[float | None], None]:
    """Return what does as the epoll reactor's ``doPoll``."""
    poll, selectables = reactor._poller.poll, reactor._selectables  # noqa: SLF001 - see above
    serve, disconnect = reactor._doReadOrWrite, reactor._disconnectSelectable  # noqa: SLF001

    def take(timeout: float | None) -> None:
        try:
            events = poll(-1 if timeout is None else timeout, len(selectables))
        except InterruptedError:
            return
        for fd, event in events:
            selectable = selectables.get(fd)
            if selectable is None:
                continue  # one before it has closed it
            if event != _READ or selectable.fileno() == -1:
                log.callWithLogger(selectable, serve, selectable, fd, event)
                continue
            in_read = True
            try:
                why = selectable.doRead()
            except BaseException:  # noqa: BLE001 - as the reactor's own
                in_read, why = False, sys.exc_info()[1]
                log.callWithLogger(selectable, log.err)
            if why:
                log.callWithLogger(selectable, disconnect, selectable, why, in_read)

    return take
