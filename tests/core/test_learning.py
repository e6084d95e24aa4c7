"""What vendors really say when they refuse something, and what is learned from it."""

from __future__ import annotations

import json
import time
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from session import FOREIGN, PNG, TOOLS, text
from strategies import any_text
from support import translate

from chatbridge.protocol.failure import Failure, read_body
from chatbridge.translate.learning import learn, learn_limit, profile_line
from chatbridge.translate.refusal import refuses
from chatbridge.vendors.profile import Profile, parse_profile, with_keys

ASKING = Profile(
    developer_role="developer",
    system_placement="anywhere",
    replay="reasoning_content",
    thinking_on={"thinking": {"type": "enabled"}},
    max_tokens=4096,
)
"""Sends everything that can be refused."""
FIELDS: dict[str, Any] = {
    "input": FOREIGN,
    "tools": TOOLS,
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "high"},
    "temperature": 0.5, "top_p": 0.5, "presence_penalty": 1, "seed": 3, "stop": ["x"], "user": "u", "prompt_cache_key": "k", "service_tier": "flex",
    "safety_identifier": "s", "top_logprobs": 2, "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "n", "schema": {}}},
}  # fmt: skip
BODY = translate(ASKING, **FIELDS)[0].body
IN_NO_TIME = 10.0
"""Seconds of the processor; it is a third of one here, and minutes where the work grows by the square."""


def lesson(said: str, profile: Profile = ASKING, body: dict[str, Any] = BODY, **error: Any) -> dict[str, Any]:
    """What is learned from an error with the text *said*, in OpenAI's form."""
    failure = read_body(json.dumps({"error": {"message": said, "type": "invalid_request_error", **error}}).encode())
    return learn(failure, body, profile)


