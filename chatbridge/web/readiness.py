"""Whether new requests are welcome: what GET /readyz asks, and where each part puts its own say."""

from __future__ import annotations

from collections.abc import Callable

Check = Callable[[], str]
"""Returns why new requests are not welcome, in a few words; empty when they are. Asked at each GET /readyz: it must be
quick, so a part that has to wait for an answer (a database) keeps the last one."""


class Readiness:
    """The checks of all parts by name, as ``drain``, ``store`` and ``upstream``."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def add(self, name: str, check: Check) -> None:
        """Ask *check* from now on; it takes the place of the one of that *name*, if there is one."""
        self._checks[name] = check

    def remove(self, name: str) -> None:
        """Ask the check *name* no more."""
        self._checks.pop(name, None)

    def reasons(self) -> dict[str, str]:
        """Return by name what each check says; all empty means ready."""
        return {name: check() for name, check in self._checks.items()}
