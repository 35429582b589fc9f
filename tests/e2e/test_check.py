"""visitd check: what an operator runs before and after a change."""

import re

import pytest

import visitd
from visitd import MAX, Server, command

SECRET = "s3cret-token"


def state(store):
    """All that a store has."""
    if store.name == "redis":
        read = {"string": "GET", "hash": "HGETALL", "set": "SMEMBERS"}
        return {key: store.call(read[store.call("TYPE", key)], key)
                for key in store.call("KEYS", "*")}
    if store.name == "postgres":
        names = [name for name, in store.call(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        return {name: sorted(store.call(f"SELECT * FROM {name}"))
                for name in names}
    return {path.name: path.read_bytes() for path in store.data.iterdir()}


def test_it_tells_and_changes_nothing(store):
    before = state(store)
    done = command(store, "check")
    assert done.returncode == 0, done
    assert "at 0, and a visit would count" in done.stdout
    assert state(store) == before
    with Server(store) as server:
        for _ in range(3):
            server.visit()
        before = state(store)
        done = command(store, "check")
        assert "at 3, and a visit would count" in done.stdout
        assert state(store) == before
        assert server.visit() == 4


def test_where_each_setting_came_from(store):
    secret = store.root / "token"
    secret.write_text(SECRET + "\n")
    done = command(store, "check", WORKERS=3, ADMIN_TOKEN_FILE=secret,
                   REDIS_PASS="x", LOG_LEVEL="")
    assert "WORKERS=3\t(the environment)\n" in done.stdout
    assert "ADMIN_TOKEN=...\t(a file)\n" in done.stdout
    assert "LOG_LEVEL=info\t(default)\n" in done.stdout
    assert "SYNC=always\t(default)\n" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    shown = set(re.findall(r"^([A-Z_]+)=", done.stdout, re.M))
    table = set(re.findall(r"^  ([A-Z_]+) ", command(
        store, "--help").stdout, re.M))
    assert shown == table - {"TZ"}
    assert re.search(r"^descriptors: \d+, for 10000 connections of each of 3 "
                     r"workers$", done.stdout, re.M)
    assert re.search(r"^clock: \d{4}-\d\d-\d\dT", done.stdout, re.M)
    assert ("REDIS_PASS is set" in done.stderr) == (store.name != "file")


def test_what_libpq_is_told(store):
    """By its own variables, or by a URL."""
    done = command(store, "check", DB_HOST="", PGHOST="elsewhere",
                   PGPASSWORD=SECRET)
    assert "DB_HOST=elsewhere\t(PGHOST)" in done.stdout
    assert "DB_PASSWORD=...\t(PGPASSWORD)" in done.stdout
    assert SECRET not in done.stdout
    done = command(store, "check", DB_HOST="",
                   DATABASE_URL=f"postgresql://u:{SECRET}@h/d")
    assert "DB_HOST=...\t(DATABASE_URL)" in done.stdout
    assert SECRET not in done.stdout


def test_a_credential_of_systemd(store):
    folder = store.root / "credentials"
    folder.mkdir()
    (folder / "admin_token").write_text(SECRET)
    settings = {"CREDENTIALS_DIRECTORY": folder}
    assert "ADMIN_TOKEN=...\t(a file)" in command(store, "check",
                                                  **settings).stdout
    with Server(store, **settings) as server:
        put = {"Content-Type": "application/json"}
        bearer = {**put, "Authorization": f"Bearer {SECRET}"}
        body = b'{"value": 7}'
        assert server.request("PUT", "/visits", put, body).status == 401
        assert server.request("PUT", "/visits", bearer, body).status == 200
    with Server(store, **settings, ADMIN_TOKEN="other") as server:
        assert server.request("PUT", "/visits", bearer, body).status == 401


def test_a_bad_setting_is_102(store):
    assert command(store, "check", PORT=0).returncode == 102


@pytest.mark.store("file")
@pytest.mark.parametrize("text,code", [
    (b"many\n", 102), (b"41\r\n", 0), (b"\xef\xbb\xbf0041\r\n", 0),
    (b"%d\n" % MAX, 111)])
def test_what_the_file_says(store, text, code):
    (store.data / "visits").write_bytes(text)
    before = state(store)
    done = command(store, "check")
    assert done.returncode == code, done
    assert ("store: FAILED" in done.stdout) == (code != 0)
    assert state(store) == before


@pytest.mark.store("file")
@pytest.mark.parametrize("name,text,code", [
    ("counters", b"3 a\n4 b\n", 0), ("counters", b"3 a\nx\n", 102),
    ("counters", b"\0" * 700, 0), ("history", b"2026-11-20 1\n2026-1", 0)])
def test_what_others_have_left_stays(store, name, text, code):
    """It is mended by who counts, and not by who looks."""
    (store.data / "visits").write_bytes(b"41\n")
    (store.data / name).write_bytes(text)
    before = state(store)
    done = command(store, "check")
    assert done.returncode == code, done
    assert state(store) == before


@pytest.mark.store("redis")
def test_a_day_without_its_counter_stays(store):
    history = "visit_history:{visit_counter:homepage}"
    store.call("HSET", history, visitd.day(), 7)
    before = state(store)
    assert command(store, "check").returncode == 0
    assert state(store) == before
    assert command(store, "set", "homepage", "5").returncode == 0
    assert store.call("HGETALL", history) == []


@pytest.mark.store("postgres")
def test_the_cache_is_not_filled(store):
    if not store.cache:
        return
    assert command(store, "set", "homepage", "5").returncode == 0
    store.cache.call("FLUSHDB")
    assert "at 5" in command(store, "check").stdout
    assert store.cache.call("KEYS", "*") == []


@pytest.mark.store("file")
def test_a_folder_that_is_away_is_111(store):
    away = store.root / "away"
    done = command(store, "check", DATA_DIR=away)
    assert done.returncode == 111
    assert f"store: FAILED: DATA_DIR={away}" in done.stdout
    assert not away.exists()


@pytest.mark.store("redis", "postgres")
def test_a_server_that_is_away_is_111(store):
    done = command(store, "check", **store.at("127.0.0.1", 1))
    assert done.returncode == 111
    assert re.search("store: FAILED: .*refused", done.stdout)


@pytest.mark.store("postgres")
@pytest.mark.parametrize("breaks", [
    "", "CREATE TABLE visit_counter (name text PRIMARY KEY, visits int8);"
    "CREATE TABLE visit_history (name text, day date, base int8,"
    " PRIMARY KEY (name, day))",
    "CREATE FUNCTION raises() RETURNS trigger LANGUAGE plpgsql"
    " AS $$BEGIN RAISE 'not today'; END$$;"
    "CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE ON visit_counter"
    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION raises()"])
def test_what_a_visit_would_fail_by(store, breaks):
    """Rights to make tables or to write them, and what fails at commit."""
    store.server.call("DROP ROLE IF EXISTS checker")
    store.server.call("CREATE ROLE checker LOGIN")
    role = {} if "TRIGGER" in breaks else {"DB_USER": "checker"}
    if role == {}:
        assert command(store, "set", "homepage", "1").returncode == 0
    if breaks:
        store.call(breaks)
    before = state(store)
    done = command(store, "check", **role)
    assert done.returncode == 111, done
    assert re.search("permission denied|not today", done.stdout)
    assert state(store) == before


@pytest.mark.store("redis")
def test_a_total_that_is_no_number_is_102(store):
    store.call("SET", "visit_counter:homepage", "many")
    before = state(store)
    done = command(store, "check")
    assert done.returncode == 102
    assert 'it holds "many"' in done.stdout
    assert state(store) == before


def test_a_start_without_a_store_is_the_same_code(store):
    """What check says is what the start would do, but for a server that is
    down, which is waited for."""
    done = command(store, "check", BIND="nowhere")
    assert done.returncode == 102 == command(store, BIND="nowhere").returncode
