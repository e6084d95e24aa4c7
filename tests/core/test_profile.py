import dataclasses
import json
import re
import tomllib
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chatbridge.vendors.checks import EFFORTS, OPENAI_KEYS, ProfileError
from chatbridge.vendors.profile import Profile, parse_profile, profile_for, profile_named, profiles, with_keys

FILES = sorted(
    file.name for file in resources.files("chatbridge.vendors.data").iterdir() if file.name.endswith(".toml")
)
NAMES = [name.removesuffix(".toml") for name in FILES]
VENDORS = [name for name in NAMES if name != "generic"]
LOCAL = ["llamacpp", "lmstudio", "ollama", "sglang", "vllm"]
OWN_ADDRESS = ["azure", "databricks", "snowflake"]
PAGE = (Path(__file__).parents[2] / "docs" / "vendors.md").read_text("utf-8")


KEYS = [item.name for item in dataclasses.fields(Profile) if item.name not in ("name", "models")]


def for_vendor(name, model=""):
    return profile_named(name).for_model(model)


def samples(globs):
    """A name for each of the globs."""
    return [re.sub(r"\[(.).*?\]", r"\1", glob).replace("*", "") for glob in globs.split("|")]


def variants(name):
    """The vendor's profile for an unknown model, and for one of each of its tables."""
    profile = profile_named(name)
    return [
        profile.for_model(model) for model in ["", *(model for globs, _ in profile.models for model in samples(globs))]
    ]


# The files


def test_every_file_is_a_profile_of_its_name():
    assert set(profiles()) == set(NAMES)
    assert all(profile.name == name for name, profile in profiles().items())


def test_the_vendors_that_users_name_are_there():
    wanted = (
        "deepseek moonshot kimi-code zai alibaba minimax mistral groq cerebras xai gemini openrouter together fireworks "
        "deepinfra siliconflow nvidia huggingface perplexity cohere snowflake azure openai github-models github-copilot "
        "volcengine stepfun anthropic-compat ollama vllm sglang llamacpp lmstudio modelscope tencent baidu xiaomi "
        "databricks vercel-gateway generic"
    )
    assert set(wanted.split()) <= set(NAMES)


@pytest.mark.parametrize("file", FILES)
def test_a_file_says_nothing_but_what_differs(file):
    data = tomllib.loads(resources.files("chatbridge.vendors.data").joinpath(file).read_text("utf-8"))
    models = data.pop("models", {})
    default = Profile()
    for key, value in data.items():
        assert (tuple(value) if isinstance(value, list) else value) != getattr(default, key), f"{file}: {key}"
    assert all(models.values()), f"{file}: a table without keys"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_sent_can_be_written_as_json(name):
    for profile in variants(name):
        for key in ("body", "body_with_tools", "thinking_on", "thinking_off", "search"):
            json.dumps(getattr(profile, key))


@pytest.mark.parametrize("name", NAMES)
def test_each_of_a_table_s_globs_finds_a_model(name):
    for globs, _ in profile_named(name).models:
        table = Profile(models=((globs, {"max_bytes": 5}),))
        assert [table.for_model(model).max_bytes for model in samples(globs)] == [5] * len(globs.split("|"))


