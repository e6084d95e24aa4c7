"""The catalogue of models, as Codex reads it from the bridge."""

from __future__ import annotations

import pytest
from scripted import Reply
from test_e2e_context import SUMMARY
from test_e2e_work import coding

pytestmark = pytest.mark.e2e

MODEL = "qwen3-coder"
PROVIDER = (
    'model_providers.bridge={{name="Chat Bridge",base_url="{url}",env_key="OPENAI_API_KEY",wire_api="responses",'
    'model_catalog_url="{url}/models"}}'
)


@pytest.fixture
def catalogued(stage, start_daemon, _upstream):
    """A stage whose Codex reads the catalogue; its daemon has asked for none before."""
    from conftest import KEY_VARIABLE, Codex, Stage, Wiretap

    daemon = start_daemon("--upstream-url", _upstream.url, "--api-key-env", KEY_VARIABLE)
    wiretap = Wiretap(daemon.port)
    (stage.codex.work.parent / "catalogued").mkdir()
    codex = Codex(stage.codex.binary, stage.codex.work.parent / "catalogued", wiretap.base_url)
    yield Stage(codex, wiretap, _upstream)
    wiretap.close()


def settings(stage):
    return [PROVIDER.format(url=stage.wiretap.base_url)]


def warned(run):
    return any("metadata" in item["message"] for item in run.items("error"))


def tools(request):
    return sorted(tool["function"]["name"] for tool in request.body["tools"])


def test_codex_knows_the_model_and_works_as_without(stage, catalogued):
    stage.upstream.models = [{"id": MODEL, "max_model_len": 64000}]
    run = catalogued.play(coding, model=MODEL, config=settings(catalogued))
    assert run.code == 0, run
    assert not warned(run)
    assert next(exchange.path for exchange in catalogued.wiretap.exchanges).startswith("/v1/models?")
    assert (catalogued.codex.work / "hello.txt").read_text() == "hello\nzweite Zeile: grün ✓\n"
    with_catalogue = catalogued.requests[0]
    catalogued.upstream.reset()
    assert warned(stage.play(coding, model=MODEL))
    assert tools(with_catalogue) == tools(stage.requests[0])


def test_codex_compacts_before_the_window_is_full(stage, catalogued):
    stage.upstream.models = [{"id": MODEL, "max_model_len": 20000}]

    def script(request):
        if request.wants_summary:
            return Reply(text=SUMMARY)
        if request.rounds == 0 and SUMMARY not in str(request.messages):
            return Reply(text="Looking.", calls=(request.shell("echo looked"),), prompt_tokens=19500)
        return Reply(text="done")

    run = catalogued.play(script, model=MODEL, config=settings(catalogued))
    assert run.code == 0, run
    assert any(request.wants_summary for request in catalogued.requests)
    assert run.messages[-1] == "done"
