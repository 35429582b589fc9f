"""What can be told of the files without an engine; command lines of deploy.sh
for Compose v2 and buildx, held by a `docker` that records them."""

import re
import subprocess

import pytest
import yaml

from engine import REPO

STACKS = {"default": REPO / "docker-compose.yml",
          **{name: REPO / "deploy" / name / "docker-compose.yml"
             for name in ("redis", "postgres", "items", "nginx")}}
COMPOSE = {name: yaml.safe_load(file.read_text())
           for name, file in STACKS.items()}
VERSION = (REPO / "VERSION").read_text().strip()


# The Dockerfile, by the rules of hadolint


def instructions():
    """(instruction, words, the line above) of the Dockerfile."""
    text = (REPO / "Dockerfile").read_text().replace("\\\n", " ")
    lines = text.splitlines()
    return [(line.split()[0], line.split(None, 1)[1],
             lines[i - 1] if i else "")
            for i, line in enumerate(lines)
            if line and not line.startswith(("#", " ", "\t"))]


def test_dockerfile_rules():
    stages = [re.split(r" AS ", words)[-1] for name, words, _ in instructions()
              if name == "FROM" and " AS " in words]
    for name, words, above in instructions():
        assert name.isupper() and name not in ("ADD", "MAINTAINER"), name
        if name == "FROM":  # DL3006, DL3007: pinned, and not to latest
            base = words.split(" AS ")[0]
            assert base in (*stages, "scratch", "alpine:${ALPINE}"), base
        if name == "WORKDIR":  # DL3000
            assert words.startswith("/")
        if name in ("CMD", "ENTRYPOINT"):  # DL3025
            assert words.startswith("[")
        if name == "RUN":
            assert "sudo" not in words and "cd " not in words  # DL3004, 3003
            if "apk add" in words:  # DL3019, DL3018
                assert "--no-cache" in words
                assert above == "# hadolint ignore=DL3018"
            assert " | " not in words  # DL4006
        for source in re.findall(r"--from=(\S+)", words):
            assert source in stages  # DL3022
    last = [name for name, _, _ in instructions()]
    last = last[len(last) - last[::-1].index("FROM"):]
    for once in ("USER", "HEALTHCHECK", "EXPOSE", "VOLUME", "STOPSIGNAL",
                 "LABEL", "WORKDIR", "ENTRYPOINT"):
        assert last.count(once) == 1, once  # DL3002, DL3012 ...
    assert ("ARG", "ALPINE=3.22") in [(n, w) for n, w, _ in instructions()]


def test_versions_are_one():
    """The number that stands in several files is that of VERSION."""
    assert ("ARG", f"VERSION={VERSION}") in [(n, w) for n, w, _ in
                                             instructions()]
    args = COMPOSE["default"]["services"]["app"]["build"]["args"]
    assert args["VERSION"] == f"${{VERSION:-{VERSION}}}"
    for file in (REPO / "deploy" / "kubernetes").glob("*.yaml"):
        for tag in re.findall(r"visitd(?:-redis)?:(\S+)", file.read_text()):
            assert tag == VERSION


# The compose files


@pytest.mark.parametrize("name", COMPOSE)
def test_every_service_is_hardened(name):
    for service, what in COMPOSE[name]["services"].items():
        assert what["read_only"] is True, service
        assert what["cap_drop"] == ["ALL"] and "cap_add" not in what
        assert what["security_opt"] == ["no-new-privileges:true"]
        assert what["restart"] == "unless-stopped"
        assert what["mem_limit"] and what["pids_limit"]
        assert what["logging"]["options"]["max-size"] == "10m"
        assert "latest" not in what["image"].replace("visitd:latest", "")
        assert "privileged" not in what


def test_databases_get_the_time_to_end():
    for name in ("postgres", "items"):
        for service, what in COMPOSE[name]["services"].items():
            if what["image"].startswith("postgres:"):
                assert what["stop_grace_period"] == "1m", service


