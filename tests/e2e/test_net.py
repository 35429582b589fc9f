"""Promise 5 over a network: a store whose server, or the way to it, fails in
every way that the proxy knows. Within STORE_TIMEOUT, never a wrong number, and
recovery without a restart."""

import contextlib
import os
import random
import re
import signal
import socket
import threading
import time

import pytest

import visitd
from load import Load
from proxy import Proxy
from visitd import MARGIN, Server, number, recovered, wait_for, within

pytestmark = pytest.mark.store("redis", "postgres")
KIND = visitd.STORES[visitd.STORE]
RESTARTS = int(os.environ.get("RESTARTS", "10"))

TIMEOUT = 1000  # ms, where something hangs
PATIENT = 10 * TIMEOUT


@pytest.fixture(name="proxy")
def proxy_before_the_store(store):
    with Proxy(store.socket()) as made:
        yield made


def through(proxy, store, *, host=None, wrap=(), **settings):
    """A server of one worker that reaches its store through the proxy, which
    it knows by that name."""
    return Server(store, wrap=wrap, **{
        "WORKERS": 1, "STORE_TIMEOUT": PATIENT,
        **store.at(host or proxy.host, proxy.port), **settings})


def refused(server):
    """A visit that gets a 503: gives its error."""
    reply = server.get(headers={"Accept": "application/json"})
    assert reply.status == 503, reply
    assert reply["Retry-After"] == "1"
    assert reply.json["error"].startswith("store unavailable: ")
    return reply.json["error"]


def refused_at_once(server, times=20):
    """So many visits get a 503, and do not wait for the store: together they
    take less than half of the time that each would."""
    timeout = server.settings["STORE_TIMEOUT"] / 1000
    begun = time.monotonic()
    errors = [refused(server) for _ in range(times)]
    taken = time.monotonic() - begun
    assert taken < times * timeout / 2, f"it took {taken:.3f} s"
    return errors


SILENT = [("drip", 0.8), ("hang", None), ("swallow", None),
          ("delay", 2 * TIMEOUT / 1000)]


@pytest.mark.parametrize("what,value", SILENT)
def test_promise_5_one_deadline_then_fast_failure_then_recovery(
        proxy, store, what, value):
    """A byte now and then is no reason to wait on. Who waited in vain once
    does not wait again; /health answers meanwhile."""
    with through(proxy, store, STORE_TIMEOUT=TIMEOUT) as server:
        assert server.visit() == 1
        proxy.do(what, value)
        with within(TIMEOUT / 1000):
            assert f"no answer within {TIMEOUT} ms" in refused(server)
        tries = len(proxy.accepted_at)
        refused_at_once(server)
        health = visitd.health(server, 503)
        assert health.json["status"] == "unavailable"
        assert server.get("/robots.txt").status == 200
        assert len(proxy.accepted_at) - tries < 10, "only a probe asks it"
        proxy.do("pass")
        told = recovered(server)
        assert 2 <= told <= store.total(), "what was given up may count late"
        assert server.visit() > told
        visitd.health(server, 200)


@pytest.mark.parametrize("what,value", SILENT[1:3])
def test_promise_5_a_probe_holds_nobody_up(proxy, store, what, value):
    """It hangs as long as a call would, and is not over when they are told."""
    with through(proxy, store, STORE_TIMEOUT=3 * PATIENT) as server:
        assert server.visit() == 1
        proxy.refuse()
        proxy.end_all()
        refused(server)
        proxy.do(what, value)
        proxy.listen()
        (probe,) = wait_for(lambda: list(proxy.connections), what="a probe")
        for _ in range(5):
            refused(server)
        assert probe in proxy.connections
        proxy.do("pass")
        assert recovered(server) <= store.total()


