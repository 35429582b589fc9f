"""`visitd export` and `visitd import`: every counter, as lines of text."""

import os
import subprocess

import pytest

import visitd
from visitd import MAX, Server, command, environment

LONGEST = "n" * 100
TOTALS = f"""3 homepage
1 a
41 blog/post-1
0 zero
{MAX} {LONGEST}
"""


def lines(store, **settings):
    """What export says, sorted."""
    done = command(store, "export", **settings)
    assert done.returncode == 0, done
    assert done.stderr == ""
    return sorted(done.stdout.splitlines())


def test_export_is_a_line_a_counter_home_first(server):
    for target in ("/hit/b", "/", "/hit/b", "/hit/a/1", "/visits/c"):
        server.get(target)
    done = command(server.store, "export")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "1 homepage"
    assert sorted(done.stdout.splitlines()[1:]) == ["1 a/1", "2 b"]
    assert done.stdout.endswith("\n")


@pytest.mark.parametrize("cut", [0, 1], ids=["whole", "no last newline"])
def test_import_sets_what_export_gave(store, cut):
    text = TOTALS[:-1] if cut else TOTALS
    for _ in range(2):
        done = command(store, "import", stdin=text)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert lines(store) == sorted(TOTALS.splitlines())
    assert store.total() == 3


def test_import_into_a_running_server(server):
    server.visit()
    server.get("/hit/a")
    server.get("/hit/other")
    assert command(server.store, "import", stdin=TOTALS).returncode == 0
    assert server.visit() == 4
    assert server.get("/hit/a").number == 2
    assert server.get("/hit/other").number == 2
    assert server.get("/visits/zero").number == 0
    assert server.get("/hit/blog/post-1").number == 42


def test_a_pipe_moves_every_counter(scratch):
    """visitd export | DATA_DIR=other visitd import"""
    kind = visitd.STORES[visitd.STORE]
    for folder in ("one", "two"):
        (scratch / folder).mkdir()
    with kind(scratch / "one") as one, kind(scratch / "two") as two:
        command(one, "import", stdin=TOTALS)
        moved = command(two, "import", stdin=command(one, "export").stdout)
        assert moved.returncode == 0
        assert lines(two) == lines(one) == sorted(TOTALS.splitlines())


def test_import_of_nothing(store):
    done = command(store, "import", stdin="")
    assert (done.returncode, done.stderr) == (0, "")


BAD = [
    ("x a", "whole number"), ("-1 a", "whole number"), ("1.0 a", "whole number"),
    ("+1 a", "whole number"), (f"{2**63} a", "whole number"),
    ("0" * 30 + "1 a", "whole number"), ("1_2 a", "whole number"),
    ("1", "no space"), ("a", "no space"), ("", "no space"), ("1\ta", "no space"),
    ("1 ", "no space"), ("\ufeff1 a", "whole number"), ("1 \ta b", "A-Z a-z"),
    ("1 a b", "A-Z a-z"), ("1 a\u200b", "white space"), ("1 /a", "segment"),
    ("1 a/", "ends in /"), ("1 a//b", "segment"), ("1 ..", "segment"),
    ("1 " + "a" * 101, "100 bytes"), ("1 a\r\r", "A-Z a-z"),
    ("7 homepage", "there before"), ("7 blog/post-1", "there before"),
    ("x" * 5000, None),
]


@pytest.mark.parametrize("text", [
    "7 a\r\n8 b/c\r\n", "\ufeff7 a\r\n8 b/c", " 7 a \n\t8  b/c\t\n"])
def test_lines_as_editors_leave_them(store, text):
    done = command(store, "import", stdin=text)
    assert done.returncode == 0, done
    assert command(store, "export").stdout == "7 a\n8 b/c\n"


@pytest.mark.parametrize("line,says", BAD, ids=lambda text: str(text)[:20])
@pytest.mark.parametrize("behind", ["", "5 behind\n"])
def test_a_bad_line_sets_nothing(store, line, says, behind):
    command(store, "import", stdin="100 homepage\n200 a\n")
    text = "1 homepage\n2 blog/post-1\n3 a\n" + line + "\n" + behind
    done = command(store, "import", stdin=text)
    assert done.returncode == 102, done
    assert "line 4: " in done.stderr
    assert not says or says in done.stderr
    assert "42 blog/post-1" in done.stderr  # what would be right
    assert len(done.stderr.splitlines()) == 1
    assert lines(store) == ["100 homepage", "200 a"]


def test_the_first_of_two_bad_lines_is_told(store):
    done = command(store, "import", stdin="1 a\n1 b\n1 b\n1 a\n")
    assert "line 3: " in done.stderr
    done = command(store, "import", stdin="x\n1 b\ny\n")
    assert "line 1: " in done.stderr


@pytest.mark.parametrize("text", ["1 a\n2 b\n3 c\n4 homepage\n",
                                  "1 homepage\n1 a\n2 b\n3 c"])
def test_more_than_max_counters_sets_nothing(store, text):
    done = command(store, "import", stdin=text, MAX_COUNTERS=2)
    assert done.returncode == 102
    assert "MAX_COUNTERS" in done.stderr
    assert "a" not in command(store, "export").stdout.replace("homepage", "")
    assert command(store, "import", stdin=text, MAX_COUNTERS=3).returncode == 0


def test_promise_7_import_reads_no_endless_input(store):
    with open("/dev/zero", "rb") as zeros:
        done = subprocess.run(
            [str(visitd.BINARY), "import"], stdin=zeros, timeout=60,
            env=environment({**store.settings(), "MAX_COUNTERS": 1000}),
            cwd=store.root, capture_output=True, check=False)
    assert done.returncode == 102
    assert b"line 1: " in done.stderr


def test_many_counters(store):
    text = "".join(f"{i} many/{i:04}\n" for i in range(1, 501))
    done = command(store, "import", stdin=text, SYNC="no")
    assert done.returncode == 0
    assert [line for line in lines(store) if "many" in line] == sorted(
        text.splitlines())
    with Server(store) as server:
        assert server.get("/hit/many/0500").number == 501


def test_a_write_error_is_exit_111(store):
    command(store, "import", stdin=TOTALS)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [str(visitd.BINARY), "export"], stdout=full, timeout=60,
            env=environment(store.settings()), cwd=store.root,
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 111
    assert b"No space left" in done.stderr


@pytest.mark.root
@pytest.mark.store("file")
def test_import_by_root_leaves_files_that_the_workers_can_write(store):
    os.chown(store.data, 1000, 1000)
    assert command(store, "import", stdin=TOTALS).returncode == 0
    for file in store.data.iterdir():
        assert file.stat().st_uid == 1000, file


@pytest.mark.store("file")
def test_promise_4_they_do_not_touch_garbage(store):
    store.visits.write_text("dear diary\n")
    for words in (["export"], ["import"]):
        done = command(store, *words, stdin="1 a\n")
        assert done.returncode == 102, done
        assert store.visits.read_text() == "dear diary\n"
