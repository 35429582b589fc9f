"""Request smuggling: what another reader could frame in another way.

Each is refused, the connection closes, and nothing behind it on that
connection is answered or counted (API.md, Framing; RFC 9112 11.2).
"""

import pytest

import visitd
from visitd import check_refused, pieces, render

HOST = b"Host: a\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
HIDDEN = b"GET /?hidden HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
WHOLE = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def single(module_store):
    """A server of one worker: its turns are seen in one order."""
    with visitd.Server(module_store, WORKERS=1) as running:
        yield running


def head(*fields):
    """A POST with these fields, to the end of its head."""
    return POST + b"".join(f + b"\r\n" for f in fields) + b"\r\n"


# Which of two lengths holds

TWO_LENGTHS = {
    "CL.TE": head(b"Content-Length: 6", b"Transfer-Encoding: chunked")
    + WHOLE + b"G",
    "CL.TE with a hidden request": head(
        b"Content-Length: %d" % (len(WHOLE) + len(HIDDEN)),
        b"Transfer-Encoding: chunked") + WHOLE + HIDDEN,
    "TE.CL": head(b"Transfer-Encoding: chunked", b"Content-Length: 4")
    + b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n" + WHOLE,
    "TE.CL that agree": head(b"Transfer-Encoding: chunked",
                             b"Content-Length: 5") + WHOLE,
    "TE.0": head(b"Transfer-Encoding: chunked", b"Content-Length: 0") + WHOLE,
    "0.TE": head(b"Content-Length: 0", b"Transfer-Encoding: chunked") + WHOLE,
    "CL.TE and close": head(b"Connection: close", b"Content-Length: 6",
                            b"Transfer-Encoding: chunked") + WHOLE + b"G",
    "CL.TE of a GET": b"GET / HTTP/1.1\r\n" + HOST
    + b"Content-Length: 6\r\n" + CHUNKED + b"\r\n" + WHOLE + b"G",
    "CL.TE of a HEAD on 1.0": b"GET / HTTP/1.0\r\nContent-Length: 6\r\n"
    + CHUNKED + b"\r\n" + WHOLE + b"G",
    "CL.TE gzip": head(b"Content-Length: 6", b"Transfer-Encoding: gzip")
    + WHOLE + b"G",
    "CL.TE identity": head(b"Content-Length: 6",
                           b"Transfer-Encoding: identity") + WHOLE + b"G",
    "CL.TE far apart": head(b"Content-Length: 6",
                            *(b"X-%d: y" % i for i in range(90)),
                            b"Transfer-Encoding: chunked") + WHOLE + b"G",
    "CL.TE with Expect": head(b"Expect: 100-continue", b"Content-Length: 6",
                              b"Transfer-Encoding: chunked") + WHOLE + b"G",
}


@pytest.mark.parametrize("case", TWO_LENGTHS)
def test_two_lengths_are_400(shared, case):
    check_refused(shared, TWO_LENGTHS[case], {400})


LENGTHS = [
    b"5\r\nContent-Length: 5", b"5\r\nContent-Length: 6",
    b"6\r\nContent-Length: 5", b"0\r\nContent-Length: 5",
    b"5\r\nContent-Length: 0", b"5\r\ncontent-length: 5",
    b"5\r\nX: y\r\nContent-Length: 5", b"5\r\nContent-Length:",
    b"5, 5", b"5,5", b"5, 6", b"5,", b",5", b"5, 5, 5",
    b"", b" ", b"\t", b"+5", b"-5", b"-0", b"0x5", b"5x", b"x5", b"5.0",
    b"5e0", b"5 5", b"5\t5", b"1_0", b"5;", b"5;a=b", b"\"5\"", b"'5'",
    b"0b11", b"0o5", b"\xef\xbc\x95", b"\xb2", b"5\x00", b"\x005", b"5\x0b",
    b"\x0b5", b"5\x0c", b"\x0c5", b"\xa05", b"5\xa0", b"5\x7f", b"\x015",
    b"9223372036854775808", b"18446744073709551616", b"18446744073709551621",
    b"340282366920938463463374607431768211461", b"9" * 1000,
    b"5\r\n 5", b"\r\n 5", b"5\r", b"5\r5", b"\r5", b"NaN", b"Infinity",
]


@pytest.mark.parametrize("value", LENGTHS)
def test_a_content_length_that_is_not_one_number_is_400(shared, value):
    check_refused(shared, head(b"Content-Length: " + value) + b"hello", {400})


