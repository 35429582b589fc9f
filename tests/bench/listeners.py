#!/usr/bin/python3
"""One shared listener, one a worker, or a shared one with a rule?

Builds listeners.c and prints a table of every mode against

  a  how 128 keep-alive connections of wrk spread over 2 and 4 workers, and
     the throughput; a turn with and without an fdatasync
  i  how 128 connections that come one by one to idle workers spread
  b  200 connections made, and kept, while one of the workers is stuck for a
     second: how long until each has its answer
  c  the same while a worker is killed with -9 and replaced after 100 ms
  d  a connection a request: CPU a connection, and the spread

Every case is run in turns over all modes, ROUNDS times.
"""

import argparse
import os
import re
import selectors
import signal
import socket
import statistics
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.environ.get("BENCH_OUT", os.path.join(HERE, "../../build/bench"))
PORT = 8099
TICK = os.sysconf("SC_CLK_TCK")

MODES = {
    "shared K=1": ["-m", "shared", "-k", "1"],
    "shared K=4": ["-m", "shared", "-k", "4"],
    "shared K=64": ["-m", "shared", "-k", "64"],
    "reuseport": ["-m", "reuseport", "-k", "64"],
    "rotate K=1": ["-m", "rotate", "-k", "1"],
    "rotate K=4": ["-m", "rotate", "-k", "4"],
    "rotate K=8": ["-m", "rotate", "-k", "8"],
    "rotate K=16": ["-m", "rotate", "-k", "16"],
    "rotate K=64": ["-m", "rotate", "-k", "64"],
    "bound K=64": ["-m", "bound", "-k", "64"],
    "bound K=64 slack 0": ["-m", "bound", "-k", "64", "-s", "0"],
    "pause 2ms": ["-m", "pause"],
    "pause 0.2ms": ["-m", "pause", "-P", "200"],
    "share 1ms": ["-m", "share", "-P", "1000"],
    "share 0.2ms": ["-m", "share", "-P", "200"],
    "share 0.2ms s=16": ["-m", "share", "-P", "200", "-s", "16"],
    "share 0.2ms K=16": ["-m", "share", "-P", "200", "-k", "16"],
}


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")")[-1].split()[0] not in "ZX"
    except OSError:
        return False


class Server:
    def __init__(self, args, workers, sync):
        cmd = [os.path.join(OUT, "listeners"), "-p", str(PORT),
               "-w", str(workers)] + args
        if sync:
            cmd += ["-f", os.path.join(OUT, "scratch")]
        self.proc = subprocess.Popen(cmd, stdout=subprocess.PIPE, text=True)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", PORT), 1).close()
                break
            except OSError:
                time.sleep(0.01)
        time.sleep(0.1)

    def stats(self):
        """A (pid, connections, accepted, requests, turns) a worker."""
        self.proc.send_signal(signal.SIGUSR1)
        rows = []
        while (line := self.proc.stdout.readline()) not in (".\n", ""):
            rows.append(tuple(map(int, line.split())))
        return rows

    def cpu(self):
        pids = [row[0] for row in self.stats()] + [self.proc.pid]
        total = 0
        for pid in pids:
            with open(f"/proc/{pid}/stat") as f:
                total += sum(map(int, f.read().rsplit(")")[-1].split()[11:13]))
        return total / TICK

    def stop(self):
        pids = [row[0] for row in self.stats()]
        self.proc.kill()
        self.proc.wait()
        for pid in pids:                # they die with the master
            while alive(pid):
                time.sleep(0.005)


def wrk(seconds, connections, *more):
    out = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", *more,
         f"http://127.0.0.1:{PORT}/"],
        capture_output=True, text=True, check=True).stdout
    done = int(re.search(r"(\d+) requests in", out).group(1))
    errors = sum(map(int, re.findall(
        r"(?:connect|read|write|timeout) (\d+)", out)))
    return done, errors


def spread(server, seconds):
    """What each worker holds while wrk runs, and wrk's requests a second."""
    run = subprocess.Popen(
        ["wrk", "-t1", "-c128", f"-d{seconds}", f"http://127.0.0.1:{PORT}/"],
        stdout=subprocess.PIPE, text=True)
    time.sleep(seconds * 0.6)
    held = sorted(row[1] for row in server.stats())
    out = run.communicate()[0]
    return held, float(re.search(r"Requests/sec: +([\d.]+)", out).group(1))


def one_by_one(server, n=128):
    conns = []
    for _ in range(n):
        s = socket.create_connection(("127.0.0.1", PORT))
        s.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        s.recv(4096)
        conns.append(s)
        time.sleep(0.001)
    held = sorted(row[1] for row in server.stats())
    for s in conns:
        s.close()
    time.sleep(0.02)
    return held


