"""The log's lines: as JSON, and as twistd writes them, for less."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any, TextIO

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
    formatEventAsClassicLogText,
    formatTime,
    textFileLogObserver,
)
from twisted.python.logfile import LogFile

from chatbridge.protocol.jsontext import dumps
from chatbridge.service.settings import DEFAULT_LEVEL, Settings
from chatbridge.web.record import Record


def json_line(event: LogEvent) -> str:
    """Return one log event as a JSON object and a newline: time (seconds since the epoch), level, logger, message.

    A request's line has its record's facts beside these.
    """
    level = event.get("log_level")
    told = _told(event)
    line: dict[str, Any] = {
        "time": round(event.get("log_time", 0.0), 6),
        "level": level.name if level is not None else "info",
        "logger": event.get("log_namespace", ""),
        "message": eventAsText(event, includeTimestamp=False, includeSystem=False) if told is None else told,
    }
    record = event.get("access")
    if isinstance(record, Record):
        line["request"] = event.get("label", "")
        line["status"] = event.get("status")
        line["bytes"] = event.get("size", 0)
        line["seconds"] = round(event.get("seconds", 0.0), 4)
        line |= record.facts()
    return dumps(line).decode() + "\n"


LEVELS = ("debug", "info", "warn", "error", "critical")


def text_line(event: LogEvent) -> str | None:
    """Return one log event as twistd's own line for it, or None where there is nothing to tell.

    A request's line, which is made already, is not formatted once more: that is most of what a log line costs.
    """
    told = _told(event)
    if not told:
        return formatEventAsClassicLogText(event, _time)
    return f"{_time(event['log_time'])} [{event['log_namespace']}#{event['log_level'].name}] {told}\n"


def _told(event: LogEvent) -> str | None:
    """Return the text of a request's line, one line already; None for any other event, whatever fields it has."""
    return event["told"] if "access" in event else None


def _time(when: float | None) -> str:
    return formatTime(None) if when is None else _second(int(when))


_second = lru_cache(maxsize=1)(formatTime)


def observer(settings: Settings, path: str | None = None, *, elsewhere: bool = True) -> ILogObserver | None:
    """Return where the log goes as *settings* say, in twistd's file at *path* if there is one.

    None leaves it to twistd, which knows no levels and no JSON: where it was told to log *elsewhere* than to the
    standard output, and *settings* ask for no other level than its own.
    """
    if settings.log_format == "json":
        return at_level(json_log(sys.stdout), settings.log_level)
    if settings.log_level == DEFAULT_LEVEL:
        return None if elsewhere else text_log(sys.stdout)
    out = text_log(sys.stdout) if path is None else textFileLogObserver(LogFile.fromFullPath(path))
    return at_level(out, settings.log_level)


def at_level(out: ILogObserver, level: str) -> ILogObserver:
    """Return an observer that gives *out* what is at *level* or above. What has no level counts as info."""
    if level == DEFAULT_LEVEL:
        return out
    predicate = LogLevelFilterPredicate(defaultLogLevel=LogLevel.levelWithName(level))
    found: ILogObserver = FilteringLogObserver(out, [predicate])
    return found


def json_log(out: TextIO) -> FileLogObserver:
    """Return an observer that writes each event to *out* as :func:`json_line` gives it."""
    return FileLogObserver(out, json_line)


def text_log(out: TextIO) -> FileLogObserver:
    """Return an observer that writes each event to *out* as :func:`text_line` gives it."""
    return FileLogObserver(out, text_line)
