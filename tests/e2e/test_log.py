"""The access log: text and JSON, and a reader who does not read."""

import json
import os
import re

import pytest

from visitd import Server, render, wait_for

LINE = re.compile(
    r'(\S+) - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] '
    r'"((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-) "((?:[^"\\]|\\.)*)" '
    r'"((?:[^"\\]|\\.)*)"')


def lines(server, count):
    """Wait for that many lines on stdout."""
    wait_for(lambda: server.log().count("\n") >= count,
             what=f"{count} log lines")
    found = server.log().splitlines()
    assert len(found) == count, found
    return found


def test_no_access_log_by_default(server):
    for _ in range(5):
        server.visit()
    server.stop()
    assert server.log() == ""


def test_text_is_the_combined_format(store):
    with Server(store, ACCESS_LOG="on") as server:
        reply = server.get("/", {"User-Agent": "Test/1.0 (x)",
                                 "Referer": "https://example.org/a?b"})
        match = LINE.fullmatch(lines(server, 1)[0])
        assert match, server.log()
        assert match.groups() == (
            "127.0.0.1", "GET / HTTP/1.1", "200", str(len(reply.body)),
            "https://example.org/a?b", "Test/1.0 (x)")


@pytest.mark.parametrize("method,target,status", [
    ("GET", "/nothing", 404), ("POST", "/", 405), ("BREW", "/", 501),
    ("HEAD", "/", 200), ("OPTIONS", "/", 204), ("GET", "/visits?x=1", 200),
])
def test_every_request_is_a_line(store, method, target, status):
    with Server(store, ACCESS_LOG="on") as server:
        server.request(method, target)
        match = LINE.fullmatch(lines(server, 1)[0])
        assert match, server.log()
        assert match.group(2) == f"{method} {target} HTTP/1.1"
        assert match.group(3) == str(status)
        assert match.group(5) in ("-", "") and match.group(6) in ("-", "")


def test_a_refused_request_is_a_line(store):
    with Server(store, ACCESS_LOG="on") as server:
        with server.client() as client:
            client.send(b"nonsense\r\n\r\n")
            assert client.reply().status == 400
        match = LINE.fullmatch(lines(server, 1)[0])
        assert match and match.group(3) == "400", server.log()


NASTY = ['" 200 1 "-" "forged', "back\\slash", "tab\tbed", "caf\xe9",
         'end\\"', "x" * 5000]


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("agent", NASTY, ids=lambda agent: repr(agent[:12]))
def test_a_client_cannot_forge_lines(store, form, agent):
    with Server(store, ACCESS_LOG="on", LOG_FORMAT=form) as server:
        server.get("/", {"User-Agent": agent, "Referer": agent})
        line = lines(server, 1)[0]
        if form == "json":
            assert json.loads(line)["request"] == "GET / HTTP/1.1"
        else:
            match = LINE.fullmatch(line)
            assert match and match.group(3) == "200", line
        assert line.isprintable()


def test_json_is_an_object_a_line(store):
    # One worker: two write their lines in any order.
    with Server(store, ACCESS_LOG="on", LOG_FORMAT="json",
                WORKERS=1) as server:
        server.get("/", {"User-Agent": 'a "quoted" agent'})
        server.get("/nothing")
        first, second = map(json.loads, lines(server, 2))
        assert list(first) == list(second) == [
            "time", "client", "request", "status", "bytes", "referer",
            "user_agent"]
        assert first["client"] == "127.0.0.1"
        assert first["request"] == "GET / HTTP/1.1"
        assert first["status"] == 200
        assert first["referer"] is None
        assert first["user_agent"] == 'a "quoted" agent'
        assert second["request"] == "GET /nothing HTTP/1.1"
        assert second["status"] == 404


def test_pipelined_requests_are_a_line_each(store):
    with Server(store, ACCESS_LOG="on") as server:
        with server.client() as client:
            client.send(render() * 300)
            for _ in range(300):
                client.reply()
        found = lines(server, 300)
        assert all(LINE.fullmatch(line) for line in found)


def test_promise_7_a_full_pipe_drops_lines_and_blocks_nobody(store):
    """Nobody reads stdout: all are answered, and whole lines are kept."""
    reader, writer = os.pipe()
    try:
        with Server(store, ACCESS_LOG="on", stdout=writer) as server:
            os.close(writer)
            writer = None
            count = 2000
            with server.client() as client:
                for _ in range(count // 50):
                    client.send(render(
                        headers={"User-Agent": "a" * 200}) * 50)
                    for _ in range(50):
                        assert client.reply().status == 200
            server.stop()
        text = b""
        while chunk := os.read(reader, 65536):
            text += chunk
        found = text.decode().splitlines()
        assert 0 < len(found) < count
        assert all(LINE.fullmatch(line) for line in found)
    finally:
        os.close(reader)
        if writer is not None:
            os.close(writer)


def test_a_closed_stdout_reader_does_not_end_it(store):
    reader, writer = os.pipe()
    os.close(reader)
    with Server(store, ACCESS_LOG="on", stdout=writer) as server:
        os.close(writer)
        assert [server.visit() for _ in range(5)] == [1, 2, 3, 4, 5]


def test_log_level_error_is_silent_at_a_good_start(store):
    with Server(store, LOG_LEVEL="error") as server:
        server.visit()
        server.stop()
        assert server.stderr() == ""


def test_the_start_is_one_line_that_names_address_and_store(server):
    first = server.stderr().splitlines()
    assert any(str(server.port) in line for line in first), first
