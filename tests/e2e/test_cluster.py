"""A Redis Cluster of three real nodes: every slot is found, and what happens
to slots while visits are counted costs no number."""

import contextlib
import re

import pytest

import visitd
from load import Load
from proxy import Proxy
from redis_server import RedisError, RedisServer
from visitd import RedisStore, Server, command, wait_for

pytestmark = [pytest.mark.store("redis"), pytest.mark.slow]

SLOTS = 16384
HOME = "visit_counter:homepage"
HISTORY = "visit_history:{visit_counter:homepage}"
NAMES = [f"page/{i}" for i in range(40)]


class Cluster:
    """Three nodes, each with a third of the slots."""

    def __init__(self, **options):
        self.ports = [visitd.Port() for _ in range(6)]
        self.nodes = [RedisServer(
            self.ports[i].number, cluster_enabled="yes",
            cluster_port=self.ports[i + 3].number, databases=1,
            cluster_node_timeout=1000,
            cluster_require_full_coverage="no", **options)
            for i in range(3)]

    def __enter__(self):
        try:
            for node in self.nodes:
                node.start()
            self._join()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        for node in self.nodes:
            node.remove()
        for port in self.ports:
            port.release()

    def _join(self):
        third = SLOTS // 3
        ends = [0, third, 2 * third, SLOTS]
        for i, node in enumerate(self.nodes):
            node.call("CLUSTER", "ADDSLOTSRANGE", ends[i], ends[i + 1] - 1)
            node.call("CONFIG", "SET", "cluster-announce-ip", "127.0.0.1")
        for i, node in enumerate(self.nodes[1:], 1):
            node.call("CLUSTER", "MEET", "127.0.0.1",
                      self.nodes[0].port, self.ports[3].number)
        wait_for(self.is_well, within=30, what="the cluster")

    def is_well(self):
        return all(f"cluster_known_nodes:{len(self.nodes)}" in info
                   and "cluster_slots_ok:16384" in info
                   and "cluster_state:ok" in info
                   for info in (node.call("CLUSTER", "INFO")
                                for node in self.nodes))

    def owner(self, key):
        """The node that has a key, by asking all of them."""
        for node in self.nodes:
            with contextlib.suppress(RedisError, OSError):
                node.call("EXISTS", key)
                return node
        raise AssertionError(f"nobody has {key}")

    def call(self, *words):
        """A command, at the node that has its first key."""
        return self.owner(words[1]).call(*words)

    def keys(self):
        return sorted(key for node in self.nodes for key in
                      node.call("KEYS", "*"))


class ClusterStore(RedisStore):
    """The store in it; each server finds it by the first node."""

    def __init__(self, root, cluster):
        super().__init__(root, cluster.nodes[0])
        self.cluster = cluster

    def settings(self):
        return {"DATA_DIR": str(self.root), "REDIS_HOST": "127.0.0.1",
                "REDIS_PORT": self.cluster.nodes[0].port}

    def call(self, *words):
        return self.cluster.call(*words)


@pytest.fixture(scope="module", name="cluster")
def one_cluster():
    with Cluster() as made:
        yield made


@pytest.fixture(name="store")
def store_in_cluster(scratch, cluster):
    for node in cluster.nodes:
        node.call("FLUSHALL")
    return ClusterStore(scratch, cluster)


def post_in_a_turn(server, names):
    """An item of each name, all in one turn of a server with one worker."""
    return visitd.in_a_turn(server, [
        visitd.render("POST", "/items", {"Content-Type": "application/json"},
                      b'{"name":"%s"}' % name.encode()) for name in names])


def value(server, name, endpoint="hit"):
    reply = server.get(f"/{endpoint}/{name}",
                       headers={"Accept": "application/json"})
    assert reply.status == 200, reply
    return reply.json["value"]


