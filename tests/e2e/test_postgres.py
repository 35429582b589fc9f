"""What is PostgreSQL's own: its tables, its errors, its settings."""

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import threading

import psycopg2
import pytest

import visitd
from load import TOKEN, Load
from postgres_server import USER, PostgresServer
from proxy import Proxy
from visitd import (MAX, PostgresStore, Server, command, number, recovered,
                    refusal, render, wait_for)

pytestmark = pytest.mark.store("postgres")

JSON = {"Content-Type": "application/json"}
ADMIN = {**JSON, "Authorization": f"Bearer {TOKEN}"}
OWN_ITEMS = ("CREATE TABLE items (id SERIAL PRIMARY KEY, name TEXT NOT NULL,"
             " description TEXT)")
INT4 = 2**31 - 1


@pytest.fixture(name="store")
def store_without_cache(scratch):
    """What these tests change behind the program's back is seen at once."""
    with PostgresStore(scratch, cache=None) as made:
        yield made


ROLES = itertools.count()


@pytest.fixture(name="role")
def own_role(store):
    """One that may log in, and nothing else."""
    name = f"role{next(ROLES)}"
    store.server.call(f"CREATE ROLE {name} LOGIN")
    return name


def make_item(server, name="Docker", description="Compose test"):
    return server.request(
        "POST", "/items", JSON,
        json.dumps({"name": name, "description": description}).encode())


def put(server, name, value):
    return server.request("PUT", f"/visits/{name}", ADMIN,
                          b'{"value": %d}' % value)


def tables(store):
    return [name for name, in store.call(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        " ORDER BY 1")]


def rows(store):
    return store.call("SELECT * FROM visit_counter ORDER BY name")


@contextlib.contextmanager
def session(store):
    """A connection whose transaction is somebody else's."""
    connection = store.server.connect(store.database)
    connection.autocommit = False
    try:
        yield connection.cursor()
    finally:
        connection.close()


def kill_sessions(store):
    store.call("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
               " WHERE datname = current_database()"
               " AND pid <> pg_backend_pid()")


# Tables


def test_the_table_is_that_of_the_contract(server, store):
    """As psql shows it to an operator."""
    for _ in range(3):
        server.visit()
    done = subprocess.run(
        ["psql", "-X", "-h", store.server.folder, "-U", USER, "-d",
         store.database, "-c", "SELECT * FROM visit_counter;"],
        capture_output=True, text=True, check=True)
    assert done.stdout == ("   name   | visits \n"
                           "----------+--------\n"
                           " homepage |      3\n"
                           "(1 row)\n\n")
    assert make_item(server).json == {
        "id": 1, "name": "Docker", "description": "Compose test"}
    assert store.call("SELECT * FROM items") == [
        (1, "Docker", "Compose test")]
    assert tables(store) == ["items", "visit_counter", "visit_history"]


def test_reads_create_nothing(server, store):
    """But for the first look, which is the visit's own call, without one."""
    made = ["visit_counter", "visit_history"]
    assert tables(store) == made
    assert rows(store) == [("homepage", 0)]
    store.call("DROP TABLE visit_counter, visit_history")
    for target in ("/visits", "/items/1", "/items/0", "/visits/a"):
        server.get(target)
    server.request("HEAD", "/")
    for words in (["get"], ["export"]):
        assert command(store, *words).returncode == 0
    assert tables(store) == []
    visitd.health(server, 200)
    assert tables(store) == made
    store.call("DROP TABLE visit_counter, visit_history")
    store.call("CREATE TABLE visit_counter"
               " (name text PRIMARY KEY, visits int8 NOT NULL)")
    store.call("INSERT INTO visit_counter VALUES ('homepage', 41)")
    assert server.get("/visits").number == 41
    assert server.get("/visits.json").json["today"] == 0
    assert tables(store) == ["visit_counter"]
    assert server.visit() == 42


def test_the_items_of_others_before_and_after(server, store):
    """The command of the items API's README, and rows that it makes."""
    server.visit()
    store.call(OWN_ITEMS)
    store.call("INSERT INTO items (name) VALUES ('by hand')")
    assert server.get("/items/1").json == {
        "id": 1, "name": "by hand", "description": None}
    assert make_item(server).json["id"] == 2
    store.call("INSERT INTO items (name, description) VALUES ('c', 'd')")
    assert server.get("/items/3").json == {
        "id": 3, "name": "c", "description": "d"}


def test_items_of_odd_kinds(server, store):
    """What does not fit is 503, as this one item; nothing is fetched that is
    too long."""
    store.call(OWN_ITEMS)
    store.call("INSERT INTO items (name, description) VALUES"
               " ('a', repeat('x', 100000000)), (repeat('n', 10200), NULL),"
               " (repeat('n', 10201), NULL), ('', ''), ('\"', E'\\x01')")
    assert "too long" in refusal(server, "/items/1")
    assert len(server.get("/items/2").json["name"]) == 10200
    assert "too long" in refusal(server, "/items/3")
    assert server.get("/items/4").json["name"] == ""
    assert server.get("/items/5").json["description"] == "\x01"
    for target in (f"/items/{INT4}", f"/items/{INT4 + 1}", f"/items/{MAX}"):
        assert server.get(target).status == 404


def test_u_0000_is_400(server, store):
    for body in (b'{"name":"a\\u0000b"}',
                 b'{"name":"a","description":"\\u0000"}'):
        reply = server.request("POST", "/items", JSON, body)
        assert reply.status == 400
        assert "U+0000" in reply.json["error"]
    assert "items" not in tables(store)


