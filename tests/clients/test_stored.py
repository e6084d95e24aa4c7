"""openai-python: what is stored, the background, conversations."""

from __future__ import annotations

import time

import openai
import pytest
from openai import OpenAI
from openai.types.conversations import Conversation, ConversationItemList
from openai.types.responses import Response
from pydantic import TypeAdapter


@pytest.fixture
def client(base_url):
    return OpenAI(base_url=base_url, api_key="any", max_retries=0)


def strict(model, value):
    """Validate what the SDK takes as it comes."""
    TypeAdapter(model).validate_python(value.model_dump(exclude_unset=True))
    return value


def test_a_response_is_retrieved_listed_and_deleted(client):
    made = client.responses.create(model="m", input="hello", metadata={"a": "1"})
    assert strict(Response, client.responses.retrieve(made.id)) == made
    (item,) = client.responses.input_items.list(made.id)
    assert (item.type, item.role, item.content[0].text) == ("message", "user", "hello")
    more = client.responses.create(model="m", input="and now?", previous_response_id=made.id)
    assert more.previous_response_id == made.id
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.retrieve(made.id)
    assert caught.value.code == "response_not_found"
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="m", input="x", previous_response_id=made.id)


def test_pages_of_input_items(client):
    made = client.responses.create(model="m", input=[{"role": "user", "content": str(n)} for n in range(7)])
    listed = list(client.responses.input_items.list(made.id, limit=2, order="asc"))
    assert [item.content[0].text for item in listed] == [str(n) for n in range(7)]


def test_a_background_response_is_polled(client):
    begun = strict(Response, client.responses.create(model="m", input="ponder this", background=True))
    assert (begun.status, begun.background) == ("queued", True)
    end = time.monotonic() + 60
    while (now := client.responses.retrieve(begun.id)).status in ("queued", "in_progress"):
        assert time.monotonic() < end
    assert strict(Response, now).output_text == "It is 54."


def test_a_background_response_is_cancelled(client):
    begun = client.responses.create(model="m", input="take your time", background=True)
    cancelled = strict(Response, client.responses.cancel(begun.id))
    assert cancelled.status == "cancelled"
    assert client.responses.cancel(begun.id) == cancelled
    assert client.responses.retrieve(begun.id) == cancelled
    made = client.responses.create(model="m", input="hello")
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(made.id)


def test_a_stream_is_left_and_taken_up_again(client):
    seen, id = [], ""
    with client.responses.create(model="m", input="take your time", background=True, stream=True) as stream:
        for event in stream:
            seen.append(event)
            id = id or event.response.id
            if event.type == "response.output_text.delta":
                break
    rest = list(client.responses.retrieve(id, stream=True, starting_after=seen[-1].sequence_number))
    events = [*seen, *rest]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == events[-1].response.output_text == client.responses.retrieve(id).output_text
    assert list(client.responses.retrieve(id, stream=True)) == events


def test_the_helper_takes_a_stream_up_again(client):
    begun = client.responses.create(model="m", input="take your time", background=True, stream=True)
    first = next(iter(begun))
    begun.close()
    with client.responses.stream(response_id=first.response.id) as stream:
        assert stream.get_final_response().output_text.endswith("thirteen")
    with client.responses.stream(response_id=client.responses.create(model="m", input="ponder this").id) as stream:
        assert stream.get_final_response().output_text == "It is 54."


def test_a_conversation(client):
    made = client.conversations.create(metadata={"topic": "x"}, items=[{"role": "user", "content": "hello"}])
    assert strict(Conversation, client.conversations.retrieve(made.id)) == made
    assert client.conversations.update(made.id, metadata={"topic": "y"}).metadata == {"topic": "y"}
    added = client.conversations.items.create(made.id, items=[{"role": "assistant", "content": "yes?"}])
    strict(ConversationItemList, added)
    answer = strict(Response, client.responses.create(model="m", input="ponder this", conversation=made.id))
    assert answer.conversation.id == made.id
    items = list(client.conversations.items.list(made.id, order="asc", limit=2))
    assert [item.type for item in items] == ["message", "message", "message", "reasoning", "message"]
    assert items[-1].content[0].text == "It is 54."
    found = client.conversations.items.retrieve(items[1].id, conversation_id=made.id)
    assert found == items[1]
    assert client.conversations.items.delete(items[0].id, conversation_id=made.id).id == made.id
    assert client.conversations.delete(made.id).deleted is True
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.create(model="m", input="x", conversation=made.id)
    assert caught.value.param == "conversation"
