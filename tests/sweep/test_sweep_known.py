"""What a sweep recognises: every known mistake where it happens, and nothing that looks like it."""

from dataclasses import replace

import numpy as np
import pytest

from rnn_parity import keras_adapter as ka
from rnn_parity.implementations import keras_backend
from rnn_parity.sweep.findings import KNOWN, known_as
from rnn_parity.sweep.numbers import CallNumbers, Numbers, numbers_of
from rnn_parity.sweep.one import check_one
from rnn_parity.sweep.space import SPACES, Configuration
from rnn_parity.system.environment import version_of
from rnn_parity.verdict.sweep_results import Outcome

KERAS_3 = hasattr(ka.tensorflow_module().keras, "ops")
DEFAULT = Configuration.default("simple_rnn")
ZEROED = DEFAULT.but(
    {"go_backwards": True, "unroll": True, "zero_output_for_mask": True, "mask": "right"}
)


EITHER = ("diverged", "inconclusive")


def known(one, seed=0):
    outcome = check_one(one, seed)
    return known_as(one, outcome, numbers_of(one, seed)), outcome


@pytest.mark.parametrize("layer", SPACES)
def test_the_mask_that_is_not_reversed_is_known(layer):
    changes = {**ZEROED.changed, "timesteps": 2, "units": 1}
    found, outcome = known(Configuration.default(layer).but(changes))
    assert outcome.verdict == "diverged"
    assert found.id == "zeroed-by-the-mask-as-given"


@pytest.mark.skipif(not KERAS_3, reason="Keras 2 has no sparsemax")
@pytest.mark.parametrize("layer", SPACES)
@pytest.mark.parametrize(
    "changes",
    [{}, {"stateful": True, "calls": 2, "go_backwards": True, "mask": "left", "use_bias": False}],
)
def test_sparsemax_is_known(layer, changes):
    one = Configuration.default(layer).but({"activation": "sparsemax", **changes})
    found, outcome = known(one)
    assert outcome.verdict == "diverged"
    assert found.id == "sparsemax-threshold"


@pytest.mark.skipif(not KERAS_3, reason="Keras 2 has no sparsemax")
@pytest.mark.parametrize(
    ("layer", "changes"),
    [
        ("lstm", {"mask": "left", "batch": 1, "timesteps": 2}),
        ("gru", {"initial_state": "random", "batch": 2, "timesteps": 1, "features": 1, "units": 8}),
    ],
)
def test_sparsemax_is_known_where_16_bits_may_prove_nothing(layer, changes):
    wide = {"activation": "sparsemax", "dtype": "mixed_bfloat16", **changes}
    one = Configuration.default(layer).but(wide)
    outcome = check_one(one, 0)
    if "Could not find device for node: = Range" in outcome.summary:
        pytest.skip("this TensorFlow counts no bfloat16")
    numbers = numbers_of(one, 0)
    # Which of the two it is depends on the order in which a processor sums.
    assert outcome.verdict in EITHER
    for verdict in EITHER:
        assert known_as(one, replace(outcome, verdict=verdict), numbers).id == "sparsemax-threshold"
        (call,) = numbers.calls
        right = replace(numbers, calls=(replace(call, outputs=call.expected + 1e-4),))
        assert known_as(one, replace(outcome, verdict=verdict), right) is None


@pytest.mark.parametrize("layer", SPACES)
@pytest.mark.parametrize("activation", ["gelu", "leaky_relu"])
@pytest.mark.parametrize("changes", [{}, {"calls": 2, "mask": "left", "initial_state": "random"}])
def test_constants_in_float32_are_known(activation, layer, changes):
    wide = {"activation": activation, "dtype": "float64", **changes}
    one = Configuration.default(layer).but(wide)
    found, outcome = known(one)
    assert outcome.verdict == "diverged"
    assert found.id == "float32-constants-in-float64"
    numbers = numbers_of(one, 0)
    call, *others = numbers.calls
    off = replace(call, outputs=call.outputs.astype("float32").astype("float64"))
    assert known_as(one, outcome, replace(numbers, calls=(off, *others))) is None


LARGE = {
    **{"activation": "squareplus", "dtype": "mixed_float16", "recurrent_activation": "softmax"},
    **{"go_backwards": True, "batch": 1, "timesteps": 8, "features": 1, "units": 1},
}


@pytest.mark.skipif(not KERAS_3, reason="Keras 2 has no squareplus")
def test_squares_beyond_float16_are_known():
    one = Configuration.default("lstm").but(LARGE)
    found, outcome = known(one)
    assert outcome.verdict == "diverged"
    assert found.id == "squareplus-squares-in-float16"
    # Not where the numbers are finite, or other options matter.
    numbers = numbers_of(one, 0)
    (call,) = numbers.calls
    right = replace(numbers, calls=(replace(call, outputs=call.expected),))
    assert known_as(one, outcome, right) is None
    assert known_as(one.but({"unroll": True}), outcome, numbers) is None


