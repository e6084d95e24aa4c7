"""A profile as what it differs in from the one that its name stands for, and back; for traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from chatbridge.vendors.profile import Profile, profile_named

_LEFT_OUT = ("headers", "models")
"""Headers may hold keys; what a model's table said is in the other fields."""


def difference(profile: Profile, model: str) -> dict[str, Any]:
    """Return *profile*, which holds for *model*, as a value for JSON."""
    base = profile_named(profile.name).for_model(model)
    changes = {
        item.name: getattr(profile, item.name)
        for item in fields(Profile)
        if item.name not in _LEFT_OUT and getattr(profile, item.name) != getattr(base, item.name)
    }
    return {"name": profile.name, "model": model, "changes": changes}


def applied(value: Mapping[str, Any]) -> Profile:
    """Return the profile that :func:`difference` made *value* of, with today's idea of what its name stands for.

    Raises :exc:`ProfileError` for a name that there is not.
    """
    base = profile_named(value["name"]).for_model(value["model"])
    changes = {name: _like(getattr(base, name), given) for name, given in value["changes"].items()}
    return replace(base, **changes)


def _like(known: Any, given: Any) -> Any:
    return tuple(given) if isinstance(known, tuple) else given
