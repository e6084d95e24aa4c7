from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import any_text, json_values

from chatbridge.protocol.citations import (
    KEYS,
    host,
    hosted,
    is_web,
    nothing_beside,
    read_action,
    read_beside,
    read_messages,
    read_results,
    read_sources,
)

A, B = "https://a.example/one", "https://b.example/two"


def facts(key: str, value: Any) -> list[tuple[Any, ...]]:
    return [(source.url, source.title, source.number) for source in read_sources(key, value)]


# --- the shapes that vendors have


@pytest.mark.parametrize(("key", "value", "found"), [
    ("citations", [A, B], [(A, "", 1), (B, "", 2)]),
    ("citations", A, [(A, "", 1)]),
    ("citations", [{"url": A, "title": "One"}], [(A, "One", 1)]),
    ("search_results", [{"title": "One", "url": A, "date": "2026-01-02"}, {"title": None, "url": B}], [(A, "One", 1), (B, "", 2)]),
    ("search_results", [{"index": 7, "url": A, "title": "One"}], [(A, "One", 7)]),
    ("search_info", {"search_results": [{"index": 3, "url": A, "title": "One"}]}, [(A, "One", 3)]),
    ("web_search", [{"title": "One", "link": A, "refer": "ref_4"}, {"title": "Two", "link": ""}], [(A, "One", 4)]),
    ("references", [{"url": A, "title": "One", "site_name": "A"}], [(A, "One", 1)]),
    ("annotations", [{"type": "url_citation", "url": A, "title": "One", "summary": "x", "site_name": "A"}], [(A, "One", 0)]),
    ("annotations", [{"type": "url_citation", "url_citation": {"url": A, "title": "One", "content": "long"}}], [(A, "One", 0)]),
    ("annotations", [{"type": "url_citation", "url": A, "title": " ", "site_name": "A"}], [(A, "A", 0)]),
    ("annotations", [{"type": "file", "file": {"hash": "x"}}, {"type": "url_citation", "url_citation": {}}, {}], []),
    ("results", {"results": [{"title": "One", "url": A, "content": "x", "score": 0.5}], "images": []}, [(A, "One", 0)]),
    ("results", '[{"index": "2", "url": "https://a.example/one", "title": "One"}]', [(A, "One", 2)]),
    ("tool", '{"results": [{"link": "https://a.example/one"}]}', [(A, "", 0)]),
    ("tool", "[broken", []),
    ("tool", "no source here", []),
])  # fmt: skip
def test_S40_sources_in_every_shape(key, value, found):
    assert facts(key, value) == found


def test_S40_spans_are_taken_as_given_nested_or_flat():
    span = {"start_index": 3, "end_index": 9}
    for entry in ({"url": A, **span}, {"url_citation": {"url": A, **span}}, {"uri": A, "startIndex": 3, "endIndex": 9}):
        (source,) = read_sources("annotations", [entry])
        assert (source.start, source.end) == (3, 9)
    (source,) = read_sources("annotations", [{"url": A, "start_index": True, "end_index": "9"}])
    assert (source.start, source.end) == (-1, -1)


def test_S40_the_words_of_a_mark_are_read_from_annotations_only():
    entry = {"text": "【5†source】", "url": A, "quote": "x"}
    assert [read_sources(key, [entry])[0].mark for key in ("annotations", "results")] == ["【5†source】", ""]
    assert read_sources("annotations", [{**entry, "text": "x" * 1000}])[0].mark == ""


@pytest.mark.parametrize("url", [
    "", "ftp://a.example/", "javascript:alert(1)", "//a.example", "a.example", "https://", "http:///x", "https://[1/", None, 5, [A],
    "https://a.example/\nx", "https://a.example/\x1b[0m", "https://a b/", "https://a.example/" + "x" * 5000, "https://a.example/\ud800",
])  # fmt: skip
def test_S40_only_web_addresses_are_sources(url):
    assert read_sources("citations", [url]) == read_sources("search_results", [{"url": url, "title": "x"}]) == []


def test_S40_a_link_stands_in_for_an_empty_url_and_space_around_it_goes():
    assert facts("web_search", [{"url": "", "link": f" {A}\n"}]) == [(A, "", 1)]


def test_S40_a_title_is_one_line_and_not_endless():
    (source,) = read_sources("search_results", [{"url": A, "title": " a\n\tb " + "c" * 999}])
    assert source.title.startswith("a b c")
    assert len(source.title) <= 300