def test_an_encoding_that_lacks_letters(store):
    """A name or an item that it cannot hold is a 400 of its own."""
    store.server.call("DROP DATABASE IF EXISTS latin")
    store.server.call("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C'"
                      " TEMPLATE template0")
    with Server(store, DB_NAME="latin", WORKERS=1,
                ADMIN_TOKEN=TOKEN) as server:
        assert "LATIN1, and not UTF8" in server.stderr()
        far, near = "/hit/%E8%AF%BB", "/hit/%C3%BC"
        replies = visitd.in_a_turn(server, [
            render(target=target) for target in
            ("/hit/a", far, near, "/", "/visits/%E8%AF%BB", "/hit/a")])
        assert [reply.status for reply in replies] == [
            200, 400, 200, 200, 404, 200]
        assert "LATIN1" in replies[1].text
        assert replies[5].number == 2
        assert server.get("/visits/%C3%BC").number == 1
        assert put(server, "%E8%AF%BB", 5).status == 400
        assert put(server, "%C3%BC", 5).status == 200
        assert server.request("DELETE", "/visits/%E8%AF%BB",
                              ADMIN).status == 404
        replies = visitd.in_a_turn(server, [
            render("POST", "/items", JSON, b'{"name":"%s"}' % name.encode())
            for name in ("a", "\u8bfb", "\u00fc")])
        assert [reply.status for reply in replies] == [201, 400, 201]
        assert make_item(server, "\u8bfb").status == 400
        assert make_item(server, "a", "\u8bfb").status == 400
        visitd.health(server, 200)
        assert "error" not in server.stderr()


@pytest.mark.parametrize("column", ["integer", "int4 NOT NULL", "bigint"])
def test_a_counter_that_is_full_is_so_alone(store, column):
    most = MAX if column == "bigint" else INT4
    store.call(f"CREATE TABLE visit_counter (id serial, name varchar(120)"
               f" UNIQUE, visits {column})")
    with Server(store, ADMIN_TOKEN=TOKEN) as server:
        assert server.visit() == 1
        assert put(server, "a", most - 1).status == 200
        with server.client() as client:
            client.send(visitd.render(target="/hit/a.json") +
                        visitd.render() * 2)
            assert client.reply().json["value"] == most
            assert [client.reply().number for _ in range(2)] == [2, 3]
            for expected in (4, 5):
                client.send(visitd.render(target="/hit/a") + visitd.render())
                full, home = client.reply(), client.reply()
                assert (full.status, home.number) == (503, expected)
                assert "counter is full" in full.text
        assert server.get("/visits/a").number == most
        visitd.health(server, 200)


def test_a_table_that_became_smaller(store):
    """Rows that do not fit any more fail alone."""
    with Server(store, WORKERS=1) as server:
        for expected in (1, 2):
            assert server.visit() == expected
        assert server.get("/hit/a").number == 1
        store.call("ALTER TABLE visit_counter ALTER visits TYPE int4")
        store.call("UPDATE visit_counter SET visits = %s WHERE name = 'a'",
                   INT4)
        with server.client() as client:
            client.send(visitd.render(target="/hit/a") + visitd.render())
            assert [client.reply().status for _ in range(2)] == [503, 200]
        assert server.visit() == 4
        store.call("ALTER TABLE visit_counter ALTER visits TYPE int8")
        assert server.visit() == 5
        assert server.get("/hit/a").number == INT4 + 1


def test_a_row_that_the_table_refuses_fails_alone(store):
    store.call("CREATE TABLE visit_counter (name varchar(10) PRIMARY KEY,"
               " visits int CHECK (visits < 3))")
    with Server(store) as server:
        with server.client() as client:
            for expected in (1, 2):
                client.send(visitd.render(target="/hit/12345678901") +
                            visitd.render(target="/hit/a.json") +
                            visitd.render(target="/visits"))
                assert client.reply().status == 503
                assert client.reply().json["value"] == expected
                assert client.reply().status == 200
        assert "check" in refusal(server, "/hit/a")
        assert server.visit() == 1
    assert "the store works again" not in server.stderr()


BAD_TABLES = ["name text, visits int8", "name text UNIQUE, visits text",
              "name text PRIMARY KEY, visits numeric",
              "name text PRIMARY KEY, visits int2",
              "name text PRIMARY KEY", "visits int8", "id int PRIMARY KEY",
              "name text, visits int8, PRIMARY KEY (name, visits)"]


@pytest.mark.parametrize("columns", BAD_TABLES)
def test_a_table_that_does_not_fit_is_503_with_advice(store, columns):
    store.call(f"CREATE TABLE visit_counter ({columns})")
    with Server(store) as server:
        for target in ("/", "/visits", "/hit/a", "/health"):
            error = refusal(server, target)
            assert "visit_counter" in error
            assert "name text PRIMARY KEY, visits int8 NOT NULL" in error
        for words in (["export"], ["get"], ["set", "homepage", "1"]):
            assert command(store, *words).returncode == 111
        assert make_item(server).status == 201
        assert server.get("/items/1").status == 200
        store.call("DROP TABLE visit_counter")
        assert server.visit() == 1


def test_a_table_that_is_mended(store):
    store.call("CREATE TABLE visit_counter (name text, visits int8)")
    store.call("INSERT INTO visit_counter VALUES ('homepage', 41)")
    with Server(store) as server:
        refusal(server)
        store.call("ALTER TABLE visit_counter ADD UNIQUE (name)")
        assert server.visit() == 42


def test_tables_that_are_dropped_heal(server, store):
    for at, table in enumerate(["visit_counter", "visit_history",
                                "visit_counter, visit_history"]):
        server.visit()
        server.get("/hit/a")
        server.get("/hit/a")
        store.call(f"DROP TABLE {table}")
        assert server.get("/visits").number == (0 if at != 1 else 2), table
        gone = server.request("DELETE", "/visits/b")
        assert gone.status == 403
        assert server.visit() == (1 if at != 1 else 3)
        visitd.health(server, 200)
    make_item(server)
    store.call("DROP TABLE items")
    assert server.get("/items/1").status == 404
    assert make_item(server).json["id"] == 1


def test_promise_4_totals_that_none_has_counted(store):
    """NULL is none yet; what is below zero is never answered."""
    store.call("CREATE TABLE visit_counter (name text UNIQUE, visits int8)")
    store.call("INSERT INTO visit_counter VALUES ('homepage', -5),"
               " ('null', NULL), ('a', 7)")
    with Server(store, ADMIN_TOKEN=TOKEN) as server:
        for target in ("/", "/visits"):
            assert "below zero" in refusal(server, target)
        assert server.get("/visits/null").number == 0
        assert server.get("/hit/null").number == 1
        assert server.get("/hit/a").number == 8
        done = command(store, "export")
        assert done.returncode != 0 and "below zero" in done.stderr
        assert store.total() == -5
        assert put(server, "homepage", 41).status == 200
        assert server.visit() == 42


