import os
import re
import socket
import time
from contextlib import closing

import pytest
from memory_http import logged
from twisted.internet.task import Clock

from chatbridge.service.notify import Notify


@pytest.fixture(params=["file", "abstract"])
def systemd(request, tmp_path):
    """A socket as systemd's, and its name for NOTIFY_SOCKET."""
    name = str(tmp_path / "notify")
    if request.param == "abstract":
        name = f"@chatbridge-test-{os.getpid()}"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as heard:
        heard.bind(re.sub("^@", "\0", name))
        heard.setblocking(False)
        yield heard, name


def said(heard):
    found = []
    while True:
        try:
            found.append(heard.recv(4096).decode())
        except BlockingIOError:
            return found


def test_the_life_of_a_daemon(systemd):
    heard, name = systemd
    notify = Notify({"NOTIFY_SOCKET": name}, Clock())
    assert said(heard) == []
    notify.startService()
    assert said(heard) == ["READY=1\nSTATUS=Serving"]
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify.reloading()
    (line,) = said(heard)
    when = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=([0-9]+)", line)
    assert before <= int(when[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify.ready("Configuration not reloaded:\nc.toml:1")
    assert said(heard) == ["READY=1\nSTATUS=Configuration not reloaded: c.toml:1"]
    notify.stopService()
    assert said(heard) == ["STOPPING=1\nSTATUS=Stopping: running answers finish"]


def watchdog(**environ):
    return {"WATCHDOG_USEC": "30000000", **environ}


def test_the_watchdog_is_fed_twice_in_its_time(systemd):
    heard, name = systemd
    clock = Clock()
    notify = Notify(watchdog(NOTIFY_SOCKET=name, WATCHDOG_PID=str(os.getpid())), clock)
    notify.startService()
    assert said(heard)[1:] == ["WATCHDOG=1"]
    clock.advance(14)
    assert said(heard) == []
    clock.advance(1)
    assert said(heard) == ["WATCHDOG=1"]
    notify.stopService()
    assert not clock.getDelayedCalls()


@pytest.mark.parametrize("environ", [watchdog(WATCHDOG_PID="1"), watchdog(WATCHDOG_USEC="soon"), {}])
def test_no_watchdog_for_this_process(systemd, environ):
    heard, name = systemd
    clock = Clock()
    Notify({"NOTIFY_SOCKET": name, **environ}, clock).startService()
    assert len(said(heard)) == 1
    assert not clock.getDelayedCalls()


def test_without_systemd_nothing_is_said():
    clock = Clock()
    notify = Notify(watchdog(), clock)
    with logged() as events:
        notify.startService()
        notify.reloading()
        notify.stopService()
    assert not events
    assert not clock.getDelayedCalls()


def test_a_systemd_that_does_not_listen_is_no_reason_to_fail(tmp_path):
    notify = Notify({"NOTIFY_SOCKET": str(tmp_path / "none")}, Clock())
    with logged() as events:
        notify.startService()
    assert events[0]["text"].startswith("Cannot tell systemd READY=1: ")
