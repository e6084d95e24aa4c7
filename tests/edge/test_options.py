import dataclasses

import pytest
from certificates import Authority
from twisted.python.usage import UsageError

from chatbridge.service.options import Options
from chatbridge.service.secret import Secret
from chatbridge.service.settings import DEFAULT_UPSTREAM_URL, Settings

KEY = "sk-test-0123456789"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "80")


def settings(*arguments, environ=None):
    options = Options()
    options.parseOptions(list(arguments))
    return options.settings({"OPENAI_API_KEY": KEY} if environ is None else environ)


def refusal(*arguments):
    with pytest.raises(UsageError) as caught:
        settings(*arguments)
    return str(caught.value)


def test_defaults():
    assert settings() == Settings(api_key=Secret(KEY), breaker_failures=50)
    assert settings().listen == "tcp:0:interface=127.0.0.1"
    assert settings().upstream_url == "https://api.openai.com/v1/chat/completions"


# --- where it listens


@pytest.mark.parametrize(
    ("arguments", "listen"),
    [
        (["--port", "8787"], "tcp:8787:interface=127.0.0.1"),
        (["--port=0"], "tcp:0:interface=127.0.0.1"),
        (["--host", "192.0.2.1", "--port", "1"], "tcp:1:interface=192.0.2.1"),
        (["--host", "localhost"], "tcp:0:interface=localhost"),
        (["--host", "::1", "--port", "8787"], "tcp6:8787:interface=\\:\\:1"),
        (["--host", "[::1]"], "tcp6:0:interface=\\:\\:1"),
        (["--port", "unix:/run/chatbridge.sock"], "unix:/run/chatbridge.sock"),
        (["--port", "systemd:domain=INET:index=0"], "systemd:domain=INET:index=0"),
    ],
)
def test_listen(arguments, listen):
    assert settings(*arguments).listen == listen


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--port", "65536"], "65536 is not a port number"),
        (["--port", "http"], "neither a port number nor an endpoint"),
        (["--port", ""], "neither a port number nor an endpoint"),
        (["--port", "-1"], "neither a port number nor an endpoint"),
        (["--port", "\u0663"], "neither a port number nor an endpoint"),
        (["--host", ""], "is not an address"),
        (["--host", "a b"], "is not an address"),
        (["--host", "http://127.0.0.1"], "is not an address"),
        (["--host", "127.0.0.1:80"], "is not an IPv6 address"),
        (["--host", "127.0.0.1", "--port", "unix:/x"], "--host goes with a port number"),
    ],
)
def test_listen_refused(arguments, text):
    assert text in refusal(*arguments)


# --- the upstream


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://example.org/v1", "https://example.org/v1/chat/completions"),
        ("https://example.org/v1/", "https://example.org/v1/chat/completions"),
        ("https://example.org/v1///", "https://example.org/v1/chat/completions"),
        ("https://example.org/api/v4", "https://example.org/api/v4/chat/completions"),
        ("http://localhost:11434", "http://localhost:11434/v1/chat/completions"),
        ("http://localhost:11434/", "http://localhost:11434/v1/chat/completions"),
        ("https://example.org/v1/chat/completions", "https://example.org/v1/chat/completions"),
        ("https://example.org/v1/chat/completions/", "https://example.org/v1/chat/completions"),
        ("https://example.org/custom/path", "https://example.org/custom/path"),
        ("https://example.org/v1?api-version=2", "https://example.org/v1/chat/completions?api-version=2"),
        ("https://example.org/x/chat/completions?a=b/", "https://example.org/x/chat/completions?a=b/"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1/chat/completions"),
        ("HTTP://Example.org/v1", "http://Example.org/v1/chat/completions"),
        ("https://example.org/v1#part", "https://example.org/v1/chat/completions"),
    ],
)
def test_upstream_url(given, used):
    assert settings("--upstream-url", given).upstream_url == used


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org/v1",
        "ftp://example.org/v1",
        "http://",
        "https:///v1",
        "http://:80/v1",
        "http://host:port/v1",
        "http://host:99999/v1",
        "https://host/v1/responses",
        "https://host/v1/messages/",
        "http://host:0/v1",
        "http://[::1/v1",
        "http://host/v 1",
        "http://host/\r\nX: y",
        "http://h\u00f6st/v1",
    ],
)
def test_upstream_url_refused(url):
    assert refusal("--upstream-url", url).startswith("--upstream-url: ")


def test_a_password_in_the_upstream_url_is_refused_and_not_repeated():
    text = refusal("--upstream-url", "https://user:hunter2@example.org/v1")
    assert "must not hold a user name or password" in text
    assert "hunter2" not in text


# --- the key


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": ""}, {"OPENAI_API_KEY": " \n"}])
def test_missing_key(environ):
    with pytest.raises(UsageError, match="missing or empty env var: OPENAI_API_KEY"):
        settings(environ=environ)


