"""A real redis-server for tests, and a client that is small and strict."""

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path


class RedisError(Exception):
    """An error reply."""


class Redis:
    """One connection: call("GET", "key")."""

    def __init__(self, address, timeout=60):
        family = (socket.AF_UNIX if isinstance(address, str)
                  else socket.AF_INET)
        self.socket = socket.socket(family)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def call(self, *words):
        """Send a command and give its reply; texts as str."""
        words = [word if isinstance(word, bytes) else str(word).encode()
                 for word in words]
        out = b"*%d\r\n" % len(words)
        out += b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
        self.socket.sendall(out)
        return self._reply()

    def _reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("redis has closed the connection")
        kind, text = line[:1], line[1:-2].decode()
        if kind == b"+":
            return text
        if kind == b"-":
            raise RedisError(text)
        if kind == b":":
            return int(text)
        if kind == b"$":
            if text == "-1":
                return None
            return self.file.read(int(text) + 2)[:-2].decode()
        assert kind == b"*", line
        return [self._reply() for _ in range(int(text))]


class RedisServer:
    """A redis-server in a folder of its own, on a socket file and, if `port`
    is given, on that port of 127.0.0.1. Options as for its command line:
    appendonly="yes"."""

    def __init__(self, port=0, **options):
        self.folder = Path(tempfile.mkdtemp(prefix="visitd-redis-"))
        self.folder.chmod(0o755)
        self.path = str(self.folder / "socket")
        self.port = port
        self.options = {"save": "", "appendonly": "yes",
                        "appendfsync": "no", **options}
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.remove()

    def command(self):
        # It dies with the tests, however they end.
        words = ["setpriv", "--pdeathsig", "KILL",
                 "redis-server", "--dir", self.folder, "--port", self.port,
                 "--bind", "127.0.0.1", "--unixsocket", self.path,
                 "--unixsocketperm", "777", "--databases", "4096"]
        for name, value in self.options.items():
            words += ["--" + name.replace("_", "-"), value]
        return [str(word) for word in words]

    def start(self, wait=True):
        """Start it, and wait until it answers."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True)
        deadline = time.monotonic() + 60
        while wait and not self.answers():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.005)

    def answers(self):
        try:
            self.call("PING")
        except (OSError, RedisError) as error:
            return "NOAUTH" in str(error)
        return True

    def stop(self, number=signal.SIGTERM):
        """End it; it keeps its folder and can be started again."""
        self.process.send_signal(number)
        self.process.wait(60)

    def freeze(self):
        """It hangs: what is sent to it stays in its socket."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def remove(self):
        if self.process and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def client(self):
        client = Redis(self.path)
        password = self.options.get("requirepass")
        if password:
            with contextlib.suppress(RedisError):
                client.call("AUTH", password)
        return client

    def call(self, *words):
        """One command on a connection of its own."""
        with self.client() as client:
            return client.call(*words)


_shared = []


def shared_server():
    """The server that the tests of this process share, and a database of it
    that nobody has used."""
    if not _shared or _shared[0][1] != os.getpid():
        server = RedisServer()
        server.start()
        atexit.register(server.remove)
        _shared[:] = [(server, os.getpid(), iter(range(4096)))]
    server, _, databases = _shared[0]
    return server, next(databases)
