"""What the log says at the start: where counting begins, and on which volume."""

import re

import pytest

import visitd
from visitd import Server


def said(server):
    """The lines of the log before it serves, without time and process."""
    before = server.stderr().split(" serving on ")[0]
    return re.findall(r"visitd\[\d+\] (\w+: .*)", before)


def begins(server):
    """What it says of the total."""
    return [line for line in said(server)
            if re.search(r", at \d+$|: begins at 0$", line)]


def test_it_says_where_it_begins(store):
    with Server(store) as server:
        (line,) = begins(server)
        assert line.endswith(", no number yet: begins at 0")
        assert store.total() == 0
    store.set_total(41)
    with Server(store) as server:
        (line,) = begins(server)
        assert line.endswith(", at 41")
        assert server.visit() == 42
        if store.name == "file":
            assert line == f"info: file {store.visits}, at 41"
        else:
            assert line.startswith(f"info: {store.peer} ")


@pytest.mark.store("file")
def test_it_names_the_file_that_it_was_given(store):
    path = store.root / "number.txt"
    path.write_text("7\n")
    with Server(store, VISITS_FILE=path) as server:
        assert begins(server) == [f"info: file {path}, at 7"]


@pytest.mark.store("redis", "postgres")
def test_a_store_that_is_down_at_the_start_says_no_number(store):
    with visitd.Server(store, **store.at("127.0.0.1", 1)) as server:
        assert not begins(server)
        assert "cannot be used now" in server.stderr()


ANONYMOUS = "0123456789abcdef" * 4 + "/_data"


def mounts(store, data, other):
    """A wrapper: in a container, as far as can be seen, with a folder mounted as
    DATA_DIR, and another one elsewhere."""
    for folder in (data, "other", "app"):
        (store.root / folder).mkdir(parents=True, exist_ok=True)
    script = ("mount -t tmpfs none /run && touch /run/.containerenv"
              f" && mount --bind {store.root / data} {store.data}")
    if other:
        script += (f" && mount --bind {store.root / 'other'} {store.root / 'app'}"
                   f" && mount -o remount,bind,{other} {store.root / 'app'}")
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c",
            script + ' && exec "$@"', "sh"]


@pytest.mark.root
@pytest.mark.store("file")
@pytest.mark.parametrize("data,other,is_warned", [
    (ANONYMOUS, "rw", True), (ANONYMOUS, "ro", False), (ANONYMOUS, None, False),
    ("named", "rw", False)])
def test_a_volume_without_a_name_beside_another_is_a_warning(
        store, data, other, is_warned):
    with Server(store, wrap=mounts(store, data, other)) as server:
        server.visit()
        warnings = [line for line in said(server)
                    if f"and {store.root / 'app'} is mounted" in line]
    assert warnings == is_warned * [
        f"warn: {store.visits} is on a volume without a name, and the next "
        f"container gets another one, and {store.root / 'app'} is mounted: "
        f"if the count should be there, mount that at {store.data}, or set "
        f"DATA_DIR (for a file, VISITS_FILE) to {store.root / 'app'}"]


@pytest.mark.root
@pytest.mark.store("file")
def test_a_file_of_its_own_volume_is_no_warning(store):
    """VISITS_FILE leads to where the other one is mounted."""
    wrap = mounts(store, ANONYMOUS, "rw")
    with Server(store, wrap=wrap, VISITS_FILE=store.root / "app" / "visits"
                ) as server:
        assert server.visit() == 1
        assert "volume" not in server.stderr()
    assert (store.root / "other" / "visits").read_text() == "1\n"
