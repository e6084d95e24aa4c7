"""How much an upstream is asked at once, and who comes next."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from chatbridge.protocol.errors import ApiError
from chatbridge.upstream.limits import MINUTE, Limits


def limits(clock, **more):
    return Limits(clock, **{"streams": 0, "rate": 0, "patience": 60.0, "name": "local"} | more)


def test_without_limits_nobody_waits():
    some = limits(Clock())
    assert [some.enter() for _ in range(99)] == [None] * 99


def test_first_come_first_served():
    some = limits(Clock(), streams=1)
    some.enter()
    order = []
    for name in "abc":
        some.enter().addCallback(lambda _, name=name: order.append(name))
    for _ in range(3):
        some.leave()
    assert order == ["a", "b", "c"]


def test_nobody_overtakes_those_who_wait():
    clock = Clock()
    some = limits(clock, rate=1)
    some.enter()
    waiting = some.enter()
    clock.advance(MINUTE - 1)
    late = some.enter()
    assert not waiting.called
    clock.advance(1)
    assert waiting.called
    assert not late.called


def test_who_leaves_the_line_does_not_hold_it_up():
    clock = Clock()
    some = limits(clock, streams=1)
    some.enter()
    first, second = some.enter(), some.enter()
    first.addErrback(lambda _: None)
    first.cancel()
    some.leave()
    assert second.called
    some.leave()
    assert clock.getDelayedCalls() == []


def test_the_refusal_says_when_to_come_again():
    clock = Clock()
    some = limits(clock, rate=1, patience=10.0)
    some.enter()
    failed = []
    some.enter().addErrback(failed.append)
    clock.advance(10)
    (error,) = (failure.value for failure in failed)
    assert isinstance(error, ApiError)
    assert (error.status, error.retry_after) == (429, 50)
    assert "try again in 50s" in error.message


steps = st.lists(st.one_of(st.just("enter"), st.just("leave"), st.just("cancel"), st.floats(0.1, 40)), max_size=80)


@given(steps=steps, streams=st.integers(0, 3), rate=st.integers(0, 4))
def test_the_limits_hold_whatever_happens(steps, streams, rate):
    clock = Clock()
    some = limits(clock, streams=streams, rate=rate)
    begun, running, waiting = [], [0], []

    def begin(_=None):
        running[0] += 1
        begun.append(clock.seconds())

    for step in steps:
        if step == "enter":
            place = some.enter()
            if place is None:
                begin()
            else:
                waiting.append(place)
                place.addCallbacks(begin, lambda _: None)
        elif step == "leave" and running[0]:
            running[0] -= 1
            some.leave()
        elif step == "cancel" and waiting:
            waiting.pop(0).cancel()
        elif isinstance(step, float):
            clock.advance(step)
        assert not streams or running[0] <= streams
        for at, since in enumerate(begun):
            assert not rate or sum(since <= other < since + MINUTE for other in begun[at:]) <= rate
    while running[0]:
        running[0] -= 1
        some.leave()
    clock.pump([MINUTE] * 3)
    assert clock.getDelayedCalls() == []