def test_a_missing_key_is_noticed_while_the_command_line_is_parsed(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UsageError, match="missing or empty env var: OPENAI_API_KEY"):
        Options().parseOptions([])


def test_another_key_variable(monkeypatch):
    monkeypatch.setenv("XAI_API_KEY", "other-key")
    got = settings("--api-key-env", "XAI_API_KEY", environ={"XAI_API_KEY": "other-key"})
    assert got.api_key == Secret("other-key")
    assert got.api_key_env == "XAI_API_KEY"
    monkeypatch.delenv("XAI_API_KEY")
    assert "missing or empty env var: XAI_API_KEY" in refusal("--api-key-env", "XAI_API_KEY")


def test_whitespace_around_the_key_is_taken_off():
    assert settings(environ={"OPENAI_API_KEY": f" {KEY}\r\n"}).api_key == Secret(KEY)


@pytest.mark.parametrize("key", ["sk-one\nsk-two", "sk-\x00one", "sk-\u201cone\u201d", "sk-\udce4one", "sk-one\x7f"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_repeated(key):
    with pytest.raises(UsageError, match="env var OPENAI_API_KEY: the key contains a character") as caught:
        settings(environ={"OPENAI_API_KEY": key})
    assert "sk-" not in str(caught.value)


def test_the_key_itself_as_the_name_of_the_variable_is_not_repeated():
    text = refusal("--api-key-env", KEY)
    assert "not the key itself" in text
    assert KEY not in text


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/v1",
        "http://localhost/v1",
        "http://[::1]:1/v1",
        "https://127.8.9.1/v1",
        "http://LOCALHOST.",
    ],
)
def test_no_api_key_on_this_machine(url):
    assert settings("--no-api-key", "--upstream-url", url, environ={}).api_key == Secret("")


def test_no_api_key_leaves_a_key_in_the_environment_alone():
    assert not settings("--no-api-key", "--upstream-url", "http://127.0.0.1/v1").api_key


@pytest.mark.parametrize(
    "url",
    [DEFAULT_UPSTREAM_URL, "http://127.0.0.1.example.org/v1", "http://192.168.0.1/v1", "http://localhost.example.org"],
)
def test_no_api_key_elsewhere(url):
    assert "only for an upstream on this machine" in refusal("--no-api-key", "--upstream-url", url)


def test_practice_needs_no_key_and_goes_nowhere_else():
    got = settings("--practice", environ={})
    assert got.practice
    assert got.api_key == Secret("")
    assert got.upstream_url.startswith("http://127.0.0.1:0/")


def test_practice_does_not_take_the_key():
    assert not settings("--practice").api_key


def test_practice_and_another_upstream():
    assert "leave out one of" in refusal("--practice", "--upstream-url", "http://127.0.0.1/v1")


# --- the rest


def test_switches_and_files():
    got = settings("--http-shutdown", "--server-info", "x/y.json")
    assert got.http_shutdown
    assert got.server_info == "x/y.json"


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("2.5", 2.5), ("60", 60.0)])
def test_drain_seconds(text, seconds):
    assert settings("--drain-seconds", text).drain_seconds == seconds


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "ten", "10s"])
def test_drain_seconds_refused(text):
    assert refusal("--drain-seconds", text).endswith("is not a number of seconds")


def test_header_timeout():
    assert settings("--header-timeout", "0.5").header_timeout == 0.5
    assert refusal("--header-timeout", "0").endswith("is not a number of seconds above 0")


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("33554432", 32 * 1024**2), ("512k", 512 * 1024), ("32M", 32 * 1024**2), ("1g", 1024**3)],
)
def test_max_request_bytes(text, size):
    assert settings("--max-request-bytes", text).max_request_bytes == size


@pytest.mark.parametrize("text", ["", "0", "0k", "-1", "1.5M", "M", "32MB", "\u0663", "9" * 16])
def test_max_request_bytes_refused(text):
    assert "is not a number of bytes" in refusal("--max-request-bytes", text)


def test_hosts_and_origins_are_all_kept():
    got = settings(
        "--allow-host", "bridge.example.org", "--allow-origin", "https://a.example", "--allow-host=fd00::1",
        "--allow-origin", "HTTPS://B.example:8443/", "--allow-host", "[fd00::2]",
    )  # fmt: skip
    assert got.allow_hosts == ("bridge.example.org", "fd00::1", "fd00::2")
    assert got.allow_origins == ("https://a.example", "https://b.example:8443")


@pytest.mark.parametrize("name", ["", "*", "a b", "http://a", "a/b", "a:80", "-a", ".a", "127.0.0.1:80"])
def test_allow_host_refused(name):
    assert "--allow-host: " in refusal("--allow-host", name)


