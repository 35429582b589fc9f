"""A proxy between a store and its server, that can be told to misbehave.

    with Proxy(server.path) as proxy:
        proxy.do("drip", 0.1)           # from now on
        proxy.do("cut", 3, on=b"INCRBY")  # answers to requests with that only
        proxy.do("pass")                # behave again

    pass           what comes is passed on
    delay SECONDS  answers are held back that long
    drip SECONDS   answers come a byte at a time, with a pause after each
    hang           answers are held back until it behaves again
    hold           so are requests, also those of who has given up meanwhile
    swallow        nothing is passed on in either direction, and nothing closed
    cut BYTES      so much of an answer, then an orderly end
    reset          instead of an answer, a reset
    say TEXT       that, instead of the answer
    add TEXT       that, after the answer
    greet TEXT     that to a new connection, and then the end of it
"""

import contextlib
import socket
import struct
import threading
import time

from visitd import Port


class Proxy:
    """One that listens on a port of 127.0.0.1, or on [::1].

    requests     chunks that came from clients
    hits         of these and of the answers, what a rule was applied to
    accepted_at  when connections came
    """

    def __init__(self, upstream, host="127.0.0.1"):
        self.upstream = upstream
        self.host = host
        # One that no outgoing connection takes while nobody listens on it.
        self.reserved = Port()
        self.port = self.reserved.number
        self.listener = None
        self.rule = ("pass", None, b"")
        self.changed = threading.Condition(threading.RLock())
        self.closing = False
        self.connections = set()
        self.accepted_at = []
        self.requests = 0
        self.hits = 0

    def __enter__(self):
        self.listen()
        return self

    def __exit__(self, *exception):
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        self.refuse()
        self.end_all()
        self.reserved.release()

    def listen(self):
        """Take connections, on the same port as before."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((self.host, self.port))
        self.listener.listen(64)
        threading.Thread(target=self._accept, args=(self.listener,),
                         daemon=True).start()

    def refuse(self):
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def do(self, what, value=None, on=b""):
        """Behave like that from now on; with `on`, only after requests that
        hold these bytes."""
        with self.changed:
            self.rule = (what, value, on)
            self.changed.notify_all()

    def end_all(self, reset=False):
        """End the connections that there are."""
        for connection in list(self.connections):
            connection.end(reset)

    def tell_all(self, data):
        """Say something that nobody has asked for."""
        for connection in list(self.connections):
            connection.client.sendall(data)

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.accepted_at.append(time.monotonic())
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Connection(self, client)


class Connection:
    """One connection through the proxy: two threads."""

    def __init__(self, proxy, client):
        self.proxy = proxy
        self.client = client
        self.server = socket.socket(socket.AF_UNIX)
        self.is_hit = False
        proxy.connections.add(self)
        if proxy.rule[0] == "greet":
            client.sendall(proxy.rule[1])
            self.end()
            return
        try:
            self.server.connect(proxy.upstream)
        except OSError:
            self.end()
            return
        for target in (self._requests, self._answers):
            threading.Thread(target=self._run, args=(target,),
                             daemon=True).start()

    def end(self, reset=False):
        """A socket is not closed while a thread waits for it: each is woken.
        SHUT_RD sends nothing, so that what the close sends is the reset."""
        with self.proxy.changed:
            if self not in self.proxy.connections:
                return
            self.proxy.connections.discard(self)
        how = socket.SHUT_RD if reset else socket.SHUT_RDWR
        with contextlib.suppress(OSError):
            if reset:
                self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                       struct.pack("ii", 1, 0))
            self.client.shutdown(how)
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.client.close()
        self.server.close()

    def _run(self, target):
        with contextlib.suppress(OSError):
            target()

    def _wait(self, rule, seconds=None):
        """So long, or until another rule takes the place of this one."""
        proxy = self.proxy
        with proxy.changed:
            proxy.changed.wait_for(
                lambda: proxy.rule is not rule or proxy.closing, seconds)

    def _requests(self):
        while True:
            data = self.client.recv(65536)
            rule = self.proxy.rule
            what, _, on = rule
            self.proxy.requests += bool(data)
            if what in ("swallow", "hold") and on in data:
                self.proxy.hits += bool(data)
                self._wait(rule)
                if what == "swallow":
                    data = b""
            if not data:
                self.end()
                return
            self.is_hit = on in data
            self.server.sendall(data)

    def _answers(self):
        while True:
            data = self.server.recv(65536)
            if not data:
                self.end()
                return
            rule = self.proxy.rule
            what = rule[0] if self.is_hit else "pass"
            self.proxy.hits += what not in ("pass", "swallow", "hold")
            if not getattr(self, "_" + what)(data, rule):
                return

    def _pass(self, data, _):
        self.client.sendall(data)
        return True

    def _delay(self, data, rule):
        self._wait(rule, rule[1])
        self.client.sendall(data)
        return True

    def _drip(self, data, rule):
        for at in range(len(data)):
            self.client.sendall(data[at:at + 1])
            self._wait(rule, rule[1])
        return True

    def _hang(self, data, rule):
        self._wait(rule)
        self.client.sendall(data)
        return True

    def _swallow(self, _data, _rule):
        return True

    def _hold(self, data, _):
        self.client.sendall(data)
        return True

    def _cut(self, data, rule):
        self.client.sendall(data[:rule[1]])
        self.end()
        return False

    def _reset(self, _data, _rule):
        self.end(reset=True)
        return False

    def _say(self, _, rule):
        self.client.sendall(rule[1])
        return True

    def _add(self, data, rule):
        self.client.sendall(data + rule[1])
        return True