@pytest.mark.skipif(not KERAS_3, reason="Keras 2 has no squareplus")
def test_squares_beyond_float16_in_a_later_call_are_known():
    later = {"calls": 3, "stateful": True, "go_backwards": False, "timesteps": 3}
    found, outcome = known(Configuration.default("lstm").but({**LARGE, **later}))
    assert (outcome.verdict, outcome.call) == ("diverged", 2)
    assert found.id == "squareplus-squares-in-float16"


BIDIRECTIONAL = {"wrapper": "bidirectional", "unroll": True, "mask": "right"}


@pytest.mark.parametrize("layer", SPACES)
def test_the_mask_that_a_bidirectional_does_not_reverse_is_known(layer):
    found, outcome = known(Configuration.default(layer).but({**BIDIRECTIONAL, "units": 1}))
    assert outcome.verdict == "diverged"
    assert outcome.summary.startswith("backward: ")
    assert found.id == "bidirectional-zeroed-by-the-mask-as-given"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (ZEROED.changed, "zeroed-by-the-mask-as-given"),
        (BIDIRECTIONAL, "bidirectional-zeroed-by-the-mask-as-given"),
    ],
)
def test_the_mask_that_is_not_reversed_is_known_where_16_bits_may_prove_nothing(changes, expected):
    wide = {"dtype": "mixed_bfloat16", "recurrent_activation": "softmax", "units": 16}
    small = {"batch": 1, "timesteps": 2, "features": 3}
    one = Configuration.default("lstm").but({**changes, **wide, **small})
    outcome, numbers = check_one(one, 3), numbers_of(one, 3)
    assert outcome.verdict in EITHER
    for verdict in EITHER:
        assert known_as(one, replace(outcome, verdict=verdict), numbers).id == expected


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
    assert known_as(ZEROED, replace(DIVERGED, verdict="suspect"), of_call()) is None


@pytest.mark.parametrize("bits", [53.0, 10.0, None])
def test_float64_layers_that_are_wrong_otherwise_are_not_known(bits):
    one = DEFAULT.but({"dtype": "float64"})
    assert known_as(one, replace(DIVERGED, effective_bits=30.0), None, "keras:jax") is not None
    assert known_as(one, replace(DIVERGED, effective_bits=bits), None, "keras:jax") is None


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


def sparsemax_of(z, *outputs, right, dtype="float32"):
    """What these outputs of a sparsemax of `z` are known for."""
    one = DEFAULT.but({"activation": "sparsemax", "dtype": dtype})
    kernel, none = np.array([z]), np.zeros((len(z), len(z)))
    call = replace(
        BY_HAND,
        inputs=np.ones((1, 1, 1)),
        mask=None,
        expected=np.array([[right]]),
        outputs=np.array([[outputs]]),
    )
    return known_as(one, DIVERGED, Numbers(kernel, none, None, (call,)))


def test_the_end_of_a_support_may_be_rounded_either_way():
    """(1, 0) is a tie: 0 is not above (1 + 0 - 1) / 2 = 0, and the support is the first alone.

    Rounding may let it count, and Keras 3.15's tau is (1 + 1 - 1) / 2 = 1/2 in place of 0.
    """
    assert sparsemax_of([1.0, 0.0], 0.5, 0.0, right=[1.0, 0.0]).id == "sparsemax-threshold"
    near = sparsemax_of([1.0, -0.01], 0.505, 0.0, right=[1.0, 0.0], dtype="mixed_bfloat16")
    assert near.id == "sparsemax-threshold"
    # -0.01 is 0.005 below (1 - 0.01 - 1) / 2: no rounding of float32 makes that a tie.
    assert sparsemax_of([1.0, -0.01], 0.505, 0.0, right=[1.0, 0.0]) is None
    # And what would be right either way is not Keras's mistake.
    assert sparsemax_of([1.0, 0.0], 1.0, 0.0, right=[1.0, 0.0]) is None
    assert sparsemax_of([1.0, 0.0], 0.75, 0.0, right=[1.0, 0.0]) is None


def test_two_ends_of_a_support_may_be_rounded_either_way():
    """(1, 0, 0), by tau = 1/2 for the first two and (1 + 1 + 1 - 1) / 3 = 2/3 for all three."""
    for outputs in ([0.5, 0.0, 0.0], [1 / 3, 0.0, 0.0]):
        found = sparsemax_of([1.0, 0.0, 0.0], *outputs, right=[1.0, 0.0, 0.0])
        assert found.id == "sparsemax-threshold"


