import json

from memory_http import Server, request

ASK = {"id": "t", "model": "m", "input": [], "commands": {"search_query": [{"q": "twisted"}]}}


def ask(body, path="/v1/alpha/search"):
    return Server().ask(request("POST", path, "Content-Type: application/json", body=body))


def test_a_search_is_answered_without_a_search_engine():
    answer = ask(json.dumps(ASK).encode())
    assert answer.status == 200
    assert set(answer.json) == {"output", "results"}
    assert "not available" in answer.json["output"]
    assert answer.json["results"] == []
    assert ask(json.dumps(ASK).encode(), "/alpha/search").body == answer.body


def test_what_is_no_json_is_a_400():
    assert ask(b"{").status == 400