NO_IMAGES = {"images": "none"}
FULL = {"replay_on": "all", "replay_placeholder": " "}
LESSONS: list[tuple[str, dict[str, Any]]] = [
    # the token limit (R03)
    ("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", {"max_tokens_field": "max_completion_tokens"}),
    ("body.max_tokens: property 'body.max_tokens' is unsupported", {"max_tokens_field": "max_completion_tokens"}),
    # one parameter by name, in each vendor's way of saying it (R04, R18, R19, R24, R26)
    ("Unrecognized request argument supplied: stream_options", {"stream_options": False}),
    ("Unrecognized request arguments supplied: parallel_tool_calls, stream_options", {"parallel_tool_calls": "never", "stream_options": False}),
    ("Unknown parameter: 'prompt_cache_key'.", {"drop": ("prompt_cache_key",)}),
    ("property 'parallel_tool_calls' is unsupported", {"parallel_tool_calls": "never"}),
    ("body.prompt_cache_key: property 'body.prompt_cache_key' is unsupported\nbody.user: property 'body.user' is unsupported", {"drop": ("prompt_cache_key", "user")}),
    ('Invalid JSON payload received. Unknown name "seed": Cannot find field.\nInvalid JSON payload received. Unknown name "presence_penalty": Cannot find field.', {"drop": ("presence_penalty", "seed")}),
    ("Model grok-4 does not support parameter reasoningEffort.", {"drop": ("reasoning_effort",)}),
    ("Argument not supported on this model: presencePenalty", {"drop": ("presence_penalty",)}),
    ("Argument not supported on this model: stop", {"drop": ("stop",)}),
    ("litellm.UnsupportedParamsError: openai does not support parameters: ['parallel_tool_calls', 'reasoning_effort'], for model=o4-mini. To drop these, set `litellm.drop_params=True`", {"parallel_tool_calls": "never", "drop": ("reasoning_effort",)}),
    ("Validation: Unsupported parameter(s): `stream_options`", {"stream_options": False}),
    ("Additional properties are not allowed ('stream_options', 'seed' were unexpected)", {"drop": ("seed",), "stream_options": False}),
    ("Unrecognized key(s) in object: 'stream_options', 'seed'", {"drop": ("seed",), "stream_options": False}),
    ('json: unknown field "service_tier"', {"drop": ("service_tier",)}),
    ("unknown field `stream_options`, expected one of `model`, `messages`, `temperature`, `seed`, `stop`, `user` at line 1 column 5", {"stream_options": False}),
    ("Completions.create() got an unexpected keyword argument 'parallel_tool_calls'", {"parallel_tool_calls": "never"}),
    ("1 validation error for ChatCompletionRequest\nverbosity\n  Extra inputs are not permitted [type=extra_forbidden, input_value='low', input_type=str]", {}),
    ("2 validation errors for ChatCompletionRequest\nstream_options\n  Extra inputs are not permitted [type=extra_forbidden, input_value={'include_usage': True}, input_type=dict]\n    For further information visit https://errors.pydantic.dev/2.7/v/extra_forbidden\nprompt_cache_key\n  Extra inputs are not permitted [type=extra_forbidden]", {"drop": ("prompt_cache_key",), "stream_options": False}),
    ("[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not permitted', 'input': {'include_usage': True}}]", {"stream_options": False}),
    ("prompt_cache_key: Extra inputs are not permitted", {"drop": ("prompt_cache_key",)}),
    ("This model does not support parallel tool calls", {"parallel_tool_calls": "never"}),
    ("The parameter `reasoning_effort` specified in the request are not valid: reasoning_effort is not supported by current model. Request id: 0217", {"drop": ("reasoning_effort",)}),
    ("Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) value is supported.", {"drop": ("temperature",)}),
    ("invalid temperature: only 1 is allowed for this model", {"drop": ("temperature",)}),
    ("`temperature` is deprecated for this model.", {"drop": ("temperature",)}),
    ("`temperature` and `top_p` cannot both be specified for this model. Please use only one.", {"drop": ("top_p",)}),
    ("logprobs are not supported with reasoning models", {"drop": ("logprobs", "top_logprobs")}),
    ("`top_logprobs` is not supported with this model", {"drop": ("top_logprobs", "logprobs")}),
    ("参数 stream_options 不支持", {"stream_options": False}),
    # efforts and thinking (R05)
    ("Unsupported value: 'reasoning_effort' does not support 'high' with this model. Supported values are: 'low', 'medium', and 'none'.", {"efforts": ("none", "low", "medium")}),
    ("Unsupported value: 'reasoning_effort' does not support 'high' with this model.", {"efforts": ("none", "minimal", "low", "medium")}),
    ("`reasoning_effort` must be one of `none` or `default`", {"efforts": ("none",)}),
    ("reasoning_effort: Input should be 'low', 'medium' or 'max'", {"efforts": ("low", "medium", "max")}),
    ("`reasoning_effort` is not supported with this model", {"drop": ("reasoning_effort",)}),
    ('"llama3.1:8b" does not support thinking', {"effort_field": "", "thinking_on": {}}),
    ('think value "high" is not supported for this model', {"effort_field": "", "thinking_on": {}}),
    ("Function tools with reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions. Please use /v1/responses instead.", {"drop": ("reasoning_effort",)}),
    ("Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. To use function tools, use /v1/responses or set reasoning_effort to 'none'.", {"effort_with_tools": "none"}),
    ("Unknown parameter: 'thinking'.", {"drop": ("thinking",)}),
    # roles and order (R01, R02, R22)
    ("Failed to deserialize the JSON body into the target type: messages[0].role: unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`, `latest_reminder` at line 1 column 67", {"developer_role": "system"}),
    ("Unsupported value: 'messages[0].role' does not support 'developer' with this model.", {"developer_role": "system"}),
    ("developer is not one of ['system', 'assistant', 'user', 'tool', 'function'] - 'messages.0.role'", {"developer_role": "system"}),
    ("System message must be at the beginning.", {"system_placement": "first"}),
    ("Conversation roles must alternate user/assistant/user/assistant/...", {"alternate": True, "user_after_results": False}),
    ("Unexpected role 'user' after role 'tool'", {"user_after_results": False}),
    # reasoning wanted and refused (R06, R07)
    ("The `reasoning_content` in the thinking mode must be passed back to the API.", FULL),
    ("thinking is enabled but reasoning_content is missing in assistant tool call message at index 2", FULL),
    ("Missing `reasoning_content` field in the assistant message at message index 4. For more information, please refer to the guide", FULL),
    ("messages.2.assistant.reasoning_content: property 'messages.2.assistant.reasoning_content' is unsupported", {"replay": "none"}),
    ("'messages.2' : for 'role:assistant' the following must be satisfied[('messages.2' : property 'reasoning_content' is unsupported)]", {"replay": "none"}),
    ("Extra inputs are not permitted, field: 'messages[2].reasoning_content', value: 'Hm'", {"replay": "none"}),
    ("The reasoning_content in the input messages is not supported", {"replay": "none"}),
    # signatures, ids, contents (R08, R10, R20)
    ("Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and missing thought_signature may lead to degraded model performance.", {"signature_placeholder": "skip_thought_signature_validator"}),
    ("Tool call id was chatcmpl-tool-0123456789abcdef0123456789abcdef but must be a-z, A-Z, 0-9, with a length of 9.", {"call_id": "alnum9"}),
    ("Invalid 'messages[4].tool_calls[0].id': string too long. Expected a string with maximum length 40, but got a string with length 45 instead.", {"call_id": "40"}),
    ("messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'", {"call_id": "word"}),
    ("messages: text content blocks must be non-empty", {"calls_content": "null"}),
    ("GenerateContentRequest.contents[2].parts[0].function_response.name: Name cannot be empty.", {"name_in_results": True}),
    # tools (R13, R15, R16, R17)
    ('Invalid JSON payload received. Unknown name "strict" at \'tools[0].function\': Cannot find field.', {"strict": "never"}),
    ("tools.0.custom.strict: Extra inputs are not permitted", {"strict": "never"}),
    ("tool_choice 'specified' is incompatible with thinking enabled", {"tool_choice": {"required": "omit", "named": "omit"}}),
    ("deepseek-reasoner does not support this tool_choice", {"tool_choice": {"required": "omit", "named": "omit"}}),
    ("The tool_choice parameter does not support being set to required or object in thinking mode", {"tool_choice": {"required": "omit", "named": "omit"}}),
    ("tool_choice must be one of 'auto', 'none' or 'any'", {"tool_choice": {"required": "any", "named": "any"}}),
    ('Invalid JSON payload received. Unknown name "additionalProperties" at \'tools[0].function_declarations[0].parameters\': Cannot find field.', {"schema": ("drop:additionalProperties",)}),
    ("tools.function.parameters is not a valid moonshot flavored json schema, details: <At path 'root': when using anyOf, type should be defined in anyOf items instead of the parent schema>", {"schema": ("inline_refs", "drop:$schema", "tuple_to_prefix_items", "booleans_to_objects", "object_root", "push_type_into_any_of")}),
    ("Invalid schema for function 'x': schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level.", {"schema": ("object_root",)}),
    # answer formats
    ("Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.", {"response_formats": ("json_object",)}),
    ("loc: ('body', 'response_format', 'type'), msg: Input should be 'text' or 'json_object', input: 'json_schema'", {"response_formats": ("json_object",)}),
    ("This response_format type is unavailable now", {"response_formats": ("json_object",)}),
    ("This model does not support response format `json_schema`. See supported models at https://example.com", {"response_formats": ("json_object",)}),
    # images of models that take text only (R20)
    ("Failed to deserialize the JSON body into the target type: messages[1]: unknown variant `image_url`, expected `text` at line 1 column 300", NO_IMAGES),
    ("this model does not support image input (ref: b8bd630e)", NO_IMAGES),
    ("Invalid content type. image_url is only supported by certain models.", NO_IMAGES),
    ("messages[1].content must be a string", NO_IMAGES),
    ("image input is not supported - hint: if this is unexpected, you may need to provide the mmproj", NO_IMAGES),
    ("Qwen/Qwen3-8B is not a multimodal model", NO_IMAGES),
    ("At most 0 image(s) may be provided in one prompt.", NO_IMAGES),
    ("The model is not a VLM (Vision Language Model). Please use text-only prompts.", NO_IMAGES),
    ("<400> InternalError.Algo.InvalidParameter: Unexpected item type in content.", NO_IMAGES),
    ("No endpoints found that support image input", NO_IMAGES),
    ("Image inputs are not supported by this model.", NO_IMAGES),
    ("Model does not support images. Please use a model that does.", NO_IMAGES),
    ("Failed to deserialize the JSON body into the target type: messages[1].content: invalid type: sequence, expected a string at line 1 column 120", NO_IMAGES),
    ("json: cannot unmarshal array into Go struct field ChatCompletionMessage.messages.content of type string", NO_IMAGES),
    ('[{"type":"string_type","loc":["body","messages",1,"content"],"msg":"Input should be a valid string","input":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]', NO_IMAGES),
    ("Input tag 'image_url' found using 'type' does not match any of the expected tags: 'text'", NO_IMAGES),
    ("Failed to deserialize the JSON body: data did not match any variant of untagged enum MessageContent", NO_IMAGES),
]  # fmt: skip