@pytest.mark.parametrize("name", [
    b"Content-Length ", b"Content-Length\t", b" Content-Length",
    b"\tContent-Length", b"Content-Length\x00", b"Content-Length\x0b",
    b"Content Length", b"Content-Length\r\n ", b"\x00Content-Length",
    b"Content-Length\xa0", b"\xef\xbb\xbfContent-Length",
])
def test_a_disguised_content_length_is_400(shared, name):
    check_refused(shared, head(name + b": 5") + b"hello", {400})


# Transfer-Encoding

CODINGS = {
    # twice
    b"chunked\r\nTransfer-Encoding: chunked": {400},
    b"chunked\r\ntransfer-encoding: identity": {400},
    b"identity\r\nTransfer-Encoding: chunked": {400},
    b"gzip\r\nTransfer-Encoding: chunked": {400},
    b"chunked\r\nTransfer-Encoding: cow": {400},
    b"cow\r\nTransfer-Encoding: chunked": {400},
    b"chunked\r\nTransfer-Encoding:": {400},
    b"\r\nTransfer-Encoding: chunked": {400},
    b"chunked, chunked": {400},
    b"chunked,chunked": {400},
    b"chunked, identity": {400, 501},
    b"identity, chunked": {400, 501},
    # not last, not alone
    b"chunked, gzip": {400, 501},
    b"gzip, chunked": {400, 501},
    b"gzip": {400, 501},
    b"identity": {400, 501},
    b"deflate, gzip": {400, 501},
    b"trailers": {400, 501},
    # no coding at all
    b"": {400},
    b" ": {400},
    b",": {400},
    # disguised
    b"xchunked": {400, 501},
    b"chunkedx": {400, 501},
    b"chunked;": {400, 501},
    b"chunked; a=b": {400, 501},
    b"chunked;q=0.5": {400, 501},
    b"\"chunked\"": {400, 501},
    b"'chunked'": {400, 501},
    b"(chunked)": {400, 501},
    b"chunked chunked": {400, 501},
    b"x chunked": {400, 501},
    b"chunked x": {400, 501},
    b"chunk\x65d\x00": {400},
    b"\x00chunked": {400},
    b"\x0bchunked": {400},
    b"chunked\x0b": {400},
    b"\x0cchunked": {400},
    b"chunked\x0c": {400},
    b"\x7fchunked": {400},
    b"\x01chunked": {400},
    b"\x08chunked": {400},
    b"\xa0chunked": {400, 501},
    b"chunked\xa0": {400, 501},
    b"\xff chunked": {400, 501},
    b"chunk\xc3\xa9d": {400, 501},
    b"c\xc4\xa7unked": {400, 501},
    b"chun\xe2\x84\xaaed": {400, 501},  # the sign of kelvin
    b"\r\n chunked": {400},
    b"\r\n\tchunked": {400},
    b"chunked\r\n , identity": {400},
    b"chunked\r": {400},
    b"\rchunked": {400},
    b"chunked\n": {400},
    b"\nchunked": {400},
    b"\nX: y": {400},
}


@pytest.mark.parametrize("value", CODINGS)
@pytest.mark.parametrize("length", [b"", b"Content-Length: 5\r\n"],
                         ids=["alone", "with a length"])
def test_a_transfer_encoding_that_is_not_chunked_is_refused(
        shared, value, length):
    statuses = {400} if length else CODINGS[value]
    check_refused(
        shared, POST + length + b"Transfer-Encoding: " + value
        + b"\r\n\r\n" + WHOLE, statuses)


@pytest.mark.parametrize("name", [
    b"Transfer-Encoding ", b"Transfer-Encoding\t", b" Transfer-Encoding",
    b"\tTransfer-Encoding", b"Transfer-Encoding\x00", b"Transfer Encoding",
    b"Transfer-Encoding\x0b", b"\x00Transfer-Encoding",
    b"Transfer-Encoding\r\n ", b"X: y\rTransfer-Encoding",
    b"X: y\nTransfer-Encoding", b"X: y\n\rTransfer-Encoding",
    b"X: y\r\r\nTransfer-Encoding", b"X\nTransfer-Encoding",
    b"Transfer-Encoding\xa0", b"Foo\r\nTransfer-Encoding",
    b": y\r\nTransfer-Encoding", b"\"Transfer-Encoding\"",
    b"Transfer-Encoding:\r\n chunked\r\nX",
])
def test_a_disguised_transfer_encoding_is_400(shared, name):
    for length in (b"", b"Content-Length: 5\r\n"):
        check_refused(shared, POST + length + name + b": chunked\r\n\r\n"
                      + WHOLE, {400})


