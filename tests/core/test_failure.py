from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import json_values

from chatbridge.protocol.delay import LONGEST_DELAY, retry_delay
from chatbridge.protocol.errors import ApiError, Kind, internal, unavailable
from chatbridge.protocol.failure import DEFAULT_DELAY, TEXT_LIMIT, read_body, read_failure, upstream_error


def error(status: int, value: object, headers: dict[str, str] | None = None, **options: dict[str, str]) -> ApiError:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return upstream_error(status, read_body(body), headers, **options)


SHAPES = {
    "openai": ({"error": {"message": "no such tool", "type": "invalid_request_error", "param": None, "code": "bad_tool"}}, "bad_tool"),
    "openai, only a type": ({"error": {"message": "no such tool", "type": "overloaded", "code": None}}, "overloaded"),
    "flat": ({"message": "no such tool", "type": "invalid", "param": "tools", "code": "wrong_tool"}, "wrong_tool"),
    "object error": ({"object": "error", "message": "no such tool", "type": "invalid", "code": "3051", "raw_status_code": 400}, "3051"),
    "code and data": ({"code": 20015, "message": "no such tool", "data": None}, "20015"),
    "error is text": ({"code": "Some words that say why", "error": "no such tool"}, "Some words that say why"),
    "list": ([{"error": {"code": 400, "message": "no such tool", "status": "INVALID_ARGUMENT"}}], "400"),
    "typed": ({"type": "error", "error": {"type": "invalid_params", "message": "no such tool", "http_code": "400"}, "request_id": "r"}, "invalid_params"),
    "base_resp": ({"base_resp": {"status_code": 2049, "status_msg": "no such tool"}}, "2049"),
    "base_resp without trouble": ({"base_resp": {"status_code": 0, "status_msg": ""}, "message": "no such tool"}, ""),
    "detail": ({"detail": "no such tool"}, ""),
    "msg": ({"code": 7, "msg": "no such tool"}, "7"),
    "error without a text of its own": ({"error": {"code": 12}, "message": "no such tool"}, "12"),
    "text": ("no such tool", ""),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_E01_every_shape_is_unwrapped(shape):
    value, code = SHAPES[shape]
    found = read_body(json.dumps(value).encode())
    assert (found.message, found.code) == ("no such tool", code)


@pytest.mark.parametrize(("body", "message"), [
    (b"", ""),
    (b"  \n", ""),
    (b"upstream connect error", "upstream connect error"),
    (b"<html><head><title>502 Bad\n Gateway</title></head><body><h1>x</h1>", "502 Bad Gateway"),
    (b"<html><h1>Not <b>here</b></h1>", "Not here"),
    (b"<html><body>nothing</body></html>", "an HTML page"),
    (b'{"detail":[{"loc":["body"],"msg":"field required"}]}', '[{"loc":["body"],"msg":"field required"}]'),
    (b'{"data":"out of tokens","success":false}', '{"data":"out of tokens","success":false}'),
    (b'{"error":{}}', '{"error":{}}'),
    (b"{}", ""), (b"[]", ""), (b"null", ""),
    (b'{"broken', '{"broken'),
    (b"\xff\xfe", "\ufffd\ufffd"),
])  # fmt: skip
def test_E06_bodies_of_other_kinds(body, message):
    assert read_body(body).message == message


def test_E11_the_body_counts_and_not_the_label_on_it():
    assert read_body(b'\r\n{"error":{"message":"bad key"}}\n').message == "bad key"


@pytest.mark.parametrize(("code", "text"), [(404, "404"), ("1261", "1261"), (None, ""), ("", ""), (4.5, "4.5")])
def test_E02_codes_of_any_type_become_text(code, text):
    assert read_failure({"error": {"message": "m", "code": code}}).code == text


def test_the_cause_that_openrouter_wraps_is_told():
    raw = json.dumps({"error": {"message": "prompt is too long: 9 > 8"}})
    found = error(400, {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": raw}}})
    assert found.kind is Kind.OVERFLOW
    assert found.message.endswith("Provider returned error: prompt is too long: 9 > 8")


@pytest.mark.parametrize(("metadata", "message"), [
    ({"raw": "busy"}, "busy"), ({"raw": ""}, ""), ({"raw": 5}, ""), ("busy", ""),
])  # fmt: skip
def test_metadata_of_any_shape(metadata, message):
    assert read_failure({"metadata": metadata}).message == message


def test_long_texts_are_cut_and_white_space_is_folded():
    assert read_failure("a \n\t b").message == "a b"
    assert len(read_body(b"x" * 10_000).message) == TEXT_LIMIT + 1


@given(json_values)
@example({"error": {"error": {"error": []}}})
@example({"error": True})
@example({"base_resp": {"status_code": {}}})
@example({"details": [1, {"retryDelay": []}]})
def test_any_value_makes_a_failure_and_an_error(value):
    found = read_failure(value)
    assert isinstance(found.message, str)
    assert isinstance(found.code, str)
    for status in (200, 302, 400, 429, 503):
        told = upstream_error(status, found)
        assert 400 <= told.status < 600
        assert told.body()["error"]["message"]


@given(st.binary(max_size=60))
def test_any_body_makes_a_failure(body):
    assert isinstance(read_body(body).message, str)


def test_json_that_nests_too_deep_is_told_as_text():
    assert read_body(b'{"error":' * 5000).message.startswith('{"error":{"error":')


OVERFLOWS = [
    "prompt is too long: 240001 tokens > 200000 maximum",
    "Input is too long for requested model.",
    "Your input exceeds the context window of this model.",
    "The input token count (1300000) exceeds the maximum number of tokens allowed (1048576).",
    "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
    "Please reduce the length of the messages or completion.",
    "This endpoint's maximum context length is 65536 tokens.",
    "prompt token count of 70000 exceeds the limit of 64000",
    "the request exceeds the available context size, try increasing it",
    "The number of tokens to keep is greater than the context length",
    "Trying to keep the first 9000 tokens when context the overflows.",
    "Context size has been exceeded.",
    "invalid params, context window exceeds limit",
    "Your request exceeded model token limit: 131072",
    "Input token length too long",
    "Range of input length should be [1, 98304]",
    "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
    "Prompt exceeds max length",
    "length of prompt_tokens must be less than or equal to max_seq_len",
    "max_total_tokens (5000) must be less than max_seq_len",
    "Current length is 9000 while limit is 8192",
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096.",
    "The prompt is longer than the model's context length",
    "context length is only 2048 tokens",
    "input length 9000 exceeds the context length 8192",
    "context_length_exceeded",
]


@pytest.mark.parametrize("text", OVERFLOWS)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_E03_context_overflow_in_every_wording(text, status):
    found = error(status, {"error": {"message": text}})
    assert (found.kind, found.code, found.status) == (Kind.OVERFLOW, "context_length_exceeded", 400)
    assert found.response_error()["code"] == "context_length_exceeded"
    assert text in found.message


@pytest.mark.parametrize("code", ["context_length_exceeded", "exceed_context_size_error", "1261", 1261])
def test_E03_context_overflow_by_its_code(code):
    assert error(400, {"error": {"message": "no", "code": code}}).kind is Kind.OVERFLOW


@pytest.mark.parametrize("text", [
    "messages[2].tool_call_id: string too long. Expected a string with maximum length 40",
    "'messages.1.name': string too long, exceeds the limit of 64",
    "function.name exceeds the limit of 64 characters",
])  # fmt: skip
def test_E03_what_only_looks_like_an_overflow(text):
    assert error(400, {"error": {"message": text}}).kind is Kind.INVALID


def test_E04_a_token_rate_is_no_overflow():
    text = "Request too large for model `llm` on tokens per minute (TPM): Limit 6000, Requested 5810, please reduce"
    found = error(413, {"error": {"message": text, "code": "rate_limit_exceeded"}})
    assert (found.kind, found.status) == (Kind.RATE_LIMIT, 429)


def test_E04_more_than_the_whole_rate_is_not_tried_again():
    text = "Request too large (TPM): Limit 6000, Requested 14810"
    found = error(413, {"error": {"message": text, "code": "rate_limit_exceeded"}})
    assert found.kind is Kind.INVALID
    assert found.response_error()["code"] == "invalid_prompt"


@pytest.mark.parametrize(("status", "value"), [
    (429, b""),
    (200, {"error": {"message": "slow down", "code": 429}}),
    (200, {"error": {"message": "slow down", "type": "rate_limit_error", "code": None}}),
    (200, {"error": {"message": "Rate limit reached for requests"}}),
    (200, {"type": "error", "error": {"type": "x", "message": "slow down", "http_code": "429"}}),
    (403, {"message": "too many requests"}),
    (503, {"message": "RPM reached"}),
    (400, {"error": {"message": "slow down", "status": "RESOURCE_EXHAUSTED", "code": None}}),
])  # fmt: skip
def test_E04_rate_limits_by_status_code_or_words(status, value):
    found = error(status, value)
    assert (found.kind, found.status, found.code) == (Kind.RATE_LIMIT, 429, "rate_limit_exceeded")
    assert found.retry_after == DEFAULT_DELAY
    assert found.message.endswith(". Please try again in 5s.")


@pytest.mark.parametrize(("status", "kind"), [(401, Kind.AUTH), (404, Kind.NOT_FOUND)])
def test_the_word_rate_limit_does_not_hide_a_plain_status(status, kind):
    assert error(status, {"error": {"message": "no rate limit tier for this key"}}).kind is kind


@pytest.mark.parametrize(("headers", "message", "seconds"), [
    ({"retry-after": "7"}, "busy", 7.0),
    ({"retry-after": "1.5"}, "busy", 1.5),
    ({"retry-after-ms": "250", "retry-after": "9"}, "busy", 0.25),
    ({"x-ratelimit-reset-after": "12"}, "busy", 12.0),
    ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, "busy", None),
    ({"retry-after": "-3"}, "busy", None),
    ({"retry-after": "nan"}, "busy", None),
    ({"retry-after": "0"}, "busy", 0.1),
    ({"retry-after": "86400"}, "busy", LONGEST_DELAY),
    ({}, "Please try again in 4.77s.", 4.77),
    ({}, "try again in 450ms", 0.45),
    ({}, "try again in 300 milliseconds", 0.3),
    ({}, "Please retry in 34.4s.", 34.4),
    ({}, "retry after 30", 30.0),
    ({}, "try again in 20 seconds", 20.0),
    ({}, "try again in 1m20s", 80.0),
    ({}, "try again in 2 minutes", 120.0),
    ({}, "try again in 1 minute, 20 seconds", 80.0),
    ({}, "try again in 1h2m3.5s", LONGEST_DELAY),
    ({}, "try again in 2 days", LONGEST_DELAY),
    ({}, "try again in a moment", None),
    ({}, "try again in 3 apples", 3.0),
])  # fmt: skip
def test_E07_the_delay_wherever_it_stands(headers, message, seconds):
    assert retry_delay(message, headers) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        ("34.4s", 34.4),
        ("900s", LONGEST_DELAY),
        ("soon", DEFAULT_DELAY),
        (7, 7.0),
        ({"seconds": 12, "nanos": 500000000}, 12.5),
    ],
)
def test_E07_the_delay_in_the_details(delay, seconds):
    details = ["x", {"@type": "Quota"}, {"@type": "Retry", "retryDelay": delay}]
    found = error(
        429, [{"error": {"code": 429, "message": "busy", "status": "RESOURCE_EXHAUSTED", "details": details}}]
    )
    assert found.retry_after == pytest.approx(seconds)


