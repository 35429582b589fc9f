"""The file `visits`: what it may hold, what is never overwritten, and what
happens when it cannot be had. Promises 3, 4, 5."""

import contextlib
import errno
import fcntl
import os
import subprocess
import time

import pytest

import visitd
from visitd import MAX, Server, command, wait_for

pytestmark = pytest.mark.store("file")


def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True)


@contextlib.contextmanager
def mounted(*words):
    """A mount for the time of a test; its target is the last word."""
    mount(*words)
    try:
        yield words[-1]
    finally:
        subprocess.run(["umount", "-l", str(words[-1])], check=True)


# What the file may hold

UNDERSTOOD = [
    (b"41\n", 42),
    (b"41", 42),
    (b"0\n", 1),
    (b"", 1),
    (b"9\n", 10),
    (b"999999\n", 1_000_000),
    (b"41\n\0\0\0\0", 42),
    (b"41\0\0\0", 42),
    (b"41\0", 42),
    (b"41\n\n\n\n", 42),
    (b"41\n7\n", 42),
    (b"41\n00123\n", 42),
    (b"5\n00123\n\n456\n", 6),
    (b"%d\n" % (MAX - 1), MAX),
]

NOT_UNDERSTOOD = [
    b"many\n", b"41 visits\n", b"-1\n", b"+1\n", b"4 1\n", b"41.0\n",
    b"0x29\n", b"1e3\n", b"41\nhello\n", b"41\0x", b"hello",
    b"9223372036854775808\n", b"99999999999999999999999999999\n",
    b"1\xef\xbb\xbf\n", b"4\xc2\xb2\n", b"1" * 5000,
]


@pytest.mark.parametrize("text,number", UNDERSTOOD, ids=repr)
def test_promise_3_what_is_understood_at_start(store, text, number):
    store.visits.write_bytes(text)
    with Server(store) as server:
        assert server.visit() == number
        assert store.visits.read_bytes() == b"%d\n" % number


def test_promise_3_what_is_understood_while_it_runs(server):
    """By rename, since a thousand bare edits are tested elsewhere."""
    fresh = server.store.data / "fresh"
    for text, number in UNDERSTOOD:
        server.visit()
        fresh.write_bytes(text)
        fresh.rename(server.store.visits)
        assert server.get("/visits").number == number - 1
        assert server.visit() == number
        assert server.store.visits.read_bytes() == b"%d\n" % number


def test_promise_3_in_place_edits_are_cut_to_one_number(server):
    for text, number in UNDERSTOOD:
        if text:
            server.store.visits.write_bytes(text)
            assert server.visit() == number
            assert server.store.visits.read_bytes() == b"%d\n" % number


@pytest.mark.parametrize("text", NOT_UNDERSTOOD, ids=lambda t: repr(t[:30]))
def test_promise_4_garbage_at_start_is_exit_102_and_stays(store, text):
    store.visits.write_bytes(text)
    done = command(store, PORT=1, BIND="127.0.0.1")
    assert done.returncode == 102
    assert str(store.visits) in done.stderr.splitlines()[-1]
    assert store.visits.read_bytes() == text


def test_visitors_are_told_the_kind_of_fault(store):
    """The path and what is there are for the log, unless HEALTH_DETAIL=on."""
    words = "a file is not understood"
    with Server(store, HEALTH_DETAIL="") as server:
        assert server.visit() == 1
        (store.root / "data" / "visits").write_text("many\n")
        for target in ("/", "/visits", "/hit"):
            assert visitd.refusal(server, target) == (
                f"store unavailable: {words}")
        assert visitd.health(server, 503).json["error"] == words
        assert 'it holds "many' in server.stderr()


def test_promise_4_garbage_while_it_runs_is_503_until_repaired(server):
    """The file stays as it is, /health says why, and it heals."""
    visits = server.store.visits
    for text in NOT_UNDERSTOOD:
        server.store.set_total(41)
        assert server.visit() == 42
        visits.write_bytes(text)
        for method, target in (("GET", "/"), ("HEAD", "/"),
                               ("GET", "/visits")):
            reply = server.request(method, target)
            assert reply.status == 503
            assert reply["Retry-After"] == "1"
            assert reply.get("X-Visit-Counted") is None
        health = visitd.health(server, 503)
        assert health.json["status"] == "unavailable"
        assert health.json["store"] == "file"
        assert str(visits) in health.json["error"]
        assert visits.read_bytes() == text
        visits.write_text("100\n")
        assert server.visit() == 101
        visitd.health(server, 200)


