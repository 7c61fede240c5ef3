"""Known differences: each is recognised where it happens, and nothing that looks like it is."""

from dataclasses import replace

import numpy as np
import pytest

from rnn_parity import keras_adapter as ka
from rnn_parity.diagnosis.known_differences import KNOWN_DIFFERENCES, known_difference
from rnn_parity.implementations import keras_backend
from rnn_parity.sweep.space import SPACES, default_of
from rnn_parity.sweep.worker import check_configuration, numbers_of
from rnn_parity.system.environment import version_of
from rnn_parity.verdict.sweep_results import CallNumbers, Numbers, Outcome

KERAS_3 = hasattr(ka.tensorflow_module().keras, "ops")
in_keras_3 = pytest.mark.skipif(not KERAS_3, reason="Keras 2 has no such activation")
EITHER = ("diverged", "inconclusive")
DEFAULT = default_of("simple_rnn")
DIVERGED = Outcome("diverged", "", max_ratio=1e6, effective_bits=4.0)

UNROLLED = {"unroll": True, "mask": "right"}
ZEROED = {**UNROLLED, "go_backwards": True, "zero_output_for_mask": True}
BIDIRECTIONAL = {**UNROLLED, "wrapper": "bidirectional"}
SPARSE = {"activation": "sparsemax"}
STATEFUL = {"stateful": True, "calls": 2}
LARGE = {
    **{"activation": "squareplus", "dtype": "mixed_float16", "recurrent_activation": "softmax"},
    **{"go_backwards": True, "batch": 1, "timesteps": 8, "features": 1, "units": 1},
}
ID_OF_THE_MASK = "zeroed-by-the-mask-as-given"
SQUARES = "squareplus-squares-in-float16"


def id_of(*given):
    found = known_difference(*given)
    return found and found.id


def computed(layer, changes, seed=0):
    """A configuration, what came of it in the installed Keras, and its numbers."""
    one = default_of(layer).but(changes)
    return one, check_configuration(one, seed), numbers_of(one, seed)


def with_outputs(numbers, change):
    """These numbers with other outputs of the first call, which `change` makes of the call."""
    call, *others = numbers.calls
    return replace(numbers, calls=(replace(call, outputs=change(call)), *others))


# What the installed Keras computes.


@pytest.mark.parametrize("layer", SPACES)
@pytest.mark.parametrize(
    ("changes", "expected", "who"),
    [
        ({**ZEROED, "timesteps": 2, "units": 1}, ID_OF_THE_MASK, ""),
        ({**BIDIRECTIONAL, "units": 1}, f"bidirectional-{ID_OF_THE_MASK}", "backward: "),
        pytest.param(SPARSE, "sparsemax-threshold", "", marks=in_keras_3),
        pytest.param(
            {**SPARSE, **STATEFUL, "go_backwards": True, "mask": "left", "use_bias": False},
            "sparsemax-threshold",
            "",
            marks=in_keras_3,
        ),
    ],
)
def test_what_diverges_is_known(layer, changes, expected, who):
    one, outcome, numbers = computed(layer, changes)
    assert outcome.verdict == "diverged"
    assert outcome.summary.startswith(who)
    assert id_of(one, outcome, numbers) == expected


@pytest.mark.parametrize("layer", SPACES)
@pytest.mark.parametrize("activation", ["gelu", "leaky_relu"])
@pytest.mark.parametrize("changes", [{}, {"calls": 2, "mask": "left", "initial_state": "random"}])
def test_constants_in_float32_are_known(activation, layer, changes):
    wide = {"activation": activation, "dtype": "float64", **changes}
    one, outcome, numbers = computed(layer, wide)
    assert outcome.verdict == "diverged"
    assert id_of(one, outcome, numbers) == "float32-constants-in-float64"
    rounded = with_outputs(numbers, lambda call: call.outputs.astype("f").astype("d"))
    assert id_of(one, outcome, rounded) is None


