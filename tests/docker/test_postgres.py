"""System 2: visits in PostgreSQL, with Redis as a cache."""

import json
import re

import pytest

from engine import REPO, Stack, check_down, check_hardened, wait_for

SELECT = ("docker compose exec db psql -U student -d student_notes"
          ' -c "SELECT * FROM visit_counter;"')
CACHED = "docker compose exec cache redis-cli GET visit_counter:homepage"


@pytest.fixture(scope="module")
def stack():
    with Stack("postgres", REPO / "deploy" / "postgres", 8000,
               fast=["web", "db", "cache"]) as stack:
        with stack.attached("docker compose up --build"):
            assert stack.visit() == 1
        stack.run("docker compose up -d")
        stack.wait_healthy("web", "db", "cache")
        yield stack


def test_the_documented_commands(stack):
    number = stack.visit()
    assert number == 2
    done = stack.run("curl http://localhost:8000/")
    assert done.stdout.endswith(f"visits: {number + 1}\n")
    assert re.search(rf"^ homepage +\| +{number + 1}$",
                     stack.on_terminal(SELECT), re.M)
    stack.get("/visits")
    assert stack.on_terminal(CACHED) == f'"{number + 1}"\n'
    status, _, text = stack.get("/health")
    assert status == 200 and json.loads(text)["status"] == "ok"


def test_hardening(stack):
    check_hardened(stack, "web", "1000")
    check_hardened(stack, "db", "70")
    check_hardened(stack, "cache", "999")


def test_the_cache_stopped_and_started(stack):
    number = stack.visit()
    stack.run("docker compose stop cache")
    assert stack.visit() == number + 1
    assert stack.total() == number + 1
    stack.run("docker compose start cache")
    assert stack.visit() == number + 2

    def cached():
        stack.get("/visits")
        return stack.inside("cache", "redis-cli", "GET",
                            "visit_counter:homepage").stdout == (
                                f"{number + 2}\n")
    wait_for(cached, what="the cache to be filled")


def test_the_database_stopped_and_started(stack):
    number = stack.visit()
    stack.run("docker compose stop db")
    status, _, text = stack.get("/")
    assert status == 503, text
    stack.run("docker compose start db")
    assert stack.visit() == number + 1


def test_restart_and_kill_9_keep(stack):
    for service in ("web", "db", "cache"):
        number = stack.visit()
        stack.kill_9(service)
        assert stack.visit() == number + 1
    number = stack.visit()
    stack.run("docker compose restart")
    assert stack.visit() == number + 1


def test_down_keeps_and_down_v_forgets(stack):
    check_down(stack)
