"""BASE_PATH: behind a proxy that takes nothing off the path."""

import os
import re
import signal
from urllib.parse import urljoin, urlsplit

import pytest

import visitd
from visitd import Server, command, converse, render

BASE = "/counter"


@pytest.fixture(scope="module", name="shared")
def shared_server(module_store):
    with Server(module_store, BASE_PATH=BASE) as running:
        yield running


@pytest.mark.parametrize("target", [
    "/", "/hit", "/hit/a", "/hit/a/b/", "/visits", "/visits.json", "/visits/a",
    "/get", "/health", "/favicon.ico", "/robots.txt"])
def test_every_path_has_the_prefix(shared, target):
    shared.get(BASE + "/hit/a")
    assert shared.get(BASE + target).status == 200
    reply = shared.get(target)
    assert reply.status == 404
    assert reply.get("X-Visit-Counted") is None


@pytest.mark.parametrize("prefix", [
    "/c%6Funter", "/%63ounte%72", "http://localhost/counter",
    "HTTP://x:1/%63ounter"])
def test_the_prefix_in_other_forms_is_the_same(shared, prefix):
    """Escapes of unreserved bytes (RFC 3986 6.2.2.2), and the absolute form."""
    before = shared.get(BASE + "/visits").number
    assert shared.get(prefix + "/").number == before + 1
    assert shared.get(prefix + "/hit/%61").json["counter"] == "a"


@pytest.mark.parametrize("target", [
    "/count", "/counte%", "/counters", "/counter.txt", "/counter%2F",
    "/%2Fcounter/", "/Counter/", "//counter/", "/x/counter/", "/counter;/",
    "/counter/counter/", "/counter//", "/counter/nothing", "http://x",
    "http://x/", "/%00"])
def test_what_is_outside_or_not_there_is_404(shared, target):
    before = shared.get(BASE + "/visits").number
    wanted = 404 if re.fullmatch(r"([^%]|%2F)*", target) else 400
    assert shared.get(target).status == wanted
    assert shared.get(BASE + "/visits").number == before


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
@pytest.mark.parametrize("target,location", [
    ("/counter", "counter/"), ("/counter?", "counter/"),
    ("/counter?a=b/c?d", "counter/?a=b/c?d"),
    ("/c%6Funter", "c%6Funter/"), ("http://a/counter?x", "counter/?x"),
    ("/counter?" + "x" * 8100, "counter/?" + "x" * 8100)])
def test_the_prefix_alone_is_308_to_its_slash(shared, method, target,
                                              location):
    before = shared.get(BASE + "/visits").number
    reply = shared.request(method, target)
    assert (reply.status, reply.reason) == (308, "Permanent Redirect")
    assert reply["Location"] == location
    assert urlsplit(urljoin("http://a/counter", location)).path.endswith("/")
    assert reply.get("X-Visit-Counted") is None
    assert shared.get(BASE + "/visits").number == before


def test_a_redirect_follows_the_representation_asked_for(shared):
    for accept, start in (("text/html", "<!doctype"),
                          ("application/json", '{"error":"'),
                          ("text/plain", "308 Permanent Redirect: ")):
        reply = shared.get(BASE, {"Accept": accept})
        assert reply["Content-Type"].startswith(accept)
        assert reply.text.startswith(start)


def test_the_body_of_a_redirected_request_is_no_request(shared):
    with shared.client() as client:
        client.send(render("POST", BASE, body=b"GET / HTTP/1.1\r\n\r\n")
                    + render("GET", BASE + "/health"))
        assert client.reply().status == 308
        assert client.reply().status == 200


def test_options_of_the_whole_server(shared):
    reply, _ = converse(shared.port, b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
                        method="OPTIONS")
    assert reply.status == 204
    assert reply.tokens("Allow") >= {"GET", "PUT", "DELETE", "POST"}
    assert shared.request("OPTIONS", BASE + "/visits").tokens("Allow") == {
        "GET", "HEAD", "PUT", "OPTIONS"}
    for target in ("/visits", BASE + "*", "/"):
        assert shared.request("OPTIONS", target).status == 404


@pytest.mark.parametrize("base", ["/a", "/a/b.c/~d"])
@pytest.mark.parametrize("target", [
    "/", "/hit", "/hit/a", "/hit/a/b/", "/visits/a/b", "/visits"])
def test_references_lead_to_paths_below_the_prefix(store, base, target):
    with Server(store, BASE_PATH=base, WORKERS=1) as server:
        server.get(base + "/hit/a/b")
        page = server.get(base + target, {"Accept": "text/html"})
        found = re.findall(r'(?:href|src)="([^"]+)"', page.text)
        assert found
        for reference in found:
            path = urlsplit(urljoin(f"http://x{base}{target}", reference)).path
            assert path.startswith(base + "/"), reference
            assert server.get(path).status == 200, reference


def test_the_location_of_a_new_item_leads_to_it(shared):
    reply = shared.request("POST", BASE + "/items", (), b'{"name": "x"}')
    assert reply.status == 201
    target = urljoin(f"http://x{BASE}/items", reply["Location"])
    assert shared.get(urlsplit(target).path).json["name"] == "x"


def test_the_command_health_asks_below_the_prefix(shared):
    assert command(shared.store, "health", **shared.settings).returncode == 0
    for base in (None, "/other"):
        done = command(shared.store, "health",
                       **{**shared.settings, "BASE_PATH": base})
        assert done.returncode == 1
        assert "nothing at this path" in done.stdout


def test_it_is_the_same_after_sighup(store):
    with Server(store, BASE_PATH=BASE, WORKERS=1) as server:
        (old,) = server.all_workers()
        server.kill(signal.SIGHUP)
        visitd.wait_for(lambda: server.workers() not in ([], [old]))
        visitd.wait_for(lambda: not os.path.exists(f"/proc/{old}"))
        assert server.get(BASE + "/").number == 1
        assert server.get("/").status == 404