def test_names_that_are_none_stay_out_of_an_export(store):
    """Somebody else's rows: they are told of, and stay."""
    store.call("CREATE TABLE visit_counter (name text UNIQUE, visits int8)")
    store.call("INSERT INTO visit_counter VALUES ('a b', 1), (NULL, 2),"
               " ('a//b', 3), ('ok', 4), ('', 5), (%s, 6), (E'a\\nb', 7)",
               "n" * 101)
    done = command(store, "export")
    assert done.returncode == 0, done
    assert done.stdout == "4 ok\n"
    assert "a//b" in done.stderr
    again = command(store, "import", stdin=done.stdout)
    assert again.returncode == 0
    assert store.call("SELECT count(*) FROM visit_counter") == [(7,)]


# Days


def test_old_days_are_dropped(store):
    with Server(store) as server:
        server.visit()
        server.get("/hit/a")
    store.call("TRUNCATE visit_history")
    store.call("INSERT INTO visit_history SELECT n, date %s - i, 100 - i"
               " FROM generate_series(1, 450) i, unnest('{homepage,a}'::text[])"
               " n", visitd.day())
    store.call("UPDATE visit_counter SET visits = 100")
    with Server(store) as server:
        assert server.visit() == 101
        assert server.get("/visits.json").json["today"] == 1
    days = [day.isoformat() for day, in store.call(
        "SELECT day FROM visit_history WHERE name = 'homepage' ORDER BY 1")]
    assert 366 < len(days) < 410
    assert days == [visitd.day(ago) for ago in range(len(days) - 1, -1, -1)]
    assert store.call("SELECT count(*) FROM visit_history"
                      " WHERE name = 'a'") == [(450,)]
    with Server(store) as server:
        server.get("/hit/a")
    assert store.call("SELECT count(*), min(day)::text FROM visit_history"
                      " WHERE name = 'a'") == [(41, visitd.day(40))]


def test_a_base_above_the_total_is_no_day_below_zero(server, store):
    server.visit()
    store.call("UPDATE visit_history SET base = 1000")
    assert server.get("/visits.json").json["today"] == 0
    store.call("UPDATE visit_history SET base = %s", -MAX)
    assert server.visit() == 2
    assert server.get("/visits.json").json["today"] == MAX


# Errors, and recovery from them


def test_a_database_that_is_dropped_and_made_again(store):
    with Server(store) as server:
        server.visit()
        kill_sessions(store)
        store.server.call(f"DROP DATABASE {store.database} WITH (FORCE)")
        assert "does not exist" in wait_for(
            lambda: server.get().status == 503 and refusal(server))
        assert "does not exist" in visitd.health(server, 503).json["error"]
        store.server.call(f"CREATE DATABASE {store.database}")
        assert recovered(server) == 1


@pytest.mark.parametrize("settings,says", [
    ({"DB_NAME": "nowhere"}, 'database "nowhere" does not exist'),
    ({"DB_USER": "nobody"}, 'role "nobody" does not exist'),
    ({"DB_HOST": "/nowhere"}, "/nowhere")])
def test_a_server_that_does_not_know_us(store, settings, says):
    with Server(store, **settings) as server:
        assert says in refusal(server)
        assert says in server.stderr()
        assert server.get("/robots.txt").status == 200


@pytest.mark.parametrize("whose", ["DATABASE {}", "ROLE {1}"])
def test_a_read_only_failover_and_back(store, role, whose):
    """Reads go on; no visit is answered; a session or two later it counts."""
    store.server.call(f"ALTER ROLE {role} SUPERUSER")
    whose = whose.format(store.database, role)
    with Server(store, DB_USER=role) as server:
        assert server.visit() == 1
        store.call(f"ALTER {whose} SET default_transaction_read_only = on")
        kill_sessions(store)
        for _ in range(3):
            assert "read-only" in refusal(server)
            assert "read-only" in visitd.health(server, 503).json["error"]
        assert server.get("/visits").number == 1
        assert make_item(server).status == 503
        store.server.call(f"ALTER {whose} RESET default_transaction_read_only")
        assert recovered(server) == 2
        visitd.health(server, 200)


def test_a_read_only_database_without_tables(store):
    store.server.call(f"ALTER DATABASE {store.database}"
                      " SET default_transaction_read_only = on")
    with Server(store) as server:
        assert "read-only" in refusal(server)
        assert "read-only" in visitd.health(server, 503).json["error"]
        assert server.get("/visits").number == 0


def test_a_role_that_may_not(store, role):
    with Server(store, DB_USER=role) as server:
        assert "permission denied" in refusal(server)
        store.call(f"GRANT CREATE ON SCHEMA public TO {role}")
        assert server.visit() == 1
        store.call("ALTER TABLE visit_counter OWNER TO CURRENT_USER")
        assert "permission denied" in refusal(server)
        assert "permission denied" in visitd.health(server, 503).json["error"]
        store.call(f"GRANT ALL ON visit_counter TO {role}")
        assert server.visit() == 2


def check_load(server, store, names=0, **options):
    """All of it is counted, each number once."""
    with Load(server.port, clients=8, depth=4, requests=150, names=names,
              **options) as load:
        result = load.wait()
    assert set(result.statuses) == {"200"}, (result, server.stderr())
    numbers = result.numbers
    assert len(set(map(str, numbers))) == len(numbers) == 1200
    counted = store.call("SELECT sum(visits)::int8 FROM visit_counter")
    assert counted == [(1200,)]


@pytest.mark.parametrize("level", ["serializable", "repeatable\\ read"])
@pytest.mark.parametrize("names", [0, 10])
def test_promise_2_serialization_failures_are_tried_again(store, level,
                                                          names):
    options = f"-c default_transaction_isolation={level}"
    with Server(store, WORKERS=4, PGOPTIONS=options, STORE_TIMEOUT=30000) \
            as server:
        check_load(server, store, names)


