"""Promise 1: an answered visit survives restarts and kill -9."""

import os
import signal

import pytest

import visitd
from load import Load
from visitd import count_on, wait_for


def check_answered(result, total, before=0):
    """No number twice, none beyond the total."""
    numbers = sorted(result.numbers)
    assert numbers, result
    assert len(set(numbers)) == len(numbers), "a number was answered twice"
    assert before < numbers[0] and numbers[-1] <= total
    return numbers


@pytest.mark.parametrize("depth", [1, 8])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_promise_1_restart_under_load(store, number, depth):
    """Every visit counted before the end is answered, and counting goes on."""
    with visitd.Server(store, WORKERS=4) as server:
        with Load(server.port, depth=depth) as load:
            count_on(store)
            server.stop(number)
            result = load.stop()
        total = store.total()
        numbers = check_answered(result, total)
        assert numbers == list(range(1, total + 1))
        server.start()
        assert server.visit() == total + 1


def test_promise_1_kill_a_worker(store):
    """It is replaced, the reason is logged, the others go on."""
    with visitd.Server(store, WORKERS=3) as server:
        before = server.all_workers()
        with Load(server.port, clients=12) as load:
            count_on(store)
            os.kill(before[0], signal.SIGKILL)
            wait_for(lambda: set(server.workers()) - set(before)
                     and len(server.workers()) == 3, what="a new worker")
            count_on(store)
            result = load.stop()
        check_answered(result, store.total())
        reason = [line for line in server.stderr().splitlines()
                  if str(before[0]) in line]
        assert any("9" in line or "kill" in line.lower() for line in reason), (
            server.stderr())
        assert before[0] not in server.workers()
        assert set(before[1:]) <= set(server.workers())


def test_every_worker_can_be_killed_in_turn(store):
    with visitd.Server(store) as server:
        for _ in range(3):
            victim = server.all_workers()[0]
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda: victim not in server.workers())
            server.visit()
        server.all_workers()
    assert store.total() == 3


@pytest.mark.slow
def test_promise_1_kill_the_master(store):
    """Its workers drain and go; a successor can start and counts on."""
    with visitd.Server(store, WORKERS=3) as server:
        orphans = server.all_workers()
        with Load(server.port) as load:
            count_on(store)
            os.kill(server.master, signal.SIGKILL)
            server.process.wait()
            wait_for(lambda: all(visitd.process_state(pid) in "ZX"
                                 for pid in orphans),
                     within=20, what="the workers to end")
            result = load.stop()
        total = store.total()
        assert check_answered(result, total) == list(range(1, total + 1))
        server.start()
        assert server.visit() == total + 1


def test_a_dead_master_never_blocks_a_restart(store):
    """Even while its workers drain a client that dawdles."""
    with visitd.Server(store) as server, server.client() as slow:
        slow.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        server.visit()
        os.kill(server.master, signal.SIGKILL)
        server.process.wait()
        wait_for(lambda: not server.connectable(), within=4,
                 what="the listener to be closed")
        server.start()
        assert server.visit() == 2


def test_promise_1_kill_the_whole_group(store):
    """A few rounds of tests/crash/run."""
    answered = set()
    with visitd.Server(store, WORKERS=4) as server:
        for _ in range(4):
            before = store.total()
            with Load(server.port, clients=16, depth=2) as load:
                count_on(store)
                server.kill_group()
                result = load.stop()
            total = store.total()
            numbers = check_answered(result, total, before)
            assert not answered.intersection(numbers)
            answered.update(numbers)
            server.start()
        assert server.visit() == total + 1