# Errors


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("max_token = 5", ["unknown key 'max_token'", "did you mean 'max_tokens'"]),
        ("zzz = 5", ["unknown key 'zzz'", "allowed: label, base_url, hosts"]),
        ('name = "other"', ["unknown key 'name'"]),
        ("max_tokens = true", ["max_tokens must be an integer, not True"]),
        ('max_tokens = "5"', ["max_tokens must be an integer, not '5'"]),
        ("max_tokens = -5", ["max_tokens must not be negative, not -5"]),
        ("stream_options = 1", ["stream_options must be true or false, not 1"]),
        ("label = 5", ["label must be a string, not 5"]),
        ('hosts = "a.example"', ["hosts must be an array of strings, not 'a.example'"]),
        ("hosts = [5]", ["hosts must be an array of strings, not [5]"]),
        ("body = []", ["body must be a table, not []"]),
        ("replay_placeholder = 5", ["replay_placeholder must be a string, not 5"]),
        ('developer_role = "root"', ["developer_role: 'root' is none of 'system', 'developer'"]),
        ('system_placement = "last"', ["system_placement: 'last' is none of 'first', 'anywhere'"]),
        ('calls_content = "none"', ["calls_content: 'none' is none of 'empty', 'null', 'omit'"]),
        ('images = "yes"', ["images: 'yes' is none of 'object', 'string', 'data', 'none'"]),
        ('max_tokens_field = "tokens"', ["max_tokens_field: 'tokens'", "'max_tokens', 'max_completion_tokens'"]),
        ('strict = "false"', ["strict: 'false' is none of 'true', 'always', 'never'"]),
        ('parallel_tool_calls = "true"', ["parallel_tool_calls: 'true' is none of 'false', 'always', 'never'"]),
        ('call_id = "9"', ["call_id: '9' is none of 'any', '40', 'word', 'alnum9'"]),
        ('replay = "thoughts"', ["replay: 'thoughts' is none of 'none', 'reasoning_content'"]),
        ('replay_on = "some"', ["replay_on: 'some' is none of 'calls', 'loop', 'all'"]),
        ('think_tags = "end"', ["think_tags: 'end' is none of 'start', 'open', 'never'"]),
        ('schema = ["drop:title"]', ["schema: 'drop:title' is none of 'inline_refs'"]),
        ('response_formats = ["xml"]', ["response_formats: 'xml' is none of 'json_object', 'json_schema'"]),
        ('openai_keys = ["store"]', ["openai_keys: 'store' is none of 'verbosity'"]),
        ('efforts = ["hard"]', ["efforts: 'hard' is none of 'none', 'minimal'"]),
        ('effort = { hard = "high" }', ["effort: 'hard' is none of 'none', 'minimal'"]),
        ('effort = { low = "xhigh" }', ["effort: 'xhigh' is none of '', 'none', 'minimal', 'low', 'medium', 'high'"]),
        ("effort = { low = true }", ["effort.low must be a string, not True"]),
        ("effort = { low = 0 }", ["effort.low must be a string, not 0"]),
        ('tool_choice = { auto = "any" }', ["tool_choice: 'auto' is none of 'required', 'named', 'none'"]),
        (
            'tool_choice = { named = "some" }',
            ["tool_choice.named: 'some' is none of 'required', 'any', 'auto', 'omit'"],
        ),
        ("headers = { X-A = 5 }", ["headers.X-A must be a string, not 5"]),
        ("rename = { seed = 5 }", ["rename.seed must be a string, not 5"]),
        ('drop = ["messages"]', ["drop: model, messages, stream cannot be dropped"]),
        ('overflow = ["("]', ["overflow: '(' is no regular expression"]),
        ("search = { query = 5 }", ["search: 'query' is none of 'body', 'tools'"]),
        ("search = { body = [] }", ["search.body must be a table, not []"]),
        ('search = { tools = ["a"] }', ["search.tools must be an array of tables, not ['a']"]),
        ("models = 5", ["models must be tables"]),
        ("[models]\na = 5", ["models must be tables"]),
        ('[models."a*"]\nimage = "none"', ["models.a*: unknown key 'image'", "did you mean 'images'"]),
        ('[models."a*"]\nbase_url = "x"', ["models.a*: unknown key 'base_url'"]),
        ('[models."a*"]\nimages = "yes"', ["models.a*: images: 'yes' is none of"]),
        (
            'efforts = ["low"]\neffort = { high = "low" }\n[models."a*"]\nefforts = ["max"]',
            ["models.a*: effort: 'low' is none of '', 'max'"],
        ),
        ("label = = 5", ["line 1"]),
    ],
)
def test_an_error_names_file_key_and_what_is_allowed(text, parts):
    with pytest.raises(ProfileError) as caught:
        parse_profile("folder/mine.toml", text)
    for part in ["folder/mine.toml: ", *parts]:
        assert part in str(caught.value)


def test_each_choice_of_the_dataclass_is_one_that_a_file_may_make():
    lines = [f"{key} = {toml(value)}" for key in KEYS if (value := getattr(Profile(), key)) is not None]
    parsed = parse_profile("same.toml", "\n".join(lines))
    assert repr(dataclasses.replace(parsed, name="generic")) == repr(Profile())