def test_counters_of_every_slot(store, cluster):
    with Server(store) as server:
        for expected in range(1, 4):
            assert server.visit() == expected
            for name in NAMES:
                assert value(server, name) == expected
        for name in NAMES:
            assert value(server, name, "visits") == 3
        assert server.get("/visits/nobody").status == 404
        visitd.health(server, 200)
    for node in cluster.nodes:
        assert len(node.call("KEYS", "visit_counter:*")) > 5
    export = command(store, "export").stdout.splitlines()
    assert sorted(export) == sorted([f"3 {name}" for name in NAMES]
                                    + ["3 homepage"])


def test_one_turn_over_all_nodes(store):
    with Server(store, WORKERS=1) as server, server.client() as client:
        for expected in (1, 2):
            client.send(b"".join(visitd.render("GET", f"/hit/{name}.json")
                                 for name in NAMES))
            for _ in NAMES:
                assert client.reply().json["value"] == expected


def test_max_counters_is_exact_here_too(store):
    token = {"Authorization": "Bearer token"}
    with Server(store, MAX_COUNTERS=3, ADMIN_TOKEN="token") as server:
        told = [server.get(f"/hit/{name}").status for name in NAMES[:8]]
        assert sorted(told) == [200] * 3 + [507] * 5
        assert server.visit() == 1
        assert value(server, NAMES[0]) == 2
        assert server.request("DELETE", f"/visits/{NAMES[0]}",
                              token).status in (200, 204)
        assert server.get(f"/visits/{NAMES[0]}").status == 404
        assert value(server, NAMES[7]) == 1
        assert server.get(f"/hit/{NAMES[0]}").status == 507
    assert sorted(store.call("SMEMBERS", "visit_counters")) == sorted(
        [NAMES[1], NAMES[2], NAMES[7]])


def test_commands(store):
    assert command(store, "set", "a/b", "41").returncode == 0
    assert command(store, "set", "homepage", "7").returncode == 0
    assert command(store, "get", "a/b").stdout == "41\n"
    assert command(store, "export").stdout.splitlines() == [
        "7 homepage", "41 a/b"]


def test_items(store):
    with Server(store, MAX_ITEMS=10) as server:
        for number in range(1, 13):
            reply = server.request(
                "POST", "/items", {"Content-Type": "application/json"},
                b'{"name":"%d"}' % number)
            assert reply.status == (201 if number <= 10 else 507), reply
        for number in range(1, 11):
            item = server.get(f"/items/{number}").json
            assert item == {"id": number, "name": str(number),
                            "description": None}
        assert server.get("/items/11").status == 404


def stat(cluster, section, name):
    """A number that each node counts, of all of them."""
    texts = [node.call("INFO", section) for node in cluster.nodes]
    return sum(int(number) for text in texts
               for number in re.findall(rf"^{name}(\d+)", text, re.M))


def reads(cluster):
    """How often the nodes have read from a client."""
    return stat(cluster, "stats", "total_reads_processed:")


def calls(cluster, command_name):
    return stat(cluster, "commandstats", f"cmdstat_{command_name}:calls=")


def test_the_new_items_of_a_turn_are_made_together(store, cluster):
    """All ids by one script; then all items, at once on every node."""
    with Server(store, WORKERS=1, MAX_ITEMS=45) as server:
        assert server.get("/items/1").status == 404
        for node in cluster.nodes:
            node.call("CONFIG", "RESETSTAT")
        before = reads(cluster)
        names = [f"item {i}" for i in range(40)]
        replies = post_in_a_turn(server, names)
        assert reads(cluster) - before < 20
        assert [(reply.status, reply.json["id"], reply.json["name"])
                for reply in replies] == [
            (201, i, name) for i, name in enumerate(names, 1)]
        assert (calls(cluster, "eval"), calls(cluster, "set")) == (1, 40)
        for number in (1, 23, 40):
            assert server.get(f"/items/{number}").json["name"] == (
                f"item {number - 1}")
        statuses = [reply.status for reply in
                    post_in_a_turn(server, "abcdefgh")]
        assert statuses == [201] * 5 + [507] * 3


