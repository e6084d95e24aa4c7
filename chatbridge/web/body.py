"""A request's body: content type, content encodings, JSON."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from gc import get_referents, is_tracked
from io import BytesIO
from typing import Any, NoReturn, Protocol

import zstandard

from chatbridge.protocol import jsontext
from chatbridge.protocol.errors import ApiError

MAX_DEPTH = 128
"""How deep JSON may nest, so that whoever walks it later needs no care; the parser itself would allow more."""
MAX_ENCODINGS = 3
MAX_MEMBERS = 1000
"""How many gzip members or zstd frames a body may have: each costs time, even an empty one."""
MAX_WINDOW = 8 * 1024 * 1024
"""The zstd window in bytes that RFC 9659 lets HTTP clients use."""
SUPPORTED = "gzip, deflate, zstd, identity"

_JSON_TYPE = re.compile(r"application/(?:[\w!#$&^.-]+\+)?json\s*(?:;.*)?", re.IGNORECASE | re.ASCII)


class HeadersLike(Protocol):
    """What is needed of :class:`twisted.web.http_headers.Headers`."""

    def getRawHeaders(self, name: bytes, /) -> Sequence[bytes] | None:
        """Return all values of the header *name*, or None."""


class _Stream(Protocol):
    """What zlib's and zstandard's decompression objects have in common."""

    def decompress(self, data: bytes, /) -> bytes: ...
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


def read_json(headers: HeadersLike, data: bytes, limit: int) -> object:
    """Return the JSON value in *data*, as *headers* describe it.

    *limit* is the largest size in bytes after decoding. Whatever is wrong is an :class:`ApiError` with status
    400, 413 or 415.
    """
    # Two headers joined match no type, as it should be. None at all is JSON: there is nothing else it could be.
    types = headers.getRawHeaders(b"content-type")
    if types and not _is_json(types[0] if len(types) == 1 else b", ".join(types)):
        raise ApiError(415, "The content type must be application/json.", code="unsupported_media_type")
    if not data:
        raise _bad("The request has no body; JSON is expected.", "empty_body")
    encodings = headers.getRawHeaders(b"content-encoding")
    if encodings:
        for encoding in reversed(_encodings(encodings)):
            data = _decode(encoding, data, limit)
    return parse(data)


def take(request: Any) -> bytes:
    """Return the body that came with *request*, which lets go of it: an answer may take an hour."""
    content, request.content = request.content, BytesIO()
    return content.read() if content is not None else b""


def parse(data: bytes) -> object:
    """Return the JSON value in *data*: UTF-8, finite numbers, at most :data:`MAX_DEPTH` levels."""
    try:
        value: object = jsontext.loads_fast(data)
    except ValueError:
        value = _parse(data)
    if not _shallow(value):
        _check_depth(value)
    return value


def _parse(data: bytes) -> object:
    try:
        value: object = _decoder.decode(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _bad(f"The body is not UTF-8: {error.reason} at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        message = f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        raise _bad(message) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:  # Python's limit on the digits of an integer
        raise _bad("The body is not JSON that can be read: a number has too many digits.") from None
    return value


@lru_cache(64)  # each request asks, mostly for the same
def _is_json(content_type: bytes) -> bool:
    return _JSON_TYPE.fullmatch(content_type.decode("latin-1").strip()) is not None


def _encodings(values: Sequence[bytes]) -> list[str]:
    """Return the content encodings in the order in which they were applied."""
    text = b",".join(values).decode("latin-1").lower()
    named = [name for name in (part.strip() for part in text.split(",")) if name not in {"", "identity"}]
    if len(named) > MAX_ENCODINGS:
        raise _unsupported(f"More than {MAX_ENCODINGS} content encodings.")
    return named


def _decode(encoding: str, data: bytes, limit: int) -> bytes:
    match encoding:
        case "gzip" | "x-gzip":
            return _decode_zlib(data, limit, zlib.MAX_WBITS | 16)
        case "deflate":
            return _decode_deflate(data, limit)
        case "zstd":
            return _decode_zstd(data, limit)
        case _:
            raise _unsupported("Unknown content encoding.")


def _decode_deflate(data: bytes, limit: int) -> bytes:
    """Decode zlib data, which is the standard, or the bare deflate data that some clients send instead."""
    # Bare data never begins like this: it would be a stored block whose padding is not zero.
    if data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0:
        return _decode_zlib(data, limit, zlib.MAX_WBITS)
    return _decode_zlib(data, limit, -zlib.MAX_WBITS)


def _decode_zlib(data: bytes, limit: int, wbits: int) -> bytes:
    # Deflate makes at most 1,032 bytes of one: a step holds 4 MiB at most.
    try:
        return _decode_steps(data, limit, 4096, partial(zlib.decompressobj, wbits))
    except zlib.error:
        raise _broken() from None


def _decode_zstd(data: bytes, limit: int) -> bytes:
    context = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    # Four bytes can stand for a block of 128 KiB: a step holds 4 MiB at most.
    try:
        return _decode_steps(data, limit, 128, context.decompressobj)
    except zstandard.ZstdError:
        raise _broken() from None


def _decode_steps(data: bytes, limit: int, step: int, start: Callable[[], _Stream]) -> bytes:
    """Decode *data* by *step* bytes at a time, so that a bomb is seen before it has filled the memory."""
    parts: list[bytes] = []
    size = 0
    members = 1
    stream = start()
    for at in range(0, len(data), step):
        piece = data[at : at + step]
        while piece:
            if stream.eof:
                members += 1
                stream = start()
            if members > MAX_MEMBERS:
                raise _broken("it has too many parts")
            part = stream.decompress(piece)
            piece = stream.unused_data
            size += len(part)
            if size > limit:
                raise too_large(limit)
            if part:
                parts.append(part)
    if not stream.eof:
        raise _broken("it is cut off")
    return b"".join(parts)


def _shallow(value: object) -> bool:
    """Whether *value* surely nests no deeper than it may, told without a look at each value in it.

    What the garbage collector does not track holds nothing that it would; that can be an object of plain values.
    """
    level = [value]
    for _ in range(MAX_DEPTH - 1):
        level = list(filter(is_tracked, get_referents(*level)))
        if not level:
            return True
    return False


def _check_depth(value: object) -> None:
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        below: list[object] = []
        for item in level:
            below += item.values() if isinstance(item, dict) else item
        level = [item for item in below if isinstance(item, dict | list)]
        if not level:
            return
    raise _too_deep()


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _bad("The body is not JSON that can be read: a number is too large.")
    return value


def _constant(name: str) -> NoReturn:
    raise _bad(f"The body is not JSON: {name} is not a JSON number.")


_decoder = json.JSONDecoder(parse_float=_finite, parse_constant=_constant)


def too_large(limit: int) -> ApiError:
    """Return the error for a body above *limit* bytes."""
    message = f"The request body is larger than {limit} bytes (--max-request-bytes)."
    return ApiError(413, message, code="request_too_large")


def _bad(message: str, code: str = "invalid_json") -> ApiError:
    return ApiError(400, message, code=code)


def _too_deep() -> ApiError:
    return _bad("The body is not JSON that can be read: it nests too deeply.")


def _broken(why: str = "it does not decode") -> ApiError:
    return _bad(f"The body's content encoding is broken: {why}.", "invalid_content_encoding")


def _unsupported(what: str) -> ApiError:
    return ApiError(415, f"{what} Accepted: {SUPPORTED}.", code="unsupported_content_encoding")
