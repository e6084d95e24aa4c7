import contextlib
import json
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from chatbridge.commands import doctor
from chatbridge.commands.main import main

KEY = "sk-0123456789abcdefgh"


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return caught.value.code


@contextlib.contextmanager
def upstream(status=200, body=b'{"data": [{"id": "a"}, {"id": "b"}]}'):
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.command, self.path, self.headers.get("Authorization")))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def look(capsys, tmp_path, url, *more, config=None):
    path = tmp_path / "config.toml"
    if config is not None:
        path.write_text(config)
    code = run("doctor", "--upstream-url", url, "--codex-config", path, *more)
    return code, capsys.readouterr().out.splitlines()


GOOD = """
model_provider = "b"
model_context_window = 1000
[model_providers.b]
base_url = "http://127.0.0.1:1/v1"
wire_api = "responses"
"""


def test_all_is_well(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with upstream() as (url, seen):
        code, lines = look(capsys, tmp_path, url, "--ask", "a", config=GOOD)
    assert code == 0
    assert [line[:5] for line in lines] == ["ok   "] * 5
    assert "2 models" in lines[2]
    assert [(method, path) for method, path, _ in seen] == [("GET", "/v1/models"), ("POST", "/v1/chat/completions")]
    assert {key for _, _, key in seen} == {f"Bearer {KEY}"}
    assert KEY not in "".join(lines)


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "Check the key in OPENAI_API_KEY"), (404, "has no list of models"), (500, "Try again later")],
)
def test_an_upstream_that_refuses(capsys, tmp_path, monkeypatch, status, said):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with upstream(status, f"bad key {KEY}".encode()) as (url, _):
        code, lines = look(capsys, tmp_path, url, "--ask", "a", config=GOOD)
    assert code == 1
    assert said in lines[2]
    assert KEY not in "".join(lines)


def test_an_upstream_that_is_not_there(capsys, tmp_path):
    code, lines = look(capsys, tmp_path, "http://127.0.0.1:9/v1", "--no-api-key", config=GOOD)
    assert code == 1
    assert lines[2].startswith("WRONG upstream default: 127.0.0.1:9 cannot be asked: ")


def test_a_port_that_is_taken(capsys, tmp_path):
    with upstream(404) as (url, _):
        port = url.partition("127.0.0.1:")[2].partition("/")[0]
        _, lines = look(capsys, tmp_path, url, "--no-api-key", "--port", port, config=GOOD)
    assert lines[1] == f"WRONG port: something else listens on {port}. Choose another --port, or stop it"
    with upstream(200, b'{"status": "ok", "version": "9.9"}') as (url, _):
        port = url.partition("127.0.0.1:")[2].partition("/")[0]
        _, lines = look(capsys, tmp_path, url, "--no-api-key", "--port", port, config=GOOD)
    assert lines[1] == f"ok    port: chatbridge 9.9 answers on {port}"


def test_a_wrong_configuration(capsys):
    assert run("doctor", "--practice", "--drain-seconds", "soon") == 1
    assert "--drain-seconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "environ", "said"),
    [
        ("model = ", {}, "cannot be read"),
        ('[a]\nmodel_provider = "b"', {}, "stands below [a]"),
        ('[a.c]\nmodel_provider = "b"', {}, "stands below [a.c]"),
        ("", {}, "no model_provider"),
        ('model_provider = "b"', {}, "there is no [model_providers.b]"),
        (GOOD.replace("/v1", ""), {}, "It ends in /v1"),
        (GOOD.replace('"responses"', '"chat"'), {}, 'Make it wire_api = "responses"'),
        (GOOD + 'env_key = "K"', {}, "K is not set"),
        (GOOD.replace("model_context_window = 1000", ""), {}, "no model_context_window"),
        (GOOD, {"OPENAI_BASE_URL": "x"}, "OPENAI_BASE_URL is set"),
    ],
)
def test_traps_of_codex(config, environ, said):
    found = list(doctor.codex(config.encode(), environ))
    assert any(said in str(finding) and finding.cure for finding in found)


@pytest.mark.parametrize(
    "config",
    [
        GOOD,
        GOOD + 'env_key = "K"',
        GOOD + '[profiles.x]\nmodel_provider = "b"',
        GOOD.replace("model_context_window = 1000", "") + 'model_catalog_url = "x"',
        'openai_base_url = "http://127.0.0.1:1/v1"',
    ],
)
def test_good_settings_of_codex(config):
    assert not any(finding.cure for finding in doctor.codex(config.encode(), {"K": "x"}))


@pytest.mark.parametrize(
    ("options", "url"),
    [
        (["--port", "8787"], "http://127.0.0.1:8787/v1"),
        ([], "http://127.0.0.1:PORT/v1"),
        (["--port", "1", "--host", "::1"], "http://[::1]:1/v1"),
        (["--port", "unix:/x"], "http://127.0.0.1:PORT/v1"),
    ],
)
def test_settings_for_codex_are_what_the_doctor_wants(capsys, options, url):
    assert run("codex", "--model", "deepseek-chat", "--practice", *options) == 0
    text = capsys.readouterr().out
    config = tomllib.loads(text)
    assert config["model_providers"]["chatbridge"]["base_url"] == url
    assert config["model"] == "deepseek-chat"
    assert not any(f.cure for f in doctor.codex(text.encode(), {}) if "model_context_window" not in f.said)


def test_settings_for_codex_name_the_window_and_the_token(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("T", "x" * 20)
    assert run("codex", "--model", "gpt-4o", "--client-token-env", "T") == 0
    config = tomllib.loads(capsys.readouterr().out)
    assert config["model_providers"]["chatbridge"]["env_key"] == "CHATBRIDGE_TOKEN"
    json.dumps(config)
