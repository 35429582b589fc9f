"""What the end-to-end tests stand on: stores, a server, a strict client.

The binary under test is $VISITD (default build/file/visitd), its store $STORE
(default file). To test another store add a class like FileStore to STORES. With
CACHE=1 the PostgreSQL store gets a Redis as its cache.
"""

import calendar
import contextlib
import datetime
import email.utils
import json
import os
import random
import re
import resource
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

import postgres_server
import redis_server

REPO = Path(__file__).resolve().parents[2]
STORE = os.environ.get("STORE", "file")
BINARY = Path(os.environ.get("VISITD", REPO / "build" / STORE / "visitd"))
BINARY = BINARY.absolute()
CACHE = os.environ.get("CACHE") == "1"
MAX = 2**63 - 1
HOLDS_NUL = STORE != "postgres"  # texts with U+0000

SANITIZED = BINARY.exists() and b"__asan_init" in BINARY.read_bytes()
# What is waited for comes at once, but on a busy machine; a sanitized binary
# gets more time before a test calls it hung.
PATIENCE = 6 if SANITIZED else 2


# What a busy machine may take to answer, too, ms: where STORE_TIMEOUT does not
# matter.
STORE_TIMEOUT = 5000
# What an answer may take beyond twice its bound, seconds: a busy machine.
MARGIN = 2 * PATIENCE


def noon_zone():
    """A TZ in which it is about noon, so that no test meets midnight."""
    hour = datetime.datetime.now(datetime.timezone.utc).hour
    west = hour - 12
    return f"NOON{west:+d}", datetime.timedelta(hours=-west)


ZONE, OFFSET = noon_zone()


def day(ago=0):
    """The date there, some days ago."""
    now = datetime.datetime.now(datetime.timezone.utc) + OFFSET
    return (now.date() - datetime.timedelta(days=ago)).isoformat()


def wait_for(condition, within=30, what="a condition"):
    """Poll until the condition gives something true, and give that. Where the
    contract has a bound, `within` is at least twice that; else it is what no
    machine that works takes, and only tells a hang."""
    deadline = time.monotonic() + within * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within} s in vain for {what}")
        time.sleep(0.002)


@contextlib.contextmanager
def within(seconds):
    """What the contract bounds."""
    begun = time.monotonic()
    yield
    taken = time.monotonic() - begun
    assert taken < 2 * seconds + MARGIN, f"it took {taken:.3f} s"


def count_on(store, more=300):
    """Wait until a load has counted some more visits."""
    goal = store.total() + more
    wait_for(lambda: store.total() >= goal, what="the load to get going")


# Stores


class FileStore:
    """STORE=file: the home total is the file `visits` in DATA_DIR."""

    name = "file"

    def __init__(self, root):
        self.root = Path(root)
        self.data = self.root / "data"
        self.visits = self.data / "visits"
        self.history = self.data / "history"
        self.data.mkdir()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def settings(self):
        """The environment that points a server here."""
        return {"DATA_DIR": str(self.data)}

    def total(self):
        """The home total as the host sees it; 0 if nothing was counted."""
        try:
            file = os.open(self.visits, os.O_RDONLY)
        except FileNotFoundError:
            return 0
        # At once: a number that grows by a digit between two reads looks odd.
        text = os.read(file, 4096)
        os.close(file)
        if not text:
            return 0
        assert re.fullmatch(rb"(0|[1-9][0-9]*)\n", text), text
        return int(text)

    def set_total(self, number):
        """Set the home total as an operator would: by rename."""
        fresh = self.data / "visits.new"
        fresh.write_text(f"{number}\n")
        fresh.rename(self.visits)


class RedisStore:
    """STORE=redis: a database of its own, on the server that the tests of this
    process share or on the one that is given."""

    name = "redis"
    server_class = redis_server.RedisServer
    peer, standard_port = "redis", 6379  # as messages name it
    # Bytes of a request that adds to a total (and not the word in a script),
    # and of any request but the greeting.
    adds, asks = b"$6\r\nINCRBY", b"visit_counter"

    def __init__(self, root, server=None):
        self.root = Path(root)
        if server:
            self.server, self.database = server, 0
        else:
            self.server, self.database = redis_server.shared_server()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def settings(self):
        """The environment that points a server here."""
        return {"DATA_DIR": str(self.root), "REDIS_HOST": self.server.path,
                "REDIS_DB": self.database}

    def at(self, host, port=None):
        """The settings that replace those: another way to the same server."""
        return {"REDIS_HOST": host, "REDIS_PORT": port}

    def socket(self):
        """The path of the server's socket."""
        return self.server.path

    def call(self, *words):
        """A command, in this store's database."""
        with self.server.client() as client:
            client.call("SELECT", self.database)
            return client.call(*words)

    def total(self):
        """The home total as the server has it; 0 if nothing was counted."""
        text = self.call("GET", "visit_counter:homepage")
        return 0 if text is None else int(text)

    def set_total(self, number):
        """Set the home total behind the program's back."""
        self.call("SET", "visit_counter:homepage", number)

    def add(self, number):
        """Count visits behind the program's back."""
        self.call("INCRBY", "visit_counter:homepage", number)


