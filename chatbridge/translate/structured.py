"""Structured output: ``text.format`` → ``response_format``, and whether the answer matches its schema.

The check needs the jsonschema library, which is optional. Schemas come from clients, so nothing that they name is
fetched, their regular expressions are not run, and the work is bounded: what would go beyond is not checked.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chatbridge.protocol.jsontext import dumps_text, loads
from chatbridge.protocol.responses import ResponsesRequest
from chatbridge.translate.notes import Notes
from chatbridge.translate.schema import rewritten
from chatbridge.vendors.profile import Profile

TEXT_LIMIT = 1024 * 1024
"""Characters of an answer that is checked."""
REPAIR = (
    "This answer does not match the JSON schema that was asked for: {problem}\n"
    "Answer again, with the whole JSON document corrected and nothing else."
)
STEPS_LIMIT = 20_000
"""How often a check may go into a subschema by reference or alternative, the ways to endless work."""
_KEYS = ("name", "description", "schema", "strict")
_COUNTED = ("$ref", "$dynamicRef", "$recursiveRef", "anyOf", "oneOf", "allOf", "not", "if", "dependentSchemas")


@dataclass(frozen=True, slots=True)
class Format:
    """What the upstream is told of the answer's form."""

    response_format: dict[str, Any] | None = None
    instruction: str = ""
    """For the prompt, where the vendor takes no schema."""
    schema: Mapping[str, Any] | None = None
    """What the answer must match."""


_ANY = Format()


def text_format(request: ResponsesRequest, profile: Profile, notes: Notes) -> Format:
    """Return what the request's ``text.format`` becomes."""
    form = request.part("text", "format")
    if not form:
        return _ANY
    match form.get("type"):
        case "json_schema":
            schema = {key: form[key] for key in _KEYS if form.get(key) is not None}
            schema.setdefault("name", "output")
            schema["schema"] = rewritten(schema["schema"], profile.schema)
            if "json_schema" in profile.response_formats:
                return Format({"type": "json_schema", "json_schema": schema}, schema=form["schema"])
            notes.add("text.format", "the JSON schema of the answer goes into the prompt: the upstream takes none")
            text = "Answer with one JSON document and nothing else. It must match this JSON schema:\n"
            return Format(_json_object(profile), text + dumps_text(schema["schema"]), form["schema"])
        case "json_object":
            return Format(_json_object(profile))
    return _ANY


def _json_object(profile: Profile) -> dict[str, Any] | None:
    return {"type": "json_object"} if "json_object" in profile.response_formats else None


class _EndlessError(Exception):
    pass


def mismatch(text: str, schema: Mapping[str, Any]) -> str:
    """Return what is wrong with *text* as a JSON document that should match *schema*; empty when nothing is found."""
    if len(text) > TEXT_LIMIT:
        return ""
    try:
        value = loads(text)
    except ValueError as error:
        return f"it is not JSON: {error}"
    if not can_check() or not _closed(schema):
        return ""
    try:
        validator = _validator(schema)
        found = min(validator.iter_errors(value), key=lambda error: len(error.absolute_path), default=None)
    except Exception:  # noqa: BLE001 - a schema that is none, in any of the library's ways to say it
        return ""
    return "" if found is None else f"{found.json_path}: {found.message[:500]}"


def can_check() -> bool:
    """Return whether the library for it is installed."""
    return importlib.util.find_spec("jsonschema") is not None


def _validator(schema: Mapping[str, Any]) -> Any:
    """Return a validator that runs no regular expressions, and counts where work may be endless."""
    # Only now: it takes a fifteenth of the start, and few schemas are checked.
    validators = importlib.import_module("jsonschema.validators")
    kind = validators.validator_for(schema, default=validators.Draft202012Validator)
    kind.check_schema(schema)
    steps = iter(range(STEPS_LIMIT))
    counted = {name: _counted(kind.VALIDATORS[name], steps) for name in _COUNTED if name in kind.VALIDATORS}
    return validators.extend(kind, {**counted, "pattern": _unchecked})(schema)


def _counted(check: Callable[..., Any], steps: Iterator[int]) -> Callable[..., Any]:
    def counting(*arguments: Any) -> Iterator[Any]:
        if next(steps, None) is None:
            raise _EndlessError
        yield from check(*arguments) or ()

    return counting


def _unchecked(*_: Any) -> tuple[()]:
    return ()


def _closed(schema: Any) -> bool:
    """Return whether *schema* refers to nothing outside of itself, and needs no regular expressions."""
    if isinstance(schema, list):
        return all(map(_closed, schema))
    if not isinstance(schema, dict):
        return True
    for key in ("$ref", "$dynamicRef", "$recursiveRef"):
        if isinstance(schema.get(key), str) and not schema[key].startswith("#"):
            return False
    if not {"$id", "id", "patternProperties"}.isdisjoint(schema):
        # Also a property of that name: then nothing is checked, which is no harm.
        return False
    return all(map(_closed, schema.values()))
