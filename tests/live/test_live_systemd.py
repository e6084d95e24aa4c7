"""What systemd does, done by the test: notify socket, watchdog, socket activation. And TLS endpoints."""

import json
import re
import signal
import socket
import ssl
import sys
from contextlib import closing

import pytest
from bridge_process import PATIENCE, Bridge, connect, names
from certificates import Authority

HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
TOKEN = "cb-0123456789abcdef"


@pytest.fixture
def start(tmp_path):
    started = []

    def start(*options, **more):
        started.append(Bridge(tmp_path, *options, **more))
        return started[-1]

    yield start
    for bridge in started:
        bridge.close()


@pytest.fixture
def systemd(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("systemd") / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as heard:
        heard.bind(path)
        heard.settimeout(PATIENCE)
        yield heard, path


def next_but_watchdog(heard):
    while (said := heard.recv(4096).decode()) == "WATCHDOG=1":
        pass
    return said


@pytest.mark.parametrize("workers", ["1", "2"])
def test_systemd_is_told(start, systemd, tmp_path, workers):
    heard, path = systemd
    (tmp_path / "c.toml").write_text(f'practice = true\nstore = "none"\nworkers = {workers}\n')
    bridge = start("--config", "c.toml", NOTIFY_SOCKET=path, WATCHDOG_USEC="400000")
    status = "Serving" if workers == "1" else "Serving with 2 workers"
    assert heard.recv(4096).decode() == f"READY=1\nSTATUS={status}"
    # Who is told READY can connect.
    connect(json.loads(bridge.info_path.read_text())["port"]).close()
    assert heard.recv(4096) == b"WATCHDOG=1"
    assert heard.recv(4096) == b"WATCHDOG=1"
    bridge.signal(signal.SIGHUP)
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=[0-9]+", next_but_watchdog(heard))
    assert next_but_watchdog(heard) == f"READY=1\nSTATUS={status}"
    (tmp_path / "c.toml").write_text("nonsense = 1\n")
    bridge.signal(signal.SIGHUP)
    assert next_but_watchdog(heard).startswith("RELOADING=1\n")
    said = next_but_watchdog(heard)
    assert said.startswith("READY=1\nSTATUS=Configuration not reloaded: c.toml:1: there is no option 'nonsense'")
    bridge.signal()
    assert next_but_watchdog(heard).startswith("STOPPING=1\n")
    assert bridge.wait() == -signal.SIGTERM
    heard.setblocking(False)
    with pytest.raises(BlockingIOError):
        heard.recv(4096)


def test_sighup_is_a_reload_for_whom_systemd_started(start, systemd):
    heard, path = systemd
    bridge = start("--practice", NOTIFY_SOCKET=path)
    assert heard.recv(4096).startswith(b"READY=1")
    bridge.signal(signal.SIGHUP)
    assert heard.recv(4096).startswith(b"RELOADING=1")
    assert heard.recv(4096).startswith(b"READY=1")
    bridge.signal()
    assert bridge.wait() == -signal.SIGTERM


AS_SYSTEMD = (
    "import os, sys; os.dup2(int(sys.argv.pop(1)), 3); "
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='web'); "
    "from twisted.scripts.twistd import run; run()"
)


@pytest.fixture
def start_activated(start):
    """Start a bridge with a listening socket from systemd."""

    def start_activated(listening, *options):
        number = listening.fileno()
        return start(*options, start=[sys.executable, "-c", AS_SYSTEMD, str(number)], pass_fds=[number])

    return start_activated


