"""A report is data: it can be pickled and copied, and later changes of arrays do not reach it."""

import copy
import gc
import pickle
from dataclasses import replace

import numpy as np
import pytest
from corpus import right_run, simulate

import rnn_parity as rp
from rnn_parity.api.functions import check_generated
from rnn_parity.api.generated import GeneratedLayer
from rnn_parity.diagnosis import blind_spots
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.recurrence.time_loop import replay
from rnn_parity.verdict.results import Sensitivity

KINDS = ("SimpleRNN", "LSTM", "GRU")


def call(kind, change=lambda run: run):
    """The arguments of `compare`, all of them arrays of the caller, and the layer's arrays."""
    run = right_run((6, 40, 5, 4), kind=kind, mask=True, state=True)
    layer = run.layer()
    outputs = simulate(change(run))
    states = replay(layer, Sequences.of(layer, run.x, run.mask, run.state)).final_state
    states = states if isinstance(states, tuple) else (states,)
    final = [layer.precision.round(state) for state in states]
    given = {
        "inputs": run.x,
        "outputs": outputs,
        "final_state": final if len(final) > 1 else final[0],
        "mask": run.mask,
        "initial_state": list(run.state) if kind == "LSTM" else run.state,
    }
    arrays = [run.x, outputs, run.mask, *final, run.state, *run.weights]
    arrays += [layer.kernel, layer.recurrent_kernel, layer.bias]
    return layer, given, arrays


def compared(layer, given):
    return rp.compare(
        layer,
        given["inputs"],
        given["outputs"],
        given["final_state"],
        mask=given["mask"],
        initial_state=given["initial_state"],
    )


def without_bias(run):
    return run.but(bias=None)


CHANGES = {"parity": lambda run: run, "diverged": without_bias}


@pytest.mark.parametrize("verdict", CHANGES)
@pytest.mark.parametrize("name", KINDS)
def test_what_happens_to_the_arrays_later_does_not_matter(name, verdict):
    layer, given, arrays = call(name, CHANGES[verdict])
    expected = compared(layer, given).to_json()
    assert f'"verdict": "{verdict}"' in expected
    report = compared(layer, given)
    for array in arrays:
        array[...] = 1 - array if array.dtype == bool else 0.5
    assert report.to_json() == expected


@pytest.mark.parametrize("verdict", CHANGES)
@pytest.mark.parametrize("name", KINDS)
def test_a_report_equals_its_copies(name, verdict):
    layer, given, _ = call(name, CHANGES[verdict])
    report = compared(layer, given)
    for again in (lambda r: pickle.loads(pickle.dumps(r)), copy.deepcopy, copy.copy):
        assert again(report) == report == compared(layer, given)
    for other in (replace(report, notes=("a note",)), replace(report, checks=())):
        assert other != report
        assert report != other


def test_no_number_equals_no_number():
    layer, given, _ = call("LSTM")
    given["outputs"][2, 3, 1] = np.nan
    report = compared(layer, given)
    assert np.isnan(report.checks[0].first_divergence.observed)
    assert pickle.loads(pickle.dumps(report)) == report
    given["outputs"][2, 3, 1] = np.inf
    assert compared(layer, given) != report


def changed_array(held, name):
    """`held` with another last number in one of its arrays."""
    array = getattr(held, name).copy()
    array.flat[-1] += 1
    return replace(held, **{name: array})


def test_one_other_number_is_another_report():
    layer, given, _ = call("GRU")
    report = compared(layer, given)
    (check,) = report.checks
    rows, cells = check.timesteps, check.heat_map
    others = [replace(check, timesteps=changed_array(rows, name)) for name in vars(rows)]
    others += [replace(check, heat_map=changed_array(cells, name)) for name in vars(cells)]
    others += [
        replace(check, max_ratio=2 * check.max_ratio),
        replace(check, sensitivity=Sensitivity((), check.sensitivity.blind)),
        replace(check, subject=replace(check.subject, config={"units": 9})),
        replace(check, timesteps=()),
    ]
    assert all(replace(report, checks=(one,)) != report for one in others)
    with pytest.raises(TypeError, match="unhashable"):
        hash(report)


