"""What is Redis's own: its errors, its settings, its keys."""

import hashlib
import re
import signal
import subprocess

import pytest

import visitd
from load import TOKEN, Load
from proxy import Proxy
from redis_server import RedisServer, shared_server
from visitd import (MAX, REPO, RedisStore, Server, command, number, recovered,
                    refusal, render, wait_for, within)

pytestmark = pytest.mark.store("redis")

HOME = "visit_counter:homepage"
HISTORY = "visit_history:{visit_counter:homepage}"
JSON = {"Content-Type": "application/json"}
ADMIN = {**JSON, "Authorization": f"Bearer {TOKEN}"}
SCRIPTS = sorted(REPO.glob("store/*/*.lua"))


@pytest.fixture(name="redis")
def own_redis():
    """A server of this test alone."""
    with RedisServer() as made:
        yield made


@pytest.fixture(name="own")
def own_store(scratch, redis):
    return RedisStore(scratch, redis)


# Keys


def test_the_keys_are_those_of_the_contract(server, store):
    """An operator finds them by redis-cli."""
    for _ in range(3):
        server.visit()
    today = visitd.day()
    assert store.call("GET", HOME) == "3"
    assert store.call("HGETALL", HISTORY) == [today, "0"]
    server.request("POST", "/items", {"Content-Type": "application/json"},
                   b'{"name":"Docker","description":"Compose test"}')
    assert store.call("GET", "item:id") == "1"
    assert store.call("GET", "item:1") == (
        '{"name":"Docker","description":"Compose test"}')
    assert sorted(store.call("KEYS", "*")) == sorted(
        [HOME, HISTORY, "item:id", "item:1"])


def test_reads_create_nothing(server, store):
    """But for the first look, which is the visit's own call, without one."""
    assert sorted(store.call("KEYS", "*")) == [HOME, HISTORY]
    assert store.call("GET", HOME) == "0"
    store.call("FLUSHDB")
    for target in ("/visits", "/items/1", "/items/0", "/visits/a"):
        server.get(target)
    server.request("HEAD", "/")
    assert store.call("DBSIZE") == 0
    assert server.visit() == 1


def test_a_total_that_redis_cli_sets_is_gone_on_with(server, store):
    assert server.visit() == 1
    store.call("SET", HOME, 1000)
    assert server.visit() == 1001
    store.call("DEL", HOME)
    assert server.visit() == 1
    store.call("FLUSHDB")
    assert server.visit() == 1
    assert server.visit() == 2
    assert server.get("/visits.json").json["today"] <= 2


@pytest.mark.parametrize("name,kept", [("homepage", 400), ("a", 40)])
def test_old_days_are_dropped(store, name, kept):
    """By their number: a clock that was ahead costs none of them."""
    key = f"visit_counter:{name}"
    history = f"visit_history:{{{key}}}"
    store.call("SET", key, 1000)
    store.call("SADD", "visit_counters", "a")
    days = [visitd.day(ago) for ago in range(1, 450)]
    for at, day in enumerate(days):
        store.call("HSET", history, day, 1000 - at)
    store.call("HSET", history, "2039-01-01", 7)
    with Server(store) as server:
        told = server.get(f"/hit/{name}.json").json
        assert (told["value"], told["today"]) == (1001, 1)
    left = sorted(store.call("HGETALL", history)[::2])[::-1]
    assert left == ["2039-01-01", visitd.day(), *days[:kept - 2]]


@pytest.mark.parametrize("text", ["abc", "", "1.5", "0x10", " 1", "007",
                                  "9223372036854775808", "1" * 40])
def test_promise_4_a_total_that_is_no_number_is_left_alone(store, text):
    """102 at start; 503 from who serves already; and it heals."""
    with Server(store) as server:
        assert server.visit() == 1
        store.call("SET", HOME, text)
        for target in ("/", "/visits"):
            assert "visit_counter:homepage" in refusal(server, target) or \
                "integer" in refusal(server, target)
        visitd.health(server, 503)
        done = command(store, "set", "homepage", "7")
        assert done.returncode != 0, done
        assert store.call("GET", HOME) == text
        store.call("SET", HOME, 41)
        assert recovered(server) == 42
        store.call("SET", HOME, text)
        second = command(store)
    assert second.returncode == 102, second
    assert "visit_counter:homepage" in second.stderr
    assert store.call("GET", HOME) == text


