"""The servers under load: each as a process whose CPU time and memory can be read."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "bench"
_TRIES = 300


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def compiled(name: str) -> str:
    """Return the path of a C program from this folder, compiled when it is not or no longer there."""
    BUILD.mkdir(parents=True, exist_ok=True)
    binary, source = BUILD / name, HERE / f"{name}.c"
    newest = max(source.stat().st_mtime, (HERE / "net.h").stat().st_mtime)
    if not binary.exists() or binary.stat().st_mtime < newest:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise SystemExit("make bench needs a C compiler (Debian: gcc)")
        subprocess.run([compiler, "-O2", "-o", binary, source], check=True)
    return str(binary)


@dataclass
class Target:
    """A server: its command, and where requests go. Starts with :meth:`start`, ends with :meth:`stop`."""

    name: str
    command: Sequence[str]
    port: int
    path: str = "/v1/responses"
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Target:
        log = (BUILD / f"{self.name}.log").open("wb")
        environment = {**os.environ, **self.environment}
        self.process = subprocess.Popen(
            self.command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=BUILD, start_new_session=True
        )
        for _ in range(_TRIES):
            if self.process.poll() is not None:
                break
            try:
                self._ask()
            except OSError:
                time.sleep(0.05)
            else:
                return self
        raise SystemExit(f"{self.name} does not start; see {log.name}")

    def _ask(self) -> None:
        """Raise ``OSError`` while it does not serve."""
        if self.name.startswith("chatbridge"):
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5).close()
        else:
            socket.create_connection(("127.0.0.1", self.port), 1).close()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def cpu(self) -> float:
        """Return the CPU seconds of its processes so far, to the nanosecond, kernel time included."""
        return sum(_scheduled(task) for pid in self.pids() for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))

    def memory(self) -> int:
        """Return the bytes of memory that its processes hold."""
        page = os.sysconf("SC_PAGE_SIZE")
        return sum(int(_read(f"/proc/{pid}/statm").split()[1]) * page for pid in self.pids() if _alive(pid))

    def pids(self) -> list[int]:
        """Return its processes."""
        assert self.process is not None
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += [
                int(child)
                for children in Path(f"/proc/{pid}/task").glob("*/children")
                for child in _read(str(children)).split()
            ]
        return found


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _alive(pid: int) -> bool:
    return bool(_read(f"/proc/{pid}/statm"))


def _scheduled(path: Path) -> float:
    text = _read(str(path)).split()
    return int(text[0]) / 1e9 if text else 0.0


def upstream() -> Target:
    port = free_port()
    return Target("direct", [compiled("upstream"), str(port)], port, "/v1/chat/completions")


def bridge(url: str, name: str = "chatbridge", *more: str) -> Target:
    """The daemon of this checkout, with every feature as it is by default."""
    port = free_port()
    twistd = Path(sys.executable).with_name("twistd")
    start = (
        [str(twistd)] if twistd.exists() else [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
    )
    words = ["-n", "--pidfile=", "chatbridge", "--port", str(port), "--upstream-url", url, *more]
    # Compiled once, as pip and Debian leave an installed package; not in the checkout.
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(BUILD / "pycache")}
    environment = {"OPENAI_API_KEY": "bench", "PYTHONPATH": str(HERE.parent), **compiled}
    return Target(name, [*start, *words], port, environment=environment)


def nginx(upstream_port: int) -> Target | None:
    """nginx as a pass-through, which translates nothing: what moving the bytes costs."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if binary is None:
        return None
    port = free_port()
    server = f"listen 127.0.0.1:{port};"
    return Target("nginx", [binary, "-c", _nginx_conf("nginx", server, upstream_port)], port, "/v1/chat/completions")


def tls(upstream_port: int) -> Target | None:
    """nginx as the upstream's TLS side."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    openssl = shutil.which("openssl")
    if binary is None or openssl is None:
        return None
    key, certificate = BUILD / "tls.key", BUILD / "tls.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    port = free_port()
    server = f"listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};"
    return Target("tls", [binary, "-c", _nginx_conf("tls", server, upstream_port)], port, "/v1/chat/completions")


def _nginx_conf(name: str, server: str, upstream_port: int) -> str:
    place = BUILD / f"{name}.nginx"
    place.mkdir(parents=True, exist_ok=True)
    temporary = "".join(
        f"{kind}_temp_path {place}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    conf = place / "nginx.conf"
    conf.write_text(
        f"daemon off; worker_processes 1; pid {place}/pid; error_log {place}/error.log;\n"
        "events { worker_connections 16000; }\n"
        f"http {{ access_log off; {temporary} client_max_body_size 32m; keepalive_requests 1000000;\n"
        f"  upstream up {{ server 127.0.0.1:{upstream_port}; keepalive 64; }}\n"
        f"  server {{ {server} location / {{ proxy_pass http://up; proxy_http_version 1.1;\n"
        '    proxy_set_header Connection ""; proxy_buffering off; } } }\n'
    )
    return str(conf)


def relay(url: str) -> Target | None:
    """codex-relay (PyPI), a bridge in Rust, where it is installed: on the PATH, or where CODEX_RELAY says."""
    binary = os.environ.get("CODEX_RELAY") or shutil.which("codex-relay") or _beside("codex-relay")
    if binary is None:
        return None
    port = free_port()
    base = url.removesuffix("/chat/completions")
    return Target("codex-relay", [binary, "--port", str(port), "--upstream", base, "--api-key", "bench"], port)


def _beside(name: str) -> str | None:
    path = Path(sys.executable).with_name(name)
    return str(path) if path.exists() else None


def start_time(url: str) -> Iterator[float]:
    """Yield the seconds that the daemon takes from its start until it answers /healthz, again and again."""
    while True:
        target = bridge(url, "start")
        began = time.monotonic()
        process = subprocess.Popen(
            target.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=BUILD,
            env={**os.environ, **target.environment},
        )  # fmt: skip
        try:
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{target.port}/healthz", timeout=5).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() - began > 30:
                        raise SystemExit("the daemon does not start") from None
                    time.sleep(0.005)
            yield time.monotonic() - began
        finally:
            process.terminate()
            process.wait()