@pytest.mark.parametrize("version", [b"1.0", b"0.9", b"2.0"])
@pytest.mark.parametrize("more", [b"", b"Connection: keep-alive\r\n",
                                  b"Content-Length: 5\r\n"])
def test_a_transfer_encoding_before_1_1_is_refused(shared, version, more):
    statuses = {400} if version == b"1.0" or b"Length" in more else {505}
    check_refused(shared, b"POST / HTTP/" + version + b"\r\n" + HOST + more
                  + CHUNKED + b"\r\n" + WHOLE, statuses)


# A name that only looks like one of framing is any other field


@pytest.mark.parametrize("name", [
    "Transfer_Encoding", "Transfer-Encodings", "X-Transfer-Encoding",
    "TransferEncoding", "Transfer.Encoding", "Content_Length",
    "X-Content-Length", "Content-Lengths"])
def test_a_similar_name_frames_nothing(shared, name):
    before = shared.visit()
    with shared.client() as client:
        client.send(render(headers={name: "chunked"}, body=b"hello")
                    + render())
        assert client.reply().number == before + 1
        assert client.reply().number == before + 2


# Chunks

CHUNKS = {
    # sizes
    "no size": b"\r\nhello\r\n" + WHOLE,
    "space before": b" 5\r\nhello\r\n" + WHOLE,
    "space behind": b"5 \r\nhello\r\n" + WHOLE,
    "tab behind": b"5\t\r\nhello\r\n" + WHOLE,
    "plus": b"+5\r\nhello\r\n" + WHOLE,
    "minus": b"-5\r\nhello\r\n" + WHOLE,
    "minus zero": b"-0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n" + WHOLE,
    "0X": b"0X5\r\nhello\r\n" + WHOLE,
    "h": b"5h\r\nhello\r\n" + WHOLE,
    "$": b"$5\r\nhello\r\n" + WHOLE,
    "#": b"#5\r\nhello\r\n" + WHOLE,
    "underscore": b"0_5\r\nhello\r\n" + WHOLE,
    "comma": b"5,\r\nhello\r\n" + WHOLE,
    "dot": b"5.\r\nhello\r\n" + WHOLE,
    "two numbers": b"5 5\r\nhello\r\n" + WHOLE,
    "quotes": b"\"5\"\r\nhello\r\n" + WHOLE,
    "g": b"g\r\nhello\r\n" + WHOLE,
    "NUL": b"5\x00\r\nhello\r\n" + WHOLE,
    "vertical tab": b"\x0b5\r\nhello\r\n" + WHOLE,
    "form feed": b"5\x0c\r\nhello\r\n" + WHOLE,
    "fullwidth": b"\xef\xbc\x95\r\nhello\r\n" + WHOLE,
    "superscript": b"\xb2\r\nhe\r\n" + WHOLE,
    "17 digits": b"00000000000000005\r\nhello\r\n" + WHOLE,
    "2^64 + 5": b"10000000000000005\r\nhello\r\n" + WHOLE,
    "2^68": b"100000000000000000\r\nhello\r\n" + WHOLE,
    "endless": b"5" * 5000,
    # line ends
    "LF after size": b"5\nhello\r\n" + WHOLE,
    "CR after size": b"5\rhello\r\n" + WHOLE,
    "CR CR LF after size": b"5\r\r\nhello\r\n" + WHOLE,
    "LF CR after size": b"5\n\rhello\r\n" + WHOLE,
    "LF after data": b"5\r\nhello\n" + WHOLE,
    "CR after data": b"5\r\nhello\r" + WHOLE,
    "nothing after data": b"5\r\nhello" + WHOLE,
    "two bytes after data": b"5\r\nhelloXX" + WHOLE,
    "too much data": b"5\r\nhello!\r\n" + WHOLE,
    "too little data": b"6\r\nhello\r\n" + WHOLE,
    "LF after last": b"5\r\nhello\r\n0\n\r\n",
    "LF at end": b"5\r\nhello\r\n0\r\n\n",
    "CR at end": b"5\r\nhello\r\n0\r\n\rX",
    "a chunk after the last": b"0\r\n5\r\nhello\r\n" + WHOLE,
    # extensions
    "LF in an extension": b"5;a\nhello\r\n" + WHOLE,
    "CR in an extension": b"5;a\rb\r\nhello\r\n" + WHOLE,
    "NUL in an extension": b"5;a=\x00\r\nhello\r\n" + WHOLE,
    "control byte in an extension": b"5;a=\x01\r\nhello\r\n" + WHOLE,
    "LF in a quoted extension": b"5;a=\"\n\"\r\nhello\r\n" + WHOLE,
    "an extension without ;": b"5 a=b\r\nhello\r\n" + WHOLE,
    "an extension without a size": b";a=b\r\n\r\n",
    "a long extension": b"5;" + b"a" * 5000 + b"\r\nhello\r\n" + WHOLE,
    "many extensions": b"1;" + b"a" * 200 + b"\r\nb\r\n"
    + (b"1;" + b"a" * 200 + b"\r\nb\r\n") * 100 + WHOLE,
    # trailers
    "a trailer without a colon": b"0\r\nX\r\n\r\n",
    "a request line as a trailer": b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "space before a trailer's colon": b"0\r\nX : y\r\n\r\n",
    "space before a trailer": b"0\r\n X: y\r\n\r\n",
    "a trailer without a name": b"0\r\n: y\r\n\r\n",
    "a folded trailer": b"0\r\nX: y\r\n z\r\n\r\n",
    "LF after a trailer": b"0\r\nX: y\n\r\n",
    "CR in a trailer": b"0\r\nX: y\rz\r\n\r\n",
    "NUL in a trailer": b"0\r\nX: \x00\r\n\r\n",
    "LF LF after a trailer": b"0\r\nX: y\n\n",
}


