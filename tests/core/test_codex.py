from __future__ import annotations

import pytest

from chatbridge.protocol.codex import is_codex, response_error
from chatbridge.protocol.errors import ApiError, Kind


@pytest.mark.parametrize(("headers", "known"), [
    ({"originator": "codex_exec", "user-agent": "codex_exec/0.169.0 (Debian 12.0.0; x86_64)"}, True),
    ({"originator": "codex_cli_rs"}, True),
    ({"user-agent": "codex_vscode/1.0"}, True),
    ({"user-agent": "openai-python/3.54"}, False),
    ({"user-agent": "my-codex-like-tool"}, False),
    ({}, False),
])  # fmt: skip
def test_codex_is_known_by_its_headers(headers, known):
    assert is_codex(headers) is known


@pytest.mark.parametrize(("kind", "code"), [
    # One request and the text as it is:
    (Kind.INVALID, "invalid_prompt"), (Kind.AUTH, "invalid_prompt"), (Kind.NOT_FOUND, "invalid_prompt"),
    (Kind.QUOTA, "invalid_prompt"), (Kind.FILTERED, "invalid_prompt"),
    # Codex compacts:
    (Kind.OVERFLOW, "context_length_exceeded"),
    # Codex tries again:
    (Kind.RATE_LIMIT, "rate_limit_exceeded"), (Kind.UNAVAILABLE, "server_error"),
])  # fmt: skip
def test_each_kind_of_error_has_the_code_that_costs_the_fewest_requests(kind, code):
    assert response_error(ApiError(418, "the vendor's words", kind=kind)) == {
        "code": code,
        "message": "the vendor's words",
    }