@pytest.mark.parametrize(("said", "changes"), LESSONS)
def test_R01_to_R24_a_refusal_teaches_what_to_send_instead(said, changes):
    assert lesson(said) == changes


@pytest.mark.parametrize(("said", "changes"), [found for found in LESSONS if found[1]])
def test_what_was_learned_is_a_profile_that_sends_otherwise_and_learns_no_more(said, changes):
    line = profile_line("some/model", changes)
    for found in (parse_profile("x.toml", line), with_keys(ASKING, tomllib.loads(line), "config")):
        assert {key: getattr(found.for_model("Some/Model"), key) for key in changes} == changes
    profile = Profile(**{**{key: getattr(ASKING, key) for key in KEYS}, **changes})
    body = translate(profile, **FIELDS)[0].body
    assert body != BODY
    again = lesson(said, profile, body)
    assert again != changes
    # Some texts do not say what is left: the next one of several is given up then.
    assert again == {} or again.keys() & {"drop", "efforts", "response_formats", "tool_choice"}


KEYS = ("developer_role", "system_placement", "replay", "thinking_on", "max_tokens")

NOTHING = [
    # wrong values
    "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 5 instead.",
    "temperature must be between 0 and 2",
    "Invalid value: 'foo'. Supported values are: 'a', 'b'.",
    "Invalid value for 'top_p': 3 is not supported, must be at most 1",
    "'seed' must be an integer",
    "Invalid parameter: 'stop' must have at most 4 items",
    "max_tokens is too large: 999999. This model supports at most 16384 completion tokens, whereas you provided 999999.",
    "The maximum value permitted for max_tokens is 8192 because max_tokens must be smaller",
    "max_tokens: 200000 > 64000, which is the maximum allowed number of output tokens for claude-sonnet",
    "Invalid value for 'reasoning_effort': expected a string, but got an integer instead.",
    "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array with length 129 instead.",
    "Invalid 'tools[0].function.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
    "Invalid schema for response_format 'n': In context=(), 'additionalProperties' is required and must be false.",
    "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
    "invalid params, function parameters is empty",
    "Tool choice 'g' not found in 'tools' parameter.",
    # one image is wrong
    "You uploaded an unsupported image. Please make sure your image has of one the following formats: ['png', 'jpeg', 'gif', 'webp'].",
    "Failed to download image from https://example.com/a.png",
    "Invalid 'messages[1].content[0].image_url.url'. Expected a base64-encoded data URL with an image MIME type.",
    "The image data you provided does not represent a valid image. Please check the image format",
    "At most 5 image(s) may be provided in one prompt.",
    "image exceeds 5 MB maximum: image too large",
    # too long
    "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (5000 in the messages, 4000 in the completion).",
    "'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's maximum context length is 4096 tokens and your request has 1000 input tokens.",
    "prompt is too long: 240001 tokens > 200000 maximum",
    # the account, the model, the server
    "Incorrect API key provided: sk-123. You can find your API key at https://platform.openai.com/account/api-keys.",
    "user is not permitted to use this model",
    "Your developer account is not enabled",
    "The model `gpt-9` does not exist or you do not have access to it.",
    "model 'strict-images' not found",
    "Rate limit reached for requests",
    "Insufficient Balance",
    "Internal server error",
    "Provider returned error",
    "Unsupported country, region, or territory",
    "The request was rejected because it was considered high risk",
    # nothing to be done: without tools there is no Codex
    "registry.ollama.ai/library/gemma:2b does not support tools",
    "No endpoints found that support tool use",
    '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
    # what is wrong in a tool, or in a call of one
    "Invalid schema for function 'get': In context=('properties', 'stop'), unsupported keyword 'temperature'.",
    "tools.0.custom.parameters: unsupported keyword 'seed'",
    "Tool 'seed' is not supported",
    "function 'temperature' is not allowed",
    'Invalid JSON in tool call arguments: {"temperature": "unsupported"}',
    "The model does not support temperature values above 1",
    "content: Input should be a valid integer [type=int_type, input_value='Unknown parameter: top_p', input_type=str]",
    # words that stand in texts for other reasons
    "Stop the user from asking: unknown thinking seed",
    "The reasoning is not coherent",
    "Please stop. The user is blocked.",
    "",
]  # fmt: skip


