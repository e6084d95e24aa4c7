import copy
import dataclasses
import pickle
import traceback

import pytest

from chatbridge.service.secret import Secret
from chatbridge.service.settings import Settings

KEY = "sk-proj-abcDEF123456"


def test_prints_nowhere():
    secret = Secret(KEY)
    settings = Settings(api_key=secret)
    for text in (str(secret), repr(secret), f"{secret}", format(secret), repr(settings), repr([secret])):
        assert KEY not in text
        assert "<secret>" in text


def test_a_traceback_with_locals_does_not_show_it():
    def fail(secret):
        raise ValueError("no")

    try:
        fail(Secret(KEY))
    except ValueError as error:
        captured = traceback.TracebackException.from_exception(error, capture_locals=True)
    text = "".join(captured.format())
    assert "<secret>" in text
    assert KEY not in text


def test_reveal_gives_the_value():
    assert Secret(KEY).reveal() == KEY


def test_is_true_when_there_is_a_key():
    assert Secret("x")
    assert not Secret("")


def test_equal_values_are_equal_secrets():
    assert Secret(KEY) == Secret(KEY)
    assert hash(Secret(KEY)) == hash(Secret(KEY))
    assert Secret(KEY) != Secret("other")
    assert Secret(KEY) != KEY


@pytest.mark.parametrize(
    "leak", [pickle.dumps, copy.copy, copy.deepcopy, lambda secret: dataclasses.asdict(Settings(api_key=secret))]
)
def test_is_not_copied(leak):
    with pytest.raises(TypeError, match="not pickled"):
        leak(Secret(KEY))


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"bad key {KEY}.", "bad key <redacted>."),
        (f'{{"key":"{KEY}"}}', '{"key":"<redacted>"}'),
        ("Incorrect API key provided: sk-proj-****wxyz", "Incorrect API key provided: <redacted>"),
        ("key gsk_1234567890 is revoked", "key <redacted> is revoked"),
        ("Authorization: Bearer abcdef123456, sent", "Authorization: Bearer <redacted>, sent"),
        ("authorization: bearer abcdef123456", "authorization: bearer <redacted>"),
        ("use Bearer authentication", "use Bearer authentication"),
        ("Check XAI_API_KEY and HF_API_TOKEN", "Check XAI_API_KEY and HF_API_TOKEN"),
        ("the risk-averse task-runner", "the risk-averse task-runner"),
        ("", ""),
    ],
)
def test_redacts_the_key_and_what_looks_like_one(text, redacted):
    assert Secret(KEY).redact(text) == redacted


def test_without_a_key_what_looks_like_one_is_still_redacted():
    assert Secret("").redact(f"bad key {KEY}") == "bad key <redacted>"


def test_a_short_key_is_redacted_as_a_word():
    assert Secret("x").redact("the next x, 'x' and x.y") == "the next <redacted>, '<redacted>' and <redacted>.y"
    assert Secret("EMPTY").redact("key EMPTY, EMPTYING") == "key <redacted>, EMPTYING"
    assert Secret("a.b").redact("a.b acb") == "<redacted> acb"


def test_redacts_a_key_that_was_cut_off():
    key = "c0ffee00deadbeef1234567890abcdefXYZ"
    for length in range(12, len(key) + 1):
        assert Secret(key).redact(f"bad key {key[:length]}… and more") == "bad key <redacted>… and more"
