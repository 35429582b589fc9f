"""System 1: a hit counter in Redis."""

import pytest

from engine import (REPO, Stack, check_down, check_hardened, request, run,
                    wait_for)


@pytest.fixture(scope="module")
def stack():
    with Stack("redis", REPO / "deploy" / "redis", 5001,
               fast=["web", "redis"]) as stack:
        # As it is documented, and what its end leaves behind.
        with stack.attached("docker-compose up"):
            assert stack.visit() == 1
            stack.wait_healthy("redis", "web")
        stack.run("docker-compose up -d")
        yield stack


def test_counts(stack):
    assert [stack.visit() for _ in range(3)] == [2, 3, 4]
    assert stack.inside("redis", "redis-cli", "GET",
                        "visit_counter:homepage").stdout == "4\n"


def test_hardening(stack):
    check_hardened(stack, "web", "1000")
    check_hardened(stack, "redis", "999")


def test_restart_and_kill_9_keep(stack):
    number = stack.visit()
    stack.run("docker-compose restart")
    assert stack.visit() == number + 1
    for service in ("web", "redis"):
        number = stack.visit()
        stack.kill_9(service)
        assert stack.visit() == number + 1


def test_redis_stopped_and_started(stack):
    number = stack.visit()
    stack.run("docker-compose stop redis")
    status, headers, text = stack.get()
    assert status == 503 and headers["Retry-After"] == "1", text
    wait_for(lambda: stack.get("/health")[0] == 503, what="/health")
    stack.run("docker-compose start redis")
    assert stack.visit() == number + 1
    stack.wait_healthy("web")


def test_down_keeps_and_down_v_forgets(stack):
    check_down(stack, "docker-compose")


def test_redis_is_not_published(stack):
    assert run("docker", "port", stack.container("redis")).stdout == ""
    status, _, text = request(5001, path="/health")
    assert status == 200 and '"store":"redis"' in text
