from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import any_text, cuts, json_values

from chatbridge.protocol.jsontext import repair
from chatbridge.translate.custom_input import CustomInput, unwrap, wrap


def read(*pieces: str) -> str | None:
    """Feed the pieces; return the raw text, None when it is not whole."""
    custom = CustomInput()
    out = "".join(custom.feed(piece) for piece in pieces)
    rest = custom.end()
    assert custom.text == out + (rest or "")
    return None if rest is None else custom.text


@given(st.text(max_size=30), st.booleans(), st.sampled_from(["", " ", "\n  "]), st.data())
@example("🐎\\u0041\\ud83d", True, "", None)
def test_any_text_in_any_pieces_of_its_json_is_given_back(text, ascii_only, space, data):
    whole = json.dumps(wrap(text), ensure_ascii=ascii_only, separators=("," + space, ":" + space)).replace(
        "{", "{" + space
    )
    if space or "{" not in text:
        whole = (
            space
            + "{"
            + space
            + '"input"'
            + space
            + ":"
            + space
            + json.dumps(text, ensure_ascii=ascii_only)
            + space
            + "}"
        )
    pieces = list(whole) if data is None else data.draw(cuts(whole))
    assert read(*pieces) == text


@given(any_text, st.data())
def test_S57_halves_of_characters_are_joined_or_replaced(text, data):
    assert read(*data.draw(cuts(json.dumps({"input": text})))) == repair(text)


@given(any_text, st.data())
def test_the_pieces_make_no_difference_for_text_that_no_model_escaped(text, data):
    whole = '{"input":"' + text.replace('"', "") + '"}'
    assert read(*data.draw(cuts(whole))) == read(*whole) == read(whole)


def test_text_streams_as_it_becomes_known():
    custom = CustomInput()
    pieces = ['{"in', 'put": ', '"a', "b\\", 'n"c"', '\\"', '"', "}", " "]
    assert [custom.feed(piece) for piece in pieces] == ["", "", "a", "b", "\n", "", "", "", ""]
    assert (custom.end(), custom.text) == ("", "ab\n")


@pytest.mark.parametrize(("escape", "text"), [
    (r"\"", '"'), (r"\\", "\\"), (r"\/", "/"), (r"\b", "\b"), (r"\f", "\f"), (r"\n", "\n"), (r"\r", "\r"), (r"\t", "\t"),
    (r"\u0041", "A"), (r"\u00E9", "é"), (r"\ud83d\ude00", "😀"), (r"\uD83D\uDE00", "😀"),
    (r"\ud83dx", "\ufffdx"), (r"\ud83d\n", "\ufffd\n"), (r"\ud83d\u0041", "\ufffdA"), (r"\ud83d\ud83d\ude00", "\ufffd😀"),
    (r"\ude00", "\ufffd"),
    # Not JSON's: a model forgot to escape.
    (r"C:\users", r"C:\users"), (r"\d+", r"\d+"), (r"\u", r"\u"), (r"\u12", r"\u12"), (r"\u12x", r"\u12x"), ("\n\t", "\n\t"),
])  # fmt: skip
def test_escapes_in_pieces_of_every_size(escape, text):
    whole = '{"input":"<' + escape + '>"}'
    assert read(whole) == read(*whole) == f"<{text}>"


@pytest.mark.parametrize(("arguments", "text"), [
    ("", ""),
    ('{"input":""}', ""),
    ('{"input":"a","more":1}', "a"),
    ('{"more":1,"input":"a"}', "a"),
    ('{"cmd":"a"}', "a"),
    ('{"cmd":1}', '{"cmd":1}'),
    ('{"a":"x","b":"y"}', '{"a":"x","b":"y"}'),
    ('{"input":{"a":1}}', '{"input":{"a":1}}'),
    ('{"input":null}', '{"input":null}'),
    ("{}", "{}"),
    ('"quoted\\n"', "quoted\n"),
    ("*** Begin Patch\n*** End Patch", "*** Begin Patch\n*** End Patch"),
    ("const x = {a: 1}", "const x = {a: 1}"),
    ("{ run(); }", "{ run(); }"),
    ("[1, 2]", "[1, 2]"),
    ("12", "12"),
    ("[" * 5000, "[" * 5000),
    ("x" * 100, "x" * 100),
    ('{"input":"a\nb"}', "a\nb"),
    ('{"input":"a"', "a"),
    ('{"input":"a"}\n```', "a"),
])  # fmt: skip
def test_arguments_of_other_forms_are_unwrapped_at_the_end(arguments, text):
    assert read(arguments) == read(*arguments) == text
    assert read(arguments[:70], arguments[70:]) == text


@pytest.mark.parametrize(
    "arguments", ['{"input":"a', '{"input":"a\\', '{"input":"\\ud83d', '{"input"', '{"other":"a', '{ "']
)
def test_S54_cut_arguments_are_told_from_whole_ones(arguments):
    assert read(arguments) is None
    assert read(*arguments) is None


@pytest.mark.parametrize("glue", ["}{", "} \n {"])
def test_S13_two_calls_in_one_are_not_whole(glue):
    assert read(*f'{{"input":"a"{glue}"input":"b"}}') is None


def test_more_arguments_after_the_string_may_come_in_pieces():
    assert read('{"input":"a"', "}", "") == "a"
    assert read('{"input":"a"', ', "b": {"c": {}}', "}") == "a"


@given(json_values | st.dictionaries(st.sampled_from(["input", "x"]), json_values, max_size=2))
def test_any_whole_json_becomes_text(value):
    arguments = json.dumps(value)
    text = unwrap(arguments)
    assert text is not None
    text.encode()
    assert read(arguments) is not None


def test_a_large_input_in_small_pieces():
    # With work that grows by the square this would take minutes.
    text = 'line "quoted" \\ \n' * 150_000
    whole = json.dumps({"input": text})
    assert read(*(whole[at : at + 10] for at in range(0, len(whole), 10))) == text
