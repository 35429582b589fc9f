"""REPEAT_WINDOW: a returning browser is known by its cookie, and by no more."""

import re
import time

import pytest

from test_api import check_total_headers
from visitd import Server, render

WINDOW = 3600
COOKIE = re.compile(r"(visitd-[0-9a-f]+)=(\d+); Max-Age=3600; Path=/; "
                    r"SameSite=Lax; HttpOnly")


@pytest.fixture(name="patient")
def fixture_patient(store):
    """A server that counts a browser once an hour."""
    with Server(store, REPEAT_WINDOW=WINDOW) as server:
        yield server


def visit(server, target, cookie=None, method="GET"):
    """One request, with this Cookie."""
    return server.request(method, target,
                          {"Cookie": cookie} if cookie else {})


def cookie_of(reply):
    """Name and time of the cookie that a counted answer sets."""
    match = COOKIE.fullmatch(reply["Set-Cookie"])
    assert match, reply["Set-Cookie"]
    assert -1 < time.time() - int(match[2]) < 60
    return match[1], int(match[2])


@pytest.mark.parametrize("target", ["/", "/hit", "/hit/homepage", "/hit/a",
                                    "/hit/a.json", "/hit/blog/post-1"])
def test_a_returning_browser_is_not_counted_again(patient, target):
    first = visit(patient, target)
    check_total_headers(first, "1")
    name, then = cookie_of(first)
    for _ in range(2):
        again = visit(patient, target, f"other=1; {name}={then}")
        assert again.number == first.number
        check_total_headers(again, "0; reason=repeat")
        assert again.get("Set-Cookie") is None
    assert visit(patient, target).number == first.number + 1


def test_each_counter_has_its_own_cookie(patient):
    names = ["/", "/hit/a", "/hit/b", "/hit/A"]
    cookies = [cookie_of(visit(patient, target)) for target in names]
    assert len({name for name, _ in cookies}) == 4
    for i, target in enumerate(names):
        others = "; ".join(f"{name}={then}" for k, (name, then)
                           in enumerate(cookies) if k != i)
        check_total_headers(visit(patient, target, others), "1")
        every = "; ".join(f"{name}={then}" for name, then in cookies)
        check_total_headers(visit(patient, target, every),
                            "0; reason=repeat")


def test_the_home_counter_is_one_under_all_its_paths(patient):
    name, then = cookie_of(visit(patient, "/"))
    for target in ("/hit", "/hit/homepage"):
        check_total_headers(visit(patient, target, f"{name}={then}"),
                            "0; reason=repeat")


NOT_KNOWN = ["{now}x", "x{now}", "", "-1", "0", "99999999999999999999",
             "{late}", "{old}", "{now}.0", '"{now}"', "%31"]


@pytest.mark.parametrize("value", NOT_KNOWN)
def test_any_other_cookie_is_counted(patient, value):
    """Garbage, a time to come, one before the window."""
    name, then = cookie_of(visit(patient, "/hit/a"))
    value = value.format(now=then, late=then + 1000, old=then - WINDOW - 60)
    reply = visit(patient, "/hit/a", f"{name}={value}")
    check_total_headers(reply, "1")
    assert reply.number == 2
    cookie_of(reply)


@pytest.mark.parametrize("form", [
    "{c}", "a=b; {c}", "{c}; a=b", "a;{c};b", "  {c}  ", "=; {c}"])
def test_where_the_cookie_stands_is_no_matter(patient, form):
    name, then = cookie_of(visit(patient, "/hit/a"))
    cookie = form.format(c=f"{name}={then}").strip()
    check_total_headers(visit(patient, "/hit/a", cookie), "0; reason=repeat")


def test_what_is_not_counted_sets_no_cookie(patient):
    for method, target in (("HEAD", "/hit/a"), ("GET", "/visits"),
                           ("OPTIONS", "/hit/a"), ("GET", "/visits/a"),
                           ("GET", "/robots.txt"), ("GET", "/hit/..")):
        reply = patient.request(method, target)
        assert reply.get("Set-Cookie") is None, (method, target)
    reply = patient.get("/hit/a", {"Purpose": "prefetch"})
    assert reply.get("Set-Cookie") is None
    check_total_headers(reply, "0; reason=prefetch")


def test_a_repeat_of_a_forgotten_counter_shows_0(store):
    token = {"Authorization": "Bearer t"}
    with Server(store, REPEAT_WINDOW=WINDOW, ADMIN_TOKEN="t") as server:
        name, then = cookie_of(visit(server, "/hit/a"))
        assert server.request("DELETE", "/visits/a", token).status == 204
        reply = visit(server, "/hit/a", f"{name}={then}")
        assert (reply.status, reply.number) == (200, 0)
        check_total_headers(reply, "0; reason=repeat")
        assert server.get("/visits/a").status == 404


def test_repeats_within_a_turn_see_the_visits_before_them(patient):
    name, then = cookie_of(visit(patient, "/hit/a"))
    repeat = render(target="/hit/a", headers={"Cookie": f"{name}={then}"})
    with patient.client() as client:
        client.send(repeat + render(target="/hit/a") + repeat
                    + render(target="/hit/a") + repeat)
        assert [client.reply().number for _ in range(5)] == [1, 2, 2, 3, 3]


def test_without_a_window_there_are_no_cookies(server):
    for number in (1, 2):
        reply = visit(server, "/hit/a")
        assert reply.number == number
        assert reply.get("Set-Cookie") is None
