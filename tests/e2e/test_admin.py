"""PUT and DELETE: who may, what they change, and the token's file."""

import os
import signal

import pytest

from test_api import JSON, TEXT, check_total_headers
from visitd import MAX, Server, command, render, wait_for

TOKEN = "k3y of +/=~ \"all\" kinds"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(name="admin")
def fixture_admin(store):
    """A server with an ADMIN_TOKEN."""
    with Server(store, ADMIN_TOKEN=TOKEN) as server:
        yield server


def put(server, target, body, headers=None):
    """PUT this text."""
    fields = {**BEARER, "Content-Type": JSON, **(headers or {})}
    return server.request("PUT", target, fields, body.encode())


# PUT


def test_put_sets_a_total(admin):
    for value in (1000, 7, 0, MAX):
        reply = put(admin, "/visits/x", f'{{"value": {value}}}')
        assert reply.status == 200
        assert reply["Content-Type"] == JSON
        assert reply.text == f'{{"counter":"x","value":{value},"today":0}}'
        check_total_headers(reply, "0; reason=read")
        assert admin.get("/visits/x").number == value
    put(admin, "/visits/x", '{"value":41}')
    assert admin.get("/hit/x").number == 42


def test_put_leaves_today_alone(admin):
    admin.get("/hit/x")
    admin.get("/hit/x")
    reply = put(admin, "/visits/x", '{"value":1000}')
    assert reply.json == {"counter": "x", "value": 1000, "today": 2}


@pytest.mark.parametrize("target", ["/visits", "/visits/homepage"])
def test_put_of_the_home_counter(admin, target):
    admin.visit()
    reply = put(admin, target, '{"value":1000}')
    assert reply.status == 200
    assert reply.json == {"counter": "homepage", "value": 1000, "today": 1}
    assert admin.store.total() == 1000
    assert admin.visit() == 1001


@pytest.mark.parametrize("target,accept,media", [
    ("/visits/x", None, JSON), ("/visits/x", "*/*", JSON),
    ("/visits/x", "text/html", JSON), ("/visits/x.json", "text/plain", JSON),
    ("/visits/x.txt", None, TEXT), ("/visits/x.txt", "application/json", TEXT),
    ("/visits.txt", None, TEXT), ("/visits/x", "text/plain", TEXT),
])
def test_put_answers_json_unless_text_is_named(admin, target, accept, media):
    reply = put(admin, target, '{"value":5}',
                {"Accept": accept} if accept else {})
    assert reply.status == 200
    assert reply["Content-Type"] == media
    if media == TEXT:
        assert reply.text == "5\n"


BODIES = [
    ("", "object"), ("7", "object"), ("[]", "object"), ('{"value":1', None),
    ("{}", '"value" is missing'), ('{"Value":1}', '"value" is missing'),
    ('{"value":null}', '"value" is not a number'),
    ('{"value":"1"}', '"value" is not a number'),
    ('{"value":true}', '"value" is not a number'),
    ('{"value":[1]}', '"value" is not a number'),
    ('{"value":{}}', '"value" is not a number'),
    ('{"value":-1}', '"value" is not a whole number'),
    ('{"value":-0}', '"value" is not a whole number'),
    ('{"value":1.5}', '"value" is not a whole number'),
    ('{"value":1.0}', '"value" is not a whole number'),
    ('{"value":1e3}', '"value" is not a whole number'),
    (f'{{"value":{2**63}}}', '"value" is not a whole number'),
    (f'{{"value":{10**40}}}', '"value" is not a whole number'),
    ('{"value":01}', None), ('{"value":+1}', None),
    ('{"value":1,"value":1}', "twice"), ('{"value":1} {}', "behind"),
    ('{"value":1,"x":"\\ud800"}', "surrogate"),
]