def test_errors_of_the_store_follow_the_representation(server):
    server.visit()
    server.store.visits.write_text("garbage\n")
    reply = server.get("/", {"Accept": "application/json"})
    assert reply.status == 503
    assert list(reply.json) == ["error"]
    assert reply.json["error"].startswith("store unavailable: ")
    reply = server.get("/visits.txt")
    assert reply.text.startswith("503 Service Unavailable: store unavailable")
    server.store.visits.write_text("1\n")
    assert server.visit() == 2


def test_other_paths_work_without_the_store(server):
    server.visit()
    server.store.visits.write_text("garbage\n")
    assert server.get("/robots.txt").status == 200
    assert server.request("OPTIONS", "/").status == 204
    assert server.get("/nothing").status == 404


def test_a_full_counter_is_503_and_not_written(store):
    store.set_total(MAX)
    with Server(store) as server:
        for _ in range(2):
            reply = server.get("/", {"Accept": "application/json"})
            assert reply.status == 503
            assert reply.json == {"error": "counter is full"}
        assert server.get("/visits").text == f"{MAX}\n"
        assert store.visits.read_text() == f"{MAX}\n"
        store.set_total(1)
        assert server.visit() == 2


def test_a_counter_fills_up_in_the_middle_of_a_turn(store):
    """A turn that would pass the end writes nothing beyond it."""
    store.set_total(MAX - 3)
    with Server(store, WORKERS=1) as server:
        with server.client() as client:
            client.send(visitd.render() * 10)
            replies = [client.reply() for _ in range(10)]
        numbers = [r.number for r in replies if r.status == 200]
        assert all(r.status in (200, 503) for r in replies)
        assert numbers == list(range(MAX - 2, MAX - 2 + len(numbers)))
        assert store.total() == MAX - 3 + len(numbers)
        for _ in range(MAX - store.total()):
            server.visit()
        assert server.get().status == 503
        assert store.total() == MAX


# Missing and touched


def test_a_missing_file_is_made_with_mode_0644(store):
    before = os.umask(0)
    try:
        with Server(store) as server:
            assert server.visit() == 1
    finally:
        os.umask(before)
    assert store.visits.stat().st_mode & 0o777 == 0o644


def test_a_deleted_file_starts_anew(server):
    for _ in range(3):
        server.visit()
    server.store.visits.unlink()
    assert server.visit() == 1
    assert server.store.total() == 1


def test_an_emptied_file_counts_as_zero_after_a_second_look(server):
    for _ in range(3):
        server.visit()
    os.truncate(server.store.visits, 0)
    assert server.visit() == 1


def test_a_file_replaced_by_a_folder_is_503(server):
    server.visit()
    server.store.visits.unlink()
    server.store.visits.mkdir()
    assert server.get().status == 503
    server.store.visits.rmdir()
    assert server.visit() == 1


def test_a_deleted_folder_is_503_until_it_is_back(server):
    server.visit()
    away = server.store.root / "away"
    server.store.data.rename(away)
    reply = server.get()
    assert reply.status == 503, reply
    away.rename(server.store.data)
    assert server.visit() == 2


def test_visits_file_elsewhere(store):
    elsewhere = store.root / "elsewhere"
    elsewhere.mkdir()
    number = elsewhere / "number"
    number.write_text("7\n")
    with Server(store, VISITS_FILE=number) as server:
        assert server.visit() == 8
    assert number.read_text() == "8\n"
    assert not store.visits.exists()


def test_a_set_before_the_first_start_takes_the_history_along(store):
    """It was called `history` for any VISITS_FILE, before."""
    number = store.root / "number"
    number.write_text("50\n")
    (store.data / "history").write_text(f"{visitd.day()} 45\n")
    assert command(store, "set", "homepage", "100",
                   VISITS_FILE=number).returncode == 0
    with Server(store, VISITS_FILE=number) as server:
        assert server.get("/visits.json").json == {
            "counter": "homepage", "value": 100, "today": 5}


