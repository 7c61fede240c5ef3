"""Numbers from a file against inputs that nobody gave: they are of others, but for a right seed."""

import numpy as np
import pytest

from rnn_parity.api.functions import check_generated, observe_generated
from rnn_parity.api.generated import GeneratedLayer
from rnn_parity.errors import InputError

SPEC = GeneratedLayer("gru", units=3, batch=2, timesteps=4, features=2, seed=7)


@pytest.fixture(scope="module")
def call():
    (seen,) = observe_generated(SPEC, None, None, "graph")
    return seen


def saved(folder, array):
    path = str(folder / "y.npy")
    np.save(path, array)
    return path


def test_the_same_seed_makes_the_inputs_of_the_numbers(tmp_path, call):
    report = check_generated(SPEC, against=saved(tmp_path, call.outputs))
    assert report.verdict == "parity"
    assert "y.npy held against random ones (--seed 7)" in report.notes[0]


@pytest.mark.parametrize("shape", [(2, 4, 3), (2, 5, 3)])
def test_what_differs_says_first_that_the_inputs_were_invented(tmp_path, shape):
    path = saved(tmp_path, np.random.default_rng(1).normal(size=shape))
    report = check_generated(SPEC, against=path)
    (check,) = report.checks
    assert check.verdict == "diverged"
    assert check.summary.startswith("the inputs were invented (--seed 7), and ")
    assert "give its own inputs with --input; " in check.summary


def test_given_inputs_are_not_invented(tmp_path, call):
    path = saved(tmp_path, call.outputs + 1)
    report = check_generated(SPEC, inputs=call.inputs, against=path)
    assert (report.verdict, report.notes) == ("diverged", ())
    assert "invented" not in report.summary


def test_what_was_computed_from_them_is_judged_as_it_is():
    report = check_generated(SPEC, against=lambda inputs: np.ones((2, 4, 3)))
    assert "invented" not in report.summary


def test_a_refusal_names_the_option(tmp_path):
    spec = GeneratedLayer("gru", units=3, batch=4, timesteps=4, features=2)
    path = saved(tmp_path, np.ones((4, 12)))
    with pytest.raises(InputError, match=r"in several ways: .*the inputs were invented; .*--input"):
        check_generated(spec, against=path)
