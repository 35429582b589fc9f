"""HTTP/1.1 as RFC 9110 and 9112 have it: connections, order, framing."""

import re
import select
import socket
import struct
import time

import pytest

import visitd
from visitd import Client, converse, render

REQUEST = render()
CLOSING = render(headers={"Connection": "close"})


@pytest.fixture(scope="module")
def single(module_store):
    """A server of one worker: its turns are seen in one order."""
    with visitd.Server(module_store, WORKERS=1) as running:
        yield running


# Persistent connections


def test_keep_alive_is_the_default_of_1_1(shared):
    with shared.client() as client:
        numbers = [client.request().number for _ in range(20)]
    assert numbers == list(range(numbers[0], numbers[0] + 20))


def test_connection_close_is_confirmed_and_done(shared):
    with shared.client() as client:
        client.send(CLOSING)
        assert client.reply()["Connection"] == "close"
        client.ends()


@pytest.mark.parametrize("value", ["close", "Close", "x, close", "close , y",
                                   "keep-alive, close"])
def test_connection_close_in_any_form(shared, value):
    with shared.client() as client:
        client.send(render(headers={"Connection": value}))
        client.reply()
        client.ends()


def test_after_connection_close_nothing_more_is_read(shared):
    before = shared.visit()
    with shared.client() as client:
        client.send(REQUEST + CLOSING + REQUEST * 3)
        assert client.reply().number == before + 1
        assert client.reply().number == before + 2
        client.ends()
    assert shared.visit() == before + 3


@pytest.mark.parametrize("head", [
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: close\r\n\r\n",
])
def test_1_0_closes(shared, head):
    with shared.client() as client:
        client.send(head)
        assert client.reply().status == 200
        client.ends()


def test_1_0_keeps_alive_if_asked_and_the_answer_confirms_it(shared):
    request = b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
    with shared.client() as client:
        numbers = []
        for _ in range(3):
            client.send(request)
            reply = client.reply()
            assert reply["Connection"].lower() == "keep-alive"
            numbers.append(reply.number)
    assert numbers == list(range(numbers[0], numbers[0] + 3))


@pytest.mark.parametrize("version", ["HTTP/1.2", "HTTP/1.9"])
def test_later_minor_versions_are_answered_as_1_1(shared, version):
    with shared.client() as client:
        request = REQUEST.replace(b"HTTP/1.1", version.encode())
        client.send(request * 2)
        assert client.reply().number + 1 == client.reply().number


# Pipelining


@pytest.mark.parametrize("count", [2, 10, 100, 1000])
def test_pipelined_requests_are_answered_in_order(shared, count):
    with shared.client() as client:
        client.send(REQUEST * count)
        numbers = [client.reply().number for _ in range(count)]
    assert numbers == list(range(numbers[0], numbers[0] + count))


def test_mixed_pipelined_requests_keep_their_order(shared):
    before = shared.visit()
    with shared.client() as client:
        client.send(REQUEST + render("HEAD") + render("GET", "/nothing")
                    + render("GET", "/visits") + REQUEST
                    + render("OPTIONS", "/") + render("GET", "/visits.json")
                    + render("GET", "/", {"Purpose": "prefetch"}) + REQUEST)
        assert client.reply().number == before + 1
        assert client.reply("HEAD").status == 200
        assert client.reply().status == 404
        assert client.reply().number == before + 1
        assert client.reply().number == before + 2
        assert client.reply("OPTIONS").status == 204
        assert client.reply().json["value"] == before + 2
        assert client.reply().number == before + 2
        assert client.reply().number == before + 3


def test_what_one_client_sees_never_goes_back(single):
    """Reads and visits pipelined by two clients at once."""
    with single.client() as one, single.client() as two:
        for client in (one, two):
            client.send((REQUEST + render("GET", "/visits")) * 200)
        for client in (one, two):
            last = 0
            for _ in range(200):
                visit = client.reply().number
                read = client.reply().number
                assert last < visit <= read
                last = read


def test_a_reader_who_does_not_read_gets_all_in_the_end(shared):
    """More answers than a socket buffers: the server must wait, not drop."""
    count = 50_000
    with shared.client() as client:
        client.socket.setblocking(False)
        unsent = memoryview(REQUEST * count)
        while unsent:
            try:
                unsent = unsent[client.socket.send(unsent):]
            except BlockingIOError:
                client.socket.settimeout(60)
                client.buffer += client.socket.recv(65536)
                client.socket.setblocking(False)
        client.end()
        client.socket.settimeout(60)
        received = [client.buffer]
        while chunk := client.socket.recv(1 << 20):
            received.append(chunk)
    numbers = [int(n) for n in re.findall(rb"visits: (\d+)\n",
                                          b"".join(received))]
    assert numbers == list(range(numbers[0], numbers[0] + count))


def test_empty_lines_before_a_request_are_skipped(shared):
    with shared.client() as client:
        client.send(b"\r\n" + REQUEST + b"\r\n\r\n" + REQUEST)
        assert client.reply().number + 1 == client.reply().number