@pytest.mark.parametrize(("message", "told"), [
    ("Busy. Please try again in 1.2s", "Busy. Please try again in 1.2s"),
    ("Busy. Please try again in 300 ms.", "Busy. Please try again in 300 ms."),
    ("Busy, retry after 3 seconds.", "Busy, retry after 3 seconds. Please try again in 3s."),
    ("Busy, try again in 1m4.5s.", "Busy, try again in 1m4.5s. Please try again in 64.5s."),
    ("Busy.", "Busy. Please try again in 5s."),
])  # fmt: skip
def test_E07_the_message_holds_the_delay_as_codex_reads_it(message, told):
    assert error(429, {"error": {"message": message}}).message == f"upstream answered 429 Too Many Requests: {told}"


@pytest.mark.parametrize(("status", "value"), [
    (429, {"error": {"message": "You exceeded your current quota.", "code": "insufficient_quota"}}),
    (402, {"error": {"message": "Insufficient Balance"}}),
    (200, {"base_resp": {"status_code": 1008, "status_msg": "no money"}}),
    (429, {"error": {"message": "limit for the month", "type": "usage_limit_reached"}}),
    (403, {"message": "quota exceeded"}),
    (429, {"error": {"message": "insufficient_user_quota"}}),
])  # fmt: skip
def test_E08_quota_is_not_worth_a_retry(status, value):
    found = error(status, value)
    assert (found.kind, found.status, found.code, found.retry_after) == (Kind.QUOTA, 429, "insufficient_quota", None)


