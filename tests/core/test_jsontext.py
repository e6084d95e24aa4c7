from __future__ import annotations

import json
import runpy
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import any_text, cuts, json_values

from chatbridge.protocol import jsontext
from chatbridge.protocol.jsontext import (
    DEPTH_LIMIT,
    Halves,
    dumps,
    dumps_text,
    fingerprint,
    is_json,
    loads,
    object_or_none,
    repair,
)


def nested(depth: int, opener: str = "[", closer: str = "]") -> str:
    return opener * depth + closer * depth


def repaired(text: str) -> str:
    """What repair must do, character by character."""
    out, at = "", 0
    while at < len(text):
        pair = text[at : at + 2]
        if len(pair) == 2 and "\ud800" <= pair[0] <= "\udbff" and "\udc00" <= pair[1] <= "\udfff":
            out += chr(0x10000 + ((ord(pair[0]) - 0xD800) << 10) + ord(pair[1]) - 0xDC00)
            at += 2
        else:
            out += "\ufffd" if "\ud800" <= pair[0] <= "\udfff" else pair[0]
            at += 1
    return out


@given(json_values)
def test_values_go_there_and_back(value):
    assert loads(dumps(value)) == value == loads(dumps_text(value))


def test_the_text_is_compact_utf8_with_the_keys_in_their_order():
    assert dumps({"z": 1, "a": ["č", None, True]}) == '{"z":1,"a":["č",null,true]}'.encode()


@pytest.mark.parametrize("text", [
    "", " ", "{", "nul", "'a'", "[1,]", '{"a":1}{"b":2}', '"\n"', "NaN", "[Infinity]", '{"a":-Infinity}', "1e999", "-1e999",
    b"\xff\xfe\xfd", b'"\xff"', "9" * 5000,
])  # fmt: skip
def test_what_is_not_json_raises_value_error(text):
    with pytest.raises(ValueError):
        loads(text)


@pytest.mark.parametrize(
    "data", [b'{"a":"\xc4\x8d"}', b'\xef\xbb\xbf{"a":"\xc4\x8d"}', bytearray('{"a":"č"}', "utf-8")]
)
def test_bytes_are_read_with_and_without_a_mark(data):
    assert loads(data) == {"a": "č"}


