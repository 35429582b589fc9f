#!/usr/bin/python3
"""Measures visitd against its peers: in turns, in one run, as ratios.

  tests/bench/run quick     the first three rows, under three minutes
  tests/bench/run           all of it
  tests/bench/run NAME...   the rows with these names
  tests/bench/run --list    the names

Writes build/bench/results.json (BENCH_OUT) and prints a table.  The binary is
$VISITD, or build/file/visitd.  Exits 1 if an answer was not a 200, if the
total did not rise by the answers given, or if a goal was missed (--no-goals:
only for the former).

To add a peer: a subclass of Server, listed in SERVERS.  To add a row: an entry
in ROWS.
"""

import argparse
import datetime
import json
import os
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
OUT = os.path.abspath(os.environ.get("BENCH_OUT",
                                     os.path.join(TOP, "build/bench")))
VISITD = os.path.abspath(os.environ.get(
    "VISITD", os.path.join(TOP, "build/file/visitd")))
TICK = os.sysconf("SC_CLK_TCK")
START_TOTAL = 10000000          # the answer's length stays the same in a run
SERVER_CPU, LOAD_CPU = {0}, {1}


class Lost(Exception):
    """An answer that was no 200, or a visit that was lost."""


# ---- the servers -----------------------------------------------------------

def ask(port, path="/", timeout=5.0):
    """One request on a connection of its own: head, body."""
    with socket.create_connection(("127.0.0.1", port), timeout) as s:
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                  "Connection: close\r\n\r\n".encode())
        got = b""
        while chunk := s.recv(65536):
            got += chunk
    head, _, body = got.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise Lost(f"{path}: {head[:80]!r}")
    return head, body


def reply_size(port):
    """What a kept connection gets for GET /: bytes in all, bytes of body."""
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        got = s.recv(65536)
    return len(got), len(got.partition(b"\r\n\r\n")[2])


def process_tree(pid):
    pids = [pid]
    for p in pids:
        try:
            with open(f"/proc/{p}/task/{p}/children") as f:
                pids += map(int, f.read().split())
        except OSError:
            pass
    return pids


def cpu_seconds(pid):
    """utime+stime of the process, its living and its reaped children."""
    ticks = 0
    for p in process_tree(pid):
        try:
            with open(f"/proc/{p}/stat") as f:
                ticks += sum(map(int, f.read().rsplit(")")[-1].split()[11:15]))
        except OSError:
            pass
    return ticks / TICK


def pss_kib(pid):
    total = 0
    for p in process_tree(pid):
        with open(f"/proc/{p}/smaps_rollup") as f:
            total += int(re.search(r"^Pss: +(\d+)", f.read(), re.M).group(1))
    return total


class Server:
    """A server under measurement: command() says how it starts."""

    counts = False
    next_port = 8100

    def __init__(self, label, size=(300, 40), pinned=False, **options):
        self.label, self.size, self.options = label, size, options
        Server.next_port += 1
        self.port = Server.next_port
        self.dir = os.path.join(OUT, f"run-{self.port}")
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        self.env = dict(os.environ)
        self.prepare()
        self.log = open(os.path.join(self.dir, "log"), "w")
        self.started = time.monotonic()
        self.proc = subprocess.Popen(
            self.command(), env=self.env, stdout=self.log, stderr=self.log,
            preexec_fn=(lambda: os.sched_setaffinity(0, SERVER_CPU))
            if pinned else None)
        self.ready_ms = self.wait_for_answer()

    def prepare(self):
        pass

    def command(self):
        raise NotImplementedError

    def wait_for_answer(self):
        while time.monotonic() < self.started + 10:
            try:
                ask(self.port)
                return (time.monotonic() - self.started) * 1000
            except OSError:
                time.sleep(0.0002)
        self.stop()
        raise Lost(f"{self.label}: no answer within 10 s, see {self.log.name}")

    def total(self):
        return None

    def workers(self):
        return self.options.get("workers", 1)

    def cpu(self):
        return cpu_seconds(self.proc.pid)

    def pss(self):
        return pss_kib(self.proc.pid)

    def stop(self):
        self.proc.send_signal(signal.SIGTERM)
        try:
            self.proc.wait(15)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Visitd(Server):
    counts = True

    def prepare(self):
        with open(os.path.join(self.dir, "visits"), "w") as f:
            f.write(f"{START_TOTAL}\n")
        self.env.update({
            "BIND": "127.0.0.1", "PORT": str(self.port), "DATA_DIR": self.dir,
            "WORKERS": str(self.workers()),
            "MAX_CONNECTIONS": "12000"})
        self.env.update(self.options.get("env", {}))

    def command(self):
        return [VISITD]

    def total(self):
        return int(ask(self.port, "/visits")[1])


