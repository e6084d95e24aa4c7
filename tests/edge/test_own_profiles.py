"""Profiles of one's own: whole files, and single keys in the configuration file."""

import pytest
from twisted.python.usage import UsageError

from chatbridge.service.options import Options

MINE = """
label = "Our gateway"
base_url = "http://127.0.0.1:9/v1"
key_env = ""
strict = "never"
[models."big*"]
max_tools = 5
"""


def settings(*arguments):
    options = Options()
    options.parseOptions(["--port", "0", *arguments])
    return options.settings({})


def refusal(*arguments):
    with pytest.raises(UsageError) as found:
        settings(*arguments)
    return str(found.value)


def write(tmp_path, text, name="chatbridge.toml"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def test_a_profile_may_be_a_file_of_ones_own(tmp_path):
    path = write(tmp_path, MINE, "mine.toml")
    found = settings("--upstream-url", "http://127.0.0.1:8/v1", "--no-api-key", "--profile", path)
    assert (found.profile.name, found.profile.strict) == ("mine", "never")
    assert found.profile.for_model("big-1").max_tools == 5
    found = settings("--upstream", path)
    assert (found.upstream_url, found.profile.label) == ("http://127.0.0.1:9/v1/chat/completions", "Our gateway")
    found = settings(
        "--config",
        write(
            tmp_path, f'[upstreams.a]\nupstream_url = "http://127.0.0.1:8/v1"\nno_api_key = true\nprofile = "{path}"\n'
        ),
    )
    assert found.profile.name == "mine"


@pytest.mark.parametrize(("text", "words"), [
    ("stric = 1", "mine.toml: unknown key 'stric'; did you mean 'strict'?"), ("strict = 'yes'", "'yes' is none of 'true', 'always', 'never'"), ("a = [", "mine.toml: "),
    ("[models.x]\nhosts = ['a']", "models.x: unknown key 'hosts'"),
])  # fmt: skip
def test_what_is_wrong_in_it_is_named_with_file_key_and_allowed_values(tmp_path, text, words):
    told = refusal("--profile", write(tmp_path, text, "mine.toml"), "--practice")
    assert told.startswith("--profile: ")
    assert words in told
    assert "No such file" in refusal("--profile", str(tmp_path / "none.toml"), "--practice")


def test_single_keys_stand_in_the_configuration_file(tmp_path):
    text = """
upstream_url = "http://127.0.0.1:8/v1"
no_api_key = true
profile = "deepseek"

[profile_keys]
max_tools = 7
models."small*" = { stream_options = false, drop = ["seed"] }

[upstreams.other]
upstream = "ollama"
headers = { "X-Team" = "a" }

[upstreams.other.profile_keys]
think_tags = "open"
"""
    found = settings("--config", write(tmp_path, text))
    first, other = found.upstreams
    assert (first.profile.name, first.profile.for_model("x").max_tools) == ("deepseek", 7)
    assert first.profile.for_model("small-1").drop == ("seed",)
    assert not first.profile.for_model("small-1").stream_options
    assert (other.profile.name, other.profile.for_model("x").think_tags) == ("ollama", "open")
    assert other.profile.headers["x-team"] == "a"
    assert first.profile.for_model("x").think_tags == "start"


@pytest.mark.parametrize(("text", "words"), [
    ("practice = true\n\n[profile_keys]\nthinktags = 'open'\n", ":3: profile_keys: unknown key 'thinktags'; did you mean 'think_tags'?"),
    ("[upstreams.a]\npractice = true\n[upstreams.a.profile_keys]\nthink_tags = 'end'\n", ":3: profile_keys: think_tags: 'end' is none of 'start', 'open', 'never'"),
    ("practice = true\nprofile_keys = 5\n", ":2: profile_keys: must be a table"),
    ("[profile_keys]\nmax_tools = 5\n[upstreams.a]\npractice = true\n", ":1: profile_keys: there is no upstream outside of the tables"),
])  # fmt: skip
def test_what_is_wrong_in_single_keys_is_named_with_its_place(tmp_path, text, words):
    assert words in refusal("--config", write(tmp_path, text))