@pytest.mark.parametrize(
    "origin", ["", "*", "null", "a.example", "https://", "https://a/b", "https://u@a", "https://*.a", "https://\u00e4"]
)
def test_allow_origin_refused(origin):
    assert "is not an origin" in refusal("--allow-origin", origin)


@pytest.mark.parametrize(
    ("name", "first", "last", "field", "value"),
    [
        ("--port", "1", "2", "listen", "tcp:2:interface=127.0.0.1"),
        ("--host", "192.0.2.1", "192.0.2.2", "listen", "tcp:0:interface=192.0.2.2"),
        ("--upstream-url", "nonsense", "http://a/b", "upstream_url", "http://a/b"),
        ("--server-info", "a", "b", "server_info", "b"),
        ("--drain-seconds", "1", "2", "drain_seconds", 2.0),
        ("--max-request-bytes", "1", "2", "max_request_bytes", 2),
        ("--header-timeout", "1", "2", "header_timeout", 2.0),
        ("--api-key-env", "A", "OPENAI_API_KEY", "api_key_env", "OPENAI_API_KEY"),
    ],
)
def test_the_last_one_wins(name, first, last, field, value):
    assert getattr(settings(name, first, name, last), field) == value


def test_a_flag_twice_is_the_flag():
    assert settings("--practice", "--practice", "--http-shutdown", "--http-shutdown") == settings(
        "--practice", "--http-shutdown"
    )


@pytest.mark.parametrize("arguments", [["--nonsense"], ["stray"], ["--practice=yes"], ["--port"]])
def test_unknown_arguments(arguments):
    with pytest.raises(UsageError):
        Options().parseOptions(arguments)


def test_an_unknown_option_is_told_the_nearest():
    with pytest.raises(UsageError, match="option --upstram-url not recognized; did you mean --upstream-url"):
        Options().parseOptions(["--upstram-url", "x"])