class Named(Visitd):
    """visitd, whose counters with names are looked at."""

    def total(self):
        lines = subprocess.run([VISITD, "export"], env=self.env, check=True,
                               capture_output=True, text=True).stdout
        return sum(int(line.split()[0]) for line in lines.splitlines())


class Peer(Server):
    """One of the C programs beside this file."""

    program = None

    def command(self):
        return [os.path.join(OUT, self.program), "-p", str(self.port),
                "-w", str(self.workers()), "-n", str(self.size[0]),
                "-f", os.path.join(self.dir, "visits")]


class Floor(Peer):
    program = "floor"


class Forker(Peer):
    program = "forker"


class Naive(Peer):
    program = "naive"
    counts = True

    def prepare(self):
        with open(os.path.join(self.dir, "visits"), "w") as f:
            f.write(f"{START_TOTAL}\n")

    def total(self):
        with open(os.path.join(self.dir, "visits")) as f:
            return int(f.read())


class Nginx(Server):
    def prepare(self):
        with open(os.path.join(HERE, "nginx.conf")) as f:
            conf = f.read()
        for name, value in (("DIR", self.dir), ("PORT", self.port),
                            ("WORKERS", self.workers()),
                            ("BODY", "x" * self.size[1])):
            conf = conf.replace(f"@{name}@", str(value))
        with open(os.path.join(self.dir, "nginx.conf"), "w") as f:
            f.write(conf)

    def command(self):
        return ["nginx", "-e", os.path.join(self.dir, "error.log"),
                "-p", self.dir, "-c", os.path.join(self.dir, "nginx.conf")]


SERVERS = {"visitd": Visitd, "named": Named, "floor": Floor, "nginx": Nginx,
           "forker": Forker, "naive": Naive}


# ---- the load --------------------------------------------------------------

class Done:
    """What a load got: the requests answered, the seconds, how exact it is."""

    def __init__(self, answered, seconds, unsure=0):
        self.answered, self.seconds, self.unsure = answered, seconds, unsure


def run_load(cmd, pinned):
    prefix = ["taskset", "-c", str(min(LOAD_CPU))] if pinned else []
    return subprocess.run(prefix + cmd, capture_output=True, text=True,
                          check=True, timeout=300).stdout


def load_exact(port, load, n):
    """h2load: exactly n requests, so the total must rise by exactly n."""
    out = run_load(
        ["h2load", "--h1", "-t1", f"-n{n}", f"-c{min(load['connections'], n)}",
         f"-m{load.get('pipeline', 1)}",
         f"http://127.0.0.1:{port}{load.get('path', '/')}"],
        load.get("pinned"))
    good = int(re.search(r"status codes: (\d+) 2xx", out).group(1))
    done = int(re.search(r"(\d+) succeeded", out).group(1))
    if good != n or done != n:
        raise Lost(f"{n} requests, {done} answered, {good} with 200:\n{out}")
    took = re.search(r"finished in ([\d.]+)(ms|s|us)", out)
    scale = {"s": 1, "ms": 1e-3, "us": 1e-6}[took.group(2)]
    return Done(n, float(took.group(1)) * scale)


def load_timed(port, load, seconds):
    """wrk: what a given time allows.

    It ends with up to `connections` requests under way, which are counted but
    not answered.
    """
    cmd = ["wrk", "-t1", f"-c{load['connections']}", f"-d{max(1, seconds)}"]
    if load.get("close"):
        cmd += ["-H", "Connection: close"]
    if load.get("names"):
        cmd += ["-s", os.path.join(HERE, "names.lua")]
    cmd.append(f"http://127.0.0.1:{port}{load.get('path', '/')}")
    if load.get("names"):
        cmd += ["--", str(load["names"])]
    out = run_load(cmd, load.get("pinned"))
    if "Non-2xx" in out or "Socket errors" in out:
        raise Lost(out)
    got = re.search(r"(\d+) requests in ([\d.]+)s", out)
    return Done(int(got.group(1)), float(got.group(2)),
                load["connections"])


