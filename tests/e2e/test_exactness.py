"""Promise 2: counted visitors get distinct numbers, 1..N with no repeats."""

import pytest

import visitd
from load import Load


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_promise_2_fifty_clients_and_four_workers_count_exactly(store):
    """100,000 visits; half the clients alone, half with ten in flight."""
    visits = 100_000
    with visitd.Server(store, WORKERS=4) as server:
        with Load(server.port, clients=25, depth=1, requests=2000) as single, \
                Load(server.port, clients=25, depth=10, requests=2000) as deep:
            results = [single.wait(), deep.wait()]
        numbers = sorted(n for r in results for n in r.numbers)
        assert numbers == list(range(1, visits + 1))
        for result in results:
            assert not result.errors and not result.backwards, result
        assert server.get("/visits").number == visits
    assert store.total() == visits


def test_promise_2_a_new_connection_for_each_visit(store):
    with visitd.Server(store, WORKERS=4) as server:
        with Load(server.port, clients=20, requests=50, close=True) as load:
            result = load.wait()
    assert sorted(result.numbers) == list(range(1, 1001))
    assert not result.errors
    assert store.total() == 1000


def test_promise_2_two_servers_share_one_store(store):
    with visitd.Server(store) as one, visitd.Server(store) as two:
        with Load(one.port, requests=200) as first, \
                Load(two.port, requests=200) as second:
            numbers = first.wait().numbers + second.wait().numbers
    assert sorted(numbers) == list(range(1, 3201))
    assert store.total() == 3200


@pytest.mark.parametrize("sync", ["everysec", "no"])
def test_promise_2_holds_for_every_sync(store, sync):
    with visitd.Server(store, WORKERS=4, SYNC=sync) as server:
        with Load(server.port, depth=4, requests=500) as load:
            result = load.wait()
    assert sorted(result.numbers) == list(range(1, 4001))
    assert store.total() == 4000
