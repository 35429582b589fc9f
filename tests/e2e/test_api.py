"""The tables of the API: endpoints, representations, headers, methods."""

import re

import pytest

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"
NO_STORE = "max-age=0, no-cache, no-store, must-revalidate"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
HTML = "text/html; charset=utf-8"
BROWSER = ("text/html,application/xhtml+xml,application/xml;q=0.9,"
           "image/avif,image/webp,*/*;q=0.8")

# What an Accept chooses, on a path without a suffix
ACCEPT = [
    (None, TEXT),
    ("", TEXT),
    ("*/*", TEXT),
    ("text/plain", TEXT),
    ("text/*", TEXT),
    ("application/json", JSON),
    ("APPLICATION/JSON", JSON),
    ("application/*", JSON),
    ("text/html", HTML),
    (BROWSER, HTML),
    # q-values
    ("text/plain;q=0.5, application/json", JSON),
    ("text/plain;q=0.5,application/json;q=0.4", TEXT),
    ("text/plain ; q=0.1 , text/html ; q=0.2", HTML),
    ("application/json;q=0.001, text/html;q=0", JSON),
    ("application/json;Q=0.3,text/html;Q=0.7", HTML),
    ("application/json;q=1.000,text/plain;q=0.999", JSON),
    ("text/plain;q=0, */*", JSON),
    ("text/plain;q=0, application/json;q=0, */*;q=0.1", HTML),
    # a more specific range wins over a wider one
    ("text/*;q=0.1, text/html;q=0.9, application/json;q=0.5", HTML),
    ("*/*, application/json;q=0.2, text/plain;q=0.1", HTML),
    ("*/*;q=0.1, application/json", JSON),
    # of equal q: the more specific range, then the client's order
    ("text/html, application/json, text/plain", HTML),
    ("application/json, text/plain, */*", JSON),
    ("text/*, application/json", JSON),
    ("*/*, text/html", HTML),
    ("text/html, application/json", HTML),
    ("text/html;q=0.4, application/json;q=0.4, text/plain;q=0.3", HTML),
    # of several under one range: text first here
    ("text/*, application/*", TEXT),
    # never 406
    ("application/pdf", TEXT),
    ("image/png;q=0.5, video/*", TEXT),
    (";;;,,, /", TEXT),
    ("text/plain;q=0", None),
    ("application/json;q=nonsense", None),
    ("text/html;q=7", None),
]


def check_total_headers(reply, counted):
    """An answer that carries a total: not cached, and counted or not."""
    assert reply["Cache-Control"] == NO_STORE
    assert reply.get("ETag") is None
    assert reply["X-Visit-Counted"] == counted


# GET /


def test_home_text_is_two_lines_and_counts(shared):
    first = shared.get()
    assert first.status == 200
    assert first["Content-Type"] == TEXT
    match = re.fullmatch(rf"{TIME}\nvisits: (\d+)\n", first.text)
    assert match, first.text
    assert shared.visit() == int(match.group(1)) + 1
    check_total_headers(first, "1")
    assert first["Access-Control-Allow-Origin"] == "*"


def test_home_json(shared):
    before = shared.visit()
    reply = shared.get("/", {"Accept": "application/json"})
    assert reply.status == 200
    assert list(reply.json) == ["visits", "today", "time"]
    assert reply.json["visits"] == before + 1
    assert type(reply.json["today"]) is int
    assert 1 <= reply.json["today"] <= reply.json["visits"]
    assert re.fullmatch(TIME, reply.json["time"])
    check_total_headers(reply, "1")
    assert reply["Access-Control-Allow-Origin"] == "*"


def test_home_page(shared):
    before = shared.visit()
    reply = shared.get("/", {"Accept": BROWSER})
    assert reply.status == 200
    assert re.search(rf"\b{before + 1}\b", reply.text)
    assert re.match(r"<!doctype html>", reply.text, re.I)
    assert "<title>" in reply.text and 'lang="' in reply.text
    check_total_headers(reply, "1")


def test_page_has_a_content_security_policy_with_no_unsafe(shared):
    page = shared.get("/", {"Accept": "text/html"})
    policy = page["Content-Security-Policy"]
    assert "default-src" in policy
    assert "unsafe-" not in policy


@pytest.mark.parametrize("accept,chosen", ACCEPT)
@pytest.mark.parametrize("target", ["/", "/visits"])
def test_accept_chooses_the_representation(shared, target, accept, chosen):
    headers = {} if accept is None else {"Accept": accept}
    reply = shared.get(target, headers)
    assert reply.status == 200
    assert reply["Content-Type"] in ([chosen] if chosen else
                                     [TEXT, JSON, HTML])
    assert "Accept" in reply.tokens("Vary")


