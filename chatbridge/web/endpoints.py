"""What there is beside the Responses themselves, by path."""

from __future__ import annotations

import time

from twisted.web.resource import IResource

from chatbridge.store.archive import Archive
from chatbridge.web.chat import ChatCompletions
from chatbridge.web.compaction import Compaction
from chatbridge.web.conversations import Conversations
from chatbridge.web.intake import Intake
from chatbridge.web.tokens import InputTokens


def endpoints(intake: Intake, archive: Archive | None, max_request_bytes: int) -> dict[str, IResource]:
    """Return the resources; their paths are without /v1, and one that ends with a slash is for all below it."""
    conversations = Conversations(archive, time.time, max_request_bytes)
    return {
        "/chat/completions": ChatCompletions(intake),
        "/conversations": conversations,
        "/conversations/": conversations,
        "/responses/compact": Compaction(intake),
        "/responses/input_tokens": InputTokens(intake),
    }
