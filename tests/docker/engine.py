"""What the tests of tests/docker stand on: docker, compose, stacks.

tests/docker/run builds the images and sets the environment; everything that a
test makes is of a project of its own, whose name begins with $PROJECT.
"""

import contextlib
import fcntl
import http.client
import json
import os
import pty
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
PROJECT = os.environ.get("PROJECT", "visitd-test")
TRANSCRIPTS = os.environ.get("TRANSCRIPTS")  # a folder, for those who look


def wait_for(condition, within=90, what="a condition"):
    """Poll until the condition gives something true, and give that. Less and
    less often, since a look may be a process."""
    deadline = time.monotonic() + within
    pause = 0.03
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within} s in vain for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def run(*words, check=True, within=400, **options):
    """Run a command to its end."""
    words = [str(word) for word in words]
    done = subprocess.run(words, capture_output=True, text=True,
                          timeout=within, check=False, **options)
    if check:
        assert done.returncode == 0, (
            f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def docker(*words, **options):
    """The output of a docker command that must succeed."""
    return run("docker", *words, **options).stdout.strip()


LAST = ("app", "web", "backend", "nginx")  # services that no other waits for


def has_compose_2():
    """Whether `docker compose` is there."""
    return run("docker", "compose", "version", check=False).returncode == 0


COMPOSE = (["docker", "compose"] if has_compose_2() else ["docker-compose"])


def tree(folder):
    """A copy of what git knows of the source, to change."""
    files = run("git", "ls-files", "-z", "--cached", "--others",
                "--exclude-standard", cwd=REPO).stdout
    subprocess.run(["sh", "-c", 'tar -c --null -T - | tar -x -C "$1"', "sh",
                    folder], input=files.encode(), cwd=REPO, check=True)
    return folder


def on_terminal(words, text="", **options):
    """What a command says on a terminal of its own, given that text."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("4H", 50, 132, 0, 0))
    process = subprocess.Popen(words, stdin=its, stdout=its, stderr=its,
                               start_new_session=True, preexec_fn=lambda:
                               fcntl.ioctl(0, termios.TIOCSCTTY, 0), **options)
    os.close(its)
    os.write(ours, text.encode())
    said = b""
    while select.select([ours], [], [], 90)[0]:
        try:
            data = os.read(ours, 4096)
        except OSError:  # its other end is closed
            break
        said += data
    os.close(ours)
    assert process.wait(60) == 0, said
    return said.decode(errors="replace").replace("\r\n", "\n")


def request(port, method="GET", path="/", body=None, headers=(), within=60,
            host="127.0.0.1"):
    """One request: status, headers, text. A Connection refused is raised."""
    connection = http.client.HTTPConnection(host, port, timeout=within)
    with contextlib.closing(connection):
        connection.request(method, path, body, dict(headers))
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read().decode()


class Visitors:
    """Visitors who come and go, on connections of their own, a hundred or so
    a second: enough to meet a gap, and not all that this machine can do."""

    def __init__(self, port, people=3):
        self.port = port
        self.numbers = []
        self.failures = []
        self.gone = threading.Event()
        self.threads = [threading.Thread(target=self.visit)
                        for _ in range(people)]

    def visit(self):
        while not self.gone.wait(0.02):
            try:
                status, _, text = request(self.port)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                continue
            if status == 200:
                self.numbers.append(int(text.rsplit(" ", 1)[1]))
            else:
                self.failures.append(status)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        wait_for(lambda: len(self.numbers) > 20, what="visitors")
        return self

    def __exit__(self, *exception):
        self.leave()

    def leave(self):
        self.gone.set()
        for thread in self.threads:
            thread.join()

    def __repr__(self):
        return (f"{len(self.numbers)} answered, {len(self.failures)} failed"
                f" {self.failures[:10]}")


class Stack:
    """One compose project in a folder with a docker-compose.yml.

    `fast` names services whose health is to be asked more often, which goes
    into an override file of the tests: what is shipped stays as it is. Each
    time costs the engine 50 ms of CPU, so that those that none waits for at
    its start are asked less.
    """

    def __init__(self, name, folder, *ports, fast=(), overrides=None,
                 files=("docker-compose.yml",), **env):
        self.name = name
        self.folder = Path(folder)
        self.ports = ports
        self.port = ports[0]
        self.project = f"{PROJECT}-{name}"
        self.scratch = Path(tempfile.mkdtemp(prefix="visitd-docker-"))
        self.scratch.chmod(0o755)
        override = {"version": "3.9", "services": {
            service: {"healthcheck": {
                "interval": "6s" if service in LAST else "2s",
                "start_period": "60s"}} for service in fast}}
        for service, more in (overrides or {}).items():
            override["services"].setdefault(service, {}).update(more)
        (self.scratch / "override.yml").write_text(json.dumps(override))
        self.env = {**os.environ, "COMPOSE_PROJECT_NAME": self.project,
                    "COMPOSE_HTTP_TIMEOUT": "200",
                    "COMPOSE_FILE": os.pathsep.join(
                        [*files, str(self.scratch / "override.yml")]),
                    **{key: str(value) for key, value in env.items()}}

    def __enter__(self):
        for port in self.ports:
            wait_for(lambda port=port: is_free(port),
                     what=f"port {port}, which another program has")
        return self

    def __exit__(self, kind, *exception):
        if kind:
            print(self.run("docker compose logs --no-color --tail 50",
                           check=False).stdout)
        self.remove()
        shutil.rmtree(self.scratch)

    def remove(self):
        """All that it has made: as down -v, with an engine's own commands."""
        mine = ("--filter", f"label=com.docker.compose.project={self.project}")
        for listed, removal in (
                (("ps", "-aq"), ("rm", "-f", "-v")),
                (("network", "ls", "-q"), ("network", "rm")),
                (("volume", "ls", "-q"), ("volume", "rm"))):
            found = run("docker", *listed, *mine, check=False).stdout.split()
            if found:
                run("docker", *removal, *found, check=False)

    # Commands

    def words(self, command):
        """A command as it is documented: with the compose that there is."""
        words = (command if isinstance(command, list)
                 else shlex.split(command))
        if words[:2] == ["docker", "compose"]:
            return COMPOSE + words[2:]
        if words[0] == "docker-compose":
            return COMPOSE + words[1:]
        return words

    def run(self, command, **options):
        """Run a documented command in the stack's folder, with a transcript
        for those who look. An engine may take the end of a container's wire
        away a moment after the container, and refuses to remove the network
        until then: the same command again is what it asks for."""
        words, check = self.words(command), options.pop("check", True)

        def attempt():
            done = run(*words, cwd=self.folder, env=self.env, check=False,
                       **options)
            self.note(command, done.stdout + done.stderr)
            return (None if "has active endpoints" in done.stderr else done)

        done = wait_for(attempt, what=f"the end of {command}")
        assert done.returncode == 0 or not check, (
            f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def on_terminal(self, command, text=""):
        """Run a documented command as somebody does who sits before it."""
        said = on_terminal(self.words(command), text, cwd=self.folder,
                           env=self.env)
        self.note(command, said)
        return said

    def note(self, command, output):
        if TRANSCRIPTS:
            shown = (command if isinstance(command, str)
                     else " ".join(command))
            with open(Path(TRANSCRIPTS) / f"{self.name}.txt", "a",
                      encoding="utf-8") as file:
                file.write(f"$ {shown}\n{output}\n")

    def out(self, command, **options):
        """The output of a command that must succeed."""
        return self.run(command, **options).stdout

    @contextlib.contextmanager
    def attached(self, command):
        """A command that stays in the foreground until it gets a SIGINT."""
        with open(self.scratch / "attached", "w+") as log:
            process = subprocess.Popen(
                self.words(command), cwd=self.folder, env=self.env,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
            try:
                yield process
                process.send_signal(2)
                process.wait(60)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
                log.seek(0)
                self.note(command + "    # until ctrl-C", log.read())

    # Containers

    def containers(self, service):
        """The ids of a service's containers."""
        return docker("ps", "-aq", "--no-trunc",
                      "--filter", f"label=com.docker.compose.project={self.project}",
                      "--filter", f"label=com.docker.compose.service={service}"
                      ).split()

    def container(self, service):
        """The id of a service's only container."""
        found = self.containers(service)
        assert len(found) == 1, f"{service}: {found}"
        return found[0]

    def inspect(self, service):
        return inspect(self.container(service))

    def wait_healthy(self, *services):
        """Wait until all containers of these services are healthy."""
        for service in services:
            def healthy(service=service):
                states = [inspect(id)["State"] for id in
                          self.containers(service)]
                return states and all(
                    state.get("Health", {}).get("Status") == "healthy"
                    for state in states)
            wait_for(healthy, what=f"{service} to be healthy")

    def kill_9(self, service):
        """Kill the service's first process, as the kernel would; wait until
        the engine has started it again."""
        before = self.inspect(service)
        os.kill(before["State"]["Pid"], signal.SIGKILL)

        def again():
            state = self.inspect(service)["State"]
            return (state["Running"]
                    and state["StartedAt"] != before["State"]["StartedAt"])
        wait_for(again, what=f"{service} to be started again")

    def inside(self, service, *words, **options):
        """Run something in a service's container."""
        return run("docker", "exec", self.container(service), *words,
                   **options)

    # Visits

    def get(self, path="/", **options):
        """A GET, repeated while nobody listens yet."""
        def answer():
            try:
                return request(self.port, path=path, **options)
            except (OSError, http.client.HTTPException):
                return None
        return wait_for(answer, what=f"port {self.port}")

    def visit(self):
        """Count one; its number. A 503 of a store that comes is waited for."""
        def counted():
            status, _, text = self.get()
            return status == 200 and text
        return int(wait_for(counted, what="a visit").rsplit(" ", 1)[1])

    def total(self):
        status, _, text = self.get("/visits")
        assert status == 200, text
        return int(text)


def inspect(container):
    return json.loads(docker("inspect", container))[0]


def check_down(stack, compose="docker compose", **env):
    """down keeps the visits, down -v forgets them, with the volumes; what
    comes after that may have another environment."""
    number = stack.visit()
    stack.run(f"{compose} down")
    stack.run(f"{compose} up -d")
    assert stack.visit() == number + 1
    stack.run(f"{compose} down -v")
    assert not docker("volume", "ls", "-q", "--filter",
                      f"name={stack.project}_")
    stack.env.update(env)
    stack.run(f"{compose} up -d")
    assert stack.visit() == 1


def check_hardened(stack, service, user):
    """What every service of every stack promises, seen from outside and from
    inside."""
    found = stack.inspect(service)
    host = found["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"] and not host["CapAdd"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] > 0 and host["PidsLimit"] > 0
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    assert not host["Privileged"]
    status = stack.inside(service, "cat", "/proc/1/status").stdout
    facts = dict(line.split(":\t", 1) for line in status.splitlines())
    assert user in facts["Uid"].split() and "0" not in facts["Uid"].split()
    for kind in ("CapPrm", "CapEff", "CapBnd"):
        assert int(facts[kind], 16) == 0, kind
    assert facts["NoNewPrivs"] == "1"
    done = stack.inside(service, "touch", "/usr/local/x", check=False)
    assert done.returncode != 0 and "Read-only" in done.stderr
