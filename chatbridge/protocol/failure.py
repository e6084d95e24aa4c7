"""What an upstream says when it fails, in any vendor's shape, as an :class:`ApiError` (quirks E01-E12)."""

from __future__ import annotations

import math
import re
from calendar import timegm
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from chatbridge.protocol.errors import ApiError, Kind
from chatbridge.protocol.jsontext import dumps_text, loads

TEXT_LIMIT = 2000
"""How much of an upstream's error text is passed on, in characters."""
DEFAULT_DELAY = 5.0
"""Seconds to wait after a rate limit that names no delay; Codex gives up at once without one."""
LONGEST_DELAY = 300.0

# Rate words stand before the overflow list: Groq's "tokens per minute" 413 looks like an overflow (quirk E04).
_RATE = re.compile(
    r"(?i)tokens per min|requests per min|\bTPM\b|\bRPM\b|rate.?limit|too many requests|tier capacity exceeded"
)
_RATE_CODES = frozenset(
    {"rate_limit_exceeded", "rate_limit_error", "rate_limited", "too_many_requests", "resource_exhausted"}
)
_NOT_OVERFLOW = re.compile(r"(?i)tool_call_id|call_id|function\.name|'user'|\bname' ?:? ?string too long")
_OVERFLOW = re.compile(
    r"(?i)prompt is too long"
    r"|input is too long for requested model"
    r"|exceeds the context window"
    r"|input token count.*exceeds the maximum"
    r"|maximum prompt length is \d+"
    r"|reduce the length of the messages"
    r"|maximum context length"
    r"|(?:tokens?|prompt|context|input|request|conversation)\b.{0,60}exceeds the limit of \d+"
    r"|exceeds the available context size|exceed_context_size_error"
    r"|greater than the context length|tokens when context the overflows|context size has been exceeded"
    r"|context window exceeds limit"
    r"|exceeded model token limit|input token length too long|range of input length should be"
    r"|too large for model with \d+ maximum context length"
    r"|prompt exceeds max length|model_context_window_exceeded"
    r"|must be less than (?:or equal to )?max_seq_len|max_total_tokens.*max_seq_len"
    r"|current length is \d+ while limit is \d+"
    r"|inputs. tokens \+ .max_new_tokens. must be"
    r"|longer than the model.s (?:maximum )?context length|context length is only \d+ tokens"
    r"|input length.*exceeds.*context length"
    r"|context[_ ]length[_ ]exceeded|request entity too large"
)
_OVERFLOW_CODES = frozenset({"context_length_exceeded", "1261", "exceed_context_size_error"})
_QUOTA = re.compile(
    r"(?i)insufficient[_ ](?:user[_ ])?(?:quota|balance|credits?|funds)"
    r"|(?:balance|credits?|funds) (?:is |are )?insufficient|balance is too low"
    r"|exceeded your current (?:token )?quota|quota (?:has been |was )?(?:exceeded|exhausted)"
    r"|usage limit|spend(?:ing)? limit|billing hard limit|key limit exceeded"
    r"|(?:out of|no|all available) credits|overdue|arrear|account is in good standing|余额不足|欠费"
)
_QUOTA_CODES = frozenset(
    {
        "insufficient_quota",
        "quota_exceeded",
        "exceeded_current_quota_error",
        "billing_hard_limit_reached",
        "usage_limit_reached",
        "arrearage",
        "accountoverdueerror",
        "1008",
        "1113",
        "2056",
    }
)
# MiniMax says these with HTTP 200.
_MINIMAX_STATUS = {"1002": 429, "1039": 429, "1041": 429, "1004": 401, "2049": 401, "1008": 402, "2013": 400}
_TEXTS = ("message", "detail", "status_msg", "msg", "error_msg", "error_message", "Message", "errorMessage", "title")
_CODES = ("code", "error_code", "Code", "status", "type")
_FILTER_CODES = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "data_inspection_failed",
        "datainspectionfailed",
        "responsibleaipolicyviolation",
        "1301",
        "1026",
        "1027",
    }
)
_FILTERED = re.compile(
    r"(?i)content management policy|content violates usage guidelines|content exists risk|inappropriate content"
    r"|sensitive.?content.?detected|considered high risk|flagged as potentially violating|violat\w+ .{0,20}usage polic"
)
# The model wrote a call that the vendor's own check refused; the next sample is usually fine (quirk E09).
_RETRY_CODES = frozenset({"tool_use_failed"})
_TEMPLATE_FAULT = re.compile(
    r"(?i)jinja|chat.template|system message must be at the beginning|unhashable type|roles must alternate"
    r"|raise_exception|at row \d+, column \d+|system role not supported"
)
_UNIT = r"(?:ms|milliseconds?|d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?)(?![a-z])"
_DELAY_TEXT = re.compile(
    rf"(?i)(?:try again|retry) (?:in|after)\s+(?:about\s+)?((?:\d+(?:\.\d+)?\s*{_UNIT}[\s,]*)+|\d+(?:\.\d+)?)"
)
_DELAY_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_UNITS = (("ms", 0.001), ("milli", 0.001), ("d", 86400.0), ("h", 3600.0), ("m", 60.0))
# The one form in which Codex reads a delay.
_DELAY_FOR_CODEX = re.compile(r"(?i)try again in\s*\d+(?:\.\d+)?\s*(?:ms|s|seconds?)\b")
_HTTP_DATE = re.compile(r"(\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_GOOGLE_DELAY = re.compile(r"^([\d.]+)s$")
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


def read_failure(value: Any) -> Failure:
    """Unwrap an error value: OpenAI's object, a string, a list, ``base_resp``, ``detail`` and the other shapes."""
    if isinstance(value, list):
        return read_failure(value[0] if value else "")
    if not isinstance(value, dict):
        return Failure(_short(value) if value is not None else "")
    base = value.get("base_resp")
    if isinstance(base, dict) and base.get("status_code"):
        code = str(base["status_code"])
        return Failure(_short(base.get("status_msg")), code, _MINIMAX_STATUS.get(code))
    inner = next(
        (value[key] for key in ("error", "errors", "Error", "Response") if isinstance(value.get(key), dict | list)),
        None,
    )
    if inner:
        found = read_failure(inner)
        return replace(found, message=found.message or _short(value.get("message")))
    error = value.get("error")
    text = error if isinstance(error, str) and error else _first(value, *_TEXTS)
    message = _message(text)
    if isinstance(metadata := value.get("metadata"), dict) and isinstance(raw := metadata.get("raw"), str) and raw:
        # OpenRouter's own text says only that its provider failed.
        cause = read_body(raw.encode("utf-8", "replace")).message
        message = ": ".join(part for part in (message, cause) if part)
    code = _first(value, *_CODES) if not isinstance(error, str) else _first(value, "code", "type")
    filtered = _first(_dict(value.get("innererror")), "code")
    if isinstance(filtered, str) and filtered.lower() in _FILTER_CODES:
        code = filtered  # Azure's own code may be null
    status = next((n for key in ("status_code", "http_code", "code") if (n := _status(value.get(key)))), None)
    param = value.get("param")
    return Failure(
        message,
        "" if code is None else str(code),
        status,
        _google_delay(value.get("details")) or _delay_key(value) or _delay_key(_dict(metadata)),
        param if isinstance(param, str) else "",
    )


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
) -> ApiError:
    """Class a failure.

    *headers* are the answer's, with lower-case names. *check* says what the operator should look at, by
    ``auth``, ``not_found`` and ``redirect``. *overflow* are a vendor's own expressions for a context overflow;
    *empty_is_overflow* says that a 400 or 413 without a text is one. The error keeps the upstream's text and names
    its status.
    """
    status = failure.status if failure.status and status < 300 else status
    kind = _kind(status, failure)
    own_words = any(re.search(pattern, failure.message, re.IGNORECASE) for pattern in overflow)
    if own_words or (empty_is_overflow and status in (400, 413) and not failure.message):
        kind = Kind.OVERFLOW
    where = f"upstream answered {status} {_phrase(status)}".rstrip() if status >= 300 else "upstream failed"
    message = f"{where}: {failure.message}" if failure.message else where
    delay = None
    if kind is Kind.RATE_LIMIT or status in (429, 503):
        delay = retry_delay(failure, headers or {})
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


