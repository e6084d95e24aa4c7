"""tiktoken is used where it is and has its data, and never downloads any."""

import hashlib
import sys
import types

import pytest

from chatbridge.translate.tokens import guess
from chatbridge.web import tokenizer
from chatbridge.web.tokenizer import TEXT_LIMIT, cached, counter


class Encoding:
    def encode_ordinary(self, text):
        return text.split()


@pytest.fixture
def asked(monkeypatch):
    """A tiktoken that tells which encodings it was asked for."""
    names = []
    module = types.ModuleType("tiktoken")
    module.get_encoding = lambda name: names.append(name) or Encoding()
    monkeypatch.setitem(sys.modules, "tiktoken", module)
    return names


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that holds the encoding's file."""
    data = b"what tiktoken has downloaded"
    name = hashlib.sha1(tokenizer._URL.encode()).hexdigest()
    (tmp_path / name).write_bytes(data)
    monkeypatch.setattr(tokenizer, "_SHA256", hashlib.sha256(data).hexdigest())
    return tmp_path


def test_texts_are_counted_by_it(asked, folder):
    count = counter({"TIKTOKEN_CACHE_DIR": str(folder)})
    assert asked == ["o200k_base"]
    assert count("one two three") == 3
    assert count("\ud800 two") == 2
    assert count("x" * (TEXT_LIMIT + 1)) == guess("x" * (TEXT_LIMIT + 1))


@pytest.mark.parametrize("environ", [{}, {"TIKTOKEN_CACHE_DIR": ""}, {"TIKTOKEN_CACHE_DIR": "/nowhere"}])
def test_without_its_data_it_is_not_even_asked(asked, environ):
    assert not cached(environ)
    assert counter(environ) is guess
    assert asked == []


def test_wrong_data_would_be_replaced_by_a_download(asked, folder):
    next(folder.iterdir()).write_bytes(b"broken")
    assert counter({"TIKTOKEN_CACHE_DIR": str(folder)}) is guess
    assert asked == []


def test_where_it_is_not_installed_or_broken_tokens_are_guessed(folder, monkeypatch):
    environ = {"TIKTOKEN_CACHE_DIR": str(folder)}
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    assert counter(environ) is guess
    monkeypatch.setitem(sys.modules, "tiktoken", types.ModuleType("tiktoken"))
    assert counter(environ) is guess
