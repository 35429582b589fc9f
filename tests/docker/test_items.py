"""System 4: the items API on PostgreSQL and Redis."""

import json

import pytest

from engine import REPO, Stack, check_hardened, docker, request, wait_for

PSQL = "docker exec -it postgres psql -U appuser -d appdb"
TABLE = ("CREATE TABLE items (id SERIAL PRIMARY KEY, name TEXT NOT NULL,"
         " description TEXT);")
ITEM = {"name": "Docker", "description": "Compose test"}


@pytest.fixture(scope="module")
def stack():
    names = docker("ps", "-a", "--format", "{{.Names}}").split()
    assert "postgres" not in names, "there is a container called postgres"
    with Stack("items", REPO / "deploy" / "items", 5000, 5432, 6379,
               fast=["backend", "postgres", "redis"]) as stack:
        stack.run("docker compose up -d --build")
        stack.wait_healthy("postgres", "redis", "backend")
        yield stack


def create(stack, item):
    def created():
        status, _, text = request(
            5000, "POST", "/items", json.dumps(item),
            [("Content-Type", "application/json")])
        return status == 201 and json.loads(text)
    return wait_for(created, what="an item to be created")


def test_the_documented_commands(stack):
    status, _, text = stack.get("/health")
    assert status == 200 and json.loads(text)["status"] == "ok"
    said = stack.on_terminal(PSQL, TABLE + "\n\\q\n")
    assert "CREATE TABLE" in said.replace(TABLE, "") and "ERROR" not in said
    assert create(stack, ITEM) == {"id": 1, **ITEM}
    for _ in range(2):
        _, _, text = stack.get("/items/1")
        assert json.loads(text) == {"id": 1, **ITEM}
        stack.note("curl http://localhost:5000/items/1", text)


def test_published_on_this_machine_alone(stack):
    for service, port in (("postgres", "5432"), ("redis", "6379")):
        ports = stack.inspect(service)["NetworkSettings"]["Ports"]
        assert ports[f"{port}/tcp"] == [{"HostIp": "127.0.0.1",
                                         "HostPort": port}]


def test_cached_with_a_time_to_live(stack):
    create(stack, ITEM)
    stack.get("/items/2")
    keys = stack.inside("redis", "redis-cli", "KEYS", "*").stdout.split()
    item = next(key for key in keys if key.endswith(":2"))
    assert 0 < int(stack.inside("redis", "redis-cli", "TTL", item).stdout)


def test_hardening(stack):
    check_hardened(stack, "backend", "1000")
    check_hardened(stack, "postgres", "70")
    check_hardened(stack, "redis", "999")


def test_redis_away_works(stack):
    stack.run("docker compose stop redis")
    assert json.loads(stack.get("/items/1")[2])["id"] == 1
    made = create(stack, ITEM)
    assert json.loads(stack.get(f"/items/{made['id']}")[2]) == made
    stack.run("docker compose start redis")


def test_postgres_away_fails_and_comes_back(stack):
    stack.run("docker compose stop postgres")
    status, _, _ = request(5000, "POST", "/items", json.dumps(ITEM),
                           [("Content-Type", "application/json")])
    assert status == 503
    stack.run("docker compose start postgres")
    made = create(stack, ITEM)
    for service in ("postgres", "redis", "backend"):
        stack.kill_9(service)
    path = f"/items/{made['id']}"
    wait_for(lambda: stack.get(path)[0] == 200, what="the item")
    stack.run("docker compose restart")
    wait_for(lambda: stack.get(path)[0] == 200, what="the item")


def test_down_keeps_and_down_v_removes(stack):
    stack.run("docker compose down")
    stack.run("docker compose up -d")
    assert json.loads(wait_for(
        lambda: stack.get("/items/1")[0] == 200 and stack.get("/items/1")[2],
        what="the item"))["id"] == 1
    stack.run("docker compose down -v")
    with stack.attached("docker compose up --build"):
        wait_for(lambda: stack.get("/items/1")[0] == 404, what="no item")