@in_keras_3
def test_squares_beyond_float16_are_known():
    one, outcome, numbers = computed("lstm", LARGE)
    assert outcome.verdict == "diverged"
    assert id_of(one, outcome, numbers) == SQUARES
    # Not where the numbers are finite, or other options matter.
    assert id_of(one, outcome, with_outputs(numbers, lambda call: call.expected)) is None
    assert id_of(one.but({"unroll": True}), outcome, numbers) is None


@in_keras_3
def test_squares_beyond_float16_in_a_later_call_are_known():
    later = {"calls": 3, "stateful": True, "go_backwards": False, "timesteps": 3}
    one, outcome, numbers = computed("lstm", {**LARGE, **later})
    assert (outcome.verdict, outcome.call) == ("diverged", 2)
    assert id_of(one, outcome, numbers) == SQUARES


NARROW = {"recurrent_activation": "softmax", "units": 16, "batch": 1, "timesteps": 2, "features": 3}
SPARSE_ONE_STEP = {
    **{**SPARSE, "initial_state": "random"},
    **{"batch": 2, "timesteps": 1, "features": 1, "units": 8},
}


@pytest.mark.parametrize(
    ("layer", "changes", "seed", "expected"),
    [
        ("lstm", {**ZEROED, **NARROW}, 3, ID_OF_THE_MASK),
        ("lstm", {**BIDIRECTIONAL, **NARROW}, 3, f"bidirectional-{ID_OF_THE_MASK}"),
        pytest.param(
            "lstm",
            {**SPARSE, "mask": "left", "batch": 1, "timesteps": 2},
            0,
            "sparsemax-threshold",
            marks=in_keras_3,
        ),
        pytest.param("gru", SPARSE_ONE_STEP, 0, "sparsemax-threshold", marks=in_keras_3),
    ],
)
def test_it_is_known_where_16_bits_may_prove_nothing(layer, changes, seed, expected):
    """Which verdict it is depends on the order in which a processor sums."""
    one = default_of(layer).but({"dtype": "mixed_bfloat16", **changes})
    outcome = check_configuration(one, seed)
    if "Could not find device for node: = Range" in outcome.summary:
        pytest.skip("this TensorFlow counts no bfloat16")
    numbers = numbers_of(one, seed)
    right = with_outputs(numbers, lambda call: call.expected + 1e-4)
    assert outcome.verdict in EITHER
    for verdict in EITHER:
        assert id_of(one, replace(outcome, verdict=verdict), numbers) == expected
        assert id_of(one, replace(outcome, verdict=verdict), right) is None


@pytest.mark.parametrize(
    ("keras_3", "layer", "changes", "expected"),
    [
        (
            True,
            "simple_rnn",
            {"wrapper": "stacked", "mask": "left"},
            "mask-of-a-stack-of-one-cell",
        ),
        (True, "gru", {"wrapper": "stacked", "mask": "right"}, "mask-of-a-stack-of-one-cell"),
        (True, "lstm", {"wrapper": "stacked", "unroll": True}, "unrolled-stack-of-one-lstm"),
        (
            True,
            "gru",
            {"wrapper": "bidirectional", "stateful": True, "return_state": True},
            "states-of-a-stateful-bidirectional",
        ),
        *[
            (
                False,
                layer,
                {
                    **{"wrapper": "stacked", "stateful": True, "initial_state": "random"},
                    "mode": "graph",
                },
                "state-of-a-stateful-stack-in-a-graph",
            )
            for layer in SPACES
        ],
        (
            False,
            "simple_rnn",
            {**UNROLLED, "return_sequences": False, "zero_output_for_mask": True},
            "unrolled-last-output-is-not-zeroed",
        ),
    ],
)
def test_what_one_generation_refuses_is_known(keras_3, layer, changes, expected):
    """The other generation shows that it can be done."""
    one = default_of(layer).but(changes)
    outcome = check_configuration(one, 0)
    if keras_3 == KERAS_3:
        assert (outcome.verdict, id_of(one, outcome, None)) == ("refused", expected)
    else:
        assert outcome.verdict == "parity", outcome.summary


