"""How long to wait before the next try, wherever the vendor wrote it: headers, body or plain words (quirk E07)."""

from __future__ import annotations

import math
import re
from calendar import timegm
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST_DELAY = 300.0
"""Seconds; a vendor that asks for more is asked again after so many."""
_SHORTEST = 0.1

_IN_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms")
_IN_SECONDS = ("retry-after", "x-ratelimit-reset-after", "ratelimit-reset", "x-ratelimit-reset")
# Above these a number of seconds, or of milliseconds, is a point in time.
_EPOCH, _EPOCH_MS = 1e8, 1e11

_UNIT = r"(?:ms|milliseconds?|d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?|秒|分钟|小时)(?![a-z])"
_SPAN = rf"(?:\d+(?:\.\d+)?\s*{_UNIT}(?:[\s,]|and\b)*){{1,5}}"
_TEXTS = (
    re.compile(
        rf"(?i)(?:try|retry)(?:ing)?(?: \w+){{0,3}}? (?:in|after)\s+(?:(?:about|around|approximately)\s+)?"
        rf"({_SPAN}|\d+(?:\.\d+)?)"
    ),
    re.compile(rf"(?i)\b(?:wait|resets?|reset)\b(?: \w+){{0,3}}?\s+(?:about\s+)?({_SPAN})"),
    re.compile(r"(?i)retry[-_ ]?after['\"]?\s*[:=]\s*['\"]?(\d+(?:\.\d+)?)"),
    re.compile(rf"({_SPAN})(?:之?后|以后)"),
)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z秒分小]*)")
_UNITS = (("ms", 0.001), ("milli", 0.001), ("d", 86400.0), ("h", 3600.0), ("小", 3600.0), ("m", 60.0), ("分", 60.0))

# HTTP's three forms of a date, and that of RFC 3339.
_DATES = (
    re.compile(
        r"(?P<day>\d\d)[ -](?P<month>[A-Z][a-z]{2})[ -](?P<year>\d{4}|\d\d) (?P<time>\d\d:\d\d:\d\d)(?P<rest>) GMT"
    ),
    re.compile(r"(?P<month>[A-Z][a-z]{2}) (?P<day>[ \d]\d) (?P<time>\d\d:\d\d:\d\d)(?P<rest>) (?P<year>\d{4})"),
    re.compile(
        r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)T(?P<time>\d\d:\d\d:\d\d)(?P<rest>\.\d+)?(?:Z|[+-]00:?00)"
    ),
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_KEYS = (
    ("retry_after", 1.0),
    ("retry_after_seconds", 1.0),
    ("retryAfter", 1.0),
    ("retry_after_ms", 0.001),
    ("retryAfterMs", 0.001),
    ("retryDelay", 1.0),
)


def retry_delay(
    text: str, headers: Mapping[str, str], *, named: float | None = None, now: float | None = None
) -> float | None:
    """Return the seconds to wait, capped, or None where nobody says.

    *headers* have lower-case names; *text* is the error's; *named* is what its body names in a field; *now*, in
    seconds since the epoch, is used where an answer that names a point in time does not say what time it is there.
    """
    then = _date(headers.get("date", ""))
    now = now if then is None else then
    found = _from_headers(headers, now)
    if found is None:
        found = named
    if found is None:
        match = next((match for pattern in _TEXTS if (match := pattern.search(text))), None)
        found = None if match is None else spelled(match[1])
    if found is None:
        found = _from_resets(headers, now)
    return None if found is None else min(max(found, _SHORTEST), LONGEST_DELAY)


def named_delay(value: Mapping[str, Any]) -> float | None:
    """Return the seconds that an error's body names in a field of *value*, in its details or its metadata."""
    for key, scale in _KEYS:
        seconds = _seconds(value.get(key))
        if seconds is not None:
            return seconds * scale
    details = value.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and (seconds := _seconds(detail.get("retryDelay"))) is not None:
            return seconds
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return None
    inner = metadata.get("headers")
    headers = {str(name).lower(): str(given) for name, given in inner.items()} if isinstance(inner, dict) else {}
    return named_delay({**metadata, "metadata": None}) if not headers else _from_headers(headers, None)


def spelled(text: str) -> float:
    """Return the seconds in a text such as ``1m20s``."""
    parts = _PART.findall(text.lower())
    return sum(
        float(number) * next((size for start, size in _UNITS if unit.startswith(start)), 1.0) for number, unit in parts
    )


def _seconds(value: Any) -> float | None:
    """A number, its text, ``"34.4s"`` or a duration's object."""
    if isinstance(value, dict):
        seconds, nanos = _number(value.get("seconds", 0)), _number(value.get("nanos", 0))
        return None if seconds is None or nanos is None or not value else seconds + nanos / 1e9
    if isinstance(value, str) and re.fullmatch(_SPAN, value.strip()):
        return spelled(value)
    return _number(value)


def _from_headers(headers: Mapping[str, str], now: float | None) -> float | None:
    for name in _IN_MILLISECONDS:
        if (wait := _number(headers.get(name))) is not None:
            return wait / 1000
    for name in _IN_SECONDS:
        if (wait := _until(headers.get(name, ""), now)) is not None:
            return wait
    return None


def _from_resets(headers: Mapping[str, str], now: float | None) -> float | None:
    """When the limit that is used up begins anew; where no header says which one it is, when all have."""
    used_up: list[float] = []
    unknown: list[float] = []
    for remaining, reset in _resets(headers):
        wait = _until(reset, now)
        if wait is None and re.fullmatch(_SPAN, reset.strip()):
            wait = spelled(reset)
        if wait is None:
            continue
        left = headers.get(remaining)
        if left is None:
            unknown.append(wait)
        elif _number(left) == 0:
            used_up.append(wait)
    return max(used_up or unknown, default=None)


def _resets(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what each header says of when a limit begins anew, behind the name of the one that says what is left."""
    for name, value in headers.items():
        if name.startswith("x-ratelimit-reset-"):
            yield name.replace("-reset-", "-remaining-", 1), value
        elif "ratelimit-" in name and name.endswith("-reset"):
            yield name.removesuffix("reset") + "remaining", value


def _until(text: str, now: float | None) -> float | None:
    """Seconds until what *text* names: a number of them, a point in time as a number, or a date."""
    number = _number(text)
    if number is not None and number < _EPOCH:
        return number
    then = _date(text) if number is None else number / 1000 if number > _EPOCH_MS else number
    return None if then is None or now is None else max(then - now, 0.0)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value or "nan")
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _date(text: str) -> float | None:
    # Not by strptime: month names are the locale's there.
    found = next((found for pattern in _DATES if (found := pattern.search(text))), None)
    if found is None:
        return None
    month = found["month"]
    if not month.isdigit() and month not in _MONTHS:
        return None
    year = int(found["year"]) + (2000 if len(found["year"]) == 2 else 0)
    at = int(month) if month.isdigit() else _MONTHS.index(month) + 1
    hours, minutes, seconds = map(int, found["time"].split(":"))
    if not 1 <= at <= 12:
        return None
    return timegm((year, at, int(found["day"]), hours, minutes, seconds)) + float(found["rest"] or 0)
