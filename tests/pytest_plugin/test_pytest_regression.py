"""The pytest plugin's recorded cases, seen from the test suites that use them."""

import re
from textwrap import dedent

import numpy as np
import pytest
from plugin_suite import SETUP, document, runner, section

from rnn_parity.pytest_plugin import safe_name

pytest_plugins = ["pytester"]


@pytest.fixture
def suite(pytester, monkeypatch):
    return runner(pytester, monkeypatch)


LAYER = """
    import os
    from tensorflow import keras
    import numpy as np

    INPUTS = np.array([[[1], [2], [3]], [[0], [0], [0]]], "float32")

    @pytest.fixture
    def layer():
        layer = keras.layers.SimpleRNN(1, activation=None, return_sequences=True)
        layer.build((2, 3, 1))
        bias = float(os.environ["BIAS"])
        layer.set_weights([np.array([[1.0]]), np.array([[0.5]]), np.array([bias])])
        return layer
"""
CASE = "test_suite/test_it.npz"


def check_workflow(suite, pytester, monkeypatch, source, test):
    """Missing, pass, changed, update, pass: what pytest says, and which outputs the case holds."""
    case = pytester.path / CASE

    def outputs():
        with np.load(case) as arrays:
            return arrays["outputs"].ravel().tolist()

    monkeypatch.setenv("BIAS", "0.25")
    result = suite(source, setup=SETUP + LAYER)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            f"E*AssertionError: no case was recorded yet; written now: {CASE}",
            "E*to do     look at it with rnn-parity check, commit it and run the test again",
        ]
    )
    recorded = [1.25, 2.875, 4.6875, 0.25, 0.375, 0.4375]
    assert outputs() == recorded
    result = suite(source, "-v", setup=SETUP + LAYER)
    result.assert_outcomes(passed=1)
    then, now = section(result)
    assert then.startswith(f"PARITY {test} - ")
    assert "recorded outputs, TensorFlow " in then
    assert now.startswith(f"PARITY {test} - ")

    monkeypatch.setenv("BIAS", "0.5")
    changed = [f"E*AssertionError: changed since it was recorded: {CASE}"]
    changed += ["E*bias[[]0]: 0.25 then, 0.5 now", "E*then and now with TensorFlow *, Keras *"]
    result = suite(source, setup=SETUP + LAYER)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([*changed, "E*to do *run pytest with --rnn-parity-update*"])
    assert outputs() == recorded
    result = suite(source, "--rnn-parity-update", setup=SETUP + LAYER)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([*changed, "E*to do     rewritten: commit it *"])
    assert outputs() == [1.5, 3.25, 5.125, 0.5, 0.75, 0.875]
    suite(source, "--rnn-parity-update", setup=SETUP + LAYER).assert_outcomes(passed=1)
    assert "regression.py" not in result.stdout.str()


def test_regression(suite, pytester, monkeypatch):
    source = """
        def test_it(rnn_parity, layer):
            rnn_parity.regression(layer, INPUTS)
    """
    check_workflow(suite, pytester, monkeypatch, source, "test_suite.py::test_it")


def test_every_test_has_cases_of_its_own(suite, pytester, monkeypatch):
    pytester.makepyprojecttoml("[tool.rnn_parity]\ncases = 'cases'")
    # Keras is not run: a layer's observation stands for it, a list of two for a model's.
    setup = """
        import os
        from dataclasses import replace

        import numpy as np
        from rnn_parity import keras_adapter
        from rnn_parity.recurrence.layer_call import LayerCall
        from rnn_parity.pytest_plugin import fixture

        ONE = LayerCall(
            "SimpleRNN", "rnn", {}, "graph", None, WEIGHTS, None, np.array(INPUTS, float),
            np.array(RIGHT)
        )
        ROUNDING = 2.0**-52 if "ROUNDED" in os.environ else 0
        TWO = [ONE, replace(ONE, call=1, inputs=ONE.inputs * (1 + ROUNDING))]

        @pytest.fixture(autouse=True)
        def observed(monkeypatch):
            monkeypatch.setattr(keras_adapter, "device", lambda: "cpu")
            monkeypatch.setattr(keras_adapter, "is_model", lambda value: value is TWO)
            monkeypatch.setattr(fixture, "observe", lambda layer, *data: layer)
    """
    source = """
        class TestA:
            @pytest.mark.parametrize("n", ["a/b", "a_b", "A_b", "../x"])
            def test_it(self, rnn_parity, n):
                rnn_parity.regression([ONE], INPUTS)

        def test_it(rnn_parity):
            with pytest.raises(AssertionError, match="no case was recorded yet"):
                rnn_parity.regression([ONE], INPUTS, name="one")
            rnn_parity.regression([ONE], INPUTS, name="one")

        def test_model(rnn_parity):
            rnn_parity.regression(TWO, INPUTS)
    """
    arguments = ["-p", "xdist.plugin", "-n", "2", "--rnn-parity-report=report.json"]
    setup = dedent(SETUP) + dedent(setup)
    result = suite(source, *arguments, setup=setup)
    result.assert_outcomes(failed=6)
    result.stdout.fnmatch_lines(
        ["E*InputError: name: expected another one *, received 'one' twice"]
    )
    files = [path.name for path in (pytester.path / "cases" / "test_suite").iterdir()]
    assert len({name.casefold() for name in files}) == 4 + 1 + 2
    assert {"test_model-0.npz", "test_model-1.npz"} <= set(files)
    found = document(pytester)
    assert (found["verdict"], found["exit_code"]) == ("inconclusive", 3)
    assert len(found["checks"]) == 2 * len(files)

    arguments += ["--deselect", "test_suite.py::test_it"]
    monkeypatch.setenv("ROUNDED", "on the way through the model")
    suite(source, *arguments, setup=setup).assert_outcomes(passed=5)
    found = document(pytester)
    assert (found["verdict"], found["exit_code"]) == ("parity", 0)
    notes = [note for check in found["checks"] for note in check["notes"]]
    assert len([note for note in notes if note.startswith("moved by rounding on the way")]) == 1