@pytest.mark.parametrize("layer", SPACES)
def test_a_stateful_stack_works_eagerly(layer):
    changes = {"wrapper": "stacked", "stateful": True, "initial_state": "random"}
    assert check_configuration(default_of(layer).but(changes), 0).verdict == "parity"


# What Keras computes wrongly on its other backends.


@pytest.mark.parametrize(
    ("backend", "changes", "expected"),
    [
        ("jax", {"dtype": "float64"}, "float64-in-float32"),
        ("jax", SPARSE, "sparsemax-threshold"),
        ("jax", {**UNROLLED, "zero_output_for_mask": True}, "unrolled-zeros-repeat-the-output"),
        ("jax", {"mask": "left", "initial_state": "random"}, "initial-state-in-place-of-zeros"),
        ("jax", {"mask": "left", **STATEFUL}, "stored-state-in-place-of-zeros"),
        ("torch", {**UNROLLED, "go_backwards": True}, "unrolled-backwards-mask-has-no-shape"),
        ("openvino", {"dtype": "float64", "mask": "right"}, "float64-and-float32-in-one-select"),
    ],
)
def test_what_another_backend_is_known_for(backend, changes, expected):
    if version_of(backend) is None or not keras_backend.has_keras_3():
        pytest.skip(f"no Keras 3 on {backend} here")
    one, source = DEFAULT.but({**changes, "batch": 1, "units": 2}), f"keras:{backend}"
    outcome = check_configuration(one, 0, source)
    numbers = None if outcome.verdict == "refused" else numbers_of(one, 0, source)
    assert id_of(one, outcome, numbers, source) == expected
    assert check_configuration(one, 0).verdict in ("parity", "diverged")
    # Nobody else is known for it, and Keras on TensorFlow for sparsemax alone.
    assert id_of(one, outcome, numbers, "ports_of_mine:port") is None
    assert (id_of(one, outcome, numbers) is not None) == (expected == "sparsemax-threshold")


# Numbers worked out by hand. What looks like a known difference and is none must not hide behind
# it.


def numbers_by_hand(outputs, expected, mask=None, state=None, kernel=(1.0,), recurrent=0.0):
    """One sample that saw ones; `outputs` and `expected` hold a timestep in each row."""
    kernel, outputs, expected = (np.atleast_2d(array) for array in (kernel, outputs, expected))
    call = CallNumbers(
        inputs=np.ones((1, len(outputs), 1)),
        mask=None if mask is None else np.array([mask]),
        initial_state=() if state is None else (np.full((1, 1), float(state)),),
        outputs=outputs[None],
        final_state=(),
        expected=expected[None],
        expected_state=(),
    )
    units = expected.shape[-1]
    return Numbers(kernel, np.full((units, kernel.shape[1]), recurrent), None, (call,))


def column(*outputs):
    """The timesteps of one unit."""
    return np.array(outputs, float)[:, None]


def linear_unit(outputs, expected, mask, state=None):
    """One linear unit, all weights 1."""
    return numbers_by_hand(column(*outputs), column(*expected), mask, state, recurrent=1.0)


MASK = (True, True, False)
README = linear_unit([0, 1, 0], [0, 1, 2], MASK)


def test_the_numbers_of_the_table_are_recognised():
    assert id_of(DEFAULT.but(ZEROED), DIVERGED, README) == ID_OF_THE_MASK


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        ({}, linear_unit([0, 1, 1.5], [0, 1, 2], MASK)),  # not zeroed at all
        ({}, linear_unit([0, 0, 2], [0, 1, 2], MASK)),  # zeroed elsewhere
        ({}, linear_unit([0, 1, 2], [0, 1, 2], MASK)),  # right
        ({}, linear_unit([0, 1, 0], [0, 1, 2], None)),
        ({}, None),
        ({"unroll": False}, README),
        ({"mode": "xla"}, README),
        ({"mask": "none"}, README),
        ({"activation": "sparsemax"}, README),
    ],
)
def test_near_misses_are_not_known(changes, numbers):
    assert id_of(DEFAULT.but({**ZEROED, **changes}), DIVERGED, numbers) is None


