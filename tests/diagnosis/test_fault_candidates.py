"""What the catalogue reads off observed numbers: orders of features, dropout, formats, weights."""

import ml_dtypes
import numpy as np
import pytest
from catalogue import details, variants

import rnn_parity as rp
from rnn_parity.diagnosis.faults import Computation, sequences, weights
from rnn_parity.diagnosis.faults.sequences import correction, implied_order, missing, nearest
from rnn_parity.diagnosis.faults.weights import corrections, narrower, uses_all_digits
from rnn_parity.diagnosis.implied_weights import rows
from rnn_parity.recurrence.precision import FORMATS
from rnn_parity.recurrence.sequences import Dropout, Sequences

pytestmark = pytest.mark.filterwarnings("error")


def random(batch, timesteps, features, units, kind=rp.SimpleRNN, bias=True, scale=1.0, **options):
    """A call with random weights, as float32 has them, and normal inputs."""
    rng = np.random.default_rng(0)
    width = units * len(kind.GATES)
    rows_of_bias = (2, width) if kind is rp.GRU else (width,)
    layer = kind(
        scale * rng.normal(size=(features, width)),
        rng.normal(size=(units, width)) / np.sqrt(4 * units),
        0.3 * rng.normal(size=rows_of_bias) if bias else None,
        dtype="float32",
        **options,
    )
    x = rng.normal(size=(batch, timesteps, features)).astype(np.float32)
    return Computation(layer, Sequences.of(layer, x))


def linear(kernel, x, bias=None, dtype="float64"):
    """`h = x U + b`, which hands nothing on."""
    units = np.shape(kernel)[1]
    layer = rp.SimpleRNN(kernel, np.zeros((units, units)), bias, "linear", dtype=dtype)
    return Computation(layer, Sequences.of(layer, np.array(x)))


# The order of the features.


def test_every_order_of_a_few_features_is_tried():
    found = variants("features-permuted", random(1, 1, 3, 2), np.zeros((1, 1, 2)))
    orders = ["[0, 2, 1]", "[1, 0, 2]", "[1, 2, 0]", "[2, 0, 1]", "[2, 1, 0]"]
    assert details(found) == [f"the order of the kernel's rows is {order}" for order in orders]
    computation = linear([[1.0], [2.0], [3.0]], np.ones((1, 1, 3)))
    third = variants("features-permuted", computation, np.zeros((1, 1, 1)))[2]
    assert third.layer.kernel.tolist() == [[2], [3], [1]]
    assert len(variants("features-permuted", random(1, 1, 5, 2), np.zeros((1, 1, 2)))) == 119


ORDER = [5, 0, 3, 4, 2, 1]


@pytest.mark.parametrize(("features", "count"), [(6, 1), (128, 1), (129, 0)])
def test_of_too_many_features_no_order_is_looked_for(features, count, monkeypatch):
    rolled = np.roll(np.arange(features), 1)
    guesses = []

    def implied(computation, outputs, guess):
        guesses.append(guess.tolist())
        return rolled

    monkeypatch.setattr(sequences, "implied_order", implied)
    computation = linear(np.ones((features, 1)), np.ones((1, 1, features)))
    found = variants("features-permuted", computation, np.ones((1, 1, 1)))
    assert details(found) == [f"the order of the kernel's rows is {rolled.tolist()}"] * count
    # The guess that is found again is the last.
    assert guesses == [list(range(features)), rolled.tolist()] * count


def test_no_more_than_three_guesses(monkeypatch):
    orders = [np.roll(np.arange(6), n) for n in range(1, 6)]
    monkeypatch.setattr(sequences, "implied_order", lambda c, y, guess: orders.pop(0))
    (one,) = variants("features-permuted", random(1, 1, 6, 1), np.ones((1, 1, 1)))
    assert one.detail == "the order of the kernel's rows is [3, 4, 5, 0, 1, 2]"


def test_no_order_where_no_kernel_comes_near():
    computation = random(4, 12, 6, 4, activation="linear", scale=0.1)
    outputs = np.random.default_rng(1).normal(size=(4, 12, 4))
    order = np.array([1, 0, 2, 3, 4, 5])
    assert implied_order(computation, outputs, order) is order


