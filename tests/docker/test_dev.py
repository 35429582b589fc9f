"""Live development: a change in the source is built and restarted."""

import pytest

from engine import (COMPOSE, PROJECT, REPO, Stack, check_hardened, run, tree,
                    wait_for)

OVERLAYS = [("docker-compose.yml", "deploy/dev.yml", "app")] + [
    (f"deploy/{name}/docker-compose.yml", f"deploy/{name}/dev.yml", service)
    for name, service in (("redis", "web"), ("postgres", "web"),
                          ("items", "backend"), ("nginx", "app"))]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tree(tmp_path_factory.mktemp("tree"))
    for path in (folder, *folder.parents):
        if str(path).count("/") > 1:
            path.chmod(0o755)
    return folder


def log(stack, service):
    done = run("docker", "logs", stack.container(service))
    return done.stdout + done.stderr


def overlaid(name, folder, files, service, *ports, **more):
    """The stack with its dev.yml, as it is documented; an image of its own."""
    return Stack(name, folder, *ports, files=files, overrides={
        service: {"image": f"{PROJECT}:{name}",
                  "environment": {"CFLAGS": "-O0"}}}, **more)


def up(stack, files):
    stack.run("docker compose " + " ".join(f"-f {file}" for file in files)
              + f" -f {stack.scratch}/override.yml up -d --build")


def change(stack, source, text):
    robots = source / "site" / "robots.txt"
    robots.write_text(text)
    wait_for(lambda: stack.get("/robots.txt")[2] == text, within=180,
             what="the change to be served")


def test_a_change_is_built_and_served(source):
    files = ("docker-compose.yml", "deploy/dev.yml")
    with overlaid("dev", source, files, "app", 18085, PORT=18085,
                  TZ="Asia/Kathmandu") as stack:
        up(stack, files)
        number = stack.visit()
        assert "+05:45" in stack.get()[2]
        change(stack, source, "User-agent: nobody\n")
        assert stack.visit() == number + 2
        # One that does not build is told, and the last that did goes on.
        good = (source / "main.c").read_text()
        (source / "main.c").write_text(good + "this is no C\n")
        wait_for(lambda: "does not build" in log(stack, "app"), within=180,
                 what="the error to be told")
        assert stack.visit() == number + 3
        (source / "main.c").write_text(good)
        wait_for(lambda: log(stack, "app").count("built and started") == 3,
                 within=180, what="it to build again")
        assert stack.visit() == number + 4


def test_a_change_over_another_stack(source):
    """Whose database goes on meanwhile, and has the visits."""
    files = ("docker-compose.yml", "dev.yml")
    folder = source / "deploy" / "redis"
    base = folder / files[0]
    base.write_text(base.read_text().replace('"5001:', '"18086:'))
    with overlaid("dev-redis", folder, files, "web", 18086,
                  fast=["redis"]) as stack:
        up(stack, files)
        number = stack.visit()
        assert '"store":"redis"' in stack.get("/health")[2]
        change(stack, source, "User-agent: somebody\n")
        assert stack.visit() == number + 1
        check_hardened(stack, "web", "1000")


@pytest.mark.parametrize("base, overlay, service", OVERLAYS)
def test_it_goes_over_every_stack(base, overlay, service):
    """Compose takes the two files; what is mounted is this source."""
    shown = run(*COMPOSE, "-f", base, "-f", overlay, "config", cwd=REPO).stdout
    assert f"{REPO}:/src" in shown or f"source: {REPO}\n" in shown
    assert "/src/deploy/dev.sh" in shown
    assert f"  {service}:" in shown