def test_an_item_is_never_overwritten_here_either(store):
    """Somebody has reset the last id: those that meet an old item get further
    ids, all of them in one round."""
    with Server(store, WORKERS=1) as server:
        assert len(post_in_a_turn(server, "abcdef")) == 6
        store.call("SET", "item:id", 4)
        replies = post_in_a_turn(server, "ghij")
        assert [reply.json["id"] for reply in replies] == [9, 10, 7, 8]
        for number, name in enumerate("abcdefijgh", 1):
            assert server.get(f"/items/{number}").json["name"] == name


def test_a_node_that_cannot_be_opened_leaves_the_table(scratch):
    """It is full of nodes that are down, and the place of one of them is given
    to an address that none can be opened at."""
    port = visitd.Port()
    with contextlib.ExitStack() as stack:
        stack.callback(port.release)
        redis = stack.enter_context(RedisServer())
        proxy = stack.enter_context(Proxy(redis.path))
        other = stack.enter_context(Proxy(redis.path))

        def move(address):
            """Whoever asks is sent there; but for the slot of another key, so
            that the next one asks here again."""
            proxy.do("say", f"-MOVED 0 {address}\r\n".encode() * 2,
                     on=b"visit_counter")

        server = stack.enter_context(Server(
            RedisStore(scratch, redis), WORKERS=1, REDIS_HOST="127.0.0.1",
            REDIS_PORT=proxy.port, STORE_TIMEOUT=10000))
        assert server.visit() == 1
        workers = server.workers()
        for i in range(1, 40):
            move(f"127.0.1.{i}:{port.number}")
            assert f"127.0.1.{i}:{port.number}: Connection refused" in (
                visitd.refusal(server))
        nowhere = "/" + "x" * 150 + ":1"
        move(nowhere)
        for _ in range(3):
            assert f"MOVED 0 {nowhere}" in visitd.refusal(server)
        move(f"127.0.0.1:{other.port}")
        told = server.visit()
        assert told == int(redis.call("GET", HOME))
        proxy.do("pass")
        assert server.visit() == told + 1
        assert server.workers() == workers


def check_exactly(result, total):
    numbers = result.numbers
    assert len(set(numbers)) == len(numbers), "a number was answered twice"
    assert not result.backwards and not result.errors, result
    assert set(result.statuses) <= {"200", "503"}
    assert 0 <= total - len(numbers) <= result.statuses["503"], result


def test_promise_2_a_slot_that_moves_while_visits_are_counted(store, cluster):
    """There and back: ASK for each key that has gone, MOVED at the end."""
    slot = cluster.nodes[0].call("CLUSTER", "KEYSLOT", HOME)
    with Server(store) as server:
        with Load(server.port, clients=8) as load:
            for _ in range(6):
                visitd.count_on(store, 100)
                move(store, cluster, slot)
            visitd.count_on(store, 100)
            result = load.stop()
        check_exactly(result, store.total())
        assert result.statuses["503"] == 0, result
        assert server.get("/visits.json").json["today"] == store.total()


