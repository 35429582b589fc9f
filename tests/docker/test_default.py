"""System 5: the time and the visits, in a file on a volume."""

import json
import os
import re
import socket

import pytest

from engine import REPO, Stack, check_down, check_hardened, docker, inspect, run


@pytest.fixture(scope="module")
def stack():
    with Stack("default", REPO, 8080, fast=["app"]) as stack:
        stack.run("docker compose up -d --build")
        stack.wait_healthy("app")
        yield stack


def volume(stack):
    return f"{stack.project}_python_app_visits"


def test_pages(stack):
    _, headers, text = stack.get("/")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00\nvisits: 1\n",
                        text)
    assert stack.visit() == 2
    assert stack.total() == 2


def test_the_file_on_the_host(stack):
    number = stack.visit()
    folder = docker("volume", "inspect", "-f", "{{.Mountpoint}}",
                    volume(stack))
    done = stack.run(["cat", f"{folder}/visits"])
    assert done.stdout == f"{number}\n"
    assert stack.out("docker compose exec -T app cat /data/visits") == (
        f"{number}\n")
    done = stack.run("docker run --rm -v " + volume(stack) + ":/data:ro "
                     "--entrypoint cat " + os.environ["IMAGE"]
                     + " /data/visits")
    assert done.stdout == f"{number}\n"


def test_the_user_is_myuser_and_owns_the_folders(stack):
    assert stack.inside("app", "id").stdout.startswith(
        "uid=1000(myuser) gid=1000(myuser)")
    owners = stack.inside("app", "stat", "-c", "%U %a %n", "/app", "/data",
                          "/data/visits").stdout
    assert owners == "myuser 775 /app\nmyuser 775 /data\n" \
                     "myuser 644 /data/visits\n"


def test_hardening(stack):
    check_hardened(stack, "app", "1000")


def test_names(stack):
    """The service app answers to the name that it had before."""
    network = f"{stack.project}_default"
    done = run("docker", "run", "--rm", "--network", network, "--entrypoint",
               "wget", os.environ["IMAGE"], "-q", "-O", "-",
               "http://app_python:8080/visits")
    assert int(done.stdout) == stack.total()


def test_health_is_told(stack):
    state = stack.inspect("app")["State"]["Health"]
    assert state["Status"] == "healthy"
    assert '"status":"ok"' in state["Log"][-1]["Output"]
    stack.note("docker inspect -f '{{json .State.Health}}'",
               json.dumps(state, indent=1))


def test_a_slow_visitor_may_end_before_it_stops(stack):
    """compose would kill it at 10 s, which is when visitd ends by itself."""
    with socket.create_connection(("127.0.0.1", 8080)) as slow:
        slow.sendall(b"POST /items HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
                     b"Content-Type: application/json\r\n\r\n{")
        before = stack.container("app")
        number = stack.visit()
        stack.run("docker compose stop")
        assert inspect(before)["State"]["ExitCode"] == 0
    stack.run("docker compose start")
    assert stack.visit() == number + 1


def test_restart_keeps(stack):
    number = stack.visit()
    stack.run("docker compose restart")
    assert stack.visit() == number + 1


def test_kill_9_keeps_and_is_started_again(stack):
    number = stack.visit()
    stack.kill_9("app")
    assert stack.visit() == number + 1


def test_commands_work_in_it(stack):
    number = stack.total()
    assert stack.out("docker compose exec -T app visitd get") == f"{number}\n"
    stack.run("docker compose exec -T app visitd set homepage 1000")
    assert stack.visit() == 1001


def test_down_keeps_and_down_v_forgets(stack):
    # Who comes with visits.txt says so.
    check_down(stack, VISITS_FILE="/data/visits.txt")
    assert stack.inside("app", "cat", "/data/visits.txt").stdout == "1\n"
