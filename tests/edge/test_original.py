"""codex-chat-bridge's configuration becomes ours."""

import re

import pytest

from chatbridge.commands.main import main
from chatbridge.commands.original import _FEATURES, _ROUTER, _TOP, OriginalError, import_original
from chatbridge.service.options import Options
from chatbridge.service.routes import Route

ALL = """\
server_info = "info.json"
http_shutdown = true
verbose_logging = true
upstream_url = "https://api.openai.com/v1/responses"
upstream_wire = "responses"
api_key_env = "OPENAI_API_KEY"
http_headers = {X-All = "1"}
forward_incoming_headers = ["X-Client-Request-Id", "OpenAI-Project", "Authorization"]
drop_tool_types = ["web_search"]
drop_request_fields = ["metadata"]
tool_transform_mode = "legacy_convert"

[features]
enable_previous_response_id = true
enable_tool_argument_stream_events = true
enable_extended_stream_events = false
enable_reasoning_stream_events = true
enable_provider_specific_fields = true
enable_extended_input_types = true

[routers.main]
incoming_url = "http://127.0.0.1:8787/v1/responses"
upstream_url = "https://ann:pass-word@api.deepseek.com/v1/chat/completions?api-version=1&key=sk-abcdefgh12345"
upstream_wire = "chat"
api_key_env = "DEEPSEEK_API_KEY"
model = "deepseek-chat"
upstream_http_headers = {X-Team = "red", X-Api-Key = "word", X-Other = "sk-verysecret-0123456789", Authorization = "Bearer abc"}
drop_request_fields = ["user"]

[routers."claude code"]
incoming_url = "http://127.0.0.1:8788/v1/messages"
upstream_url = "https://openrouter.ai/api/v1/chat/completions"
upstream_model_opus = "big"
upstream_model_sonnet = "middle"
upstream_model_haiku = "small"
anthropic_preserve_thinking = true
anthropic_enable_openrouter_reasoning = true
features = {tool_transform_mode = "passthrough"}

[routers.team]
incoming_url = "http://127.0.0.1:8787/team/v1"
upstream_url = "http://127.0.0.1:9999/v1/messages"
forward_incoming_headers = []

[routers.named]
incoming_url = "http://bridge.example.org:8787"
upstream_url = "http://127.0.0.1:9998/v1/chat/completions"
"""
SECRETS = ("pass-word", "sk-abcdefgh12345", "word", "sk-verysecret-0123456789", "abc")


@pytest.fixture
def keys(monkeypatch):
    for name in ("OPENAI_API_KEY", "DEEPSEEK_API_KEY"):
        monkeypatch.setenv(name, f"sk-{name}")


@pytest.fixture
def settings(tmp_path, keys):
    def settings(text):
        path = tmp_path / "made.toml"
        path.write_text(import_original("conf.toml", text.encode()).toml)
        options = Options()
        options.parseOptions(["--config", str(path)])
        return options.settings({"OPENAI_API_KEY": "sk-0", "DEEPSEEK_API_KEY": "sk-1"})

    return settings


def told(text):
    return {key: (became, why) for key, became, why in import_original("conf.toml", text.encode()).told}


def test_the_daemon_takes_all_of_it(settings):
    found = settings(ALL)
    assert found.listen == "tcp:8787:interface=127.0.0.1"
    assert (found.server_info, found.http_shutdown, found.allow_hosts) == ("info.json", True, ("bridge.example.org",))
    main, claude, team, named = found.upstreams
    assert main.upstream_url == "https://api.deepseek.com/v1/chat/completions?api-version=1"
    assert main.api_key.reveal() == "sk-1"
    assert {name: value for name, value in main.profile.headers.items() if name.startswith("x-")} == {"x-team": "red"}
    assert claude.upstream_url == "https://openrouter.ai/api/v1/chat/completions"
    assert claude.profile.headers["x-all"] == "1"
    assert claude.forward_headers == ("x-client-request-id",)
    assert (team.upstream_url, team.forward_headers) == ("http://127.0.0.1:9999/v1/chat/completions", ())
    assert named.name == "named"
    assert found.routes.default == "main"


