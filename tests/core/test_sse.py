from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import any_text, cuts, json_values

from chatbridge.protocol.sse import COMMENT, Decoder, OverlongError, frame

BOM = b"\xef\xbb\xbf"
FRAGMENTS = [
    b"data:",
    b"data: ",
    b"data",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b":",
    b" ",
    b"x",
    b"\xc3\xa9",
    b"event: e",
    BOM,
]


def reference(data: bytes) -> list[bytes]:
    """The WHATWG rules, line by line; an event without data is not dispatched."""
    events, lines = [], []
    for line in re.split(rb"\r\n|\r|\n", data.removeprefix(BOM))[:-1]:
        if not line:
            if payload := b"\n".join(lines):
                events.append(payload)
            lines = []
            continue
        field, _, value = line.partition(b":")
        if field == b"data":
            lines.append(value.removeprefix(b" "))
    return events


def decode(*reads: bytes) -> list[bytes]:
    decoder = Decoder()
    return [payload for read in reads for payload in decoder.feed(read)]


@given(st.data())
def test_any_bytes_in_any_reads_are_decoded_by_the_rules(data):
    whole = b"".join(data.draw(st.lists(st.sampled_from(FRAGMENTS), max_size=25)))
    assert decode(*data.draw(cuts(whole))) == reference(whole)


@given(st.binary(max_size=60))
def test_any_junk_byte_by_byte_is_decoded_by_the_rules(whole):
    assert decode(*(bytes([byte]) for byte in whole)) == reference(whole)


@pytest.mark.parametrize("reads", [
    (b"data: x\r", b"\n", b"\n"),
    (b"data: x\r", b"", b"\n\n"),
    (b"data: x\r", b"\n\r\n"),
    (b"data: x\r\r",),
])  # fmt: skip
def test_S55_line_ends_of_all_kinds_cut_anywhere(reads):
    assert decode(*reads) == [b"x"]


@pytest.mark.parametrize(("stream", "payloads"), [
    (b"data:x\n\n", [b"x"]),
    (b"data:  x\n\n", [b" x"]),
    (b"data: a\ndata: b\n\n", [b"a\nb"]),
    (b"data:x \n\n", [b"x "]),
    (b"data:  a\ndata:\tb \n\n", [b" a\n\tb "]),
    (b"data: {\ndata:}\n\n", [b"{\n}"]),
    (b"id: 7\nevent: chunk\nretry: 10\ndata: x\n\n", [b"x"]),
    (b"data:\n\n", []),
    (b"event: ping\n\n", []),
    (BOM + b"data: x\n\n", [b"x"]),
    (BOM + BOM + b"data: x\n\n", []),
    (b"\n\n\ndata: x\n\n\n\ndata: y\n\n", [b"x", b"y"]),
    (b"dat: x\n\ndatas: y\n\n", []),
])  # fmt: skip
def test_S55_framing_oddities(stream, payloads):
    assert decode(stream) == payloads == reference(stream)


def test_S50_comments_are_left_out():
    assert decode(b": PROCESSING\n\n" * 30 + b": keep-alive\ndata: x\n\n") == [b"x"]


def test_S56_a_character_cut_by_a_read_is_whole_again():
    text = "žluťoučký 🐎".encode()
    assert decode(*(bytes([byte]) for byte in b"data: " + text + b"\n\n")) == [text]


def test_several_events_in_one_read():
    assert decode(b"data: 1\n\ndata: 2\n\ndata: 3\n\nda", b"ta: 4\n\n") == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(("rest", "payloads"), [
    (b"data: [DONE]", [b"[DONE]"]),
    (b"data: x\n", [b"x"]),
    (b": bye\n", []),
    (b"", []),
])  # fmt: skip
def test_S54_what_no_blank_line_ended_comes_at_the_close_and_once(rest, payloads):
    decoder = Decoder()
    assert decoder.feed(b"data: 1\n\n" + rest) == [b"1"]
    assert decoder.close() == payloads
    assert decoder.close() == []


def test_an_event_above_the_limit_is_refused_and_many_small_ones_are_not():
    decoder = Decoder(limit=100)
    assert len(decoder.feed(b"data: 123456\n\n" * 50)) == 50
    assert decoder.feed(b"data: " + b"x" * 94) == []
    with pytest.raises(OverlongError, match="100 bytes"):
        decoder.feed(b"x")


def test_a_large_event_in_small_reads():
    # With work that grows by the square this would take minutes.
    whole = b"data: " + b"x" * 8_000_000 + b"\n\n"
    assert decode(*(whole[at : at + 1000] for at in range(0, len(whole), 1000))) == [b"x" * 8_000_000]


@given(st.dictionaries(any_text, json_values | any_text, max_size=4))
def test_an_event_is_written_as_one_piece_that_every_parser_reads(fields):
    data = frame({**fields, "type": "response.created"})
    name, value, *rest = data.split(b"\n")
    assert name == b"event: response.created"
    assert rest == [b"", b""]
    assert b"\r" not in data
    assert json.loads(value.removeprefix(b"data: "))["type"] == "response.created"
    assert decode(data) == [value.removeprefix(b"data: ")]


def test_a_sign_of_life_is_a_comment():
    assert decode(COMMENT, b"data: x\n\n") == [b"x"]
