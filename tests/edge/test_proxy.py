import pytest
from twisted.python.usage import UsageError

from chatbridge.service.options import Options
from chatbridge.service.proxy import Proxy, ProxyURLError, proxy_from, read_proxy


@pytest.mark.parametrize(
    ("url", "name", "tls"),
    [
        ("http://proxy.example.org:3128", "proxy.example.org:3128", False),
        ("proxy:3128", "proxy:3128", False),
        ("https://proxy.example.org/", "proxy.example.org:443", True),
        ("http://[::1]:8080", "[::1]:8080", False),
        ("http://proxy", "proxy:80", False),
    ],
)
def test_addresses(url, name, tls):
    found = read_proxy(url)
    assert (found.name, found.tls, bool(found.authorization)) == (name, tls, False)


def test_none_is_a_word():
    assert read_proxy("none") is read_proxy(" None ") is None


def test_a_password_becomes_a_header_and_is_shown_nowhere():
    found = read_proxy("http://ann:se%3Acret@proxy:1")
    assert found.authorization.reveal() == "Basic YW5uOnNlOmNyZXQ="
    assert "YW5u" not in repr(found)
    assert "ann" not in found.name


@pytest.mark.parametrize("url", [
    "socks5://proxy:1", "http://", "http://a b", "http://proxy:port", "http://proxy:1/path", "http://proxy?x=secret", "http://přoxy",
])  # fmt: skip
def test_what_is_no_proxy(url):
    with pytest.raises(ProxyURLError) as caught:
        read_proxy(url.replace("//", "//user:secret@"))
    assert "secret" not in str(caught.value)


ENV = {
    "HTTPS_PROXY": "http://secure:1",
    "HTTP_PROXY": "http://plain:1",
    "NO_PROXY": "localhost,.internal.example,10.0.0.0/8,api.example.org",
}


@pytest.mark.parametrize(
    ("url", "environ", "host"),
    [
        ("https://api.example.com/v1", ENV, "secure"),
        ("http://api.example.com/v1", ENV, "plain"),
        ("https://api.example.com/v1", ENV | {"https_proxy": "http://lower:1"}, "lower"),
        ("https://api.example.com/v1", {"ALL_PROXY": "all:1"}, "all"),
        ("https://api.example.com/v1", {"HTTPS_PROXY": " ", "ALL_PROXY": "all:1"}, "all"),
        ("https://api.example.org/v1", ENV, None),
        ("https://x.internal.example/v1", ENV, None),
        ("http://10.1.2.3:80/v1", ENV, None),
        ("http://11.1.2.3:80/v1", ENV, "plain"),
        ("https://a.example/v1", ENV | {"NO_PROXY": "a.example:443"}, None),
        ("https://a.example/v1", ENV | {"NO_PROXY": "a.example:80"}, "secure"),
        ("http://[fd00::1]:8080/v1", ENV | {"NO_PROXY": "[fd00::1]:8080"}, None),
        ("http://[fd00::1]:8080/v1", ENV | {"NO_PROXY": "fd00::/8"}, None),
        ("https://api.example.com/v1", ENV | {"no_proxy": "*"}, None),
        ("https://api.example.com/v1", ENV | {"HTTPS_PROXY": "none"}, None),
        ("https://api.example.com/v1", {}, None),
        # A proxy elsewhere cannot reach this machine's loopback; one on this machine can.
        ("http://127.0.0.1:11434/v1", {"HTTP_PROXY": "http://plain:1"}, None),
        ("http://localhost:11434/v1", {"HTTP_PROXY": "http://127.0.0.1:1"}, "127.0.0.1"),
        ("http://localhost:11434/v1", {"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "localhost"}, None),
    ],
)
def test_the_environment(url, environ, host):
    name, found = proxy_from(environ, url)
    assert (found.host if found else None) == host
    assert bool(name) == (found is not None)


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0")


def settings(*arguments, **environ):
    options = Options()
    options.parseOptions(arguments)
    return options.settings({"OPENAI_API_KEY": "sk-0", **environ})


def test_an_option_goes_before_the_environment():
    assert settings(HTTPS_PROXY="http://env:1").proxy == Proxy(host="env", port=1)
    assert settings("--proxy", "http://own:2", HTTPS_PROXY="http://env:1").proxy == Proxy(host="own", port=2)
    assert settings("--proxy", "none", HTTPS_PROXY="http://env:1").proxy is None
    assert settings("--practice", HTTP_PROXY="http://127.0.0.1:1").proxy is None


def test_what_is_wrong_is_told_without_the_address(monkeypatch):
    with pytest.raises(UsageError, match=r"^--proxy: ") as caught:
        settings("--proxy", "socks5://ann:word@proxy")
    assert "word" not in str(caught.value)
    with pytest.raises(UsageError, match=r"^HTTPS_PROXY: a proxy of the kind 'socks5' is not known") as caught:
        settings(HTTPS_PROXY="socks5://ann:word@proxy")
    assert "word" not in str(caught.value)


def test_a_ca_file_is_read_at_start(tmp_path):
    with pytest.raises(UsageError, match=r"--ca-file: .*No such file"):
        settings("--ca-file", str(tmp_path / "none"))
    (tmp_path / "bad.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for name in ("bad.pem", "."):
        with pytest.raises(UsageError, match="--ca-file: "):
            settings("--ca-file", str(tmp_path / name))