@pytest.mark.parametrize("case", CHUNKS)
def test_a_bad_chunk_is_400(shared, case):
    check_refused(shared, POST + CHUNKED + b"\r\n" + CHUNKS[case], {400})


# RFC 9112 7.1.1: chunk-ext-name is a token, its value a token or a quoted
# string. What does not match the grammar is read in many ways.
BAD_EXTENSIONS = [b";", b"; ", b";;a", b";a;", b";=b", b";a=", b";a b",
                  b";a=b c", b";a[=b", b";a=[", b";a=\"b", b";a=b\"",
                  b";a=\"b\"c", b";a=\"\\", b";\xff", b";a=\xff", b";a==b"]


@pytest.mark.parametrize("extension", BAD_EXTENSIONS)
def test_a_chunk_extension_that_is_none_is_400(shared, extension):
    check_refused(shared, POST + CHUNKED + b"\r\n5" + extension
                  + b"\r\nhello\r\n" + WHOLE, {400})


# Ends of lines, folds and control bytes around the head

LINES = {
    "LF after the request line": b"POST / HTTP/1.1\n" + HOST + b"\r\n",
    "CR after the request line": b"POST / HTTP/1.1\r" + HOST + b"\r\n",
    "LF after a field": POST + b"X: y\n\r\n",
    "LF LF": POST + b"X: y\n\n",
    "LF for the empty line": POST + b"X: y\r\n\n",
    "CR for the empty line": POST + b"X: y\r\n\rZ",
    "CR CR LF": POST + b"X: y\r\r\n\r\n",
    "LF alone throughout": b"POST / HTTP/1.1\nHost: a\n\n",
    "CR alone throughout": b"POST / HTTP/1.1\rHost: a\r\r",
    "CR in a value": POST + b"X: y\rz\r\n\r\n",
    "CR before a name": POST + b"\rX: y\r\n\r\n",
    "NUL in a value": POST + b"X: y\x00z\r\n\r\n",
    "NUL in a name": POST + b"X\x00: y\r\n\r\n",
    "NUL for the empty line": POST + b"\x00\r\n\r\n",
    "DEL in a value": POST + b"X: \x7f\r\n\r\n",
    "space before the first field": b"POST / HTTP/1.1\r\n " + HOST + b"\r\n",
    "tab before the first field": b"POST / HTTP/1.1\r\n\t" + HOST + b"\r\n",
    "a line of space first": b"POST / HTTP/1.1\r\n \r\n" + HOST + b"\r\n",
    "a line of space last": POST + b" \r\n\r\n",
    "a fold": POST + b"X: y\r\n z\r\n\r\n",
    "a fold with a tab": POST + b"X: y\r\n\tz\r\n\r\n",
    "a fold of nothing": POST + b"X:\r\n \r\n\r\n",
    "a fold that hides a length": POST + b"X: y\r\n Content-Length: 5\r\n\r\n"
    + b"hello",
    "space before a colon": POST + b"X : y\r\n\r\n",
    "tab before a colon": POST + b"X\t: y\r\n\r\n",
    "no colon": POST + b"X\r\n\r\n",
    "no name": POST + b": y\r\n\r\n",
    "space in a name": POST + b"X Y: z\r\n\r\n",
    "a request as a field": POST + b"GET / HTTP/1.1\r\n\r\n",
    "a response": b"HTTP/1.1 200 OK\r\n\r\n",
    "UTF-8 byte order mark": b"\xef\xbb\xbf" + POST + b"\r\n",
    "LF before the request": b"\n" + POST + b"\r\n",
    "CR before the request": b"\r" + POST + b"\r\n",
    "space before the request": b" " + POST + b"\r\n",
    "space line before the request": b" \r\n" + POST + b"\r\n",
    "NUL before the request": b"\x00" + POST + b"\r\n",
    "too many empty lines": b"\r\n" * 200 + POST + b"\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(60) + b"\r\n\r\n",
    "SOCKS": b"\x05\x01\x00\r\n\r\n",
    "FTP": b"USER anonymous\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "PROXY": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + POST + b"\r\n",
}


