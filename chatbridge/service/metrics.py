"""What Prometheus asks for. Needs prometheus_client, the optional extra ``metrics``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall

from chatbridge.upstream.breaker import STATES
from chatbridge.web.record import Record

__all__ = ["LABELS_LIMIT", "Family", "LoopLag", "Metrics", "available", "prometheus"]

try:
    import prometheus_client as prometheus
except ImportError:  # the optional extra is not installed
    prometheus = None  # type: ignore[assignment]

_LAG_EVERY = 5.0
LABELS_LIMIT = 200
_ENDS_LIMIT = 50
_CHILDREN = 1024
_FIRST = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)
_TOTAL = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800)


Family = list[Any]
"""Name, kind, explanation and samples; a sample is its name, labels and value. It can go through JSON."""


def available() -> bool:
    """Whether the library is there."""
    return prometheus is not None


def _children(metric: Any) -> Callable[..., Any]:
    """Return *metric*'s ``labels``, which remembers; without that it is half of what counting a request costs."""
    return lru_cache(_CHILDREN)(metric.labels)


class Metrics:
    """The counters of this process, in a registry of their own.

    *running* counts the answers being given, *sockets* the open WebSockets.
    """

    def __init__(self, running: Callable[[], int], sockets: Callable[[], int] = lambda: 0) -> None:
        self._registry = registry = prometheus.CollectorRegistry()
        self._models: set[str] = set()
        self._ends: set[str] = set()
        which = ("upstream", "model")

        def counter(name: str, text: str, labels: tuple[str, ...]) -> Callable[..., Any]:
            return _children(prometheus.Counter(f"chatbridge_{name}", text, labels, registry=registry))

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Callable[..., Any]:
            made = prometheus.Histogram(f"chatbridge_{name}", text, ("upstream",), buckets=buckets, registry=registry)
            return _children(made)

        self._requests = counter("requests", "Requests, by what they ended with.", ("path", "status"))
        self._answers = counter("answers", "Answers, by how they ended.", (*which, "transport", "end"))
        self._tokens = counter("tokens", "Tokens as the upstream counts them.", (*which, "kind"))
        self._calls = counter("tool_calls", "Tool calls.", which)
        text = "Answers that do not match the JSON schema of their request."
        self._mismatches = counter("schema_mismatches", text, which)
        text = "The upstream's last answer, by status class."
        self._statuses = counter("upstream_responses", text, ("upstream", "class"))
        self._events = counter("events", "Events of the Responses API that answers were.", ("upstream",))
        text = "Answers that failed after the upstream was asked, by class of error."
        self._errors = counter("upstream_errors", text, ("upstream", "class"))
        text = "Upstream requests after the first, by why they were made."
        self._retries = counter("upstream_retries", text, ("upstream", "reason"))
        self._first = histogram("first_event_seconds", "Until the upstream's first event.", _FIRST)
        self._total = histogram("answer_seconds", "From a request's head to its end.", _TOTAL)
        self._circuits = prometheus.Gauge(
            "chatbridge_upstream_circuit", "Workers with the upstream's circuit in this state.", ("upstream", "state"),
            registry=registry,
        )  # fmt: skip
        self.circuits: Callable[[], Mapping[str, str]] = dict
        """Returns the state of each upstream's circuit."""
        self._lag = prometheus.Gauge(
            "chatbridge_loop_lag_seconds", "How late the event loop came to its last timer.", registry=registry
        )
        prometheus.Gauge("chatbridge_answers_running", "Answers being given.", registry=registry).set_function(running)
        prometheus.Gauge("chatbridge_websockets_open", "Open WebSockets.", registry=registry).set_function(sockets)

    def observe(self, record: Record, path: str, status: int, seconds: float) -> None:
        """Count one request that is over; see :data:`chatbridge.web.record.Observe`."""
        self._requests(path, str(status or "gone")).inc()
        if not record.upstream:
            return
        which = (record.upstream, self._model(record.model, answered=record.upstream_status == 200))
        self._answers(*which, record.transport or "http", self._end(record.end)).inc()
        if record.error and record.attempts:
            self._errors(record.upstream, record.error).inc()
        self._events(record.upstream).inc(record.events)
        self._calls(*which).inc(record.tool_calls)
        if record.mismatch:
            self._mismatches(*which).inc()
        for kind, count in record.tokens.items():
            self._tokens(*which, kind).inc(count)
        if record.upstream_status:
            self._statuses(record.upstream, f"{record.upstream_status // 100}xx").inc()
        for upstream, reason in record.retries:
            self._retries(upstream, reason).inc()
        if record.first_event:
            self._first(record.upstream).observe(record.first_event)
        self._total(record.upstream).observe(seconds)

    def lag(self, seconds: float) -> None:
        """Note how late the event loop was."""
        self._lag.set(seconds)

    def families(self) -> list[Family]:
        """Return all of it as a worker hands it to its master, without the times at which counters were made."""
        self._look()
        return [
            [
                family.name,
                family.type,
                family.documentation,
                [[it.name, it.labels, it.value] for it in family.samples if not it.name.endswith("_created")],
            ]
            for family in self._registry.collect()
        ]

    def text(self) -> bytes:
        """Return all of it in Prometheus's text format."""
        self._look()
        text: bytes = prometheus.generate_latest(self._registry)
        return text

    def _look(self) -> None:
        """Take down what is asked for rather than counted."""
        self._circuits.clear()
        for name, now in self.circuits().items():
            for state in STATES:
                self._circuits.labels(name, state).set(state == now)

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
