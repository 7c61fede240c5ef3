"""What a passing check could not have seen, and the reason that a person gets."""

import json

import ml_dtypes
import numpy as np
import pytest
from catalogue import computation, variants
from corpus import GATED, call_of, every_kind, examined, right_run, simulate
from hiding import HIDDEN, hidden_run
from mistakes import MISTAKES

import rnn_parity as rp
from rnn_parity.api.examination import examine
from rnn_parity.diagnosis.blind_spots import told_by_the_run
from rnn_parity.diagnosis.faults import STALE, Computation, faults_of
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.recurrence.time_loop import replay
from rnn_parity.verdict.judge import Observations, judge
from rnn_parity.verdict.results import Subject

SIZE = (32, 28, 32, 16)
NO_STATE = "the initial state is zeros"


def seen(run, final=False):
    """The visible faults, and the blind spots with their reasons."""
    outputs = simulate(run)
    check = examined(run, outputs, outputs[:, -1] if final else None)
    assert check.verdict == "parity"
    found = check.sensitivity
    return set(found.visible), {spot.fault: spot.reason for spot in found.blind}


@every_kind
def test_a_default_layer_is_blind_to_what_its_options_leave_out(kind):
    run = right_run(SIZE, kind=kind)
    visible, blind = seen(run, final=kind != "LSTM")
    if kind == "LSTM":
        assert blind.pop("states-swapped") == blind.pop("state-mixed") == NO_STATE
        assert blind.pop("final-state-stale") == "no final state was observed"
    no_mask = dict.fromkeys(("mask-ignored", "masked-output-zeroed"), "no timestep is masked")
    assert blind == {"initial-state-ignored": NO_STATE, **no_mask}
    needs = {m.fault for m in MISTAKES if kind in m.kinds and m.needs}
    assert {m.fault for m in MISTAKES if kind in m.kinds} - needs <= visible


@every_kind
@pytest.mark.parametrize("stateful", [False, True])
def test_with_every_option_nothing_is_hidden(kind, stateful):
    options = {"mask": True, "state": True, "go_backwards": True, "zero_output_for_mask": True}
    sizes = [(8, 28, 16, 16)] if kind in GATED else [(32, 28, 16, 16), (4, 200, 64, 64)]
    for size in sizes:
        visible, blind = seen(right_run(size, kind=kind, stateful=stateful, **options))
        assert blind == {"final-state-stale": "no final state was observed"}
        needs_options = {"hard-sigmoid-slope", "masked-output-zeroed", "kernel-misread"}
        needs_options |= {"initial-state-ignored" if stateful else "state-not-carried"}
        assert {m.fault for m in MISTAKES if kind in m.kinds} - needs_options <= visible


@pytest.mark.parametrize(
    ("fault", "kind", "size", "changes", "reason"), [row for row in HIDDEN if row[-1]]
)
def test_what_hides_a_fault_is_said(fault, kind, size, changes, reason):
    run = hidden_run(kind, size, changes)
    visible, blind = seen(run)
    applies = bool(variants(fault, computation(run)))
    assert blind.get(fault) == (reason if applies else None)
    assert fault not in visible


def test_what_a_run_takes_of_the_observed_numbers_is_never_known_of_it():
    run = right_run(SIZE)
    work_out = examined(run, simulate(run)).sensitivity.work_out
    work_out()
    passed = work_out.passed
    every = enumerate(told_by_the_run(passed.reference, {}))
    rearranges = {i: variant.rearrange is not None for i, (_, variant) in every}
    assert {i for i, own in rearranges.items() if not own} == work_out.runs.keys()
    assert any(rearranges.values())


@every_kind
def test_a_layer_without_a_bias_cannot_lose_it(kind):
    visible, blind = seen(right_run((4, 9, 6, 5), kind=kind, bias=False))
    lost = {"bias-dropped", "bias-doubled", "forget-bias-missing", "recurrent-bias-dropped"}
    assert not lost & (visible | set(blind))


def test_the_biases_that_keras_starts_with():
    run = right_run(SIZE, kind="LSTM")
    visible, _ = seen(run.but(bias=np.repeat(np.float32([0, 1, 0, 0]), 16)))
    assert {"bias-dropped", "forget-bias-missing", "forget-bias-doubled"} <= visible


@pytest.mark.parametrize("units", [1, 6])
def test_a_reset_gate_has_a_bias_to_act_on(units):
    for timesteps in (1, 9):
        assert "reset-after-flipped" in seen(right_run((8, timesteps, 6, units), kind="GRU"))[0]


def test_one_sample_with_a_second_timestep_shows_the_recurrent_kernel():
    run = right_run((8, 4, 6, 6), kind="LSTM", bias=False)
    mask = np.arange(4) == np.arange(8)[:, None] % 4
    mask[0, :] = True
    assert "recurrent-kernel-transposed" in seen(run.but(mask=mask))[0]