@pytest.mark.parametrize("said", NOTHING)
def test_what_names_no_parameter_teaches_nothing(said):
    assert lesson(said) == {}


@pytest.mark.parametrize("said", [said for said, changes in LESSONS if changes])
def test_what_was_not_sent_is_not_learned(said):
    profile = Profile(stream_options=False)
    changes = lesson(said, profile, translate(profile)[0].body)
    assert translate(Profile(stream_options=False, **changes))[0].body == translate(profile)[0].body


MISTRAL_DETAIL = [
    {
        "type": "extra_forbidden",
        "loc": ["body", "prompt_cache_key"],
        "msg": "Extra inputs are not permitted",
        "input": "user seed",
    },
    {
        "type": "extra_forbidden",
        "loc": ["body", "messages", 2, "assistant", "reasoning_content"],
        "msg": "Extra inputs are not permitted",
        "input": "stop",
    },
]


@pytest.mark.parametrize("body", [
    {"detail": MISTRAL_DETAIL},
    {"object": "error", "message": {"detail": MISTRAL_DETAIL}, "type": "invalid_request_error", "param": None, "code": None},
    {"object": "Error", "detail": MISTRAL_DETAIL, "message": MISTRAL_DETAIL, "type": "invalid_request_error", "code": 3001},
    {"object": "error", "message": json.dumps({"detail": MISTRAL_DETAIL}), "type": "internal_error_proxy", "code": "1000"},
])  # fmt: skip
def test_R04_R07_lists_of_forbidden_keys(body):
    assert learn(read_body(json.dumps(body).encode()), BODY, ASKING) == {
        "drop": ("prompt_cache_key",),
        "replay": "none",
    }


