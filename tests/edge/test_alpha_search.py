"""POST /v1/alpha/search, with a search engine of the test's own."""

import json

import pytest
from memory_bridge import Bridge
from memory_http import Server, failures, logged, request
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.websearch import BEGIN, END, TOOL, Query, Result
from chatbridge.web.access import digest
from chatbridge.web.search import FRESH_SECONDS, PER_MINUTE, UNAVAILABLE, WebSearch

ASK = {"id": "t", "model": "m", "input": [], "commands": {"search_query": [{"q": "twisted"}]}}
PATH = "/v1/alpha/search"


def ask(body, path=PATH, *headers, server=None):
    return (server or Server()).ask(request("POST", path, "Content-Type: application/json", *headers, body=body))


# --- without a search engine


def test_a_search_is_answered_without_a_search_engine():
    answer = ask(json.dumps(ASK).encode())
    assert answer.status == 200
    assert answer.json == {"output": UNAVAILABLE, "results": []}
    assert ask(json.dumps(ASK).encode(), "/alpha/search").body == answer.body


def test_what_is_no_json_is_a_400():
    assert ask(b"{").status == 400


# --- with one


class Engine:
    def __init__(self):
        self.asked = []
        self.answer = [
            Result("Twisted", "https://twisted.org/docs#top", "An engine."),
            Result("B", "https://b.org/", ""),
        ]

    def search(self, query, limit):
        self.asked.append((query, limit))
        if isinstance(self.answer, Exception):
            return fail(self.answer)
        return self.answer if isinstance(self.answer, Deferred) else succeed(self.answer[:limit])


class Pages:
    def __init__(self):
        self.asked = []

    def fetch(self, url):
        self.asked.append(url)
        if "bad" in url:
            return fail(ApiError(502, "the host answered 500"))
        return succeed((url, "A title", [f"line {n}" for n in range(1, 1001)]))


class Searching:
    """A server that searches; *say* asks it."""

    def __init__(self, opens="results", cached=False, **settings):
        self.engine, self.pages, self.clock = Engine(), Pages(), Clock()
        search = WebSearch(self.engine, self.pages, self.clock.seconds, opens=opens, cached=cached)
        self.server = Server(web_search=search, **settings)

    def say(self, commands, *headers, thread="t", **more):
        body = {"id": thread, "model": "m", "input": [{"secret": 1}], "commands": commands, **more}
        answer = ask(json.dumps(body).encode(), PATH, *headers, server=self.server)
        assert answer.status == 200
        assert set(answer.json) == {"output", "results"}
        return answer.json


def test_a_search_has_references():
    searching = Searching()
    told = searching.say({"search_query": [{"q": "twisted", "domains": ["twisted.org"], "recency": 3}]})
    assert searching.engine.asked == [(Query("twisted", ("twisted.org",), 3), 6)]
    assert told["results"][0] == {
        "ref_id": "turn0search0", "url": "https://twisted.org/docs#top", "title": "Twisted", "snippet": "An engine.",
    }  # fmt: skip
    output = told["output"]
    assert output.startswith(BEGIN)
    assert output.endswith(END)
    for word in (
        "Search: twisted",
        "[turn0search0] Twisted",
        "https://twisted.org/docs",
        "An engine.",
        "[turn0search1]",
    ):
        assert word in output


def test_several_commands():
    searching = Searching()
    told = searching.say({"search_query": [{"q": "a"}, {"q": "b"}], "finance": [{"x": 1}], "response_length": "short"})
    assert [limit for _, limit in searching.engine.asked] == [5, 5]
    assert [result["ref_id"] for result in told["results"]] == [
        "turn0search0", "turn0search1", "turn0search10", "turn0search11",
    ]  # fmt: skip
    assert "'finance' is not available" in told["output"].partition(END)[2]


def test_nothing_found():
    searching = Searching()
    searching.engine.answer = []
    assert "Nothing was found." in searching.say({"search_query": [{"q": "a"}]})["output"]


def test_a_result_is_opened_by_its_reference():
    searching = Searching()
    searching.say({"search_query": [{"q": "twisted"}]})
    told = searching.say({"open": [{"ref_id": "turn0search0", "lineno": 7}]})
    assert searching.pages.asked == ["https://twisted.org/docs"]
    assert "L7: line 7" in told["output"]
    assert "L6:" not in told["output"]
    assert told["results"][0]["ref_id"] == "turn1view0"
    found = searching.say({"find": [{"ref_id": "turn1view0", "pattern": "LINE 500"}]})["output"]
    assert "L500: line 500" in found
    assert searching.pages.asked == ["https://twisted.org/docs"]  # it was kept