# Fragments


def test_a_request_cut_at_every_point_is_waited_for(single):
    """One connection for each split; another's round trip between the
    halves makes the worker read the first half by itself."""
    request = render(headers={"Accept": "application/json"})
    before = single.visit()
    clients = [Client(single.port) for _ in range(1, len(request))]
    for cut, client in enumerate(clients, 1):
        client.send(request[:cut])
    assert single.get("/visits").number == before
    for cut, client in enumerate(clients, 1):
        client.send(request[cut:])
    numbers = sorted(client.reply().number for client in clients)
    for client in clients:
        client.close()
    assert numbers == list(range(before + 1, before + len(request)))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 50])
def test_fragments_of_any_size(single, size):
    """Two pipelined requests in pieces; a round trip after every piece."""
    data = REQUEST * 2
    with single.client() as client, single.client() as other:
        for at in range(0, len(data), size):
            client.send(data[at:at + size])
            other.request("GET", "/robots.txt")
        assert client.reply().number + 1 == client.reply().number


def test_a_long_head_in_fragments(single):
    """A kept half request that outgrows its first buffer."""
    data = render(headers=[(f"X-{i}", "v" * 150) for i in range(90)])
    with single.client() as client, single.client() as other:
        for at in range(0, len(data), 1000):
            client.send(data[at:at + 1000])
            other.request("GET", "/robots.txt")
        assert client.reply().status == 200


# Ends of input


def test_a_half_closed_client_is_still_answered(shared):
    with shared.client() as client:
        client.send(REQUEST)
        client.end()
        assert client.reply().status == 200
        client.ends()


def test_a_half_closed_client_gets_all_its_pipelined_answers(shared):
    with shared.client() as client:
        client.send(REQUEST * 500)
        client.end()
        numbers = [client.reply().number for _ in range(500)]
        assert numbers == list(range(numbers[0], numbers[0] + 500))
        client.ends()


@pytest.mark.parametrize("data", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_the_end_of_input_inside_a_request_closes_at_once(shared, data):
    before = shared.visit()
    with shared.client(timeout=8) as client:
        client.send(data)
        client.end()
        client.ends()
    assert shared.visit() == before + 1


def test_clients_that_break_off_do_not_disturb_others(shared):
    """Resets before, inside and after requests, with answers unread."""
    linger = struct.pack("ii", 1, 0)
    with shared.client() as steady:
        last = steady.request().number
        for data in (b"", b"GET / HT", REQUEST, REQUEST * 50,
                     render("POST", "/", body=b"x" * 100)[:-50]):
            for _ in range(5):
                breaker = Client(shared.port)
                breaker.socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger)
                breaker.send(data)
                breaker.close()
                number = steady.request().number
                assert number > last
                last = number


# Bodies that nobody asked for

SMUGGLED = render("GET", "/nothing")


def next_or_end(client):
    """The reply to a request sent now, or None if the server closes."""
    try:
        return client.request("GET", "/robots.txt")
    except (visitd.Closed, ConnectionError):
        return None


