import pytest
from twisted.python.usage import UsageError

from chatbridge.commands.config import template
from chatbridge.commands.main import main
from chatbridge.service.options import Options
from chatbridge.service.secret import Secret

KEY = "sk-test-0123456789"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def write(tmp_path):
    def write(text, name="chatbridge.toml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def parsed(*arguments, environ=None):
    options = Options()
    options.parseOptions(list(arguments))
    return options, options.settings({"OPENAI_API_KEY": KEY} | (environ or {}))


def settings(*arguments, environ=None):
    return parsed(*arguments, environ=environ)[1]


def refusal(*arguments, environ=None):
    with pytest.raises(UsageError) as caught:
        settings(*arguments, environ=environ)
    return str(caught.value)


# --- the order


def test_the_command_line_goes_before_the_environment_before_the_file(write):
    file = write('port = 1\nhost = "192.0.2.1"\ndrain_seconds = 3\n')
    options, found = parsed("--config", file, "--port", "3", environ={"CHATBRIDGE_PORT": "2", "CHATBRIDGE_HOST": "::1"})
    assert found.listen == "tcp6:3:interface=\\:\\:1"
    assert found.drain_seconds == 3.0
    assert options.sources["port"] == "--port"
    assert options.sources["host"] == "CHATBRIDGE_HOST"
    assert options.sources["drain-seconds"] == f"{file}:3"
    assert "header-timeout" not in options.sources


def test_every_kind_of_option_in_a_file(write):
    file = write(
        'http_shutdown = true\nallow_host = ["a.example", "B.example"]\nmax_request_bytes = "1k"\nheader_timeout = 1.5\n'
        'server_info = "/run/x"\nport = 0\n'
    )
    found = settings("--config", file)
    assert found.http_shutdown is True
    assert found.allow_hosts == ("a.example", "b.example")
    assert (found.max_request_bytes, found.header_timeout, found.server_info) == (1024, 1.5, "/run/x")
    assert found.listen == "tcp:0:interface=127.0.0.1"


def test_the_environment_alone_names_the_file_and_turns_flags_off(write):
    file = write("http_shutdown = true\npractice = true\n")
    found = settings(
        environ={"CHATBRIDGE_CONFIG": file, "CHATBRIDGE_HTTP_SHUTDOWN": "off", "CHATBRIDGE_ALLOW_HOST": "a, b"}
    )
    assert found.http_shutdown is False
    assert found.practice is True
    assert found.allow_hosts == ("a", "b")


def test_an_empty_variable_gives_nothing():
    assert settings(environ={"CHATBRIDGE_PORT": "", "CHATBRIDGE_PRACTICE": " "}) == settings()


def test_a_list_is_taken_from_one_place_only(write):
    file = write('allow_host = ["a"]\n')
    assert settings("--config", file, "--allow-host", "b").allow_hosts == ("b",)


def test_settings_can_be_asked_for_again(write):
    file = write('allow_host = ["a"]\nport = 1\n')
    options, first = parsed("--config", file)
    assert options.settings({"OPENAI_API_KEY": KEY}) == first
    write('allow_host = ["b"]\n')
    again = options.settings({"OPENAI_API_KEY": KEY})
    assert (again.allow_hosts, again.listen) == (("b",), "tcp:0:interface=127.0.0.1")


# --- which upstream


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        (["--upstream", "ollama"], "http://127.0.0.1:11434/v1/chat/completions"),
        (["--upstream-url", "http://127.0.0.1:9/v1"], "http://127.0.0.1:9/v1/chat/completions"),
        (["--practice"], "http://127.0.0.1:0/v1/chat/completions"),
    ],
)
def test_who_names_an_upstream_is_not_overruled_from_below(write, arguments, url):
    for text in ('upstream = "deepseek"', 'upstream_url = "https://example.org/v1"', "practice = true"):
        assert settings("--config", write(text), *arguments).upstream_url == url


def test_another_vendors_key_is_not_sent(write, monkeypatch):
    monkeypatch.setenv("DEEPSEEK_API_KEY", KEY)
    file = write('api_key_env = "OTHER_KEY"\n')
    found = settings("--config", file, "--upstream", "deepseek", environ={"OTHER_KEY": "x", "DEEPSEEK_API_KEY": "y"})
    assert found.api_key == Secret("y")


