"""The real daemon as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

from codex_cli import ROOT

# Unlike the twistd command, this finds the plugin of a checkout that is not installed.
_TWISTD = "from twisted.scripts.twistd import run; run()"
KEY_VARIABLE = "E2E_UPSTREAM_KEY"
KEY = "sk-upstream-key-that-no-log-shows"


class Daemon:
    """``twistd -n chatbridge`` on a free port; *arguments* are added to its command line."""

    def __init__(self, folder, arguments):
        self._info = folder / "server-info.json"
        self._log = folder / "bridge.log"
        line = [sys.executable, "-c", _TWISTD, "-n", "--pidfile=", "chatbridge"]
        line += ["--port", "0", "--server-info", str(self._info), *arguments]
        env = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")} | {KEY_VARIABLE: KEY}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                line, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self.port = self._wait()["port"]
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def _wait(self, seconds=30):
        end = time.monotonic() + seconds
        while not self._info.exists():
            assert self._process.poll() is None, f"the daemon ended at once:\n{self.log()}"
            assert time.monotonic() < end, f"no server-info file after {seconds} s:\n{self.log()}"
            time.sleep(0.02)
        return json.loads(self._info.read_text())

    def log(self):
        return self._log.read_text(errors="replace")

    def complaints(self):
        """Return the lines of the log that must not be there."""
        words = ("Traceback", "Unhandled", KEY)
        return [line for line in self.log().splitlines() if any(word in line for word in words)]

    def stop(self):
        """Stop as a service supervisor does, and look at what is left."""
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"no end after SIGTERM:\n{self.log()[-3000:]}") from None
        assert code in (0, -signal.SIGTERM), f"exit {code}:\n{self.log()[-3000:]}"
        assert not self._info.exists(), "the server-info file is still there"
        assert not self.complaints(), self.log()[-6000:]
