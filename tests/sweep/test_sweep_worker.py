"""What a worker does for a sweep, in the installed Keras."""

from types import SimpleNamespace

import numpy as np
import pytest

from rnn_parity import keras_adapter as ka
from rnn_parity.errors import InputError
from rnn_parity.sweep import worker as module
from rnn_parity.sweep.space import SPACES, default_of
from rnn_parity.sweep.worker import check_configuration, describe
from rnn_parity.verdict.results import Check, Subject
from rnn_parity.verdict.sweep_results import Outcome

KERAS_3 = hasattr(ka.tensorflow_module().keras, "ops")
DEFAULT = default_of("simple_rnn")


@pytest.mark.parametrize("layer", SPACES)
def test_the_default_of_every_layer_is_in_parity(layer):
    outcome = check_configuration(default_of(layer), 0)
    assert outcome.verdict == "parity", outcome.summary
    assert 0 < outcome.max_ratio <= 1


def test_the_seconds_of_an_outcome_are_rounded_to_four_decimals(monkeypatch):
    clock = iter([2.0, 2.75004])
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(module, "_checked", lambda *_, why: (Outcome("parity", ""), ()))
    assert check_configuration(DEFAULT, 0).seconds == 0.75


@pytest.mark.parametrize("open_size", ["timesteps", "batch"])
@pytest.mark.parametrize("mode", ["eager", "graph", "predict"])
def test_a_functional_model_with_an_open_size(open_size, mode):
    one = DEFAULT.but({"open_size": open_size, "mode": mode, "mask": "random"})
    assert check_configuration(one, 0).verdict == "parity"


@pytest.mark.parametrize("layer", SPACES)
@pytest.mark.parametrize("wrapper", ["rnn", "stacked", "bidirectional"])
def test_a_wrapper_is_in_parity(layer, wrapper):
    changes = {"wrapper": wrapper, "merge_mode": "mul", "initial_state": "random"}
    outcome = check_configuration(default_of(layer).but({**changes, "return_state": True}), 0)
    assert outcome.verdict == "parity", outcome.summary


@pytest.mark.skipif(not KERAS_3, reason="Keras 2 has no hard_silu")
@pytest.mark.parametrize(("activation", "seed"), [("silu", 7), ("mish", 6), ("hard_silu", 6)])
def test_xla_may_fuse_a_sum_with_the_products_before_it(activation, seed):
    changes = {"wrapper": "bidirectional", "merge_mode": "sum", "unroll": True, "mode": "xla"}
    sizes = {"batch": 1, "timesteps": 1, "features": 1, "units": 3}
    one = DEFAULT.but({**changes, **sizes, "activation": activation})
    assert check_configuration(one, seed).verdict == "parity"


def test_xla_may_compute_a_state_once_more():
    changes = {"return_sequences": False, "return_state": True, "unroll": True, "mode": "predict"}
    sizes = {"batch": 1, "timesteps": 2, "features": 1, "units": 1}
    one = DEFAULT.but({**changes, **sizes, "activation": "mish"})
    assert check_configuration(one, 31).verdict == "parity"


def test_a_merge_that_is_wrong_is_found(monkeypatch):
    """Merged in the order backward, forward: side by side it is seen, added it is not."""
    layers = ka.tensorflow_module().keras.layers
    call = layers.Bidirectional.call

    def swapped(self, *given, **options):
        outputs = np.asarray(call(self, *given, **options))
        half = outputs.shape[-1] // 2
        if self.merge_mode == "sum":
            return ka.tensorflow_module().constant(outputs)
        return ka.tensorflow_module().constant(np.roll(outputs, half, axis=-1))

    monkeypatch.setattr(layers.Bidirectional, "call", swapped)
    wrapped = DEFAULT.but({"wrapper": "bidirectional"})
    outcome = check_configuration(wrapped, 0)
    assert outcome.verdict == "diverged"
    assert outcome.summary.startswith("merge: ")
    assert check_configuration(wrapped.but({"merge_mode": "sum"}), 0).verdict == "parity"


