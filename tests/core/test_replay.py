"""Answers taken over by the client and sent back: across restarts, vendors and models."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from session import DETAILS, PARTS, TAGS, Item, Session, called, said, text, thinks_in, thinks_in_details
from strict import check
from support import delta

from chatbridge.vendors.profile import Profile

SENTINEL = "skip_thought_signature_validator"
CALL = called(("fc1", "exec_command", '{"cmd":"ls"}'))


def google(word: str) -> dict[str, Any]:
    return {"google": {"thought_signature": word}}


def assistants(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [message for message in body["messages"] if message["role"] == "assistant"]


def second(vendor: str, model: str, first: list[Item], *, then: tuple[str, str] | None = None) -> dict[str, Any]:
    """The assistant's message in the second request of a tool loop, which *then* may go to another vendor and model."""
    session = Session(text("user", "hi"))
    session.ask(vendor, model, first)
    session.answer_calls()
    body = session.ask(*(then or (vendor, model)), said("x"))
    check(then[0] if then else vendor, body)
    [message] = assistants(body)
    return message


@pytest.mark.parametrize(("vendor", "model", "thought", "field", "value"), [
    ("deepseek", "deepseek-v4-pro", thinks_in("reasoning_content"), "reasoning_content", "Hm, a file."),
    ("deepseek", "deepseek-v4-pro", [], "reasoning_content", ""),
    ("moonshot", "kimi-k2.6", thinks_in("reasoning_content"), "reasoning_content", "Hm, a file."),
    ("moonshot", "kimi-k2.6", [], "reasoning_content", " "),
    ("groq", "openai/gpt-oss-20b", thinks_in("reasoning"), "reasoning", "Hm, a file."),
    ("cerebras", "zai-glm-4.7", thinks_in("reasoning"), "content", "<think>\nHm, a file.\n</think>\n\n"),
    ("ollama", "qwen3", thinks_in("reasoning"), "reasoning", "Hm, a file."),
    ("llamacpp", "qwen3", TAGS, "reasoning_content", "Hm, a file."),
    ("mistral", "magistral-medium-latest", PARTS, "content", [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm, a file."}], "closed": True}]),
    ("openrouter", "anthropic/claude-sonnet-5", thinks_in_details(), "reasoning_details", DETAILS),
    ("snowflake", "claude-sonnet-5", thinks_in_details(), "reasoning_details", DETAILS),
    ("minimax", "MiniMax-M2.7", thinks_in_details(), "reasoning_details", DETAILS),
    ("openrouter", "deepseek/deepseek-v4-pro", thinks_in("reasoning"), "reasoning_content", "Hm, a file."),
])  # fmt: skip
def test_R06_R07_R09_reasoning_of_a_tool_loop_comes_back_in_the_vendors_form(vendor, model, thought, field, value):
    assert second(vendor, model, [*thought, *CALL])[field] == value


@pytest.mark.parametrize(
    ("vendor", "model"), [("openai", "gpt-5.5"), ("xai", "grok-4.5"), ("fireworks", "some-model"), ("sglang", "qwen")]
)
def test_R07_a_vendor_that_refuses_it_gets_none_of_it(vendor, model):
    message = second(vendor, model, [*thinks_in("reasoning_content"), *CALL])
    assert set(message) == {"role", "content", "tool_calls"}


def test_R06_deepseek_gets_the_field_on_every_message_of_a_long_session():
    session = Session(text("user", "hi"))
    session.ask("deepseek", "deepseek-v4-pro", [*thinks_in("reasoning_content"), *CALL])
    session.answer_calls()
    session.ask("deepseek", "deepseek-v4-pro", said("Done."))
    session.items.append(text("user", "And?"))
    body = session.ask("deepseek", "deepseek-v4-pro", said("x"))
    assert [message["reasoning_content"] for message in assistants(body)] == ["Hm, a file.", ""]


# --- details


def details(body: dict[str, Any]) -> list[Any]:
    return [message.get("reasoning_details") for message in assistants(body)]


@pytest.mark.parametrize(("chunks", "whole"), [
    # OpenRouter, Claude: text in pieces, an empty signature first, the real one with the first text.
    (thinks_in_details(), DETAILS),
    # Snowflake: details only.
    ([delta(reasoning_details=[{"type": "reasoning.text", "text": word, "index": 0, "id": "t1", "format": "c"}]) for word in ("15", " * 27")],
     [{"type": "reasoning.text", "text": "15 * 27", "index": 0, "id": "t1", "format": "c"}]),
    # OpenRouter, Grok and o3: encrypted, beside a text that is only told.
    ([delta(reasoning="Hm."), delta(reasoning_details=[{"type": "reasoning.encrypted", "data": "B7o", "id": "rs_1", "index": 0, "format": "x"}])],
     [{"type": "reasoning.encrypted", "data": "B7o", "id": "rs_1", "index": 0, "format": "x"}]),
    # MiniMax: all of it each time, in both fields.
    ([delta(reasoning_content=word, reasoning_details=[{"type": "reasoning.text", "text": word, "index": 0}]) for word in ("The", "The user", "The user asks.")],
     [{"type": "reasoning.text", "text": "The user asks.", "index": 0}]),
    # Two blocks with text between them: each is sealed with its own item.
    ([*thinks_in_details(), delta(content="Now:"), delta(reasoning="More.", reasoning_details=[{"type": "reasoning.text", "text": "More.", "index": 1}])],
     [*DETAILS, {"type": "reasoning.text", "text": "More.", "index": 1}]),
    # The signature comes when the text has begun.
    ([*thinks_in_details()[:2], delta(content="Now:"), thinks_in_details()[2]], DETAILS),
    # It comes behind the calls.
    ([*thinks_in_details()[:2], CALL[0], thinks_in_details()[2]], DETAILS),
])  # fmt: skip
@pytest.mark.parametrize("calls", [True, False])
def test_R09_S33_details_come_back_whole_in_order_and_unchanged(chunks, whole, calls):
    session = Session(text("user", "hi"))
    session.ask("openrouter", "a/b", [*chunks, *(CALL if calls else said("x"))])
    session.answer_calls()
    session.items.append(text("user", "And?"))
    assert details(session.ask("openrouter", "a/b", said("x"))) == [whole]


def test_S33_S35_what_the_client_is_told_of_snapshots_is_told_once():
    session = Session(text("user", "hi"))
    words = ("The", "The user", "The user asks.")
    session.ask("minimax", "MiniMax-M2.7", [*[delta(reasoning_content=word) for word in words], *CALL])
    assert session.items[1]["summary"] == [{"type": "summary_text", "text": "The user asks."}]


def test_R09_answers_of_which_only_the_reasoning_arrived_are_not_mixed():
    """The stream broke off after the reasoning, the client asked again with what it had."""
    session = Session(text("user", "hi"))
    session.ask("openrouter", "a/b", [*thinks_in_details(), *said("x")])
    session.items = [item for item in session.items if item.get("role") != "assistant"]
    session.ask("openrouter", "a/b", [*thinks_in_details(), *CALL])
    session.answer_calls()
    assert details(session.ask("openrouter", "a/b", said("x"))) == [[*DETAILS, *DETAILS]]


def test_R06_reasoning_that_led_to_nothing_is_no_later_messages():
    session = Session(text("user", "hi"))
    session.ask("deepseek", "deepseek-v4-pro", [*thinks_in("reasoning_content"), *said("x")])
    session.items = [item for item in session.items if item.get("role") != "assistant"]
    session.items += [text("user", "And?"), text("assistant", "Well."), text("user", "So?")]
    [message] = assistants(session.ask("deepseek", "deepseek-v4-pro", said("x")))
    assert message["reasoning_content"] == ""


def test_R06_images_of_a_result_are_no_new_question():
    """They follow as a user message, but the loop goes on."""
    session = Session(text("user", "hi"))
    session.ask("zai", "glm-5.3v", [*thinks_in("reasoning_content"), *CALL])
    session.answer_calls([{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}])
    body = session.ask("zai", "glm-5.3v", said("x"))
    assert body["messages"][-1]["role"] == "user"
    assert assistants(body)[0]["reasoning_content"] == "Hm, a file."


# --- signatures


def signatures(body: dict[str, Any]) -> list[Any]:
    calls = [call for message in assistants(body) for call in message.get("tool_calls", ())]
    return [call.get("extra_content", {}).get("google", {}).get("thought_signature") for call in calls]


WAYS: dict[str, list[Item]] = {
    "on the call": called(("fc1", "exec_command", "{}"), ("fc2", "ping", "{}"), extra=google("S")),
    "on the call, without index and ids": called(("", "exec_command", "{}"), ("", "ping", "{}"), extra=google("S"), index=False),
    "later than the call": [
        *called(("fc1", "exec_command", "{}"), ("fc2", "ping", "{}"))[:-1],
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "extra_content": google("S")}]}}]},
        delta(finish_reason="tool_calls"),
    ],
    "later, by id": [
        *called(("fc1", "exec_command", "{}"), ("fc2", "ping", "{}"))[:-1],
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"id": "fc1", "extra_content": google("S")}]}}]},
        delta(finish_reason="tool_calls"),
    ],
    "before the call": [
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "extra_content": google("S")}]}}]},
        *called(("fc1", "exec_command", "{}"), ("fc2", "ping", "{}")),
    ],
    "before the call, without an index": [
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"extra_content": google("S")}]}}]},
        *called(("fc1", "exec_command", "{}"), ("fc2", "ping", "{}"), index=False),
    ],
    "on the message, before": [delta(extra_content={"google": {"thought": True, "thought_signature": "S"}}), *called(("fc1", "exec_command", "{}"), ("fc2", "ping", "{}"))],
    "on the message, with a thought": [
        delta(content="<thought>Hm.", extra_content={"google": {"thought": True}}), delta(content="</thought>", extra_content=google("S")),
        *called(("fc1", "exec_command", "{}"), ("fc2", "ping", "{}")),
    ],
    "a delta with nothing else, at the end": [
        *called(("fc1", "exec_command", "{}"), ("fc2", "ping", "{}"))[:-1], delta(extra_content=google("S")), delta(finish_reason="stop"),
    ],
    "in a whole completion": [{"choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
        "role": "assistant", "extra_content": {"google": {"thought": True, "thought_signature": "S"}},
        "tool_calls": [{"id": "", "type": "function", "function": {"name": name, "arguments": "{}"}} for name in ("exec_command", "ping")],
    }}]}],
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_R08_S41_a_signature_comes_back_however_it_came(way):
    session = Session(text("user", "hi"))
    session.ask("gemini", "gemini-3-pro", WAYS[way])
    session.answer_calls()
    body = session.ask("gemini", "gemini-3-pro", said("x"))
    check("gemini", body)
    assert signatures(body) == ["S", None]


