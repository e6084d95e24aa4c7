from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LATER = ("jsonschema", "wsproto", "psycopg", "chatbridge.practice.upstream", "chatbridge.service.master")


def test_a_plain_start_imports_nothing_that_few_requests_need():
    program = f"import sys, chatbridge.service.tap; print([it for it in {LATER!r} if it in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