def _kind(status: int, failure: Failure) -> Kind:
    code, text = failure.code.lower(), failure.message
    if 300 <= status < 400:
        return Kind.INVALID
    if code in _QUOTA_CODES or status == 402 or (_QUOTA.search(text) and retry_delay(failure, {}) is None):
        return Kind.QUOTA  # Gemini says "quota" of a rate limit too, but names its delay
    if code in _OVERFLOW_CODES:
        return Kind.OVERFLOW
    if status == 429 or code in _RATE_CODES or (status not in (401, 404) and _RATE.search(text)):
        return _rate_or_size(text)
    if _OVERFLOW.search(text) and not _NOT_OVERFLOW.search(text):
        return Kind.OVERFLOW
    if code in _FILTER_CODES or (400 <= status < 500 and _FILTERED.search(text)):
        return Kind.FILTERED
    if status in (401, 403):
        return Kind.AUTH
    if status == 404:
        return Kind.NOT_FOUND
    if status == 413:
        return Kind.OVERFLOW
    if code in _RETRY_CODES or status in (408, 409, 425) or status >= 500 or status < 400:
        # A template that cannot render the messages will not render them the next time either (quirk E12).
        return Kind.INVALID if _TEMPLATE_FAULT.search(text) else Kind.UNAVAILABLE
    return Kind.INVALID


