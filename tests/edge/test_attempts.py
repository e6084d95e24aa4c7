"""Requests put otherwise after a refusal: the whole bridge in memory before a picky upstream."""

import json
import tomllib

import pytest
from memory_bridge import CODEX, STREAM, Bridge, FakeResponse, dechunk, events_of, last_event
from memory_http import failures, logged
from session import FOREIGN, PNG, TOOLS, text
from support import check_stream, delta, sse

from chatbridge.upstream.draft import LIMIT
from chatbridge.vendors.profile import Profile, profile_named, with_keys
from chatbridge.web.answer import SETTLE_SECONDS

ANSWER = sse([delta(content="Done."), delta(finish_reason="stop")])
OPENAI_LIMIT = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
)


def unknown(key):
    """Refuse requests with *key*, as OpenAI does."""
    return lambda body: (
        (400, {"error": {"message": f"Unknown parameter: '{key}'.", "param": key}}) if key in body else None
    )


def with_image(body):
    parts = [
        part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]
    ]
    return any(part["type"] == "image_url" for part in parts)


def serve(bridge, *rules, answer=ANSWER):
    """Answer the pending requests by the first rule that refuses, or with *answer*; return how many there were."""
    served = 0
    while not bridge.client.pending[-1].called:
        served += 1
        body = bridge.client.bodies[-1]
        refusal = next((found for rule in rules if (found := rule(body))), None)
        if refusal is None:
            bridge.head().send(answer)
            continue
        status, error, *headers = refusal
        response = bridge.head(FakeResponse(status, *headers))
        response.send(error if isinstance(error, bytes) else json.dumps(error).encode())
        response.end()
    return served


def lessons(events):
    """The changes that the log tells, each a line of TOML, which must be of use as it is printed."""
    found = []
    for event in events:
        if "line" in event:
            keys = tomllib.loads(event["line"])
            with_keys(Profile(), keys, "x")
            [changes] = keys["models"].values()
            found.append(changes)
    return found