def test_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(ProfileError, match="no vendor profile 'deepsek'; did you mean 'deepseek'"):
        profile_named("deepsek")
    with pytest.raises(ProfileError, match=r"there are alibaba, .*, zai"):
        profile_named("?")


# Which profile


ALTERNATES = [
    ("openai", "https://eu.api.openai.com/v1/chat/completions"),
    ("moonshot", "https://api.moonshot.cn/v1/chat/completions"),
    ("zai", "https://api.z.ai/api/coding/paas/v4/chat/completions"),
    ("zai", "https://open.bigmodel.cn/api/paas/v4/chat/completions"),
    ("zai", "https://open.bigmodel.cn/api/coding/paas/v4/chat/completions"),
    ("alibaba", "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions"),
    ("alibaba", "https://coding-intl.dashscope.aliyuncs.com/v1/chat/completions"),
    ("minimax", "https://api.minimaxi.com/v1/chat/completions"),
    ("together", "https://api.together.ai/v1/chat/completions"),
    ("siliconflow", "https://api.siliconflow.cn/v1/chat/completions"),
    ("azure", "https://mine.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2024-10-21"),
    ("azure", "https://mine.services.ai.azure.com/openai/v1/chat/completions"),
    ("gemini", "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/endpoints/openapi/chat/completions"),
    ("github-copilot", "https://api.individual.githubcopilot.com/chat/completions"),
    ("databricks", "https://adb-12.3.azuredatabricks.net/ai-gateway/mlflow/v1/chat/completions"),
    ("databricks", "https://dbc-1.cloud.databricks.com/ai-gateway/mlflow/v1/chat/completions"),
    ("ollama", "http://localhost:11434/v1/chat/completions"),
    ("ollama", "http://[::1]:11434/v1/chat/completions"),
    ("lmstudio", "http://localhost:1234/v1/chat/completions"),
    ("sglang", "http://[::1]:30000/v1/chat/completions"),
    ("deepseek", "https://API.DeepSeek.com:443/v1/chat/completions"),
    ("generic", "http://127.0.0.1:8000/v1/chat/completions"),
    ("generic", "http://127.0.0.1:8080/v1/chat/completions"),
    ("generic", "http://127.0.0.1:1143/v1/chat/completions"),
    ("generic", "https://api.openai.com.example/v1/chat/completions"),
    ("generic", "https://gateway.example/api.deepseek.com/chat/completions"),
    ("generic", "unix:/run/server.sock"),
]


@pytest.mark.parametrize(("name", "url"), ALTERNATES)
def test_the_upstream_url_chooses(name, url):
    assert profile_for(url).name == name


@pytest.mark.parametrize("name", [name for name in VENDORS if name not in ("vllm", "llamacpp")])
def test_its_own_url_chooses_it(name):
    host = re.sub(
        r"\{\w+\}", "mine.cloud.databricks.com" if name == "databricks" else "mine", profile_named(name).base_url
    )
    assert profile_for(f"{host}/chat/completions") is profile_named(name)


def test_no_two_vendors_claim_one_host():
    for profile in profiles().values():
        for host in profile.hosts:
            shown = f"[{host[:3]}]{host[3:]}" if host.startswith("::1") else host.replace("*", "x")
            assert profile_for(f"http://{shown}/v1") is profile, host


@pytest.mark.parametrize("name", VENDORS)
def test_its_address_is_one(name):
    profile = profile_named(name)
    parts = urlsplit(profile.base_url)
    assert parts.scheme == ("http" if name in LOCAL else "https")
    assert parts.hostname
    assert not profile.base_url.endswith("/")
    if name in OWN_ADDRESS:
        with pytest.raises(ProfileError, match=rf"{name} has no address of its own.*/chat/completions"):
            profile.chat_url()
    else:
        assert profile.chat_url() == f"{profile.base_url}/chat/completions"


def test_the_generic_profile_has_no_address():
    with pytest.raises(ProfileError, match=r"generic has no address of its own: give the upstream's URL$"):
        profile_named("generic").chat_url()


