"""Signals and processes: ending, renewing, being the first process."""

import os
import signal
import subprocess
import time

import pytest

import visitd
from load import Load
from visitd import Server, count_on, render, wait_for


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_with_0(store, number):
    with Server(store) as server:
        server.visit()
        server.stop(number)


def test_a_signal_in_the_first_moment_ends_it(store):
    """Before it is ready it may die of the signal, but not hang."""
    with Server(store) as server:
        for _ in range(10):
            server.stop()
            server.launch()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(20) in (0, -signal.SIGTERM)
            wait_for(lambda: not server.group(), what="all to be gone")
            server.start()


def test_sigterm_answers_what_has_begun(store):
    """A request half sent when the signal comes is still answered."""
    with Server(store) as server:
        clients = [server.client() for _ in range(8)]
        for client in clients:
            client.send(render()[:-4])
        server.get("/robots.txt")
        begun = time.monotonic()
        server.kill(signal.SIGTERM)
        wait_for(lambda: not server.connectable(), what="refusal")
        for client in clients:
            client.send(render()[-4:])
        numbers = sorted(client.reply().number for client in clients)
        for client in clients:
            client.ends()
            client.close()
        server.ended(0)
        assert time.monotonic() - begun < 20
        assert numbers == list(range(1, 9))
    assert store.total() == 8


@pytest.mark.slow
def test_sigterm_ends_within_10_seconds_whatever_clients_do(store):
    """Idle connections, half a head, a reader who never reads."""
    with Server(store) as server:
        idle = [server.client() for _ in range(20)]
        idle[0].request()
        idle[1].send(b"GET / HTTP/1.1\r\n")
        idle[2].socket.setblocking(False)
        try:
            while True:
                idle[2].socket.send(render() * 100)
        except BlockingIOError:
            pass
        begun = time.monotonic()
        server.kill(signal.SIGTERM)
        server.ended(0)
        assert time.monotonic() - begun < 20
        for client in idle:
            client.close()


def test_sigterm_closes_idle_connections_in_order(store):
    with Server(store) as server:
        with server.client() as client:
            client.request()
            server.kill(signal.SIGTERM)
            client.ends()
            server.ended(0)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_sighup_replaces_all_workers_without_a_failed_request(store):
    """Three times under load of kept and of new connections."""
    with Server(store, WORKERS=3) as server:
        with Load(server.port, clients=12, processes=1) as kept, \
                Load(server.port, clients=4, processes=1, close=True) as new:
            for _ in range(3):
                count_on(store)
                old = set(server.all_workers())
                server.kill(signal.SIGHUP)
                wait_for(lambda old=old: not old.intersection(
                    server.workers()), within=20, what="the old to go")
                server.all_workers()
            results = [kept.stop(), new.stop()]
        for result in results:
            assert not result.errors, result
            assert set(result.statuses) == {"200"}, result
        numbers = sorted(n for r in results for n in r.numbers)
        assert numbers == list(range(1, store.total() + 1))


@pytest.mark.slow
def test_sighup_ends_old_workers_whatever_clients_do(store):
    """An idle and a dawdling client hold them for 10 s at most."""
    with Server(store) as server:
        old = set(server.all_workers())
        with server.client() as idle, server.client() as dawdler:
            idle.request()
            dawdler.send(b"GET / HTTP/1.1\r\n")
            server.visit()
            server.kill(signal.SIGHUP)
            wait_for(lambda: not old.intersection(server.workers()),
                     within=20, what="the old workers to go")
            server.all_workers()
            assert server.visit() == 3


def test_sighup_many_times_at_once(store):
    with Server(store) as server:
        for _ in range(20):
            server.kill(signal.SIGHUP)
        assert server.visit() == 1
        wait_for(lambda: len(server.workers()) == 2, within=25,
                 what="two workers")
        assert server.visit() == 2


def test_a_stopped_worker_holds_up_no_new_client(store):
    """Whichever of two it is, the other one takes the connections."""
    with Server(store, WORKERS=2) as server:
        for stopped in server.all_workers():
            server.visit()
            os.kill(stopped, signal.SIGSTOP)
            try:
                for _ in range(10):
                    with server.client(timeout=20) as client:
                        assert client.request().status == 200
            finally:
                os.kill(stopped, signal.SIGCONT)