def test_one_call_says_all_that_is_new_changed_or_wrong(suite, pytester):
    """Of four layers one is as recorded, one diverged, one has no case, and one is damaged."""
    setup = """
        import os
        from dataclasses import replace

        import numpy as np
        from rnn_parity import keras_adapter
        from rnn_parity.recurrence.layer_call import LayerCall
        from rnn_parity.pytest_plugin import fixture

        ONE = LayerCall(
            "SimpleRNN", "rnn", {}, "graph", None, WEIGHTS, None, np.array(INPUTS, float),
            np.array(RIGHT)
        )
        WRONG = np.array(WITHOUT_BIAS if "WRONG" in os.environ else RIGHT)

        # Keras is not run: four observations stand for it.
        @pytest.fixture(autouse=True)
        def observed(monkeypatch):
            monkeypatch.setattr(keras_adapter, "device", lambda: "cpu")
            monkeypatch.setattr(keras_adapter, "is_model", lambda value: True)
            monkeypatch.setattr(fixture, "observe", lambda calls, *data: calls)
    """
    source = """
        def test_it(rnn_parity):
            rnn_parity.regression([ONE, replace(ONE, outputs=WRONG), ONE, ONE], INPUTS)
    """
    setup = dedent(SETUP) + dedent(setup)
    suite(source, setup=setup).assert_outcomes(failed=1)
    folder = pytester.path / "test_suite"
    files = [folder / f"test_it-{i}.npz" for i in range(4)]
    assert all(file.exists() for file in files)

    def damage():
        files[2].unlink()
        files[3].write_bytes(b"PK")

    damage()
    said = ["E*2 of 4 cases are missing, changed or damaged", "E*no case*written now: *-2.npz"]
    said += [
        "E*to do *look at it *",
        "E*cannot be read: *-3.npz",
        "E*to do *restore it*--rnn-parity-update*",
    ]
    result = suite(source, setup=setup)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(said)
    assert files[2].exists()
    assert files[3].read_bytes() == b"PK"

    damage()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WRONG", "1")
        result = suite(source, setup=setup)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*AssertionError: DIVERGED*", "E*bias-dropped*", *said])

    damage()
    result = suite(source, "--rnn-parity-update", setup=setup)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([said[0], said[3], "E*to do *rewritten*"])
    suite(source, setup=setup).assert_outcomes(passed=1)


@pytest.mark.parametrize("text", ["test_it", "t", "test_0", "a" * 80])
def test_a_plain_name_is_the_name_of_its_file(text):
    assert safe_name(text) == text


def test_other_names_are_safe_and_distinct():
    texts = ["test_it[a/b]", "test_it[a-b]", "test_it[A-b]", "test_it-a-b", "A::t", "A-t", "a::t"]
    texts += ["t#x", "t[x]", "\ud800", "\0", "..", "", "é", "e\u0301", "b" * 81, "b" * 82]
    names = [safe_name(text) for text in texts]
    assert len({name.casefold() for name in names}) == len(texts)
    assert all(re.fullmatch("[A-Za-z0-9_-]{1,100}", name) for name in names)