def test_the_level_of_a_database_does_not_matter(store):
    """MAX_COUNTERS is exact under READ COMMITTED only."""
    store.server.call(f"ALTER DATABASE {store.database}"
                      " SET default_transaction_isolation = serializable")
    with Server(store, WORKERS=4, MAX_COUNTERS=20) as server:
        with Load(server.port, clients=16, requests=100, names=100) as load:
            result = load.wait()
    assert set(result.statuses) == {"200", "507"}, result
    assert len(rows(store)) - 1 <= 20


def test_promise_2_a_deadlock_is_tried_again(store):
    """Somebody locks our rows in the other order."""
    with Server(store, WORKERS=1, STORE_TIMEOUT=20000) as server:
        for name in ("a", "b"):
            assert server.get(f"/hit/{name}").number == 1
        for expected in (2, 3, 4):
            with session(store) as cursor:
                cursor.execute("SET deadlock_timeout = '1min'")
                cursor.execute("SELECT FROM visit_counter WHERE name = 'b'"
                               " FOR UPDATE")
                with server.client() as client:
                    client.send(visitd.render(target="/hit/b.json") +
                                visitd.render(target="/hit/a.json"))
                    wait_for(lambda: store.call(
                        "SELECT 1 FROM pg_locks WHERE NOT granted"))
                    cursor.execute("SELECT FROM visit_counter"
                                   " WHERE name = 'a' FOR UPDATE")
                    cursor.connection.rollback()
                    told = [client.reply() for _ in range(2)]
            assert [reply.json["value"] for reply in told] == [expected] * 2
    assert "deadlock detected" in store.server.log()


def test_sessions_that_end_between_turns_cost_nothing(server, store):
    for expected in range(1, 8):
        assert server.visit() == expected
        kill_sessions(store)


def test_promise_2_sessions_that_end_during_turns(store):
    with Server(store) as server:
        with Load(server.port, clients=8) as load:
            for _ in range(20):
                visitd.count_on(store, 20)
                kill_sessions(store)
            result = load.stop()
        assert len(set(result.numbers)) == len(result.numbers)
        assert set(result.statuses) <= {"200", "503"}
        lost = result.statuses["503"]
        assert 0 <= store.total() - len(result.numbers) <= lost, result


def test_statements_that_are_lost_are_prepared_again(store):
    """A table of another shape: "cached plan must not change result type"."""
    with Server(store, WORKERS=1) as server:
        expected = 0
        for kind in ("int4", "int8", "int4", "int8"):
            for _ in range(2):
                expected += 1
                assert server.visit() == expected
                assert server.get("/visits").number == expected
            store.call(f"ALTER TABLE visit_counter ALTER visits TYPE {kind}")


@pytest.mark.parametrize("text", ["DEALLOCATE ALL", "DISCARD ALL"])
def test_statements_that_a_pooler_forgets(store, text):
    """One that gives us the session of somebody else."""
    with Proxy(store.socket()) as proxy:
        with Server(store, WORKERS=1, **store.at("127.0.0.1", proxy.port)) \
                as server:
            assert [server.visit() for _ in range(3)] == [1, 2, 3]
            (link,) = proxy.connections
            proxy.do("swallow")
            query = text.encode() + b"\0"
            link.server.sendall(
                b"Q" + (len(query) + 4).to_bytes(4, "big") + query)
            wait_for(lambda: store.call(
                "SELECT 1 FROM pg_stat_activity WHERE query = %s", text))
            proxy.do("pass")
            assert server.visit() == 4


def test_promise_5_a_row_that_somebody_has_locked(store):
    """503 by the deadline; the rest of the time is not waited away again."""
    with Server(store, WORKERS=1, STORE_TIMEOUT=1000) as server:
        assert server.visit() == 1
        with session(store) as cursor:
            cursor.execute("SELECT FROM visit_counter FOR UPDATE")
            assert refusal(server)
            assert server.get("/robots.txt").status == 200
            refused = 1 + sum(number(server) is None for _ in range(20))
            assert refused == 21
        told = recovered(server)
        assert told == store.total() <= 1 + refused + 1
        assert server.visit() == told + 1


def test_a_statement_timeout_of_the_operator(store):
    with Server(store, PGOPTIONS="-c statement_timeout=50ms") as server:
        assert server.visit() == 1
        with session(store) as cursor:
            cursor.execute("SELECT FROM visit_counter FOR UPDATE")
            assert "statement timeout" in refusal(server)
        assert recovered(server) == 2


def fill(owner, stack):
    """Whether there was room for one more session."""
    try:
        stack.enter_context(contextlib.closing(psycopg2.connect(
            host=owner.folder, user="guest", dbname="postgres",
            port=owner.port)))
    except psycopg2.OperationalError:
        return False
    return True


def test_a_health_check_is_no_error_in_the_log_of_the_server(scratch):
    """Where only items are asked for, too: the first look makes the tables."""
    with PostgresServer() as owner:
        store = PostgresStore(scratch, owner)
        with Server(store) as server:
            assert make_item(server).status == 201
            before = owner.log()
            for _ in range(5):
                visitd.health(server, 200)
            assert owner.log() == before
            assert make_item(server).json["id"] == 2, "no id was burnt"


