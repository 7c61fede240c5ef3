"""Known differences in checks: named where the numbers prove them, and nowhere else."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity import keras_adapter as ka
from rnn_parity.api.functions import check_generated, keras_report, observe_generated
from rnn_parity.api.generated import GeneratedLayer
from rnn_parity.api.judging import judged, judged_call, subject_of
from rnn_parity.api.recorded import check_case, record_generated
from rnn_parity.diagnosis.known_differences import KNOWN_DIFFERENCES
from rnn_parity.implementations import keras_backend
from rnn_parity.implementations.against import layer_computed_by
from rnn_parity.implementations.sources import sources
from rnn_parity.recurrence.activations import named
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.recurrence.time_loop import replay
from rnn_parity.system.environment import version_of

tf = ka.tensorflow_module()
KERAS_3 = hasattr(tf.keras, "ops")
in_keras_3 = pytest.mark.skipif(not KERAS_3, reason="Keras 2 has no such activation")
LAYERS = ("simple_rnn", "lstm", "gru")
SIZES = {"units": 5, "features": 3, "timesteps": 7, "batch": 4}
# Beside the options that matter, others that are no defaults.
BESIDE = {"use_bias": False, "return_state": False, "dropout": 0.25}
ZEROED = {"go_backwards": True, "unroll": True, "zero_output_for_mask": True}
CONSTANTS = "float32-constants-in-float64"
MASK, SPARSE = "zeroed-by-the-mask-as-given", "sparsemax-threshold"
SQUARES = "squareplus-squares-in-float16"
SQUARED = {"arguments": {"activation": "squareplus"}, "dtype": "mixed_float16"}


def spec(**options):
    return GeneratedLayer(**{**SIZES, **options})


def large(scale=300.0):
    """Inputs whose squares are beyond float16's range."""
    shape = [SIZES[name] for name in ("batch", "timesteps", "features")]
    return (scale * np.random.default_rng(0).standard_normal(shape)).astype("float32")


def causes_of(report):
    (check,) = report.checks
    return [cause.fault for cause in check.causes]


def case(id, *, inputs=None, marks=(), **options):
    return pytest.param(id, inputs, options, id=f"{id}-{len(marks)}{options}", marks=marks)


IN_KERAS = [
    case(MASK, mask="right", arguments=ZEROED),
    case(MASK, mask="left", arguments={**ZEROED, **BESIDE}, initial_state="random"),
    case(MASK, mask="random", arguments={**ZEROED, **BESIDE}, dtype="float64"),
    case(SPARSE, arguments={"activation": "sparsemax"}, marks=[in_keras_3]),
    case(
        SPARSE,
        arguments={"activation": "sparsemax", "go_backwards": True, "unroll": True, **BESIDE},
        mask="random",
        dtype="float64",
        marks=[in_keras_3],
    ),
    case(CONSTANTS, arguments={"activation": "gelu"}, dtype="float64"),
    case(
        CONSTANTS,
        arguments={"activation": "leaky_relu", "unroll": True, **BESIDE},
        dtype="float64",
        mask="left",
    ),
    case(SQUARES, **SQUARED, inputs=large(), marks=[in_keras_3]),
    case(
        SQUARES,
        arguments={"activation": "squareplus", "zero_output_for_mask": True, **BESIDE},
        dtype="mixed_float16",
        mask="right",
        inputs=large(),
        marks=[in_keras_3],
    ),
]


def for_each_layer(one):
    for layer in LAYERS:
        yield pytest.param((layer, *one.values), id=f"{one.id}-{layer}", marks=one.marks)


@pytest.fixture(scope="module", params=[case for one in IN_KERAS for case in for_each_layer(one)])
def in_keras(request):
    """The id of a known difference, and a layer of Keras that shows it, run once for all tests."""
    layer, id, inputs, options = request.param
    (call,) = observe_generated(spec(layer=layer, **options), inputs, None, "graph")
    return id, call


def test_what_keras_is_known_for_is_the_first_cause(in_keras):
    id, call = in_keras
    report = keras_report(judged([call], "generated"))
    (check,) = report.checks
    assert (check.verdict, causes_of(report)[0]) == ("diverged", id)
    assert "known mistakes" not in check.summary
    assert check.implied_weights is None or len(check.causes) > 1
    cause, entry = check.causes[0], {known.id: known for known in KNOWN_DIFFERENCES}[id]
    assert entry.wrong in cause.explanation
    assert entry.keras in cause.explanation
    assert cause.remedy
    assert (report.exit_code, bool(report)) == (1, False)
    allowed = replace(report, allow_known=True)
    assert (allowed.verdict, allowed.exit_code, bool(allowed)) == ("diverged", 0, True)
    assert f"With --allow-known, {id} is a known difference and no failure." in " ".join(
        str(allowed).split()
    )


