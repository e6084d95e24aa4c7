"""The metrics of several processes as one scrape.

prometheus_client's own way for several processes is a folder of files that outlive them, and knows no gauge that asks a
function. Here each worker hands its numbers to the master over the pipe that is there anyway, and the master adds up;
what an ended worker had counted stays in the sums, so that counters never go back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chatbridge.service.metrics import LABELS_LIMIT, Family, exposition

_HIGHEST = ("chatbridge_loop_lag_seconds",)
"""Gauges of which the highest counts; the others are summed."""


class Sums:
    """Adds up the families of all processes, and keeps the counters of those that have ended."""

    def __init__(self) -> None:
        self._ended: list[Family] = []
        self._models: set[str] = set()

    def ended(self, families: Iterable[Family]) -> None:
        """Keep what a process counted in its life."""
        counted = [family for family in families if family[1] != "gauge"]
        self._ended = list(self._added([*self._ended, *counted]))

    def text(self, families: Iterable[Family]) -> bytes:
        """Return the sum of *families*, of processes that run, and of all that have ended, in Prometheus's format."""
        return exposition(self._added([*self._ended, *families]))

    def _added(self, families: Iterable[Family]) -> Iterator[Family]:
        heads: dict[str, tuple[str, str]] = {}
        sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for name, kind, text, samples in families:
            heads.setdefault(name, (kind, text))
            found = sums.setdefault(name, {})
            for sample, labels, value in samples:
                key = (sample, tuple(self._bounded(labels).items()))
                known = found.get(key)
                if known is None:
                    found[key] = value
                else:
                    found[key] = max(known, value) if name in _HIGHEST else known + value
        for name, found in sums.items():
            yield [name, *heads[name], [[sample, dict(labels), value] for (sample, labels), value in found.items()]]

    def _bounded(self, labels: dict[str, str]) -> dict[str, str]:
        """Return *labels* with ``other`` for a model too many: each process has a bound, and processes come and go."""
        model = labels.get("model")
        if model is None or model in self._models:
            return labels
        if len(self._models) >= LABELS_LIMIT:
            return {**labels, "model": "other"}
        self._models.add(model)
        return labels
