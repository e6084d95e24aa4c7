"""What goes wrong on the way to the upstream, and its :class:`ApiError`, which says which host failed and why."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from twisted.internet import error
from twisted.python.failure import Failure
from twisted.web.client import RequestTransmissionFailed, ResponseFailed, ResponseNeverReceived

from chatbridge.protocol.errors import ApiError, Kind, unavailable

try:
    from OpenSSL.SSL import Error as TLSError
    from service_identity import VerificationError
except ImportError:  # without TLS support there are no TLS errors

    class TLSError(Exception):  # type: ignore[no-redef]
        """Stands in."""

    class VerificationError(Exception):  # type: ignore[no-redef]
        """Stands in."""


class NotReady(error.TimeoutError):
    """A connection that was not ready in time; *what* is what the upstream, or the *proxy* before it, did not do."""

    def __init__(self, what: str, seconds: float, proxy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.seconds = seconds
        self.proxy = proxy


class ProxyError(error.ConnectError):
    """A proxy that lets no connection through; *passing* when it may do so later."""

    def __init__(self, proxy: str, why: str, *, passing: bool = False) -> None:
        super().__init__(why)
        self.proxy = proxy
        self.why = why
        self.passing = passing


def connection_error(failure: Failure, url: str) -> ApiError:
    """Return the error for a request that got no answer, or an answer that broke off."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    reasons = list(_reasons(failure.value))
    for reason in reasons:
        if isinstance(reason, TLSError | VerificationError):
            text = f"No TLS connection to the upstream {host}: {_tls_text(reason)}. Check its certificate and the URL."
            return ApiError(502, text, type="server_error", code="upstream_tls_error")
        if isinstance(reason, ProxyError):
            text = f"The proxy {reason.proxy} did not connect to the upstream {host}: {reason.why}."
            kind = Kind.UNAVAILABLE if reason.passing else Kind.INVALID
            return ApiError(502, text, type="server_error", code="upstream_proxy_error", kind=kind)
    for reason in reasons:
        text = _text(reason, host)
        if text:
            return unavailable(text, status=504 if isinstance(reason, error.TimeoutError) else 502)
    if failure.check(ResponseFailed):
        return unavailable(f"The upstream {host} broke off its answer.", code="upstream_incomplete")
    return unavailable(f"The connection to the upstream {host} broke off: {_last_line(reasons[-1])}")


def timed_out(url: str, seconds: float, what: str) -> ApiError:
    """Return the error for an upstream that was silent too long; *what* is what it did not do."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    return ApiError(
        504,
        f"The upstream {host} {what} within {seconds:g} seconds.",
        type="server_error",
        code="upstream_timeout",
        kind=Kind.UNAVAILABLE,
    )


def never_answered(failure: Failure) -> bool:
    """Tell whether the connection ended before a single byte of the answer came.

    With a large request it ends while that is still being sent.
    """
    return isinstance(failure.value, ResponseNeverReceived | RequestTransmissionFailed) and all(
        isinstance(reason, error.ConnectionDone | error.ConnectionLost) for reason in _reasons(failure.value)
    )


def _reasons(value: BaseException | None) -> Iterator[BaseException]:
    inner = getattr(value, "reasons", None)
    if isinstance(inner, list) and inner:
        for reason in inner:
            yield from _reasons(reason.value if isinstance(reason, Failure) else reason)
    elif value is not None:
        yield value


def _text(reason: BaseException, host: str) -> str:
    match reason:
        case error.ConnectionRefusedError():
            return f"The upstream {host} refused the connection: nothing listens there. Check --upstream-url."
        case error.DNSLookupError() | error.UnknownHostError():
            return f"The upstream's host {host} was not found in the DNS. Check --upstream-url and the network."
        case NotReady():
            who = f"proxy {reason.proxy}" if reason.proxy else f"upstream {host}"
            return f"The {who} {reason.what} within {reason.seconds:g} seconds."
        case error.TimeoutError():
            return f"The upstream {host} did not accept the connection in time."
        case error.NoRouteError():
            return f"There is no route to the upstream {host}."
        case error.ConnectError():
            return f"No connection to the upstream {host}: {_last_line(reason)}"
    return ""


def _tls_text(reason: BaseException) -> str:
    entries = reason.args[0] if reason.args and isinstance(reason.args[0], list | tuple) else ()
    texts = [str(entry[-1]) for entry in entries if isinstance(entry, list | tuple) and entry and entry[-1]]
    return ", ".join(texts) or type(reason).__name__


def _last_line(reason: BaseException) -> str:
    lines = str(reason).strip().splitlines()
    return lines[-1][:200] if lines else type(reason).__name__