def test_units_that_tell_nothing_do_not_tell_the_order():
    """Of 16 units every second one is 1 whatever its inputs; the others are seen too small."""
    computation = random(4, 12, 6, 16, bias=False, scale=0.3)
    x, kernel = computation.sequences.inputs, computation.layer.kernel
    sums = (np.tanh(x @ kernel[ORDER]) - np.tanh(x @ kernel)).sum(axis=(0, 1))
    even = np.arange(16) % 2 == 0
    computation = computation.layer_but(
        kernel=np.where(even, 10 * kernel, -np.sign(sums) * kernel),
        bias=np.where(even, 1000.0, 0.0),
        recurrent_kernel=np.zeros((16, 16)),
        precision=FORMATS["float64"],
    )
    wrong = computation.layer_but(kernel=computation.layer.kernel[ORDER])
    (one,) = variants("features-permuted", computation, wrong.computed())
    assert one.detail == f"the order of the kernel's rows is {ORDER}"


def test_every_gate_tells_the_order():
    computation = random(4, 12, 6, 4, rp.GRU, scale=0.5)
    kernel = computation.layer.kernel.copy()
    kernel[:, :4] = 0.25  # the gate z alone tells nothing
    computation = computation.layer_but(kernel=kernel)
    wrong = computation.layer_but(kernel=kernel[ORDER])
    (one,) = variants("features-permuted", computation, wrong.computed())
    assert one.detail == f"the order of the kernel's rows is {ORDER}"


# The kernel row 2 stands first: what is missing is 1 in the first row and -1 in the second.
STEPS = [
    ([1.0, 0.0, 0.0, 0.0, 0.0], True),
    ([0.0, 0.0, 0.0, 0.0, 1.0], True),
    ([0.0, 0.0, 0.0, 0.0, 0.0, 1.0], False),
    # What is left of the squares is (1 - 0.46)^2 or (1 - 0.44)^2, against 0.3.
    ([0.0, 0.0, 0.0, 0.46, 0.0, 0.54], True),
    ([0.0, 0.0, 0.0, 0.44, 0.0, 0.56], False),
]


@pytest.mark.parametrize(("shares", "arrives"), STEPS)
def test_by_the_sixth_step_the_outputs_are_near_or_never(shares, arrives, monkeypatch):
    left = [*shares, *[0.0] * 10]
    missing_kernel = np.array([[1.0], [-1.0]])
    monkeypatch.setattr(sequences, "correction", lambda *_: left.pop(0) * missing_kernel)
    computation = linear([[1.0], [2.0]], [[[1.0, 0.0], [0.0, 1.0]]])
    guess = np.array([0, 1])
    found = implied_order(computation, np.array([[[2.0], [1.0]]]), guess)
    assert found.tolist() == ([1, 0] if arrives else [0, 1])
    assert (found is guess) is not arrives


def test_a_guess_that_explains_all_is_kept():
    computation = linear([[1.0], [1.0]], [[[1.0, 0.0], [0.0, 1.0]]])
    guess = np.array([1, 0])
    assert implied_order(computation, np.array([[[1.0], [1.0]]]), guess) is guess


def test_the_nearest_pair_first():
    far = np.array([[1.0, 0.5, 9.0], [0.25, 0.0, 9.0], [0.0625, 3.0, 2.0]])
    # Feature 1 meets row 1; of what is left feature 2 meets row 0, and feature 0 row 2.
    assert nearest(far).tolist() == [2, 1, 0]
    assert nearest(np.array([[np.nan, 1.0], [5.0, np.nan]])).tolist() == [1, 0]
    assert far[1, 1] == 0


@pytest.mark.parametrize("damping", [0.0, 1.0])
def test_what_a_kernel_is_short_of_by_hand(damping):
    # Two features that are seen apart: 4 = 1 * 3 + 1 and -2 = 1 * 2 - 4, in unit 1 of two.
    computation = linear([[7.0, 3.0], [7.0, 2.0]], [[[1.0, 0.0], [0.0, 1.0]]])
    outputs = np.array([[[7.0, 4.0], [7.0, -2.0]]])
    equations = rows(computation.layer, computation.sequences, outputs)
    found = correction(computation.layer, equations, 1, damping)
    np.testing.assert_allclose(found, np.array([[1.0], [-4.0]]) / (1 + damping), rtol=1e-12)
    assert correction(computation.layer, equations, 0, damping).tolist() == [[0], [0]]


def test_features_that_never_occur_tell_nothing():
    computation = linear([[7.0], [2.0]], [[[1.0, 0.0], [2.0, 0.0]]])
    equations = rows(computation.layer, computation.sequences, np.array([[[4.0], [8.0]]]))
    assert correction(computation.layer, equations, 0, 0.0).tolist() == [[0], [0]]


