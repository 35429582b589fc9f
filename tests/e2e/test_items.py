"""Items: POST /items and GET /items/{id}, as API.md says and on the disk."""

import concurrent.futures
import json
import os

import pytest

from visitd import HOLDS_NUL, Server, command, wait_for

JSON = {"Content-Type": "application/json"}
FIRST_POINT = 0 if HOLDS_NUL else 1
NUL = "\0" if HOLDS_NUL else "\x02"


def post(client, body, headers=None):
    """POST /items; `body` is bytes, a text, or made into JSON."""
    if isinstance(body, str):
        body = body.encode()
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return client.request("POST", "/items",
                          JSON if headers is None else headers, body)


def test_an_item_is_created_and_read(server):
    """The very example of the contract."""
    with server.client() as client:
        reply = post(client,
                     {"name": "Docker", "description": "Compose test"})
        assert reply.status == 201
        assert reply["Location"] == "items/1"
        assert reply["Content-Type"] == "application/json"
        assert reply.text == (
            '{"id":1,"name":"Docker","description":"Compose test"}')
        again = client.request(target="/items/1")
        assert (again.status, again.body) == (200, reply.body)
        assert again["Access-Control-Allow-Origin"] == "*"
        head = client.request("HEAD", "/items/1")
        assert head.status == 200
        assert head["Content-Length"] == str(len(again.body))


@pytest.mark.parametrize("body", [{"name": "a"},
                                  {"name": "a", "description": None}])
def test_no_description_is_null(server, body):
    with server.client() as client:
        reply = post(client, body)
        assert reply.json == {"id": 1, "name": "a", "description": None}
        assert client.request(target="/items/1").json == reply.json


REFUSED = [
    ("", "object"), ("[]", "object"), ("1", "object"), ('"a"', "object"),
    ("null", "object"), ("{", None), ("{}", '"name" is missing'),
    ('{"description":"a"}', '"name" is missing'),
    ('{"Name":"a"}', '"name" is missing'),
    ('{"name":null}', '"name" is not a string'),
    ('{"name":1}', '"name" is not a string'),
    ('{"name":["a"]}', '"name" is not a string'),
    ('{"name":true}', '"name" is not a string'),
    ('{"name":""}', '"name" is empty'),
    (json.dumps({"name": "a" * 201}), '"name" is over 200 bytes'),
    (json.dumps({"name": "é" * 101}), '"name" is over 200 bytes'),
    ('{"name":"a","description":1}', '"description" is not a string'),
    ('{"name":"a","description":{}}', '"description" is not a string'),
    (json.dumps({"name": "a", "description": "a" * 10001}),
     '"description" is over 10000 bytes'),
    ('{"name":"a","name":"a"}', "twice"),
    ('{"name":"a","n\\u0061me":"b"}', "twice"),
    ('{"x":1,"name":"a","x":1}', "twice"),
    ('{"name":"a"} x', "behind"), ('{"name":"a"}{}', "behind"),
    ('{"name":"a",}', None), ('{,"name":"a"}', None), ("{'name':'a'}", None),
    ('{"name":"a" "x":1}', None), ('{"name" "a"}', None), ('{name:"a"}', None),
    ('{"name":"a","x":01}', None), ('{"name":"a","x":1.}', None),
    ('{"name":"a","x":.5}', None), ('{"name":"a","x":+1}', None),
    ('{"name":"a","x":1e}', None), ('{"name":"a","x":-}', None),
    ('{"name":"a","x":NaN}', None), ('{"name":"a","x":tru}', None),
    ('{"name":"a","x":TRUE}', None), ('{"name":"a","x":[1,]}', None),
    ('{"name":"a","x":[1 2]}', None), ('{"name":"a","x":[1}', None),
    ('{"name":"a\n"}', "control"), ('{"name":"\\x"}', "escape"),
    ('{"name":"\\u12"}', "hex"), ('{"name":"\\ud800"}', "surrogate"),
    ('{"name":"\\ud800\\u0041"}', "surrogate"),
    ('{"name":"\\udc00"}', "surrogate"), ('{"name":"a', "end"),
    ('{"name":"a"/**/}', None), ("\ufeff" + '{"name":"a"}', "mark"),
    (b'{"name":"\xff"}', "UTF-8"), (b'{"name":"\xc0\x80"}', "UTF-8"),
    (b'{"name":"\xed\xa0\x80"}', "UTF-8"), (b'{"name":"a","x":"\xf5"}',
                                            "UTF-8"),
    (b'{"name":"a"}\0', "behind"), ("\v{}", None),
    ("[" * 60000, None), ('{"name":"a","x":' + "[" * 60000, "deep"),
    ('{"name":"a","x":' + '{"x":' * 65, "deep"),
]


