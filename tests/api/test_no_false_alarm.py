"""Whatever Keras computes correctly is `parity`: modes, activations, dtypes, shapes and options."""

import itertools

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity import keras_adapter as ka
from rnn_parity.api.functions import check_generated
from rnn_parity.api.generated import GeneratedLayer
from rnn_parity.recurrence.activations import CATALOGUE

tf = ka.tensorflow_module()
SMALL = {"batch": 2, "timesteps": 6, "features": 5, "units": 4}
GATED = [("lstm", {}), ("gru", {}), ("gru", {"reset_after": False})]
gated = pytest.mark.parametrize(("layer", "options"), GATED, ids=str)
# The names that the installed Keras takes, as a layer would resolve them.
ACCEPTED = []
for name in CATALOGUE:
    try:
        tf.keras.activations.get(name)
        ACCEPTED.append(name)
    except (ValueError, TypeError):
        pass
# Keras 3.15's own sparsemax is wrong, see below.
ACTIVATIONS = [name for name in ACCEPTED if name != "sparsemax"]
# Constants that Keras keeps in float32, in layers of any dtype: 1e8 units of float64.
CONSTANTS_IN_FLOAT32 = ("gelu", "leaky_relu")


def checked(mode="eager", **spec):
    return check_generated(GeneratedLayer(**{**SMALL, **spec}), mode=mode)


def must_be_parity(mode="eager", **spec):
    report = checked(mode, **spec)
    assert report.verdict == "parity", f"{mode} {spec}: {report.summary}"
    assert len(report.checks) == spec.get("calls", 1) * (4 if mode == "all" else 1)
    for check in report.checks:
        assert check.max_ratio <= 1
    return report


def test_the_notebooks_layer_in_every_mode():
    report = must_be_parity("all", batch=32, timesteps=28, features=32, units=16)
    assert [check.subject.mode for check in report.checks] == list(ka.MODES)
    names = {(c.subject.layer_name, c.subject.config["name"]) for c in report.checks}
    assert len(names) == 1


def test_most_of_the_catalogue_is_accepted():
    assert len(ACCEPTED) >= (25 if hasattr(tf.keras, "ops") else 15)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation):
    must_be_parity(arguments={"activation": activation})
    must_be_parity("graph", arguments={"activation": activation}, units=17, timesteps=20, seed=1)


@pytest.mark.parametrize("activation", ACTIVATIONS[::3])
def test_activations_compiled(activation):
    must_be_parity("xla", arguments={"activation": activation})


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "float64"])
@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name[0].islower()])
def test_every_activation_in_other_dtypes(activation, dtype):
    """But those of Keras 2 that are layers, in float32, which it refuses to mix with others."""
    if dtype == "float64" and activation in CONSTANTS_IN_FLOAT32:
        pytest.skip("another function in float64: Keras's constants are float32's")
    must_be_parity(arguments={"activation": activation}, dtype=dtype)


@pytest.mark.parametrize("dtype", ka.POLICIES)
def test_every_dtype_in_every_mode(dtype):
    must_be_parity("all", dtype=dtype)
    must_be_parity(dtype=dtype, batch=32, timesteps=28, features=32, units=16)


@gated
def test_gates_in_every_mode_and_dtype(layer, options):
    given = {"layer": layer, "arguments": options, "initial_state": "random"}
    must_be_parity("all", mask="left", **given)
    for dtype in ka.POLICIES:
        must_be_parity("graph", dtype=dtype, **given)