@pytest.mark.parametrize(("error", "changes"), [
    ({"message": "Unknown parameter.", "param": "verbosity"}, {"drop": ("verbosity",)}),
    ({"message": "Unsupported parameter", "param": "stream_options.include_usage"}, {"stream_options": False}),
    ({"message": "Wrong value.", "param": "verbosity"}, {}),
    ({"message": "Unknown parameter.", "param": "messages[0].seed"}, {}),
    ({"message": "Unknown parameter.", "param": 5}, {}),
    ({"message": "Input should be 'low' or 'medium'", "param": "reasoning_effort"}, {"efforts": ("low", "medium")}),
])  # fmt: skip
def test_R04_the_parameter_that_the_error_names_beside_its_text(error, changes):
    assert learn(read_body(json.dumps({"error": error}).encode()), BODY, ASKING) == changes


def test_R04_a_key_that_has_another_name_there_is_dropped_under_its_own():
    profile = Profile(rename={"seed": "random_seed"})
    changes = lesson("body.random_seed: Extra inputs are not permitted", profile, translate(profile, seed=3)[0].body)
    assert changes == {"drop": ("seed",)}
    assert "random_seed" not in translate(Profile(rename={"seed": "random_seed"}, **changes), seed=3)[0].body


def test_R03_the_limits_other_name_is_learned_both_ways():
    profile = Profile(max_tokens_field="max_completion_tokens")
    body = translate(profile, max_output_tokens=5)[0].body
    assert lesson("Unrecognized request argument supplied: max_completion_tokens", profile, body) == {
        "max_tokens_field": "max_tokens"
    }


