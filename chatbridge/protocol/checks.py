"""What a value in a request must be. A check takes the value and its path, and raises :class:`ApiError` naming both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chatbridge.protocol.errors import ApiError

Check = Callable[[Any, str], None]

_KINDS: Mapping[type, str] = {str: "a string", bool: "a boolean", list: "an array", dict: "an object"}


def wrong(path: str, text: str, code: str = "invalid_value") -> ApiError:
    """Return the error for the value at *path*; *text* goes on from it, as ``must be a string``."""
    return ApiError(400, f"{path} {text}.", param=path, code=code)


def missing(path: str) -> ApiError:
    """Return the error for a value that must be there."""
    text = f"Missing required parameter: '{path}'."
    return ApiError(400, text, param=path, code="missing_required_parameter")


def optional(value: Any, kind: type, path: str) -> Any:
    """Return *value*, None included; raises :class:`ApiError` naming *path* when it is not of *kind*, a JSON type."""
    if value is None or isinstance(value, kind):
        return value
    raise wrong(path, f"must be {_KINDS[kind]}", "invalid_type")


def of(kind: type) -> Check:
    """Check for a JSON type."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, kind):
            raise wrong(path, f"must be {_KINDS[kind]}", "invalid_type")

    return check


def string(longest: int = 0) -> Check:
    """Check for a string of at most *longest* characters; 0 is no limit."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, str):
            raise wrong(path, "must be a string", "invalid_type")
        if longest and len(value) > longest:
            text = f"must have at most {longest} characters, not {len(value)}"
            raise wrong(path, text, "string_above_max_length")

    return check


def words(*allowed: str) -> Check:
    """Check for one of some strings."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, str):
            raise wrong(path, "must be a string", "invalid_type")
        if value not in allowed:
            raise wrong(path, f"must be one of {', '.join(allowed)}, not {value[:100]!r}")

    return check


def number(low: float, high: float) -> Check:
    """Check for a number from *low* to *high*."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise wrong(path, "must be a number", "invalid_type")
        if value < low:
            raise wrong(path, f"must be at least {low:g}", "decimal_below_min_value")
        if value > high:
            raise wrong(path, f"must be at most {high:g}", "decimal_above_max_value")

    return check


def integer(low: int, high: int = 0) -> Check:
    """Check for an integer from *low* to *high*; 0 is no upper limit."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong(path, "must be an integer", "invalid_type")
        if value < low:
            raise wrong(path, f"must be at least {low}", "integer_below_min_value")
        if high and value > high:
            raise wrong(path, f"must be at most {high}", "integer_above_max_value")

    return check


def array(each: Check) -> Check:
    """Check for an array; *each* checks what is in it."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, list):
            raise wrong(path, "must be an array", "invalid_type")
        try:
            for item in value:
                each(item, path)
        except ApiError:
            for index, item in enumerate(value):  # once more, to name the one that is wrong
                each(item, f"{path}[{index}]")

    return check


def table(keys: Mapping[str, Check], *, required: tuple[str, ...] = ()) -> Check:
    """Check for an object; *keys* checks what is in it by name. null counts as absent, other names are let through."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise wrong(path, "must be an object", "invalid_type")
        for name in required:
            if value.get(name) is None:
                raise missing(f"{path}.{name}")
        for name, inner in value.items():
            known = keys.get(name)
            if known is not None and inner is not None:
                known(inner, f"{path}.{name}")

    return check


def either(first: type, then: type, check_then: Check) -> Check:
    """Check for a value of type *first*, or one of *then* that passes *check_then*."""

    def check(value: Any, path: str) -> None:
        if isinstance(value, then):
            check_then(value, path)
        elif not isinstance(value, first):
            raise wrong(path, f"must be {_KINDS[first]} or {_KINDS[then]}", "invalid_type")

    return check
