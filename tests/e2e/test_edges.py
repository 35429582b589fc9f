"""The edges of HTTP over real sockets: request line, Host, fields, order of
refusals, Expect, ends of input, refusals under fire, deadlines."""

import select
import socket
import struct
import time

import pytest

import visitd
from visitd import Client, check_refused, converse, pieces, render

HOST = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n"


@pytest.fixture(scope="module")
def single(module_store):
    """A server of one worker: its turns are seen in one order."""
    with visitd.Server(module_store, WORKERS=1) as running:
        yield running


def line(text):
    """A whole request with that request line."""
    return text + b"\r\n" + HOST + b"\r\n"


def answer(server, data, method="GET"):
    """The first answer to the data on a connection of its own."""
    return converse(server.port, data, method=method)[0]


# The request line

BAD_LINES = [
    b"GET /", b"GET / ", b"GET", b"GET ", b"/", b"GET HTTP/1.1",
    b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET / HTTP/1.1 ",
    b"GET / HTTP/1.1\t", b"GET / HTTP/1.1 x", b" GET / HTTP/1.1",
    b"GET\t/ HTTP/1.1", b"GET /\tHTTP/1.1", b"GET\x0b/ HTTP/1.1",
    b"GET\x0c/ HTTP/1.1", b"GET\xa0/ HTTP/1.1", b"GET\r/ HTTP/1.1",
    b"GET\n/ HTTP/1.1", b"GET /\rHTTP/1.1", b"GET /a b HTTP/1.1",
    b"G\x00T / HTTP/1.1", b"G\xc3\x89T / HTTP/1.1", b"G(T / HTTP/1.1",
    b"GET, / HTTP/1.1", b"\"GET\" / HTTP/1.1", b"GET: / HTTP/1.1",
    # versions that are none
    b"GET / http/1.1", b"GET / Http/1.1", b"GET / HTTP", b"GET / HTTP/",
    b"GET / HTTP/1", b"GET / HTTP/1.", b"GET / HTTP/.1", b"GET / HTTP/1,1",
    b"GET / HTTP/01.1", b"GET / HTTP/1.01", b"GET / HTTP/1.10",
    b"GET / HTTP/11.1", b"GET / HTTP/1.1.1", b"GET / HTTP/ 1.1",
    b"GET / HTTP/1. 1", b"GET / HTTP /1.1", b"GET / HTTP/1.x",
    b"GET / HTTP/-1.1", b"GET / HTTP/+1.1", b"GET / HTTP/1.1x",
    b"GET / HTTPS/1.1", b"GET / HTTP1.1", b"GET / HTTP\\1.1",
    b"GET / HTTP/\xb9.1", b"GET / HTTP/1.1\x00", b"GET / XHTTP/1.1",
    b"GET / RTSP/1.0", b"GET / ICY/1.0", b"GET / SIP/2.0",
    # targets
    b"GET /\x00 HTTP/1.1", b"GET /\x01 HTTP/1.1", b"GET /\x1b HTTP/1.1",
    b"GET /\x7f HTTP/1.1", b"GET /\x80 HTTP/1.1", b"GET /\xff HTTP/1.1",
    b"GET /\xc3\xa9 HTTP/1.1", b"GET /\xc0\xaf HTTP/1.1",
    b"GET /?\xc3\xa9 HTTP/1.1", b"GET /# HTTP/1.1", b"GET /#a HTTP/1.1",
    b"GET /?a#b HTTP/1.1", b"GET # HTTP/1.1", b"GET /\\ HTTP/1.1",
    b"GET \\ HTTP/1.1", b"GET /..\\ HTTP/1.1", b"GET /?\\ HTTP/1.1",
    b"GET /%00 HTTP/1.1", b"GET /?%00 HTTP/1.1", b"GET /%0d HTTP/1.1",
    b"GET /%0D%0A HTTP/1.1", b"GET /?%0d%0aX:%20y HTTP/1.1",
    b"GET /%0a HTTP/1.1", b"GET /% HTTP/1.1", b"GET /%a HTTP/1.1",
    b"GET /%zz HTTP/1.1", b"GET /%%20 HTTP/1.1", b"GET /%u0041 HTTP/1.1",
    b"GET visits HTTP/1.1", b"GET ?a HTTP/1.1", b"GET . HTTP/1.1",
    b"GET a:80 HTTP/1.1", b"GET //a@b\x08 HTTP/1.1",
    # * is for OPTIONS
    b"GET * HTTP/1.1", b"POST * HTTP/1.1", b"PUT * HTTP/1.1",
    b"DELETE * HTTP/1.1", b"OPTIONS ** HTTP/1.1", b"OPTIONS *? HTTP/1.1",
    b"OPTIONS */ HTTP/1.1", b"OPTIONS a HTTP/1.1",
    # absolute form
    b"GET http:// HTTP/1.1", b"GET http:///a HTTP/1.1",
    b"GET http://?a HTTP/1.1", b"GET http:/a HTTP/1.1",
    b"GET http:a HTTP/1.1", b"GET http HTTP/1.1", b"GET ://a HTTP/1.1",
    b"GET http://u@a/ HTTP/1.1", b"GET http://u:p@a/ HTTP/1.1",
    b"GET http://@a/ HTTP/1.1", b"GET http://a:b/ HTTP/1.1",
    b"GET http://a:-1/ HTTP/1.1", b"GET http://a:+1/ HTTP/1.1",
    b"GET http://a:65536/ HTTP/1.1", b"GET http://a:1:2/ HTTP/1.1",
    b"GET http://a:99999999999999999999/ HTTP/1.1",
    b"GET http://:80/ HTTP/1.1", b"GET http://a,b/ HTTP/1.1",
    b"GET http://[::1/ HTTP/1.1", b"GET http://::1/ HTTP/1.1",
    b"GET http://a\\b/ HTTP/1.1", b"GET http://a#b HTTP/1.1",
    b"GET http://a%zz/ HTTP/1.1", b"GET ftp://a/ HTTP/1.1",
    b"GET file:///a HTTP/1.1", b"GET javascript:a HTTP/1.1",
    b"GET http://a/%00 HTTP/1.1", b"GET http://a/% HTTP/1.1",
]