def test_R02_a_model_that_takes_no_system_text_at_all():
    body = translate(Profile(), instructions="Be brief.")[0].body
    assert lesson("System role not supported", Profile(), body) == {"system_placement": "user"}
    assert lesson(
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.", Profile(), body
    ) == {"system_placement": "user"}


@pytest.mark.parametrize("said", [
    "This model does not support assistant message prefill. The conversation must end with a user message.",
    "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant",
    "Last message must have role `user` or `tool`",
    "Assistant response prefill is incompatible with enable_thinking.",
])  # fmt: skip
def test_R22_a_vendor_that_wants_the_user_last(said):
    items = [text("user", "hi"), text("assistant", "half")]
    assert lesson(said, Profile(), translate(input=items)[0].body) == {"assistant_last": False}
    assert lesson(said, Profile(), translate(input=items[:1])[0].body) == {}


@pytest.mark.parametrize("said", [
    "litellm.UnsupportedParamsError: Bedrock doesn't support tool calling without `tools=` param specified.",
    "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
    "Requests which include `tool_use` or `tool_result` blocks must define tools",
])  # fmt: skip
def test_R13_a_vendor_that_wants_tools_where_there_are_calls(said):
    body = translate(input=FOREIGN)[0].body
    assert lesson(said, Profile(), body) == {"tools_for_calls": True}
    assert lesson(said, Profile(), translate(input="hi")[0].body) == {}


def test_R17_a_choice_of_none_that_is_refused():
    body = translate(tools=TOOLS, tool_choice="none")[0].body
    changes = lesson("tool_choice 'none' is not supported", Profile(), body)
    assert changes == {"tool_choice": {"none": "omit"}}
    assert not translate(Profile(**changes), tools=TOOLS, tool_choice="none")[0].body.keys() & {"tools", "tool_choice"}


def test_R05_thinking_that_cannot_be_switched_off():
    profile = Profile(
        thinking_on={"thinking": {"type": "enabled"}}, thinking_off={"thinking": {"type": "disabled"}}, effort_field=""
    )
    body = translate(profile, reasoning={"effort": "none"})[0].body
    changes = lesson("thinking.type 'disabled' is not allowed for this model", profile, body)
    assert changes["thinking_off"] == {}
    again = translate(
        Profile(**{"thinking_on": profile.thinking_on, "effort_field": "", **changes}), reasoning={"effort": "none"}
    )[0]
    assert "thinking" not in again.body


def test_R05_a_model_that_always_thinks():
    said = "Reasoning is mandatory for this endpoint and cannot be disabled."
    body = translate(reasoning={"effort": "none"})[0].body
    assert lesson(said, Profile(), body) == {"efforts": ("minimal", "low", "medium", "high")}
    assert lesson(said) == {}


def test_R05_an_effort_inside_an_object():
    profile = Profile(effort_field="reasoning.effort")
    body = translate(profile, reasoning={"effort": "high"})[0].body
    assert lesson("reasoning.effort 'high' is not supported; supported values: low, medium", profile, body) == {
        "efforts": ("low", "medium")
    }
    assert lesson('Unknown name "reasoning": Cannot find field.', profile, body) == {"drop": ("reasoning",)}
    assert lesson("Unknown name \"reasoning\" at 'messages[2]': Cannot find field.", profile, body) == {}


def test_R07_thinking_parts_that_are_refused():
    profile = Profile(replay="content_parts", replay_on="all")
    body = translate(profile, input=FOREIGN)[0].body
    said = "Input tag 'thinking' found using 'type' does not match any of the expected tags: 'text', 'image_url'"
    assert lesson(said, profile, body) == {"replay": "none"}


def test_R20_a_content_that_must_not_be_null():
    profile = Profile(calls_content="null")
    body = translate(profile, input=FOREIGN)[0].body
    said = "Invalid value for 'content': expected a string, got null."
    assert lesson(said, profile, body) == {"calls_content": "empty"}
    assert lesson("'NoneType' object is not iterable", profile, body) == {"calls_content": "empty"}


