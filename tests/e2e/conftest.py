"""Fixtures and markers of the end-to-end tests."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest

import visitd


def pytest_configure():
    """Say one thing, once, when there is nothing to test."""
    if not visitd.BINARY.exists():
        pytest.exit(f"no {visitd.BINARY}: run make, or set VISITD", 2)


def concerns_binary(item):
    """Whether a test is about this store, and this kind of build."""
    if visitd.SANITIZED and (
            item.get_closest_marker("strace")  # the leak check needs ptrace
            or item.get_closest_marker("measures")):
        return False
    # A sanitizer has to be the first library, and a static program has none.
    if item.get_closest_marker("preloads") and (
            visitd.SANITIZED or
            b"/ld-" not in visitd.BINARY.read_bytes()[:4096]):
        return False
    return all(visitd.STORE in marker.args
               for marker in item.iter_markers("store"))


def pytest_collection_modifyitems(config, items):
    """Leave out what is not about this binary; begin with the slow ones."""
    left_out = [item for item in items if not concerns_binary(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if concerns_binary(item)]
    for item in items:
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))
    items[:] = spread(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT",
                                                "1")))


def spread(items, workers):
    """Slow tests first, the slowest before all, and the same number of them
    for each of pytest-xdist's workers, which begin with a run of tests each."""
    slow = [item for item in items if item.get_closest_marker("slow")]
    slow.sort(key=lambda item: item.get_closest_marker("timeout") is None)
    quick = [item for item in items if not item.get_closest_marker("slow")]
    run = max(len(items) // (4 * workers), 2)
    order = []
    for i in range(workers):
        mine = slow[i::workers]
        room = max(run - len(mine), 0)
        order += mine + quick[:room]
        quick = quick[room:]
    return order + quick


@contextlib.contextmanager
def temporary_folder():
    """A folder that every user may enter: servers give up root's powers."""
    folder = Path(tempfile.mkdtemp(prefix="visitd-e2e-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def scratch():
    """A folder for one test."""
    with temporary_folder() as folder:
        yield folder


@pytest.fixture
def store(scratch):
    """An empty store of the kind under test, for one test."""
    with visitd.STORES[visitd.STORE](scratch) as made:
        yield made


@pytest.fixture
def server(store):
    """A running server of two workers on an empty store, for one test."""
    with visitd.Server(store) as running:
        yield running


@pytest.fixture(scope="module")
def module_store():
    """A store for a module whose tests only look at differences."""
    with temporary_folder() as folder:
        with visitd.STORES[visitd.STORE](folder) as made:
            yield made


@pytest.fixture(scope="module")
def shared(module_store):
    """A running server for a module whose tests only look at differences."""
    with visitd.Server(module_store) as running:
        yield running
