from hypothesis import given
from hypothesis import strategies as st
from support import call_delta, check_stream, delta, run

from chatbridge.protocol.replay import replay

CHUNKS = [
    delta(reasoning_content="hm"),
    delta(content="Hello "),
    delta(content="there"),
    call_delta('{"a": 1}', id="c1", name="f"),
    {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
]


def test_what_a_stream_told_is_told_by_the_whole():
    turn, events = run(CHUNKS)
    told = replay(turn.response)
    check_stream(told)
    assert told[-1]["response"] == turn.response
    # The same but for how often each text was cut.
    kinds = [event["type"] for event in events if not event["type"].endswith("delta")]
    assert [event["type"] for event in told if not event["type"].endswith("delta")] == kinds
    for kind in ("response.output_text.delta", "response.function_call_arguments.delta"):
        whole = "".join(event["delta"] for event in events if event["type"] == kind)
        assert "".join(event["delta"] for event in told if event["type"] == kind) == whole


def test_a_failure_and_a_cut_answer():
    for chunks in ([delta(content="half")], [delta(content="half"), {"choices": [{"delta": {}, "finish_reason": "length"}]}], []):  # fmt: skip
        turn, events = run(chunks)
        told = replay(turn.response)
        assert told[-1]["type"] == events[-1]["type"]
        assert told[-1]["response"] == turn.response
        assert [event["sequence_number"] for event in told] == list(range(len(told)))


@given(st.integers(-1, 40))
def test_from_any_number_on(after):
    turn, _ = run(CHUNKS)
    whole, rest = replay(turn.response), replay(turn.response, after)
    assert rest[:-1] == whole[after + 1 : -1]
    assert rest[-1]["response"] == turn.response
    assert rest[-1]["sequence_number"] == max(after + 1, len(whole) - 1)
