"""Our decoder against the one of the Twisted that is installed: same bytes, same rest, same refusals, in any reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cuts
from twisted.web.http import _ChunkedTransferDecoder

from chatbridge.upstream.chunked import SIZE_LINE_LIMIT, TRAILERS_LIMIT, ChunkedDecoder, LengthDecoder, UntilClose


def ours(reads):
    """Return the body, what came behind it (None: it has not ended), and whether it is malformed."""
    decoder, body = ChunkedDecoder(), b""
    for read in reads:
        if decoder.done or decoder.problem:
            break
        body += decoder.feed(read)
    return body, decoder.rest if decoder.done else None, bool(decoder.problem)


def twisteds(reads):
    body, rest = [], []
    decoder = _ChunkedTransferDecoder(body.append, rest.append)
    for read in reads:
        if rest:
            break
        try:
            decoder.dataReceived(read)
        except Exception:
            return b"".join(body), None, True
    return b"".join(body), rest[0] if rest else None, False


_size = st.one_of(
    st.just("{:x}"), st.just("{:X}"), st.just("0{:x}"), st.just("{:x};a=b"), st.just("{:x} "), st.just("0x{:x}"),
    st.just("+{:x}"), st.just("{:08x}"), st.just("00000000{:x}"), st.just("{:x};\x00"), st.just("{:x};" + "e" * 1030), st.just(""), st.just("-1"), st.just("g"),
)  # fmt: skip
_end = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"", b"xx", b"\r"])


@st.composite
def streams(draw):
    """Chunked bodies, most of them right, some with every kind of mistake."""
    odd = draw(st.booleans())
    out = b""
    for data in draw(
        st.lists(st.binary(max_size=30) | st.sampled_from([b"\r\n", b"0\r\n\r\n", b"5\r\nabcde\r\n"]), max_size=6)
    ):
        form = draw(_size) if odd else "{:x}"
        out += (
            form.format(len(data)).encode() + (draw(_end) if odd else b"\r\n") + data + (draw(_end) if odd else b"\r\n")
        )
    last = [
        b"0\r\n\r\n",
        b"000\r\n\r\n",
        b"0;x\r\nA: b\r\n\r\n",
        b"0\r\nA: b\r\nC: d\r\n\r\n",
        b"",
        b"5\r\nab",
    ]
    return out + draw(st.sampled_from(last))


@given(streams().flatmap(cuts))
def test_any_body_in_any_reads(reads):
    body, rest, malformed = ours(reads)
    expected, expected_rest, refused = twisteds(reads)
    assert (rest, malformed) == (expected_rest, refused)
    # Of a malformed body it depends on the reads how much is delivered before the mistake is seen.
    assert body == expected or (malformed and (body.startswith(expected) or expected.startswith(body)))


@given(st.lists(st.tuples(_size, st.sampled_from([0, 0, 0, 1, -1]), st.binary(max_size=300), _end), max_size=6))
def test_a_read_that_is_one_chunk(chunks):
    reads = [form.format(max(len(data) + off, 0)).encode() + b"\r\n" + data + end for form, off, data, end in chunks]
    apart = [bytes([byte]) for read in reads for byte in read]
    body, rest, malformed = ours(reads)
    bytewise, bytewise_rest, bytewise_malformed = ours(apart)
    assert (rest is None, malformed) == (bytewise_rest is None, bytewise_malformed)
    assert body == bytewise


@given(streams())
def test_reads_make_no_difference(body):
    whole, bytewise = ours([body]), ours([body[at : at + 1] for at in range(len(body))])
    assert (whole[0], whole[1] is None, whole[2]) == (bytewise[0], bytewise[1] is None, bytewise[2])


def test_what_comes_behind_the_body_is_handed_back():
    assert ours([b"1\r\na\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"]) == (b"a", b"HTTP/1.1 200 OK\r\n", False)


def test_what_came_before_a_mistake_is_delivered():
    assert ours([b"1\r\na\r\n1\r\nb\r\n1\r\nc!!"]) == (b"abc", None, True)


def test_nothing_is_read_after_a_mistake():
    decoder = ChunkedDecoder()
    assert (decoder.feed(b"x\r\n"), bool(decoder.problem)) == (b"", True)
    assert decoder.feed(b"3\r\nabc\r\n") == b""


def test_all_whole_chunks_of_a_read_are_one_piece():
    assert ChunkedDecoder().feed(b"1\r\na\r\n" * 9 + b"5\r\nab") == b"a" * 9 + b"ab"


@pytest.mark.parametrize(
    "sent",
    [
        b"1;" + b"e" * SIZE_LINE_LIMIT,
        b"1;" + b"e" * SIZE_LINE_LIMIT + b"\r\n",
        b"f" * 17 + b"\r\n",
        b"0\r\n" + b"a" * 9000,
        b"0\r\n" + b"a: b\r\n" * (TRAILERS_LIMIT // 6 + 1),
    ],
)
def test_lines_and_trailers_are_bounded(sent):
    assert ours([sent])[2]
    assert ours([sent[at : at + 100] for at in range(0, len(sent), 100)])[2]


def test_a_body_of_a_known_length():
    decoder = LengthDecoder(3)
    assert (decoder.feed(b"ab"), decoder.done) == (b"ab", False)
    assert (decoder.feed(b"cd"), decoder.done, decoder.rest) == (b"c", True, b"d")
    assert LengthDecoder(0).done


def test_a_body_until_the_end_of_its_connection():
    assert UntilClose().feed(b"ab") == b"ab"
