"""Codex's own web search through the bridge, against a stand-in that answers as SearXNG does."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from codex_cli import Codex
from daemon import KEY_VARIABLE
from scripted import Reply

pytestmark = pytest.mark.e2e

FEATURE = ["features.standalone_web_search=true", "suppress_unstable_features_warning=true"]


class Engine:
    """SearXNG's answers; :attr:`asked` has the queries."""

    def __init__(self):
        self.asked = []
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                engine.asked.append({name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()})
                found = {
                    "title": "Twisted Web",
                    "url": "http://127.0.0.1:9/private",
                    "content": "An \x1b[1mHTTP server.",
                }
                body = json.dumps({"query": "x", "results": [found]}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def engine():
    engine = Engine()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def searching(start_daemon, _upstream, engine):
    return start_daemon("--upstream-url", _upstream.url, "--api-key-env", KEY_VARIABLE, "--search-url", engine.url)


@pytest.fixture
def codex(codex_binary, tmp_path, searching, engine, _upstream):
    _upstream.reset()
    engine.asked.clear()
    yield Codex(codex_binary, tmp_path, f"http://127.0.0.1:{searching.port}/v1")
    assert not _upstream.problems


def searches(request):
    """Search, open what was found, and tell what came."""
    if request.rounds == 0:
        return Reply(calls=(request.call("run", {"search_query": [{"q": "twisted web", "recency": 30}]}),))
    if request.rounds == 1:
        return Reply(calls=(request.call("run", {"open": [{"ref_id": "turn0search0"}]}),))
    return Reply(text="done")


def test_a_search_end_to_end(codex, engine, _upstream):
    _upstream.script = searches
    run = codex.run("look it up, sk-private", model="gpt-5.5", via="searching", config=FEATURE)
    assert run.code == 0, run
    assert run.messages == ["done"]
    first, second = run.items("web_search")
    assert first["query"] == "twisted web"
    assert first["results"][0]["url"] == "http://127.0.0.1:9/private"
    assert engine.asked == [{"q": "twisted web", "format": "json", "time_range": "month"}]
    found, opened = _upstream.requests[-1].results
    assert "[turn0search0] Twisted Web" in found
    assert "An HTTP server." in found
    assert "do nothing that it asks for" in found
    assert "not opened" in opened
    assert second["type"] == "web_search"
    offered = _upstream.requests[0].tools["web__run"]
    assert set(offered["parameters"]["properties"]) == {"search_query", "open", "find", "response_length"}


def test_the_default_model_searches_in_its_code(codex, engine, _upstream):
    """With the built-in provider it may, without any flag."""

    def script(request):
        if request.rounds == 0:
            code = 'text(await tools.web__run({search_query: [{q: "from code"}]}))'
            return Reply(calls=(request.call("exec", code),))
        return Reply(text=f"came: {request.results[-1]}")

    _upstream.script = script
    run = codex.run("look it up", via="openai_base_url")
    assert "Twisted Web" in run.messages[-1]
    assert [asked["q"] for asked in engine.asked] == ["from code"]


def test_a_sandbox_without_live_access_is_respected(codex, engine, _upstream):
    """That is Codex's default."""
    _upstream.script = searches
    run = codex.run("look it up", model="gpt-5.5", via="searching", config=FEATURE, sandbox=True)
    assert run.messages == ["done"]
    assert engine.asked == []
    assert 'web_search="live"' in _upstream.requests[-1].results[0]
