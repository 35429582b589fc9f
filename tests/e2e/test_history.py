"""The file `history`: a line a day, the total when that day began."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from load import Load
from visitd import ZONE, Server, command, day, wait_for

pytestmark = pytest.mark.store("file")


@pytest.fixture
def serve(store):
    """Start a server where it is noon."""
    def start(**settings):
        return Server(store, TZ=ZONE, **settings)
    return start


def today(server):
    return server.get("/visits.json").json["today"]


def test_a_line_is_written_with_the_first_visit_of_a_day(store, serve):
    store.set_total(41)
    with serve() as server:
        assert server.visit() == 42
        assert store.history.read_text() == f"{day()} 41\n"
        for number in range(43, 50):
            assert server.visit() == number
        assert store.history.read_text() == f"{day()} 41\n"
        assert today(server) == 8


def test_a_new_store_begins_its_first_day_at_zero(store, serve):
    with serve() as server:
        server.visit()
        assert store.history.read_text() == f"{day()} 0\n"
        assert today(server) == 1


def test_a_restart_writes_no_second_line(store, serve):
    with serve() as server:
        server.visit()
        server.stop()
        server.start()
        server.visit()
        assert today(server) == 2
    assert store.history.read_text() == f"{day()} 0\n"


def test_many_workers_write_one_line(store, serve):
    with serve(WORKERS=4) as server:
        with Load(server.port, clients=16, requests=50) as load:
            load.wait()
        assert today(server) == 800
    assert store.history.read_text() == f"{day()} 0\n"


def test_older_lines_stay_and_a_new_one_is_appended(store, serve):
    old = f"{day(9)} 0\n{day(3)} 10\n{day(1)} 25\n"
    store.history.write_text(old)
    store.set_total(41)
    with serve() as server:
        server.visit()
        assert store.history.read_text() == f"{old}{day()} 41\n"
        assert today(server) == 1


def test_the_line_of_today_is_taken_up(store, serve):
    text = f"{day(1)} 5\n{day()} 30\n"
    store.history.write_text(text)
    store.set_total(41)
    with serve() as server:
        assert today(server) == 11
        server.visit()
        assert today(server) == 12
    assert store.history.read_text() == text


def test_a_later_date_than_today_is_kept_and_today_begins(store, serve):
    """A clock that was ahead, or a zone that was changed."""
    text = f"{day(1)} 5\n{day(-5000)} 30\n"
    store.history.write_text(text)
    store.set_total(41)
    with serve() as server:
        assert today(server) == 0
        assert server.visit() == 42
        assert today(server) == 1
        server.stop()
        server.start()
        assert server.visit() == 43
        assert today(server) == 2
    assert store.history.read_text() == f"{text}{day()} 41\n"


def test_today_is_found_before_a_later_date(store, serve):
    text = f"{day()} 30\n{day(1)} 5\n{day(-1)} 35\n"
    store.history.write_text(text)
    store.set_total(41)
    with serve() as server:
        assert today(server) == 11
        assert server.visit() == 42
        assert today(server) == 12
    assert store.history.read_text() == text


@pytest.mark.parametrize("tail", [
    b"2026-11-2", b"2026-11-20", b"2026-11-20 4", b"\0\0\0\0\0\0",
    b"2026\0\0\0\0", b"2",
], ids=repr)
def test_a_tail_that_is_not_a_whole_line_is_cut_off(store, serve, tail):
    old = f"{day(3)} 10\n{day(1)} 25\n"
    store.history.write_bytes(old.encode() + tail)
    store.set_total(41)
    with serve() as server:
        assert server.visit() == 42
        assert today(server) == 1
    assert store.history.read_text() == f"{old}{day()} 41\n"


def test_a_torn_line_of_today_is_written_again(store, serve):
    old = f"{day(1)} 25\n"
    store.history.write_text(old + f"{day()} 4")
    store.set_total(41)
    with serve() as server:
        assert server.visit() == 42
    assert store.history.read_text() == f"{old}{day()} 41\n"


def test_set_moves_the_base_of_today_along(store, serve):
    with serve() as server:
        for _ in range(5):
            server.visit()
        assert command(store, "set", "homepage", "1000",
                       TZ=ZONE).returncode == 0
        assert server.get("/visits").number == 1000
        assert today(server) == 5
        assert server.visit() == 1001
        assert today(server) == 6
    assert store.history.read_text() == f"{day()} 995\n"


def test_set_below_the_visits_of_today(store, serve):
    """The base would be below zero: whatever stands there stays readable."""
    with serve() as server:
        for _ in range(5):
            server.visit()
        assert command(store, "set", "homepage", "2",
                       TZ=ZONE).returncode == 0
        assert server.get("/visits").number == 2
        assert 0 <= today(server) <= 5
        assert server.visit() == 3


def test_set_before_the_first_visit_of_the_day(store, serve):
    store.history.write_text(f"{day(1)} 5\n")
    store.set_total(10)
    assert command(store, "set", "homepage", "500", TZ=ZONE).returncode == 0
    with serve() as server:
        assert server.visit() == 501
        assert today(server) == 1


def test_a_day_that_went_down_is_zero(store, serve):
    """An edit from the host below the base of today."""
    with serve() as server:
        store.set_total(100)
        server.visit()
        store.set_total(3)
        assert today(server) == 0
        assert server.visit() == 4
        assert 0 <= today(server) <= 1


def test_promise_1_the_line_is_there_before_the_answer(store, serve):
    """Kill everything right after the first answer of the day."""
    store.set_total(41)
    with serve() as server:
        assert server.visit() == 42
        server.kill_group()
        assert store.history.read_text() == f"{day()} 41\n"
        server.start()
        assert today(server) == 1


def zone_file(store, zone):
    """Put a time zone into the file that TZ names."""
    fresh = store.root / "zone.new"
    shutil.copyfile(Path("/usr/share/zoneinfo") / zone, fresh)
    os.replace(fresh, store.root / "zone")


def local_time(server):
    """As a prefetch of the home page shows it, which counts nothing."""
    return server.get("/", {"Accept": "application/json",
                            "Purpose": "prefetch"}).json["time"]


def test_sighup_reads_tz_again_and_a_new_day_begins(store):
    """From 12 h behind UTC to 14 h before it: the date always changes."""
    zone_file(store, "Etc/GMT+12")
    with Server(store, TZ=f":{store.root / 'zone'}") as server:
        for _ in range(3):
            server.visit()
        assert local_time(server).endswith("-12:00")
        assert today(server) == 3
        zone_file(store, "Etc/GMT-14")
        old = set(server.all_workers())
        server.kill(signal.SIGHUP)
        wait_for(lambda: not old.intersection(server.workers()), within=20,
                 what="new workers")
        assert local_time(server).endswith("+14:00")
        assert today(server) == 0
        assert server.visit() == 4
        assert today(server) == 1
    first, second = store.history.read_text().splitlines()
    assert first.endswith(" 0") and second.endswith(" 3")
    assert first[:10] < second[:10]


@pytest.mark.parametrize("garbage", ["hello\n", "2026-13-45 x\n"])
def test_a_history_with_garbage_keeps_it_and_counts_or_says_why(
        store, serve, garbage):
    """What cannot be understood is never overwritten."""
    store.history.write_text(garbage)
    store.set_total(41)
    try:
        with serve() as server:
            reply = server.get()
            assert reply.status in (200, 503)
    except AssertionError as failure:
        assert "exit 102" in str(failure)
        assert str(store.history) in str(failure)
    assert store.history.read_text().startswith(garbage)
