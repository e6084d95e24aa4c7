from __future__ import annotations

import pytest

from chatbridge.protocol.codex import is_codex


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
