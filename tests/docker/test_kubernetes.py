"""The manifests, against the schemas of Kubernetes from the npm registry."""

import copy
import json
import shutil
import subprocess

import pytest
import yaml

from engine import REPO, run

MANIFESTS = [document for file in
             sorted((REPO / "deploy" / "kubernetes").glob("*.yaml"))
             for document in yaml.safe_load_all(file.read_text())]


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """Gives what is wrong with manifests, as text."""
    folder = tmp_path_factory.mktemp("kubernetes")
    for file in (REPO / "tests" / "kubernetes").iterdir():
        shutil.copy(file, folder)
    run("npm", "install", "--no-audit", "--no-fund", "--no-package-lock",
        "--ignore-scripts", "--prefer-offline", "--fetch-retries=5",
        cwd=folder)

    def faults(manifests):
        done = subprocess.run(["node", "check.cjs"], cwd=folder, text=True,
                              input=json.dumps(manifests), check=False,
                              capture_output=True)
        assert done.returncode == bool(done.stdout.strip()), done.stderr
        return done.stdout.strip()
    return faults


def test_the_manifests_hold(check):
    assert len(MANIFESTS) == 7
    assert check(MANIFESTS) == ""


def test_a_fault_is_seen(check):
    wrong = copy.deepcopy(MANIFESTS[1])
    wrong["spec"]["replicas"] = "one"
    assert "replicas" in check([wrong])