# What a visit fails by, and health has to tell; and what mends it.
VISITS_FAIL = {
    "no tables, and none may be made": (
        "", "GRANT CREATE ON SCHEMA public TO {role}"),
    "no schema": (
        "{tables} ALTER ROLE {role} SET search_path = nosuch",
        "ALTER ROLE {role} RESET search_path"),
    "no right to the days": (
        "{tables} REVOKE INSERT ON visit_history FROM {role}",
        "GRANT INSERT ON visit_history TO {role}"),
    "no right to drop days": (
        "{tables} REVOKE DELETE ON visit_history FROM {role}",
        "GRANT DELETE ON visit_history TO {role}"),
    "no right to write": (
        "{tables} REVOKE UPDATE ON visit_counter FROM {role}",
        "GRANT UPDATE ON visit_counter TO {role}"),
    "rows of others": (
        "{tables} ALTER TABLE visit_counter ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE visit_counter DISABLE ROW LEVEL SECURITY"),
    "a trigger that raises": (
        "{tables} {raises} CREATE TRIGGER t BEFORE INSERT ON visit_counter"
        " FOR EACH ROW EXECUTE FUNCTION raises()",
        "DROP TRIGGER t ON visit_counter"),
    "a trigger that raises at commit": (
        "{tables} {raises} CREATE CONSTRAINT TRIGGER t"
        " AFTER INSERT OR UPDATE ON visit_counter"
        " DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION raises()",
        "DROP TRIGGER t ON visit_counter"),
    "a trigger that drops the row": (
        "{tables} CREATE FUNCTION drops() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN RETURN NULL; END';"
        " CREATE TRIGGER t BEFORE INSERT ON visit_counter"
        " FOR EACH ROW EXECUTE FUNCTION drops()",
        "DROP TRIGGER t ON visit_counter"),
    "no permission to write at all": (
        "{tables} ALTER ROLE {role} SET default_transaction_read_only = on",
        "ALTER ROLE {role} RESET default_transaction_read_only"),
    "a total below zero": (
        "{tables} INSERT INTO visit_counter VALUES ('homepage', -1)",
        "UPDATE visit_counter SET visits = 0"),
}
RAISES = ("CREATE FUNCTION raises() RETURNS trigger LANGUAGE plpgsql"
          " AS $$BEGIN RAISE 'not today'; END$$;")
# What the README says that a role needs, by what needs it.
RIGHTS = {
    "visits": ["SELECT, INSERT, UPDATE ON visit_counter",
               "SELECT, INSERT, UPDATE, DELETE ON visit_history"],
    "DELETE": ["DELETE ON visit_counter"],
    "items": ["SELECT, INSERT ON items", "USAGE ON SEQUENCE items_id_seq"],
}


def make_tables(store, role):
    """As somebody else's, with the rights that a role needs."""
    folder = visitd.REPO / "store" / "postgres"
    for file in ("make_counters.sql", "make_items.sql"):
        store.call((folder / file).read_text())
    for rights in RIGHTS.values():
        for right in rights:
            store.call(f"GRANT {right} TO {role}")


@pytest.mark.parametrize("case", VISITS_FAIL)
def test_health_says_what_a_visit_finds(store, role, case):
    breaks, mends = VISITS_FAIL[case]
    if "{tables}" in breaks:
        make_tables(store, role)
    breaks = breaks.format(tables="", role=role, raises=RAISES)
    if breaks.strip():
        store.call(breaks)
    with Server(store, DB_USER=role, WORKERS=1) as server:
        visitd.health(server, 503)
        assert refusal(server) and refusal(server)
        visitd.health(server, 503)
        store.call(mends.format(role=role))
        kill_sessions(store)  # what a role is set to, is of new ones
        visitd.health(server, 200)
        told = server.visit()
        assert told == store.total()
        visitd.health(server, 200)


def test_rights_that_come_and_go(store, role):
    """Health tells within two seconds; the log, once each."""
    make_tables(store, role)
    with Server(store, DB_USER=role, WORKERS=1) as server:
        for expected in (1, 2, 3):
            assert server.visit() == expected
            visitd.health(server, 200)
            assert server.get("/visits").number == expected
            store.call(f"REVOKE UPDATE ON visit_counter FROM {role}")
            with visitd.within(2):
                visitd.health(server, 503)
            for _ in range(3):
                refusal(server)
                assert server.get("/visits").number == expected
            store.call(f"GRANT UPDATE ON visit_counter TO {role}")
            with visitd.within(2):
                visitd.health(server, 200)
        assert server.stderr().count("permission denied") == 3
        assert server.stderr().count("works again") == 3


def test_a_row_that_cannot_be_written_fails_alone(store):
    """What else the turn has committed is counted and answered."""
    with Server(store, WORKERS=1) as server:
        for target in ("/hit/a", "/hit/b"):
            assert server.get(target).number == 1
        store.call("CREATE FUNCTION drops() RETURNS trigger LANGUAGE plpgsql"
                   " AS $$BEGIN RETURN CASE NEW.name WHEN 'a' THEN NULL"
                   " ELSE NEW END; END$$;"
                   " CREATE TRIGGER t BEFORE UPDATE ON visit_counter"
                   " FOR EACH ROW EXECUTE FUNCTION drops()")
        replies = visitd.in_a_turn(server, [
            render(target=target) for target in ("/", "/hit/a", "/hit/b")])
        assert [reply.status for reply in replies] == [200, 503, 200]
        assert dict(rows(store)) == {"homepage": 1, "a": 1, "b": 2}


def test_a_url_in_a_file_that_becomes_a_bad_one(store):
    """Its workers serve 503 until it is mended, and none dies."""
    file = store.root / "url"
    good = (f"postgresql:///{store.database}?host={store.server.folder}"
            f"&port={store.server.port}&user={USER}")
    file.write_text(good)
    base = {name: "" for name in ("DB_HOST", "DB_PORT", "DB_NAME", "DB_USER")}
    with Server(store, **base, DATABASE_URL_FILE=file) as server:
        assert server.visit() == 1
        file.write_text("mysql://x/y")
        before = set(server.workers())
        server.kill(signal.SIGHUP)
        wait_for(lambda: not before & set(server.workers()))
        refusal(server)
        file.write_text(good)
        server.kill(signal.SIGHUP)
        assert recovered(server) == 2


def test_a_total_that_the_column_does_not_hold(store):
    store.call("CREATE TABLE visit_counter"
               " (name text PRIMARY KEY, visits int4)")
    with Server(store, ADMIN_TOKEN=TOKEN) as server:
        reply = put(server, "a", INT4 + 1)
        assert reply.status == 400 and str(INT4) in reply.text
        assert put(server, "a", INT4).status == 200
        visitd.health(server, 200)
        assert "error" not in server.stderr()


def test_a_row_that_a_check_refuses_is_told(store):
    """Once, although health, which adds nothing, is good."""
    with Server(store, WORKERS=1) as server:
        assert server.visit() == 1
        store.call("ALTER TABLE visit_counter ADD CHECK (visits < 2)")
        for _ in range(3):
            refusal(server)
            visitd.health(server, 200)
        assert server.stderr().count("violates check constraint") == 1