def test_a_total_below_zero_is_never_answered(server, store):
    """What INCRBY makes of it is no number of a visit."""
    assert server.visit() == 1
    store.call("SET", HOME, -5)
    for _ in range(3):
        refusal(server)
        refusal(server, "/visits")
    visitd.health(server, 503)
    store.call("SET", HOME, 41)
    assert recovered(server) == 42


def test_a_key_of_another_type_fails_alone(server, store):
    """At once, each time: no breaker opens, and the items go on."""
    store.call("DEL", HOME)
    store.call("RPUSH", HOME, "a", "b")
    for _ in range(3):
        assert "WRONGTYPE" in refusal(server)
        assert "visit_counter:homepage" in refusal(server, "/visits")
        assert server.get("/items/1").status == 404
    assert "WRONGTYPE" in visitd.health(server, 503).json["error"]
    store.call("DEL", HOME)
    assert server.visit() == 1


@pytest.mark.parametrize("name,key", [
    ("homepage", HISTORY), ("a", "visit_history:{visit_counter:a}"),
    ("a", "visit_counters")])
@pytest.mark.parametrize("visits", [0, 2])
def test_what_gets_a_503_is_not_counted(store, name, key, visits):
    """Redis undoes nothing of a script that fails in the middle."""
    with Server(store, ADMIN_TOKEN=TOKEN, WORKERS=1) as server:
        for expected in range(1, visits + 1):
            assert server.get(f"/hit/{name}").number == expected
        store.call("DEL", key)
        store.call("SET", key, "somebody else's")
        answered = [number(server, f"/hit/{name}") for _ in range(5)]
        counted = [told for told in answered if told is not None]
        assert counted == [*range(visits + 1, visits + 1 + len(counted))]
        total = visits + len(counted)
        assert int(store.call("GET", f"visit_counter:{name}") or 0) == total
        if key != "visit_counters":
            assert key in refusal(server, f"/visits/{name}", "PUT", ADMIN,
                                  b'{"value": 500}')
            assert key in refusal(server, f"/hit/{name}")
        store.call("DEL", key)
        assert server.get(f"/hit/{name}").number == total + 1


# What the README says that a user needs.
COMMANDS = ("eval get set setnx incr incrby del hget hset hdel hkeys hlen"
            " hincrby hgetall sadd sismember scard srem sscan ping").split()
KEYS = ["visit_*", "item:*"]


def make_user(redis, commands, keys=KEYS):  # pylint: disable=W0102
    redis.call("ACL", "SETUSER", "web", "reset", "on", ">secret",
               *(f"~{key}" for key in keys),
               *(f"+{name}" for name in commands))


def exercise(server, name):
    """All that a user of the store may need; the first status that is bad."""
    for method, target, headers, body in [
            ("GET", "/", (), b""), ("GET", f"/hit/{name}", (), b""),
            ("GET", f"/hit/{name}", (), b""), ("GET", "/visits", (), b""),
            ("PUT", f"/visits/{name}", ADMIN, b'{"value": 5}'),
            ("DELETE", f"/visits/{name}", ADMIN, b""),
            ("GET", f"/hit/{name}", (), b""),
            ("POST", "/items", JSON, b'{"name":"a"}'),
            ("GET", "/items/1", (), b"")]:
        reply = server.request(method, target, headers, body)
        if reply.status >= 300:
            return reply.status
    return 200


def test_a_user_with_the_rights_of_the_readme(own, redis):
    for file in ("README.md", "docs/visitd.8"):
        text = re.sub(r"\s+", " ", (REPO / file).read_text())
        assert " ".join(["ACL SETUSER visitd on >secret",
                         *(f"~{key}" for key in KEYS),
                         *(f"+{name}" for name in COMMANDS)]) in text, file
    make_user(redis, COMMANDS)
    old = visitd.day(500)
    settings = {"REDIS_USER": "web", "REDIS_PASSWORD": "secret"}
    redis.call("SET", HOME, 5)
    for i in range(420):
        redis.call("HSET", HISTORY, visitd.day(i + 1), 5)
    redis.call("HSET", HISTORY, old, 5)
    with Server(own, ADMIN_TOKEN=TOKEN, **settings) as server:
        assert exercise(server, "a") == 200
        visitd.health(server, 200)
    assert old not in redis.call("HGETALL", HISTORY)
    assert command(own, "export", **settings).stdout == "6 homepage\n1 a\n"
    assert command(own, "get", **{**settings, "REDIS_USER": "no"}
                   ).returncode == 111


