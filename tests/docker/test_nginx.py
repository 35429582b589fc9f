"""System 3: nginx before replicas that share a Redis."""

import base64
import concurrent.futures
import contextlib
import gzip
import json
import os
import signal
import ssl
import sys
import urllib.request

import pytest
import yaml

from engine import (REPO, Stack, Visitors, check_down, check_hardened, docker,
                    inspect, request, run, wait_for)

sys.path.insert(0, str(REPO / "tests" / "e2e"))

from load import Load  # noqa: E402

FOLDER = REPO / "deploy" / "nginx"
SHIPPED = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())
SECOND = {**SHIPPED["services"]["nginx"], "ports": ["18083:80"]}
# Not the one that is shipped, which another stack's may be by chance.
FREE = {"SUBNET": "10.213.7.0/24", "NGINX": "nginx nginx2"}


# What is there when it is mounted. First, since the port is the same one


@contextlib.contextmanager
def secret_stack():
    """ENV=prod, a certificate, a password file and a token."""
    with Stack("nginx-tls", FOLDER, 80, 443, fast=["redis"],
               files=("docker-compose.yml", "tls.yml"), ENV="prod",
               RATE_LIMIT=5, **FREE) as stack:
        secrets = stack.scratch / "secrets"
        secrets.mkdir()
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
            "-days", "2", "-subj", "/CN=localhost", "-addext",
            "subjectAltName=DNS:localhost", "-keyout", secrets / "tls.key",
            "-out", secrets / "tls.crt")
        word = run("openssl", "passwd", "-apr1", "opensesame").stdout
        (secrets / "htpasswd").write_text("ali:" + word)
        (secrets / "admin_token").write_text("s3cret\n")
        for file in secrets.iterdir():
            file.chmod(0o644)
        mount = {"volumes": [f"{secrets}:/run/secrets:ro"]}
        override = stack.scratch / "override.yml"
        found = json.loads(override.read_text())
        found["services"]["nginx"] = mount
        found["services"]["app"] = {**mount, "environment": {
            "ADMIN_TOKEN_FILE": "/run/secrets/admin_token"}}
        override.write_text(json.dumps(found))
        stack.run("docker compose up -d")
        yield stack, secrets


def https(secrets, path):
    trusted = ssl.create_default_context(cafile=str(secrets / "tls.crt"))
    with urllib.request.urlopen(f"https://localhost{path}", timeout=60,
                                context=trusted) as reply:
        return reply.read().decode()


def put(authorization=None):
    headers = [("Content-Type", "application/json")]
    if authorization:
        headers.append(("Authorization", authorization))
    return request(80, "PUT", "/visits", '{"value": 100}', headers)


def test_tls_passwords_and_limits():
    with secret_stack() as (stack, secrets):
        assert stack.visit() == 1
        assert https(secrets, "/").endswith("visits: 2\n")
        # PUT asks for the password, not for the token that visitd asks for.
        status, headers, _ = put()
        assert status == 401 and "Basic" in headers["WWW-Authenticate"]
        assert put("Bearer s3cret")[0] == 401
        wrong = base64.b64encode(b"ali:guess").decode()
        assert put("Basic " + wrong)[0] == 401
        right = base64.b64encode(b"ali:opensesame").decode()
        status, _, text = put("Basic " + right)
        assert status == 200 and json.loads(text)["value"] == 100, text
        assert stack.visit() == 101
        # Not by any other way.
        assert request(80, "PUT", "/events/x", '{"value": 1}',
                       [("Content-Type", "application/json")])[0] == 403
        # 5 a second, and 10 more at once; all at once, or a slow machine has
        # no more than that.
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            replies = list(pool.map(request, [80] * 40))
        assert {reply[0] for reply in replies} == {200, 429}
        # A key that nginx may not read is told, not passed over.
        (secrets / "tls.key").chmod(0o600)
        stack.run("docker compose restart nginx")

        def told(what):
            return what in run("docker", "logs",
                               stack.container("nginx")).stderr
        wait_for(lambda: told("tls.key cannot be read"),
                 what="the log to tell of the key")
        (secrets / "tls.key").unlink()
        wait_for(lambda: told("no tls.key"), what="the log to tell again")


# The stack of the other tests


@pytest.fixture(scope="module")
def stack():
    with Stack("nginx", FOLDER, 80, 18083, fast=["app", "redis", "nginx"],
               overrides={"nginx2": SECOND}, RATE_LIMIT=0, **FREE) as stack:
        stack.run("docker compose up -d --build")
        stack.wait_healthy("app", "nginx")
        assert stack.visit() == 1
        yield stack


def scale(stack, replicas):
    stack.run(f"./scale.sh {replicas}")


def upstreams(stack):
    """The addresses of replicas that nginx has passed requests to since it
    was last asked."""
    found = set()
    for service in ("nginx", "nginx2"):
        log = run("docker", "logs", stack.container(service)).stdout
        found |= {line.split('" ')[-1].split()[0] for line in
                  log.splitlines() if ":5000 " in line}
    return found


# Pages


def test_what_nginx_adds(stack):
    status, headers, text = stack.get("/")
    assert status == 200 and headers["X-Visit-Counted"] == "1", text
    assert headers["Server"] == "nginx"
    status, _, text = stack.get("/static/README.txt")
    assert status == 200 and "/static/" in text
    for path in ("/metrics", "/metrics?x", "/%6detrics", "/./metrics"):
        assert stack.get(path)[0] == 403, path


