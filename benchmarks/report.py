"""What was measured as Markdown: each goal with its ratio, and the figures behind it."""

from __future__ import annotations

import importlib.util
import os
import platform
import statistics
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

Result = dict[str, Any]
BEGIN, END = "<!-- begin of make bench -->", "<!-- end of make bench -->"


def line(result: Result) -> str:
    """One run, while it goes on."""
    figures = [f"{result['scenario']:10} {result['target']:14} {result['deltas'] / result['wall']:10.0f} delta/s"]
    for key, unit in (("us_per_delta", "us/delta"), ("ms_per_request", "ms/request")):
        if result[key] is not None:
            figures.append(f"{result[key]:.3g} {unit}")
    if result["failed"]:
        figures.append(f"{result['failed']} FAILED: {result['problem']}")
    return "  ".join(figures)


def machine() -> str:
    """What it ran on."""
    with Path("/proc/cpuinfo").open() as file:
        model = next(
            (text.partition(":")[2].strip() for text in file if text.startswith("model name")), platform.machine()
        )
    packages = " ".join(
        f"{name} {metadata.version(name)}"
        for name in ("Twisted", "treq", "msgspec")
        if importlib.util.find_spec(name.lower())
    )
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    return f"{today}, {model}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}"


class Medians:
    """Medians over the rounds, by scenario and target."""

    def __init__(self, results: list[Result]) -> None:
        self._results = results

    def get(self, scenario: str, target: str, key: str | Callable[[Result], Any]) -> float | None:
        """Return the median of *key*, or None where there is none."""
        read = key if callable(key) else lambda result: result.get(key)
        rows = [result for result in self._results if (result["scenario"], result["target"]) == (scenario, target)]
        values = [value for row in rows if (value := read(row)) is not None]
        return statistics.median(values) if values else None

    def ratio(self, scenario: str, target: str, peer: str, key: str) -> float | None:
        """Return *target*'s median divided by *peer*'s."""
        ours, theirs = self.get(scenario, target, key), self.get(scenario, peer, key)
        return ours / theirs if ours is not None and theirs else None


def _first_delta(result: Result) -> float:
    return float(result["first_delta_us"]["p50"]) / 1000


def goals(of: Medians) -> list[tuple[str, float | None, str, float, float]]:
    """Return name, value, unit, must and aim of each goal. Where must is above aim, less is better."""
    ours, relay, memory = "chatbridge", "codex-relay", "memory_grown_per_stream"
    first, direct = of.get("first", ours, _first_delta), of.get("first", "direct", _first_delta)
    slow = of.get("slow", ours, memory)
    start = of.get("start", ours, "seconds")
    return [
        ("CPU a delta in bursts, to nginx", of.ratio("burst", ours, "nginx", "us_per_delta"), "x", 8, 6),
        ("the same, to codex-relay", of.ratio("burst", ours, relay, "us_per_delta"), "x", 0.6, 0.4),
        ("CPU a delta, 100 streams of 50/s, to nginx", of.ratio("paced", ours, "nginx", "us_per_delta"), "x", 2.3, 1.7),
        ("CPU a short request, to codex-relay", of.ratio("short", ours, relay, "ms_per_request"), "x", 2.2, 1.3),
        ("CPU of a Codex-sized request, to codex-relay", of.ratio("codex", ours, relay, "ms_per_request"), "x", 0.8, 0.5),
        ("first delta added over direct, p50", first - direct if first is not None and direct is not None else None, " ms", 0.6, 0.4),
        ("memory an open stream (1,000), to nginx", of.ratio("streams1k", ours, "nginx", memory), "x", 1.5, 0.8),
        ("8 slow readers: memory grown a reader", slow / 1e6 if slow is not None else None, " MB", 2, 1),
        ("two workers to one, requests/s", of.ratio("workers", "chatbridge-2", ours, "requests_per_second"), "x", 1.8, 1.95),
        ("start until /healthz", start, " s", 0.8, 0.4),
    ]  # fmt: skip


def text(results: list[Result], machine: str, titles: dict[str, str], rounds: int) -> str:
    """Return the report."""
    of = Medians(results)
    lines = [f"{machine}; medians of {rounds} rounds, all targets in turns.", ""]
    lines += ["| goal | measured | must | aim | |", "|---|---|---|---|---|"]
    for name, value, unit, must, aim in goals(of):
        if value is None:
            continue
        sign = "≤" if must > aim else "≥"
        better = lambda limit, value=value, sign=sign: value <= limit if sign == "≤" else value >= limit  # noqa: E731
        state = "aim" if better(aim) else "must" if better(must) else "not met"
        lines.append(f"| {name} | {value:.2g}{unit} | {sign} {must:g} | {sign} {aim:g} | {state} |")
    columns = [
        "us/delta",
        "ms/request",
        "request/s",
        "first delta p50 ms",
        "delta late p99 ms",
        "kB a stream",
        "failed",
    ]
    lines += ["", f"| scenario | target | {' | '.join(columns)} |", "|---|---|" + "---|" * len(columns)]
    for scenario, title in titles.items():
        for target in dict.fromkeys(result["target"] for result in results if result["scenario"] == scenario):
            lines.append(f"| {title} | {target} | {' | '.join(_figures(of, scenario, target))} |")
            title = ""  # noqa: PLW2901 - once only
    return "\n".join(lines)


def _figures(of: Medians, scenario: str, target: str) -> list[str]:
    keys: list[str | Callable[[Result], Any]] = [
        "us_per_delta",
        "ms_per_request",
        lambda result: result["requests_per_second"] or None,
        _first_delta,
        lambda result: result["latency_us"]["p99"] / 1000,
        lambda result: result["memory_grown_per_stream"] / 1024,
    ]
    failed = of.get(scenario, target, "failed")
    values = [of.get(scenario, target, key) for key in keys]
    return [
        *("" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}" for value in values),
        f"{failed or 0:.0f}",
    ]


def write_into(path: Path, text: str) -> None:
    """Put *text* between the two marks in *path*."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path} lacks the marks {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
