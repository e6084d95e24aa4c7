import contextlib

import pytest
from memory_http import Server, Waiting, logged, post, request
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.python.usage import UsageError

from chatbridge.commands.main import main
from chatbridge.protocol.errors import ApiError
from chatbridge.service.listener import StartError
from chatbridge.service.options import Options
from chatbridge.service.settings import Settings
from chatbridge.service.tap import _closed
from chatbridge.web.access import Access, TokenError, digest, read_tokens
from chatbridge.web.ledger import Ledger

TOKEN = "cb-0123456789abcdef"
TOKENS = (("ann", digest(TOKEN)), ("bob", digest("cb-bobs-own-token-1")))
GOOD = f"Authorization: Bearer {TOKEN}"


def server(**settings):
    return Server(client_tokens=TOKENS, **settings)


# --- who gets in


@pytest.mark.parametrize(
    "header", [GOOD, f"authorization: bearer  {TOKEN} ", "Authorization: Bearer cb-bobs-own-token-1"]
)
def test_a_token_admits(header):
    assert server().ask(post(b"x", header)).status == 200


REFUSED = {
    "no header": post(b"x"),
    "another token": post(b"x", "Authorization: Bearer cb-0123456789abcdee"),
    "part of the token": post(b"x", GOOD[:-1]),
    "more than the token": post(b"x", GOOD + "f"),
    "another scheme": post(b"x", f"Authorization: Basic {TOKEN}"),
    "no scheme": post(b"x", f"Authorization: {TOKEN}"),
    "an empty token": post(b"x", "Authorization: Bearer "),
    "the digest itself": post(b"x", f"Authorization: Bearer {digest(TOKEN).hex()}"),
    "two headers": post(b"x", GOOD, GOOD),
    "a good and a bad header": post(b"x", GOOD, "Authorization: Bearer no"),
    "two tokens in one header": post(b"x", f"{GOOD}, Bearer {TOKEN}"),
    "no body": request("POST", "/v1/responses"),
    "chunked": request("POST", "/v1/responses", "Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n\r\n",
    "too large a body": request("POST", "/v1/responses", "Content-Length: 99999999999"),
    "a body that waits": request("POST", "/v1/responses", "Content-Length: 5", "Expect: 100-continue"),
    "an unknown path": request("GET", "/nothing"),
    "the shutdown": request("GET", "/shutdown"),
    "a wrong method": request("DELETE", "/v1/responses"),
    "a target that is no path": request("GET", "http://localhost/healthz"),
    "healthz and more": request("GET", "/healthz/x"),
    "a WebSocket": request("GET", "/v1/responses", "Upgrade: websocket", "Connection: Upgrade"),
    "another host": request("POST", "/v1/responses", body=b"x", host="example.org"),
    "a web page": post(b"x", "Origin: https://example.org"),
    "a page's question": request(
        "OPTIONS", "/v1/responses", "Origin: https://example.org", "Access-Control-Request-Method: POST"
    ),
    "options": request("OPTIONS", "/v1/responses"),
    "a method that is none": request("BREW", "/v1/responses"),
    "bad JSON": post(b"{", "Content-Type: application/json"),
    "an encoding that is none": post(b"x", "Content-Encoding: x-unknown"),
    "a stored response": request("GET", "/v1/responses/resp_1"),
    "the metrics": request("GET", "/metrics"),
    "a path of an upstream": post(b"x", path="/default/v1/responses"),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_without_a_token_everything_is_the_same_401(data):
    refused = server().ask(data)
    assert refused.status == 401
    assert refused.body == server().ask(request("GET", "/nothing")).body
    assert refused.json["error"]["code"] == "invalid_api_key"


def test_healthz_needs_no_token():
    assert server().ask(request()).status == 200
    assert server().ask(request("HEAD", "/healthz"), head_only=True).status == 200


def test_a_body_is_not_kept_for_whoever_has_no_token():
    here = server()
    connection = here.connect()
    connection.send(request("POST", "/v1/responses", "Content-Length: 1000"))
    assert connection.answer().status == 401
    connection.send(b"x" * 500)
    assert connection.channel.requests[-1].content.getvalue() == b""


def test_an_admitted_pages_question_needs_no_token():
    here = server(allow_origins=("https://example.org",))
    page = "Origin: https://example.org"
    assert here.ask(request("OPTIONS", "/v1/responses", page, "Access-Control-Request-Method: POST")).status == 204
    assert here.ask(post(b"x", page)).status == 401
    assert here.ask(post(b"x", page, GOOD)).status == 200


def test_with_a_token_host_and_path_are_told_as_ever():
    here = server()
    assert here.ask(request("POST", "/v1/responses", GOOD, body=b"x", host="example.org")).status == 403
    assert here.ask(request("GET", "/nothing", GOOD)).status == 404


def test_without_tokens_any_header_will_do():
    assert Server().ask(post(b"x", GOOD, GOOD)).status == 200


def test_no_token_stands_in_the_log():
    with logged() as events:
        server().ask(post(b"x", GOOD[:-1]))
        server().ask(post(b"x", GOOD))
    assert not any(TOKEN[:-1] in event["text"] for event in events)
    assert TOKEN not in repr(Settings(client_tokens=TOKENS))
    assert digest(TOKEN).hex() not in repr(Settings(client_tokens=TOKENS))


# --- limits


def test_requests_at_once():
    waiting = Waiting()
    here = Server(responses=waiting, client_tokens=TOKENS, client_streams=1)
    first, second, other = here.connect(), here.connect(), here.connect()
    first.send(post(b"x", GOOD))
    second.send(post(b"x", GOOD))
    other.send(post(b"x", "Authorization: Bearer cb-bobs-own-token-1"))
    refused = second.answer()
    assert (refused.status, refused.json["error"]["type"]) == (429, "rate_limit_error")
    assert refused.header("retry-after") == "1"
    assert len(waiting.requests) == 2
    first.lose()
    assert here.ask(request("GET", "/healthz", GOOD)).status == 200
    third = here.connect()
    third.send(post(b"x", GOOD))
    assert len(waiting.requests) == 3


def test_requests_in_a_minute():
    here = Server(client_rate=2)
    assert [here.ask(post(b"x")).status for _ in range(3)] == [200, 200, 429]
    assert here.ask(post(b"x")).header("retry-after") == "30"
    here.reactor.advance(30)
    assert [here.ask(post(b"x")).status for _ in range(2)] == [200, 429]
    here.reactor.advance(600)
    assert [here.ask(post(b"x")).status for _ in range(3)] == [200, 200, 429]


def test_what_is_refused_by_rate_does_not_count_as_running():
    ledger = Ledger()
    access = Access({}, lambda: 0.0, streams=5, rate=1, ledger=ledger)
    (client,) = access
    access.enter(client)
    with pytest.raises(ApiError):
        access.enter(client)
    assert ledger.total(client.slot) == 1


# --- where tokens come from


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


def test_a_token_that_the_command_makes_is_admitted(capsys, tmp_path):
    assert run("token", "ann") == 0
    made = capsys.readouterr()
    token = made.err.split()[-1]
    assert token not in made.out
    file = tmp_path / "tokens"
    file.write_text(f"# clients\n\n{made.out}bob {digest('x').hex()}  # plain\n")
    tokens = read_tokens(str(file))
    assert tokens == {"ann": digest(token), "bob": digest("x")}


def test_tokens_in_a_file_are_added_listed_and_revoked(capsys, tmp_path):
    file = tmp_path / "tokens"
    assert run("token", "ann", "--file", str(file)) == 0
    made = capsys.readouterr()
    assert made.out == ""
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text(f"# who may\n{file.read_text().rstrip()}")
    file.chmod(0o640)
    assert run("token", "bob", "--file", str(file)) == 0
    assert read_tokens(str(file))["ann"] == digest(made.err.split()[-1])
    assert run("token", "--list", "--file", str(file)) == 0
    capsys.readouterr()
    assert run("token", "ann", "--file", str(file)) == 1
    assert "stands there already" in capsys.readouterr().err
    assert run("token", "ann", "--revoke", "--file", str(file)) == 0
    assert list(read_tokens(str(file))) == ["bob"]
    assert file.read_text().startswith("# who may\nbob sha256:")
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["tokens"]
    assert run("token", "ann", "--revoke", "--file", str(file)) == 1
    assert run("token", "bob", "--revoke", "--file", str(file)) == 1
    assert "is the only one" in capsys.readouterr().err
    assert run("token", "--list", "--file", str(tmp_path / "none")) == 1


@pytest.mark.parametrize("line", [[], ["--list"], ["ann", "--revoke"], ["ann", "--list", "--file", "x"], ["a b"]])
def test_a_wrong_line(line, capsys):
    assert run("token", *line) == 2


def test_a_name_that_cannot_be(capsys):
    assert run("token", "a b") == 2
    assert "a name has letters" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ": holds no token"),
        (b"# none\n", ": holds no token"),
        (b"ann cb-secret\n", ":1: must be NAME and the token's SHA-256"),
        (b"\ncb-secret\n", ":2: must be NAME"),
        (f"ann {digest('a').hex()}\nann {digest('b').hex()}\n".encode(), ":2: the name ann stands here twice"),
        (b"\xff", ": not UTF-8 text"),
    ],
)
def test_a_wrong_token_file(tmp_path, content, said):
    file = tmp_path / "tokens"
    file.write_bytes(content)
    with pytest.raises(TokenError) as caught:
        read_tokens(str(file))
    assert str(caught.value).startswith(f"{file}{said}")
    assert "secret" not in str(caught.value)