@pytest.mark.parametrize("body,says", REFUSED)
def test_a_body_that_is_no_item_is_400(shared, body, says):
    """The answer says which field, or what is wrong."""
    with shared.client() as client:
        reply = post(client, body)
        assert reply.status == 400, body[:80]
        if says:
            assert says in reply.json["error"]
        assert client.request(target="/robots.txt").status == 200


@pytest.mark.parametrize("body,name", [
    (' \t\r\n{ "name" : "a" } \n', "a"),
    ('{"name":"\\u0041\\n\\t\\"\\\\\\/\\b\\f\\r"}', 'A\n\t"\\/\b\f\r'),
    ('{"name":"\\ud83d\\ude00"}', "😀"),
    (json.dumps({"name": NUL}), NUL),
    ('{"name":"\U0010ffff"}', "\U0010ffff"), ('{"name":"\x7f"}', "\x7f"),
    ('{"name":"a","x":1e999999}', "a"),
    ('{"name":"a","x":-0.0E+5}', "a"),
    ('{"name":"a","x":' + "9" * 5000 + "}", "a"),
    ('{"name":"a","x":{"name":"b","name":"c"}}', "a"),
    ('{"name":"a","":[[],{},"",null,true,false,0]}', "a"),
    ('{"name":"a","x":' + "[" * 60 + "]" * 60 + "}", "a"),
])
def test_every_json_is_read(shared, body, name):
    with shared.client() as client:
        reply = post(client, body)
        assert reply.status == 201
        assert reply.json["name"] == name
        assert client.request(target="/" + reply["Location"]).json == reply.json


def test_limits_to_the_byte(shared):
    with shared.client() as client:
        for name, description in ((200 * "a", 10000 * "b"),
                                  (100 * "é", 5000 * "é"),
                                  (200 * NUL, 10000 * "\x01")):
            body = {"name": name, "description": description}
            reply = post(client, json.dumps(body, ensure_ascii=False)
                         .replace("\0", "\\u0000").replace("\x01", "\\u0001"))
            assert reply.status == 201, reply
            assert reply.json["name"] == name
            again = client.request(target="/" + reply["Location"])
            assert again.json["description"] == description


def test_round_trip_of_every_code_point(shared):
    """All but surrogates, in descriptions of 2,000."""
    points = [chr(point) for point in range(FIRST_POINT, 0x110000)
              if not 0xd800 <= point <= 0xdfff]
    with shared.client() as client:
        for start in range(0, len(points), 2000 * 37):
            text = "".join(points[start:start + 2000])
            reply = post(client, {"name": "x", "description": text})
            assert reply.status == 201
            again = client.request(target="/" + reply["Location"]).json
            assert again["description"] == text


@pytest.mark.slow
def test_round_trip_of_all_code_points_at_once(server):
    points = [chr(point) for point in range(FIRST_POINT, 0x110000)
              if not 0xd800 <= point <= 0xdfff]
    with server.client() as client:
        for start in range(0, len(points), 2500):
            text = "".join(points[start:start + 2500])
            body = json.dumps({"name": "x", "description": text},
                              ensure_ascii=start % 5000 == 0).encode()
            reply = post(client, body)
            assert reply.json["description"] == text


