"""Counters with names: /hit, /hit/{name}, /visits/{name}, /get/{name}."""

import html
import re
from urllib.parse import quote, urljoin

import pytest

from test_api import BROWSER, HTML, JSON, TEXT, TIME, check_total_headers
from visitd import MAX, Server, command, render

LONGEST = "a" * 100


# Counting


def test_a_hit_counts_and_a_read_does_not(shared):
    for number in (1, 2, 3):
        reply = shared.get("/hit/counts/and-reads")
        assert reply.status == 200
        assert reply["Content-Type"] == JSON
        assert reply.json == {"counter": "counts/and-reads", "value": number,
                              "today": number}
        check_total_headers(reply, "1")
        read = shared.get("/visits/counts/and-reads")
        assert read.text == f"{number}\n"
        check_total_headers(read, "0; reason=read")
        assert shared.get("/get/counts/and-reads").json == reply.json
        assert shared.get("/get/counts/and-reads.txt").text == read.text
        text = shared.get("/visits/counts/and-reads.txt")
        assert text.text == read.text
    assert shared.get("/hit/counts/and-reads.txt").text == "4\n"


def test_a_post_counts_for_send_beacon(shared):
    """Its body is read and dropped."""
    for number, body in enumerate((b"", b"ping", b'{"a":' * 9000), 1):
        reply = shared.request("POST", "/hit/beacon", {
            "Content-Type": "text/plain;charset=UTF-8"}, body)
        assert reply.status == 200
        assert reply.json["value"] == number
        check_total_headers(reply, "1")
    home = shared.visit()
    assert shared.request("POST", "/hit").json["value"] == home + 1


def test_counters_do_not_mix(shared):
    """Names are bytes: case counts, and a path is not its parent."""
    names = ["mix", "Mix", "mix/a", "mix/a/b", "mix.", "mix-", "mix~", "m"]
    home = shared.visit()
    for number, name in enumerate(names, 1):
        for _ in range(number):
            shared.get(f"/hit/{name}")
    for number, name in enumerate(names, 1):
        assert shared.get(f"/visits/{name}").number == number
    assert shared.visit() == home + 1


@pytest.mark.parametrize("name", [
    "a", "0", "...", "a..b", "~", "_", "-", ".a", "user/repo", "hit",
    "visits", "a/hit/b", "blog.html", "v1.2", "a.JSON", "favicon.ico",
    "/".join("a" * 50), LONGEST, "a!$&'()*+,;=:@b", "a:b", "@user"])
def test_good_names(shared, name):
    before = shared.get(f"/hit/{name}").number
    assert shared.get(f"/hit/{name}").number == before + 1
    assert shared.get(f"/visits/{name}").number == before + 1


@pytest.mark.parametrize("name", [
    "2020/\u8bfb\u4e66", "\u00e4", "\U0001f600", "a\u200cb\u200db", "z\u0301",
    "\u00b7" * 49, "a&b<".replace("<", ""), "\u0641\u0627\u0631\u0633\u06cc"])
def test_names_of_any_script(server, name):
    """Everywhere that a name goes: paths, JSON, HTML, export and import."""
    path = quote(name)
    assert server.get(f"/hit/{path}").json == {
        "counter": name, "value": 1, "today": 1}
    assert server.get(f"/hit/{path}/").json["value"] == 2
    assert server.get(f"/visits/{path}.txt").text == "2\n"
    page = server.get(f"/visits/{path}", {"Accept": BROWSER})
    assert f"Visits of {html.escape(name, quote=False)}<" in page.text
    assert f'/{quote(name, safe="/-._~")}.json"' in page.text
    reply = server.get(f"/visits/x{path}.json")
    assert reply.json == {"error": f'no counter "x{name}"'}
    exported = command(server.store, "export").stdout
    assert f"2 {name}\n" in exported
    assert command(server.store, "import", stdin=f"7 {name}\n").returncode == 0
    assert command(server.store, "get", name).stdout == "7\n"
    assert server.get(f"/hit/{path}").json["value"] == 8


