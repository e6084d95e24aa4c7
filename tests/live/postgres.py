"""A PostgreSQL server of its own, from Debian's package, in a temporary folder."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

PATIENCE = 30
PASSWORD = "pg-secret 4711%/@"
QUOTED = "pg-secret%204711%25%2F%40"


def programs():
    """Return the folder of the newest server's programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    """The server listens on a unix socket only, in :attr:`folder`; it asks for a password. It does not run as root."""

    def __init__(self):
        self._programs = programs()
        if self._programs is None:
            pytest.skip("Debian's package postgresql is not installed")
        pytest.importorskip("psycopg")
        # Not below pytest's own folder: that one is closed to others, and the path of a socket must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="chatbridge-pg-"))
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self.folder, self._user)
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        try:
            self._run("initdb", "-D", self.folder / "data", "-U", "bridge", "-A", "scram-sha-256", "--pwfile", password,
                      "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")  # fmt: skip
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self):
        return f"postgresql://bridge:{QUOTED}@/postgres?host={self.folder}"

    @property
    def public_url(self):
        return f"postgresql://bridge@/postgres?host={self.folder}"

    def start(self):
        options = (
            f"-c listen_addresses='' -c unix_socket_directories='{self.folder}' -c fsync=off -c max_connections=30"
        )
        self._control("start", "-l", self.folder / "log", "-o", options)

    def stop(self):
        self._control("stop", "-m", "immediate")

    def query(self, statement):
        import psycopg

        with psycopg.connect(self.public_url, password=PASSWORD) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def close(self):
        if (self.folder / "data" / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _control(self, action, *more):
        self._run("pg_ctl", action, "-D", self.folder / "data", "-w", "-t", str(PATIENCE), *more)

    def _run(self, program, *arguments):
        options = {}
        if self._user:
            known = pwd.getpwnam(self._user)
            options = {"user": known.pw_uid, "group": known.pw_gid, "extra_groups": []}
        command = [self._programs / program, *arguments]
        # Into a file: the server inherits it, and a pipe would be open for as long as it runs.
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said, **options
            )
            said.seek(0)
            assert done.returncode == 0, said.read().decode()


@pytest.fixture(scope="session")
def postgres():
    server = Postgres()
    yield server
    server.close()