@pytest.mark.parametrize("case", LINES)
def test_a_bad_line_or_byte_is_400(shared, case):
    check_refused(shared, LINES[case], {400})


# Bodies that hold requests: framed once and for all

HONEST = {
    "Content-Length": render("POST", "/", body=HIDDEN),
    "chunked": POST + CHUNKED + b"\r\n%x\r\n" % len(HIDDEN) + HIDDEN
    + b"\r\n" + WHOLE,
    "chunks of one byte": POST + CHUNKED + b"\r\n"
    + b"".join(b"1\r\n%c\r\n" % byte for byte in HIDDEN) + WHOLE,
    "OPTIONS": render("OPTIONS", "/", body=HIDDEN),
    "HEAD": render("HEAD", "/", body=HIDDEN),
    "GET of an unknown path": render("GET", "/nothing", body=HIDDEN),
    "DELETE": render("DELETE", "/", body=HIDDEN),
    "an extension": POST + CHUNKED + b"\r\n0;a=\"GET / HTTP/1.1\"\r\n\r\n",
    "trailers of framing": POST + CHUNKED + b"\r\n0\r\nContent-Length: 50\r\n"
    b"Transfer-Encoding: chunked\r\nHost: b\r\nConnection: close\r\n\r\n",
    "an Expect": render("POST", "/", {"Expect": "100-continue"}, HIDDEN),
}


@pytest.mark.parametrize("case", HONEST)
def test_a_body_is_no_request_and_the_next_request_is_one(single, case):
    """The refusal of a method leaves the connection in step, or closed."""
    method = HONEST[case].split(b" ", 1)[0].decode()
    before = single.get("/visits").number
    for size in (10_000, 11):
        with single.client() as client:
            for piece in pieces(HONEST[case] + render("GET", "/visits"), size):
                client.send(piece)
            first = client.reply(method)
            if first.get("Connection") == "close":
                client.ends()
            else:
                assert client.reply().number == before
    assert single.get("/visits").number == before


@pytest.mark.parametrize("garbage", [b"X", b"0\r\n\r\n", b"hello", b"\x00"])
def test_bytes_behind_a_body_are_the_next_request(shared, garbage):
    """CL.0 and 0.CL: a length of 0, or none, is no body."""
    for first in (render(headers={"Content-Length": "0"}), render()):
        before = shared.visit()
        with shared.client() as client:
            client.send(first + garbage + render() * 2)
            assert client.reply().number == before + 1
            reply = client.reply()
            assert reply.status in (400, 501)
            client.ends()
        assert shared.visit() == before + 2


def test_after_a_refusal_in_a_pipeline_nothing_is_read(shared):
    before = shared.visit()
    with shared.client() as client:
        client.send(render() + render() + TWO_LENGTHS["CL.TE"] + render() * 9)
        assert client.reply().number == before + 1
        assert client.reply().number == before + 2
        assert client.reply().status == 400
        client.ends()
    assert shared.visit() == before + 3
