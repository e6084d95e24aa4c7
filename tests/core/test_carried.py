"""docs/carried.md has a row for each field of the specification, and each row a case here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support import new_turn, translate

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.fields import FIELDS
from chatbridge.protocol.responses import parse_request

PAGE = (Path(__file__).parents[2] / "docs" / "carried.md").read_text("utf-8")
SECTION = PAGE.partition("## Request fields")[2].partition("\n## ")[0]
ROWS = {row[1]: row[2] for row in re.finditer(r"^\| `([\w.]+)` \| (\w+) \|", SECTION, re.MULTILINE)}

OPEN_RESPONSES = [
    "model",
    "input",
    "previous_response_id",
    "include",
    "tools",
    "tool_choice",
    "metadata",
    "text",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "parallel_tool_calls",
    "stream",
    "stream_options",
    "background",
    "max_output_tokens",
    "max_tool_calls",
    "reasoning",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "truncation",
    "instructions",
    "store",
    "service_tier",
    "top_logprobs",
    "conversation",
]
OPENAI = [
    "access_programs",
    "background",
    "background_options",
    "context_management",
    "conversation",
    "image",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "moderation",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
]


@dataclass
class Case:
    """*given* is a good request's fields; *sent* what of them goes upstream, *echo* what the Response says, *notes*
    what the log does; *bad* are values for the field, with the path that the error names."""

    given: dict[str, Any]
    sent: dict[str, Any] = field(default_factory=dict)
    echo: dict[str, Any] = field(default_factory=dict)
    notes: set[str] = field(default_factory=set)
    bad: list[tuple[dict[str, Any], str]] = field(default_factory=list)


TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
CHAT_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"type": "json_schema", "name": "n", "schema": {"type": "object"}}


def same(name: str, value: Any, *bad: Any, echoed: bool = True) -> Case:
    given = {name: value}
    return Case(given, sent=given, echo=given if echoed else {}, bad=[({name: wrong}, name) for wrong in bad])


CASES = {
    "model": Case({"model": "x"}, sent={"model": "x"}, echo={"model": "x"}, bad=[({"model": 5}, "model"), ({"model": ""}, "model")]),
    "input": Case(
        {"input": "hi"}, sent={"messages": [{"role": "user", "content": "hi"}]},
        bad=[
            ({"input": 5}, "input"), ({"input": []}, "input"), ({"input": [5]}, "input[0]"),
            ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": 5}]}]}, "input[0].content[0].image_url"),
        ],
    ),
    "instructions": Case(
        {"instructions": "be kind"}, sent={"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]},
        echo={"instructions": "be kind"}, bad=[({"instructions": 5}, "instructions")],
    ),
    "tools": Case(
        {"tools": [TOOL]}, sent={"tools": [CHAT_TOOL]}, echo={"tools": [{**TOOL, "description": None, "strict": None}]},
        bad=[
            ({"tools": {}}, "tools"), ({"tools": [TOOL, 5]}, "tools[1]"), ({"tools": [{"type": "function"}]}, "tools[0].name"),
            ({"tools": [TOOL, TOOL, {**TOOL, "parameters": []}]}, "tools[2].parameters"),
        ],
    ),
    "tool_choice": Case(
        {"tools": [TOOL], "tool_choice": "required"}, sent={"tool_choice": "required"}, echo={"tool_choice": "required"},
        bad=[({"tool_choice": 5}, "tool_choice"), ({"tool_choice": "sometimes"}, "tool_choice")],
    ),
    "parallel_tool_calls": Case(
        {"tools": [TOOL], "parallel_tool_calls": False}, sent={"parallel_tool_calls": False}, echo={"parallel_tool_calls": False},
        bad=[({"parallel_tool_calls": "no"}, "parallel_tool_calls")],
    ),
    "max_output_tokens": Case(
        {"max_output_tokens": 16}, sent={"max_tokens": 16}, echo={"max_output_tokens": 16},
        bad=[({"max_output_tokens": value}, "max_output_tokens") for value in (0, -1, 1.5, "16", True)],
    ),
    "temperature": same("temperature", 0.5, -0.1, 2.1, "1", True),
    "top_p": same("top_p", 0.5, -0.1, 1.1, "1"),
    "presence_penalty": same("presence_penalty", 1, 2.5, "1"),
    "frequency_penalty": same("frequency_penalty", -1, -2.5, "1"),
    "service_tier": same("service_tier", "flex", "cheapest", 5),
    "prompt_cache_key": same("prompt_cache_key", "k", "k" * 65, 5),
    "prompt_cache_options": same("prompt_cache_options", {"mode": "implicit"}, "implicit", echoed=False),
    "prompt_cache_retention": same("prompt_cache_retention", "24h", "forever", 5, echoed=False),
    "safety_identifier": same("safety_identifier", "s", "s" * 65, 5),
    "user": same("user", "u", 5),
    "top_logprobs": Case(
        {"top_logprobs": 20}, sent={"logprobs": True, "top_logprobs": 20}, echo={"top_logprobs": 20},
        bad=[({"top_logprobs": value}, "top_logprobs") for value in (-1, 21, 1.5, "3")],
    ),
    "include": Case(
        {"include": ["reasoning.encrypted_content", "message.output_text.logprobs", "file_search_call.results"]},
        sent={"logprobs": True}, notes={"include:file_search_call.results"},
        bad=[({"include": "x"}, "include"), ({"include": ["reasoning.encrypted_content", "x"]}, "include[1]"), ({"include": [5]}, "include[0]")],
    ),
    "reasoning.effort": Case(
        {"reasoning": {"effort": "low"}}, sent={"reasoning_effort": "low"}, echo={"reasoning": {"effort": "low", "summary": None}},
        bad=[({"reasoning": "low"}, "reasoning"), ({"reasoning": {"effort": 5}}, "reasoning.effort"), ({"reasoning": {"effort": "giant"}}, "reasoning.effort")],
    ),
    "reasoning.summary": Case(
        {"reasoning": {"summary": "auto"}}, echo={"reasoning": {"effort": None, "summary": "auto"}},
        bad=[({"reasoning": {"summary": 5}}, "reasoning.summary"), ({"reasoning": {"summary": "some"}}, "reasoning.summary")],
    ),
    "reasoning.generate_summary": Case(
        {"reasoning": {"generate_summary": "auto"}}, bad=[({"reasoning": {"generate_summary": 5}}, "reasoning.generate_summary")]
    ),
    "reasoning.context": Case({"reasoning": {"context": "all_turns"}}, bad=[({"reasoning": {"context": 5}}, "reasoning.context")]),
    "reasoning.mode": Case(
        {"reasoning": {"mode": "pro"}}, notes={"field:reasoning.mode"}, bad=[({"reasoning": {"mode": 5}}, "reasoning.mode")]
    ),
    "text.format": Case(
        {"text": {"format": SCHEMA}}, sent={"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
        echo={"text": {"format": {**SCHEMA, "description": None, "strict": False}}},
        bad=[
            ({"text": "json"}, "text"), ({"text": {"format": "json"}}, "text.format"),
            ({"text": {"format": {"type": "xml"}}}, "text.format.type"), ({"text": {"format": {"type": 5}}}, "text.format.type"),
            ({"text": {"format": {**SCHEMA, "schema": []}}}, "text.format.schema"),
            ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
            ({"text": {"format": {**SCHEMA, "name": 5}}}, "text.format.name"),
            ({"text": {"format": {**SCHEMA, "name": "a b"}}}, "text.format.name"),
            ({"text": {"format": {**SCHEMA, "strict": "yes"}}}, "text.format.strict"),
        ],
    ),
    "text.verbosity": Case(
        {"text": {"verbosity": "low"}}, sent={"verbosity": "low"}, echo={"text": {"verbosity": "low", "format": {"type": "text"}}},
        bad=[({"text": {"verbosity": 5}}, "text.verbosity"), ({"text": {"verbosity": "some"}}, "text.verbosity")],
    ),
    "stream": Case({"stream": False}, sent={"stream": True}, bad=[({"stream": "yes"}, "stream")]),
    "stream_options": Case(
        {"stream_options": {"include_obfuscation": False}}, sent={"stream_options": {"include_usage": True}},
        bad=[({"stream_options": 5}, "stream_options"), ({"stream_options": {"include_obfuscation": "no"}}, "stream_options.include_obfuscation")],
    ),
    "store": Case({"store": False}, echo={"store": False}, bad=[({"store": "no"}, "store")]),
    "previous_response_id": Case({}, echo={"previous_response_id": None}, bad=[({"previous_response_id": 5}, "previous_response_id")]),
    "metadata": Case(
        {"metadata": {"k" * 64: "v" * 512}}, echo={"metadata": {"k" * 64: "v" * 512}},
        bad=[
            ({"metadata": []}, "metadata"), ({"metadata": {"a": 5}}, "metadata.a"), ({"metadata": {"a": "v" * 513}}, "metadata.a"),
            ({"metadata": {"k" * 65: "v"}}, "metadata"), ({"metadata": {str(number): "v" for number in range(17)}}, "metadata"),
        ],
    ),
    "truncation": Case({"truncation": "auto"}, echo={"truncation": "auto"}, bad=[({"truncation": "some"}, "truncation"), ({"truncation": 5}, "truncation")]),
    "max_tool_calls": Case({"max_tool_calls": 2}, echo={"max_tool_calls": 2}, bad=[({"max_tool_calls": 0}, "max_tool_calls"), ({"max_tool_calls": "2"}, "max_tool_calls")]),
    "client_metadata": Case({"client_metadata": {"a": "b"}}, bad=[({"client_metadata": 5}, "client_metadata")]),
    "image.context_compression": Case(
        {"image": {"context_compression": "disabled"}},
        bad=[({"image": 5}, "image"), ({"image": {"context_compression": "enabled"}}, "image.context_compression"), ({"image": {"context_compression": 5}}, "image.context_compression")],
    ),
    "background": Case({"background": False}, echo={"background": False}, bad=[({"background": True}, "background"), ({"background": "no"}, "background")]),
    "background_options": Case({"background_options": None}, bad=[({"background_options": {"completion_window": "2h"}}, "background_options")]),
    "conversation": Case(
        {"conversation": None}, bad=[({"conversation": "conv_1"}, "conversation"), ({"conversation": 5}, "conversation"), ({"conversation": {}}, "conversation.id")]
    ),
    "prompt": Case({"prompt": None}, bad=[({"prompt": {"id": "p"}}, "prompt"), ({"prompt": {"id": 5}}, "prompt.id")]),
    "context_management": Case(
        {"context_management": []},
        bad=[({"context_management": [{"type": "compaction"}]}, "context_management"), ({"context_management": [{}]}, "context_management[0].type")],
    ),
    "moderation": Case({"moderation": None}, bad=[({"moderation": {"model": "x"}}, "moderation")]),
    "access_programs": Case({"access_programs": None}, bad=[({"access_programs": {"cyber": "standard"}}, "access_programs")]),
}  # fmt: skip


def test_each_field_of_the_specification_has_a_row():
    rows = {name.partition(".")[0] for name in ROWS}
    assert rows == {*OPEN_RESPONSES, *OPENAI, "client_metadata"}
    assert rows == {*FIELDS, "input"}


@pytest.mark.parametrize("row", ROWS)
def test_each_row_has_a_case_and_is_true(row):
    case, fate = CASES[row], ROWS[row]
    name = row.partition(".")[0]
    translation, notes = translate(**case.given)
    found = {key: translation.body[key] for key in case.sent}
    assert found == case.sent
    assert {kind for kind, _ in notes} == case.notes
    response = new_turn(**{"stream": True, **case.given}).response
    assert {key: response[key] for key in case.echo} == case.echo
    match fate:
        case "carried":
            assert case.sent
        case "answered":
            assert name not in translation.body.keys() - {"stream", "stream_options"}
        case "refused":
            refused = [refusal(bad) for bad, _ in case.bad]
            assert "unsupported_parameter" in [error.code for error in refused]
        case _:
            pytest.fail(f"no such fate: {fate}")


@pytest.mark.parametrize(("bad", "param"), [pair for case in CASES.values() for pair in case.bad])
def test_a_bad_value_is_refused_by_its_path(bad, param):
    error = refusal(bad)
    assert (error.status, error.param) == (404 if error.code == "previous_response_not_found" else 400, param)
    assert error.code
    assert param.partition(".")[0].partition("[")[0] in error.message.replace("Tool choice", "tool_choice")


def refusal(fields: dict[str, Any]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        translate(**fields)
    return caught.value


def test_no_case_is_without_a_row():
    assert CASES.keys() == ROWS.keys()


def test_null_counts_as_absent():
    assert parse_request({"model": "m", "input": "hi", **dict.fromkeys(FIELDS.keys() - {"model"})}).fields == {
        "model": "m"
    }
