"""The quick way near the replay against the general one, which it must agree with or leave it to.

Each guard of the quick way has a test here that fails without it.
"""

import itertools
from dataclasses import fields, replace

import numpy as np
import pytest
from own_cells import Averaged, Minimal, Three, layer_of

import rnn_parity as rp
from rnn_parity.bounds import near, near_numbers
from rnn_parity.bounds.arithmetic import arithmetics
from rnn_parity.bounds.balls import Ball
from rnn_parity.bounds.near import SURE, Near
from rnn_parity.bounds.near_numbers import LEFT_OUT, SMALL, NearFormula, NotNearError
from rnn_parity.bounds.observed import Observed
from rnn_parity.bounds.step_bound import SEGMENT, Steps
from rnn_parity.recurrence import sequences as sequences_of
from rnn_parity.recurrence.activations import WIDE
from rnn_parity.recurrence.cells import GRU, LSTM, Cell, PeepholeLSTM, SimpleRNN
from rnn_parity.recurrence.formula import split
from rnn_parity.recurrence.precision import FLOAT32
from rnn_parity.recurrence.sequences import Dropout, Sequences
from rnn_parity.recurrence.time_loop import blocks
from rnn_parity.verdict import comparison
from rnn_parity.verdict.comparison import compare_outputs
from rnn_parity.verdict.judge import Observations, judge
from rnn_parity.verdict.results import Subject

pytestmark = pytest.mark.filterwarnings("error")
(ARITHMETIC,) = arithmetics(FLOAT32)


@pytest.fixture(autouse=True)
def small_problems(monkeypatch):
    """Go the quick way, and have several blocks."""
    monkeypatch.setattr(comparison, "WORTH", 0)
    monkeypatch.setattr(sequences_of, "BLOCK_ELEMENTS", 1 << 15)


KINDS = {
    "SimpleRNN": (SimpleRNN, {}),
    "linear": (SimpleRNN, {"activation": "linear"}),
    "sigmoid": (SimpleRNN, {"activation": "sigmoid"}),
    "LSTM": (LSTM, {}),
    "LSTM, linear": (LSTM, {"activation": "linear"}),
    "GRU": (GRU, {}),
    "GRU before": (GRU, {"reset_after": False}),
    "Minimal": (Minimal, {}),
}
every_kind = pytest.mark.parametrize("name", KINDS)


def problem(name, features=3, units=5, shape=(4, 40), scale=1.0):
    """A random float32 layer, its sequences, and the outputs of its replay, rounded to float32."""
    kind, options = KINDS[name]
    rng = np.random.default_rng(features * units)
    gates = len(kind.GATES)
    arrays = [
        scale * rng.normal(size=(features, gates * units)) / np.sqrt(features),
        0.7 * rng.normal(size=(units, gates * units)) / np.sqrt(units),
    ]
    layer = kind(*(np.float32(a) for a in arrays), **options)
    bias = layer.facts.bias_rows
    bias = scale * rng.normal(size=(bias, gates * units) if bias else gates * units) / 3
    layer = layer.changed(bias=np.float64(np.float32(bias)))
    x = rng.normal(size=(*shape, features)).astype(np.float32)
    return layer, x, rp.replay(layer, x).outputs.astype(np.float32)


def copied(steps):
    """What the next block does not write over."""
    return replace(steps, **{f.name: getattr(steps, f.name).copy() for f in fields(steps)})


class Both:
    """Both ways on the same blocks; `found` has pairs of what was quick, or None, and the ball."""

    @np.errstate(all="ignore")  # as a comparison has it
    def __init__(self, layer, x, outputs, initial_state=None):
        sequences = Sequences.of(layer, x, None, initial_state).samples(slice(0, len(x)))
        quick, self.steps = (Steps(layer, ARITHMETIC, sequences) for _ in range(2))
        self.observed = Observed(layer, sequences, outputs)
        self.near, self.found, self.hidden = Near(quick, sequences), [], []
        assert Near.applies(quick, sequences)
        for block in blocks(layer, sequences, recorded=True):
            self.observed.advance(block.steps)
            for t in self.near.tiles(block, self.observed):
                self.take(block.part(t), self.observed.part(t), self.near.steps(t))

    def take(self, block, observed, one):
        """Enter a tile, and go on from it in either way."""
        ball = self.steps.observed(block, observed)
        if one is None:
            self.near.settle(block.states[:, 0])
            self.near.bounds.observed(block, observed)
            self.near.resume(block)
        else:
            self.near.passed(block, observed)
        self.hidden.append([state.radius.max() for state in self.steps.hidden])
        residual = np.abs(observed.outputs - ball.value)
        self.found.append((one and copied(one), residual, ball.radius))

    @property
    def first(self):
        """What the first block gave, None where it was left to the general way."""
        return self.found[0][0]

    def agree(self, slack=LEFT_OUT):
        """What `off` allows: each within `slack` of the other, and never narrower by more."""
        for quick, residual, radius in self.found:
            if quick is not None:
                assert np.abs(quick.residual - residual).max() <= slack * quick.radius.max()
                assert (np.abs(quick.residual - residual) <= slack * quick.radius).all()
                assert (quick.radius >= radius).all()
                assert (quick.radius <= radius * (1 + 4 * slack)).all()
                passed = quick.residual <= SURE * quick.radius
                assert (residual <= radius)[passed].all()


@every_kind
@pytest.mark.parametrize("sizes", [(2, 1), (3, 5), (70, 90)])
def test_both_ways_say_the_same(name, sizes):
    layer, x, outputs = problem(name, *sizes)
    both = Both(layer, x, outputs)
    assert all(quick is not None for quick, _, _ in both.found)
    both.agree(0.02)