@pytest.mark.parametrize("name", NAMES)
def test_a_key_variable_is_named_except_for_local_servers(name):
    assert re.fullmatch(r"[A-Z][A-Z_]+" if name not in LOCAL else "", profile_named(name).key_env)


# Models


FOR_MODELS = """
max_tokens = 1
images = "data"
[models."a*|*/b"]
max_tokens = 2
images = "none"
[models."ab*"]
max_tokens = 3
"""


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("other", (1, "data")),
        ("a", (2, "none")),
        ("A-Large", (2, "none")),
        ("maker/b", (2, "none")),
        ("maker/b2", (1, "data")),
        ("ab1", (3, "none")),
        ("a*|*/b", (2, "none")),
    ],
)
def test_tables_of_models_count_in_their_order(model, found):
    profile = parse_profile("mine.toml", FOR_MODELS)
    single = profile.for_model(model)
    assert (single.max_tokens, single.images) == found
    assert (single.name, single.models) == ("mine", ())
    assert profile.for_model(model) is single


def test_a_vendor_without_tables_is_the_same_for_all_models():
    profile = profile_named("deepseek")
    assert profile.for_model("any") is profile


# Efforts


CLAMPED = [
    # vendor, model, what is sent for none minimal low medium high xhigh max ultra; "-" sends nothing
    ("generic", "any", "none minimal low medium high high high high"),
    ("openai", "gpt-5.5", "none low low medium high xhigh xhigh xhigh"),
    ("openai", "gpt-5.5-pro", "medium medium medium medium high xhigh xhigh xhigh"),
    ("openai", "gpt-5.1-codex", "none low low medium high high high high"),
    ("openai", "gpt-5-mini", "minimal minimal low medium high high high high"),
    ("openai", "gpt-4.1", "- - - - - - - -"),
    ("azure", "gpt-5", "minimal minimal low medium high high high high"),
    ("deepseek", "deepseek-v4-pro", "- high high high high max max max"),
    ("moonshot", "kimi-k3", "low low low high high max max max"),
    ("moonshot", "kimi-k2.6", "- - - - - - - -"),
    ("zai", "glm-5.2", "- high high high high max max max"),
    ("zai", "glm-5.3", "low low low high high max max max"),
    ("zai", "glm-4.7", "- - - - - - - -"),
    ("alibaba", "qwen3.7-plus", "- 1024 4096 16384 - - - -"),
    ("mistral", "mistral-small-2603", "none high high high high high high high"),
    ("mistral", "mistral-large-2512", "- - - - - - - -"),
    ("groq", "openai/gpt-oss-120b", "low low low medium high high high high"),
    ("groq", "qwen/qwen3-32b", "none - - - - - - -"),
    ("groq", "llama-3.3-70b-versatile", "- - - - - - - -"),
    ("cerebras", "gpt-oss-120b", "low low low medium high high high high"),
    ("cerebras", "zai-glm-4.7", "none - - - - - - -"),
    ("xai", "grok-4.3", "none low low medium high high high high"),
    ("xai", "grok-4-0709", "- - - - - - - -"),
    ("xai", "grok-code-fast-1", "- - - - - - - -"),
    ("xai", "grok-4.20-0309-reasoning", "- - - - - - - -"),
    ("gemini", "gemini-3.5-flash", "minimal minimal low medium high high high high"),
    ("gemini", "gemini-3.1-pro-preview", "low low low medium high high high high"),
    ("gemini", "gemini-2.5-flash", "none minimal low medium high high high high"),
    ("openrouter", "any/model", "none minimal low medium high xhigh xhigh xhigh"),
    ("github-copilot", "claude-sonnet-5", "low low low medium high xhigh max max"),
    ("github-copilot", "claude-haiku-4.5", "- - - - - - - -"),
    ("cohere", "command-a-plus-05-2026", "none none high high high high high high"),
    ("together", "zai-org/GLM-5.2", "- high high high high max max max"),
    ("together", "moonshotai/Kimi-K2.7-Code", "- - - - - - - -"),
    ("siliconflow", "deepseek-ai/DeepSeek-V4-Pro", "- 1024 4096 8192 16384 32768 32768 32768"),
    ("siliconflow", "zai-org/GLM-5.2", "high high high high high max max max"),
    ("volcengine", "doubao-seed-2-1-pro-260628", "- minimal low medium high high high high"),
    ("stepfun", "step-3.5-flash-2603", "low low low high high high high high"),
    ("snowflake", "claude-opus-4-8", "low low low medium high high high high"),
    ("vllm", "openai/gpt-oss-20b", "low low low medium high high high high"),
    ("vllm", "Qwen/Qwen3.6-27B", "- - - - - - - -"),
    ("ollama", "qwen3.6", "none low low medium high max max max"),
    ("lmstudio", "any", "- - - - - - - -"),
    ("anthropic-compat", "claude-sonnet-5", "- - - - - - - -"),
]


