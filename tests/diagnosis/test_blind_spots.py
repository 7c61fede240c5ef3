"""What a passing check could not have seen, and the reason that a person gets."""

import json

import ml_dtypes
import numpy as np
import pytest
from corpus import Run, examined, right_run, simulate
from corpus_gated import GRU, LSTM

import rnn_parity as rp
from rnn_parity.api.examination import examine
from rnn_parity.diagnosis.faults import STALE, Computation, faults_of
from rnn_parity.recurrence.replay import replay as rp_replay
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.verdict.judge import Observations, judge
from rnn_parity.verdict.results import Subject

SIZE = (32, 28, 32, 16)


def seen(run, final=True):
    outputs = simulate(run)
    check = examined(run, outputs, outputs[:, -1] if final else None)
    assert check.verdict == "parity"
    found = check.sensitivity
    return set(found.visible), {spot.fault: spot.reason for spot in found.blind}


def test_a_default_layer_is_blind_to_what_its_options_leave_out():
    visible, blind = seen(right_run(SIZE))
    assert blind == {
        "initial-state-ignored": "the initial state is zeros",
        "mask-ignored": "no timestep is masked",
    }
    assert {"bias-dropped", "weights-rounded", "lower-precision", "activation-swapped"} <= visible
    assert {"final-state-stale", "weights-differ", "units-permuted"} <= visible


@pytest.mark.parametrize("size", [(32, 28, 16, 16), (4, 200, 64, 64)], ids=str)
def test_with_every_option_nothing_is_hidden(size):
    options = {"mask": True, "state": True, "go_backwards": True, "zero_output_for_mask": True}
    for stateful in (False, True):
        visible, blind = seen(right_run(size, stateful=stateful, **options), final=False)
        assert blind == {"final-state-stale": "no final state was observed"}
        assert len(visible) == 19


def test_the_notebooks_zero_bias():
    run = right_run(SIZE)
    _, blind = seen(run.but(bias=0 * run.bias))
    assert blind["bias-dropped"] == blind["bias-doubled"] == "the bias is all zeros"


def test_a_layer_without_a_bias_cannot_drop_it():
    visible, blind = seen(right_run(SIZE, bias=False))
    assert not {"bias-dropped", "bias-doubled"} & (visible | set(blind))


def test_symmetric_weights():
    run = right_run((4, 9, 6, 6))
    k, w = run.kernel, run.recurrent_kernel
    _, blind = seen(run.but(kernel=(k + k.T) / 2, recurrent_kernel=(w + w.T) / 2))
    assert blind["kernel-transposed"] == "the kernel is symmetric"
    assert blind["recurrent-kernel-transposed"] == "the recurrent kernel is symmetric"


def test_one_timestep():
    _, blind = seen(right_run((8, 1, 6, 6)))
    assert "recurrent kernel is never used" in blind["recurrent-kernel-transposed"]
    for fault in ("inputs-reversed", "outputs-not-reversed", "time-shifted"):
        assert blind.get(fault, "there is one timestep") == "there is one timestep"
    assert "inputs-reversed" in blind


def test_masks_that_hide_nothing_and_the_same_mask_backwards():
    run = right_run((4, 9, 6, 6), go_backwards=True)
    _, blind = seen(run.but(mask=np.ones((4, 9), bool)))
    assert blind["mask-ignored"] == blind["mask-not-reversed"] == "no timestep is masked"
    mask = np.ones((4, 9), bool)
    mask[:, [0, -1]] = False
    visible, blind = seen(run.but(mask=mask))
    assert "mask-ignored" in visible
    assert blind["mask-not-reversed"] == "the mask is the same backwards"


def test_a_stateful_layers_first_call():
    _, blind = seen(right_run((4, 9, 6, 6), stateful=True))
    assert blind["state-not-carried"] == "the initial state is zeros"


def test_saturated_outputs():
    run = right_run((8, 9, 6, 6))
    _, blind = seen(run.but(kernel=1e4 * run.kernel), final=True)
    assert "saturated" in blind["recurrent-kernel-transposed"]


def test_outputs_that_are_all_zeros():
    run = right_run((8, 9, 6, 6), activation="relu")
    _, blind = seen(run.but(bias=run.bias - 100))
    assert blind["recurrent-kernel-transposed"] == "all outputs are zeros"
    assert blind["final-state-stale"] == "the state did not change in the last timestep"


