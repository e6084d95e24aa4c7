import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbridge.protocol.models import LIMIT, Model, model_list, model_object, read_models

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["data", "models", "id", "name", "meta", "n_ctx", "created", "input_modalities", "vision"]), inner, max_size=4
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("value", "models"),
    [
        (
            {"object": "list", "data": [{"id": "a", "object": "model", "created": 5, "owned_by": "x"}]},
            [Model(id="a", created=5, owned_by="x")],
        ),
        ([{"id": "a"}, {"id": "b"}], [Model(id="a"), Model(id="b")]),
        ({"data": ["a"]}, [Model(id="a")]),
        ({"models": [{"name": "models/gemini-x", "inputTokenLimit": 9}]}, [Model(id="gemini-x", context_window=9)]),
        ({"models": [{"name": "llama3:8b", "model": "llama3:8b"}]}, [Model(id="llama3:8b")]),
        ({"data": [{"id": "g", "context_window": 131072}]}, [Model(id="g", context_window=131072)]),
        ({"data": [{"id": "v", "max_model_len": 32768}]}, [Model(id="v", context_window=32768)]),
        ({"data": [{"id": "l", "meta": {"n_ctx": 4096, "n_ctx_train": 8192}}]}, [Model(id="l", context_window=4096)]),
        (
            {"data": [{"id": "o/r", "context_length": 10, "architecture": {"input_modalities": ["text", "image"]}}]},
            [Model(id="o/r", context_window=10, images=True)],
        ),
        (
            {"data": [{"id": "m", "capabilities": {"vision": False}, "max_context_length": 7}]},
            [Model(id="m", context_window=7, images=False)],
        ),
        ({"data": [{"id": "a", "context_length": None, "top_provider": {"context_length": 3}}]}, [Model(id="a", context_window=3)]),
        ({"data": [{"id": "a", "context_length": "many", "created": -1, "owned_by": 5}]}, [Model(id="a")]),
        ({"data": [{"id": "a", "context_length": True}]}, [Model(id="a")]),
        ({"data": [{"id": "a", "owned_by": "1"}, {"id": "a", "owned_by": "2"}]}, [Model(id="a", owned_by="1")]),
        ({"data": [{"id": ""}, {"id": " "}, {"id": None}, {}, None, 5, {"id": "x" * 501}]}, []),
        ({"error": {"message": "no"}}, []),
        ("models", []),
        (None, []),
    ],
)  # fmt: skip
def test_lists_of_any_vendor(value, models):
    assert read_models(value) == models


def test_a_list_has_an_end():
    assert len(read_models([{"id": str(number)} for number in range(LIMIT + 10)])) == LIMIT


@given(JSON)
def test_anything_can_be_read_and_written(value):
    body = model_list(read_models(value))
    assert [entry["slug"] for entry in body["models"]] == [model["id"] for model in body["data"]]


def test_one_body_for_both_kinds_of_client():
    body = model_list([Model(id="a", created=1, context_window=100, images=False), Model(id="b")])
    assert body["object"] == "list"
    assert body["data"][0] == {"id": "a", "object": "model", "created": 1, "owned_by": "upstream"}
    first, second = body["models"]
    assert (first["slug"], first["context_window"], first["input_modalities"]) == ("a", 100, ["text"])
    assert "context_window" not in second
    assert second["input_modalities"] == ["text", "image"]
    assert (first["priority"], second["priority"]) == (0, 1)


def test_a_single_model():
    assert model_object(Model(id="a", owned_by="me")) == {"id": "a", "object": "model", "created": 0, "owned_by": "me"}
