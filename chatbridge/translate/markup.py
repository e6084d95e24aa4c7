"""Tool calls as plain text: what a server passes on that has no parser for its model's calls (quirk S25).

They are noted and never guessed at: the same marks stand in texts about such models.
"""

from __future__ import annotations

import re

_MARKS = re.compile(
    # DeepSeek's bars and blanks are of other kinds than those on the keyboard.
    r"<[\uff5c|]DSML[\uff5c|]|<[\uff5c|]tool[\u2581_ ]calls?|<\|?tool_calls_section_begin"
    r"|<tool_call>|<minimax:tool_call>|<function=\w|\[TOOL_CALLS\]|<\|python_tag\|>"
)


def holds_calls(text: str) -> bool:
    """Tell whether *text* looks as if it held tool calls."""
    return _MARKS.search(text) is not None
