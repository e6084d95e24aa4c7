"""Profiles as they are now: what the files say, and what refusals have taught since the start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chatbridge.vendors.profile import Profile


class Learned:
    """The profile of one upstream, model by model. Forgotten when the daemon ends; the log says how to keep it."""

    LIMIT = 1000
    """Model names come from clients, so there is an end to remembering them."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._models: dict[str, Profile] = {}
        self._changes: dict[str, dict[str, Any]] = {}

    def profile(self, model: str) -> Profile:
        """Return the profile for *model*."""
        return self._models.get(model) or self._profile.for_model(model)

    def names(self) -> list[str]:
        """Return the models that the profile knows by name."""
        globs = [glob for some, _ in self._profile.models for glob in some.split("|")]
        return [glob for glob in globs if not set(glob) & set("*?[")]

    def learn(self, model: str, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """From now on *changes* (fields of :class:`Profile`) hold for *model*; return all that it has been taught."""
        if model not in self._models and len(self._models) >= self.LIMIT:
            return changes
        self._models[model] = replace(self.profile(model), **changes)
        self._changes[model] = {**self._changes.get(model, {}), **changes}
        return self._changes[model]
