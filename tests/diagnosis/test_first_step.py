"""The first step that refutes candidates: right runs pass it, and wrong ones do not."""

import numpy as np
import pytest
from corpus import GATED, call_of, every_kind, right_run, simulate

from rnn_parity.diagnosis import evidence as firststep
from rnn_parity.diagnosis.evidence import STEPS, FirstStep

SIZE = (4, 9, 3, 5)
FEW = np.array([0, 2, 3])


def first_step(start=0):
    return FirstStep(FEW, slice(start, start + STEPS if start == 0 else start + 2))


def far_off(run, outputs, step=None, layers=None):
    layer, sequences = call_of(run)
    return (step or first_step()).far_off(layers or [layer], sequences, outputs)


@pytest.mark.parametrize("options", [{}, {"mask": True, "state": True}, {"go_backwards": True}])
@every_kind
def test_a_right_run_is_near_and_another_is_not(kind, options):
    run = right_run(SIZE, kind=kind, **options)
    outputs = simulate(run)
    assert far_off(run, outputs) == [False]
    assert far_off(run, simulate(run.but(bias=None))) == [True]
    assert far_off(run, outputs * np.float32(1 + 2.0**-10)) == [True]
    assert far_off(run, outputs * np.float32(1 + 2.0**-14)) == [False]


@every_kind
def test_layers_that_differ_by_their_activations_are_told_apart(kind):
    run = right_run(SIZE, kind=kind, state=True)
    names = ["tanh", "softsign", "relu", "softmax", "linear"]
    layers = [
        run.layer().changed(activation=run.but(activation=n).layer().activation)
        for n in names[:1] + names[2:3] + names[4:]
    ]
    step = first_step()
    for right, activation in enumerate(["tanh", "relu", "linear"]):
        outputs = simulate(run.but(activation=activation))
        found = far_off(run, outputs, step, layers)
        assert found == [i != right for i in range(3)]


@pytest.mark.parametrize("kind", GATED)
def test_so_are_those_of_the_gates(kind):
    run = right_run(SIZE, kind=kind, state=True)
    several = ["sigmoid", "hard_sigmoid", "tanh"]
    layers = [run.but(recurrent_activation=n).layer() for n in several]
    one = run.layer()
    layers = [one.changed(recurrent_activation=other.recurrent_activation) for other in layers]
    for right, activation in enumerate(several):
        outputs = simulate(run.but(recurrent_activation=activation))
        assert far_off(run, outputs, None, layers) == [i != right for i in range(3)]


@every_kind
def test_the_first_step_is_the_first_that_no_mask_hides(kind):
    """How Keras pads: the first timesteps are masked in every sample, of one all of them."""
    run = right_run(SIZE, kind=kind, state=True)
    mask = np.ones(SIZE[:2], bool)
    mask[:, :2] = False
    mask[2, :4] = False
    mask[3] = False
    run = run.but(mask=mask)
    outputs = simulate(run)
    assert far_off(run, outputs) == [False]
    wrong = outputs.copy()
    wrong[:, [0, 1, 3, 5]] += 1  # steps that nobody looks at
    wrong[3] += 1
    wrong[2, 3] -= 1
    assert far_off(run, wrong) == [False]
    wrong = outputs.copy()
    wrong[2, 4] += 1
    assert far_off(run, wrong) == [True]


def test_where_states_are_hidden_the_second_step_shows_the_recurrent_kernel():
    """A first step from states of zeros shows nothing of it."""
    run = right_run(SIZE, kind="LSTM")
    outputs = simulate(run)
    other = run.layer().changed(recurrent_kernel=run.layer().recurrent_kernel[::-1])
    assert far_off(run, outputs, layers=[run.layer()]) == [False]
    assert far_off(run, outputs, layers=[other]) == [True]
    assert far_off(run.but(x=run.x[:, :1]), outputs[:, :1], layers=[other]) == [False]
    wrong = outputs.copy()
    wrong[:, 2:] += 1  # steps that nobody looks at
    assert far_off(run, wrong) == [False]
    wrong[2, 1] += 1
    assert far_off(run, wrong) == [True]


@pytest.mark.parametrize("kind", ["SimpleRNN", "GRU"])
def test_a_later_step_starts_from_the_observed_state(kind):
    run = right_run(SIZE, kind=kind)
    outputs = simulate(run)
    wrong = outputs.copy()
    wrong[:, :4] = 0.5  # the state before step 5 is in step 4
    assert far_off(run, wrong, first_step(5)) == [False]
    wrong[:, 4] = 0.5
    assert far_off(run, wrong, first_step(5)) == [True]
    assert far_off(run, outputs[:, :5], first_step(5)) == [False]


@every_kind
@pytest.mark.parametrize("where", ["inputs", "state"])
def test_a_number_where_a_nan_is_certain_is_far_off(kind, where):
    run = right_run(SIZE, kind=kind, state=True)
    finite = simulate(run)
    if where == "inputs":
        run.x[2, 0, 1] = np.nan
    else:
        run.state[..., 2, 1] = np.nan
    with np.errstate(invalid="ignore"):
        right = simulate(run)
    assert far_off(run, right) == [False]
    assert far_off(run, finite) == [True]
    right[0, 0] += 1
    assert far_off(run, right) == [True]


def test_an_infinite_number_is_no_nan():
    """Some formulas of silu give NaN at minus infinity, others 0: neither refutes the other."""
    run = right_run(SIZE, activation="silu")
    run.x[2, 0] = np.inf * -np.sign(run.kernel[:, 0])
    with np.errstate(invalid="ignore"):
        outputs = simulate(run)
    outputs[2, 0, 0] = 0
    assert far_off(run, outputs) == [False]


def test_what_is_kept_is_of_the_same_arrays(monkeypatch):
    """An array of another candidate may stand where one was that is gone."""
    monkeypatch.setattr(firststep, "KEPT", 3)
    run = right_run(SIZE)
    layer, sequences = call_of(run)
    outputs, step = simulate(run), first_step()
    for i in range(50):
        far = i % 3 == 0
        kernel = layer.kernel * (1.1 if far else 1.0)
        assert step.far_off([layer.changed(kernel=kernel)], sequences, outputs) == [far]
        assert len(step.kept) <= 3