@pytest.mark.parametrize("name", COMMANDS)
def test_no_right_is_needless(own, redis, name):
    make_user(redis, [one for one in COMMANDS if one != name])
    settings = {"REDIS_USER": "web", "REDIS_PASSWORD": "secret",
                "ADMIN_TOKEN": TOKEN, "WORKERS": 1}
    redis.call("HSET", HISTORY, "2001-01-01", "0")
    if name in ("hkeys", "hdel"):
        for i in range(420):
            redis.call("HSET", HISTORY, visitd.day(i + 1), 0)
    with Server(own, **settings) as server:
        bad = exercise(server, "a") != 200
        if name == "sscan":
            bad = command(own, "export", **settings).returncode != 0
        assert bad or server.get("/health").status != 200


VISITS_FAIL = {
    "no scripts": ["-eval"], "no number": ["-incrby"], "no days": ["-hset"],
    "no key": ["resetkeys", "~item:*"], "no connection": ["off"],
}


@pytest.mark.parametrize("case", VISITS_FAIL)
def test_health_says_what_a_visit_finds(own, redis, case):
    """And the log tells it once each way."""
    make_user(redis, COMMANDS)
    settings = {"REDIS_USER": "web", "REDIS_PASSWORD": "secret", "WORKERS": 1}
    redis.call("ACL", "SETUSER", "web", *VISITS_FAIL[case])
    with Server(own, **settings) as server:
        visitd.health(server, 503)
        refusal(server)
        make_user(redis, COMMANDS)
        with within(2):
            visitd.health(server, 200)
        assert server.visit() == 1
        assert server.stderr().count("works again") == 1


def test_a_counter_that_fails_alone_does_not_flap(store):
    with Server(store, WORKERS=1) as server:
        store.call("SET", HOME, "many")
        for expected in (1, 2, 3):
            assert server.get("/hit/a").number == expected
            visitd.health(server, 503)
        assert server.stderr().count("not understood") == 1
        assert "works again" not in server.stderr()
        store.call("SET", HOME, 5)
        visitd.health(server, 200)
        assert server.stderr().count("works again") == 1


def test_rights_that_health_does_not_need(own, redis):
    """SETRANGE was one, and CONFIG may be denied."""
    make_user(redis, COMMANDS)
    with Server(own, REDIS_USER="web", REDIS_PASSWORD="secret") as server:
        visitd.health(server, 200)
        assert server.visit() == 1


# Keys of the operator's choice


@pytest.mark.parametrize("prefix,key,total,history", [
    ("app:", None, "app:visit_counter:homepage",
     "app:visit_history:{app:visit_counter:homepage}"),
    ("", "hits", "hits", "visit_history:{hits}"),
    ("x{1}:", "hits", "x{1}:hits", "x{1}:visit_history:x{1}:hits"),
    ("", "{hits}:total", "{hits}:total", "visit_history:{hits}:total"),
])
def test_keys_of_the_operators_choice(store, prefix, key, total, history):
    settings = {"REDIS_PREFIX": prefix, "REDIS_KEY": key or ""}
    store.call("SET", total, 41)
    with Server(store, ADMIN_TOKEN=TOKEN, **settings) as server:
        assert server.visit() == 42
        assert exercise(server, "a") == 200
        assert server.get("/visits").number == 43
    named = f"{prefix}visit_counter:a"
    tag = "" if "{" in prefix else "{", "" if "{" in prefix else "}"
    assert sorted(store.call("KEYS", "*")) == sorted(
        [total, history, named,
         f"{prefix}visit_history:{tag[0]}{named}{tag[1]}",
         f"{prefix}visit_counters", f"{prefix}item:id", f"{prefix}item:1"])


@pytest.mark.parametrize("name,value", [
    ("REDIS_KEY", "visit_counter:a"), ("REDIS_KEY", "visit_counters"),
    ("REDIS_KEY", "item:id"), ("REDIS_KEY", "a\nb"), ("REDIS_KEY", "a}b"), ("REDIS_KEY", "{}a"),
    ("REDIS_PREFIX", "a{b"), ("REDIS_PREFIX", "{}"),
    ("REDIS_PREFIX", "a" * 201), ("REDIS_URL", "rediss://localhost"),
    ("REDIS_URL", "localhost:6379"), ("REDIS_URL", "redis://"),
    ("REDIS_URL", "redis://h:0"), ("REDIS_URL", "redis://h/a"),
    ("REDIS_URL", "redis://a:b%zz@h"), ("REDIS_URL", "redis://h?a=b")])
