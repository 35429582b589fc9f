"""docs/http.md names only tests that exist, and counts its rules right."""

import re

from visitd import REPO

DOCUMENT = REPO / "docs" / "http.md"


def held_rules():
    """The rows of the tables of rules that are held: level and tests."""
    text = DOCUMENT.read_text(encoding="utf-8").split("## Not followed")[0]
    return [(level, re.findall(r"`(test_\w+\.(?:py|c))::(\w+)`", line))
            for line in text.splitlines()
            for level in re.findall(r"^\| [\d., ]+ \| ([MS]) \|", line)]


def test_every_rule_names_a_test_that_exists():
    for level, tests in held_rules():
        assert level and tests
        for file, name in tests:
            folder = "e2e" if file.endswith(".py") else "unit"
            source = (REPO / "tests" / folder / file).read_text()
            head = rf"^(?:def |static void ){name}\("
            assert re.search(head, source, re.M), f"{file}::{name}"


def test_the_count_of_rules_is_right():
    levels = [level for level, _ in held_rules()]
    text = DOCUMENT.read_text(encoding="utf-8")
    count = re.search(r"Rules held: (\d+) \((\d+) M, (\d+) S\), (\d+) of them",
                      text)
    first = text.split("## RFC 9110")[0]
    rows = len(re.findall(r"^\| [\d., ]+ \| [MS] \|", first, re.M))
    assert [int(n) for n in count.groups()] == [
        len(levels), levels.count("M"), levels.count("S"), rows]