@pytest.mark.parametrize("value", [
    [{"error": {"code": 429, "message": "You exceeded your current quota.", "details": [{"retryDelay": "3s"}]}}],
    {"error": {"message": "Quota exceeded for requests per minute. Please retry in 3s."}},
])  # fmt: skip
def test_E07_a_quota_that_names_its_delay_is_a_rate_limit(value):
    found = error(429, value)
    assert (found.kind, found.retry_after) == (Kind.RATE_LIMIT, 3.0)


def test_E09_a_call_that_the_vendor_refused_is_worth_a_retry():
    value = {"error": {"message": "Call does not match", "code": "tool_use_failed", "failed_generation": "SECRET"}}
    for status in (400, 200):
        found = error(status, value)
        assert found.kind is Kind.UNAVAILABLE
        assert "SECRET" not in found.message


@pytest.mark.parametrize("code", ["content_filter", "data_inspection_failed", "1301", "ResponsibleAIPolicyViolation"])
def test_E10_content_filters(code):
    found = error(400, {"error": {"message": "refused", "code": code}})
    assert (found.kind, found.status, found.code) == (Kind.FILTERED, 400, "content_filter")
    assert found.response_error()["code"] == "invalid_prompt"


@pytest.mark.parametrize("text", [
    "Jinja Exception: cannot render", "chat template error", "System message must be at the beginning.", "unhashable type: 'dict'",
])  # fmt: skip
def test_E12_a_template_that_fails_will_fail_again(text):
    found = error(500, {"error": {"message": text}})
    assert found.kind is Kind.INVALID
    assert found.response_error()["code"] == "invalid_prompt"