class PostgresStore:
    """STORE=postgres: a database of its own, on the server that the tests of
    this process share or on the one that is given. `cache` is a RedisStore, or
    True for one of its own."""

    name = "postgres"
    server_class = postgres_server.PostgresServer
    peer, standard_port = "PostgreSQL", 5432
    adds, asks = b"visitd_0", b"visitd_"  # names of statements

    def __init__(self, root, server=None, database="postgres", cache=CACHE):
        self.root = Path(root)
        self.is_own = server is None
        self.cache = RedisStore(root) if cache is True else cache
        if server:
            self.server, self.database = server, database
        else:
            self.server = postgres_server.shared().server
            self.database = postgres_server.shared().take()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.is_own:
            postgres_server.shared().give_back(self.database)

    def settings(self):
        """The environment that points a server here."""
        cache = self.cache.settings() if self.cache else {}
        return {"DB_HOST": self.server.folder, "DB_PORT": self.server.port,
                "DB_NAME": self.database, "DB_USER": postgres_server.USER,
                **cache, "DATA_DIR": str(self.root)}

    def at(self, host, port=None):
        """The settings that replace those: another way to the same server."""
        return {"DB_HOST": host, "DB_PORT": port}

    def socket(self):
        """The path of the server's socket."""
        return f"{self.server.folder}/.s.PGSQL.{self.server.port}"

    def call(self, query, *values):
        """A query, in this store's database."""
        return self.server.call(query, *values, database=self.database)

    def total(self):
        """The home total as the server has it; 0 if nothing was counted."""
        if self.call("SELECT to_regclass('visit_counter')") == [(None,)]:
            return 0
        rows = self.call("SELECT visits FROM visit_counter"
                         " WHERE name = 'homepage'")
        return rows[0][0] if rows else 0

    def set_total(self, number):
        """Set the home total behind the program's back."""
        self.call("CREATE TABLE IF NOT EXISTS visit_counter"
                  " (name text PRIMARY KEY, visits int8 NOT NULL)")
        self.call("INSERT INTO visit_counter VALUES ('homepage', %s)"
                  " ON CONFLICT (name) DO UPDATE SET visits = %s",
                  number, number)
        if self.cache:
            self.cache.call("DEL", "visit_counter:homepage")

    def add(self, number):
        """Count visits behind the program's back."""
        self.call("UPDATE visit_counter SET visits = visits + %s"
                  " WHERE name = 'homepage'", number)


STORES = {store.name: store for store in (FileStore, RedisStore,
                                          PostgresStore)}


# The client


class Closed(Exception):
    """The connection ended before the reply was whole."""


