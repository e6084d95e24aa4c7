"""What Prometheus asks for. Needs prometheus_client, the optional extra ``metrics``, to write it.

The counting is done here, in plain numbers: prometheus_client's own counters take a lock and a few calls for each, and
a request has a dozen of them. They become its metrics when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall

from chatbridge.upstream.breaker import STATES
from chatbridge.web.record import Record

__all__ = ["LABELS_LIMIT", "Family", "LoopLag", "Metrics", "available", "exposition"]

try:
    import prometheus_client as prometheus
except ImportError:  # the optional extra is not installed
    prometheus = None  # type: ignore[assignment]

_LAG_EVERY = 5.0
LABELS_LIMIT = 200
_ENDS_LIMIT = 50
_FIRST = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)
_TOTAL = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800)


Family = list[Any]
"""Name, kind, explanation and samples; a sample is its name, labels and value. It can go through JSON."""


def available() -> bool:
    """Whether the library is there."""
    return prometheus is not None


def exposition(families: Iterable[Family]) -> bytes:
    """Return *families* in Prometheus's text format."""
    registry = prometheus.CollectorRegistry()
    registry.register(_Collected(families))
    text: bytes = prometheus.generate_latest(registry)
    return text


class _Collected:
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Any]:
        for name, kind, text, samples in self._families:
            metric = prometheus.metrics_core.Metric(name, text, kind)
            for sample, labels, value in samples:
                metric.add_sample(sample, {name: _encodable(label) for name, label in labels.items()}, value)
            yield metric


def _encodable(label: str) -> str:
    """Return *label* with half characters, as JSON lets clients and upstreams send them, escaped."""
    return label.encode("utf-8", "backslashreplace").decode()


class Counts(dict[tuple[str, ...], float]):
    """A family of counters: numbers by the values of *labels*, to be added to."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        super().__init__()
        self._name = f"chatbridge_{name}"
        self._text = text
        self._labels = labels

    def __missing__(self, key: tuple[str, ...]) -> float:
        return 0.0

    @property
    def family(self) -> Family:
        """The numbers as they are now."""
        name = f"{self._name}_total"
        samples = [[name, dict(zip(self._labels, key, strict=True)), value] for key, value in self.items()]
        return [self._name, "counter", self._text, samples]


class Durations:
    """A family of histograms, one for each upstream. *bounds* are the buckets' upper ones, in seconds."""

    def __init__(self, name: str, text: str, bounds: tuple[float, ...]) -> None:
        self._name = f"chatbridge_{name}"
        self._text = text
        self._bounds = bounds
        self._names = (*(str(float(bound)) for bound in bounds), "+Inf")
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def add(self, upstream: str, seconds: float) -> None:
        """Count one that took *seconds*."""
        counts = self._counts.get(upstream)
        if counts is None:
            counts = self._counts[upstream] = [0] * len(self._names)
            self._sums[upstream] = 0.0
        counts[bisect_left(self._bounds, seconds)] += 1
        self._sums[upstream] += seconds

    @property
    def family(self) -> Family:
        """The numbers as they are now."""
        samples: list[Any] = []
        for upstream, counts in self._counts.items():
            total = 0.0
            for bound, count in zip(self._names, counts, strict=True):
                total += count
                samples.append([f"{self._name}_bucket", {"upstream": upstream, "le": bound}, total])
            samples.append([f"{self._name}_count", {"upstream": upstream}, total])
            samples.append([f"{self._name}_sum", {"upstream": upstream}, self._sums[upstream]])
        return [self._name, "histogram", self._text, samples]


def _gauge(name: str, text: str, samples: Iterable[tuple[dict[str, str], float]]) -> Family:
    name = f"chatbridge_{name}"
    return [name, "gauge", text, [[name, labels, float(value)] for labels, value in samples]]