@pytest.mark.parametrize("body,says", BODIES)
def test_a_bad_body_is_400_and_sets_nothing(admin, body, says):
    put(admin, "/visits/x", '{"value":5}')
    for target in ("/visits/x", "/visits/new", "/visits"):
        reply = put(admin, target, body)
        assert reply.status == 400
        assert reply["Content-Type"] == JSON
        assert not says or says in reply.json["error"]
    assert admin.get("/visits/x").number == 5
    assert admin.get("/visits/new").status == 404


@pytest.mark.parametrize("kind,status", [
    (None, 200), ("application/json", 200),
    ("Application/JSON; charset=utf-8", 200), ("text/plain", 415),
    ("application/x-www-form-urlencoded", 415)])
def test_put_takes_json(admin, kind, status):
    fields = [*BEARER.items()] + ([("Content-Type", kind)] if kind else [])
    reply = admin.request("PUT", "/visits/x", fields, b'{"value":5,"x":[]}')
    assert reply.status == status


def test_a_part_of_a_total_is_400(admin):
    reply = put(admin, "/visits/x", '{"value":5}',
                {"Content-Range": "bytes 0-10/11"})
    assert reply.status == 400
    assert "Content-Range" in reply.json["error"]
    assert admin.get("/visits/x").status == 404


def test_put_that_expects_100_continue(admin):
    """Its body is asked for only if it can be of use."""
    body = b'{"value":5}'
    fields = {"Expect": "100-continue", "Content-Length": str(len(body))}
    with admin.client() as client:
        client.send(render("PUT", "/visits/x.txt", {**fields, **BEARER}))
        client.continues()
        client.send(body)
        assert client.reply().text == "5\n"
        client.send(render("PUT", "/visits/x.txt", fields))
        assert client.reply().status == 401
        client.ends()


def test_put_without_room_is_507(store):
    with Server(store, ADMIN_TOKEN=TOKEN, MAX_COUNTERS=1) as server:
        assert put(server, "/visits/a", '{"value":1}').status == 200
        assert put(server, "/visits/b", '{"value":1}').status == 507
        assert put(server, "/visits/a", '{"value":2}').status == 200
        assert put(server, "/visits", '{"value":2}').status == 200


# DELETE


def test_delete_forgets(admin):
    admin.get("/hit/a/b")
    admin.get("/hit/a")
    reply = admin.request("DELETE", "/visits/a/b", BEARER)
    assert reply.status == 204
    assert reply.body == b""
    assert admin.get("/visits/a/b").status == 404
    assert admin.get("/visits/a").number == 1
    again = admin.request("DELETE", "/visits/a/b", BEARER)
    assert again.status == 404
    assert again.text == '{"error":"no counter \\"a/b\\""}'
    reply = admin.get("/hit/a/b.json")
    assert reply.json == {"counter": "a/b", "value": 1, "today": 1}


@pytest.mark.parametrize("target", ["/visits", "/visits/homepage",
                                    "/visits/homepage.txt"])
def test_delete_of_the_home_counter_is_405(admin, target):
    admin.visit()
    reply = admin.request("DELETE", target, BEARER)
    assert reply.status == 405
    assert reply.tokens("Allow") == {"GET", "HEAD", "PUT", "OPTIONS"}
    assert admin.visit() == 2


def test_delete_makes_room(store):
    with Server(store, ADMIN_TOKEN=TOKEN, MAX_COUNTERS=1) as server:
        assert server.get("/hit/a").status == 200
        assert server.get("/hit/b").status == 507
        assert server.request("DELETE", "/visits/a", BEARER).status == 204
        assert server.get("/visits/a").status == 404


def test_changes_and_visits_in_one_pipeline(admin):
    """Each in its place, though a turn makes one change alone."""
    body = b'{"value":10}'
    with admin.client() as client:
        client.send(render(target="/hit/p")
                    + render("PUT", "/visits/p.txt", BEARER, body)
                    + render(target="/hit/p")
                    + render("DELETE", "/visits/p", BEARER)
                    + render(target="/visits/p")
                    + render(target="/hit/p")
                    + render("PUT", "/visits.txt", BEARER, body)
                    + render())
        assert client.reply().number == 1
        assert client.reply().number == 10
        assert client.reply().number == 11
        assert client.reply().status == 204
        assert client.reply().status == 404
        assert client.reply().number == 1
        assert client.reply().number == 10
        assert client.reply().number == 11