def test_the_worst_call_counts(monkeypatch):
    verdicts = ("parity", "diverged", "suspect")
    checks = [Check(Subject(call=i), verdict, "") for i, verdict in enumerate(verdicts)]
    monkeypatch.setattr("rnn_parity.api.judging.judged", lambda *_, **__: checks)
    monkeypatch.setattr(module, "observe", lambda *_: [])
    outcome = check_configuration(DEFAULT, 0)
    assert (outcome.verdict, outcome.call) == ("diverged", 1)


def test_a_mistake_of_our_own_is_not_compared(monkeypatch):
    monkeypatch.setattr(module, "observe", lambda *_: [][0])
    outcome = check_configuration(DEFAULT, 0)
    assert outcome.verdict == "inconclusive"
    assert outcome.summary == "not compared: IndexError: list index out of range"


def test_options_that_contradict_each_other_are_refused_in_the_words_of_keras():
    outcome = check_configuration(DEFAULT.but({"stateful": True, "open_size": "batch"}), 0)
    assert outcome.verdict == "refused"
    assert "batch size" in outcome.summary
    assert outcome.max_ratio is None
    # Keras 3 unrolls a functional model of unknown length once it sees the data.
    outcome = check_configuration(DEFAULT.but({"unroll": True, "open_size": "timesteps"}), 0)
    assert outcome.verdict == ("parity" if KERAS_3 else "refused")
    assert KERAS_3 or "unroll" in outcome.summary


@pytest.mark.parametrize("layer", ["lstm", "gru"])
@pytest.mark.parametrize("gates", ["tanh", "softsign", "sigmoid"])
def test_exponential_cells_stay_within_float16(layer, gates):
    """Otherwise nothing could be proven of them: their state feeds itself."""
    changes = {"activation": "exponential", "recurrent_activation": gates, "stateful": True}
    sizes = {"dtype": "mixed_float16", "calls": 3, "timesteps": 8, "units": 17}
    one = default_of(layer).but({**changes, **sizes})
    assert check_configuration(one, 0).verdict == "parity"


def test_the_site_knows_what_its_keras_refuses():
    site = describe("simple_rnn")
    refused = {tuple(one.changed.items()): outcome for one, outcome in site.left_out}
    outcome = refused[("open_size", "batch"), ("stateful", True)]
    assert (outcome.verdict, "batch size" in outcome.summary) == ("refused", True)
    assert {one.verdict for one in refused.values()} == {"refused"}
    unknown = ("time_major", True) if KERAS_3 else ("activation", "sparsemax")
    assert unknown[1] not in site.space[unknown[0]]
    # A value of its own is no combination.
    assert all(len(options) > 1 for options in refused)
    assert set(site.space["dtype"]) == set(ka.POLICIES)
    assert all(site.space[name][0] == values[0] for name, values in SPACES["simple_rnn"].items())
    assert not any(rule.forbids(DEFAULT) for rule in site.rules)
    assert site.environment["tensorflow"] is not None


@pytest.mark.skipif(not KERAS_3, reason="Keras 2 takes it")
def test_a_value_that_keras_does_not_take_is_refused_where_it_is_asked_for():
    names = {"activation": ("tanh", "ReLU"), "time_major": (False, True)}
    space = {**SPACES["gru"], **names}
    site = describe("gru", space=space)
    assert (site.space["activation"], site.space["time_major"]) == (("tanh",), (False,))
    for name, values in names.items():
        words = f"^{name}={values[1]}: expected a value that Keras 3.* takes, received one that it"
        with pytest.raises(InputError, match=words):
            describe("gru", space=space, named=[name])
    with pytest.raises(InputError, match=r"^time_major=True: expected a value"):
        describe("gru", space={**space, "time_major": (True,)})