@pytest.mark.parametrize("kind,status", [
    ("application/json", 201), ("Application/JSON; charset=utf-8", 201),
    ("application/json;", 201), ("text/plain", 415), ("text/json", 415),
    ("application/x-www-form-urlencoded", 415), ("", 415),
    ("application/jsonx", 415), ("application/problem+json", 415),
])
def test_media_types(shared, kind, status):
    with shared.client() as client:
        reply = post(client, {"name": "a"}, {"Content-Type": kind})
        assert reply.status == status


def test_no_media_type_counts_as_json(shared):
    with shared.client() as client:
        assert post(client, {"name": "a"}, {}).status == 201


@pytest.mark.parametrize("target", [
    "/items/0", "/items/999999", "/items/01", "/items/-1", "/items/+1",
    "/items/a", "/items/1a", "/items/", "/items/1/", "/items/1/2",
    "/items/9223372036854775807", "/items/9223372036854775808",
    "/items/1.json", "/items/%31%30%30%30%30%30", "/items/4294967297",
])
def test_what_is_no_item_is_404(shared, target):
    with shared.client() as client:
        assert post(client, {"name": "a"}).status == 201
    reply = shared.get(target)
    assert reply.status == 404
    assert reply.json == {"error": "there is no such item"}


def test_methods(shared):
    for target, allow in (("/items", {"POST", "OPTIONS"}),
                          ("/items/1", {"GET", "HEAD", "OPTIONS"})):
        reply = shared.request("DELETE", target)
        assert reply.status == 405
        assert set(reply["Allow"].split(", ")) == allow
        reply = shared.request("OPTIONS", target)
        assert reply.status == 204
        assert set(reply["Access-Control-Allow-Methods"].split(", ")) == allow


def test_text_by_name(server):
    with server.client() as client:
        post(client, {"name": "Docker", "description": "Compose test"})
        reply = client.request(target="/items/1",
                               headers={"Accept": "text/plain"})
        assert reply.text == (
            "id: 1\nname: Docker\ndescription: Compose test\n")
        reply = client.request(target="/items/2",
                               headers={"Accept": "text/plain"})
        assert reply.text == "404 Not Found: there is no such item\n"


def test_items_count_no_visit(server):
    with server.client() as client:
        post(client, {"name": "a"})
        client.request(target="/items/1")
        assert client.request(target="/visits").number == 0


def test_pipelined_items_are_answered_in_order(server):
    """Changes and reads in one turn: more than the store takes at once."""
    with server.client() as client:
        body = b'{"name":"a"}'
        create = (b"POST /items HTTP/1.1\r\nHost: a\r\nContent-Length: 12"
                  b"\r\n\r\n" + body)
        read = b"GET /items/1 HTTP/1.1\r\nHost: a\r\n\r\n"
        visit = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        client.send((create + read + visit) * 200)
        for i in range(1, 201):
            assert client.reply().json["id"] == i
            assert client.reply().json["id"] == 1
            assert client.reply().number == i


def test_a_read_does_not_see_the_change_behind_it(server):
    """However the three arrive, they are answered as if one by one."""
    body = b'{"name":"a"}'
    read = b"GET /items/%d HTTP/1.1\r\nHost: a\r\n\r\n"
    create = (b"POST /items HTTP/1.1\r\nHost: a\r\nContent-Length: 12"
              b"\r\n\r\n" + body)
    with server.client() as client:
        for number in range(1, 20):
            client.send(read % number + create + read % number)
            assert [client.reply().status for _ in range(3)] == [
                404, 201, 200]