def test_under_twistd_every_error_ends_the_process(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    for arguments, text in [([], "missing or empty env var: OPENAI_API_KEY"), (["--nonsense"], "nonsense")]:
        options = Options()
        options.parent = Options()
        with pytest.raises(SystemExit) as caught:
            options.parseOptions(arguments)
        assert caught.value.code.startswith("chatbridge: ")
        assert text in caught.value.code


def test_help_explains_each_option_with_its_default_in_80_columns():
    text = str(Options())
    assert max(map(len, text.splitlines())) <= 80
    names = [
        "port", "host", "upstream-url", "api-key-env", "no-api-key", "server-info", "http-shutdown", "practice",
        "drain-seconds", "max-request-bytes", "header-timeout", "allow-host", "allow-origin", "upstream", "profile", "vendor-search", "repair-json",
            "config", "api-key-file", "client-token-env", "client-token-file", "client-streams", "client-rate",
            "allow-anyone", "connect-timeout", "first-byte-timeout", "idle-timeout", "forward-header", "log-format", "store",
            "store-days", "log-level", "trace", "trace-size", "workers", "max-streams", "max-connections", "total-timeout", "retries", "retry-seconds", "breaker-failures", "breaker-seconds", "proxy", "ca-file",
            "api-key-envs", "upstream-streams", "upstream-rate", "queue-seconds",
            "client-websockets", "search-url", "search-open", "search-always",
    ]  # fmt: skip
    options = text.partition("Options:\n")[2].partition("\n\n")[0].split("      --")[1:]
    explained = {option.split()[0].rstrip("="): " ".join(option.split()) for option in options}
    assert set(explained) == {*names, "help", "version"}
    for name in names:
        assert "[default: " in explained[name]
        assert len(explained[name].split()) > 6


def test_an_only_upstream_is_left_alone_later(tmp_path):
    assert settings("--practice").breaker_failures == 50
    assert settings("--practice", "--breaker-failures", "0").breaker_failures == 0
    file = tmp_path / "c.toml"
    file.write_text("[upstreams.a]\npractice = true\n[upstreams.b]\npractice = true\nbreaker_failures = 3\n")
    assert [one.breaker_failures for one in settings("--config", str(file)).upstreams] == [5, 3]
    file.write_text("[upstreams.alone]\npractice = true\n")
    assert [one.breaker_failures for one in settings("--config", str(file)).upstreams] == [50]


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        Options().parseOptions(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("chatbridge 0.")


def test_every_setting_an_option_can_change_is_changed_by_one(monkeypatch, tmp_path):
    monkeypatch.setenv("TOKEN", "x" * 16)
    changed = settings(
        "--port", "1", "--upstream-url", "http://127.0.0.1/v1", "--no-api-key", "--api-key-env", "A", "--server-info", "f",
        "--http-shutdown", "--drain-seconds", "1", "--max-request-bytes", "1", "--header-timeout", "1",
        "--allow-host", "a", "--allow-origin", "http://a", "--profile", "mistral", "--vendor-search", "--repair-json", "--client-token-env", "TOKEN",
        "--client-streams", "1", "--client-rate", "1", "--allow-anyone",
        "--connect-timeout", "1", "--first-byte-timeout", "1", "--idle-timeout", "1", "--forward-header", "x-a", "--log-format", "json", "--store", "postgresql://u:pw@h/d",
        "--store-days", "1", "--client-websockets", "1", "--log-level", "warn", "--trace", "t", "--trace-size", "1", "--search-url", "http://127.0.0.1:8888", "--search-open", "any", "--search-always", "--workers", "2", "--max-streams", "1", "--max-connections", "1",
        "--total-timeout", "1", "--retries", "1", "--retry-seconds", "1", "--breaker-failures", "1",
        "--breaker-seconds", "1", "--upstream-streams", "1", "--upstream-rate", "1", "--queue-seconds", "1",
        "--proxy", "http://p:1", "--ca-file", Authority().write(tmp_path), environ={"TOKEN": "x" * 16},
    )  # fmt: skip
    same = {
        field.name
        for field in dataclasses.fields(Settings)
        if getattr(changed, field.name) == getattr(Settings(), field.name)
    }
    # Without an option of their own. Practice excludes an upstream.
    assert same == {
        "api_key", "api_keys", "practice", "commit_after", "keepalive", "name", "upstreams", "routes",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "place", "password"),
    [
        ("memory", "memory", ""),
        ("sqlite:////var/r.db", "sqlite:////var/r.db", ""),
        ("postgresql://u:p%40w/:x@h:5432/d?sslmode=require", "postgresql://u@h:5432/d?sslmode=require", "p@w/:x"),
        ("postgres://h:5432/d", "postgres://h:5432/d", ""),
        ("postgresql:///d?host=/run/pg", "postgresql:///d?host=/run/pg", ""),
        ("postgresql://u@h1:1,h2:2/d", "postgresql://u@h1:1,h2:2/d", ""),
    ],
)
def test_the_password_is_taken_out_of_the_stores_url(text, place, password):
    given = settings("--no-api-key", "--upstream-url", "http://127.0.0.1/v1", "--store", text)
    assert (given.store, given.store_password.reveal()) == (place, password)
    assert not password or password not in repr(given)


@pytest.mark.parametrize("text", ["mysql://h/d", "sqlite:///", "postgresql://u@h/d?password=secret-4711", "postgresql://u:secret-4711@b@h/d"])  # fmt: skip
def test_a_place_that_is_no_store_is_refused_without_its_password(text):
    with pytest.raises(UsageError, match="--store: ") as caught:
        settings("--no-api-key", "--upstream-url", "http://127.0.0.1/v1", "--store", text)
    assert "4711" not in str(caught.value)


# --- vendors by name


def test_a_vendor_by_name_fills_in_address_profile_and_key(monkeypatch):
    monkeypatch.setenv("DEEPSEEK_API_KEY", KEY)
    found = settings("--upstream", "deepseek", environ={"DEEPSEEK_API_KEY": KEY})
    assert found.upstream_url.startswith("https://api.deepseek.com/")
    assert found.upstream_url.endswith("/chat/completions")
    assert found.profile.name == "deepseek"
    assert found.api_key == Secret(KEY)
    assert found.api_key_env == "DEEPSEEK_API_KEY"


def test_a_vendors_key_is_missing(monkeypatch):
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    assert "missing or empty env var: DEEPSEEK_API_KEY" in refusal("--upstream", "deepseek")


def test_a_local_vendor_needs_no_key():
    found = settings("--upstream", "ollama", environ={})
    assert found.upstream_url == "http://127.0.0.1:11434/v1/chat/completions"
    assert not found.api_key


def test_what_is_said_goes_before_what_the_vendor_fills_in(monkeypatch):
    monkeypatch.setenv("MINE", KEY)
    found = settings(
        "--upstream", "deepseek", "--upstream-url", "http://127.0.0.1:9/v1", "--api-key-env", "MINE", "--profile", "vllm",
        environ={"MINE": KEY},
    )  # fmt: skip
    assert found.upstream_url == "http://127.0.0.1:9/v1/chat/completions"
    assert found.profile.name == "vllm"
    assert found.api_key_env == "MINE"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--upstream", "depseek"], "did you mean 'deepseek'?"),
        (["--profile", "nobody-at-all"], "no vendor profile 'nobody-at-all'"),
        (["--upstream", "azure"], "give the upstream's URL"),
        (["--upstream", "ollama", "--practice"], "leave out one of --practice, --upstream"),
    ],
)
def test_vendors_that_cannot_be_had(arguments, text):
    assert text in refusal(*arguments)