def test_several_accept_fields_are_one_list(shared):
    reply = shared.get("/", [("Accept", "text/plain;q=0.2"),
                             ("Accept", "application/json;q=0.3")])
    assert reply["Content-Type"] == JSON


def test_a_query_changes_nothing(shared):
    before = shared.visit()
    reply = shared.get("/?a=b&c=%20")
    assert reply.status == 200
    assert reply.number == before + 1


# GET /visits


@pytest.mark.parametrize("target", [
    "/visits", "/visits.txt", "/visits?x=.json"])
def test_visits_text_is_bare_digits_and_does_not_count(shared, target):
    before = shared.visit()
    for _ in range(2):
        reply = shared.get(target)
        assert reply.status == 200
        assert reply["Content-Type"] == TEXT
        assert reply.text == f"{before}\n"
        check_total_headers(reply, "0; reason=read")
    assert shared.visit() == before + 1


def test_visits_json(shared):
    before = shared.visit()
    reply = shared.get("/visits.json")
    assert reply["Content-Type"] == JSON
    assert list(reply.json) == ["counter", "value", "today"]
    assert reply.json["counter"] == "homepage"
    assert reply.json["value"] == before
    check_total_headers(reply, "0; reason=read")
    assert reply["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("target,accept,chosen", [
    ("/visits.txt", "application/json", TEXT),
    ("/visits.txt", BROWSER, TEXT),
    ("/visits.json", "text/plain", JSON),
    ("/visits.json", "application/json;q=0", JSON),
])
def test_a_suffix_wins_over_accept(shared, target, accept, chosen):
    reply = shared.get(target, {"Accept": accept})
    assert reply.status == 200
    assert reply["Content-Type"] == chosen
    assert "Accept" not in reply.tokens("Vary")


# Small answers


def test_favicon(shared):
    before = shared.visit()
    reply = shared.get("/favicon.ico")
    assert reply.status == 200
    assert reply["Content-Type"].startswith("image/")
    assert reply.body
    assert reply.get("X-Visit-Counted") is None
    assert shared.visit() == before + 1


def test_robots(shared):
    before = shared.visit()
    reply = shared.get("/robots.txt")
    assert reply.status == 200
    assert reply["Content-Type"] == TEXT
    assert re.search(r"(?im)^user-agent: \*$", reply.text)
    assert shared.visit() == before + 1


@pytest.mark.parametrize("headers", [
    {}, {"Accept": "*/*"}, {"Accept": "application/json"}, {"Accept": BROWSER},
])
def test_health_is_json(shared, headers):
    reply = shared.get("/health", headers)
    assert reply.status == 200
    assert reply["Content-Type"] == JSON
    assert reply.json["status"] == "ok"
    assert reply.json["store"] == shared.store.name
    assert reply["Access-Control-Allow-Origin"] == "*"


def test_health_is_text_if_asked_for_by_name(shared):
    reply = shared.get("/health", {"Accept": "text/plain"})
    assert reply.status == 200
    assert reply["Content-Type"] == TEXT
    assert "ok" in reply.text


# What never counts

NOT_COUNTED = [
    ("HEAD", "/", {}, "0; reason=head"),
    ("GET", "/", {"Sec-Purpose": "prefetch"}, "0; reason=prefetch"),
    ("GET", "/", {"sec-purpose": "prefetch;prerender"}, "0; reason=prefetch"),
    ("GET", "/", {"Purpose": "prefetch"}, "0; reason=prefetch"),
    ("GET", "/", {"X-Moz": "prefetch"}, "0; reason=prefetch"),
    ("GET", "/visits", {}, "0; reason=read"),
]


@pytest.mark.parametrize("method,target,headers,counted", NOT_COUNTED)
def test_promise_6_head_and_prefetch_never_count(
        shared, method, target, headers, counted):
    before = shared.visit()
    reply = shared.request(method, target, headers)
    assert reply.status == 200
    check_total_headers(reply, counted)
    if method == "GET":
        assert reply.number == before
    assert shared.visit() == before + 1


@pytest.mark.parametrize("headers", [
    {"Purpose": "something"}, {"X-Moz": "livebookmarks"},
    {"Sec-Purpose": "unknown"}, {"Sec-Fetch-Dest": "document"},
])
def test_other_purposes_count(shared, headers):
    before = shared.visit()
    reply = shared.get("/", headers)
    check_total_headers(reply, "1")
    assert reply.number == before + 1


@pytest.mark.parametrize("request_line,status", [
    ("OPTIONS /", 204), ("OPTIONS *", 204), ("GET /nothing", 404),
    ("POST /", 405), ("BREW /", 501), ("GET /favicon.ico", 200),
    ("GET /health", 200), ("GET /%zz", 400),
])
def test_promise_6_options_and_errors_never_count(
        shared, request_line, status):
    before = shared.visit()
    method, target = request_line.split()
    with shared.client() as client:
        assert client.request(method, target).status == status
    assert shared.visit() == before + 1


