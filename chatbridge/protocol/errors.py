"""The one error type. Every failure of a request becomes an :class:`ApiError`, whoever is at fault."""

from __future__ import annotations

from enum import Enum
from typing import Any


class Kind(Enum):
    """What kind of failure it is; decides statuses, codes and whether a client should try again."""

    INVALID = "invalid"
    """The request cannot be served as it is."""
    AUTH = "auth"
    NOT_FOUND = "not_found"
    QUOTA = "quota"
    RATE_LIMIT = "rate_limit"
    OVERFLOW = "overflow"
    """The conversation is longer than the model's context window."""
    FILTERED = "filtered"
    """A content filter refused the prompt or stopped the answer."""
    UNAVAILABLE = "unavailable"
    """The upstream failed or broke off; the same request may work later."""


RETRYABLE = frozenset({Kind.RATE_LIMIT, Kind.UNAVAILABLE})


class ApiError(Exception):
    """A failure with all that both forms of telling it need.

    *status* is the HTTP status for a client that has not got one yet; *retry_after* is in seconds.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",  # noqa: A002 - the API's own word
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        kind: Kind = Kind.INVALID,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.retry_after = retry_after
        self.kind = kind

    def body(self) -> dict[str, Any]:
        """Return the JSON body of an HTTP error answer."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def response_error(self) -> dict[str, str]:
        """Return ``response.error`` for a stream that has begun.

        Strict SDKs know few codes there (``server_error``, ``rate_limit_exceeded``, ``invalid_prompt``);
        ``context_length_exceeded`` is the one other that clients act on. With them Codex makes the fewest requests:
        ``invalid_prompt`` costs one and the message is shown as it is (its own code for a quota shows a text of
        Codex), ``rate_limit_exceeded`` is spaced by "try again in Ns" in the message, ``context_length_exceeded``
        makes it compact, anything else is retried.
        """
        match self.kind:
            case Kind.RATE_LIMIT:
                return {"code": "rate_limit_exceeded", "message": self.message}
            case Kind.UNAVAILABLE:
                return {"code": "server_error", "message": self.message}
            case Kind.OVERFLOW:
                return {"code": "context_length_exceeded", "message": self.message}
            case _:
                return {"code": "invalid_prompt", "message": self.message}


def unavailable(message: str, *, status: int = 502, code: str = "upstream_error") -> ApiError:
    """Return the error for an upstream that could not be reached or broke off; trying again may help."""
    return ApiError(status, message, type="server_error", code=code, kind=Kind.UNAVAILABLE)


def internal() -> ApiError:
    """Return the error for our own fault. The details are in the log, not in the answer."""
    message = "chatbridge failed on this request; its log says why."
    return ApiError(500, message, type="server_error", code="internal_error", kind=Kind.UNAVAILABLE)
