from __future__ import annotations

import pytest

from chatbridge.protocol.checks import array, either, integer, number, of, optional, string, table, words
from chatbridge.protocol.errors import ApiError


@pytest.mark.parametrize(("kind", "good", "bad", "text"), [
    (str, "s", 1, "a string"), (bool, False, 0, "a boolean"), (list, [], {}, "an array"), (dict, {}, [], "an object"),
])  # fmt: skip
def test_optional_values(kind, good, bad, text):
    assert optional(good, kind, "a.b") == good
    assert optional(None, kind, "a.b") is None
    with pytest.raises(ApiError, match=f"a.b must be {text}.") as caught:
        optional(bad, kind, "a.b")
    assert (caught.value.status, caught.value.param) == (400, "a.b")


NESTED = table({"a": array(table({"b": integer(1, 5)}, required=("b",)))})


@pytest.mark.parametrize(("check", "good", "bad", "param", "code"), [
    (of(bool), True, 1, "x", "invalid_type"),
    (string(), "", 5, "x", "invalid_type"),
    (string(3), "abc", "abcd", "x", "string_above_max_length"),
    (words("a", "b"), "b", "c", "x", "invalid_value"),
    (words("a", "b"), "b", 5, "x", "invalid_type"),
    (number(0, 2), 2, 2.1, "x", "decimal_above_max_value"),
    (number(0, 2), 0, -0.1, "x", "decimal_below_min_value"),
    (number(0, 2), 0.5, "1", "x", "invalid_type"),
    (number(0, 2), 0.5, True, "x", "invalid_type"),
    (integer(1), 10**9, 0, "x", "integer_below_min_value"),
    (integer(0, 20), 20, 21, "x", "integer_above_max_value"),
    (integer(0), 0, 0.5, "x", "invalid_type"),
    (integer(0), 0, True, "x", "invalid_type"),
    (array(string()), ["a"], "a", "x", "invalid_type"),
    (array(string()), [], ["a", 5], "x[1]", "invalid_type"),
    (table({"a": string()}), {"a": None, "b": 5}, [], "x", "invalid_type"),
    (table({"a": string()}), {}, {"a": 5}, "x.a", "invalid_type"),
    (NESTED, {"a": [{"b": 1}]}, {"a": [{"b": 1}, {"b": 9}]}, "x.a[1].b", "integer_above_max_value"),
    (NESTED, {}, {"a": [{"b": None}]}, "x.a[0].b", "missing_required_parameter"),
    (either(str, dict, table({"id": string()}, required=("id",))), {"id": "c"}, {}, "x.id", "missing_required_parameter"),
    (either(str, dict, of(dict)), "c", [], "x", "invalid_type"),
])  # fmt: skip
def test_a_check_lets_the_good_through_and_names_the_bad(check, good, bad, param, code):
    check(good, "x")
    with pytest.raises(ApiError) as caught:
        check(bad, "x")
    error = caught.value
    assert (error.status, error.param, error.code) == (400, param, code)
    assert param in error.message
