"""openai-python: its models as a strict judge of every event, its helpers, its error classes."""

from __future__ import annotations

import asyncio
import json
import typing
from concurrent.futures import ThreadPoolExecutor

import openai
import pydantic
import pytest
import servers
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import Response, ResponseStreamEvent

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
QUESTIONS = ["hello", "weather please", "two cities", "ponder this", "many scripts", "too long", "forbidden", "as JSON"]
BROKEN = {
    "break with 500": "server_error",
    "break with 429": "rate_limit_exceeded",
    "break in the middle": "server_error",
}


def _models(union):
    for argument in typing.get_args(union):
        if isinstance(argument, type):
            yield argument
        else:
            yield from _models(argument)


EVENTS = {
    typing.get_args(model.model_fields["type"].annotation)[0]: model
    for model in _models(ResponseStreamEvent)
    if hasattr(model, "model_fields")
}


def judge(events):
    """Validate all events as the SDK's own models would if they were not lenient; check what no model says."""
    for number, (name, data) in enumerate(events):
        assert name == data["type"]
        assert data["sequence_number"] == number
        EVENTS[name].model_validate(data)
    names = [name for name, _ in events]
    assert names[:2] == ["response.created", "response.in_progress"]
    assert names[-1] in ("response.completed", "response.incomplete", "response.failed")
    assert len({data["response"]["id"] for _, data in events if "response" in data}) == 1
    return events[-1][1]["response"]


@pytest.fixture(scope="module")
def client(base_url):
    return OpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=60)


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_event_is_what_the_sdk_says_it_is(base_url, question):
    response = judge(servers.events(base_url, {"input": question, "tools": [WEATHER]}))
    assert response["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_whole_response_is_what_the_sdk_says_it_is(client, question):
    raw = client.responses.with_raw_response.create(model="m", input=question, tools=[WEATHER])
    response = Response.model_validate(json.loads(raw.text))
    assert response.output


def test_the_accumulator_takes_a_stream(client):
    with client.responses.stream(model="m", input="hello") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text == "A plain answer of a few words."


def test_the_asynchronous_accumulator_takes_a_stream(base_url):
    async def ask():
        client = AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=60)
        async with client, client.responses.stream(model="m", input="many scripts") as stream:
            async for _ in stream:
                pass
            return await stream.get_final_response()

    assert asyncio.run(ask()).output_text == "naïve Ωμέγα 日本語 👩‍🚀 done"


def test_calls_stream_and_nothing_stands_beside_them(client):
    with client.responses.stream(model="m", input="two cities", tools=[WEATHER]) as stream:
        for _ in stream:
            pass
        output = stream.get_final_response().output
    assert [json.loads(item.arguments)["city"] for item in output] == ["Lyon", "Porto"]
    assert len({item.call_id for item in output}) == len({item.id for item in output}) == 2


def test_a_tool_loop_comes_to_its_end(client):
    turns = [{"role": "user", "content": "weather please"}]
    first = client.responses.create(model="m", input=turns, tools=[WEATHER])
    turns += [item.to_dict() for item in first.output]
    turns.append({"type": "function_call_output", "call_id": first.output[-1].call_id, "output": "rain"})
    assert "umbrella" in client.responses.create(model="m", input=turns, tools=[WEATHER]).output_text


def test_a_tool_loop_goes_on_by_id(client):
    first = client.responses.create(model="m", input="weather please", tools=[WEATHER])
    result = {"type": "function_call_output", "call_id": first.output[-1].call_id, "output": "rain"}
    second = client.responses.create(model="m", input=[result], tools=[WEATHER], previous_response_id=first.id)
    assert "umbrella" in second.output_text
    assert client.responses.retrieve(second.id).output_text == second.output_text
    assert [item.type for item in client.responses.input_items.list(second.id, order="asc")][
        -1
    ] == "function_call_output"
    client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second.id)


def test_reasoning_is_an_item_of_its_own(client):
    response = client.responses.create(model="m", input="ponder this")
    assert [item.type for item in response.output] == ["reasoning", "message"]


@pytest.mark.parametrize(("question", "reason"), [("too long", "max_output_tokens"), ("forbidden", "content_filter")])
def test_an_answer_that_was_cut_is_incomplete(client, question, reason):
    response = client.responses.create(model="m", input=question)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", reason)


def test_structured_output_is_parsed(client):
    class Person(pydantic.BaseModel):
        name: str
        age: int

    response = client.responses.parse(model="m", input="as JSON", text_format=Person)
    assert response.output_parsed == Person(name="Ada", age=36)