@pytest.mark.parametrize("method,status", [("GET", 200), ("POST", 405)])
@pytest.mark.parametrize("size", [1, 34, 5000, 65536])
def test_a_body_never_becomes_the_next_request(shared, method, status, size):
    body = (SMUGGLED * (size // len(SMUGGLED) + 1))[:size]
    with shared.client() as client:
        client.send(render(method, "/", body=body))
        assert client.reply().status == status
        following = next_or_end(client)
        assert following is None or following.status == 200


@pytest.mark.parametrize("method,status", [("GET", 200), ("POST", 405)])
def test_a_chunked_body_never_becomes_the_next_request(
        shared, method, status):
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    with shared.client() as client:
        client.send(render(method, "/", {"Transfer-Encoding": "chunked"})
                    + chunked)
        assert client.reply().status == status
        following = next_or_end(client)
        assert following is None or following.status == 200


def test_a_body_in_fragments_is_waited_for_or_refused(single):
    head = render("GET", "/", {"Content-Length": "30"})
    with single.client() as client, single.client() as other:
        client.send(head)
        for _ in range(3):
            other.request("GET", "/robots.txt")
            try:
                client.send(b"GET / HTTP")
            except ConnectionError:
                pass
        assert client.reply().status == 200
        following = next_or_end(client)
        assert following is None or following.status == 200


# Refusals: syntax

HOST = b"Host: localhost\r\n"
BAD_SYNTAX = [
    b"GET /\r\n\r\n",
    b"GET / \r\n\r\n",
    b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /\x01 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /#here HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET * HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET nothing HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Accept : */*\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b": empty name\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"A: \x00\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"A: b\rc\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n"
    b"Content-Length: 2\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
]


@pytest.mark.parametrize("data", BAD_SYNTAX)
def test_bad_syntax_is_400_and_closes(shared, data):
    before = shared.visit()
    with shared.client() as client:
        client.send(data)
        reply = client.reply()
        assert reply.status == 400
        assert reply["Connection"] == "close"
        client.ends()
    assert shared.visit() == before + 1


def test_nothing_after_a_syntax_error_is_parsed(shared):
    before = shared.visit()
    with shared.client() as client:
        client.send(REQUEST + BAD_SYNTAX[0] + REQUEST)
        assert client.reply().status == 200
        assert client.reply().status == 400
        client.ends()
    assert shared.visit() == before + 2


@pytest.mark.parametrize("version", [
    b"HTTP/2.0", b"HTTP/0.9", b"HTTP/3.0"])
def test_another_version_is_505(shared, version):
    reply, closed = converse(
        shared.port, REQUEST.replace(b"HTTP/1.1", version))
    assert reply.status == 505
    assert closed


@pytest.mark.parametrize("coding,status", [
    ("gzip, chunked", 501), ("x, gzip, chunked", 501),
    # where such a body ends is not known (RFC 9112 6.3)
    ("gzip", 400), ("deflate", 400), ("chunked, gzip", 400)])
def test_an_unknown_transfer_coding_is_501_before_chunked(shared, coding,
                                                          status):
    reply, closed = converse(
        shared.port, render("POST", "/", {"Transfer-Encoding": coding}))
    assert reply.status == status
    assert closed


# Refusals: limits


def line_of(length):
    """A request whose request line, without its end, has that length."""
    target = "/?" + "a" * (length - len("GET /? HTTP/1.1"))
    return render("GET", target, {"Connection": "close"})


def section_of(size):
    """A request whose header section has that many bytes."""
    head = render(headers=[("X-A", ""), ("Connection", "close")])
    section = len(head) - len(b"GET / HTTP/1.1\r\n")
    return head.replace(b"X-A: ", b"X-A: " + b"v" * (size - section))


def fields_of(count):
    """A request with that many fields, Host and Connection among them."""
    return render(headers=[(f"X-{i}", "v") for i in range(count - 2)]
                  + [("Connection", "close")])


def body_of(size):
    """A request with a body of that many bytes."""
    return render("GET", "/", {"Connection": "close"}, b"b" * size)


def huge_body(length):
    """The head alone of a request that announces a body."""
    return render("GET", "/", {"Content-Length": str(length)})


@pytest.mark.parametrize("data,status", [
    (line_of(8000), 200),
    (line_of(8190), 200),
    (line_of(8194), 414),
    (line_of(100_000), 414),
    (b"GET /" + b"a" * 9000, 414),
    (section_of(16_000), 200),
    (section_of(16_384), 200),
    (section_of(16_400), 431),
    (section_of(200_000), 431),
    (REQUEST[:-2] + b"X: " + b"v" * 17_000, 431),
    (fields_of(100), 200),
    (fields_of(101), 431),
    (fields_of(1000), 431),
    (body_of(65_536), 200),
    (body_of(65_537), 413),
    (body_of(1_000_000), 413),
    (huge_body(65_537), 413),
    (huge_body(10**12), 413),
    (huge_body(2**63 - 1), 413),
], ids=lambda value: value if isinstance(value, int) else
    f"{len(value)}-bytes")
def test_limits_are_exact_and_answered_before_the_close(shared, data, status):
    """The refusal must reach a client that is still sending: no reset."""
    before = shared.visit()
    with shared.client() as client:
        try:
            client.send(data)
        except ConnectionError:
            pytest.fail("reset while sending")
        reply = client.reply()
        assert reply.status == status
        assert reply["Connection"] == "close"
        client.ends()
    assert shared.visit() == before + 1 + (status == 200)


def test_a_bad_method_is_told_before_a_big_body(shared):
    """Of several faults the first is told: 404, 405, then 413."""
    for method, target, status in (("POST", "/", 405),
                                   ("GET", "/nothing", 404)):
        reply, _ = converse(shared.port, render(
            method, target, {"Content-Length": "999999"}))
        assert reply.status == status


# Deadlines

HEAD_DEADLINE = 10


@pytest.mark.slow
def test_an_incomplete_head_is_408_after_10_seconds(store):
    """Whole fragments or a byte now and then: the deadline is for the head."""
    with visitd.Server(store) as server:
        fragments = [b"G", b"GET / HTTP/1.1\r\n", REQUEST[:-2], REQUEST[:-1]]
        begun = time.monotonic()
        quiet = [Client(server.port) for _ in fragments]
        dribbler = Client(server.port)
        for client, fragment in zip(quiet, fragments):
            client.send(fragment)
        dribbler.send(b"GET / HTTP/1.1\r\nX: ")
        poll = select.poll()
        poll.register(dribbler.socket, select.POLLIN)
        while not poll.poll(1000):
            dribbler.send(b"v")
        for client in (*quiet, dribbler):
            reply = client.reply()
            took = time.monotonic() - begun
            assert reply.status == 408
            assert reply["Connection"] == "close"
            assert HEAD_DEADLINE - 1 < took < 2 * HEAD_DEADLINE
            client.ends()
            client.close()
        assert store.total() == 0