def test_the_limits_hold_on_a_large_machine():
    """visitd has a worker a core, and its health check is a process more;
    nginx may not have: 128 of its workers are more than mem_limit."""
    for what in COMPOSE.values():
        for service in what["services"].values():
            if "build" in service:
                assert service["pids_limit"] >= 512
    text = (REPO / "deploy" / "nginx" / "nginx.conf").read_text()
    workers = re.search(r"^worker_processes (\d+);", text, re.M)
    limits = COMPOSE["nginx"]["services"]["nginx"]
    assert int(workers.group(1)) * 2 < limits["pids_limit"]


def test_templates_are_on_one_line():
    """Engines older than 20.10.8 end a template's action at a newline."""
    for file in (REPO / "deploy.sh", REPO / "deploy" / "nginx" / "scale.sh"):
        for action in re.findall(r"\{\{.*?\}\}", file.read_text(), re.S):
            assert "\n" not in action, action


def test_names_and_ports_are_those_of_the_systems():
    services = {name: set(what["services"]) for name, what in COMPOSE.items()}
    assert services == {"default": {"app"}, "redis": {"web", "redis"},
                        "postgres": {"web", "db", "cache"},
                        "items": {"backend", "postgres", "redis"},
                        "nginx": {"app", "redis", "nginx"}}
    ports = {name: [port for service in what["services"].values()
                    for port in service.get("ports", [])]
             for name, what in COMPOSE.items()}
    assert ports == {"default": ["${PORT:-8080}:8080"],
                     "redis": ["5001:5001"], "postgres": ["8000:8000"],
                     "items": ["5000:5000", "127.0.0.1:5432:5432",
                               "127.0.0.1:6379:6379"],
                     "nginx": ["80:80"]}
    default = COMPOSE["default"]
    app = default["services"]["app"]
    assert app["image"] == "${IMAGE:-visitd:latest}"
    assert app["networks"]["default"]["aliases"] == ["app_python"]
    assert list(default["volumes"]) == ["python_app_visits"]
    backend = COMPOSE["items"]["services"]["backend"]["environment"]
    assert {key: str(backend[key]) for key in backend if key[:2] in
            ("DB", "RE")} == {
        "DB_HOST": "postgres", "DB_PORT": "5432", "DB_NAME": "appdb",
        "DB_USER": "appuser", "DB_PASSWORD": "${DB_PASSWORD:-secret}",
        "REDIS_HOST": "redis", "REDIS_PORT": "6379"}
    assert (COMPOSE["nginx"]["services"]["app"]["env_file"]
            == "../../config/${ENV:-dev}/.env")


def test_no_secret_is_in_the_settings():
    for env in ("dev", "prod"):
        text = (REPO / "config" / env / ".env").read_text()
        for line in text.splitlines():
            assert not re.match(r"\w*(PASSWORD|TOKEN|SECRET)\w*=", line), line
        ignored = (REPO / "config" / env / "secrets" / ".gitignore")
        assert ignored.read_text().splitlines()[0] == "*"
    assert "LOG_LEVEL=debug" in (REPO / "config/dev/.env").read_text()
    assert "LOG_LEVEL=debug" not in (REPO / "config/prod/.env").read_text()


# Kubernetes and the workflow


