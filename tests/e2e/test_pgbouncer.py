"""PostgreSQL behind a pooler: nothing in a session may be assumed to stay."""

import contextlib
import json

import psycopg2
import pytest

from load import TOKEN, Load
from pgbouncer_server import PgBouncer
from postgres_server import USER
from visitd import (PostgresStore, Server, count_on, recovered, refusal,
                    wait_for)

pytestmark = pytest.mark.store("postgres")

MODES = ["session", "transaction", "statement"]
JSON = {"Content-Type": "application/json"}
ADMIN = {**JSON, "Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(name="store")
def store_without_cache(scratch):
    with PostgresStore(scratch, cache=None) as made:
        yield made


@pytest.fixture(name="pooler", params=MODES)
def pooler_of_each_mode(request, store):
    with PgBouncer(store.server, request.param) as made:
        yield made


def test_everything_works(store, pooler):
    with Server(store, ADMIN_TOKEN=TOKEN, **pooler.settings()) as server:
        for expected in range(1, 6):
            assert server.visit() == expected
            assert server.get("/visits").number == expected
            assert server.get("/hit/a").number == expected
            assert server.get("/health").json == {
                "status": "ok", "store": "postgres",
                "durability": "synchronous_commit on"}
        assert server.request("PUT", "/visits/a", ADMIN,
                              b'{"value": 50}').status == 200
        assert server.get("/hit/a").number == 51
        assert server.request("DELETE", "/visits/a", ADMIN).status == 204
        assert server.get("/visits/a").status == 404
        for expected in (1, 2):
            made = server.request(
                "POST", "/items", JSON,
                json.dumps({"name": "Docker", "description": None}).encode())
            assert made.json["id"] == expected
            assert server.get(f"/items/{expected}").json == made.json
        assert "prepared" not in server.stderr()
        assert "startup" not in server.stderr()


def test_promise_2_more_workers_than_places(store, pooler):
    """Each of them comes to its turn."""
    with Server(store, WORKERS=4, **pooler.settings()) as server:
        with Load(server.port, clients=16, depth=4, requests=100,
                  names=5) as load:
            result = load.wait()
        assert set(result.statuses) == {"200"}, (result, server.stderr())
        assert len(set(map(str, result.numbers))) == 1600
        assert store.call("SELECT sum(visits)::int8 FROM visit_counter") == [
            (1600,)]


def test_promise_2_a_pooler_that_starts_again(store, pooler):
    with Server(store, WORKERS=4, **pooler.settings()) as server:
        with Load(server.port, clients=8) as load:
            for _ in range(3):
                count_on(store, 50)
                pooler.stop()
                refusal(server)
                pooler.start()
                recovered(server)
            count_on(store, 50)
            result = load.stop()
        assert set(result.statuses) <= {"200", "503"}
        assert len(set(result.numbers)) == len(result.numbers)
        lost = result.statuses["503"] + 3
        assert store.total() >= len(result.numbers)
        assert store.total() - len(result.numbers) <= lost + 3


def test_a_session_that_somebody_else_has_used(store, pooler):
    """Its statements are not ours, its level is not what ours would be."""
    store.server.call(f"ALTER DATABASE {store.database}"
                      " SET default_transaction_isolation = serializable")
    with Server(store, WORKERS=1, **pooler.settings()) as server:
        assert server.visit() == 1
        for expected in (2, 3, 4):
            other = psycopg2.connect(host=str(pooler.folder), user=USER,
                                     port=pooler.port, dbname=store.database)
            other.autocommit = True
            with contextlib.closing(other), other.cursor() as cursor:
                cursor.execute("PREPARE p AS SELECT 1")
                cursor.execute("PREPARE visitd_0 AS SELECT 1")
                assert server.visit() == expected
                cursor.execute("DEALLOCATE ALL")


def test_what_nobody_waits_for_any_more_ends(store, pooler):
    with Server(store, WORKERS=1, STORE_TIMEOUT=1000,
                **pooler.settings()) as server:
        assert server.visit() == 1
        with contextlib.closing(store.server.connect(store.database)) as other:
            other.autocommit = False
            with other.cursor() as cursor:
                cursor.execute("SELECT FROM visit_counter FOR UPDATE")
                refusal(server)
                wait_for(lambda: not store.server.call(
                    "SELECT 1 FROM pg_locks WHERE NOT granted"))
        assert recovered(server) >= 2