@pytest.mark.parametrize("what,value", SILENT[:3])
def test_a_connection_that_opens_and_then_is_silent(proxy, store, what,
                                                    value):
    """The probe finds nothing wrong: each time costs a deadline, but there are
    ever fewer of them, 50, 100 ... 800 ms after the last."""
    with through(proxy, store, STORE_TIMEOUT=250) as server:
        recovered(server)
        begun = time.monotonic()
        proxy.do(what, value, on=store.asks)
        tries = len(proxy.accepted_at)
        visits = 0
        while len(proxy.accepted_at) < tries + 5:
            refused(server)
            visits += 1
        assert proxy.accepted_at[tries + 4] - begun > 5 * 0.25 + 1.5
        assert visits > 6, "most of them fail at once"
        proxy.do("pass")
        assert recovered(server) <= store.total()


def test_a_late_reply_is_never_that_of_the_next_call(proxy, store):
    with through(proxy, store, STORE_TIMEOUT=TIMEOUT) as server:
        assert server.visit() == 1
        for _ in range(3):
            before = store.total()
            proxy.do("hang", on=store.asks)
            refused(server)
            # Its answer is held back; it was counted.
            wait_for(lambda: store.total() == before + 1, what="it to count")
            store.add(1000)
            proxy.do("pass")
            assert recovered(server) == store.total()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7, 9, 12])
def test_promise_2_replies_cut_in_the_middle(proxy, store, size):
    """The visit may have counted: it is not sent again. Where the end comes
    behind a whole answer, the next visit may be lost with it, or count."""
    with through(proxy, store) as server:
        told = [server.visit()]
        proxy.do("cut", size, on=store.adds)
        told += [number(server) for _ in range(4)]
        proxy.do("pass")
        while told[-1] is None or len(told) < 6:
            told.append(number(server))
        numbers = [n for n in told if n is not None]
        assert numbers == sorted(set(numbers))
        assert all(n is None or n <= i for i, n in enumerate(told, 1)), told
        assert told[-1] <= store.total() <= len(told)


@pytest.mark.store("redis")
def test_promise_2_what_is_answered_before_the_end_is_told(proxy, store):
    """The reply to INCRBY is there, that about today is not."""
    with through(proxy, store) as server:
        assert server.visit() == 1
        proxy.do("cut", 4, on=store.adds)
        for expected in range(2, 6):
            reply = server.get(headers={"Accept": "application/json"})
            assert reply.json["visits"] == expected
            assert reply.json["today"] == expected


def test_a_reset_instead_of_an_answer(proxy, store):
    with through(proxy, store) as server:
        assert server.visit() == 1
        proxy.do("reset", on=store.adds)
        assert re.search("reset|closed", refused(server).lower())
        proxy.do("pass")
        assert recovered(server) == 3 == store.total()