@pytest.mark.parametrize("text", BAD_LINES)
def test_a_bad_request_line_is_400(shared, text):
    check_refused(shared, line(text), {400})


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/0.0", b"HTTP/2.0",
                                     b"HTTP/2.1", b"HTTP/3.0", b"HTTP/9.9"])
def test_another_major_version_is_505(shared, version):
    check_refused(shared, line(b"GET / " + version), {505})


def test_the_preface_of_http_2_is_505(shared):
    check_refused(shared, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {505})


@pytest.mark.parametrize("method", [
    b"get", b"Get", b"GETT", b"GE", b"G", b"POS", b"OPTION", b"!#$%&'*+-.^_`|",
    b"PROPFIND", b"BREW", b"M" * 8000])
def test_a_method_nobody_knows_is_501_and_closes(shared, method):
    check_refused(shared, line(method + b" / HTTP/1.1"), {501})


@pytest.mark.parametrize("text", [
    b"CONNECT a:80 HTTP/1.1", b"CONNECT a HTTP/1.1", b"CONNECT / HTTP/1.1",
    b"TRACE / HTTP/1.1", b"TRACE * HTTP/1.1", b"TRACK / HTTP/1.1"])
def test_connect_and_trace_are_501_and_echo_nothing(shared, text):
    data = text + b"\r\n" + HOST + b"X-Secret: swordfish\r\n\r\n"
    reply = check_refused(shared, data, {501})
    assert b"swordfish" not in reply.body
    assert reply["Content-Type"] != "message/http"


@pytest.mark.parametrize("text", [
    b"GET http://a/ HTTP/1.1", b"GET http://a HTTP/1.1",
    b"GET http://a? HTTP/1.1", b"GET HTTP://A:80/ HTTP/1.1",
    b"GET hTtPs://b.example:443 HTTP/1.1", b"GET http://a:/ HTTP/1.1",
    b"GET http://[::1]:8080/?a=b HTTP/1.1", b"GET /? HTTP/1.1",
    b"GET /?a=%20&b=100% HTTP/1.1", b"GET /?http://b/ HTTP/1.1",
    b"GET / HTTP/1.2", b"GET / HTTP/1.9",
])
def test_other_forms_of_a_visit_count(shared, text):
    """Absolute form names the host itself; what Host says does not matter."""
    before = shared.visit()
    reply = answer(shared, line(text))
    assert reply.status == 200
    assert reply.number == before + 1


@pytest.mark.parametrize("text", [b"GET http://a/ HTTP/1.1",
                                  b"OPTIONS http://a HTTP/1.1",
                                  b"OPTIONS * HTTP/1.1"])
def test_other_forms_need_a_host_too(shared, text):
    check_refused(shared, text + b"\r\n\r\n", {400})


@pytest.mark.parametrize("text", [b"OPTIONS * HTTP/1.1",
                                  b"OPTIONS http://a HTTP/1.1"])
def test_options_of_the_whole_server(shared, text):
    reply = answer(shared, line(text), "OPTIONS")
    assert reply.status == 204
    assert {"GET", "HEAD", "OPTIONS"} <= reply.tokens("Allow")


def test_the_answer_names_1_1_whatever_was_asked(shared):
    """And 1.0 gets no chunked answer: Client.reply checks both."""
    for data in (b"GET / HTTP/1.0\r\n\r\n", line(b"GET / HTTP/1.7"),
                 line(b"GET / HTTP/3.0"), b"GET / HTTP/1.0\r\nHost:\r\n\r\n"):
        answer(shared, data)


