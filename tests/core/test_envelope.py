"""The opaque text that carries what has to come back."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import any_text, json_values

from chatbridge.protocol.jsontext import dumps, repair
from chatbridge.translate import compaction, envelope
from chatbridge.translate.entries import EntryReader, Reasoning
from chatbridge.translate.envelope import LIMIT, Envelope, seal, unseal
from chatbridge.translate.notes import Notes
from chatbridge.translate.tools import Tools

WHOLE = Envelope(
    "openrouter",
    "m",
    "resp_1",
    "Hm.",
    [{"type": "reasoning.text", "text": "č🐎"}],
    {"c1": {"google": {"a": 1}}},
    {"google": {"b": 2}},
)


def sealed(value: Envelope = WHOLE) -> str:
    text = seal(value)
    assert text is not None
    return text


def made(content: bytes, *, version: str = "1", check: int | None = None) -> str:
    """An envelope with any content, in the right form."""
    crc = zlib.crc32(content) if check is None else check
    return f"chatbridge.{version}." + base64.b64encode(crc.to_bytes(4, "big") + zlib.compress(content)).decode()


def test_it_is_one_word_of_plain_ascii_and_says_whose_it_is():
    text = sealed()
    assert text.startswith("chatbridge.1.")
    assert text.isascii()
    assert text.isprintable()
    assert " " not in text
    assert unseal(json.loads(json.dumps(text))) == WHOLE


@given(st.builds(
    Envelope, any_text, any_text, any_text, any_text, st.lists(json_values, max_size=3), st.dictionaries(any_text, json_values, max_size=3), json_values,
))  # fmt: skip
def test_whatever_is_sealed_comes_back(value):
    text = seal(value)
    if text is None:
        assert not value
        return
    found = unseal(text)
    assert isinstance(found, Envelope)
    assert (found.vendor, found.reasoning) == (repair(value.vendor), repair(value.reasoning))
    again = seal(found)
    assert again is not None
    assert unseal(again) == found


@pytest.mark.parametrize(
    "value", [Envelope(), Envelope("v", "m", "a"), Envelope(details=[], call_extras={}, extra=None, reasoning="")]
)
def test_nothing_to_keep_is_not_sealed(value):
    assert seal(value) is None


@pytest.mark.parametrize(("text", "why"), [
    ("gAAAAABmZm9v", "foreign"), ("", "foreign"), (None, "foreign"), (5, "foreign"), ({"a": 1}, "foreign"), (["chatbridge.1."], "foreign"),
    ("chatbridge", "foreign"), ("chatbridge.", "foreign"), ("chatbridge.x.AAAA", "foreign"), (compaction.seal("tea"), "foreign"),
    ("chatbridge.2.AAAA", "newer"), ("chatbridge.10.", "newer"), (made(b"{}", version="2"), "newer"),
    ("chatbridge.1", "broken"), ("chatbridge.1.", "broken"), ("chatbridge.1.AA", "broken"), ("chatbridge.1.é", "broken"), ("chatbridge.1.\ud83d", "broken"),
    ("chatbridge.1.AAAA", "broken"), ("chatbridge.1.!!!!", "broken"), (sealed() + "AAAA", "broken"), (sealed() + "\n", "broken"), (sealed()[:-4], "broken"),
    (sealed()[: len(sealed()) // 2], "broken"), (made(b"{}", check=7), "broken"), (made(b"not json"), "broken"), (made(b"[]"), "broken"), (made(b"null"), "broken"),
    (made(b'{"d":' * 3000), "broken"), (made(b"\xff"), "broken"),
])  # fmt: skip
def test_what_is_none_is_told_apart_and_never_an_error(text, why):
    assert unseal(text) == why


@pytest.mark.parametrize("content", [
    {"d": "x", "c": [], "v": 5, "m": None, "r": ["x"], "a": {}}, {"d": {"a": 1}, "c": "x"}, {"x": 5}, {},
])  # fmt: skip
def test_right_in_form_and_wrong_inside(content):
    found = unseal(made(dumps(content)))
    assert isinstance(found, Envelope)
    assert (found.vendor, found.model, found.answer, found.reasoning, found.details, found.call_extras) == (
        "",
        "",
        "",
        "",
        [],
        {},
    )


@given(st.integers(0, 8 * len(sealed()) - 1))
def test_a_flipped_bit_is_noticed(bit):
    data = bytearray(sealed().encode())
    data[bit // 8] ^= 1 << bit % 8
    found = unseal(data.decode("latin-1"))
    assert isinstance(found, str) or found == WHOLE


@given(st.integers(0, len(sealed()) - 1), st.integers(0, 40), st.text("ABCabc019+/=.", max_size=40))
@example(13, 0, "AAAA")
def test_a_part_that_was_lost_or_replaced_is_noticed(at, lost, put):
    text = sealed()
    changed = text[:at] + put + text[at + lost :]
    found = unseal(changed)
    assert isinstance(found, str) or found == WHOLE


@given(any_text | st.text("ABCDabcd0123+/=", max_size=60).map("chatbridge.1.".__add__))
def test_any_text_is_read_or_told_what_it_is(text):
    assert isinstance(unseal(text), Envelope) or unseal(text) in ("foreign", "newer", "broken")


def test_too_much_is_kept_without_the_text_that_the_summary_has_too():
    details = [{"type": "reasoning.encrypted", "data": "x"}]
    found = unseal(seal(Envelope("v", "m", "a", "r" * LIMIT, details)))
    assert isinstance(found, Envelope)
    assert (found.reasoning, found.details) == ("", details)
    assert seal(Envelope("v", "m", "a", "", [{"data": "x" * LIMIT}])) is None
    assert seal(Envelope("v", "m", "a", "r" * LIMIT)) is None


def test_the_largest_content_is_read_and_one_byte_more_is_not(monkeypatch):
    monkeypatch.setattr(envelope, "LIMIT", 500)
    room = 500 - len(dumps({"r": ""}))
    fits = seal(Envelope(reasoning="r" * room))
    assert isinstance(unseal(fits), Envelope)
    assert seal(Envelope(reasoning="r" * (room + 1))) is None
    assert unseal(made(dumps({"r": "r" * (room + 1)}))) == "broken"


def test_a_small_text_that_would_fill_the_memory_is_broken():
    assert len(bomb := made(b'{"r":"' + b"x" * 60_000_000 + b'"}')) < 100_000
    assert unseal(bomb) == "broken"


# --- inside the history


def read(item: dict[str, Any]) -> tuple[Reasoning, list[str]]:
    notes = Notes()
    [entry] = EntryReader(Tools(notes), notes).read({"type": "reasoning", **item}, "input[0]")
    assert isinstance(entry, Reasoning)
    return entry, [kind for kind, _ in notes]


@pytest.mark.parametrize(("text", "note"), [
    ("gAAAA", ["envelope:foreign"]), ("chatbridge.2.x", ["envelope:newer"]), ("chatbridge.1.x", ["envelope:broken"]), (5, ["envelope:foreign"]),
    (None, []), (sealed(), []),
])  # fmt: skip
def test_R06_what_cannot_be_read_is_noted_and_the_summary_counts(text, note):
    entry, noted = read({"summary": [{"type": "summary_text", "text": "short"}], "encrypted_content": text})
    assert noted == note
    assert entry.text == ("Hm." if text == sealed() else "short")


def test_R06_reasoning_without_an_envelope():
    assert read({})[0].text == ""
    assert read({"summary": [], "content": [{"type": "reasoning_text", "text": "all of it"}]})[0].text == "all of it"
    both = {
        "summary": [{"type": "summary_text", "text": "short"}],
        "content": [{"type": "reasoning_text", "text": "all of it"}],
    }
    assert read(both)[0].text == "all of it"
    assert read({**both, "encrypted_content": ""})[1] == []


def test_all_the_envelopes_of_a_request_together_are_bounded(monkeypatch):
    one = sealed(Envelope(reasoning="r" * 1000))
    monkeypatch.setattr(envelope, "TOTAL", 2500)
    notes = Notes()
    reader = EntryReader(Tools(notes), notes)
    summary = [{"type": "summary_text", "text": "short"}]
    items = [{"type": "reasoning", "summary": summary, "encrypted_content": one} for _ in range(4)]
    texts = [entry.text for item in items for entry in reader.read(item, "input[0]") if isinstance(entry, Reasoning)]
    assert texts == ["r" * 1000, "r" * 1000, "short", "short"]
    assert "envelope:one too many" in notes


def test_room_counts_what_is_inside_and_not_what_it_is_packed_to():
    found = unseal(sealed(Envelope(reasoning="r" * 100_000)))
    assert isinstance(found, Envelope)
    assert found.size > 100_000
    assert unseal(sealed(Envelope(reasoning="r" * 100_000)), 99_000) == "one too many"
