from chatbridge.service.secret import Secret
from chatbridge.upstream.keys import Key, Keys

ONE, TWO, THREE = (Key(name, Secret(f"sk-{name}-0123456789")) for name in ("one", "two", "three"))


def keys(now, *some):
    return Keys(some, lambda: now[0])


def test_the_first_is_stayed_with():
    several = keys([0], ONE, TWO)
    assert [several.take() for _ in range(3)] == [ONE] * 3


def test_one_that_cools_down_is_passed_over_and_comes_back():
    now = [0]
    several = keys(now, ONE, TWO)
    several.cool(ONE, 10)
    assert several.take() == TWO
    now[0] = 10
    assert several.take() == ONE


def test_when_all_cool_down_the_first_to_be_through_is_used():
    several = keys([0], ONE, TWO, THREE)
    for key, seconds in ((ONE, 30), (TWO, 10), (THREE, 20)):
        several.cool(key, seconds)
    assert several.take() == TWO
    assert several.take({TWO}) is None  # this request has been refused already


def test_one_request_tries_each_once():
    several = keys([0], ONE, TWO)
    assert several.take({ONE}) == TWO
    assert several.take({ONE, TWO}) is None


def test_all_are_taken_out_of_texts():
    text = keys([0], ONE, TWO).redact(f"{ONE.secret.reveal()} and {TWO.secret.reveal()}")
    assert "0123456789" not in text
    assert "0123456789" not in repr(ONE)