@pytest.mark.parametrize("said", [
    "max_tokens: 4096 > 2048, which is the maximum allowed number of output tokens for claude-3-haiku",
    "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context length is 4096 tokens and your request has 1000 input tokens",
    "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (904 in the messages, 4096 in the completion).",
    "max_tokens must be less than or equal to 2048",
])  # fmt: skip
def test_R28_the_profiles_own_limit_is_given_up_and_the_clients_is_not(said):
    own, clients = BODY, translate(ASKING, max_output_tokens=900)[0].body
    assert learn_limit(Failure(said), own, ASKING) == {"max_tokens": 0}
    assert learn_limit(Failure(said), clients, ASKING) == {}
    assert learn_limit(Failure("prompt is too long"), own, ASKING) == {}
    assert learn_limit(Failure(said), translate()[0].body, Profile()) == {}


# --- which parameter a text refuses


@pytest.mark.parametrize("said", [
    "Unknown parameter: 'X'.", "X is not supported", "unknown field `X`", '"loc":["body","X"],"msg":"Extra inputs are not permitted"', "unsupported: a, b, X",
    "Additional properties are not allowed ('X' was unexpected)", "property 'X' is unsupported", "X: Extra inputs are not permitted", "Unsupported parameter(s): `X`",
    "this server does not accept the 'X' parameter", "extra fields not permitted: X", "The 'X' parameter is not allowed for this model", "X.y is not supported",
    "unknown field: parameter 'X' is not a valid field", "'X' is not a valid request parameter", "'X' is an invalid parameter for this model", "unsupported_parameter: X",
    "illegal parameter 'X'", "Please remove the parameter 'X'", "cannot set 'X' for this model", "'X' must not be provided", "The parameter 'X' is forbidden", "'X' has been removed",
])  # fmt: skip
@pytest.mark.parametrize("key", ["stream_options", "user", "thinking", "temperature", "reasoning_effort"])
def test_R04_ways_to_refuse_a_parameter(said, key):
    # A word of plain language must be marked as a name.
    unmarked = said.startswith(("X ", "X."))
    assert refuses(said.replace("X", key), key) is not (unmarked and key in ("user", "thinking"))
    assert not refuses(said.replace("X", "other"), key)
    assert not refuses(said.replace("X", f"{key}_more"), key)
    assert not refuses(said.replace("X", f"my_{key}"), key)


@pytest.mark.parametrize("said", [
    "X must be a number", "X is too large, at most 5 is allowed", "X: value not between 0 and 1", "unexpected value of X: must be one of a, b", "X", "",
    "messages.2.assistant.X: property 'messages.2.assistant.X' is unsupported", '"loc":["body","messages",0,"user","X"],"msg":"Extra inputs are not permitted"',
    "Unknown name \"X\" at 'tools[0].function': Cannot find field.",
])  # fmt: skip
@pytest.mark.parametrize("key", ["stream_options", "user", "temperature"])
def test_R04_what_is_said_of_values_and_inside_messages_is_no_refusal(said, key):
    assert not refuses(said.replace("X", key), key)


@given(any_text, st.sampled_from(["user", "reasoning_effort", "temperature", "a.b", "x[0]"]), any_text)
def test_any_text_teaches_something_or_nothing(said, key, param):
    refuses(said, key, param)
    changes = learn(Failure(said, param=param), BODY, ASKING)
    assert set(changes) <= set(Profile.__dataclass_fields__)


def test_long_texts_are_searched_in_no_time():
    began = time.process_time()
    for said in (
        "unknown, " * 220,
        "not supported " * 150,
        "'a', " * 400,
        "unsupported parameter value for the model " * 48,
        "temperature " * 166,
    ):
        learn(Failure(said[:2000]), BODY, ASKING)
    assert time.process_time() - began < IN_NO_TIME


JSON_SCHEMA = {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}}


