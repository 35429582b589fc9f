"""DESIGN's promise 7: whatever clients do, what a worker holds is bounded,
and honest clients are served meanwhile. -s prints the memory of the workers.
"""

import contextlib
import re
import resource
import select
import socket
import time
from pathlib import Path

import pytest

import visitd
from visitd import Client, render, wait_for

# A sanitizer's shadow and quarantine would be measured, not the server.
pytestmark = [pytest.mark.slow, pytest.mark.measures]

MIB = 1 << 20
BUFFERED_MAX = 32 * MIB  # of one worker
# What a worker may keep of its busiest turn: arena, parts, jobs, records
TURN = 10 * MIB


@pytest.fixture(autouse=True, name="descriptors")
def many_descriptors():
    """As many sockets for this process as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory(server):
    """The bytes of all workers together (PSS)."""
    sizes = [re.search(r"^Pss: +(\d+) kB", Path(
        f"/proc/{pid}/smaps_rollup").read_text(), re.M)
        for pid in server.workers()]
    return sum(int(size.group(1)) for size in sizes) * 1024


def descriptors_of(server):
    """How many descriptors the workers have open."""
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir()))
               for pid in server.workers())


def alone(server, base):
    """Wait until only `base` descriptors are left (and the files that a
    store opened on first use)."""
    wait_for(lambda: descriptors_of(server) <= base + 10,
             what="the connections to be gone")


def tell(what, before, during, after):
    """One line for the record."""
    print(f"\n{what}: {before / MIB:.1f} MiB before, {during / MIB:.1f} "
          f"during, {after / MIB:.1f} after")


class Crowd:
    """Plain sockets to a server."""

    def __init__(self, server):
        self.address = ("127.0.0.1", server.port)
        self.sockets = []

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.leave()

    def join(self, data=b""):
        """One more, which sends that; gives its socket."""
        made = socket.create_connection(self.address, 20)
        self.sockets.append(made)
        if data:
            made.sendall(data)
        return made

    def leave(self):
        for each in self.sockets:
            each.close()
        self.sockets.clear()


def served(client):
    """An honest client's round trip: its time."""
    begun = time.monotonic()
    assert client.request("GET", "/visits").status == 200
    return time.monotonic() - begun


def heard(crowd):
    """The sockets to which the server has said something."""
    poll = select.poll()
    by_number = {each.fileno(): each for each in crowd.sockets}
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(0)]


def settled(server, base, bound):
    """The memory of the workers when only `base` descriptors are left, and
    what the last of their turns gives back is given back: under `bound`."""
    alone(server, base)
    return wait_for(lambda: memory(server) < bound and memory(server),
                    what=f"less than {bound / MIB:.1f} MiB")


def test_promise_7_ten_thousand_half_requests(store):
    """Heads and bodies; all wait, and an honest client does not."""
    halves = [b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"v" * 100,
              render(headers={"Content-Length": "1000"}) + b"b" * 500]
    with visitd.Server(store) as server, server.client() as honest:
        server.all_workers()
        served(honest)
        base, before = descriptors_of(server), memory(server)
        with Crowd(server) as crowd:
            slowest = 0
            # The bodies first, which may take 30 s: under load 10,000
            # connections have taken more than the 10 s of a head.
            for i in range(10_000):
                crowd.join(halves[i < 9_000])
                if i % 100 == 0:
                    slowest = max(slowest, served(honest))
            wait_for(lambda: descriptors_of(server) >= base + 10_000,
                     what="all to be connected")
            slowest = max(slowest, served(honest))
            assert server.get("/visits").number == 0
            during = memory(server)
            assert not heard(crowd), "all of them are waited for"
        after = settled(server, base, before + 2 * TURN)
        served(honest)
    tell(f"10,000 half requests, an honest answer within {slowest:.3f} s",
         before, during, after)
    assert during < before + 2 * TURN + 10_000 * 2048