FIRST = ["unshare", "--pid", "--fork", "--mount-proc"]


@pytest.mark.root
def test_as_the_first_process_it_handles_sigterm(store):
    with Server(store, wrap=FIRST) as server:
        assert server.visit() == 1
        server.kill(signal.SIGTERM)
        server.ended(0)


@pytest.mark.root
def test_as_the_first_process_it_does_not_lose_an_early_sigterm(store):
    """The kernel drops a signal that a first process has not taken up: once
    it listens, it must have."""
    with Server(store, wrap=FIRST) as server:
        for _ in range(5):
            server.stop()
            server.launch()
            wait_for(server.connectable)
            server.master = server._find_master()
            server.stop()
            server.start()


@pytest.mark.root
def test_as_the_first_process_it_reaps_orphans(store):
    with Server(store, wrap=FIRST) as server:
        workers = server.all_workers()
        for _ in range(5):
            subprocess.run(
                ["nsenter", "--target", str(server.master), "--pid",
                 "sh", "-c", "(sleep 0.01 &) ; exit 0"], check=True)
        wait_for(lambda: len(all_children(server.master)) == len(workers),
                 what="orphans to be reaped")
        assert server.workers() == workers
        assert server.visit() == 1


def all_children(pid):
    """The children of a process, the dead ones too."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return file.read().split()


def test_no_worker_is_left_a_zombie(store):
    with Server(store) as server:
        for _ in range(3):
            victim = server.all_workers()[0]
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda: len(all_children(server.master)) == 2
                     and len(server.workers()) == 2
                     and str(victim) not in all_children(server.master),
                     what="a successor")


def test_sigpipe_and_sigusr_do_not_end_it(store):
    """A client that is gone raises no signal that kills."""
    with Server(store) as server:
        server.kill(signal.SIGPIPE)
        for pid in server.all_workers():
            os.kill(pid, signal.SIGPIPE)
        assert server.visit() == 1
        assert visitd.process_state(server.master) not in "ZX"


# A user of its own, so that the limit of its processes is the test's.
AS_USER = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]


def limit_processes(server, number):
    """So many processes of the server's user may there be from now on."""
    subprocess.run([*AS_USER, "prlimit", f"--pid={server.master}",
                    f"--nproc={number}:"], check=True)


@pytest.mark.root
def test_sighup_keeps_the_workers_whose_successors_cannot_be_forked(store):
    os.chown(store.root, 54321, 54321)
    os.chown(store.data, 54321, 54321)
    with Server(store, WORKERS=2, wrap=AS_USER) as server:
        old = server.all_workers()
        limit_processes(server, 1)
        server.kill(signal.SIGHUP)
        wait_for(lambda: server.stderr().count("cannot fork a worker") >= 4)
        assert server.workers() == old
        assert server.visit() == 1
        limit_processes(server, 1000)
        wait_for(lambda: len(server.workers()) == 2
                 and not set(server.workers()) & set(old))
        assert server.visit() == 2


def test_sighup_while_a_worker_retires(store):
    """The second one waits for the end of the first: a slot has one worker that
    retires, and its successor. The first is stopped, so that it cannot end."""
    with Server(store, WORKERS=1) as server:
        first, = server.all_workers()
        with server.client() as client:
            assert client.request().number == 1
            os.kill(first, signal.SIGSTOP)
            server.kill(signal.SIGHUP)
            second, = wait_for(lambda: set(server.workers()) - {first})
            # The third is told of when the second has been seen to.
            for times in (2, 3):
                server.kill(signal.SIGHUP)
                wait_for(lambda n=times: n == server.stderr().count(
                    "replacing"), what="the signal")
            assert set(server.workers()) == {first, second}
            assert server.visit() == 2
            os.kill(first, signal.SIGCONT)
        wait_for(lambda: len(server.workers()) == 1
                 and not set(server.workers()) & {first, second}, within=20)
        assert server.visit() == 3
