"""Lists of models: read in any vendor's shape, written in OpenAI's and Codex's at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

LIMIT = 5000
"""Models of one list; routers list hundreds."""

_WINDOWS = (
    "context_window",
    "context_length",
    "max_model_len",
    "max_context_length",
    "loaded_context_length",
    "inputTokenLimit",
    "max_input_tokens",
    "n_ctx",
    "n_ctx_train",
)
"""Where vendors say how many tokens a model takes (Groq, OpenRouter, vLLM, LM Studio, Gemini, llama.cpp …)."""
_INSIDE = ("meta", "top_provider", "limits", "capabilities", "architecture", "model_info")
_MODALITIES = ("input_modalities", "modalities")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model. *context_window* is in tokens, 0 when not known; *images* is None when not known."""

    id: str
    created: int = 0
    owned_by: str = ""
    context_window: int = 0
    images: bool | None = None


def read_models(value: Any) -> list[Model]:
    """Return the models in an upstream's list, whatever its shape; what is no model is left out."""
    found: dict[str, Model] = {}
    for entry in _entries(value):
        model = _read(entry)
        if model is not None and len(found) < LIMIT:
            found.setdefault(model.id, model)
    return list(found.values())


def _entries(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        value = value.get("data") or value.get("models") or value.get("result") or []
    return value if isinstance(value, list) else []


def _read(entry: Any) -> Model | None:
    if isinstance(entry, str):
        entry = {"id": entry}
    if not isinstance(entry, dict):
        return None
    name = next((entry[key] for key in ("id", "model", "name") if isinstance(entry.get(key), str)), "")
    # Gemini's list has models/NAME; the same list's own requests take both.
    name = name.removeprefix("models/").strip()
    if not name or len(name) > 500:
        return None
    created, owner = entry.get("created"), entry.get("owned_by")
    return Model(
        id=name,
        created=_count(created),
        owned_by=owner if isinstance(owner, str) else "",
        context_window=_window(entry),
        images=_images(entry),
    )


def _window(entry: Mapping[str, Any]) -> int:
    for table in _tables(entry):
        for key in _WINDOWS:
            if tokens := _count(table.get(key)):
                return tokens
    return 0


def _images(entry: Mapping[str, Any]) -> bool | None:
    for table in _tables(entry):
        for key in _MODALITIES:
            words = table.get(key)
            if isinstance(words, list) and words:
                return "image" in words
        if isinstance(table.get("vision"), bool):
            return bool(table["vision"])
    return None


def _tables(entry: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield entry
    for key in _INSIDE:
        if isinstance(entry.get(key), dict):
            yield entry[key]


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def model_object(model: Model) -> dict[str, Any]:
    """Return a model as OpenAI's API has it."""
    return {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owned_by or "upstream"}


def model_list(models: Iterable[Model]) -> dict[str, Any]:
    """Return one body that is both: OpenAI's list, and the catalogue that Codex reads (``model_catalog_url``)."""
    models = list(models)
    entries = [_codex_entry(model, priority) for priority, model in enumerate(models)]
    return {"object": "list", "data": [model_object(model) for model in models], "models": entries}


def _codex_entry(model: Model, priority: int) -> dict[str, Any]:
    """Return Codex's entry: these fields were found to be the ones it does not do without (Codex 0.169)."""
    entry: dict[str, Any] = {
        "slug": model.id,
        "display_name": model.id,
        "supported_reasoning_levels": [],
        "shell_type": "unified_exec",
        "visibility": "list",
        "supported_in_api": True,
        "priority": priority,
        "support_verbosity": False,
        "truncation_policy": {"mode": "tokens", "limit": 10000},
        "experimental_supported_tools": [],
        "base_instructions": INSTRUCTIONS,
        "input_modalities": ["text"] if model.images is False else ["text", "image"],
    }
    if model.context_window:
        entry["context_window"] = model.context_window
    return entry


INSTRUCTIONS = """\
You are a coding agent in a terminal. You and the user share one folder of files, and you work on it with the tools \
that you are given until the task is done.

How to work
- Read before you write: look at the files, tests and instructions (AGENTS.md where there is one, which binds you \
inside its folder) that matter for the task. Search with `rg` where it is there.
- Do what was asked, completely, and no more than that. Fix causes, not symptoms. Keep to the style of what is there.
- Make changes with the tools, not by printing code for the user to copy. Prefer small edits over rewriting a file.
- The files may hold changes that are not yours. Never undo them, and never run destructive commands such as \
`git reset --hard` unless you were asked to.
- After a change, run what shows that it works: the tests, the program, the linter. Say what you could not check.
- When a command fails, read its output and change something before you try again.
- With a task of several steps, keep a short plan and update it as you go, if there is a tool for that.
- Go on until the task is done. Ask only when you cannot go on without an answer.

How to answer
- Be brief and factual. Say what you did, where (as `path:line`), and what is left.
- No long quotations of files that the user can open. No praise, no filler.\
"""
"""The system prompt of a model that Codex has none of its own for; its catalogue asks for one."""