@pytest.mark.parametrize("count,statuses", [(0, {200}), (1, {200}), (2, {200}),
                                            (4, {200}), (100, {400})])
def test_a_few_empty_lines_before_a_request(shared, count, statuses):
    for first in (b"", render("OPTIONS", "/")):
        with shared.client() as client:
            client.send(first + b"\r\n" * count + line(b"GET / HTTP/1.1"))
            if first:
                assert client.reply("OPTIONS").status == 204
            assert client.reply().status in statuses


# Host

BAD_HOSTS = [
    b"", b" ", b"\t", b"a b", b"a\tb", b"a, b", b"a,b", b"a,", b"u@a",
    b"u:p@a", b"@a", b"a/", b"/", b"/a", b"a/b", b"http://a", b"//a", b"a?",
    b"a?b", b"a#b", b"a\\b", b"a:b", b"a:80b", b"a:-1", b"a:+80", b"a: 80",
    b"a :80", b"a:80:80", b"a::80", b":80", b":", b"a:65536",
    b"a:99999999999999999999999", b"a:\xd9\xa1", b"::1", b"[::1", b"::1]",
    b"[]", b"[", b"]", b"[::1]a", b"[::1]80", b"[::g]", b"[::1]:b", b"[a]",
    b"[127.0.0.1]", b"[1]", b"[:]", b"[:::]", b"[1::2::3]", b"[::12345]",
    b"[1:2:3:4:5:6:7]", b"[1:2:3:4:5:6:7:8:9]", b"[::1.2.3]", b"[.]",
    b"[::1]%25eth0", b"a\x00b", b"a\x01b", b"a\x7fb", b"a\xffb", b"\xc3\xa9",
    b"a%", b"a%4", b"a%zz", b"<a>", b"\"a\"", b"{a}", b"a|b", b"a^b", b"`a`",
    b"a\r\n b", b"a\rb", b"a\nb", b"a;b c",
]


@pytest.mark.parametrize("value", BAD_HOSTS)
def test_a_bad_host_is_400(shared, value):
    check_refused(shared, GET + b"Host: " + value + b"\r\n\r\n", {400})


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("second", [
    b"Host: a", b"Host: b", b"host: a", b"HOST:", b"X: y\r\nHost: a"])
def test_two_hosts_are_400(shared, version, second):
    check_refused(shared, b"GET / HTTP/" + version + b"\r\n" + HOST + second
                  + b"\r\n\r\n", {400})


@pytest.mark.parametrize("fields", [
    b"", b"X-Host: a\r\n", b"Hosts: a\r\n", b"Forwarded: host=a\r\n"])
def test_no_host_is_400_in_1_1_and_fine_in_1_0(shared, fields):
    check_refused(shared, GET + fields + b"\r\n", {400})
    check_refused(shared, b"GET / HTTP/1.7\r\n" + fields + b"\r\n", {400})
    assert answer(shared, b"GET / HTTP/1.0\r\n" + fields
                  + b"\r\n").status == 200


@pytest.mark.parametrize("value", [
    b"a", b"A.Example", b"a.", b"a_b", b"_", b"-", b"127.0.0.1", b"1",
    b"a:0", b"a:80", b"a:65535", b"a:", b"a:00080", b"[::]", b"[::1]",
    b"[::1]:", b"[::1]:8080", b"[1:2:3:4:5:6:7:8]", b"[2001:DB8::A:1]",
    b"[::ffff:1.2.3.4]", b"[1:2:3:4:5:6:1.2.3.4]", b"a%20b", b"%41",
    b"xn--9ca", b"!$&'()*+;=~", b" \t a \t", b"x" * 255,
])
def test_a_legal_host_is_fine(shared, value):
    for name in (b"Host:", b"host:", b"hOST: "):
        data = GET + name + value + b"\r\n\r\n"
        assert answer(shared, data).status == 200


# Fields