@pytest.mark.parametrize(("status", "kind", "shown", "code"), [
    (302, Kind.INVALID, 502, "invalid_request"),
    (400, Kind.INVALID, 400, "invalid_request"),
    (422, Kind.INVALID, 422, "invalid_request"),
    (401, Kind.AUTH, 401, "invalid_api_key"),
    (403, Kind.AUTH, 403, "invalid_api_key"),
    (404, Kind.NOT_FOUND, 404, "model_not_found"),
    (413, Kind.OVERFLOW, 400, "context_length_exceeded"),
    (408, Kind.UNAVAILABLE, 408, "upstream_error"),
    (409, Kind.UNAVAILABLE, 409, "upstream_error"),
    (500, Kind.UNAVAILABLE, 500, "upstream_error"),
    (529, Kind.UNAVAILABLE, 529, "upstream_error"),
    (200, Kind.UNAVAILABLE, 502, "upstream_error"),
    (999, Kind.UNAVAILABLE, 502, "upstream_error"),
])  # fmt: skip
def test_plain_statuses(status, kind, shown, code):
    found = error(status, b"sorry")
    assert (found.kind, found.status, found.code) == (kind, shown, code)


def test_the_message_names_status_and_text():
    assert error(404, {"error": {"message": "no model x"}}).message == "upstream answered 404 Not Found: no model x"
    assert error(502, b"").message == "upstream answered 502 Bad Gateway"
    assert error(529, b"full").message == "upstream answered 529: full"
    assert error(200, b"odd").message == "upstream failed: odd"


def test_a_status_inside_the_stream_counts_where_http_said_200():
    assert error(200, {"error": {"message": "no", "status_code": 400}}).status == 400
    assert error(200, {"error": {"message": "no", "code": 404}}).kind is Kind.NOT_FOUND
    assert error(400, {"error": {"message": "no", "code": 500}}).status == 400


@pytest.mark.parametrize(("status", "topic"), [(401, "auth"), (403, "auth"), (404, "not_found"), (307, "redirect")])
def test_the_operator_is_told_what_to_check(status, topic):
    check = {"auth": "See auth.", "not_found": "See not_found.", "redirect": "See redirect."}
    assert error(status, b"no.", check=check).message.endswith(f": no. See {topic}.")
    assert "See" not in error(500, b"no.", check=check).message


def test_a_503_hands_its_delay_on():
    assert error(503, b"", {"retry-after": "4"}).retry_after == 4.0
    assert error(503, b"").retry_after is None


@pytest.mark.parametrize(("kind", "code"), [
    # For Codex one request, and the text as it is:
    (Kind.INVALID, "invalid_prompt"), (Kind.AUTH, "invalid_prompt"), (Kind.NOT_FOUND, "invalid_prompt"),
    (Kind.QUOTA, "invalid_prompt"), (Kind.FILTERED, "invalid_prompt"),
    # It compacts:
    (Kind.OVERFLOW, "context_length_exceeded"),
    # It tries again:
    (Kind.RATE_LIMIT, "rate_limit_exceeded"), (Kind.UNAVAILABLE, "server_error"),
])  # fmt: skip
def test_errors_inside_a_stream_have_the_codes_that_strict_clients_know(kind, code):
    assert ApiError(500, "why", kind=kind).response_error() == {"code": code, "message": "why"}


def test_the_body_of_an_http_error():
    told = ApiError(400, "why", param="input[0]", code="invalid_type")
    assert told.body() == {
        "error": {"message": "why", "type": "invalid_request_error", "param": "input[0]", "code": "invalid_type"}
    }
    assert str(told) == "why"


def test_our_own_fault_and_an_unreachable_upstream_may_be_tried_again():
    assert (internal().status, internal().kind) == (500, Kind.UNAVAILABLE)
    assert (unavailable("gone").status, unavailable("gone", status=504).status) == (502, 504)
    assert unavailable("gone").response_error() == {"code": "server_error", "message": "gone"}


# --- more shapes, more words