# Dropout.


def test_every_second_input_dropped():
    (one,) = variants("dropout-active", linear([[1.0], [2.0], [3.0], [4.0]], np.ones((1, 1, 4))))
    assert one.detail == "inputs are dropped"
    assert one.layer.kernel.tolist() == [[0], [4], [0], [8]]


def test_where_dropout_is_meant_none_is_looked_for():
    computation = random(3, 20, 4, 4)
    kept = np.tile([2.0, 0.0], (3, 1, 2))
    outputs = computation.sequences_but(inputs=kept * computation.sequences.inputs).computed()
    assert len(variants("dropout-active", computation, outputs)) == 1
    scaled = computation.sequences_but(inputs=2 * computation.sequences.inputs).computed()
    assert variants("dropout-active", computation, scaled) == []
    masks = Dropout(np.full((1, 3, 4), 2.0))
    assert variants("dropout-active", computation.sequences_but(dropout=masks), outputs) == []


def test_what_is_missing_in_the_inputs_scales_by_hand():
    # h = 2 a x + 3 b y with x, y = (1, 2), (4, 5) and then (2, 4), (1, 1).
    x = [[[1.0, 2.0], [4.0, 5.0]], [[2.0, 4.0], [1.0, 1.0]]]
    computation = linear([[2.0], [3.0]], x)
    a = np.array([[2.0, 0.0], [1.0, 0.5]])
    outputs = np.array([[[4.0], [16.0]], [[10.0], [3.5]]])
    ones = np.ones((2, 2))
    found = missing(computation.layer, ones, computation.sequences, outputs)
    np.testing.assert_allclose(found, a - 1, atol=1e-12)
    found = missing(computation.layer, a, computation.sequences, outputs)
    np.testing.assert_allclose(found, 0 * a, atol=1e-12)


def test_a_sample_that_is_not_finite_tells_nothing_of_its_inputs():
    computation = linear([[2.0]], [[[np.inf], [1.0]], [[1.0], [2.0]]])
    outputs = np.array([[[np.inf], [4.0]], [[4.0], [8.0]]])
    with np.errstate(invalid="ignore"):
        found = missing(computation.layer, np.ones((2, 1)), computation.sequences, outputs)
    assert found[1, 0] == pytest.approx(1)
    assert np.isfinite(found).all()


def test_small_scales_are_found_in_one_step():
    computation = random(3, 20, 4, 4, rp.GRU, scale=0.5).layer_but(precision=FORMATS["float64"])
    off = 1e-5 * np.random.default_rng(1).normal(size=(3, 4))
    x = computation.sequences.inputs * (1 + off)[:, np.newaxis]
    outputs = computation.sequences_but(inputs=x).computed()
    found = missing(computation.layer, np.ones((3, 4)), computation.sequences, outputs)
    np.testing.assert_allclose(found, off, atol=1e-8)


def test_inputs_of_one_timestep_may_have_been_dropped():
    computation = random(2, 1, 4, 8)
    x = computation.sequences.inputs * np.array([[[2, 0, 2, 2]], [[0, 2, 2, 0]]])
    outputs = computation.sequences_but(inputs=x).computed()
    (one,) = variants("dropout-active", computation, outputs)
    assert one.detail == "inputs are dropped at a rate of 0.5"


def test_the_first_timesteps_tell_what_was_dropped():
    # Eight, and eight more for as many features as units.
    computation = random(3, 20, 4, 4)
    x = computation.sequences.inputs * np.array([[[2, 0, 2, 2]], [[0, 2, 2, 0]], [[2, 2, 2, 2]]])
    outputs = computation.sequences_but(inputs=x).computed()
    outputs[:, 16:] = 0.9
    (one,) = variants("dropout-active", computation, outputs)
    assert one.detail == "inputs are dropped at a rate of 0.5"


