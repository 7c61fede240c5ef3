"""Random data: of the asked shape, the same for the same seed, and fit to show mistakes."""

import numpy as np
import pytest

from rnn_parity.api.functions import generated_calls
from rnn_parity.api.generated import (
    GeneratedLayer,
    known_refusals,
    random_inputs,
    random_mask,
    random_state,
)
from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.runtime import keras_major
from rnn_parity.system.choices import MODES

pytestmark = pytest.mark.filterwarnings("error")


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_default_layer_is_the_notebooks():
    spec = GeneratedLayer()
    assert (spec.layer, spec.batch, spec.timesteps, spec.features, spec.units) == (
        "simple_rnn",
        *(32, 28, 32, 16),
    )


def test_inputs_have_a_shape_a_dtype_and_a_seed():
    spec = GeneratedLayer(batch=2, timesteps=3, features=4, calls=5)
    x = random_inputs(spec, rng())
    assert (x.shape, x.dtype) == ((5, 2, 3, 4), np.float32)
    np.testing.assert_array_equal(x, random_inputs(spec, rng()))
    assert not np.array_equal(x, random_inputs(spec, rng(1)))
    assert len(np.unique(x)) == x.size


def test_inputs_of_a_float64_layer_use_its_digits():
    x = random_inputs(GeneratedLayer(dtype="float64"), rng())
    assert (x != x.astype(np.float32)).any()


@pytest.mark.parametrize("kind", ["right", "left", "random"])
@pytest.mark.parametrize(("batch", "timesteps"), [(1, 2), (1, 9), (8, 5), (32, 28)])
def test_a_mask_hides_some_and_shows_some(kind, batch, timesteps):
    for seed in range(20):
        mask = random_mask(kind, batch, timesteps, rng(seed))
        assert (mask.shape, mask.dtype) == ((batch, timesteps), np.dtype(bool))
        assert mask.any()
        assert not mask.all()


@pytest.mark.parametrize("kind", ["right", "left", "random"])
def test_one_timestep_can_be_masked_or_not(kind):
    assert random_mask(kind, 3, 1, rng()).shape == (3, 1)


def test_right_pads_after_and_left_before():
    right, left = (random_mask(kind, 32, 28, rng()) for kind in ("right", "left"))
    assert right[:, 0].all()
    assert left[:, -1].all()
    assert (np.diff(right.astype(int), axis=1) <= 0).all()
    assert (np.diff(left.astype(int), axis=1) >= 0).all()


def test_a_random_mask_has_holes():
    mask = random_mask("random", 32, 28, rng())
    assert (np.abs(np.diff(mask.astype(int), axis=1)).sum(axis=1) > 2).any()


def test_no_mask_and_no_state():
    assert random_mask("none", 2, 3, rng()) is None
    assert random_state("zeros", 2, 3, rng()) is None


@pytest.mark.parametrize("count", [1, 2])
def test_states_are_distinct_and_not_zero(count):
    states = random_state("random", 4, 5, rng(), count)
    assert [(state.shape, state.dtype) for state in states] == [((4, 5), np.float32)] * count
    assert len(np.unique(states)) == 20 * count
    assert np.abs(states).max() <= 1
    assert np.all(np.not_equal(states, 0))


def test_the_first_state_does_not_depend_on_their_number():
    (alone,), (first, _) = (random_state("random", 4, 5, rng(), count) for count in (1, 2))
    np.testing.assert_array_equal(alone, first)


def test_unknown_kinds_are_refused():
    message = "^mask: expected one of none, right, left, random, received 'top'$"
    with pytest.raises(InputError, match=message):
        random_mask("top", 2, 3, rng())
    message = "^initial state: expected one of zeros, random, received 'ones'$"
    with pytest.raises(InputError, match=message):
        random_state("ones", 2, 3, rng())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            {"layer": "bidirectional", "arguments": {"layer": "gru", "stateful": True}, "calls": 2},
            "leave the states out, return_state=False (--arg return_state=False); more: "
            "rnn-parity explain states-of-a-stateful-bidirectional",
        ),
        (
            {"layer": "stacked", "arguments": {"cells": "gru"}, "mask": "right"},
            "is known for that, mask-of-a-stack-of-one-cell: rnn-parity explain mask-of-a-",
        ),
    ],
)
@pytest.mark.skipif(keras_major() == 2, reason="Keras 2 does not refuse them")
def test_a_refusal_that_is_known_names_the_way_out(line, expected):
    spec = GeneratedLayer(units=2, batch=2, timesteps=3, features=2, **line)
    with pytest.raises(InputError, match="Keras refused: ") as refused:
        list(generated_calls(spec, None, None, "graph"))
    assert expected in str(refused.value)


def test_another_refusal_stays_as_it_is():
    """The words alone do not make it known: the options that matter must be set."""
    words = "a layer: Keras refused: unsupported operand type(s) for *: 'generator' and 'int'"
    arguments = {"layer": "gru", "stateful": True, "return_state": False}
    for spec in (GeneratedLayer("gru"), GeneratedLayer("bidirectional", arguments=arguments)):
        with pytest.raises(InputError) as refused, known_refusals(spec, "graph"):
            raise InputError(words)
        assert str(refused.value) == words


def test_a_bidirectional_has_one_name_in_all_modes_and_keeps_its_parts():
    spec = GeneratedLayer("bidirectional", units=2, batch=2, timesteps=3, features=2)
    calls = list(generated_calls(spec, None, None, "all"))
    names = {mode: [c.layer_name for c in calls if c.mode == mode] for mode in MODES}
    assert len({tuple(some) for some in names.values()}) == 1
    every = {id(call) for call in calls}
    wholes = [call for call in calls if call.parts]
    assert len(wholes) == len(MODES)
    assert all(id(part) in every for whole in wholes for some in whole.parts for part in some)
