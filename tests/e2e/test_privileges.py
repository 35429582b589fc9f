"""As root: workers take the owner of DATA_DIR, or give up root's powers."""

import os
import re
from pathlib import Path

import pytest

from visitd import Server, wait_for

pytestmark = [pytest.mark.root, pytest.mark.store("file")]


def status_of(pid):
    """The fields of /proc/PID/status."""
    text = Path(f"/proc/{pid}/status").read_text()
    return dict(re.findall(r"(\w+):\t(.*)", text))


def settled(server):
    """The workers' status once they have let go of their powers."""
    server.visit()
    wait_for(lambda: all(int(status_of(pid)["CapEff"], 16) == 0
                         for pid in server.all_workers()),
             what="workers without capabilities")
    return [status_of(pid) for pid in server.all_workers()]


@pytest.mark.parametrize("uid,gid", [(1000, 1000), (12345, 54321)])
def test_workers_take_the_owner_of_data_dir(store, uid, gid):
    os.chown(store.data, uid, gid)
    with Server(store) as server:
        for status in settled(server):
            assert status["Uid"].split() == [str(uid)] * 4
            assert status["Gid"].split() == [str(gid)] * 4
            assert status["Groups"].split() in ([], [str(gid)])
            assert int(status["CapPrm"], 16) == 0
        assert "warn" not in server.stderr().lower()
    for name in ("visits", "history"):
        assert (store.data / name).stat().st_uid == uid


def test_workers_stay_root_without_capabilities_and_with_one_warning(store):
    with Server(store, WORKERS=3) as server:
        for status in settled(server):
            assert status["Uid"].split() == ["0"] * 4
            for which in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
                assert int(status[which], 16) == 0, which
            assert status["NoNewPrivs"] == "1"
        warnings = [line for line in server.stderr().splitlines()
                    if "root" in line]
        assert len(warnings) == 1, server.stderr()


def test_a_successor_gives_up_its_powers_too(store):
    os.chown(store.data, 1000, 1000)
    with Server(store) as server:
        victim = server.all_workers()[0]
        os.kill(victim, 9)
        wait_for(lambda: victim not in server.workers())
        for status in settled(server):
            assert status["Uid"].split() == ["1000"] * 4


def test_files_of_root_in_a_users_folder_are_named_or_served(store):
    """A `visits` that the workers cannot write: 503 or 102, never wrong."""
    os.chown(store.data, 1000, 1000)
    store.set_total(41)
    store.visits.chmod(0o644)
    try:
        with Server(store) as server:
            reply = server.get()
            if reply.status == 200:
                assert reply.number == 42
            else:
                assert reply.status == 503
                assert str(store.visits) in server.stderr()
    except AssertionError as failure:
        assert "exit 102" in str(failure) or "exit 111" in str(failure)
        assert str(store.visits) in str(failure)