def test_R08_each_call_keeps_its_own():
    session = Session(text("user", "hi"))
    chunks = called(("fc1", "exec_command", "{}"), ("fc2", "ping", "{}"))
    for number, chunk in enumerate(chunks[:2]):
        chunk["choices"][0]["delta"]["tool_calls"][0]["extra_content"] = google(f"S{number}")
    session.ask("gemini", "gemini-3-pro", chunks)
    session.answer_calls()
    assert signatures(session.ask("gemini", "gemini-3-pro", said("x"))) == ["S0", "S1"]


def test_R08_ids_that_were_used_before_are_made_unique_and_keep_their_signatures():
    session = Session(text("user", "hi"))
    for turn in range(3):
        session.ask(
            "gemini",
            "gemini-3-pro",
            called(("fc", "ping", "{}"), ("fc", "exec_command", "{}"), extra=google(f"S{turn}")),
        )
        session.answer_calls()
    body = session.ask("gemini", "gemini-3-pro", said("x"))
    assert signatures(body) == ["S0", None, "S1", None, "S2", None]
    calls = [call["id"] for message in assistants(body) for call in message["tool_calls"]]
    assert len(set(calls)) == 6


def test_R08_another_vendors_form_of_ids_does_not_part_calls_and_signatures():
    profile = Profile(name="x", call_id="alnum9")
    session = Session(text("user", "hi"))
    session.ask(profile, "m", called(("call_long_enough", "ping", "{}"), extra=google("S")))
    session.answer_calls()
    assert signatures(session.ask(profile, "m", said("x"))) == ["S"]