MORE_SHAPES = {
    "a list of errors": ({"errors": [{"message": "no such tool", "code": 5007}], "success": False}, "5007"),
    "error_msg": ({"error_code": 336003, "error_msg": "no such tool", "id": "as-1"}, "336003"),
    "a cloud's own": ({"Response": {"Error": {"Code": "InvalidParameter", "Message": "no such tool"}, "RequestId": "r"}}, "InvalidParameter"),
    "a problem document": ({"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "no such tool"}, "400"),
    "an error in the detail": ({"detail": {"error": {"message": "no such tool"}}}, ""),
    "an error in the message": ({"object": "error", "message": {"detail": "no such tool"}, "code": "3001"}, "3001"),
    "JSON in the message": ({"error": {"code": 400, "message": '{\n  "error": {"code": 400, "message": "no such tool"}}\n', "status": "Bad Request"}}, "400"),
    "a body in a body": ({"error": {"message": json.dumps({"detail": "no such tool"}), "code": None}}, ""),
    "Azure's inner error": ({"error": {"message": "no such tool", "code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, "ResponsibleAIPolicyViolation"),
}  # fmt: skip


@pytest.mark.parametrize("shape", MORE_SHAPES)
def test_E01_shapes_of_gateways_and_clouds(shape):
    value, code = MORE_SHAPES[shape]
    found = read_body(json.dumps(value).encode())
    assert (found.message, found.code) == ("no such tool", code)


@pytest.mark.parametrize(("value", "param"), [
    ({"error": {"message": "m", "param": "stream_options"}}, "stream_options"), ({"message": "m", "param": "tools"}, "tools"),
    ([{"error": {"message": "m", "param": None}}], ""), ({"error": {"message": "m", "param": 5}}, ""), ({"error": "m"}, ""),
])  # fmt: skip
def test_E01_the_parameter_beside_the_text(value, param):
    assert read_failure(value).param == param


@pytest.mark.parametrize(("code", "kind", "status"), [
    (1002, Kind.RATE_LIMIT, 429), (1039, Kind.RATE_LIMIT, 429), (1004, Kind.AUTH, 401), (2049, Kind.AUTH, 401), (1008, Kind.QUOTA, 429),
    (2056, Kind.QUOTA, 429), (1026, Kind.FILTERED, 400), (2013, Kind.INVALID, 400), (1000, Kind.UNAVAILABLE, 502), (1013, Kind.UNAVAILABLE, 502),
])  # fmt: skip
def test_E01_E08_base_resp_says_with_200_what_others_say_with_a_status(code, kind, status):
    found = error(200, {"base_resp": {"status_code": code, "status_msg": "why"}})
    assert (found.kind, found.status) == (kind, status)
    assert "why" in found.message


@pytest.mark.parametrize("text", [
    "Your credit balance is too low to access the API.", "Access denied, please make sure your account is in good standing.",
    "Sorry, your account balance is insufficient", "Usage limit reached for 5 hour. Your limit will reset at 2026-12-01 10:00:00",
    "Your team has either used all available credits or reached its monthly spending limit.", "Key limit exceeded (total limit).",
    "The request failed because your account has an overdue balance.", "Insufficient balance or no resource package. Please recharge.",
    "You have run out of credits", "账户余额不足", "Insufficient account balance", "The free tier of the model has been exhausted.",
])  # fmt: skip
@pytest.mark.parametrize("status", [400, 403, 429])
def test_E08_no_money_in_every_wording(text, status):
    assert error(status, {"error": {"message": text}}).kind is Kind.QUOTA


@pytest.mark.parametrize(
    "code", ["exceeded_current_quota_error", "quota_exceeded", "Arrearage", "1113", "AccountOverdueError"]
)
def test_E08_no_money_by_code(code):
    assert error(429, {"error": {"message": "Please try again in 5s", "code": code}}).kind is Kind.QUOTA
    assert error(429, {"error": {"message": "why", "type": code}}).kind is Kind.QUOTA


@pytest.mark.parametrize("text", [
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "Content violates usage guidelines.",
    "Content Exists Risk", "Input data may contain inappropriate content.", "The request was rejected because it was considered high risk",
    "Invalid prompt: your prompt was flagged as potentially violating our usage policy.", "Failed check: SensitiveContentDetected",
])  # fmt: skip
@pytest.mark.parametrize("status", [400, 403])
def test_E10_content_filters_by_their_words(text, status):
    assert error(status, {"error": {"message": text}}).kind is Kind.FILTERED


@pytest.mark.parametrize(("headers", "seconds"), [
    ({"retry-after": "Sun, 22 Nov 2026 10:01:30 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 90.0),
    ({"retry-after": "Sun, 22 Nov 2026 09:00:00 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 0.1),
    ({"retry-after": "Thu, 31 Dec 2026 23:59:50 GMT", "date": "Thu, 31 Dec 2026 23:59:40 GMT"}, 10.0),
    ({"retry-after": "Sun, 22 Foo 2026 10:01:30 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, None),
    ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2m59.5s"}, 179.5),
    ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
    ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "120ms"}, None),
    ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "soon"}, None),
    ({"x-ratelimit-remaining-tokens": "0"}, None),
])  # fmt: skip
def test_E07_delays_in_other_headers(headers, seconds):
    assert retry_delay("busy", headers) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("value", [
    {"error": {"message": "busy", "retry_after": 12}}, {"error": {"message": "busy", "metadata": {"retry_after_seconds": "12"}}},
    {"message": "busy, please wait and try again after about 12 seconds"},
])  # fmt: skip
def test_E07_delays_in_other_keys_of_the_body(value):
    assert error(429, value).retry_after == pytest.approx(12.0)


@pytest.mark.parametrize("text", [
    "Value is not callable: null at row 1, column 72:", "Conversation roles must alternate user/assistant/user/assistant/...", "System role not supported",
    "raise_exception called", "Unable to apply chat-template",
])  # fmt: skip
def test_E12_templates_that_fail_say_it_in_many_ways(text):
    assert error(500, {"error": {"message": text}}).kind is Kind.INVALID


def test_E03_a_body_that_a_proxy_finds_too_large():
    assert error(500, b"<html><title>413 Request Entity Too Large</title></html>").kind is Kind.OVERFLOW


def test_E04_capacity_is_a_rate():
    assert (
        error(
            400, {"object": "error", "message": "Service tier capacity exceeded for this model.", "code": "3505"}
        ).kind
        is Kind.RATE_LIMIT
    )


@pytest.mark.parametrize(("status", "body", "kind", "words"), [
    # as vendors really sent them
    (429, {"error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": "free is temporarily rate-limited upstream. Please retry shortly", "provider_name": "Google"}}, "user_id": "u"}, Kind.RATE_LIMIT, "temporarily rate-limited"),
    (404, {"error": {"code": "model_not_found", "message": "The model `x` does not exist or you do not have access to it.", "type": "invalid_request_error"}}, Kind.NOT_FOUND, "does not exist"),
    (400, {"error": {"code": "tool_use_failed", "failed_generation": "SECRET", "message": "Tool call validation failed", "type": "invalid_request_error"}}, Kind.UNAVAILABLE, "validation failed"),
    (400, {"error": {"code": "unsupported_value", "message": "Unsupported value: 'messages[0].role' does not support 'developer' with this model.", "param": "messages[0].role"}}, Kind.INVALID, "developer"),
    (413, {"error": {"message": "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 14810, please reduce your message size and try again.", "type": "tokens", "code": "rate_limit_exceeded"}}, Kind.INVALID, "14810"),
    (400, {"message": "messages.2.assistant.reasoning_content: property 'messages.2.assistant.reasoning_content' is unsupported", "type": "invalid_request_error", "param": "validation_error", "code": "wrong_api_format"}, Kind.INVALID, "unsupported"),
    (400, {"type": "error", "error": {"type": "bad_request_error", "message": "invalid params, tool call result does not follow tool call (2013)", "http_code": "400"}, "request_id": "r"}, Kind.INVALID, "2013"),
    (400, [{"error": {"code": 400, "message": "Function call is missing a thought_signature in functionCall parts.", "status": "INVALID_ARGUMENT"}}], Kind.INVALID, "thought_signature"),
    (400, {"object": "error", "message": "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.", "type": "invalid_request_message_order", "param": None, "code": "3280"}, Kind.INVALID, "length of 9"),
    (400, {"code": "invalid-argument", "error": "Model grok-4 does not support parameter reasoningEffort."}, Kind.INVALID, "reasoningEffort"),
    (400, {"error": {"message": "<400> InternalError.Algo.DataInspectionFailed: Input data may contain inappropriate content.", "code": "data_inspection_failed"}}, Kind.FILTERED, "inappropriate"),
    (429, {"error": {"message": "Your account is suspended due to insufficient balance, please recharge your account or check your plan and billing details", "type": "exceeded_current_quota_error"}}, Kind.QUOTA, "recharge"),
    (403, {"message": "You've reached your usage limit for this billing cycle.", "type": "access_terminated_error"}, Kind.QUOTA, "usage limit"),
    (400, {"error": {"message": "Invalid request: Your request exceeded model token limit: 262144 (requested: 300000)", "type": "invalid_request_error"}}, Kind.OVERFLOW, "262144"),
    (400, {"error": {"code": "1261", "message": "Prompt exceeds max length"}}, Kind.OVERFLOW, "max length"),
    (400, {"code": 20015, "message": "length of prompt_tokens (9000) must be less than max_seq_len (8192).", "data": None}, Kind.OVERFLOW, "8192"),
    (500, {"error": {"code": 500, "message": "Jinja Exception: System message must be at the beginning.", "type": "server_error"}}, Kind.INVALID, "beginning"),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, Kind.UNAVAILABLE, "Overloaded"),
])  # fmt: skip
def test_E01_to_E12_bodies_as_they_are_on_the_wire(status, body, kind, words):
    found = error(status, body)
    assert found.kind is kind
    assert words in found.message
    assert "SECRET" not in found.message


@pytest.mark.parametrize("text", [
    "The number of tools exceeds the limit of 128", "stop: number of sequences exceeds the limit of 4", "image count exceeds the limit of 20",
])  # fmt: skip
def test_E03_other_things_have_limits_too(text):
    assert error(400, {"error": {"message": text}}).kind is Kind.INVALID


@pytest.mark.parametrize("text", [
    "The decoder prompt (length 40000) is longer than the maximum model length of 32768.",
    "too many tokens: total number of tokens in the prompt cannot exceed 128000 - received 130000.",
    "Input length 140000 exceeds the maximum length 131072", "Total tokens of image and text exceed max message tokens",
    "prompt tokens too long", "Exceeded max_prompt_tokens", "max tokens of 200000 exceeded",
    "total message size 3000000 exceeds limit 2097152", "Your prompt is longer than the context window",
    "input length and `max_tokens` exceed context limit: 190000 + 21333 > 200000, decrease input length or `max_tokens`",
    "Conversation is too long for this model (limit 128000 tokens).", "The request exceeds the model's context window of 32k tokens",
    "Number of input tokens (50000) exceeds the maximum allowed (32768)", "tokens in request more than max tokens allowed",
    "Prompt has 9000 tokens, which exceeds the maximum context of 8192", "Prompt length 9000 exceeds maximum context size",
    "Prompt too long (130000 tokens); the maximum is 128000", "输入长度超过模型最大上下文长度", "Prompt 超长",
    "Input validation error: `inputs` must have less than 32768 tokens. Given: 45000", "The input is too long. Max 131072 tokens",
    "Token limit exceeded: 210000 tokens in prompt, limit is 200000",
])  # fmt: skip
def test_E03_what_vendors_say_in_yet_other_words(text):
    for status in (200, 400, 422, 500):
        assert error(status, {"error": {"message": text}}).kind is Kind.OVERFLOW


@pytest.mark.parametrize("text", [
    "max_completion_tokens (200000) exceeds the limit of 65536", "too many images in the request: 30 exceeds the limit of 20",
    "max_tokens is too large: 200000. This model supports at most 16384 completion tokens, whereas you provided 200000.",
    "Invalid 'prompt_cache_key': string too long. Expected a string with maximum length 64", "Prompt cache key too long",
    "Invalid 'tools': array too long. Expected an array with maximum length 128", "tools.0.description exceeds the limit of 1024 characters",
    "max_tokens: 99999 > 64000, which is the maximum allowed number of output tokens", "budget_tokens 32000 exceeds max_tokens 8192",
    "image exceeds 5 MB maximum: 9000000 bytes > 5242880 bytes", "The audio input is too long, max 30 s", "Too many tools: 200 exceeds maximum 128",
    "tool_calls[0].function.arguments is too long", "Max tokens exceeded: at most 4096", "metadata value exceeds the limit of 512",
])  # fmt: skip
def test_E03_limits_of_other_things_are_no_overflow(text):
    assert error(400, {"error": {"message": text}}).kind is Kind.INVALID


def test_E03_a_type_beside_a_number_as_the_code():
    value = {"error": {"code": 400, "message": "no", "type": "exceed_context_size_error", "n_ctx": 8192}}
    assert error(400, value).kind is Kind.OVERFLOW


def test_E04_numbers_with_commas():
    assert (
        error(429, {"error": {"message": "tokens per min (TPM): Limit 30,000, Requested 43,000."}}).kind is Kind.INVALID
    )


NOON = {"date": "Wed, 25 Nov 2026 12:00:00 GMT"}


@pytest.mark.parametrize(("headers", "seconds"), [
    ({"x-ms-retry-after-ms": "1500"}, 1.5),
    ({"retry-after": "Wednesday, 25-Nov-26 12:00:30 GMT", **NOON}, 30.0),
    ({"retry-after": "Wed Nov 25 12:00:30 2026", **NOON}, 30.0),
    ({"retry-after": "Wed, 25 Nov 2026 12:00:30 GMT"}, None),
    ({"x-ratelimit-reset": "17"}, 17.0), ({"ratelimit-reset": "17"}, 17.0),
    ({"x-ratelimit-reset": "1795608020", **NOON}, 20.0), ({"x-ratelimit-reset": "1795608020000", **NOON}, 20.0),
    ({"x-ratelimit-reset-tokens": "7.66s", "x-ratelimit-reset-requests": "20ms"}, 7.66),
    ({"x-ratelimit-reset-tokens-minute": "11.38", "x-ratelimit-remaining-tokens-minute": "0", "x-ratelimit-reset-requests-day": "33011.38", "x-ratelimit-remaining-requests-day": "9"}, 11.38),
    ({"anthropic-ratelimit-tokens-reset": "2026-11-25T12:00:20Z", "anthropic-ratelimit-tokens-remaining": "0", **NOON}, 20.0),
])  # fmt: skip
def test_E07_delays_in_yet_other_headers(headers, seconds):
    assert retry_delay("busy", headers) == (None if seconds is None else pytest.approx(seconds))


def test_E07_a_date_without_one_of_the_answer_is_measured_by_the_clock():
    assert retry_delay("busy", {"retry-after": "Wed, 25 Nov 2026 12:00:30 GMT"}, now=1795608000.0) == pytest.approx(
        30.0
    )


@pytest.mark.parametrize(("text", "seconds"), [
    ("Please wait 12 seconds before retrying", 12.0), ("please wait for 7s and try again", 7.0), ("Retry-After: 9", 9.0),
    ("Please retry your request in 15 seconds", 15.0), ("Rate limit resets in 42 seconds", 42.0), ("quota will reset after 21s", 21.0),
    ("请在 10 秒后重试", 10.0), ("try again in 1m30s", 90.0),
])  # fmt: skip
def test_E07_delays_in_other_words(text, seconds):
    assert retry_delay(text, {}) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [
    {"error": {"message": "slow"}, "retry_after": 6}, {"error": {"message": "slow", "retryAfter": 6}}, {"error": {"message": "slow", "retry_after_ms": 6000}},
    {"error": {"message": "slow", "metadata": {"headers": {"Retry-After": "6", "X-RateLimit-Limit": "1"}}}},
    {"error": {"message": "slow", "metadata": {"raw": '{"error":{"message":"Please try again in 6s"}}'}}},
    {"error": {"message": "slow", "details": [{"retryDelay": "6s"}]}},
])  # fmt: skip
def test_E07_delays_in_yet_other_keys_of_the_body(value):
    assert error(429, value).retry_after == pytest.approx(6.0)


@pytest.mark.parametrize("value", [
    {"error": {"code": "1302", "message": "x"}}, {"error": {"code": "1305", "message": "The API has triggered a frequency limit."}},
    {"error": {"code": "Throttling.RateQuota", "message": "x"}}, {"Response": {"Error": {"Code": "RequestLimitExceeded", "Message": "x"}}},
])  # fmt: skip
def test_E04_rate_limits_by_the_vendors_own_codes(value):
    assert error(200, value).kind is Kind.RATE_LIMIT


@pytest.mark.parametrize(("status", "value"), [
    (403, {"error": {"code": 403, "message": "Your chosen model requires moderation and your input was flagged", "metadata": {"reasons": ["x"]}}}),
    (400, {"error": {"code": "InputTextSensitiveContentDetected", "message": "x"}}),
    (400, [{"error": {"code": 400, "message": "The prompt was blocked due to safety: PROHIBITED_CONTENT", "status": "INVALID_ARGUMENT"}}]),
    (200, {"error": {"message": "Content Exists Risk"}}),
])  # fmt: skip
def test_E10_filters_of_yet_others(status, value):
    assert error(status, value).kind is Kind.FILTERED


@pytest.mark.parametrize("value", [
    [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "details": [{"reason": "API_KEY_INVALID"}]}}],
    {"code": "invalid argument", "error": "Incorrect API key provided: xx."}, {"error": {"message": "no", "type": "authentication_error"}},
])  # fmt: skip
def test_a_wrong_key_that_is_told_with_a_400(value):
    assert error(400, value).kind is Kind.AUTH


@pytest.mark.parametrize("value", [
    {"error": {"message": "Model Not Exist"}}, {"error": {"message": "foo/bar is not a valid model ID", "code": 400}}, {"error": {"message": "no", "code": "1211"}},
    {"object": "error", "message": "Invalid model: foo", "type": "invalid_model", "code": "1500"}, {"error": {"message": "no", "code": "model_not_supported"}},
])  # fmt: skip
def test_a_missing_model_that_is_told_with_a_400(value):
    found = error(400, value)
    assert (found.kind, found.status, found.code) == (Kind.NOT_FOUND, 400, "model_not_found")