class Metrics:
    """The counters of this process.

    *running* counts the answers being given, *sockets* the open WebSockets.
    """

    def __init__(self, running: Callable[[], int], sockets: Callable[[], int] = lambda: 0) -> None:
        self._models: set[str] = set()
        self._ends: set[str] = set()
        which = ("upstream", "model")
        self._requests = Counts("requests", "Requests, by what they ended with.", ("path", "status"))
        self._answers = Counts("answers", "Answers, by how they ended.", (*which, "transport", "end"))
        self._tokens = Counts("tokens", "Tokens as the upstream counts them.", (*which, "kind"))
        self._calls = Counts("tool_calls", "Tool calls.", which)
        text = "Answers that do not match the JSON schema of their request."
        self._mismatches = Counts("schema_mismatches", text, which)
        text = "The upstream's last answer, by status class."
        self._statuses = Counts("upstream_responses", text, ("upstream", "class"))
        self._events = Counts("events", "Events of the Responses API that answers were.", ("upstream",))
        text = "Answers that failed after the upstream was asked, by class of error."
        self._errors = Counts("upstream_errors", text, ("upstream", "class"))
        text = "Upstream requests after the first, by why they were made."
        self._retries = Counts("upstream_retries", text, ("upstream", "reason"))
        self._first = Durations("first_event_seconds", "Until the upstream's first event.", _FIRST)
        self._total = Durations("answer_seconds", "From a request's head to its end.", _TOTAL)
        self.circuits: Callable[[], Mapping[str, str]] = dict
        """Returns the state of each upstream's circuit."""
        self._lag = 0.0
        self._running = running
        self._sockets = sockets

    def observe(self, record: Record, path: str, status: int, seconds: float) -> None:
        """Count one request that is over; see :data:`chatbridge.web.record.Observe`."""
        self._requests[path, str(status or "gone")] += 1
        upstream = record.upstream
        if not upstream:
            return
        model = self._model(record.model, answered=record.upstream_status == 200)
        self._answers[upstream, model, record.transport or "http", self._end(record.end)] += 1
        if record.error and record.attempts:
            self._errors[upstream, record.error] += 1
        self._events[upstream,] += record.events
        self._calls[upstream, model] += record.tool_calls
        if record.mismatch:
            self._mismatches[upstream, model] += 1
        for kind, count in record.tokens.items():
            self._tokens[upstream, model, kind] += count
        if record.upstream_status:
            self._statuses[upstream, f"{record.upstream_status // 100}xx"] += 1
        for failed, reason in record.retries:
            self._retries[failed, reason] += 1
        if record.first_event:
            self._first.add(upstream, record.first_event)
        self._total.add(upstream, seconds)

    def lag(self, seconds: float) -> None:
        """Note how late the event loop was."""
        self._lag = seconds

    def families(self) -> list[Family]:
        """Return all of it, also as a worker hands it to its master."""
        circuits = [
            ({"upstream": name, "state": state}, state == now)
            for name, now in self.circuits().items()
            for state in STATES
        ]
        return [
            self._requests.family,
            self._answers.family,
            self._tokens.family,
            self._calls.family,
            self._mismatches.family,
            self._statuses.family,
            self._events.family,
            self._errors.family,
            self._retries.family,
            self._first.family,
            self._total.family,
            _gauge("upstream_circuit", "Workers with the upstream's circuit in this state.", circuits),
            _gauge("loop_lag_seconds", "How late the event loop came to its last timer.", [({}, self._lag)]),
            _gauge("answers_running", "Answers being given.", [({}, self._running())]),
            _gauge("websockets_open", "Open WebSockets.", [({}, self._sockets())]),
        ]

    def text(self) -> bytes:
        """Return all of it in Prometheus's text format."""
        return exposition(self.families())

    def _model(self, name: str, *, answered: bool) -> str:
        """Return *name*, or ``other`` for one that no upstream has *answered* for, or too many: clients choose them."""
        name = name[:100]
        if name not in self._models:
            if not answered or len(self._models) >= LABELS_LIMIT:
                return "other"
            self._models.add(name)
        return name

    def _end(self, end: str) -> str:
        """Return *end*, or ``other`` when there have been too many: some are the upstream's own codes."""
        if end not in self._ends and len(self._ends) >= _ENDS_LIMIT:
            return "other"
        self._ends.add(end)
        return end[:100]


class LoopLag(Service):
    """Measures how late timers come, into *metrics*; *reactor* is the clock."""

    def __init__(self, metrics: Metrics, reactor: Any) -> None:
        self._metrics = metrics
        self._reactor = reactor
        self._due = 0.0
        self._call = LoopingCall(self._measure)
        self._call.clock = reactor

    def startService(self) -> None:
        super().startService()
        self._due = self._reactor.seconds() + _LAG_EVERY
        self._call.start(_LAG_EVERY, now=False)

    def stopService(self) -> None:
        super().stopService()
        if self._call.running:
            self._call.stop()

    def _measure(self) -> None:
        now = self._reactor.seconds()
        self._metrics.lag(max(0.0, now - self._due))
        self._due = now + _LAG_EVERY
