"""The daemon under load, beside nginx (passing through) and codex-relay where they are installed: ``make bench``.

All targets take turns within one run, so that ratios mean something also on a busy machine; CPU time is that of the
target's processes, kernel time included. ``make bench SCENARIOS=short,burst ROUNDS=1`` runs a part; ``make bench-docs``
runs all and writes the tables into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import report
import targets
from targets import BUILD, Target

Result = dict[str, Any]


@dataclass(frozen=True)
class Scenario:
    """*order* is for the scripted upstream (see upstream.c); the rest is for the client."""

    name: str
    title: str
    order: str
    connections: int
    seconds: float
    large: bool = False
    read_rate: int = 0
    connect_rate: int = 0
    fresh: bool = False
    """Memory is what is measured: each target is started anew, since what a process once had it keeps."""
    peers: tuple[str, ...] = ("direct", "nginx", "chatbridge", "codex-relay")
    pinned: bool = False
    """On as many cores as the target has workers, client and upstream included. Else, on two cores, one worker has a
    core to itself, and two share theirs with the load."""


NGINX = ("nginx", "chatbridge", "codex-relay")
SCENARIOS = [
    Scenario("first", "one client, 5 deltas", "text:5:0", 1, 2),
    Scenario("short", "16 clients, 3 deltas", "text:3:0", 16, 3, peers=NGINX),
    Scenario("burst", "16 streams, 1000 deltas of text at once", "text:1000:0", 16, 3),
    Scenario("tools", "the same, arguments of a call", "tool:1000:0", 16, 3, peers=NGINX),
    Scenario("reasoning", "the same, half of it reasoning", "reasoning:1000:0", 16, 3, peers=NGINX),
    Scenario("paced", "100 streams, 50 deltas a second each", "text:200:50", 100, 5, peers=NGINX),
    Scenario("codex", "8 clients, request of 56 kB, 20 deltas", "mixed:20:0", 8, 3, large=True, peers=NGINX),
    Scenario("streams1k", "1,000 open streams", "text:100000:0.2", 1000, 8, connect_rate=500, fresh=True, peers=NGINX),
    Scenario("streams5k", "5,000 open streams", "text:100000:0.2", 5000, 16, connect_rate=500, fresh=True, peers=NGINX),
    Scenario("slow", "8 readers of 20 kB/s, upstream as fast as it can", "text:10000000:0", 8, 8, read_rate=20000, fresh=True, peers=("chatbridge",)),
    Scenario("tls", "16 clients, 3 deltas, upstream over TLS", "text:3:0", 16, 3, peers=("chatbridge", "chatbridge-tls")),
    Scenario("tlsstreams", "500 open streams, upstream over TLS", "text:100000:0.2", 500, 6, connect_rate=250, fresh=True, peers=("chatbridge", "chatbridge-tls")),
    Scenario("workers", "16 clients, 3 deltas, a core for each worker and its load", "text:3:0", 16, 3, peers=("chatbridge", "chatbridge-2"), pinned=True),
]  # fmt: skip
WARM_UP = Scenario("warm-up", "", "text:3:0", 4, 1)
OTHERS = ("start",)


def body(path: str, scenario: Scenario) -> bytes:
    """A request for *path*, with the order for the upstream in its first user text."""
    order = f"bench:{scenario.order}"
    if path.endswith("/chat/completions"):
        content = order + (" context" * 6500 if scenario.large else "")
        messages = [{"role": "system", "content": "Work."}, {"role": "user", "content": content}]
        return json.dumps({"model": "bench-1", "stream": True, "messages": messages}).encode()
    if scenario.large:
        return json.dumps(codex_request(order)).encode()
    asked = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": order}]}]
    return json.dumps({"model": "bench-1", "stream": True, "store": False, "instructions": "Work.", "input": asked, "tools": [tool(0)]}).encode()  # fmt: skip


def tool(number: int, options: int = 1) -> dict[str, Any]:
    properties = {f"option_{n}": {"type": "string", "description": "What this option is for, in a sentence or two. " * 2} for n in range(options)}  # fmt: skip
    return {
        "type": "function",
        "name": f"tool_{number}",
        "description": "Does one thing, and tells what came of it. " * 6,
        "strict": False,
        "parameters": {"type": "object", "properties": properties, "required": ["option_0"], "additionalProperties": False},
    }  # fmt: skip


def codex_request(order: str, turns: int = 10) -> dict[str, Any]:
    """A request as Codex sends them in the middle of a task: 56 kB, 30 items, 9 tools."""
    items: list[dict[str, Any]] = []
    for turn in range(turns):
        text = order if turn == 0 else "Go on with the next file, please. " * 20
        items += [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]},
            {"type": "function_call", "call_id": f"call_{turn}", "name": "tool_1", "arguments": json.dumps({"option_0": "ls -l " * 40})},
            {"type": "function_call_output", "call_id": f"call_{turn}", "output": 'a line of output, with "quotes"\n' * 40},
        ]  # fmt: skip
    return {
        "model": "bench-1",
        "instructions": "You are a coding agent. Work with care.\n" * 330,
        "input": items,
        "tools": [tool(number, 10) for number in range(9)],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "bench",
    }


@contextmanager
def on_cores(number: int, pids: list[int]) -> Iterator[None]:
    """Keep the processes *pids*, this one and its children to *number* cores."""
    every = os.sched_getaffinity(0)
    pids = [*pids, os.getpid()]
    try:
        for pid in pids:
            os.sched_setaffinity(pid, sorted(every)[:number])
        yield
    finally:
        for pid in pids:
            os.sched_setaffinity(pid, every)


def load(target: Target, scenario: Scenario, scale: float) -> Result:
    """Put *scenario* on *target* once; return what the client saw and what the target spent."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(body(target.path, scenario))
        file.flush()
        seconds = max(1.0, scenario.seconds * scale)
        words = [targets.compiled("client"), target.port, target.path, file.name, scenario.connections, seconds, scenario.read_rate, scenario.connect_rate]  # fmt: skip
        before, held = target.cpu(), target.memory()
        client = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE)
        most = held
        while True:
            try:
                told = client.communicate(timeout=0.2)[0]
                break
            except subprocess.TimeoutExpired:
                most = max(most, target.memory())
        spent = target.cpu() - before
    seen: Result = json.loads(told)
    return {
        "scenario": scenario.name,
        "target": target.name,
        **seen,
        "cpu_seconds": spent,
        "us_per_delta": spent / seen["deltas"] * 1e6 if seen["deltas"] else None,
        "ms_per_request": spent / seen["whole"] * 1e3 if seen["whole"] else None,
        "requests_per_second": seen["whole"] / seen["wall"],
        "memory_before": held,
        "memory_grown_per_stream": (most - held) / scenario.connections,
    }