@pytest.mark.parametrize(
    ("scales", "rate", "kept"),
    [
        ([2, 2, 2, 1, 0.9, 0], 0.5, [1, 1, 1, 0, 0, 0]),  # what is up to half of the others is 0
        ([0.5, 2, 2, 0.5, 0.5, 0.5], 0.5, [0, 1, 1, 0, 0, 0]),  # half of the scale 1 is dropped
        ([1.5] * 6, None, None),  # nothing is dropped: the inputs are scaled
        ([1.001] * 6, None, None),
        ([1] * 6, None, None),
        ([0] * 6, None, None),
        ([0.5] * 6, None, None),
    ],
)
def test_what_scales_say_of_dropout(scales, rate, kept, monkeypatch):
    monkeypatch.setattr(sequences, "missing", lambda layer, now, *few: np.array([scales]) - now)
    computation = linear(np.ones((6, 1)), np.ones((1, 1, 6)))
    found = variants("dropout-active", computation, np.ones((1, 1, 1)))
    if rate is None:
        assert found == []
        return
    assert details(found) == [f"inputs are dropped at a rate of {rate}"]
    np.testing.assert_allclose(found[0].sequences.inputs, [[np.array(kept) / (1 - rate)]])


@pytest.mark.parametrize(("change", "end"), [(100.0, 8.0), (-100.0, -1.0)])
def test_scales_stay_between_minus_one_and_eight(change, end, monkeypatch):
    seen = []

    def far(layer, scales, *few):
        seen.append(scales.tolist())
        return np.full(scales.shape, change)

    monkeypatch.setattr(sequences, "missing", far)
    variants("dropout-active", linear([[1.0]], np.ones((1, 1, 1))), np.ones((1, 1, 1)))
    assert seen == [[[1.0]]] + [[[end]]] * 7


# Narrower numbers.

HALVES = ["tfloat32", "float16", "bfloat16"]


@pytest.mark.parametrize(
    ("dtype", "names"),
    [
        ("float64", ["float32", *HALVES]),
        ("float32", HALVES),
        ("float16", HALVES[2:]),
        ("bfloat16", []),
    ],
)
def test_the_formats_that_are_narrower(dtype, names):
    layer = rp.SimpleRNN([[1.0]], [[1.0]], dtype=dtype)
    assert [p.name for p in narrower(layer)] == names


def test_rounded_weights():
    layer = rp.SimpleRNN([[0.123456]], [[0.98765]], [1 / 3], dtype="float32")
    computation = Computation(layer, Sequences.of(layer, [[[1.0]]]))
    (one,) = variants("weights-rounded", computation)
    assert one.detail == "all weights are rounded to 4 decimals"
    parts = [one.layer.kernel, one.layer.recurrent_kernel, one.layer.bias]
    printed = np.float32([0.1235, 0.9876, 0.3333])  # 0.98765 in float32 is below that tie
    assert [float(w.item()) for w in parts] == printed.astype(float).tolist()
    found = variants("weights-rounded", computation, np.zeros((1, 1, 1)))
    names = [*HALVES, *(f"{k} decimals" for k in range(1, 9))]
    assert details(found) == [f"all weights are rounded to {name}" for name in names]
    # 1/3 is 1.0101...b / 4: of 11 digits 1365 / 4096, of 8 digits 171 / 512.
    assert [one.layer.bias.item() for one in found[1:3]] == [1365 / 4096, 171 / 512]
    assert found[5].layer.kernel.item() == np.float32(0.123)
    without = computation.layer_but(bias=None)
    assert all(
        one.layer.bias is None for one in variants("weights-rounded", without, np.zeros((1, 1, 1)))
    )


def test_narrow_products_round_the_kernels_and_what_they_multiply():
    layer = rp.SimpleRNN([[1 / 3]], [[1 / 3]], [1 / 3], dtype="float32")
    found = variants("lower-precision", Computation(layer, Sequences.of(layer, [[[1.0]]])))
    expected = [f"matrix products take their operands in {name}" for name in HALVES]
    assert details(found) == expected
    assert [one.layer.operands.name for one in found] == HALVES
    last = found[2].layer
    assert (last.kernel.item(), last.recurrent_kernel.item()) == (171 / 512, 171 / 512)
    assert last.bias.item() == layer.bias.item() != 171 / 512


def narrow_outputs(dtype, batch=9, timesteps=33):
    return np.random.default_rng(0).uniform(-1, 1, (batch, timesteps, 2)).astype(dtype)


def test_everything_in_a_format_of_which_all_outputs_are():
    computation = random(9, 33, 2, 2).sequences_but(initial_state=np.full((1, 9, 2), 1 / 3))
    outputs = narrow_outputs("float16").astype(np.float32)
    # After the first 8 samples and 32 timesteps nothing counts.
    outputs[8:], outputs[:, 32:] = 1 / 3, 1 / 3
    *_, last = found = variants("lower-precision", computation, outputs)
    assert len(found) == 4
    assert last.detail == "everything is computed, or stored, in float16"
    assert last.layer.precision.name == "float16"
    assert last.sequences.initial_state.ravel()[0] == 1365 / 4096
    assert np.array_equal(last.layer.kernel, computation.layer.kernel.astype(np.float16))
    outputs[7, 31] = 1 / 3
    assert len(variants("lower-precision", computation, outputs)) == 3