def test_equality_looks_at_blind_spots_last(monkeypatch):
    layer, given, _ = call("SimpleRNN")
    reports = [compared(layer, given) for _ in range(2)]
    monkeypatch.setattr(blind_spots, "sensitivity", None)  # whoever works them out fails
    assert reports[0] == copy.copy(reports[0])
    assert reports[0] != replace(reports[1], notes=("a note",))
    (check,) = reports[1].checks
    assert reports[0] != replace(reports[1], checks=(replace(check, notes=("a note",)),))
    assert reports[0].checks[0] != check.timesteps


@pytest.mark.parametrize("verdict", CHANGES)
@pytest.mark.parametrize("name", KINDS)
def test_a_report_is_pickled_and_copied(name, verdict):
    layer, given, _ = call(name, CHANGES[verdict])
    expected = compared(layer, given).to_json()
    for again in (lambda r: pickle.loads(pickle.dumps(r)), copy.deepcopy, copy.copy):
        other = again(compared(layer, given))
        assert other.to_json() == expected
        assert str(other) == str(compared(layer, given))
        assert len(other.checks[0].timesteps) == 40
        assert bool(other) == (verdict == "parity")


@pytest.mark.parametrize("verdict", CHANGES)
def test_a_report_is_one_line_as_repr(verdict):
    layer, given, _ = call("LSTM", CHANGES[verdict])
    report = compared(layer, given)
    assert verdict.upper() in repr(report)
    assert "1 check" in repr(report)
    assert report.summary in repr(report)
    assert "\n" not in repr(report) + repr(report.checks[0])
    assert "\n" not in repr(report.checks[0].sensitivity)
    assert report.to_json()
    assert "\n" not in repr(report.checks[0])


def test_a_repr_works_nothing_out(monkeypatch):
    layer, given, _ = call("GRU")
    report = compared(layer, given)
    monkeypatch.setattr(blind_spots, "sensitivity", None)
    repr(report), repr(report.checks)


def test_large_data_are_not_copied(monkeypatch):
    """Of gigabytes nothing is kept: what they could not have shown is worked out at once."""
    layer, given, arrays = call("GRU")
    expected = compared(layer, given).to_json()
    monkeypatch.setattr(blind_spots, "MOST_OF_ONE", given["inputs"].nbytes)
    monkeypatch.setattr(blind_spots.PassedCheck, "copied", None)
    report = compared(layer, given)
    arrays[0][...] = 0
    assert report.to_json() == expected


def test_what_reports_keep_together_is_limited(monkeypatch):
    """Room for two checks: it is free again when a report is looked at or gone."""
    layer, given, _ = call("GRU")
    room = blind_spots.Room()
    monkeypatch.setattr(blind_spots, "ROOM", room)
    first = compared(layer, given)
    size = room.taken
    assert size > 0
    monkeypatch.setattr(blind_spots, "MOST_KEPT", 2 * size)
    others = [compared(layer, given) for _ in range(3)]
    kept = ["(...)" in repr(one.checks[0].sensitivity) for one in (first, *others)]
    assert kept == [True, True, False, False]
    assert first.to_json() == others[-1].to_json()
    assert room.taken == size
    del others, first
    gc.collect()
    assert room.taken == 0


@pytest.mark.parametrize("arguments", [{}, {"activation": "relu", "dtype": "mixed_float16"}])
def test_a_report_on_a_layer_of_keras_is_pickled(arguments):
    report = check_generated(GeneratedLayer("lstm", 3, 2, 4, 3, arguments=arguments))
    other = pickle.loads(pickle.dumps(report))
    assert other.to_json() == report.to_json()
    assert other.checks[0].subject.config["units"] == 3
    assert "\n" not in repr(report) + repr(report.checks[0])
