"""The practice upstream: what it says, and how it streams it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from chatbridge.practice.instance import instance
from chatbridge.practice.script import COMMAND, answer
from chatbridge.practice.upstream import practice_site
from chatbridge.translate import compaction

SHELL = {
    "type": "function",
    "function": {
        "name": "exec_command",
        "parameters": {
            "type": "object",
            "properties": {"cmd": {"type": "string"}, "tty": {"type": "boolean"}},
            "required": ["cmd"],
        },
    },
}
CODE = {
    "type": "function",
    "function": {
        "name": "functions__exec",
        "parameters": {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]},
    },
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"enum": ["C", "F"]},
                "days": {"type": "integer", "minimum": 1},
            },
            "required": ["city", "unit", "days"],
        },
    },
}


def body(text="hello", **more):
    return {
        "model": "m",
        "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": text}],
    } | more


def only_call(script):
    (call,) = script.calls
    return call.name, json.loads(call.arguments)


def test_the_greeting_says_what_came_and_what_to_do_next():
    text = answer(body("say\n  hi", tools=[SHELL])).text
    assert "built-in practice upstream of chatbridge" in text
    assert "- model: m\n" in text
    assert "- messages: 2\n" in text
    assert "- tools: 1 (exec_command)" in text
    assert '"say hi"' in text
    for word in ("OPENAI_API_KEY", "CHATBRIDGE_UPSTREAM_URL", "--upstream-url"):
        assert word in text


def test_a_long_prompt_is_quoted_short():
    text = answer(body("x" * 5000)).text
    assert "x" * 120 + "..." in text
    assert "x" * 121 not in text


def test_without_tools_no_tool_call_is_advertised():
    assert "use a tool" not in answer(body("hi")).text


def test_the_last_user_text_may_be_a_list_of_parts():
    content = [
        {"type": "image_url", "image_url": {"url": "data:"}},
        {"type": "text", "text": "what is it"},
        {"type": "text"},
        "odd",
    ]
    assert '"what is it"' in answer({"model": "m", "messages": [{"role": "user", "content": content}]}).text


@pytest.mark.parametrize("words", ["please use a tool", "Run a command", "LIST the FILES", "try the shell", "tool"])
def test_who_asks_for_a_tool_gets_a_call(words):
    assert only_call(answer(body(words, tools=[WEATHER, SHELL]))) == ("exec_command", {"cmd": COMMAND})


@pytest.mark.parametrize("words", ["hello", "what does a toolbox hold", "a command of French", "my profile"])
def test_who_does_not_ask_gets_text(words):
    script = answer(body(words, tools=[SHELL]))
    assert script.calls == ()
    assert script.finish_reason == "stop"


def test_no_call_without_tools_or_against_tool_choice():
    assert answer(body("use a tool")).calls == ()
    assert answer(body("use a tool", tools=[SHELL], tool_choice="none")).calls == ()


def test_tool_choice_asks_for_a_call_too():
    assert only_call(answer(body("hello", tools=[WEATHER, SHELL], tool_choice="required")))[0] == "exec_command"
    named = {"type": "function", "function": {"name": "get_weather"}}
    assert only_call(answer(body("hello", tools=[SHELL, WEATHER], tool_choice=named)))[0] == "get_weather"
    absent = {"type": "function", "function": {"name": "absent"}}
    assert answer(body("hello", tools=[SHELL], tool_choice=absent)).calls == ()


def test_a_command_may_be_a_list():
    tool = {
        "function": {
            "name": "shell",
            "parameters": {"type": "object", "properties": {"command": {"type": "array", "items": {"type": "string"}}}},
        }
    }
    assert only_call(answer(body("use a tool", tools=[tool]))) == ("shell", {"command": ["sh", "-c", COMMAND]})


def test_code_mode_gets_javascript():
    name, arguments = only_call(answer(body("use a tool", tools=[WEATHER, CODE])))
    assert name == "functions__exec"
    assert arguments == {
        "input": 'text((await tools.exec_command({cmd: "echo \\"hello from chatbridge practice\\""})).output)'
    }


def test_any_other_tool_gets_arguments_from_its_schema():
    assert only_call(answer(body("use a tool", tools=[WEATHER]))) == (
        "get_weather",
        {"city": "practice", "unit": "C", "days": 1},
    )
    assert only_call(answer(body("use a tool", tools=[{"function": {"name": "ping"}}]))) == ("ping", {})


def test_the_result_is_quoted_and_ends_the_turn():
    first = answer(body("use a tool", tools=[SHELL]))
    history = [
        *body("use a tool")["messages"],
        {"role": "assistant", "content": "", "tool_calls": [c.wire() for c in first.calls]},
    ]
    history.append({"role": "tool", "tool_call_id": first.calls[0].id, "content": "hello from chatbridge practice\n"})
    second = answer({"model": "m", "messages": history, "tools": [SHELL], "tool_choice": "required"})
    assert second.calls == ()
    assert "hello from chatbridge practice" in second.text
    history += [{"role": "assistant", "content": second.text}, {"role": "user", "content": "one more tool"}]
    third = answer({"model": "m", "messages": history, "tools": [SHELL]})
    assert third.calls[0].id != first.calls[0].id


def test_a_long_result_is_cut():
    messages = [
        {"role": "user", "content": "tool"},
        {"role": "tool", "content": [{"type": "text", "text": "y" * 9000}]},
    ]
    assert "y" * 600 + "...\n" in answer({"model": "m", "messages": messages}).text


def test_a_json_schema_gets_a_fitting_object():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert json.loads(answer(body(response_format=wanted)).text) == {"a": "practice"}


def test_json_object_gets_an_object():
    assert "message" in json.loads(answer(body(response_format={"type": "json_object"})).text)


@pytest.mark.parametrize(
    "prompt",
    [
        "You are performing a CONTEXT CHECKPOINT COMPACTION. Create a handoff summary, name the tools.",
        compaction.PROMPT,
    ],
)
def test_a_compaction_prompt_gets_a_summary(prompt):
    assert answer(body(prompt)).text.startswith("Summary")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"const": 3}, 3),
        ({"type": "string", "default": "d"}, "d"),
        ({"type": ["null", "integer"]}, 0),
        ({"type": "null"}, None),
        ({"type": "boolean"}, False),
        ({"type": "number", "exclusiveMinimum": 4.5}, 5.5),
        ({"type": "integer", "maximum": -2}, -2),
        ({"type": "integer", "exclusiveMaximum": 0}, -1),
        ({"type": "string", "minLength": 10}, "practice.."),
        ({"type": "string", "maxLength": 3}, "pra"),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [False, False]),
        ({"items": {}}, []),
        ({"anyOf": [{"type": "null"}, {"const": 1}]}, 1),
        ({"oneOf": [{"type": "null"}]}, None),
        ({"$defs": {"a/b": {"const": 7}}, "$ref": "#/$defs/a~1b"}, 7),
        ({"$ref": "elsewhere"}, None),
        ({"properties": {"a": True}, "required": ["a", "b", 5]}, {"a": None, "b": "practice"}),
        (
            {
                "$defs": {"x": {"properties": {"a": {"const": 1}}, "required": ["a"]}},
                "allOf": [
                    {"$ref": "#/$defs/x"},
                    {"type": "object", "properties": {"b": {"const": 2}}, "required": ["b"]},
                ],
            },
            {"a": 1, "b": 2},
        ),
        ({"allOf": [{"type": "boolean"}]}, False),
        (True, None),
    ],
)
def test_an_instance_of_a_schema(schema, value):
    assert instance(schema) == value


def test_a_schema_that_grows_without_end_is_cut_off():
    twice = {"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}, "required": ["a", "b"]}
    assert len(json.dumps(instance(twice))) < 20_000


def chunks(script):
    return list(script.chunks("id", 5, include_usage=True))


def told(script):
    """Put the chunks together again, as a client would."""
    text, reasoning, calls, finish = "", "", {}, None
    for chunk in chunks(script):
        for choice in chunk["choices"]:
            delta = choice["delta"]
            finish = choice["finish_reason"] or finish
            text += delta.get("content") or ""
            reasoning += delta.get("reasoning_content") or ""
            for call in delta.get("tool_calls", []):
                head = calls.setdefault(call["index"], [call.get("id"), call["function"].get("name"), ""])
                head[2] += call["function"]["arguments"]
    return text, reasoning, list(calls.values()), finish


@pytest.mark.parametrize("words", ["hello", "use a tool"])
def test_chunks_and_completion_say_the_same(words):
    script = answer(body(words, tools=[SHELL]))
    message = script.completion("id", 5)["choices"][0]["message"]
    calls = [[c["id"], c["function"]["name"], c["function"]["arguments"]] for c in message.get("tool_calls", [])]
    assert told(script) == (message["content"], message["reasoning_content"], calls, script.finish_reason)
    assert chunks(script)[-1]["usage"] == script.usage
    assert chunks(script)[-1]["choices"] == []
    assert script.usage["total_tokens"] == script.usage["prompt_tokens"] + script.usage["completion_tokens"] > 0


def test_usage_comes_only_when_asked_for():
    assert not any("usage" in c for c in answer(body()).chunks("id", 5, include_usage=False))


KEYWORDS = [
    *("type", "properties", "required", "enum", "anyOf", "allOf", "items", "default", "$ref"),
    *("minItems", "minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength"),
    *("function", "name", "parameters", "role", "content", "text", "tool_calls", "json_schema", "schema"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYWORDS) | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


@settings(deadline=None, max_examples=150)
@given(JSON, JSON, JSON, JSON)
def test_no_body_makes_it_fall_over(content, tools, parameters, wanted):
    offered = [tools, {"function": {"name": "x", "parameters": parameters}}]
    script = answer(
        {
            "model": "m",
            "messages": [{"role": "user", "content": content}, {"role": "user", "content": "use a tool"}],
            "tools": offered,
            "response_format": wanted,
        }
    )
    assert json.dumps(chunks(script))


@settings(deadline=None, max_examples=150)
@given(JSON)
def test_no_schema_makes_it_fall_over(schema):
    json.dumps(instance(schema))


class Client:
    """One connection to the practice site, in memory."""

    def __init__(self, delay=0.02):
        self.clock = Clock()
        self.site = practice_site(self.clock, delay)
        self.site.startFactory()
        self.transport = StringTransport()
        self.channel = self.site.buildProtocol(None)
        self.channel.makeConnection(self.transport)

    def send(self, method, path, content=b""):
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
        self.channel.dataReceived(head.encode() + content)

    def post(self, value, path="/v1/chat/completions"):
        self.send("POST", path, json.dumps(value).encode())

    def run(self, seconds=60.0):
        for _ in range(int(seconds / 0.02)):
            self.clock.advance(0.02)

    def answer(self):
        """Return status, headers and body of the answer so far."""
        head, _, content = self.transport.value().partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        if headers.get("transfer-encoding") == "chunked":
            content = b"".join(content.split(b"\r\n")[1::2])
        return int(lines[0].split()[1]), headers, content


def events(content):
    return [line[6:] for line in content.decode().split("\n\n") if line]


def test_a_stream_comes_piece_by_piece_and_ends_with_done():
    client = Client()
    client.post(body("hello", stream=True, stream_options={"include_usage": True}))
    status, headers, content = client.answer()
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    assert len(events(content)) == 1
    client.clock.advance(0.02)
    assert len(events(client.answer()[2])) == 2
    client.run()
    told = events(client.answer()[2])
    assert told[-1] == "[DONE]"
    *rest, last = [json.loads(event) for event in told[:-1]]
    assert last["usage"]["total_tokens"] > 0
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in rest) == answer(body("hello")).text
    assert len({c["id"] for c in [*rest, last]}) == 1


def test_the_connection_is_kept_for_the_next_request():
    client = Client()
    for _ in range(2):
        client.transport.clear()
        client.post(body("hello", stream=True))
        client.run()
        assert b"[DONE]" in client.transport.value()
    assert not client.transport.disconnecting


def test_a_client_that_leaves_ends_the_stream():
    client = Client()
    client.post(body("hello", stream=True))
    client.channel.connectionLost(Failure(ConnectionDone()))
    assert not [call for call in client.clock.getDelayedCalls() if "_Stream" in repr(call.func)]
    client.run()


def test_a_slow_client_pauses_the_stream():
    client = Client()
    client.post(body("hello", stream=True))
    client.transport.producer.pauseProducing()
    sent = client.transport.value()
    client.run()
    assert client.transport.value() == sent
    client.transport.producer.resumeProducing()
    client.run()
    assert b"[DONE]" in client.transport.value()


def test_not_streaming_gives_one_completion():
    client = Client()
    client.post(body("use a tool", tools=[SHELL], stream=False))
    status, headers, content = client.answer()
    assert (status, headers["content-type"]) == (200, "application/json")
    completion = json.loads(content)
    assert completion["object"] == "chat.completion"
    assert completion["choices"][0]["finish_reason"] == "tool_calls"


def test_models():
    client = Client()
    client.send("GET", "/v1/models")
    status, _, content = client.answer()
    assert status == 200
    assert json.loads(content)["data"][0]["id"] == "practice"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        b'{"model":"","messages":[{}]}',
        b'{"model":"m"}',
        b'{"model":"m","messages":[]}',
        b'{"model":"m","messages":["x"]}',
        b'{"model":"m","messages":[{"role":"user","content":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
    ],
)
def test_a_bad_request_gets_a_json_error(content):
    client = Client()
    client.send("POST", "/v1/chat/completions", content)
    status, _, answered = client.answer()
    assert status == 400
    assert json.loads(answered)["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/models/x", "/v1/chat", "/other"])
def test_another_path_is_a_json_404(path):
    client = Client()
    client.send("GET", path)
    status, _, content = client.answer()
    assert status == 404
    assert "no such path" in json.loads(content)["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "allow"), [("GET", "/v1/chat/completions", "POST"), ("POST", "/v1/models", "GET, HEAD")]
)
def test_another_method_is_a_json_405(method, path, allow):
    client = Client()
    client.send(method, path)
    status, headers, content = client.answer()
    assert (status, headers["allow"]) == (405, allow)
    assert "error" in json.loads(content)


def test_it_writes_no_log():
    logged = []
    globalLogPublisher.addObserver(logged.append)
    try:
        client = Client()
        client.post(body("hello", stream=True))
        client.run()
        client.send("GET", "/v1/models")
        client.channel.connectionLost(Failure(ConnectionDone()))
        client.site.stopFactory()
    finally:
        globalLogPublisher.removeObserver(logged.append)
    assert [e for e in logged if e["log_level"] >= LogLevel.debug] == []
