"""What is known of a request when it is over: for the log and the metrics. Never content, never a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Record:
    """One request's facts; what does not apply is empty. Times are seconds."""

    id: str = ""
    client: str = ""
    transport: str = ""
    """``websocket``; empty for HTTP."""
    route: str = ""
    """The path; one of few: where ids or names stand below it, it ends with a star. Empty where there is nothing."""
    request_bytes: int = 0
    """The body's size as sent."""
    upstream: str = ""
    model: str = ""
    upstream_status: int = 0
    attempts: int = 0
    """Upstream requests, all of them."""
    retries: tuple[tuple[str, str], ...] = ()
    """Of each one after the first: the upstream that had failed, and why it was made: ``refused`` (and put otherwise),
    ``repair`` (for an answer that matches its schema), ``key`` (with another one), ``fallback`` (to another upstream or
    model), or what the one before failed with: ``rate_limit``, ``unavailable``, ``connection``, ``timeout``, ``empty``.
    """
    first_event: float = 0.0
    """From the request's head until the upstream's first read that became events."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    tool_calls: int = 0
    events: int = 0
    """Events of the Responses API that the answer was."""
    error: str = ""
    """The class of what the answer failed with, one of few."""
    mismatch: bool = False
    """The answer does not match the JSON schema that the request names."""
    end: str = ""
    """How the answer ended: ``completed``, ``incomplete``, a failure's code, or ``client_gone``."""

    def asked(self, attempts: Any) -> None:
        """Take what became of the upstream requests, all of them over."""
        self.attempts, self.retries = attempts.made, tuple(attempts.again)
        self.upstream, self.upstream_status = attempts.upstream.name, attempts.status

    def finish(self, response: Mapping[str, Any], error: Any, *, closed: bool) -> None:
        """Take what the Response object says. *error* is what the answer failed with, *closed* whether it ended."""
        self.count(response.get("usage") or {})
        kinds = [item.get("type", "") for item in response.get("output") or ()]
        self.tool_calls = sum(kind.endswith("_call") for kind in kinds)
        if error is not None:
            self.error = error.kind.value
            self.end = error.code or error.kind.value
        else:
            self.end = str(response.get("status", "")) if closed else "client_gone"

    def count(self, usage: Mapping[str, Any]) -> None:
        """Take the tokens of a Responses usage object."""
        self.tokens = {
            "input": usage.get("input_tokens", 0),
            "cached": usage.get("input_tokens_details", {}).get("cached_tokens", 0),
            "output": usage.get("output_tokens", 0),
            "reasoning": usage.get("output_tokens_details", {}).get("reasoning_tokens", 0),
        }

    def facts(self) -> dict[str, Any]:
        """Return what is not empty, by name, as it goes to the log."""
        tokens = self.tokens.get
        found = (
            ("request_id", self.id),
            ("client", self.client),
            ("transport", self.transport),
            ("route", self.route),
            ("request_bytes", self.request_bytes),
            ("upstream", self.upstream),
            ("model", self.model[:100]),
            ("upstream_status", self.upstream_status),
            ("attempts", self.attempts),
            ("retries", self.retries and ",".join([reason for _, reason in self.retries])),
            ("first_event", round(self.first_event, 4)),
            ("input_tokens", tokens("input")),
            ("cached_tokens", tokens("cached")),
            ("output_tokens", tokens("output")),
            ("reasoning_tokens", tokens("reasoning")),
            ("tool_calls", self.tool_calls),
            ("events", self.events),
            ("error", self.error),
            ("schema_mismatch", self.mismatch),
            ("end", self.end),
        )
        return {name: value for name, value in found if value}


Observe = Callable[[Record, str, int, float], None]
"""Called at a request's end with its record, route (``other`` where there is nothing), status (0 when the client left
first) and seconds."""
