"""The fast lane against the full way: the same bytes, and the same turn afterwards, for any answer in any reads."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import any_text, chunks, cuts, json_values
from support import call_delta, check_stream, delta, new_turn, parse_events, sse

from chatbridge.protocol import sse as events
from chatbridge.protocol.chat import Chunk, read_chunk
from chatbridge.translate import lane
from chatbridge.translate.reader import Reader

FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}
CUSTOM = {"type": "custom", "name": "c"}


def through(reads, *, framed, **options):
    """Return the whole stream as bytes, what is left in the turn, and how many pieces came framed."""
    turn = new_turn(tools=[FUNCTION, CUSTOM], **options)
    reader = Reader(turn, framed=framed)
    out = turn.start()
    for read in reads:
        out += reader.feed(read)
    out += reader.close()
    fast = sum(isinstance(event, bytes) for event in out)
    assert framed or not fast
    state = (
        turn.response,
        turn._written,
        turn._output.sequence,
        turn.chunks,
        turn.finish,
        [call.parts for call in turn._calls.all],
    )
    return b"".join(map(events.frame, out)), state, fast


def same(reads, **options):
    framed, state, fast = through(reads, framed=True, **options)
    plain, plain_state, _ = through(reads, framed=False, **options)
    assert framed == plain
    assert state == plain_state
    check_stream(parse_events(framed))
    return fast


# --- answers as vendors send them: runs of one kind, now and then something else

_texts = any_text | st.sampled_from(
    [
        "a",
        " ",
        "",
        "word ",
        "\n",
        "\\",
        '"',
        "<think>",
        "</think>",
        "content",
        "😀",
        "\ud83d",
        "\ude00",
        "}",
        "{",
        "é",
        "\ufeff",
        "\x00",
        "\x7f",
    ]
)
_same = st.fixed_dictionaries({}, optional={
    "id": st.sampled_from(["a", 'x"y', "content"]), "created": st.integers(1, 2), "model": st.just("m"), "usage": st.none(),
    "obfuscation": st.text(max_size=3), "choices": st.just("overwritten"),
})  # fmt: skip
_more = st.fixed_dictionaries(
    {}, optional={"role": st.just("assistant"), "refusal": st.none(), "reasoning": st.sampled_from([None, ""])}
)
_kinds = {
    "text": lambda text: delta(content=text),
    "reasoning": lambda text: delta(reasoning_content=text),
    "twice": lambda text: delta(reasoning=text, reasoning_content=text, reasoning_details=[]),
    "details": lambda text: delta(reasoning_details=[{"type": "reasoning.text", "text": text}]),
    "parts": lambda text: delta(content=[{"type": "text", "text": text}]),
    "thinking": lambda text: delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]),
    "refusal": lambda text: delta(refusal=text),
    "both": lambda text: delta(content=text, reasoning_content=text),
    "function": lambda text: call_delta(text, index=0),
    "other": lambda text: call_delta(text, index=1),
    "named": lambda text: call_delta(text, index=0, name="f"),
    "no index": lambda text: call_delta(text, index=None),
    "empty name": lambda text: call_delta(text, index=0, id="", name=""),
    "id": lambda text: call_delta(text, index=0, id="x"),
    "object": lambda text: call_delta({"a": text}, index=0),
    "extra": lambda text: {**delta(content=text), "extra": [text]},
    "message": lambda text: {"choices": [{"message": {"content": text}}]},
    "choices": lambda text: {"choices": [{"index": 1, "delta": {"content": text}}, {"index": 0, "delta": {}}]},
    "usage": lambda text: {**delta(content=text), "usage": {"prompt_tokens": 3}},
    "two": lambda text: {"choices": [{"delta": {"content": text}}, {"delta": {"content": "z"}}]},
}  # fmt: skip
_BEGIN = [
    delta(role="assistant", content=""),
    call_delta("", index=0, id="k", name="f"),
    call_delta("", index=1, id="l", name="c"),
    delta(content="Hello"),
]
_END = [
    delta(finish_reason="stop"),
    delta(finish_reason="tool_calls"),
    delta(finish_reason="length"),
    {"error": {"message": "over"}},
    b"junk",
    b"[DONE]",
]


@st.composite
def answers(draw):
    out = []
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            out.append(draw(st.sampled_from(_BEGIN)))
        kind, around, more = draw(st.sampled_from(sorted(_kinds))), draw(_same), draw(_more)
        ascii_, spaced = draw(st.booleans()), draw(st.booleans())
        plain = draw(st.booleans())
        for text in draw(st.lists(st.sampled_from(["a", "bc", "é"]) if plain else _texts, min_size=1, max_size=9)):
            chunk = {**around, **_kinds[kind](text)}
            for choice in chunk["choices"]:
                if "delta" in choice:
                    choice["delta"] = {**more, **choice["delta"]}
            raw = json.dumps(chunk, ensure_ascii=ascii_, separators=None if spaced else (",", ":"))
            out.append(raw.encode("utf-8", "surrogatepass"))
        if draw(st.integers(0, 5)) == 0:
            out.append(draw(st.sampled_from(_END) | chunks | json_values))
    return [*out, *draw(st.lists(st.sampled_from(_END), max_size=2))]


@given(answers(), st.data(), st.booleans())
def test_any_answer_in_any_reads(answer, data, for_codex):
    same(data.draw(cuts(sse(answer))), for_codex=for_codex)


@given(st.sampled_from(sorted(_kinds)), st.lists(_texts, max_size=20), st.binary(max_size=3), st.integers(0, 300))
def test_a_byte_changed_anywhere(kind, texts, changed, at):
    payloads = [json.dumps(_kinds[kind](text)).encode() for text in ["a"] * 6 + texts]
    broken = payloads[-1][:at] + changed + payloads[-1][at + len(changed) :]
    same([sse([*_BEGIN, *payloads, broken, *payloads[-3:]])])


# --- that it is used where it should be

LONG = [f'word{number} \n"é" ~T' for number in range(40)]


def run_of(kind, *, ascii_=True):
    begin = _BEGIN if kind in ("function", "empty name") else []
    return [*begin, *(json.dumps(_kinds[kind](text), ensure_ascii=ascii_).encode() for text in LONG), _END[0]]


@pytest.mark.parametrize("kind", ["text", "reasoning", "parts", "thinking", "function", "empty name"])
@pytest.mark.parametrize("ascii_", [True, False])
def test_a_run_is_read_the_fast_way(kind, ascii_):
    assert same([sse([payload], done=False) for payload in run_of(kind, ascii_=ascii_)]) >= 30


@pytest.mark.parametrize("kind", ["refusal", "twice", "usage", "both", "two", "object", "id", "extra"])
def test_other_runs_are_read_in_full(kind):
    assert same([sse(run_of(kind))]) == 0


def test_a_custom_tool_s_input_is_read_in_full():
    assert (
        same(
            [
                sse(
                    [
                        call_delta('{"input":"', index=0, id="l", name="c"),
                        *(call_delta("abc") for _ in range(20)),
                        call_delta('"}'),
                        _END[1],
                    ]
                )
            ]
        )
        == 0
    )


def test_the_turn_in_between_has_no_effect():
    runs = [run_of("text")[:-1], run_of("reasoning")[:-1], run_of("text")[:-1], [delta(refusal="no")], run_of("text")]
    assert same([sse([payload for run in runs for payload in run])]) >= 3


def test_keepalives_between_reads_are_numbered():
    streams = []
    for framed in (True, False):
        turn = new_turn()
        reader = Reader(turn, framed=framed)
        out = turn.start()
        for payload in run_of("text"):
            out += reader.feed(sse([payload], done=False))
            out += turn.keepalive()
        out += reader.close()
        streams.append(b"".join(map(events.frame, out)))
    assert streams[0] == streams[1]


def test_nothing_is_given_after_the_end():
    turn = new_turn()
    reader = Reader(turn, framed=True)
    reader.feed(sse([delta(content="a") for _ in range(10)], done=False))
    assert turn._lane is not None
    turn.end()
    assert list(reader.feed(sse([delta(content="a") for _ in range(3)], done=False))) == []


def test_where_each_event_has_its_own_shape_few_are_learned(monkeypatch):
    learned = []
    monkeypatch.setattr(lane, "_learn", lambda *given: learned.append(given))
    same([sse([{**delta(content="a"), "obfuscation": "x" * number} for number in range(500)])])
    assert len(learned) == 4


def test_shapes_change_with_the_second():
    answer = [{"created": number // 40, **delta(content="a")} for number in range(400)]
    assert same([sse(answer)]) == 10


@pytest.mark.parametrize("payload", [
    b'{"choices":[{"delta":{"content":"a","content":"b"}}]}', b'{"model":"a","choices":[{"delta":{"content":"a"}}]}',
    b'{"choices":[{"delta":{"content":"","reasoning_content":"x"}}]}', b'{"a":",","choices":[{"delta":{"content":","}}]}',
    b'\xef\xbb\xbf{"choices":[{"delta":{"content":"q"}}]}', b'{"choices":[{"delta":{"content":"a"}}],"x":"a"}',
])  # fmt: skip
@pytest.mark.parametrize(
    "other",
    [
        b"zz",
        b"",
        b"\xff",
        b"\xed\xa0\x80",
        rb"\ud83d",
        rb"\ude00",
        rb"\u00e9",
        rb"\x",
        b"a\nb",
        b"\x1f",
        b"\x00",
        b"\t",
        b'a","b":"',
        rb"a\"b",
    ],
)
def test_learned_from_odd_payloads(payload, other):
    for old in (b'"a"', b'"b"', b'"q"', b'"x"', b'","'):
        same(
            [
                sse(
                    [
                        *_BEGIN[:1],
                        b'{"choices":[{"delta":{"content":"Hi"}}]}',
                        *[payload] * 6,
                        payload.replace(old, b'"' + other + b'"'),
                        *[payload] * 2,
                    ]
                )
            ]
        )


def test_what_the_probe_must_find():
    chunk = read_chunk(delta(content="a"))
    payload = b'{"choices":[{"delta":{"content":"a"}}]}'
    shape = lane._learn(payload, "a", Chunk(pieces=[("text", lane._PROBE)]))
    assert shape == lane.Shape(payload[:33], payload[34:])
    assert chunk == Chunk(pieces=[("text", "a")])
    assert lane._learn(payload, "a", Chunk(pieces=[("reasoning", lane._PROBE)])) is None
    assert lane._learn(payload, "other", Chunk(pieces=[("text", lane._PROBE)])) is None


@pytest.mark.parametrize("kind", ["text", "reasoning", "function"])
def test_a_read_that_is_one_plain_event_is_not_taken_apart(kind, monkeypatch):
    texts = [f"word{number} é~T{'x' * number}" for number in range(20)]
    payloads = [json.dumps(_kinds[kind](text), ensure_ascii=False).encode() for text in texts]
    monkeypatch.setattr(lane.Lane, "take", None)
    reads = [sse([payload], done=False) for payload in [*_BEGIN[: 2 if kind == "function" else 0], *payloads]]
    assert same(reads) >= 10


@given(
    st.sampled_from(["text", "reasoning", "function", "named"]),
    st.lists(_texts | st.binary(max_size=3), max_size=9),
    st.sampled_from([b"data: ", b"data:", b"data:  ", b"id: 1\ndata: ", b": x\n\ndata: "]),
    st.sampled_from([b"\n\n", b"\n\n", b"\n\n\n", b"\r\n\r\n", b"\n", b"\n\r\n", b"\n\n: x\n\n"]),
    st.booleans(),
)
def test_reads_of_one_event_each(kind, texts, before, behind, lines):
    payloads = [json.dumps(_kinds[kind]("\n{")).encode() for _ in range(6)]
    around = json.dumps(_kinds[kind]("\n{")).encode().split(rb"\n{")
    payloads += [(text if isinstance(text, bytes) else text.encode("utf-8", "replace")).join(around) for text in texts]
    if lines:  # the same in two lines of data
        payloads = [payload[:1] + b"\ndata: " + payload[1:] for payload in payloads]
    same([sse(_BEGIN, done=False), *(before + payload + behind for payload in payloads)])


_around = st.sampled_from([(b'{"a":"', b'"}'), (b'"', b'"'), (b'x"', b'","b":1}')])
_insides = st.text(max_size=6) | st.sampled_from(
    ["", "\\n", '"', "\n", "\x00", "a\nb", "é", '"}\n{"a":"', "\ufeff", "\x7f"]
)


@given(_around, st.lists(_insides | st.binary(max_size=8), min_size=1, max_size=6))
def test_payloads_together_are_read_as_each_alone(around, insides):
    shape = lane.Shape(*around)
    payloads = [
        inside if isinstance(inside, bytes) else around[0] + inside.encode("utf-8", "surrogatepass") + around[1]
        for inside in insides
    ]
    together, each = shape.plain(payloads), shape.insides(payloads)
    whole = len(each) == len(payloads) and not any("\\" in inside for inside in each)
    assert together == (each if whole else None)