@pytest.mark.parametrize("target,root", [
    ("/visits/a", "../"), ("/visits/a/", "../../"), ("/hit/a/b", "../../"),
    ("/hit/a:b", "../"), ("/visits", "./"), ("/hit/a%2Eb/", "../../")])
def test_references_are_relative(shared, target, root):
    """They work under a prefix that a proxy takes off."""
    shared.get(target.replace("visits", "hit"))
    page = shared.get(target, {"Accept": BROWSER}).text
    links = re.findall('href="([^"]*)"', page)
    assert links and all(link.startswith(root + "visits") for link in links)
    base = f"http://host/prefix{target}"
    assert all(urljoin(base, link).startswith("http://host/prefix/visits")
               for link in links)


ESCAPED = [
    ("a-b", "a%2Db"), ("a-b", "%61%2d%62"), ("post/1", "%70ost/1"),
    ("a~", "a%7E"), (LONGEST, "%61" * 100),
]


@pytest.mark.parametrize("name,escaped", ESCAPED)
def test_escapes_are_decoded_first(server, name, escaped):
    assert server.get(f"/hit/{escaped}").json["value"] == 1
    assert server.get(f"/visits/{name}").number == 1
    reply = server.get(f"/%76isits/{escaped}%2ejson")
    assert reply.json["counter"] == name


def test_many_escaped_names_in_one_turn(server):
    """Each has to be where it was decoded until its answer is written."""
    names = [f"escaped-{i}" for i in range(100)]
    requests = b"".join(
        render(target="/hit/%65scaped%2d" + name[8:] + ".json")
        for name in names)
    with server.client() as client:
        client.send(requests)
        for name in names:
            assert client.reply().json == {
                "counter": name, "value": 1, "today": 1}


BAD_NAMES = [
    "", "/", "a//", "/a", "a//b", ".", "..", "a/..", "../a", "a/./b",
    "%2e%2e", "a%2Fb", "a%2fb", "a%20b", "a%c3", "a%ff", "a%c3%28",
    "a%ed%a0%80", "a%25b", "a%5cb", "a%3Cb", "a%22b", ".txt", ".json",
    "a//.json", "b" * 101, "%62" * 101, "%c3%a4" * 51, "c" * 7000,
    # white space, controls, without width, against the direction
    *(f"a{quote(chr(code))}" for code in (
        0x85, 0xa0, 0x61c, 0x1680, 0x2000, 0x200b, 0x200e, 0x200f, 0x2028,
        0x202a, 0x202e, 0x202f, 0x205f, 0x2060, 0x2064, 0x2066, 0x2069,
        0x3000, 0xfeff)),
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: name[:20])
def test_a_bad_name_is_400_and_the_connection_goes_on(shared, name):
    with shared.client() as client:
        for method, path in (("GET", "/hit"), ("GET", "/visits"),
                             ("HEAD", "/get"), ("PUT", "/visits"),
                             ("DELETE", "/visits"), ("POST", "/hit")):
            reply = client.request(method, f"{path}/{name}")
            assert reply.status == 400, (method, path)
            assert reply.get("X-Visit-Counted") is None
    exported = command(shared.store, "export").stdout
    assert all(re.fullmatch(r"\d+ [^\s\x00-\x1f\x7f-\x9f]{1,100}", line)
               for line in exported.splitlines())


def test_a_bad_name_says_why(shared):
    reply = shared.get("/hit/a b".replace(" ", "%20") + ".json")
    assert "of ASCII a name has only" in reply.json["error"]
    assert reply.json["value"] is None
    assert "over 100 bytes" in shared.get("/hit/" + "d" * 101).text


# Home under its name


def test_hit_is_the_home_counter(server):
    assert server.visit() == 1
    for target in ("/hit", "/hit/homepage", "/%68it", "/hit.txt",
                   "/hit/homepage.txt"):
        before = server.get("/visits").number
        reply = server.get(target)
        value = before + 1
        if target.endswith(".txt"):
            assert reply.text == f"{value}\n"
        else:
            assert reply.json == {"counter": "homepage", "value": value,
                                  "today": value}
        check_total_headers(reply, "1")
    for target in ("/visits", "/visits/homepage", "/get/homepage.txt",
                   "/get.txt"):
        assert server.get(target).text == "6\n"
    for target in ("/hit.json", "/hit/homepage.json", "/visits.json",
                   "/visits/homepage.json", "/get/homepage", "/get"):
        assert list(server.get(target).json) == ["counter", "value", "today"]
    assert server.store.total() == 8


