"""Vendors keep what they have read of a prompt, and charge less for it: so what was sent once begins the next request.

A session of ten turns in Codex's shape (tools, instructions, context, calls with results, messages between them) is
sent turn by turn; each request must begin with the one before it, byte for byte, also after a restart and from another
process.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from session import Session, called, said, text, thinks_in

from chatbridge.protocol.jsontext import dumps
from chatbridge.vendors.profile import profile_named, profiles

TESTS = Path(__file__).parent.parent
TURNS = 10


def bodies(vendor="generic", model="some-model"):
    """Return what went upstream in each of the turns."""
    session = Session(
        text("developer", "You are a coding agent."),
        text("developer", "<skills>Use what there is.</skills>"),
        text("user", "<environment_context><cwd>/project</cwd></environment_context>"),
        text("user", "Mend the tests."),
    )
    profile = profile_named(vendor).for_model(model)
    sent = []
    for turn in range(TURNS):
        match turn % 5:
            case 0 | 1:
                answer = [
                    *thinks_in("reasoning_content"),
                    *said(f"Step {turn}.")[:1],
                    *called((f"call_{turn}", "exec_command", f'{{"cmd":"run {turn}"}}'), (f"call_{turn}b", "mcp__shop__buy_now", "{}")),
                ]  # fmt: skip
            case 2:
                answer = called((f"call_{turn}", "apply_patch", '{"input":"*** Begin Patch"}'))
            case 3:
                answer = called((f"call_{turn}", "tool_search", '{"query":"clock"}'))
            case _:
                answer = said(f"Done with {turn}.")
        sent.append(session.ask(profile, model, answer, instructions="Be brief.", prompt_cache_key="k"))
        if turn % 5 == 4:
            session.items.append(text("user", f"And now part {turn}."))
        else:
            session.answer_calls(*[f"output of {turn}"] * 2)
    return sent


def _prefix(body):
    """What the next request must begin with: all messages, without the end of their array."""
    return dumps({"model": body["model"], "messages": body["messages"]})[:-2]


@pytest.mark.parametrize("vendor", sorted(profiles()))
def test_each_request_begins_with_the_one_before(vendor):
    profile = profile_named(vendor).for_model("some-model")
    sent = bodies(vendor)
    for turn, (before, after) in enumerate(pairwise(sent)):
        assert list(after)[:2] == ["model", "messages"]
        assert list(after) == list(before)
        rest = ("messages", "tools")
        assert dumps({key: value for key, value in after.items() if key not in rest}) == dumps(
            {key: value for key, value in before.items() if key not in rest}
        )
        # Tools that a search found stand behind those that were there before.
        assert dumps(after.get("tools", [])).startswith(dumps(before.get("tools", []))[:-1])
        # Some vendors want the reasoning since the last user message only: with the next one it goes, by their own rule.
        if not (profile.replay != "none" and profile.replay_on == "loop" and turn % 5 == 4):
            assert dumps({"model": after["model"], "messages": after["messages"]}).startswith(_prefix(before))


def digest():
    """One number for all that the session sends to some vendors."""
    whole = hashlib.sha256()
    for vendor, model in (
        ("generic", "m"),
        ("deepseek", "deepseek-v4-pro"),
        ("mistral", "mistral-large"),
        ("gemini", "gemini-3-pro"),
    ):
        for body in bodies(vendor, model):
            whole.update(dumps(body))
    return whole.hexdigest()


def test_other_processes_send_the_same_bytes():
    command = [sys.executable, "-c", "import test_prompt_cache as t; print(t.digest())"]
    found = set()
    for seed in ("0", "1", "4242"):
        path = os.pathsep.join([str(TESTS / "core"), str(TESTS), str(TESTS.parent)])
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        found.add(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    assert len(found) == 1
    assert len(found.pop().strip()) == 64