def test_another_mistake_beside_it_is_not_hidden(in_keras):
    """Weights that are off by little, but beyond rounding."""
    id, call = in_keras
    share = 0.03 if call.weights.precision.name == "float16" else 1e-4
    calls = [replace(call, weights=off_by(call.weights, share))]
    report = replace(keras_report(judged(calls, "layer")), allow_known=True)
    assert id not in causes_of(report)
    assert report.exit_code == 1


def off_by(weights, share):
    kernel = weights.kernel * (1 + share)
    return weights.changed(kernel=kernel, recurrent_kernel=weights.recurrent_kernel * (1 + share))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_bidirectional_is_named_by_itself(layer):
    arguments = {"layer": layer, "unroll": True}
    report = check_generated(spec(layer="bidirectional", arguments=arguments, mask="right"))
    found = [[cause.fault for cause in check.causes] for check in report.checks]
    assert found == [[], [f"bidirectional-{MASK}"], []]
    assert replace(report, allow_known=True)


@in_keras_3
@pytest.mark.parametrize("kind", ["rnn", "stacked"])
def test_cells_are_recognised(kind):
    name = "cell" if kind == "rnn" else "cells"
    report = check_generated(spec(layer=kind, arguments={name: "gru", "activation": "sparsemax"}))
    assert causes_of(report) == [SPARSE]


@pytest.mark.parametrize("sequences", [True, False])
def test_a_last_output_alone(sequences):
    """Which Keras zeroes by the right mask."""
    arguments = {**ZEROED, "return_sequences": sequences}
    report = check_generated(spec(layer="gru", arguments=arguments, mask="right", batch=16))
    assert causes_of(report) == [MASK]


def test_a_layer_by_rp_check():
    layer = tf.keras.layers.LSTM(3, return_sequences=True, unroll=True, **without("unroll"))
    inputs = np.random.default_rng(1).standard_normal((2, 4, 3)).astype("float32")
    mask = [[True, True, False, False], [True, True, True, False]]
    report = rp.check(layer, inputs, mask, allow_known=True)
    assert causes_of(report) == [MASK]
    assert report
    assert not replace(report, allow_known=False)


def without(name):
    return {key: value for key, value in ZEROED.items() if key != name}


def test_a_recorded_case_is_recognised_then_and_now(tmp_path):
    path = tmp_path / "case.npz"
    recorded = record_generated(spec(arguments=ZEROED, mask="right"), path, diverged=True)
    assert causes_of(recorded) == [MASK]
    for keras in (True, False):
        report = check_case(path, keras=keras)
        assert [check.causes[0].fault for check in report.checks] == [MASK] * (1 + keras)
        assert not report
        assert replace(report, allow_known=True)


@pytest.mark.parametrize("layer", LAYERS)
def test_an_ordinary_mistake_with_these_options_keeps_its_name(layer):
    """Outputs that are zeroed nowhere, from whom the entry belongs to."""
    (call,) = observe_generated(
        spec(layer=layer, arguments=ZEROED, mask="left"), None, None, "graph"
    )
    weights = call.weights.changed(zero_output_for_mask=False)
    sequences = Sequences.of(weights, call.inputs, call.mask, call.initial_state)
    outputs = replay(weights, sequences).outputs.astype("float32")
    report = keras_report(judged([replace(call, outputs=outputs, final_state=())], "layer"))
    assert causes_of(report) == ["masked-output-not-zeroed"]
    assert replace(report, allow_known=True).exit_code == 1


@pytest.mark.parametrize(
    ("activation", "other", "dtype"),
    [
        ("leaky_relu", "relu", "float64"),
        ("gelu", "silu", "float64"),
        ("squareplus", "softplus", "float16"),
        ("sparsemax", "softmax", "float32"),
    ],
)
@pytest.mark.parametrize("layer", LAYERS)
def test_another_function_under_that_name_is_none(layer, activation, other, dtype):
    (call,) = observe_generated(
        spec(layer=layer, dtype=dtype, arguments={"activation": other}), None, None, "graph"
    )
    weights = call.weights.changed(activation=named(activation))
    config = {**call.config, "activation": activation}
    report = keras_report(judged([replace(call, weights=weights, config=config)], "layer"))
    assert report.verdict == "diverged"
    assert not {known.id for known in KNOWN_DIFFERENCES} & {*causes_of(report)}


def test_only_who_makes_the_mistake_is_known_for_it():
    """The same numbers, from a function of somebody's own."""
    generated = spec(arguments={"activation": "gelu"}, dtype="float64")
    (call,) = observe_generated(generated, None, None, "graph")
    for against in (call.outputs, lambda inputs: call.outputs):
        report = replace(check_generated(generated, against=against), allow_known=True)
        assert causes_of(report) == []
        assert report.exit_code == 1
    assert not rp.compare(call.weights, call.inputs, call.outputs)