@pytest.mark.parametrize("reset", [False, True])
def test_an_idle_connection_that_ended_costs_no_visit(proxy, store, reset):
    """The worker notices by itself, and lets go of it."""
    alone = {} if visitd.STORE == "redis" else {"REDIS_HOST": None}
    with through(proxy, store, **alone) as server:
        (worker,) = server.workers()

        def sockets():
            links = []
            for fd in os.listdir(f"/proc/{worker}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    links.append(os.readlink(f"/proc/{worker}/fd/{fd}"))
            return sum("socket" in link for link in links)

        idle = sockets()
        for expected in range(1, 6):
            assert server.visit() == expected
            wait_for(lambda: sockets() == idle + 1, what="one connection")
            proxy.end_all(reset)
            wait_for(lambda: sockets() == idle, what="the socket's end")
        assert store.total() == 5


def test_what_comes_unasked_is_no_answer(proxy, store):
    with through(proxy, store) as server:
        assert server.visit() == 1
        proxy.tell_all(b":1000\r\n")
        assert [server.visit(), server.visit()] == [2, 3]
        proxy.do("add", b":1000\r\n", on=store.adds)
        assert number(server) in (4, None)
        proxy.do("pass")
        assert [server.visit(), server.visit()] == [5, 6]


@pytest.mark.parametrize("text", [
    b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\0", b"$99999999999\r\n",
    b"*-5\r\n", b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
    b"+OK\r\n+OK\r\n", b"$1\r\nx\r\n$1\r\nx\r\n", b"*0\r\n*0\r\n",
    b":-5\r\n$-1\r\n", b"$-1\r\n$-1\r\n",
])
def test_an_answer_that_is_none(proxy, store, text):
    """503 with its words, and no crash; then it is asked again."""
    with through(proxy, store, STORE_TIMEOUT=TIMEOUT) as server:
        assert server.visit() == 1
        workers = server.workers()
        proxy.do("say", text, on=store.adds)
        refused(server)
        proxy.do("pass")
        assert recovered(server) <= store.total()
        assert server.workers() == workers


def test_a_port_where_nobody_listens_any_more(proxy, store):
    with through(proxy, store) as server:
        assert server.visit() == 1
        proxy.refuse()
        proxy.end_all()
        for error in refused_at_once(server):
            assert "Connection refused" in error
        proxy.listen()
        assert recovered(server) == 2 == store.total()


def test_a_server_that_is_not_there_at_start(proxy, store):
    proxy.refuse()
    with through(proxy, store) as server:
        assert "refused" in refused(server)
        visitd.health(server, 503)
        assert "Connection refused" in server.stderr()
        proxy.listen()
        assert recovered(server) == 1


def test_visitors_are_told_the_kind_of_fault(proxy, store):
    """Addresses and names are for the log, unless HEALTH_DETAIL=on."""
    name = {"redis": "Redis", "postgres": "PostgreSQL"}[store.name]
    with through(proxy, store, HEALTH_DETAIL="off",
                 STORE_TIMEOUT=TIMEOUT) as server:
        assert server.visit() == 1
        proxy.refuse()
        proxy.end_all()
        kind = f"{name} cannot be reached"
        assert refused(server) == f"store unavailable: {kind}"
        assert refused(server) == f"store unavailable: {kind}"
        assert visitd.health(server, 503).json["error"] == kind
        assert server.get("/visits").text.endswith(f"{kind}\n")
        proxy.listen()
        recovered(server)
        proxy.do("hang")
        kind = f"{name} does not answer in time"
        assert refused(server) == f"store unavailable: {kind}"
        assert refused(server) == f"store unavailable: {kind}"
        proxy.do("pass")
        recovered(server)
        assert "127.0.0.1" in server.stderr()


def test_a_server_that_hangs_at_start(proxy, store):
    proxy.do("swallow")
    with through(proxy, store, STORE_TIMEOUT=TIMEOUT) as server:
        refused(server)
        proxy.do("pass")
        assert recovered(server) <= store.total()


def test_a_health_check_finds_out_alone(proxy, store):
    """A store without visitors, since its health check failed."""
    with through(proxy, store, STORE_TIMEOUT=TIMEOUT) as server:
        visitd.health(server, 200)
        proxy.do("hang")
        visitd.health(server, 503)
        proxy.do("pass")
        visitd.health(server, 200)


def test_a_slow_store_is_used_all_the_same(proxy, store):
    with through(proxy, store) as server:
        proxy.do("delay", 0.02)
        assert [server.visit() for _ in range(5)] == [1, 2, 3, 4, 5]


def test_a_turn_of_many_counts_once(proxy, store):
    """Ten pipelined visits are one command; the store is asked once."""
    with through(proxy, store) as server:
        server.visit()
        before = proxy.requests
        replies = visitd.in_a_turn(server, [visitd.render()] * 10)
        assert [reply.number for reply in replies] == list(range(2, 12))
        assert proxy.requests == before + 1


@pytest.mark.slow
def test_promise_2_and_5_misbehaviour_at_random_under_load(proxy, store):
    """Every rule in turn, several times: no number twice, none that the store
    has not, and no more in it than was asked for."""
    rules = [("drip", 0.01), ("hang", None), ("swallow", None),
             ("reset", None), ("delay", 0.1), ("delay", 0.4), ("cut", 2),
             ("cut", 30), ("add", b"+OK\r\n"),
             ("say", b"-LOADING Redis is loading\r\n"),
             ("say", b"E\0\0\0\x0fSERROR\0C40001\0\0")]
    chance = random.Random(5)
    with through(proxy, store, WORKERS=2,
                 STORE_TIMEOUT=TIMEOUT) as server:
        with Load(server.port, clients=16) as load:
            for what, value in chance.sample(rules, len(rules)):
                hits = proxy.hits
                proxy.do(what, value,
                         on=chance.choice([b"", store.adds, store.asks]))
                if chance.random() < 0.5:
                    proxy.end_all(reset=chance.random() < 0.5)
                wait_for(lambda n=hits: proxy.hits > n, what=what)
                proxy.do("pass")
                visitd.count_on(store, 50)
            result = load.stop()
        check_exactly(result, store.total())
        assert result.slowest < 2 * 2 * TIMEOUT / 1000 + MARGIN, result
        assert recovered(server) > max(result.numbers)


def check_exactly(result, total):
    """The numbers are distinct, in the store, and what is in it beyond them is
    at most what was not answered, or refused."""
    numbers = result.numbers
    assert len(set(numbers)) == len(numbers), "a number was answered twice"
    assert not result.backwards, result
    assert set(result.statuses) <= {"200", "503"}, result
    assert total >= max(numbers)
    lost = sum(result.errors.values()) + result.statuses["503"]
    assert total - len(numbers) <= lost, result


# PostgreSQL: fast, immediate, none of its processes is asked.
ENDS = {"redis": [signal.SIGTERM, signal.SIGKILL],
        "postgres": [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL]}


@pytest.mark.slow
@pytest.mark.timeout(240 + 10 * RESTARTS)
@pytest.mark.parametrize("number_of_signal", ENDS.get(visitd.STORE, []))
def test_promise_2_the_store_restarted_ten_times_under_load(scratch,
                                                            number_of_signal):
    """With an AOF that is synced before each answer, or PostgreSQL as it is,
    nothing is lost."""
    options = {"appendfsync": "always"} if visitd.STORE == "redis" else {}
    with KIND.server_class(**options) as owner:
        store = KIND(scratch, owner)
        with Server(store, STORE_TIMEOUT=TIMEOUT) as server:
            with Load(server.port, clients=16) as load:
                for _ in range(RESTARTS):
                    visitd.count_on(store, 100)
                    owner.stop(number_of_signal)
                    owner.start()
                visitd.count_on(store, 100)
                result = load.stop()
            check_exactly(result, store.total())
            assert result.slowest < 2 * 2 * TIMEOUT / 1000 + MARGIN, result


def test_a_frozen_server_and_thawed(scratch):
    """It takes connections, for the kernel does; but it says nothing."""
    with KIND.server_class() as owner:
        store = KIND(scratch, owner)
        with Server(store, WORKERS=1, STORE_TIMEOUT=TIMEOUT) as server:
            assert server.visit() == 1
            owner.freeze()
            with within(TIMEOUT / 1000):
                refused(server)
            refused_at_once(server)
            owner.thaw()
            assert 2 <= recovered(server) <= store.total()


# Names


def resolvers(server):
    """The processes that look names up: children of workers."""
    return [child for worker in server.workers()
            for child in visitd.children(worker)]


def test_a_name_is_looked_up_by_a_process_of_its_own(proxy, store):
    with through(proxy, store, host="localhost") as server:
        assert server.visit() == 1
        (resolver,) = resolvers(server)
        os.kill(resolver, signal.SIGKILL)
        wait_for(lambda: visitd.process_state(resolver) == "X",
                 what="it to be buried")
        assert server.visit() == 2
        proxy.end_all()
        assert server.visit() == 3
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)
        os.kill(worker, signal.SIGKILL)
        assert recovered(server) == 4
        wait_for(lambda: len(resolvers(server)) == 1, what="its successor")