def test_activations_that_these_data_do_not_tell_apart_are_named():
    run = right_run((8, 9, 6, 6), activation="relu")
    positive = {n: np.abs(getattr(run, n)) / 3 for n in ("kernel", "recurrent_kernel", "bias", "x")}
    _, blind = seen(run.but(**positive))
    assert "linear" in blind["activation-swapped"]
    assert "sigmoid" not in blind["activation-swapped"]


def test_a_diverged_check_has_no_sensitivity():
    run = right_run((8, 9, 6, 6))
    assert examined(run, simulate(run.but(bias=None))).sensitivity is None


DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float64": np.float64}
SEVERAL = {
    "SimpleRNN": (Run, {}),
    "LSTM": (LSTM, {}),
    "GRU": (GRU, {"reset_after": True}),
    "GRU, reset before": (GRU, {"reset_after": False}),
}
CALLS = {
    "plain": {},
    "masked": {"mask": True, "state": True, "zero_output_for_mask": True},
    "backwards": {"go_backwards": True, "stateful": True, "state": True},
    "backwards, masked": {"go_backwards": True, "mask": True},
    "relu": {"activation": "relu", "state": True},
    "no bias": {"bias": False},
}


def call(kind, size, dtype="float32", **options):
    """A right run in a dtype: the layer, its sequences, the outputs, and whether it is stateful."""
    run = right_run(size, 3, kind=kind, **options)
    names = ("kernel", "recurrent_kernel", "bias", "x", "state")
    if dtype != "float32":
        arrays = {n: a for n in names if (a := getattr(run, n)) is not None}
        run = run.but(**{n: a.astype(DTYPES[dtype]) for n, a in arrays.items()})
    o = {n: getattr(run, n) for n in ("activation", "go_backwards", "zero_output_for_mask")}
    own = {n: getattr(run, n) for n in run.options()}
    layer = getattr(rp, kind.__name__.replace("Run", "SimpleRNN"))(
        *run.weights, **o, **own, dtype=dtype
    )
    return layer, Sequences.of(layer, run.x, run.mask, run.state), simulate(run), run.stateful


def right_states(layer, sequences, outputs):
    """What such a run returns as its final states: h is the last that no mask hid."""
    trace = rp_replay(layer, sequences)
    states = trace.final_state if isinstance(trace.final_state, tuple) else (trace.final_state,)
    return tuple(layer.precision.round(state) for state in states)


def verdict_of(variant, right, outputs, states):
    """That of a run which returned the outputs and states of a faulty computation."""
    trace = rp_replay(variant.layer, variant.sequences)
    own = trace.final_state if isinstance(trace.final_state, tuple) else (trace.final_state,)
    faulty, given = trace.outputs, own
    if variant.rearrange is not None:
        same = variant.sequences is right.sequences
        faulty = variant.rearrange(outputs if same else trace.outputs)
        given = states if same else ()
    round_ = right.layer.precision.round
    seen = Observations(round_(faulty), tuple(map(round_, given))[: len(states)])
    return judge(right.layer, right.sequences, seen, Subject()).check.verdict


def contradictions(layer, sequences, outputs, stateful, states=()):
    """Faults that are called visible, or blind, and are not: by the verdict on the very run."""
    check = examine(layer, sequences, Observations(outputs, states), Subject(), stateful)
    if check.verdict != "parity":
        return None
    right = Computation(layer, sequences, stateful)
    visible, wrong = check.sensitivity.visible, []
    blind = {spot.fault for spot in check.sensitivity.blind}
    for fault in faults_of(layer):
        verdicts = {verdict_of(v, right, outputs, states) for v in fault.variants(right)}
        if fault.id in visible and verdicts - {"diverged"}:
            wrong.append(f"{fault.id} is visible, and {verdicts}")
        if fault.id in blind and fault is not STALE and verdicts == {"diverged"}:
            wrong.append(f"{fault.id} is blind, and diverged")
    return wrong