@pytest.mark.parametrize(("name", "model", "sent"), CLAMPED)
def test_R05_efforts_end_in_what_the_model_knows(name, model, sent):
    profile = for_vendor(name, model)
    found = [str(at_path(profile.reasoning(effort), profile.effort_field)) for effort in EFFORTS]
    assert " ".join(found) == sent


def at_path(table, path):
    for name in path.split("."):
        table = table.get(name, "-") if isinstance(table, dict) else "-"
    return table


@pytest.mark.parametrize("name", NAMES)
def test_R05_no_effort_ends_outside_what_the_vendor_knows(name):
    for profile in variants(name):
        for effort in EFFORTS:
            sent = at_path(profile.reasoning(effort), profile.effort_field or "-")
            assert sent == "-" or sent in profile.efforts or sent in profile.effort.values()
            assert sent != "none" or effort == "none" or profile.effort.get(effort) == "none"


ASKED = [
    ("deepseek", "deepseek-v4-pro", "low", {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}),
    ("deepseek", "deepseek-v4-pro", "none", {"thinking": {"type": "disabled"}}),
    ("moonshot", "kimi-k2.7-code", "none", {}),
    ("moonshot", "kimi-k2.6", "none", {"thinking": {"type": "disabled"}}),
    ("alibaba", "qwen3.7-plus", "low", {"enable_thinking": True, "thinking_budget": 4096}),
    ("alibaba", "qwen3.7-plus", "max", {"enable_thinking": True}),
    ("alibaba", "qwen3-coder-plus", "high", {}),
    ("openrouter", "any/model", "ultra", {"reasoning": {"effort": "xhigh"}}),
    ("together", "moonshotai/Kimi-K2.6", "high", {"reasoning": {"enabled": True}}),
    ("vllm", "Qwen/Qwen3.6-27B", "none", {"chat_template_kwargs": {"enable_thinking": False}}),
    ("llamacpp", "gpt-oss-20b.gguf", "high", {"chat_template_kwargs": {"reasoning_effort": "high"}}),
    ("generic", "any", "eager", {"reasoning_effort": "eager"}),
    ("lmstudio", "any", "eager", {}),
]


@pytest.mark.parametrize(("name", "model", "effort", "asked"), ASKED)
def test_R05_what_asks_for_an_effort(name, model, effort, asked):
    assert for_vendor(name, model).reasoning(effort) == asked


def test_R05_a_model_that_cannot_stop_thinking_is_asked_for_the_least():
    assert for_vendor("zai", "glm-5.3").reasoning("none") == {"reasoning_effort": "low"}


def test_R05_an_effort_enters_the_object_that_switches_thinking_on():
    lines = ['effort_field = "a.b.c"', 'efforts = ["low"]', "thinking_on = { a = { on = true, b = { d = 1 } } }"]
    profile = parse_profile("mine.toml", "\n".join(lines))
    asked = profile.reasoning("high")
    assert asked == {"a": {"on": True, "b": {"d": 1, "c": "low"}}}
    asked["a"]["b"].clear()
    assert profile.reasoning("high") == {"a": {"on": True, "b": {"d": 1, "c": "low"}}}


def test_R05_what_switches_thinking_off_is_a_new_table_each_time():
    profile = profile_named("deepseek")
    profile.reasoning("none")["thinking"].clear()
    assert profile.reasoning("none") == {"thinking": {"type": "disabled"}}


# What is sent