def test_every_timestep_of_every_sample_may_be_rounded_its_own_way():
    """The tie (1, 0) three times, of two samples, the last one masked; both results occur."""
    x = np.array([[[1.0], [1.0], [1.0]], [[1.0], [1.0], [1.0]]])
    a, b = [0.5, 0.0], [1.0, 0.0]
    call = replace(
        BY_HAND,
        inputs=x,
        mask=np.array([[True, True, True], [True, True, False]]),
        expected=np.array([[b, b, b], [b, b, b]]),
        outputs=np.array([[a, b, a], [b, a, a]]),
    )
    numbers = Numbers(np.array([[1.0, 0.0]]), np.zeros((2, 2)), None, (call,))
    one = DEFAULT.but({"activation": "sparsemax", "mask": "right"})
    assert known_as(one, DIVERGED, numbers).id == "sparsemax-threshold"
    wrong = replace(call, outputs=np.array([[a, b, a], [b, a, b]]))  # it repeats no output
    assert known_as(one, DIVERGED, replace(numbers, calls=(wrong,))) is None
    zeroed = replace(call, outputs=np.array([[a, b, a], [b, a, [0.0, 0.0]]]))
    numbers = replace(numbers, calls=(zeroed,))
    assert known_as(one, DIVERGED, numbers) is None
    assert known_as(one.but({"zero_output_for_mask": True}), DIVERGED, numbers) is not None


def test_both_activations_of_an_lstm_may_be_rounded_either_way():
    """Gates that are wide open: g is the sparsemax of (1, 0), and h that of c = g.

    g and c are (1, 0) or (1/2, 0), and so is h: 0 is above (1/2 - 1) / 2, and tau of (1/2, 0) is
    (1/2 + 1/2 - 1) / 2 = 0. (1/4, 0) is neither, and (1, 0) is right.
    """
    gate = [1e3, 1e3]
    kernel = np.array([[*gate, *gate, 1.0, 0.0, *gate]])
    one = Configuration.default("lstm").but({"activation": "sparsemax"})
    for outputs, is_known in [([0.5, 0.0], True), ([1.0, 0.0], False), ([0.25, 0.0], False)]:
        call = replace(
            BY_HAND,
            inputs=np.ones((1, 1, 1)),
            mask=None,
            expected=np.array([[[1.0, 0.0]]]),
            outputs=np.array([[outputs]]),
        )
        numbers = Numbers(kernel, np.zeros((2, 8)), None, (call,))
        assert (known_as(one, DIVERGED, numbers) is not None) == is_known


@pytest.mark.parametrize(("z", "is_known"), [(250.0, False), (255.5, True), (256.5, True)])
def test_the_largest_square_may_be_rounded_either_way(z, is_known):
    """255.929^2 + 4 = 65504, but float16 holds numbers of this size to 1/8 at best."""
    one = DEFAULT.but({"activation": "squareplus", "dtype": "float16"})
    call = replace(
        BY_HAND,
        inputs=np.ones((1, 1, 1)),
        mask=None,
        expected=np.full((1, 1, 1), z),
        outputs=np.full((1, 1, 1), np.inf),
    )
    numbers = Numbers(np.array([[z]]), np.zeros((1, 1)), None, (call,))
    assert (known_as(one, DIVERGED, numbers) is not None) == is_known


# What Keras computes wrongly on its other backends; each was proven by hand, see the table.

UNROLLED = {"unroll": True, "zero_output_for_mask": True, "mask": "right"}
STORED = {"mask": "left", "stateful": True, "calls": 2}
ON_OTHER_BACKENDS = [
    ("jax", {"dtype": "float64"}, "float64-in-float32"),
    ("jax", {"activation": "sparsemax"}, "sparsemax-threshold"),
    ("jax", UNROLLED, "unrolled-zeros-repeat-the-output"),
    ("jax", {"mask": "left", "initial_state": "random"}, "initial-state-in-place-of-zeros"),
    ("jax", STORED, "stored-state-in-place-of-zeros"),
    (
        "torch",
        {"unroll": True, "go_backwards": True, "mask": "right"},
        "unrolled-backwards-mask-has-no-shape",
    ),
    ("openvino", {"dtype": "float64", "mask": "right"}, "float64-and-float32-in-one-select"),
]


@pytest.mark.parametrize(("backend", "changes", "expected"), ON_OTHER_BACKENDS)
def test_what_another_backend_is_known_for(backend, changes, expected):
    if version_of(backend) is None or not keras_backend.has_keras_3():
        pytest.skip(f"no Keras 3 on {backend} here")
    one, source = DEFAULT.but({**changes, "batch": 1, "units": 2}), f"keras:{backend}"
    outcome = check_one(one, 0, source)
    numbers = None if outcome.verdict == "refused" else numbers_of(one, 0, source)
    assert known_as(one, outcome, numbers, source).id == expected
    assert check_one(one, 0).verdict in ("parity", "diverged")
    # Nobody else is known for it, and Keras on TensorFlow for sparsemax alone.
    assert known_as(one, outcome, numbers, "ports_of_mine:port") is None
    on_tensorflow = known_as(one, outcome, numbers)
    assert (on_tensorflow is not None) == (expected == "sparsemax-threshold")


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
