"""export | import between any two stores: every counter arrives, and the sums
are equal. Needs the programs of other stores: make STORE=redis, ..."""

import itertools

import pytest

import visitd
from test_export import TOTALS
from visitd import BINARY, STORE, STORES



def program(kind):
    """The one under test, or that of another store, built beside it."""
    if kind == STORE:
        return BINARY
    return visitd.REPO / "build" / kind / "visitd"


# In a run for one store alone there may be no other programs yet; make test
# builds all of them before it comes to the second store.
PAIRS = list(itertools.product(
    [kind for kind in STORES if program(kind).exists()], repeat=2))


def command(store, *args, stdin="", **settings):
    done = visitd.command(store, *args, stdin=stdin, program=program(store.name),
                          **settings)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.fixture(name="stores")
def all_stores(scratch):
    """Makes one of a kind in a folder of its own."""
    numbers = itertools.count()

    def make(kind):
        folder = scratch / str(next(numbers))
        folder.mkdir()
        return STORES[kind](folder)

    return make


@pytest.mark.parametrize("one,two", PAIRS)
def test_every_counter_moves(stores, one, two):
    with stores(one) as source, stores(two) as target:
        text = TOTALS + "".join(f"{i * i} many/{i:04}\n"
                                for i in range(1, 300))
        command(source, "import", stdin=text)
        moved = command(source, "export")
        assert sorted(moved.splitlines()) == sorted(text.splitlines())
        for _ in range(2):  # to repeat it does no harm
            command(target, "import", stdin=moved)
            assert sorted(command(target, "export").splitlines()) == sorted(
                text.splitlines())
        assert target.total() == source.total() == 3
        back = command(target, "export")
        command(source, "import", stdin=back)
        assert command(source, "export").splitlines()[0] == "3 homepage"


def test_a_round_through_all_of_them(stores):
    """It ends where it began."""
    first = text = all_that_a_name_may_be(stores)
    for kind in [*STORES, *STORES]:
        with stores(kind) as store:
            command(store, "import", stdin=text)
            text = command(store, "export")
    assert sorted(text.splitlines()) == sorted(first.splitlines())


def all_that_a_name_may_be(stores):
    """An export with names of every kind."""
    with stores(STORE) as store:
        command(store, "import", stdin=TOTALS + "5 A~b._-/x\n6 a/B\n7 a/b\n")
        return command(store, "export")