@contextmanager
def running(scenarios: list[Scenario]) -> Iterator[dict[str, Target]]:
    """Start what *scenarios* need."""
    wanted = {peer for scenario in scenarios for peer in scenario.peers}
    found: dict[str, Target] = {}
    helpers: list[Target] = []
    try:
        upstream = targets.upstream().start()
        found["direct"] = upstream
        url = f"http://127.0.0.1:{upstream.port}/v1/chat/completions"
        makers: dict[str, Callable[[], Target | None]] = {
            "nginx": lambda: targets.nginx(upstream.port),
            "chatbridge": lambda: targets.bridge(url),
            "codex-relay": lambda: targets.relay(url),
        }
        if "chatbridge-tls" in wanted and (secure := targets.tls(upstream.port)) is not None:
            helpers.append(secure.start())
            address = f"https://localhost:{secure.port}/v1/chat/completions"
            makers["chatbridge-tls"] = lambda: targets.bridge(
                address, "chatbridge-tls", "--ca-file", str(BUILD / "tls.pem")
            )
        if "chatbridge-2" in wanted and _has_workers():
            makers["chatbridge-2"] = lambda: targets.bridge(url, "chatbridge-2", "--workers", "2", "--store", "none")
        for name, make in makers.items():
            target = make() if name in wanted else None
            if target is not None:
                found[name] = target.start()
        yield found
    finally:
        for target in [*found.values(), *helpers][::-1]:
            target.stop()


def _has_workers() -> bool:
    told = subprocess.run(
        [sys.executable, "-m", "twisted", "chatbridge", "--help"], capture_output=True, text=True, check=False
    )
    return "--workers" in told.stdout


def pinned(scenario: Scenario, target: Target, upstream: Target) -> AbstractContextManager[None]:
    if not scenario.pinned:
        return nullcontext()
    return on_cores(2 if target.name.endswith("-2") else 1, [*target.pids(), *upstream.pids()])


def measure(scenarios: list[Scenario], rounds: int, scale: float) -> list[Result]:
    """Run each scenario on each of its targets, in turns, there and back."""
    results: list[Result] = []
    with running(scenarios) as found:
        for scenario in scenarios:
            peers = [found[peer] for peer in scenario.peers if peer in found]
            if scenario.name == "workers" and "chatbridge-2" not in found:
                continue
            for number in range(rounds):
                for target in peers if number % 2 == 0 else peers[::-1]:
                    if scenario.fresh:
                        target.stop()
                        load(target.start(), WARM_UP, 1)
                    with pinned(scenario, target, found["direct"]):
                        result = load(target, scenario, scale)
                    results.append(result)
                    print(report.line(result), file=sys.stderr, flush=True)
                    time.sleep(0.1)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [scenario.name for scenario in SCENARIOS] + list(OTHERS)
    parser.add_argument("--scenarios", default=",".join(names), help="which, with commas between (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="how long each takes, against the usual")
    parser.add_argument("--json", type=Path, default=BUILD / "bench.json", help="where the raw numbers go")
    parser.add_argument("--docs", type=Path, help="a Markdown file to write the tables into, between its two marks")
    options = parser.parse_args()
    wanted = options.scenarios.split(",")
    if unknown := set(wanted) - set(names):
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    results = measure([scenario for scenario in SCENARIOS if scenario.name in wanted], options.rounds, options.scale)
    if "start" in wanted:
        url = "http://127.0.0.1:9/v1/chat/completions"
        for seconds in islice(targets.start_time(url), options.rounds + 1):
            results.append({"scenario": "start", "target": "chatbridge", "seconds": seconds})
    machine = report.machine()
    options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1))
    text = report.text(results, machine, {scenario.name: scenario.title for scenario in SCENARIOS}, options.rounds)
    print(text)
    if options.docs is not None:
        report.write_into(options.docs, text)


if __name__ == "__main__":
    main()
