"""Recorded cases that no test uses any more, seen from the test suites that use the plugin."""

import pytest
from plugin_suite import SETUP, runner, said

pytest_plugins = ["pytester"]

LAYER = """
    import numpy as np
    from rnn_parity import keras_adapter
    from rnn_parity.recurrence.layer_call import LayerCall
    from rnn_parity.pytest_plugin import fixture

    # Keras is not run: a layer's observation stands for it.
    ONE = LayerCall(
        "SimpleRNN", "rnn", {}, "graph", None, WEIGHTS, None, np.array(INPUTS, float),
        np.array(RIGHT)
    )

    @pytest.fixture(autouse=True)
    def observed(monkeypatch):
        monkeypatch.setattr(keras_adapter, "device", lambda: "cpu")
        monkeypatch.setattr(keras_adapter, "is_model", lambda value: False)
        monkeypatch.setattr(fixture, "observe", lambda layer, *data: [layer])
"""
TESTS = """
    @pytest.mark.parametrize("n", [0, 1])
    def test_it(rnn_parity, n):
        rnn_parity.regression(ONE, INPUTS, name=f"case {n}")
"""
UNUSED = "--rnn-parity-unused"


@pytest.fixture
def suite(pytester, monkeypatch):
    run = runner(pytester, monkeypatch)

    def recorded(source, *arguments):
        return run(source, *arguments, setup=SETUP + LAYER)

    recorded(TESTS)  # which records the cases
    return recorded


def unused(result):
    return sorted(line.split()[1] for line in result.outlines if line.startswith("UNUSED "))


@pytest.mark.parametrize("setting", ["", "[tool.rnn_parity]\ncases = 'cases'\n"])
@pytest.mark.parametrize("arguments", [(), ("-p", "xdist.plugin", "-n", "2")])
def test_cases_of_tests_that_are_gone(suite, pytester, setting, arguments):
    (pytester.path / "pyproject.toml").write_text(setting)
    suite(TESTS)
    result = suite(TESTS, UNUSED, *arguments)
    result.assert_outcomes(passed=2)
    assert (result.ret, said(result)[-1]) == (0, "no unused case was found")
    home = pytester.path / ("cases" if setting else "")
    (home / "test_gone").mkdir()
    case = next((home / "test_suite").glob("*.npz")).read_bytes()
    (home / "test_gone" / "old.npz").write_bytes(case)
    # Of a folder that is no test module's, nobody knows whose cases they are.
    (home / "data").mkdir()
    (home / "data" / "other.npz").write_bytes(case)
    result = suite(TESTS.replace("[0, 1]", "[1]"), UNUSED, *arguments)
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    start = "cases/" if setting else ""
    (name,) = [one for one in unused(result) if "test_suite" in one]
    assert name.startswith(f"{start}test_suite/test_it-0")
    assert unused(result) == [f"{start}test_gone/old.npz", name]
    assert said(result)[-1].startswith("2 unused; delete them")


def test_of_tests_that_fail_nobody_knows_what_they_use(suite, pytester):
    fails = TESTS + "    def test_other(): assert False\n"
    result = suite(fails, UNUSED)
    why = "cases of test_suite.py: unknown, not all of its tests ran and passed"
    assert (unused(result), said(result)[-1]) == ([], why)
    skipped = TESTS.replace('name=f"', 'name=f"other ') + "        pytest.skip('not here')\n"
    result = suite(skipped.replace("rnn_parity.reg", "0 and rnn_parity.reg"), UNUSED)
    assert (result.ret, unused(result), said(result)[-1]) == (0, [], why)


@pytest.mark.parametrize("now", ["def test_new(", "def test_it_all(", "[1]"])
def test_a_case_with_the_name_of_no_test_is_told_whatever_failed(suite, now):
    other = TESTS.replace("[0, 1]" if now == "[1]" else "def test_it(", now)
    result = suite(f"{other}    def test_other(): pytest.skip('not here')\n", UNUSED)
    gone = ["test_it-0-"] if now == "[1]" else ["test_it-0-", "test_it-1-"]
    assert [one.partition("/")[2][: len(gone[0])] for one in unused(result)] == gone
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("part", [["-k", "it"], ["--lf"], ["test_suite.py::test_it"]])
def test_a_part_of_the_tests_is_refused(suite, part):
    result = suite(TESTS, UNUSED, *part)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (error,) = [line for line in result.errlines if line.strip()]
    assert error.startswith("ERROR: --rnn-parity-unused: expected whole modules of tests, received")


def test_without_the_option_nothing_is_looked_for(suite):
    result = suite(TESTS.replace("[0, 1]", "[1]"))
    assert (result.ret, unused(result)) == (0, [])
