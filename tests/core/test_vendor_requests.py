"""What is sent to each vendor, held against a vendor that is as strict as the real one is known to be."""

from __future__ import annotations

from typing import Any

import pytest
import strict
from hypothesis import given
from hypothesis import strategies as st
from session import (
    DETAILS,
    FOREIGN,
    LONG_ID,
    PARTS,
    PNG,
    TAGS,
    TOOLS,
    Item,
    Session,
    called,
    image,
    said,
    text,
    thinks_in,
    thinks_in_details,
)
from support import delta, translate

from chatbridge.protocol.errors import ApiError
from chatbridge.translate import compaction
from chatbridge.translate.notes import Notes
from chatbridge.translate.tools import Tools
from chatbridge.vendors.profile import Profile, profile_named, profiles

SIGNED = {"google": {"thought_signature": "Zm9v"}}
MODELS: list[tuple[str, str, list[Item]]] = [
    ("deepseek", "deepseek-v4-pro", thinks_in("reasoning_content")),
    ("deepseek", "deepseek-v4-flash", []),
    ("moonshot", "kimi-k2.6", thinks_in("reasoning_content")),
    ("moonshot", "kimi-k3", []),
    ("kimi-code", "kimi-for-coding", thinks_in("reasoning_content")),
    ("zai", "glm-5.2", thinks_in("reasoning_content")),
    ("minimax", "MiniMax-M2.7", thinks_in_details(format="MiniMax-response-v1")),
    ("mistral", "magistral-medium-latest", PARTS),
    ("mistral", "codestral-latest", []),
    ("groq", "openai/gpt-oss-120b", thinks_in("reasoning")),
    ("cerebras", "gpt-oss-120b", thinks_in("reasoning")),
    ("cerebras", "zai-glm-4.7", TAGS),
    ("cerebras", "llama-4", []),
    ("xai", "grok-4.5", thinks_in("reasoning_content")),
    ("xai", "grok-code-fast-1", thinks_in("reasoning_content")),
    ("gemini", "gemini-3.1-pro-preview", []),
    ("openrouter", "anthropic/claude-sonnet-5", thinks_in_details()),
    ("openrouter", "deepseek/deepseek-v4-pro", thinks_in("reasoning")),
    ("openrouter", "moonshotai/kimi-k2.6", thinks_in("reasoning")),
    ("openrouter", "mistralai/devstral", []),
    ("openai", "gpt-5.5", []),
    ("azure", "gpt-5.4", []),
    ("ollama", "qwen3.6", thinks_in("reasoning")),
    ("perplexity", "sonar-pro", []),
    ("anthropic-compat", "claude-sonnet-5", []),
    ("snowflake", "claude-sonnet-5", thinks_in_details()),
    ("siliconflow", "zai-org/GLM-5.1", thinks_in("reasoning_content")),
    ("alibaba", "qwen3.6-plus", thinks_in("reasoning_content")),
    ("generic", "some-model", TAGS),
    ("vllm", "Qwen/Qwen3.6-27B", thinks_in("reasoning")),
    ("llamacpp", "gpt-oss-20b", thinks_in("reasoning_content")),
]  # fmt: skip
# What Codex and others put into a request.
FIELDS: dict[str, Any] = {
    "reasoning": {"effort": "xhigh", "summary": "auto"},
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "prompt_cache_key": "thread",
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "client_metadata": {"turn": "1"},
    "text": {"verbosity": "low"},
    "service_tier": "flex",
    "metadata": {"a": "b"},
    "truncation": "auto",
}
SAMPLING = {
    "temperature": 0.7, "top_p": 0.9, "presence_penalty": 1, "frequency_penalty": 1, "seed": 5, "stop": ["x"], "user": "u", "safety_identifier": "s",
    "top_logprobs": 2, "logit_bias": {"1": 1}, "max_output_tokens": 900, "parallel_tool_calls": False,
}  # fmt: skip


