"""What there is beside the Responses themselves, by path."""

from __future__ import annotations

from twisted.web.resource import IResource

from chatbridge.web.chat import ChatCompletions
from chatbridge.web.compaction import Compaction
from chatbridge.web.intake import Intake
from chatbridge.web.tokens import InputTokens


def endpoints(intake: Intake) -> dict[str, IResource]:
    """Return the resources; their paths are without /v1."""
    return {
        "/chat/completions": ChatCompletions(intake),
        "/responses/compact": Compaction(intake),
        "/responses/input_tokens": InputTokens(intake),
    }
