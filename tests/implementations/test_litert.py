"""Models that the LiteRT converter made of Keras layers: right ones, quantized ones, others."""

import os
import re
from functools import cache

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity import keras_adapter as ka
from rnn_parity.errors import InputError
from rnn_parity.implementations.litert import dequantized, implementation, quantized
from rnn_parity.implementations.request import Request

pytest.importorskip("ai_edge_litert")
tf = ka.tensorflow_module()
keras = tf.keras

BATCH, TIMESTEPS, FEATURES, UNITS = 2, 4, 3, 5
KINDS = {rp.SimpleRNN: "SimpleRNN", rp.LSTM: "LSTM", rp.GRU: "GRU"}


def converted(model, quantize=None):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if quantize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        rng = np.random.default_rng(0)
        shapes = [tuple(port.shape) for port in model.inputs]
        converter.representative_dataset = lambda: (
            [rng.normal(size=shape).astype(np.float32) for shape in shapes] for _ in range(8)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def built(kind, batch=BATCH, states=False, mask=False, units=UNITS, features=FEATURES, **options):
    """A model of one layer with random weights, and the layer's weights."""
    rng = np.random.default_rng(7)
    arguments = {"return_sequences": True, "return_state": True, **options}
    layer = getattr(keras.layers, KINDS[kind])(units, **arguments)
    inputs = [keras.Input((TIMESTEPS, features), batch_size=batch)]
    call = {}
    if states:
        names = "hc"[: len(kind.STATES)]
        call["initial_state"] = [keras.Input((units,), batch_size=batch, name=n) for n in names]
        inputs += call["initial_state"]
    if mask:
        call["mask"] = keras.Input((TIMESTEPS,), batch_size=batch, dtype="bool", name="mask")
        inputs.append(call["mask"])
    model = keras.Model(inputs, layer(inputs[0], **call))
    for weight in layer.trainable_variables:
        weight.assign(rng.normal(size=weight.shape) / np.sqrt(units))
    return model, ka.layer_weights(layer)


@cache
def example(kind, quantize=None, **options):
    model, layer = built(kind, **options)
    return converted(model, quantize), layer


def written(folder, content):
    path = folder / "model.tflite"
    path.write_bytes(content)
    return str(path)


def checked(folder, content, layer, mask=None, state=None, batch=BATCH):
    rng = np.random.default_rng(8)
    x = rng.normal(size=(batch, TIMESTEPS, layer.features)).astype(np.float32)
    answer = implementation(written(folder, content))(Request(layer, x, mask, state))
    several = len(layer.STATES) > 1
    final = None
    if answer.final_state:
        final = list(answer.final_state) if several else answer.final_state[0]
    given = state if state is None or several else state[0]
    report = rp.compare(layer, x, answer.outputs, final, mask=mask, initial_state=given)
    return report, answer


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_with_mask_and_initial_state(tmp_path, kind):
    content, layer = example(kind, states=True, mask=True)
    mask = np.array([[True, False, True, True], [True, True, False, False]])
    rng = np.random.default_rng(9)
    state = tuple(rng.normal(size=(BATCH, UNITS)).astype(np.float32) for _ in kind.STATES)
    report, answer = checked(tmp_path, content, layer, mask, state)
    assert report.verdict == "parity", report.summary
    assert len(answer.final_state) == len(kind.STATES)
    assert [note.split()[0] for note in answer.notes] == ["LiteRT"]
    # Without a mask nothing is masked, without a state it is zeros.
    assert checked(tmp_path, content, layer)[0].verdict == "parity"


def test_backwards_one_sample_at_a_time(tmp_path):
    content, layer = example(rp.GRU, batch=1, go_backwards=True, return_state=False)
    report, answer = checked(tmp_path, content, layer, batch=3)
    assert (report.verdict, answer.outputs.shape) == ("parity", (3, TIMESTEPS, UNITS))
    assert answer.notes[1:] == ("each sample ran alone: the model's batch is 1",)


def test_an_open_batch_is_resized(tmp_path):
    # The converter keeps the batch open only where the loop is unrolled.
    content, layer = example(rp.LSTM, batch=None, unroll=True)
    for batch in (1, 3):
        report, answer = checked(tmp_path, content, layer, batch=batch)
        assert (report.verdict, len(answer.outputs)) == ("parity", batch)


def test_the_last_output_alone(tmp_path):
    content, layer = example(rp.SimpleRNN, return_sequences=False, return_state=False)
    report, answer = checked(tmp_path, content, layer)
    assert (report.verdict, answer.outputs.shape) == ("parity", (BATCH, UNITS))
    assert "only the last output" in answer.notes[1]


@pytest.mark.parametrize("kind", KINDS)
def test_float16_weights_are_diverged_and_named(tmp_path, kind):
    content, layer = example(kind, "float16", units=40, features=40)
    report, answer = checked(tmp_path, content, layer)
    assert report.verdict == "diverged"
    assert answer.notes[1] == "the model holds numbers as float16"
    assert [cause.fault for cause in report.checks[0].causes] == ["weights-rounded"]
    assert "float16" in report.checks[0].causes[0].explanation
    # Weights of 11 significant bits; the many terms of a sum hide some of that.
    assert 11 < report.checks[0].effective_bits < 24


@pytest.mark.parametrize(("quantize", "most"), [("dynamic", 18), ("int8", 14)])
def test_integer_quantized_models_are_never_parity(tmp_path, quantize, most):
    # Unrolled, because the converter's calibration crashes on loops.
    unroll = quantize == "int8"
    content, layer = example(rp.LSTM, quantize, units=40, features=40, unroll=unroll)
    report, answer = checked(tmp_path, content, layer)
    assert report.verdict == "diverged"
    assert report.checks[0].effective_bits < most
    assert report.checks[0].max_deviation < 0.2  # of outputs of about 1
    assert answer.notes[1] == "the model holds numbers as 8-bit integers"
    assert len(answer.notes) == (3 if unroll else 2)
    if unroll:
        assert answer.notes[2].startswith("its outputs are multiples of 0.0")


def test_quantization_by_hand():
    detail = {"quantization": (0.5, 3), "dtype": np.int8}
    steps = quantized(np.array([1.0, -9.0, 0.3, 100.0, -100.0]), detail)
    assert (steps.dtype, steps.tolist()) == (np.int8, [5, -15, 4, 127, -128])
    assert dequantized(steps, detail).tolist() == [1.0, -9.0, 0.5, 62.0, -65.5]
    plain = {"quantization": (0.0, 0), "dtype": np.float32}
    assert quantized(steps, plain) is dequantized(steps, plain) is steps


def test_another_layers_model_is_diverged(tmp_path):
    content, layer = example(rp.LSTM, batch=None, unroll=True)
    kernel = layer.kernel.copy()
    kernel[1, 2] += 0.01
    report, _ = checked(tmp_path, content, layer.changed(kernel=kernel))
    assert report.verdict == "diverged"


def refusal(folder, content, layer, x, **data):
    with pytest.raises(InputError) as caught:
        implementation(written(folder, content))(Request(layer, x, **data))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_other_inputs_and_outputs_are_listed_side_by_side(tmp_path):
    content, layer = example(rp.GRU, states=True, mask=True)
    for shape in ((3, TIMESTEPS, FEATURES), (BATCH, 5, FEATURES)):
        message = refusal(tmp_path, content, layer, np.ones(shape, np.float32))
        expected, received = message.split("received")
        assert str(shape) in expected
        assert f"h ({BATCH}, {UNITS}), mask ({BATCH}, {TIMESTEPS}), " in received
        assert f"({BATCH}, {TIMESTEPS}, {FEATURES})" in received
    x = np.ones((BATCH, TIMESTEPS, FEATURES), np.float32)
    wide = rp.GRU(*(np.ones(s, np.float32) for s in ((FEATURES, 21), (7, 21), (2, 21))))
    assert f"({BATCH}, 7)" in refusal(tmp_path, content, wide, x, initial_state=(np.ones((2, 7)),))
    content, _ = example(rp.SimpleRNN, return_sequences=False, return_state=False)
    wide = rp.SimpleRNN(*(np.ones(s, np.float32) for s in ((FEATURES, 7), (7, 7))))
    # Numbers of another shape are an answer, and a wrong one.
    report, _ = checked(tmp_path, content, wide)
    assert (report.verdict, report.exit_code) == ("diverged", 1)
    assert f"received ({BATCH}, {UNITS})" in report.summary


def test_files_that_are_no_model(tmp_path):
    content, _ = example(rp.LSTM, batch=None, unroll=True)
    for part in (b"", content[:100], content[: len(content) // 2], content[:-1], b"PK\3\4" * 99):
        with pytest.raises(InputError, match=r"LiteRT model '.*': cannot be loaded: ") as caught:
            implementation(written(tmp_path, part))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be read: No such file or directory"):
        implementation(str(tmp_path / "absent.tflite"))
    with pytest.raises(InputError, match="received a directory; name a file"):
        implementation(str(tmp_path))
    assert os.listdir(tmp_path) == ["model.tflite"]


def test_operators_that_litert_lacks(tmp_path):
    model, layer = built(rp.SimpleRNN, batch=None)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    ]
    converter._experimental_lower_tensor_list_ops = False
    x = np.ones((BATCH, TIMESTEPS, FEATURES), np.float32)
    message = refusal(tmp_path, converter.convert(), layer, x)
    assert "holds operators of TensorFlow itself (Flex)" in message


def test_further_outputs_of_a_model_are_named(tmp_path):
    made, layer = built(rp.SimpleRNN)
    sequence = made.outputs[0]
    scores = keras.layers.Dense(2, name="scores")(sequence)
    path = tmp_path / "model.tflite"
    path.write_bytes(converted(keras.Model(made.inputs, [sequence, scores])))
    x = np.random.default_rng(3).normal(size=(BATCH, TIMESTEPS, FEATURES)).astype(np.float32)
    (check,) = rp.check(layer, x, against=str(path)).checks
    assert check.verdict == "inconclusive"
    found = re.search(r"not compared: the output (\S+) of .*'[^']*#(\S+)'", check.summary)
    left, part = found.groups()
    assert left != part
    assert rp.check(layer, x, against=f"{path}#{part}").verdict == "parity"
    with pytest.raises(InputError, match=f"expected some of .*{left}.*, received #nothing"):
        rp.check(layer, x, against=f"{path}#nothing")
