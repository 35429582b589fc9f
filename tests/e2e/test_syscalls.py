"""What the kernel is asked for, seen through strace: the order of write,
sync and answer (promise 1), and the cost of a request (promise 7)."""

import re

import pytest

import visitd
from visitd import wait_for

pytestmark = [
    pytest.mark.store("file"),
    pytest.mark.strace,
]

CALLS = ("trace=accept4,accept,close,epoll_ctl,fsync,fdatasync,flock,"
         "pwrite64,write,ftruncate,recvfrom,read,readv,recvmsg,sendto,sendmsg,"
         "writev,openat,rename,renameat,renameat2,sync_file_range,syncfs")
CALL = re.compile(r"[\d.]+ (\w+)\((\d+)?(?:<([^>]*)>)?")
RECEIVE = {"recvfrom", "read", "readv", "recvmsg"}
SEND = {"sendto", "write", "writev", "sendmsg"}
SYNC = {"fsync", "fdatasync"}


class Trace:
    """A server of one worker under strace, and what it called."""

    def __init__(self, store, **settings):
        self.prefix = store.root / "trace"
        self.server = visitd.Server(
            store, WORKERS=1,
            wrap=["strace", "-ff", "-ttt", "-y", "-s", "64", "-e", CALLS,
                  "-o", self.prefix], **settings)

    def __enter__(self):
        self.server.__enter__()
        return self

    def __exit__(self, *exception):
        self.server.__exit__(*exception)

    def calls(self):
        """(name, fd, what the fd is, the line) of all processes, by time."""
        lines = []
        for file in self.prefix.parent.glob("trace.*"):
            lines += file.read_text(errors="replace").splitlines()
        found = []
        # By time alone: what a process did at one time stays in its order.
        for line in sorted(lines, key=lambda line: line.split(" ")[0]):
            call = CALL.match(line)
            if call:
                found.append((call.group(1), call.group(2),
                              call.group(3) or "", line))
        return found


def is_answer(name, path, line):
    return name in SEND and "socket:" in path and "HTTP/1.1 200" in line


def events(calls, store):
    """The story in letters: w(rite of visits), s(ync of it), d (sync of its
    folder), a(nswer)."""
    story = ""
    for name, _, path, line in calls:
        if name in ("pwrite64", "write") and path == str(store.visits):
            story += "w"
        elif name in SYNC and path == str(store.visits):
            story += "s"
        elif name in SYNC and path == str(store.data):
            story += "d"
        elif is_answer(name, path, line):
            story += "a"
    return story


def test_promise_1_a_sync_stands_between_write_and_answer(store):
    with Trace(store, SYNC="always") as trace:
        for _ in range(5):
            trace.server.visit()
    story = events(trace.calls(), store).replace("d", "")
    assert re.search(r"ws+aws+aws+aws+aws+a", story), story


def test_promise_1_each_turn_of_one_client_is_write_sync_answer(store):
    with Trace(store, SYNC="always") as trace:
        with trace.server.client() as client:
            for _ in range(5):
                client.request()
    story = events(trace.calls(), store)
    # An s at the end is of the stop.
    assert re.search(r"wsa(wsa){4}s?$", re.sub("d|s+(?=s)", "", story)), story


def test_sync_no_never_syncs_a_visit(store):
    store.set_total(5)
    with Trace(store, SYNC="no") as trace:
        for _ in range(5):
            trace.server.visit()
        story = events(trace.calls(), store)
    assert re.search(r"wawawawawa$", story), story


def test_promise_1_file_and_folder_are_synced_before_the_first_answer(store):
    with Trace(store) as trace:
        trace.server.visit()
    story = events(trace.calls(), store)
    before = story[:story.index("a")]
    assert "s" in before and "d" in before, story


def test_promise_1_a_replaced_file_and_its_folder_are_synced(store):
    with Trace(store) as trace:
        with trace.server.client() as client:
            client.request()
            store.set_total(100)
            client.request()
    story = events(trace.calls(), store)
    between = story[story.index("a"):]
    assert between.count("a") == 2, story
    between = between[:between.rindex("a")]
    assert "s" in between and "d" in between, story


def test_a_folder_is_not_synced_for_every_visit(store):
    with Trace(store) as trace:
        for _ in range(10):
            trace.server.visit()
    story = events(trace.calls(), store)
    assert "d" not in story[story.index("a"):], story


def test_a_read_writes_nothing(store):
    store.set_total(41)
    with Trace(store) as trace:
        trace.server.get("/visits")
        trace.server.request("HEAD", "/")
        story = events(trace.calls(), store)
    assert "w" not in story, story
    assert store.visits.read_text() == "41\n"


def test_promise_7_a_keep_alive_request_costs_one_recv_and_one_send(store):
    with Trace(store) as trace:
        trace.server.visit()
        with trace.server.client() as client:
            for _ in range(10):
                client.request()
        wait_for(lambda: connections(trace.calls())[-1][-1] == "x",
                 what="the end of the connection")
    story = connections(trace.calls())[-1]
    # Registered once, before the first request or after its answer; the last
    # r is the end of the connection.
    assert re.fullmatch(r"n?(era|rae)(ra){9}r?x", story), story


def connections(calls):
    """For each accepted connection its calls in letters: e(poll_ctl),
    r(eceive; n when there was nothing yet), a(nswer), x (close)."""
    done, open_ones = [], {}
    for name, number, path, line in calls:
        if name in ("accept4", "accept"):
            fd = re.search(r"= (\d+)<", line)
            if fd:
                open_ones[fd.group(1)] = len(done)
                done.append("")
            continue
        if name == "epoll_ctl":
            number = re.search(r"EPOLL_CTL_\w+, (\d+)", line).group(1)
        if number not in open_ones:
            continue
        at = open_ones[number]
        if name == "epoll_ctl":
            done[at] += "e"
        elif name in RECEIVE:
            done[at] += "n" if "EAGAIN" in line else "r"
        elif name in SEND:
            done[at] += "a"
        elif name == "close":
            done[at] += "x"
            del open_ones[number]
    return done or [""]