def test_only_what_was_found_is_opened():
    searching = Searching()
    searching.say({"search_query": [{"q": "twisted"}]})
    assert "was not opened" in searching.say({"open": [{"ref_id": "https://other.org/?leak=secret"}]})["output"]
    assert "was not opened" in searching.say({"open": [{"ref_id": "https://b.org/"}]}, thread="other")["output"]
    assert "nothing here is called" in searching.say({"open": [{"ref_id": "turn9search9"}]})["output"]
    assert searching.pages.asked == []
    assert "L1:" in searching.say({"open": [{"ref_id": "https://b.org/#x"}]})["output"]


def test_other_pages_when_the_operator_says_so():
    searching = Searching("any")
    assert "L1:" in searching.say({"open": [{"ref_id": "https://other.org/"}]})["output"]
    assert "nothing here is called" in searching.say({"open": [{"ref_id": "file:///etc/passwd"}]})["output"]
    assert (
        "was not opened: the host answered 500" in searching.say({"open": [{"ref_id": "https://bad.org/"}]})["output"]
    )


def test_no_pages_when_the_operator_says_so():
    searching = Searching("none")
    searching.say({"search_query": [{"q": "twisted"}]})
    assert "pages are not opened here" in searching.say({"open": [{"ref_id": "turn0search0"}]})["output"]


def test_consent():
    off = {"settings": {"external_web_access": False}}
    searching = Searching()
    told = searching.say({"search_query": [{"q": "a"}]}, **off)
    assert told["results"] == []
    assert 'web_search="live"' in told["output"]
    assert searching.engine.asked == []
    assert Searching(cached=True).say({"search_query": [{"q": "a"}]}, **off)["results"]


def test_a_failing_engine_is_told_with_200():
    searching = Searching()
    searching.engine.answer = ApiError(502, "the search engine refuses (403)")
    assert searching.say({"search_query": [{"q": "a"}]})["output"] == "Failed: the search engine refuses (403)."
    searching.engine.answer = RuntimeError("our own")
    with logged() as events:
        assert "log says why" in searching.say({"search_query": [{"q": "b"}]})["output"]
    assert failures(events)


def test_the_same_search_is_asked_once_in_ten_minutes():
    searching = Searching()
    for _ in range(3):
        searching.say({"search_query": [{"q": "a"}]})
    assert len(searching.engine.asked) == 1
    searching.clock.advance(FRESH_SECONDS)
    searching.say({"search_query": [{"q": "a"}]})
    assert len(searching.engine.asked) == 2


def test_so_many_a_minute():
    searching = Searching()
    for number in range(PER_MINUTE):
        searching.say({"search_query": [{"q": str(number)}]})
    assert "searches a minute" in searching.say({"search_query": [{"q": "more"}]})["output"]
    searching.clock.advance(2)
    assert searching.say({"search_query": [{"q": "more"}]})["results"]


def test_an_output_is_bounded():
    searching = Searching("any")
    searching.engine.answer = [Result("x" * 1000, f"https://a.org/{n}", "y" * 5000) for n in range(8)]
    told = searching.say(
        {"search_query": [{"q": "a"}], "open": [{"ref_id": "https://a.org/"}] * 3}, max_output_tokens=1000
    )
    assert len(told["output"]) <= 4000
    assert max(len(result["snippet"]) for result in told["results"]) <= 500
    assert END in told["output"]


def test_clients_do_not_see_each_others_references():
    searching = Searching(client_tokens=(("ann", digest("ann's")), ("bob", digest("bob's"))))
    searching.say({"search_query": [{"q": "a"}]}, "Authorization: Bearer ann's")
    told = searching.say({"open": [{"ref_id": "turn0search0"}]}, "Authorization: Bearer bob's")
    assert "nothing here is called" in told["output"]
    refused = ask(json.dumps(ASK).encode(), server=searching.server)
    assert refused.status == 401


def test_queries_are_not_in_the_log():
    with logged() as events:
        Searching().say({"search_query": [{"q": "something private"}]})
    assert not [event for event in events if "private" in event["text"]]


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:8888"])
def test_the_model_is_offered_what_is_served(url):
    run = {"type": "function", "name": "run", "description": "all", "parameters": {"type": "object", "properties": {}}}
    bridge = Bridge(search_url=url)
    bridge.ask(
        {"model": "m", "input": "x", "stream": True, "tools": [{"type": "namespace", "name": "web", "tools": [run]}]}
    )
    (tool,) = bridge.client.bodies[0]["tools"]
    assert tool["function"]["name"] == "web__run"
    assert tool["function"]["description"] == (TOOL["description"] if url else "all")
