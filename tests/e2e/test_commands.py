"""`visitd health`, `visitd get`, `visitd set` (test_export.py: the others)."""

import fcntl
import os
import re
import socket

import pytest

import visitd
from visitd import MAX, Server, command


def ask(server, *words, **settings):
    """Run a command with the settings of a running server."""
    return command(server.store, *words, **{**server.settings, **settings})


def test_health_of_a_healthy_server_is_0(server):
    assert ask(server, "health").returncode == 0
    assert server.visit() == 1


def test_health_without_bind_asks_loopback(store):
    with Server(store, BIND=None) as server:
        assert ask(server, "health").returncode == 0


def test_health_of_no_server_is_1(store):
    port = visitd.Port()
    try:
        done = command(store, "health", BIND="127.0.0.1", PORT=port.number)
    finally:
        port.release()
    assert done.returncode == 1
    assert done.stderr


@pytest.mark.store("file")
def test_health_of_a_broken_store_is_1(server):
    server.visit()
    server.store.visits.write_text("garbage\n")
    done = ask(server, "health")
    assert done.returncode == 1
    server.store.visits.write_text("1\n")
    assert ask(server, "health").returncode == 0


@pytest.mark.slow
def test_health_of_a_server_that_does_not_answer_is_1(store):
    """A listener that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        done = command(store, "health", BIND="127.0.0.1", PORT=port,
                       STORE_TIMEOUT=200, within=15)
    assert done.returncode == 1


@pytest.mark.parametrize("words", [["get"], ["get", "homepage"]])
def test_get_prints_the_total(server, words):
    for _ in range(3):
        server.visit()
    done = ask(server, *words)
    assert done.returncode == 0
    assert done.stdout == "3\n"
    assert server.visit() == 4


def test_get_of_a_new_store(store):
    done = command(store, "get")
    assert done.returncode == 0
    assert done.stdout == "0\n"


@pytest.mark.parametrize("number", [0, 1, 1000, MAX])
def test_set_then_get(store, number):
    done = command(store, "set", "homepage", str(number))
    assert done.returncode == 0, done
    assert command(store, "get").stdout == f"{number}\n"
    assert store.total() == number


def test_set_while_it_counts(server):
    server.visit()
    assert ask(server, "set", "homepage", "1000").returncode == 0
    assert server.visit() == 1001
    assert ask(server, "set", "homepage", "7").returncode == 0
    assert server.visit() == 8


def test_get_and_set_of_a_counter_with_a_name(server):
    assert server.get("/hit/blog/post-1").number == 1
    assert ask(server, "get", "blog/post-1").stdout == "1\n"
    assert ask(server, "set", "blog/post-1", "41").returncode == 0
    assert server.get("/hit/blog/post-1").number == 42
    assert ask(server, "set", "new", "7").returncode == 0
    assert server.get("/visits/new").number == 7


@pytest.mark.parametrize("name", ["-x", "--", "--help", "-"])
def test_a_name_that_begins_with_a_dash_comes_after_two(server, name):
    assert server.get(f"/hit/{name}").number == 1
    assert ask(server, "get", "--", name).stdout == "1\n"
    assert ask(server, "set", "--", name, "41").returncode == 0
    assert server.get(f"/hit/{name}").number == 42
    assert ask(server, "--", "get", "--", name).stdout == "42\n"


@pytest.mark.parametrize("words", [
    ["get"], ["get", "homepage"], ["set", "homepage", "5"], ["export"],
    ["import"]])
def test_two_dashes_end_the_options_of_every_command(store, words):
    plain = command(store, *words)
    assert command(store, words[0], "--", *words[1:]).returncode == 0
    ended = command(store, "--", *words)
    assert (ended.returncode, ended.stdout) == (0, plain.stdout)


@pytest.mark.parametrize("words", [
    ["get", "-x"], ["set", "-x", "5"], ["export", "--json"],
    ["import", "-"], ["health", "--", "--"], ["get", "--", "-x", "-y"],
    ["get", "--", "--", "-x"], ["set", "--", "-x"], ["--", "--help"],
    ["--", "-x"], ["--", "--"], ["set", "-x", "--", "5"]], ids=" ".join)
def test_an_unknown_option_is_exit_100_and_says_what_would_be_right(
        store, words):
    done = command(store, *words)
    assert done.returncode == 100, done
    assert re.search(r"takes|see visitd --help", done.stderr)
    assert done.stdout == ""
    assert store.total() == 0
    assert ("-- NAME" in done.stderr) == (words[0] in ("get", "set"))


def test_get_of_an_unknown_counter_is_1_and_creates_nothing(store):
    for _ in range(2):
        done = command(store, "get", "nope")
        assert done.returncode == 1
        assert 'no counter "nope"' in done.stderr
        assert done.stdout == ""


def test_a_bad_name_says_what_is_wrong(store):
    done = command(store, "get", "a b")
    assert done.returncode == 100
    assert "a name has only A-Z a-z 0-9" in done.stderr


@pytest.mark.store("file")
@pytest.mark.parametrize("words", [["get"], ["set", "homepage", "5"]])
def test_promise_4_a_command_does_not_touch_garbage(store, words):
    """A set would be a repair, but not of what may be somebody's letter."""
    store.visits.write_text("dear diary\n")
    done = command(store, *words)
    assert done.returncode == 102, done
    assert str(store.visits) in done.stderr
    assert store.visits.read_text() == "dear diary\n"


@pytest.mark.root
@pytest.mark.store("file")
def test_set_by_root_leaves_files_that_the_workers_can_write(store):
    os.chown(store.data, 1000, 1000)
    assert command(store, "set", "homepage", "41").returncode == 0
    with Server(store) as server:
        assert server.visit() == 42
        assert command(store, "set", "homepage", "99").returncode == 0
        assert server.visit() == 100
    for file in store.data.iterdir():
        assert file.stat().st_uid == 1000, file


def test_commands_say_which_setting_is_bad(store):
    done = command(store, "get", STORE_TIMEOUT="soon")
    assert done.returncode == 102
    assert "STORE_TIMEOUT" in done.stderr


@pytest.mark.store("file")
def test_set_of_a_locked_store_gives_up(store):
    store.set_total(5)
    with open(store.visits, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = command(store, "set", "homepage", "9", STORE_TIMEOUT=200)
    assert done.returncode in (1, 111), done
    assert store.total() == 5
