"""A proxy between a store and its server, that can be told to misbehave.

    with Proxy(server.path) as proxy:
        proxy.do("drip", 0.1)           # from now on
        proxy.do("cut", 3, on=b"INCRBY")  # answers to requests with that only
        proxy.do("pass")                # behave again

    pass           what comes is passed on
    delay SECONDS  answers are held back that long
    drip SECONDS   answers come a byte at a time, with a pause after each
    hang           answers are held back until it behaves again
    swallow        nothing is passed on in either direction, and nothing closed
    cut BYTES      so much of an answer, then an orderly end
    reset          instead of an answer, a reset
    say TEXT       that, instead of the answer
    add TEXT       that, after the answer
"""

import contextlib
import socket
import struct
import threading


class Proxy:
    """One that listens on a port of 127.0.0.1, or on [::1]."""

    def __init__(self, upstream, host="127.0.0.1"):
        self.upstream = upstream
        self.host = host
        self.port = 0
        self.listener = None
        self.rule = ("pass", None, b"")
        self.changed = threading.Condition(threading.RLock())
        self.closing = False
        self.connections = set()
        self.accepted = 0

    def __enter__(self):
        self.listen()
        return self

    def __exit__(self, *exception):
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        self.refuse()
        self.end_all()

    def listen(self):
        """Take connections, on the same port as before."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((self.host, self.port))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
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
            self.accepted += 1
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

    def _wait(self, seconds=None):
        """Until that long, or until the rule is another one."""
        proxy = self.proxy
        with proxy.changed:
            rule = proxy.rule
            proxy.changed.wait_for(
                lambda: proxy.rule is not rule or proxy.closing, seconds)

    def _requests(self):
        while True:
            data = self.client.recv(65536)
            what, _, on = self.proxy.rule
            if what == "swallow" and on in data:
                self._wait()
                self.end()
                return
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
            what, value, _ = self.proxy.rule
            if not self.is_hit:
                what = "pass"
            if not getattr(self, "_" + what)(data, value):
                return

    def _pass(self, data, _):
        self.client.sendall(data)
        return True

    def _delay(self, data, value):
        self._wait(value)
        self.client.sendall(data)
        return True

    def _drip(self, data, value):
        for at in range(len(data)):
            self.client.sendall(data[at:at + 1])
            self._wait(value)
        return True

    def _hang(self, data, _):
        self._wait()
        self.client.sendall(data)
        return True

    def _swallow(self, _data, _value):
        return True

    def _cut(self, data, value):
        self.client.sendall(data[:value])
        self.end()
        return False

    def _reset(self, _data, _value):
        self.end(reset=True)
        return False

    def _say(self, _, value):
        self.client.sendall(value)
        return True

    def _add(self, data, value):
        self.client.sendall(data + value)
        return True