@every_kind
@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e-3, 10.0])
def test_numbers_of_any_size(name, scale):
    Both(*problem(name, scale=scale)).agree()


@every_kind
@pytest.mark.parametrize("change", [1e-7, 1e-6, 1e-5, 0.9 * SMALL])
@pytest.mark.parametrize("share", [0.01, 1.0])
def test_what_is_left_out_is_bounded(name, change, share):
    """Outputs that are wrong by random amounts move everything: the largest errors there are."""
    layer, x, outputs = problem(name)
    rng = np.random.default_rng(1)
    wrong = rng.uniform(-change, change, outputs.shape) * (rng.random(outputs.shape) < share)
    Both(layer, x, outputs + np.float32(wrong)).agree()


@every_kind
@pytest.mark.parametrize("change", [1e-8, 1e-5])
def test_numbers_that_outgrow_those_before(name, change, monkeypatch):
    """From tile to tile, and from block to block; then they are small again."""
    monkeypatch.setattr(sequences_of, "BLOCK_ELEMENTS", 1)
    monkeypatch.setattr(near, "TILE", 16 * 4 * 5)
    layer, x, _ = problem(name, shape=(4, 192))
    grown = np.geomspace(1e-3, 30, 192)[:, np.newaxis]
    grown[150:] = grown[0]
    x *= np.float32(grown)
    outputs = rp.replay(layer, x).outputs
    wrong = np.random.default_rng(1).uniform(-change, change, outputs.shape)
    both = Both(layer, x, np.float32(outputs + wrong * grown / 30))
    assert len(both.found) == 12
    assert sum(quick is None for quick, _, _ in both.found) < 6
    both.agree()


@every_kind
def test_a_small_change_shows_in_both(name):
    layer, x, outputs = problem(name)
    outputs[1, 3, -1] += np.float32(3e-5)
    quick, residual, radius = Both(layer, x, outputs).found[0]
    if quick is None:
        return  # left to the general way
    worst = np.unravel_index((residual / radius).argmax(), radius.shape)
    assert worst == (3, 1, 4)
    assert quick.residual[worst] == pytest.approx(residual[worst], rel=1e-3)
    assert quick.residual[worst] > quick.radius[worst]


@every_kind
def test_the_verdict_is_that_of_the_general_way(name, monkeypatch):
    layer, x, outputs = problem(name, shape=(3, 60))
    sequences, checks = Sequences.of(layer, x), {}
    for change in (0.0, 1e-6, 3e-4):
        outputs[1, 30, 2] += np.float32(change)
        for way in ("quick", "general"):
            with monkeypatch.context() as patch:
                if way == "general":
                    patch.setattr(Near, "applies", staticmethod(lambda *_: False))
                checks[way] = judge(layer, sequences, Observations(outputs), Subject()).check
        quick, general = checks["quick"], checks["general"]
        assert quick.verdict == general.verdict
        assert quick.first_divergence == general.first_divergence or change < 1e-4
        assert quick.max_ratio == pytest.approx(general.max_ratio, rel=0.02)
        assert quick.resolution == pytest.approx(general.resolution, rel=0.02)


# Guards.


@every_kind
@pytest.mark.parametrize("change", [2 * SMALL, np.nan, np.inf])
def test_what_is_not_near_is_left_to_the_general_way(name, change):
    layer, x, outputs = problem(name)
    outputs[1, 3, -1] += np.float32(change)
    assert Both(layer, x, outputs).first is None


def linear(kernel, recurrent, x, changes):
    """Both ways on one linear unit without bias, whose outputs are changed."""
    layer = rp.SimpleRNN([[kernel]], [[recurrent]], activation="linear")
    x = np.float32(x)[None, :, None]
    outputs = rp.replay(layer, x).outputs + np.float64(changes)[None, :, None]
    return Both(layer, x, outputs.astype(np.float32)).first


def test_a_large_weight_that_makes_much_of_a_small_change():
    """D is 2^-14 at most, and so is D W."""
    assert linear(1.0, 0.5, [1, 1], [SMALL, 0]) is not None
    assert linear(1.0, 0.99, [1, 1], [-SMALL, 0]) is not None
    assert linear(1.0, 0.5, [1, 1], [SMALL * (1 + 2.0**-5), 0]) is None
    for change in (SMALL, -SMALL):
        assert linear(1.0, 1 + 2.0**-5, [1, 1], [change, 0]) is None
        assert linear(1.0, -1 - 2.0**-5, [1, 1], [change, 0]) is None


def test_a_wide_bound_of_equal_numbers_is_left_to_the_general_way():
    """D is 0 throughout, but the bound of two terms, 2 * 2^-24 times their size, reaches 2^-6."""
    assert linear(2.0**15, 0.0, [1, -1], [0, 0]) is not None
    assert linear(2.0**16, 0.0, [1, -1], [0, 0]) is not None
    assert linear(2.0**17, 0.0, [1, -1], [0, 0]) is None


def test_what_is_left_out_must_be_small_beside_the_radius():
    """The second output, 2^-20, has a radius of some 2^-43; D W is off by 2^-35 of float32."""
    assert linear(2.0**-20, 0.5, [1, 1], [0, 0]) is not None
    assert linear(2.0**-20, 0.5, [1, 1], [SMALL / 2, 0]) is None
    assert linear(2.0**-20, 0.0, [1, 1], [SMALL / 2, 0]) is None  # D itself is off by 2^-40


@pytest.mark.parametrize("size", [0.9 * SMALL, 1e-15, 1e-20, 1e-23, 1e-35])
def test_a_difference_whose_square_vanishes(size):
    way, whole = first_block_of_an_lstm()
    block, units = way.formula(whole.stop).block, way.layer.units
    block.take_difference(*np.full((2, 1, units), size, np.float32))
    largest, norm = block.furthest[0]
    assert largest == np.float32(size)
    assert 1 <= norm / (np.sqrt(units) * largest) < 1 + 1e-4


