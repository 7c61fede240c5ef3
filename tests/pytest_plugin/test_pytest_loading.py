"""What the pytest plugin imports, and how it is found."""

import os
import subprocess
import sys
from textwrap import dedent

import pytest
from plugin_suite import PASSES, ROOT, SETUP, runner

from rnn_parity.system.settings import tomllib

pytest_plugins = ["pytester"]


@pytest.fixture
def suite(pytester, monkeypatch):
    return runner(pytester, monkeypatch)


def test_a_suite_without_the_fixture_imports_no_numpy(suite):
    source = """
        import sys
        def test_it():
            assert "rnn_parity.pytest_plugin" in sys.modules
            assert not {"numpy", "tensorflow", "keras"} & set(sys.modules)
    """
    result = suite(source, setup="")
    result.assert_outcomes(passed=1)
    assert "= rnn-parity =" not in result.stdout.str()


def test_compare_imports_no_tensorflow(suite):
    source = """
        import sys
        def test_it(rnn_parity):
            rnn_parity.compare(WEIGHTS, INPUTS, RIGHT)
            assert not {"tensorflow", "keras"} & set(sys.modules)
    """
    suite(source).assert_outcomes(passed=1)


def test_the_installed_package_brings_the_fixture(pytester):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (entry,) = project["entry-points"]["pytest11"].items()
    installed = pytester.path / "site" / "rnn_parity_of_a_test-1.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: rnn-parity-of-a-test\n")
    (installed / "entry_points.txt").write_text("[pytest11]\n{} = {}\n".format(*entry))
    pytester.makepyfile(test_suite=dedent(SETUP) + dedent(PASSES))
    path = os.pathsep.join([str(installed.parent), str(ROOT)])
    command = [sys.executable, "-m", "pytest", "-q", "test_suite.py"]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=pytester.path, env=environment, capture_output=True)
    assert done.returncode == 0, done.stdout
