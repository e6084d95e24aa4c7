import json
import re
import shlex

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.logger import LogLevel, capturedLogs

from chatbridge.service.greeting import Greeting, greeting, warnings
from chatbridge.service.secret import Secret
from chatbridge.service.settings import DEFAULT_UPSTREAM_URL, Settings

ADDRESS = IPv4Address("TCP", "127.0.0.1", 8787)
OPENAI = Settings(api_key=Secret("sk-test-0123456789"))
LOCAL = Settings(upstream_url="http://127.0.0.1:1/v1/chat/completions")
PRACTICE = Settings(practice=True, upstream_url="http://127.0.0.1:0/v1/chat/completions")


def lines(settings=OPENAI, address=ADDRESS, upstream_url=None):
    return list(greeting(settings, address, upstream_url or settings.upstream_url))


def command(name, *arguments):
    """Return the words of the printed command, as a shell reads them."""
    (line,) = (line for line in lines(*arguments) if line.startswith(f"Try {name}: "))
    return shlex.split(line.partition(": ")[2])


def test_where_it_listens_and_what_it_asks():
    listening, upstream, *_ = lines()
    assert listening == "Listening on http://127.0.0.1:8787/v1"
    assert upstream == f"Upstream: {DEFAULT_UPSTREAM_URL}"


def test_an_upstream_without_a_key_is_shown_without_its_query():
    assert (
        lines(LOCAL, ADDRESS, "http://127.0.0.1:1/v1/x?key=secret")[1]
        == "Upstream: http://127.0.0.1:1/v1/x (no API key)"
    )


@pytest.mark.parametrize(("settings", "model"), [(OPENAI, "gpt-5.5"), (PRACTICE, "practice"), (LOCAL, "MODEL")])
def test_commands(settings, model):
    codex = command("Codex", settings)
    assert codex[:2] == ["codex", "exec"]
    assert "model_provider=chatbridge" in codex
    provider = 'model_providers.chatbridge={name="chatbridge",base_url="http://127.0.0.1:8787/v1",wire_api="responses"}'
    assert provider in codex
    assert codex[codex.index("-m") + 1] == model
    curl = command("curl", settings)
    assert curl[:3] == ["curl", "-N", "http://127.0.0.1:8787/v1/responses"]
    assert json.loads(curl[-1]) == {"model": model, "input": "Say hello", "stream": True}


@pytest.mark.parametrize(
    ("address", "base"),
    [
        (IPv6Address("TCP", "::1", 8787), "http://[::1]:8787/v1"),
        (IPv6Address("TCP", "::", 8787), "http://[::1]:8787/v1"),
        (IPv4Address("TCP", "0.0.0.0", 8787), "http://127.0.0.1:8787/v1"),
        (IPv4Address("TCP", "192.0.2.1", 80), "http://192.0.2.1:80/v1"),
    ],
)
def test_other_addresses(address, base):
    assert lines(OPENAI, address)[0] == f"Listening on {base}"
    assert f"{base}/responses" in command("curl", OPENAI, address)


@pytest.mark.parametrize("kind", ["ssl", "tls"])
def test_tls(kind):
    settings = Settings(listen=f"{kind}:8787:privateKey=x")
    assert lines(settings)[0] == "Listening on https://127.0.0.1:8787/v1"


def test_a_unix_socket():
    address = UNIXAddress(b"/run/a b.sock")
    assert lines(OPENAI, address)[0] == "Listening on unix:/run/a b.sock, path /v1"
    curl = command("curl", OPENAI, address)
    assert curl[curl.index("--unix-socket") + 1] == "/run/a b.sock"
    assert not any(line.startswith("Try Codex") for line in lines(OPENAI, address))


def test_no_warning_without_a_reason():
    assert list(warnings(OPENAI, ADDRESS)) == []
    assert list(warnings(OPENAI, IPv6Address("TCP", "::1", 1))) == []
    assert list(warnings(OPENAI, UNIXAddress(b"/x"))) == []


def test_practice_is_loud():
    (warning,) = warnings(PRACTICE, ADDRESS)
    assert warning.startswith("PRACTICE UPSTREAM: answers are scripted, no model is asked.")


@pytest.mark.parametrize(
    "address", [IPv4Address("TCP", "0.0.0.0", 1), IPv4Address("TCP", "192.0.2.1", 1), IPv6Address("TCP", "::", 1)]
)
def test_an_address_others_can_reach_is_loud(address):
    (warning,) = warnings(OPENAI, address)
    assert warning.startswith(f"OPEN TO THE NETWORK: {address.host} is not a loopback address")


def test_it_is_logged_at_the_start_and_not_before():
    service = Greeting(PRACTICE, lambda: ADDRESS, lambda: "http://127.0.0.1:5/v1/chat/completions")
    with capturedLogs() as events:
        service.startService()
    assert [event["log_level"] for event in events][:2] == [LogLevel.warn, LogLevel.info]
    text = [event["line"] for event in events]
    assert text[1] == "Listening on http://127.0.0.1:8787/v1"
    assert text[2] == "Upstream: http://127.0.0.1:5/v1/chat/completions (no API key)"


def test_the_key_is_in_none_of_it():
    assert not re.search("sk-test", "\n".join([*lines(), *warnings(OPENAI, ADDRESS)]))