@pytest.mark.parametrize("field", [
    b"X:", b"X: ", b"X: \t ", b"X:y", b"X:\ty\t", b"X: a\tb", b"X: a  b",
    b"X: \x80\xff", b"X: \xc3\xa9", b"X: a:b", b"X: \"a", b"X: ,,,",
    b"!#$%&'*+-.^_`|~: y", b"0: y", b"_: y", b"-: y", b"X: y\r\nX: z",
    b"Cookie: a=b;;=", b"Upgrade: websocket\r\nConnection: Upgrade",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    b"Upgrade:", b"TE: trailers", b"TE: gzip;q=0", b"Range: bytes=0-1",
    b"Range: bytes=9-1", b"If-Range: \"a\"\r\nRange: bytes=0-0",
    b"If-Modified-Since: never", b"Content-Range: bytes 0-1/2",
    b"If-Modified-Since: Sat, 01 Jan 2050 00:00:00 GMT",
    b"Accept-Encoding: gzip, br", b"Accept-Encoding: identity;q=0, *;q=0",
    b"Keep-Alive: timeout=-1", b"Proxy-Connection: close",
    b"Content-Type: multipart/form-data", b"Content-Encoding: gzip",
    b"Via: 1.0 a", b"Max-Forwards: 0", b"Trailer: Host", b"Connection:",
    b"Connection: ,", b"Connection: host, accept", b"Authorization: ",
    b"Date: yesterday", b"X-HTTP-Method-Override: DELETE",
    b"X-Original-URL: /nothing", b"X-Forwarded-Host: b", b"Expect:",
    b"Expect: ,", b"Content-Location: /nothing", b"From: root",
])
def test_a_legal_field_changes_nothing(shared, field):
    """Upgrade, Range and preconditions are ignored; a visit is a 200."""
    before = shared.visit()
    with shared.client() as client:
        client.send(GET + HOST + field + b"\r\n\r\n" + render())
        first = client.reply()
        assert first.status == 200
        assert first.get("Upgrade") is None
        assert first.get("Content-Encoding") is None
        assert first.number == before + 1
        assert client.reply().number == before + 2


def test_every_byte_in_a_field_name(shared):
    """Tokens are names, anything else is 400 (RFC 9110 5.6.2)."""
    tokens = {c for c in range(128) if chr(c).isalnum()}
    tokens |= set(b"!#$%&'*+-.^_`|~:")
    for byte in range(256):
        data = GET + HOST + b"X" + bytes([byte]) + b"Y: z\r\n\r\n"
        expected = 200 if byte in tokens else 400
        assert answer(shared, data).status == expected, byte


def test_every_byte_in_a_field_value(shared):
    """Control bytes but for the tab are 400 (RFC 9110 5.5)."""
    for byte in range(256):
        data = GET + HOST + b"X: a" + bytes([byte]) + b"b\r\n\r\n"
        is_control = byte < 32 and byte != 9 or byte == 127
        expected = 400 if is_control else 200
        assert answer(shared, data).status == expected, byte


@pytest.mark.parametrize("size", [1, 16, 100, 8000])
def test_connection_close_among_many_options(shared, size):
    value = ", ".join(["x"] * size + ["close"])
    with shared.client() as client:
        client.send(render(headers={"Connection": value}) + render())
        assert client.reply()["Connection"] == "close"
        client.ends()


# Limits: exactly at, and one over


def long_line(length, method="GET"):
    """A request whose request line, without its end, has that length."""
    around = len(method) + len(" /? HTTP/1.1")
    return render(method, "/?" + "a" * (length - around))


def long_section(size, fields=1):
    """A request whose header section has that many bytes, with its CR LFs."""
    names = [f"X-{i}" for i in range(fields)]
    bare = render(headers=[(name, "") for name in names])
    room = size - (len(bare) - len(GET) - 2)
    share, rest = divmod(room, fields)
    return render(headers=[(name, "v" * (share + (i < rest)))
                           for i, name in enumerate(names)])


LIMITS = [
    ("line", long_line, 8192, 414),
    ("section of one field", long_section, 16384, 431),
    ("section of 60 fields", lambda n: long_section(n, 60), 16384, 431),
    ("fields", lambda n: render(headers=[("X", "")] * (n - 1)), 100, 431),
]


@pytest.mark.parametrize("name,make,limit,status", LIMITS,
                         ids=[row[0] for row in LIMITS])
def test_limits_of_the_head_are_exact(single, name, make, limit, status):
    """In fragments, too: each is received by itself."""
    before = single.get("/visits").number
    with single.client() as other, single.client() as client:
        for size in (100_000, 4000, limit - 1):
            before += 1
            for piece in pieces(make(limit), max(size, 50)):
                client.send(piece)
                other.request("GET", "/robots.txt")
            assert client.reply().number == before, name
    reply = check_refused(single, make(limit + 1), {status})
    assert reply.text


@pytest.mark.parametrize("data,status", [
    (b"GET  ", 400), (b"GET /\x01", 400), (b"GET /\n", 400),
    (GET + b"X :", 400), (GET + b"X: \x01", 400), (GET + b"X: a\rb", 400),
    (b"G\xff", 400)], ids=str)
def test_a_fault_is_told_when_it_has_come(shared, data, status):
    """Bytes one at a time, and nothing after the first that cannot be right."""
    with shared.client() as client:
        for byte in data:
            client.send(bytes([byte]))
        assert client.reply().status == status
        client.ends()


