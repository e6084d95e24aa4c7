"""A SearXNG stand-in and web pages on real sockets: what is asked of them, and what is not."""

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.websearch import Query
from chatbridge.upstream import searxng, webpage
from chatbridge.upstream.searxng import SearXNG
from chatbridge.upstream.webpage import REDIRECTS, SIZE, WebPages

HTML = {"Content-Type": "text/html; charset=utf-8"}


class Host:
    """Answers what :attr:`answer` says: status, headers, body. :attr:`asked` has paths and headers."""

    def __init__(self):
        self.asked = []
        self.answer = lambda path: (200, HTML, b"<title>T</title><p>hello")
        self.go_on = threading.Event()
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                host.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                status, headers, body = host.answer(self.path)
                with suppress(OSError):
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def slow(self, path):
        self.go_on.wait(20)
        return 200, HTML, b""

    def close(self):
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def host():
    host = Host()
    yield host
    host.close()


@pytest.fixture
def reactor():
    from twisted.internet import reactor

    return reactor


def place(url):
    """Any port, for tests."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or 80


def pages(reactor, *public):
    return WebPages(reactor, public=lambda address: address in (public or ("127.0.0.1",)), place=place)


async def refused(fetching):
    with pytest.raises(ApiError) as caught:
        await fetching
    return caught.value.message


# --- pages


@pytest_twisted.ensureDeferred
async def test_a_page(host, reactor):
    assert await pages(reactor).fetch(f"{host.url}/x") == (f"{host.url}/x", "T", ["hello"])
    ((path, headers),) = host.asked
    assert path == "/x"
    assert not {"cookie", "authorization", "referer"} & set(headers)
    assert headers["host"] == f"127.0.0.1:{host.port}"


@pytest_twisted.ensureDeferred
async def test_redirects_are_followed_for_a_while(host, reactor):
    host.answer = lambda path: (302, {"Location": path[:-1]}, b"") if len(path) > 1 else (200, HTML, b"<p>end")
    url, _, lines = await pages(reactor).fetch(f"{host.url}/" + "x" * REDIRECTS)
    assert (url, lines) == (f"{host.url}/", ["end"])
    assert "redirects" in await refused(pages(reactor).fetch(f"{host.url}/" + "x" * (REDIRECTS + 1)))


@pytest_twisted.ensureDeferred
async def test_the_own_network_is_not_asked(host, reactor):
    guarded = WebPages(reactor, place=place)
    for name in ("127.0.0.1", "localhost", "127.1", "[::1]", "[::ffff:127.0.0.1]"):
        assert "not on the public internet" in await refused(guarded.fetch(f"http://{name}:{host.port}/"))
    assert host.asked == []


@pytest_twisted.ensureDeferred
async def test_nor_by_a_redirect(host, reactor):
    for target in (f"http://127.0.0.2:{host.port}/", f"//127.0.0.2:{host.port}/", f"http://localhost:{host.port}/"):
        host.asked.clear()
        host.answer = lambda path, to=target: (302, {"Location": to}, b"")
        public = WebPages(reactor, public=lambda address: address == "127.0.0.1" and not host.asked, place=place)
        assert "not on the public internet" in await refused(public.fetch(f"{host.url}/first"))
        assert [path for path, _ in host.asked] == ["/first"]


@pytest_twisted.ensureDeferred
async def test_only_web_addresses_and_ports(host, reactor):
    for url in (f"{host.url}/", "file:///etc/passwd", "http://user:pw@example.org/", "http://example.org:22/"):
        await refused(WebPages(reactor).fetch(url))
    host.answer = lambda path: (302, {"Location": "file:///etc/passwd"}, b"")
    assert "only http" in await refused(
        WebPages(
            reactor, public=lambda _: True, place=lambda url: place(url) if "127" in url else webpage.page_address(url)
        ).fetch(f"{host.url}/")
    )
    assert len(host.asked) == 1


class Rebinding:
    """A reactor whose names first lead to *first*, and then to *later*."""

    def __init__(self, reactor, first, later):
        self._reactor = reactor
        self._answers = [first]
        self._later = later
        self.nameResolver = self
        self.asked = 0

    def resolveHostName(self, receiver, name, *_arguments, **_more):
        self.asked += 1
        receiver.resolutionBegan(None)
        for address in self._answers.pop(0) if self._answers else self._later:
            receiver.addressResolved(IPv4Address("TCP", address, 0))
        receiver.resolutionComplete()

    def __getattr__(self, name):
        return getattr(self._reactor, name)


@pytest_twisted.ensureDeferred
async def test_a_name_is_resolved_once(host, reactor):
    rebinding = Rebinding(reactor, ["127.0.0.1"], ["127.0.0.3"])
    assert (await pages(rebinding).fetch(f"http://rebind.test:{host.port}/"))[2] == ["hello"]
    assert rebinding.asked == 1
    assert host.asked[0][1]["host"] == f"rebind.test:{host.port}"


@pytest_twisted.ensureDeferred
async def test_a_name_with_one_private_address_is_refused(host, reactor):
    rebinding = Rebinding(reactor, ["127.0.0.1", "10.0.0.1"], [])
    assert "not on the public" in await refused(pages(rebinding).fetch(f"http://rebind.test:{host.port}/"))
    assert "not known" in await refused(pages(rebinding).fetch(f"http://rebind.test:{host.port}/"))
    assert host.asked == []


@pytest_twisted.ensureDeferred
async def test_what_is_no_page(host, reactor):
    for answer, word in [
        ((404, HTML, b"no"), "404"),
        ((200, {"Content-Type": "image/png"}, b"x"), "image/png"),
        ((200, {**HTML, "Content-Encoding": "gzip"}, b"x"), "compressed"),
        ((302, {}, b""), "302"),
    ]:
        host.answer = lambda path, answer=answer: answer
        assert word in await refused(pages(reactor).fetch(host.url + "/"))


@pytest_twisted.ensureDeferred
async def test_only_so_much_is_read(host, reactor):
    host.answer = lambda path: (200, {"Content-Type": "text/plain"}, b"x" * 99 + b"\n" + b"y" * (3 * SIZE))
    _, _, lines = await pages(reactor).fetch(host.url + "/")
    assert sum(map(len, lines)) <= SIZE


@pytest_twisted.ensureDeferred
async def test_a_slow_page(host, reactor, monkeypatch):
    monkeypatch.setattr(webpage, "PATIENCE", 0.2)
    host.answer = host.slow
    assert "longer than" in await refused(pages(reactor).fetch(host.url + "/"))


# --- SearXNG


def results(*urls):
    found = [{"url": url, "title": f"title of {url}", "content": "snippet", "engine": "x"} for url in urls]
    return 200, {"Content-Type": "application/json"}, json.dumps({"query": "x", "results": found}).encode()


@pytest_twisted.ensureDeferred
async def test_what_searxng_is_asked(host, reactor):
    host.answer = lambda path: results("https://twisted.org/a", "https://other.org/", "https://docs.twisted.org/")
    found = await SearXNG(host.url + "/", reactor).search(Query("a & b", ("twisted.org",), 7), 8)
    assert [result.url for result in found] == ["https://twisted.org/a", "https://docs.twisted.org/"]
    ((path, headers),) = host.asked
    assert urlsplit(path).path == "/search"
    assert parse_qs(urlsplit(path).query) == {
        "q": ["a & b site:twisted.org"],
        "format": ["json"],
        "time_range": ["month"],
    }
    assert not {"cookie", "authorization", "referer"} & set(headers)


@pytest_twisted.ensureDeferred
async def test_ages(host, reactor):
    host.answer = lambda path: results()
    for days, age in [(0, None), (1, "day"), (2, "month"), (31, "month"), (365, "year"), (366, None)]:
        await SearXNG(host.url, reactor).search(Query("q", (), days), 8)
        assert parse_qs(urlsplit(host.asked[-1][0]).query).get("time_range", [None]) == [age]


@pytest_twisted.ensureDeferred
async def test_results_are_bounded_and_of_the_web(host, reactor):
    urls = [
        "https://a.org/",
        "https://a.org/",
        "javascript:alert(1)",
        "http://[bad",
        "",
        *(f"https://b.org/{n}" for n in range(9)),
    ]
    host.answer = lambda path: results(*urls)
    found = await SearXNG(host.url, reactor).search(Query("q"), 5)
    assert len(found) == 5
    assert {result.url[:14] for result in found} <= {"https://a.org/", "https://b.org/", "http://[bad"}


@pytest_twisted.ensureDeferred
async def test_what_searxng_may_answer(host, reactor):
    for answer, word in [
        ((403, HTML, b"Forbidden"), "search.formats"),
        ((429, HTML, b""), "limiter"),
        ((500, HTML, b""), "500"),
        ((200, HTML, b"<html>"), "JSON"),
    ]:
        host.answer = lambda path, answer=answer: answer
        assert word in await refused(SearXNG(host.url, reactor).search(Query("q"), 5))
    for body in (b"[]", b'{"results": 7}', b'{"results": [7, {}, {"url": 7}]}'):
        host.answer = lambda path, body=body: (200, {}, body)
        assert await SearXNG(host.url, reactor).search(Query("q"), 5) == []


@pytest_twisted.ensureDeferred
async def test_a_searxng_that_is_slow_or_gone(host, reactor, monkeypatch):
    monkeypatch.setattr(searxng, "PATIENCE", 0.2)
    host.answer = host.slow
    assert "longer than" in await refused(SearXNG(host.url, reactor).search(Query("q"), 5))
    monkeypatch.undo()
    assert "cannot be reached" in await refused(SearXNG("http://127.0.0.1:1", reactor).search(Query("q"), 5))