def test_a_verdict_that_is_another_is_not_known():
    assert id_of(DEFAULT.but(ZEROED), replace(DIVERGED, verdict="suspect"), README) is None


@pytest.mark.parametrize(
    ("bits", "expected"),
    [(30.0, "float64-in-float32"), (53.0, None), (10.0, None), (None, None)],
)
def test_float64_layers_that_are_wrong_otherwise_are_not_known(bits, expected):
    outcome = replace(DIVERGED, effective_bits=bits)
    assert id_of(DEFAULT.but({"dtype": "float64"}), outcome, None, "keras:jax") == expected


@pytest.mark.parametrize(
    ("outputs", "expected", "mask", "is_known"),
    [
        ([1, 1], [1, 0], [True, False], True),
        ([1, 2], [1, 0], [True, False], False),  # masked steps computed
        ([1, 1, 0], [1, 0, 0], [True, False, False], False),  # zeroed in part
        ([1, 0], [1, 0], [True, False], False),  # right
    ],
)
def test_zeros_that_repeat_the_output(outputs, expected, mask, is_known):
    one = DEFAULT.but({**UNROLLED, "zero_output_for_mask": True})
    found = id_of(one, DIVERGED, linear_unit(outputs, expected, mask), "keras:numpy")
    assert found == ("unrolled-zeros-repeat-the-output" if is_known else None)


@pytest.mark.parametrize(
    ("outputs", "expected", "mask", "state", "is_known"),
    [
        ([3, 4], [0, 4], [False, True], 3, True),
        ([2, 4], [0, 4], [False, True], 3, False),  # something else
        ([3, 3, 4], [0, 0, 4], [False, False, True], 3, True),
        ([3, 0, 4], [0, 0, 4], [False, False, True], 3, False),  # not each
        ([0, 4], [0, 4], [False, True], 0, False),  # the state is zeros
    ],
)
def test_a_first_state_in_place_of_zeros(outputs, expected, mask, state, is_known):
    one = DEFAULT.but({"mask": "left", "initial_state": "random"})
    found = id_of(one, DIVERGED, linear_unit(outputs, expected, mask, state), "keras:numpy")
    assert found == ("initial-state-in-place-of-zeros" if is_known else None)


@pytest.mark.parametrize(
    ("z", "outputs", "right", "dtype", "is_known"),
    [
        # (3/4, 1/4) is right, tau = (3/2 - 1) / 2 = 1/4; Keras 3.15's is (1 + 3/2 - 1) / 2 = 3/4.
        ([1.0, 0.5], [0.25, 0.0], [0.75, 0.25], "float32", True),
        ([1.0, 0.5], [0.25, 0.75], [0.75, 0.25], "float32", False),
        ([1.0, 0.5], [0.0, 0.0], [0.75, 0.25], "float32", False),
        # (1, 0) is a tie: 0 is not above (1 + 0 - 1) / 2 = 0, and the support is the first alone.
        # Rounding may let it count, and Keras 3.15's tau is (1 + 1 - 1) / 2 = 1/2 in place of 0.
        ([1.0, 0.0], [0.5, 0.0], [1.0, 0.0], "float32", True),
        ([1.0, -0.01], [0.505, 0.0], [1.0, 0.0], "mixed_bfloat16", True),
        # -0.01 is 0.005 below (1 - 0.01 - 1) / 2: no rounding of float32 makes that a tie.
        ([1.0, -0.01], [0.505, 0.0], [1.0, 0.0], "float32", False),
        # And what would be right either way is not Keras's mistake.
        ([1.0, 0.0], [1.0, 0.0], [1.0, 0.0], "float32", False),
        ([1.0, 0.0], [0.75, 0.0], [1.0, 0.0], "float32", False),
        # Two ends: by tau = 1/2 for the first two, and (1 + 1 + 1 - 1) / 3 = 2/3 for all three.
        ([1.0, 0.0, 0.0], [0.5, 0.0, 0.0], [1.0, 0.0, 0.0], "float32", True),
        ([1.0, 0.0, 0.0], [1 / 3, 0.0, 0.0], [1.0, 0.0, 0.0], "float32", True),
    ],
)
def test_the_end_of_a_sparsemax_support_may_be_rounded_either_way(
    z, outputs, right, dtype, is_known
):
    one = DEFAULT.but({**SPARSE, "dtype": dtype})
    found = id_of(one, DIVERGED, numbers_by_hand(outputs, right, kernel=z))
    assert found == ("sparsemax-threshold" if is_known else None)
    assert id_of(one, DIVERGED, None) is None