def test_saturated_outputs():
    run = right_run((8, 9, 6, 6))
    _, blind = seen(run.but(kernel=1e4 * run.kernel), final=True)
    assert "saturated" in blind["recurrent-kernel-transposed"]


def test_outputs_that_are_all_zeros():
    run = right_run((8, 9, 6, 6), activation="relu")
    _, blind = seen(run.but(bias=run.bias - 100), final=True)
    assert blind["recurrent-kernel-transposed"] == "all outputs are zeros"
    assert blind["final-state-stale"] == "the state did not change in the last timestep"


def test_activations_that_these_data_do_not_tell_apart_are_named():
    run = right_run((8, 9, 6, 6), activation="relu")
    positive = {n: np.abs(getattr(run, n)) / 3 for n in ("kernel", "recurrent_kernel", "bias", "x")}
    reason = seen(run.but(**positive))[1]["activation-swapped"]
    assert "linear" in reason
    assert "sigmoid" not in reason
    run = right_run((8, 9, 6, 6), kind="LSTM", bias=False)
    zeros = {n: 0 * getattr(run, n) for n in ("x", "recurrent_kernel")}
    run = run.but(**zeros, state=np.ones((2, 8, 6), np.float32))
    # All are 1/2 at 0, but tanh.
    reason = seen(run)[1]["recurrent-activation-swapped"]
    assert "hard_sigmoid" in reason
    assert "tanh" not in reason


@every_kind
def test_a_diverged_check_has_no_sensitivity(kind):
    run = right_run((8, 9, 6, 6), kind=kind)
    assert examined(run, simulate(run.but(bias=None))).sensitivity is None


# Visible is what would have diverged.


DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float64": np.float64}
CALLS = {
    "plain": {},
    "masked": {"mask": True, "state": True, "zero_output_for_mask": True},
    "backwards": {"go_backwards": True, "stateful": True, "state": True},
    "backwards, masked": {"go_backwards": True, "mask": True},
    "relu": {"activation": "relu", "state": True},
    "no bias": {"bias": False},
}


def states_of(variant):
    """What such a computation returns as its final states: h is the last that no mask hid."""
    trace = replay(variant.layer, variant.sequences)
    return trace.final_state if isinstance(trace.final_state, tuple) else (trace.final_state,)


def verdict_of(variant, reference, outputs, states):
    """That of a run which returned the outputs and states of a faulty computation."""
    faulty, given = variant.computed(), states_of(variant)
    if variant.rearrange is not None:
        same = variant.sequences is reference.sequences
        faulty, given = (variant.rearrange(outputs), states) if same else (faulty, ())
    round_ = reference.layer.precision.round
    shown = Observations(round_(faulty), tuple(map(round_, given))[: len(states)])
    return judge(reference.layer, reference.sequences, shown, Subject()).check.verdict


def contradictions(run, with_states=False):
    """Faults that are called visible, or blind, and are not: by the verdict on the very run."""
    layer, sequences = call_of(run)
    return contradicted(layer, sequences, simulate(run), run.stateful, with_states)


def contradicted(layer, sequences, outputs, stateful=False, with_states=False):
    states = states_of(Computation(layer, sequences)) if with_states else ()
    states = tuple(map(layer.precision.round, states))
    check = examine(layer, sequences, Observations(outputs, states), Subject(), stateful)
    if check.verdict != "parity":
        return None
    reference = Computation(layer, sequences, stateful)
    visible, wrong = check.sensitivity.visible, []
    blind = {spot.fault for spot in check.sensitivity.blind}
    for fault in faults_of(layer):
        verdicts = {verdict_of(v, reference, outputs, states) for v in fault.variants(reference)}
        if fault.id in visible and verdicts - {"diverged"}:
            wrong.append(f"{fault.id} is visible, and {verdicts}")
        if fault.id in blind and fault is not STALE and verdicts == {"diverged"}:
            wrong.append(f"{fault.id} is blind, and diverged")
    return wrong


@pytest.mark.parametrize("size", [(2, 5, 3, 4), (5, 40, 4, 4), (1, 1, 2, 3), (6, 6, 3, 5)], ids=str)
@every_kind
def test_visible_is_what_would_have_diverged(kind, size):
    calls = [o for o in CALLS.values() if size[1] > 2 or not o.get("mask")]
    for options in calls if size[1] < 9 else calls[1:4:2]:
        run = right_run(size, 3, kind=kind, **options)
        assert contradictions(run, with_states=size[1] < 9) == [], options


@pytest.mark.parametrize("dtype", DTYPES)
@every_kind
def test_visible_is_what_would_have_diverged_in_other_dtypes(kind, dtype):
    passed = 0
    for options in ({}, {"mask": True, "state": True}):
        run = right_run((3, 7, 4, 4), 3, kind=kind, **options).astype(DTYPES[dtype])
        found = contradictions(run)
        passed += found is not None
        assert not found, options
    assert passed


