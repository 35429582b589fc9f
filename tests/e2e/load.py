"""A load generator: many clients in processes of their own.

    with Load(port, clients=8, depth=4) as load:
        ...
        result = load.stop()

Every client keeps `depth` requests of `GET /` pipelined, or makes a new
connection for each (`close=True`), reconnects when it must, and notes every
number that it was told. With `names=N` it hits one of N counters each time, at
random, and with `drops=P` it drops it instead, P times of a hundred; a number
is then a pair of the counter and its number. Run as a program it is one such process: it works
until its standard input ends or its requests are done.
"""

import argparse
import collections
import json
import random
import re
import selectors
import socket
import subprocess
import sys
import time

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n", re.I)
CLOSE = re.compile(rb"\r\nConnection: close\r\n", re.I)
NUMBER = re.compile(rb"visits: (\d+)\n\Z")
NAMED = re.compile(rb'{"counter":"([^"]+)","value":(\d+),')
TOKEN = "load"  # the server's ADMIN_TOKEN, for drops
LAST_ANSWERS = 60
PAUSE = 0.01


class Result:
    """What the clients of a load saw.

    numbers    every number answered, in no order
    statuses   how many answers had which status
    errors     refused (connects), reset and lost (requests without answer)
    backwards  how often a client was told a number not above its last
    slowest    seconds that the slowest answer took
    """

    def __init__(self, parts):
        self.numbers = [n for part in parts for n in part["numbers"]]
        self.statuses = collections.Counter()
        self.errors = collections.Counter()
        for part in parts:
            self.statuses.update(part["statuses"])
            self.errors.update(part["errors"])
        self.backwards = sum(part["backwards"] for part in parts)
        self.slowest = max(part["slowest"] for part in parts)

    def __repr__(self):
        return (f"<{len(self.numbers)} numbers up to "
                f"{max(self.numbers, default=0)}, {dict(self.statuses)}, "
                f"{dict(self.errors)}, backwards {self.backwards}, "
                f"slowest {self.slowest:.3f} s>")