@pytest.mark.parametrize("workers", ["1", "2"])
def test_socket_activation(start_activated, workers):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        bridge = start_activated(
            listening, "--practice", "--store", "none", "--workers", workers, "--port", "systemd:domain=INET:index=0"
        )
        port = bridge.info()["port"]
        assert port == listening.getsockname()[1]
        assert b"200 OK" in asked(connect(port))
        bridge.signal()
        assert bridge.wait() == -signal.SIGTERM
        assert "Traceback" not in bridge.output
        # The socket is systemd's, and goes on: what comes now waits for the next start.
        with connect(port):
            pass


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_unix_socket_of_systemd_stays_as_it_is(start_activated, tmp_path, workers):
    path = tmp_path / "x.sock"
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(path))
        path.chmod(0o660)
        listening.listen()
        bridge = start_activated(
            listening, "--practice", "--store", "none", "--workers", workers, "--port", "systemd:domain=UNIX:index=0"
        )
        assert bridge.info()["port"] is None
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(path))
            assert b"200 OK" in asked(client)
        bridge.signal()
        assert bridge.wait() == -signal.SIGTERM
        assert path.stat().st_mode & 0o777 == 0o660
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_an_activated_socket_beyond_loopback_needs_a_token(start_activated):
    with socket.create_server(("0.0.0.0", 0)) as listening:
        bridge = start_activated(listening, "--practice", "--port", "systemd:domain=INET:index=0")
        assert bridge.wait() == 1
        assert "0.0.0.0 is not a loopback address" in bridge.output
        assert "Traceback" not in bridge.output


def test_without_a_socket_from_systemd(start):
    bridge = start("--practice", "--port", "systemd:domain=INET:index=0")
    assert bridge.wait() == 1
    assert "systemd has handed over no such socket; this form is for a service with a socket unit" in bridge.output


def asked(connection):
    with connection:
        connection.sendall(HEALTHZ)
        return connection.makefile("rb").read()


# --- UNIX sockets and TLS


def test_a_unix_socket_that_a_killed_daemon_left(start, tmp_path):
    left = start("--practice", "--port", "unix:x.sock")
    left.info()
    left.signal(signal.SIGKILL)
    left.wait()
    assert "x.sock" in names(tmp_path)
    bridge = start("--practice", "--port", "unix:x.sock:mode=600")
    bridge.info()
    path = tmp_path / "x.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        assert b"200 OK" in asked(client)
    bridge.signal()
    assert bridge.wait() == -signal.SIGTERM
    assert names(tmp_path) == []


@pytest.fixture
def certificate(tmp_path_factory):
    """A server's key and certificate in one file, and that of who signed it."""
    folder, authority = tmp_path_factory.mktemp("tls"), Authority()
    (folder / "server.pem").write_bytes(authority.key_and_certificate("localhost"))
    return folder / "server.pem", authority.write(folder)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_tls(start, certificate, workers):
    server, authority = certificate
    listen = f"ssl:0:interface=127.0.0.1:privateKey={server}"
    bridge = start("--practice", "--store", "none", "--workers", workers, "--port", listen)
    port = bridge.info()["port"]
    assert f"Listening on https://127.0.0.1:{port}/v1\n" in bridge.output
    context = ssl.create_default_context(cafile=authority)
    with context.wrap_socket(connect(port), server_hostname="localhost") as connection:
        assert connection.version() in ("TLSv1.2", "TLSv1.3")
        assert b"200 OK" in asked(connection)
    bridge.signal()
    assert bridge.wait() == -signal.SIGTERM
    assert "Traceback" not in bridge.output


@pytest.mark.parametrize("form", ["tcp:0", "tcp:0:interface=0.0.0.0", "tcp6:0", "ssl:0:privateKey={}"])
def test_beyond_loopback_no_form_goes_without_a_token(start, certificate, form):
    bridge = start("--practice", "--port", form.format(certificate[0]))
    assert bridge.wait() == 1
    assert "is not a loopback address" in bridge.output
    assert "Traceback" not in bridge.output


def test_with_a_token_it_may(start):
    bridge = start("--practice", "--port", "tcp:0", "--client-token-env", "T", T=TOKEN)
    port = bridge.info()["port"]
    assert b"401" in asked_for(port, b"/readyz")


def asked_for(port, path):
    with connect(port) as connection:
        connection.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path)
        return connection.makefile("rb").read()
