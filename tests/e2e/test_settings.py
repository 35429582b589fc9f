"""Settings: what each takes, and how a bad one stops the start."""

import os
import re
import resource
import signal
import socket

import pytest

import visitd
from visitd import Server, command

BAD = [
    ("PORT", "abc"), ("PORT", "65536"), ("PORT", "-1"), ("PORT", "80x"),
    ("PORT", " 80"), ("PORT", "99999999999999999999"),
    ("BIND", "999.1.1.1"), ("BIND", "no such host"), ("BIND", "::g"),
    ("BASE_PATH", "counter"), ("BASE_PATH", "/"), ("BASE_PATH", "/counter/"),
    ("BASE_PATH", "//counter"), ("BASE_PATH", "/a//b"), ("BASE_PATH", "/a/.."),
    ("BASE_PATH", "/."), ("BASE_PATH", "/a b"), ("BASE_PATH", "/a?b"),
    ("BASE_PATH", "/%61"), ("BASE_PATH", "http://a/b"),
    ("BASE_PATH", "/" + "a" * 100),
    ("WORKERS", "0"), ("WORKERS", "-1"), ("WORKERS", "two"),
    ("WORKERS", "1.5"), ("WORKERS", "99999999999"),
    ("SYNC", "sometimes"), ("SYNC", "ALWAYS!"),
    ("STORE_TIMEOUT", "soon"), ("STORE_TIMEOUT", "-5"),
    ("STORE_TIMEOUT", "0"), ("STORE_TIMEOUT", "1s"),
    ("MAX_CONNECTIONS", "0"), ("MAX_CONNECTIONS", "many"),
    ("MAX_COUNTERS", "-1"), ("MAX_COUNTERS", "100000001"),
    ("REPEAT_WINDOW", "1h"), ("REPEAT_WINDOW", "31536001"),
    ("ADMIN_TOKEN_FILE", "/no/such/file"), ("ADMIN_TOKEN_FILE", "/"),
    ("ACCESS_LOG", "maybe"), ("LOG_FORMAT", "xml"), ("LOG_LEVEL", "loud"),
    ("TZ", "No/Such_Zone"),
    ("TZ", ":/no/such/file"),
]
GOOD = [
    {"WORKERS": 1}, {"WORKERS": 7}, {"SYNC": "always"}, {"SYNC": "everysec"},
    {"SYNC": "no"}, {"STORE_TIMEOUT": 60000},
    # To connect may take longer than that, and so may the wait for a lock that
    # another worker takes at its start.
    pytest.param({"STORE_TIMEOUT": 1, "WORKERS": 1},
                 marks=pytest.mark.store("file")),
    {"MAX_CONNECTIONS": 10}, {"ACCESS_LOG": "on"}, {"ACCESS_LOG": "off"},
    {"LOG_FORMAT": "text"}, {"LOG_FORMAT": "json"}, {"LOG_LEVEL": "error"},
    {"LOG_LEVEL": "warn"}, {"LOG_LEVEL": "info"}, {"LOG_LEVEL": "debug"},
    {"MAX_COUNTERS": 0}, {"REPEAT_WINDOW": 31536000}, {"ADMIN_TOKEN": "a b"},
    {"ADMIN_TOKEN": ""}, {"ADMIN_TOKEN_FILE": ""},
    {"BIND": "0.0.0.0"}, {"SYNC": ""}, {"BASE_PATH": ""}, {"TZ": None}, {"TZ": "UTC"},
    {"TZ": "Europe/Paris"}, {"TZ": "CET-1CEST,M3.5.0,M10.5.0/3"},
    {"TZ": ":Asia/Kolkata"},
]
TABLE = """BIND PORT BASE_PATH WORKERS DATA_DIR VISITS_FILE SYNC STORE_TIMEOUT
MAX_COUNTERS MAX_CONNECTIONS REPEAT_WINDOW ADMIN_TOKEN ADMIN_TOKEN_FILE
ACCESS_LOG LOG_FORMAT LOG_LEVEL TZ""".split()


@pytest.mark.parametrize("name,value", BAD)
def test_a_bad_value_is_exit_102_and_one_line(store, name, value):
    """The line names the variable, the value and what it takes."""
    settings = {"BIND": "127.0.0.1", "PORT": 1, name: value}
    done = command(store, **settings)
    assert done.returncode == 102, done
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert name in lines[0] and value in lines[0]
    assert len(lines[0]) > len(f"visitd: {name}={value}") + 5
    assert done.stdout == ""


