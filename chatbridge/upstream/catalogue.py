"""The upstream's own list of models, asked for once in a while."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.jsontext import loads
from chatbridge.protocol.models import Model, read_models
from chatbridge.upstream.body import collect
from chatbridge.upstream.client import ChatClient
from chatbridge.upstream.fault import connection_error
from chatbridge.upstream.keys import Keys

FRESH_SECONDS = 300.0
FAILED_SECONDS = 15.0
"""How long a failure is not asked about again."""
PATIENCE = 10.0
LIMIT = 8 * 1024 * 1024

_log = Logger()


def models_url(chat_url: str) -> str:
    """Return the address of the list beside chat/completions."""
    parts = urlsplit(chat_url)
    return urlunsplit(parts._replace(path=parts.path.removesuffix("/chat/completions").rstrip("/") + "/models"))


class Catalogue:
    """Keeps the list for a while; all who ask meanwhile get the same, and an old one when there is no newer."""

    def __init__(self, client: ChatClient, clock: Any, keys: Keys | None = None) -> None:
        self._client = client
        self._keys = keys
        self._clock = clock
        self._models: list[Model] = []
        self._until = float("-inf")
        self._asking: list[Deferred[list[Model]]] | None = None

    def models(self) -> Deferred[list[Model]]:
        """Fire with the models; an upstream that has no list, or does not answer, gives the last list or none."""
        if self._clock.seconds() < self._until:
            return succeed(self._models)
        waiting: Deferred[list[Model]] = Deferred()
        if self._asking is not None:
            self._asking.append(waiting)
            return waiting
        self._asking = [waiting]
        key = self._keys.take() if self._keys is not None else None
        asked = self._client.get(models_url(self._client.url), key=key).addCallback(_read)
        asked.addTimeout(PATIENCE, self._clock)
        asked.addCallbacks(self._keep, self._failed)
        asked.addBoth(self._tell)
        return waiting

    def window(self, model: str) -> int:
        """Return the model's context window as the list has it, 0 where it is not known; the next one may know it.

        Asks for the list, when there is none, but does not wait.
        """
        self.models()
        return next((known.context_window for known in self._models if known.id == model), 0)

    def _keep(self, models: list[Model]) -> None:
        self._models = models
        self._until = self._clock.seconds() + FRESH_SECONDS

    def _failed(self, failure: Failure) -> None:
        self._until = self._clock.seconds() + FAILED_SECONDS
        error = failure.value if isinstance(failure.value, ApiError) else connection_error(failure, self._client.url)
        _log.info("no list of models from the upstream: {error}", error=error.message)

    def _tell(self, failed: Failure | None) -> None:
        waiting, self._asking = self._asking or [], None
        for deferred in waiting:
            deferred.callback(self._models)
        if failed is not None:
            _log.failure("the list of models", failed)


def _read(response: Any) -> Deferred[list[Model]]:
    return collect(response, LIMIT).addCallback(_models, response.code)


def _models(body: bytes, status: int) -> list[Model]:
    if status != 200:
        raise ApiError(502, f"status {status}")
    try:
        return read_models(loads(body))
    except ValueError:
        raise ApiError(502, "not JSON") from None
