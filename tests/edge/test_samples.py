import json

import pytest

pytest.importorskip("prometheus_client")

import prometheus_client
from hypothesis import given
from hypothesis import strategies as st

from chatbridge.service.metrics import LABELS_LIMIT, Counts, Durations, Metrics, exposition
from chatbridge.service.samples import Sums
from chatbridge.web.record import Record


def metrics(model="m", times=1, running=0):
    made = Metrics(lambda: running)
    for _ in range(times):
        record = Record(upstream="u", model=model, upstream_status=200, end="completed", first_event=0.07)
        record.tokens = {"input": 10}
        made.observe(record, "/v1/responses", 200, 0.5)
    return made


def handed(made):
    return json.loads(json.dumps(made.families()))


def lines(text):
    return set(text.decode().splitlines())


def test_one_process_reads_as_its_own_scrape_does():
    made = metrics(times=3, running=2)
    own = {line for line in lines(made.text()) if "_created" not in line}
    assert lines(Sums().text(handed(made))) == own


def test_counters_and_histograms_add_up_and_gauges_are_what_they_are():
    one, two = metrics(times=3, running=2), metrics(times=1, running=1)
    one.lag(0.5)
    two.lag(0.25)
    text = lines(Sums().text([*handed(one), *handed(two)]))
    assert 'chatbridge_requests_total{path="/v1/responses",status="200"} 4.0' in text
    assert 'chatbridge_tokens_total{kind="input",model="m",upstream="u"} 40.0' in text
    assert 'chatbridge_first_event_seconds_bucket{le="0.1",upstream="u"} 4.0' in text
    assert 'chatbridge_answer_seconds_sum{upstream="u"} 2.0' in text
    assert "chatbridge_answers_running 3.0" in text
    assert "chatbridge_loop_lag_seconds 0.5" in text


def test_counters_of_ended_processes_stay_and_their_gauges_do_not():
    sums = Sums()
    sums.ended(handed(metrics(times=3, running=2)))
    sums.ended(handed(metrics(times=2, running=2)))
    text = lines(sums.text(handed(metrics(times=1, running=1))))
    assert 'chatbridge_requests_total{path="/v1/responses",status="200"} 6.0' in text
    assert "chatbridge_answers_running 1.0" in text


def test_models_are_bounded_however_many_processes_come_and_go():
    sums = Sums()
    for number in range(LABELS_LIMIT + 20):
        sums.ended(handed(metrics(model=f"m{number}")))
    text = sums.text([]).decode()
    assert text.count("chatbridge_answers_total{") == LABELS_LIMIT + 1
    assert 'chatbridge_answers_total{end="completed",model="other",transport="http",upstream="u"} 20.0' in lines(
        text.encode()
    )


LABEL = st.text(max_size=4)
BOUNDS = (0.05, 0.1, 1, 30)


@given(st.lists(st.tuples(LABEL, LABEL, st.integers(0, 9))))
def test_counts_read_as_the_librarys_own(additions):
    registry = prometheus_client.CollectorRegistry()
    theirs = prometheus_client.Counter("chatbridge_x", "Words.", ("one", "two"), registry=registry)
    ours = Counts("x", "Words.", ("one", "two"))
    for one, two, number in additions:
        theirs.labels(one, two).inc(number)
        ours[one, two] += number
    assert without_times(registry) == exposition([ours.family])


@given(st.lists(st.tuples(LABEL, st.sampled_from(BOUNDS) | st.integers(0, 640).map(lambda it: it / 16))))
def test_durations_read_as_the_librarys_own(additions):
    registry = prometheus_client.CollectorRegistry()
    theirs = prometheus_client.Histogram("chatbridge_x", "Words.", ("upstream",), buckets=BOUNDS, registry=registry)
    ours = Durations("x", "Words.", BOUNDS)
    for upstream, seconds in additions:
        theirs.labels(upstream).observe(seconds)
        ours.add(upstream, seconds)
    assert without_times(registry) == exposition([ours.family])


def without_times(registry):
    """Return *registry*'s text without the times at which its counters were made."""
    lines = prometheus_client.generate_latest(registry).split(b"\n")
    return b"\n".join(line for line in lines if b"chatbridge_x_created" not in line)
