import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbridge.upstream.breaker import LONGEST, STATES, WINDOW_SECONDS, Breaker


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(clock, failures=3, seconds=10)


def fail(breaker, times=1):
    return [breaker.failed(breaker.admit()) for _ in range(times)]


def test_it_opens_after_failures_in_a_row(breaker):
    assert fail(breaker, 3) == [False, False, True]
    assert (breaker.state, breaker.wait(), breaker.admit()) == ("open", 10, None)


def test_a_success_between_them_starts_the_count_again(breaker):
    fail(breaker, 2)
    breaker.succeeded(breaker.admit())
    assert fail(breaker, 2) == [False, False]
    assert breaker.state == "closed"


def test_failures_far_apart_are_no_outage(breaker, clock):
    for _ in range(9):
        assert fail(breaker) == [False]
        clock.now += WINDOW_SECONDS / 2 + 1


def test_one_probe_closes_it(breaker, clock):
    fail(breaker, 3)
    clock.now = 10
    assert (breaker.state, breaker.wait()) == ("half-open", 0)
    probe = breaker.admit()
    assert breaker.admit() is None
    assert breaker.wait() > 0
    breaker.succeeded(probe)
    assert (breaker.state, breaker.wait()) == ("closed", 0)
    assert fail(breaker, 3) == [False, False, True]
    assert breaker.wait() == 10  # as long as at first


def test_a_probe_that_fails_doubles_the_pause_up_to_a_limit(breaker, clock):
    fail(breaker, 3)
    waits = []
    for _ in range(6):
        clock.now += breaker.wait()
        assert fail(breaker) == [True]
        waits.append(breaker.wait())
    assert waits == [20, 40, 80, 10 * LONGEST, 10 * LONGEST, 10 * LONGEST]


def test_a_probe_whose_client_left_lets_the_next_one_through(breaker, clock):
    fail(breaker, 3)
    clock.now = 10
    breaker.released(breaker.admit())
    assert breaker.admit() is not None


def test_what_began_before_the_change_says_nothing_of_now(breaker, clock):
    old = breaker.admit()
    fail(breaker, 3)
    assert not breaker.failed(old)
    breaker.succeeded(old)
    assert breaker.state == "open"
    clock.now = 10
    breaker.admit()
    breaker.released(old)
    assert breaker.admit() is None


def test_it_may_be_switched_off(clock):
    breaker = Breaker(clock, failures=0, seconds=10)
    assert fail(breaker, 99) == [False] * 99
    assert breaker.state == "closed"


@given(st.lists(st.tuples(st.sampled_from(["succeeded", "failed", "released"]), st.integers(0, 15)), max_size=60))
def test_whatever_happens_it_can_be_asked_again(steps):
    clock = Clock()
    breaker = Breaker(clock, failures=3, seconds=10)
    for step, seconds in steps:
        number = breaker.admit()
        assert (number is None) == (breaker.state == "open")
        if number is not None:
            getattr(breaker, step)(number)
        clock.now += seconds
        assert breaker.state in STATES
    clock.now += 10 * LONGEST
    assert breaker.admit() is not None
