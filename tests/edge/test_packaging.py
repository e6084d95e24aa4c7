"""What is in packaging/, checked against the program that it packages."""

import configparser
import re
import runpy
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from chatbridge import __version__
from chatbridge.service.options import Options

PACKAGING = Path(__file__).parents[2] / "packaging"
DEBIAN = PACKAGING / "debian"
CONFFILE = DEBIAN / "chatbridge.toml"
KEY = {"OPENAI_API_KEY": "sk-test-0123456789"}


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name, value in KEY.items():
        monkeypatch.setenv(name, value)


def section(unit, name):
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str
    parser.read(DEBIAN / unit)
    return parser[name]


def parsed(*arguments):
    options = Options()
    options.parseOptions(list(arguments))
    return options.settings(KEY)


def test_the_package_has_the_programs_version():
    first = (DEBIAN / "changelog").read_text("utf-8").splitlines()[0]
    assert first.startswith(f"chatbridge ({__version__}) ")


def test_debian_has_what_pip_would_install():
    """What is optional for pip is recommended or suggested by the package; what the tests need is there in its build."""
    setup = configparser.ConfigParser()
    setup.read(PACKAGING.parent / "setup.cfg")
    wanted = {
        extra: {
            "python3-" + name.replace("_", "-")
            for name in re.findall(r"(?m)^([a-z][a-z_-]*)", setup["options.extras_require"][extra])
        }
        for extra in setup["options.extras_require"]
        if extra not in ("bench", "dev")
    }
    source, binary = (DEBIAN / "control").read_text("utf-8").split("\nPackage: chatbridge\n")
    # msgspec and tiktoken are not in Debian 12; what needs a reactor does not run during the build.
    elsewhere = {"python3-msgspec", "python3-tiktoken", "python3-pytest-twisted"}
    assert wanted.pop("test") - elsewhere <= set(re.findall(r"python3-[a-z-]+", source))
    assert set().union(*wanted.values()) - elsewhere <= set(re.findall(r"python3-[a-z-]+", binary))


def test_the_configuration_that_is_installed_is_a_good_one():
    found = parsed("--config", str(CONFFILE))
    assert found.listen == "tcp:8787:interface=127.0.0.1"
    assert found.api_key_env == "OPENAI_API_KEY"
    assert found.upstream_url == "https://api.openai.com/v1/chat/completions"


def test_each_example_in_it_is_an_option():
    options = Options()
    for key in re.findall(r"(?m)^#?([a-z_]+) = ", CONFFILE.read_text("utf-8")):
        assert key.replace("_", "-") in options.kinds


def test_what_an_operator_appends_to_the_units_command_counts():
    words = shlex.split(section("chatbridge.service", "Service")["ExecStart"])
    assert words[:4] == ["/usr/bin/twistd3", "--nodaemon", "--pidfile=", "chatbridge"]
    arguments = [str(CONFFILE) if word == "/etc/chatbridge/chatbridge.toml" else word for word in words[4:]]
    found = parsed(*arguments, "--port", "1", "--upstream-url", "http://127.0.0.1:2/v1")
    assert found.listen == "tcp:1:interface=127.0.0.1"
    assert found.upstream_url == "http://127.0.0.1:2/v1/chat/completions"
    assert found.api_key.reveal() == KEY["OPENAI_API_KEY"]
    assert parsed(*arguments, "--practice").practice


def test_the_unit_gives_the_drain_its_time():
    service = section("chatbridge.service", "Service")
    assert service["User"] not in ("", "root")
    assert int(service["TimeoutStopSec"]) > parsed("--practice").drain_seconds + 2
    # Only the daemon gets the signal to stop.
    assert service["KillMode"] == "mixed"


def test_the_sockets_port_is_the_configurations():
    assert section("chatbridge.socket", "Socket")["ListenStream"] == "127.0.0.1:8787"


def test_the_manual_pages_name_every_option(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    pages = runpy.run_path(str(PACKAGING / "manpages.py"))
    daemon, file, command = pages["daemon"](), pages["file"](), pages["command"]()
    for name in Options().kinds:
        assert f".B {pages['escaped']('--' + name)}" in daemon
        assert name == "config" or f"\n.B {name.replace('-', '_')} = " in file
    assert "\n.B chatbridge config check" in command
    for page in (daemon, file, command):
        assert page.startswith(".TH ")
        assert " 1970-01-01 " in page.splitlines()[0]
        # A line that begins with a dot or a quote is a request; each of them is one of ours.
        requests = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
        assert requests <= {".TH", ".SH", ".TP", ".B", ".BR", ".BI", ".RB", ".RI", ".I", ".PP", ".EX", ".EE"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_reads_the_units(tmp_path):
    service = (DEBIAN / "chatbridge.service").read_text("utf-8")
    # The program may not be installed where this runs.
    (tmp_path / "chatbridge.service").write_text(service.replace("/usr/bin/twistd3", "/bin/true"), "utf-8")
    (tmp_path / "chatbridge.socket").write_text((DEBIAN / "chatbridge.socket").read_text("utf-8"), "utf-8")
    units = [str(tmp_path / name) for name in ("chatbridge.service", "chatbridge.socket")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_each_error_text_in_the_operations_page_is_one_that_the_program_has():
    page = (PACKAGING.parent / "docs" / "operations.md").read_text("utf-8").split("## When something goes wrong")[1]
    program = page.replace("And from twistd itself", "### twistd").split("\n### ")
    sources = "\n".join(path.read_text("utf-8") for path in sorted((PACKAGING.parent / "chatbridge").rglob("*.py")))
    # A text may be written over two lines.
    sources = re.sub(r'"\s*\n\s*f?"', "", sources)
    missing = []
    for part in program:
        if not part.startswith(("It does not start", "A request fails")):
            continue
        for cell in re.findall(r"(?m)^\| (`.*?)\s\|", part):
            for text in re.findall(r"`([^`]+)`", cell):
                pieces = [piece.strip() for piece in re.split("…|[0-9]{3}", text)]
                missing += [text for piece in pieces if len(piece) > 3 and piece not in sources]
    assert not missing
