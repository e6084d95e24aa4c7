from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import any_text
from support import translate

from chatbridge.translate import tokens
from chatbridge.translate.tokens import guess


@pytest.mark.parametrize(("text", "count"), [
    ("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("안녕하세요", 5), ("日本", 2), ("abcd日本", 3), ("Größe", 3), ("\ud800", 1),
])  # fmt: skip
def test_a_guess(text, count):
    assert guess(text) == count


@given(any_text)
def test_a_guess_never_fails_and_grows_with_the_text(text):
    assert 0 <= guess(text) <= guess(text + text) <= len(text.encode("utf-8", "replace")) * 2 + 2


def counted(**fields):
    return tokens.estimate(translate(**fields)[0].body)


PLAIN = tokens.ANSWER + tokens.MESSAGE


def test_what_a_request_is_made_of_adds_up():
    assert counted(input="x" * 400) == PLAIN + 100
    assert counted(input="x" * 400, instructions="y" * 40) == PLAIN + 100 + tokens.MESSAGE + 10
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
    with_tool = counted(input="x" * 400, tools=[tool])
    assert PLAIN + 100 + tokens.TOOL < with_tool < PLAIN + 100 + tokens.TOOL + 50
    items = [
        {"role": "user", "content": "x" * 400},
        {"type": "function_call", "call_id": "c", "name": "name", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "c", "output": "y" * 40},
    ]
    assert counted(input=items) == PLAIN + 100 + 2 * tokens.MESSAGE + tokens.CALL + 1 + 2 + 10
    schema = {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}}
    assert counted(input="x" * 400, text=schema) > PLAIN + 100


@pytest.mark.parametrize(("part", "count"), [
    ({"type": "input_text", "text": "abcd"}, 1),
    ({"type": "input_image", "image_url": "data:image/png;base64," + "A" * 9000}, tokens.IMAGE),
    ({"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"}, tokens.SMALL_IMAGE),
    ({"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64," + "A" * 9000}, tokens.BLOB),
    ({"type": "input_audio", "input_audio": {"data": "A" * 9000, "format": "wav"}}, tokens.BLOB),
])  # fmt: skip
def test_images_and_files_have_fixed_prices(part, count):
    alone = counted(input=[{"role": "user", "content": [{"type": "input_text", "text": "abcd"}]}])
    assert counted(input=[{"role": "user", "content": [{"type": "input_text", "text": "abcd"}, part]}]) in (
        alone + count, alone + count + 1,
    )  # fmt: skip


@given(st.lists(any_text, max_size=4))
def test_another_way_to_count_is_used_for_every_text(texts):
    body = {"messages": [{"role": "user", "content": text} for text in texts]}
    assert tokens.estimate(body, lambda _: 7) == tokens.ANSWER + len(texts) * (tokens.MESSAGE + 7)
