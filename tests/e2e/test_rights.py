"""Files and folders of another user: what to do is said, and it helps."""

import os
import re
import shlex
import subprocess

import pytest

from visitd import BINARY, Server, command, wait_for

pytestmark = [pytest.mark.root, pytest.mark.store("file")]

USER = 1000
AS_USER = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
FILES = ("visits", "counters", "history", "items")


def fill(store):
    """A folder with everything in it, all of it root's."""
    os.chmod(store.root, 0o755)
    with Server(store) as server:
        assert server.visit() == 1
        assert server.get("/hit/a").status == 200
        assert server.request("POST", "/items", (), b'{"name": "x"}'
                              ).status == 201
    for name in FILES:
        assert (store.data / name).stat().st_uid == 0


def start(store, **settings):
    """It does not start: what it says."""
    done = subprocess.run(
        [*AS_USER, BINARY], cwd=store.root, text=True, check=False,
        capture_output=True, timeout=60,
        env={"PATH": os.environ["PATH"], "PORT": "1", "BIND": "127.0.0.1",
             **store.settings(), **settings})
    assert done.returncode == 111, done
    return done.stderr


def advice(text):
    """The command that the message tells, as words for this machine: in a
    container (this may be one) it is one for the host of that."""
    found = re.search(r"(?:as root, (chown)|on the host, docker run --rm --user"
                      r" 0 --entrypoint (chown) -v VOLUME:\S+ IMAGE)"
                      r" (\d+:\d+(?: /\S+)+), or run visitd as (\d+) ", text)
    assert found, text
    assert found[4] == "0" and 'user: "0"' in text
    return ["chown", *shlex.split(found[3])]


@pytest.mark.parametrize("name", FILES[:3])
def test_a_file_of_root_in_a_good_folder(store, name):
    fill(store)
    for path in (store.data, *store.data.iterdir()):
        os.chown(path, USER, USER)
    os.chown(store.data / name, 0, 0)
    text = start(store)
    assert f"{store.data / name}: Permission denied: " in text
    assert (f"{store.data / name} belongs to 0:0 with mode 0644, and visitd"
            f" runs as {USER}:{USER}: ") in text
    words = advice(text)
    assert words == ["chown", f"{USER}:{USER}", str(store.data / name)]
    subprocess.run(words, check=True)
    with Server(store, wrap=AS_USER) as server:
        assert server.visit() == 2


def test_a_volume_of_root_that_holds_files(store):
    """One command is for all of them."""
    fill(store)
    words = advice(start(store))
    assert words[1:] == [f"{USER}:{USER}", str(store.data),
                         *(str(store.data / name) for name in FILES)]
    subprocess.run(words, check=True)
    with Server(store, wrap=AS_USER) as server:
        assert server.visit() == 2
        assert server.get("/hit/a").number == 2
        assert server.request("POST", "/items", (), b'{"name": "y"}'
                              ).json["id"] == 2


def test_a_new_folder_of_root(store):
    os.chmod(store.root, 0o755)
    words = advice(start(store))
    assert words[1:] == [f"{USER}:{USER}", str(store.data)]
    subprocess.run(words, check=True)
    with Server(store, wrap=AS_USER) as server:
        assert server.visit() == 1


def test_a_503_says_it_and_ends_with_it(store):
    """A file that root puts in the place of one, while it runs."""
    os.chown(store.data, USER, USER)
    os.chmod(store.root, 0o755)
    with Server(store, wrap=AS_USER) as server:
        assert server.visit() == 1
        fresh = store.data / "fresh"
        fresh.write_text("41\n")
        fresh.rename(store.visits)
        assert wait_for(lambda: server.get().status == 503)
        words = advice(server.stderr())
        assert words[2:] == [str(store.visits)]
        subprocess.run(words, check=True)
        assert server.visit() == 42


@pytest.mark.parametrize("target,body", [("/items", b'{"name": "x"}'),
                                         ("/hit/a", b"")])
def test_a_file_that_is_first_needed_later(store, target, body):
    name = {"/items": "items", "/hit/a": "counters"}[target]
    os.chown(store.data, USER, USER)
    os.chmod(store.root, 0o755)
    with Server(store, wrap=AS_USER) as server:
        server.visit()
        (store.data / name).write_text("")
        assert server.request("POST", target, (), body).status == 503
        subprocess.run(advice(server.stderr()), check=True)
        assert server.request("POST", target, (), body).status in (200, 201)


def test_a_mode_of_its_own_file(store):
    os.chmod(store.root, 0o755)
    os.chown(store.data, USER, USER)
    store.set_total(41)
    os.chown(store.visits, USER, USER)
    store.visits.chmod(0o444)
    text = start(store)
    found = re.search(rf"{store.visits} has mode 0444: (chmod u\+rwX .*)\n",
                      text)
    subprocess.run([*AS_USER, *shlex.split(found[1])], check=True)
    with Server(store, wrap=AS_USER) as server:
        assert server.visit() == 42


def test_a_folder_that_it_may_not_reach(store):
    os.chmod(store.root, 0o700)
    os.chown(store.data, USER, USER)
    text = start(store)
    assert f"user {USER} may not enter {store.root}: " in text
    words = re.search(r"as root, (chmod a\+x .*)\n", text)[1]
    subprocess.run(shlex.split(words), check=True)
    with Server(store, wrap=AS_USER) as server:
        assert server.visit() == 1


def test_a_folder_that_it_may_not_make(store):
    os.chmod(store.root, 0o755)
    path = store.root / "none"
    text = start(store, DATA_DIR=str(path))
    words = re.search(r"as root, (install -d .*) \(in a container", text)[1]
    subprocess.run(shlex.split(words), check=True)
    with Server(store, wrap=AS_USER, DATA_DIR=path) as server:
        assert server.visit() == 1


def test_workers_of_root_that_may_not_reach_the_folder(store):
    """The master may: they become the owner of DATA_DIR."""
    os.chmod(store.root, 0o700)
    os.chown(store.data, USER, USER)
    done = command(store, PORT=1, BIND="127.0.0.1")
    assert done.returncode == 111, done
    assert f"as root, chmod a+x {store.root}\n" in done.stderr
