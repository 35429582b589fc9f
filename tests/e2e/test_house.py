"""The house of the sources: a straight tower, and who may call whom."""

import re
from collections import defaultdict

import pytest

from visitd import REPO

# From the ground up. A file includes from its own floor and those below it.
TOWER = ["util", "store", "http", "site", "turn", "http.c", "run", "main"]
STORES = sorted(p.parent.name for p in REPO.glob("store/*/store.mk"))


def sources(pattern="*.[ch]"):
    """The product's sources below the repository."""
    rooms = [room for room in TOWER if (REPO / room).is_dir()]
    files = [*REPO.glob(pattern)]
    for room in rooms:
        files += (REPO / room).rglob(pattern)
    return sorted(files)


def floor(path):
    """Where a file, or what is included, stands."""
    name = str(path)
    if name in ("http.c", "http.h"):
        return TOWER.index("http.c")
    if name == "main.c":
        return TOWER.index("main")
    return TOWER.index(name.split("/")[0])


def includes(path):
    return [name for name in re.findall(r'^#include "([^"]+)"',
                                        path.read_text(), re.M)
            if not name.endswith(".inc")]


def test_no_include_points_up_the_tower():
    for path in sources():
        name = path.relative_to(REPO)
        for other in includes(path):
            assert floor(other) <= floor(name), f"{name} includes {other}"


def room_of_store(name):
    """The folder of store/ that a file is in, or None beside store.h."""
    parts = str(name).split("/")
    return parts[1] if parts[0] == "store" and len(parts) == 3 else None


def test_stores_do_not_know_each_other():
    """A store's folder is known to itself alone; net/ to the stores."""
    for path in sources():
        name = path.relative_to(REPO)
        for other in includes(path):
            theirs, mine = room_of_store(other), room_of_store(name)
            if theirs is None or theirs == mine:
                continue
            assert theirs == "net" and mine in STORES, (
                f"{name} includes {other}")


def parts_of(room):
    """A .c and its .h are one: name -> the names that it includes."""
    graph = defaultdict(set)
    for path in sources():
        name = path.relative_to(REPO)
        if str(name).startswith(f"{room}/"):
            stem = str(name).rsplit(".", 1)[0]
            graph[stem] |= {other.rsplit(".", 1)[0]
                            for other in includes(path)} - {stem}
    return graph


def circles(graph):
    """Sets of three or more that reach each other."""
    def reach(start):
        seen, todo = set(), [start]
        while todo:
            for other in graph.get(todo.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
        return seen

    reached = {name: reach(name) for name in graph}
    found = set()
    for name in graph:
        circle = frozenset(other for other in reached[name]
                           if name in reached.get(other, ()))
        if len(circle) >= 3:
            found.add(circle)
    return found


@pytest.mark.parametrize("room", ["util", "store", "http", "site", "turn",
                                  "run"])
def test_no_three_files_include_each_other_in_a_circle(room):
    assert not circles(parts_of(room))


def test_only_commit_calls_the_store():
    """Of the site and the turn, and of the site nobody calls it at all."""
    call = re.compile(r"\bstore_(add|set|drop|each|ping|items?_\w+|history)\(")
    for path in sources("*.c"):
        name = str(path.relative_to(REPO))
        if name.startswith(("site/", "turn/", "http")):
            assert name == "turn/commit.c" or not call.search(
                path.read_text()), name


def functions(path):
    """The names of functions that a file defines: static ones, and others."""
    heads = re.findall(r"^(static )?[a-z][^;={}()]*?\b(\w+)\([^;{}]*\)\n\{",
                       path.read_text(), re.M)
    return [(bool(static), name) for static, name in heads]


def test_no_two_files_have_a_function_of_one_name():
    owners = defaultdict(set)
    for path in sources("*.c"):
        name = path.relative_to(REPO)
        for _, function in functions(path):
            if not function.startswith("store_") and function != "main":
                owners[function].add(str(name))
    assert not {function: files for function, files in owners.items()
                if len(files) > 1}


def test_no_function_is_longer_than_a_screen():
    for path in sources("*.c"):
        start = 0
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line == "{":
                start = number
            elif line == "}":
                assert number - start <= 60, f"{path}:{start}"


def test_no_conditional_in_a_body():
    """#ifdef chooses what is defined, never a line of a function."""
    for path in sources():
        inside = False
        for number, line in enumerate(path.read_text().splitlines(), 1):
            inside = line == "{" or (inside and line != "}")
            assert not (inside and re.match(r"#\s*if", line)), (
                f"{path}:{number}")


def test_every_route_is_documented():
    """README and manual name each path of the site's table, alone and before
    a name."""
    table = (REPO / "site" / "routes.c").read_text()
    paths = set(re.findall(r'\.path = SLICE_INIT\("([^"]*)"\)', table))
    paths |= {f"{path}/" for path in re.findall(
        r'\.path = SLICE_INIT\("([^"]*)"\),\n\t\t\.rest = REST_NAME', table)}
    assert "/hit/" in paths
    assert len(paths) > 8
    for document in ("README.md", "docs/visitd.8"):
        text = (REPO / document).read_text()
        for path in paths:
            assert re.search(rf"{re.escape(path)}(?![\w.]|$)", text), (
                f"{document} does not name {path}")
