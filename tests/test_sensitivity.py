"""What a passing check could not have seen, and the reason that a person gets."""

import numpy as np
import pytest
from corpus import examined, right_run, simulate

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
