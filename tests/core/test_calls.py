from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import call_delta, delta, run

from chatbridge.protocol.chat import CallPiece
from chatbridge.translate.calls import CallIds, Calls

Fields = tuple[object, str, str, str]


def collect(*pieces: Fields) -> list[tuple[str, str, str]]:
    """Feed (index, id, name, arguments); return id, name and arguments of each call, in order."""
    calls = Calls()
    for index, id_, name, arguments in pieces:
        calls.add(CallPiece(None if index is None else (0, index), id_, name, arguments))
    calls.settle()
    return [(call.id, call.name, call.arguments) for call in calls.all]


A, B = '{"a":1}', '{"b":2}'

CASES: dict[str, tuple[list[Fields], list[tuple[str, str, str]]]] = {
    "S01 no index, found by its id": (
        [(None, "x", "f", '{"a"'), (None, "y", "g", '{"b"'), (None, "x", "", ":1}"), (None, "y", "", ":2}")],
        [("x", "f", A), ("y", "g", B)],
    ),
    "S01 no index, no id: a name opens, none continues": (
        [(None, "", "f", '{"a"'), (None, "", "", ":1}"), (None, "", "g", B)],
        [("", "f", A), ("", "g", B)],
    ),
    "S02 one index for two calls, told apart by id": (
        [(0, "x", "f", A), (0, "y", "f", '{"b"'), (0, "", "", ":2}")],
        [("x", "f", A), ("y", "f", B)],
    ),
    "S02 the ids of old servers": ([(0, "0", "f", A), (0, "1", "f", B)], [("0", "f", A), ("1", "f", B)]),
    "S02 one index without ids, told apart by name": ([(0, "", "f", A), (0, "", "g", B)], [("", "f", A), ("", "g", B)]),
    "S02 one id at two indexes, each with a name": (
        [(0, "x", "f", A), (1, "x", "f", '{"b"'), (1, "", "", ":2}")],
        [("x", "f", A), ("x", "f", B)],
    ),
    "S02 one id at two indexes, each with a name, arguments later": (
        [(0, "x", "f", ""), (1, "x", "f", ""), (0, "", "", A), (1, "", "", B)],
        [("x", "f", A), ("x", "f", B)],
    ),
    "S02 one id, told apart by name": ([(None, "x", "f", A), (None, "x", "g", B)], [("x", "f", A), ("x", "g", B)]),
    "S03 gaps": ([(1, "x", "f", A), (5, "y", "g", B)], [("x", "f", A), ("y", "g", B)]),
    "S03 the order is that of appearance": ([(2, "x", "f", A), (1, "y", "g", B)], [("x", "f", A), ("y", "g", B)]),
    "S04 an empty id later": ([(0, "x", "f", '{"a"'), (0, "", "", ":1}")], [("x", "f", A)]),
    "S05 a fresh id for each fragment, at the index": (
        [(0, "x", "f", '{"a"'), (0, "y", "", ":"), (0, "z", "", "1}")],
        [("x", "f", A)],
    ),
    "S05 a fresh id for each fragment, no index": (
        [(None, "x", "f", '{"a"'), (None, "y", "", ":"), (None, "z", "", "1}")],
        [("x", "f", A)],
    ),
    "S05 a fresh id and a fresh index for each fragment": (
        [(0, "x", "f", '{"a"'), (1, "y", "", ":"), (2, "z", "", "1}")],
        [("x", "f", A)],
    ),
    "S05 a fragment's id is known from then on": (
        [(0, "x", "f", '{"a"'), (0, "y", "", ":"), (1, "w", "g", B), (None, "y", "", "1}")],
        [("x", "f", A), ("w", "g", B)],
    ),
    "S06 no ids": ([(0, "", "f", A), (1, "", "g", B)], [("", "f", A), ("", "g", B)]),
    "S07 the name on each delta": ([(0, "x", "f", '{"a"'), (0, "x", "f", ":1"), (0, "", "f", "}")], [("x", "f", A)]),
    "S07 the name once more after whole arguments": ([(0, "x", "f", A), (0, "x", "f", "")], [("x", "f", A)]),
    "S08 an empty name later": ([(0, "x", "f", '{"a"'), (0, "x", "", ":1}")], [("x", "f", A)]),
    "S09 a late name at the index": ([(0, "x", "", '{"a"'), (0, "", "f", ":1}")], [("x", "f", A)]),
    "S09 a late name with the id": ([(0, "x", "", '{"a"'), (0, "x", "f", ":1}")], [("x", "f", A)]),
    "S09 a late id and name": ([(0, "", "", '{"a"'), (0, "x", "f", ":1}")], [("x", "f", A)]),
    "S09 neither name nor arguments": ([(0, "x", "f", A), (1, "y", "", " ")], [("x", "f", A)]),
    "S09 arguments without a name are kept apart": ([(0, "x", "f", A), (1, "y", "", B)], [("x", "f", A), ("y", "", B)]),
    "S10 whole in one piece": ([(0, "x", "f", A)], [("x", "f", A)]),
    "S12 no arguments": ([(0, "x", "f", ""), (0, "", "", "")], [("x", "f", "")]),
    "S13 glued without a name: not guessed at": ([(0, "x", "f", A), (0, "", "", B)], [("x", "f", A + B)]),
    "S13 glued with a name: a second call": ([(0, "", "f", A), (0, "", "f", B)], [("", "f", A), ("", "f", B)]),
    "S13 the same id with a name": ([(0, "x", "f", A), (0, "x", "f", B)], [("x", "f", A), ("x", "f", B)]),
    "S13 braces inside unfinished arguments": (
        [(0, "x", "f", '{"a":{}'), (0, "x", "f", '{"'), (0, "x", "f", "b")],
        [("x", "f", '{"a":{}{"b')],
    ),
    "an id that comes late": ([(0, "", "f", '{"a"'), (0, "x", "", ":1}")], [("x", "f", A)]),
    "a new index without id and name is another call": (
        [(0, "x", "f", A), (1, "", "", B)],
        [("x", "f", A), ("", "", B)],
    ),
    "a piece without anything opens nothing that stays": ([(None, "", "", "")], []),
}