@pytest.mark.parametrize(("opener", "closer"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
@pytest.mark.parametrize("depth", [DEPTH_LIMIT + 1, 900, 100_000])
def test_what_nests_too_deep_raises_value_error(opener, closer, depth):
    text = opener * depth + "1" + closer * depth
    with pytest.raises(ValueError, match="deep"):
        loads(text)
    assert object_or_none(text) is None
    assert not is_json(text)


def test_the_deepest_that_is_read_is_also_written():
    text = nested(DEPTH_LIMIT)
    assert dumps_text(loads(text)) == text
    assert loads("[" + ",".join(["[]"] * 1000) + "]") == [[]] * 1000


def test_less_depth_than_the_stack_has_left():
    """The interpreter's own limit, met while parsing, is a ValueError too."""
    limit = sys.getrecursionlimit()
    with pytest.raises(ValueError, match="deep"):
        loads(nested(max(limit, 50_000) * 4))


look_alikes = st.recursive(
    st.sampled_from([None, False, 0, 0.0, -0.0, True, 1, 1.0, 2**70, "", "1", "\ud83d", "\ufffd"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=3,
)


@given(st.lists(look_alikes, min_size=2, max_size=20))
def test_fingerprints_differ_wherever_values_are_written_otherwise(values):
    assert len({fingerprint(value) for value in values}) == len({repr(value) for value in values})


def test_what_no_parser_makes_has_no_fingerprint():
    with pytest.raises(ValueError):
        fingerprint({"a": object()})


def test_S57_halves_are_joined_and_replaced_in_what_is_written():
    assert dumps(["a\ud83d\ude00", "\ud83d"]) == '["a😀","\ufffd"]'.encode()


@given(any_text)
def test_S57_repair_joins_neighbours_and_replaces_the_lonely(text):
    assert repair(text) == repaired(text)
    repair(text).encode()


@given(st.recursive(any_text, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3)))
def test_S57_writing_never_raises(value):
    json.loads(dumps(value))
    json.loads(dumps_text(value).encode())


def halves(text: str) -> str:
    """Return *text* with each character outside the BMP as two surrogate halves."""
    data = text.encode("utf-16-le")
    return "".join(chr(int.from_bytes(data[at : at + 2], "little")) for at in range(0, len(data), 2))


@given(st.text(max_size=12), st.text(max_size=12), st.data())
def test_S57_halves_in_any_pieces_of_two_channels_become_whole(one, two, data):
    joiner = Halves()
    pieces = [(0, piece) for piece in data.draw(cuts(halves(one)))] + [
        (1, piece) for piece in data.draw(cuts(halves(two)))
    ]
    out = {0: "", 1: ""}
    waiting = {channel: [piece for owner, piece in pieces if owner == channel] for channel in (0, 1)}
    while any(waiting.values()):
        channel = data.draw(st.sampled_from([owner for owner in waiting if waiting[owner]]))
        out[channel] += joiner.join(channel, waiting[channel].pop(0))
    assert joiner.rest() == []
    assert (out[0], out[1]) == (one, two)


@given(any_text, st.data())
def test_S57_what_stays_alone_is_replaced_at_the_end(text, data):
    joiner = Halves()
    out = "".join(joiner.join("text", piece) for piece in data.draw(cuts(text)))
    out += "".join(rest for _, rest in joiner.rest())
    assert out == repaired(text)


def test_S57_a_low_half_alone_is_replaced_at_once():
    joiner = Halves()
    assert joiner.join("a", "x\ud83d") == "x"
    assert joiner.join("b", "plain") == "plain"
    assert joiner.join("a", "y\udc00") == "\ufffdy\ufffd"


@pytest.mark.parametrize(("text", "value"), [
    ('{"a":1}', {"a": 1}),
    (' {"a":"line\nbreak"} ', {"a": "line\nbreak"}),
    ('{"a":1', None),
    ('{"a":NaN}', None),
    ('{"a":1}{"b":2}', None),
    ("[1]", None),
    ('"text"', None),
    ("null", None),
    ("", None),
])  # fmt: skip
def test_object_or_none(text, value):
    assert object_or_none(text) == value


@pytest.mark.parametrize(("text", "whole"), [
    ('{"a":"\n"}', True), ("null", True), ("[]", True), ("12", True),
    ("", False), ('{"a":', False), ("{}{}", False), ('{"a":1e999}', False),
])  # fmt: skip
def test_is_json(text, whole):
    assert is_json(text) is whole


# --- with and without the faster library


def _plain():
    """The module as it is without the optional extra."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "msgspec", None)
        return SimpleNamespace(**runpy.run_path(jsontext.__file__))


PLAIN = _plain()
TYPED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)


def outcome(function, *given):
    """What *function* gives, with the types, which equality does not tell; or that it refuses."""
    try:
        return repr(function(*given))
    except ValueError:
        return "ValueError"


@given(TYPED)
def test_the_faster_library_reads_the_same_values(value):
    for text in (json.dumps(value), json.dumps(value, indent=1), PLAIN.dumps(value), PLAIN.dumps(value).decode()):
        assert outcome(loads, text) == outcome(PLAIN.loads, text)


_tokens = [
    '"',
    "\\",
    "\\u",
    "d83d",
    "\\ude00",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "1",
    "0",
    "-",
    ".",
    "e",
    "E+",
    "9" * 19,
    "true",
    "null",
    "NaN",
    "Infinity",
    "1e400",
    " ",
    "\n",
    "\x00",
    "\x1f",
    "\x7f",
    "é",
    "\ud800",
    "/",
    "\ufeff",
    "'",
    "\x0c",
]


@given(st.lists(st.sampled_from(_tokens), max_size=8).map("".join))
def test_the_faster_library_refuses_the_same_texts(text):
    assert outcome(loads, text) == outcome(PLAIN.loads, text)
    data = text.encode("utf-8", "surrogatepass")
    assert outcome(loads, data) == outcome(PLAIN.loads, data)


@given(st.binary(max_size=12))
def test_the_faster_library_refuses_the_same_bytes(data):
    assert outcome(loads, data) == outcome(PLAIN.loads, data)
    assert outcome(loads, b'["' + data + b'"]') == outcome(PLAIN.loads, b'["' + data + b'"]')


def _without_exponents(value):
    if isinstance(value, float):
        return "e" not in repr(value) and abs(value) < 1e16
    if isinstance(value, dict):
        return all(map(_without_exponents, value.values()))
    return not isinstance(value, list) or all(map(_without_exponents, value))


@given(TYPED)
def test_the_faster_library_writes_the_same_bytes(value):
    assert repr(PLAIN.loads(dumps(value))) == repr(PLAIN.loads(PLAIN.dumps(value)))
    if _without_exponents(value):
        assert dumps(value) == PLAIN.dumps(value)
        assert dumps_text(value) == PLAIN.dumps_text(value)


@pytest.mark.parametrize("value", [{True: 1}, {None: 1}, {1: 2}, (1, 2), {"a": (1,)}])
def test_what_is_not_quite_json_is_written_as_the_standard_library_does(value):
    assert dumps(value) == PLAIN.dumps(value) == json.dumps(value, separators=(",", ":")).encode()


def test_the_fast_way_says_when_it_is_not_the_one():
    assert PLAIN.msgspec is None
    for text in (b"1", b"{"):
        with pytest.raises(ValueError):
            PLAIN.loads_fast(text)
    with pytest.raises(ValueError):
        jsontext.loads_fast(b"{")