def _rate_or_size(text: str) -> Kind:
    """A single request above the whole rate limit will never pass: not worth a retry."""
    match = re.search(r"(?i)limit:? (\d+),.*?requested:? (\d+)", text)
    too_large = match is not None and int(match[2]) > int(match[1])
    return Kind.INVALID if too_large else Kind.RATE_LIMIT


def retry_delay(failure: Failure, headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait, wherever the vendor wrote them (quirk E07), capped; None when nowhere."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0), ("x-ratelimit-reset-after", 1.0)):
        delay = _number(headers.get(name))
        if delay is not None:
            return _capped(delay * scale)
    if (wait := _until(headers)) is not None:
        return _capped(wait)
    if failure.delay is not None:
        return _capped(failure.delay)
    if match := _DELAY_TEXT.search(failure.message):
        return _capped(_spelled(match[1]))
    for kind in ("requests", "tokens"):
        reset = headers.get(f"x-ratelimit-reset-{kind}", "")
        if headers.get(f"x-ratelimit-remaining-{kind}") == "0" and _DELAY_PART.match(reset):
            return _capped(_spelled(reset))
    return None


def _spelled(text: str) -> float:
    """``1m20s`` in seconds."""
    return sum(float(number) * _seconds(unit) for number, unit in _DELAY_PART.findall(text.lower()))


def _seconds(unit: str) -> float:
    return next((seconds for start, seconds in _UNITS if unit.startswith(start)), 1.0)


def _capped(delay: float) -> float:
    return min(max(delay, 0.1), LONGEST_DELAY)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _until(headers: Mapping[str, str]) -> float | None:
    """A Retry-After that is a date; the answer's own date says what time it is there."""
    then, now = (_http_date(headers.get(name, "")) for name in ("retry-after", "date"))
    return None if then is None or now is None else max(float(then - now), 0.0)


def _http_date(text: str) -> int | None:
    # Not by strptime: month names are the locale's there.
    found = _HTTP_DATE.search(text)
    if found is None or found[2] not in _MONTHS:
        return None
    day, month, year, *time = found.groups()
    return timegm((int(year), _MONTHS.index(month) + 1, int(day), *map(int, time)))


def _delay_key(value: Mapping[str, Any]) -> float | None:
    for name in ("retry_after", "retry_after_seconds"):
        wait = value.get(name)
        if isinstance(wait, int | float | str) and not isinstance(wait, bool):
            return _number(str(wait))
    return None


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _google_delay(details: Any) -> float | None:
    for detail in details if isinstance(details, list) else ():
        found = _GOOGLE_DELAY.match(str(detail.get("retryDelay"))) if isinstance(detail, dict) else None
        if found:
            return _number(found[1])
    return None


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