def test_a_counter_that_fails_alone_does_not_flap(store):
    store.call("CREATE TABLE visit_counter"
               " (name text PRIMARY KEY, visits int8)")
    store.call("INSERT INTO visit_counter VALUES ('homepage', -5)")
    with Server(store, WORKERS=1) as server:
        for expected in (1, 2, 3):
            assert server.get("/hit/a").number == expected
            assert "below zero" in refusal(server)
            visitd.health(server, 503)
        assert server.stderr().count("below zero") <= 2
        assert "works again" not in server.stderr()
        store.call("UPDATE visit_counter SET visits = 5"
                   " WHERE name = 'homepage'")
        visitd.health(server, 200)
        assert server.stderr().count("works again") == 1


def test_a_check_where_one_table_is_missing(store):
    store.call("CREATE TABLE visit_counter"
               " (name text PRIMARY KEY, visits int8 NOT NULL)")
    assert command(store, "check").returncode == 0
    assert tables(store) == ["visit_counter"]


def test_a_role_with_the_rights_of_the_readme(store, role):
    for file in ("README.md", "docs/visitd.8"):
        text = re.sub(r"\s+", " ", (visitd.REPO / file).read_text())
        for rights in RIGHTS.values():
            for right in rights:
                assert f"GRANT {right} TO" in text, (file, right)
    make_tables(store, role)
    store.call("INSERT INTO visit_history"
               " SELECT 'homepage', date '2001-01-01' + i, 0"
               " FROM generate_series(1, 500) i")
    with Server(store, DB_USER=role, ADMIN_TOKEN=TOKEN) as server:
        assert server.visit() == 1
        assert server.get("/hit/a").number == 1
        assert put(server, "a", 5).status == 200
        assert server.get("/hit/a").number == 6
        assert server.request("DELETE", "/visits/a", ADMIN).status == 204
        assert make_item(server).json["id"] == 1
        assert server.get("/items/1").status == 200
        visitd.health(server, 200)
    assert command(store, "export", DB_USER=role).stdout == "1 homepage\n"


@pytest.mark.parametrize("needs,right", [
    ("visits", "SELECT ON visit_counter"),
    ("visits", "INSERT ON visit_counter"),
    ("visits", "UPDATE ON visit_counter"),
    ("visits", "SELECT ON visit_history"),
    ("visits", "INSERT ON visit_history"),
    ("visits", "UPDATE ON visit_history"),
    ("visits", "DELETE ON visit_history"),
    ("DELETE", "DELETE ON visit_counter"),
    ("items", "SELECT ON items"),
    ("items", "INSERT ON items"),
    ("items", "USAGE ON SEQUENCE items_id_seq"),
])
def test_no_right_is_needless(store, role, needs, right):
    make_tables(store, role)
    with Server(store, DB_USER=role, ADMIN_TOKEN=TOKEN) as server:
        assert server.get("/hit/a").number == 1
        store.call(f"REVOKE {right} FROM {role}")
        reply = (server.request("DELETE", "/visits/a", ADMIN)
                 if needs == "DELETE" else make_item(server)
                 if needs == "items" else server.get("/hit/a"))
        assert reply.status == 503, reply
        assert (server.get("/health").status == 503) == (needs == "visits")


def test_too_many_clients(scratch):
    with PostgresServer(max_connections="5",
                        superuser_reserved_connections="1",
                        max_wal_senders="0") as owner:
        owner.call("CREATE ROLE guest LOGIN")
        owner.call("GRANT CREATE ON SCHEMA public TO guest")
        store = PostgresStore(scratch, owner)
        with Server(store, WORKERS=1, DB_USER="guest") as server:
            assert server.visit() == 1
            with contextlib.ExitStack() as stack:
                boss = stack.enter_context(contextlib.closing(
                    owner.connect()))
                while fill(owner, stack):
                    pass
                boss.cursor().execute(
                    "SELECT pg_terminate_backend(pid, 5000)"
                    " FROM pg_stat_activity"
                    " WHERE application_name = 'visitd'")
                wait_for(lambda: fill(owner, stack), what="its place")
                assert "slots are reserved" in refusal(server)
            assert recovered(server) == 2


# Exactly


def test_max_counters_with_many_workers(store):
    with Server(store, WORKERS=4, MAX_COUNTERS=10, ADMIN_TOKEN=TOKEN) \
            as server:
        with Load(server.port, clients=16, requests=100, names=100,
                  drops=10) as load:
            result = load.wait()
        assert {"200", "507"} <= set(result.statuses) <= {
            "200", "204", "404", "507"}, (result, server.stderr())
        named = store.call("SELECT count(*) FROM visit_counter"
                           " WHERE name <> 'homepage'")[0][0]
        assert named <= 10


def test_a_counter_that_others_dropped_needs_room_again(store):
    """Each worker knows the names that it has added to: still there is no
    room for one that somebody has dropped and replaced."""
    with Server(store, WORKERS=1, MAX_COUNTERS=1) as one, \
            Server(store, WORKERS=1, MAX_COUNTERS=1, ADMIN_TOKEN=TOKEN) as two:
        assert one.get("/hit/a").number == 1
        assert one.get("/hit/a").number == 2
        assert two.request("DELETE", "/visits/a", ADMIN).status == 204
        assert two.get("/hit/b").number == 1
        assert one.get("/hit/a").status == 507
        assert two.request("DELETE", "/visits/b", ADMIN).status == 204
        assert one.get("/hit/a").number == 1
        assert rows(store) == [("a", 1), ("homepage", 0)]