class Reply:
    """One answer: status, headers in their order, body."""

    def __init__(self, status, reason, headers, body):
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body

    def all(self, name):
        """The values of every field of that name."""
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def get(self, name):
        """The value of a field that stands at most once, or None."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} stands {len(values)} times"
        return values[0] if values else None

    def __getitem__(self, name):
        value = self.get(name)
        assert value is not None, f"no {name} in {self}"
        return value

    def tokens(self, name):
        """The value as a set of members of a comma-separated list."""
        return {part.strip() for part in (self.get(name) or "").split(",")
                if part.strip()}

    @property
    def text(self):
        return self.body.decode("utf-8")

    @property
    def json(self):
        return json.loads(self.text)

    @property
    def number(self):
        """The total in a text or JSON answer."""
        if self["Content-Type"].startswith("application/json"):
            data = self.json
            return data["visits"] if "visits" in data else data["value"]
        return int(re.search(r"(?:^|visits: )(\d+)\n\Z", self.text).group(1))

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:200]!r}>"


STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ([ -~]*)")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\t -~\x80-\xff]*)")


class Client:
    """One connection; reads replies strictly by RFC 9112."""

    def __init__(self, port, host="127.0.0.1", timeout=60):
        self.begun = time.time()
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def end(self):
        """Half-close: no more requests will come."""
        self.socket.shutdown(socket.SHUT_WR)

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise Closed(f"closed after {self.buffer!r}")
        self.buffer += data

    def reply(self, method="GET"):
        """Read one final reply to a request of that method."""
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.split(b"\r\n")
        status_line = STATUS_LINE.fullmatch(lines[0])
        assert status_line, f"bad status line {lines[0]!r}"
        status = int(status_line.group(1))
        headers = []
        for line in lines[1:]:
            field = FIELD.fullmatch(line)
            assert field, f"bad field {line!r}"
            name, value = (part.decode("latin-1") for part in field.groups())
            assert value == value.strip(), f"space around {line!r}"
            headers.append((name, value))
        reply = Reply(status, status_line.group(2).decode(), headers, b"")
        if status == 100:
            assert not headers
            return self.reply(method)
        self._check_framing(reply)
        if method != "HEAD" and status != 204:
            length = int(reply["Content-Length"])
            while len(self.buffer) < length:
                self._more()
            reply.body = self.buffer[:length]
            self.buffer = self.buffer[length:]
        return reply

    def _check_framing(self, reply):
        """Every answer: one Date, one Content-Length but on 204, nosniff."""
        date = reply["Date"]
        when = email.utils.parsedate(date)
        assert when and date.endswith(" GMT") and len(date) == 29, date
        # Not of the future, and not much older than the connection; but in
        # 1970 the test has set the clock.
        age = time.time() - calendar.timegm(when)
        limit = time.time() - self.begun + 60
        assert -1 < age < limit or when[0] == 1970, date
        if reply.status == 204:
            assert reply.get("Content-Length") is None
        else:
            assert re.fullmatch(r"0|[1-9][0-9]*", reply["Content-Length"])
        assert reply.get("Transfer-Encoding") is None
        assert reply["X-Content-Type-Options"] == "nosniff"

    def continues(self):
        """Read one 100 (Continue) and nothing else."""
        go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
        while len(self.buffer) < len(go_on):
            self._more()
        assert self.buffer.startswith(go_on), self.buffer
        self.buffer = self.buffer[len(go_on):]

    def silent(self):
        """Whether the server has sent nothing that was not read yet."""
        return not self.buffer and not select.select(
            [self.socket], [], [], 0)[0]

    def ends(self):
        """The server closes in order, with no further byte and no reset."""
        assert self.buffer == b"", f"unexpected {self.buffer!r}"
        rest = self.socket.recv(65536)
        assert rest == b"", f"unexpected {rest!r}"

    def request(self, method="GET", target="/", headers=(), body=b""):
        """Send one request, read its reply, keep the connection."""
        self.send(render(method, target, headers, body))
        return self.reply(method)


def render(method="GET", target="/", headers=(), body=b""):
    """The bytes of an HTTP/1.1 request."""
    fields = headers.items() if isinstance(headers, dict) else headers
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def pieces(data, size):
    """The data cut into pieces of that size."""
    return [data[at:at + size] for at in range(0, len(data), size)]


def check_refused(server, data, statuses):
    """The data is refused: one answer with one of these statuses, then an
    orderly close; of the requests that follow it on the connection none is
    answered and none counted. Whole, and in pieces. Gives the last answer."""
    after = b"GET / HTTP/1.1\r\nHost: smuggled\r\n\r\n" * 2
    with server.client() as witness:
        before = witness.request("GET", "/visits").number
        for size in (len(data + after), len(data) // 2 + 1, 9):
            with server.client() as client:
                for piece in pieces(data + after, size):
                    client.send(piece)
                reply = client.reply()
                assert reply.status in statuses, reply
                assert reply["Connection"] == "close"
                client.ends()
            assert witness.request("GET", "/visits").number == before
    return reply


def converse(port, data, *, method="GET", half_close=False):
    """Send raw bytes on a connection of their own: the first reply, and
    whether the server then closed by itself."""
    with Client(port) as client:
        client.send(data)
        if half_close:
            client.end()
        reply = client.reply(method)
        if reply.get("Connection") == "close":
            client.ends()
            return reply, True
        return reply, False


# The server


class Port:
    """A free port below the ephemeral ones and above those of tests/docker,
    reserved among test processes by an abstract socket of that name, which ends
    with its process."""

    def __init__(self):
        while True:
            self.number = random.randrange(20000, 32000)
            self.mark = socket.socket(socket.AF_UNIX)
            try:
                self.mark.bind(f"\0visitd-port-{self.number}")
                with socket.socket(socket.AF_INET) as probe:
                    probe.bind(("0.0.0.0", self.number))
                return
            except OSError:
                self.mark.close()

    def release(self):
        self.mark.close()


def children(pid):
    """The living children of a process."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(p) for p in text.split() if process_state(int(p)) not in "ZX"]