@pytest.mark.parametrize("target", [
    "/gets", "/hits", "/hit%2Fa", "/visit/a", "/Hit/a"])
def test_paths_beside_are_404(shared, target):
    assert shared.get(target).status == 404


# Representations


def test_named_json(shared):
    shared.get("/hit/blog/post-1")
    reply = shared.get("/hit/blog/post-1.json")
    assert reply["Content-Type"] == JSON
    assert list(reply.json) == ["counter", "value", "today"]
    assert reply.json == {"counter": "blog/post-1", "value": 2, "today": 2}
    assert reply["Access-Control-Allow-Origin"] == "*"
    for target in ("/visits/blog/post-1", "/get/blog/post-1"):
        read = shared.get(target, {"Accept": "application/json"})
        assert read.json == reply.json
        assert "Accept" in read.tokens("Vary")


def test_named_page(shared):
    before = shared.get("/hit/page/of").number
    reply = shared.get("/hit/page/of", {"Accept": BROWSER})
    assert reply["Content-Type"] == HTML
    assert "page/of" in reply.text
    assert re.search(rf"\b{before + 1}\b", reply.text)
    assert "unsafe-" not in reply["Content-Security-Policy"]
    check_total_headers(reply, "1")


SUFFIXES = [
    ("s.txt", "s", TEXT), ("s.json", "s", JSON), ("s.json.txt", "s.json", TEXT),
    ("s.txt.txt", "s.txt", TEXT), ("s.svg.txt", "s.svg", TEXT),
    ("s.gif.json", "s.gif", JSON), ("s.shields.json.txt", "s.shields.json",
                                    TEXT),
    ("s.json.json", "s.json", JSON),
]


@pytest.mark.parametrize("path,name,media", SUFFIXES)
def test_the_longest_suffix_is_taken_off(server, path, name, media):
    for accept in ("text/html", "*/*", "application/json"):
        reply = server.get(f"/hit/{path}", {"Accept": accept})
        assert reply.status == 200
        assert reply["Content-Type"] == media
        assert "Accept" not in reply.tokens("Vary")
    assert server.get(f"/visits/{path}").number == 3
    assert command(server.store, "get", name).stdout == "3\n"


@pytest.mark.parametrize("suffix", [".svg", ".gif", ".shields.json"])
@pytest.mark.parametrize("path", ["/hit", "/hit/kept", "/visits/kept",
                                  "/get/kept", "/visits"])
def test_the_suffixes_of_badges_are_kept_for_them(shared, path, suffix):
    home = shared.visit()
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        reply = shared.request(method, path + suffix)
        assert reply.status == 404
        assert reply.get("X-Visit-Counted") is None
    for name in (f"kept{suffix}.txt", "kept"):
        assert shared.get(f"/visits/{name}").status == 404
    assert shared.visit() == home + 1


# What is not there


def test_an_unknown_counter_is_404(server):
    for path in ("/visits/no/such", "/get/no/such"):
        text = server.get(path + ".txt")
        assert text.status == 404
        assert text.text == '404 Not Found: no counter "no/such"\n'
        data = server.get(path + ".json")
        assert data.status == 404
        beside = ',"value":null' if path.startswith("/get") else ""
        assert data.text == (
            '{"error":"no counter \\"no/such\\""' + beside + "}")
        assert data.get("X-Visit-Counted") is None
        assert data["Access-Control-Allow-Origin"] == "*"
        page = server.get(path, {"Accept": "text/html"})
        assert page.status == 404 and "no/such" in page.text
        assert server.request("HEAD", path).status == 404