@pytest.mark.parametrize(("gate", "quick"), [(-90.0, True), (-110.0, False)])
def test_an_output_that_vanishes_in_float32_is_no_zero(gate, quick):
    """1e-48 is no number of float32; zeros in its place are not known to be right."""
    bias = np.float32([gate, 1, 1, 1])
    layer = rp.LSTM(np.zeros((1, 4)), np.zeros((1, 4)), bias, dtype="float32")
    x, outputs = np.zeros((1, 12, 1)), np.zeros((1, 12, 1), np.float32)
    assert (Both(layer, x, outputs).first is not None) == quick
    assert rp.compare(layer, x, outputs).verdict == "inconclusive"


def first_block_of_an_lstm():
    layer, x, outputs = problem("LSTM")
    sequences = Sequences.of(layer, x).samples(slice(0, len(x)))
    way = Near(Steps(layer, ARITHMETIC, sequences), sequences)
    observed = Observed(layer, sequences, outputs)
    block = next(blocks(layer, sequences, recorded=True))
    observed.advance(block.steps)
    (whole,) = way.tiles(block, observed)
    return way, whole


def test_a_hidden_state_known_less_well_than_its_radius_tells():
    way, whole = first_block_of_an_lstm()
    (carried,) = way.hidden
    assert way.steps(whole) is not None
    way.hidden = [replace(carried, share=np.full(way.layer.units, LEFT_OUT * 1.01))]
    assert way.steps(whole) is None
    for wrong in (1e-3, np.nan):
        gathered = carried.gathered + 1
        way.hidden = [replace(carried, each=np.full(way.layer.units, wrong), gathered=gathered)]
        assert way.steps(whole) is None


def test_what_is_left_out_of_a_hidden_state_in_a_step_is_carried_on():
    """Another formula, for tiles of another length, may have left out more."""
    way, whole = first_block_of_an_lstm()
    (carried,) = way.hidden
    assert way.steps(whole) is not None
    (state,) = way.last.states
    more = 2 * state.each
    way.hidden = [replace(carried, each=more)]
    assert way.steps(whole) is not None
    assert (state.each >= more).all()


def test_a_hidden_state_is_handed_over_with_what_was_left_out_of_it():
    way, _ = first_block_of_an_lstm()
    (carried,) = way.hidden
    one, units = carried.radius + 1, way.layer.units
    full = {"share": np.full(units, 0.5), "each": np.full(units, 0.25), "gathered": 2 * one}
    (ball,) = way.balls([replace(carried, radius=one, **full)], way.block.states[:, 0])
    assert (ball.radius >= 2).all()
    assert ball.radius == pytest.approx(2, rel=1e-3)


def test_a_hidden_state_that_is_taken_over_was_rounded():
    way, _ = first_block_of_an_lstm()
    c = way.block.states[1, -1]
    away = np.random.default_rng(0).normal(size=c.shape)
    way.bounds.hidden = (Ball(c + away, np.full(c.shape, np.float32(1e-3)), ARITHMETIC),)
    way.resume(way.block)
    (taken,) = way.hidden
    rounded = np.abs(taken.moved - away).max(axis=0)
    assert (rounded > 0).all()
    assert (taken.share * 1e-3 >= rounded).all()