def test_a_key_or_url_that_is_none_is_102(store, name, value):
    done = command(store, **{"REDIS_DB": "", name: value})
    assert done.returncode == 102
    assert name in done.stderr
    assert "rediss" not in value or "TLS" in done.stderr
    assert "b%zz" not in done.stderr, "it is a secret"


def test_a_url(scratch):
    port = visitd.Port()
    try:
        with RedisServer(port.number) as redis:
            redis.call("ACL", "SETUSER", "me@home", "on", ">p:w/d%", "~*",
                       "+@all")
            store = RedisStore(scratch, redis)
            url = (f"redis://me%40home:p:w%2fd%25@localhost:{port.number}/3")
            base = {"REDIS_HOST": "", "REDIS_DB": "", "REDIS_URL": url}
            with Server(store, **base) as server:
                assert server.visit() == 1
            with Server(store, **{**base, "REDIS_DB": 4}) as server:
                assert server.visit() == 1, "a variable of its own wins"
            with redis.client() as client:
                for database in (3, 4):
                    client.call("SELECT", database)
                    assert client.call("GET", HOME) == "1"
            with Server(store, **{**base, "REDIS_PASSWORD": "x"}) as server:
                assert "WRONGPASS" in refusal(server)
                assert "p:w/d%" not in server.stderr()
    finally:
        port.release()


def test_a_url_in_a_file_that_becomes_a_bad_one(store):
    """The settings stay what they were, all of them."""
    file = store.root / "url"
    path = store.server.path.replace("/", "%2F")
    file.write_text(f"redis://{path}/{store.database}")
    base = {"REDIS_HOST": "", "REDIS_DB": "", "REDIS_URL_FILE": file}
    with Server(store, **base) as server:
        assert server.visit() == 1
        for bad in ("redis://other.invalid:99999/1",
                    f"redis://{'x' * 40}:%zz@other.invalid/1"):
            file.write_text(bad)
            before = set(server.workers())
            server.kill(signal.SIGHUP)
            wait_for(lambda: not before & set(server.workers()))
            server.visit()
        assert server.visit() == 4


def test_near_misses_are_told(store):
    with Server(store, REDIS_USERNAME="a", REDIS_PORT_6379_TCP="tcp://a",
                DB_PASS="b", REDIS_PASS="c", REDIS_PASSWORD="") as server:
        log = server.stderr()
        assert "REDIS_USERNAME is set and not read: set REDIS_USER" in log
        assert "REDIS_PASS is set and not read: set REDIS_PASSWORD" in log
        assert "6379_TCP" not in log and "DB_PASS" not in log


# Servers that want no connection


@pytest.mark.parametrize("words", [
    "DENIED Redis is running in protected mode because",
    "ERR max number of clients reached"])
def test_the_words_of_a_server_that_closes_at_once(store, words):
    """They are the reason, not that it has closed."""
    with Proxy(store.server.path) as proxy:
        proxy.do("greet", b"-%s\r\n" % words.encode())
        with Server(store, WORKERS=1, REDIS_HOST="127.0.0.1",
                    REDIS_PORT=proxy.port) as server:
            assert words in refusal(server)
            assert words in visitd.health(server, 503).json["error"]
            assert words in server.stderr()
            proxy.do("pass")
            assert recovered(server) == 1


def test_too_many_clients(scratch):
    with RedisServer(maxclients=1) as redis:
        with redis.client() as other:
            store = RedisStore(scratch, redis)
            with Server(store, WORKERS=1) as server:
                assert "max number of clients" in refusal(server)
                other.call("CONFIG", "SET", "maxclients", 10)
                assert recovered(server) == 1


def test_a_sentinel_is_told_as_one(scratch):
    port = visitd.Port()
    folder = scratch / "sentinel"
    folder.mkdir()
    config = folder / "sentinel.conf"
    config.write_text(f"port {port.number}\nbind 127.0.0.1\n")
    process = subprocess.Popen(["redis-server", str(config), "--sentinel"],
                               stdout=subprocess.DEVNULL)
    try:
        with Server(RedisStore(scratch, shared_server()[0]), WORKERS=1,
                    REDIS_HOST="127.0.0.1", REDIS_DB="",
                    REDIS_PORT=port.number) as server:
            wait_for(lambda: "is a Sentinel" in refusal(server))
    finally:
        process.kill()
        process.wait()
        port.release()