def test_everything_in_bfloat16():
    computation = random(9, 33, 2, 2)
    outputs = narrow_outputs(ml_dtypes.bfloat16).astype(np.float64)
    *_, last = variants("lower-precision", computation, outputs)
    assert last.detail == "everything is computed, or stored, in bfloat16"
    assert len(variants("lower-precision", computation, np.full((1, 3, 2), 1 / 3))) == 3


EIGHT = FORMATS["bfloat16"]


@pytest.mark.parametrize(
    ("numbers", "all_digits"),
    [
        ([129 / 128], True),
        ([130 / 128], False),  # of seven digits, too
        ([257 / 256], False),  # of nine
        ([129 / 128, 130 / 128, 132 / 128], True),  # a third has all digits
        ([129 / 128, 130 / 128, 132 / 128, 134 / 128], False),  # a quarter is not enough
        ([129 / 128, 0.0, 1.0, -1.0, 0.5, np.inf, np.nan, -2.0], True),  # others tell nothing
        ([129 / 128, 0.0, 0.0, 0.0, 0.0], True),
        ([1.0, 0.5], False),
        ([np.nan], False),
        ([-131 / 128], True),
    ],
)
def test_numbers_that_use_all_digits_of_a_format(numbers, all_digits):
    assert uses_all_digits(np.array(numbers), EIGHT) is all_digits


# Single weights.


def test_the_largest_weight_one_percent_larger():
    computation = linear([[1.0, 2.0], [-8.0, 4.0]], np.ones((1, 1, 2)))
    (one,) = variants("weights-differ", computation)
    assert one.detail == "kernel[1, 0] is 1% larger"
    np.testing.assert_allclose(one.layer.kernel, [[1, 2], [-8.08, 4]], rtol=1e-15)
    assert computation.layer.kernel[1, 0] == -8


def test_least_squares_of_one_more_entry():
    a = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 2.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    r = a @ [0.5, 3.0]
    assert corrections(a, r, [], True) == pytest.approx({1: 3.0})
    assert corrections(a, r, [], False) == {}
    assert corrections(a, r, [0], False) == pytest.approx({0: 0.5})
    assert corrections(a, r, [0], True) == pytest.approx({0: 0.5, 1: 3.0})
    assert corrections(a, r, [1], True) == pytest.approx({0: 0.5, 1: 3.0})
    # Five equations are too few for a second entry; those of zeros are none.
    assert corrections(a[:5], r[:5], [1], True) == pytest.approx({1: 3.0})
    none = np.zeros((9, 2))
    both = np.concatenate([a[:5], none]), np.concatenate([r[:5], none[:, 0]])
    assert corrections(*both, [1], True) == pytest.approx({1: 3.0})
    # A column of zeros explains nothing.
    one = np.array([[0.0, 1.0], [0.0, 2.0]])
    with np.errstate(invalid="ignore"):
        assert corrections(one, np.array([3.0, 6.0]), [], True) == pytest.approx({1: 3.0})


def test_what_one_more_entry_explains_is_told_by_its_size_too():
    # r is 4 times the second column and 1 time the first, whose numbers are larger.
    a = np.array([[8.0, 1.0], [8.0, -1.0]])
    assert list(corrections(a, a @ [1.0, 4.0], [], True)) == [0]
    assert list(corrections(a, a @ [1.0, 9.0], [], True)) == [1]


def changed(computation, **entries):
    """The same with other entries: by the weight's name, pairs of index and new number."""
    arrays = {}
    for name, pairs in entries.items():
        arrays[name] = getattr(computation.layer, name).copy()
        for index, new in pairs:
            arrays[name][index] = new
    return computation.layer_but(**arrays)