def measure_load(server, load, amount):
    """One load on one server, checked: us of CPU a request, requests/s."""
    load = {**load, **server.options.get("load", {})}
    before, cpu = server.total(), server.cpu()
    done = load["tool"](server.port, load, amount)
    cpu = server.cpu() - cpu
    if before is not None:
        # wrk's connections may still be on their way to the file
        time.sleep(0.05)
        rise = server.total() - before
        if not done.answered <= rise <= done.answered + done.unsure:
            raise Lost(f"{server.label}: {done.answered} answered "
                       f"(+{done.unsure}), the total rose by {rise}")
    return {"cpu_us": cpu / done.answered * 1e6,
            "rate": done.answered / done.seconds}


# ---- the ways to measure a row ---------------------------------------------

def answer_size():
    """The length of visitd's answer, which the peers' answers get too."""
    server = Visitd("visitd")
    try:
        return reply_size(server.port)
    finally:
        server.stop()


def measure_in_turns(row, rounds, seconds):
    """Every server of the row, A B C A B C ..., after a warm-up each."""
    load = dict(row["load"])
    size = answer_size()
    servers, values, amount = [], {}, {}
    try:
        for label, kind, options in row["servers"]:
            servers.append(SERVERS[kind](label, size, load.get("pinned"),
                                         **options))
        for s in servers:
            values[s.label] = []
            if load["tool"] is load_exact:
                warm = measure_load(s, load, 20000 if s.label != "naive"
                                    else 2000)
                warm = measure_load(s, load, int(warm["rate"] * 0.5) + 100)
                amount[s.label] = max(int(warm["rate"] * seconds), 200)
            else:
                measure_load(s, load, 1)
                amount[s.label] = round(seconds)
        for _ in range(rounds):
            for s in servers:
                values[s.label].append(measure_load(s, load, amount[s.label]))
    finally:
        for s in servers:
            s.stop()
    return {label: {key: [v[key] for v in got] for key in got[0]}
            for label, got in values.items()}


def idle_connections(port, n):
    """n kept connections that have each had one answer."""
    conns = []
    for _ in range(n):
        s = socket.create_connection(("127.0.0.1", port), 10)
        s.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        if not s.recv(4096).startswith(b"HTTP/1.1 200"):
            raise Lost(f"idle connection {len(conns)}: no 200")
        conns.append(s)
    return conns


def measure_idle(row, rounds, _seconds):
    """Memory with idle connections, every server fresh each round."""
    values = {}
    for _ in range(rounds):
        for label, kind, options in row["servers"]:
            server, conns = SERVERS[kind](label, **options), []
            try:
                before = server.pss()
                conns = idle_connections(server.port, row["connections"])
                time.sleep(0.2)
                got = values.setdefault(label, {"pss_kib": [], "added_kib": []})
                got["pss_kib"].append(server.pss())
                got["added_kib"].append(server.pss() - before)
            finally:
                for s in conns:
                    s.close()
                server.stop()
    return values


def measure_start(row, rounds, _seconds):
    """From fork to the first answer, and the memory after 5,000 of them."""
    values = {}
    for _ in range(2 * rounds + 1):
        for label, kind, options in row["servers"]:
            server = SERVERS[kind](label, **options)
            try:
                measure_load(server, {"tool": load_exact, "connections": 16},
                             5000)
                got = values.setdefault(label, {"start_ms": [], "pss_kib": []})
                got["start_ms"].append(server.ready_ms)
                got["pss_kib"].append(server.pss() / server.workers())
            finally:
                server.stop()
    return values


