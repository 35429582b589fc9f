"""docker-compose 1.29 without the half second of imports before each command.

tests/docker/run starts one server, which imports the program and then forks a
process for every command, in which its main() runs as it would have. Compose v2
needs none of it.
"""

import array
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

SOCKET = "COMPOSE_SERVER"  # the variable that names it


# The server


def serve(path, program):
    """Accept commands, until it is killed."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    print("ready", flush=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os._exit(command(connection, program))
        connection.close()


def command(connection, program):
    """Take one command, run it, tell its exit status."""
    os.setsid()
    size = array.array("i").itemsize
    _, messages, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(2 * size))
    fds = array.array("i", messages[0][2][:2 * size])
    for fd, target in zip(fds, (1, 2)):
        os.dup2(fd, target)
        os.close(fd)
    with connection.makefile("r", encoding="utf-8") as file:
        told = json.loads(file.readline())
    connection.sendall(b"%d\n" % os.getpid())
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(told["env"])
    sys.argv = told["words"]
    try:
        status = program() or 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else bool(end.code)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(b"%d\n" % status)
    return int(status)


@contextlib.contextmanager
def server():
    """What has to be in the environment of those who use it."""
    with tempfile.TemporaryDirectory(prefix="visitd-compose-") as folder:
        path = str(Path(folder) / "socket")
        process = subprocess.Popen([sys.executable, "-B", __file__, path],
                                   stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, text=True)
        try:
            ready = process.stdout.readline() == "ready\n"
            yield {SOCKET: path} if ready else {}
        finally:
            process.kill()
            process.wait()


# Those who use it


def run(words, within, cwd, env):
    """As subprocess.run does with text that is captured."""
    with socket.socket(socket.AF_UNIX) as connection, \
            tempfile.TemporaryFile("w+") as out, \
            tempfile.TemporaryFile("w+") as err:
        connection.settimeout(within)
        connection.connect(os.environ[SOCKET])
        connection.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                     array.array("i", [out.fileno(),
                                                       err.fileno()]))])
        connection.sendall(json.dumps({
            "words": words, "cwd": str(cwd or os.getcwd()),
            "env": dict(env or os.environ)}).encode() + b"\n")
        with connection.makefile("r", encoding="utf-8") as answers:
            pid = int(answers.readline())
            try:
                status = int(answers.readline() or 255)
            except TimeoutError:
                os.killpg(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(words, within) from None
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read())
        return subprocess.CompletedProcess(words, status, *texts)


def main():
    from compose.cli.main import main as program
    serve(sys.argv[1], program)


if __name__ == "__main__":
    main()