def arrivals(before, n=200, gap=0.0045):
    """n connections, kept open, one every gap: ms to each one's answer."""
    before()
    sel = selectors.DefaultSelector()
    start, delays, failures, conns = {}, [], 0, []
    began = time.monotonic()
    while len(delays) + failures < n:
        now = time.monotonic()
        if len(conns) < n and now >= began + len(conns) * gap:
            s = socket.socket()
            s.setblocking(False)
            start[s] = time.monotonic()
            s.connect_ex(("127.0.0.1", PORT))
            sel.register(s, selectors.EVENT_WRITE)
            conns.append(s)
            continue
        left = began + len(conns) * gap - now if len(conns) < n else 5
        ready = sel.select(max(left, 0))
        if not ready and len(conns) == n:
            failures += n - len(delays) - failures
        for key, mask in ready:
            s = key.fileobj
            try:
                if mask & selectors.EVENT_WRITE:
                    s.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    sel.modify(s, selectors.EVENT_READ)
                    continue
                if not s.recv(4096):
                    raise ConnectionResetError
                delays.append((time.monotonic() - start[s]) * 1000)
            except OSError:
                failures += 1
            sel.unregister(s)
    for s in conns:
        s.close()
    time.sleep(0.05)
    return delays, failures


def block():
    s = socket.create_connection(("127.0.0.1", PORT))
    s.send(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.002)
    return s


def kill_one(server):
    pid = server.stats()[0][0]
    os.kill(pid, signal.SIGKILL)


def quantiles(delays):
    d = sorted(delays)
    if not d:
        return "none answered"
    return (f"{d[len(d) // 2]:6.2f} {d[int(len(d) * .99) - 1]:7.2f} "
            f"{d[-1]:7.2f}")


def in_turns(modes, rounds, workers, sync, case):
    got = {name: [] for name in modes}
    for _ in range(rounds):
        for name in modes:
            server = Server(MODES[name], workers, sync)
            try:
                got[name].append(case(server))
            finally:
                server.stop()
    return got


def case_spread(modes, rounds, seconds):
    for workers, sync in ((2, False), (2, True), (4, False), (4, True)):
        print(f"\na. 128 keep-alive connections of wrk, {workers} workers, "
              f"{'an' if sync else 'no'} fdatasync a turn: held by each, "
              "least to most, a round; requests/s")
        got = in_turns(modes, rounds, workers, sync,
                       lambda s: spread(s, seconds))
        for name, rows in got.items():
            rates = [r[1] for r in rows]
            print(f"  {name:20}{statistics.median(rates):8.0f} "
                  f"({min(rates):.0f}-{max(rates):.0f})  "
                  + "  ".join("/".join(map(str, r[0])) for r in rows),
                  flush=True)


def case_idle(modes, rounds):
    for workers in (2, 4):
        print(f"\ni. 128 connections one by one, {workers} workers: held")
        got = in_turns(modes, rounds, workers, False, one_by_one)
        for name, rows in got.items():
            print(f"  {name:20}"
                  + "  ".join("/".join(map(str, r)) for r in rows), flush=True)


def case_stuck(modes, rounds, title, workers, before):
    print(f"\n{title}, {workers} workers: ms to the answer, "
          "p50 p99 max; over 20 ms; failures")

    def run(server):
        kept = []
        return arrivals(lambda: kept.append(before(server)))

    got = in_turns(modes, rounds, workers, False, run)
    for name, rows in got.items():
        delays = [d for r in rows for d in r[0]]
        late = sum(d > 20 for d in delays)
        print(f"  {name:20}{quantiles(delays)}  {late:5} of {len(delays)} "
              f"{sum(r[1] for r in rows):4}", flush=True)


def case_close(modes, rounds, seconds):
    for workers, sync in ((2, False), (2, True), (4, True)):
        print(f"\nd. a connection a request, 64 at once, {workers} workers, "
              f"{'an' if sync else 'no'} fdatasync a turn: us of CPU a "
              "connection; connections/s; errors; most loaded worker's share")

        def run(server):
            wrk(1, 64, "-H", "Connection: close")
            rows, cpu = server.stats(), server.cpu()
            began = time.monotonic()
            done, errors = wrk(seconds, 64, "-H", "Connection: close")
            took = time.monotonic() - began
            cpu = server.cpu() - cpu
            each = [b[2] - a[2] for a, b in zip(rows, server.stats())]
            return (cpu / sum(each) * 1e6, done / took, errors,
                    max(each) / sum(each))

        got = in_turns(modes, rounds, workers, sync, run)
        for name, rows in got.items():
            cpus = [r[0] for r in rows]
            print(f"  {name:20}{statistics.median(cpus):6.1f} "
                  f"({min(cpus):.1f}-{max(cpus):.1f})"
                  f"{statistics.median(r[1] for r in rows):8.0f} "
                  f"{sum(r[2] for r in rows):5}   "
                  + " ".join(f"{r[3]:.2f}" for r in rows), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=int, default=1)
    p.add_argument("--cases", default="aibcd")
    p.add_argument("--modes", default=",".join(MODES))
    args = p.parse_args()
    modes = args.modes.split(",")
    os.makedirs(OUT, exist_ok=True)
    subprocess.run(
        ["cc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-o",
         os.path.join(OUT, "listeners"), os.path.join(HERE, "listeners.c")],
        check=True)
    if "a" in args.cases:
        case_spread(modes, args.rounds, args.seconds)
    if "i" in args.cases:
        case_idle(modes, args.rounds)
    if "b" in args.cases:
        for workers in (2, 4):
            case_stuck(modes, args.rounds, "b. one worker stuck for 1 s",
                       workers, lambda server: block())
    if "c" in args.cases:
        case_stuck(modes, args.rounds, "c. a worker killed", 2, kill_one)
    if "d" in args.cases:
        case_close(modes, args.rounds, args.seconds)


if __name__ == "__main__":
    main()