@pytest.mark.store("file")
def test_max_items_is_507_and_the_others_go_on(store):
    with Server(store, MAX_ITEMS=3) as server:
        with server.client() as client:
            for _ in range(3):
                assert post(client, {"name": "a"}).status == 201
            reply = post(client, {"name": "b"})
            assert reply.status == 507
            assert "MAX_ITEMS=3" in reply.json["error"]
            assert client.request(target="/items/3").status == 200
    assert len((store.data / "items").read_text().splitlines()) == 3


@pytest.mark.store("file")
@pytest.mark.parametrize("tail", [b'{"name":"c"', b"\0\0\0\0", b"{",
                                  b'{"name":"c","descr\0\0',
                                  b'{"name":"' + b"c" * 199])
def test_a_torn_tail_is_cut_off(store, tail):
    """It was never answered; the next item takes its number."""
    items = store.data / "items"
    with Server(store) as server:
        with server.client() as client:
            post(client, {"name": "a"})
    whole = items.read_bytes()
    items.write_bytes(whole + tail)
    with Server(store) as server:
        with server.client() as client:
            assert client.request(target="/items/2").status == 404
            assert post(client, {"name": "b"}).json["id"] == 2
            assert client.request(target="/items/2").json["name"] == "b"
    assert items.read_bytes() == (
        whole + b'{"name":"b","description":null}\n')


@pytest.mark.store("file")
def test_promise_4_a_line_that_is_no_item_is_503_and_stays(store):
    items = store.data / "items"
    store.data.mkdir(exist_ok=True)
    text = '{"name":"a","description":null}\nhello\n{"name":"c"}\n'
    items.write_text(text)
    with Server(store) as server:
        with server.client() as client:
            assert client.request(target="/items/1").json["name"] == "a"
            reply = client.request(target="/items/2")
            assert reply.status == 503
            assert "line 2" in reply.json["error"]
            assert client.request(target="/items/3").json["name"] == "c"
            assert post(client, {"name": "d"}).json["id"] == 4
    assert items.read_text() == text + '{"name":"d","description":null}\n'


@pytest.mark.store("file")
def test_an_editor_may_replace_the_file(store):
    items = store.data / "items"
    with Server(store, WORKERS=1) as server:
        with server.client() as client:
            for name in "abc":
                post(client, {"name": name})
            fresh = items.with_name("fresh")
            fresh.write_text('{"name":"x"}\n')
            os.replace(fresh, items)
            assert client.request(target="/items/1").json["name"] == "x"
            assert client.request(target="/items/2").status == 404
            assert post(client, {"name": "y"}).json["id"] == 2


def test_many_processes_append(store):
    """Every id once, each with what was sent for it."""
    def create(server, worker):
        with server.client() as client:
            made = {}
            for i in range(100):
                name = f"{worker} {i} " + "x" * (i % 100)
                made[post(client, {"name": name}).json["id"]] = name
            return made
    with Server(store, WORKERS=4) as one, Server(store, WORKERS=2) as two:
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            made = list(pool.map(lambda n: create((one, two)[n % 2], n),
                                 range(10)))
        everything = {}
        for some in made:
            assert not everything.keys() & some.keys()
            everything.update(some)
        assert sorted(everything) == list(range(1, 1001))
        with one.client() as client:
            for number, name in everything.items():
                reply = client.request(target=f"/items/{number}")
                assert reply.json["name"] == name


def test_promise_1_an_answered_item_survives_kill_9(store):
    with Server(store, WORKERS=2) as server:
        with server.client() as client:
            made = [post(client, {"name": f"n{i}"}).json for i in range(20)]
        server.kill_group()
        wait_for(lambda: not server.group(), what="all to be gone")
        server.start()
        with server.client() as client:
            for item in made:
                target = f"/items/{item['id']}"
                assert client.request(target=target).json == item
            assert post(client, {"name": "next"}).json["id"] == 21


def test_max_items_takes_a_number(store):
    done = command(store, MAX_ITEMS="few")
    assert done.returncode == 102
    assert "MAX_ITEMS=few" in done.stderr