def test_every_timestep_of_every_sample_may_be_rounded_its_own_way():
    """The tie (1, 0) three times, of two samples, the last one masked; both results occur."""
    a, b, zeros = [0.5, 0.0], [1.0, 0.0], [0.0, 0.0]
    one = DEFAULT.but({**SPARSE, "mask": "right"})

    def found(one, last):
        numbers = numbers_by_hand([b, b, b], [b, b, b], kernel=[1.0, 0.0])
        call = replace(
            numbers.calls[0],
            inputs=np.ones((2, 3, 1)),
            mask=np.array([[True, True, True], [True, True, False]]),
            expected=np.array([[b, b, b], [b, b, b]]),
            outputs=np.array([[a, b, a], [b, a, last]]),
        )
        return id_of(one, DIVERGED, replace(numbers, calls=(call,)))

    assert found(one, a) == "sparsemax-threshold"
    assert found(one, b) is None  # it repeats no output
    assert found(one, zeros) is None
    assert found(one.but({"zero_output_for_mask": True}), zeros) == "sparsemax-threshold"


@pytest.mark.parametrize(
    ("outputs", "is_known"), [([0.5, 0.0], True), ([1.0, 0.0], False), ([0.25, 0.0], False)]
)
def test_both_activations_of_an_lstm_may_be_rounded_either_way(outputs, is_known):
    """Gates that are wide open: g is the sparsemax of (1, 0), and h that of c = g.

    g and c are (1, 0) or (1/2, 0), and so is h: 0 is above (1/2 - 1) / 2, and tau of (1/2, 0) is
    (1/2 + 1/2 - 1) / 2 = 0. (1/4, 0) is neither, and (1, 0) is right.
    """
    gate = [1e3, 1e3]
    one = default_of("lstm").but(SPARSE)
    numbers = numbers_by_hand(outputs, [1.0, 0.0], kernel=[*gate, *gate, 1.0, 0.0, *gate])
    assert (id_of(one, DIVERGED, numbers) is not None) == is_known


@pytest.mark.parametrize(("z", "is_known"), [(250.0, False), (255.5, True), (256.5, True)])
def test_the_largest_square_may_be_rounded_either_way(z, is_known):
    """255.929^2 + 4 = 65504, but float16 holds numbers of this size to 1/8 at best."""
    one = DEFAULT.but({"activation": "squareplus", "dtype": "float16"})
    numbers = numbers_by_hand([np.inf], [z], kernel=[z])
    assert (id_of(one, DIVERGED, numbers) is not None) == is_known


def test_the_table_can_be_read():
    assert len({known.id for known in KNOWN_DIFFERENCES}) == len(KNOWN_DIFFERENCES)
    for known in KNOWN_DIFFERENCES:
        for layer in known.layers:
            space = SPACES[layer]
            assert all(set(values) <= set(space[name]) for name, values in known.options.items())
        assert all((known.wrong, known.right, known.keras, known.against))
        # What Keras refuses comes to no check; all else can be proven there.
        assert (known.made_right is None) == bool(known.message)
        assert known.remedy or known.message
