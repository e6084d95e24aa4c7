"""Bodies: content types, encodings, JSON."""

from __future__ import annotations

import gzip
import json
import random
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.http_headers import Headers

from chatbridge.protocol.errors import ApiError
from chatbridge.web.body import MAX_DEPTH, MAX_MEMBERS, read_json

LIMIT = 100_000
VALUE = {"model": "m", "input": "Grüße, 世界 😀", "n": [1, 2.5, None, True]}
DATA = json.dumps(VALUE).encode()


def read(data, *, encoding=None, content_type="application/json", limit=LIMIT):
    headers = Headers()
    for name, value in (("content-type", content_type), ("content-encoding", encoding)):
        if value is not None:
            headers.setRawHeaders(name, value if isinstance(value, list) else [value])
    return read_json(headers, data, limit)


def error(data, **options):
    with pytest.raises(ApiError) as caught:
        read(data, **options)
    return caught.value


def refused(data, **options):
    caught = error(data, **options)
    return caught.status, caught.code


def raw_deflate(data):
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


# Content types


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=utf-8 ; x=y",
        " application/json ",
        "application/vnd.api+json",
        "application/problem+json; x",
    ],
)
def test_json_types_are_taken(content_type):
    assert read(DATA, content_type=content_type) == VALUE


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
        "application/jsonx",
        "application/+json",
        "application/json, text/plain",
        ["application/json", "text/plain"],
        "text/plain; application/json",
        "\xff",
    ],
)
def test_other_types_are_refused(content_type):
    assert refused(DATA, content_type=content_type) == (415, "unsupported_media_type")


# Encodings


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("identity", DATA),
        ("", DATA),
        (", ,", DATA),
        ("gzip", gzip.compress(DATA)),
        ("X-GZIP", gzip.compress(DATA)),
        ("deflate", zlib.compress(DATA)),
        ("deflate", zlib.compress(DATA, 0)),
        ("deflate", zlib.compress(DATA, 9)),
        ("deflate", raw_deflate(DATA)),
        ("gzip", gzip.compress(DATA[:20]) + gzip.compress(b"") + gzip.compress(DATA[20:])),
        ("deflate, gzip", gzip.compress(zlib.compress(DATA))),
        ("gzip, identity,deflate", zlib.compress(gzip.compress(DATA))),
        (["deflate", "gzip"], gzip.compress(zlib.compress(DATA))),
        ("gzip, gzip, gzip", gzip.compress(gzip.compress(gzip.compress(DATA)))),
    ],
)
def test_encodings_are_undone(encoding, data):
    assert read(data, encoding=encoding) == VALUE


def test_encodings_in_the_wrong_order_are_broken():
    assert refused(gzip.compress(zlib.compress(DATA)), encoding="gzip, deflate") == (400, "invalid_content_encoding")


def test_too_many_encodings():
    assert refused(DATA, encoding="gzip, gzip, gzip, gzip") == (415, "unsupported_content_encoding")


@pytest.mark.parametrize("encoding", ["br", "compress", "zip", "gzip;q=1", "\xff"])
def test_unknown_encodings_name_the_known(encoding):
    caught = error(DATA, encoding=encoding)
    assert (caught.status, caught.code) == (415, "unsupported_content_encoding")
    assert "gzip, deflate, zstd, identity" in caught.message


def damaged(whole):
    """Cut at every place, and made longer."""
    yield from (whole[:end] for end in range(1, len(whole)))
    yield whole + b"x"
    yield whole + whole[:5]


@pytest.mark.parametrize(("encoding", "whole"), [("gzip", gzip.compress(DATA)), ("deflate", zlib.compress(DATA))])
def test_broken_or_truncated_encodings(encoding, whole):
    for data in damaged(whole):
        assert refused(data, encoding=encoding) == (400, "invalid_content_encoding")


def test_flipped_bits_are_noticed():
    whole = bytearray(gzip.compress(DATA))
    whole[-6] ^= 1  # in the checksum
    assert refused(bytes(whole), encoding="gzip") == (400, "invalid_content_encoding")


def padded(size):
    return b'"' + b"a" * (size - 2) + b'"'


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw_deflate)]
)
def test_limit_is_exact(encoding, compress):
    assert read(compress(padded(LIMIT)), encoding=encoding) == "a" * (LIMIT - 2)
    assert refused(compress(padded(LIMIT + 1)), encoding=encoding) == (413, "request_too_large")


def test_limit_holds_between_encodings():
    random.seed(1)
    inner = gzip.compress(json.dumps(random.randbytes(LIMIT).hex()).encode())
    assert refused(gzip.compress(inner), encoding="gzip, gzip") == (413, "request_too_large")


