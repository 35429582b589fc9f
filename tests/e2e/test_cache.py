"""Redis as a cache of the PostgreSQL store: faster reads, and whatever happens
to it no error reaches a client and no number is wrong."""

import contextlib
import json
import re
import signal
import threading
import time

import pytest

import visitd
from load import TOKEN, Load
from proxy import Proxy
from redis_server import RedisServer
from visitd import (PostgresStore, RedisStore, Server, command, refusal,
                    wait_for)

pytestmark = pytest.mark.store("postgres")

HOME = "visit_counter:homepage"
DAY = f"visit_day:{{{HOME}}}"
GONE = f"visit_gone:{{{HOME}}}"
JSON = {"Content-Type": "application/json"}
ADMIN = {**JSON, "Authorization": f"Bearer {TOKEN}"}
# A Redis that is silent costs a call 0.1 s, twice (before PostgreSQL and after
# it), and never this, seconds: between the two is a busy machine.
COST = visitd.STORE_TIMEOUT / 1000


@pytest.fixture(name="store")
def store_with_cache(scratch):
    with PostgresStore(scratch, cache=True) as made:
        yield made


@pytest.fixture(name="cache")
def cache_of_the_store(store):
    return store.cache


@pytest.fixture(name="proxy")
def proxy_before_the_cache(cache):
    with Proxy(cache.socket()) as made:
        yield made


def through(proxy, store, **settings):
    """A server that reaches its cache through the proxy."""
    return Server(store, **{"WORKERS": 1, "ADMIN_TOKEN": TOKEN,
                            "REDIS_HOST": proxy.host,
                            "REDIS_PORT": proxy.port, **settings})


def behind(store, total, name="homepage"):
    """Sets a total behind the program's back, and the cache's."""
    store.call("UPDATE visit_counter SET visits = %s WHERE name = %s", total,
               name)


def make_item(server, name="Docker"):
    return server.request("POST", "/items", JSON,
                          json.dumps({"name": name}).encode()).json["id"]


def put(server, value, name="homepage"):
    reply = server.request("PUT", f"/visits/{name}", ADMIN,
                           b'{"value": %d}' % value)
    assert reply.status == 200, reply


# What is kept


def test_the_keys_are_those_of_the_contract(server, cache):
    """An operator finds the total by redis-cli GET visit_counter:homepage."""
    for expected in ("1", "2", "3"):
        server.visit()
        assert cache.call("GET", HOME) == expected
    server.get("/hit/blog/post-1")
    assert cache.call("GET", "visit_counter:blog/post-1") == "1"
    server.get(f"/items/{make_item(server)}")
    assert cache.call("GET", "item:1") == (
        '{"name":"Docker","description":null}')
    assert sorted(cache.call("KEYS", "*")) == sorted([
        HOME, DAY, "visit_counter:blog/post-1",
        "visit_day:{visit_counter:blog/post-1}", "item:1"])
    assert cache.call("GET", DAY).endswith(" 0")


def test_everything_dies_in_time(store, cache):
    with Server(store, CACHE_TTL=20, ADMIN_TOKEN=TOKEN) as server:
        server.visit()
        server.get(f"/items/{make_item(server)}")
        put(server, 5, "a")
        for key in cache.call("KEYS", "*"):
            assert 0 < cache.call("TTL", key) <= 20, key
        # A refresh renews it.
        cache.call("EXPIRE", HOME, 1000)
        server.visit()
        assert 0 < cache.call("TTL", HOME) <= 20


def test_totals_are_served_from_it(server, store, cache):
    for _ in range(3):
        server.visit()
    behind(store, 50)
    for target in ("/visits", "/visits.json", "/visits/homepage"):
        assert server.get(target).number == 3
    assert server.get("/visits.json").json["today"] == 3
    assert server.visit() == 51
    assert server.get("/visits").number == 51
    behind(store, 60)
    cache.call("DEL", HOME)  # as if its time were over
    assert server.get("/visits").number == 60
    assert cache.call("GET", HOME) == "60"


def test_the_total_of_another_day_is_not_served(server, store, cache):
    for text in ("2001-01-01 0", "", "x" * 12, "2026-11-21", "9" * 300):
        server.visit()
        total = store.total()
        cache.call("SET", DAY, text)
        cache.call("SET", HOME, 777)
        assert server.get("/visits").number == total, text
        cache.call("DEL", HOME)


