import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress

from chatbridge import __version__
from chatbridge.service.listener import StartError
from chatbridge.service.serverinfo import ServerInfo, describe, public_url

ADDRESS = IPv4Address("TCP", "127.0.0.1", 8787)
URL = "http://127.0.0.1:1/v1/chat/completions"


def serve(path):
    info = ServerInfo(str(path), lambda: ADDRESS, lambda: URL)
    info.startService()
    return info


def test_one_line_of_json(tmp_path):
    path = tmp_path / "info.json"
    serve(path)
    text = path.read_text()
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    info = json.loads(text)
    started = datetime.fromisoformat(info.pop("started_at"))
    assert started.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - started) < timedelta(minutes=5)
    assert info == {"port": 8787, "pid": os.getpid(), "version": __version__, "upstream_url": URL}


def test_only_the_user_can_read_it_and_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "info.json"
    serve(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_replaces_what_is_there_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "info.json"
    path.write_text("old, and longer than the new one: " + "x" * 500)
    path.chmod(0o644)
    serve(path)
    assert json.loads(path.read_text())["port"] == 8787
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [tmp_path / "info.json"]


def test_nothing_is_asked_before_it_starts(tmp_path):
    def no():
        raise AssertionError("the port is not open yet")

    ServerInfo(str(tmp_path / "info.json"), no, no)


def test_it_is_removed_at_the_stop(tmp_path):
    path = tmp_path / "info.json"
    info = serve(path)
    info.stopService()
    assert not path.exists()


@pytest.mark.parametrize("other", ['{"port": 1, "pid": 1}\n', "not json", "[]", '{"port": 1}', "", b"\xff\xfe\xff"])
def test_the_file_of_another_process_is_left_alone(tmp_path, other):
    path = tmp_path / "info.json"
    info = serve(path)
    other = other if isinstance(other, bytes) else other.encode()
    path.write_bytes(other)
    info.stopService()
    assert path.read_bytes() == other


def test_a_file_that_is_gone_is_no_error(tmp_path):
    path = tmp_path / "info.json"
    info = serve(path)
    path.unlink()
    info.stopService()
    assert not path.exists()


def test_a_file_that_cannot_be_removed_is_a_warning(tmp_path, monkeypatch):
    path = tmp_path / "info.json"
    info = serve(path)

    def refuse(_self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    info.stopService()
    assert path.exists()


def test_a_folder_in_the_way(tmp_path):
    (tmp_path / "info.json").mkdir()
    with pytest.raises(StartError, match=r"cannot write the server-info file .*info\.json: Is a directory"):
        serve(tmp_path / "info.json")
    assert list(tmp_path.iterdir()) == [tmp_path / "info.json"]


def test_a_file_instead_of_the_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="cannot write the server-info file"):
        serve(tmp_path / "file" / "info.json")


def test_a_name_no_file_can_have(tmp_path):
    with pytest.raises(StartError, match="cannot write the server-info file"):
        serve(tmp_path / "a\x00b")


def test_the_error_ends_the_process_with_its_text(tmp_path):
    with pytest.raises(SystemExit) as caught:
        serve(tmp_path)
    assert isinstance(caught.value.code, str)
    assert str(tmp_path) in caught.value.code
    assert "\n" not in caught.value.code


def test_a_unix_socket_has_no_port():
    assert describe(UNIXAddress(b"/run/x.sock"), URL)["port"] is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@example.org:8443/v1/x?key=secret#f", "https://example.org:8443/v1/x"),
        ("http://[::1]:80/v1", "http://[::1]:80/v1"),
        (URL, URL),
    ],
)
def test_the_upstream_is_shown_without_secrets(url, shown):
    assert public_url(url) == shown
    assert describe(ADDRESS, url)["upstream_url"] == shown
