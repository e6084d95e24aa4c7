"""The log as JSON lines."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
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
    line: dict[str, Any] = {
        "time": round(event.get("log_time", 0.0), 6),
        "level": level.name if level is not None else "info",
        "logger": event.get("log_namespace", ""),
        "message": eventAsText(event, includeTimestamp=False, includeSystem=False),
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


def observer(settings: Settings, path: str | None = None) -> ILogObserver | None:
    """Return where the log goes as *settings* say, in twistd's file at *path* if there is one.

    None leaves it to twistd, which knows no levels and no JSON.
    """
    if settings.log_format == "json":
        return at_level(json_log(sys.stdout), settings.log_level)
    if settings.log_level == DEFAULT_LEVEL:
        return None
    out = sys.stdout if path is None else LogFile.fromFullPath(path)
    return at_level(textFileLogObserver(out), settings.log_level)


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
