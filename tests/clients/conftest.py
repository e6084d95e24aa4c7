"""Real clients against the real daemon. `.ci/clients` installs them and runs these tests in their own environment."""

from __future__ import annotations

import importlib.util

import pytest

if importlib.util.find_spec("openai") is None:  # any other environment
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def base_url(tmp_path_factory):
    """The base URL of a daemon with a scripted upstream."""
    import servers

    folder = tmp_path_factory.mktemp("clients")
    upstream = servers.aimock(folder)
    try:
        # The upstream breaks where it is asked to, and is to be asked again at once.
        bridge = servers.daemon(
            folder, f"http://127.0.0.1:{upstream.port}/v1", "--breaker-failures", "0", "--retries", "0"
        )
        try:
            yield f"http://127.0.0.1:{bridge.port}/v1"
        finally:
            bridge.stop()
            log = bridge.log()
            assert "Traceback" not in log, log
            assert "Unhandled" not in log, log
    finally:
        upstream.stop()
