import json
import stat

import pytest
from memory_bridge import CODEX, KEY, STREAM, Bridge, FakeResponse
from support import sse
from twisted.internet.error import ConnectionLost

from chatbridge.commands.main import main
from chatbridge.service import tracing
from chatbridge.service.listener import StartError
from chatbridge.web import trace

TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
ANSWER = sse(
    [
        {"choices": [{"delta": {"reasoning_content": "thinking \u00e9"}}]},
        *({"choices": [{"delta": {"content": f"word {number} "}}]} for number in range(20)),
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}}]},
        {"choices": [{"delta": {}, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
    ]
)  # fmt: skip


class Traced(Bridge):
    """A bridge whose turns are written into *folder*."""

    def __init__(self, folder, **settings):
        super().__init__(**settings)
        self.folder = folder
        for bridge in self.bridges():
            bridge.keep_trace = self._write

    def bridges(self):
        return [self.core]

    def _write(self, turn, redact):
        self.written = tracing.write(self.folder, turn, redact, 1_800_000_000.25)

    def turn(self, body=STREAM, *headers, answer=ANSWER, size=37, end=None):
        connection = self.ask(body, *headers)
        upstream = self.head()
        for at in range(0, len(answer), size):
            upstream.send(answer[at : at + size])
        upstream.end(end)
        return connection


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return caught.value.code


@pytest.fixture
def bridge(tmp_path):
    return Traced(tmp_path)


@pytest.mark.parametrize(
    "body", [{"tools": [TOOL]}, {"stream": False}, {"instructions": "\ud83d\ude00 short", "tools": []}]
)
@pytest.mark.parametrize("headers", [(), (CODEX,)])
def test_a_replay_is_the_same(bridge, body, headers, capsys):
    bridge.turn({**STREAM, **body}, *headers)
    assert run("trace", "replay", bridge.written) == 0
    assert capsys.readouterr().out == "the same\n"


def test_a_replay_of_a_stream_that_broke_off(bridge, capsys):
    bridge.turn(answer=ANSWER[:300], end=ConnectionLost())
    assert run("trace", "replay", bridge.written) == 0
    assert capsys.readouterr().out == "the same\n"


def test_a_replay_of_a_refusal(bridge):
    bridge.ask()
    upstream = bridge.head(FakeResponse(401))
    upstream.send(b'{"error": {"message": "no"}}')
    upstream.end()
    assert json.loads(bridge.written.read_text())["error"]["kind"] == "auth"
    assert run("trace", "replay", bridge.written) == 0


def test_what_is_different_is_shown(bridge, capsys):
    bridge.turn({**STREAM, "tools": [TOOL]})
    value = json.loads(bridge.written.read_text())
    value["sent"] = value["sent"].replace("word 7 ", "wort 7 ")
    value["upstream"]["request"] = value["upstream"]["request"].replace("hello", "hallo")
    bridge.written.write_text(json.dumps(value))
    assert run("trace", "replay", bridge.written) == 1
    out = capsys.readouterr().out
    assert "--- the request to the upstream, then\n+++ the request to the upstream, now\n" in out
    assert "hallo" in out
    assert "--- what is sent to the client, then\n+++ what is sent to the client, now\n" in out
    assert "wort 7" in out


def test_the_reads_are_as_they_were(bridge):
    bridge.turn(size=11)
    value = json.loads(bridge.written.read_text())
    reads = [text.encode("utf-8", "surrogateescape") for text in value["upstream"]["reads"]]
    assert b"".join(reads) == ANSWER
    assert {len(read) for read in reads[:-1]} == {11}


def test_no_key_stands_in_a_file(bridge):
    secret = "sk-another-secret-0123456789"
    answer = ANSWER.replace(b"word 3", KEY.encode()).replace(b"word 5", secret.encode())
    bridge.turn(
        {**STREAM, "input": f"my key is {secret}", "metadata": {"k": KEY}},
        "Authorization: Bearer cb-a-clients-token", "Cookie: a=b", "X-Whatever: password",
        answer=answer,
    )  # fmt: skip
    text = bridge.written.read_text()
    for word in (KEY, secret, "cb-a-clients-token", "a=b", "password"):
        assert word not in text
    assert run("trace", "replay", bridge.written) == 0


def test_files_are_for_the_user_alone(bridge):
    bridge.turn()
    assert stat.S_IMODE(bridge.written.stat().st_mode) == 0o600
    assert bridge.written.name.startswith("20270115T080000.250000-req_")
    assert [path.suffix for path in bridge.folder.iterdir()] == [".json"]


def test_a_clients_request_id_is_no_path(bridge):
    bridge.turn(STREAM, "X-Request-Id: a:b..c")
    assert bridge.written.parent == bridge.folder
    assert bridge.written.name.endswith("-a_b..c.json")


def test_a_turn_that_is_too_large_says_so(bridge, monkeypatch, capsys):
    monkeypatch.setattr(trace, "TURN_LIMIT", 500)
    bridge.turn()
    value = json.loads(bridge.written.read_text())
    assert value["truncated"]
    assert len("".join(value["upstream"]["reads"])) + len(value["sent"]) <= 500
    assert run("trace", "replay", bridge.written) == 2
    assert "too large" in capsys.readouterr().err


def test_the_oldest_go_first(tmp_path, monkeypatch):
    for number in range(6):
        (tmp_path / f"{number}.json").write_bytes(b"x" * 100)
    tracing.prune(tmp_path, 450)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.json", "3.json", "4.json", "5.json"]
    monkeypatch.setattr(tracing, "COUNT", 2)
    tracing.prune(tmp_path, 450)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["4.json", "5.json"]


def test_a_folder_that_others_can_read_is_refused(tmp_path):
    tmp_path.chmod(0o755)
    with pytest.raises(StartError, match="must be a folder of this user alone"):
        tracing.Tracing(str(tmp_path), 1, None)
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="--trace"):
        tracing.Tracing(str(tmp_path / "file" / "x"), 1, None)
    tracing.Tracing(str(tmp_path / "new" / "one"), 1, None)
    assert stat.S_IMODE((tmp_path / "new" / "one").stat().st_mode) == 0o700


def test_list_and_show(bridge, capsys):
    bridge.turn({**STREAM, "model": "some-model"})
    assert run("trace", "list", bridge.folder) == 0
    assert capsys.readouterr().out.endswith(".json 2027-01-15T08:00:00.250+00:00 some-model default completed\n")
    assert run("trace", "show", bridge.written) == 0
    out = capsys.readouterr().out
    for title in (
        "facts",
        "the client's request",
        "the request to http://upstream.test",
        "the upstream's answer: 200",
        "what was sent",
    ):
        assert f"=== {title}" in out
    assert "thinking \u00e9" in out


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"version": 99}', b"\xff"])
def test_what_is_no_trace(tmp_path, content, capsys):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    assert run("trace", "replay", path) == 2
    assert capsys.readouterr().err.startswith(str(path))
    assert run("trace", "show", tmp_path / "none") == 2


def test_without_it_nothing_is_kept():
    bridge = Bridge()
    bridge.ask()
    bridge.head()
    (answer,) = bridge.answers
    assert answer.trace is None