def move(store, cluster, slot):
    """Move a slot to another node, key by key."""
    here = cluster.owner(HOME)
    there = next(node for node in cluster.nodes if node is not here)
    ids = {node: node.call("CLUSTER", "MYID") for node in (here, there)}
    there.call("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[here])
    here.call("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[there])
    for key in (HOME, HISTORY):
        here.call("MIGRATE", "127.0.0.1", there.port, key, 0, 5000)
        count_somewhere(cluster)
    for node in (there, here, *cluster.nodes):
        node.call("CLUSTER", "SETSLOT", slot, "NODE", ids[there])
    visitd.count_on(store, 50)


def count_somewhere(cluster):
    """Wait until visits are counted at whoever has the key now."""

    def total():
        for node in cluster.nodes:
            with node.client() as client:
                with contextlib.suppress(RedisError):
                    client.call("ASKING")
                    text = client.call("GET", HOME)
                    if text:
                        return int(text)
        return 0

    goal = total() + 50
    wait_for(lambda: total() >= goal, what="visits")


def test_promise_5_a_node_that_dies_takes_its_own_slots_alone(scratch):
    with Cluster() as cluster:
        store = ClusterStore(scratch, cluster)
        with Server(store, STORE_TIMEOUT=5000) as server:
            for name in NAMES:
                assert value(server, name) == 1
            index = cluster.owner("visit_counters")
            victim = next(node for node in cluster.nodes
                          if node is not index
                          and node is not cluster.nodes[0])
            lost = {name for name in NAMES
                    if victim is cluster.owner(f"visit_counter:{name}")}
            assert 0 < len(lost) < len(NAMES)
            victim.stop()
            for _ in range(3):
                for name in NAMES:
                    status = server.get(f"/hit/{name}").status
                    assert status == (503 if name in lost else 200), name
            victim.start()
            wait_for(lambda: all(server.get(f"/visits/{name}").status == 200
                                 for name in lost), within=30, what="it")
            for name in NAMES:
                assert value(server, name) == (2 if name in lost else 5)


def test_the_first_node_is_needed_at_the_start_alone(scratch):
    """Others know the way, too."""
    with Cluster() as cluster:
        store = ClusterStore(scratch, cluster)
        with Server(store, WORKERS=1, STORE_TIMEOUT=5000) as server:
            for name in NAMES:
                assert value(server, name) == 1
            first = cluster.nodes[0]
            left = [name for name in NAMES if first is not
                    cluster.owner(f"visit_counter:{name}")]
            first.stop()
            for name in left:
                assert value(server, name) == 2
            first.start()
            wait_for(lambda: server.get(f"/hit/{NAMES[0]}").status == 200,
                     within=30, what="the first node")


def test_a_master_that_dies_is_followed_by_its_replica(scratch):
    """What had not reached the replica is lost: that is Redis's promise."""
    with Cluster(cluster_replica_validity_factor=0) as cluster:
        store = ClusterStore(scratch, cluster)
        ports = [visitd.Port(), visitd.Port()]
        replica = RedisServer(
            ports[0].number, cluster_enabled="yes", databases=1,
            cluster_port=ports[1].number, cluster_node_timeout=1000,
            cluster_require_full_coverage="no")
        try:
            replica.start()
            replica.call("CLUSTER", "MEET", "127.0.0.1",
                         cluster.nodes[0].port, cluster.ports[3].number)
            master = cluster.owner(HOME)
            name = master.call("CLUSTER", "MYID")
            wait_for(lambda: name in replica.call("CLUSTER", "NODES"),
                     what="the replica to know its master")
            wait_for(lambda: follow(replica, name), what="it")
            wait_for(lambda: "master_link_status:up" in replica.call(
                "INFO", "replication"), what="the link")
            with Server(store, STORE_TIMEOUT=5000) as server:
                assert server.visit() == 1
                wait_for(lambda: re.search(
                    r"slave0:.*state=online", master.call(
                        "INFO", "replication")), what="it to be online")
                # WAIT would be about what its own connection has written.
                with replica.client() as client:
                    client.call("READONLY")
                    wait_for(lambda: client.call("GET", HOME) == "1",
                             what="the visit to reach the replica")
                master.stop(9)

                def answer():
                    reply = server.get()
                    return reply.status == 200 and reply.number

                # A visit whose answer is a 503 may have been counted.
                number = wait_for(answer, what="the replica to take over")
                assert number >= 2
                assert "role:master" in replica.call("INFO", "replication")
                with replica.client() as client:
                    assert client.call("GET", HOME) == str(number)
        finally:
            replica.remove()
            for port in ports:
                port.release()


def follow(replica, name):
    try:
        return replica.call("CLUSTER", "REPLICATE", name)
    except RedisError:
        return None