@pytest.mark.parametrize("case", CASES)
def test_which_call_a_piece_belongs_to(case):
    pieces, calls = CASES[case]
    assert collect(*pieces) == calls


def test_S05_fresh_id_per_fragment_continues_and_the_first_id_wins():
    calls = Calls()
    call, added = calls.add(CallPiece((0, 0), "x", "f", "{"))
    assert calls.add(CallPiece((0, 0), "y", "", "}")) == (call, "}")
    assert (call.id, call.arguments, added) == ("x", "{}", "{")


def test_S11_an_object_is_the_whole_of_the_arguments():
    calls = Calls()
    first, second = (calls.add(CallPiece((0, 0), "x", "f", text, whole=True)) for text in ("{}", A))
    assert first == second == (calls.all[0], "")
    assert [call.arguments for call in calls.all] == [A]
    assert calls.settle() == [(calls.all[0], A)]


def test_S22_the_same_index_in_another_choice_is_another_call():
    calls = Calls()
    calls.add(CallPiece((0, 0), "", "f", '{"a"'))
    calls.add(CallPiece((1, 0), "", "g", B))
    calls.add(CallPiece((0, 0), "", "", ":1}"))
    assert [(call.name, call.arguments) for call in calls.all] == [("f", A), ("g", B)]


def test_settle_tells_which_calls_grew():
    calls = Calls()
    first, _ = calls.add(CallPiece((0, 0), "x", "f", '{"a":'))
    calls.add(CallPiece((0, 1), "y", "", "1"))
    calls.add(CallPiece((0, 2), "z", "", "}"))
    assert calls.settle() == [(first, "1"), (first, "}")]
    assert calls.settle() == []
    assert calls.all == [first]


