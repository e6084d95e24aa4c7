"""What an upstream says when it fails, in any vendor's shape, as an :class:`ApiError` (quirks E01-E12)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from chatbridge.protocol.delay import named_delay, retry_delay
from chatbridge.protocol.diagnosis import diagnose
from chatbridge.protocol.errors import ApiError, Kind
from chatbridge.protocol.jsontext import dumps_text, loads

TEXT_LIMIT = 2000
"""How much of an upstream's error text is passed on, in characters."""
DEFAULT_DELAY = 5.0
"""Seconds to wait after a rate limit that names no delay; Codex gives up at once without one."""

# MiniMax says these with HTTP 200.
_MINIMAX_STATUS = {"1002": 429, "1039": 429, "1041": 429, "1004": 401, "2049": 401, "1008": 402, "2013": 400}
_TEXTS = ("message", "detail", "status_msg", "msg", "error_msg", "error_message", "Message", "errorMessage", "title")
_CODES = ("code", "error_code", "Code", "status", "type")
_LABELS = (*_CODES, "reason")
# The one form in which Codex reads a delay.
_DELAY_FOR_CODEX = re.compile(r"(?i)try again in\s*\d+(?:\.\d+)?\s*(?:ms|s|seconds?)\b")
_TITLE_WITHIN = 4096
"""How far into an HTML page its title is looked for, in characters."""
_TITLE = re.compile(r"(?is)<(title|h1)[^>]*>(.*?)</\1>")


@dataclass(frozen=True, slots=True)
class Failure:
    """An upstream's error, unwrapped: its text, its code as a string, its own status if it names one."""

    message: str
    code: str = ""
    status: int | None = None
    delay: float | None = None
    param: str = ""
    """The parameter that the error names beside its text."""
    labels: frozenset[str] = frozenset()
    """All codes, types and reasons that it carries, in lower case."""


def read_failure(value: Any) -> Failure:
    """Unwrap an error value: OpenAI's object, a string, a list, ``base_resp``, ``detail`` and the other shapes."""
    if isinstance(value, list):
        return read_failure(value[0] if value else "")
    if not isinstance(value, dict):
        return Failure(_short(value) if value is not None else "")
    base = value.get("base_resp")
    if isinstance(base, dict) and base.get("status_code"):
        code = str(base["status_code"])
        return Failure(_short(base.get("status_msg")), code, _MINIMAX_STATUS.get(code), labels=frozenset({code}))
    inner = next(
        (value[key] for key in ("error", "errors", "Error", "Response") if isinstance(value.get(key), dict | list)),
        None,
    )
    if inner:
        found = read_failure(inner)
        delay = named_delay(value) if found.delay is None else found.delay
        return replace(found, message=found.message or _short(value.get("message")), delay=delay)
    error = value.get("error")
    text = error if isinstance(error, str) and error else _first(value, *_TEXTS)
    message = _message(text)
    metadata, cause = _dict(value.get("metadata")), Failure("")
    if isinstance(raw := metadata.get("raw"), str) and raw:
        # OpenRouter's own text says only that its provider failed.
        cause = read_body(raw.encode("utf-8", "replace"))
        message = ": ".join(part for part in (message, cause.message) if part)
    code = _first(value, *_CODES) if not isinstance(error, str) else _first(value, "code", "type")
    filtered = _first(_dict(value.get("innererror")), "code")
    if code is None and isinstance(filtered, str):
        code = filtered  # Azure's own code may be null
    delay = named_delay(value)
    param = value.get("param")
    return Failure(
        message,
        "" if code is None else str(code),
        next((n for key in ("status_code", "http_code", "code") if (n := _status(value.get(key)))), None),
        cause.delay if delay is None else delay,
        param if isinstance(param, str) else "",
        _labels(value) | cause.labels,
    )


def _labels(value: Mapping[str, Any]) -> frozenset[str]:
    details = value.get("details")
    places = [value, _dict(value.get("innererror")), *(details if isinstance(details, list) else ())]
    found = (place.get(key) for place in places if isinstance(place, dict) for key in _LABELS)
    return frozenset(str(label).lower() for label in found if isinstance(label, str | int) and label not in ("", None))


