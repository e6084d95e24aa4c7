"""Texts that are made once: byte for byte what would be written without them."""

from hypothesis import given
from hypothesis import strategies as st
from strategies import any_text, plain_values

from chatbridge.protocol import sse
from chatbridge.protocol.jsontext import dumps, loads
from chatbridge.protocol.kept import Kept, Lifecycle, ResponseTexts, event_text, list_text, object_text
from chatbridge.protocol.kept import _object_text as plain_object_text

objects = st.dictionaries(any_text, plain_values | any_text, max_size=5)


@given(st.lists(objects | plain_values, max_size=5), st.data())
def test_an_array_with_some_texts_kept(values, data):
    mixed = [Kept(value) if isinstance(value, dict) and data.draw(st.booleans()) else value for value in values]
    assert list_text(mixed) == dumps(values)
    assert mixed == values


@given(objects, st.data())
def test_an_object_with_some_texts_kept(value, data):
    known = data.draw(st.lists(st.sampled_from(sorted(value)), unique=True)) if value else []
    # Two keys may be written alike, when both hold halves of characters.
    known = [key for key in known if key.isprintable()]
    texts = {key: dumps(value[key]) for key in known}
    assert object_text(value, texts) == plain_object_text(value, texts) == dumps(value)


@given(
    instructions=st.none() | any_text,
    tools=st.lists(objects, max_size=3),
    rest=objects,
    kept=st.booleans(),
    number=st.integers(0, 10**6),
)
def test_an_event_with_the_response_in_it(instructions, tools, rest, kept, number):
    rest = {key: value for key, value in rest.items() if key not in ("instructions", "tools")}
    response = {
        "id": "resp_1",
        "instructions": instructions,
        **rest,
        "tools": [Kept(tool) if kept else tool for tool in tools],
        "status": "in_progress",
    }
    texts = ResponseTexts(response)
    for status in ("in_progress", "completed"):
        response["status"] = status
        event = Lifecycle(f"response.{status}", dict(response), texts)
        event["sequence_number"] = number
        plain = {"type": f"response.{status}", "response": dict(response), "sequence_number": number}
        assert event_text(event) == dumps(plain)
        assert sse.frame(event) == sse.frame(plain)
        assert event == plain


def test_what_is_replaced_in_the_response_is_seen():
    response = {"instructions": "a", "tools": [Kept({"name": "t"})]}
    texts = ResponseTexts(response)
    assert loads(texts.text(response)) == response
    for changed in ({**response, "instructions": "b"}, {**response, "tools": []}, {"tools": response["tools"]}, {}):
        assert texts.text(changed) == dumps(changed)