SHAPES = [(1, 1, 1, 1), (3, 1, 4, 5), (3, 7, 1, 5), (3, 7, 4, 1), (2, 5, 3, 512), (2, 4, 512, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_shapes_at_the_edge(shape, mode):
    sizes = dict(zip(("batch", "timesteps", "features", "units"), shape, strict=True))
    must_be_parity(mode, **sizes, initial_state="random")


@pytest.mark.parametrize("mode", ["graph", "predict"])
def test_a_long_sequence(mode):
    must_be_parity(mode, timesteps=2000, units=8)


def known_to_be_wrong(unroll, backwards, mask, zeroed):
    """Keras 3.15, unrolled and backwards, zeroes the outputs by the mask in the inputs' order."""
    return unroll and backwards and zeroed and mask != "none"


BOTH = (False, True)


@pytest.mark.parametrize("mask", ["none", "right", "left", "random"])
@pytest.mark.parametrize("unroll", BOTH)
@pytest.mark.parametrize("backwards", BOTH)
def test_masks_and_directions(mask, unroll, backwards):
    for zeroed, stateful in itertools.product(BOTH, BOTH):
        if not known_to_be_wrong(unroll, backwards, mask, zeroed):
            arguments = {"unroll": unroll, "go_backwards": backwards, "stateful": stateful}
            if mask != "none":
                arguments["zero_output_for_mask"] = zeroed
            state = "random" if zeroed else "zeros"
            must_be_parity(arguments=arguments, mask=mask, initial_state=state, calls=3)


@gated
@pytest.mark.parametrize("mask", ["none", "right", "random"])
def test_masks_directions_and_calls_of_gates(layer, options, mask):
    for backwards, zeroed, unroll in itertools.product(BOTH, BOTH, BOTH):
        if known_to_be_wrong(unroll, backwards, mask, zeroed):
            continue
        arguments = {**options, "go_backwards": backwards, "unroll": unroll, "stateful": unroll}
        arguments |= {"zero_output_for_mask": zeroed, "return_sequences": not backwards or zeroed}
        data = {"mask": mask, "initial_state": "random", "calls": 2}
        must_be_parity(layer=layer, arguments=arguments, **data)


OF_GATES = ["linear", "relu", "hard_sigmoid", "softsign", "elu", "softplus"]


@gated
@pytest.mark.parametrize("activation", OF_GATES)
def test_activations_and_implementations_of_gates(layer, options, activation):
    other = OF_GATES[OF_GATES.index(activation) - 2]
    named = {**options, "activation": activation, "recurrent_activation": other}
    for own in ({"implementation": 1}, {"implementation": 2}, {"use_bias": False}):
        must_be_parity(layer=layer, arguments={**named, **own})


@pytest.mark.skipif(hasattr(tf.keras, "ops"), reason="time_major is an option of Keras 2")
@gated
def test_time_first_of_gates(layer, options):
    arguments = {**options, "time_major": True}
    must_be_parity(layer=layer, arguments=arguments, mask="right", calls=2)


@pytest.mark.parametrize("mode", ka.MODES)
@pytest.mark.parametrize(("sequences", "state"), list(itertools.product(BOTH, BOTH)))
def test_what_is_returned(mode, sequences, state):
    returned = {"return_sequences": sequences, "return_state": state}
    report = must_be_parity(
        mode,
        arguments={**returned, "stateful": mode != "xla", "zero_output_for_mask": True},
        mask="random",
        initial_state="random",
        calls=3 if mode in ("eager", "graph") else 1,
    )
    names = [row.name for row in report.checks[0].final_state]
    assert ("output" in names) == (not sequences)
    assert ("h" in names) == (state or mode != "xla")


@pytest.mark.parametrize("mode", ["eager", "xla"])
def test_without_a_bias_and_with_keras_own_weights(mode):
    must_be_parity(mode, arguments={"use_bias": False})
    must_be_parity(mode, arguments={"kernel_initializer": "ones", "bias_initializer": "zeros"})


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-5, 1e3, 1e6])
def test_inputs_of_any_size(scale):
    x = scale * np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)
    for activation in ("tanh", "relu", "sigmoid", "softsign"):
        layer = ka.build_layer("simple_rnn", 4, 5, {"activation": activation}, None, 0, 2)
        report = rp.check(layer, x, mode="eager")
        assert report.verdict == "parity", report.summary


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_inputs_that_are_not_finite(value, activation, mode):
    x = np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)
    x[1, 3, 2] = value
    layer = ka.build_layer("simple_rnn", 4, 5, {"activation": activation}, None, 0, 2)
    report = rp.check(layer, x, mode=mode)
    assert report.verdict == "parity", report.summary


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_outputs_that_are_always_zero(dtype):
    """The logarithm of a single unit's share, and a unit that never fires."""
    must_be_parity(arguments={"activation": "log_softmax"}, units=1, dtype=dtype)
    never = {"activation": "relu", "bias_initializer": tf.keras.initializers.Constant(-50.0)}
    report = must_be_parity(arguments=never, dtype=dtype)
    assert report.checks[0].max_deviation == 0


def test_what_overflows_is_not_proven():
    """exp of what feeds itself leaves float16's range: no bound is left, and no alarm either."""
    arguments = {"activation": "exponential", "recurrent_initializer": "ones"}
    assert checked(arguments=arguments, dtype="float16").verdict in ("inconclusive", "parity")


def test_lists_are_arrays():
    layer = unrolled(unroll=False)
    x, mask = [[[1.0], [2.0], [4.0]]], [[True, True, False]]
    # 1, 2 + 1 / 2, and the same again
    report = rp.check(layer, x, mask, [[0.0]], mode="eager")
    assert (report.verdict, len(report.checks)) == ("parity", 1)
    assert rp.check(layer, x, mask, against=[[[1.0], [2.5], [2.5]]])
    assert rp.check(layer, x, mask, against=[[[1.0], [2.5], [5.25]]]).verdict == "diverged"


# Where Keras itself is wrong, worked out by hand; a release that mends it fails these tests.


def unrolled(**options):
    layer = tf.keras.layers.SimpleRNN(1, activation=None, return_sequences=True, **options)
    layer.build((1, 3, 1))
    for weight, value in zip(
        (layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias),
        ([[1.0]], [[0.5]], [0.0]),
        strict=True,
    ):
        weight.assign(value)
    return layer


def test_keras_zeroes_the_wrong_outputs_unrolled_and_backwards():
    x, mask = np.float32([[[1], [2], [4]]]), np.array([[True, True, False]])
    options = {"go_backwards": True, "zero_output_for_mask": True}
    # processing order: the masked 4 gives 0, then 2, then 1 + 2 / 2
    layer = unrolled(unroll=False, **options)
    assert layer(x, mask=mask).numpy().ravel().tolist() == [0, 2, 2]
    assert rp.check(layer, x, mask, mode="eager").verdict == "parity"
    layer = unrolled(unroll=True, **options)
    assert layer(x, mask=mask).numpy().ravel().tolist() == [0, 2, 0]
    assert rp.check(layer, x, mask, mode="eager").verdict == "diverged"


@pytest.mark.skipif("sparsemax" not in ACCEPTED, reason="this Keras has no sparsemax")
def test_keras_sparsemax_does_not_sum_to_1():
    # (1, 1/2): tau = (3/2 - 1) / 2 = 1/4, so (3/4, 1/4); Keras 3.15 sums cumulative sums
    found = np.asarray(tf.keras.activations.sparsemax(np.float32([[1, 0.5]])))
    assert found.tolist() == [[0.25, 0.0]]
    assert checked(arguments={"activation": "sparsemax"}).verdict == "diverged"


@pytest.mark.parametrize("activation", [n for n in CONSTANTS_IN_FLOAT32 if n in ACCEPTED])
def test_constants_in_float32_are_seen_in_float64(activation):
    report = checked(arguments={"activation": activation}, dtype="float64")
    assert report.verdict == "diverged"
    assert 24 < report.checks[0].effective_bits < 36