@pytest.mark.parametrize("name", VENDORS)
def test_R27_keys_that_only_openai_knows_are_for_those_who_know_them(name):
    profile = profile_named(name)
    some = {"moonshot": {"prompt_cache_key", "safety_identifier"}}
    some |= {other: {"prompt_cache_key"} for other in ("kimi-code", "fireworks", "cerebras")}
    known = set(OPENAI_KEYS) if name in ("openai", "azure") else some.get(name, set())
    assert {key for key in OPENAI_KEYS if profile.sends(key)} == known


def test_R27_an_unknown_server_is_tried_with_all_keys():
    assert all(profile_named("generic").sends(key) for key in (*OPENAI_KEYS, "temperature", "seed"))


@pytest.mark.parametrize(
    ("name", "model", "refused", "taken"),
    [
        ("openai", "gpt-5.5", ["temperature", "top_p", "presence_penalty", "stop", "logprobs"], ["seed"]),
        ("openai", "gpt-4.1", [], ["temperature", "stop", "logprobs"]),
        ("deepseek", "", ["seed", "logprobs", "top_logprobs"], ["temperature"]),
        ("moonshot", "kimi-k2.6", ["temperature", "top_p", "seed"], ["stop"]),
        ("xai", "grok-4.3", ["presence_penalty", "frequency_penalty", "stop"], ["temperature"]),
        ("gemini", "", ["seed", "presence_penalty", "frequency_penalty", "logprobs"], ["temperature", "stop"]),
        ("cerebras", "", ["presence_penalty", "frequency_penalty", "logit_bias"], ["seed"]),
        ("perplexity", "", ["tools", "tool_choice"], ["temperature"]),
    ],
)
def test_R04_R24_R34_refused_keys_are_not_sent(name, model, refused, taken):
    profile = for_vendor(name, model)
    assert not any(profile.sends(key) for key in refused)
    assert all(profile.sends(key) for key in taken)


NEEDS_REASONING_BACK = [
    ("deepseek", "deepseek-v4-pro"),
    ("generic", "deepseek-v4-flash"),
    ("openrouter", "deepseek/deepseek-v4-pro"),
    ("vercel-gateway", "deepseek/deepseek-v4-flash"),
    ("volcengine", "deepseek-v4-pro-260425"),
    ("siliconflow", "deepseek-ai/DeepSeek-V4-Pro"),
    ("nvidia", "deepseek-ai/deepseek-v4-flash"),
    ("together", "deepseek-ai/DeepSeek-V4-Pro"),
    ("huggingface", "deepseek-ai/DeepSeek-V4-Flash"),
    ("fireworks", "accounts/fireworks/models/deepseek-v4-pro"),
    ("deepinfra", "deepseek-ai/DeepSeek-V4-Pro"),
    ("alibaba", "deepseek-v4-pro"),
    ("azure", "DeepSeek-V4-Pro"),
]


@pytest.mark.parametrize(("name", "model"), NEEDS_REASONING_BACK)
def test_R06_deepseek_gets_the_field_on_each_message_wherever_it_runs(name, model):
    profile = for_vendor(name, model)
    assert (profile.replay, profile.replay_on, profile.replay_placeholder) == ("reasoning_content", "all", "")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("moonshot", "kimi-k3"),
        ("moonshot", "kimi-k2.6"),
        ("kimi-code", "kimi-for-coding"),
        ("generic", "moonshotai/Kimi-K2.7-Code"),
        ("vercel-gateway", "moonshotai/kimi-k2.7-code"),
        ("volcengine", "kimi-k2.6"),
        ("siliconflow", "moonshotai/Kimi-K2.6"),
        ("nvidia", "moonshotai/kimi-k2.6"),
        ("together", "moonshotai/Kimi-K2.7-Code"),
        ("huggingface", "moonshotai/Kimi-K2.7-Code"),
        ("fireworks", "accounts/fireworks/models/kimi-k2p7-code"),
        ("deepinfra", "moonshotai/Kimi-K2.6"),
    ],
)
def test_R06_kimi_gets_the_field_on_calls_and_never_empty(name, model):
    profile = for_vendor(name, model)
    assert (profile.replay, profile.replay_on, profile.replay_placeholder) == ("reasoning_content", "calls", " ")


