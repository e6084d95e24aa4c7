"""One timer for several time limits calls what a timer for each would."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from chatbridge.upstream.deadlines import Deadlines

WAITS = st.integers(1, 40)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from("abcd"), WAITS),
        st.tuples(st.just("put off"), st.sampled_from("abcd"), WAITS),
        st.tuples(st.just("lift"), st.sampled_from("abcd"), st.just(0)),
        st.tuples(st.just("pass"), st.just(""), WAITS),
    ),
    max_size=30,
)


class Plain:
    """A timer of the clock's for each."""

    def __init__(self, clock):
        self.clock = clock
        self.calls = {}

    def set(self, call, seconds):
        self.lift(call)
        self.calls[call] = self.clock.callLater(seconds, call)

    def lift(self, call):
        timer = self.calls.pop(call, None)
        if timer is not None and timer.active():
            timer.cancel()


def course(steps, make):
    """Return what was called when."""
    clock, told = Clock(), []
    limits = make(clock)

    def call(name):
        def called():
            told.append((clock.seconds(), name))
            if len(told) % 3 == 0:
                limits.set(calls[name], 7.25)

        return called

    calls = {name: call(name) for name in "abcd"}
    for at, (what, name, wait) in enumerate(steps):
        seconds = wait + at / 1000  # no two at once: their order means nothing
        if what == "set":
            limits.set(calls[name], seconds)
        elif what == "lift":
            limits.lift(calls[name])
        elif what == "pass":
            clock.advance(seconds)
        elif isinstance(limits, Deadlines):
            if calls[name] in limits.due:
                limits.due[calls[name]] = max(limits.due[calls[name]], clock.seconds() + seconds)
        elif name in calls and calls[name] in limits.calls and limits.calls[calls[name]].active():
            timer = limits.calls[calls[name]]
            timer.reset(max(timer.getTime() - clock.seconds(), seconds))
    return told


@given(STEPS)
def test_what_is_called_when(steps):
    assert course(steps, Deadlines) == course(steps, Plain)


def test_the_timer_goes_with_the_last_limit():
    clock = Clock()
    limits = Deadlines(clock)
    limits.lift(print)
    limits.set(print, 5)
    limits.set(repr, 3)
    limits.set(str, 9)
    assert [call.getTime() for call in clock.getDelayedCalls()] == [3]
    limits.lift(repr, print)
    assert len(clock.getDelayedCalls()) == 1
    limits.lift(str)
    assert clock.getDelayedCalls() == []


def test_a_call_that_fails_does_not_keep_the_others():
    clock, told = Clock(), []
    limits = Deadlines(clock)
    limits.set(lambda: 1 / 0, 1)
    limits.set(lambda: told.append(clock.seconds()), 2)
    try:
        clock.advance(1)
    except ZeroDivisionError:
        clock.advance(1)
    assert told == [2]