# HEAD


@pytest.mark.parametrize("accept", ["text/plain", "application/json", BROWSER])
@pytest.mark.parametrize("target", [
    "/", "/visits", "/visits.json", "/visits.txt", "/health", "/favicon.ico",
    "/robots.txt", "/nothing",
])
def test_head_has_the_headers_of_get_and_no_body(shared, target, accept):
    shared.store.set_total(40_000)
    headers = {"Accept": accept}
    get = shared.get(target, headers)
    head = shared.request("HEAD", target, headers)
    assert head.status == get.status
    assert head.body == b""
    changing = ("Date", "X-Visit-Counted")
    assert ([h for h in head.headers if h[0] not in changing]
            == [h for h in get.headers if h[0] not in changing])
    assert ([n for n, _ in head.headers] == [n for n, _ in get.headers])


def test_head_keeps_the_connection_in_step(shared):
    with shared.client() as client:
        for target in ("/", "/visits.json", "/nothing", "/favicon.ico"):
            assert client.request("HEAD", target).body == b""
        assert client.request("GET", "/robots.txt").status == 200


# OPTIONS, and methods that are not for a path

PATHS = ["/", "/visits", "/visits.json", "/visits.txt", "/health",
         "/favicon.ico", "/robots.txt", "/hit", "/hit.json", "/hit/a/b",
         "/hit/homepage.txt", "/get/a"]


@pytest.mark.parametrize("target", PATHS)
def test_options_is_204_with_allow(shared, target):
    reply = shared.request("OPTIONS", target)
    assert reply.status == 204
    assert reply.tokens("Allow") >= {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("target", PATHS)
def test_options_answers_a_cors_preflight(shared, target):
    reply = shared.request("OPTIONS", target, {
        "Origin": "https://example.org",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "content-type"})
    assert reply.status == 204
    assert reply["Access-Control-Allow-Origin"] == "*"
    assert reply.tokens("Access-Control-Allow-Methods") >= {"GET", "HEAD"}
    allowed = {name.lower() for name in
               reply.tokens("Access-Control-Allow-Headers")}
    assert allowed & {"*", "content-type"}


def test_options_of_the_server(shared):
    assert shared.request("OPTIONS", "*").status == 204


def test_options_of_an_unknown_path_is_404(shared):
    assert shared.request("OPTIONS", "/nothing").status == 404


@pytest.mark.parametrize("target", PATHS)
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_a_known_method_not_for_this_path_is_405_with_allow(
        shared, method, target):
    if method == "POST" and target.startswith("/hit"):
        method = "PUT"
    reply = shared.request(method, target)
    assert reply.status == 405
    assert reply.tokens("Allow") >= {"GET", "HEAD", "OPTIONS"}
    assert method not in reply.tokens("Allow")


@pytest.mark.parametrize("method", [
    "BREW", "get", "Get", "GETT", "GE", "CONNECT", "TRACE", "X-1.~"])
@pytest.mark.parametrize("target", ["/", "/nothing"])
def test_a_method_nobody_knows_is_501(shared, method, target):
    reply = shared.request(method, target, {"X-Secret": "do-not-echo"})
    assert reply.status == 501
    assert "do-not-echo" not in reply.text


# Errors

UNKNOWN = ["/nothing", "/visit", "/visits.xml", "/VISITS", "/index.html",
           "/health/x", "/favicon.ico/", "//"]


@pytest.mark.parametrize("target", UNKNOWN)
def test_an_unknown_path_is_404(shared, target):
    reply = shared.get(target)
    assert reply.status == 404
    assert reply.reason == "Not Found"


@pytest.mark.parametrize("method,target,status", [
    ("GET", "/nothing", "404 Not Found"),
    ("POST", "/", "405 Method Not Allowed"),
    ("BREW", "/", "501 Not Implemented"),
])
def test_errors_follow_the_representation_asked_for(
        shared, method, target, status):
    text = shared.request(method, target)
    assert text["Content-Type"] == TEXT
    assert re.fullmatch(rf"{status}(: .+)?\n", text.text)
    data = shared.request(method, target, {"Accept": "application/json"})
    assert data["Content-Type"] == JSON
    assert list(data.json) == ["error"] and data.json["error"]
    for reply in (text, data):
        assert f"{reply.status} {reply.reason}" == status
        assert reply["Access-Control-Allow-Origin"] == "*"
        assert reply.get("X-Visit-Counted") is None


def test_an_error_under_a_suffix_follows_the_suffix(shared):
    reply = shared.request("POST", "/visits.json")
    assert reply["Content-Type"] == JSON
    assert "error" in reply.json