def _message(text: Any) -> str:
    """A text may be a whole error again: an object, or JSON in a string, as gateways pass their upstream's on."""
    if isinstance(text, dict):
        return read_failure(text).message or _short(text)
    if isinstance(text, str) and text.lstrip().startswith("{"):
        try:
            return _message(loads(text)) or _short(text)
        except ValueError:
            pass
    return _short(text)


def read_body(body: bytes) -> Failure:
    """Read a whole error body; the label on it is not believed (quirks E06, E11)."""
    text = body.decode("utf-8", "replace").strip()
    try:
        value = loads(text)
    except ValueError:
        pass
    else:
        found = read_failure(value)
        return found if found.message or not value else replace(found, message=_short(text))
    if text.startswith("<"):
        title = _TITLE.search(text[:_TITLE_WITHIN])
        return Failure(_short(re.sub(r"<[^>]+>", " ", title[2])) if title else "an HTML page")
    return Failure(_short(text))


def upstream_error(
    status: int,
    failure: Failure,
    headers: Mapping[str, str] | None = None,
    *,
    check: Mapping[str, str] | None = None,
    overflow: Sequence[str] = (),
    empty_is_overflow: bool = False,
    now: float | None = None,
) -> ApiError:
    """Class a failure.

    *headers* are the answer's, with lower-case names. *check* says what the operator should look at, by
    ``auth``, ``not_found`` and ``redirect``. *overflow* are a vendor's own expressions for a context overflow;
    *empty_is_overflow* says that a 400 or 413 without a text is one. *now* is the time in seconds since the epoch, for
    delays that are dates. The error keeps the upstream's text and names its status.
    """
    status = failure.status if failure.status and status < 300 else status
    wait = retry_delay(failure.message, headers or {}, named=failure.delay, now=now)
    may_wait = retry_delay(failure.message, {}, named=failure.delay) is not None
    kind = diagnose(status, failure.labels | {failure.code.lower()}, failure.message, may_wait=may_wait)
    own_words = any(re.search(pattern, failure.message, re.IGNORECASE) for pattern in overflow)
    if own_words or (empty_is_overflow and status in (400, 413) and not failure.message):
        kind = Kind.OVERFLOW
    where = f"upstream answered {status} {_phrase(status)}".rstrip() if status >= 300 else "upstream failed"
    message = f"{where}: {failure.message}" if failure.message else where
    delay = None
    if kind is Kind.RATE_LIMIT or status in (429, 503):
        delay = wait
    if kind is Kind.RATE_LIMIT:
        delay = delay or DEFAULT_DELAY
        if not _DELAY_FOR_CODEX.search(message):
            message = f"{message.rstrip('.')}. Please try again in {delay:g}s."
    topic = "redirect" if 300 <= status < 400 else {Kind.AUTH: "auth", Kind.NOT_FOUND: "not_found"}.get(kind, "")
    advice = (check or {}).get(topic)
    if advice:
        message = f"{message.rstrip('.')}. {advice}"
    shown, type_, code = _SHAPE[kind]
    return ApiError(shown or _client_status(status), message, type=type_, code=code, retry_after=delay, kind=kind)


_SHAPE: dict[Kind, tuple[int, str, str]] = {
    # kind: (status for the client, 0 = the upstream's own; type; code)
    Kind.INVALID: (0, "invalid_request_error", "invalid_request"),
    Kind.AUTH: (0, "authentication_error", "invalid_api_key"),
    Kind.NOT_FOUND: (0, "invalid_request_error", "model_not_found"),
    Kind.QUOTA: (429, "insufficient_quota", "insufficient_quota"),
    Kind.RATE_LIMIT: (429, "rate_limit_error", "rate_limit_exceeded"),
    Kind.OVERFLOW: (400, "invalid_request_error", "context_length_exceeded"),
    Kind.FILTERED: (400, "invalid_request_error", "content_filter"),
    Kind.UNAVAILABLE: (0, "server_error", "upstream_error"),
}


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _client_status(status: int) -> int:
    return status if 400 <= status < 600 else 502


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _status(value: Any) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"[45]\d\d", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600 else None


def _first(value: Mapping[str, Any], *names: str) -> Any:
    return next((value[name] for name in names if value.get(name) not in (None, "")), None)


def _short(value: Any) -> str:
    if value is None:
        return ""
    text = " ".join((value if isinstance(value, str) else dumps_text(value)).split())
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + "…"
