"""What Keras 3 cannot load, run by tf_keras in a process of its own; and without tf_keras.

The data that comes back is tested with layers of the Keras here, so most of it needs no tf_keras.
"""

import io

import numpy as np
import pytest
from keras_layers import MASK, B, F, H, T, X, functional, keras, layers, randomised
from old_models import recorded, unpacked

from rnn_parity import keras_adapter as ka
from rnn_parity.api import functions
from rnn_parity.api.judging import judged
from rnn_parity.api.saved import ModelRun, opened
from rnn_parity.errors import InputError
from rnn_parity.implementations import legacy_keras
from rnn_parity.implementations.keras_backend import receive, send

KERAS_3 = hasattr(keras, "ops")
needs_it = pytest.mark.skipif(
    not KERAS_3 or legacy_keras.installed() is None, reason="tf_keras is not installed"
)
pytestmark = pytest.mark.skipif(not KERAS_3, reason="Keras 2 needs no other")
ONLY_OLD = ("time_major-2.15.0.h5", "operations-2.15.0.h5", "archive_operations-2.15.0.keras")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return unpacked(tmp_path_factory.mktemp("old"))


@pytest.mark.parametrize("name", ONLY_OLD)
def test_without_tf_keras_the_refusal_names_the_extra(folder, monkeypatch, name):
    monkeypatch.setattr(legacy_keras, "installed", lambda: None)
    with pytest.raises(InputError) as caught:
        functions.check_model(str(folder / name))
    said = str(caught.value)
    assert said.startswith(f"{folder / name}: written by Keras 2.15.0, and Keras 3 cannot load it")
    assert ("'time_major': True" if "time" in name else "it uses 'TFOpLambda'") in said
    assert said.endswith("; tf_keras may load it: pip install 'rnn-parity[legacy]'")
    assert "\n" not in said


@needs_it
@pytest.mark.parametrize("name", ONLY_OLD)
def test_tf_keras_runs_what_keras_3_cannot(folder, name):
    inputs, (expected,) = recorded(folder / name)
    model = opened(ModelRun(str(folder / name), inputs))
    assert model.notes[0].startswith(f"tf_keras {legacy_keras.installed()} ran this model, in a")
    calls = list(model.calls(["graph"]))
    found = calls[-1].outputs if calls[-1].last_output is None else calls[-1].last_output
    if "time" in name:  # a call is batch first, whatever the layer takes
        expected = expected.swapaxes(0, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert {check.verdict for check in judged(calls, "model")} == {"parity"}


@needs_it
def test_what_tf_keras_refuses_too_is_one_line(folder, tmp_path):
    import h5py

    path = tmp_path / "half.h5"
    path.write_bytes((folder / "operations-2.15.0.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        del file["model_weights"]
    with pytest.raises(InputError) as caught:
        functions.check_model(str(path))
    said = str(caught.value)
    assert "it uses 'TFOpLambda'" in said
    assert f"; nor can tf_keras {legacy_keras.installed()}: " in said
    assert "\n" not in said


@needs_it
def test_code_in_a_file_is_refused_there_too(folder, tmp_path):
    import h5py

    path = tmp_path / "code.h5"
    path.write_bytes((folder / "operations-2.15.0.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        config = file.attrs["model_config"].replace('"math.multiply"', '"io.write_file"')
        file.attrs["model_config"] = config
    with pytest.raises(InputError, match=r"holds code \(the operation 'io.write_file', not on the"):
        functions.check_model(str(path))


# Calls as data.


def through_a_pipe(calls):
    stream = io.BytesIO()
    send(stream, legacy_keras.packed(calls))
    return legacy_keras.unpacked(receive(io.BytesIO(stream.getvalue())))


def same(one, other):
    assert type(one.weights) is type(other.weights)
    for name in ("layer_class", "layer_name", "config", "mode", "call", "not_compared", "notes"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("inputs", "outputs", "mask", "last_output", "dropout_inputs", "dropout_recurrent"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None), name
        assert a is None or np.array_equal(a, np.asarray(b, a.dtype)), name
    for name in ("initial_state", "final_state"):
        found, expected = (getattr(x, name) or () for x in (one, other))
        assert len(found) == len(expected)
        assert all(map(np.array_equal, found, expected)), name


RANDOM = {
    "simple_rnn": lambda: layers.SimpleRNN(H, go_backwards=True, zero_output_for_mask=True),
    "lstm": lambda: layers.LSTM(H, return_sequences=True, return_state=True, activation="relu"),
    "gru": lambda: layers.GRU(H, reset_after=False, recurrent_activation="hard_sigmoid"),
    "no_bias": lambda: layers.GRU(H, use_bias=False, return_sequences=True),
    "bfloat16": lambda: layers.LSTM(H, dtype="mixed_bfloat16", return_sequences=True),
    "dropout": lambda: layers.LSTM(H, dropout=0.3, recurrent_dropout=0.2, return_sequences=True),
}


@pytest.mark.parametrize("kind", RANDOM)
def test_a_call_arrives_whole(kind):
    layer = randomised(RANDOM[kind]())
    calls = ka.observe_layer(layer, X, mask=MASK, training=kind == "dropout")
    (found,) = through_a_pipe(calls)
    same(found, calls[0])
    for name in ("kernel", "recurrent_kernel", "bias"):
        a, b = (getattr(one.weights, name) for one in (found, calls[0]))
        assert (a is None and b is None) or np.array_equal(a, b)
    for name in (*calls[0].weights.OPTIONS, "go_backwards", "zero_output_for_mask", "precision"):
        assert getattr(found.weights, name) == getattr(calls[0].weights, name), name


def test_the_parts_of_a_wrapper_arrive_in_it():
    wrapper = layers.Bidirectional(layers.LSTM(H, return_sequences=True, return_state=True))
    calls = ka.observe_model(functional(wrapper), X)
    found = through_a_pipe(calls)
    assert [one.layer_name for one in found] == [one.layer_name for one in calls]
    merge, expected = found[-1].merge, calls[-1].merge
    assert (merge.mode, merge.sequences, [*merge.states]) == (
        expected.mode,
        expected.sequences,
        [*expected.states],
    )
    assert np.array_equal(merge.whole.returned[0], expected.whole.returned[0])
    assert [[one.layer_name for one in side] for side in found[-1].parts] == [
        [one.layer_name for one in side] for side in calls[-1].parts
    ]


def test_what_is_code_does_not_arrive_and_is_not_compared():
    layer = randomised(layers.SimpleRNN(H, activation=lambda z: keras.ops.tanh(z) * 0.5))
    (found,) = through_a_pipe(ka.observe_layer(layer, X))
    assert found.weights is None
    assert found.not_compared.startswith("its activation is code, which cannot be handed over")
    assert (found.inputs.shape, found.outputs.shape) == ((B, T, F), (B, T, H))


def test_what_is_not_compared_keeps_its_reason():
    calls = ka.observe_model(functional(layers.Reshape((T, 2, 2, 1)), layers.ConvLSTM2D(2, 2)), X)
    (found,) = through_a_pipe(calls)
    assert found.not_compared == calls[0].not_compared
