from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import check_messages, translate

from chatbridge.protocol.responses import parse_request
from chatbridge.translate.notes import Notes
from chatbridge.translate.request import translate_request
from chatbridge.translate.truncation import BLOB_CHARACTERS, kept, size
from chatbridge.vendors.profile import Profile

USER = {"role": "user", "content": "u" * 10}
SYSTEM = {"role": "developer", "content": "s" * 10}
ANSWER = {"role": "assistant", "content": "a" * 10}
CALL = {"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "r" * 10}


@pytest.mark.parametrize(("items", "budget", "stay"), [
    ([USER, ANSWER, USER], 30, [0, 1, 2]),
    ([USER, ANSWER, USER], 29, [2]),
    ([USER, ANSWER, USER], 0, [2]),
    ([SYSTEM, USER, ANSWER, SYSTEM, USER], 30, [0, 3, 4]),  # system text stays wherever it stands
    ([USER, ANSWER, USER, ANSWER, USER], 35, [2, 3, 4]),  # whole turns, and no more than needed
    ([USER, CALL, RESULT, ANSWER, USER, ANSWER], 20, [4, 5]),  # never a result without its call
    ([USER, CALL, USER, RESULT, ANSWER], 20, [2, 4]),  # also one that came after later words
    ([USER, USER, ANSWER, USER, USER], 20, [3, 4]),  # words that follow words are one turn
    ([ANSWER, USER], 10, [1]),
    ([USER, 5, ANSWER, None, USER], 10, [1, 3, 4]),  # what is no item is refused elsewhere
    ([USER, {**CALL, "call_id": []}, USER, {**RESULT, "call_id": {}}], 10, [2, 3]),
    ([], 0, []),
])  # fmt: skip
def test_the_oldest_whole_turns_go(items, budget, stay):
    assert kept(items, budget) == stay


@pytest.mark.parametrize(("value", "expected"), [
    ("abc", 3), (["a", "bc"], 3), (None, 0), (5, 0), ({"type": "input_text", "text": "abc"}, 3),
    ({"type": "input_image", "image_url": "data:" + "A" * 9000}, BLOB_CHARACTERS),
    ({"type": "message", "id": "msg_1", "role": "user", "status": "completed", "content": [{"type": "input_text", "text": "abc"}]}, 3),
    ({"type": "reasoning", "encrypted_content": "x" * 99, "summary": [{"type": "summary_text", "text": "abc"}]}, 3),
    ({"type": "compaction", "encrypted_content": "abcd"}, 4),
])  # fmt: skip
def test_the_size_of_an_item_is_its_text(value, expected):
    assert size(value) == expected


ITEMS = st.lists(st.sampled_from([USER, SYSTEM, ANSWER, CALL, RESULT]), min_size=1, max_size=12)


@given(ITEMS, st.integers(0, 100))
def test_what_stays_fits_or_is_the_last_turn(items: list[dict[str, Any]], budget: int):
    stay = kept(items, budget)
    assert stay == sorted(set(stay))
    assert [index for index, item in enumerate(items) if item is SYSTEM and index not in stay] == []
    users = [index for index, item in enumerate(items) if item is USER]
    assert not users or users[-1] in stay
    if sum(size(items[index]) for index in stay) > budget:
        spoken = [items[index] is USER for index in stay if items[index] is not SYSTEM]
        begun = sum(now and not before for before, now in pairwise([False, *spoken]))
        assert begun <= 1
    check_messages(translate(input=[USER, *[items[index] for index in stay]])[0].body["messages"])


@pytest.mark.parametrize(("budget", "sent"), [(0, 3), (10_000, 3), (20, 1)])
def test_a_request_is_cut_to_its_budget(budget, sent):
    items = [{"role": "user", "content": "old " * 100}, ANSWER, {"role": "user", "content": "new"}]
    notes = Notes()
    found = translate_request(parse_request({"model": "m", "input": items}), Profile(), notes, budget=budget)
    assert len(found.body["messages"]) == sent
    assert ("truncation" in notes) == (sent == 1)