def test_a_base_is_below_zero_after_a_set(store, cache):
    with Server(store, ADMIN_TOKEN=TOKEN) as server:
        for _ in range(9):
            server.visit()
        put(server, 3)
        cache.call("DEL", GONE)
        assert server.visit() == 4
        day = cache.call("GET", DAY)
        assert day.endswith(" -6")
        assert server.get("/visits.json").json["today"] == 10
        cache.call("SET", DAY, day.replace("-6", f"-{visitd.MAX}"))
        assert server.get("/visits.json").json["today"] == visitd.MAX
        cache.call("SET", DAY, day.replace("-6", "1000"))
        assert server.get("/visits.json").json["today"] == 0


def test_items_are_served_from_it(server, store, cache):
    number = make_item(server)
    assert server.get(f"/items/{number}").json["name"] == "Docker"
    store.call("UPDATE items SET name = 'other'")
    assert server.get(f"/items/{number}").json["name"] == "Docker"
    cache.call("DEL", f"item:{number}")
    assert server.get(f"/items/{number}").json["name"] == "other"
    with server.client() as client:  # one that is kept, one that is not
        second = make_item(server, "second")
        client.send(b"".join(visitd.render(target=f"/items/{id}")
                             for id in (number, second, 77)))
        told = [client.reply() for _ in range(3)]
    assert [reply.status for reply in told] == [200, 200, 404]
    assert [reply.json["name"] for reply in told[:2]] == ["other", "second"]


@pytest.mark.parametrize("text", [
    "", "x", "{}", "[]", '{"name":5}', '{"description":"a"}', "\0" * 50,
    '{"id":9,"name":"a"}', '{"name":"a"} x', '{"name":"a"' + "[" * 500,
    '{"name":"' + "x" * 70000 + '"}'])
def test_promise_4_garbage_in_place_of_an_item(server, cache, text):
    make_item(server)
    cache.call("SET", "item:1", text)
    assert server.get("/items/1").json == {
        "id": 1, "name": "Docker", "description": None}
    assert cache.call("GET", "item:1").startswith('{"name":"Docker"')


@pytest.mark.parametrize("text", ["", "x", "-5", "1e3", "007", " 7", "7 ",
                                  "9" * 19, "9" * 40, "1.5"])
def test_promise_4_garbage_in_place_of_a_total(server, store, cache, text):
    """Never an error; and it dies, whoever put it there for ever."""
    assert server.visit() == 1
    cache.call("SET", HOME, text)
    shown = server.get("/visits").number
    assert shown == (7 if text == "007" else 1)
    assert server.visit() == 2
    cached = cache.call("GET", HOME)
    assert cached == "2" or cached == text and text.strip("9") == ""
    assert 0 < cache.call("TTL", HOME) <= 60
    assert "cache" not in server.stderr()


def test_keys_of_another_type(server, cache):
    server.visit()
    for key in (HOME, DAY, "item:1"):
        cache.call("DEL", key)
        cache.call("RPUSH", key, "a")
    make_item(server)
    for _ in range(3):
        assert server.get("/visits").number == 1
        assert server.get("/items/1").json["name"] == "Docker"
    assert server.visit() == 2
    assert cache.call("GET", HOME) == "2"
    assert cache.call("GET", "item:1")


# It never goes backwards


def test_a_higher_total_stays(server, cache):
    """Until its time is over, which nobody renews."""
    server.visit()
    cache.call("SET", HOME, 1000, "EX", 30)
    cache.call("EXPIRE", HOME, 30)
    assert server.visit() == 2
    assert cache.call("GET", HOME) == "1000"
    assert cache.call("TTL", HOME) <= 30
    cache.call("SET", HOME, 2**53 + 1)
    assert server.visit() == 3
    assert cache.call("GET", HOME) == str(2**53 + 1)
    assert 30 < cache.call("TTL", HOME) <= 60, "it got an end"


@pytest.mark.parametrize("old,new", [(9, 10), (99, 100), (2**53, 2**53 + 1),
                                     (2**63 - 3, 2**63 - 2)])
def test_numbers_are_compared_as_numbers(server, store, cache, old, new):
    server.visit()
    behind(store, old - 1)
    assert server.visit() == old
    assert server.visit() == new
    assert cache.call("GET", HOME) == str(new)


