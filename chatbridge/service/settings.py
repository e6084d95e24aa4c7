"""Everything that can be configured, typed and frozen."""

from __future__ import annotations

from dataclasses import dataclass, field

from chatbridge.service.proxy import Proxy
from chatbridge.service.routes import Routes
from chatbridge.service.secret import Secret
from chatbridge.upstream.keys import Key
from chatbridge.vendors.profile import Profile

DEFAULT_LEVEL = "info"
DEFAULT_UPSTREAM_URL = "https://api.openai.com/v1/chat/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The daemon's settings. Times are seconds, sizes bytes."""

    name: str = "default"
    """The upstream's name, in the log and in paths."""
    listen: str = "tcp:0:interface=127.0.0.1"
    """A Twisted server endpoint description."""
    upstream_url: str = DEFAULT_UPSTREAM_URL
    """The full address of chat/completions. With ``practice`` it is set when the practice upstream listens."""
    profile: Profile | None = None
    """How to talk to the upstream; None chooses by its URL."""
    repair_json: bool = False
    """An answer that does not match its JSON schema is asked for once more."""
    vendor_search: bool = False
    """The vendor may search the web where a client offers the hosted tool and the profile says how."""
    search_url: str = ""
    """A SearXNG's address, which answers Codex's own web search; empty for none."""
    search_open: str = "results"
    """Which pages Codex's web search may open: ``results`` that it found, ``any`` public ones, or ``none``."""
    search_always: bool = False
    """Search also where Codex's sandbox rules live access out."""
    api_key: Secret = field(default_factory=lambda: Secret(""))
    """The key for the upstream; an empty one sends no Authorization header."""
    api_key_env: str = "OPENAI_API_KEY"
    """Where the key came from, a variable or a file, for error texts."""
    api_keys: tuple[Key, ...] = ()
    """All keys for the upstream when there are several; ``api_key`` is the first."""
    store: str = "memory"
    """Where responses are kept: ``memory``, ``none``, ``sqlite:///PATH`` or ``postgresql://…`` without its password."""
    store_password: Secret = field(default_factory=lambda: Secret(""))
    """The database's."""
    store_seconds: float = 30 * 86400.0
    """For how long."""
    log_format: str = "text"
    """``text`` as twistd writes it, or ``json``: one object a line, to the standard output."""
    log_level: str = DEFAULT_LEVEL
    """The least level that is logged."""
    trace: str | None = None
    """The folder that turns are written into, as files of their own; None writes none."""
    trace_bytes: int = 256 * 1024 * 1024
    """How much is kept there."""
    server_info: str | None = None
    http_shutdown: bool = False
    practice: bool = False
    drain_seconds: float = 10.0
    max_request_bytes: int = 32 * 1024 * 1024
    """Limit on a request's body, as sent and after decoding."""
    header_timeout: float = 10.0
    """Total time for a request's head."""
    allow_hosts: tuple[str, ...] = ()
    """Host names accepted besides loopback ones."""
    allow_origins: tuple[str, ...] = ()
    """Origins accepted; without one, a request with an Origin header is refused."""
    forward_headers: tuple[str, ...] = ()
    """Headers of the client that go upstream besides the usual ones, in lower case."""
    upstreams: tuple[Settings, ...] = ()
    """All upstreams when there are several, each with settings of its own; what is not about an upstream is not read
    there. The first fields here are those of the default one."""
    routes: Routes = field(default_factory=lambda: Routes((), "default", frozenset()))
    client_tokens: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    """Name and SHA-256 of each client's token; without one, everyone who reaches the port may ask."""
    client_streams: int = 0
    """Requests that one client may have running; 0 is no limit."""
    client_rate: int = 0
    """Requests that one client may make in a minute; 0 is no limit."""
    max_streams: int = 0
    """Answers that may run at once, all clients and workers together; 0 is no limit."""
    max_connections: int = 0
    """Connections of clients that may be open at once, over all workers; 0 is no limit."""
    workers: int = 1
    """Processes that serve; 1 is the daemon's own."""
    client_websockets: int = 100
    """WebSockets that one client may have open; 0 is no limit."""
    allow_anyone: bool = False
    """Listen beyond loopback although there are no client tokens."""
    proxy: Proxy | None = None
    """The HTTP proxy that connections to the upstream go through."""
    ca_file: str | None = None
    """A PEM file of the certificate authorities that the upstream's certificate is checked with, in place of the
    system's. There is no way to leave the check out."""
    connect_timeout: float = 15.0
    """Until a connection to the upstream is ready for a request: DNS, TCP, a proxy's answer and the TLS handshake."""
    first_byte_timeout: float = 600.0
    """Until the upstream's response head; local models read long prompts before they say anything."""
    idle_timeout: float = 300.0
    """Between two reads of the upstream's body."""
    total_timeout: float = 3600.0
    """From a request's start to its answer's end, all attempts included."""
    retries: int = 2
    """How often a request that failed is sent again to the same upstream after a wait."""
    retry_seconds: float = 10.0
    """How long after the first attempt the last one may begin."""
    breaker_failures: int = 5
    """Answers in a row, within a minute, whose failure opens the upstream's circuit; 0 never opens it."""
    breaker_seconds: float = 10.0
    """How long it stays open at first."""
    upstream_streams: int = 0
    """Requests that the upstream may have running; 0 is no limit."""
    upstream_rate: int = 0
    """Requests that the upstream may get in a minute; 0 is no limit."""
    queue_seconds: float = 60.0
    """How long a request waits where those limits are reached."""
    commit_after: float = 2.0
    """How long a streamed answer waits for the upstream's status before its own 200 goes out."""
    keepalive: float = 15.0
    """How long the client's connection may be silent before it gets a sign of life."""
