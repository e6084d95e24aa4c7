"""A real Codex works through the bridge: commands, patches, MCP, images, subagents."""

from __future__ import annotations

import json

import pytest
from scripted import Reply, text_of

pytestmark = pytest.mark.e2e

UNKNOWN = "qwen3-coder"
CLASSIC = "gpt-5.5"
CODE_MODE = None  # Codex's default model
MODELS = pytest.mark.parametrize("model", [UNKNOWN, CLASSIC, CODE_MODE], ids=["unknown", "gpt-5.5", "default"])
WAYS = pytest.mark.parametrize("via", ["provider", "websocket"])

PATCH = """\
*** Begin Patch
*** Update File: hello.txt
@@
 hello
+zweite Zeile: grün ✓
*** End Patch
"""


def coding(request):
    """Create a file, change it by the best tool there is, and say what came out."""
    if request.rounds == 0:
        return Reply(
            text="Creating the file.", calls=(request.shell("printf 'hello\\n' > hello.txt && cat hello.txt"),)
        )
    if request.rounds == 1:
        patch = request.patch(PATCH) or request.shell("printf 'zweite Zeile: grün ✓\\n' >> hello.txt")
        return Reply(calls=(patch,))
    if request.rounds == 2:
        return Reply(calls=(request.shell("cat hello.txt"),))
    return Reply(text=f"Done: {request.results[-1]}")


@MODELS
@WAYS
def test_coding(stage, model, via):
    run = stage.play(coding, model=model, via=via)
    assert run.code == 0, run
    assert (stage.codex.work / "hello.txt").read_text() == "hello\nzweite Zeile: grün ✓\n"
    assert run.messages[0] == "Creating the file."
    assert run.messages[-1].startswith("Done: ")
    assert "zweite Zeile: grün ✓" in run.messages[-1]
    assert run.failure is None
    assert len(stage.requests) == 4
    assert stage.requests[0].body["model"] == (model or "gpt-6.1-sol")
    second = stage.requests[1].messages
    assert [m["role"] for m in second[-2:]] == ["assistant", "tool"]
    assert second[-2]["content"] == "Creating the file."
    assert second[-1]["content"].rstrip().endswith("hello")


@pytest.mark.parametrize("via", ["provider", "websocket", "openai_base_url"])
def test_the_transport(stage, via):
    """A provider of one's own posts; where Codex wants a WebSocket, it gets one, and everything goes there."""
    run = stage.play(lambda request: Reply(text="hello"), via=via)
    assert run.messages == ["hello"]
    assert run.errors == []
    upgrades = [exchange.status for exchange in stage.wiretap.exchanges if exchange.upgrade]
    assert upgrades == ([] if via == "provider" else [101])
    assert [exchange.status for exchange in stage.wiretap.posts] == ([200] if via == "provider" else [])
    assert len(stage.requests) == 1
    assert not any("openai-model" in exchange.answered for exchange in stage.wiretap.exchanges)


def test_what_the_model_is_told(stage):
    """System prompt, environment and prompt arrive in Codex's order, whatever the model."""
    for model in (UNKNOWN, CLASSIC, CODE_MODE):
        stage.play(lambda request: Reply(text="hello"), prompt="the prompt itself", model=model)
    for request in stage.requests:
        roles = [message["role"] for message in request.messages]
        assert roles[0] == "system"
        assert roles[-2:] == ["user", "user"]
        assert "Codex" in text_of(request.messages[0])
        assert "<environment_context>" in text_of(request.messages[-2])
        assert text_of(request.messages[-1]) == "the prompt itself"
    unknown, classic, code_mode = stage.requests
    assert unknown.tool("exec_command")
    assert unknown.tool("spawn_agent") == "multi_agent_v1__spawn_agent"
    assert "*** Begin Patch" in classic.tools["apply_patch"]["description"]
    assert "tools.exec_command" in code_mode.tools["exec"]["description"]
    assert code_mode.tool("spawn_agent") == "collaboration__spawn_agent"


@MODELS
def test_parallel_calls(stage, model):
    def script(request):
        if request.rounds == 0:
            return Reply(calls=(request.shell("echo one | tee one.txt"), request.shell("echo two | tee two.txt")))
        return Reply(text="both done")

    run = stage.play(script, model=model)
    assert run.messages == ["both done"]
    assert (stage.codex.work / "one.txt").read_text() == "one\n"
    assert (stage.codex.work / "two.txt").read_text() == "two\n"
    calls, first, second = stage.requests[1].messages[-3:]
    assert [call["id"] for call in calls["tool_calls"]] == [first["tool_call_id"], second["tool_call_id"]]
    assert calls["content"] == ""
    assert "one" in text_of(first)
    assert "two" in text_of(second)


@MODELS
def test_reasoning(stage, model):
    def script(request):
        if request.rounds == 0:
            return Reply(reasoning="First I look around.", calls=(request.shell("echo looked"),))
        return Reply(reasoning="Now I know.", text="reasoned answer")

    run = stage.play(script, model=model)
    assert run.messages == ["reasoned answer"]
    assert [item["text"] for item in run.items("reasoning")] == ["First I look around.", "Now I know."]


def test_mcp_direct(stage):
    def script(request):
        if request.rounds == 0:
            return Reply(calls=(request.call("add", {"a": 20, "b": 22}),))
        return Reply(text=request.results[-1])

    run = stage.play(script, model=UNKNOWN, config=stage.codex.add_mcp_server())
    (call,) = run.items("mcp_tool_call")
    assert (call["server"], call["tool"], call["status"]) == ("demo", "add", "completed")
    assert "the sum is 42" in run.messages[-1]


