"""Content parts: Responses and chat ones → texts, and the chat parts that are none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chatbridge.protocol.checks import string, table, wrong
from chatbridge.protocol.errors import ApiError
from chatbridge.translate.notes import Notes
from chatbridge.vendors.profile import Profile

ChatPart = dict[str, Any]
Part = str | ChatPart
"""A text, or a chat part that is none."""
_TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")


def split(parts: list[Part]) -> tuple[list[str], list[Part]]:
    """Return the texts of *parts*, and the others."""
    return [part for part in parts if isinstance(part, str)], [part for part in parts if not isinstance(part, str)]


def chat_parts(parts: Iterable[Part]) -> list[ChatPart]:
    """Return *parts* as a chat message holds them."""
    return [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]


def read_chat_parts(content: str | list[ChatPart]) -> list[Part]:
    """Return the content of a chat message as parts."""
    if isinstance(content, str):
        return [content]
    return [part["text"] if part["type"] == "text" else part for part in content]


def content(parts: list[Part]) -> str | list[ChatPart]:
    """Text alone goes as a string, which every server takes (quirk R20)."""
    if len(parts) == 1 and isinstance(parts[0], str):
        return parts[0]
    texts = [part for part in parts if isinstance(part, str)]
    return "\n".join(texts) if len(texts) == len(parts) else chat_parts(parts)


def read_parts(
    content: Any,
    path: object,
    notes: Notes,
    profile: Profile = Profile(),  # noqa: B008 - frozen
    *,
    key: str = "",
) -> list[Part]:
    """Return the parts in *content*: a string, an array of parts, or null. Empty texts are left out.

    Its path is *path* and then *key*, and is written for errors only. Raises :class:`ApiError` for what is malformed,
    and for what the vendor of *profile* does not take.
    """
    if isinstance(content, str):
        return [content] if content else []
    if content is None:
        return []
    if not isinstance(content, list):
        raise wrong(f"{path}{key}", "must be a string or an array", "invalid_type")
    parts: list[Part] = []
    for index, part in enumerate(content):
        said = part.get("text") if isinstance(part, dict) and part.get("type") in _TEXTS else None
        if not isinstance(said, str):
            said = _part(part, f"{path}{key}[{index}]", notes, profile)
        if said:
            parts.append(said)
    return parts


def _part(part: Any, path: str, notes: Notes, profile: Profile) -> Part:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise ApiError(400, f"{path} must be an object.", param=path, code="invalid_type")
    match part.get("type"):
        case kind if kind in _TEXTS:
            return _text_key(part, "text", path)
        case "refusal":
            return _text_key(part, "refusal", path)
        case "encrypted_content":
            return _text_key(part, "encrypted_content", path)
        case "input_image":
            return _image(part, path)
        case "image_url":
            return _image(_chat_image(part), path)
        case "input_file" | "file":
            return _file(part, path, profile)
        case "input_audio":
            return _audio(part, path, profile)
        case kind:
            notes.add(f"part:{kind}", f"content part of type {kind!r} replaced by a remark")
            return f"[content of type {kind} left out]"


def _text_key(part: dict[str, Any], key: str, path: str) -> str:
    text = part.get(key)
    if not isinstance(text, str):
        raise ApiError(400, f"{path}.{key} must be a string.", param=f"{path}.{key}", code="invalid_type")
    return text


def _chat_image(part: dict[str, Any]) -> dict[str, Any]:
    """Return a chat image part in the form of a Responses one."""
    inner = part.get("image_url")
    return {"image_url": inner.get("url"), "detail": inner.get("detail")} if isinstance(inner, dict) else part


def _audio(part: dict[str, Any], path: str, profile: Profile) -> ChatPart:
    audio = part.get("input_audio")
    if not isinstance(audio, dict):
        raise wrong(f"{path}.input_audio", "must be an object", "invalid_type")
    _check_audio(audio, f"{path}.input_audio")
    if "input_audio" not in profile.parts:
        raise wrong(path, f"cannot be sent: {profile.label} takes no audio")
    return {"type": "input_audio", "input_audio": audio}


def _image(part: dict[str, Any], path: str) -> ChatPart:
    url = part.get("image_url")
    if url is None and part.get("file_id") is not None:
        raise wrong(f"{path}.file_id", "names an image that is stored elsewhere; give it as image_url")
    if isinstance(url, dict):
        url = url.get("url")  # the chat form
    if not isinstance(url, str) or not url:
        text = f"{path}.image_url must be a URL or a data URL; files stored elsewhere cannot be fetched here."
        raise ApiError(400, text, param=f"{path}.image_url", code="invalid_value")
    if part.get("detail") is not None and not isinstance(part["detail"], str):
        raise wrong(f"{path}.detail", "must be a string", "invalid_type")
    image = {"url": url}
    if part.get("detail") in ("low", "high", "auto"):
        image["detail"] = part["detail"]
    elif part.get("detail") is not None:
        image["detail"] = "high"  # Codex's "original" is not a chat value
    return {"type": "image_url", "image_url": image}


def _file(part: dict[str, Any], path: str, profile: Profile) -> ChatPart:
    """Files go by their content, or, where the vendor takes it, by an id there or by a URL."""
    inner = part.get("file")
    spec = inner if isinstance(inner, dict) else part
    _check_file(spec, path)
    given = {key: spec[key] for key in ("file_data", "file_id", "file_url") if spec.get(key)}
    if not given:
        raise wrong(f"{path}.file_data", "must hold the file")
    key, value = next(iter(given.items()))
    if ("file" if key == "file_data" else key) not in profile.parts:
        ways = [_FILE_WAYS[way] for way in profile.parts if way in _FILE_WAYS]
        takes = f"takes files as {' or '.join(ways)} only" if ways else "takes no files"
        raise wrong(f"{path}.{key}", f"cannot be sent: {profile.label} {takes}")
    if key == "file_id":
        return {"type": "file", "file": {"file_id": value}}
    return {"type": "file", "file": {"filename": spec.get("filename") or "file", "file_data": value}}


_FILE_WAYS = {"file": "file_data", "file_id": "file_id", "file_url": "file_url"}
_check_file = table(dict.fromkeys(("filename", "file_data", "file_id", "file_url"), string()))
_check_audio = table({"data": string(), "format": string()}, required=("data", "format"))