def test_the_largest_total(server, store):
    store.set_total(MAX - 2)
    assert server.visit() == MAX - 1
    assert server.visit() == MAX
    assert refusal(server) == "counter is full"
    assert server.get("/visits").number == MAX
    assert store.total() == MAX
    visitd.health(server, 200)


def test_an_item_that_is_none_is_not_served(server, store):
    store.call("SET", "item:id", 4)
    store.call("SET", "item:1", "garbage")
    store.call("SET", "item:2", '{"name":1}')
    store.call("RPUSH", "item:3", "x")
    store.call("SET", "item:4", '{ "name" : "a" }')
    for number in (1, 2, 3):
        assert f"item:{number}" in refusal(server, f"/items/{number}")
    assert server.get("/items/4").json == {"id": 4, "name": "a"}


def post(server, body=b'{"name":"a"}'):
    return server.request("POST", "/items", JSON, body)


def post_in_a_turn(server, names):
    """An item of each name, all in one turn of a server with one worker."""
    return visitd.in_a_turn(server, [
        render("POST", "/items", JSON, b'{"name":"%s"}' % name.encode())
        for name in names])


def test_the_new_items_of_a_turn_are_one_script(own, redis):
    with Server(own, WORKERS=1, MAX_ITEMS=110) as server:
        for begin in (0, 50):
            redis.call("CONFIG", "RESETSTAT")
            names = [f"item {begin + i}" for i in range(50)]
            replies = post_in_a_turn(server, names)
            assert [(reply.status, reply.json["id"], reply.json["name"])
                    for reply in replies] == [
                (201, begin + i + 1, name) for i, name in enumerate(names)]
            stats = redis.call("INFO", "commandstats")
            assert "cmdstat_eval:calls=1," in stats
            assert "cmdstat_setnx:calls=50," in stats
        assert server.get("/items/77").json["name"] == "item 76"
        replies = post_in_a_turn(server, "abcdefghijklm")
        assert [reply.status for reply in replies] == [201] * 10 + [507] * 3
        assert redis.call("GET", "item:id") == "110"
        assert server.get("/items/110").json["name"] == "j"
        assert "MAX_ITEMS=110" in replies[12].json["error"]


def test_new_items_of_a_turn_go_round_old_ones(own, redis):
    with Server(own, WORKERS=1) as server:
        for number in (2, 4, 5):
            redis.call("SET", f"item:{number}", '{"name":"old"}')
        replies = post_in_a_turn(server, "abcd")
        assert [reply.json["id"] for reply in replies] == [1, 3, 6, 7]
        for number, name in enumerate(
                ["a", "old", "b", "old", "old", "c", "d"], 1):
            assert server.get(f"/items/{number}").json["name"] == name


def test_new_items_of_a_turn_fail_together(own, redis):
    with Server(own, WORKERS=1) as server:
        redis.call("SET", "item:id", "x")
        for reply in post_in_a_turn(server, "abc"):
            assert reply.status == 503
            assert 'item:id is not understood: it holds "x"' in (
                reply.json["error"])
        redis.call("SET", "item:id", "7")
        replies = post_in_a_turn(server, "abc")
        assert [reply.json["id"] for reply in replies] == [8, 9, 10]
        log = server.stderr()
        assert log.count("item:id is not understood") == 1
        assert log.count("the store works again") == 1


def test_max_items_is_exact(store):
    with Server(store, MAX_ITEMS=2) as server:
        assert [post(server).status for _ in range(4)] == [201, 201, 507, 507]
        assert store.call("GET", "item:id") == "2"
        store.call("SET", "item:id", "x")
        reply = post(server)
        assert reply.status == 503
        assert "item:id" in reply.json["error"]


def test_an_item_is_never_overwritten(server, store):
    """Not even when somebody has reset the count."""
    for _ in range(3):
        assert post(server).status == 201
    store.call("SET", "item:id", 1)
    assert post(server, b'{"name":"b"}').json["id"] == 4
    assert server.get("/items/2").json["name"] == "a"


# Scripts


def test_there_are_scripts():
    assert REPO / "store" / "redis" / "add.lua" in SCRIPTS


@pytest.mark.parametrize("path", SCRIPTS,
                         ids=[str(path.relative_to(REPO)) for path in SCRIPTS])
