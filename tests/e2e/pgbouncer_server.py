"""A real pgbouncer before a PostgreSQL server, for tests."""

import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg2

from postgres_server import USER, as_postgres


class PgBouncer:
    """On a socket in a folder of its own, with `places` on the server and the
    settings of its package otherwise."""

    def __init__(self, server, mode, places=2):
        self.folder = Path(tempfile.mkdtemp(prefix="visitd-pgbouncer-"))
        self.folder.chmod(0o777)
        self.port = 6432
        self.process = None
        self.config = self.folder / "pgbouncer.ini"
        users = self.folder / "users"
        users.write_text(f'"{USER}" ""\n')
        self.config.write_text(f"""[databases]
* = host={server.folder} port={server.port}
[pgbouncer]
listen_port = {self.port}
unix_socket_dir = {self.folder}
auth_type = trust
auth_file = {users}
pool_mode = {mode}
default_pool_size = {places}
""")

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def settings(self):
        """The environment that points visitd here."""
        return {"DB_HOST": self.folder, "DB_PORT": self.port}

    def start(self):
        """Start it, and wait until it takes connections."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                as_postgres(["pgbouncer", str(self.config)]),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        deadline = time.monotonic() + 60
        while not self.answers():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.005)

    def answers(self):
        try:
            psycopg2.connect(host=str(self.folder), port=self.port, user=USER,
                             dbname="postgres").close()
        except psycopg2.OperationalError:
            return False
        return True

    def stop(self, number=signal.SIGTERM):
        """SIGTERM: at once; SIGINT: when its clients have ended."""
        self.process.send_signal(number)
        self.process.wait(60)

    def log(self):
        return (self.folder / "log").read_text(errors="replace")