def process_fields(pid):
    """State, parent, group ... of a process; state X when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ["X", "0", "0"]
    return text.rsplit(")", 1)[1].split()


def process_state(pid):
    """The state letter of a process, X when there is none."""
    return process_fields(pid)[0]


def all_processes():
    """The pids of all processes."""
    return [name for name in os.listdir("/proc") if name.isdigit()]


def environment(settings):
    """A clean environment: nothing but PATH, sanitizer options, settings."""
    kept = ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS",
            "TSAN_OPTIONS")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    env.update({n: str(v) for n, v in settings.items() if v is not None})
    return env


def check_sanitizers(text):
    """No sanitizer has written into a log."""
    found = re.search(r".*(Sanitizer|runtime error:).*", text)
    assert not found, text[found.start():found.start() + 4000]


def command(store, *args, within=20, stdin="", program=BINARY, **settings):
    """Run `visitd args` on a store to its end, with this text as its input."""
    merged = {"TZ": ZONE, "STORE_TIMEOUT": STORE_TIMEOUT,
              **store.settings(), **settings}
    done = subprocess.run(
        [str(program), *args], env=environment(merged), cwd=store.root,
        input=stdin, capture_output=True, text=True,
        timeout=within * PATIENCE, check=False)
    check_sanitizers(done.stderr)
    return done


class Server:
    """A visitd on a port of its own, in a session of its own.

    Settings are keywords (WORKERS=4); None leaves a variable unset. `wrap` is
    put before the command (strace, unshare). Leaving the context stops the
    server with SIGTERM and checks how it ended.
    """

    def __init__(self, store, *, wrap=(), stdout=None, limits=(), **settings):
        self.store = store
        self.wrap = [str(word) for word in wrap]
        self.limits = limits
        self.reserved = Port()
        self.port = self.reserved.number
        self.settings = {"BIND": "127.0.0.1", "PORT": self.port, "WORKERS": 2,
                         "TZ": ZONE, "STORE_TIMEOUT": STORE_TIMEOUT,
                         "HEALTH_DETAIL": "on",
                         **store.settings(), **settings}
        self.stderr_file = store.root / f"stderr.{self.port}"
        self.stdout_file = store.root / f"stdout.{self.port}"
        self.stdout = stdout
        self.process = None
        self.master = None

    # Life

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.abandon()
            raise
        return self

    def __exit__(self, kind, *exception):
        try:
            if kind is None and self.process.poll() is None:
                self.stop()
        finally:
            self.abandon()

    def start(self):
        """Start it and wait until it takes connections."""
        self.launch()
        wait_for(self._started, what="the server to serve")

    def launch(self):
        """Start it and wait for nothing."""
        with contextlib.ExitStack() as files:
            errors = files.enter_context(open(self.stderr_file, "ab"))
            output = self.stdout
            if output is None:
                output = files.enter_context(open(self.stdout_file, "ab"))
            self.process = subprocess.Popen(
                [*self.wrap, str(BINARY)], env=environment(self.settings),
                cwd=self.store.root, stdin=subprocess.DEVNULL, stdout=output,
                stderr=errors, start_new_session=True,
                preexec_fn=self._set_limits if self.limits else None)

    def _set_limits(self):
        for which, value in self.limits:
            resource.setrlimit(which, (value, value))

    def _started(self):
        """Whether a worker is at work; fails if the server is gone. To listen
        says little: the first look at the store comes later. A connection
        without a request, which is closed in return, leaves no trace."""
        assert self.process.poll() is None, (
            f"exit {self.process.returncode} at start: {self.stderr()}")
        try:
            with Client(self.port, self.host(), timeout=1) as client:
                client.end()
                client.ends()
        except OSError:
            return False
        self.master = self._find_master()
        return self.master is not None

    def host(self):
        """Where to reach it."""
        return "::1" if self.settings["BIND"] == "::1" else "127.0.0.1"

    def connectable(self):
        """Whether the port takes connections."""
        try:
            socket.create_connection((self.host(), self.port), 1).close()
        except OSError:
            return False
        return True

    def _find_master(self):
        """The topmost process that runs the binary: below a wrapper, or it."""
        generation = [self.process.pid]
        while generation:
            for pid in generation:
                with contextlib.suppress(OSError):
                    if os.path.samefile(f"/proc/{pid}/exe", BINARY):
                        return pid
            generation = [c for pid in generation for c in children(pid)]
        return None

    def kill(self, number):
        """Send the master a signal."""
        os.kill(self.master, number)

    def stop(self, number=signal.SIGTERM, within=20):
        """Ask it to end; it must do so in time, with 0, leaving nobody."""
        self.kill(number)
        self.ended(0, within)

    def ended(self, code, within=20):
        """It ends by itself with that exit code and leaves no process."""
        assert self.process.wait(within * PATIENCE) == code, self.stderr()
        wait_for(lambda: not self.group(), what="the group to be empty")
        check_sanitizers(self.stderr())

    def group(self):
        """Whether any process of the server's session lives. (Its orphans may
        stay zombies for as long as the machine's first process likes.)"""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return any(fields[2] == str(self.process.pid) and fields[0] not in "ZX"
                   for fields in map(process_fields, all_processes()))

    def kill_group(self):
        """kill -9 of all its processes at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        wait_for(lambda: not self.group(), what="the group to be dead")

    def abandon(self):
        """Leave no process and no port, whatever happened."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.reserved.release()

    # Looks

    def stderr(self):
        return self.stderr_file.read_text(errors="replace")

    def log(self):
        return self.stdout_file.read_text(errors="replace")

    def workers(self):
        """The pids of the workers, sorted."""
        return sorted(children(self.master))

    def asleep(self):
        """Wait until all workers have done what there is to do."""
        wait_for(lambda: all(process_state(pid) == "S"
                             for pid in self.workers()),
                 what="the workers to sleep")

    def all_workers(self):
        """Wait until there are as many workers as set, and give them."""
        wanted = int(self.settings["WORKERS"])
        return wait_for(
            lambda: len(self.workers()) == wanted and self.workers(),
            what=f"{wanted} workers")

    # Talk

    def client(self, **options):
        return Client(self.port, **options)

    def request(self, method="GET", target="/", headers=(), body=b""):
        """One request on a connection of its own, which then closes."""
        if isinstance(headers, dict):
            headers = headers.items()
        fields = [*headers, ("Connection", "close")]
        with self.client() as client:
            client.send(render(method, target, fields, body))
            reply = client.reply(method)
            client.ends()
        return reply

    def get(self, target="/", headers=()):
        return self.request("GET", target, headers)

    def visit(self):
        """Count one visit and give its number."""
        reply = self.get()
        assert reply.status == 200, reply
        return reply.number