def test_a_script_is_one_for_redis(store, path):
    """Each file compiles by itself, and begins with what it does."""
    text = path.read_text()
    assert re.fullmatch("[0-9a-f]{40}", store.call("SCRIPT", "LOAD", text))
    assert re.match("-- [A-Z]", text)
    assert max(map(len, text.splitlines())) <= 80
    used = [source for source in path.parent.glob("*.c")
            if f'"store/{path.parent.name}/{path.name}.inc"' in
            source.read_text()]
    assert used, "it is not a part of the program"


def test_scripts_are_sent_without_their_comments(own, redis):
    text = "".join((REPO / "store" / "redis" / f"{name}.lua").read_text()
                   for name in ("total", "begin", "add"))
    sent = "".join(line for line in text.splitlines(True)
                   if not line.startswith("--"))
    with Server(own) as server:
        assert server.visit() == 1
    sums = [hashlib.sha1(each.encode()).hexdigest() for each in (text, sent)]
    assert redis.call("SCRIPT", "EXISTS", *sums) == [0, 1]


@pytest.mark.parametrize("answer", [
    b"*0\r\n", b"*1\r\n$1\r\nx\r\n", b"*1\r\n$2\r\nok\r\n",
    b"*1\r\n$7\r\ngarbage\r\n", b"*2\r\n$2\r\nok\r\n:1\r\n",
    b"*3\r\n$2\r\nok\r\n$1\r\nx\r\n$1\r\n0\r\n", b":1\r\n", b"$-1\r\n"])
def test_an_answer_that_is_none_of_a_script(store, answer):
    with Proxy(store.server.path) as proxy:
        with Server(store, WORKERS=1, REDIS_HOST="127.0.0.1",
                    REDIS_PORT=proxy.port) as server:
            assert server.visit() == 1
            workers = server.workers()
            proxy.do("say", answer, on=b"EVAL")
            assert "unexpected reply" in refusal(server, "/hit/new")
            proxy.do("pass")
            assert server.get("/hit/new.json").json["value"] == 2
            assert server.workers() == workers


@pytest.mark.parametrize("answer", [
    b"*0\r\n", b"*1\r\n$1\r\nx\r\n", b"*2\r\n$2\r\nok\r\n:1\r\n",
    b"*2\r\n$2\r\nok\r\n$1\r\nx\r\n", b":1\r\n", b"$-1\r\n"])
def test_an_answer_about_items_that_is_none(store, answer):
    with Proxy(store.server.path) as proxy:
        with Server(store, WORKERS=1, REDIS_HOST="127.0.0.1",
                    REDIS_PORT=proxy.port) as server:
            assert post(server).json["id"] == 1
            proxy.do("say", answer, on=b"EVAL")
            reply = post(server)
            assert reply.status == 503
            assert "unexpected reply about item:id" in reply.json["error"]
            proxy.do("pass")
            assert post(server).json["id"] == 3


# Errors


def test_noauth_and_a_wrong_password(scratch):
    with RedisServer(requirepass="secret") as redis:
        store = RedisStore(scratch, redis)
        with Server(store) as server:
            assert "NOAUTH" in refusal(server)
            assert "NOAUTH" in visitd.health(server, 503).json["error"]
        with Server(store, REDIS_PASSWORD="guess") as server:
            assert "WRONGPASS" in refusal(server)
        with Server(store, REDIS_PASSWORD="secret", WORKERS=1) as server:
            assert server.visit() == 1
            redis.call("CONFIG", "SET", "requirepass", "other")
            redis.options["requirepass"] = "other"
            assert server.visit() == 2, "the connection is in order"
            redis.call("CLIENT", "KILL", "TYPE", "normal")
            assert "WRONGPASS" in refusal(server)
            redis.call("CONFIG", "SET", "requirepass", "secret")
            redis.options["requirepass"] = "secret"
            assert recovered(server) == 3
        for word in ("secret", "guess"):
            assert word not in server.stderr()


def test_visitors_are_told_the_kind_of_fault(own, redis):
    make_user(redis, COMMANDS)
    settings = {"WORKERS": 1, "HEALTH_DETAIL": "", "REDIS_USER": "web"}
    with Server(own, **settings, REDIS_PASSWORD="guess") as server:
        assert refusal(server) == "store unavailable: Redis refused the login"
        assert "REDIS_PASSWORD" in server.stderr()
    redis.call("ACL", "SETUSER", "web", "-eval")
    with Server(own, **settings, REDIS_PASSWORD="secret") as server:
        kind = "Redis does not allow it"
        assert refusal(server) == f"store unavailable: {kind}"
        assert visitd.health(server, 503).json["error"] == kind


