from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values

from chatbridge.translate.compaction import replay, seal, unseal


@given(st.text())
def test_a_summary_comes_back_from_its_envelope(summary):
    sealed = seal(summary)
    assert sealed.isascii()
    assert unseal(sealed) == summary
    assert summary in replay(sealed)


def test_the_envelope_says_its_version():
    assert seal("x").startswith("chatbridge.compaction.1:")


def test_half_characters_do_no_harm():
    assert unseal(seal("a\ud83d")) == "a?"


PREFIX = "chatbridge.compaction.1:"


@pytest.mark.parametrize("content", [
    None, 5, [], {}, "", "opaque", "chatbridge.compaction.2:eA==", PREFIX + "e", PREFIX + "e!A=", PREFIX + "č", PREFIX + "\ud83d",
    PREFIX + base64.b64encode(b"\xff").decode(),
])  # fmt: skip
def test_foreign_and_broken_envelopes_are_said_to_be_unreadable(content):
    assert unseal(content) is None
    assert "another server" in replay(content)


@given(json_values | st.text().map(lambda text: PREFIX + text))
def test_any_content_is_replayed_as_text(content):
    assert isinstance(replay(content), str)
