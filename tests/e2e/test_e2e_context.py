"""What lives longer than a turn: resumed sessions and compacted ones."""

from __future__ import annotations

import pytest
from scripted import Reply, text_of

pytestmark = pytest.mark.e2e

LIMIT = "model_auto_compact_token_limit=200000"
SUMMARY = "SUMMARY-4711: the file is written, the test is missing."


def work(request):
    """One command, then text, for each prompt."""
    if request.wants_summary:
        return Reply(text=SUMMARY)
    prompt = max(index for index, message in enumerate(request.messages) if message["role"] == "user")
    if not any(message.get("tool_calls") for message in request.messages[prompt:]):
        return Reply(text="Looking.", reasoning="I should look.", calls=(request.shell("echo looked"),))
    return Reply(text=f"answer to {text_of(request.messages[prompt])}")


@pytest.mark.parametrize(
    ("first", "second"),
    [("qwen3-coder", "qwen3-coder"), (None, None), ("qwen3-coder", "gpt-5.5"), (None, "qwen3-coder")],
    ids=["unknown", "default", "unknown then gpt-5.5", "default then unknown"],
)
def test_resume(stage, first, second):
    """The second run carries the whole first one, calls and results too, also to another model."""
    stage.play(work, prompt="question one", model=first)
    run = stage.play(work, prompt="question two", model=second, command=("exec", "resume", "--last"))
    assert run.code == 0, run
    assert run.messages[-1] == "answer to question two"
    messages = stage.requests[-1].messages
    assert [text_of(m) for m in messages if m["role"] == "assistant"] == [
        "Looking.",
        "answer to question one",
        "Looking.",
    ]
    assert sum("looked" in text_of(m) for m in messages if m["role"] == "tool") == 2
    prompts = [text_of(m) for m in messages if m["role"] == "user" and text_of(m).startswith("question")]
    assert prompts == ["question one", "question two"]
    assert stage.requests[-1].body["model"] == (second or "gpt-6.1-sol")


def test_resume_with_a_model_that_wants_a_summary(stage):
    """From some models to others Codex compacts first, with the old model."""
    stage.play(work, prompt="question one", model="gpt-5.5")
    run = stage.play(work, prompt="question two", command=("exec", "resume", "--last"))
    assert run.code == 0, run
    assert run.messages[-1] == "answer to question two"
    assert [request.body["model"] for request in stage.requests] == ["gpt-5.5"] * 3 + ["gpt-6.1-sol"] * 2
    assert stage.requests[2].wants_summary
    assert stage.requests[3].says(SUMMARY, "user")


def filling(request):
    """Report a full context until a summary stands in the history."""
    if request.says("SUMMARY-4711"):
        return Reply(text="finished after the compaction")
    if request.wants_summary:
        return Reply(text=SUMMARY)
    return Reply(calls=(request.shell("echo before"),), prompt_tokens=250_000)


@pytest.mark.parametrize("model", ["qwen3-coder", "gpt-5.5", None], ids=["unknown", "gpt-5.5", "default"])
@pytest.mark.parametrize("via", ["provider", "openai_base_url", "provider named OpenAI"])
def test_compaction(stage, via, model):
    """Codex compacts by itself at a custom provider, and asks an OpenAI provider for a compaction item."""
    run = stage.play(filling, prompt="question one", via=via, model=model, config=[LIMIT])
    assert run.code == 0, run
    assert run.messages[-1] == "finished after the compaction"
    _, summary, last = stage.requests
    assert summary.wants_summary
    if model or via != "provider":  # at a custom provider, Codex offers its default model the tools here too
        assert not summary.tools
    assert any("before" in text for text in summary.results)
    assert last.says(SUMMARY, "user")
    assert last.says("question one", "user")
    assert not last.results
    kinds = [item["type"] for body in stage.wiretap.asked for item in body["input"]]
    assert ("compaction_trigger" in kinds) == (via != "provider")
    assert ("compaction" in kinds) == (via != "provider")


def test_a_compacted_session_is_resumed(stage):
    stage.play(filling, prompt="question one", via="openai_base_url", model="gpt-5.5", config=[LIMIT])
    run = stage.play(
        work, prompt="question two", via="openai_base_url", model="gpt-5.5", command=("exec", "resume", "--last")
    )
    assert run.messages[-1] == "answer to question two"
    assert stage.requests[-1].says(SUMMARY, "user")