def test_a_database_that_there_is_not(store):
    with Server(store, REDIS_DB=99999) as server:
        assert "DB index is out of range" in refusal(server)


def test_readonly(own, redis):
    """A server that became a replica; the next connection may find another."""
    with Server(own) as server:
        assert server.visit() == 1
        redis.call("REPLICAOF", "127.0.0.1", "1")
        assert "READONLY" in refusal(server)
        assert "READONLY" in visitd.health(server, 503).json["error"]
        assert server.get("/visits").number == 1
        redis.call("REPLICAOF", "NO", "ONE")
        assert recovered(server) == 2


def test_out_of_memory(own, redis):
    with Server(own) as server:
        assert server.visit() == 1
        redis.call("CONFIG", "SET", "maxmemory", "1")
        assert "OOM" in refusal(server)
        assert "OOM" in visitd.health(server, 503).json["error"]
        assert server.get("/visits").number == 1
        redis.call("CONFIG", "SET", "maxmemory", "0")
        assert recovered(server) == 2


@pytest.mark.parametrize("words", [
    "LOADING Redis is loading the dataset in memory",
    "MISCONF Redis is configured to save RDB snapshots, but it is currently "
    "unable to persist to disk.",
    "MASTERDOWN Link with MASTER is down",
    "BUSY Redis is busy running a script.",
    "NOPERM this user has no permissions to run the 'incrby' command",
    "CLUSTERDOWN The cluster is down",
])
def test_the_servers_words_are_told(store, words):
    """At once, and asked again with each visit."""
    with Proxy(store.server.path) as proxy:
        with Server(store, WORKERS=1, REDIS_HOST="127.0.0.1",
                    REDIS_PORT=proxy.port) as server:
            assert server.visit() == 1
            proxy.do("say", b"-%s\r\n" % words.encode() * 2,
                     on=b"visit_counter")
            assert words in refusal(server)
            assert words in refusal(server, "/visits")
            proxy.do("pass")
            told = wait_for(lambda: server.get().status == 200)
            assert told and server.visit() == store.total()


def test_loading_at_the_beginning_of_a_connection(store):
    """The probe waits for the end of it."""
    with Proxy(store.server.path) as proxy:
        proxy.do("say", b"-LOADING Redis is loading\r\n" * 6)
        with Server(store, WORKERS=1, REDIS_HOST="127.0.0.1",
                    REDIS_PORT=proxy.port) as server:
            assert "LOADING" in refusal(server)
            proxy.do("pass")
            assert recovered(server) == 1


# Settings


def test_a_password_a_database_and_a_name(scratch):
    port = visitd.Port()
    try:
        with RedisServer(port.number, requirepass="s3cret word") as redis:
            store = RedisStore(scratch, redis)
            with Server(store, REDIS_HOST="localhost", REDIS_PORT=port.number,
                        REDIS_PASSWORD="s3cret word", REDIS_DB=7) as server:
                assert server.visit() == 1
            with redis.client() as client:
                client.call("SELECT", 7)
                assert client.call("GET", HOME) == "1"
    finally:
        port.release()


def test_a_password_in_a_file_that_changes(scratch):
    """A new one is taken up by SIGHUP."""
    secret = scratch / "secret"
    secret.write_text("first\n")
    with RedisServer(requirepass="first") as redis:
        store = RedisStore(scratch, redis)
        with Server(store, REDIS_PASSWORD_FILE=secret) as server:
            assert server.visit() == 1
            redis.call("CONFIG", "SET", "requirepass", "second")
            redis.options["requirepass"] = "second"
            redis.call("CLIENT", "KILL", "TYPE", "normal")
            assert "WRONGPASS" in refusal(server)
            secret.write_text("second\n")
            server.kill(signal.SIGHUP)
            assert recovered(server) == 2


def test_ipv6(store):
    with Proxy(store.server.path, "::1") as proxy:
        with Server(store, REDIS_HOST="::1", REDIS_PORT=proxy.port) as server:
            assert server.visit() == 1
            assert f"[::1]:{proxy.port}" in server.stderr()