def loop(session: Session, vendor: str, model: str, thought: list[Item], **fields: Any) -> list[dict[str, Any]]:
    """Run tool loops over several turns; return the bodies, each accepted by the strict vendor."""
    bodies = []

    def ask(chunks: list[Item]) -> None:
        bodies.append(session.ask(vendor, model, chunks, **fields))
        strict.check(vendor, bodies[-1])

    has_tools = "tools" not in profile_named(vendor).for_model(model).drop
    extra = SIGNED if vendor == "gemini" else None
    session.items.append(text("user", "Fix it.", image()))
    if has_tools:
        patch = '{"input": "*** Begin Patch"}'
        ask([*thought, *called(("fc1", "exec_command", '{"cmd":"ls"}'), ("", "apply_patch", patch), extra=extra)])
        session.answer_calls([{"type": "input_text", "text": "see"}, image(detail="high")], "Exit code: 0")
        session.items.append(text("developer", "<context> almost full"))
        ask([*thought, delta(content="Now this."), *called(("fc1", "tool_search", '{"query":"clock"}'), extra=extra)])
        session.answer_calls()
        ask([*thought, *called(("fc2", "mcp__shop__buy_now", ""), ("fc3", "ping", "{}"), extra=extra)])
        session.answer_calls()
    ask([*thought, *said("Done.")])
    session.items += [text("developer", "Be quick."), text("user", "Again.")]
    ask([*thought, *said("Done again.")])
    session.items += [text("user", "And?"), text("user", "Well?")]
    ask(said("Yes."))
    return bodies


@pytest.mark.parametrize(
    ("vendor", "model", "thought"), MODELS, ids=[f"{vendor}-{model}" for vendor, model, _ in MODELS]
)
@pytest.mark.parametrize("before", [[], FOREIGN], ids=["new", "switched"])
def test_R22_a_strict_vendor_takes_every_request_of_a_session(vendor, model, thought, before):
    for fields in (FIELDS, {**FIELDS, **SAMPLING, "reasoning": {"effort": "none"}}, {}):
        loop(Session(*before), vendor, model, thought, **fields)


@pytest.mark.parametrize("vendor", sorted(profiles()))
def test_every_profile_makes_requests_that_everyone_takes(vendor):
    profile = profile_named(vendor)
    names = [glob.replace("*", "") for globs, _ in profile.models for glob in globs.split("|")]
    for model in ["some-model", *names]:
        loop(Session(*FOREIGN), vendor, model, thinks_in("reasoning_content"), **FIELDS)


@pytest.mark.parametrize(
    ("vendor", "model", "thought"), MODELS, ids=[f"{vendor}-{model}" for vendor, model, _ in MODELS]
)
@pytest.mark.parametrize(
    "choice", ["none", "required", {"type": "function", "name": "ping"}, {"type": "custom", "name": "apply_patch"}]
)
def test_R17_no_vendor_gets_a_choice_that_it_refuses(vendor, model, thought, choice):
    session = Session(*FOREIGN, text("user", "hi"))
    strict.check(vendor, session.ask(vendor, model, said("x"), **{**FIELDS, "tool_choice": choice}))


def test_R17_a_named_tool_is_the_only_one_offered_where_it_cannot_be_named():
    body = Session(text("user", "hi")).ask(
        "mistral", "devstral", said("x"), tool_choice={"type": "function", "name": "ping"}
    )
    assert body["tool_choice"] == "any"
    assert [tool["function"]["name"] for tool in body["tools"]] == ["ping"]
    session = Session(text("user", "hi"))
    body = session.ask("deepseek", "deepseek-v4-pro", said("x"), tool_choice="required")
    assert "tool_choice" not in body
    assert "tool_choice:required" in session.notes


# --- single quirks


def one(vendor: str, model: str = "m", *items: Item, **fields: Any) -> dict[str, Any]:
    return Session(*(items or (text("user", "hi"),))).ask(vendor, model, said("x"), **fields)


def test_R01_R02_developer_messages_stay_where_they_are_taken():
    items = (text("developer", "a"), text("user", "hi"), text("developer", "late"))
    assert [message["role"] for message in one("openai", "gpt-5.5", *items)["messages"]] == [
        "developer",
        "user",
        "developer",
    ]
    assert [message["role"] for message in one("vllm", "qwen", *items)["messages"]] == ["system", "user", "user"]
    body = translate(Profile(system_placement="user"), input=list(items))[0].body
    assert [message["role"] for message in body["messages"]] == ["user", "user", "user"]
    assert body["messages"][0]["content"] == "<system>\na\n</system>"


@pytest.mark.parametrize(("vendor", "model", "field"), [
    ("openai", "gpt-5.5", "max_completion_tokens"), ("azure", "x", "max_completion_tokens"), ("cerebras", "x", "max_completion_tokens"),
    ("mistral", "x", "max_tokens"), ("deepseek", "x", "max_tokens"), ("moonshot", "x", "max_tokens"), ("generic", "x", "max_tokens"),
])  # fmt: skip
def test_R03_each_vendor_has_its_own_word_for_the_limit(vendor, model, field):
    body = one(vendor, model, max_output_tokens=900)
    assert {key: value for key, value in body.items() if "tokens" in key} == {field: 900}