@pytest.mark.parametrize(
    ("name", "model", "replay"),
    [
        ("cerebras", "gpt-oss-120b", "reasoning"),
        ("cerebras", "zai-glm-4.7", "think_tags"),
        ("cerebras", "llama-4", "none"),
        ("mistral", "magistral-medium-latest", "content_parts"),
        ("minimax", "MiniMax-M3", "reasoning_details"),
        ("openrouter", "anthropic/claude-sonnet-5", "reasoning_details"),
        ("ollama", "qwen3.6", "reasoning"),
        ("fireworks", "accounts/fireworks/models/qwen3p7-plus", "none"),
        ("openai", "gpt-5.5", "none"),
    ],
)
def test_R07_R09_each_vendor_gets_reasoning_back_in_its_own_form(name, model, replay):
    assert for_vendor(name, model).replay == replay


def test_R08_gemini_gets_its_own_word_for_a_lost_signature():
    assert profile_named("gemini").signature_placeholder == "skip_thought_signature_validator"


@pytest.mark.parametrize(
    ("name", "model", "kind"),
    [
        ("mistral", "", "alnum9"),
        ("vllm", "mistralai/Devstral-Small", "alnum9"),
        ("openrouter", "mistralai/mistral-large", "alnum9"),
        ("openrouter", "anthropic/claude-sonnet-5", "word"),
        ("anthropic-compat", "", "word"),
        ("openai", "", "40"),
        ("deepseek", "", "any"),
    ],
)
def test_R10_call_ids(name, model, kind):
    assert for_vendor(name, model).call_id == kind


@pytest.mark.parametrize(
    ("name", "model", "required", "named"),
    [
        ("mistral", "", "any", "any"),
        ("deepseek", "", "auto", "auto"),
        ("zai", "glm-5.2", "auto", "auto"),
        ("moonshot", "kimi-k2.6", "auto", "auto"),
        ("moonshot", "kimi-k3", "required", "auto"),
        ("ollama", "", "omit", "omit"),
        ("groq", "openai/gpt-oss-20b", "auto", None),
        ("openai", "", None, None),
    ],
)
def test_R17_tool_choice(name, model, required, named):
    choice = for_vendor(name, model).tool_choice
    assert (choice.get("required"), choice.get("named")) == (required, named)


def test_R35_a_body_too_large_for_kimi_is_a_context_overflow():
    profile = profile_named("kimi-code")
    assert profile.max_bytes == 2 * 1024 * 1024
    text = "total message size 2209876 exceeds limit 2097152"
    assert any(re.search(pattern, text) for pattern in profile.overflow)


@pytest.mark.parametrize(
    ("name", "model", "images"),
    [
        ("deepseek", "deepseek-v4-pro", "none"),
        ("zai", "glm-5.2", "none"),
        ("zai", "glm-5v-turbo", "object"),
        ("moonshot", "kimi-k2-thinking", "none"),
        ("moonshot", "kimi-k2.6", "object"),
        ("mistral", "mistral-large-2512", "string"),
        ("mistral", "magistral-small", "none"),
        ("groq", "meta-llama/llama-4-scout-17b-16e-instruct", "object"),
        ("groq", "llama-3.3-70b-versatile", "none"),
        ("ollama", "gemma4:31b", "data"),
        ("xiaomi", "mimo-v2.5", "object"),
        ("xiaomi", "mimo-v2.5-pro", "none"),
    ],
)
def test_R20_images_by_model(name, model, images):
    assert for_vendor(name, model).images == images


@pytest.mark.parametrize(
    ("name", "model", "tokens"),
    [
        ("openai", "gpt-5.5", 1_050_000),
        ("openai", "gpt-5.4-mini", 400_000),
        ("openai", "gpt-5.4-2026-03-05", 1_050_000),
        ("deepseek", "deepseek-chat", 1_000_000),
        ("zai", "glm-5.2", 1_000_000),
        ("zai", "glm-4.5v", 64_000),
        ("alibaba", "qwen3.7-max", 1_000_000),
        ("alibaba", "qwen3.6-27b", 262_144),
        ("minimax", "MiniMax-M2.7-highspeed", 204_800),
        ("minimax", "MiniMax-M2", 196_608),
        ("mistral", "mistral-small-2506", 128_000),
        ("anthropic-compat", "claude-opus-4-8", 200_000),
        ("github-copilot", "gpt-5.5", 400_000),
        ("ollama-cloud", "glm-5.2", 976_000),
        ("ollama", "glm-5.2", 0),
        ("generic", "gpt-5.5", 0),
    ],
)
def test_E05_context_windows(name, model, tokens):
    assert for_vendor(name, model).context_window == tokens


