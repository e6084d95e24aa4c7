"""ARCHITECTURE.md, as far as it can be checked: it names every module once, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_module_has_one_line_in_the_table():
    package = ROOT / "chatbridge"
    files = {
        ".".join(path.relative_to(package).with_suffix("").parts)
        for path in package.rglob("*.py")
        if path.name != "__init__.py"
    }
    told = re.findall(r"^\| `([a-z_.]+)` \|", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    assert sorted(told) == sorted({*files, "vendors.data"})


def test_the_modules_that_the_way_of_a_request_names_are_there():
    text = (ROOT / "ARCHITECTURE.md").read_text().partition("## Modules")[0]
    for name in re.findall(r"\b(?:web|upstream|translate|protocol|store|service|vendors)\.[a-z_]+\b", text):
        path = ROOT / "chatbridge" / Path(*name.split("."))
        assert path.with_suffix(".py").is_file() or path.is_dir(), name
