"""The options of ``twistd chatbridge`` as a table: names, texts, defaults."""

from __future__ import annotations

from chatbridge.service.settings import DEFAULT_UPSTREAM_URL


# Twisted prints the default behind the text itself, where it is a value and not a rule.
def _parameter(name: str, text: str, default: str | None = None) -> list[str | None]:
    return [name, None, default, text]


def _flag(name: str, text: str) -> list[str | None]:
    return [name, None, text]


PARAMETERS = [
    _parameter(
        "config",
        "A TOML file with these options, as upstream_url; the command line and CHATBRIDGE_… variables go before it. "
        "[default: none]",
    ),
    _parameter(
        "port",
        "A port number on --host, or a Twisted endpoint description such as unix:/run/chatbridge.sock. "
        "[default: a free port, which the log names]",
    ),
    _parameter("host", "The address to listen on, with a --port that is a number. [default: 127.0.0.1]"),
    _parameter(
        "upstream-url",
        "The upstream's chat/completions address; to a base URL that ends in /v1, /chat/completions is added. "
        f"[default: {DEFAULT_UPSTREAM_URL}]",
    ),
    _parameter(
        "upstream",
        "A vendor by name, as deepseek or ollama: fills in the address, the profile and the key's variable. "
        "[default: none]",
    ),
    _parameter(
        "profile",
        "The vendor profile to talk to the upstream with, by name, or the path of a TOML file. "
        "[default: chosen by the upstream's address]",
    ),
    _parameter(
        "api-key-env",
        "The environment variable that holds the upstream's API key. "
        "[default: OPENAI_API_KEY, or the vendor's own with --upstream]",
    ),
    _parameter(
        "api-key-file",
        "A file that holds the upstream's API key and nothing else, in place of a variable; with several keys, one a "
        "line. It may begin with $CREDENTIALS_DIRECTORY, where systemd puts a service's credentials. [default: none]",
    ),
    _parameter(
        "server-info",
        "A file to write one JSON line to (port, pid, version, upstream_url, started_at) when the port is open. "
        "Removed at a clean stop. [default: none]",
    ),
    _parameter(
        "client-token-env",
        "The environment variable that holds the token which clients must send as their API key. [default: none]",
    ),
    _parameter(
        "client-token-file",
        "A file with the tokens of several clients, made with `chatbridge token`. [default: none]",
    ),
    _parameter(
        "store",
        "Where responses and conversations are kept: memory, none, sqlite:///PATH for a file that outlives the daemon, "
        "or postgresql://USER@HOST/DATABASE for several bridges at once.",
        "memory",
    ),
    _parameter("store-days", "For how many days responses are kept.", "30"),
    _parameter(
        "search-url",
        "The address of a SearXNG, as http://127.0.0.1:8888, which answers Codex's own web search. [default: none]",
    ),
    _parameter(
        "search-open",
        "Which pages Codex's web search may open: results (that a search has found), any (on the public internet), or "
        "none.",
        "results",
    ),
    _parameter("log-format", "text, or json for one JSON object a line on the standard output.", "text"),
    _parameter(
        "log-level", "The least level that is logged: debug, info, warn, error or critical; requests are info.", "info"
    ),
    _parameter(
        "trace",
        "A folder of this user alone to write each turn into, with all that was said but the keys, for finding out "
        "what went wrong. [default: none]",
    ),
    _parameter(
        "trace-size", "How much is kept there, the newest turns: a number of bytes, or one with k, M or G.", "256M"
    ),
    _parameter("client-streams", "Requests that one client may have running; 0 is no limit.", "0"),
    _parameter("client-rate", "Requests that one client may make in a minute; 0 is no limit.", "0"),
    _parameter("max-streams", "Answers that may run at once, over all clients and workers; 0 is no limit.", "0"),
    _parameter("max-connections", "Connections of clients that may be open at once; 0 is no limit.", "0"),
    _parameter(
        "workers",
        "Processes that serve the port, for more than one core; each takes about 70 MB. With more than one, stored "
        "responses need a store that all share.",
        "1",
    ),
    _parameter("client-websockets", "WebSockets that one client may have open; 0 is no limit.", "100"),
    _parameter("drain-seconds", "Seconds that running answers may go on after a stop.", "10"),
    _parameter(
        "max-request-bytes",
        "The largest request body, as sent and decoded: a number of bytes, or one with k, M or G.",
        "32M",
    ),
    _parameter(
        "ca-file",
        "A PEM file of the certificate authorities that the upstream's certificate is checked with. "
        "[default: the system's]",
    ),
    _parameter(
        "proxy",
        "The HTTP proxy to the upstream, as http://USER:PASSWORD@HOST:PORT, or none. "
        "[default: what HTTPS_PROXY, HTTP_PROXY and NO_PROXY say]",
    ),
    _parameter(
        "connect-timeout",
        "Seconds until a connection to the upstream is ready: DNS, TCP, a proxy's answer and the TLS handshake.",
        "15",
    ),
    _parameter(
        "first-byte-timeout",
        "Seconds until the upstream begins to answer; local models read long prompts before they say anything.",
        "600",
    ),
    _parameter("idle-timeout", "Seconds of silence within the upstream's answer.", "300"),
    _parameter("total-timeout", "Seconds from a request's start to its answer's end, all attempts included.", "3600"),
    _parameter(
        "retries",
        "How often a request that failed before its answer began is sent again to the same upstream after a wait.",
        "2",
    ),
    _parameter("retry-seconds", "Seconds after the first attempt within which the last one must begin.", "10"),
    _parameter(
        "breaker-failures",
        "Failures of an upstream in a row, within a minute, after which it is left alone for a while; 0 for never. "
        "[default: 5, or 50 where there is no other upstream to ask]",
    ),
    _parameter("breaker-seconds", "For how many seconds at first; doubled each time, up to eightfold.", "10"),
    _parameter("upstream-streams", "Requests that the upstream may have running; 0 is no limit.", "0"),
    _parameter("upstream-rate", "Requests that the upstream may get in a minute; 0 is no limit.", "0"),
    _parameter("queue-seconds", "Seconds that a request waits in line where those limits are reached.", "60"),
    _parameter("header-timeout", "Seconds a client has for the whole head of a request.", "10"),
]

FLAGS = [
    _flag("no-api-key", "Send no API key; only for an upstream on this machine. [default: off]"),
    _flag(
        "repair-json",
        "Ask once more for an answer that does not match the JSON schema of its request; such answers reach clients "
        "only when they are whole. [default: off]",
    ),
    _flag(
        "vendor-search",
        "Let the vendor search the web when the client offers web_search and allows live access: each search costs "
        "money and sends its query on. [default: off]",
    ),
    _flag(
        "search-always",
        "Search with --search-url also where Codex's sandbox says that there is to be no live access. [default: off]",
    ),
    _flag(
        "allow-anyone",
        "Listen beyond loopback without client tokens: whoever reaches the port uses your upstream. [default: off]",
    ),
    _flag("http-shutdown", "Let GET /shutdown stop the daemon. [default: off]"),
    _flag(
        "practice",
        "Answer from a scripted upstream inside the daemon: no model, no key, for trying things out. [default: off]",
    ),
]