@pytest.mark.parametrize(("said", "fields", "changes"), [
    ("Value error, Unexpected message role.", {}, {"developer_role": "system"}),
    ("messages[0].role: Input should be 'system', 'user', 'assistant' or 'tool'", {}, {"developer_role": "system"}),
    ("role must be one of: system, user, assistant", {}, {"developer_role": "system"}),
    ("Incorrect role information", {}, {"developer_role": "system"}),
    ("After the optional system message(s), user/tool and assistant roles should be alternating.", {}, {"alternate": True, "user_after_results": False}),
    ("1 validation error\nreasoning_effort\n  Extra inputs are not permitted [type=extra_forbidden, input_value='high', input_type=str]", {}, {"drop": ("reasoning_effort",)}),
    ("response_format value as json_schema is enabled only for api versions 2024-08-01-preview and later", {"text": JSON_SCHEMA}, {"response_formats": ("json_object",)}),
    ("'response_format.type' must be 'json_schema' or 'text'", {"text": {"format": {"type": "json_object"}}}, {"response_formats": ("json_schema",)}),
    ("'response_format.type' must be 'json_schema' or 'text'", {"text": JSON_SCHEMA}, {}),
    ("Field required: messages[3].name", {"input": FOREIGN}, {"name_in_results": True}),
])  # fmt: skip
def test_R01_to_R24_refusals_in_yet_other_words(said, fields, changes):
    profile = Profile(developer_role="developer", system_placement="anywhere")
    asked = {"instructions": "Be brief.", "reasoning": {"effort": "high"}, **fields}
    assert lesson(said, profile, translate(profile, **asked)[0].body) == changes


PASTED = "My client prints: Unsupported parameter: 'top_p' is not supported with this model. What does it mean?"


@pytest.mark.parametrize("place", ["text", "result", "arguments", "parts"])
def test_what_a_refusal_quotes_of_the_conversation_teaches_nothing(place):
    items = {
        "text": [text("user", PASTED)],
        "parts": [text("user", PASTED, {"type": "input_image", "image_url": PNG})],
        "result": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "call_id": "c", "output": PASTED}],
        "arguments": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": json.dumps({"a": PASTED})}],
    }[place]  # fmt: skip
    body = translate(ASKING, **{**FIELDS, "input": items})[0].body
    quoted = (
        "Could not read the message: \u201cUnsupported parameter: 'top_p' is not supported with this model.\u201d at 7"
    )
    assert lesson(quoted, ASKING, body) == {}
    assert lesson("Invalid content \"My client prints: Unsupported parameter: 'top_p' is not supp", ASKING, body) == {}
    # What the vendor says itself beside it counts, and so does the very text that the user has shown.
    assert lesson(f"{quoted}; unknown parameter: 'seed'", ASKING, body) == {"drop": ("seed",)}
    own = "Unsupported parameter: 'top_p' is not supported with this model."
    assert lesson(own, ASKING, body) == {"drop": ("top_p",)}


def test_a_long_conversation_and_a_long_refusal_are_compared_in_no_time():
    body = {**BODY, "messages": [{"role": "user", "content": "Unsupported parameter: 'top_p'. " * 100_000}]}
    began = time.process_time()
    for said in ("Unsupported parameter: 'top_p'. " * 60, "x Unsupported parameter: 'seed' y " * 60):
        learn(Failure(said), body, ASKING)
    assert time.process_time() - began < IN_NO_TIME


# --- what the log says


@pytest.mark.parametrize(("changes", "keys"), [
    ({"stream_options": False}, "stream_options = false"),
    ({"drop": ("a", "b"), "replay": "none"}, 'drop = ["a", "b"], replay = "none"'),
    ({"tool_choice": {"required": "omit"}, "thinking_off": {}}, 'tool_choice = { "required" = "omit" }, thinking_off = {  }'),
    ({"max_tokens": 0}, "max_tokens = 0"),
    ({"schema": ()}, "schema = []"),
])  # fmt: skip
def test_changes_as_a_line_of_a_profile(changes, keys):
    assert profile_line("m", changes) == f'models."m" = {{ {keys} }}'
    [found] = tomllib.loads(profile_line("m", changes))["models"].values()
    assert {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()} == changes


@pytest.mark.parametrize(
    "model", ["a/b:c", 'say "x"', "back\\slash", "*", "a[1]?", "line\nbreak\x7f\u00e9", "a|b", "\ud800"]
)
def test_the_line_is_for_that_model_whatever_its_name_holds(model):
    found = parse_profile("x.toml", profile_line(model, {"max_tools": 7}))
    assert found.for_model(model.replace("\ud800", "\ufffd")).max_tools == 7
    assert found.for_model("another").max_tools == 0