def evals(cache):
    """How many scripts the server of the cache has run."""
    found = re.search("cmdstat_eval:calls=([0-9]+)",
                      cache.call("INFO", "commandstats"))
    return int(found.group(1)) if found else 0


@contextlib.contextmanager
def late_keep(proxy, cache):
    """What is kept through the proxy meanwhile comes to Redis at the end: the
    worker gives up, but its command is on its way."""
    hits = proxy.hits
    proxy.do("hold", on=b"EVAL")
    yield
    assert proxy.hits == hits + 1
    before = evals(cache)
    proxy.do("pass")
    wait_for(lambda: evals(cache) > before, what="the script")


def test_a_slow_reader_does_not_put_the_old_total_back(store, cache, proxy):
    """It has read 1, and keeps it after others have counted to 4."""
    with through(proxy, store) as slow, Server(store) as fast:
        assert fast.visit() == 1
        cache.call("FLUSHDB")
        with late_keep(proxy, cache):
            assert slow.get("/visits").number == 1
            for expected in (2, 3, 4):
                assert fast.visit() == expected
        assert cache.call("GET", HOME) == "4"
        wait_for(lambda: slow.get("/visits").number == 4, what="it to know")


def test_a_name_with_a_colon_is_no_helper_of_another_one(store, cache):
    """x:day and x:gone are counters, whatever is kept of x."""
    totals = {}
    with Server(store, ADMIN_TOKEN=TOKEN) as server:
        def all_right():
            for name, total in totals.items():
                for _ in range(2):
                    assert server.get(f"/visits/{name}").number == total, name

        for n, name in enumerate(("x", "x:day", "x:gone")):
            for i in range(n + 2):
                assert server.get(f"/hit/{name}").number == i + 1
            totals[name] = n + 2
            all_right()
        for name in list(totals):
            put(server, 100, name)
            totals[name] = 100
            all_right()
            assert server.request("DELETE", f"/visits/{name}",
                                  ADMIN).status == 204
            del totals[name]
            all_right()
        assert cache.call("KEYS", "visit_counter:*x*") == []


@pytest.mark.parametrize("change", ["PUT", "DELETE"])
def test_a_total_that_was_set_or_dropped_is_not_put_back(store, cache,
                                                         change):
    """A tombstone: for twice STORE_TIMEOUT nothing is kept."""
    with Server(store, ADMIN_TOKEN=TOKEN) as server:
        for _ in range(9):
            server.get("/hit/a")
        old = cache.call("GET", "visit_day:{visit_counter:a}")
        body = b'{"value": 3}' if change == "PUT" else b""
        assert server.request(change, "/visits/a", ADMIN, body).status < 300
        assert cache.call("EXISTS", "visit_counter:a") == 0
        left = cache.call("PTTL", "visit_gone:{visit_counter:a}")
        assert 5000 < left <= 10000
        after = server.get("/visits/a")
        assert after.status == 404 if change == "DELETE" else after.number == 3
        # A reader that was slow comes now.
        assert cache.call("EXISTS", "visit_counter:a") == 0
        cache.call("SET", "visit_counter:a", 9)
        cache.call("SET", "visit_day:{visit_counter:a}", old)
        after = server.get("/visits/a")
        assert after.status == 404 if change == "DELETE" else after.number == 3
        assert server.get("/hit/a").number == (4 if change == "PUT" else 1)
        # As if the time of the tombstone were over.
        cache.call("DEL", "visit_counter:a", "visit_gone:{visit_counter:a}")
        assert server.get("/hit/a").number == (5 if change == "PUT" else 2)
        assert cache.call("GET", "visit_counter:a") in ("5", "2")


def test_a_reader_on_its_way_while_a_total_is_dropped(store, cache, proxy):
    """Its command to keep the old total comes after the drop."""
    with through(proxy, store) as slow, \
            Server(store, ADMIN_TOKEN=TOKEN) as fast:
        for _ in range(9):
            fast.get("/hit/a")
        cache.call("FLUSHDB")
        with late_keep(proxy, cache):
            assert slow.get("/visits/a").number == 9
            assert fast.request("DELETE", "/visits/a", ADMIN).status == 204
        assert cache.call("EXISTS", "visit_gone:{visit_counter:a}") == 1
        assert cache.call("EXISTS", "visit_counter:a") == 0
        assert fast.get("/visits/a").status == 404


