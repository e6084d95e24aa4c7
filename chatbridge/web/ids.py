"""New ids: of requests, responses, items."""

from __future__ import annotations

import os
from collections.abc import Iterator

_AT_ONCE = 64


def _random() -> Iterator[str]:
    """Yield 32 random hexadecimal digits each time; the kernel is asked for many of them at once."""
    while True:
        digits = os.urandom(16 * _AT_ONCE).hex()
        for at in range(0, len(digits), 32):
            yield digits[at : at + 32]


_digits = _random()


def new_id(prefix: str) -> str:
    """Return a new id, as ``msg_…``. In the reactor's thread only."""
    return f"{prefix}_{next(_digits)}"
