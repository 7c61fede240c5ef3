"""One configuration after the other in the installed Keras, and what it is known for."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from rnn_parity import keras_adapter as ka
from rnn_parity.results import Check, Subject
from rnn_parity.sweep import one as module
from rnn_parity.sweep.findings import KNOWN, known_as
from rnn_parity.sweep.numbers import CallNumbers, Numbers, numbers_of
from rnn_parity.sweep.one import Outcome, check_one, describe
from rnn_parity.sweep.space import SPACES, Configuration

KERAS_3 = hasattr(ka.tensorflow_module().keras, "ops")
DEFAULT = Configuration.default("simple_rnn")
ZEROED = DEFAULT.but(
    {"go_backwards": True, "unroll": True, "zero_output_for_mask": True, "mask": "right"}
)


@pytest.mark.parametrize("layer", SPACES)
def test_the_default_of_every_layer_is_in_parity(layer):
    outcome = check_one(Configuration.default(layer), 0)
    assert outcome.verdict == "parity", outcome.summary
    assert 0 < outcome.max_ratio <= 1
    assert outcome.seconds > 0


@pytest.mark.parametrize("open_size", ["timesteps", "batch"])
@pytest.mark.parametrize("mode", ["eager", "graph", "predict"])
def test_a_functional_model_with_an_open_size(open_size, mode):
    one = DEFAULT.but({"open_size": open_size, "mode": mode, "mask": "random"})
    assert check_one(one, 0).verdict == "parity"


@pytest.mark.parametrize("layer", SPACES)
@pytest.mark.parametrize("wrapper", ["rnn", "stacked", "bidirectional"])
def test_a_wrapper_is_in_parity(layer, wrapper):
    changes = {"wrapper": wrapper, "merge_mode": "mul", "initial_state": "random"}
    outcome = check_one(Configuration.default(layer).but({**changes, "return_state": True}), 0)
    assert outcome.verdict == "parity", outcome.summary


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
    outcome = check_one(wrapped, 0)
    assert outcome.verdict == "diverged"
    assert outcome.summary.startswith("merge: ")
    assert check_one(wrapped.but({"merge_mode": "sum"}), 0).verdict == "parity"


def test_the_worst_call_counts(monkeypatch):
    verdicts = ("parity", "diverged", "suspect")
    checks = [Check(Subject(call=i), verdict, "") for i, verdict in enumerate(verdicts)]
    # The package's attribute of this name is the function.
    monkeypatch.setattr(import_module("rnn_parity.check"), "judged", lambda *_, **__: checks)
    monkeypatch.setattr(module, "observe", lambda *_: [])
    outcome = check_one(DEFAULT, 0)
    assert (outcome.verdict, outcome.call) == ("diverged", 1)


def test_a_mistake_of_our_own_is_not_compared(monkeypatch):
    monkeypatch.setattr(module, "observe", lambda *_: [][0])
    outcome = check_one(DEFAULT, 0)
    assert outcome.verdict == "inconclusive"
    assert outcome.summary == "not compared: IndexError: list index out of range"


def test_options_that_contradict_each_other_are_refused_in_the_words_of_keras():
    outcome = check_one(DEFAULT.but({"stateful": True, "open_size": "batch"}), 0)
    assert outcome.verdict == "refused"
    assert "batch size" in outcome.summary
    assert outcome.max_ratio is None
    # Keras 3 unrolls a functional model of unknown length once it sees the data.
    outcome = check_one(DEFAULT.but({"unroll": True, "open_size": "timesteps"}), 0)
    assert outcome.verdict == ("parity" if KERAS_3 else "refused")
    assert KERAS_3 or "unroll" in outcome.summary


def test_the_site_knows_what_its_keras_refuses():
    site = describe("simple_rnn")
    refused = [one.changed for one in site.refused]
    assert {"open_size": "batch", "stateful": True} in refused
    unknown = {"time_major": True} if KERAS_3 else {"activation": "sparsemax"}
    assert unknown in refused
    ((name, value),) = unknown.items()
    assert value not in site.space[name]
    assert set(site.space["dtype"]) == set(ka.POLICIES)
    assert all(site.space[name][0] == values[0] for name, values in SPACES["simple_rnn"].items())
    assert not any(DEFAULT.breaks(rule) for rule in site.rules)
    assert site.environment["tensorflow"] is not None


def known(one):
    outcome = check_one(one, 0)
    return known_as(one, outcome, numbers_of(one, 0)), outcome


@pytest.mark.parametrize("layer", SPACES)
def test_the_mask_that_is_not_reversed_is_known(layer):
    changes = {**ZEROED.changed, "timesteps": 2, "units": 1}
    found, outcome = known(Configuration.default(layer).but(changes))
    assert outcome.verdict == "diverged"
    assert found.id == "zeroed-by-the-mask-as-given"


@pytest.mark.skipif(not KERAS_3, reason="Keras 2 has no sparsemax")
@pytest.mark.parametrize("layer", SPACES)
def test_sparsemax_is_known(layer):
    found, outcome = known(Configuration.default(layer).but({"activation": "sparsemax"}))
    assert outcome.verdict == "diverged"
    assert found.id == "sparsemax-threshold"


@pytest.mark.parametrize("activation", ["gelu", "leaky_relu"])
def test_constants_in_float32_are_known(activation):
    found, outcome = known(DEFAULT.but({"activation": activation, "dtype": "float64"}))
    assert outcome.verdict == "diverged"
    assert found.id == "float32-constants-in-float64"


BIDIRECTIONAL = {"wrapper": "bidirectional", "unroll": True, "mask": "right"}


@pytest.mark.parametrize("layer", SPACES)
def test_the_mask_that_a_bidirectional_does_not_reverse_is_known(layer):
    found, outcome = known(Configuration.default(layer).but({**BIDIRECTIONAL, "units": 1}))
    assert outcome.verdict == "diverged"
    assert outcome.summary.startswith("backward: ")
    assert found.id == "bidirectional-zeroed-by-the-mask-as-given"


STACK_OF_ONE = "mask-of-a-stack-of-one-cell"
STATEFUL = {"wrapper": "bidirectional", "stateful": True, "return_state": True}


@pytest.mark.parametrize(
    ("layer", "changes", "expected"),
    [
        ("simple_rnn", {"wrapper": "stacked", "mask": "left"}, STACK_OF_ONE),
        ("gru", {"wrapper": "stacked", "mask": "right"}, STACK_OF_ONE),
        ("lstm", {"wrapper": "stacked", "unroll": True}, "unrolled-stack-of-one-lstm"),
        ("gru", STATEFUL, "states-of-a-stateful-bidirectional"),
    ],
)
def test_what_keras_3_refuses_of_wrappers_is_known(layer, changes, expected):
    one = Configuration.default(layer).but(changes)
    outcome = check_one(one, 0)
    if not KERAS_3:  # which shows that it can be done
        assert outcome.verdict == "parity", outcome.summary
        return
    assert outcome.verdict == "refused"
    assert known_as(one, outcome, None).id == expected


@pytest.mark.parametrize("layer", SPACES)
def test_the_state_that_keras_2_refuses_of_a_stack_is_known(layer):
    changes = {"wrapper": "stacked", "stateful": True, "initial_state": "random"}
    one = Configuration.default(layer).but(changes)
    assert check_one(one, 0).verdict == "parity"
    one = one.but({"mode": "graph"})
    outcome = check_one(one, 0)
    assert outcome.verdict == ("parity" if KERAS_3 else "refused")
    found = known_as(one, outcome, None)
    assert KERAS_3 or found.id == "state-of-a-stateful-stack-in-a-graph"


@pytest.mark.skipif(KERAS_3, reason="Keras 3 does not refuse it")
def test_the_last_output_that_is_not_zeroed_is_known():
    changes = {"return_sequences": False, "unroll": True, "zero_output_for_mask": True}
    one = DEFAULT.but({**changes, "mask": "right"})
    outcome = check_one(one, 0)
    assert outcome.verdict == "refused"
    assert known_as(one, outcome, None).id == "unrolled-last-output-is-not-zeroed"


# What looks like a known mistake and is none must not hide behind it.

BY_HAND = CallNumbers(
    inputs=np.ones((1, 3, 1)),
    mask=np.array([[True, True, False]]),
    initial_state=(),
    outputs=np.array([[[0.0], [1.0], [0.0]]]),
    last_output=None,
    final_state=(),
    expected=np.array([[[0.0], [1.0], [2.0]]]),
    expected_state=(),
)
DIVERGED = Outcome("diverged", "", max_ratio=1e6, effective_bits=4.0)


def of_call(**changes):
    one = np.ones((1, 1))
    return Numbers(one, one, None, (replace(BY_HAND, **changes),))


def test_the_numbers_of_the_readme_are_recognised():
    assert known_as(ZEROED, DIVERGED, of_call()).id == "zeroed-by-the-mask-as-given"


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        ({}, of_call(outputs=np.array([[[0.0], [1.0], [1.5]]]))),  # not zeroed at all
        ({}, of_call(outputs=np.array([[[0.0], [0.0], [2.0]]]))),  # zeroed elsewhere
        ({}, of_call(outputs=BY_HAND.expected)),  # right
        ({}, of_call(mask=None)),
        ({}, None),
        ({"unroll": False}, of_call()),
        ({"mode": "xla"}, of_call()),
        ({"mask": "none"}, of_call()),
        ({"activation": "sparsemax"}, of_call()),
    ],
)
def test_near_misses_are_not_known(changes, numbers):
    assert known_as(ZEROED.but(changes), DIVERGED, numbers) is None


def test_a_verdict_that_is_another_is_not_known():
    assert known_as(ZEROED, replace(DIVERGED, verdict="inconclusive"), of_call()) is None


@pytest.mark.parametrize("bits", [53.0, 10.0, None])
def test_float64_layers_that_are_wrong_otherwise_are_not_known(bits):
    one = DEFAULT.but({"activation": "gelu", "dtype": "float64"})
    assert known_as(one, replace(DIVERGED, effective_bits=30.0), None) is not None
    assert known_as(one, replace(DIVERGED, effective_bits=bits), None) is None


def test_a_sparsemax_that_is_wrong_otherwise_is_not_known():
    """Two units that see the input (1, 1/2): (3/4, 1/4) is right, (1/4, 0) is Keras 3.15's.

    tau is (3/2 - 1) / 2 = 1/4, or (1 + 3/2 - 1) / 2 = 3/4.
    """
    one = DEFAULT.but({"activation": "sparsemax"})
    identity, none = np.array([[1.0, 0.5]]), np.zeros((2, 2))

    def of(*outputs):
        right, seen = np.array([[[0.75, 0.25]]]), np.array([[outputs]])
        call = replace(BY_HAND, inputs=np.ones((1, 1, 1)), mask=None, expected=right, outputs=seen)
        return known_as(one, DIVERGED, Numbers(identity, none, None, (call,)))

    assert of(0.25, 0.0).id == "sparsemax-threshold"
    assert of(0.25, 0.75) is None
    assert of(0.0, 0.0) is None
    assert known_as(one, DIVERGED, None) is None


def test_the_table_can_be_read():
    assert len({known.id for known in KNOWN}) == len(KNOWN)
    for known in KNOWN:
        for layer in known.layers:
            space = SPACES[layer]
            assert all(set(values) <= set(space[name]) for name, values in known.options.items())
        assert known.wrong
        assert known.right
        assert known.keras
        assert known.against