REFUSALS = {
    "max_tokens": (
        {"max_output_tokens": 99},
        lambda body: (400, {"error": {"message": OPENAI_LIMIT, "code": "unsupported_parameter"}}) if "max_tokens" in body else None,
        {"max_tokens_field": "max_completion_tokens"},
    ),
    "stream_options": ({}, unknown("stream_options"), {"stream_options": False}),
    "prompt_cache_key": ({"prompt_cache_key": "k"}, unknown("prompt_cache_key"), {"drop": ["prompt_cache_key"]}),
    "parallel_tool_calls": (
        {"tools": TOOLS, "parallel_tool_calls": False},
        lambda body: (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "parallel_tool_calls"], "msg": "Extra inputs are not permitted"}]})
        if "parallel_tool_calls" in body else None,
        {"parallel_tool_calls": "never"},
    ),
    "strict": (
        {"tools": TOOLS},
        lambda body: (400, [{"error": {"code": 400, "message": 'Unknown name "strict" at \'tools[1].function\': Cannot find field.'}}])
        if any("strict" in tool["function"] for tool in body["tools"]) else None,
        {"strict": "never"},
    ),
    "reasoning_effort": (
        {"reasoning": {"effort": "high"}},
        lambda body: (400, {"code": "Client specified an invalid argument", "error": "Model m does not support parameter reasoningEffort."})
        if "reasoning_effort" in body else None,
        {"drop": ["reasoning_effort"]},
    ),
    "an effort": (
        {"reasoning": {"effort": "minimal"}},
        lambda body: (400, {"error": {"message": "reasoning_effort: Input should be 'low', 'medium' or 'high'"}})
        if body.get("reasoning_effort") == "minimal" else None,
        {"efforts": ["low", "medium", "high"]},
    ),
    "reasoning wanted": (
        {"input": FOREIGN},
        lambda body: (400, {"error": {"message": "The `reasoning_content` in the thinking mode must be passed back to the API."}})
        if not all("reasoning_content" in message for message in body["messages"] if message["role"] == "assistant") else None,
        {"replay": "reasoning_content", "replay_on": "all", "replay_placeholder": " "},
    ),
    "images": (
        {"input": [text("user", "look", {"type": "input_image", "image_url": PNG})]},
        lambda body: (404, {"error": {"message": "No endpoints found that support image input", "code": 404}}) if with_image(body) else None,
        {"images": "none"},
    ),
    "images, said with a 500": (
        {"input": [text("user", "look", {"type": "input_image", "image_url": PNG})]},
        lambda body: (500, {"error": {"code": 500, "message": "image input is not supported - hint: you may need to provide the mmproj"}})
        if with_image(body) else None,
        {"images": "none"},
    ),
    "a template": (
        {"instructions": "Be brief."},
        lambda body: (500, {"error": {"code": 500, "message": "Jinja Exception: System role not supported", "type": "server_error"}})
        if body["messages"][0]["role"] == "system" else None,
        {"system_placement": "user"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("headers", [[], [CODEX]])
def test_R03_R19_a_refused_parameter_is_left_out_before_the_client_sees_anything(name, stream, headers):
    fields, rule, changes = REFUSALS[name]
    bridge = Bridge(profile=Profile())
    with logged() as events:
        connection = bridge.ask({**STREAM, "stream": stream, **fields}, *headers)
        assert serve(bridge, rule) == 2
    if stream:
        told = events_of(connection)
        check_stream(told)
        assert told[-1]["type"] == "response.completed"
        assert dechunk(connection)[2]
    else:
        assert connection.answer().json["status"] == "completed"
    assert lessons(events) == [changes]
    assert failures(events) == []
    assert len(bridge.answers) == 0


@pytest.mark.parametrize("name", REFUSALS)
def test_what_was_learned_holds_for_the_next_requests_to_this_model_only(name):
    fields, rule, _ = REFUSALS[name]
    bridge = Bridge(profile=Profile())
    with logged() as events:
        for model, requests in [("m", 2), ("m", 1), ("other", 2), ("m", 1), ("other", 1)]:
            bridge.ask({**STREAM, **fields, "model": model})
            assert serve(bridge, rule) == requests
    assert len(lessons(events)) == 2
    another = Bridge(profile=Profile())
    another.ask({**STREAM, **fields})
    assert serve(another, rule) == 2


def test_the_log_says_which_model_and_what_to_write():
    bridge = Bridge(profile=Profile())
    with logged() as events:
        bridge.ask({**STREAM, "model": "some-model"})
        serve(bridge, unknown("stream_options"))
    [line] = [event["text"] for event in events if "line" in event]
    assert "some-model" in line
    assert line.endswith('profile_keys that says so: models."some-model" = { stream_options = false }')


def test_images_are_replaced_by_a_note_and_the_session_goes_on():
    bridge = Bridge(profile=profile_named("generic"))
    bridge.ask({**STREAM, "input": FOREIGN})
    serve(
        bridge,
        lambda body: (
            (400, {"error": {"message": "this model does not support image input"}}) if with_image(body) else None
        ),
    )
    assert "[image left out: this model takes text only]" in json.dumps(bridge.client.bodies[1])


def test_several_refusals_one_after_the_other():
    keys = ["prompt_cache_key", "service_tier", "stream_options"]
    bridge = Bridge(profile=Profile())
    with logged() as events:
        connection = bridge.ask({**STREAM, "prompt_cache_key": "k", "service_tier": "flex"})
        assert serve(bridge, *map(unknown, keys)) == 1 + len(keys)
    assert last_event(connection)["type"] == "response.completed"
    assert lessons(events) == [{"drop": keys[:1]}, {"drop": keys[:2]}, {"drop": keys[:2], "stream_options": False}]


MANY = {
    "prompt_cache_key": "k", "service_tier": "flex", "temperature": 1, "user": "u", "top_p": 1, "safety_identifier": "s",
    "presence_penalty": 1, "frequency_penalty": 1, "seed": 1,
}  # fmt: skip


def test_R04_a_server_that_refuses_eight_keys_one_by_one_answers_the_first_request():
    bridge = Bridge(profile=Profile())
    connection = bridge.ask({**STREAM, **MANY})
    assert serve(bridge, *map(unknown, list(MANY)[:LIMIT])) == 1 + LIMIT
    assert last_event(connection)["type"] == "response.completed"


def test_there_is_a_most_and_the_next_refusal_is_told():
    keys = [*MANY, "stream_options"]
    bridge = Bridge(profile=Profile())
    connection = bridge.ask({**STREAM, **MANY})
    assert serve(bridge, *map(unknown, keys)) == 1 + LIMIT
    answer = connection.answer()
    assert answer.status == 400
    assert f"Unknown parameter: '{keys[LIMIT]}'." in answer.json["error"]["message"]
    # The client asks again, and it goes on from there.
    connection = bridge.ask({**STREAM, **MANY})
    assert serve(bridge, *map(unknown, keys)) == 1 + len(keys) - LIMIT
    assert last_event(connection)["type"] == "response.completed"


def test_several_parameters_in_one_refusal():
    def picky(body):
        named = [
            f"body.{key}: property 'body.{key}' is unsupported"
            for key in ("prompt_cache_key", "stream_options", "user")
            if key in body
        ]
        return (400, {"message": "\n".join(named), "code": "wrong_api_format"}) if named else None

    bridge = Bridge(profile=Profile())
    bridge.ask({**STREAM, "prompt_cache_key": "k", "user": "u"})
    assert serve(bridge, picky) == 2


TAUGHT_NOTHING = [
    (400, {"message": "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 9 instead."}),
    (400, {"message": "This model's maximum context length is 8192 tokens, and stream_options is not supported."}),
    (400, {"message": "The response was filtered: stream_options is unsupported", "code": "content_filter"}),
    (400, {"message": "Insufficient balance: stream_options is unsupported"}),
    (401, {"message": "Unknown parameter: 'stream_options'."}),
    (402, {"message": "Unknown parameter: 'stream_options'."}),
    (403, {"message": "Unknown parameter: 'stream_options'."}),
    (404, {"message": "The model `m` does not exist or you do not have access to it.", "code": "model_not_found"}),
    (409, {"message": "Unknown parameter: 'stream_options'."}),
    (413, {"message": "Unknown parameter: 'stream_options'."}),
    (429, {"message": "Rate limit reached: stream_options is not supported"}),
    (500, {"message": "Internal server error"}),
    (502, {"message": "Unknown parameter: 'stream_options'."}),
    (503, {"message": "Unknown parameter: 'stream_options'."}),
    (400, {"message": "Unknown parameter: 'logit_bias'."}),
    (400, {"message": ""}),
    (500, {"message": "Jinja Exception: System message must be at the beginning."}),
]


@pytest.mark.parametrize(("status", "error"), TAUGHT_NOTHING)
@pytest.mark.parametrize("stream", [True, False])
def test_other_errors_cost_one_request_and_teach_nothing(status, error, stream):
    bridge = Bridge(profile=Profile())
    with logged() as events:
        connection = bridge.ask({**STREAM, "stream": stream, "temperature": 1.9})
        assert serve(bridge, lambda _: (status, {"error": error})) == 1
    assert connection.answer().status >= 400
    assert lessons(events) == []
    assert failures(events) == []
    assert len(bridge.answers) == 0
    connection.lose()
    assert bridge.clock.getDelayedCalls() == []


def test_a_refusal_that_stays_the_same_is_told_at_once():
    """The text names something that leaving out does not help against."""
    bridge = Bridge(profile=Profile())
    connection = bridge.ask({**STREAM, "tools": TOOLS})
    assert serve(bridge, lambda _: (400, {"error": {"message": "Unknown parameter: 'stream_options'."}})) == 2
    assert connection.answer().status == 400


def test_two_names_that_are_both_refused_do_not_go_round():
    def picky(body):
        name = next(key for key in ("max_tokens", "max_completion_tokens") if key in body)
        return (400, {"error": {"message": f"Unrecognized request argument supplied: {name}"}})

    bridge = Bridge(profile=Profile())
    connection = bridge.ask({**STREAM, "max_output_tokens": 5})
    assert serve(bridge, picky) == 2
    assert connection.answer().status == 400


@pytest.mark.parametrize("headers", [[], [CODEX]])
def test_a_refusal_after_the_head_is_out_is_repeated_too(headers):
    bridge = Bridge(profile=Profile())
    connection = bridge.ask(STREAM, *headers)
    bridge.clock.advance(2.1)
    assert [event["type"] for event in events_of(connection)] == ["response.created", "response.in_progress"]
    serve(bridge, unknown("stream_options"))
    told = events_of(connection)
    check_stream(told)
    assert told[-1]["response"]["output"][0]["content"][0]["text"] == "Done."
    assert bridge.clock.getDelayedCalls()[0].getTime() <= bridge.clock.seconds() + SETTLE_SECONDS


def test_after_the_head_is_out_the_last_refusal_is_a_failed_response():
    bridge = Bridge(profile=Profile())
    connection = bridge.ask(STREAM)
    bridge.clock.advance(2.1)
    assert serve(bridge, lambda _: (400, {"error": {"message": "Unknown parameter: 'stream_options'."}})) == 2
    events = events_of(connection)
    check_stream(events)
    assert events[-1]["response"]["error"]["code"] == "invalid_prompt"


def test_an_answer_that_ran_beside_the_one_that_learned_is_put_otherwise_too():
    bridge = Bridge(profile=Profile())
    first, second = (bridge.ask({**STREAM, "prompt_cache_key": "k", "user": "u"}) for _ in range(2))
    refused = json.dumps({"error": {"message": "Unknown parameter: 'user'."}}).encode()
    with logged() as events:
        for pending in bridge.client.pending[:2]:
            response = FakeResponse(400)
            pending.callback(response)
            response.send(refused)
            response.end()
    assert len(lessons(events)) == 1
    assert ["user" in body for body in bridge.client.bodies] == [True, True, False, False]
    for pending in bridge.client.pending[2:]:
        response = FakeResponse()
        pending.callback(response)
        response.send(ANSWER)
    assert [last_event(connection)["type"] for connection in (first, second)] == ["response.completed"] * 2


def test_what_two_answers_learn_at_once_is_kept_from_both():
    bridge = Bridge(profile=Profile())
    for _ in range(2):
        bridge.ask({**STREAM, "prompt_cache_key": "k", "user": "u", "service_tier": "flex"})
    for pending, key in zip(bridge.client.pending[:2], ("user", "prompt_cache_key"), strict=True):
        response = FakeResponse(400)
        pending.callback(response)
        response.send(json.dumps({"error": {"message": f"Unknown parameter: '{key}'."}}).encode())
        response.end()
    bridge.ask({**STREAM, "prompt_cache_key": "k", "user": "u", "service_tier": "flex"})
    assert not bridge.client.bodies[-1].keys() & {"prompt_cache_key", "user"}
    assert "service_tier" in bridge.client.bodies[-1]


def test_a_client_that_leaves_while_its_request_is_repeated():
    bridge = Bridge(profile=Profile())
    connection = bridge.ask()
    response = bridge.head(FakeResponse(400))
    response.send(json.dumps({"error": {"message": "Unknown parameter: 'stream_options'."}}).encode())
    response.end()
    assert len(bridge.client.pending) == 2
    connection.lose()
    assert bridge.client.cancelled == 1
    assert bridge.clock.getDelayedCalls() == []


def test_a_client_that_leaves_while_the_refusal_is_read():
    bridge = Bridge(profile=Profile())
    with logged() as events:
        connection = bridge.ask()
        response = bridge.head(FakeResponse(400))
        response.send(b'{"error":')
        connection.lose()
        response.end()
    assert len(bridge.client.pending) == 1
    assert response.transport.log == ["stop"]
    assert failures(events) == []
    assert bridge.clock.getDelayedCalls() == []


def test_a_refusal_that_is_never_finished_is_told_with_what_came():
    bridge = Bridge(profile=Profile())
    connection = bridge.ask()
    response = bridge.head(FakeResponse(401))
    response.send(b"no such ")
    bridge.clock.advance(1.9)
    response.send(b"key")
    bridge.clock.advance(SETTLE_SECONDS)
    assert response.transport.log == ["stop"]
    assert "no such key" in last_event(connection)["response"]["error"]["message"]
    assert len(bridge.answers) == 0
    connection.lose()
    assert bridge.clock.getDelayedCalls() == []


def test_a_request_that_grew_too_large_by_what_was_learned_is_refused():
    items = [item for _ in range(8) for item in (text("user", "a"), text("assistant", "b"))]
    bridge = Bridge(profile=Profile())
    bridge.ask({**STREAM, "input": items})
    size = len(json.dumps(bridge.client.bodies[0], separators=(",", ":")))
    bridge = Bridge(profile=Profile(max_bytes=size + 20, label="Small"))
    connection = bridge.ask({**STREAM, "input": items})
    refusal = {"error": {"message": "The `reasoning_content` in the thinking mode must be passed back to the API."}}
    with logged() as events:
        assert serve(bridge, lambda _: (400, refusal)) == 1
    assert connection.answer().json["error"]["code"] == "context_length_exceeded"
    assert failures(events) == []


def test_R35_a_request_that_the_vendor_would_refuse_for_its_size_is_refused_early():
    bridge = Bridge(profile=profile_named("kimi-code"))
    connection = bridge.ask({**STREAM, "input": "x" * 2_100_000}, CODEX)
    assert bridge.client.bodies == []
    assert connection.answer().status == 400
    assert "at most 2097152 bytes" in connection.answer().json["error"]["message"]
    assert connection.answer().json["error"]["code"] == "context_length_exceeded"


def test_R28_a_limit_of_the_profile_that_leaves_no_room_is_given_up():
    text_ = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (904 in the messages, 4096 in the completion)."
    bridge = Bridge(profile=Profile(max_tokens=4096))
    connection = bridge.ask()
    assert serve(bridge, lambda body: (400, {"error": {"message": text_}}) if "max_tokens" in body else None) == 2
    assert last_event(connection)["type"] == "response.completed"
    connection = bridge.ask({**STREAM, "max_output_tokens": 4096})
    assert serve(bridge, lambda body: (400, {"error": {"message": text_}}) if "max_tokens" in body else None) == 1
    assert connection.answer().json["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(("profile", "error", "code"), [
    (Profile(overflow=(r"too much text \d+",)), {"message": "too much text 99"}, "context_length_exceeded"),
    (Profile(), {"message": "too much text 99"}, "invalid_request"),
])  # fmt: skip
def test_E03_a_vendors_own_words_for_an_overflow(profile, error, code):
    bridge = Bridge(profile=profile)
    connection = bridge.ask()
    serve(bridge, lambda _: (400, {"error": error}))
    assert connection.answer().json["error"]["code"] == code


@pytest.mark.parametrize(("vendor", "status", "code"), [
    ("cerebras", 400, "context_length_exceeded"), ("mistral", 413, "context_length_exceeded"), ("groq", 400, "invalid_request"),
])  # fmt: skip
def test_E06_an_error_without_a_body(vendor, status, code):
    bridge = Bridge(profile=profile_named(vendor))
    connection = bridge.ask()
    assert serve(bridge, lambda _: (status, b"")) == 1
    assert connection.answer().json["error"]["code"] == code


# --- truncation

LONG = [
    {"role": "user", "content": "first " * 300},
    {"role": "assistant", "content": "answer " * 300},
    {"role": "user", "content": "second " * 300},
    {"role": "assistant", "content": "answer " * 300},
    {"role": "user", "content": "third"},
]


def openings(bridge):
    return [message["content"].split()[0] for message in bridge.client.bodies[-1]["messages"]]


@pytest.mark.parametrize(("window", "truncation", "expected"), [
    (100_000, "auto", ["first", "answer", "second", "answer", "third"]),
    (2_000, "auto", ["second", "answer", "third"]),
    (500, "auto", ["third"]),
    (0, "auto", ["first", "answer", "second", "answer", "third"]),
    (500, "disabled", ["first", "answer", "second", "answer", "third"]),
])  # fmt: skip
def test_the_oldest_turns_go_when_the_window_is_known(window, truncation, expected):
    bridge = Bridge(profile=Profile(context_window=window or 0))
    bridge.ask(STREAM | {"input": LONG, "truncation": truncation})
    assert openings(bridge) == expected


TOO_LONG = (
    400,
    {"error": {"message": "This model's maximum context length is 800 tokens.", "code": "context_length_exceeded"}},
)


def overflowing(body):
    return TOO_LONG if len(json.dumps(body["messages"])) > 3000 else None


def test_an_overflow_shows_how_much_has_to_go():
    bridge = Bridge()
    connection = bridge.ask(STREAM | {"input": LONG, "truncation": "auto"})
    assert serve(bridge, overflowing) == 3
    assert openings(bridge) == ["third"]
    assert last_event(connection)["type"] == "response.completed"
    connection = bridge.ask(STREAM | {"input": LONG})
    assert serve(bridge, overflowing) == 1
    assert connection.answer().status == 400


def test_an_overflow_by_the_last_turn_alone_is_told():
    bridge = Bridge()
    connection = bridge.ask(STREAM | {"input": "x" * 9000, "truncation": "auto"})
    assert serve(bridge, overflowing) == 1
    assert connection.answer().json["error"]["code"] == "context_length_exceeded"


# --- a refusal inside an answer that began with 200

TOLD = {"error": {"message": "Unknown parameter: 'stream_options'.", "param": "stream_options"}}
IN_STREAM = {
    "an event named error": b": wait\n\nevent: error\ndata: " + json.dumps(TOLD).encode() + b"\n\n",
    "an error chunk": sse([delta(role="assistant", content=""), TOLD]),
    "a body that is JSON": json.dumps({"base_resp": {"status_code": 2013, "status_msg": "invalid params, unknown parameter 'stream_options'"}}).encode(),
    "an error that names its status": sse([{"error": {**TOLD["error"], "code": 422}}], done=False),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_STREAM)
@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("stream", [True, False])
def test_R19_a_refusal_inside_a_200_teaches_too(name, ended, stream):
    if not ended and name == "a body that is JSON":
        pytest.skip("it is read when it is whole")
    bridge = Bridge(profile=Profile())
    with logged() as events:
        connection = bridge.ask({**STREAM, "stream": stream}, CODEX)
        refused = bridge.head()
        refused.send(IN_STREAM[name])
        if ended:
            refused.end()
        assert len(bridge.client.bodies) == 2
        assert "stream_options" not in bridge.client.bodies[1]
        second = bridge.head()
        second.send(ANSWER)
        refused.end()  # late, and of no consequence
        second.end()
    if stream:
        told = events_of(connection)
        check_stream(told)
        assert told[-1]["type"] == "response.completed"
    else:
        assert connection.answer().json["status"] == "completed"
    assert lessons(events) == [{"stream_options": False}]
    assert failures(events) == []
    assert len(bridge.answers) == 0
    assert refused.transport.log == ([] if ended and name == "a body that is JSON" else ["stop"])


@pytest.mark.parametrize("body", [
    b'data: {"error":{"message":"The engine is down."}}\n\n',
    sse([delta(content="Done")], done=False) + b"event: error\ndata: " + json.dumps(TOLD).encode() + b"\n\n",
])  # fmt: skip
def test_R19_what_teaches_nothing_or_comes_after_output_fails_the_answer(body):
    bridge = Bridge(profile=Profile())
    with logged() as events:
        connection = bridge.ask()
        bridge.head().send(body)
    assert len(bridge.client.bodies) == 1
    check_stream(events_of(connection))
    assert last_event(connection)["response"]["error"]["code"] == "server_error"
    assert lessons(events) == []


def test_R19_a_second_refusal_inside_a_200_teaches_again_and_at_last_it_is_told():
    bridge = Bridge(profile=Profile())
    connection = bridge.ask({**STREAM, **MANY})
    for key in list(MANY)[: LIMIT + 1]:
        response = bridge.head()
        response.send(sse([{"error": {"message": f"Unknown parameter: '{key}'."}}]))
        response.end()
    assert len(bridge.client.bodies) == 1 + LIMIT
    check_stream(events_of(connection))
    assert f"'{list(MANY)[LIMIT]}'" in last_event(connection)["response"]["error"]["message"]


def test_E03_a_vendors_own_words_for_an_overflow_count_inside_a_200_too():
    bridge = Bridge(profile=Profile(overflow=("paper is full",)))
    connection = bridge.ask()
    bridge.head().send(sse([{"error": {"message": "The paper is full."}}]))
    assert last_event(connection)["response"]["error"]["code"] == "context_length_exceeded"
