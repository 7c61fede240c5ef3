"""Programs: a formula traced into calls, against the formula itself on plain arrays."""

import numpy as np
import pytest
from own_cells import Averaged, Leaky, Minimal, Three, layer_of

import rnn_parity as rp
from rnn_parity.recurrence.cells import GRU, LSTM, Cell, PeepholeLSTM, SimpleRNN
from rnn_parity.recurrence.formula import split
from rnn_parity.recurrence.precision import FORMATS
from rnn_parity.recurrence.program import ACTIVATION, PRODUCT, plan_for
from rnn_parity.recurrence.sequences import Dropout, Sequences
from rnn_parity.recurrence.time_loop import blocks, replay, step_on_arrays

pytestmark = pytest.mark.filterwarnings("error")


def odd(x, h, U, W, b, p, a, s):
    """Whatever a formula may do: a bias twice, differences, constants, a vector times W."""
    y, z = split(x @ U, 2)
    u, v = split(h @ W + (p @ W + b) + b, 2)
    h = 0.5 * (-a(y + u)) + s(z - v) * (1 - h)
    return h - p, h


def exchanged(x, h, c, U, W, b, a):
    """Each state becomes the other one, the first time unchanged."""
    z = split(x @ U + h @ W + b, 1)[0]
    return a(z + 0.25 * c), h


def twice(x, h, c, U, W, b, a):
    """One number as both states."""
    h = a(x @ U + h @ W + b)
    return h, h


def one_bias_more(x, h, U, W, b, a, s):
    """A row of the bias for two gates, one of them with both rows."""
    x_z, x_h = split(x @ U + b[0], 2)
    h_z, h_h = split(h @ W + b[1], 2)
    return s(x_z) * a(x_h + h_h) + s(x_z + h_z) * h


def own(formula, gates, states=("h",), **members):
    described = {"GATES": gates, "STATES": states, "formula": staticmethod(formula), **members}
    return type("Mine", (Cell,), described)


KINDS = {
    **{kind.__name__: (kind, {}) for kind in (SimpleRNN, LSTM, GRU, PeepholeLSTM)},
    "GRU before": (GRU, {"reset_after": False}),
    "relu": (SimpleRNN, {"activation": "relu"}),
    "softmax": (LSTM, {"activation": "softmax"}),
    "a function": (LSTM, {"recurrent_activation": lambda z: z * z / (1 + z * z)}),
    "backwards": (GRU, {"go_backwards": True}),
    "zeros": (LSTM, {"zero_output_for_mask": True}),
    **{kind.__name__: (kind, {}) for kind in (Minimal, Three, Averaged, Leaky)},
    "odd": (own(odd, ("y", "z"), VECTORS={"p": ("pace", 1)}), {}),
    "exchanged": (own(exchanged, ("z",), ("h", "c")), {}),
    "twice": (own(twice, ("z",), ("h", "c")), {}),
}
every_kind = pytest.mark.parametrize("name", KINDS)
both = pytest.mark.parametrize("masked", [False, True])


def problem(name, masked, bias=True, dropped=False):
    """A random layer and sequences of 3 samples and 9 timesteps."""
    kind, options = KINDS[name]
    rng = np.random.default_rng(0)
    layer = layer_of(kind, rng, **options)
    layer = layer if bias else layer.changed(bias=None)
    mask = rng.random((3, 9)) > 0.4 if masked else None
    states = [rng.normal(size=(3, 4)) for _ in layer.STATES]
    dropout = [rng.random((len(layer.GATES), 3, n)) for n in (3, 4)] if dropped else (None, None)
    x = rng.normal(size=(3, 9, 3))
    states = states if len(states) > 1 else states[0]
    return layer, Sequences.of(layer, x, mask, states, Dropout.of(*dropout))


def by_formula(layer, sequences):
    """The outputs and the states after each step, by the formula on plain arrays."""
    step, states = step_on_arrays(layer, sequences.dropout), [*sequences.initial_state]
    gates = np.split(layer.kernel, len(layer.GATES), axis=1)
    masks = sequences.dropout.inputs
    shown, outputs, history = np.zeros_like(states[0]), [], []
    for t in range(sequences.shape[1]):
        x = layer.precision.round(sequences.inputs[:, t])
        x = x if layer.operands is None else layer.operands.round(x)
        parts = [x if masks is None else x * masks[g] for g in range(len(gates))]
        if layer.operands is not None:
            parts = [layer.operands.round(one) for one in parts]
        products = [one @ gate for one, gate in zip(parts, gates, strict=True)]
        found = step(np.concatenate(products, axis=1), *states)
        new = found[1:] if len(found) > len(states) else found
        keep = np.ones((len(x), 1), bool)
        if sequences.mask is not None:
            keep = sequences.mask[:, t, np.newaxis]
        states = [np.where(keep, one, old) for one, old in zip(new, states, strict=True)]
        shown = np.where(keep, found[0], 0.0 if layer.zero_output_for_mask else shown)
        outputs.append(shown)
        history.append(states)
    return np.stack(outputs, axis=1), np.stack(history)