def test_S41_what_a_vendor_without_a_profile_put_on_a_call_goes_back_to_it():
    session = Session(text("user", "hi"))
    session.ask("generic", "m", called(("fc", "ping", "{}"), extra={"acme": [1]}))
    session.answer_calls()
    assert assistants(session.ask("generic", "m", said("x")))[0]["tool_calls"][0]["extra_content"] == {"acme": [1]}
    assert "extra_content" not in assistants(session.ask("generic", "other", said("x")))[0]["tool_calls"][0]
    assert "extra_content" not in assistants(session.ask("openai", "m", said("x")))[0]["tool_calls"][0]


def test_R08_a_signature_of_a_text_makes_no_item_of_its_own():
    session = Session(text("user", "hi"))
    session.ask(
        "gemini", "gemini-3-pro", [*said("x")[:1], delta(extra_content=google("S")), delta(finish_reason="stop")]
    )
    assert [item["type"] for item in session.items] == ["message", "message"]


# --- another model in the middle of a session


@pytest.mark.parametrize(("first", "thought", "then", "key", "value"), [
    (("deepseek", "deepseek-v4-pro"), thinks_in("reasoning_content"), ("moonshot", "kimi-k2.6"), "reasoning_content", "Hm, a file."),
    (("gemini", "gemini-3-pro"), [], ("deepseek", "deepseek-v4-pro"), "reasoning_content", ""),
    (("openrouter", "anthropic/claude-sonnet-5"), thinks_in_details(), ("deepseek", "deepseek-v4-pro"), "reasoning_content", "Hm, a file."),
    (("openrouter", "anthropic/claude-sonnet-5"), thinks_in_details(), ("openrouter", "anthropic/claude-opus-4.8"), "reasoning", "Hm, a file."),
    (("openrouter", "anthropic/claude-sonnet-5"), thinks_in_details(), ("openrouter", "moonshotai/kimi-k2.6"), "reasoning", "Hm, a file."),
    (("deepseek", "deepseek-v4-pro"), [], ("openrouter", "moonshotai/kimi-k2.6"), "reasoning", " "),
    (("minimax", "MiniMax-M3"), thinks_in_details(), ("openrouter", "minimax/minimax-m3"), "reasoning", "Hm, a file."),
    (("groq", "openai/gpt-oss-20b"), thinks_in("reasoning"), ("cerebras", "zai-glm-4.7"), "content", "<think>\nHm, a file.\n</think>\n\n"),
])  # fmt: skip
def test_R06_R09_a_switch_of_vendor_or_model(first, thought, then, key, value):
    assert second(*first, [*thought, *CALL], then=then)[key] == value