@pytest.mark.parametrize(
    ("vendor", "least"), [("nvidia", 16384), ("siliconflow", 8192), ("anthropic-compat", 8192), ("together", 16384)]
)
def test_R28_a_limit_is_sent_where_the_vendors_own_is_too_small(vendor, least):
    assert one(vendor)["max_tokens"] >= least
    assert one(vendor, max_output_tokens=77)["max_tokens"] == 77


@pytest.mark.parametrize(
    ("vendor", "asked"), [("mistral", False), ("perplexity", False), ("openai", True), ("groq", True), ("vllm", True)]
)
def test_R19_usage_is_asked_for_where_the_key_is_taken(vendor, asked):
    assert ("stream_options" in one(vendor)) is asked


@pytest.mark.parametrize(
    ("vendor", "sent"),
    [
        ("openai", True),
        ("moonshot", True),
        ("fireworks", True),
        ("cerebras", True),
        ("deepseek", False),
        ("groq", False),
    ],
)
def test_R26_the_cache_key_goes_to_those_who_know_it(vendor, sent):
    assert ("prompt_cache_key" in one(vendor, prompt_cache_key="k")) is sent


def test_R29_R30_what_a_vendor_wants_on_every_request():
    assert one("zai", "glm-5.2")["tool_stream"] is True
    assert "tool_stream" not in one("zai", "glm-5.2", tools=[])
    assert one("minimax")["reasoning_split"] is True


def test_R31_R32_headers_and_address_are_the_profiles():
    copilot, azure = profile_named("github-copilot"), profile_named("azure")
    assert set(copilot.headers) == {"Editor-Version"}
    assert (azure.key_header, azure.key_scheme) == ("api-key", "")


def test_R12_more_tools_than_the_vendor_takes_are_refused_early():
    tools = [{"type": "function", "name": f"f{number}"} for number in range(129)]
    with pytest.raises(ApiError) as caught:
        one("openai", "gpt-5.5", tools=tools)
    assert (caught.value.status, caught.value.code) == (400, "array_above_max_length")
    assert "at most 128 tools, this request has 129" in caught.value.message
    assert len(one("openai", "gpt-5.5", tools=tools[:128])["tools"]) == 128
    assert len(one("groq", "llama", tools=tools)["tools"]) == 129


FORMS = {"alnum9": "[a-zA-Z0-9]{9}", "40": "(?s).{1,40}", "word": "[a-zA-Z0-9_-]{1,64}", "any": "(?s).*"}
SOME_IDS = ["call_1", "call_1_2", "A1b2C3d4e", LONG_ID, LONG_ID + "b", "x" * 70, "a.b", "a_b"]


