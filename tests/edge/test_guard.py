"""Host and Origin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.http_headers import Headers

from chatbridge.protocol.errors import ApiError
from chatbridge.service.settings import Settings
from chatbridge.web.guard import Guard, bound_address, host_name, is_loopback, preflight_headers

ORIGIN = b"https://app.example.test"


def headers(**values):
    names = {name.replace("_", "-").encode(): value for name, value in values.items()}
    return Headers({name: value if isinstance(value, list) else [value] for name, value in names.items()})


def refused(guard, *, version=b"HTTP/1.1", **values):
    with pytest.raises(ApiError) as caught:
        guard.admit(headers(**values), version)
    return caught.value.status, caught.value.code


@pytest.mark.parametrize(
    "host",
    [
        b"localhost",
        b"LOCALHOST:8787",
        b"localhost.",
        b"a.localhost:1",
        b"127.0.0.1",
        b"127.0.0.1:8787",
        b"127.9.8.7:1",
        b"[::1]",
        b"[::1]:8787",
        b"[0:0:0:0:0:0:0:1]:8787",
        b"[::ffff:127.0.0.1]",
    ],
)
def test_loopback_hosts_are_admitted(host):
    assert Guard().admit(headers(host=host), b"HTTP/1.1") is None


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b" ",
        b"evil.example.test",
        b"localhost.evil.example.test",
        b"notlocalhost",
        b"127.0.0.1.evil.example.test",
        b"127.1",
        b"2130706433",
        b"0x7f000001",
        b"0.0.0.0",
        b"[::]",
        b"192.0.2.1:8787",
        b"10.0.0.1",
        b"[2001:db8::1]",
        b"[::1",
        b"::1]",
        b"localhost:80:80",
        b"localhost:x",
        b"user@localhost",
        b"localhost/x",
        b"localhost, evil",
        b"local host",
        b"\xff\xfe",
    ],
)
def test_other_hosts_are_refused(host):
    assert refused(Guard(), host=host) == (403, "host_not_allowed")


def test_no_host():
    assert refused(Guard()) == (400, "bad_host")
    assert Guard().admit(headers(), b"HTTP/1.0") is None


def test_http_1_0_with_a_host_is_checked():
    assert refused(Guard(), version=b"HTTP/1.0", host=b"evil.example.test") == (403, "host_not_allowed")


def test_two_hosts():
    assert refused(Guard(), host=[b"localhost", b"localhost"]) == (400, "bad_host")


@pytest.mark.parametrize(
    ("allowed", "host"),
    [
        ("Bridge.example.test", b"bridge.EXAMPLE.test:80"),
        ("bridge.example.test:9000", b"bridge.example.test:9000"),
        ("bridge.example.test:9000", b"bridge.example.test"),
        ("192.0.2.7", b"192.0.2.7:8787"),
        ("2001:DB8::1", b"[2001:db8:0::1]:8787"),
        ("[2001:db8::1]:8787", b"[2001:db8::1]"),
    ],
)
def test_allowed_hosts(allowed, host):
    guard = Guard.of(Settings(allow_hosts=(allowed,)))
    assert guard.admit(headers(host=host), b"HTTP/1.1") is None
    assert refused(guard, host=b"x" + host)[0] == 403
    assert refused(Guard(), host=host)[0] == 403


def test_empty_allow_host_allows_nothing():
    assert refused(Guard.of(Settings(allow_hosts=("", " ", ":80"))), host=b"") == (403, "host_not_allowed")


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("tcp:0:interface=127.0.0.1", "127.0.0.1"),
        ("tcp:8787:interface=192.0.2.1", "192.0.2.1"),
        ("tcp:port=8787:interface=192.0.2.1:backlog=5", "192.0.2.1"),
        ("tcp:8787:192.0.2.1", "192.0.2.1"),
        ("tcp:8787:192.0.2.1:50", "192.0.2.1"),
        (r"tcp6:8787:interface=\:\:1", "::1"),
        (r"tcp6:8787:interface=2001\:db8\:\:1", "2001:db8::1"),
        ("ssl:8787:interface=192.0.2.1:privateKey=/k", "192.0.2.1"),
        ("tcp:8787", None),
        ("tcp:8787:interface=", None),
        ("tcp:8787:interface=0.0.0.0", None),
        (r"tcp6:8787:interface=\:\:", None),
        ("unix:/run/chatbridge.sock", None),
        ("systemd:domain=INET:index=0", None),
    ],
)
def test_bound_address(listen, address):
    assert bound_address(listen) == address


def test_bound_address_is_a_host():
    guard = Guard.of(Settings(listen="tcp:8787:interface=192.0.2.1"))
    assert guard.admit(headers(host=b"192.0.2.1:8787"), b"HTTP/1.1") is None
    assert refused(guard, host=b"192.0.2.2:8787")[0] == 403
    assert refused(Guard.of(Settings(listen="tcp:8787:interface=0.0.0.0")), host=b"0.0.0.0:8787")[0] == 403


@pytest.mark.parametrize("origin", [b"https://evil.example.test", b"null", b"", b"http://localhost:8787", b"\xff"])
def test_origins_are_refused(origin):
    for guard in (Guard(), Guard.of(Settings(allow_origins=(ORIGIN.decode(),)))):
        assert refused(guard, host=b"localhost", origin=origin) == (403, "origin_not_allowed")


@pytest.mark.parametrize(
    "spelling", ["https://app.example.test", "HTTPS://App.Example.test/", " https://app.example.test "]
)
def test_allowed_origin(spelling):
    guard = Guard.of(Settings(allow_origins=("https://other.example.test", spelling)))
    assert guard.admit(headers(host=b"localhost", origin=ORIGIN), b"HTTP/1.1") == ORIGIN
    assert refused(guard, host=b"localhost", origin=ORIGIN + b":444") == (403, "origin_not_allowed")
    assert refused(guard, host=b"localhost", origin=[ORIGIN, ORIGIN]) == (403, "origin_not_allowed")


def test_allowed_origin_does_not_excuse_the_host():
    guard = Guard.of(Settings(allow_origins=(ORIGIN.decode(),)))
    assert refused(guard, host=b"evil.example.test", origin=ORIGIN) == (403, "host_not_allowed")


@pytest.mark.parametrize("site", [b"cross-site", b"same-site"])
def test_pages_without_an_origin_header_are_refused(site):
    assert refused(Guard(), host=b"localhost", sec_fetch_site=site) == (403, "origin_not_allowed")


@pytest.mark.parametrize("site", [b"none", b"same-origin"])
def test_address_typed_into_a_browser_is_admitted(site):
    assert Guard().admit(headers(host=b"localhost", sec_fetch_site=site), b"HTTP/1.1") is None


def test_allowed_origin_is_cross_site():
    guard = Guard.of(Settings(allow_origins=(ORIGIN.decode(),)))
    admitted = guard.admit(headers(host=b"localhost", origin=ORIGIN, sec_fetch_site=b"cross-site"), b"HTTP/1.1")
    assert admitted == ORIGIN


def test_preflight_names_legal_headers_only():
    answer = preflight_headers(
        headers(
            access_control_request_method=b"POST",
            access_control_request_headers=b"X-Stainless-Lang, content-type,bad name,\xff,,x\x00y",
        )
    )
    assert answer[b"access-control-allow-headers"] == b"authorization, content-type, x-stainless-lang"
    assert answer[b"access-control-allow-methods"] == b"GET, POST"
    assert b"access-control-allow-private-network" not in answer


def test_preflight_for_a_private_network():
    asked = headers(access_control_request_method=b"POST", access_control_request_private_network=b"true")
    assert preflight_headers(asked)[b"access-control-allow-private-network"] == b"true"


def test_plain_options_is_no_preflight():
    assert preflight_headers(headers(origin=ORIGIN)) is None


@given(st.text(max_size=40))
def test_any_host_gives_a_name_or_none(host):
    name = host_name(host)
    if name is not None:
        assert host_name(f"[{name}]" if ":" in name else name) == name
    assert isinstance(is_loopback(name or ""), bool)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_only_api_errors(host, origin):
    try:
        Guard().admit(headers(host=host, origin=origin), b"HTTP/1.1")
    except ApiError as error:
        assert error.status in (400, 403)


@given(st.text(alphabet="tcp6:\\=interface.0x", max_size=40))
def test_bound_address_of_any_text(listen):
    assert bound_address(listen) != ""
