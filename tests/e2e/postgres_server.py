"""A real PostgreSQL server for tests."""

import atexit
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg2

BIN = max(Path("/usr/lib/postgresql").glob("*/bin"),
          key=lambda path: int(path.parent.name), default=Path())
USER = "visitd"


def as_postgres(words):
    """The server does not run as root."""
    if os.geteuid() != 0:
        return words
    return ["setpriv", "--reuid=postgres", "--regid=postgres",
            "--clear-groups", *words]


class PostgresServer:
    """A server in a folder of its own, on a socket there and, if `port` is
    given, on that port of 127.0.0.1. Options as in postgresql.conf."""

    def __init__(self, port=None, auth="trust", **options):
        self.folder = Path(tempfile.mkdtemp(prefix="visitd-postgres-"))
        self.folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self.data = self.folder / "data"
        self.port = port or 5432
        self.options = {"fsync": "off", "max_connections": "200",
                        "unix_socket_directories": self.folder,
                        "listen_addresses": "127.0.0.1" if port else "",
                        "port": self.port, "lc_messages": "C",
                        "deadlock_timeout": "100ms", **options}
        self.process = None
        subprocess.run(
            as_postgres([str(BIN / "initdb"), "--no-sync", "-U", USER,
                         "-E", "UTF8", "--locale", "C", "-A", "trust",
                         f"--auth-host={auth}", "-D", str(self.data)]),
            check=True, stdout=subprocess.DEVNULL, cwd="/")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.remove()

    def start(self, wait=True):
        """Start it, and wait until it answers."""
        words = [str(BIN / "postgres"), "-D", str(self.data)]
        for name, value in self.options.items():
            words += ["-c", f"{name}={value}"]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                as_postgres(words), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True, cwd="/")
        deadline = time.monotonic() + 60
        while wait and not self.answers():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.005)

    def answers(self):
        try:
            self.call("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True

    def stop(self, number=signal.SIGINT):
        """End it: SIGINT at once but in order, SIGQUIT as in a crash, SIGKILL
        of all its processes. It keeps its folder and can be started again."""
        pids = self.pids() if number == signal.SIGKILL else [self.process.pid]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        self.process.wait(60)

    def pids(self):
        """All of its processes."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/"
                        "children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def freeze(self):
        """It hangs: what is sent to it stays in its sockets."""
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def remove(self):
        if self.process and self.process.poll() is None:
            self.thaw()
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def connect(self, database="postgres"):
        connection = psycopg2.connect(host=str(self.folder), port=self.port,
                                      user=USER, dbname=database)
        connection.autocommit = True
        return connection

    def call(self, query, *values, database="postgres"):
        """One query on a connection of its own: its rows, if it gives any."""
        with contextlib.closing(self.connect(database)) as connection:
            with connection.cursor() as cursor:
                cursor.execute(query, values or None)
                return cursor.fetchall() if cursor.description else None


# A database takes a quarter of a second of CPU to be made: those of tests that
# have ended are emptied and used again.
EMPTY = """
    DROP SCHEMA public CASCADE;
    CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    GRANT USAGE ON SCHEMA public TO PUBLIC;
"""
LEFT = """
    SELECT datname FROM pg_database d
     WHERE datname = current_database()
       AND (datconnlimit <> -1
            OR EXISTS (SELECT FROM pg_db_role_setting
                       WHERE setdatabase = d.oid)
            OR EXISTS (SELECT FROM pg_namespace
                       WHERE nspname NOT LIKE 'pg\\_%'
                         AND nspname NOT IN ('public', 'information_schema')))
"""


class Databases:
    """The server that the tests of this process share, and its databases."""

    def __init__(self):
        self.server = PostgresServer()
        self.server.start()
        atexit.register(self.server.remove)
        self.pid = os.getpid()
        self.numbers = itertools.count()
        self.free = []

    def take(self):
        """An empty one."""
        if self.free:
            return self.free.pop()
        name = f"d{next(self.numbers)}"
        self.server.call(f"CREATE DATABASE {name}")
        return name

    def give_back(self, name):
        """Whatever is still connected to it is disconnected."""
        try:
            self.server.call("SELECT pg_terminate_backend(pid, 5000)"
                             " FROM pg_stat_activity WHERE datname = %s", name)
            self.server.call(f"ALTER DATABASE {name} RESET ALL")
            self.server.call(EMPTY, database=name)
            if not self.server.call(LEFT, database=name):
                self.free.append(name)
                return
        except psycopg2.Error:
            pass
        self.server.call(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


_shared = []


def shared():
    """The databases for the tests of this process."""
    if not _shared or _shared[0].pid != os.getpid():
        _shared[:] = [Databases()]
    return _shared[0]