def test_promise_7_half_requests_of_more_than_32_mib(store):
    """The oldest are told 503; the youngest wait on."""
    size, count = 60_000, 1500
    half = render(headers={"Content-Length": "65536"}) + b"b" * size
    assert size * count > 2 * BUFFERED_MAX
    with visitd.Server(store, WORKERS=1) as server, \
            server.client() as honest:
        served(honest)
        base, before = descriptors_of(server), memory(server)
        during = 0
        with Crowd(server) as crowd:
            for i in range(count):
                crowd.join(half)
                if i % 20 == 0:
                    served(honest)
                    during = max(during, memory(server))
            served(honest)
            server.asleep()
            refused = heard(crowd)
            order = [crowd.sockets.index(each) for each in refused]
            waiting = [i for i in range(count) if i not in set(order)]
            # At least 32 MiB are given; buffers may be twice their content.
            assert BUFFERED_MAX // 2 <= len(waiting) * size <= BUFFERED_MAX
            assert min(waiting) > max(order) - 20, "the oldest go first"
            for each in refused:
                assert each.recv(12) == b"HTTP/1.1 503"
            youngest = crowd.sockets[-1]
            youngest.sendall(b"b" * (65536 - size))
            assert youngest.recv(12) == b"HTTP/1.1 200"
        after = settled(server, base, before + TURN)
        served(honest)
        assert server.visit() == 2
    tell(f"half requests of {size * count / MIB:.0f} MiB, of which "
         f"{len(waiting)} wait and {len(refused)} got 503",
         before, during, after)
    assert during < before + BUFFERED_MAX + 2 * TURN


def deaf(crowd):
    """One more of the crowd; the segments of a network in place of those of
    the loopback make the kernel keep kilobytes for it, not megabytes."""
    each = socket.socket()
    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
    each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    crowd.sockets.append(each)
    each.connect(crowd.address)
    each.setblocking(False)
    return each


def at_rest(server, honest):
    """The total, when fifty round trips have not changed it: a crowd's kernel
    may still take something now and then."""
    counted = None
    while counted != (now := server.get("/visits").number):
        counted = now
        for _ in range(50):
            served(honest)
    return counted


def test_promise_7_clients_that_pipeline_and_never_read(store):
    """64 KiB unsent, then no more requests of it are read or counted."""
    with visitd.Server(store, WORKERS=1, SYNC="no") as server, \
            server.client() as honest:
        served(honest)
        base, before = descriptors_of(server), memory(server)
        with Crowd(server) as crowd:
            for _ in range(20):
                deaf(crowd)
            sent = visitd.stuff(server, crowd.sockets[0], render() * 500)
            assert at_rest(server, honest) < sent / len(render()), \
                "all was read"
            for each in crowd.sockets[1:]:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        sent += each.send(render() * 500)
            counted = at_rest(server, honest)
            during = memory(server)
            assert counted < sent / len(render()), "all was read"
            assert server.visit() > counted
        after = settled(server, base, before + TURN)
        served(honest)
    tell(f"20 clients that never read, {counted} visits", before, during,
         after)
    assert during < before + TURN + 20 * 4 * 65536


def closed(crowd):
    """How many of the crowd the server has closed, and the last of them."""
    poll = select.poll()
    places = {each.fileno(): i for i, each in enumerate(crowd.sockets)}
    for number in places:
        poll.register(number, select.POLLRDHUP)
    gone = [places[number] for number, _ in poll.poll(0)]
    return len(gone), max(gone, default=-1)


def test_promise_7_more_unread_answers_than_32_mib(store):
    """The longest stuck are closed; the others and their answers stay."""
    with visitd.Server(store, WORKERS=1) as server, \
            server.client() as honest:
        served(honest)
        base, before = descriptors_of(server), memory(server)
        during = 0
        # Its answer has about as many bytes as the server reckons with.
        requests = render("OPTIONS", "/") * 500
        with Crowd(server) as crowd:
            # How many it takes depends on what the kernel keeps of each.
            for i in range(4000):
                each = deaf(crowd)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        each.send(requests)
                if i % 20 == 0:
                    served(honest)
                    during = max(during, memory(server))
                    if closed(crowd)[0] >= 20:
                        break
            for _ in range(50):
                served(honest)
            during = max(during, memory(server))
            count = len(crowd.sockets)
            gone, last = closed(crowd)
            assert gone >= 20, "the bound is reached"
            assert last < count / 2, "the longest stuck go first"
            assert gone < count / 2
        after = settled(server, base, before + TURN)
        served(honest)
    tell(f"{count} clients that never read, of which {gone} were closed",
         before, during, after)
    assert during < before + BUFFERED_MAX + 2 * TURN


