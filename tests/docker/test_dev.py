"""Live development: a change in the source is built and restarted."""

import subprocess

import pytest

from engine import COMPOSE, PROJECT, REPO, Stack, run, wait_for

OVERLAYS = [("docker-compose.yml", "deploy/dev.yml", "app")] + [
    (f"deploy/{name}/docker-compose.yml", f"deploy/{name}/dev.yml", service)
    for name, service in (("redis", "web"), ("postgres", "web"),
                          ("items", "backend"), ("nginx", "app"))]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the source, to change."""
    folder = tmp_path_factory.mktemp("tree")
    files = run("git", "ls-files", "-z", "--cached", "--others",
                "--exclude-standard", cwd=REPO).stdout
    subprocess.run(f"tar -c --null -T - | tar -x -C {folder}", shell=True,
                   input=files.encode(), cwd=REPO, check=True)
    for path in (folder, *folder.parents):
        if str(path).count("/") > 1:
            path.chmod(0o755)
    return folder


def log(stack):
    done = run("docker", "logs", stack.container("app"))
    return done.stdout + done.stderr


def test_a_change_is_built_and_served(tree):
    image = f"{PROJECT}:dev"
    with Stack("dev", tree, 18085, PORT=18085,
               files=("docker-compose.yml", "deploy/dev.yml"),
               overrides={"app": {"image": image}}) as stack:
        stack.run("docker compose -f docker-compose.yml -f deploy/dev.yml -f "
                  f"{stack.scratch}/override.yml up -d --build")
        number = stack.visit()
        robots = tree / "site" / "robots.txt"
        robots.write_text("User-agent: nobody\n")
        wait_for(lambda: stack.get("/robots.txt")[2] == robots.read_text(),
                 what="the change to be served")
        assert stack.visit() == number + 1
        # One that does not build is told, and the last that did goes on.
        good = (tree / "main.c").read_text()
        (tree / "main.c").write_text(good + "this is no C\n")
        wait_for(lambda: "does not build" in log(stack),
                 what="the error to be told")
        assert stack.visit() == number + 2
        (tree / "main.c").write_text(good)
        wait_for(lambda: log(stack).count("built and started") == 3,
                 what="it to build again")
        assert stack.visit() == number + 3


@pytest.mark.parametrize("base, overlay, service", OVERLAYS)
def test_it_goes_over_every_stack(base, overlay, service):
    """Compose takes the two files; what is mounted is this source."""
    shown = run(*COMPOSE, "-f", base, "-f", overlay, "config", cwd=REPO).stdout
    assert f"{REPO}:/src" in shown or f"source: {REPO}\n" in shown
    assert "/src/deploy/dev.sh" in shown
    assert f"  {service}:" in shown
