"""TZ: one zone for all processes, read at the start and with SIGHUP."""

import os
import re
import shutil
import signal
import subprocess
import time
from email.utils import parsedate
from pathlib import Path

import pytest

from visitd import BINARY, Server, command, render, wait_for

TIME = "%Y-%m-%dT%H:%M:%S"
EAST, WEST = "Etc/GMT-14", "Etc/GMT+12"  # their dates always differ


@pytest.fixture(name="zone")
def zone_path(store):
    """A file for TZ, in a folder that every user may enter."""
    path = store.root / "zone"
    put(path, WEST)
    return path


def put(path, zone):
    """Put a time zone into a file, by rename."""
    fresh = path.with_suffix(".new")
    shutil.copyfile(Path("/usr/share/zoneinfo") / zone, fresh)
    os.replace(fresh, path)


def offsets(server):
    """Of the times that some connections are told, which go to any worker."""
    return {server.get("/", {"Accept": "application/json",
                             "Purpose": "prefetch"}).json["time"][-6:]
            for _ in range(8)}


def renew(server):
    """SIGHUP, and the new workers are there alone."""
    old = set(server.all_workers())
    server.kill(signal.SIGHUP)
    wait_for(lambda: len(server.workers()) == len(old)
             and not old.intersection(server.workers()), what="new workers")


def lose_a_worker(server):
    """A worker dies, and has its successor."""
    victim = server.all_workers()[0]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: victim not in server.workers())
    return server.all_workers()


@pytest.mark.parametrize("zone,wanted", [
    ("Europe/Nowhere", 102), (":x", 102), ("CEST", 102),
    ("CET-1CEST,M3.5.0", 102), ("CET-1CEST,M3.5.0,M10.5.0/3 ", 102),
    ("UTC+25", 102), ("CET-1CEST,M3.5.0,M10.5.0/3", 0), ("", 0), ("<+03>-3", 0),
    (":UTC", 0), (None, 0)])
def test_a_zone_that_cannot_be_loaded_is_exit_102(store, zone, wanted):
    done = command(store, "get", TZ=zone)
    assert done.returncode == wanted, done
    assert (f"TZ={zone}: takes" in done.stderr) == bool(wanted)


def test_sighup_reads_the_file_again(store, zone):
    with Server(store, TZ=f":{zone}") as server:
        assert offsets(server) == {"-12:00"}
        put(zone, EAST)
        assert offsets(server) == {"-12:00"}
        renew(server)
        assert offsets(server) == {"+14:00"}


@pytest.mark.root
@pytest.mark.parametrize("unset", [None, ""])
def test_sighup_reads_the_zone_of_the_system_again(store, zone, unset):
    """/etc/localtime, in a mount namespace of its own."""
    with Server(store, TZ=unset, wrap=[
            "unshare", "--mount", "--propagation", "private", "sh", "-c",
            f'mount --bind {zone} /etc/localtime && exec "$@"', "sh"
    ]) as server:
        assert offsets(server) == {"-12:00"}
        other = store.root / "other"
        put(other, EAST)
        subprocess.run(["nsenter", f"--mount=/proc/{server.master}/ns/mnt",
                        "mount", "--bind", other, "/etc/localtime"],
                       check=True)
        assert offsets(server) == {"-12:00"}
        lose_a_worker(server)
        assert offsets(server) == {"-12:00"}
        renew(server)
        assert offsets(server) == {"+14:00"}


def test_a_successor_has_the_zone_of_the_others(store, zone):
    """Else the workers would not agree what day it is."""
    with Server(store, TZ=f":{zone}") as server:
        put(zone, EAST)
        for _ in range(2):
            lose_a_worker(server)
        assert offsets(server) == {"-12:00"}


@pytest.mark.parametrize("broken", [None, "no zone\n"])
def test_a_zone_that_cannot_be_loaded_any_more_stays(store, zone, broken):
    with Server(store, TZ=f":{zone}") as server:
        zone.unlink()
        if broken:
            zone.write_text(broken)
        renew(server)
        assert offsets(server) == {"-12:00"}
        assert re.search(rf"error: TZ=:{zone} cannot be loaded any more",
                         server.stderr())
        put(zone, EAST)
        renew(server)
        assert offsets(server) == {"+14:00"}


CLOCK = """
static const long long moment = (1LL << 31) + %d;
long time(long *at) { if (at) *at = (long)moment; return (long)moment; }
long long __time64(long long *at) { if (at) *at = moment; return moment; }
"""


@pytest.mark.store("file")
@pytest.mark.preloads
@pytest.mark.parametrize("second,text", [
    (-1, "2038-01-19T03:14:07+00:00"), (0, "2038-01-19T03:14:08+00:00"),
    (2**31, "2106-02-07T06:28:16+00:00")])
def test_time_goes_on_after_2038(store, second, text):
    """Where a long has 32 bits, too."""
    library = store.root / "clock.so"
    bits = "-m32" if BINARY.read_bytes()[4] == 1 else "-m64"
    subprocess.run(["gcc", bits, "-w", "-fno-builtin", "-shared", "-fPIC", "-x",
                    "c", "-o", library, "-"], input=CLOCK % second, text=True,
                   check=True)
    with Server(store, TZ="UTC", LD_PRELOAD=library) as server:
        with server.client() as client:
            client.send(render(headers={"Connection": "close"}))
            reply = b"".join(iter(lambda: client.socket.recv(4096), b""))
        assert reply.decode().endswith(f"\r\n\r\n{text}\nvisits: 1\n")
        date = re.search(rb"\nDate: (.*)\r", reply)[1].decode()
        assert parsedate(date)[:5] == time.strptime(text[:19], TIME)[:5]
    assert store.history.read_text() == f"{text[:10]} 0\n"


@pytest.mark.root
@pytest.mark.store("file")
def test_the_zone_is_read_before_the_rights_to_are_given_up(store, zone):
    os.chown(store.data, 1000, 1000)
    zone.chmod(0o600)
    with Server(store, TZ=f":{zone}") as server:
        assert offsets(server) == {"-12:00"}
        put(zone, EAST)
        zone.chmod(0o600)
        renew(server)
        assert offsets(server) == {"+14:00"}