@pytest.mark.parametrize("method,headers,reason", [
    ("HEAD", {}, "head"),
    ("GET", {"Sec-Purpose": "prefetch"}, "prefetch"),
    ("GET", {"Purpose": "prefetch"}, "prefetch"),
    ("GET", {"X-Moz": "prefetch"}, "prefetch"),
    ("GET", {"Purpose": "preview"}, "prefetch"),
    ("GET", {"X-Purpose": "preview"}, "prefetch"),
])
def test_promise_6_head_and_prefetch_create_nothing(
        server, method, headers, reason):
    for _ in range(2):
        reply = server.request(method, "/hit/fresh", headers)
        assert reply.status == 200
        check_total_headers(reply, f"0; reason={reason}")
        if method == "GET":
            assert reply.number == 0
    assert server.get("/visits/fresh").status == 404
    assert "fresh" not in command(server.store, "export").stdout
    assert server.get("/hit/fresh").number == 1
    reply = server.request(method, "/hit/fresh", headers)
    assert reply.status == 200
    if method == "GET":
        assert reply.number == 1


def test_a_read_before_the_first_visit_of_a_turn_is_404(server):
    """All that comes at once is one turn; its answers are in order."""
    targets = ["/visits/x", "/hit/x", "/visits/x", "/hit/x", "/get/x"]
    with server.client() as client:
        client.send(render("HEAD", "/hit/x")
                    + render("GET", "/hit/x.json", {"Purpose": "prefetch"})
                    + b"".join(render(target=t) for t in targets))
        assert client.reply("HEAD").status == 200
        assert client.reply().json == {"counter": "x", "value": 0, "today": 0}
        assert client.reply().status == 404
        assert [client.reply().number for _ in range(4)] == [1, 1, 2, 2]


def test_visits_of_many_counters_in_one_turn(server):
    names = [f"n{i % 7}" for i in range(100)]
    seen = {}
    with server.client() as client:
        client.send(b"".join(render(target=f"/hit/{n}.json") for n in names))
        for name in names:
            seen[name] = seen.get(name, 0) + 1
            assert client.reply().json == {
                "counter": name, "value": seen[name], "today": seen[name]}


# Bounds


def test_max_counters_is_507_for_new_ones_alone(store):
    with Server(store, MAX_COUNTERS=2) as server:
        assert server.get("/hit/a").number == 1
        assert server.get("/hit/b").number == 1
        full = server.get("/hit/c")
        assert full.status == 507
        assert full.get("X-Visit-Counted") is None
        assert server.get("/visits/c").status == 404
        head = server.request("HEAD", "/hit/c")
        assert head.status == 200
        assert server.get("/hit/a").number == 2
        assert server.visit() == 1


def test_a_visit_without_room_and_a_read_in_one_turn(store):
    with Server(store, MAX_COUNTERS=0) as server, server.client() as client:
        client.send(b"".join(map(lambda t: render(target=t), [
            "/visits/c", "/hit/c", "/visits/c"])))
        assert [client.reply().status for _ in range(3)] == [404, 507, 404]


def test_a_full_counter_is_503_for_it_alone(server):
    command(server.store, "set", "full", str(MAX - 1))
    assert server.get("/hit/full").number == MAX
    reply = server.get("/hit/full")
    assert reply.status == 503
    assert "counter is full" in reply.text
    assert server.get("/visits/full").number == MAX
    assert server.get("/hit/other").number == 1


def test_promise_2_named_counters_over_workers(store):
    """Distinct numbers, whichever worker took the connection."""
    with Server(store, WORKERS=3) as server:
        server.all_workers()
        clients = [server.client() for _ in range(12)]
        numbers = []
        for _ in range(20):
            for client in clients:
                client.send(render(target="/hit/crowd"))
            numbers += [client.reply().number for client in clients]
        assert sorted(numbers) == list(range(1, 241))
        for client in clients:
            client.close()
    with Server(store) as server:
        assert server.get("/hit/crowd").number == 241


def test_today_is_of_the_counter(server):
    command(server.store, "set", "today", "1000")
    assert server.get("/visits/today.json").json["today"] == 0
    server.get("/hit/today")
    assert server.get("/visits/today.json").json == {
        "counter": "today", "value": 1001, "today": 1}
