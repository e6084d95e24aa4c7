"""One answer's request as an upstream gets it: translated for its profile, and anew when a refusal teaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.logger import Logger

from chatbridge.protocol.errors import ApiError, Kind
from chatbridge.protocol.failure import Failure
from chatbridge.translate import structured
from chatbridge.translate.learning import LEARNABLE, Changes, learn, learn_limit, profile_line
from chatbridge.translate.notes import Notes
from chatbridge.translate.request import Translation, translate_request
from chatbridge.translate.usage import CHARACTERS_PER_TOKEN
from chatbridge.vendors.learned import Learned
from chatbridge.vendors.profile import Profile

ANSWER_TOKENS = 4096
"""Kept free in the context window for an answer whose length the client does not limit."""
SHARE = 0.9
"""How much of the context window is used by ``truncation: auto``, since sizes are estimates."""
LIMIT = 8
"""How often one answer's request may be put otherwise; each time something else was refused. Strict servers name one
key at a time, and clients send more than a few that are OpenAI's own."""
SHORTER = 3
"""How often it may be made shorter."""

_log = Logger()


class Draft:
    """*request* for the upstream whose profile *learned* knows.

    *context_window* is what the upstream says of the model, in tokens, for a profile that does not know it.
    *translate* makes the upstream's request of it, as :func:`translate_request` does.
    Raises :class:`ApiError` for a request that the upstream is known to refuse.
    """

    def __init__(
        self,
        request: Any,
        learned: Learned,
        notes: Notes,
        *,
        translate: Callable[..., Any] = translate_request,
        offer_tools: bool = True,
        vendor_search: bool = False,
        context_window: int = 0,
    ) -> None:
        self._request = request
        self._translator = translate
        self._learned = learned
        self._notes = notes
        self._options: dict[str, Any] = {"offer_tools": offer_tools, "vendor_search": vendor_search}
        self._left, self._cuts = LIMIT, SHORTER
        self._truncates = request.get("truncation") == "auto"
        self._window = context_window
        self._budget = 0
        self.profile: Profile = learned.profile(request.model)
        self.translation: Translation = self._translate(self.profile)
        self.body: bytes = self._encode(self.translation, self.profile)
        self._sent = [self.body]

    @property
    def model(self) -> str:
        """The model's name upstream."""
        name: str = self._request.model
        return name

    @property
    def options(self) -> dict[str, Any]:
        """What the request is translated with, beside the profile."""
        return {**self._options, "budget": self._tokens(self.profile)}

    def learn(self, status: int, refusal: Failure, kind: Kind) -> bool:
        """Learn from a refusal; return whether the request is now another one.

        *kind* is what the refusal is classed as: one for the account or the length teaches nothing. Raises
        :class:`ApiError` where the request would then be one that the upstream is known to refuse.
        """
        if kind is Kind.OVERFLOW and self._truncates and self._cuts and self._shorter():
            return True
        if not self._left or status not in LEARNABLE:
            return False
        known = self._learned.profile(self._request.model)
        changes = self._changes(refusal, kind, known)
        if not changes and (known is self.profile or not self._changes(refusal, kind, self.profile)):
            return False  # else an answer that ran beside this one has learned it already
        profile = replace(known, **changes)
        translation = self._translate(profile)
        body = self._encode(translation, profile)
        if body in self._sent:
            return False
        if changes:
            self._keep(changes)
        self._left -= 1
        self.profile, self.translation, self.body = profile, translation, body
        self._sent.append(body)
        return True

    def repair(self, text: str, problem: str) -> bool:
        """Ask for a better answer than *text*, of which *problem* says what is wrong; return whether that can be asked.

        The history ends with the wrong answer and the problem.
        """
        said = {"type": "message", "role": "assistant", "content": text}
        told = {"type": "message", "role": "user", "content": structured.REPAIR.format(problem=problem)}
        request = replace(self._request, input=[*self._request.input, said, told])
        try:
            translation = self._translator(request, self.profile, self._notes, **self._options)
            body = self._encode(translation, self.profile)
        except ApiError:
            return False
        self._request, self.translation, self.body = request, translation, body
        self._sent.append(body)
        return True

    def forget(self) -> None:
        """Let go of all that is only for sending."""
        self._request, self.body = None, b""
        self._sent.clear()
        self.translation.forget_messages()

    def _shorter(self) -> bool:
        """Leave out more of the oldest turns than the estimate said; return whether any was left."""
        self._budget = self.translation.characters() // CHARACTERS_PER_TOKEN * 2 // 3
        translation = self._translate(self.profile)
        body = self._encode(translation, self.profile)
        if body in self._sent:
            return False
        self._cuts -= 1
        self.translation, self.body = translation, body
        self._sent.append(body)
        return True

    def _changes(self, refusal: Failure, kind: Kind, profile: Profile) -> Changes:
        if kind is Kind.OVERFLOW:
            return learn_limit(refusal, self.translation.body, profile)
        if kind not in (Kind.INVALID, Kind.NOT_FOUND, Kind.UNAVAILABLE):
            return {}
        return learn(refusal, self.translation.body, profile) or learn_limit(refusal, self.translation.body, profile)

    def _keep(self, changes: Changes) -> None:
        taught = self._learned.learn(self._request.model, changes)
        _log.warn(
            "the upstream refused what it was asked for {model}, and is asked otherwise from now on; "
            "the line for its profile_keys that says so: {line}",
            model=self._request.model[:100],
            line=profile_line(self._request.model, taught),
        )

    def _translate(self, profile: Profile) -> Translation:
        budget = self._tokens(profile)
        translation: Translation = self._translator(self._request, profile, self._notes, budget=budget, **self._options)
        return translation

    def _tokens(self, profile: Profile) -> int:
        """Return how many tokens the prompt is cut to, 0 for as many as it has."""
        return (self._budget or self._fitting(profile)) if self._truncates else 0

    def _fitting(self, profile: Profile) -> int:
        """Return how many tokens the prompt may have, 0 where the window is not known."""
        window = profile.context_window or self._window
        answer = self._request.get("max_output_tokens") or profile.max_tokens or min(ANSWER_TOKENS, window // 4)
        return max(int(window * SHARE) - answer, window // 8)

    @staticmethod
    def _encode(translation: Translation, profile: Profile) -> bytes:
        body, limit = translation.text(), profile.max_bytes
        if limit and len(body) > limit:
            text = f"{profile.label} takes requests of at most {limit} bytes, this one has {len(body)}."
            raise ApiError(400, text, code="context_length_exceeded", kind=Kind.OVERFLOW)
        return body
