"""The image by itself: what is in it, what it says, how it is built."""

import os
import re
from pathlib import Path

import pytest

from engine import PROJECT, REPO, docker, inspect, run, tree, wait_for


def test_image():
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


def test_smallest():
    """The target scratch: nothing but visitd, which counts and is healthy."""
    name = PROJECT + "-scratch"
    image = PROJECT + ":scratch"
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


@pytest.mark.parametrize("target", ["scratch", None])
def test_any_user_of_group_0_may_count(target):
    """As OpenShift runs it: a user that no image knows, with group 0."""
    image, name = os.environ["IMAGE"], f"{PROJECT}-openshift-{target}"
    if target:
        image = f"{PROJECT}:{target}"
        run("docker", "build", "-q", "-t", image, "--target", target, REPO)
    run("docker", "run", "-d", "--name", name, "--user", "12345:0",
        "--cap-drop", "ALL", "--read-only", image)
    try:
        def healthy():
            return run("docker", "exec", name, "/usr/local/bin/visitd",
                       "health", check=False).returncode == 0
        wait_for(healthy, what="health")
        run("docker", "exec", name, "/usr/local/bin/visitd", "set", "a", "7")
        assert docker("exec", name, "/usr/local/bin/visitd", "get", "a") == "7"
        for folder in ("data", "app"):
            entry = run("sh", "-c", f"docker export {name} | tar -tv {folder}/"
                        " --no-recursion --numeric-owner").stdout
            assert re.match(r"drwxrwxr-x 1000/0 ", entry), entry
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
    assert "1000:1000 /data," in done.stderr and "user" in done.stderr
    # What it says, done: both ways.
    name = PROJECT + "-bind"
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


def test_a_volume_of_root_is_mended_by_what_is_said():
    """It holds files, and the service may not chown them."""
    image, volume = os.environ["IMAGE"], PROJECT + "-rights"
    mount = ["-v", volume + ":/data"]
    docker("run", "--rm", "--user", "0", "--entrypoint", "sh", *mount, image,
           "-c", "echo 41 >/data/visits && chown -R 0:0 /data")
    try:
        done = run("docker", "run", "--rm", "--cap-drop", "ALL", *mount, image,
                   check=False)
        assert done.returncode == 111
        words = re.search(r"on the host, (docker run .*), or run", done.stderr)
        run(*words[1].replace("VOLUME", volume).replace("IMAGE", image).split())
        run("docker", "run", "--rm", "--cap-drop", "ALL", *mount, image, "set",
            "a", "7")
        assert docker("run", "--rm", "--cap-drop", "ALL", *mount, image,
                      "get") == "41"
    finally:
        docker("volume", "rm", "-f", volume)


def test_a_volume_that_is_not_counted_on_is_a_warning(tmp_path):
    """Mounted beside /data, it is not where the count is."""
    image, name = os.environ["IMAGE"], PROJECT + "-stray"
    tmp_path.chmod(0o777)
    for options, is_warned in ((["-v", f"{tmp_path}:/app/visits"], True),
                               (["-v", f"{tmp_path}:/app/visits", "-v",
                                 f"{name}:/data"], False), ([], False)):
        docker("run", "-d", "--name", name, *options, image)
        try:
            def log():
                done = run("docker", "logs", name)
                return "serving on" in done.stderr and done.stderr
            text = wait_for(log, what="the start")
            assert "file /data/visits, no number yet: begins at 0" in text
            assert ("volume without a name" in text) == is_warned
            assert ("/app/visits is mounted" in text) == is_warned
        finally:
            run("docker", "rm", "-f", "-v", name)
            run("docker", "volume", "rm", "-f", name)


def test_zones():
    image = os.environ["IMAGE"]
    done = run("docker", "run", "--rm", "-e", "TZ=Europe/Nowhere", image,
               check=False)
    assert done.returncode == 102 and "TZ=Europe/Nowhere" in done.stderr
    name = PROJECT + "-zone"
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
    """What git knows builds, to the very same program; a file of no concern
    makes the builder do it again."""
    (tree(tmp_path) / "util" / "unconcerned").touch()
    image = f"{PROJECT}:again"
    run("docker", "build", "-q", "--target", "build", "-t", image, tmp_path)
    made, sums = zip(*[(inspect(one)["Created"], docker(
        "run", "--rm", "--entrypoint", "sha256sum", one,
        "/usr/local/bin/visitd")) for one in (image, os.environ["IMAGE"])])
    assert len(set(made)) == 2 and len(set(sums)) == 1, sums


def test_the_context_is_the_sources_alone():
    ignored = (REPO / ".dockerignore").read_text().splitlines()
    assert "*" in ignored and "!tests" not in ignored
    assert not any(Path(line[1:]).name.startswith(".")
                   for line in ignored if line.startswith("!"))