def check_flood(server, count):
    """More connections than there are places: all are answered, and the longest
    idle ones give way; who comes meanwhile is served; nothing is burnt."""
    base = descriptors_of(server)
    with Crowd(server) as crowd:
        for i in range(count):
            crowd.join(render())
            if i % 50 == 0:
                assert server.get("/visits").status == 200
        wait_for(lambda: len(heard(crowd)) == count, what="all answers")
        for each in crowd.sockets:
            assert each.recv(12) == b"HTTP/1.1 200"
        open_now = descriptors_of(server) - base
        server.asleep()
        assert server.get("/visits").status == 200
    alone(server, base)
    print(f"\n{count} connections, {open_now} open")
    assert open_now < count / 2
    assert server.visit() == count + 1


def test_promise_7_a_flood_past_max_connections(store):
    with visitd.Server(store, MAX_CONNECTIONS=50) as server:
        check_flood(server, 500)


def test_promise_7_a_flood_past_the_limit_at_start(store):
    """ulimit -n 100: MAX_CONNECTIONS shrinks to what it leaves."""
    limits = [(resource.RLIMIT_NOFILE, 100)]
    with visitd.Server(store, limits=limits) as server:
        check_flood(server, 500)


def test_promise_7_a_flood_past_the_descriptors_themselves(store):
    """accept(2) fails with EMFILE, as another limit (ENFILE) would make it."""
    with visitd.Server(store) as server:
        server.visit()
        store.set_total(0)
        for pid in server.all_workers():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (60, 60))
        check_flood(server, 500)


@pytest.mark.parametrize("how", ["MAX_CONNECTIONS", "descriptors"])
def test_promise_7_nobody_gives_way_while_nobody_waits(store, how):
    """As many connections as there are places all stay open."""
    settings = {"MAX_CONNECTIONS": 5} if how == "MAX_CONNECTIONS" else {}

    def ask(sock):
        sock.setblocking(True)
        sock.send(render())
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")

    with visitd.Server(store, WORKERS=1, **settings) as server, \
            Crowd(server) as crowd:
        for i in range(5):
            if i == 4:  # the others have been idle for long enough
                select.poll().poll(1200)
            if i == 4 and how == "descriptors":
                (worker,) = server.all_workers()
                taken = {int(each.name)
                         for each in Path(f"/proc/{worker}/fd").iterdir()}
                free = min(set(range(len(taken) + 1)) - taken)
                top = max(taken | {free}) + 1
                assert set(range(top)) - taken == {free}, "one is left"
                resource.prlimit(worker, resource.RLIMIT_NOFILE, (top, top))
            crowd.join(b"")
            ask(crowd.sockets[i])
        for each in crowd.sockets:
            ask(each)


@pytest.mark.parametrize("half", [
    b"GET / HTTP/1.1\r\nHost: a\r\n",
    render(headers={"Content-Length": "1000"}) + b"b" * 500, b""],
    ids=["heads", "bodies", "nothing sent"])
def test_promise_7_half_requests_lock_nobody_out(store, half):
    with visitd.Server(store, WORKERS=1, MAX_CONNECTIONS=20) as server, \
            Crowd(server) as crowd:
        for _ in range(60):
            crowd.join(half)
        for number in range(1, 21):
            assert server.visit() == number


def test_promise_7_who_does_not_read_keeps_a_place_and_is_told_of(store):
    """A connection with an answer in it gives no way: accepting pauses, with a
    line of the log, and goes on when one of them leaves."""
    with visitd.Server(store, WORKERS=1, MAX_CONNECTIONS=5) as server, \
            Crowd(server) as crowd:
        for _ in range(5):
            visitd.stuff(server, crowd.join(), render() * 1000)
        with server.client(timeout=60) as honest:
            honest.send(render("GET", "/robots.txt"))
            wait_for(lambda: "not accepting for now" in server.stderr())
            assert "MAX_CONNECTIONS" in server.stderr()
            assert honest.silent()
            crowd.sockets.pop().close()
            assert honest.reply().status == 200
        assert server.stderr().count("not accepting for now") <= 2


def test_promise_7_connections_that_come_and_go_leave_nothing(store):
    """20,000 in turn, some refused, some broken off: no leak."""
    kinds = [render(), b"GET / HTTP/1.1\r\n\r\n", b"GET / HT", b"",
             render(headers={"Content-Length": "1000"}) + b"b" * 500]
    with visitd.Server(store, WORKERS=1, SYNC="no") as server, \
            server.client() as honest:
        for data in kinds * 200:
            with Client(server.port) as client:
                client.send(data)
        served(honest)
        base = descriptors_of(server)
        before = memory(server)
        for data in kinds * 4000:
            with Client(server.port) as client:
                client.send(data)
        served(honest)
        after = settled(server, base, before + MIB)
    tell("20,000 short connections", before, before, after)