class Load:
    """A running load on a port."""

    def __init__(self, port, *, clients=8, depth=1, processes=2,
                 requests=None, close=False, names=0, drops=0):
        """`requests` is for each client; without it, until stop()."""
        self.commands = []
        for i in range(processes):
            share = clients // processes + (i < clients % processes)
            words = [sys.executable, __file__, "--port", port,
                     "--clients", share, "--depth", depth,
                     "--names", names, "--drops", drops, "--seed", i]
            if requests is not None:
                words += ["--requests", requests]
            if close:
                words.append("--close")
            self.commands.append([str(word) for word in words])
        self.processes = []

    def __enter__(self):
        self.processes = [
            subprocess.Popen(words, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
            for words in self.commands]
        return self

    def __exit__(self, *exception):
        for process in self.processes:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

    def stop(self):
        """Send no more, wait for the last answers, tell what was seen."""
        for process in self.processes:
            process.stdin.close()
        return self.wait()

    def wait(self):
        """Wait until the load has done its requests."""
        parts = [json.loads(process.stdout.read())
                 for process in self.processes]
        for process in self.processes:
            assert process.wait() == 0
        return Result(parts)


class Caller:
    """One client of a load process: a state machine over one socket."""

    def __init__(self, load, requests):
        self.load = load
        self.left = requests
        self.socket = None
        self.last = 0
        self.retry_at = 0

    def connect(self):
        """Open the connection and send the first batch."""
        try:
            self.socket = socket.create_connection(
                ("127.0.0.1", self.load.port), 60)
        except ConnectionRefusedError:
            self.fail("refused", 1)
            return
        except ConnectionResetError:
            self.fail("reset", 1)
            return
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.closing = False
        self.waiting = 0
        self.load.selector.register(self.socket, selectors.EVENT_READ, self)
        self.send()

    def disconnect(self):
        self.load.selector.unregister(self.socket)
        self.socket.close()
        self.socket = None

    def fail(self, kind, requests):
        """Note requests that got no answer; try again a little later."""
        if requests:
            self.load.errors[kind] += requests
            self.retry_at = time.monotonic() + PAUSE
        self.left += requests if kind != "refused" else 0

    def send(self):
        """Send the next batch."""
        self.waiting = min(self.load.depth, self.left)
        self.left -= self.waiting
        self.sent_at = time.monotonic()
        try:
            self.socket.send(self.load.batch(self.waiting))
        except (ConnectionResetError, BrokenPipeError):
            self.disconnect()
            self.fail("reset", self.waiting)

    def readable(self):
        """Take what has come; once all of a batch is there, go on."""
        try:
            data = self.socket.recv(262144)
        except ConnectionResetError:
            self.disconnect()
            self.fail("reset", self.waiting)
            return
        if not data:
            self.ended()
            return
        self.buffer += data
        at = self.parse()
        self.buffer = self.buffer[at:]
        if not self.waiting and not self.closing and self.idle_or_next():
            self.disconnect()

    def idle_or_next(self):
        """Send the next batch; true when there is nothing left to do."""
        if self.load.stopping or not self.left:
            return True
        self.send()
        return False

    def ended(self):
        """The server closed: unanswered requests are lost, unless it had
        said that it would close, when they are to be sent again."""
        self.disconnect()
        if self.closing:
            self.left += self.waiting
        else:
            self.fail("lost", self.waiting)

    def parse(self):
        """Note every whole reply in the buffer, give where the rest begins."""
        at = 0
        while True:
            end = self.buffer.find(b"\r\n\r\n", at)
            if end < 0:
                return at
            head = self.buffer[at:end + 2]
            length = LENGTH.search(head)  # a 204 has none
            body_end = end + 4 + (int(length.group(1)) if length else 0)
            if len(self.buffer) < body_end:
                return at
            self.note(head, self.buffer[end + 4:body_end])
            at = body_end

    def note(self, head, body):
        """Note one reply."""
        status = STATUS.match(head).group(1).decode()
        self.load.statuses[status] += 1
        self.load.slowest = max(self.load.slowest,
                                time.monotonic() - self.sent_at)
        self.waiting -= 1
        self.closing = self.closing or CLOSE.search(head) is not None
        if status == "200" and self.load.names:
            name, number = NAMED.match(body).groups()
            self.load.numbers.append((name.decode(), int(number)))
        elif status == "200":
            number = int(NUMBER.search(body).group(1))
            self.load.numbers.append(number)
            self.load.backwards += number <= self.last
            self.last = number


class Process:
    """One process of a load."""

    def __init__(self, options):
        self.port = options.port
        self.depth = options.depth
        close = b"Connection: close\r\n" if options.close else b""
        self.end = b" HTTP/1.1\r\nHost: load\r\n" + close + b"\r\n"
        self.names = options.names
        self.drops = options.drops
        self.random = random.Random(options.seed)
        self.selector = selectors.DefaultSelector()
        self.numbers = []
        self.statuses = collections.Counter()
        self.errors = collections.Counter()
        self.backwards = 0
        self.slowest = 0
        self.stopping = None
        self.callers = [Caller(self, options.requests)
                        for _ in range(options.clients)]

    def request(self):
        """The next request of some client."""
        if not self.names:
            return b"GET /" + self.end
        name = b"names/n%d" % self.random.randrange(self.names)
        if self.random.randrange(100) >= self.drops:
            return b"GET /hit/" + name + b".json" + self.end
        return (b"DELETE /visits/" + name + self.end[:-2] +
                f"Authorization: Bearer {TOKEN}\r\n\r\n".encode())

    def batch(self, count):
        """So many requests; those for the home counter are all the same."""
        if not self.names:
            return self.request() * count
        return b"".join(self.request() for _ in range(count))

    def busy(self):
        """Whether any client still has something to do."""
        now = time.monotonic()
        if self.stopping:
            return (now < self.stopping + LAST_ANSWERS
                    and any(c.socket for c in self.callers))
        return any(c.socket or c.left for c in self.callers)

    def run(self):
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        while self.busy():
            if not self.stopping:
                now = time.monotonic()
                for caller in self.callers:
                    if (not caller.socket and caller.left
                            and caller.retry_at <= now):
                        caller.connect()
            for key, _ in self.selector.select(PAUSE):
                if key.data:
                    key.data.readable()
                elif not sys.stdin.readline():
                    self.selector.unregister(sys.stdin)
                    self.stopping = time.monotonic()
        json.dump({"numbers": self.numbers, "statuses": self.statuses,
                   "errors": self.errors, "backwards": self.backwards,
                   "slowest": self.slowest}, sys.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--depth", type=int, default=1)
    parser.add_argument("--requests", type=int, default=1 << 60)
    parser.add_argument("--close", action="store_true")
    parser.add_argument("--names", type=int, default=0)
    parser.add_argument("--drops", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    Process(parser.parse_args()).run()


if __name__ == "__main__":
    main()
