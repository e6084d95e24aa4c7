"""The real Codex, the real daemon, and a scripted upstream behind it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest
from codex_cli import INSTALL, Codex, find
from daemon import KEY, KEY_VARIABLE, Daemon
from scripted import ScriptedUpstream
from wiretap import Wiretap


@pytest.fixture(scope="session")
def codex_binary():
    found = find()
    if found is None:
        reason = f"no Codex CLI: set CODEX_BIN, or run in the project's folder: {INSTALL}"
        (pytest.fail if os.environ.get("CHATBRIDGE_REQUIRE_E2E") == "1" else pytest.skip)(reason)
    return found


@pytest.fixture(scope="session")
def _upstream():
    upstream = ScriptedUpstream(KEY)
    yield upstream
    upstream.close()


@pytest.fixture(scope="session")
def start_daemon(tmp_path_factory, codex_binary):
    """Return a function that starts a daemon with the given arguments; all are stopped and judged at the end."""
    daemons = []

    def start(*arguments):
        daemons.append(Daemon(tmp_path_factory.mktemp("daemon"), arguments))
        return daemons[-1]

    yield start
    faults = []
    for daemon in daemons:
        try:
            daemon.stop()
        except AssertionError as fault:
            faults.append(str(fault))
    assert not faults, "\n\n".join(faults)


@pytest.fixture(scope="session")
def _daemon(start_daemon, _upstream):
    # The bridge's own retries are test_e2e_retries.py's business; here each of Codex's is one request upstream.
    once = ("--retries", "0", "--breaker-failures", "0")
    return start_daemon("--upstream-url", _upstream.url, "--api-key-env", KEY_VARIABLE, *once)


@pytest.fixture(scope="session")
def _wiretap(_daemon):
    wiretap = Wiretap(_daemon.port)
    yield wiretap
    wiretap.close()


@dataclass
class Stage:
    """Everything one test needs."""

    codex: Codex
    wiretap: Wiretap
    upstream: ScriptedUpstream

    def play(self, script, prompt="do it", **options):
        """Run Codex on *script* (a function of the upstream's request that returns its reply)."""
        self.upstream.script = script
        return self.codex.run(prompt, **options)

    @property
    def requests(self):
        """The requests that reached the upstream."""
        return self.upstream.requests


@pytest.fixture
def stage(codex_binary, tmp_path, _daemon, _wiretap, _upstream):
    _upstream.reset()
    _wiretap.reset()
    before = len(_daemon.complaints())
    yield Stage(Codex(codex_binary, tmp_path, _wiretap.base_url), _wiretap, _upstream)
    assert not _upstream.problems, "illegal upstream requests: " + "; ".join(dict.fromkeys(_upstream.problems))
    assert len(_daemon.complaints()) == before, _daemon.log()[-6000:]
