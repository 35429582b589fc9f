"""Bodies: by length and in chunks, cut anywhere, at and over their limits.

`GET /` reads a body and drops it, so a visit tells that it was framed right;
`POST /items` shows what was in it.
"""

import json
import random

import pytest

import visitd
from visitd import Client, check_refused, pieces, render

BODY_MAX = 65536
CHUNKED = {"Transfer-Encoding": "chunked"}
POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def single(module_store):
    """A server of one worker: its turns are seen in one order."""
    with visitd.Server(module_store, WORKERS=1) as running:
        yield running


def chunks(body, size=None, extension=b"", trailers=b""):
    """The body in chunks of that size, whole by default."""
    parts = pieces(body, size or len(body) or 1)
    return b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part)
                    for part in parts) + b"0\r\n" + trailers + b"\r\n"


def chunked(body, method="GET", target="/", **options):
    """A whole request with a chunked body."""
    return render(method, target, CHUNKED) + chunks(body, **options)


BODIES = {
    "none": render(),
    "length 0": render(headers={"Content-Length": "0"}),
    "length 00": render(headers={"Content-Length": "00"}),
    "length 010": render(headers={"Content-Length": "010"}) + b"0123456789",
    "long zeros": render(headers={"Content-Length": "0" * 500 + "5"})
    + b"hello",
    "length": render(body=b"hello"),
    "line ends": render(body=b"\r\n\r\n\r\n"),
    "a request": render(body=render()),
    "NULs": render(body=bytes(100)),
    "chunks": chunked(b"hello"),
    "no chunk": chunked(b""),
    "small chunks": chunked(b"hello" * 40, size=1),
    "capitals": render(headers=CHUNKED) + b"A\r\n0123456789\r\n0\r\n\r\n",
    "16 digits": render(headers=CHUNKED)
    + b"0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n",
    "chunks like chunks": chunked(b"0\r\n\r\n5\r\nhello\r\n", size=7),
    "an extension": chunked(b"hello", extension=b";a"),
    "extensions": chunked(b"hello", extension=b";a=b;c=\"d;\\\"\r;e\""
                          .replace(b"\r", b"") + b" ; f"),
    "bad white space": chunked(b"hello", extension=b" ; a = b"),
    "trailers": chunked(b"hello", trailers=b"X: y\r\nY:\r\n"),
    "many trailers": chunked(b"hello", trailers=b"X: y\r\n" * 500),
    "Chunked": render(headers={"Transfer-Encoding": "Chunked"}) + chunks(b"a"),
    "empty members": render(headers={"Transfer-Encoding": ", chunked ,"})
    + chunks(b"a"),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_is_read_and_dropped(single, case):
    """Whole, and pipelined before and behind others of its kind."""
    with single.client() as client:
        client.send(BODIES[case] * 3 + render("GET", "/visits"))
        numbers = [client.reply().number for _ in range(4)]
    first = numbers[0]
    assert numbers == [first, first + 1, first + 2, first + 2]


@pytest.mark.parametrize("case", BODIES)
def test_a_body_cut_at_every_point_is_waited_for(single, case):
    """One connection for each split; another's round trip between the
    halves makes the worker read the first half by itself."""
    data = BODIES[case]
    cuts = range(1, len(data), 1 + len(data) // 100)
    before = single.get("/visits").number
    clients = [Client(single.port) for _ in cuts]
    for cut, client in zip(cuts, clients):
        client.send(data[:cut])
    assert single.get("/visits").number == before
    for cut, client in zip(cuts, clients):
        client.send(data[cut:])
    numbers = sorted(client.reply().number for client in clients)
    for client in clients:
        client.close()
    assert numbers == list(range(before + 1, before + len(cuts) + 1))


@pytest.mark.parametrize("case", ["length", "an extension", "trailers"])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_bodies_in_fragments(single, case, size):
    """Three pipelined requests; a round trip after every piece."""
    data = BODIES[case] * 2 + render()
    with single.client() as client, single.client() as other:
        before = single.get("/visits").number
        for piece in pieces(data, size):
            client.send(piece)
            other.request("GET", "/robots.txt")
        assert [client.reply().number - before for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("seed", range(5))
def test_pipelines_of_bodies_cut_at_random(single, seed):
    draw = random.Random(seed)
    requests = draw.choices(list(BODIES.values()), k=60)
    data = b"".join(requests)
    cuts = sorted(draw.sample(range(len(data)), 40)) + [len(data)]
    with single.client() as client, single.client() as other:
        before = single.get("/visits").number
        at = 0
        for cut in cuts:
            client.send(data[at:cut])
            at = cut
            other.request("GET", "/robots.txt")
        numbers = [client.reply().number for _ in requests]
    assert numbers == list(range(before + 1, before + len(requests) + 1))


# Limits


def big(size, how):
    """A request with a body of that many bytes."""
    body = b"b" * size
    if how == "length":
        return render(body=body)
    return chunked(body, size={"chunk": None, "chunks": 1000, "bytes": 1}[how])


@pytest.mark.parametrize("how", ["length", "chunk", "chunks", "bytes"])
def test_a_body_of_65536_bytes_is_taken(single, how):
    for size in (BODY_MAX - 1, BODY_MAX):
        before = single.get("/visits").number
        with single.client() as client:
            client.send(big(size, how) + render())
            assert client.reply().number == before + 1
            assert client.reply().number == before + 2


@pytest.mark.parametrize("how", ["length", "chunk", "chunks", "bytes"])
def test_a_body_of_65537_bytes_is_413(single, how):
    data = big(BODY_MAX + 1, how)
    before = single.visit()
    with single.client() as client:
        client.send(data + render() * 2)
        assert client.reply().status == 413
        client.ends()
    assert single.visit() == before + 1


@pytest.mark.parametrize("announced", [
    "10001", "ffffffff", "100000000", "7fffffffffffffff", "8000000000000000",
    "ffffffffffffffff", "fffffffffffffffe"])
def test_a_chunk_over_the_limit_is_413_before_its_data(shared, announced):
    """Also behind others: the sum must not overflow."""
    for first in (b"", b"5\r\nhello\r\n"):
        data = render(headers=CHUNKED) + first + announced.encode() + b"\r\n"
        check_refused(shared, data, {413})


@pytest.mark.parametrize("length", [BODY_MAX + 1, 2**31, 2**32, 2**32 + 5,
                                    2**63 - 1])
def test_a_length_over_the_limit_is_413_at_once(shared, length):
    check_refused(shared, render(headers={"Content-Length": str(length)}),
                  {413})


def trailer_section(size):
    """A trailer section of that many bytes, without its empty line."""
    lines, rest = divmod(size, 1000)
    return (b"X: " + b"v" * 995 + b"\r\n") * lines + (
        b"X: " + b"v" * (rest - 5) + b"\r\n")


def test_the_limit_of_the_trailers_is_exact(single):
    before = single.get("/visits").number
    with single.client() as client:
        client.send(chunked(b"hello", trailers=trailer_section(16384)))
        assert client.reply().number == before + 1
    check_refused(single, chunked(b"a", trailers=trailer_section(16385)),
                  {431})
    check_refused(single, render(headers=CHUNKED) + b"0\r\nX: "
                  + b"v" * 17_000, {431})


def test_extensions_are_bounded(shared):
    """Of one chunk, and of all of them: a 4xx (RFC 9112 7.1.1)."""
    check_refused(shared, chunked(b"a", extension=b";" + b"e" * 5000), {400})
    check_refused(shared, chunked(b"a" * 500, size=1,
                                  extension=b";" + b"e" * 100), {400})


# What is in them


def item(name):
    return json.dumps({"name": name, "description": "d"}).encode()


def check_item(server, client, name):
    """The answer is the item's creation; gives its place."""
    reply = client.reply("POST")
    assert reply.status == 201, reply
    assert reply.json["name"] == name
    stored = server.get("/" + reply["Location"])
    assert stored.json == reply.json
    return reply["Location"]


@pytest.mark.parametrize("size", [1, 2, 3, 10, None])
def test_chunks_are_put_together_in_order(single, size):
    body = item("0123456789" * 10)
    data = chunked(body, "POST", "/items", size=size, extension=b";a=b",
                   trailers=b"Content-Length: 3\r\n")
    with single.client() as client, single.client() as other:
        for fragment in (len(data), 1000, 50):
            for piece in pieces(data, fragment):
                client.send(piece)
                other.request("GET", "/robots.txt")
            check_item(single, client, "0123456789" * 10)


def test_pipelined_bodies_are_not_mixed_up(single):
    """Lengths and chunks in turn, between visits."""
    names = [f"item-{i}" * (1 + i % 17) for i in range(60)]
    data = b""
    for i, name in enumerate(names):
        data += (chunked(item(name), "POST", "/items", size=1 + i)
                 if i % 2 else render("POST", "/items", body=item(name)))
        data += render("GET", "/", body=b"x" * i)
    with single.client() as client:
        before = single.get("/visits").number
        client.send(data)
        places = []
        for i, name in enumerate(names):
            places.append(check_item(single, client, name))
            assert client.reply().number == before + i + 1
    ids = [int(place.rsplit("/", 1)[1]) for place in places]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_a_body_of_one_client_never_shows_in_anothers(single):
    """Many at once, in pieces that alternate."""
    names = [str(i) * 50 for i in range(40)]
    clients = [Client(single.port) for _ in names]
    requests = [render("POST", "/items", body=item(name)) if i % 2 else
                chunked(item(name), "POST", "/items", size=5)
                for i, name in enumerate(names)]
    for at in range(0, max(map(len, requests)), 60):
        for client, request in zip(clients, requests):
            if request[at:at + 60]:
                client.send(request[at:at + 60])
    for client, name in zip(clients, names):
        check_item(single, client, name)
        client.close()


def test_expect_then_a_body(single):
    with single.client() as client:
        body = item("waited for")
        client.send(render("POST", "/items", {
            "Expect": "100-continue", "Content-Length": str(len(body))}))
        client.continues()
        for piece in pieces(body, 10):
            client.send(piece)
        check_item(single, client, "waited for")


ITEM = render("POST", "/items", {"Connection": "close"}, item("a"))
ITEM_ORDER = [
    # 404, 405 ... 417, 413, 415, body
    (ITEM.replace(b"POST /items", b"POST /itemz"), 404),
    (ITEM.replace(b"POST", b"PUT "[:3]).replace(b"Host", b"Expect: x\r\nHost"),
     405),
    (ITEM.replace(b"Host", b"Expect: x\r\nContent-Type: a/b\r\nHost"), 417),
    (render("POST", "/items", {"Content-Length": "65537",
                               "Content-Type": "a/b"}), 413),
    (render("POST", "/items", {**CHUNKED, "Content-Type": "a/b"})
     + b"10001\r\n", 413),
    (ITEM.replace(b"Host", b"Content-Type: a/b\r\nHost")
     .replace(b"name", b"eman"), 415),
    (ITEM.replace(b"name", b"eman"), 400),
    (render("POST", "/items", {"Content-Type": "a/b",
                               "Expect": "100-continue",
                               "Content-Length": "5"}), 415),
    (ITEM, 201),
]


@pytest.mark.parametrize("data,status", ITEM_ORDER)
def test_of_several_faults_of_an_item_the_first_is_told(single, data, status):
    with single.client() as client:
        client.send(data)
        assert client.reply("POST").status == status


def test_an_item_with_a_bad_chunk_is_not_created(single):
    with single.client() as client:
        client.send(ITEM)
        last = int(client.reply("POST")["Location"].rsplit("/", 1)[1])
    whole = chunked(item("bad"), "POST", "/items")
    for bad in (whole[:-5] + b"x\r\n\r\n", whole[:-2] + b"X : y\r\n\r\n",
                whole.replace(b"\r\n0\r\n", b"!\r\n0\r\n")):
        check_refused(single, bad, {400})
    with single.client(timeout=8) as client:
        client.send(whole[:-2])
        client.end()
        client.ends()
    assert single.get(f"/items/{last + 1}").status == 404