@every_kind
@pytest.mark.parametrize("size", [0, 1e-9, 1e-6, 1e-3])
def test_data_next_to_what_shows_nothing(kind, size):
    """Faults whose effect is of the size of rounding: visible only where the verdict says so."""
    run = right_run((4, 40, 3, 4), 5, kind=kind, state=True)
    small = {n: getattr(run, n) * np.float32(size) for n in ("bias", "state")}
    assert contradictions(run.but(**small)) == []


def test_samples_and_timesteps_that_are_all_alike():
    """Six of each, at rest: no order of them shows, whichever axis it is of."""
    layer = rp.SimpleRNN([[1.0]], [[0.5]], [0.25], "linear", dtype="float32")
    sequences = Sequences.of(layer, np.zeros((6, 6, 1), np.float32), None, np.full((6, 1), 0.5))
    outputs = np.full((6, 6, 1), 0.5, np.float32)
    assert contradicted(layer, sequences, outputs, with_states=True) == []
    check = examine(layer, sequences, Observations(outputs), Subject())
    blind = {spot.fault for spot in check.sensitivity.blind}
    assert {"batch-time-swapped", "outputs-not-reversed", "inputs-reversed"} <= blind
    assert "bias-dropped" in check.sensitivity.visible


def converging(rate, count):
    """A SimpleRNN of one unit whose inputs stop: each step is `rate` times as far from the end."""
    layer = rp.SimpleRNN([[1.0]], [[rate]], [0.25], "linear", dtype="float32")
    x = np.zeros((1, count, 1), np.float32)
    h, outputs = np.float32(1), []
    for _ in range(count):
        h = np.float32(np.float32(rate) * h + np.float32(0.25))
        outputs.append([h])
    return layer, x, np.array([outputs], np.float32)


def test_a_stale_state_of_a_run_that_converges():
    reasons = set()
    for count in range(10, 36):
        layer, x, outputs = converging(0.5, count)
        given = {"initial_state": np.ones((1, 1), np.float32)}
        check = rp.compare(layer, x, outputs, outputs[:, -1], **given).checks[0]
        assert check.verdict == "parity"
        stale = rp.compare(layer, x, outputs, outputs[:, -2], **given).verdict
        assert (STALE.id in check.sensitivity.visible) == (stale == "diverged")
        reasons |= {spot.reason for spot in check.sensitivity.blind if spot.fault == STALE.id}
    assert reasons == {
        "the state before the last timestep is within rounding of the one after it",
        "the state did not change in the last timestep",
    }


@every_kind
def test_states_that_are_zeros_in_the_first_samples_only(kind):
    """What a fault can change depends on the data, and the first samples have other data."""
    run = right_run((6, 9, 4, 4), 2, kind=kind, state=True)
    run.state[..., :4, :] = 0
    state = list(run.state) if kind == "LSTM" else run.state
    report = rp.compare(run.layer(), run.x, simulate(run), initial_state=state)
    assert "sees" in str(report)
    (check,) = json.loads(report.to_json())["checks"]
    assert "initial-state-ignored" in check["sensitivity"]["visible"]


@every_kind
def test_a_last_output_alone_says_what_it_could_not_have_shown(kind):
    run = right_run((8, 6, 5, 6), kind=kind)
    check = examined(run, simulate(run)[:, -1])
    assert check.verdict == "parity"
    visible = set(check.sensitivity.visible)
    blind = {spot.fault: spot.reason for spot in check.sensitivity.blind}
    assert {"bias-dropped", "recurrent-kernel-transposed", "inputs-reversed"} <= visible
    assert blind["initial-state-ignored"] == NO_STATE
    assert blind["final-state-stale"] == "no final state was observed"
    assert blind["mask-ignored"] == "no timestep is masked"


def test_a_mask_that_is_forgotten_in_the_end_is_a_blind_spot_of_a_last_output():
    """A SimpleRNN that forgets: 20 timesteps after the mask nothing of it is left."""
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(3, 4)) / 2, rng.normal(size=4) / 2
    weights = rp.SimpleRNN(kernel, 0.1 * rng.normal(size=(4, 4)), bias, dtype="float32")
    x, mask = rng.normal(size=(5, 24, 3)).astype("f"), np.ones((5, 24), bool)
    mask[:, :4] = False
    right = rp.replay(weights, x, mask=mask).outputs[:, -1].astype("f")
    ignored = rp.replay(weights, x).outputs[:, -1].astype("f")
    assert rp.compare(weights, x, ignored, mask=mask).verdict == "parity"
    (check,) = rp.compare(weights, x, right, mask=mask).checks
    assert "mask-ignored" in {spot.fault for spot in check.sensitivity.blind}
    late = mask[:, ::-1]  # the last timesteps are masked
    right = rp.replay(weights, x, mask=late).outputs[:, -1].astype("f")
    (check,) = rp.compare(weights, x, right, mask=late).checks
    assert "mask-ignored" in check.sensitivity.visible
