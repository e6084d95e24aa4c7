"""The upstream requests of one answer: the first, and those that a refusal taught to ask otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chatbridge.protocol.errors import ApiError, Kind
from chatbridge.protocol.jsontext import dumps
from chatbridge.protocol.responses import ResponsesRequest
from chatbridge.translate.learning import LEARNABLE, learn, profile_lines
from chatbridge.translate.notes import Notes
from chatbridge.translate.request import Translation, translate_request
from chatbridge.upstream.client import ChatClient
from chatbridge.vendors.learned import Learned
from chatbridge.vendors.profile import Profile

LIMIT = 3
"""How often one answer's request may be put otherwise; each time something else was refused."""

_log = Logger()


class Attempts:
    """Translates one request for the upstream, and anew when the upstream says what it does not take.

    Raises :class:`ApiError` for a request that the upstream is known to refuse.
    """

    def __init__(
        self,
        client: ChatClient,
        request: ResponsesRequest,
        headers: Mapping[str, str],
        learned: Learned,
        *,
        notes: Notes,
        offer_tools: bool = True,
        vendor_search: bool = False,
    ) -> None:
        self._client = client
        self._request = request
        self._headers = headers
        self._learned = learned
        self._notes = notes
        self._options = {"offer_tools": offer_tools, "vendor_search": vendor_search}
        self._left = LIMIT
        self.profile: Profile = learned.profile(request.model)
        self.translation: Translation = self._translate()
        self._body = self._encode()

    def post(self) -> Deferred[Any]:
        """Send the request as it is now."""
        return self._client.post(self._body, self._headers)

    def again(self, status: int, text: str) -> bool:
        """Learn from a refusal; return whether :meth:`post` should be called again, with what was learned."""
        if status not in LEARNABLE or not self._left:
            return False
        changes = learn(text, self.translation.body, self.profile)
        if not changes:
            return False
        self._left -= 1
        self._learned.learn(self._request.model, changes)
        _log.warn(
            "the upstream refused what it was asked for {model}, and is asked otherwise from now on; "
            "to say so in its profile: {lines}",
            model=self._request.model[:100],
            lines=profile_lines(changes),
        )
        self.profile = self._learned.profile(self._request.model)
        before = self._body
        self.translation = self._translate()
        self._body = self._encode()
        return self._body != before

    def _translate(self) -> Translation:
        return translate_request(self._request, self.profile, self._notes, **self._options)

    def _encode(self) -> bytes:
        body, limit = dumps(self.translation.body), self.profile.max_bytes
        if limit and len(body) > limit:
            text = f"{self.profile.label} takes requests of at most {limit} bytes, this one has {len(body)}."
            raise ApiError(400, text, code="context_length_exceeded", kind=Kind.OVERFLOW)
        return body