def test_a_missing_data_dir_is_made_or_named(store):
    """Either it is created, or the start fails and says which folder."""
    folder = store.root / "missing"
    try:
        with Server(store, DATA_DIR=folder) as server:
            assert server.visit() == 1
        assert (folder / "visits").read_text() == "1\n"
    except AssertionError as failure:
        assert "exit 102" in str(failure) or "exit 111" in str(failure)
        assert str(folder) in str(failure)


@pytest.mark.root
def test_a_bind_mounted_single_file_is_written_in_place(store):
    host = store.root / "host-visits"
    host.write_text("99\n")
    store.visits.touch()
    with mounted("--bind", host, store.visits):
        with Server(store) as server:
            assert server.visit() == 100
            host.write_text("5\n")
            assert server.visit() == 6
        assert host.read_text() == "6\n"


# Locked, read-only, full

TIMEOUT = 1000  # ms
# What an answer may take beyond twice that, seconds: a busy machine.
MARGIN = 2 * visitd.PATIENCE


@contextlib.contextmanager
def lock_held(path):
    """Somebody else's flock on a file."""
    with open(path, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def test_promise_5_a_held_lock_is_503_within_the_timeout(store):
    """Later requests fail fast; when it is free it works, with no restart."""
    with Server(store, WORKERS=1, STORE_TIMEOUT=TIMEOUT) as server:
        server.visit()
        with lock_held(store.visits):
            begun = time.monotonic()
            reply = server.get("/", {"Accept": "application/json"})
            took = time.monotonic() - begun
            assert reply.status == 503
            assert reply["Retry-After"] == "1"
            assert reply.json["error"].startswith("store unavailable: ")
            assert TIMEOUT / 1000 * 0.9 < took < 2 * TIMEOUT / 1000 + MARGIN
            begun = time.monotonic()
            for _ in range(20):
                assert server.get().status == 503
            visitd.health(server, 503)
            took = time.monotonic() - begun
            assert took < 20 * TIMEOUT / 1000 / 2, "most do not wait"
        wait_for(lambda: server.get().status == 200, what="recovery")
        visitd.health(server, 200)
        assert store.total() == 2


def test_promise_5_every_worker_comes_back_after_a_lock(store):
    store.set_total(41)
    with Server(store, WORKERS=4, STORE_TIMEOUT=200) as server:
        clients = [server.client() for _ in range(16)]
        with lock_held(store.visits):
            for client in clients:
                client.send(visitd.render())
            assert {c.reply().status for c in clients} == {503}
        for client in clients:
            wait_for(lambda c=client: c.request().status == 200,
                     what="recovery")
            client.close()


def waits_for_lock(pid):
    """Whether a process stands in the queue for a flock."""
    with open("/proc/locks", encoding="ascii") as locks:
        return any("->" in line and f" {pid} " in line for line in locks)


def test_a_lock_held_for_less_than_the_timeout_only_delays(store):
    with Server(store, WORKERS=1, STORE_TIMEOUT=60000) as server:
        server.visit()
        (worker,) = server.workers()
        with server.client() as client:
            with lock_held(store.visits):
                client.send(visitd.render())
                wait_for(lambda: waits_for_lock(worker), what="a waiter")
                assert client.silent()
            assert client.reply().number == 2


def test_promise_5_start_while_the_file_is_locked(store):
    """Only what cannot be understood stops a start, not a lock."""
    store.set_total(41)
    with Server(store, STORE_TIMEOUT=200) as server:
        with lock_held(store.visits):
            server.stop()
            server.start()
            assert server.get().status == 503
        wait_for(lambda: server.get().status == 200, what="recovery")
    assert store.total() > 41


def test_promise_3_a_replacement_ends_the_wait_for_a_lock(store):
    """Whoever holds the lock of the old file does not hold that of the new."""
    store.set_total(41)
    with Server(store, STORE_TIMEOUT=200) as server:
        assert server.visit() == 42
        with lock_held(store.visits):
            assert server.get().status == 503
            store.set_total(50)
            wait_for(lambda: server.get().status == 200, what="recovery")
    assert store.total() > 50


@pytest.mark.root
def test_promise_5_a_file_that_becomes_read_only_is_503_and_named(store):
    """A read-only mount over the file while the server counts."""
    frozen = store.root / "frozen"
    frozen.write_text("41\n")
    with Server(store) as server:
        server.visit()
        mount("--bind", frozen, store.visits)
        with mounted("-o", "remount,ro,bind", store.visits):
            assert server.get().status == 503
            error = visitd.health(server, 503).json["error"]
            assert str(store.visits) in error
            assert os.strerror(errno.EROFS) in error
            assert os.strerror(errno.EROFS) in server.stderr()
            assert str(store.visits) in server.stderr()
        assert frozen.read_text() == "41\n"
        assert server.visit() == 2


@pytest.mark.root
def test_a_read_only_file_system_at_start_is_named(store):
    """It may refuse to start or serve 503: never counts, always says why."""
    with mounted("-t", "tmpfs", "none", store.data):
        store.visits.write_text("41\n")
        mount("-o", "remount,ro", store.data)
        try:
            with Server(store) as server:
                assert server.get().status == 503
                report = visitd.health(server, 503).json["error"]
        except AssertionError as failure:
            report = str(failure)
            assert "exit 102" in report or "exit 111" in report
        assert str(store.data) in report
        assert os.strerror(errno.EROFS) in report
        assert store.visits.read_text() == "41\n"


@pytest.mark.root
def test_promise_5_a_full_disk_is_503_and_heals(store):
    """No page is left for a new `visits` or the day's line."""
    with mounted("-t", "tmpfs", "-o", "size=64k", "none", store.data):
        with Server(store) as server:
            filler = fill(store.data)
            assert server.get().status == 503
            error = visitd.health(server, 503).json["error"]
            assert os.strerror(errno.ENOSPC) in error
            assert str(store.data) in error
            assert os.strerror(errno.ENOSPC) in server.stderr()
            filler.unlink()
            assert server.visit() == 1


def fill(folder, byte=b"x"):
    """Use up the last byte of a small file system, or an inode of it."""
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while byte:
                file.write(byte * 4096)
    return filler


@pytest.mark.root
@pytest.mark.parametrize("options,rows", [
    ("size=64k", 0), ("size=64k", 8), ("nr_inodes=4", 0)])
def test_health_names_the_file_that_cannot_grow(store, options, rows):
    """Visits in place need no room; new counters do."""
    with mounted("-t", "tmpfs", "-o", options, "none", store.data):
        with Server(store) as server:
            server.visit()
            for i in range(rows):
                assert server.get(f"/hit/{i}").status == 200
            visitd.health(server, 200)
            filler = fill(store.data, b"x" if "size" in options else b"")
            reply = visitd.health(server, 503)
            assert str(store.data / "counters") in reply.json["error"]
            assert os.strerror(errno.ENOSPC) in reply.json["error"]
            assert (store.data / "counters").exists() == bool(rows)
            assert server.get("/hit/new").status == 503
            assert server.visit() == 2
            with Server(store, HEALTH_DETAIL="") as other:
                assert visitd.health(other, 503).json["error"] == (
                    "no room for new counters")
            filler.unlink()
            visitd.health(server, 200)
            assert server.get("/hit/new").number == 1


@pytest.mark.root
def test_a_short_append_to_history_is_cut_back(store):
    """The day's line does not fit: half of it must not stay."""
    days = [b"%d-%02d-%02d 0\n" % (year, month, day)
            for year in (1990, 1991)
            for month in range(1, 13) for day in range(1, 29)]
    old = b"".join(days[:314])
    assert 4096 - len(old) == 14
    old = old[:-2] + b"12345678\n"
    assert 4096 - len(old) == 7
    with mounted("-t", "tmpfs", "-o", "size=12k", "none", store.data):
        store.history.write_bytes(old)
        store.visits.write_text("41\n")
        with Server(store) as server:
            filler = fill(store.data)
            assert server.get().status == 503
            assert store.history.read_bytes() == old
            assert store.visits.read_text() == "41\n"
            filler.unlink()
            assert server.visit() == 42
        assert store.history.read_bytes().startswith(old)


def test_promise_5_a_file_without_permission_is_503_or_102(store):
    """Whoever starts it: root's workers become the owner of the folder."""
    store.set_total(41)
    store.visits.chmod(0o444)
    if os.geteuid() == 0:
        os.chown(store.data, 65534, 65534)
    done = command(store, PORT=1, BIND="127.0.0.1")
    assert done.returncode in (102, 111)
    assert str(store.visits) in done.stderr