@pytest.fixture
def option(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")

    def option(*arguments, environ=None):
        for name, value in (environ or {}).items():
            monkeypatch.setenv(name, value)
        options = Options()
        options.parseOptions(list(arguments))
        return options.settings({"OPENAI_API_KEY": "sk-x"} | (environ or {}))

    return option


def test_options(option, tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"ann {digest(TOKEN).hex()}\n")
    found = option("--client-token-file", str(file), "--client-token-env", "T", environ={"T": "t" * 20})
    assert found.client_tokens == (("ann", digest(TOKEN)), ("client", digest("t" * 20)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--client-token-env", "T"], "T must hold a token of at least 16 printable characters"),
        (["--client-token-env", "cb-123"], "takes the name of an environment variable"),
        (["--client-token-file", "/nonexistent"], "--client-token-file: /nonexistent: No such file"),
        (["--client-rate", "x"], "--client-rate: 'x' is not a whole number"),
        (["--client-streams", "-1"], "--client-streams: '-1' is not a whole number"),
    ],
)
def test_wrong_options(option, arguments, said):
    with pytest.raises(UsageError) as caught:
        option(*arguments, environ={"T": "short"})
    assert said in str(caught.value)


# --- beyond loopback


@pytest.mark.parametrize(
    ("address", "settings", "allowed"),
    [
        (IPv4Address("TCP", "0.0.0.0", 1), {}, False),
        (IPv6Address("TCP", "::", 1), {}, False),
        (IPv4Address("TCP", "192.0.2.1", 1), {}, False),
        (IPv4Address("TCP", "0.0.0.0", 1), {"client_tokens": TOKENS}, True),
        (IPv4Address("TCP", "0.0.0.0", 1), {"allow_anyone": True}, True),
        (IPv4Address("TCP", "127.0.0.1", 1), {}, True),
        (IPv6Address("TCP", "::1", 1), {}, True),
        (UNIXAddress(b"/run/x"), {}, True),
    ],
)
def test_listening_beyond_loopback_needs_a_token_or_force(address, settings, allowed):
    with contextlib.nullcontext() if allowed else pytest.raises(StartError, match="allow-anyone"):
        _closed(Settings(**settings), address)