@pytest.mark.parametrize("activation", ["tanh", "softsign"])
@pytest.mark.parametrize("kind", [rp.SimpleRNN, rp.LSTM, rp.GRU])
def test_other_weights_are_told_with_their_numbers(kind, activation):
    computation = random(6, 20, 3, 4, kind, activation=activation)
    bias = (0, 2) if kind is rp.GRU else (2,)
    wrong = changed(computation, kernel=[((1, 2), 0.75)], bias=[(bias, -0.5)])
    (one,) = variants("weights-differ", computation, wrong.computed().astype(np.float32))
    told = {part.split(" is ")[0]: part.split(" is ")[1] for part in one.detail.split("; ")}
    new = {name: float(text.split(" instead of ")[0]) for name, text in told.items()}
    assert new.keys() == {"kernel[1, 2]", f"bias{list(bias)}"}
    assert new["kernel[1, 2]"] == pytest.approx(0.75, abs=1e-5)
    assert new[f"bias{list(bias)}"] == pytest.approx(-0.5, abs=1e-5)
    old = float(told["kernel[1, 2]"].split(" instead of ")[1])
    assert old == pytest.approx(computation.layer.kernel[1, 2], rel=1e-8)
    assert one.layer.kernel[1, 2] == pytest.approx(0.75, abs=1e-5)


@pytest.mark.parametrize(
    ("units", "wrong", "found"), [(4, 2, 1), (4, 3, 0), (3, 1, 1), (3, 2, 0), (1, 1, 1), (20, 9, 0)]
)
def test_single_entries_are_in_half_of_the_units_at_most(units, wrong, found):
    computation = random(6, 40, 3, units)
    pairs = [((j,), 0.5 + 0.01 * j) for j in range(wrong)]
    outputs = changed(computation, bias=pairs).computed()
    assert len(variants("weights-differ", computation, outputs)) == found


@pytest.mark.parametrize(("count", "found"), [(8, 1), (9, 0)])
def test_more_than_eight_entries_are_another_mistake(count, found):
    computation = random(8, 60, 12, 4)
    pairs = [((k, 1), 0.1 * k) for k in range(count)]
    outputs = changed(computation, kernel=pairs).computed()
    candidate = variants("weights-differ", computation, outputs)
    assert len(candidate) == found
    for one in candidate:
        assert one.detail.count("instead of") == count


@pytest.mark.parametrize(("off", "found"), [(21, 0), (22, 0), (23, 1), (-22, 0), (-23, 1)])
def test_how_far_a_sum_may_be_off(off, found):
    # Of one feature and one unit 11 u, of the term 1 beside 1: 22 u.
    x = np.reshape([1.0, 0.5, 0.25], (3, 1, 1))
    computation = linear([[1.0]], x, dtype="float32")
    outputs = (1 + off * 2.0**-24) * x
    with np.errstate(invalid="ignore"):  # of a state of zeros nothing is known
        assert len(variants("weights-differ", computation, outputs)) == found


@pytest.mark.parametrize(("samples", "found"), [(1, 0), (2, 0), (3, 1)])
def test_an_entry_is_confirmed_by_two_equations_more(samples, found):
    x = np.reshape([1.0, 0.5, 0.25][:samples], (-1, 1, 1))
    computation, outputs = linear([[1.0]], x, dtype="float32"), 1.25 * x
    assert len(variants("weights-differ", computation, outputs)) == found


def test_a_weight_that_is_quite_another():
    """From the slopes of the right layer, no step would lead there."""
    layer = rp.SimpleRNN([[3.0]], [[0.0]], [0.0], dtype="float32")
    x = np.random.default_rng(0).uniform(1, 3, (2, 20, 1))
    computation = Computation(layer, Sequences.of(layer, x))
    outputs = computation.layer_but(kernel=np.array([[-0.25]])).computed()
    (one,) = variants("weights-differ", computation, outputs)
    assert one.layer.kernel.item() == pytest.approx(-0.25, abs=1e-6)
    assert one.detail.startswith("kernel[0, 0] is -0.25")


@pytest.mark.parametrize(
    ("shares", "more"), [((0.75, 0.25), [0, 1]), ((0.5, 0.4), [0, 1]), ((0.6, 0.6), [0, 0])]
)
def test_no_other_entry_while_those_found_bring_a_unit_nearer_by_half(shares, more, monkeypatch):
    asked = []

    def some(a, r, known, wanted):
        share = shares[len(asked) % 2]
        asked.append(bool(wanted))
        return {a.shape[1] - 1: share * float(r.mean())}

    monkeypatch.setattr(weights, "corrections", some)
    computation = linear(np.ones((1, 4)), np.ones((1, 1, 1)))
    # Unit 0 is off by 8 and unit 1 by 1.
    variants("weights-differ", computation, np.array([[[9.0, 2.0, 1.0, 1.0]]]))
    assert asked[:4] == [True, True, *map(bool, more)]