@pytest.mark.parametrize("size", [(2, 5, 3, 4), (5, 40, 4, 4), (1, 1, 2, 3), (6, 6, 3, 5)], ids=str)
@pytest.mark.parametrize("name", SEVERAL)
def test_visible_is_what_would_have_diverged(name, size):
    kind, own = SEVERAL[name]
    calls = [o for o in CALLS.values() if size[1] > 2 or not o.get("mask")]
    for options in calls if size[1] < 9 else calls[1:4:2]:
        layer, sequences, outputs, stateful = call(kind, size, **own, **options)
        states = right_states(layer, sequences, outputs) if size[1] < 9 else ()
        assert contradictions(layer, sequences, outputs, stateful, states) == [], options


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SEVERAL)
def test_the_same_in_other_dtypes(name, dtype):
    kind, own = SEVERAL[name]
    passed = 0
    for options in ({}, {"mask": True, "state": True}):
        layer, sequences, outputs, stateful = call(kind, (3, 7, 4, 4), dtype, **own, **options)
        found = contradictions(layer, sequences, outputs, stateful)
        passed += found is not None
        assert not found, options
    assert passed


@pytest.mark.parametrize("state", [0, 1e-9, 1e-6, 1e-3])
def test_data_next_to_what_shows_nothing(state):
    """Faults whose effect is of the size of rounding: visible only where the verdict says so."""
    for name, (kind, own) in SEVERAL.items():
        run = right_run((4, 40, 3, 4), 5, kind=kind, state=True, **own)
        bias = run.bias * np.float32(state)
        run = run.but(bias=bias, state=run.state * np.float32(state))
        layer = run.layer()
        sequences = Sequences.of(layer, run.x, None, run.state)
        assert contradictions(layer, sequences, simulate(run), False) == [], name


def test_samples_and_timesteps_that_are_all_alike():
    """Six of each, at rest: no order of them shows, whichever axis it is of."""
    layer = rp.SimpleRNN([[1.0]], [[0.5]], [0.25], "linear", dtype="float32")
    sequences = Sequences.of(layer, np.zeros((6, 6, 1), np.float32), None, np.full((6, 1), 0.5))
    outputs = np.full((6, 6, 1), 0.5, np.float32)
    assert contradictions(layer, sequences, outputs, False, (outputs[:, -1],)) == []
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


@pytest.mark.parametrize("count", range(10, 36))
def test_a_stale_state_of_a_run_that_converges(count):
    layer, x, outputs = converging(0.5, count)
    one = np.ones((1, 1), np.float32)
    given = {"initial_state": one}
    check = rp.compare(layer, x, outputs, outputs[:, -1], **given).checks[0]
    assert check.verdict == "parity"
    stale = rp.compare(layer, x, outputs, outputs[:, -2], **given).verdict
    assert ("final-state-stale" in check.sensitivity.visible) == (stale == "diverged")


def test_a_stale_state_within_rounding_is_said_to_be():
    reasons = set()
    for count in range(10, 36):
        layer, x, outputs = converging(0.5, count)
        check = rp.compare(layer, x, outputs, outputs[:, -1], initial_state=np.ones((1, 1))).checks[
            0
        ]
        reasons |= {s.reason for s in check.sensitivity.blind if s.fault == "final-state-stale"}
    assert reasons == {
        "the state before the last timestep is within rounding of the one after it",
        "the state did not change in the last timestep",
    }


@pytest.mark.parametrize("name", SEVERAL)
def test_states_that_are_zeros_in_the_first_samples_only(name):
    """What a fault can change depends on the data, and the first samples have other data."""
    kind, own = SEVERAL[name]
    run = right_run((6, 9, 4, 4), 2, kind=kind, state=True, **own)
    run.state[..., :4, :] = 0
    layer = run.layer()
    report = rp.compare(
        layer, run.x, simulate(run), initial_state=list(run.state) if kind is LSTM else run.state
    )
    assert "sees" in str(report)
    (check,) = json.loads(report.to_json())["checks"]
    assert "initial-state-ignored" in check["sensitivity"]["visible"]


def test_one_of_two_initial_states_that_is_zeros():
    run = right_run((4, 9, 4, 4), kind=LSTM, state=True)
    run.state[0] = 0
    _, blind = seen(run, final=False)
    assert blind["initial-state-ignored"] == "the initial state h is zeros"