def honest_times(port, until):
    """Seconds of each request of one client on a kept connection."""
    times = []
    with socket.create_connection(("127.0.0.1", port), 60) as s:
        while until() is None:
            begun = time.monotonic()
            s.sendall(b"GET /visits HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            if not s.recv(4096).startswith(b"HTTP/1.1 200"):
                raise Lost("an honest client got no 200")
            times.append(time.monotonic() - begun)
    return times


def measure_crowd(row, rounds, seconds):
    """So many clients that make items without end, and one honest one."""
    values = {}
    for _ in range(rounds):
        for n in row["crowds"]:
            server = Visitd(f"{n} clients", **row["options"])
            try:
                load = subprocess.Popen(
                    ["wrk", "-t1", f"-c{n}", f"-d{round(seconds)}", "-s",
                     os.path.join(HERE, "items.lua"),
                     f"http://127.0.0.1:{server.port}/items"],
                    stdout=subprocess.PIPE, text=True)
                times = sorted(honest_times(server.port, load.poll))
                out = load.stdout.read()
                load.stdout.close()
            finally:
                server.stop()
            if "Non-2xx" in out or "Socket errors" in out:
                raise Lost(out)
            rate = float(re.search(r"Requests/sec: +([\d.]+)", out).group(1))
            got = values.setdefault(server.label, {
                "rate": [], "p50_ms": [], "p99_ms": []})
            got["rate"].append(rate)
            got["p50_ms"].append(times[len(times) // 2] * 1000)
            got["p99_ms"].append(times[len(times) * 99 // 100] * 1000)
    return values


def stripped_size(path, name):
    copy = os.path.join(OUT, name)
    shutil.copy(path, copy)
    subprocess.run(["strip", copy], check=True)
    return os.path.getsize(copy) / 1024


def measure_size(_row, _rounds, _seconds):
    """KiB on disk, stripped: as built, static with musl, nginx."""
    values = {"visitd": {"size_kib": [stripped_size(VISITD, "stripped")]}}
    musl = shutil.which("musl-gcc") and subprocess.run(
        ["make", "-s", "-C", TOP, f"OUT={OUT}/musl", "CC=musl-gcc",
         "CFLAGS=-O2", "LDFLAGS=-static"])
    if musl and musl.returncode == 0:
        values["visitd, musl, static"] = {
            "size_kib": [stripped_size(f"{OUT}/musl/visitd", "stripped")]}
    else:
        print("bench: no static musl build to weigh", file=sys.stderr)
    values["nginx"] = {"size_kib": [
        os.path.getsize(shutil.which("nginx")) / 1024]}
    return values


# ---- the rows --------------------------------------------------------------

def keep_alive(connections, pipeline=1, **more):
    return {"tool": load_exact, "connections": connections,
            "pipeline": pipeline, "pinned": True, **more}


def visitd(sync="always", workers=1, label="visitd"):
    return (label, "visitd", {"workers": workers, "env": {"SYNC": sync}})


def sync_row(connections):
    """Throughput by SYNC, on all cores."""
    goals = []
    if connections >= 64:
        goals.append(("always", "no", "min", 0.6))
    if connections == 256:
        goals.append(("always", "naive", "min", 10))
    return {
        "name": f"sync-{connections}",
        "title": f"{connections} connections by SYNC, 2 workers",
        "unit": "rate",
        "load": {"tool": load_exact, "connections": connections},
        "servers": [visitd("always", 2, "always"),
                    visitd("everysec", 2, "everysec"), visitd("no", 2, "no"),
                    ("naive", "naive", {"workers": 2})],
        "goals": goals, "seconds": 1.5}


# A goal: (this, that, "max" or "min", bound of the median of this / that).
# With no that, the bound is of the value itself.
ROWS = [
    {"name": "keep-alive", "quick": True,
     "title": "keep-alive, 128 connections", "unit": "cpu_us",
     "load": keep_alive(128),
     "servers": [visitd(), ("floor", "floor", {}), ("nginx", "nginx", {})],
     "goals": [("visitd", "floor", "max", 1.10),
               ("visitd", "nginx", "max", 0.95)]},
    {"name": "pipelined", "quick": True,
     "title": "the same, pipelined by 16", "unit": "cpu_us",
     "load": keep_alive(128, 16),
     "servers": [visitd(), ("floor", "floor", {}), ("nginx", "nginx", {})],
     "goals": [("visitd", "nginx", "max", 0.5)]},
    {"name": "new-connections", "quick": True,
     "title": "new connection per request", "unit": "cpu_us",
     "load": {"tool": load_timed, "connections": 64, "close": True,
              "pinned": True},
     "servers": [visitd(), ("floor", "floor", {}), ("nginx", "nginx", {}),
                 ("forker", "forker", {})],
     "goals": [("visitd", "nginx", "max", 0.95),
               ("visitd", "forker", "max", 0.25)]},
    {"name": "names", "title": "GET /hit/{name}, 128 connections",
     "unit": "cpu_us",
     "load": {"tool": load_timed, "connections": 128, "pinned": True},
     "servers": [(label, "named", {"load": {"names": n}})
                 for label, n in (("one name", 1), ("10,000 names", 10000))],
     "goals": [("10,000 names", "one name", "max", 2)],
     "more": [("rate", "throughput",
               [("10,000 names", "one name", "min", 0.3)])]},
    *[sync_row(n) for n in (1, 16, 64, 256, 1024)],
    {"name": "workers", "title": "contended workers, 128 connections",
     "unit": "rate", "load": {"tool": load_exact, "connections": 128},
     "servers": [visitd("always", n, f"{n} workers")
                 for n in (1, 2, 4, 8, 16)],
     "goals": [("16 workers", "2 workers", "min", 0.85)]},
    {"name": "crowd", "title": "POST /items, SYNC=no, 2 workers",
     "unit": "rate", "measure": measure_crowd, "crowds": (8, 100, 1000, 2000),
     "options": {"workers": 2, "env": {"SYNC": "no",
                                       "MAX_ITEMS": "100000000"}},
     "servers": [], "seconds": 4,
     "goals": [("2000 clients", "8 clients", "min", 0.9)],
     "more": [("p50_ms", "an honest client's median", []),
              ("p99_ms", "its 99th percentile", [])]},
    {"name": "idle", "title": "10,000 idle connections", "unit": "pss_kib",
     "measure": measure_idle, "connections": 10000,
     "servers": [visitd(), ("nginx", "nginx", {})],
     "goals": [("visitd", "nginx", "max", 0.25)]},
    {"name": "start", "title": "start to first answer", "unit": "start_ms",
     "measure": measure_start,
     "servers": [visitd(workers=2), ("nginx", "nginx", {"workers": 2})],
     "goals": [("visitd", None, "max", 10)],
     "more": [("pss_kib", "PSS a worker",
               [("visitd", None, "max", 2048)])]},
    {"name": "size", "title": "binary, stripped", "unit": "size_kib",
     "measure": measure_size, "servers": [],
     "goals": [("visitd, musl, static", None, "max", 200)]},
]

UNITS = {"cpu_us": ("us of CPU a request", "{:.2f}"),
         "rate": ("requests/s", "{:,.0f}"),
         "pss_kib": ("KiB", "{:,.0f}"),
         "start_ms": ("ms", "{:.1f}"),
         "p50_ms": ("ms", "{:.2f}"),
         "p99_ms": ("ms", "{:.2f}"),
         "size_kib": ("KiB", "{:,.0f}")}


# ---- the report ------------------------------------------------------------

def ratios(values, unit, this, that):
    """The ratio of each round, so that what slows both cancels out."""
    mine = values[this][unit]
    if that is None:
        return mine
    return [a / b for a, b in zip(mine, values[that][unit])]


def judge(values, unit, goals):
    for this, that, way, bound in goals:
        if this not in values or (that and that not in values):
            continue
        got = ratios(values, unit, this, that)
        median = statistics.median(got)
        yield {"this": this, "that": that, "unit": unit, "way": way,
               "bound": bound, "median": median, "min": min(got),
               "max": max(got),
               "ok": median <= bound if way == "max" else median >= bound}


def report_unit(values, unit, title, goals):
    """Prints a row in one unit; gives its verdicts."""
    name, form = UNITS[unit]
    print(f"{title} [{name}]")
    for label, got in values.items():
        v = got[unit]
        line = f"  {label:22}{form.format(statistics.median(v)):>11}"
        if len(v) > 1:
            line += f"  {form.format(min(v))} .. {form.format(max(v))}"
        if unit == "cpu_us":
            line += f"   {statistics.median(got['rate']):,.0f} requests/s"
        print(line)
    verdicts = list(judge(values, unit, goals))
    for v in verdicts:
        what = f"{v['this']} / {v['that']}" if v["that"] else v["this"]
        sign = "<=" if v["way"] == "max" else ">="
        print(f"  {'ok  ' if v['ok'] else 'MISS'} {what}: {v['median']:.3f} "
              f"({v['min']:.3f} .. {v['max']:.3f}), goal {sign} {v['bound']}")
    return verdicts


def first_line(cmd):
    try:
        done = subprocess.run(cmd, capture_output=True, text=True)
        return (done.stdout + done.stderr).strip().splitlines()[0]
    except (OSError, IndexError):
        return "none"


def machine():
    with open("/proc/cpuinfo") as f:
        model = re.search(r"model name\s*: (.*)", f.read())
    with open("/proc/meminfo") as f:
        memory = int(re.search(r"MemTotal: +(\d+)", f.read()).group(1))
    fs = subprocess.run(["stat", "-f", "-c", "%T", OUT], capture_output=True,
                        text=True).stdout.strip()
    return {"cpu": model.group(1) if model else os.uname().machine,
            "cores": len(os.sched_getaffinity(0)),
            "memory_gib": round(memory / 2**20, 1),
            "kernel": f"{os.uname().sysname} {os.uname().release}",
            "filesystem": fs,
            "nginx": first_line(["nginx", "-v"]).replace("nginx version: ", ""),
            "generators": first_line(["h2load", "--version"]) + ", "
            + first_line(["wrk", "-v"]).split(" [")[0],
            "visitd": first_line([VISITD, "--version"])}


def build_peers():
    os.makedirs(OUT, exist_ok=True)
    for name in ("floor", "forker", "naive"):
        subprocess.run(
            [os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-O2",
             "-g", "-Wall", "-Wextra", "-o", os.path.join(OUT, name),
             os.path.join(HERE, name + ".c"), os.path.join(HERE, "peer.c")],
            check=True)


def raise_limits():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run_row(row, rounds, seconds):
    """Measures and prints one row; gives what results.json keeps of it."""
    measure = row.get("measure", measure_in_turns)
    values = measure(row, rounds, row.get("seconds", seconds))
    verdicts = report_unit(values, row["unit"], row["title"], row["goals"])
    for unit, title, goals in row.get("more", []):
        verdicts += report_unit(values, unit, f"{row['title']}: {title}",
                                goals)
    sys.stdout.flush()
    return {"name": row["name"], "title": row["title"], "unit": row["unit"],
            "values": values, "verdicts": verdicts}


def choose_rows(names):
    if not names:
        return ROWS
    if names == ["quick"]:
        return [r for r in ROWS if r.get("quick")]
    known = {r["name"]: r for r in ROWS}
    unknown = [n for n in names if n not in known]
    if unknown:
        sys.exit(f"bench: no such row: {unknown[0]}; there are quick, "
                 + ", ".join(known))
    return [known[n] for n in names]


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("rows", nargs="*", help="quick, or names of rows")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--no-goals", action="store_true")
    p.add_argument("--list", action="store_true")
    args = p.parse_args()
    if args.list:
        print("\n".join(f"{r['name']:18}{r['title']}" for r in ROWS))
        return 0
    rows = choose_rows(args.rows)
    if not os.access(VISITD, os.X_OK):
        sys.exit(f"bench: {VISITD} is missing: make builds it")
    raise_limits()
    build_peers()
    about = {"date": datetime.datetime.now().astimezone().isoformat(
        timespec="seconds"), "machine": machine(), "rounds": args.rounds}
    m = about["machine"]
    print(f"{about['date']}: {m['visitd']} on {m['cores']} cores of {m['cpu']},"
          f" {m['memory_gib']} GiB, {m['kernel']}, {m['filesystem']}; "
          f"{m['nginx']}; {m['generators']}; medians of {args.rounds} rounds "
          "in turns, lowest and highest", flush=True)
    began = time.monotonic()
    done = []
    try:
        for row in rows:
            done.append(run_row(row, args.rounds, args.seconds))
    except Lost as e:
        print(f"bench: FAILED: {e}", file=sys.stderr)
        return 1
    missed = [v for r in done for v in r["verdicts"] if not v["ok"]]
    with open(os.path.join(OUT, "results.json"), "w") as f:
        json.dump({**about, "rows": done}, f, indent=1)
    print(f"{len(done)} rows in {time.monotonic() - began:.0f} s, every answer"
          f" a 200, every total right, {len(missed)} goals missed; "
          f"{os.path.relpath(OUT)}/results.json")
    return 1 if missed and not args.no_goals else 0


if __name__ == "__main__":
    sys.exit(main())