def test_a_key_in_a_file(write):
    file = write("sk-in-a-file\n", "key")
    found = settings("--api-key-file", file, environ={"OPENAI_API_KEY": ""})
    assert found.api_key == Secret("sk-in-a-file")
    assert found.api_key_env == file
    assert settings("--upstream", "ollama", "--api-key-file", file).api_key == Secret("sk-in-a-file")


@pytest.mark.parametrize(
    ("content", "text"), [("", "the file is empty"), (b"\xff\xfe", "not text"), ("a\x07b", "HTTP header")]
)
def test_a_key_file_that_cannot_be_used(write, content, text):
    refused = refusal("--api-key-file", write(content, "key"))
    assert refused.startswith("--api-key-file: ")
    assert text in refused


def test_a_key_among_the_services_credentials(write, tmp_path, monkeypatch):
    write("sk-credential\n", "key")
    tokens = write("ann sha256:" + "0" * 64 + "\n", "tokens")
    credentials = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    monkeypatch.setenv(*next(iter(credentials.items())))
    file = write('api_key_file = "$CREDENTIALS_DIRECTORY/key"\nclient_token_file = "${CREDENTIALS_DIRECTORY}/tokens"\n')
    found = settings("--config", file, environ=credentials)
    assert found.api_key == Secret("sk-credential")
    assert found.client_tokens == settings("--client-token-file", tokens).client_tokens
    # Another variable, or one in the middle, is a file's name.
    for path in ("$CREDENTIALS_DIRECTORYX/key", "a$CREDENTIALS_DIRECTORY/key"):
        assert "No such file" in refusal("--api-key-file", path, environ=credentials)


def test_credentials_where_there_are_none(monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    refused = refusal("--api-key-file", "$CREDENTIALS_DIRECTORY/key")
    assert refused == (
        "--api-key-file: $CREDENTIALS_DIRECTORY/key: there are no credentials; the service needs a LoadCredential="
    )


def test_several_keys_in_a_file(write):
    file = write("# of the team\nsk-one\n\n  sk-two\n", "key")
    found = settings("--api-key-file", file, environ={})
    assert found.api_keys == ((f"{file}:2", Secret("sk-one")), (f"{file}:4", Secret("sk-two")))
    assert found.api_key == Secret("sk-one")


def test_several_keys_in_variables(write, monkeypatch):
    monkeypatch.setenv("A", "sk-one")
    monkeypatch.setenv("B", "sk-two")
    file = write('api_key_envs = ["A", "B", "A"]\n')
    found = settings("--config", file, environ={"A": "sk-one", "B": "sk-two"})
    assert found.api_keys == (("A", Secret("sk-one")), ("B", Secret("sk-two")))
    assert settings("--api-key-envs", "B", environ={"B": "sk-two"}).api_key == Secret("sk-two")
    with pytest.raises(UsageError, match="missing or empty env var: B"):
        settings("--api-key-envs", "A", "--api-key-envs", "B", environ={"A": "sk-one"})


def test_keys_named_above_go_before_those_below(write, monkeypatch):
    for name in ("A", "B", "C"):
        monkeypatch.setenv(name, f"sk-{name}")
    environ = {"A": "sk-A", "B": "sk-B", "C": "sk-C", "DEEPSEEK_API_KEY": "sk-D"}
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-D")
    several = write('api_key_envs = ["A", "B"]\n')
    assert settings("--config", several, "--api-key-env", "C", environ=environ).api_key == Secret("sk-C")
    # Another vendor's keys are not sent to the one that is named above.
    found = settings("--config", several, "--upstream", "deepseek", environ=environ)
    assert (found.api_key, found.api_keys) == (Secret("sk-D"), ())
    file = write(f'api_key_file = "{write("sk-file", "key")}"\n', "other.toml")
    assert settings("--config", file, "--api-key-envs", "B", environ=environ).api_key == Secret("sk-B")
    assert settings("--config", file, environ=environ).api_key == Secret("sk-file")


def test_a_key_file_that_is_not_there(tmp_path):
    assert "No such file" in refusal("--api-key-file", str(tmp_path / "key"))


# --- what is wrong, and where


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('# a\nupstreamurl = "x"\n', 2, "there is no option 'upstreamurl'; did you mean 'upstream_url'?"),
        ('upstream-url = "x"\n', 1, "did you mean 'upstream_url'?"),
        ("zzz = 1\n", 1, "there is no option 'zzz'; see twistd chatbridge --help"),
        ('\napi_key = "sk-secret-value"\n', 2, "api_key_env names the variable"),
        ("port = 1\n[upstreem]\nx = 1\n", 2, "did you mean 'upstream'?"),
        ("http_shutdown = 1\n", 1, "http_shutdown: must be true or false"),
        ("host = true\n", 1, "host: must be a string or a number"),
        ('allow_host = "a"\n', 1, "allow_host: must be an array of strings"),
        ('\n\nallow_host = ["a", "b/"]\n', 3, "allow_host: 'b/' is not a host name"),
        ("port = 70000\n", 1, "port: 70000 is not a port number"),
        ('drain_seconds = "x"\n', 1, "drain_seconds: 'x' is not a number of seconds"),
        ("port = 1\nport = 2\n", 2, "Cannot overwrite a value"),
        ('port = "1\n', 1, "Illegal character"),
        (b"port = 1\n# \xff\n", 2, "not UTF-8 text"),
    ],
)
def test_a_wrong_file_is_named_with_line_and_key(write, text, line, said):
    file = write(text)
    refused = refusal("--config", file)
    assert refused.startswith(f"{file}:{line}: ")
    assert said in refused
    assert "sk-secret" not in refused


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('\napi_key_env = "MY_KEY"\n', 2, "api_key_env: missing or empty env var: MY_KEY"),
        ('api_key_envs = ["MY_KEY"]\n', 1, "api_key_envs: missing or empty env var: MY_KEY"),
        ('[upstreams.a]\nupstream = "deepseek"\napi_key_env = "MY_KEY"\n', 3, "api_key_env: missing or empty"),
        ("port = 1\nno_api_key = true\n", 2, "no_api_key: only for an upstream on this machine"),
        ('api_key_file = "\\u0000"\n', 1, "api_key_file: "),
        ('client_token_file = "\\u0000"\n', 1, "client_token_file: "),
    ],
)
def test_a_key_that_is_not_there_is_named_with_line_and_key(write, text, line, said):
    file = write(text)
    assert refusal("--config", file).startswith(f"{file}:{line}: {said}")


