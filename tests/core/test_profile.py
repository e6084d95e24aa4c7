from __future__ import annotations

import pytest

from chatbridge.vendors.profile import Profile, ProfileError, parse_profile, profile_for, profiles


@pytest.mark.parametrize(("url", "name"), [
    ("https://api.openai.com/v1/chat/completions", "openai"),
    ("https://API.OpenAI.com:443/v1/chat/completions", "openai"),
    ("https://not-api.openai.com/v1/chat/completions", "generic"),
    ("https://openai.com.example/v1/chat/completions", "generic"),
    ("http://127.0.0.1:8080/v1/chat/completions", "generic"),
    ("", "generic"),
])  # fmt: skip
def test_the_profile_is_chosen_by_the_host(url, name):
    assert profile_for(url).name == name


def test_openai_takes_what_others_do_not():
    found = profile_for("https://api.openai.com/v1/chat/completions")
    assert (found.developer_role, found.system_placement) == ("developer", "anywhere")
    assert found.max_tokens_field == "max_completion_tokens"
    assert found.effort == {"max": "xhigh", "ultra": "xhigh"}


def test_no_host_chooses_two_profiles():
    hosts = [host for profile in profiles() for host in profile.hosts]
    assert hosts
    assert len(set(hosts)) == len(hosts)


def test_a_profile_is_read_from_toml():
    text = 'hosts = ["a.example", "b.example"]\nsystem_placement = "anywhere"\n[effort]\nxhigh = "high"\n'
    assert parse_profile("mine", text) == Profile(
        name="mine", hosts=("a.example", "b.example"), system_placement="anywhere", effort={"xhigh": "high"}
    )
    assert parse_profile("mine", "") == Profile(name="mine")


@pytest.mark.parametrize(("text", "words"), [
    ("colour = 1", ["mine", "colour", "system_placement"]),
    ("name = 'x'", ["mine", "name"]),
    ("hosts = ", ["mine"]),
    ("system_placement = 'last'", ["mine", "system_placement", "first, anywhere", "last"]),
    ("developer_role = 5", ["mine", "developer_role", "system, developer"]),
    ("max_tokens_field = ['max_tokens']", ["mine", "max_tokens_field"]),
    ("hosts = 'api.example'", ["mine", "hosts", "list of strings"]),
    ("hosts = [1]", ["mine", "hosts", "list of strings"]),
    ("effort = 'high'", ["mine", "effort", "table of strings"]),
    ("effort = { max = 1 }", ["mine", "effort", "table of strings"]),
])  # fmt: skip
def test_a_wrong_profile_names_file_key_and_what_is_allowed(text, words):
    with pytest.raises(ProfileError) as caught:
        parse_profile("mine", text)
    assert all(word in str(caught.value) for word in words)
