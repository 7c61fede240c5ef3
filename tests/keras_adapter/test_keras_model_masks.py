"""Where the mask of a model goes: to its recurrent layers, and where it does not, that is said.

What is expected of Keras is worked out by hand: a layer that adds up its inputs shows which steps
it counted.
"""

import numpy as np
import pytest
from keras_layers import ADDS, COUNT, COUNT_MASK, keras, layers

from rnn_parity import keras_adapter as ka
from rnn_parity.errors import InputError

MODES = ("eager", "graph", "xla", "predict")
MASKED_SUM = [1.0, 1.0, 5.0]  # of 1, 2, 4, the second of them masked: the first step is repeated
WHOLE_SUM = [1.0, 3.0, 7.0]


def adder(name="sum", **options):
    return layers.SimpleRNN(1, return_sequences=True, name=name, **ADDS, **options)


def sums(model, x=COUNT, mask=COUNT_MASK, mode="graph"):
    """By layer: what it returned, the mask that it got, and what was noted."""
    seen = ka.observe_calls(model, [x], mode, None, mask)
    return {
        one.layer_name: (
            one.outputs[0, :, 0].tolist(),
            None if one.mask is None else one.mask.tolist(),
            one.notes,
        )
        for one in seen
    }


REACHED = (MASKED_SUM, COUNT_MASK.tolist(), ())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_it_reaches_a_layer_through_those_that_hand_masks_on(kind, mode):
    own = [layers.Activation("linear"), layers.Dropout(0.5), adder()]
    if kind == "sequential":
        model = keras.Sequential([keras.Input((3, 1)), *own])
    else:
        x = outputs = keras.Input((3, 1))
        for layer in own:
            outputs = layer(outputs)
        model = keras.Model(x, outputs)
    assert sums(model, mode=mode) == {"sum": REACHED}


def test_it_reaches_layers_of_a_nested_model_and_the_second_of_two():
    inner = keras.Sequential([keras.Input((3, 1)), adder("first"), adder("second")], name="inner")
    x = keras.Input((3, 1))
    found = sums(keras.Model(x, inner(x)))
    assert {name: mask for name, (_, mask, _) in found.items()} == {
        "inner/first": COUNT_MASK.tolist(),
        "inner/second": COUNT_MASK.tolist(),
    }


@pytest.mark.parametrize("between", ["Conv1D", "Reshape", "Subclass"])
def test_a_mask_that_no_layer_gets_is_refused(between):
    drops = {
        "Conv1D": lambda: layers.Conv1D(1, 1, use_bias=False, kernel_initializer="ones"),
        "Reshape": lambda: layers.Reshape((3, 1)),
    }
    if between == "Subclass":
        model = Forgets()
    else:
        model = keras.Sequential([keras.Input((3, 1)), drops[between](), adder()])
    with pytest.raises(InputError, match="does not reach sum: no mask does"):
        sums(model)


class Forgets(keras.Model):
    """A model that takes a mask and hands it to nobody."""

    def __init__(self):
        super().__init__()
        self.rnn = adder()

    def call(self, x, mask=None):
        return self.rnn(x)


class Takes(Forgets):
    """A model that hands its mask on by itself."""

    def call(self, x, mask=None):
        return self.rnn(x, mask=mask)


class TakesNone(Forgets):
    """A model that takes no mask."""

    def call(self, x):
        return self.rnn(x)


def test_models_of_a_users_own():
    assert sums(Takes()) == {"sum": REACHED}
    with pytest.raises(InputError, match="takes none: its call has no argument of this name"):
        sums(TakesNone())


def test_a_layer_with_a_mask_of_its_own_is_told():
    x = keras.Input((3, 1))
    model = keras.Model(x, [adder("own")(layers.Masking(2.0)(x)), adder("given")(x)])
    found = sums(model, mask=~COUNT_MASK)
    assert found["given"] == ([0.0, 2.0, 2.0], (~COUNT_MASK).tolist(), ())
    outputs, mask, (note,) = found["own"]
    assert (outputs, mask) == (MASKED_SUM, COUNT_MASK.tolist())  # where the input is not 2
    assert "does not reach it: another one does" in note


@pytest.mark.parametrize("mode", MODES)
def test_each_of_several_inputs_has_its_own(mode):
    x, y = keras.Input((3, 1), name="x"), keras.Input((3, 1), name="y")
    model = keras.Model([x, y], [adder("of_x")(x), adder("of_y")(y)])
    both = [COUNT_MASK, ~COUNT_MASK]
    found = sums(model, [COUNT, COUNT], both, mode)
    assert found["of_x"] == REACHED
    assert found["of_y"] == ([0.0, 2.0, 2.0], both[1].tolist(), ())
    found = sums(model, [COUNT, COUNT], [None, COUNT_MASK], mode)
    assert found["of_y"] == REACHED
    outputs, mask, (note,) = found["of_x"]
    assert (outputs, mask) == (WHOLE_SUM, None)
    assert "does not reach it: no mask does" in note


def test_keras_takes_one_mask_for_that_of_the_first_input():
    """Why a mask without a name is refused where a model has several inputs."""
    x, y = keras.Input((3, 1), name="x"), keras.Input((3, 1), name="y")
    model = keras.Model([x, y], [adder("of_x")(x), adder("of_y")(y)])
    found = sums(model, [COUNT, COUNT])
    assert [found[name][1] for name in ("of_x", "of_y")] == [COUNT_MASK.tolist(), None]
    data = ka.data_of_calls(model, {"x": COUNT, "y": COUNT}, 1, 3, 0)
    with pytest.raises(InputError, match="the model takes 2 inputs"):
        ka.masks_for(model, COUNT_MASK, data)


def test_the_states_of_a_model_are_set_to_zeros():
    model = keras.Sequential([keras.Input(batch_shape=(1, 3, 1)), adder(stateful=True)])
    one, two = ka.observe_calls(model, [COUNT, COUNT])
    assert (one.outputs[0, :, 0].tolist(), two.outputs[0, :, 0].tolist()) == (
        WHOLE_SUM,
        [8.0, 10.0, 14.0],
    )
    ka.reset_states(model)
    (again,) = ka.observe_calls(model, [COUNT])
    assert np.array_equal(again.outputs, one.outputs)