def test_host():
    assert host("https://user@A.example:443/x") == "a.example"


# --- where they stand


def test_S40_what_stands_beside_the_text_comes_in_a_fixed_order():
    value = {"annotations": [1], "web_search": None, "citations": [A], "choices": [], "references": []}
    assert not nothing_beside(value)
    assert read_beside(value) == [("citations", [A]), ("annotations", [1])]
    assert nothing_beside({"id": "x", "choices": [], "usage": {}, "delta": {}, "message": {}})


def test_S40_messages_of_a_choice_tell_calls_results_and_annotations():
    call = {"type": "web_search", "function": {"name": "search", "arguments": '{"query":"q"}'}}
    choice = {"messages": [
        {"role": "assistant", "content": "", "tool_calls": [call, {"type": "function", "function": {"name": "f"}}, 5]},
        {"role": "tool", "content": "[]"},
        {"role": "assistant", "content": "text", "annotations": [{"url": A}], "tool_calls": 3},
        None,
    ]}  # fmt: skip
    assert read_messages(choice) == [("executed_tools", call), ("tool", "[]"), ("annotations", [{"url": A}])]


@pytest.mark.parametrize(("kind", "found"), [
    ("function", ""), ("Function", ""), ("", ""), (None, ""), (5, ""), ("tool", ""), ("web_search", "web_search"), ("builtin_function", "builtin_function"),
])  # fmt: skip
def test_S40_a_call_of_another_type_is_the_vendors_own(kind, found):
    assert hosted(kind) == found


@pytest.mark.parametrize(("kind", "web"), [
    ("web_search", True), ("search", True), ("builtin_function $web_search", True), ("browser.open", True), ("visit_website", True),
    ("python", False), ("mcp", False), ("file_search", False), ("code_interpreter", False), ("", False),
])  # fmt: skip
def test_S40_what_looks_into_the_web(kind, web):
    assert is_web(kind) == web


@pytest.mark.parametrize(("call", "found"), [
    ({"function": {"results": [1]}}, [1]), ({"results": [2], "function": 5}, [2]), ({"search_results": {"results": []}}, {"results": []}),
    ({"output": "x", "search_results": [3]}, [3]), ({"output": "x"}, "x"), ({"function": {"arguments": "{}"}}, None), ({"results": []}, []),
])  # fmt: skip
def test_S40_results_of_a_call(call, found):
    assert read_results(call) == found


# --- what was searched for


@pytest.mark.parametrize(("arguments", "action"), [
    ('{"query": "a b"}', {"type": "search", "query": "a b"}),
    ({"keyword": " a "}, {"type": "search", "query": "a"}),
    ({"queries": ["a", "b", "a"]}, {"type": "search", "query": "a", "queries": ["a", "b"]}),
    ({"query": "a", "queries": ["a"]}, {"type": "search", "query": "a"}),
    ({"search_query": [{"q": "a"}, {"query": "b"}, {}]}, {"type": "search", "query": "a", "queries": ["a", "b"]}),
    ({"url": A}, {"type": "open_page", "url": A}),
    ({"url": "file:///etc/passwd"}, None), ({"query": ""}, None), ({"query": 5}, None), ({}, None), ("", None), ("{", None), ('"q"', None), (None, None),
])  # fmt: skip
def test_S40_what_was_searched_for(arguments, action):
    assert read_action(arguments) == action


# --- any JSON


@given(st.sampled_from([*KEYS, "results", "tool"]), json_values)
@example("annotations", [{"url_citation": {"url": [], "title": {}}, "index": -1, "start_index": 2**70}])
@example("citations", {"citations": {"results": [A]}})
def test_S40_no_json_breaks_the_reader(key, value):
    for entry in (
        value,
        {"results": value},
        [{"url": A, "title": value, "index": value, "start_index": value, "text": value}],
    ):
        for source in read_sources(key, entry):
            assert host(source.url)
            assert isinstance(source.title, str)
            assert source.number >= 0
    read_action(value)
    read_action({"query": value, "url": value})
    read_results({"function": value})
    read_messages({"messages": value})
    read_messages({"messages": [{"tool_calls": value, "role": value}]})
    read_beside({key: value})


@given(any_text)
def test_S40_no_text_breaks_the_reader(text):
    for key in KEYS:
        read_sources(key, text)
        read_sources(key, [{"url": "https://a.example/" + text, "title": text, "text": text, "refer": text}])
    assert read_action(text) is None
