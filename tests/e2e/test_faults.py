"""Promise 5, from outside: each system call of a worker fails, once and again
and again, while it serves; promise 1: each is its last. strace makes the
kernel's answers up."""

import contextlib
import subprocess

import pytest

from visitd import Closed, Server, wait_for

pytestmark = [pytest.mark.store("file"), pytest.mark.slow, pytest.mark.strace]

LOOP = {
    "accept4": ["ECONNABORTED", "EINTR", "EMFILE", "ENFILE", "ENOMEM",
                "ENOBUFS", "EPROTO", "EAGAIN"],
    "recvfrom": ["EINTR", "EAGAIN", "ECONNRESET", "ENOMEM"],
    "sendto": ["EINTR", "EAGAIN", "EPIPE", "ENOBUFS", "ENOMEM"],
    "epoll_wait": ["EINTR"],
    "epoll_ctl": ["ENOMEM", "ENOSPC"],
    "shutdown": ["ENOTCONN"],
}
STORE = {
    "flock": ["EINTR", "ENOLCK", "EAGAIN"],
    "statx": ["EIO", "EACCES", "ENOMEM"],
    "newfstatat": ["EIO"],
    "pread64": ["EINTR", "EIO"],
    "pwrite64": ["EINTR", "EIO", "ENOSPC", "EROFS", "EDQUOT"],
    "fdatasync": ["EINTR", "EIO", "ENOSPC"],
}
ROWS = [(call, error) for calls in (LOOP, STORE)
        for call, errors in calls.items() for error in errors]
# Once at the start, some of the following, and every second one.
TIMES = ["1", "2..6", "1+2"]


@contextlib.contextmanager
def failing(server, call, error, when):
    """The worker's call fails meanwhile."""
    with injecting(server, call, f"error={error}:when={when}") as log:
        yield log


@contextlib.contextmanager
def injecting(server, call, what):
    """strace does that to a call of the worker meanwhile."""
    log = server.store.root / f"strace.{call}"
    (worker,) = server.workers()
    with open(log, "wb") as output:
        strace = subprocess.Popen(
            ["strace", "-p", str(worker), "-e", f"trace={call}",
             "-e", f"inject={call}:{what}"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        wait_for(lambda: "attached" in log.read_text(errors="replace"),
                 what="strace")
        yield log
    finally:
        strace.terminate()
        strace.wait()


def visit(server, close=False):
    """The number of a visit on a new connection, or None without one."""
    headers = {"Connection": "close"} if close else {}
    with contextlib.suppress(OSError, Closed):
        with server.client() as client:
            reply = client.request(headers=headers)
            assert reply.status in (200, 503), reply
            return reply.number if reply.status == 200 else None
    return None


@pytest.mark.parametrize("call,error", ROWS)
def test_promise_5_a_call_that_fails(store, call, error):
    """No crash, no number twice, none above the file, and recovery."""
    with Server(store, WORKERS=1, STORE_TIMEOUT=500) as server:
        workers = server.workers()
        numbers = [visit(server)]
        for when in TIMES:
            with failing(server, call, error, when) as log:
                numbers += [visit(server, close=i % 2) for i in range(8)]
                if call != "shutdown":
                    assert "(INJECTED)" in log.read_text(errors="replace")
            wait_for(lambda: visit(server) is not None, what="recovery")
            numbers.append(visit(server))
        told = [number for number in numbers if number is not None]
        assert told == sorted(set(told)), "a number was answered twice"
        assert server.workers() == workers, server.stderr()
    assert store.total() >= told[-1]


# In the order of a turn; the last one is that of the answer.
TURN = ["recvfrom", "flock", "pread64", "pwrite64", "fdatasync", "sendto"]


@pytest.mark.parametrize("call", TURN)
def test_promise_1_killed_at_each_call(store, call):
    """The worker dies before the call is made: what was answered is counted,
    and its number is not given again."""
    with Server(store, WORKERS=1) as server:
        old = server.all_workers()
        assert [server.visit(), server.visit()] == [1, 2]
        with injecting(server, call, "signal=KILL"):
            told = visit(server)
            wait_for(lambda: not set(old) & set(server.workers()),
                     what="the worker to die")
            assert told is None or told <= store.total()
        after = server.visit()
        assert after > (told or 2)
        assert after == store.total()


# In the order of a set: a torn tail of `history` is cut off, the note of the set
# is written and synced, then the number, then a fresh `history` takes the old
# one's place.
SET = [("ftruncate", 1), ("pwrite64", 1), ("fdatasync", 1), ("pwrite64", 2),
       ("fdatasync", 2), ("pwrite64", 3), ("fsync", 1), ("rename", 1),
       ("fsync", 2), ("sendto", 1)]


@pytest.mark.parametrize("call,when", SET)
@pytest.mark.parametrize("value", [1000000, 3])
def test_killed_at_each_call_of_a_set(store, value, call, when):
    """Today's visits stay what they were, whatever the total is by then."""
    with Server(store, WORKERS=1, ADMIN_TOKEN="t") as server:
        old = server.all_workers()
        assert [server.visit() for _ in range(5)] == [1, 2, 3, 4, 5]
        if call == "ftruncate":
            with store.history.open("a") as history:
                history.write("2026")
        with injecting(server, call, f"signal=KILL:when={when}"):
            with contextlib.suppress(OSError, Closed), server.client() as put:
                put.request("PUT", "/visits",
                            {"Authorization": "Bearer t",
                             "Content-Type": "application/json"},
                            f'{{"value":{value}}}'.encode())
            wait_for(lambda: not set(old) & set(server.workers()),
                     what="the worker to die")
        reply = server.get("/visits.json").json
        assert reply["value"] in (5, value)
        assert reply["today"] == 5
        assert server.visit() == reply["value"] + 1
        assert server.get("/visits.json").json["today"] == 6
