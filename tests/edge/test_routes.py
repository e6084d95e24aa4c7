import json

import pytest
from memory_bridge import FakeClient
from memory_http import Connection, request
from twisted.internet.testing import MemoryReactorClock
from twisted.python.usage import UsageError

from chatbridge.service.options import Options
from chatbridge.service.routes import Route, Routes
from chatbridge.service.secret import Secret
from chatbridge.service.settings import Settings
from chatbridge.web.answers import Answers
from chatbridge.web.bridge import Bridge
from chatbridge.web.bridges import Bridges
from chatbridge.web.intake import Intake
from chatbridge.web.models import Models
from chatbridge.web.responses import ResponsesResource
from chatbridge.web.root import build_site

# --- the rule

ROUTES = Routes(
    (
        Route(upstream="b", model="gpt-*", send_model="big"),
        Route(upstream="b", path="team"),
        Route(upstream="a", path="b", model="small"),
        Route(upstream="c", host="*.example.org", model="x"),
    ),
    "a",
    frozenset("abc"),
)


@pytest.mark.parametrize(
    ("asked", "upstream"),
    [
        ({"model": "other"}, "a"),
        ({"model": "GPT-5"}, "b"),
        ({"model": "gpt-5", "path": "c"}, "c"),  # the path is the clearer word
        ({"model": "other", "path": "team"}, "b"),
        ({"model": "other", "path": "b"}, "b"),
        ({"model": "small", "path": "b"}, "a"),
        ({"model": "x", "host": "A.example.org"}, "c"),
        ({"model": "x", "host": "example.com"}, "a"),
        ({"model": ""}, "a"),
    ],
)
def test_find(asked, upstream):
    assert ROUTES.find(**asked).upstream == upstream


def test_paths():
    assert ROUTES.paths == {"a", "b", "c", "team"}


# --- the file

KEYS = {"OPENAI_API_KEY": "sk-0", "DEEPSEEK_API_KEY": "sk-1", "OTHER": "sk-2"}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)

    def settings(text, *arguments):
        file = tmp_path / "c.toml"
        file.write_text(text)
        options = Options()
        options.parseOptions(["--config", str(file), *arguments])
        return options.settings(KEYS)

    return settings


TWO = """\
idle_timeout = 7
drain_seconds = 3

[upstreams.deep]
upstream = "deepseek"
headers = {X-Team = "red"}

[upstreams.local]
upstream_url = "http://127.0.0.1:9/v1"
no_api_key = true
profile = "mistral"
forward_header = ["X-Session"]
idle_timeout = 5

[[routes]]
model = "mistral-*"
upstream = "local"
send_model = "tiny"
drop_tools = ["web_search"]
drop_fields = ["user"]
"""


def test_upstreams_and_routes_from_a_file(settings):
    found = settings(TWO)
    deep, local = found.upstreams
    assert deep.upstream_url.startswith("https://api.deepseek.com/")
    assert deep.api_key == Secret("sk-1")
    assert deep.profile.name == "deepseek"
    assert deep.profile.headers["x-team"] == "red"
    assert (local.upstream_url, local.api_key) == ("http://127.0.0.1:9/v1/chat/completions", Secret(""))
    assert (local.profile.name, local.forward_headers, local.idle_timeout) == ("mistral", ("x-session",), 5.0)
    # What is about an upstream is not shared; what is about the daemon is.
    assert deep.idle_timeout == 300.0
    assert found.drain_seconds == 3.0
    assert found.name == "deep"
    assert found.routes.routes == (
        Route(
            upstream="local", model="mistral-*", send_model="tiny", drop_tools=("web_search",), drop_fields=("user",)
        ),
    )


def test_headers_from_variables(settings, monkeypatch):
    text = "[upstreams.a]\npractice = true\nheaders = {X-A = '1'}\nheaders_env = {X-B = 'OTHER'}\n"
    found = settings(text).profile.headers
    assert (found["x-a"], found["x-b"]) == ("1", "sk-2")


