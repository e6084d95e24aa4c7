"""Items on their way to messages: what is done the quick way is what is done the long way."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.jsontext import dumps_text
from chatbridge.translate.entries import EntryReader
from chatbridge.translate.history import build_history
from chatbridge.translate.notes import Notes
from chatbridge.translate.tools import Tools
from chatbridge.vendors.profile import Profile

TEXT = st.text(st.characters() | st.sampled_from('"\\\x00\t\n\x7f\x80\u200b\u2028é'), max_size=8)
SPACE = st.sampled_from(["", " ", "\n", "\t", "\r"])


def sent(arguments):
    notes = Notes()
    item = {"type": "function_call", "call_id": "c", "name": "t", "arguments": arguments}
    [call] = EntryReader(Tools(notes), notes).read(item, "input[0]")
    return call.arguments


@given(TEXT, SPACE)
def test_arguments_go_as_they_are_where_they_are_printable(text, space):
    arguments = f'{{"a":{space}{json.dumps(text, ensure_ascii=False)}}}'
    assert sent(arguments) == (arguments if arguments.isprintable() else dumps_text({"a": text}))


@given(TEXT)
def test_arguments_with_raw_control_characters_are_written_anew(text):
    raw = json.dumps(text, ensure_ascii=False).replace("\\n", "\n").replace("\\t", "\t")
    arguments = f'{{"a":{raw}}}'
    assert sent(arguments) == (arguments if arguments.isprintable() else dumps_text({"a": text}))


@pytest.mark.parametrize(("item", "where"), [
    (5, ""),
    ({"type": 5}, ".type"),
    ({"role": "nobody", "content": "x"}, ".role"),
    ({"role": "user", "content": 5}, ".content"),
    ({"role": "user", "content": [{"type": "input_text", "text": "x"}, 5]}, ".content[1]"),
    ({"role": "user", "content": [{"type": "input_text", "text": ""}, {"type": "input_text"}]}, ".content[1].text"),
    ({"type": "function_call", "name": "t"}, ".call_id"),
    ({"type": "function_call", "call_id": "c", "name": ""}, ".name"),
    ({"type": "local_shell_call_output", "id": "", "output": "x"}, ".call_id"),
    ({"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image"}]}, ".output[0].image_url"),
])  # fmt: skip
def test_an_error_names_the_place_in_whatever_way_the_items_are_counted(item, where):
    with pytest.raises(ApiError) as caught:
        build_history(
            [{"role": "user", "content": "hi"}, item], None, Tools(Notes()), Profile(), Notes(), place="at {}".format
        )
    assert caught.value.param == f"at 1{where}"
    assert caught.value.message.startswith(f"at 1{where} must be")