def test_limits_are_seldom_worked_out(monkeypatch):
    """Of tiles whose numbers are much alike, or were before, those of earlier ones do."""
    monkeypatch.setattr(near, "TILE", 8 * 4 * 5)
    counts, limit = [], near_numbers.NearFormula.limit
    monkeypatch.setattr(near_numbers.NearFormula, "limit", lambda *a: counts.append(1) or limit(*a))
    layer, x, _ = problem("LSTM", shape=(4, 320))
    x[:, np.arange(320) // 8 % 4 == 3] *= np.float32(0.1)
    outputs = rp.replay(layer, x).outputs
    outputs += np.random.default_rng(1).uniform(-1e-7, 1e-7, outputs.shape)
    assert len(Both(layer, x, np.float32(outputs)).found) == 40
    assert len(counts) < 8


def test_limits_go_by_the_numbers_of_each_block(monkeypatch):
    """Of the second block the inputs are large, and so its bounds are wide."""
    monkeypatch.setattr(sequences_of, "BLOCK_ELEMENTS", 1)
    layer = rp.SimpleRNN([[2.0**17]], [[0.0]], activation="linear", dtype="float32")
    x = np.ones((1, 512, 1), np.float32)
    x[0, :256] = 2.0**-10
    both = Both(layer, x, rp.replay(layer, x).outputs.astype(np.float32))
    assert [quick is None for quick, _, _ in both.found] == [False, True]


def test_limits_that_could_not_be_worked_out_are_forgotten(monkeypatch):
    """D W is too large in the second block, and so in each tile of it."""
    monkeypatch.setattr(sequences_of, "BLOCK_ELEMENTS", 1)
    monkeypatch.setattr(near, "TILE", 128)
    layer = rp.SimpleRNN([[1.0]], [[1.25]], activation="tanh", dtype="float32")
    x = np.random.default_rng(0).normal(size=(1, 512, 1)).astype(np.float32)
    outputs = rp.replay(layer, x).outputs.astype(np.float32)
    outputs[0, 300:500:10] += np.float32(0.9 * SMALL)
    both = Both(layer, x, outputs)
    assert [quick is None for quick, _, _ in both.found] == [False, False, True, True]


def test_a_share_of_the_output_counts_as_left_out():
    way, whole = first_block_of_an_lstm()
    assert way.steps(whole) is not None
    way.last.off = 0.1 * way.last.least
    assert way.last.narrow
    way.last.share = np.full_like(way.last.off, 0.02)
    assert not way.last.narrow


def test_the_radius_of_a_hidden_state_is_carried_on():
    way, whole = first_block_of_an_lstm()
    radius = way.steps(whole).radius.copy()
    (carried,) = way.hidden
    way.hidden = [replace(carried, radius=carried.radius + np.float32(1e-4))]
    assert (way.steps(whole).radius[0] > radius[0] + 1e-6).all()


def open_gate(batch, units=12, much=3.0):
    """An LSTM whose forget gate is open: c's radius grows with every step until it is looked at."""
    layer, x, _ = problem("LSTM", units=units, shape=(batch, 1500))
    bias = layer.bias.copy()
    bias[units : 2 * units] += much
    layer = layer.changed(bias=bias)
    return layer, x, rp.replay(layer, x).outputs.astype(np.float32)


def test_outputs_are_looked_at_as_in_the_general_way():
    """Without a look the quick radius would grow to several times the general one."""
    both = Both(*open_gate(8))
    assert sum(quick is not None for quick, _, _ in both.found) > 2
    (state,), (general,) = both.near.hidden, both.steps.hidden
    assert (state.radius <= 1.5 * general.radius).all()
    for quick, _, radius in both.found:
        if quick is not None:
            assert (quick.radius <= 1.5 * radius).all()


def test_a_block_with_a_look_within_is_cut_there():
    layer, x, outputs = open_gate(1, 5)
    both = Both(layer, x, outputs)
    (block,) = Sequences.of(layer, x).blocks(layer.width)
    assert block.stop > 5 * SEGMENT
    assert [len(radius) for _, _, radius in both.found] == 5 * [SEGMENT] + [1500 - 5 * SEGMENT]
    assert all(quick is not None for quick, _, _ in both.found)
    both.agree()
    (state,), (general,) = both.near.hidden, both.steps.hidden
    assert (state.radius <= 1.5 * general.radius).all()


def test_a_hidden_state_whose_radius_is_wide_is_left_to_the_general_way():
    both = Both(*open_gate(8, much=6.5))
    ends = [radius for (radius,) in both.hidden]
    assert ends[1] < WIDE <= ends[2]
    assert [quick is None for quick, _, _ in both.found[:3]] == [False, False, True]


@pytest.mark.parametrize(("factor", "quick"), [(2.0**13, True), (2.0**15, False)])
def test_an_argument_that_is_no_sum_is_held_narrow(factor, quick):
    """A sigmoid of 1/2 has a radius of 9 * 2^-24 at least; 2^15 times that is more than 2^-6."""
    members = {
        "GATES": ("h",),
        "VECTORS": {"p": ("factor", 1)},
        "formula": staticmethod(lambda x, h, U, W, b, p, a, s: a(p * s(x @ U + h @ W + b))),
    }
    mine = type("Mine", (Cell,), members)
    arrays = np.float32([[0.1]]), np.float32([[0.0]]), np.float32([0.0])
    layer = mine(*arrays, factor=[factor])  # of which tanh is 1
    x = np.ones((1, 2, 1), np.float32)
    found = Both(layer, x, rp.replay(layer, x).outputs.astype(np.float32)).first
    assert (found is not None) == quick


def test_a_share_that_is_more_than_was_assumed(monkeypatch):
    monkeypatch.setattr(near_numbers, "ASSUMED", 1e-9)
    assert Both(*problem("LSTM")).first is None


def test_small_operands_that_are_no_states_are_left_to_the_general_way():
    """Below 1e-9 the magnitudes of a product go by other groups."""
    members = {"GATES": ("h",), "formula": staticmethod(lambda x, h, U, W: x @ U + (h @ W) @ W)}
    rng = np.random.default_rng(0)
    arrays = (np.float32(rng.normal(size=shape) / 3) for shape in ((3, 4), (4, 4)))
    layer = type("Mine", (Cell,), members)(*arrays)
    x = rng.normal(size=(2, 12, 3)).astype(np.float32)
    for scale, quick in ((1.0, True), (1e-7, False)):
        outputs = rp.replay(layer, np.float32(scale) * x).outputs.astype(np.float32)
        assert (Both(layer, np.float32(scale) * x, outputs).first is not None) == quick


def test_magnitudes_go_by_groups_where_the_general_way_has_them_do_so():
    """Four blocks, the middle ones of small inputs; in the third, states are small throughout.

    Of such numbers no squares are taken; bounds by groups would be twice as wide. In the second,
    what was rounded of larger states is not small beside the bounds.
    """
    kernel = np.zeros((64, 64))
    kernel[:16] = 1 / 16
    layer = rp.SimpleRNN(kernel, kernel / 2, activation="linear", dtype="float32")
    x = np.ones((8, 256, 64), np.float32)
    x[:, 64:192] *= np.float32(1e-10)
    both = Both(layer, x, rp.replay(layer, x).outputs.astype(np.float32))
    assert [quick is not None for quick, _, _ in both.found] == [True, False, True, True]
    both.agree(0.02)


def test_no_squares_are_taken_of_small_weights():
    kernel = np.full((64, 64), 1e-10)
    layer = rp.SimpleRNN(kernel, kernel, dtype="float32")
    x = np.ones((2, 12, 64), np.float32)
    both = Both(layer, x, rp.replay(layer, x).outputs.astype(np.float32))
    assert both.first is not None
    both.agree(0.02)


@pytest.mark.parametrize(("size", "quick"), [(1e-3, True), (1e-10, False)])
def test_gates_whose_magnitudes_go_by_other_groups(size, quick):
    """A gate that the formula does not use: of its small weights no squares are taken, and so of
    none that is multiplied with them; for the other gate, groups would be twice as wide.
    """

    def formula(x, h, U, W, b, a):
        return a(split(x @ U, 2)[0] + h @ split(W, 2)[0] + split(b, 2)[0])

    members = {"GATES": ("h", "unused"), "formula": staticmethod(formula)}
    kernel = np.full((64, 2), np.float32(size))
    kernel[:, 0] = np.arange(64) < 16
    mine = type("Mine", (Cell,), members)
    layer = mine(kernel, [[0.0, 0.0]], [0.0, 0.0], activation="linear", dtype="float32")
    x = np.ones((2, 12, 64), np.float32)
    both = Both(layer, x, rp.replay(layer, x).outputs.astype(np.float32))
    assert (both.first is not None) == quick
    both.agree(0.02)


def handed_on(x, h, c, U, W, b, a):
    z, g = split(x @ U + h @ W + b, 2)
    return a(z) * a(g), c


def made_anew(x, h, c, U, W, b, a, s):
    z, g = split(x @ U + h @ W + b, 2)
    c = s(z) * a(g)
    return a(c), c


def used_twice(x, h, c, U, W, b, a, s):
    z, g = split(x @ U + h @ W + b, 2)
    return a(s(g) * c + a(z)), s(z) * c + a(g)


def exchanged(x, h, c, d, U, W, b, a, s):
    z, g = split(x @ U + h @ W + b, 2)
    new_c, new_d = s(z) * c + a(g), s(g) * d + a(z)
    return s(z) * a(new_c) + s(g) * a(new_d), new_d, new_c


@pytest.mark.parametrize("formula", [handed_on, made_anew, used_twice, exchanged])
def test_hidden_states_that_go_another_way_have_no_quick_way(formula):
    states = ("h", "c", "d") if formula is exchanged else ("h", "c")
    members = {"GATES": ("z", "g"), "STATES": states, "formula": staticmethod(formula)}
    layer = layer_of(type("Mine", (Cell,), members), np.random.default_rng(0), dtype="float32")
    x = np.random.default_rng(1).normal(size=(2, 12, 3)).astype(np.float32)
    outputs = rp.replay(layer, x).outputs.astype(np.float32)
    assert Both(layer, x, outputs).first is None
    assert rp.compare(layer, x, outputs).verdict == "parity"


def unrounded(x, h, c, U, W, b, a, s):
    """An output without a radius."""
    z, g = split(x @ U + h @ W + b, 2)
    return -h, s(z) * c + a(g)


def subtracted(x, h, c, U, W, b, a, s):
    """Of a hidden state, what is taken away from it, and from what."""
    z, g = split(x @ U + h @ W + b, 2)
    c = s(z) * c - a(g)
    return s(g) * a(c), c


def with_a_bias(x, h, c, U, W, b, a, s):
    """What is added to a hidden state is no number that is rounded already."""
    z, g = split(x @ U + h @ W + b, 2)
    c = s(z) * c + (x @ split(U, 2)[0] + split(b, 2)[1])
    return s(g) * a(c), c


def product_of_it(x, h, c, U, W, b, a, s):
    """A product of a hidden state that an activation takes."""
    z, g = split(x @ U + h @ W + b, 2)
    return a(s(g) * c), a(z)


def two_products(x, h, c, U, W, b, a, s):
    """Two products of a hidden state, of which one is a part of the next state."""
    z, g = split(x @ U + h @ W + b, 2)
    one, other = s(z) * c, s(g) * c
    c = one + a(g)
    return other * a(z), c


def multiplied(x, h, c, U, W, b, a, s):
    z, g = split(x @ U + h @ W + b, 2)
    return a(z) * (s(g) * c), a(z)


def negated(x, h, c, U, W, b, a, s):
    z, g = split(x @ U + h @ W + b, 2)
    return s(z) * a(-c), a(g)


def added_to(x, h, c, U, W, b, a, s):
    z, g = split(x @ U + h @ W + b, 2)
    return s(z) * a(c + a(g)), a(g)


@pytest.mark.parametrize(
    "formula",
    [
        unrounded,
        subtracted,
        with_a_bias,
        product_of_it,
        two_products,
        multiplied,
        negated,
        added_to,
    ],
)
def test_formulas_that_are_left_to_the_general_way(formula, monkeypatch):
    monkeypatch.setattr(sequences_of, "BLOCK_ELEMENTS", 1)
    members = {"GATES": ("z", "g"), "STATES": ("h", "c"), "formula": staticmethod(formula)}
    mine = type("Mine", (Cell,), members)
    layer = layer_of(mine, np.random.default_rng(0), dtype="float32")
    x = np.random.default_rng(1).normal(size=(2, 130, 3)).astype(np.float32)
    both = Both(layer, x, rp.replay(layer, x).outputs.astype(np.float32))
    assert [quick for quick, _, _ in both.found] == [None, None]


def test_a_comparison_goes_on_after_blocks_of_either_way(monkeypatch):
    """A wrong number, whose c stays wrong for a while: then each step is as the general way has it.

    The gate is open enough for a look at the outputs to be due, too.
    """
    layer, x, outputs = open_gate(8)
    outputs[3, 700, 2] += np.float32(1e-2)
    sequences, rows, last = Sequences.of(layer, x), [], []
    for applies in (Near.applies, lambda *_: False):
        monkeypatch.setattr(Near, "applies", staticmethod(applies))
        found = compare_outputs(layer, sequences, outputs, ARITHMETIC, 2)
        rows.append(found.timesteps.max_ratio)
        last.append(found.last.balls)
    np.testing.assert_allclose(rows[0], rows[1], rtol=0.05, atol=0.02)
    assert (rows[1] > 1).any()
    for quick, general in zip(*last, strict=True):
        assert (np.abs(quick.value - general.value) <= 0.1 * general.radius).all()
        assert (quick.radius <= 1.5 * general.radius).all()
        assert (quick.radius >= 0.9 * general.radius).all()


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_tile_that_fails_leaves_what_was_carried_on(monkeypatch, steps):
    """It has been computed by then, in buffers that hold the hidden states of the tile before."""
    layer, x, outputs = problem("LSTM", shape=(4, 70))
    monkeypatch.setattr(near, "TILE", steps * 4 * layer.units)
    finish, count = NearFormula.finish, itertools.count()

    def every_third_fails(self):
        if next(count) % 3 == 1:
            raise NotNearError
        finish(self)

    monkeypatch.setattr(NearFormula, "finish", every_third_fails)
    both = Both(layer, x, outputs)
    failed = sum(quick is None for quick, _, _ in both.found)
    assert 3 <= failed <= len(both.found) / 3 + 1
    both.agree()
    both.near.settle(rp.replay(layer, x).final_state)
    (state,), (general,) = both.near.bounds.hidden, both.steps.hidden
    np.testing.assert_allclose(state.radius, general.radius, rtol=0.05)
    assert (np.abs(state.value - general.value) <= 0.05 * general.radius).all()


def rows_of_both_ways(layer, x, outputs, monkeypatch):
    """The largest ratio of each timestep, with the quick way and without, and the last balls."""
    found = []
    for applies in (Near.applies, lambda *_: False):
        with monkeypatch.context() as patch:
            patch.setattr(Near, "applies", staticmethod(applies))
            found.append(compare_outputs(layer, Sequences.of(layer, x), outputs, ARITHMETIC, 2))
    return [(one.timesteps.max_ratio, one.last.balls) for one in found]


def test_a_tile_that_does_not_pass_leaves_what_was_carried_on(monkeypatch):
    """An LSTM that was disturbed goes on rightly, its c off the replay's; then a number is wrong.

    The tile with that number is judged again, from c as it was before the quick way tried.
    """
    layer, x, outputs = problem("LSTM", units=12, shape=(8, 120))
    monkeypatch.setattr(near, "TILE", 10 * 8 * 12)
    h, c = (np.float32(one) for one in rp.replay(layer, x[:, :20]).final_state)
    outputs[:, 19] = h + np.float32(1e-5)
    states = [outputs[:, 19], c]
    outputs[:, 20:] = rp.replay(layer, x[:, 20:], initial_state=states).outputs
    outputs[3, 35, 2] += np.float32(1e-5)
    (quick, _), (general, _) = rows_of_both_ways(layer, x, outputs, monkeypatch)
    assert (general > 1).sum() == 2
    np.testing.assert_allclose(quick, general, rtol=0.05)


def test_hidden_states_are_not_rounded_where_the_quick_way_has_no_part(monkeypatch):
    """All outputs are of another state; float32 of c's distance is as wide as what c may be off."""
    layer, x, _ = problem("LSTM", units=12, shape=(8, 120))
    monkeypatch.setattr(near, "TILE", 8 * 12)
    monkeypatch.setattr(sequences_of, "BLOCK_ELEMENTS", 1)
    monkeypatch.setattr(sequences_of, "BLOCK_ROWS", 8)
    outputs = rp.replay(layer, -3 * x).outputs.astype(np.float32)
    (quick, ends), (general, others) = rows_of_both_ways(layer, x, outputs, monkeypatch)
    np.testing.assert_array_equal(quick, general)
    np.testing.assert_array_equal(ends[1].radius, others[1].radius)


def test_a_look_in_a_tile_of_one_step(monkeypatch):
    """The state before the step is what the tile before has handed on."""
    layer, x, outputs = open_gate(8, 5)
    monkeypatch.setattr(near, "TILE", 1)
    x, outputs = x[:, :SEGMENT], outputs[:, :SEGMENT]
    outputs = outputs + 1e-5 * np.sin(np.arange(outputs.size)).reshape(outputs.shape)
    outputs = np.float32(outputs)
    monkeypatch.setattr(comparison, "SURE", np.inf)  # they are wrong throughout
    (_, quick), (_, general) = rows_of_both_ways(layer, x, outputs, monkeypatch)
    assert (np.abs(quick[1].value - general[1].value) <= 0.1 * general[1].radius).all()


def test_the_general_way_takes_over_and_hands_back():
    """A block with a wrong number in the middle; before and after it, the quick way."""
    layer, x, outputs = problem("LSTM", units=12, shape=(16, 200))
    outputs[3, 100, 2] += np.float32(2 * SMALL)
    both = Both(layer, x, outputs)
    ways = [quick is None for quick, _, _ in both.found]
    assert 0 < sum(ways) < 4 < len(ways)
    assert not ways[0]
    assert not ways[-1]
    both.agree()
    (state,), (general,) = both.near.hidden, both.steps.hidden
    np.testing.assert_allclose(state.radius, general.radius, rtol=0.05)


@pytest.mark.parametrize(
    ("options", "mask"),
    [
        ({"activation": "relu"}, None),
        ({"dtype": "float64"}, None),
        ({"dtype": "float16"}, None),
        ({"activation": np.tanh}, None),
        ({}, [[True, False, True]]),
    ],
)
def test_layers_without_a_quick_way(options, mask):
    layer = rp.SimpleRNN(np.ones((2, 3)), np.eye(3), **{"dtype": "float32"} | options)
    sequences = Sequences.of(layer, np.ones((1, 3, 2)), mask)
    steps = Steps(layer, arithmetics(layer.precision)[0], sequences)
    assert not Near.applies(steps, sequences)


def test_dropout_and_rounded_operands_have_no_quick_way():
    layer = rp.SimpleRNN(np.ones((2, 3)), np.eye(3), dtype="float32")
    plain = Sequences.of(layer, np.ones((1, 3, 2)))
    assert Near.applies(Steps(layer, ARITHMETIC, plain), plain)
    dropped = replace(plain, dropout=Dropout(np.ones((1, 1, 2)), None))
    assert not Near.applies(Steps(layer, ARITHMETIC, dropped), dropped)
    rounded = layer.changed(operands=FLOAT32)
    assert not Near.applies(Steps(rounded, ARITHMETIC, plain), plain)


@pytest.mark.parametrize("kind", [PeepholeLSTM, Three])
def test_hidden_states_that_do_more_have_no_quick_way(kind):
    layer = layer_of(kind, np.random.default_rng(0)).changed(precision=FLOAT32)
    x = np.random.default_rng(1).normal(size=(2, 12, 3)).astype(np.float32)
    assert Both(layer, x, rp.replay(layer, x).outputs.astype(np.float32)).first is None


def test_an_output_that_is_no_state_has_no_quick_way():
    layer = layer_of(Averaged, np.random.default_rng(0)).changed(precision=FLOAT32)
    sequences = Sequences.of(layer, np.ones((1, 3, 3)))
    assert not Near.applies(Steps(layer, ARITHMETIC, sequences), sequences)


# By hand.


def test_the_quick_radius_by_hand():
    """tanh(0.5) is off by D, nearly 2^-14; a rounding unit is 2^-24, and each step has two terms.

    |f''| is at most 4 / (3 sqrt 3), and tanh may err by 8 units. What is left out: half of 1.1
    times |f''| times (D W)^2, 1.1 times |f''| times D W times the argument's radius, and 2^-20 of
    either, each more than that by float32's roundings, which are counted more than once.
    """
    layer = rp.SimpleRNN([[1.0]], [[1.0]], activation="tanh", dtype="float32")
    x = np.float32([[[0.5], [0.0]]])
    y = np.tanh(0.5), np.tanh(np.tanh(0.5))
    outputs = np.float32([[[y[0] + 0.9 * SMALL], [y[1]]]])
    off = [float(outputs[0, t, 0]) - y[t] for t in (0, 1)]
    found = Both(layer, x, outputs).first
    u, bent = 2.0**-24 + 2.0**-53, 1.1 * 4 / (3 * np.sqrt(3))
    slopes = [1 - y[0] ** 2, 1 - y[1] ** 2]
    arguments = [2 * u * size + 2 * 2.0**-126 for size in (0.5, float(outputs[0, 0, 0]))]
    least = 0.5 * bent * off[0] ** 2 + bent * off[0] * max(arguments)
    least += 2.0**-20 * (off[0] + max(arguments))
    for t in (0, 1):
        exact = arguments[t] * slopes[t] / (1 - arguments[t]) + 8 * u * y[t]
        assert exact + least <= found.radius[t, 0, 0] <= (exact + 1.1 * least) * (1 + 2.0**-12)
    assert found.deviation[:, 0, 0] == pytest.approx(np.abs(off), abs=1e-11)
    residuals = [abs(off[0]), abs(off[1] - slopes[1] * off[0])]
    assert found.residual[:, 0, 0] == pytest.approx(residuals, abs=2.0**-21 * SMALL)
    assert found.size[:, 0, 0] == pytest.approx(y)
    for array in (found.radius, found.deviation, found.residual, found.size):
        assert array.dtype == np.float32


def test_a_bias_in_two_parts_counts_as_both():
    """9 and -8.75 in place of 1/4: 18 more of magnitude in each sum."""
    layer = rp.SimpleRNN([[1.0]], [[0.5]], [0.25], "linear", dtype="float32")
    two = layer.changed(addends=(np.array([9.0]), np.array([-8.75])))
    x = np.ones((1, 2, 1), np.float32)
    radii = [
        Both(one, x, rp.replay(one, x).outputs.astype(np.float32)).first.radius[0, 0, 0]
        for one in (layer, two)
    ]
    assert radii == pytest.approx([3 * 1.25 * 2.0**-24, 4 * 18.75 * 2.0**-24], rel=1e-2)


# Formulas of one's own.

FORMULAS = {
    "in another order": lambda x, h, U, W, b, a: a(b + h @ W + x @ U),
    "of the gates' activation": lambda x, h, U, W, b, s: s(h @ W + (x @ U + b)),
    "an average": lambda x, h, U, W, b, a: 0.25 * h + 0.75 * a(x @ U + h @ W + b),
    "a third of it": lambda x, h, U, W, b, a: (1 / 3) * h + (2 / 3) * a(x @ U + h @ W + b),
    "a state added": lambda x, h, U, W, b, a: a(h + x @ U + h @ W + b),
    "a difference": lambda x, h, U, W, b, a: a(x @ U - h @ W + b),
    "the other difference": lambda x, h, U, W, b, a: a(-(h @ W) + x @ U + b),
    "half of it": lambda x, h, U, W, b, a: a((x @ U + h @ W + b) * 0.5),
    "a constant": lambda x, h, U, W, b, a: a(x @ U + h @ W + b + 0.5),
    "W twice": lambda x, h, U, W, b, a: a(x @ U + (h @ W) @ W + b),
    "W after an activation": lambda x, h, U, W, b, a: a(x @ U + a(h @ W) @ W + b),
    "two activations": lambda x, h, U, W, b, a: a(a(x @ U + h @ W + b)),
    "no activation": lambda x, h, U, W, b: x @ U + h @ W + b,
    "half of the output": lambda x, h, U, W, b, a: 0.5 * a(x @ U + h @ W + b),
    "a vector": lambda x, h, U, W, b, p, a: a(x @ U + p * (h @ W) + b),
    "a vector added": lambda x, h, U, W, b, p, a: a(p + x @ U + h @ W + b),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_either_way_says_the_same_of_any_formula(name):
    own = {"p": ("decay", 1)} if " vector" in name else {}
    members = {"GATES": ("h",), "VECTORS": own, "formula": staticmethod(FORMULAS[name])}
    mine = type("Mine", (Cell,), members)
    rng = np.random.default_rng(4)
    arrays = (rng.normal(size=shape) / 4 for shape in ((3, 4), (4, 4), (4,)))
    layer = mine(*arrays, dtype="float32", **{n: rng.normal(size=4) for n, _ in own.values()})
    x = rng.normal(size=(2, 30, 3)).astype(np.float32)
    outputs = rp.replay(layer, x).outputs.astype(np.float32)
    Both(layer, x, outputs).agree()
    sequences = Sequences.of(layer, x)
    assert judge(layer, sequences, Observations(outputs), Subject()).check.verdict == "parity"
    outputs[1, 20, 2] += np.float32(1e-4)
    check = judge(layer, sequences, Observations(outputs), Subject()).check
    assert (check.verdict, check.first_divergence.timestep) == ("diverged", 20)


def test_a_sum_that_no_activation_follows_is_held_narrow():
    members = {"GATES": ("h",), "formula": staticmethod(FORMULAS["no activation"])}
    mine = type("Mine", (Cell,), members)
    layer = mine([[2.0**17]], [[0.0]], [0.0], dtype="float32")
    x = np.float32([[[1.0], [-1.0]]])
    assert Both(layer, x, rp.replay(layer, x).outputs.astype(np.float32)).first is None


def shared_addends(x, h, U, W, b, p, a, s):
    """Two gates to which the same state, the same vector and the same constant are added."""
    z, g = split(x @ U + h @ W + b, 2)
    return s(0.5 + (h + (p + z))) * a(0.5 + (h + (p + g)))


def test_what_is_added_to_several_gates_alike():
    members = {"GATES": ("z", "g"), "VECTORS": {"p": ("shift", 1)}}
    mine = type("Mine", (Cell,), {**members, "formula": staticmethod(shared_addends)})
    layer = layer_of(mine, np.random.default_rng(0), dtype="float32")
    x = np.random.default_rng(1).normal(size=(2, 12, 3)).astype(np.float32)
    both = Both(layer, x, rp.replay(layer, x).outputs.astype(np.float32))
    assert both.first is not None
    both.agree(0.02)


def of_other_terms(x, h, c, U, W, b, a, s):
    """Two sums of the same activation, one of them without a bias, are not rounded alike."""
    x_z, x_o, x_f = split(x @ U, 3)
    b_z, _, b_f = split(b, 3)
    c = s(x_f + h @ split(W, 3)[2] + b_f) * c + a(x_z + b_z)
    return -a(x_o), c


def test_each_gate_counts_its_own_terms():
    members = {"GATES": ("z", "o", "f"), "STATES": ("h", "c")}
    mine = type("Mine", (Cell,), {**members, "formula": staticmethod(of_other_terms)})
    layer = layer_of(mine, np.random.default_rng(0), 1, 1, dtype="float32", activation="linear")
    layer = layer.changed(addends=(5 * layer.bias, -4 * layer.bias))
    x = np.random.default_rng(1).normal(size=(2, 20, 1)).astype(np.float32)
    both = Both(layer, x, rp.replay(layer, x).outputs * (1 + 1.4 * 2.0**-24))
    both.agree()
    (quick, residual, radius), *_ = both.found
    assert (residual > radius).any()
    assert (quick.residual > quick.radius).any()


def test_an_output_that_the_state_does_not_move(monkeypatch):
    """What was allocated and not written yet may hold anything, NaN too."""
    monkeypatch.setattr(
        near_numbers.Tape, "new", lambda self, n: np.full((n, *self.shape), np.nan, np.float32)
    )
    members = {"GATES": ("h",), "formula": staticmethod(lambda x, h, U, W, b, a: a(x @ U + b))}
    mine = type("Mine", (Cell,), members)
    layer = layer_of(mine, np.random.default_rng(0), dtype="float32")
    x = np.random.default_rng(1).normal(size=(2, 12, 3)).astype(np.float32)
    both = Both(layer, x, rp.replay(layer, x).outputs.astype(np.float32))
    assert both.first is not None
    both.agree(0.02)


def test_what_a_large_weight_hides_is_no_parity():
    """tanh(10 + 1e6 h) is 1 for each h >= 0, so that the second output tells nothing of the first.

    An h that is wrong by 4e-5 is near, but 40 as D W.
    """
    layer = rp.SimpleRNN([[1.0]], [[1e6]], activation="tanh", dtype="float32")
    x = np.float32([[[1e-5], [10.0]]])
    right = np.float32([[[1e-5], [1.0]]])
    assert rp.compare(layer, x, right).verdict == "parity"
    wrong = right + np.float32([[[4.1234567e-5], [0.0]]])
    check = rp.compare(layer, x, wrong).checks[0]
    assert (check.verdict, check.first_divergence.timestep) == ("diverged", 0)
    assert check.max_ratio > 1e6


def test_arguments_whose_radius_is_wide_are_left_to_the_general_way():
    """Of an argument of 512 terms of size 128 the radius is 512 * 512 * 128 * 2^-24 = 4."""
    layer = rp.SimpleRNN(np.ones((512, 1)), [[0.0]], activation="tanh", dtype="float32")
    x = np.full((1, 1, 512), 128.0, np.float32)
    x[..., ::2] *= -1
    outputs = np.zeros((1, 1, 1), np.float32)
    assert WIDE < 512 * 512 * 128 * 2.0**-24
    assert Both(layer, x, outputs).first is None
