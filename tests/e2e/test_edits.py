"""Promise 3: what somebody writes into `visits` is where counting goes on.
A thousand edits of each kind while four workers count."""

import contextlib
import fcntl
import os
import random
import subprocess
import time

import pytest

import visitd
from load import Load
from visitd import Server, command

pytestmark = [pytest.mark.store("file"), pytest.mark.slow]

EDITS = 1000
# Edited numbers are multiples of STEP; fewer than STEP visits come between.
STEP = 10**6
# What counting begins at: below STEP is only what nobody has written.
START = STEP


def edited_numbers(count):
    """Distinct multiples of STEP, of many lengths, going up and down."""
    rng = random.Random(7)
    numbers = set()
    while len(numbers) < count:
        numbers.add(STEP * rng.randrange(2, 3 * 10 ** rng.randrange(0, 11)))
    numbers = list(numbers)
    rng.shuffle(numbers)
    return numbers


@contextlib.contextmanager
def counting(store, **settings):
    """A server of four workers under load, and a client beside it."""
    store.set_total(START)
    with Server(store, WORKERS=4, **settings) as server:
        with Load(server.port, clients=6, processes=1) as load:
            with server.client() as client:
                yield server, load, client


def check(result, edits, stalled=False):
    """Every answer is 200 and follows some edit or the start; where an editor
    was stalled, nothing too."""
    assert set(result.statuses) == {"200"} and not result.errors, result
    bases = {number // STEP for number in (START, *edits)}
    bases |= {0} if stalled else set()
    strange = [n for n in result.numbers if n // STEP not in bases]
    assert not strange, strange[:10]


def echo(path, number):
    """What a shell's echo does; whether it was kept from the CPU between its
    truncation and its write for as long as visitd waits for the latter."""
    begun = time.monotonic()
    file = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.write(file, f"{number}\n".encode())
    took = time.monotonic() - begun
    os.close(file)
    return took > 0.09


def check_distinct(numbers):
    assert len(set(numbers)) == len(numbers), "a number was answered twice"


def test_promise_3_a_thousand_replacements(store):
    """By rename: the next visit follows the new number, always."""
    seen = []
    edits = edited_numbers(EDITS)
    with counting(store) as (_, load, client):
        for number in edits:
            store.set_total(number)
            seen.append(client.request().number)
            assert number < seen[-1] < number + STEP
        result = load.stop()
    check(result, edits)
    check_distinct(result.numbers + seen)
    assert store.total() > edits[-1]


def test_promise_3_a_thousand_edits_under_flock(store):
    """In place, as `flock visits sh -c 'echo N > visits'` does it."""
    seen = []
    edits = edited_numbers(EDITS)
    with counting(store) as (_, load, client):
        client.request()
        for number in edits:
            with open(store.visits, "r+b") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                store.visits.write_text(f"{number}\n")
            seen.append(client.request().number)
            assert number < seen[-1] < number + STEP
        result = load.stop()
    check(result, edits)
    check_distinct(result.numbers + seen)
    assert edits[-1] < store.total() < edits[-1] + STEP


def test_promise_3_the_flock_command_itself(store):
    with counting(store) as (_, load, client):
        client.request()
        for number in edited_numbers(20):
            subprocess.run(
                ["flock", str(store.visits), "sh", "-c",
                 'echo "$0" > "$1"', str(number), str(store.visits)],
                check=True)
            assert number < client.request().number < number + STEP
        assert set(load.stop().statuses) == {"200"}


def test_promise_3_a_thousand_visitd_set(store):
    seen = []
    edits = edited_numbers(EDITS // (10 if visitd.SANITIZED else 1))
    with counting(store) as (_, load, client):
        for number in edits:
            done = command(store, "set", "homepage", str(number))
            assert done.returncode == 0, done
            seen.append(client.request().number)
            assert number < seen[-1] < number + STEP
        result = load.stop()
    check(result, edits)
    check_distinct(result.numbers + seen)


def test_promise_3_a_thousand_bare_echoes_never_break_it(store):
    """A visit may overtake the edit, but every answer is a 200 that follows
    some edit, and the file is a number at the end."""
    edits = edited_numbers(EDITS)
    stalled = False
    with counting(store) as (_, load, client):
        client.request()
        for number in edits:
            stalled |= echo(store.visits, number)
            assert client.request().status == 200
        result = load.stop()
        check(result, edits, stalled)
        store.visits.write_text("41\n")
        assert client.request().number == 42
        assert store.total() == 42


def test_promise_3_the_echo_of_a_real_shell(store):
    with counting(store) as (_, load, client):
        client.request()
        slow = subprocess.run(
            ["bash", "-c", """
             for i in $(seq 1000); do
                 begun=${EPOCHREALTIME/[.,]/}
                 echo "${i}000000" > "$0"
                 took=$((${EPOCHREALTIME/[.,]/} - begun))
                 ((took > 90000)) && echo "$took us"
             done; true""", str(store.visits)],
            check=True, stdout=subprocess.PIPE).stdout
        result = load.stop()
        check(result, [i * STEP for i in range(1, 1001)], bool(slow))
        store.visits.write_text("41\n")
        assert client.request().number == 42


def test_promise_3_replacements_with_a_new_file_by_mv(store):
    """The mv of a real shell, a file owned by somebody's editor."""
    with counting(store) as (_, load, client):
        subprocess.run(
            ["sh", "-ec", 'cd "$0"; for i in $(seq 200); do'
             ' echo "${i}000000" > fresh; mv fresh visits; done',
             str(store.data)], check=True)
        assert 200 * STEP < client.request().number < 201 * STEP
        result = load.stop()
    check(result, [i * STEP for i in range(1, 201)])
    check_distinct(result.numbers)


def test_promise_3_deleting_again_and_again(store):
    """Each deletion starts a new count; no answer fails."""
    with counting(store) as (_, load, client):
        for _ in range(50):
            client.request()
            store.visits.unlink(missing_ok=True)
            assert client.request().status == 200
        result = load.stop()
    check(result, [0])
