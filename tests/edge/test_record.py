import io
import json
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_bridge import STREAM, Bridge, FakeResponse
from memory_http import Connection, Server, logged, request
from support import sse
from twisted.application.service import Application
from twisted.internet.task import Clock
from twisted.logger import (
    ILogObserver,
    Logger,
    LogLevel,
    LogPublisher,
    eventAsText,
    formatEventAsClassicLogText,
    textFileLogObserver,
)
from twisted.python.failure import Failure

from chatbridge.service.logs import json_line, json_log, observer, text_line, text_log
from chatbridge.service.metrics import LoopLag, Metrics
from chatbridge.service.settings import Settings
from chatbridge.service.tap import Stack
from chatbridge.web.channel import printable
from chatbridge.web.readiness import Readiness
from chatbridge.web.record import Record
from chatbridge.web.root import build_site

USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
ANSWER = sse(
    [
        {"choices": [{"delta": {"content": "secret words"}}]},
        {
            "choices": [
                {"delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}}
            ]
        },
        {"choices": [{"delta": {}, "finish_reason": "tool_calls"}], "usage": USAGE},
    ]
)
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}


def access_events(run):
    with logged() as events:
        run()
    return [event for event in events if "access" in event]


def answered(bridge, body=STREAM, *, answer=ANSWER):
    connection = bridge.ask(body | {"tools": [TOOL]})
    bridge.clock.advance(0.5)
    upstream = bridge.head()
    upstream.send(answer)
    upstream.end()
    return connection


@pytest.mark.parametrize(("text", "mismatch"), [('{"a": 1}', None), ('{"a": "1"}', True)])
def test_an_answer_that_does_not_match_its_schema_is_told(text, mismatch):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    body = STREAM | {"text": {"format": {"type": "json_schema", "name": "n", "schema": schema}}}
    answer = sse([{"choices": [{"delta": {"content": text}, "finish_reason": "stop"}]}])
    (event,) = access_events(lambda: answered(Bridge(), body, answer=answer))
    record = event["access"]
    assert record.facts().get("schema_mismatch") == mismatch
    metrics = Metrics(lambda: 0)
    metrics.observe(record, "/v1/responses", 200, 0.5)
    assert (b'chatbridge_schema_mismatches_total{model="m",upstream="default"} 1.0' in metrics.text()) is bool(mismatch)


def test_a_request_is_one_line_with_what_matters():
    bridge = Bridge()
    (event,) = access_events(lambda: answered(bridge))
    record = event["access"]
    assert record.facts() == {
        "request_id": record.id, "upstream": "default", "model": "m", "upstream_status": 200, "attempts": 1,
        "route": "/v1/responses", "request_bytes": record.request_bytes, "events": record.events, "first_event": 0.5, "input_tokens": 11, "cached_tokens": 4, "output_tokens": 5, "tool_calls": 1,
        "end": "completed",
    }  # fmt: skip
    assert record.id.startswith("req_")
    assert record.request_bytes == len(json.dumps(STREAM | {"tools": [TOOL]}))
    assert record.events > 5
    assert "secret words" not in event["text"]
    assert " model=m " in event["text"]
    assert "\n" not in event["text"]


@pytest.mark.parametrize(("status", "end"), [(429, "rate_limit_exceeded"), (500, "upstream_error")])
def test_a_refusal(status, end):
    bridge = Bridge()

    def run():
        bridge.ask()
        upstream = bridge.head(FakeResponse(status))
        upstream.send(b"{}")
        upstream.end()

    (event,) = access_events(run)
    assert (event["access"].upstream_status, event["access"].end) == (status, end)
    assert event["access"].error == {429: "rate_limit", 500: "unavailable"}[status]


def test_a_client_that_left():
    bridge = Bridge()
    (event,) = access_events(lambda: bridge.ask().lose())
    assert event["access"].end == "client_gone"


def test_a_model_name_cannot_break_the_line():
    bridge = Bridge()
    (event,) = access_events(lambda: answered(bridge, STREAM | {"model": "m\nfake line"}))
    assert "\n" not in event["text"]
    assert json.loads(json_line(event))["model"] == "m\nfake line"
    assert json_line(event).count("\n") == 1


# --- JSON lines


def test_json_lines():
    bridge = Bridge()
    (event,) = access_events(lambda: answered(bridge))
    line = json.loads(json_line(event))
    assert line["logger"].startswith("chatbridge.web.root")
    assert line["level"] == "info"
    assert (line["request"], line["status"], line["upstream"], line["end"]) == (
        "POST /v1/responses", 200, "default", "completed",
    )  # fmt: skip