def test_gzip(stack):
    asked = urllib.request.Request("http://127.0.0.1/", headers={
        "Accept": "text/html", "Accept-Encoding": "gzip"})
    with urllib.request.urlopen(asked, timeout=60) as reply:
        assert reply.headers["Content-Encoding"] == "gzip"
        assert b"<html" in gzip.decompress(reply.read())


def test_health(stack):
    assert json.loads(stack.get("/health")[2])["store"] == "redis"


def test_hardening(stack):
    check_hardened(stack, "app", "1000")
    check_hardened(stack, "redis", "999")
    check_hardened(stack, "nginx", "101")


def test_only_nginx_is_published(stack):
    for service in ("app", "redis"):
        assert docker("port", stack.container(service)) == ""
    assert docker("port", stack.container("nginx")).startswith("80/tcp")


def test_mounts_are_read_only(stack):
    for service in ("app", "nginx"):
        mounts = stack.inspect(service)["Mounts"]
        assert mounts and all(not mount["RW"] for mount in mounts
                              if mount["Type"] == "bind")


def test_nginx_t(stack):
    done = stack.run("docker compose exec -T nginx nginx -t")
    assert "test is successful" in done.stdout + done.stderr


# What is shipped


def test_the_shipped_health_checks():
    services = SHIPPED["services"]

    def check(service):
        health = services[service]["healthcheck"]
        return [health.get(key) for key in ("interval", "timeout", "retries",
                                            "start_period")]
    assert check("app") == ["30s", "10s", 3, "40s"]
    assert check("redis") == ["10s", "5s", 3, None]
    assert check("nginx")[0] == "30s"
    assert services["redis"]["healthcheck"]["test"] == [
        "CMD", "redis-cli", "ping"]
    assert services["nginx"]["healthcheck"]["test"] == ["CMD", "nginx", "-t"]
    subnet = SHIPPED["networks"]["app-network"]["ipam"]["config"][0]["subnet"]
    assert subnet == "${SUBNET:-172.18.0.0/16}"


# Stopping and killing


def test_redis_stopped_and_started(stack):
    number = stack.visit()
    stack.run("docker compose stop redis")
    wait_for(lambda: stack.get()[0] == 503, what="a 503")
    stack.run("docker compose start redis")
    assert stack.visit() == number + 1


def test_kill_9_and_restart_keep(stack):
    number = stack.visit()
    stack.kill_9("redis")
    stack.kill_9("nginx")
    assert stack.visit() == number + 1
    stack.run("docker compose restart")
    assert stack.visit() == number + 2


def test_app_with_another_address_is_found(stack):
    """A container that starts again may have another one: here it must."""
    def address():
        networks = stack.inspect("app")["NetworkSettings"]["Networks"]
        return next(iter(networks.values()))["IPAddress"]

    number = stack.visit()
    stack.kill_9("app")
    assert stack.visit() == number + 1
    taken = address()
    stack.run("docker compose stop app")
    docker("run", "-d", "--name", f"{stack.project}-squatter", "--network",
           f"{stack.project}_app-network", "--ip", taken, "redis:7-alpine")
    stack.run("docker compose start app")
    assert address() != taken
    assert stack.visit() == number + 2
    docker("rm", "-f", "-v", f"{stack.project}-squatter")


def test_down_keeps_and_down_v_forgets(stack):
    check_down(stack)


# Replicas


def test_three_replicas_behind_two_nginx(stack):
    scale(stack, 3)
    first = stack.visit() + 1
    with Load(80, clients=8, processes=1, requests=300) as one, \
            Load(18083, clients=8, processes=1, requests=300) as two:
        results = one.wait(), two.wait()
    for result in results:
        assert result.statuses == {"200": 2400} and not result.errors, result
    numbers = sorted(results[0].numbers + results[1].numbers)
    assert numbers == list(range(first, first + 4800))
    assert stack.total() == numbers[-1]
    assert len(upstreams(stack)) == 3


def test_a_killed_replica_repeats_no_number(stack):
    first = stack.visit() + 1
    with Visitors(80) as visitors:
        victim = inspect(stack.containers("app")[0])
        os.kill(victim["State"]["Pid"], signal.SIGKILL)
        wait_for(lambda: inspect(victim["Id"])["State"]["StartedAt"]
                 != victim["State"]["StartedAt"], what="it to start again")
    stack.note("kill -9 of a replica under load", repr(visitors))
    assert len(set(visitors.numbers)) == len(visitors.numbers)
    skipped = stack.total() - first + 1 - len(visitors.numbers)
    # At most what each visitor waited for, of both tries.
    assert 0 <= skipped <= 6 and len(visitors.failures) <= 3, visitors


def test_scale_leaves_compose_no_choice(stack):
    """A replica that was stopped is not what stays, and what `run` has left
    behind is none."""
    scale(stack, 3)
    stack.run("docker compose run -T --name "
              f"{stack.project}-once app --version")
    once = stack.containers("app")[0]
    first = min(set(stack.containers("app")) - {once}, key=lambda id: inspect(
        id)["Config"]["Labels"]["com.docker.compose.container-number"])
    docker("stop", first)
    scale(stack, 2)
    left = {id: inspect(id)["State"]["Running"] for id in
            stack.containers("app")}
    assert left.pop(once) is False
    assert first not in left and list(left.values()) == [True, True]
    docker("rm", once)


def test_a_rolling_change_of_scale_fails_no_request(stack):
    first = stack.visit() + 1
    with Visitors(80) as visitors:
        for replicas in (1, 2):
            scale(stack, replicas)
    stack.note("./scale.sh 1; ./scale.sh 2    # under load, from 2",
               repr(visitors))
    assert not visitors.failures, visitors
    assert sorted(visitors.numbers) == list(
        range(first, first + len(visitors.numbers)))