def test_what_was_not_compared_is_not_allowed():
    """An implementation that leaves something out proves nothing, whatever it is known for."""
    (call,) = observe_generated(spec(arguments=ZEROED, mask="right"), None, None, "graph")
    (check,) = judged([replace(call, unproven="its state was not compared")], "layer")
    assert check.verdict == "diverged"
    assert check.causes == ()


@pytest.mark.parametrize(
    "options", [{"arguments": ZEROED, "mask": "right"}, {"arguments": {"activation": "gelu"}}]
)
def test_numbers_that_are_none_are_not_allowed(options):
    (call,) = observe_generated(spec(dtype="float64", **options), None, None, "graph")
    for wrong, place in product((np.nan, np.inf), ((0, 0, 0), (3, 6, 4))):
        outputs = call.outputs.copy()
        outputs[place] = wrong
        report = keras_report(judged([replace(call, outputs=outputs)], "layer"))
        assert replace(report, allow_known=True).exit_code == 1, (wrong, place)


def test_a_state_that_is_wrong_is_not_hidden():
    (call,) = observe_generated(spec(arguments=ZEROED, mask="right"), None, None, "graph")
    state = (call.final_state[0] + np.float32(0.01),)
    report = keras_report(judged([replace(call, final_state=state)], "layer"))
    assert replace(report, allow_known=True).exit_code == 1


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("returned", [False, True])
def test_zeros_alone_prove_nothing(returned, layer):
    """Backwards, every step that counts is zeroed: the final state, or single steps, can tell."""
    arguments = {**ZEROED, "return_state": returned}
    mask = np.array([[True, True, False, False]])
    generated = spec(layer=layer, arguments=arguments, batch=1, timesteps=4)
    (call,) = observe_generated(generated, large(1.0)[:1, :4], mask, "eager")
    check = judged_call(call, subject_of(call, "generated", None))
    assert not any(row.max_deviation == 0 for row in check.timesteps[2:])
    assert check.causes[0].fault == MASK

    def named(**changes):
        changed = replace(call, **changes)
        return MASK in [one.fault for one in judged_call(changed, check.subject).causes]

    wrong = call.weights.changed(kernel=2 * call.weights.kernel)
    assert named(probe=None) is returned
    assert named(probe=lambda x, states: 2 * call.probe(x, states)) is returned
    assert not named(weights=wrong)


@in_keras_3
def test_where_bounds_are_too_wide_it_is_named_and_not_allowed():
    report = check_generated(
        GeneratedLayer(arguments={"activation": "sparsemax"}, dtype="mixed_bfloat16")
    )
    assert (report.verdict, causes_of(report)) == ("inconclusive", [SPARSE])
    assert replace(report, allow_known=True).exit_code == 3


# Keras on its other backends, and the runtimes it exports to.

BACKEND = [
    ("float64-in-float32", {"dtype": "float64"}),
    ("float64-in-float32", {"dtype": "float64", "mask": "left", "arguments": BESIDE}),
    (SPARSE, {"arguments": {"activation": "sparsemax", **BESIDE}}),
    (
        "unrolled-zeros-repeat-the-output",
        {"arguments": {"unroll": True, "zero_output_for_mask": True, **BESIDE}, "mask": "random"},
    ),
    (
        "initial-state-in-place-of-zeros",
        {"arguments": BESIDE, "mask": "left", "initial_state": "random"},
    ),
    ("stored-state-in-place-of-zeros", {"arguments": {"stateful": True}, "mask": "left"}),
]


@pytest.fixture(scope="module")
def jax():
    """Keras on JAX, in one process for all tests."""
    if version_of("jax") is None or not keras_backend.has_keras_3():
        pytest.skip("no Keras 3 on jax here")
    (source,) = sources("keras:jax")
    return source


@pytest.mark.parametrize(("id", "options"), BACKEND)
def test_what_another_backend_is_known_for(jax, id, options):
    calls = 2 if "stateful" in options.get("arguments", {}) else 1
    asked = observe_generated(spec(layer="lstm", calls=calls, **options), None, None, "graph")
    call = layer_computed_by(asked[-1], jax)
    wrong = replace(call, weights=off_by(call.weights, 0.03))
    found = [answer_of(one, jax) for one in (call, wrong)]
    assert [causes[:1] == [id] for causes, _ in found] == [True, False]
    assert [code for _, code in found] == [0, 1]


def answer_of(call, source):
    """The causes of a call that a source computed, and the exit code where known ones pass."""
    report = keras_report([judged_call(call, subject_of(call, "layer", None, source.name))])
    return causes_of(report), replace(report, allow_known=True).exit_code


@in_keras_3
@pytest.mark.parametrize(
    ("source", "package"), [("onnx", "onnxruntime"), ("litert", "ai-edge-litert")]
)
def test_an_exported_sparsemax_is_keras_own(source, package):
    if version_of(package) is None:
        pytest.skip(f"no {package} here")
    layer = spec(arguments={"activation": "sparsemax"})
    assert causes_of(check_generated(layer, against=source)) == [SPARSE]