@pytest.mark.parametrize("data,status", [
    (b"GET /" + b"a" * 8200, 414),
    (b"G" * 8200, 501),
    (GET + b"X: " + b"v" * 17_000, 431),
    (GET + b"X" * 17_000, 431),
    (GET + b"A: b\r\n" * 3000, 431),
    (b"GET /" + b"a" * 5_000_000, 414),
    (GET + b"X: " + b"v" * 5_000_000, 431),
], ids=str)
def test_what_never_ends_is_refused_at_its_limit(shared, data, status):
    """Without waiting for an end; the client hears it whatever more it
    sends: megabytes may end in a reset of its sending, not of the answer."""
    with shared.client() as client:
        try:
            client.send(data)
        except ConnectionError:
            assert len(data) > 1_000_000
        assert client.reply().status == status


# HEAD: no refusal has a body (RFC 9110 9.3.2, RFC 9112 6.3)

HEAD_ERRORS = {
    "404": (b"HEAD /nothing HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "417": (b"HEAD / HTTP/1.1\r\n" + HOST + b"Expect: x\r\n\r\n", 417),
    "413": (b"HEAD / HTTP/1.1\r\n" + HOST
            + b"Content-Length: 99999\r\n\r\n", 413),
    "413 chunked": (b"HEAD / HTTP/1.1\r\n" + HOST
                    + b"Transfer-Encoding: chunked\r\n\r\n10001\r\n", 413),
    "400 host": (b"HEAD / HTTP/1.1\r\n\r\n", 400),
    "400 field": (b"HEAD / HTTP/1.1\r\n" + HOST + b"X : y\r\n\r\n", 400),
    "400 chunk": (b"HEAD / HTTP/1.1\r\n" + HOST
                  + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", 400),
    "400 target": (b"HEAD /\x01 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "400 star": (b"HEAD * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "400 version": (b"HEAD / HTTP/1.1x\r\n" + HOST + b"\r\n", 400),
    "414": (b"HEAD /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "414 endless": (b"HEAD /" + b"a" * 9000, 414),
    "431": (b"HEAD / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    "501": (b"HEAD / HTTP/1.1\r\n" + HOST
            + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "505": (b"HEAD / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
}


@pytest.mark.parametrize("case", HEAD_ERRORS)
def test_no_refusal_of_head_has_a_body(shared, case):
    data, status = HEAD_ERRORS[case]
    with shared.client() as client:
        client.send(data)
        client.end()
        assert client.reply("HEAD").status == status
        client.ends()


# Of several faults the first one is told

BAD = b"X : y\r\n"
GZIP = b"Transfer-Encoding: gzip, chunked\r\n"
EXPECT = b"Expect: x\r\n"
BIG = b"Content-Length: 65537\r\n"
BIG_CHUNK = b"Transfer-Encoding: chunked\r\n\r\n10001\r\n"
ORDER = [
    # syntax before everything
    (b"BREW /nothing HTTP/2.0\r\n" + HOST + BAD + EXPECT + BIG, 400),
    (b"POST /nothing HTTP/2.0\r\n" + HOST + BIG + GZIP, 400),
    (b"POST /nothing HTTP/1.1\r\n" + EXPECT + BIG, 400),
    (b"POST / HTTP/2.0\r\nHost: a b\r\n", 400),
    # 505
    (b"BREW /nothing HTTP/2.0\r\n" + HOST + GZIP + EXPECT, 505),
    (b"POST / HTTP/3.0\r\n" + HOST + EXPECT + BIG, 505),
    # 501
    (b"BREW /nothing HTTP/1.1\r\n" + HOST + EXPECT + BIG, 501),
    (b"POST /nothing HTTP/1.1\r\n" + HOST + EXPECT + GZIP, 501),
    # 404
    (b"POST /nothing HTTP/1.1\r\n" + HOST + EXPECT + BIG, 404),
    (b"GET /nothing HTTP/1.1\r\n" + HOST + EXPECT, 404),
    (b"POST /nothing HTTP/1.1\r\n" + HOST + BIG, 404),
    (b"POST /nothing HTTP/1.1\r\n" + HOST + BIG_CHUNK, 404),
    # 405
    (b"POST / HTTP/1.1\r\n" + HOST + EXPECT + BIG, 405),
    (b"POST / HTTP/1.1\r\n" + HOST + EXPECT, 405),
    (b"POST / HTTP/1.1\r\n" + HOST + BIG, 405),
    (b"POST / HTTP/1.1\r\n" + HOST + BIG_CHUNK, 405),
    # 417
    (b"GET / HTTP/1.1\r\n" + HOST + EXPECT + BIG, 417),
    (b"GET / HTTP/1.1\r\n" + HOST + EXPECT + BIG_CHUNK, 417),
    # 413
    (b"GET / HTTP/1.1\r\n" + HOST + BIG, 413),
    (b"GET / HTTP/1.1\r\n" + HOST + BIG_CHUNK, 413),
]


@pytest.mark.parametrize("data,status", ORDER)
def test_of_several_faults_the_first_is_told(shared, data, status):
    before = shared.visit()
    reply = answer(shared, data if b"\r\n\r\n" in data else data + b"\r\n")
    assert reply.status == status
    assert shared.visit() == before + 1


# Expect: 100-continue


def expecting(length, method="GET", target="/", **headers):
    """The head of a request that waits for 100 (Continue)."""
    fields = {"Expect": "100-continue", "Content-Length": str(length)}
    return render(method, target, {**fields, **headers})


def test_100_comes_before_the_body_and_the_answer_after_it(single):
    with single.client() as client, single.client() as other:
        for _ in range(3):
            before = single.get("/visits").number
            client.send(expecting(5))
            client.continues()
            assert other.request("GET", "/visits").number == before
            assert client.silent()
            client.send(b"hello")
            assert client.reply().number == before + 1


@pytest.mark.parametrize("value", ["100-continue", "100-Continue",
                                   "100-CONTINUE", ", 100-continue",
                                   "100-continue,", "100-continue, , "])
def test_100_whatever_the_case_and_empty_members(single, value):
    with single.client() as client:
        client.send(expecting(5, Expect=value))
        client.continues()
        client.send(b"hello")
        assert client.reply().status == 200


def test_100_for_a_chunked_body(single):
    with single.client() as client:
        client.send(render(headers={"Expect": "100-continue",
                                    "Transfer-Encoding": "chunked"}))
        client.continues()
        for piece in (b"5\r\nhe", b"llo\r\n", b"0\r\n\r\n"):
            client.send(piece)
        assert client.reply().status == 200


def test_100_comes_after_the_answers_to_pipelined_requests(single):
    with single.client() as client:
        client.send(render() + render("GET", "/visits") + expecting(5))
        number = client.reply().number
        assert client.reply().number == number
        client.continues()
        client.send(b"hello" + render() + expecting(3))
        assert client.reply().number == number + 1
        assert client.reply().number == number + 2
        client.continues()
        client.send(b"bye")
        assert client.reply().number == number + 3


def test_100_is_sent_once_for_a_body_in_fragments(single):
    with single.client() as client, single.client() as other:
        client.send(expecting(5))
        client.continues()
        for byte in b"hello":
            assert client.silent()
            client.send(bytes([byte]))
            other.request("GET", "/robots.txt")
        assert client.reply().status == 200
        assert client.silent()


def test_100_comes_although_the_body_has_begun(single):
    """A server may leave it out then; it must not wait for ever."""
    with single.client() as client:
        client.send(expecting(5) + b"hel")
        client.continues()
        client.send(b"lo")
        assert client.reply().status == 200


@pytest.mark.parametrize("data", [
    expecting(0), expecting(5) + b"hello",
    render(headers={"Expect": "100-continue"}),
    render(headers={"Expect": "100-continue", "Transfer-Encoding": "chunked"})
    + b"5\r\nhello\r\n0\r\n\r\n"])
def test_no_100_when_nothing_is_waited_for(single, data):
    with single.client() as client:
        client.send(data)
        assert client.socket.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("data,status", [
    (expecting(5, target="/nothing"), 404),
    (expecting(5, method="POST"), 405),
    (expecting(65537), 413),
    (expecting(10**15), 413),
    (expecting(5, Expect="x"), 417),
    (expecting(5, Expect="100-continue, x"), 417),
    (expecting(5, Expect="100-continue=x"), 417),
    (expecting(5, Expect="200-ok"), 417),
    (expecting(5, Host2="").replace(b"Host2:", b"Host2 :"), 400),
    (expecting(5).replace(b"localhost", b""), 400),
    (render("POST", "/nothing", {"Expect": "100-continue",
                                 "Transfer-Encoding": "chunked"}), 404),
    (render("POST", "/", {"Expect": "100-continue",
                          "Transfer-Encoding": "gzip, chunked"}), 501),
])
def test_a_final_refusal_does_not_wait_for_the_body(shared, data, status):
    """No 100, and what is sent as the body all the same is no request."""
    before = shared.visit()
    with shared.client() as client:
        client.send(data)
        first = client.socket.recv(12, socket.MSG_PEEK | socket.MSG_WAITALL)
        assert first == b"HTTP/1.1 %d" % status
        reply = client.reply()
        assert reply["Connection"] == "close"
        client.send(render() * 3)
        client.ends()
    assert shared.visit() == before + 1


def test_an_unknown_expectation_without_a_body_is_417(shared):
    before = shared.visit()
    with shared.client() as client:
        client.send(render(headers={"Expect": "tea"}) + render())
        assert client.reply().status == 417
        assert client.reply().number == before + 1


@pytest.mark.parametrize("value", [b"100-continue", b"x"])
def test_expect_is_ignored_in_1_0(single, value):
    head = (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: " + value
            + b"\r\nContent-Length: 5\r\n\r\n")
    with single.client() as client, single.client() as other:
        client.send(head)
        other.request("GET", "/robots.txt")
        assert client.silent()
        client.send(b"hello")
        assert client.socket.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200"
        assert client.reply()["Connection"].lower() == "keep-alive"


# HTTP/1.0


@pytest.mark.parametrize("fields,stays", [
    (b"", False),
    (b"Connection: keep-alive\r\n", True),
    (b"Connection: Keep-Alive\r\n", True),
    (b"Connection: x, keep-alive\r\n", True),
    (b"Connection: keep-alive\r\nConnection: close\r\n", False),
    (b"Connection: keep-alive, close\r\n", False),
    (b"Keep-Alive: timeout=5\r\n", False),
    (b"Proxy-Connection: keep-alive\r\n", False),
])
def test_1_0_stays_only_if_asked_to(shared, fields, stays):
    request = b"GET / HTTP/1.0\r\n" + fields + b"\r\n"
    with shared.client() as client:
        client.send(request * 2)
        first = client.reply()
        if stays:
            assert first["Connection"].lower() == "keep-alive"
            assert client.reply().number == first.number + 1
        else:
            assert first.get("Connection") in (None, "close")
            client.ends()


def test_1_0_with_a_body(shared):
    before = shared.visit()
    request = (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n"
               b"Content-Length: 5\r\n\r\nhello")
    with shared.client() as client:
        client.send(request * 3)
        assert [client.reply().number for _ in range(3)] == [
            before + 1, before + 2, before + 3]


# Ends of input


@pytest.mark.parametrize("data", [
    b"\r", b"\r\n", b"\r\n\r\n", b"G", b"GET / HTTP/1.1\r", GET + HOST,
    GET + HOST + b"\r", expecting(5)[:-1], render(body=b"hello")[:-1],
    GET + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    GET + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    GET + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n",
])
def test_the_end_of_input_inside_a_request_closes(shared, data):
    """At once and without an answer; what came before it is answered."""
    before = shared.visit()
    for first in (b"", render()):
        with shared.client(timeout=8) as client:
            client.send(first + data)
            client.end()
            if first:
                assert client.reply().status == 200
            client.ends()
    assert shared.visit() == before + 2


def test_the_end_of_input_after_100_closes(single):
    before = single.get("/visits").number
    with single.client(timeout=8) as client:
        client.send(expecting(5))
        client.continues()
        client.send(b"hell")
        client.end()
        client.ends()
    assert single.get("/visits").number == before


@pytest.mark.parametrize("body", [b"", b"hello"])
def test_a_half_closed_client_gets_its_answer_after_a_body(shared, body):
    with shared.client() as client:
        client.send(render() + render(body=body))
        client.end()
        number = client.reply().number
        assert client.reply().number == number + 1
        client.ends()


def test_a_half_closed_client_hears_a_refusal(shared):
    with shared.client() as client:
        client.send(GET + b"\r\n")
        client.end()
        assert client.reply().status == 400
        client.ends()


# A refusal, or a last answer, reaches a client that goes on sending


def flood(client, size):
    """Send until all is sent, or the server has had enough."""
    try:
        for _ in range(size // 65536):
            client.send(bytes(65536))
    except ConnectionError:
        pass


FIRST = {
    "400": (GET + b"\r\n", 400),
    "404": (expecting(10**9, target="/nothing"), 404),
    "413": (render(headers={"Content-Length": str(10**9)}), 413),
    "413 chunked": (render(headers={"Transfer-Encoding": "chunked"})
                    + b"fffffff\r\n", 413),
    "414": (b"GET /" + b"a" * 9000, 414),
    "501": (render("POST", "/", {"Transfer-Encoding": "gzip, chunked"}), 501),
    "close": (render(headers={"Connection": "close"}), 200),
    "1.0": (b"GET / HTTP/1.0\r\n\r\n", 200),
}


@pytest.mark.parametrize("case", FIRST)
@pytest.mark.parametrize("size", [900_000, 8 << 20])
def test_the_last_answer_reaches_a_client_that_goes_on_sending(
        shared, case, size):
    data, status = FIRST[case]
    with shared.client() as client:
        client.send(data)
        flood(client, size)
        assert client.reply().status == status


@pytest.mark.parametrize("case", ["close", "1.0", "400"])
@pytest.mark.parametrize("total", [16384, 32768])
def test_no_reset_when_more_is_unread_in_the_socket(single, case, total):
    """The last request ends exactly where a receive ends."""
    last = FIRST[case][0]
    pad = b"OPTIONS / HTTP/1.1\r\nHost: a\r\nX: "
    request = pad + b"v" * (total // 4 - len(pad) - 4) + b"\r\n\r\n"
    rest = total - 3 * len(request) - len(last)
    data = request * 3 + pad + b"v" * (rest - len(pad) - 4) + b"\r\n\r\n"
    assert len(data + last) == total
    for _ in range(20):
        with single.client() as client:
            client.send(data + last + bytes(40_000))
            for _ in range(4):
                assert client.reply("OPTIONS").status == 204
            assert client.reply().status == FIRST[case][1]
            client.ends()


@pytest.mark.slow
def test_a_refused_client_that_stays_is_closed_in_the_end(single):
    """Draining is bounded in time: the peer who neither sends nor closes."""
    with single.client() as client:
        client.send(GET + b"\r\n")
        assert client.reply().status == 400
        client.ends()
        poll = select.poll()
        poll.register(client.socket, select.POLLHUP)
        with single.client() as other:
            deadline = time.monotonic() + 10 * visitd.PATIENCE
            while time.monotonic() < deadline:
                try:
                    client.send(b"x")
                except ConnectionError:
                    break
                other.request("GET", "/robots.txt")
                poll.poll(50)
            else:
                raise AssertionError("never closed")


# Deadlines

RDHUP = select.POLLRDHUP


class Waiting:
    """A client whose answer or end is awaited, and when it came."""

    def __init__(self, port, data, expected, when, dribble=b""):
        self.begun = time.monotonic()
        self.client = Client(port)
        self.client.send(data)
        self.expected = expected  # a status, or None for a bare close
        self.when = when
        self.method = "HEAD" if data.startswith(b"HEAD") else "GET"
        self.dribble = dribble

    def look(self):
        """Check what the server says, if it does; else send a byte."""
        if self.client.silent():
            if self.dribble:
                self.client.send(self.dribble)
            return False
        took = time.monotonic() - self.begun
        assert self.when - 1 < took < self.when * 2
        if self.expected:
            reply = self.client.reply(self.method)
            assert reply.status == self.expected
            assert reply["Connection"] == "close"
        self.client.ends()
        self.client.close()
        return True


def unread(server):
    """A client that pipelines more than anybody buffers, and never reads."""
    client = server.client()
    visitd.stuff(server, client.socket, render() * 1000)
    return client


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_deadlines_10_30_and_60_seconds(store):
    """All of them at once, on one server that serves others meanwhile."""
    half = render(body=b"hello")[:-1]
    chunks = GET + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    rows = [
        (b"G", 408, 10, b""),
        (b"\r\nG", 408, 10, b""),
        (GET + b"X: ", 408, 10, b"v"),
        (GET + HOST, 408, 10, b""),
        (b"GET / HTTP/1.0\r\nX:", 408, 10, b" "),
        (half, 408, 30, b""),
        (half.replace(b"GET", b"HEAD"), 408, 30, b""),
        (render(headers={"Content-Length": "1000"}), 408, 30, b"v"),
        (chunks, 408, 30, b""),
        (chunks + b"3e8\r\n", 408, 30, b"v"),
        (chunks + b"0\r\nX: ", 408, 30, b"v"),
        (b"", None, 60, b""),
        (b"\r\n", None, 60, b""),
    ]
    with visitd.Server(store) as server, server.client() as honest:
        stuck_since = time.monotonic()
        stuck = unread(server)
        begun = server.get("/visits").number
        waiting = [Waiting(server.port, *row) for row in rows]
        idle = Waiting(server.port, render(), None, 60)
        idle.client.reply()
        after_one = Waiting(server.port, render() + b"G", 408, 10)
        after_one.client.reply()
        continued = Waiting(server.port, expecting(9), 408, 30)
        continued.client.continues()
        waiting += [idle, after_one, continued]
        assert honest.request("GET", "/visits").number == begun + 2
        hung_up = None
        watch = select.poll()
        watch.register(stuck.socket, RDHUP)
        while waiting or not hung_up:
            if watch.poll(500) and not hung_up:
                hung_up = time.monotonic() - stuck_since
                watch.unregister(stuck.socket)
            waiting = [one for one in waiting if not one.look()]
            assert time.monotonic() - stuck_since < 150
            assert honest.request("GET", "/robots.txt").status == 200
        assert 59 < hung_up < 120
        stuck.close()
        assert honest.request("GET", "/visits").number == begun + 2


# Resets


def test_resets_at_any_moment_of_a_body_disturb_nobody(single):
    linger = struct.pack("ii", 1, 0)
    data = expecting(5) + b"hello" + GET + b"\r\n"
    with single.client() as steady:
        last = steady.request().number
        for cut in range(0, len(data) + 1, 7):
            with Client(single.port) as client:
                client.socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger)
                client.send(data[:cut])
            number = steady.request().number
            assert number > last
            last = number