def test_a_variable_that_names_a_missing_one_is_named():
    refused = refusal(environ={"CHATBRIDGE_API_KEY_ENV": "MY_KEY"})
    assert refused.startswith("CHATBRIDGE_API_KEY_ENV: missing or empty env var: MY_KEY")


def test_a_file_that_cannot_be_read(tmp_path):
    assert refusal("--config", str(tmp_path / "no.toml")) == f"{tmp_path}/no.toml: No such file or directory"
    assert refusal("--config", str(tmp_path)) == f"{tmp_path}: Is a directory"


def test_a_wrong_variable_is_named():
    assert refusal(environ={"CHATBRIDGE_PORT": "x"}).startswith("CHATBRIDGE_PORT: 'x' is neither")
    assert refusal(environ={"CHATBRIDGE_PRACTICE": "maybe"}) == "CHATBRIDGE_PRACTICE: must be true or false"


# --- the command


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


def test_check(write, capsys):
    assert run("config", "check", "--config", write("port = 1\n")) == 0
    file = write("prot = 1\n")
    assert run("config", "check", "--config", file) == 1
    assert capsys.readouterr().err == f"{file}:1: there is no option 'prot'; did you mean 'port'?\n"


@pytest.mark.parametrize(
    ("arguments", "good"),
    [
        (["--host", "0.0.0.0"], False),
        (["--host", "::"], False),
        (["--port", "tcp:8787"], False),
        (["--port", "ssl:443:interface=192.0.2.1"], False),
        (["--host", "192.0.2.1", "--allow-anyone"], True),
        (["--host", "192.0.2.1", "--client-token-env", "OPENAI_API_KEY"], True),
        (["--host", "localhost"], True),
        (["--port", "unix:/run/x"], True),
        (["--port", "systemd:domain=INET:index=0"], True),
    ],
)
def test_check_knows_what_the_daemon_would_not_open(arguments, good, capsys):
    assert run("config", "check", *arguments) == (0 if good else 1)
    assert ("is not a loopback address" in capsys.readouterr().err) is not good


