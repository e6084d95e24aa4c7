"""docs/quirks.md names every quirk, and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "quirks.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if re.match(r"\| [A-Z]\d\d-", line)
]
QUIRKS = {row[0]: row for row in ROWS}
KNOWN = [
    *(f"S{number:02}" for number in (*range(1, 26), *range(30, 43), *range(50, 60))),
    *(f"U{number:02}" for number in range(1, 8)),
    *(f"R{number:02}" for number in range(1, 36)),
    *(f"E{number:02}" for number in range(1, 13)),
]
FUNCTIONS = {
    f"{path.name}::{name}"
    for path in TESTS.glob("*/test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
}


def test_every_quirk_has_one_row():
    assert sorted(row[0][:3] for row in ROWS) == sorted(KNOWN)
    assert len(KNOWN) == 102


@pytest.mark.parametrize("quirk", QUIRKS)
def test_a_quirk_says_what_is_done_and_which_tests_show_it(quirk):
    _, what, shown = QUIRKS[quirk]
    assert what
    named = re.findall(r"`([^`]+)`", shown)
    assert named
    assert set(named) <= FUNCTIONS


def test_quirks_in_the_names_of_tests_are_in_the_table():
    assert {quirk for name in FUNCTIONS for quirk in re.findall(r"(?<=_)[SURE]\d\d(?=_)", name)} <= set(KNOWN)
