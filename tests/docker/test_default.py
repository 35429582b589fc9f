"""System 5: the time and the visits, in a file on a volume."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from engine import (REPO, Stack, check_hardened, docker, inspect, run,
                    wait_for)


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


def test_image(stack):
    found = inspect(os.environ["IMAGE"])
    config = found["Config"]
    assert config["User"] == "myuser" and config["WorkingDir"] == "/app"
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert list(config["Volumes"]) == ["/data"]
    assert config["Healthcheck"]["Test"] == [
        "CMD", "/usr/local/bin/visitd", "health"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Labels"]["org.opencontainers.image.version"] == (
        (REPO / "VERSION").read_text().strip())


def test_the_user_is_myuser_and_owns_the_folders(stack):
    assert stack.inside("app", "id").stdout.startswith(
        "uid=1000(myuser) gid=1000(myuser)")
    owners = stack.inside("app", "stat", "-c", "%U %a %n", "/app", "/data",
                          "/data/visits").stdout
    assert owners == "myuser 755 /app\nmyuser 755 /data\n" \
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
    number = stack.visit()
    stack.run("docker compose down")
    stack.run("docker compose up -d")
    assert stack.visit() == number + 1
    stack.run("docker compose down -v")
    assert volume(stack) not in docker("volume", "ls", "-q").split()
    stack.run("docker compose up -d")
    assert stack.visit() == 1


def test_visits_txt():
    """Who comes with visits.txt says so."""
    with Stack("txt", REPO, 18082, PORT=18082,
               VISITS_FILE="/data/visits.txt") as stack:
        stack.run("docker compose up -d")
        assert stack.visit() == 1
        assert stack.inside("app", "cat", "/data/visits.txt").stdout == "1\n"


# The image by itself


def test_smallest():
    """The target scratch: nothing but visitd, which counts and is healthy."""
    name = os.environ["PROJECT"] + "-scratch"
    image = os.environ["PROJECT"] + ":scratch"
    run("docker", "build", "-q", "-t", image, "--target", "scratch", REPO)
    run("docker", "run", "-d", "--name", name, "--read-only", "--cap-drop",
        "ALL", "-e", "TZ=Europe/Berlin", image)
    try:
        def healthy():
            done = run("docker", "exec", name, "/usr/local/bin/visitd",
                       "health", check=False)
            return done.returncode == 0
        wait_for(healthy, what="health")
        assert docker("exec", name, "/usr/local/bin/visitd", "get") == "0"
        assert inspect(name)["Config"]["User"] == "myuser"
        files = run("sh", "-c", f"docker export {name} | tar -t").stdout
        inside = {line for line in files.splitlines()
                  if not line.startswith(("usr/share/zoneinfo", "dev", "proc",
                                          "sys")) and not line.endswith("/")}
        assert inside - {".dockerenv", "etc/hostname", "etc/hosts",
                         "etc/mtab", "etc/resolv.conf"} == {
            "etc/passwd", "etc/group", "usr/local/bin/visitd"} | {
            line for line in inside if line.startswith("data/")}
    finally:
        run("docker", "rm", "-f", "-v", name)


def test_the_file_store_is_static():
    image = os.environ["IMAGE"]
    done = run("sh", "-c", f"docker run --rm --entrypoint cat {image}"
               " /usr/local/bin/visitd | file -")
    assert "statically linked" in done.stdout


def test_a_bind_mount_of_root_is_explained(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    image = os.environ["IMAGE"]
    mount = f"{folder}:/data"
    done = run("docker", "run", "--rm", "-v", mount, image, check=False)
    assert done.returncode == 111
    assert "chown 1000" in done.stderr and "user" in done.stderr
    # What it says, done: both ways.
    name = os.environ["PROJECT"] + "-bind"
    for options, owner in (([], 1000), (["--user", "0:0", "--cap-drop", "ALL"],
                                        0)):
        os.chown(folder, owner, owner)
        for file in folder.iterdir():
            os.chown(file, owner, owner)
        run("docker", "run", "-d", "--name", name, "-v", mount, *options,
            image)
        try:
            def visited():
                done = run("docker", "exec", name, "wget", "-q", "-O", "-",
                           "http://127.0.0.1:8080/", check=False)
                return done.returncode == 0
            wait_for(visited, what="a visit")
        finally:
            run("docker", "rm", "-f", name)
    assert (folder / "visits").read_text() == "2\n"


def test_zones():
    image = os.environ["IMAGE"]
    done = run("docker", "run", "--rm", "-e", "TZ=Europe/Nowhere", image,
               check=False)
    assert done.returncode == 102 and "TZ=Europe/Nowhere" in done.stderr
    name = os.environ["PROJECT"] + "-zone"
    run("docker", "run", "-d", "--name", name, "-e", "TZ=Asia/Kathmandu",
        image)
    try:
        def page():
            return run("docker", "exec", name, "wget", "-q", "-O", "-",
                       "http://127.0.0.1:8080/", check=False).stdout
        assert "+05:45" in wait_for(page, what="a page")
    finally:
        run("docker", "rm", "-f", "-v", name)


def test_reproducible_from_a_clean_checkout(tmp_path):
    """What git knows builds, to the very same program."""
    files = run("git", "ls-files", "-z", "--cached", "--others",
                "--exclude-standard", cwd=REPO).stdout
    subprocess.run(f"tar -c --null -T - | tar -x -C {tmp_path}", shell=True,
                   input=files.encode(), cwd=REPO, check=True)
    image = os.environ["PROJECT"] + ":again"
    run("docker", "build", "-q", "--no-cache", "--target", "build", "-t",
        image, tmp_path)
    sums = {docker("run", "--rm", "--entrypoint", "sha256sum", one,
                   "/usr/local/bin/visitd")
            for one in (image, os.environ["IMAGE"])}
    assert len(sums) == 1, sums


def test_the_context_is_the_sources_alone():
    ignored = (REPO / ".dockerignore").read_text().splitlines()
    assert "*" in ignored and "!tests" not in ignored
    assert not any(Path(line[1:]).name.startswith(".")
                   for line in ignored if line.startswith("!"))