def test_show_says_where_each_value_came_from_and_no_key(write, capsys):
    file = write('port = 1\nupstream_url = "https://example.org/v1?key=secret"\nhttp_shutdown = true\n')
    assert run("config", "show", "--config", file, "--allow-host", "a") == 0
    shown = capsys.readouterr().out.splitlines()
    assert f'port = "1"  # {file}:1' in shown
    assert f'upstream_url = "https://example.org/v1?<redacted>"  # {file}:2' in shown
    assert f"http_shutdown = true  # {file}:3" in shown
    assert 'allow_host = ["a"]  # --allow-host' in shown
    assert "practice = false  # default" in shown
    assert not any(KEY in line for line in shown)
    assert {line.split()[0].replace("_", "-") for line in shown} == set(Options().kinds)


TABLES = """\
practice = true
[upstreams.a]
upstream_url = "http://127.0.0.1:1/v1?key=secret"
no_api_key = true
proxy = "http://ann:pass-word@proxy:1"
headers = {X-Team = "red", X-Api-Key = "pass-word", X-Other = "Bearer abc123def456"}

[[routes]]
model = "x*"
upstream = "a"
fallback = [{model = "y"}]
"""


def test_show_tells_of_tables_too(write, capsys):
    file = write(TABLES)
    assert run("config", "show", "--config", file) == 0
    shown = capsys.readouterr().out.splitlines()
    assert f"[upstreams.a]  # {file}:2" in shown
    assert f'upstream_url = "http://127.0.0.1:1/v1?<redacted>"  # {file}:3' in shown
    assert f"no_api_key = true  # {file}:4" in shown
    assert f'proxy = "http://<redacted>@proxy:1"  # {file}:5' in shown
    assert f'headers = {{"X-Team": "red", "X-Api-Key": "<redacted>", "X-Other": "<redacted>"}}  # {file}:6' in shown
    at = shown.index(f"[[routes]]  # {file}:8")
    assert shown[at + 1 :] == [
        f'model = "x*"  # {file}:9', f'upstream = "a"  # {file}:10', f'fallback = [{{"model": "y"}}]  # {file}:11',
    ]  # fmt: skip
    assert 'retries = "2"  # default' in shown[shown.index(f"[upstreams.a]  # {file}:2") : at]
    assert "pass-word" not in "".join(shown)


def test_show_tells_of_the_environments_proxy(write, capsys, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://ann:pass-word@proxy:1")
    file = write('[upstreams.a]\nupstream_url = "https://example.org/v1"\n[upstreams.b]\npractice = true\n')
    assert run("config", "show", "--config", file) == 0
    first, _, second = capsys.readouterr().out.partition("[upstreams.b]")
    assert 'proxy = "http://<redacted>@proxy:1"  # HTTPS_PROXY' in first.partition("[upstreams.a]")[2]
    assert "proxy = none  # default" in second
    assert run("config", "show", "--upstream-url", "https://example.org/v1") == 0
    assert 'proxy = "http://<redacted>@proxy:1"  # HTTPS_PROXY' in capsys.readouterr().out


def test_the_templates_tables_are_good_when_they_are_asked_for(write, monkeypatch):
    text = template()
    tables = text[text.index("#[upstreams.local]") :].replace(
        '["other", {upstream = "other", model = "small"}]', '["local"]'
    )
    lines = [line.removeprefix("#") for line in tables.splitlines() if not line.startswith("# ")]
    monkeypatch.setenv("VARIABLE", "x")
    found = settings("--config", write("\n".join(lines)), environ={"OPENAI_API_KEY": "k", "VARIABLE": "x"})
    assert found.routes.routes[0].send_model == "llama3"


def test_show_has_no_password(capsys):
    assert run("config", "show", "--store", "postgresql://u:secret-4711@h/d") == 0
    shown = capsys.readouterr().out
    assert "4711" not in shown
    assert "postgresql://u:<redacted>@h/d" in shown


def test_init_writes_a_file_that_changes_nothing(tmp_path, capsys):
    file = str(tmp_path / "new.toml")
    assert run("config", "init", file) == 0
    assert settings("--config", file) == settings()
    assert run("config", "init", file) == 1
    assert "File exists" in capsys.readouterr().err


def test_the_template_names_each_option():
    lines = template().splitlines()
    for name in Options().kinds:
        assert any(line.startswith(f"#{name.replace('-', '_')} = ") for line in lines) is (name != "config")