def test_many_fragments_with_ids_and_indexes_of_their_own():
    # With work that grows by the square this would take minutes.
    text = '{"a":"' + "x" * 60_000 + '"}'
    pieces: list[Fields] = [(0, "0", "f", text[:6])]
    pieces += [(at, str(at), "", text[at : at + 3]) for at in range(6, len(text), 3)]
    assert collect(*pieces) == [("0", "f", text)]


@given(st.data())
def test_S01_S02_S05_calls_that_stream_at_once_are_told_apart_by_id_or_index(data):
    """Whatever of id and index later fragments repeat, as long as it says enough, each fragment finds its call."""
    whole = [(f"id{n}", f"f{n}", '{"n":"%s"}' % (str(n) * n)) for n in range(data.draw(st.integers(1, 4)))]
    same_index = data.draw(st.booleans())
    rests = {n: text for n, (_, _, text) in enumerate(whole)}
    pieces: list[Fields] = []
    for n, (id_, name, _) in enumerate(whole):
        pieces.append((0 if same_index else n, id_, name, ""))
    while any(rests.values()):
        n = data.draw(st.sampled_from([n for n in rests if rests[n]]))
        cut = data.draw(st.integers(1, len(rests[n])))
        fragment, rests[n] = rests[n][:cut], rests[n][cut:]
        keys = [(None, whole[n][0]), (0 if same_index else n, whole[n][0])]
        keys += [] if same_index else [(n, ""), (n, f"fresh{len(pieces)}")]
        index, id_ = data.draw(st.sampled_from(keys))
        pieces.append((index, id_, "", fragment))
    assert collect(*pieces) == whole


@given(
    st.lists(
        st.sampled_from(list(product([None, 0, 1], ["", "x", "y"], ["", "f", "g"], ["", "{", A, "}"]))), max_size=12
    )
)
def test_no_argument_text_is_lost_whatever_comes(pieces):
    calls = Calls()
    given_ = 0
    for index, id_, name, arguments in pieces:
        call, added = calls.add(CallPiece(None if index is None else (0, index), id_, name, arguments))
        # All but a whole call that is said again.
        assert added == arguments or (id_ and arguments == call.arguments == A)
        assert call in calls.all
        given_ += len(added)
    calls.settle()
    assert sum(len(call.arguments) for call in calls.all) == given_
    assert all(call.name or call.arguments for call in calls.all)


@given(st.lists(st.sampled_from(["a", "b", "a_2", "a_2_2", "a_3", ""]), max_size=12))
def test_ids_are_unique_and_those_that_come_first_stay(wanted):
    ids = CallIds()
    found = [ids.unique(id_) for id_ in wanted]
    assert len(set(found)) == len(found)
    assert all(given_.startswith(id_) for id_, given_ in zip(wanted, found, strict=True))
    assert not wanted or found[0] == wanted[0]


def test_an_id_that_comes_again_and_again():
    # With work that grows by the square this would take minutes.
    ids = CallIds()
    assert [ids.unique("a") for _ in range(50_000)][-1] == "a_50000"


def test_a_whole_call_that_is_said_again_is_one_call():
    turn, _ = run([
        call_delta('{"a":1}', id="x", name="f"),
        call_delta('{"a":1}', id="x", name="f"),
        delta(finish_reason="tool_calls"),
    ])  # fmt: skip
    assert [item["arguments"] for item in turn.response["output"]] == ['{"a":1}']


@pytest.mark.parametrize("index", [None, (0, 0)])
@pytest.mark.parametrize("ids", [("", "", ""), ("a", "b", "c")])
def test_S05_S07_fragments_that_repeat_the_name_go_on_with_cut_arguments(index, ids):
    if index is None and any(ids):
        pytest.skip("without an index a fresh id with a name is a new call")
    calls = Calls()
    for call_id, text in zip(ids, ('{"a"', ":", "[1]}"), strict=True):
        calls.add(CallPiece(index, call_id, "f", text))
    assert [call.arguments for call in calls.all] == ['{"a":[1]}']
    calls.add(CallPiece(index, ids[0] and "d", "f", A))
    assert [call.arguments for call in calls.all] == ['{"a":[1]}', A]
