"""No kind of request shuts others out: a crowd on any route, and one honest
client, whose answer comes within three turns of the loop.

The worker stands still (SIGSTOP) while the crowd sends, and the honest client
after it, so that the moment does not depend on the machine; turns are counted
by the worker's epoll_wait. The routes are read from the table of the site: a
new one is tested because it is there.
"""

import os
import re
import resource
import signal
import socket

import pytest

import visitd
from visitd import render, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.strace, pytest.mark.store("file")]

CROWD = 2000
DEPTH = 10  # requests that each has in its socket
TURNS = 3
TOKEN = "crowd"
LINE = re.compile(r"(epoll_p?wait|sendto)\((\d+)")
WAKE = re.compile(r"epoll_p?wait\(.*\) = [0-9]")

BODIES = {"POST": b'{"name":"crowd","description":"of many"}',
          "PUT": b'{"value":7}'}


def routes():
    """(method, target) of every row of the table, with and without a name."""
    text = (visitd.REPO / "site" / "routes.c").read_text()
    table = text.split("routes[] = {")[1].split("\n};")[0]
    sets = dict(re.findall(r"^\t(\w+) = ([^,]*),$", text, re.M))
    for row in table.split("\n\t},\n"):
        path = re.search(r'\.path = SLICE_INIT\("([^"]*)"\)', row)
        if not path:
            continue
        rests = {"ID": ["1"], "NAME": ["", "/crowd"], None: [""]}[
            (re.findall(r"\.rest = REST_(\w+)", row) or [None])[0]]
        if "NOT_HOME" in row:
            rests.remove("")
        names = re.search(r"\.methods = ([\w |]+)", row).group(1)
        for name in names.split(" | "):
            method = re.search(r"HTTP_(\w+)", sets[name]).group(1)
            for rest in rests:
                yield method, path.group(1) + rest


ROUTES = list(routes())


def test_the_table_is_read():
    assert ("GET", "/") in ROUTES and ("PUT", "/visits/crowd") in ROUTES
    assert ("GET", "/items/1") in ROUTES and len(ROUTES) > 10
    assert ("POST", "/hit") in ROUTES and ("DELETE", "/visits") not in ROUTES


@pytest.fixture(autouse=True)
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def trace(store):
    return "".join(file.read_text(errors="replace")
                   for file in store.root.glob("trace.*"))


def turns_until_answer(lines):
    """How often the worker woke between the last two answers on the
    descriptor on which the last answer was given."""
    calls = lines.splitlines()
    answers = [i for i, line in enumerate(calls) if "honest" in line]
    return sum(bool(WAKE.search(line))
               for line in calls[answers[-2]:answers[-1]])


@pytest.mark.parametrize("method,target", ROUTES,
                         ids=[f"{m} {t}" for m, t in ROUTES])
def test_promise_7_a_crowd_on_a_route(store, method, target):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    body = BODIES.get(method, b"")
    crowd = []
    with visitd.Server(
            store, WORKERS=1, ADMIN_TOKEN=TOKEN, SYNC="no",
            STORE_TIMEOUT=30000,
            wrap=["strace", "-ff", "-s", "400", "-e",
                  "trace=epoll_wait,epoll_pwait,sendto", "-o",
                  store.root / "trace"]) as server:
        worker, = server.all_workers()
        assert server.request("POST", "/items",
                              body=BODIES["POST"]).status == 201
        try:
            for _ in range(CROWD):
                crowd.append(socket.create_connection(
                    ("127.0.0.1", server.port), 20))
            with server.client(timeout=60) as honest:
                ask = render("GET", "/visits/honest")
                honest.send(ask)
                assert honest.reply().status == 404
                server.asleep()  # or strace's stops would look like that one
                os.kill(worker, signal.SIGSTOP)
                wait_for(lambda: visitd.process_state(worker) in "Tt")
                requests = render(method, target, headers, body) * DEPTH
                for each in crowd:
                    each.sendall(requests)
                honest.send(ask)
                os.kill(worker, signal.SIGCONT)
                assert honest.reply().status == 404
        finally:
            for each in crowd:
                each.close()
    assert turns_until_answer(trace(store)) <= TURNS