# Who may

REFUSED = [
    {}, {"Authorization": "Bearer"}, {"Authorization": "Bearer "},
    {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"},
    {"Authorization": f"Bearer {TOKEN}x"},
    {"Authorization": f"Bearer {TOKEN[:-1]}"},
    {"Authorization": f"Bearer {TOKEN.upper()}"},
    {"Authorization": f"Bearer {TOKEN}{TOKEN}"},
    {"Authorization": f"Bearer, {TOKEN}"},
    {"X-Authorization": f"Bearer {TOKEN}"},
]
CHANGES = [("PUT", "/visits"), ("PUT", "/visits/x"), ("DELETE", "/visits/x")]


@pytest.mark.parametrize("headers", REFUSED, ids=str)
@pytest.mark.parametrize("method,target", CHANGES)
def test_without_the_token_it_is_401(admin, method, target, headers):
    admin.get("/hit/x")
    reply = admin.request(method, target, headers, b'{"value":5}')
    assert reply.status == 401
    assert reply["WWW-Authenticate"] == "Bearer"
    assert reply["Access-Control-Allow-Origin"] == "*"
    assert TOKEN not in reply.text
    assert admin.get("/visits/x").number == 1
    assert admin.get("/visits").number == 0


@pytest.mark.parametrize("value", [
    f"bearer {TOKEN}", f"BEARER {TOKEN}", f"Bearer   {TOKEN}  "])
def test_the_scheme_is_a_word_in_any_case(admin, value):
    assert put(admin, "/visits/x", '{"value":5}',
               {"Authorization": value}).status == 200


def test_two_tokens_are_none(admin):
    fields = [*BEARER.items()] * 2
    assert admin.request("PUT", "/visits/x", fields,
                         b'{"value":5}').status == 401


@pytest.mark.parametrize("token", [None, ""])
@pytest.mark.parametrize("method,target", CHANGES)
def test_without_admin_token_it_is_403(store, method, target, token):
    with Server(store, ADMIN_TOKEN=token) as server:
        for headers in ({}, BEARER, {"Authorization": "Bearer "}):
            reply = server.request(method, target, headers, b'{"value":5}')
            assert reply.status == 403
            assert "ADMIN_TOKEN" in reply.json["error"]
        assert server.visit() == 1


@pytest.mark.parametrize("method,target,headers,status", [
    ("DELETE", "/visits/..", {}, 400), ("DELETE", "/nothing", {}, 404),
    ("DELETE", "/visits", {}, 405), ("PUT", "/hit/x", {}, 405),
    ("PUT", "/get/x", {}, 405), ("DELETE", "/get/x", {}, 405),
    ("PUT", "/visits/x", {"Expect": "tea"}, 401),
    ("PUT", "/visits/x", {"Content-Length": "65537"}, 401),
    ("PUT", "/visits/x", {**BEARER, "Expect": "tea",
                          "Content-Length": "65537"}, 417),
    ("PUT", "/visits/x", {**BEARER, "Content-Length": "65537",
                          "Content-Type": "text/plain"}, 413),
    ("PUT", "/visits/x", {**BEARER, "Content-Type": "text/plain"}, 415),
])
def test_the_first_of_several_refusals(admin, method, target, headers, status):
    with admin.client() as client:
        assert client.request(method, target, headers).status == status


@pytest.mark.parametrize("target,methods", [
    ("/visits", {"GET", "HEAD", "PUT", "OPTIONS"}),
    ("/visits/x", {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}),
    ("/visits/homepage", {"GET", "HEAD", "PUT", "OPTIONS"}),
    ("/hit/x", {"GET", "HEAD", "POST", "OPTIONS"}),
    ("/get/homepage", {"GET", "HEAD", "OPTIONS"}),
    ("*", {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"}),
])
def test_a_preflight_names_the_methods_and_authorization(
        admin, target, methods):
    reply = admin.request("OPTIONS", target, {
        "Origin": "https://example.org",
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization"})
    assert reply.status == 204
    assert reply.tokens("Allow") == methods
    assert reply.tokens("Access-Control-Allow-Methods") == methods
    assert "Authorization" in reply.tokens("Access-Control-Allow-Headers")


# The token's file


@pytest.mark.parametrize("text", [TOKEN, TOKEN + "\n", TOKEN + "\r\n"])
def test_the_token_can_come_from_a_file(store, text):
    path = store.root / "token"
    path.write_bytes(text.encode())
    with Server(store, ADMIN_TOKEN_FILE=path) as server:
        assert put(server, "/visits/x", '{"value":5}').status == 200


@pytest.mark.parametrize("content", [
    None, b"", b"\n", b"a\nb", b"a\n\n", b"a\0b", b"x" * 4097])
def test_a_bad_file_is_exit_102_and_shows_nothing(store, content):
    path = store.root / "token"
    if content is not None:
        path.write_bytes(content)
    done = command(store, "get", ADMIN_TOKEN_FILE=path)
    assert done.returncode == 102
    assert len(done.stderr.splitlines()) == 1
    assert f"ADMIN_TOKEN_FILE={path}" in done.stderr
    assert "xxx" not in done.stderr.replace(str(path), "")


def test_both_at_once_are_exit_102(store):
    path = store.root / "token"
    path.write_text("secret-one\n")
    done = command(store, "get", ADMIN_TOKEN="secret-two",
                   ADMIN_TOKEN_FILE=path)
    assert done.returncode == 102
    assert "ADMIN_TOKEN_FILE" in done.stderr
    assert "secret" not in done.stderr


def test_a_bad_token_is_not_shown(store):
    done = command(store, "get", ADMIN_TOKEN="secret\ntoken")
    assert done.returncode == 102
    assert "ADMIN_TOKEN" in done.stderr
    assert "secret" not in done.stderr
    assert "secret" not in command(store, "--help", ADMIN_TOKEN="secret").stdout


def taken(server, token):
    """Whether the server takes this token now."""
    reply = server.request("PUT", "/visits/x", {
        "Authorization": f"Bearer {token}"}, b'{"value":5}')
    assert reply.status in (200, 401)
    return reply.status == 200


def replace_workers(server):
    """SIGHUP, until none of the old workers is left."""
    old = set(server.all_workers())
    server.kill(signal.SIGHUP)
    wait_for(lambda: not old.intersection(server.workers()), within=20,
             what="the old workers to go")
    server.all_workers()


def test_sighup_reads_the_file_again(store):
    path = store.root / "token"
    path.write_text("first\n")
    with Server(store, ADMIN_TOKEN_FILE=path) as server:
        assert taken(server, "first")
        path.write_text("second\n")
        assert taken(server, "first") and not taken(server, "second")
        replace_workers(server)
        assert taken(server, "second") and not taken(server, "first")
        # What cannot be read leaves the last one that could, not the first.
        path.unlink()
        replace_workers(server)
        assert taken(server, "second") and not taken(server, "first")
        assert "ADMIN_TOKEN_FILE" in server.stderr()
        # A worker that dies has a successor that knows the same.
        victim = server.all_workers()[0]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: victim not in server.workers(), what="its end")
        server.all_workers()
        assert taken(server, "second") and not taken(server, "first")
        assert "second" not in server.stderr()


@pytest.mark.root
@pytest.mark.store("file")
def test_sighup_reads_a_file_that_only_root_may_read(store):
    os.chown(store.data, 1000, 1000)
    path = store.root / "token"
    path.write_text("first\n")
    path.chmod(0o600)
    with Server(store, ADMIN_TOKEN_FILE=path) as server:
        assert taken(server, "first")
        path.write_text("second\n")
        replace_workers(server)
        assert taken(server, "second") and not taken(server, "first")