def documents():
    for file in sorted((REPO / "deploy" / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            yield file.stem, document


def test_kubernetes_pods_are_hardened_and_probed():
    seen = []
    for file, document in documents():
        if document["kind"] not in ("Deployment", "StatefulSet"):
            continue
        spec = document["spec"]["template"]["spec"]
        assert (document["spec"]["selector"]["matchLabels"] ==
                document["spec"]["template"]["metadata"]["labels"])
        assert spec["enableServiceLinks"] is False  # REDIS_PORT=tcp://...
        if document["kind"] == "Deployment" and document["spec"]["replicas"] > 1:
            assert spec["containers"][0]["lifecycle"]["preStop"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {
            "type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]}}
            assert {"readinessProbe", "livenessProbe", "resources"} <= set(
                container)
            names = [port["name"] for port in container["ports"]]
            for probe in ("readinessProbe", "livenessProbe"):
                get = container[probe].get("httpGet", {})
                assert get.get("port", names[0]) in names
        seen.append((file, document["kind"], document["spec"]["replicas"]))
    assert seen == [("file", "Deployment", 1), ("redis", "Deployment", 3),
                    ("redis", "StatefulSet", 1)]


def test_kubernetes_services_find_their_pods():
    for file in ("file", "redis"):
        mine = [document for name, document in documents() if name == file]
        pods = [document["spec"]["template"]["metadata"]["labels"]
                for document in mine
                if document["kind"] in ("Deployment", "StatefulSet")]
        for document in mine:
            if document["kind"] == "Service":
                assert document["spec"]["selector"] in pods


def test_the_workflow():
    text = (REPO / ".github" / "workflows" / "ci.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    assert {"run": "make test"} in jobs["test"]["steps"]
    image = jobs["image"]
    assert image["needs"] == "test"
    build = image["steps"][-1]
    assert build["uses"].startswith("docker/build-push-action@")
    assert build["with"]["platforms"] == "linux/amd64,linux/arm64"
    assert build["with"]["push"] == "${{ github.ref_type == 'tag' }}"
    # What others write (the name of a branch) is never pasted into a script.
    for job in jobs.values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")
            assert re.fullmatch(r"[\w/.-]+@v\d+", step.get("uses", "a@v1"))


# deploy.sh


SHIM = """\
#!/bin/sh
echo "docker $*" >>"$RECORD"
case "$1 ${2-}" in
"compose version") [ -n "${COMPOSE_2-}" ] ;;
"buildx version") [ -n "${BUILDX-}" ] ;;
"buildx inspect") false ;;
"info ") [ -z "${NO_ENGINE-}" ] ;;
"image inspect")
	case $4 in
	*RepoTags*) echo "you/visitd:latest you/visitd:0.0.9 other/visitd:1" ;;
	*) echo sha256:old ;;
	esac ;;
"ps -aq") echo "c1 c2 c3 c4 c5" ;;
"inspect -f")
	case $4 in
	c1) echo "false you/visitd:latest sha256:old" ;;
	c2) echo "false redis:7-alpine sha256:redis" ;;
	c3) echo "true sha256:old sha256:old" ;;
	c4) echo "false other/you/visitd:latest sha256:other" ;;
	c5) echo "false you/visitd sha256:older" ;;
	esac ;;
"inspect c"*) ! grep -q "^docker stop .*$2" "$RECORD" ;;
"build --force-rm") [ -z "${BUILD_FAILS-}" ] ;;
esac
"""


@pytest.fixture
def deploy(tmp_path):
    """Runs deploy.sh with a docker that does nothing: the process, and the
    commands that change something."""
    for name, text in (("docker", SHIM), ("docker-compose", SHIM.replace(
            "docker $*", "docker-compose $*"))):
        file = tmp_path / name
        file.write_text(text)
        file.chmod(0o755)
    record = tmp_path / "record"

    def run(*options, **env):
        record.write_text("")
        done = subprocess.run(
            [REPO / "deploy.sh", *options], capture_output=True, text=True,
            check=False, cwd=tmp_path, env={
                "PATH": f"{tmp_path}:/usr/bin:/bin", "RECORD": str(record),
                "IMAGE": "you/visitd:latest", "HOME": str(tmp_path), **env})
        looks = (" info", " version", " image inspect", " ps ", " inspect")
        return done, [line for line in record.read_text().splitlines()
                      if not any(look in line for look in looks)]
    return run


def commit():
    def git(*words):
        return subprocess.run(["git", *words], cwd=REPO, check=True,
                              capture_output=True, text=True).stdout.strip()
    found = git("rev-parse", "--short=12", "HEAD")
    return found + ("-dirty" if git("status", "--porcelain") else "")


def build_words():
    return (f"--build-arg VERSION={VERSION} --build-arg COMMIT={commit()} "
            "{}--tag you/visitd:latest "
            f"--tag you/visitd:{VERSION} --tag you/visitd:{VERSION}-{commit()}")


def test_deploy_with_compose_2_and_buildx(deploy):
    done, commands = deploy(COMPOSE_2="1", BUILDX="1")
    assert done.returncode == 0, done.stderr
    assert commands == [
        "docker stop c1 c3 c5", "docker rm c1 c5",
        "docker rmi you/visitd:latest", "docker rmi you/visitd:0.0.9",
        f"docker buildx build {build_words().format('')} --load .",
        "docker push you/visitd:latest", f"docker push you/visitd:{VERSION}",
        f"docker push you/visitd:{VERSION}-{commit()}",
        "docker compose -f docker-compose.yml up -d --build",
        "docker compose -f docker-compose.yml exec -T app "
        "/usr/local/bin/visitd health"]


def test_deploy_for_several_platforms(deploy):
    platforms = "linux/amd64,linux/arm64"
    done, commands = deploy("--platform", platforms, COMPOSE_2="1", BUILDX="1")
    assert done.returncode == 0, done.stderr
    words = build_words().format(f"--platform {platforms} ")
    assert commands[4:6] == [
        "docker buildx create --name visitd --driver docker-container",
        f"docker buildx build --builder visitd {words} --push ."]
    assert not [line for line in commands if line.startswith("docker push")]


def test_deploy_without_buildx_and_compose_2(deploy):
    done, commands = deploy("--no-push", "--platform=linux/amd64")
    assert done.returncode == 0, done.stderr
    words = build_words().format("--platform linux/amd64 ")
    assert commands[4:6] == [
        f"docker build --force-rm {words} .",
        "docker-compose -f docker-compose.yml up -d --build"]


def test_deploy_dry_run_changes_nothing(deploy):
    done, commands = deploy("--dry-run", COMPOSE_2="1", BUILDX="1")
    assert done.returncode == 0 and commands == []
    shown = [line for line in done.stdout.splitlines() if line[:1] == "+"]
    assert shown[0] == "+ docker stop c1 c3 c5" and len(shown) == 9
    assert "volume" not in " ".join(shown)


@pytest.mark.parametrize("options, env, advice", [
    ((), {"IMAGE": "visitd:latest"}, "--no-push"),
    ((), {"NO_ENGINE": "1"}, "start it"),
    ((), {"IMAGE": "you/visitd@sha256:00"}, "digest"),
    (("--no-push",), {"IMAGE": "my visitd:latest"}, "takes letters"),
    (("--no-push",), {"IMAGE": "-visitd"}, "takes letters"),
    (("--no-push",), {"IMAGE": "you/*"}, "takes letters"),
    (("--platform", "linux/amd64,linux/arm64"), {}, "docker buildx"),
    (("--platform", "linux/amd64,linux/arm64", "--no-push"),
     {"BUILDX": "1"}, "--no-push"),
])
def test_deploy_finds_what_is_wrong_before_it_removes(deploy, options, env,
                                                      advice):
    done, commands = deploy(*options, **env)
    assert done.returncode == 1 and advice in done.stderr
    assert commands == []


def test_deploy_ends_with_the_first_error(deploy):
    done, commands = deploy(BUILD_FAILS="1")
    assert done.returncode == 1 and "mend what it says" in done.stderr
    assert commands[-1].startswith("docker build ")


def test_deploy_help_and_usage(deploy):
    done, commands = deploy("--help")
    assert done.returncode == 0 and commands == []
    for word in ("--dry-run", "--no-push", "--platform", "--help", "IMAGE"):
        assert word in done.stdout
    done, commands = deploy("--frobnicate")
    assert done.returncode == 100 and commands == []