def test_a_set_that_may_have_been_made_is_not_read_old(store, cache):
    """PostgreSQL hangs in it: its tombstone is there again."""
    with Server(store, ADMIN_TOKEN=TOKEN, STORE_TIMEOUT=1000,
                WORKERS=1) as server:
        for _ in range(3):
            server.visit()
        connection = store.server.connect(store.database)
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM visit_counter FOR UPDATE")
            refusal(server, "/visits", "PUT", ADMIN, b'{"value": 50}')
            assert cache.call("PTTL", GONE) > 1000
        connection.close()


# Redis fails


RULES = [("hang", None), ("swallow", None), ("drip", 0.02), ("delay", 0.3),
         ("reset", None), ("cut", 3), ("say", b"+OK\r\n+OK\r\n+OK\r\n"),
         ("say", b"-LOADING Redis is loading\r\n" * 3),
         ("say", b"*3\r\n$1\r\n9\r\n$12\r\n2026-11-21 0\r\n:1\r\n"),
         ("say", b"\0\0\0\0"), ("add", b":1000\r\n")]


@pytest.mark.parametrize("what,value", RULES)
def test_a_cache_that_misbehaves_is_never_an_error(store, cache, proxy, what,
                                                   value):
    """Latency is bounded by a timeout of its own, once; it is used again as
    soon as it behaves."""
    with through(proxy, store) as server:
        make_item(server)
        assert server.visit() == 1
        proxy.do(what, value)
        expected = 1
        started = time.monotonic()
        for at in range(20):
            begun = time.monotonic()
            expected += 1
            assert server.visit() == expected
            assert server.get("/visits").number == expected
            assert server.get("/items/1").json["name"] == "Docker"
            visitd.health(server, 200)
            taken = time.monotonic() - begun
            assert taken < COST, (at, taken)
        proxy.do("pass")

        def is_used():
            server.visit()
            return cache.call("GET", HOME) == str(store.total())

        wait_for(is_used, what="the cache to be used again")
        # It is read and written; of each, a failure and its end a second.
        most = 2 * 2 * (1 + time.monotonic() - started)
        assert server.stderr().count("the cache can") <= most


def test_a_redis_that_is_stopped_and_started_while_visits_are_counted(scratch):
    with RedisServer() as redis:
        store = PostgresStore(scratch, cache=RedisStore(scratch, redis))
        with Server(store) as server:
            with Load(server.port, clients=8) as load:
                for number in (signal.SIGTERM, signal.SIGKILL, None):
                    visitd.count_on(store, 100)
                    redis.freeze() if number is None else redis.stop(number)
                    visitd.count_on(store, 100)
                    redis.thaw() if number is None else redis.start()
                visitd.count_on(store, 100)
                result = load.stop()
            assert set(result.statuses) == {"200"}, result
            assert not result.errors and not result.backwards, result
            assert sorted(result.numbers) == list(
                range(1, len(result.numbers) + 1))
            assert store.total() == len(result.numbers)
            assert result.slowest < COST, result
            wait_for(lambda: server.visit() and
                     redis.call("GET", HOME) == str(store.total()))


def test_a_redis_that_is_not_there(store):
    port = visitd.Port()
    with Server(store, REDIS_HOST="127.0.0.1",
                REDIS_PORT=port.number) as server:
        assert [server.visit() for _ in range(5)] == [1, 2, 3, 4, 5]
        assert server.get("/visits").number == 5
        assert server.get(f"/items/{make_item(server)}").status == 200
        assert "Connection refused" in server.stderr()
        assert server.stderr().count("the cache cannot be") <= 4
        done = command(store, "get", REDIS_HOST="no-such-host.invalid")
        assert (done.returncode, done.stdout) == (0, "5\n")
    port.release()


def test_a_wrong_password(scratch):
    with RedisServer(requirepass="secret") as redis:
        store = PostgresStore(scratch, cache=RedisStore(scratch, redis))
        with Server(store, REDIS_PASSWORD="guess") as server:
            assert [server.visit() for _ in range(3)] == [1, 2, 3]
            assert server.get("/visits").number == 3
            assert "cache cannot be" in server.stderr()
            assert "guess" not in server.stderr()
        with Server(store, REDIS_PASSWORD="secret") as server:
            assert server.visit() == 4
            assert redis.call("GET", HOME) == "4"


