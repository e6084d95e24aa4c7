"""Compaction: the upstream is asked for a summary, which Codex replays as one opaque item.

Codex's built-in provider ends the input with ``compaction_trigger`` and wants exactly one ``compaction`` item.
"""

from __future__ import annotations

import base64

PROMPT = """\
The conversation above is about to be replaced by a summary, because it fills the context window. Write that summary \
now, for the assistant that will carry on with the task and will see nothing else of the conversation. Say what the \
user wants, with every requirement and preference that still holds; what has been done and found out, with the exact \
names of files, commands, identifiers and values that will be needed again; what was decided and why; what failed; and \
what is to be done next. Answer with the summary only."""

_PREFIX = "chatbridge.compaction.1:"
_INTRODUCTION = "Summary of the conversation so far, which it replaces:\n\n"
_FOREIGN = (
    "[The earlier conversation was compacted by another server into a form that cannot be read here. "
    "Ask for what is missing.]"
)


def seal(summary: str) -> str:
    """Return *summary* as the ``encrypted_content`` of a compaction item: versioned, plain ASCII."""
    return _PREFIX + base64.b64encode(summary.encode("utf-8", "replace")).decode()


def unseal(content: object) -> str | None:
    """Return the summary in an ``encrypted_content`` that :func:`seal` made, None for any other."""
    if not isinstance(content, str) or not content.startswith(_PREFIX):
        return None
    try:
        return base64.b64decode(content[len(_PREFIX) :], validate=True).decode()
    except ValueError:
        return None


def replay(content: object) -> str:
    """Return the user text that stands for a compaction item in the messages."""
    summary = unseal(content)
    return _FOREIGN if summary is None else _INTRODUCTION + summary