@pytest.mark.parametrize(
    ("asked", "upstream", "model"),
    [
        ({"model": "gpt-5"}, "main", "deepseek-chat"),
        ({"model": "claude-opus-4", "path": "claude-code"}, "claude-code", "big"),
        ({"model": "claude-sonnet-4", "path": "claude-code"}, "claude-code", "middle"),
        ({"model": "claude-haiku-4", "path": "claude-code"}, "claude-code", "small"),
        ({"model": "gpt-5", "path": "claude-code"}, "claude-code", ""),
        ({"model": "gpt-5", "path": "team"}, "team", ""),
        ({"model": "gpt-5", "host": "bridge.example.org"}, "named", ""),
    ],
)
def test_requests_go_where_they_went(settings, asked, upstream, model):
    route = settings(ALL).routes.find(**asked)
    assert (route.upstream, route.send_model) == (upstream, model)
    assert route.drop_tools == ("web_search",)
    assert route.drop_fields == (("user",) if upstream == "main" else ("metadata",))


def test_without_routers(settings):
    found = settings(
        'upstream_url = "https://api.deepseek.com/v1/chat/completions"\nupstream_wire = "chat"\ndrop_tool_types = ["x"]\n'
    )
    assert found.upstream_url == "https://api.deepseek.com/v1/chat/completions"
    assert found.routes.routes == (Route(upstream="default", model="*", drop_tools=("x",)),)
    found = settings('upstream_url = "https://api.deepseek.com/v1"\nhttp_headers = {X-A = "b"}\n')
    assert found.upstreams[0].profile.headers["x-a"] == "b"


def test_each_key_is_told_of():
    became = told(ALL)
    for name in _TOP:
        if name != "routers":
            assert name in became, name
    for name in set(_ROUTER) - {"tool_transform_mode"}:
        assert any(key.endswith(f".{name}") or key == name for key in became), name
    assert {word for word, _ in became.values()} == {"kept", "renamed", "changed", "always on", "not carried"}
    assert all(feature in became["features"][1] for feature in _FEATURES)
    assert became["upstream_wire"][0] == "not carried"
    assert "base URL is now http://127.0.0.1:8787/claude-code/v1" in became["routers.claude code.incoming_url"][1]
    assert became["routers.main.upstream_model"] == ("renamed", "send_model of its route")


def test_no_secret_is_told_or_written():
    made = import_original("conf.toml", ALL.encode())
    text = made.toml + repr(made.told)
    for secret in SECRETS:
        assert not re.search(rf"(?<![\w-]){re.escape(secret)}(?![\w-])", text), secret


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("api_key_env = 'sk-0123456789abcdef'", "api_key_env", "not the name of a variable"),
        ("upstream_url = 1", "upstream_url", "should be a str"),
        ("something = 1", "something", "does not know it either"),
        ("routers = {a = 1}", "routers.a", "no table"),
        ("[routers.a]\nincoming_url = 'http://[x'\n", "routers.a.incoming_url", "no URL"),
        ("[routers.a]\nincoming_url = '127.0.0.1:8787/a'\n", "routers.a.incoming_url", "no URL"),
        ("[routers.a]\nincoming_url = 'http://127.0.0.1:1/v1/responses'\n[routers.b]\nincoming_url = 'http://127.0.0.1:1/healthz'\n",
         "routers.b.incoming_url", "/b/v1"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_is_told(settings, text, key, said):
    settings(text)
    assert said in told(text)[key][1]
    assert "0123456789abcdef" not in repr(told(text))


@pytest.mark.parametrize(
    ("data", "said"), [(b"\xff", "not UTF-8"), (b"a =", "conf.toml:1: "), (b"a = 1\nb = [\n", "conf.toml:3: ")]
)
def test_what_is_no_configuration(data, said):
    with pytest.raises(OriginalError, match=said):
        import_original("conf.toml", data)


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        main(["config", *arguments])
    return caught.value.code


def test_the_command(tmp_path, capsys, keys):
    original, made = tmp_path / "conf.toml", tmp_path / "made.toml"
    original.write_text(ALL)
    assert run("import-codex-chat-bridge", str(original), "-o", str(made)) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "http_shutdown: kept\n" in told.err
    assert run("check", "--config", str(made)) == 0
    assert run("import-codex-chat-bridge", str(original)) == 0
    assert capsys.readouterr().out.endswith(made.read_text())
    assert run("import-codex-chat-bridge", str(original), "-o", str(made)) == 1  # nothing is overwritten
    assert "made.toml: File exists" in capsys.readouterr().err
    assert run("import-codex-chat-bridge", str(tmp_path / "none")) == 1
    assert "none: No such file" in capsys.readouterr().err
