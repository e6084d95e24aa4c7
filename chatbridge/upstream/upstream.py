"""One upstream as it is now: its client, and what its answers have told of it since the start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.logger import Logger

from chatbridge.protocol.errors import ApiError, Kind
from chatbridge.service.settings import Settings
from chatbridge.upstream.breaker import Breaker
from chatbridge.upstream.client import ChatClient
from chatbridge.upstream.keys import Key, Keys
from chatbridge.upstream.limits import Limits
from chatbridge.vendors.learned import Learned
from chatbridge.vendors.profile import profile_for

_log = Logger()


class Upstream:
    """Shared by all answers that ask it. *clock* is a reactor's."""

    def __init__(self, client: ChatClient, settings: Settings, clock: Any) -> None:
        self.client = client
        self.settings = settings
        self.learned = Learned(settings.profile or profile_for(settings.upstream_url))
        keys = settings.api_keys or (Key(settings.api_key_env, settings.api_key),)
        self.keys = Keys(keys, clock.seconds)
        self.breaker = Breaker(clock.seconds, failures=settings.breaker_failures, seconds=settings.breaker_seconds)
        self.limits = Limits(
            clock,
            streams=settings.upstream_streams,
            rate=settings.upstream_rate,
            patience=settings.queue_seconds,
            name=settings.name,
        )
        self.advice = _advice(settings)
        self._fault = ""

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def url(self) -> str:
        return self.client.url

    def works(self, number: int) -> None:
        """It answered the request that its breaker had let through with *number*."""
        if self.breaker.succeeded(number):
            _log.info("the upstream {name} answers again", name=self.name)

    def fails(self, number: int, error: ApiError) -> None:
        """That request failed with *error*."""
        self._fault = error.message
        if self.breaker.failed(number):
            _log.warn(
                "the upstream {name} only fails: it is left alone for {wait:g} s",
                name=self.name,
                wait=self.breaker.wait(),
            )

    def resting(self) -> ApiError:
        """Return the error for a request that the breaker does not let through.

        It is a rate limit to clients, ours: so told, Codex waits as long as the text says. A plain failure it would
        repeat five times within six seconds, and give up before the upstream is asked again.
        """
        wait = max(1.0, float(round(self.breaker.wait())))
        text = (
            f"{self._fault.rstrip('.')}. The upstream {self.name} is left alone for a while, since it only fails. "
            f"Please try again in {wait:g}s."
        )
        return ApiError(
            503, text, type="server_error", code="upstream_unavailable", retry_after=wait, kind=Kind.RATE_LIMIT
        )


def _advice(settings: Settings) -> Mapping[str, str]:
    """What to look at, by the topic of an upstream's refusal."""
    names = ", ".join(key.name for key in settings.api_keys) or settings.api_key_env
    key = f"Check the key in {names}" if settings.api_key else "Check whether it wants a key (chatbridge sends none)"
    return {
        "auth": f"{key}, the OpenAI-Organization and OpenAI-Project headers, if the client sends them, "
        "and the path of --upstream-url.",
        "not_found": f"Check the model's name and the path of --upstream-url, then {key[0].lower()}{key[1:]} "
        "and the OpenAI-Organization and OpenAI-Project headers.",
        "redirect": "Redirects are not followed: check --upstream-url.",
    }