def test_any_event_is_a_json_line():
    out = io.StringIO()
    publisher = LogPublisher(json_log(out))
    Logger(namespace="x", observer=publisher).warn("caf\u00e9 {what}", what="\u2028\n\ud800")
    first = json.loads(out.getvalue())
    assert (first["level"], first["logger"]) == ("warn", "x")
    assert out.getvalue().count("\n") == 1


def test_half_a_character_in_a_model_name_costs_neither_the_answer_nor_the_log_nor_the_metrics():
    bridge, metrics = Bridge(), Metrics(lambda: 0)
    bridge.site.observe.append(metrics.observe)
    connections = []
    (event,) = access_events(lambda: connections.append(answered(bridge, STREAM | {"model": "m\ud800"})))
    assert connections[0].raw.endswith(b"0\r\n\r\n")
    assert r" model=m\ud800 " in event["text"]
    assert json.loads(json_line(event))["message"] == event["text"]
    assert rb'model="m\\ud800"' in metrics.text()


def test_what_another_event_tells_is_not_its_message():
    events = []
    Logger(namespace="x", observer=events.append).warn("{what}: {told}", what="failed attempt 1", told="no\nanswer")
    assert json.loads(json_line(events[0]))["message"] == "failed attempt 1: no\nanswer"
    assert text_line(events[0]).endswith(" [x#warn] failed attempt 1: no\n\tanswer\n")


MESSAGE = st.text() | st.text("a{}\n", max_size=8)


@given(st.floats(1e9, 2e9).map(lambda it: round(it, 3)), st.sampled_from([*LogLevel.iterconstants()]), MESSAGE)
def test_a_line_is_that_of_twistd(when, level, message):
    lines = io.StringIO(), io.StringIO()
    observe = LogPublisher(text_log(lines[0]), textFileLogObserver(lines[1]))
    more = {"log_time": when, "log_level": level, "log_namespace": "x"}
    observe({"log_format": "{what}", "what": message, **more})
    observe({"log_format": "{told}", "told": printable(message.encode(), 100), "access": Record(), **more})
    observe({"log_format": "{what}: {told}", "what": "failed attempt 1", "told": message, **more})
    observe({"log_format": message})
    observe({"log_failure": Failure(Exception("x")), "log_format": "y", **more})
    observe({})
    assert lines[0].getvalue() == lines[1].getvalue()


def test_a_request_is_the_line_that_twistd_would_make_of_it():
    bridge = Bridge()
    (event,) = access_events(lambda: answered(bridge, STREAM | {"model": "m\nfake line"}))
    line = text_line(event)
    assert line == formatEventAsClassicLogText(event)
    assert json.loads(json_line(event))["message"] == eventAsText(event, includeTimestamp=False, includeSystem=False)


def test_the_log_is_our_own_on_the_standard_output_alone(monkeypatch):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    log = Logger(namespace="x", observer=LogPublisher(observer(Settings(), elsewhere=False)))
    log.info("loud")
    assert sys.stdout.getvalue().endswith(" [x#info] loud\n")
    assert observer(Settings(), elsewhere=True) is None


def test_twistd_takes_the_log_that_the_daemon_brings():
    observer = json_log(io.StringIO())
    application = Application("chatbridge")
    Stack(observer).setServiceParent(application)
    assert application.getComponent(ILogObserver) is observer
    plain = Application("chatbridge")
    Stack().setServiceParent(plain)
    assert plain.getComponent(ILogObserver, None) is None


def test_only_what_is_at_the_level_is_logged(monkeypatch, tmp_path):
    assert observer(Settings()) is None
    monkeypatch.setattr("sys.stdout", io.StringIO())
    path = tmp_path / "log"
    for settings, file in (
        (Settings(log_level="warn", log_format="json"), None),
        (Settings(log_level="warn"), None),
        (Settings(log_level="warn"), str(path)),
    ):
        log = Logger(namespace="x", observer=LogPublisher(observer(settings, file)))
        log.info("quiet")
        log.error("loud")
    out = sys.stdout.getvalue()
    assert (out.count("quiet"), out.count("loud")) == (0, 2)
    assert "[x#error] loud" in path.read_text()
    assert "quiet" not in path.read_text()


# --- metrics


def metrics_of(run, running=0):
    metrics = Metrics(lambda: running, lambda: 2)
    bridge = Bridge()
    bridge.site.observe.append(metrics.observe)
    run(bridge)
    return metrics.text().decode().splitlines()