@given(
    st.sampled_from(sorted(FORMS)),
    st.lists(st.text(min_size=1, max_size=50) | st.sampled_from(SOME_IDS), min_size=1, max_size=8),
)
def test_R10_ids_are_legal_distinct_and_the_same_each_time(form, ids):
    items: list[Item] = [
        {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"} for call_id in ids
    ]
    items += [{"type": "function_call_output", "call_id": call_id, "output": str(at)} for at, call_id in enumerate(ids)]
    messages = translate(Profile(call_id=form), input=items)[0].body["messages"]
    sent = [call["id"] for call in messages[0]["tool_calls"]]
    assert len(set(sent)) == len(ids)
    strict.ids({"messages": messages}, FORMS[form])
    assert [message["tool_call_id"] for message in messages[1:]] == sent
    first_of_each = {call_id: ids.index(call_id) for call_id in ids}
    assert [messages[1 + at]["content"] for at in first_of_each.values()] == [str(at) for at in first_of_each.values()]
    again = translate(Profile(call_id=form), input=[*items, text("user", "and?")])[0].body["messages"]
    assert again[: len(messages)] == messages


def test_R10_an_id_that_is_legal_stays():
    assert {form: sent_id(form, "A1b2C3d4e") for form in ("any", "40", "word", "alnum9")} == dict.fromkeys(
        ("any", "40", "word", "alnum9"), "A1b2C3d4e"
    )
    assert sent_id("40", LONG_ID) != sent_id("40", LONG_ID + "b")
    assert sent_id("word", "a.b") != sent_id("word", "a:b")


def sent_id(form: str, call_id: str) -> str:
    item = {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"}
    found: str = translate(Profile(call_id=form), input=[item])[0].body["messages"][0]["tool_calls"][0]["id"]
    return found


@pytest.mark.parametrize(
    ("content", "message"), [("empty", {"content": ""}), ("null", {"content": None}), ("omit", {})]
)
def test_R20_the_content_of_a_message_that_only_calls(content, message):
    item = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    sent = translate(Profile(calls_content=content), input=[item])[0].body["messages"][0]
    assert {key: value for key, value in sent.items() if key == "content"} == message
    with_text = translate(Profile(calls_content=content), input=[text("assistant", "a"), item])[0]
    assert with_text.body["messages"][0]["content"] == "a"
    assert with_text.characters() > 0


def test_R20_results_carry_the_functions_name_where_it_is_wanted():
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    assert translate(Profile(name_in_results=True), input=[call])[0].body["messages"][1]["name"] == "f"


IMAGES = [text("user", "a", image(), {"type": "input_image", "image_url": "https://example.com/b.png"})]


@pytest.mark.parametrize(("images", "sent"), [
    ("object", [{"url": PNG}, {"url": "https://example.com/b.png"}]),
    ("string", [PNG, "https://example.com/b.png"]),
    ("data", [{"url": PNG}]),
    ("none", []),
])  # fmt: skip
def test_R20_R21_images_as_the_vendor_takes_them(images, sent):
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    shot = {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "t"}, image()]}
    translation, notes = translate(Profile(images=images), input=[*IMAGES, call, shot])
    messages = translation.body["messages"]
    content = messages[0]["content"]
    assert [part["image_url"] for part in content if isinstance(part, dict) and part["type"] == "image_url"] == sent
    assert ("images" in notes) is (len(sent) < 2)
    if images == "none":
        assert (
            content == "a\n[image left out: this model takes text only]\n[image left out: this model takes text only]"
        )
        assert messages[2]["content"] == "t\n[image left out: this model takes text only]"
        assert len(messages) == 3
    else:
        assert messages[3]["content"][1]["type"] == "image_url"


def test_R20_a_model_that_takes_text_only_gets_no_other_parts_either():
    file = {"type": "input_file", "filename": "a", "file_data": "d"}
    body = translate(Profile(images="none"), input=[text("user", "a", file)])[0].body
    assert body["messages"][0]["content"] == "a\n[file left out: this model takes text only]"


def test_R22_an_assistant_message_between_results_and_user():
    items = [text("user", "go"), *CALLED, text("user", "and?")]
    roles = [
        message["role"] for message in translate(Profile(user_after_results=False), input=items)[0].body["messages"]
    ]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]


CALLED: list[Item] = [
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'},
    {"type": "function_call_output", "call_id": "c", "output": "out"},
]


def test_R22_a_vendor_that_wants_the_user_last():
    items = [text("user", "go"), text("assistant", "Half of")]
    assert translate(Profile(assistant_last=False), input=items)[0].body["messages"][-1] == {
        "role": "user",
        "content": "Go on.",
    }
    assert len(translate(Profile(), input=items)[0].body["messages"]) == 2
    assert len(translate(Profile(assistant_last=False), input=[text("user", "go"), *CALLED])[0].body["messages"]) == 3
    alone = translate(Profile(assistant_last=False), input=[text("developer", "Rules.")])[0].body["messages"]
    assert [message["role"] for message in alone] == ["system", "user"]


def test_R22_roles_that_must_alternate_and_calls_where_there_are_no_tools():
    items = [
        text("developer", "d"),
        text("user", "a"),
        text("user", "b", image()),
        text("assistant", "c"),
        *CALLED,
        text("developer", "late"),
    ]
    messages = translate(Profile(alternate=True, drop=("tools", "tool_choice")), input=items)[0].body["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert [part["type"] for part in messages[1]["content"]] == ["text", "text", "image_url"]
    assert messages[2]["content"] == 'c\n[call c: f {"a":1}]'
    assert messages[3]["content"] == "[result of call c]\nout\n\n<system>\nlate\n</system>"


def test_R13_tools_are_named_where_calls_without_them_are_refused():
    items = [text("user", "go"), *CALLED, {"type": "compaction_trigger"}]
    translation = translate(Profile(tools_for_calls=True), input=items)[0]
    assert [tool["function"]["name"] for tool in translation.body["tools"]] == ["f"]
    assert translation.body["messages"][-1]["content"] == compaction.PROMPT
    assert "tools" not in translate(Profile(), input=items)[0].body
    assert "tools" not in translate(Profile(tools_for_calls=True), input="hi")[0].body


def test_R04_keys_with_another_name_and_tables_merged():
    profile = Profile(
        rename={"seed": "random_seed"},
        body={"a": {"b": 1}, "temperature": 0},
        body_with_tools={"a": {"c": {"d": 2}}},
        drop=("stop", "x"),
    )
    tool = {"type": "function", "name": "f"}
    body = translate(profile, seed=5, temperature=0.7, stop=["s"], tools=[tool])[0].body
    assert (body["random_seed"], body["temperature"], body["a"]) == (5, 0.7, {"b": 1, "c": {"d": 2}})
    assert not body.keys() & {"seed", "stop"}
    body["a"]["c"]["d"] = 3
    assert profile.body_with_tools == {"a": {"c": {"d": 2}}}
    assert translate(profile, seed=5)[0].body["a"] == {"b": 1}


def test_R04_what_a_vendor_refuses_is_noted():
    assert "drop:stop" in translate(Profile(drop=("stop",)), stop=["x"])[1]


SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}