def test_max_items_with_many_workers(store):
    with Server(store, WORKERS=4, MAX_ITEMS=10) as server:
        statuses = []

        def create():
            for _ in range(5):
                statuses.append(make_item(server).status)

        threads = [threading.Thread(target=create) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [201] * 10 + [507] * 20
    assert store.call("SELECT count(*) FROM items") == [(10,)]


def test_promise_2_two_programs_and_a_setter(store):
    with Server(store, WORKERS=1) as one, Server(store, WORKERS=1) as two:
        for at in range(1, 4):
            assert one.visit() == 2 * at - 1
            assert two.visit() == 2 * at
        assert command(store, "set", "homepage", "1000").returncode == 0
        assert one.visit() == 1001
        assert two.visit() == 1002
        for server in (one, two):
            assert server.get("/visits.json").json["today"] == 8
        store.call("UPDATE visit_counter SET visits = 5000")
        assert one.visit() == 5001


def test_the_log_and_health_name_the_durability(store):
    with Server(store) as server:
        assert server.get("/health").json == {
            "status": "ok", "store": "postgres",
            "durability": "synchronous_commit on"}
        assert "synchronous_commit on" in server.stderr()
        assert "loses" not in server.stderr()
    with Server(store, PGOPTIONS="-c synchronous_commit=off") as server:
        assert server.stderr().count("loses answered visits") == 1
        assert server.get("/health").json["durability"] == (
            "synchronous_commit off")


# Settings


PASSWORD = "s3cret word'\\"


@pytest.fixture(scope="module", name="guarded")
def guarded_server(tmp_path_factory):
    """On a port, with a password and without TLS."""
    port = visitd.Port()
    try:
        with PostgresServer(port.number, auth="scram-sha-256") as made:
            made.call("ALTER ROLE visitd PASSWORD %s", PASSWORD)
            made.call("CREATE DATABASE visitd")
            yield made
    finally:
        port.release()


@pytest.fixture(name="over_tcp")
def store_over_tcp(scratch, guarded):
    guarded.call("DROP DATABASE visitd WITH (FORCE)")
    guarded.call("CREATE DATABASE visitd")
    return PostgresStore(scratch, guarded, "visitd")


UNSET = {"DB_HOST": None, "DB_PORT": None, "DB_NAME": None, "DB_USER": None}


def test_a_password_and_a_wrong_one(over_tcp, guarded):
    settings = over_tcp.at("127.0.0.1", guarded.port)
    with Server(over_tcp, **settings) as server:
        assert "no password supplied" in refusal(server)
    with Server(over_tcp, DB_PASSWORD="guess", WORKERS=1, **settings) \
            as server:
        for target in ("/", "/health"):
            assert 'authentication failed for user "visitd"' in refusal(
                server, target)
        guarded.call("ALTER ROLE visitd PASSWORD 'guess'")
        assert recovered(server) == 1
        guarded.call("ALTER ROLE visitd PASSWORD %s", PASSWORD)
        assert server.visit() == 2
        for word in ("guess", PASSWORD):
            assert word not in server.stderr()


def test_visitors_are_told_the_kind_of_fault(over_tcp, guarded, store, role):
    with Server(over_tcp, DB_PASSWORD="guess", HEALTH_DETAIL="",
                **over_tcp.at("127.0.0.1", guarded.port)) as server:
        kind = "PostgreSQL refused the login"
        assert refusal(server) == f"store unavailable: {kind}"
        assert visitd.health(server, 503).json["error"] == kind
        assert "the first start of its volume" in server.stderr()
    with Server(store, DB_USER=role, HEALTH_DETAIL="") as server:
        kind = "PostgreSQL does not allow it"
        assert refusal(server) == f"store unavailable: {kind}"


def test_a_password_from_a_file(over_tcp, guarded):
    file = over_tcp.root / "password"
    file.write_text(PASSWORD + "\n")
    with Server(over_tcp, DB_PASSWORD_FILE=file,
                **over_tcp.at("127.0.0.1", guarded.port)) as server:
        assert server.visit() == 1


def test_libpq_s_own_variables(over_tcp, guarded):
    settings = {**UNSET, "PGHOST": "127.0.0.1", "PGPORT": guarded.port,
                "PGDATABASE": "visitd", "PGUSER": "visitd",
                "PGPASSWORD": PASSWORD}
    with Server(over_tcp, **settings) as server:
        assert server.visit() == 1
        assert f"PostgreSQL at 127.0.0.1:{guarded.port}" in server.stderr()
    # DB_* win.
    wrong = {"PGHOST": "/nowhere", "PGPORT": 1, "PGDATABASE": "nothing",
             "PGUSER": "nobody", "PGPASSWORD": "guess"}
    with Server(over_tcp, DB_PASSWORD=PASSWORD, DB_NAME="visitd",
                DB_USER="visitd", **{**wrong, **over_tcp.at(
                    "localhost", guarded.port)}) as server:
        assert server.visit() == 2


def test_a_url(over_tcp, guarded):
    """A variable of its own wins; the rest of the URL is libpq's."""
    url = (f"postgresql://keeper:p%2Fw%20d@127.0.0.1:{guarded.port}"
           "/postgres?application_name=by-url")
    guarded.call("CREATE ROLE keeper LOGIN SUPERUSER PASSWORD 'p/w d'")
    base = {name: "" for name in ("DB_HOST", "DB_PORT", "DB_NAME", "DB_USER")}
    with Server(over_tcp, **base, DATABASE_URL=url) as server:
        assert server.visit() == 1
        assert guarded.call("SELECT DISTINCT application_name, usename"
                            " FROM pg_stat_activity"
                            " WHERE application_name LIKE 'by%%'") == [
            ("by-url", "keeper")]
    with Server(over_tcp, **base, DATABASE_URL=url,
                DB_PASSWORD="wrong") as server:
        assert "password authentication failed" in refusal(server)
        assert "p/w d" not in server.stderr()


@pytest.mark.parametrize("name,value,says", [
    ("DATABASE_URL", "mysql://h/d", "postgresql://"),
    ("DATABASE_URL", "postgresql://h/d?nosuch=1", "postgresql://"),
    ("DATABASE_URL", "postgresql://h:54x32/d", "one port"),
    ("DATABASE_URL", "postgresql://h:99999/d", "one port"),
    ("DB_HOST", "a,b", "one host"), ("PGHOST", "a,b", "one host")])
def test_what_names_no_server_is_102(store, name, value, says):
    settings = {"DB_HOST": "", name: value}
    done = command(store, **settings)
    assert done.returncode == 102
    assert says in done.stderr and name.replace("PG", "DB_") in done.stderr


def test_neither_of_them(over_tcp, guarded):
    """The database and the role visitd."""
    with Server(over_tcp, **{**UNSET, "PGHOSTADDR": "127.0.0.1",
                             "PGPORT": guarded.port,
                             "PGPASSWORD": PASSWORD}) as server:
        assert server.visit() == 1
    assert over_tcp.total() == 1


def test_a_password_file_and_a_service_of_libpq(over_tcp, guarded):
    file = over_tcp.root / "pgpass"
    file.write_text(f"localhost:{guarded.port}:*:*:" +
                    PASSWORD.replace("\\", "\\\\") + "\n")
    file.chmod(0o600)
    with Server(over_tcp, PGPASSFILE=file,
                **over_tcp.at("localhost", guarded.port)) as server:
        assert server.visit() == 1
    service = over_tcp.root / "service"
    service.write_text(f"[count]\nhost=localhost\nport={guarded.port}\n"
                       "dbname=visitd\nuser=visitd\n")
    with Server(over_tcp, **{**UNSET, "PGPASSFILE": file, "PGSERVICE": "count",
                             "PGSERVICEFILE": service}) as server:
        assert server.visit() == 2


def test_tls_that_the_server_does_not_have(over_tcp, guarded):
    with Server(over_tcp, DB_PASSWORD=PASSWORD, PGSSLMODE="require",
                **over_tcp.at("127.0.0.1", guarded.port)) as server:
        assert "server does not support SSL" in refusal(server)
        assert "server does not support SSL" in visitd.health(server, 503).json["error"]


@pytest.mark.slow
def test_tls(scratch):
    """With a certificate that is checked, and its name; TLS goes over TCP
    only."""
    port = visitd.Port()
    owner = PostgresServer(port.number, ssl="on")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days",
         "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout",
         owner.data / "server.key", "-out", owner.data / "server.crt"],
        check=True, capture_output=True)
    for name in ("server.key", "server.crt"):
        if os.geteuid() == 0:
            shutil.chown(owner.data / name, "postgres", "postgres")
        (owner.data / name).chmod(0o600)
    root = scratch / "root.crt"
    root.write_bytes((owner.data / "server.crt").read_bytes())
    try:
        with owner:
            store = PostgresStore(scratch, owner)
            with Server(store, PGSSLMODE="require", WORKERS=1,
                        **store.at("127.0.0.1", port.number)) as server:
                assert [server.visit() for _ in range(5)] == [1, 2, 3, 4, 5]
                assert store.call(
                    "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity"
                    " USING (pid) WHERE application_name = 'visitd'") == [
                        (True,)]
                pids = "SELECT pid FROM pg_stat_ssl WHERE ssl"
                first = store.call(pids)
                assert server.visit() == 6
                assert store.call(pids) == first, "a session is kept"
                kill_sessions(store)
                assert server.visit() == 7
            checked = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": root}
            with Server(store, **checked,
                        **store.at("localhost", port.number)) as server:
                assert server.visit() == 8
            with Server(store, **checked,
                        **store.at("127.0.0.1", port.number)) as server:
                assert "does not match host name" in refusal(server)
    finally:
        owner.remove()
        port.release()