def test_metrics_of_an_answer():
    lines = metrics_of(answered, running=3)
    assert 'chatbridge_requests_total{path="/v1/responses",status="200"} 1.0' in lines
    assert 'chatbridge_answers_total{end="completed",model="m",transport="http",upstream="default"} 1.0' in lines
    assert 'chatbridge_tokens_total{kind="input",model="m",upstream="default"} 11.0' in lines
    assert 'chatbridge_tokens_total{kind="output",model="m",upstream="default"} 5.0' in lines
    assert 'chatbridge_events_total{upstream="default"} 0.0' not in lines
    assert any(line.startswith('chatbridge_events_total{upstream="default"} ') for line in lines)
    assert 'chatbridge_tool_calls_total{model="m",upstream="default"} 1.0' in lines
    assert 'chatbridge_upstream_responses_total{class="2xx",upstream="default"} 1.0' in lines
    assert 'chatbridge_first_event_seconds_bucket{le="0.5",upstream="default"} 1.0' in lines
    assert 'chatbridge_answer_seconds_count{upstream="default"} 1.0' in lines
    assert "chatbridge_answers_running 3.0" in lines
    assert "chatbridge_websockets_open 2.0" in lines


def test_what_clients_invent_makes_few_labels():
    def run(bridge):
        for number in range(300):
            bridge.ask(STREAM | {"model": f"m{number}"}).lose()
            connection = bridge.ask()
            connection.lose()

    lines = metrics_of(run)
    # A name that no upstream has answered for is none.
    assert [line for line in lines if line.startswith("chatbridge_answers_total{")] == [
        'chatbridge_answers_total{end="client_gone",model="other",transport="http",upstream="default"} 600.0'
    ]


def test_paths_with_names_in_them_are_one_label():
    def run(bridge):
        for number in range(50):
            for path in (f"/v1/responses/resp_{number}", f"/default/v1/responses/r{number}", f"/x{number}"):
                connection = Connection(bridge.site)
                connection.send(request("GET", path))
                connection = Connection(bridge.site)
                connection.send(request(f"BREW{number}", path))

    requests = [line for line in metrics_of(run) if line.startswith("chatbridge_requests_total{")]
    assert {re.search('path="([^"]*)"', line)[1] for line in requests} == {"/v1/responses/*", "other"}
    assert len(requests) <= 4


def test_errors_are_counted_by_class():
    def run(bridge):
        for status in (429, 500, 500):
            bridge.ask()
            upstream = bridge.head(FakeResponse(status))
            upstream.send(b"{}")
            upstream.end()

    lines = metrics_of(run)
    assert 'chatbridge_upstream_errors_total{class="rate_limit",upstream="default"} 1.0' in lines
    assert 'chatbridge_upstream_errors_total{class="unavailable",upstream="default"} 2.0' in lines
    assert any('model="other"' in line for line in lines)


def test_unknown_paths_are_one_label():
    metrics = Metrics(lambda: 0)
    server = Server()
    server.site.observe.append(metrics.observe)
    for number in range(5):
        server.ask(request(path=f"/nothing{number}"))
    lines = metrics.text().decode().splitlines()
    assert 'chatbridge_requests_total{path="other",status="404"} 5.0' in lines


def test_loop_lag():
    metrics = Metrics(lambda: 0)
    clock = Clock()
    service = LoopLag(metrics, clock)
    service.startService()
    clock.advance(5.25)
    assert b"chatbridge_loop_lag_seconds 0.25" in metrics.text()
    service.stopService()
    assert not clock.getDelayedCalls()


# --- the paths


def test_readyz_and_metrics_paths():
    said = {"drain": "", "store": ""}
    readiness = Readiness()
    readiness.add("drain", lambda: said["drain"])
    readiness.add("store", lambda: said["store"])
    server = Server()
    server.site = build_site(
        Settings(),
        responses=server.site.resource,
        running=lambda: 0,
        stop=lambda: None,
        reactor=server.reactor,
        readiness=readiness,
        metrics=lambda: b"x 1\n",
    )
    ready = server.ask(request(path="/readyz"))
    assert (ready.status, ready.json) == (200, {"status": "ready", "checks": {"drain": "ok", "store": "ok"}})
    said["store"] = "no answer for 5 s"
    refused = server.ask(request(path="/readyz"))
    assert (refused.status, refused.json["error"]["code"]) == (503, "not_ready")
    assert refused.json["error"]["message"] == "Not ready: store: no answer for 5 s."
    readiness.remove("store")
    readiness.add("drain", lambda: "the daemon is stopping")
    assert "drain: the daemon is stopping" in server.ask(request(path="/readyz")).json["error"]["message"]
    shown = server.ask(request(path="/metrics"))
    assert (shown.body, shown.header("content-type")) == (b"x 1\n", "text/plain; version=0.0.4; charset=utf-8")


def test_without_the_library_there_is_no_metrics_path():
    assert Server().ask(request(path="/metrics")).status == 404