def test_R08_a_switch_to_gemini_and_back():
    session = Session(text("user", "hi"))
    for vendor, model, extra in [
        ("gemini", "gemini-3-pro", google("A")),
        ("deepseek", "deepseek-v4-pro", None),
        ("gemini", "gemini-3-flash", google("B")),
    ]:
        check(vendor, session.ask(vendor, model, called(("fc", "ping", "{}"), extra=extra)))
        session.answer_calls()
    body = session.ask("gemini", "gemini-3-pro", said("x"))
    check("gemini", body)
    assert signatures(body) == ["A", SENTINEL, SENTINEL]
    assert signatures(session.ask("gemini", "gemini-3-flash", said("x")))[:3] == [SENTINEL, SENTINEL, "B"]
    check("deepseek", session.ask("deepseek", "deepseek-v4-pro", said("x")))


# --- what was lost


def spoil(item: Item, how: str) -> Item | None:
    if item["type"] != "reasoning":
        return item
    sealed = item.get("encrypted_content", "")
    return {
        "gone": None,
        "stripped": {key: value for key, value in item.items() if key != "encrypted_content"},
        "null": {**item, "encrypted_content": None},
        "foreign": {**item, "encrypted_content": "gAAAAAB"},
        "cut": {**item, "encrypted_content": sealed[: len(sealed) // 2]},
        "newer": {**item, "encrypted_content": sealed.replace("chatbridge.1", "chatbridge.9")},
        "flipped": {**item, "encrypted_content": sealed[:-9] + ("A" if sealed[-9:-8] != "A" else "B") + sealed[-8:]},
    }[how]


LOSSES = ["gone", "stripped", "null", "foreign", "cut", "newer", "flipped"]


@pytest.mark.parametrize("how", LOSSES)
@pytest.mark.parametrize(("vendor", "model", "thought"), [
    ("deepseek", "deepseek-v4-pro", thinks_in("reasoning_content")), ("moonshot", "kimi-k2.6", thinks_in("reasoning_content")), ("gemini", "gemini-3-pro", []),
    ("openrouter", "anthropic/claude-sonnet-5", thinks_in_details()), ("minimax", "MiniMax-M2.7", thinks_in_details()),
    ("mistral", "magistral-small", PARTS), ("openrouter", "moonshotai/kimi-k2.6", thinks_in_details()),
])  # fmt: skip
def test_R06_R08_R09_what_was_lost_is_replaced_and_never_an_error(how, vendor, model, thought):
    session = Session(text("user", "hi"))
    session.ask(
        vendor, model, [*thought, *called(("fc", "ping", "{}"), extra=google("S") if vendor == "gemini" else None)]
    )
    session.items = [kept for item in session.items if (kept := spoil(item, how)) is not None]
    session.answer_calls()
    body = session.ask(vendor, model, said("x"))
    check(vendor, body)
    [message] = assistants(body)
    assert "reasoning_details" not in message
    if vendor == "gemini":
        assert signatures(body) == [SENTINEL]
    noted = {
        "foreign": "envelope:foreign",
        "newer": "envelope:newer",
        "cut": "envelope:broken",
        "flipped": "envelope:broken",
    }.get(how)
    assert [kind for kind, _ in session.notes if kind.startswith("envelope")] == ([noted] if noted else [])


def test_R06_the_summary_stands_in_for_an_envelope_that_is_gone():
    session = Session(text("user", "hi"))
    session.ask("deepseek", "deepseek-v4-pro", [*thinks_in("reasoning_content"), *CALL])
    session.items = [kept for item in session.items if (kept := spoil(item, "null")) is not None]
    session.answer_calls()
    [message] = assistants(session.ask("deepseek", "deepseek-v4-pro", said("x")))
    assert message["reasoning_content"] == "Hm, a file."


@given(
    st.lists(st.sampled_from(["loop", "text", "switch", "lose", "developer", "parallel"]), max_size=7),
    st.sampled_from(["deepseek", "gemini", "openrouter", "mistral"]),
)
def test_any_course_of_a_session_is_taken(course, vendor):
    models = {
        "deepseek": "deepseek-v4-pro",
        "gemini": "gemini-3-pro",
        "openrouter": "anthropic/claude-sonnet-5",
        "mistral": "magistral-small",
    }
    session = Session(text("user", "hi"))
    for event in course:
        thought = {"deepseek": thinks_in("reasoning_content"), "openrouter": thinks_in_details(), "mistral": PARTS}.get(
            vendor, []
        )
        extra = google("S") if vendor == "gemini" else None
        chunks = copy.deepcopy(said("x"))
        if event == "switch":
            vendor = {"deepseek": "gemini", "gemini": "openrouter", "openrouter": "mistral", "mistral": "deepseek"}[
                vendor
            ]
        elif event == "lose":
            session.items = [kept for item in session.items if (kept := spoil(item, "cut")) is not None]
        elif event == "developer":
            session.items.append(text("developer", "note"))
        elif event in ("loop", "parallel"):
            calls = [("fc", "ping", "{}"), ("fc", "exec_command", '{"cmd":"x"}')][: 1 + (event == "parallel")]
            chunks = called(*calls, extra=extra)
        if event in ("loop", "parallel", "text"):
            check(vendor, session.ask(vendor, models[vendor], [*thought, *chunks]))
            session.answer_calls()
            session.items += [text("user", "next")] if event == "text" else []
    session.items.append(text("user", "last"))
    check(vendor, session.ask(vendor, models[vendor], said("x")))


def test_the_first_answer_shows_its_reasoning():
    session = Session(text("user", "hi"))
    session.ask("deepseek", "deepseek-v4-pro", [*thinks_in("reasoning_content"), *said("x")])
    assert [item["type"] for item in session.items] == ["message", "reasoning", "message"]
    assert session.items[1]["encrypted_content"].startswith("chatbridge.1.")


def test_what_is_too_large_to_be_kept_is_noted():
    session = Session(text("user", "hi"))
    large = [{"type": "reasoning.encrypted", "data": "x" * 5_000_000, "index": 0}]
    session.ask("openrouter", "a/b", [delta(reasoning="Hm", reasoning_details=large), *said("x")])
    assert "envelope:size" in session.notes
    assert "encrypted_content" not in session.items[1]


def test_R07_a_model_that_does_not_think_gets_no_thoughts_of_another():
    message = second("mistral", "magistral-medium-latest", [*PARTS, *CALL], then=("mistral", "codestral-latest"))
    assert message["content"] == ""