def test_ipv6(store):
    with Proxy(store.socket(), "::1") as proxy:
        with Server(store, **store.at("::1", proxy.port)) as server:
            assert server.visit() == 1
            assert f"[::1]:{proxy.port}" in server.stderr()


@pytest.mark.parametrize("name,value", [("DB_PORT", "0"), ("DB_PORT", "pg"),
                                        ("CACHE_TTL", "0"),
                                        ("CACHE_TTL", "-1")])
def test_a_bad_setting_is_102(store, name, value):
    done = command(store, **{name: value})
    assert done.returncode == 102
    assert f"{name}={value}" in done.stderr


@pytest.mark.parametrize("settings", [{"PGSSLMODE": "maybe"},
                                      {"PGSERVICE": "none"}])
def test_a_bad_variable_of_libpq_is_told(store, settings):
    with Server(store, **settings) as server:
        error = refusal(server)
        assert "maybe" in error or "none" in error


# The statements


def statements():
    """Every file of a statement or of commands."""
    return sorted((visitd.REPO / "store" / "postgres").glob("*.sql"))


@pytest.mark.parametrize("file", statements(), ids=lambda file: file.name)
def test_the_servers_own_parser_takes_each_statement(store, file):
    """On the tables that the program makes; a statement is prepared, commands
    are carried out."""
    folder = visitd.REPO / "store" / "postgres"
    for commands in ("make_counters.sql", "make_items.sql"):
        store.call((folder / commands).read_text())
    text = file.read_text()
    if file.name.startswith("make_"):
        store.call(text)
    else:
        store.call(f"PREPARE it AS {text}; DEALLOCATE it")


def test_statements_and_program_have_the_same_limits():
    """The home counter's name, the lock's key, the days that are kept."""
    root = visitd.REPO
    home = re.search(r'#define STORE_HOME "(\w+)"',
                     (root / "store" / "store.h").read_text()).group(1)
    keys, names = set(), set()
    for file in statements():
        text = re.sub(r"--.*", "", file.read_text())
        if file.name != "greeting.sql":  # that asks about columns
            names |= set(re.findall(r"(?:name|\$1) <?[=>]+ '([^']*)'", text))
        keys |= set(re.findall(r"pg_advisory_xact_lock\((\d+)\)", text))
    assert names == {home}
    assert len(keys) == 1


def test_a_check_on_items_refuses_only_its_own(store):
    """Items of one turn are one statement; a row that a CHECK of a table made
    by hand refuses does not take the others along."""
    store.call("CREATE TABLE items (id SERIAL PRIMARY KEY, name TEXT NOT NULL"
               " CHECK (name <> 'bad'), description TEXT)")
    with Server(store, WORKERS=1) as server, server.client() as client:
        client.send(b"".join(
            visitd.render("POST", "/items", JSON, json.dumps(
                {"name": name, "description": r'a "b" \c, {d} NULL'}).encode())
            for name in ("one", "bad", "null\0", "four")))
        replies = [client.reply("POST") for _ in range(4)]
    assert [r.status for r in replies] == [201, 503, 400, 201]
    rows = store.call("SELECT name, description FROM items ORDER BY id")
    assert rows == [(name, r'a "b" \c, {d} NULL') for name in ("one", "four")]
    assert [r.json["id"] for r in (replies[0], replies[3])] == [
        id_ for id_, in store.call("SELECT id FROM items ORDER BY id")]