def stuff(server, sock, data):
    """Send this again and again on a socket that nobody reads, until it takes
    no more although the workers have done all that they can: the bytes."""
    sent = asleep = 0
    sock.setblocking(False)
    while asleep < 3:
        try:
            sent += sock.send(memoryview(data)[sent % len(data):])
            asleep = 0
        except BlockingIOError:
            server.asleep()
            asleep += 1
    return sent


# Answers of a store that fails


def refusal(server, target="/", method="GET", headers=(), body=b""):
    """The error of a 503."""
    headers = {"Accept": "application/json", **dict(headers)}
    reply = server.request(method, target, headers, body)
    assert reply.status == 503, reply
    return reply.json["error"]


def in_a_turn(server, requests):
    """The replies to requests that the only worker of a server reads in one
    turn of its loop: it is stopped while they are sent."""
    (worker,) = server.all_workers()
    with server.client() as client:
        client.send(render("GET", "/robots.txt"))
        client.reply()
        os.kill(worker, signal.SIGSTOP)
        wait_for(lambda: process_state(worker) in "Tt", what="it to stop")
        client.send(b"".join(requests))
        os.kill(worker, signal.SIGCONT)
        return [client.reply() for _ in requests]


def number(server, target="/"):
    """The number of a visit, or None with a 503."""
    reply = server.get(target)
    assert reply.status in (200, 503), reply
    return reply.number if reply.status == 200 else None


def health(server, status):
    """Wait for this status of /health, which may be a second old in each
    worker, and give the answer."""
    def ask():
        reply = server.get("/health")
        return reply if reply.status == status else None

    return wait_for(ask, within=4, what=f"{status} of /health")


def recovered(server):
    """Wait for a visit that counts, and give its number."""
    return wait_for(lambda: number(server), what="recovery")
