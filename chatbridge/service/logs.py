"""The log as JSON lines."""

from __future__ import annotations

from typing import Any, TextIO

from twisted.logger import FileLogObserver, LogEvent, eventAsText

from chatbridge.protocol.jsontext import dumps
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


def json_log(out: TextIO) -> FileLogObserver:
    """Return an observer that writes each event to *out* as :func:`json_line` gives it."""
    return FileLogObserver(out, json_line)