@pytest.mark.parametrize(("formats", "sent", "told"), [
    (("json_object", "json_schema"), "json_schema", False), (("json_object",), "json_object", True), ((), None, True), (("json_schema",), "json_schema", False),
])  # fmt: skip
def test_R04_an_answer_format_that_is_not_taken_goes_into_the_prompt(formats, sent, told):
    form = {"type": "json_schema", "name": "n", "strict": True, "schema": SCHEMA}
    translation, notes = translate(Profile(response_formats=formats), text={"format": form}, instructions="Be brief.")
    assert translation.body.get("response_format", {}).get("type") == sent
    system = translation.body["messages"][0]["content"]
    assert system.startswith("Be brief.")
    assert ('"additionalProperties":false' in system) is told
    assert ("text.format" in notes) is told


def test_R15_the_schema_of_an_answer_is_made_fit_too():
    form = {"type": "json_schema", "name": "n", "schema": SCHEMA}
    body = translate(Profile(schema=("drop:additionalProperties",)), text={"format": form})[0].body
    assert "additionalProperties" not in body["response_format"]["json_schema"]["schema"]


def test_R15_the_one_argument_of_custom_tools_is_made_fit_too():
    tools = Tools(Notes(), profile_named("xai"))
    tools.add(TOOLS, "tools")
    strict.xai({"model": "grok-4", "messages": [], "tools": tools.chat})


@pytest.mark.parametrize(
    ("strictness", "sent"), [("true", [None, True]), ("always", [False, True]), ("never", [None, None])]
)
def test_R16_when_strict_is_sent(strictness, sent):
    body = translate(Profile(strict=strictness), tools=TOOLS[:2])[0].body
    assert [tool["function"].get("strict") for tool in body["tools"]] == sent


@pytest.mark.parametrize(
    ("when", "true", "false"), [("false", None, False), ("always", True, False), ("never", None, None)]
)
def test_R18_when_parallel_tool_calls_is_sent(when, true, false):
    profile = Profile(parallel_tool_calls=when)
    sent = [
        translate(profile, tools=TOOLS, parallel_tool_calls=value)[0].body.get("parallel_tool_calls")
        for value in (True, False)
    ]
    assert sent == [true, false]


def test_R33_codex_tools_reach_a_vendor_as_functions():
    body = one("groq", "llama")
    assert [tool["function"]["name"] for tool in body["tools"]][:3] == ["exec_command", "ping", "apply_patch"]
    assert body["tools"][3]["function"]["name"].startswith("mcp__shop__buy_now_")


def test_details_of_the_fixture_are_what_a_vendor_wants_back():
    assert DETAILS[0]["signature"]


@pytest.mark.parametrize(("model", "effort", "tools", "sent"), [
    ("gpt-5.5", "high", True, "none"), ("gpt-5.5", None, True, "none"), ("gpt-5.5", "high", False, "high"), ("gpt-5.4-mini", "low", True, "none"),
    ("gpt-5.5-pro", "high", True, "high"), ("gpt-5.2", "high", True, "high"), ("gpt-5.3-codex", None, True, None), ("gpt-4.1", "high", True, None),
])  # fmt: skip
def test_R05_a_model_that_takes_no_effort_together_with_tools(model, effort, tools, sent):
    fields = {"tools": [{"type": "function", "name": "f"}]} if tools else {}
    translation, notes = translate(
        profile_named("openai").for_model(model), model=model, reasoning={"effort": effort}, **fields
    )
    assert translation.body.get("reasoning_effort") == sent
    assert ("effort:tools" in notes) is (sent == "none" and effort is not None)
