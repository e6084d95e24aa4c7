"""The address made once asks for what treq would ask for with the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from treq.client import HTTPClient
from twisted.internet.defer import Deferred

from chatbridge.upstream.client import address


class Recorder:
    def __init__(self):
        self.asked = []

    def request(self, method, uri, headers=None, bodyProducer=None):
        self.asked.append((method, uri, headers, bodyProducer))
        return Deferred()


def asked(url):
    agent = Recorder()
    HTTPClient(agent).request("POST", url, data=b"{}", reactor=object())
    return agent.asked[0][:3]


@pytest.mark.parametrize("url", [
    "http://127.0.0.1:9100/v1/chat/completions", "https://api.example.com/v1/chat/completions?api-version=1&a=%20b",
    "https://user:word@example.com/x", "http://příklad.example/ž/?q=ř#f", "http://x", "http://x/a%2Fb//c/../d", "http://X:80/",
])  # fmt: skip
def test_the_same_request(url):
    assert asked(address(url)) == asked(url)
    assert asked(address(url)) == asked(url)


@given(st.text(st.sampled_from("ab/.?&=#%20é:@~ +"), max_size=20))
def test_any_path(path):
    url = "https://h.example/" + path
    try:
        expected = asked(url)
    except ValueError:
        with pytest.raises(ValueError, match=""):
            asked(address(url))
    else:
        assert asked(address(url)) == expected