@pytest.mark.parametrize("settings", GOOD, ids=str)
def test_a_good_value_is_taken(store, settings):
    with Server(store, **settings) as server:
        assert server.visit() == 1
        if "WORKERS" in settings:
            server.all_workers()


def test_workers_default_to_the_cpus_it_may_run_on(store):
    with Server(store, WORKERS=None) as server:
        server.visit()
        cpus = len(os.sched_getaffinity(0))
        visitd.wait_for(lambda: len(server.workers()) == cpus)


@pytest.mark.parametrize("zone,offset", [
    ("UTC", "+00:00"), ("Asia/Kolkata", "+05:30"), ("EST5", "-05:00"),
    ("NPT-5:45", "+05:45"), ("Etc/GMT-14", "+14:00"),
])
def test_tz_shows_in_the_time(store, zone, offset):
    with Server(store, TZ=zone) as server:
        text = server.get().text
        assert text.split("\n")[0].endswith(offset)
        data = server.get("/", {"Accept": "application/json"}).json
        assert data["time"].endswith(offset)


def test_help_prints_the_table_of_settings(store):
    done = command(store, "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    for name in TABLE:
        assert re.search(rf"\b{name}\b", done.stdout), name
    for default in ("8080", "always", "1000", "10000", "info"):
        assert default in done.stdout


def test_version_names_the_store(store):
    done = command(store, "--version")
    assert done.returncode == 0
    version = (visitd.REPO / "VERSION").read_text().strip()
    assert version in done.stdout
    assert store.name in done.stdout
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("words", [
    ["--nope"], ["serve"], ["-x"], [""], ["get", "a", "b"], ["set"],
    ["set", "homepage"], ["set", "homepage", "1", "2"], ["health", "x"],
    ["set", "homepage", "many"], ["set", "homepage", "-1"],
    ["set", "homepage", "1.5"], ["set", "homepage", ""],
    ["set", "homepage", str(2**63)], ["get", "a//b"], ["get", ""],
    ["get", ".."], ["set", "a b", "1"], ["set", "a" * 101, "1"],
    ["export", "x"], ["import", "file"],
], ids=" ".join)
def test_wrong_usage_is_exit_100(store, words):
    done = command(store, *words, PORT=1, BIND="127.0.0.1")
    assert done.returncode == 100, done
    assert done.stderr and done.stdout == ""


def test_a_port_in_use_is_exit_111(server):
    done = command(server.store, **{**server.settings})
    assert done.returncode == 111
    assert str(server.port) in done.stderr
    assert "in use" in done.stderr
    assert server.visit() == 1


def test_an_address_of_nobody_is_exit_111(store):
    done = command(store, BIND="192.0.2.1", PORT=12345)
    assert done.returncode == 111
    assert "192.0.2.1" in done.stderr


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_unset_bind_listens_on_both_families(store):
    with Server(store, BIND=None) as server:
        for host in ("127.0.0.1", "::1"):
            with server.client(host=host) as client:
                assert client.request().status == 200
    assert store.total() == 2


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_bind_of_one_ipv6_address(store):
    with Server(store, BIND="::1") as server:
        with server.client(host="::1") as client:
            assert client.request().number == 1
        with pytest.raises(ConnectionRefusedError):
            server.client()


def test_promise_7_few_descriptors_shrink_max_connections(store):
    """The hard limit is too low: said in the log, and it lives on."""
    limits = [(resource.RLIMIT_NOFILE, 64)]
    with Server(store, WORKERS=1, limits=limits) as server:
        assert "MAX_CONNECTIONS" in server.stderr()
        crowd = [server.client() for _ in range(150)]
        for client in crowd:
            client.close()
        visitd.wait_for(lambda: server.get("/robots.txt").status == 200)
        assert server.visit() == 1


def test_promise_7_more_connections_than_allowed_wait_their_turn(store):
    with Server(store, WORKERS=1, MAX_CONNECTIONS=8) as server:
        (worker,) = server.all_workers()
        os.kill(worker, signal.SIGSTOP)  # so that all of them are there
        crowd = [server.client() for _ in range(40)]
        numbers = []
        for client in crowd:
            client.send(visitd.render(headers={"Connection": "close"}))
        os.kill(worker, signal.SIGCONT)
        for client in crowd:
            numbers.append(client.reply().number)
            client.close()
        assert sorted(numbers) == list(range(1, 41))