@pytest.mark.parametrize(
    ("name", "model", "search"),
    [
        ("openrouter", "", {"tools": [{"type": "openrouter:web_search"}]}),
        ("alibaba", "qwen3.7-max", {"body": {"enable_search": True}}),
        ("groq", "openai/gpt-oss-120b", {"tools": [{"type": "browser_search"}]}),
        ("groq", "qwen/qwen3-32b", {}),
        ("openai", "gpt-5-search-api", {"body": {"web_search_options": {}}}),
        ("openai", "gpt-5.5", {}),
        ("xai", "grok-4.3", {}),
        ("moonshot", "kimi-k2.6", {}),
    ],
)
def test_web_search_is_asked_for_where_it_is_there(name, model, search):
    assert for_vendor(name, model).search == search


# The page


def toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{}"
    return str(value)


@pytest.mark.parametrize("key", KEYS)
def test_the_page_names_each_key_with_its_default(key):
    default = getattr(Profile(), key)
    shown = "not set" if default is None else f"`{toml(default)}`"
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{key}` |"))
    assert row.split(" | ")[2] == shown


def test_the_page_names_no_key_that_is_not_there():
    rows = re.findall(r"^\| `(\w+)` \| (?:text|number|bool|list|table) \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(KEYS)


@pytest.mark.parametrize("name", VENDORS)
def test_the_page_names_each_vendor(name):
    profile = profile_named(name)
    key = f"`{profile.key_env}`" if profile.key_env else "none"
    row = f"| `{name}` | {profile.label} | `{profile.base_url}` | {key} | "
    assert row in PAGE


def test_the_page_names_no_vendor_that_is_not_there():
    assert set(re.findall(r"^\| `([\w-]+)` \| [^|]+ \| `http", PAGE, re.MULTILINE)) == set(VENDORS)


# --- single keys of one's own


def test_a_key_of_ones_own_holds_for_all_models():
    base = parse_profile("v.toml", 'images = "data"\n[models."small*"]\nimages = "none"\nmax_tools = 3\n')
    found = with_keys(base, {"images": "object", "label": "Mine"}, "file:3")
    assert [found.for_model(model).images for model in ("big", "small")] == ["object", "object"]
    assert (found.label, found.name, found.for_model("small").max_tools) == ("Mine", "v", 3)
    assert base.for_model("small").images == "none"


def test_keys_of_ones_own_for_single_models_count_most():
    found = with_keys(
        profile_named("deepseek"), {"max_tools": 5, "models": {"x*": {"max_tools": 9, "drop": ["seed"]}}}, "f"
    )
    assert [(found.for_model(model).max_tools, found.for_model(model).drop[-1:]) for model in ("x1", "y")] == [
        (9, ("seed",)),
        (5, profile_named("deepseek").for_model("y").drop[-1:]),
    ]


@pytest.mark.parametrize(("keys", "words"), [
    ({"max_tool": 5}, "c.toml:7: profile_keys: unknown key 'max_tool'; did you mean 'max_tools'?"),
    ({"images": "big"}, "profile_keys: images: 'big' is none of 'object', 'string', 'data', 'none'"),
    ({"models": 5}, "models must be tables"), ({"models": {"x": {"strict": 1}}}, "profile_keys: models.x: strict must be a string"),
    ({"base_url": "http://x"}, "unknown key 'base_url'"), ({"efforts": ["low"], "effort": {"high": "medium"}}, "effort: 'medium' is none of '', 'low'"),
])  # fmt: skip
def test_a_wrong_key_of_ones_own_names_place_key_and_what_is_allowed(keys, words):
    with pytest.raises(ProfileError) as found:
        with_keys(Profile(), keys, "c.toml:7: profile_keys")
    assert words in str(found.value)
