"""deploy.sh, for real: against a registry on this machine."""

import json
import os
import shutil
import socket
import subprocess

import pytest

from engine import (PROJECT, REPO, Stack, docker, inspect, request, run, tree,
                    wait_for)

VERSION = (REPO / "VERSION").read_text().strip()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Registry:
    """A docker-registry in a folder."""

    def __init__(self, folder):
        self.port = free_port()
        self.config = folder / "registry.yml"
        self.config.write_text(json.dumps({
            "version": "0.1", "log": {"level": "error"},
            "storage": {"filesystem": {
                "rootdirectory": str(folder / "registry")}},
            "http": {"addr": f"127.0.0.1:{self.port}"}}))
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(
            ["docker-registry", "serve", self.config],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.answers, what="the registry")
        return self

    def answers(self):
        try:
            return request(self.port, path="/v2/")[0] == 200
        except OSError:
            return False

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()

    def tags(self, name):
        status, _, text = request(self.port, path=f"/v2/{name}/tags/list")
        return set(json.loads(text)["tags"]) if status == 200 else set()


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def stack(registry):
    image = f"127.0.0.1:{registry.port}/{PROJECT}/visitd:latest"
    with Stack("deploy", REPO, 18084, PORT=18084, IMAGE=image) as stack:
        # deploy.sh names the file itself, so that no override counts.
        yield stack
        for tag in docker("images", "--format", "{{.Repository}}:{{.Tag}}",
                          image.removesuffix(":latest")).split():
            run("docker", "rmi", "-f", tag)


def commit():
    found = run("git", "rev-parse", "--short=12", "HEAD",
                cwd=REPO).stdout.strip()
    dirty = run("git", "status", "--porcelain", cwd=REPO).stdout
    return found + ("-dirty" if dirty else "")


def test_builds_pushes_and_runs(stack, registry):
    stack.run("./deploy.sh")
    assert stack.visit() == 1
    assert registry.tags(f"{PROJECT}/visitd") == {
        "latest", VERSION, f"{VERSION}-{commit()}"}


def test_again_touches_nothing_else(stack):
    """The container is a new one; its volume, and others' things, stay."""
    other = f"{PROJECT}-bystander"
    docker("run", "-d", "--name", other, os.environ["IMAGE_REDIS"])
    kept = set(docker("images", "-q", "--no-trunc",
                      os.environ["IMAGE_REDIS"]).split())
    # One that removes itself, and one of an image that had the name before.
    docker("run", "-d", "--rm", stack.env["IMAGE"])
    previous = stack.env["IMAGE"].removesuffix(":latest")
    docker("tag", os.environ["IMAGE_POSTGRES"], previous)
    docker("run", "-d", "--name", f"{PROJECT}-previous", "--tmpfs", "/data",
           "-e", "DB_HOST=127.0.0.1", previous)
    docker("tag", stack.inspect("app")["Image"], previous)
    before, bystander = stack.container("app"), inspect(other)
    number = stack.visit()
    stack.run("./deploy.sh")
    assert stack.container("app") != before
    assert stack.visit() == number + 1
    running = docker("ps", "-a", "--format", "{{.Names}} {{.Image}}")
    assert f"{PROJECT}-previous" not in running
    assert running.count(previous) == 1, running
    assert inspect(other)["State"]["StartedAt"] == (
        bystander["State"]["StartedAt"])
    assert set(docker("images", "-q", "--no-trunc",
                      os.environ["IMAGE_REDIS"]).split()) == kept
    docker("rm", "-f", "-v", other)


def test_what_was_pushed_runs(stack):
    image = stack.env["IMAGE"].replace("latest", f"{VERSION}-{commit()}")
    stack.run("docker compose down")
    for tag in docker("images", "--format", "{{.Repository}}:{{.Tag}}",
                      image.rsplit(":", 1)[0]).split():
        docker("rmi", tag)
    stack.run(["docker", "pull", image])
    name = f"{PROJECT}-pulled"
    docker("run", "-d", "--name", name, image)
    try:
        def page():
            return run("docker", "exec", name, "wget", "-q", "-O", "-",
                       "http://127.0.0.1:8080/", check=False).stdout
        assert wait_for(page, what="a page").endswith("visits: 1\n")
        labels = inspect(name)["Config"]["Labels"]
        assert labels["org.opencontainers.image.version"] == VERSION
        assert labels["org.opencontainers.image.revision"] == commit()
    finally:
        docker("rm", "-f", "-v", name)


def test_the_first_error_ends_it(stack, tmp_path):
    """A Dockerfile that does not build, and a registry that is not there."""
    folder = tree(tmp_path)
    (folder / "main.c").write_text("this is no C\n")
    env = {**stack.env, "COMPOSE_FILE": "docker-compose.yml"}
    done = run("./deploy.sh", cwd=folder, env=env, check=False)
    assert done.returncode == 1, done
    assert "mend what it says" in done.stderr and "push" not in done.stdout
    shutil.copy(REPO / "main.c", folder / "main.c")
    env["IMAGE"] = f"127.0.0.1:{free_port()}/{PROJECT}/visitd:latest"
    done = run("./deploy.sh", cwd=folder, env=env, check=False)
    assert done.returncode == 1 and "docker login" in done.stderr, done
    assert "up -d" not in done.stdout
    for tag in docker("images", "--format", "{{.Repository}}:{{.Tag}}",
                      env["IMAGE"].rsplit(":", 1)[0]).split():
        docker("rmi", tag)
