"""Promise 2 for counters with names: in each of its lives, from its first
visit to its drop, a counter gives 1..N, each number once."""

import collections

import pytest

import visitd
from load import TOKEN, Load


def totals(store):
    """What every counter with a name has, by `visitd export`."""
    lines = visitd.command(store, "export").stdout.splitlines()
    pairs = [line.split(" ") for line in lines]
    found = {name: int(total) for total, name in pairs}
    assert len(found) == len(pairs), "a counter was told twice"
    found.pop("homepage", None)
    return found


def lives(numbers):
    """How often each number of each counter was answered."""
    counts = collections.defaultdict(collections.Counter)
    for name, number in numbers:
        counts[name][number] += 1
    return counts


def check(store, results):
    """Whether the numbers answered are those of whole lives, and the totals
    those of the last ones."""
    last = totals(store)
    drops = sum(result.statuses["204"] for result in results)
    begun = 0
    for name, counts in lives(n for r in results for n in r.numbers).items():
        given = [counts[n] for n in range(1, max(counts) + 2)]
        assert sum(given) == sum(counts.values()), name
        assert given == sorted(given, reverse=True), (name, given)
        begun += given[0]
        if name in last:
            total = last[name]
            assert given[total - 1] > given[total], (name, total, given)
    assert begun == drops + len(last)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_promise_2_ten_thousand_names_with_drops_between(store):
    """50 clients, 4 workers, 100,000 requests, of which 10,000 are drops."""
    with visitd.Server(store, WORKERS=4, ADMIN_TOKEN=TOKEN) as server:
        with Load(server.port, clients=25, requests=2000, names=10_000,
                  drops=10) as single, \
                Load(server.port, clients=25, depth=10, requests=2000,
                     names=10_000, drops=10) as deep:
            results = [single.wait(), deep.wait()]
        for result in results:
            assert set(result.statuses) <= {"200", "204", "404"}, result
            assert not result.errors, result
        check(store, results)


def test_promise_2_few_names_that_many_want(store):
    """Ten counters: each is in most turns of both workers, and often dropped."""
    with visitd.Server(store, WORKERS=2, ADMIN_TOKEN=TOKEN) as server:
        with Load(server.port, clients=8, depth=4, requests=400, names=10,
                  drops=20) as load:
            result = load.wait()
        assert set(result.statuses) <= {"200", "204", "404"}, result
        assert not result.errors, result
        check(store, [result])
