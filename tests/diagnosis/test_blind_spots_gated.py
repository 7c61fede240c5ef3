"""What a passing check of an LSTM or GRU could not have seen, and the reason that a person gets."""

import numpy as np
import pytest
from corpus import examined, right_run, simulate
from corpus_gated import GRU, LSTM
from mistakes_gated import BEFORE, KINDS
from test_blind_spots import seen

SIZE = (32, 28, 32, 16)
ZEROS = "the initial state is zeros"
ONE_STEP = "one timestep: the recurrent kernel is never used"
EVERYTHING = {"mask": True, "state": True, "go_backwards": True, "zero_output_for_mask": True}


@pytest.mark.parametrize("name", KINDS)
def test_with_every_option_nothing_is_hidden(name):
    kind, options, mistakes, _ = KINDS[name]
    for stateful in (False, True):
        run = right_run((8, 28, 16, 16), kind=kind, stateful=stateful, **options, **EVERYTHING)
        visible, blind = seen(run, final=False)
        assert blind == {"final-state-stale": "no final state was observed"}
        needs_options = {"hard-sigmoid-slope"}
        needs_options |= {"initial-state-ignored" if stateful else "state-not-carried"}
        assert {m.fault for m in mistakes} - needs_options <= visible


def test_a_default_layer_is_blind_to_what_its_options_leave_out():
    visible, blind = seen(right_run(SIZE, kind=GRU), final=False)
    del blind["final-state-stale"]
    assert blind == {"initial-state-ignored": ZEROS, "mask-ignored": "no timestep is masked"}
    assert {"gates-permuted", "update-gate-inverted", "reset-after-flipped"} <= visible
    _, blind = seen(right_run(SIZE, kind=LSTM), final=False)
    assert blind["states-swapped"] == blind["initial-state-ignored"] == ZEROS


def test_the_biases_that_keras_starts_with():
    run = right_run(SIZE, kind=LSTM)
    bias = np.repeat(np.float32([0, 1, 0, 0]), 16)
    visible, _ = seen(run.but(bias=bias), final=False)
    assert {"bias-dropped", "forget-bias-missing", "forget-bias-doubled"} <= visible
    visible, blind = seen(run.but(bias=np.repeat(np.float32([1, 0, 1, 1]), 16)), final=False)
    assert "bias-dropped" in visible
    for fault in ("forget-bias-missing", "forget-bias-doubled"):
        assert blind[fault] == "the forget gate's bias is all zeros"
    run = right_run(SIZE, kind=GRU)
    _, blind = seen(run.but(bias=run.bias * np.float32([[1], [0]])), final=False)
    assert blind["recurrent-bias-dropped"] == "the recurrent bias is all zeros"
    assert "candidate" in blind["recurrent-bias-not-reset"]


def test_a_layer_without_a_bias_cannot_lose_it():
    for kind, fault in ((LSTM, "forget-bias-missing"), (GRU, "recurrent-bias-dropped")):
        visible, blind = seen(right_run((4, 9, 6, 5), kind=kind, bias=False), final=False)
        assert not {fault, "bias-dropped"} & (visible | set(blind))


def test_one_timestep_from_a_state_of_zeros():
    _, blind = seen(right_run((8, 1, 6, 6), kind=LSTM), final=False)
    assert blind["recurrent-kernel-transposed"] == blind["gates-misaligned"] == ONE_STEP
    assert blind["forget-bias-missing"].endswith("nothing is there to forget")
    _, blind = seen(right_run((8, 1, 6, 6), kind=GRU, **BEFORE), final=False)
    assert blind["reset-after-flipped"].endswith("nothing is there to reset")
    # With a bias inside, the reset gate has something to act on.
    visible, _ = seen(right_run((8, 1, 6, 6), kind=GRU), final=False)
    assert "reset-after-flipped" in visible


def test_one_timestep_that_counts():
    run = right_run((8, 4, 6, 6), kind=LSTM, bias=False)
    mask = np.arange(4) == np.arange(8)[:, None] % 4
    _, blind = seen(run.but(mask=mask), final=False)
    assert blind["recurrent-kernel-transposed"] == ONE_STEP
    mask[0, :] = True
    visible, _ = seen(run.but(mask=mask), final=False)
    assert "recurrent-kernel-transposed" in visible


def test_one_unit_makes_the_reset_gates_side_irrelevant():
    for options in ({"bias": False}, BEFORE):
        _, blind = seen(right_run((8, 9, 6, 1), kind=GRU, **options), final=False)
        assert blind["reset-after-flipped"].startswith("of one unit")
    visible, _ = seen(right_run((8, 9, 6, 1), kind=GRU), final=False)
    assert "reset-after-flipped" in visible  # the gate acts on the recurrent bias too


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_gates_with_equal_weights(kind):
    run = right_run((8, 9, 6, 6), kind=kind, bias=False)
    same = {
        name: np.tile(getattr(run, name)[:, :6], kind.GATES)
        for name in ("kernel", "recurrent_kernel")
    }
    _, blind = seen(run.but(**same), final=False)
    assert blind["gates-permuted"] == "gates have equal weights"


def test_states_of_an_lstm_that_are_zeros_or_equal():
    run = right_run((8, 9, 6, 6), kind=LSTM, state=True)
    h, c = run.state
    for state, reason in (([h, 0 * c], "c is zeros"), ([0 * h, c], "h is zeros")):
        visible, blind = seen(run.but(state=np.stack(state)), final=False)
        assert blind["initial-state-ignored"] == f"the initial state {reason}"
        assert "states-swapped" in visible
    _, blind = seen(run.but(state=np.stack([h, h])), final=False)
    assert blind["states-swapped"] == "the initial states h and c are equal"


def test_gate_activations_that_these_data_do_not_tell_apart_are_named():
    run = right_run((8, 9, 6, 6), kind=LSTM, bias=False)
    zeros = {n: 0 * getattr(run, n) for n in ("x", "recurrent_kernel")}
    _, blind = seen(run.but(**zeros, state=np.ones((2, 8, 6), np.float32)), final=False)
    # All are 1/2 at 0, but tanh.
    reason = blind["recurrent-activation-swapped"]
    assert "hard_sigmoid" in reason
    assert "tanh" not in reason


def test_a_diverged_check_has_no_sensitivity():
    run = right_run((8, 9, 6, 6), kind=LSTM)
    assert examined(run, simulate(run.but(bias=None))).sensitivity is None
