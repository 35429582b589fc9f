"""Days of a store over a network, when the clock or a total is not what it was.
Those of the file store are tested in test_file.c."""

import subprocess

import pytest

import visitd
from load import TOKEN
from visitd import Server, command

pytestmark = pytest.mark.store("redis", "postgres")

ADMIN = {"Content-Type": "application/json",
         "Authorization": f"Bearer {TOKEN}"}
CLOCK = """
long time(long *at) { if (at) *at = 1000; return 1000; }
"""


@pytest.fixture(name="store")
def without_a_cache(scratch):
    kind = visitd.STORES[visitd.STORE]
    cache = {"cache": None} if visitd.STORE == "postgres" else {}
    with kind(scratch, **cache) as made:
        yield made


def bases(store, name="homepage"):
    """The total at the beginning of each day that is kept."""
    if store.name == "redis":
        flat = store.call("HGETALL", f"visit_history:{{visit_counter:{name}}}")
        return dict(zip(flat[::2], map(int, flat[1::2])))
    return dict(store.call("SELECT day::text, base FROM visit_history"
                           " WHERE name = %s", name))


def put_base(store, day, base):
    if store.name == "redis":
        store.call("HSET", "visit_history:{visit_counter:homepage}", day, base)
    else:
        store.call("INSERT INTO visit_history VALUES ('homepage', %s, %s)",
                   day, base)


@pytest.mark.preloads
def test_a_clock_before_the_build_is_of_no_day(store):
    library = store.root / "clock.so"
    subprocess.run(["gcc", "-w", "-fno-builtin", "-shared", "-fPIC", "-x", "c",
                    "-o", library, "-"], input=CLOCK, text=True, check=True)
    with Server(store, LD_PRELOAD=library, ADMIN_TOKEN=TOKEN) as server:
        for target in ("/", "/hit/a"):
            for expected in (1, 2, 3, 4):
                told = server.get(target, {"Accept": "application/json"}).json
                assert told.get("value", told.get("visits")) == expected
                assert told["today"] == 0
        assert server.request("PUT", "/visits/a", ADMIN,
                              b'{"value": 10}').status == 200
        assert server.get("/health").status == 200
        assert command(store, "check",
                       LD_PRELOAD=library).stdout.count("FAILED") == 1
    assert bases(store) == bases(store, "a") == {}
    with Server(store) as server:
        assert server.visit() == 5
        assert server.get("/visits.json").json["today"] == 1
        assert server.get("/hit/a.json").json == {
            "counter": "a", "value": 11, "today": 1}
    assert bases(store) == {visitd.day(): 4}


@pytest.mark.store("redis")
def test_a_base_that_is_no_number_stays(store):
    """And a set moves the others once."""
    with Server(store, ADMIN_TOKEN=TOKEN) as server:
        assert server.visit() == 1
        put_base(store, visitd.day(2), -5)
        put_base(store, visitd.day(1), "oops")
        assert server.request("PUT", "/visits", ADMIN,
                              b'{"value": 1000}').status == 200
        flat = store.call("HGETALL", "visit_history:{visit_counter:homepage}")
        assert dict(zip(flat[::2], flat[1::2])) == {
            visitd.day(2): "994", visitd.day(1): "oops", visitd.day(): "999"}


def test_a_set_moves_all_days_along(store):
    """The jump is no visit of any of them."""
    with Server(store, ADMIN_TOKEN=TOKEN) as server:
        for _ in range(10):
            server.visit()
        for ago in range(1, 6):
            put_base(store, visitd.day(ago), -ago)
        for value in (1000, 0, 7, visitd.MAX, 10):
            before, total = bases(store), server.get("/visits").number
            assert server.request("PUT", "/visits", ADMIN,
                                  b'{"value": %d}' % value).status == 200
            assert bases(store) == {day: base + value - total
                                    for day, base in before.items()}
        assert server.get("/visits.json").json == {
            "counter": "homepage", "value": 10, "today": 10}