def test_a_resolver_ends_with_its_worker(store, proxy):
    with through(proxy, store, host="localhost") as server:
        server.visit()
        (resolver,) = resolvers(server)
        os.kill(server.workers()[0], signal.SIGKILL)
        wait_for(lambda: visitd.process_state(resolver) in "XZ",
                 what="it to end")


def test_a_resolver_does_not_keep_the_port_open(store, proxy):
    with through(proxy, store, host="localhost") as server:
        with server.client() as client:
            client.send(b"GET / HT")
            server.get("/robots.txt")
            server.kill(signal.SIGTERM)
            wait_for(lambda: not server.connectable(), what="refusal")
            client.send(b"TP/1.0\r\n\r\n")
            client.reply()
        server.ended(0)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_number_is_not_looked_up(store, host):
    with Proxy(store.socket(), host) as proxy:
        with through(proxy, store) as server:
            assert server.visit() == 1
            assert not resolvers(server)


def test_a_name_that_does_not_exist(store):
    with Server(store, STORE_TIMEOUT=TIMEOUT,
                **store.at("no-such-host.invalid")) as server:
        error = refused(server)
        where = f"{store.peer} at no-such-host.invalid:{store.standard_port}"
        assert where in error
        assert server.get("/robots.txt").status == 200


class NameServer:
    """On an address of its own: silent, until it speaks; then it knows one
    address for every name."""

    def __init__(self):
        self.address = "127." + ".".join(
            str(random.randrange(1, 255)) for _ in range(3))
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((self.address, 53))
        self.speaks = False
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                question, whence = self.socket.recvfrom(512)
                if self.speaks:
                    self.socket.sendto(self._answer(question), whence)

    @staticmethod
    def _answer(question):
        end = question.index(b"\0", 12) + 5
        is_a = question[end - 4:end - 2] == b"\0\1"
        head = question[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_a else b"\0\0")
        record = (b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4"
                  + socket.inet_aton("127.0.0.1"))
        return (head + b"\0\0\0\0" + question[12:end]
                + (record if is_a else b""))