def test_a_path_that_is_too_long(store):
    done = command(store, REDIS_HOST="/" + "a" * 200)
    assert done.returncode == 111
    assert "too long" in done.stderr


@pytest.mark.parametrize("name,value", [
    ("REDIS_PORT", "0"), ("REDIS_PORT", "65536"), ("REDIS_PORT", "http"),
    ("REDIS_DB", "-1"), ("REDIS_DB", "a"), ("REDIS_ALLOW_EVICTION", "yes")])
def test_a_bad_setting_is_102(store, name, value):
    done = command(store, **{name: value})
    assert done.returncode == 102
    assert f"{name}={value}" in done.stderr


# Durability


def log_of(store, **settings):
    with Server(store, **settings) as server:
        return server.stderr(), server.get("/health").json


def test_the_log_and_health_name_the_durability(own, redis):
    log, health = log_of(own)
    assert "info: redis at" in log
    assert "appendonly yes, appendfsync no" in log
    assert health == {"status": "ok", "store": "redis",
                      "durability": "appendonly yes, appendfsync no"}
    assert not re.search("warn: .*redis", log)
    with Server(own) as server:
        redis.call("CONFIG", "SET", "appendfsync", "always")
        assert server.get("/health").json["durability"] == (
            "appendonly yes, appendfsync always")


@pytest.mark.parametrize("save,says", [("", "loses every counter"),
                                       ("3600 1", "since its last save")])
def test_a_redis_that_would_lose_data_is_warned_about(scratch, save, says):
    """Once, and not by each worker."""
    with RedisServer(appendonly="no", save=save) as redis:
        log, _ = log_of(RedisStore(scratch, redis), WORKERS=4)
    assert log.count(says) == 1
    assert "--appendonly yes" in log


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu",
                                    "allkeys-random"])
def test_a_redis_that_would_evict_counters_is_refused(scratch, policy):
    with RedisServer(maxmemory_policy=policy) as redis:
        store = RedisStore(scratch, redis)
        done = command(store)
        assert done.returncode == 102
        assert policy in done.stderr
        assert "REDIS_ALLOW_EVICTION=on" in done.stderr
        with Server(store, REDIS_ALLOW_EVICTION="on") as server:
            assert server.visit() == 1


@pytest.mark.parametrize("policy", ["volatile-lru", "noeviction"])
def test_a_policy_that_keeps_counters_is_fine(scratch, policy):
    with RedisServer(maxmemory_policy=policy) as redis:
        with Server(RedisStore(scratch, redis)) as server:
            assert server.visit() == 1


def test_a_policy_that_changes_is_found_by_health(own, redis):
    with Server(own) as server:
        assert server.visit() == 1
        redis.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        assert "allkeys-lru" in visitd.health(server, 503).json["error"]
        redis.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert recovered(server) == 2


def test_config_denied_is_a_warning(scratch):
    with RedisServer() as redis:
        redis.call("ACL", "SETUSER", "default", "-config")
        log, health = log_of(RedisStore(scratch, redis))
    assert log.count("does not let CONFIG be read") == 1
    assert health["durability"].startswith("unknown")


# Sharing


def test_promise_2_two_programs_and_a_setter(store):
    """today is right in both, whoever sets the total."""
    with Server(store, WORKERS=1) as one, Server(store, WORKERS=1) as two:
        for at in range(1, 4):
            assert one.visit() == 2 * at - 1
            assert two.visit() == 2 * at
        assert command(store, "set", "homepage", "1000").returncode == 0
        assert one.visit() == 1001
        assert two.visit() == 1002
        for server in (one, two):
            assert server.get("/visits.json").json["today"] == 8
        assert command(store, "set", "homepage", "3").returncode == 0
        assert two.visit() == 4
        assert one.get("/visits.json").json["today"] == 9


@pytest.mark.slow
def test_promise_2_sets_under_load(store):
    """A set is between two visits: the numbers after it go up from it."""
    with Server(store) as server:
        with Load(server.port, clients=8) as load:
            for goal in range(10**6, 10**7, 10**6):
                visitd.count_on(store, 50)
                assert command(store, "set", "homepage",
                               str(goal)).returncode == 0
            visitd.count_on(store, 50)
            result = load.stop()
        assert len(set(result.numbers)) == len(result.numbers)
        assert not result.backwards
        assert set(result.statuses) == {"200"}
        today = server.get("/visits.json").json["today"]
        assert today == len(result.numbers)
