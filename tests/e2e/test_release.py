"""deploy.sh and the Dockerfile, as far as that needs no engine (tests/docker
tries them on one)."""

import re
import shutil
import subprocess

import pytest

from visitd import REPO

pytestmark = pytest.mark.store("file")

TOOLS = ("cat", "dirname", "env", "git", "sh")
LOOKS = {"info", "compose version", "buildx version",
         "buildx inspect visitd"}  # what a dry run may ask docker


@pytest.fixture(name="deploy")
def deploy_script(scratch):
    """Runs deploy.sh where there are these tools, docker among them or not:
    one that no engine answers. Gives the outcome, and what docker was asked."""
    def run(*options, tools=(), **env):
        folder = scratch / "bin"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for tool in TOOLS:
            (folder / tool).symlink_to(shutil.which(tool))
        calls = scratch / "calls"
        calls.write_text("")
        for tool in tools:
            (folder / tool).write_text(
                f'#!/bin/sh\necho "$@" >>{calls}\nexit 1\n')
            (folder / tool).chmod(0o755)
        done = subprocess.run(
            [REPO / "deploy.sh", *options], check=False, text=True,
            env={"PATH": str(folder), **env}, capture_output=True)
        return done, set(calls.read_text().splitlines())
    return run


@pytest.mark.parametrize("tools,lacks", [
    ((), "there is no docker"), (("docker",), "the engine does not answer"),
    (("docker", "docker-compose"), "the engine does not answer")])
def test_a_dry_run_needs_no_engine(deploy, tools, lacks):
    done, calls = deploy("--dry-run", IMAGE="you/visitd", tools=tools)
    assert done.returncode == 0 and done.stderr == "", done
    assert calls <= LOOKS
    assert lacks in done.stdout
    commands = re.findall(r"^\+ (docker[- ]\w+)", done.stdout, re.M)
    compose = "docker-compose" if len(tools) == 2 else "docker compose"
    assert commands == ["docker build", *["docker push"] * 3, compose]
    assert "--tag you/visitd:latest" in done.stdout


def test_a_dry_run_for_several_platforms_needs_no_engine(deploy):
    done, calls = deploy("--dry-run", "--platform=linux/amd64,linux/arm64",
                         IMAGE="you/visitd", tools=("docker",))
    assert done.returncode == 0 and done.stderr == "", done
    assert calls <= LOOKS
    commands = re.findall(r"^\+ (docker \S+ \S+)", done.stdout, re.M)
    assert commands == ["docker buildx create", "docker buildx build",
                        "docker compose -f"]


@pytest.mark.parametrize("options", [(), ("--no-push",)])
@pytest.mark.parametrize("tools", [(), ("docker",)])
def test_a_release_without_an_engine_ends_at_once(deploy, tools, options):
    done, calls = deploy(*options, IMAGE="you/visitd", tools=tools)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 2, done
    assert "+ " not in done.stdout
    assert calls <= LOOKS


def test_group_0_may_write_in_every_image():
    """OpenShift runs an image as any user of group 0."""
    text = re.sub(r"\\\n\s*", "", (REPO / "Dockerfile").read_text())
    stages = dict(re.findall(r"^FROM \S+ AS (\w+)\n(.*?)(?=^FROM|\Z)", text,
                             re.M | re.S))
    assert {"system", "folders", "scratch", "dev"} <= set(stages)
    assert "mkdir -p /app /data && chown 1000:0 /app /data && " \
        "chmod 775 /app /data\n" in stages["system"]
    # A COPY of a folder keeps the modes of what is in it, and not its own.
    assert "cp -a /app /data /folders/\n" in stages["folders"]
    assert "COPY --from=folders --chown=1000:0 /folders/ /\n" in (
        stages["scratch"])
    assert "chown 1000:0 /data && chmod 775 /data\n" in stages["dev"]
    owners = re.findall(r"(?:chown |--chown=)(\S+)", text)
    assert set(owners) == {"1000:0"}
    assert text.count("USER myuser") == 2


def test_the_readme_names_user_and_volume_of_the_image():
    """The line that gives a volume of root to visitd works as it stands."""
    (user,) = set(re.findall(r"adduser -D -u (\d+) myuser",
                             (REPO / "Dockerfile").read_text()))
    volume = re.search(r"^volumes:\n  (\w+):",
                       (REPO / "docker-compose.yml").read_text(), re.M)[1]
    assert f"- {volume}:/data\n" in (REPO / "docker-compose.yml").read_text()
    assert ("    docker run --rm --user 0 --entrypoint chown -v"
            f" visitd_{volume}:/data visitd -R {user}:{user} /data\n"
            ) in (REPO / "README.md").read_text()


def test_a_dry_run_says_what_no_engine_would_change(deploy):
    """Mistakes of who calls it are none that a release would get over."""
    for options, fault in (((), "names no registry"), (("--what",), "unknown"),
                           (("--no-push", "--platform=a,b"), "only be pushed")):
        done, _ = deploy("--dry-run", *options, tools=("docker",))
        assert done.returncode in (1, 100)
        assert fault in done.stderr