@pytest.mark.root
def test_promise_5_a_silent_name_server_holds_nobody(proxy, store):
    """getaddrinfo waits for 10 s and more; a worker does not."""
    names = NameServer()
    config = store.root / "resolv.conf"
    config.write_text(f"nameserver {names.address}\n")
    inside = ["unshare", "--mount", "sh", "-c",
              f'mount --bind {config} /etc/resolv.conf && exec "$0"']
    try:
        with through(proxy, store, host="store.example", wrap=inside,
                     STORE_TIMEOUT=TIMEOUT) as server:
            with within(TIMEOUT / 1000):
                assert "cannot find its address" in refused(server)
            refused_at_once(server, 10)
            assert server.get("/robots.txt").status == 200
            names.speaks = True
            wait_for(lambda: number(server), within=30, what="the name")
            names.speaks = False
            assert server.visit() == 2
            proxy.end_all()
            assert server.visit() == 3, "the address is known"
            with within(1):
                server.stop()
    finally:
        names.socket.close()


def test_a_command_gives_up_in_time(proxy, store):
    proxy.do("swallow")
    with within(TIMEOUT / 1000 + 0.3):
        done = visitd.command(store, "get", STORE_TIMEOUT=TIMEOUT,
                              **store.at("127.0.0.1", proxy.port))
    assert done.returncode == 111
    assert f"within {TIMEOUT} ms" in done.stderr


def test_a_command_looks_names_up(proxy, store):
    """Its output ends with it: nobody is left who holds the pipe."""
    done = visitd.command(store, "get", within=5,
                          **store.at("localhost", proxy.port))
    assert (done.returncode, done.stdout) == (0, "0\n"), done
