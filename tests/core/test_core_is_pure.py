from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import chatbridge.protocol
import chatbridge.translate
import chatbridge.vendors

ROOT = Path(__file__).parents[2]
FORBIDDEN = (
    "twisted",
    "treq",
    "OpenSSL",
    "socket",
    "ssl",
    "select",
    "asyncio",
    "chatbridge.web",
    "chatbridge.upstream",
    "chatbridge.service",
)
MODULES = [
    name
    for package in (chatbridge.protocol, chatbridge.translate, chatbridge.vendors)
    for _, name, _ in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
]

PROGRAM = """
import importlib, sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        if any(name == stop or name.startswith(stop + ".") for stop in {forbidden!r}):
            raise ImportError("the core must not import " + name)

sys.meta_path.insert(0, Wall())
for stop in {forbidden!r}:
    sys.modules.pop(stop, None)
for name in {modules!r}:
    importlib.import_module(name)
"""


def imported(modules: list[str]) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(forbidden=FORBIDDEN, modules=modules)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-S", "-c", program], env=environment, capture_output=True, text=True, check=False
    )


def test_the_core_imports_no_twisted_and_no_io():
    assert "chatbridge.translate.turn" in MODULES
    done = imported(MODULES)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["chatbridge.web.root", "twisted.internet", "socket"])
def test_the_wall_holds(module):
    assert "must not import" in imported([module]).stderr