@pytest.mark.parametrize("commands", [
    [("CONFIG", "SET", "maxmemory", "1")],
    [("REPLICAOF", "127.0.0.1", "1")],
    [("CONFIG", "SET", "maxmemory", "1"),
     ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")],
    [("ACL", "SETUSER", "default", "-eval")],
    [("ACL", "SETUSER", "default", "-@all", "+ping", "+acl", "+shutdown")]])
def test_a_redis_that_refuses_to_write(scratch, commands):
    """What could not be refreshed is read from PostgreSQL; a line of the log
    says so, and not one for each visit."""
    with RedisServer() as redis:
        store = PostgresStore(scratch, cache=RedisStore(scratch, redis))
        with Server(store, WORKERS=1) as server:
            assert server.visit() == 1
            for words in commands:
                redis.call(*words)
            for expected in (2, 3, 4, 5):
                assert server.visit() == expected
                assert server.get("/visits").number == expected
            assert server.stderr().count("the cache cannot be") <= 3


def test_an_eviction_policy_is_no_reason_to_refuse(scratch):
    with RedisServer(maxmemory_policy="allkeys-lru") as redis:
        store = PostgresStore(scratch, cache=RedisStore(scratch, redis))
        with Server(store) as server:
            assert server.visit() == 1
            assert redis.call("GET", HOME) == "1"


def test_refreshes_that_were_missed(store, cache, proxy):
    """Who is cut off from Redis reads PostgreSQL, and again after, until it has
    refreshed what it missed."""
    with through(proxy, store) as cut, Server(store) as other:
        assert cut.visit() == 1
        proxy.refuse()
        proxy.end_all()
        assert cut.visit() == 2
        assert cache.call("GET", HOME) == "1"
        proxy.listen()
        wait_for(lambda: cut.get("/visits").number == 2 and
                 cache.call("GET", HOME) == "2", what="the refresh")
        assert other.get("/visits").number == 2
        assert cut.visit() == 3
        assert cache.call("GET", HOME) == "3"
        behind(store, 50)
        assert cut.get("/visits").number == 3, "it is served from there again"


def test_more_refreshes_missed_than_are_remembered(store, proxy):
    with through(proxy, store) as server:
        for i in range(300):
            server.get(f"/hit/many/{i}")
        proxy.refuse()
        proxy.end_all()
        with server.client() as client:
            client.send(b"".join(visitd.render(target=f"/hit/many/{i}")
                                 for i in range(300)))
            assert {client.reply().number for _ in range(300)} == {2}
        proxy.listen()
        wait_for(lambda: server.get("/visits/many/0") and proxy.connections)
        assert {server.get(f"/visits/many/{i}").number
                for i in range(0, 300, 17)} == {2}


# PostgreSQL fails


def test_postgres_away_is_503_and_what_is_kept_is_served(store, cache):
    with Server(store, **store.at("/nowhere"), WORKERS=1) as server:
        refusal(server)
        visitd.health(server, 503).json["error"]
        refusal(server, "/visits")
        with Server(store) as works:
            works.visit()
            works.get(f"/items/{make_item(works)}")
        refusal(server)
        assert server.get("/visits").number == 1
        assert server.get("/items/1").json["name"] == "Docker"
        refusal(server, "/items/2")
        cache.call("FLUSHDB")
        refusal(server, "/visits")
        refusal(server, "/items/1")


def test_without_redis_host_there_is_no_cache(store, cache):
    with Server(store, REDIS_HOST=None) as server:
        server.visit()
        behind(store, 50)
        assert server.get("/visits").number == 50
    assert cache.call("DBSIZE") == 0


def test_promise_2_many_workers_and_a_cache(store, cache):
    """A client that has its number never reads a lower total after it."""
    with Server(store, WORKERS=4) as server:
        failed = []

        def alternate():
            with server.client() as client:
                for _ in range(100):
                    told = client.request(target="/").number
                    with server.client() as another:
                        seen = another.request(target="/visits").number
                    if seen < told:
                        failed.append((told, seen))

        threads = [threading.Thread(target=alternate) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        assert store.total() == 400
        assert cache.call("GET", HOME) == "400"