def test_which_upstream_is_the_default(settings):
    assert settings(TWO).routes.default == "deep"
    assert settings(TWO, "--upstream", "local").routes.default == "local"
    found = settings(TWO, "--upstream-url", "http://127.0.0.1:1/v1")
    assert (found.routes.default, found.api_key, found.idle_timeout) == ("default", Secret("sk-0"), 7.0)
    assert found.routes.names == {"default", "deep", "local"}
    assert settings(TWO, "--upstream", "groq", "--api-key-env", "OTHER").upstreams[0].profile.name == "groq"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("port = 1\n[upstreams.a]\nurl = 'x'\n", 3, "there is no option 'url'"),
        ("[upstreams.a]\npractice = true\n[upstreams.b]\npractice = 1\n", 4, "practice: must be true or false"),
        ("[upstreams.a]\npractice = true\n\n[upstreams.b]\nupstream = 'opnai'\n", 5, "no vendor profile 'opnai'"),
        ("[upstreams.a]\napi_key_env = 'NONE_HERE'\n", 2, "api_key_env: missing or empty env var: NONE_HERE"),
        ("[upstreams.a]\npractice = true\nheaders = {Host = 'x'}\n", 3, "'Host' is not the name of a header"),
        ("[upstreams.a]\npractice = true\nforward_header = ['Authorization']\n", 3, "'Authorization' is not the name"),
        ("[upstreams.'a b']\npractice = true\n", 1, "an upstream's name has letters"),
        ("upstreams = 1\n", 1, "upstreams must be tables"),
        ("practice = true\nroutes = [1]\n", 2, "routes must be tables"),
        ("practice = true\n[[routes]]\nmodel = 'a'\n[[routes]]\nmodell = 'b'\n", 5, "did you mean 'model'?"),
        ("practice = true\n[[routes]]\nupstream = 'x'\nmodel = 'a'\n", 3, "there is no [upstreams.x]"),
        ("practice = true\n[[routes]]\nsend_model = 'a'\n", 2, "a route needs one of model, path and host"),
        ("practice = true\n[[routes]]\npath = 'v1'\n", 3, "path: one word"),
        ("practice = true\n[[routes]]\npath = 'a/b'\n", 3, "path: one word"),
        ("practice = true\n[[routes]]\nmodel = 'a'\nfallback = ['defualt']\n", 4, "did you mean 'default'?"),
        ("practice = true\n[[routes]]\nmodel = 'a'\nfallback = [{modle = 'b'}]\n", 4, "did you mean 'model'?"),
        ("practice = true\n[[routes]]\nmodel = 'a'\nfallback = [{model = ''}]\n", 4, "model: must be a name"),
        ("practice = true\n[[routes]]\nmodel = 'a'\nfallback = [{}]\n", 4, "a step needs an upstream or a model"),
        ("practice = true\n[[routes]]\nmodel = 'a'\nfallback = 'b'\n", 4, "must be an array of upstreams"),
        ("practice = true\n[[routes]]\nmodel = 'a'\n[[routes.fallback]]\nmodell = 'b'\n", 4, "did you mean 'model'?"),
        ("practice = true\n[[routes]]\nmodel = 'a'\nforward_header = ['Cookie']\n", 4, "'Cookie' is not the name"),
        ("[upstreams.a]\npractice = true\n[upstreams.b]\npractice = true\nretrys = 3\n", 5, "did you mean 'retries'?"),
        ("[upstreams.a]\npractice = true\n[upstreams.b]\npractice = true\nretries = -1\n", 5, "not a whole number"),
        ("[upstreams.a]\npractice = true\n\nheaders_env = {X-B = 'NONE'}\n", 4, "X-B: missing or empty env var: NONE"),
        ("[upstreams.a]\npractice = true\nheaders_env = {Host = 'OTHER'}\n", 3, "'Host' is not the name of a header"),
        ("[upstreams.a]\npractice = true\ntotal_timeout = 0\n", 3, "not a number of seconds above 0"),
        (
            "[upstreams.a]\nupstream_url = 'http://127.0.0.1/v1'\nno_api_key = true\nproxy = 'ftp://u:pw@x'\n",
            4,
            "the kind 'ftp'",
        ),
        ("[upstreams.a]\npractice = true\nca_file = '/none/ca.pem'\n", 3, "ca_file: /none/ca.pem: No such file"),
        ("practice = true\n[upstreams.default]\npractice = true\n", 2, "has this name already"),
        ("practice = true\n[upstream.default]\npractice = true\n", 2, "upstream: must be a string or a number"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(settings, tmp_path, text, line, said):
    with pytest.raises(UsageError) as caught:
        settings(text)
    assert str(caught.value).startswith(f"{tmp_path}/c.toml:{line}: ")
    assert said in str(caught.value)


# --- over HTTP


class Two:
    """A site with two upstreams."""

    def __init__(self, *routes):
        self.clock = MemoryReactorClock()
        self.clients = {"a": FakeClient(), "b": FakeClient()}
        table = Routes(routes, "a", frozenset("ab"))
        both = [Settings(name=name, practice=True, routes=table) for name in "ab"]
        answers = Answers()
        bridges = {one.name: Bridge(self.clients[one.name], answers, one, self.clock) for one in both}
        self.site = build_site(
            both[0],
            responses=ResponsesResource(Intake(Bridges(bridges, table), None)),
            models=Models(Bridges(bridges, table)),
            running=lambda: 0,
            stop=lambda: None,
            reactor=self.clock,
        )

    def ask(self, path="/v1/responses", **fields):
        connection = Connection(self.site)
        body = json.dumps({"model": "m", "input": "hi", "stream": True} | fields).encode()
        connection.send(request("POST", path, "Content-Type: application/json", body=body))
        return connection

    @property
    def bodies(self):
        return {name: client.bodies for name, client in self.clients.items()}


def test_by_model_with_another_name_upstream():
    two = Two(Route(upstream="b", model="gpt-*", send_model="big"))
    two.ask()
    connection = two.ask(model="gpt-5")
    assert [body["model"] for body in two.bodies["a"]] == ["m"]
    assert [body["model"] for body in two.bodies["b"]] == ["big"]
    two.clock.advance(3)
    assert b'"model":"gpt-5"' in connection.raw  # the client sees the name that it knows
    assert b'"big"' not in connection.raw


@pytest.mark.parametrize("path", ["/b/v1/responses", "/b/responses", "/team/v1/responses/"])
def test_by_path(path):
    two = Two(Route(upstream="b", path="team"))
    two.ask(path)
    assert (len(two.bodies["a"]), len(two.bodies["b"])) == (0, 1)


@pytest.mark.parametrize("path", ["/c/v1/responses", "/b/b/v1/responses", "/b", "/b/", "//v1/responses"])
def test_paths_that_are_none(path):
    assert Two().ask(path).answer().status == 404


def test_by_host():
    two = Two(Route(upstream="b", host="b.localhost"))
    body = json.dumps({"model": "m", "input": "hi"}).encode()
    connection = Connection(two.site)
    connection.send(
        request("POST", "/v1/responses", "Content-Type: application/json", body=body, host="b.localhost:8787")
    )
    assert len(two.bodies["b"]) == 1


def test_dropped_tools_and_fields():
    two = Two(Route(upstream="b", model="m", drop_tools=("function",), drop_fields=("temperature",)))
    function = {"type": "function", "name": "f", "parameters": {}}
    custom = {"type": "custom", "name": "c"}
    two.ask(tools=[function, custom], temperature=0.5)
    (body,) = two.bodies["b"]
    assert "temperature" not in body
    assert len(body["tools"]) == 1
    assert body["tools"][0]["function"]["name"] == "c"