@every_kind
@both
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dropped", [False, True])
def test_a_program_computes_the_formula(name, masked, bias, dropped):
    layer, sequences = problem(name, masked, bias, dropped)
    outputs, history = by_formula(layer, sequences)
    found = replay(layer, sequences)
    np.testing.assert_allclose(found.outputs, outputs, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(np.stack(found.states), history[-1], rtol=1e-12, atol=1e-14)


@every_kind
@both
@pytest.mark.parametrize("size", [1, 2, 4])
def test_blocks_of_any_size(name, masked, size, monkeypatch):
    """States after each step, block by block, the last block being shorter."""
    layer, sequences = problem(name, masked)
    outputs, history = by_formula(layer, sequences)
    cuts = [slice(t, min(t + size, 9)) for t in range(0, 9, size)]
    monkeypatch.setattr(Sequences, "blocks", lambda self, width: iter(cuts))
    for recorded in (False, True):
        for block in blocks(layer, sequences, recorded=recorded):
            shown = block.outputs.swapaxes(0, 1)
            np.testing.assert_allclose(shown, outputs[:, block.steps], rtol=1e-12, atol=1e-14)
            after = block.states[:, 1:].swapaxes(0, 1)
            np.testing.assert_allclose(after, history[block.steps], rtol=1e-12, atol=1e-14)
            assert bool(block.record) == recorded


@both
@pytest.mark.parametrize("kind", [SimpleRNN, LSTM, GRU])
@pytest.mark.parametrize(("size", "units"), [(4, 512), (32, 192), (33, 192), (4, 510)])
def test_few_rows_by_a_large_matrix(kind, masked, size, units):
    """In panels of 32 columns where that pays, and with what is recorded at its place."""
    rng = np.random.default_rng(0)
    layer = layer_of(kind, rng, units=units)
    mask = rng.random((size, 4)) > 0.4 if masked else None
    states = [rng.normal(size=(size, units)) for _ in layer.STATES]
    x, states = rng.normal(size=(size, 4, 3)), states if len(states) > 1 else states[0]
    sequences = Sequences.of(layer, x, mask, states)
    outputs, history = by_formula(layer, sequences)
    for recorded in (False, True):
        (block,) = blocks(layer, sequences, recorded=recorded)
        np.testing.assert_allclose(block.outputs.swapaxes(0, 1), outputs, rtol=1e-11, atol=1e-13)
        after = block.states[:, 1:].swapaxes(0, 1)
        np.testing.assert_allclose(after, history, rtol=1e-11, atol=1e-13)


@both
def test_operands_that_are_rounded(masked):
    layer, sequences = problem("LSTM", masked)
    rounded = layer.changed(operands=FORMATS["bfloat16"])
    outputs, _ = by_formula(rounded, sequences)
    found = replay(rounded, sequences).outputs
    np.testing.assert_allclose(found, outputs, rtol=1e-10, atol=1e-12)
    assert np.abs(found - replay(layer, sequences).outputs).max() > 1e-4


def test_rows_of_the_bias_that_only_some_sums_have():
    rng = np.random.default_rng(0)
    kind = own(one_bias_more, ("z", "h"))
    arrays = (rng.normal(size=shape) for shape in ((3, 8), (4, 8), (2, 8)))
    layer = kind(*arrays)
    sequences = Sequences.of(layer, rng.normal(size=(2, 5, 3)))
    outputs, _ = by_formula(layer, sequences)
    np.testing.assert_allclose(replay(layer, sequences).outputs, outputs, rtol=1e-12)


def test_what_a_record_holds():
    """Of an LSTM the gates, side by side those of one function, and `a(c)`."""
    layer, sequences = problem("LSTM", False)
    block = next(blocks(layer, sequences, recorded=True))
    groups = plan_for(layer).groups
    assert {groups[g].op for g in block.record} == {ACTIVATION}
    shapes = sorted(array.shape for array in block.record.values())
    assert shapes == [(9, 1, 3, 4), (9, 1, 3, 4), (9, 3, 3, 4)]
    h, c = block.states
    (of_c,) = [a for a in block.record.values() if np.allclose(a[:, 0], np.tanh(c[1:]))]
    (gates,) = [a for a in block.record.values() if a.shape[1] == 3]
    output = [g for g in range(3) if np.allclose(gates[:, g] * of_c[:, 0], h[1:])]
    assert len(output) == 1


@pytest.mark.parametrize(("name", "calls"), [("SimpleRNN", 3), ("LSTM", 9), ("GRU", 11)])
def test_how_many_calls_a_step_takes(name, calls):
    layer, _ = problem(name, False)
    plan = plan_for(layer)
    assert len(plan.calls) == calls
    assert sum(call.op == PRODUCT for call in plan.calls) == 1
    assert plan_for(layer) is plan


def test_a_plan_does_not_hold_the_weights():
    """Layers of one formula share their plan; what they compute is their own."""
    rng = np.random.default_rng(0)
    layers = [layer_of(LSTM, rng) for _ in range(2)]
    x = rng.normal(size=(2, 4, 3))
    first = [rp.replay(one, x).outputs for one in layers]
    assert plan_for(layers[0]) is plan_for(layers[1])
    assert np.abs(first[0] - first[1]).max() > 0.1
    assert np.array_equal(rp.replay(layers[0], x).outputs, first[0])
