"""Only the master's first look makes anything: the folder of the files is away,
or another one is in its place, and nothing begins at zero. Mounts are made in a
mount namespace of the server's own, through nsenter."""

import os
import re
import signal
import subprocess

import pytest

import visitd
from visitd import Server, refusal, wait_for

pytestmark = [pytest.mark.store("file")]


def away(store):
    """Take the folder away; gives where it is."""
    aside = store.root / "aside"
    store.data.rename(aside)
    return aside


def is_refused(server, *targets):
    for target in targets or ("/", "/visits", "/hit/a", "/visits/a"):
        assert "the folder" in refusal(server, target), target
    visitd.health(server, 503)


@pytest.fixture(name="server")
def running(store):
    with Server(store, STORE_TIMEOUT=1000) as server:
        assert server.visit() == 1
        assert server.get("/hit/a").status == 200
        yield server


def test_away_is_503_and_back_is_where_it_was(server, store):
    aside = away(store)
    is_refused(server)
    assert not store.data.exists()
    aside.rename(store.data)
    assert server.visit() == 2
    assert server.get("/visits/a").status == 200
    assert server.stderr().count("the store works again") <= 2 * 2


def test_a_worker_that_starts_meanwhile_makes_nothing(store):
    with Server(store, WORKERS=1) as server:
        assert server.visit() == 1
        aside = away(store)
        old, = server.workers()
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: server.workers() and server.workers() != [old])
        is_refused(server)
        new = server.workers()
        server.kill(signal.SIGHUP)
        wait_for(lambda: server.workers()
                 and not set(server.workers()) & set(new))
        is_refused(server)
        assert not store.data.exists()
        aside.rename(store.data)
        assert server.visit() == 2


def test_another_folder_in_its_place(server, store):
    """An empty one, and one with a number: neither goes on from here."""
    aside = away(store)
    store.data.mkdir()
    is_refused(server)
    (store.data / "visits").write_text("100\n")
    is_refused(server)
    assert sorted(p.name for p in store.data.iterdir()) == ["visits"]
    assert (store.data / "visits").read_text() == "100\n"
    (store.data / "visits").unlink()
    store.data.rmdir()
    aside.rename(store.data)
    assert server.visit() == 2


def test_made_anew_under_the_same_number(server, store):
    """rmdir and mkdir: the held folder keeps its inode's number in use."""
    for file in store.data.iterdir():
        file.unlink()
    store.data.rmdir()
    store.data.mkdir()
    is_refused(server)
    server.kill(signal.SIGHUP)
    is_refused(server)


def test_a_restart_begins_where_the_files_say(store):
    with Server(store) as server:
        server.visit()
        away(store)
        store.data.mkdir()
        is_refused(server)
    with Server(store) as server:
        assert server.visit() == 1


def test_a_removed_file_begins_at_zero(server, store):
    store.visits.unlink()
    assert server.visit() == 1


def test_the_folder_of_visits_file(store):
    other = store.root / "other"
    other.mkdir()
    with Server(store, VISITS_FILE=other / "number",
                STORE_TIMEOUT=1000) as server:
        assert server.visit() == 1
        other.rename(store.root / "gone")
        assert "the folder" in refusal(server)
        assert server.get("/hit/a").status == 200
        other.mkdir()
        assert "the folder" in refusal(server)
        other.rmdir()
        (store.root / "gone").rename(other)
        assert server.visit() == 2


@pytest.mark.parametrize("words", [
    ("get",), ("get", "a"), ("set", "a", "5"), ("set", "homepage", "5"),
    ("export",), ("import",)], ids=" ".join)
def test_commands_make_no_folder(store, words):
    store.data.rmdir()
    done = visitd.command(store, *words, stdin="1 a\n")
    assert done.returncode == 111, done
    assert done.stdout == ""
    assert str(store.data) in done.stderr
    assert not store.data.exists()


@pytest.mark.parametrize("words", [("get",), ("export",)], ids=" ".join)
def test_commands_that_read_make_no_file(store, words):
    assert visitd.command(store, *words).returncode == 0
    assert not list(store.data.iterdir())


# Mounts


@pytest.fixture(name="mounted")
def mounted_server(store):
    """A server in a mount namespace, on a tmpfs of its own with 50 visits."""
    prepare = (f"mount -t tmpfs none {store.data} && echo 50 > {store.visits}"
               ' && exec "$@"')
    with Server(store, STORE_TIMEOUT=1000, wrap=[
            "unshare", "--mount", "--propagation", "private", "sh", "-c",
            prepare, "sh"]) as server:
        assert server.visit() == 51
        yield server


def inside(server, script):
    """Run a script in the server's mount namespace."""
    subprocess.run(["nsenter", f"--mount=/proc/{server.master}/ns/mnt", "sh",
                    "-ec", script], check=True, capture_output=True)


@pytest.mark.root
def test_an_unmounted_folder(mounted, store):
    inside(mounted, f"umount -l {store.data}")
    is_refused(mounted)
    assert not list(store.data.iterdir())
    assert re.search("error: the folder .* another one", mounted.stderr())


@pytest.mark.root
@pytest.mark.parametrize("number,goes_on", [
    (51, True), (60, True), (50, False), ("x", False), ("", False)])
def test_a_folder_that_is_mounted_again(mounted, store, number, goes_on):
    """With a number that is not below the last one it is the right one."""
    inside(mounted, f"umount -l {store.data}; "
           f"mount -t tmpfs none {store.data}; echo {number} > {store.visits}")
    if goes_on:
        assert mounted.visit() == number + 1
        assert mounted.get("/hit/b.json").json["value"] == 1
    else:
        is_refused(mounted)
        inside(mounted, f'test "$(cat {store.visits})" = "{number}"')
