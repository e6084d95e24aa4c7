from __future__ import annotations

from typing import Any

import pytest
from support import translate

from chatbridge.protocol.errors import ApiError
from chatbridge.translate.notes import Notes
from chatbridge.translate.parts import read_parts
from chatbridge.vendors.profile import Profile, profile_named

FILE = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="}
BY_ID = {"type": "input_file", "file_id": "file-1"}
BY_URL = {"type": "input_file", "file_url": "https://x.test/a.pdf"}
AUDIO = {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}}


def read(part: dict[str, Any], *takes: str) -> dict[str, Any]:
    [found] = read_parts([part], "input[0].content", Notes(), Profile(label="This vendor", parts=takes))
    return found


@pytest.mark.parametrize(("part", "takes", "sent"), [
    (FILE, "file", {"type": "file", "file": {"filename": "a.pdf", "file_data": FILE["file_data"]}}),
    ({**FILE, "filename": None}, "file", {"type": "file", "file": {"filename": "file", "file_data": FILE["file_data"]}}),
    (BY_ID, "file_id", {"type": "file", "file": {"file_id": "file-1"}}),
    (BY_URL, "file_url", {"type": "file", "file": {"filename": "file", "file_data": "https://x.test/a.pdf"}}),
    (AUDIO, "input_audio", AUDIO),
])  # fmt: skip
def test_files_and_audio_go_where_they_are_taken(part, takes, sent):
    assert read(part, takes) == sent


@pytest.mark.parametrize(("part", "takes", "param", "text"), [
    (FILE, (), "file_data", "This vendor takes no files"),
    (BY_ID, ("file",), "file_id", "This vendor takes files as file_data only"),
    (BY_URL, ("file", "file_id"), "file_url", "This vendor takes files as file_data or file_id only"),
    (AUDIO, ("file",), "", "This vendor takes no audio"),
    ({"type": "input_file"}, ("file",), "file_data", "must hold the file"),
    ({"type": "input_file", "file_data": 5}, ("file",), "file_data", "must be a string"),
    ({**FILE, "filename": 5}, ("file",), "filename", "must be a string"),
    ({"type": "input_audio", "input_audio": {"data": "QQ=="}}, ("input_audio",), "input_audio.format", "Missing"),
    ({"type": "input_audio", "input_audio": {"data": 5, "format": "wav"}}, ("input_audio",), "input_audio.data", "must be a string"),
    ({"type": "input_image", "file_id": "file-1"}, (), "file_id", "give it as image_url"),
    ({"type": "input_image"}, (), "image_url", "must be a URL"),
    ({"type": "input_image", "image_url": "data:x", "detail": 5}, (), "detail", "must be a string"),
])  # fmt: skip
def test_elsewhere_they_are_a_400_with_the_path(part, takes, param, text):
    with pytest.raises(ApiError, match=text) as caught:
        read(part, *takes)
    assert caught.value.status == 400
    assert caught.value.param == "input[0].content[0]" + (f".{param}" if param else "")


@pytest.mark.parametrize(("vendor", "part", "taken"), [
    ("openai", BY_ID, True), ("openai", BY_URL, False), ("openrouter", BY_URL, True), ("deepseek", FILE, False),
    ("groq", AUDIO, False), ("generic", FILE, True), ("generic", BY_ID, False), ("vllm", AUDIO, True),
])  # fmt: skip
def test_the_profiles_say_who_takes_what(vendor, part, taken):
    try:
        read_parts([part], "x", Notes(), profile_named(vendor))
    except ApiError as error:
        assert (error.status, taken) == (400, False)
    else:
        assert taken


def test_an_item_that_is_only_referred_to_is_never_left_out():
    with pytest.raises(ApiError) as caught:
        translate(input=[{"role": "user", "content": "hi"}, {"type": "item_reference", "id": "msg_9"}])
    assert (caught.value.status, caught.value.param, caught.value.code) == (404, "input[1].id", "item_not_found")