def test_mcp_through_tool_search(stage):
    def script(request):
        if request.rounds == 0:
            assert request.tool("add") is None
            return Reply(calls=(request.call("tool_search", {"query": "add numbers", "limit": 3}),))
        if request.rounds == 1:
            return Reply(calls=(request.call("add", {"a": 20, "b": 22}),))
        assert request.tool("add")
        return Reply(text=request.results[-1])

    run = stage.play(script, model=CLASSIC, config=stage.codex.add_mcp_server())
    (call,) = run.items("mcp_tool_call")
    assert (call["server"], call["tool"], call["status"]) == ("demo", "add", "completed")
    assert "the sum is 42" in run.messages[-1]
    assert len(stage.requests) == 3


def test_mcp_in_code_mode(stage):
    def script(request):
        if request.rounds == 0:
            return Reply(calls=(request.call("exec", "text(await tools.mcp__demo__add({a: 20, b: 22}))"),))
        return Reply(text=request.results[-1])

    run = stage.play(script, model=CODE_MODE, config=stage.codex.add_mcp_server())
    assert "the sum is 42" in run.messages[-1]


@MODELS
def test_an_image_in_the_prompt(stage, model):
    stage.play(
        lambda request: Reply(text="red"),
        model=model,
        prompt="what is it",
        arguments=["-i", str(stage.codex.picture())],
    )
    (request,) = stage.requests
    ((index, url),) = request.images
    assert index == len(request.messages) - 1
    assert url.startswith("data:image/png;base64,")
    assert "what is it" in text_of(request.messages[index])


@MODELS
def test_view_image(stage, model):
    """An image in a tool's output comes as a user message behind the results."""

    def script(request):
        if request.rounds:
            return Reply(text="red")
        if request.tool("view_image"):
            return Reply(calls=(request.call("view_image", {"path": path}), request.shell("echo beside")))
        look = f"image((await tools.view_image({{path: {json.dumps(path)}}})).image_url)"
        return Reply(calls=(request.call("exec", look), request.shell("echo beside")))

    path = str(stage.codex.picture())
    run = stage.play(script, model=model)
    assert run.messages == ["red"]
    messages = stage.requests[1].messages
    assert [message["role"] for message in messages[-4:]] == ["assistant", "tool", "tool", "user"]
    ((index, url),) = stage.requests[1].images
    assert index == len(messages) - 1
    assert url.startswith("data:image/png;base64,")
    assert "beside" in text_of(messages[-2])


@MODELS
def test_output_schema(stage, model, tmp_path):
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(schema))
    run = stage.play(lambda request: Reply(text='{"a":"x"}'), model=model, arguments=["--output-schema", str(file)])
    assert json.loads(run.messages[-1]) == {"a": "x"}
    wanted = stage.requests[0].body["response_format"]
    assert wanted["type"] == "json_schema"
    assert wanted["json_schema"]["schema"] == schema
    assert wanted["json_schema"]["strict"] is True


@MODELS
def test_review(stage, model):
    def script(request):
        if request.rounds == 0:
            return Reply(calls=(request.shell("git status --short"),))
        return Reply(text=f"Looks fine. {request.results[-1]}")

    stage.codex.repository()
    run = stage.play(script, prompt=None, model=model, command=("exec", "review"), arguments=["--uncommitted"])
    assert run.code == 0, run
    assert "Looks fine." in run.messages[-1]
    assert "?? new.txt" in run.messages[-1]
    assert stage.requests[0].says("Review the current code changes", "user")


def test_a_subagent_of_an_unknown_model(stage):
    def script(request):
        if request.says("CHILD TASK", "user"):
            return Reply(text="the child's result")
        if request.rounds == 0:
            return Reply(calls=(request.call("spawn_agent", {"message": "CHILD TASK: say hi"}),))
        if request.rounds == 1:
            child = json.loads(request.results[-1])["agent_id"]
            return Reply(calls=(request.call("wait_agent", {"targets": [child], "timeout_ms": 20000}),))
        return Reply(text=f"parent heard: {request.results[-1]}")

    run = stage.play(script, model=UNKNOWN)
    assert run.code == 0, run
    assert run.messages[-1].startswith("parent heard: ")
    assert "the child's result" in run.messages[-1]
    (child,) = [request for request in stage.requests if request.says("CHILD TASK", "user")]
    assert text_of(child.messages[-1]) == "CHILD TASK: say hi"


def test_a_subagent_of_the_default_model(stage):
    def script(request):
        if request.says("CHILD TASK", "user"):
            return Reply(text="the child's result")
        if request.rounds == 0:
            task = {"task_name": "helper", "message": "CHILD TASK: say hi"}
            return Reply(calls=(request.call("spawn_agent", task),))
        if request.rounds == 1:
            return Reply(calls=(request.call("wait_agent", {"timeout_ms": 20000}),))
        return Reply(text="parent heard: " + text_of(request.messages[-1]))

    run = stage.play(script, model=CODE_MODE)
    assert run.code == 0, run
    assert run.messages[-1].startswith("parent heard: ")
    assert "the child's result" in run.messages[-1]
    children = [request for request in stage.requests if request.says("CHILD TASK", "user")]
    assert len(children) == 1
    assert "CHILD TASK: say hi" in text_of(children[0].messages[-1])