def peak(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", raw_deflate)])
def test_bomb_does_not_fill_the_memory(encoding, compress):
    bomb = compress(bytes(200_000_000))
    assert peak(lambda: refused(bomb, encoding=encoding)) < 16_000_000


def test_bomb_in_a_bomb():
    bomb = gzip.compress(gzip.compress(bytes(100_000_000)))
    assert peak(lambda: refused(bomb, encoding="gzip, gzip")) < 16_000_000


def test_too_many_members():
    empty = gzip.compress(b"")
    assert read(gzip.compress(DATA) + empty * (MAX_MEMBERS - 1), encoding="gzip") == VALUE
    assert refused(gzip.compress(DATA) + empty * MAX_MEMBERS, encoding="gzip") == (400, "invalid_content_encoding")


# zstd


def test_zstd():
    assert read(zstandard.ZstdCompressor().compress(DATA), encoding="zstd") == VALUE


def test_zstd_as_a_stream_without_a_size():
    stream = zstandard.ZstdCompressor().compressobj()
    assert read(stream.compress(DATA) + stream.flush(), encoding="zstd") == VALUE


def test_zstd_frames():
    compress = zstandard.ZstdCompressor().compress
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    data = compress(DATA[:20]) + skippable + compress(b"") + compress(DATA[20:])
    assert read(data, encoding="zstd") == VALUE


def test_zstd_inside_gzip():
    assert read(gzip.compress(zstandard.ZstdCompressor().compress(DATA)), encoding="zstd, gzip") == VALUE


def test_zstd_broken_or_truncated():
    for data in damaged(zstandard.ZstdCompressor(write_checksum=True).compress(DATA)):
        assert refused(data, encoding="zstd") == (400, "invalid_content_encoding")


def test_zstd_limit_is_exact():
    compress = zstandard.ZstdCompressor().compress
    assert read(compress(padded(LIMIT)), encoding="zstd") == "a" * (LIMIT - 2)
    assert refused(compress(padded(LIMIT + 1)), encoding="zstd") == (413, "request_too_large")


def test_zstd_bomb_does_not_fill_the_memory():
    bomb = zstandard.ZstdCompressor().compress(bytes(200_000_000))
    assert peak(lambda: refused(bomb, encoding="zstd")) < 16_000_000


def test_zstd_window_is_limited():
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    assert refused(stream.compress(DATA) + stream.flush(), encoding="zstd") == (400, "invalid_content_encoding")


def test_zstd_frames_are_counted():
    skippable = b"\x50\x2a\x4d\x18\x00\x00\x00\x00"
    data = zstandard.ZstdCompressor().compress(DATA) + skippable * MAX_MEMBERS
    assert refused(data, encoding="zstd") == (400, "invalid_content_encoding")


# JSON


def test_empty_body():
    assert refused(b"") == (400, "empty_body")
    assert refused(b"", encoding="gzip") == (400, "empty_body")


@pytest.mark.parametrize(
    "data", [b" ", b"{", b"{}x", b'{"a":}', b"[1,]", b"'a'", b'"\n"', b"nul", b"\x00", gzip.compress(b"")]
)
def test_broken_json(data):
    encoding = "gzip" if data[:1] == b"\x1f" else None
    assert refused(data, encoding=encoding) == (400, "invalid_json")


def test_place_of_a_mistake():
    assert "line 2, column 6" in error(b'{"a": 1,\n"b": }').message
    assert "byte 7" in error(b'{"a": "\xff"}').message


def test_message_does_not_quote_the_body():
    assert "s3cret" not in error(b'{"a": s3cret}').message


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 5000])
def test_numbers_that_are_none(number):
    assert refused(b'{"a": [%s]}' % number) == (400, "invalid_json")


def test_numbers():
    assert read(b"[1, -2.5, 1e3, 1e-999, 123456789012345678901234567890]") == [
        1,
        -2.5,
        1000.0,
        0.0,
        123456789012345678901234567890,
    ]


def test_byte_order_mark():
    assert read(b"\xef\xbb\xbf" + DATA) == VALUE


@pytest.mark.parametrize("coding", ["utf-16", "utf-32"])
def test_other_codings_of_unicode(coding):
    assert refused(DATA.decode().encode(coding)) == (400, "invalid_json")


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize(
    ("inner", "levels"), [(b"1", 0), (b'"[{ %s"' % (b"x" * 20_000), 0), (b"[{}%s]" % (b",[]" * 200), 2)]
)
def test_depth(opening, closing, inner, levels):
    def nested(depth):
        return opening * (depth - levels) + inner + closing * (depth - levels)

    assert read(nested(MAX_DEPTH)) is not None
    for depth in (MAX_DEPTH + 1, 10_000, 1_000_000):
        caught = error(nested(depth), limit=10**8)
        assert (caught.status, caught.code) == (400, "invalid_json")
        assert "deeply" in caught.message


@given(
    st.binary(max_size=200),
    st.sampled_from([None, "gzip", "deflate", "zstd", "gzip, deflate", "br", "identity"]),
    st.sampled_from([b"", b"\x1f\x8b\x08\x00", b"\x78\x9c", b"\x28\xb5\x2f\xfd", b'{"a":']),
)
def test_only_api_errors(data, encoding, start):
    try:
        read(start + data, encoding=encoding)
    except ApiError as caught:
        assert caught.status in (400, 413, 415)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda child: st.lists(child, max_size=4) | st.dictionaries(st.text(), child, max_size=4),
    max_leaves=12,
)


@given(JSON, st.sampled_from([(None, bytes), ("gzip", gzip.compress), ("deflate", raw_deflate)]))
def test_values_come_through(value, coding):
    encoding, compress = coding
    assert read(compress(json.dumps(value).encode()), encoding=encoding) == value