def test_all_that_clients_send_is_taken(client):
    response = client.responses.create(
        model="m",
        instructions="Be brief.",
        input=[
            {"role": "developer", "content": "d"},
            {"role": "system", "content": "s"},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
        ],
        include=["reasoning.encrypted_content"],
        metadata={"a": "b"},
        parallel_tool_calls=True,
        prompt_cache_key="k",
        reasoning={"effort": "low", "summary": "auto"},
        store=False,
        text={"verbosity": "low"},
        tool_choice="auto",
        tools=[WEATHER, {"type": "web_search"}, {"type": "custom", "name": "patch", "description": "d"}],
    )
    assert response.output_text
    assert response.metadata == {"a": "b"}


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("break with 500", openai.InternalServerError),
        ("break with 429", openai.RateLimitError),
        ("break with 401", openai.AuthenticationError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_upstreams_error_has_its_class(client, question, kind, stream):
    with pytest.raises(kind):
        client.responses.create(model="m", input=question, stream=stream)


def test_a_stream_that_breaks_off_has_failed(base_url):
    response = judge(servers.events(base_url, {"input": "break in the middle"}))
    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": "m"},
        {"input": "x"},
        {"model": "m", "input": 3},
        {"model": "m", "input": "x", "previous_response_id": "resp_0"},
    ],
)
def test_a_bad_request_is_told(client, body):
    with pytest.raises(openai.APIStatusError) as caught:
        client.post("/responses", cast_to=object, body=body)
    assert 400 <= caught.value.status_code < 500
    assert caught.value.body["message"]


def test_a_stream_may_be_left(client):
    stream = client.responses.create(model="m", input="hello", stream=True)
    next(iter(stream))
    stream.close()
    assert client.responses.create(model="m", input="hello").output_text


def test_many_streams_at_once(client):
    def ask(number):
        stream = client.responses.create(model="m", input=f"hello {number}", stream=True)
        return "".join(event.delta for event in stream if event.type == "response.output_text.delta")

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, range(24))) == {"A plain answer of a few words."}


def test_models_are_listed(client):
    assert [model.id for model in client.models.list()]


# --- beside the responses themselves


def test_a_conversation_is_compacted_and_goes_on(client):
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
    compacted = client.responses.compact(model="m", input=turns)
    assert (compacted.object, compacted.output[-1].type) == ("response.compaction", "compaction")
    assert compacted.usage.total_tokens > 0
    items = [item.to_dict() for item in compacted.output]
    follow = client.responses.create(
        model="m", input=[*items, {"role": "user", "content": "weather please"}], tools=[WEATHER]
    )
    assert follow.output[0].type == "function_call"


def test_input_tokens_are_counted(client):
    one = client.responses.input_tokens.count(model="m", input="hello")
    more = client.responses.input_tokens.count(model="m", input="hello", instructions="Be brief.", tools=[WEATHER])
    assert 0 < one.input_tokens < more.input_tokens


def test_obfuscation_is_there_when_asked_for(base_url):
    body = {"input": "hello", "stream_options": {"include_obfuscation": True}}
    deltas = [data for name, data in servers.events(base_url, body) if name.endswith(".delta")]
    assert all("obfuscation" in data for data in deltas)
    plain = [data for name, data in servers.events(base_url, {"input": "hello"}) if name.endswith(".delta")]
    assert not any("obfuscation" in data for data in plain)


@pytest.mark.parametrize("stream", [False, True])
def test_chat_completions_pass_through(client, stream):
    answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}], stream=stream)
    if stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)
    else:
        text = answer.choices[0].message.content
        assert answer.usage.total_tokens > 0
    assert text == "A plain answer of a few words."


def test_chat_tools_pass_through(client):
    tool = {"type": "function", "function": {key: WEATHER[key] for key in ("name", "description", "parameters")}}
    asked = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "weather please"}]
    message = client.chat.completions.create(model="m", messages=asked, tools=[tool]).choices[0].message
    assert message.tool_calls[0].function.name == "get_weather"


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("break with 500", openai.InternalServerError),
        ("break with 429", openai.RateLimitError),
        ("break with 401", openai.AuthenticationError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_error_has_its_class(client, question, kind, stream):
    with pytest.raises(kind):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": question}], stream=stream)


def test_a_chat_stream_that_breaks_off_is_an_error(client):
    asked = [{"role": "user", "content": "break in the middle"}]
    with pytest.raises(openai.OpenAIError):
        for _ in client.chat.completions.create(model="m", messages=asked, stream=True):
            pass


def test_an_error_names_the_place(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(
            model="m", input=[{"role": "user", "content": [{"type": "input_image", "file_id": "file_1"}]}]
        )
    assert caught.value.param == "input[0].content[0].file_id"
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="m", input="hello", temperature=3)
    assert caught.value.param == "temperature"
