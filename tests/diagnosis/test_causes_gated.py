"""Diagnosis of LSTM and GRU: pairs of faults, late divergences, silence where nothing explains."""

import numpy as np
import pytest
from corpus import NARROW, examined, right_run, simulate
from corpus_gated import GRU, LSTM
from mistakes import OUTSIDE, Mistake, late
from mistakes_gated import BEFORE, KINDS, gate_block, reordered

from rnn_parity.diagnosis import causes as diagnose

SOME = (
    *("noise of 1e-4", "shuffled batch", "one timestep skipped", "kernel scaled by 0.999"),
    *("kernel columns permuted", "recurrent dropout at every step"),
)
"""Of what SimpleRNN can have too and no fault is; each takes long to rule out."""


def one_less(r, gate):
    """The bias without the 1 of the forget gate, which stands where another one was expected."""
    bias, at = r.bias.copy(), gate_block(r, gate)
    bias[at] -= np.float32(1)
    return bias


def causes(run, outputs):
    check = examined(run, outputs)
    assert check.verdict == "diverged"
    return [cause.fault for cause in check.causes]


LSTM_PAIRS = {
    "gates-permuted+forget-bias-missing": lambda r: simulate(
        r.but(order="iofc", bias=one_less(r, "c"))
    ),
    "initial-state-ignored+gates-permuted": lambda r: simulate(r.but(order="icfo", state=None)),
    "gates-permuted+units-permuted": lambda r: simulate(r.but(order="fico"))[..., [3, 0, 1, 2, 4]],
    "gates-permuted+time-shifted": lambda r: late(simulate(r.but(order="iofc"))),
    "bias-dropped+outputs-not-reversed": lambda r: simulate(r.but(bias=None))[:, ::-1],
    "activation-swapped+recurrent-activation-swapped": lambda r: simulate(
        r.but(activation="sigmoid", recurrent_activation="tanh")
    ),
    "gates-permuted+weights-rounded": lambda r: simulate(
        reordered("iofc", "kernel", "recurrent_kernel", "bias")(
            r.but(
                **{n: NARROW["float16"](getattr(r, n)) for n in ("kernel", "recurrent_kernel")},
                bias=NARROW["float16"](r.bias),
            ),
            0,
        )
    ),
    "gates-permuted+lower-precision": lambda r: simulate(
        r.but(order="iofc", operand=NARROW["bfloat16"])
    ),
}
GRU_PAIRS = {
    "gates-permuted+reset-after-flipped": lambda r: simulate(
        r.but(order="rzh", reset_after=False, bias=r.bias.sum(axis=0))
    ),
    "gates-permuted+recurrent-bias-dropped": lambda r: simulate(
        r.but(order="rzh", bias=r.bias * np.float32([[1], [0]]))
    ),
    "gates-permuted+update-gate-inverted": lambda r: simulate(r.but(order="rzh", inverted=True)),
    "recurrent-kernel-transposed+update-gate-inverted": lambda r: simulate(
        r.but(
            inverted=True,
            recurrent_kernel=np.hstack([w.T for w in np.hsplit(r.recurrent_kernel, 3)]),
        )
    ),
}
PAIRS = [(LSTM, *pair) for pair in LSTM_PAIRS.items()] + [(GRU, *p) for p in GRU_PAIRS.items()]


@pytest.mark.parametrize(("kind", "pair", "wrong"), PAIRS, ids=lambda p: p if str(p) == p else "")
def test_two_faults_at_once(kind, pair, wrong):
    run = right_run((6, 9, 4, 5), 3, kind=kind, state=True)
    found = causes(run, wrong(run))
    assert pair in found
    # Weights and operands rounded alike differ by the inputs alone, and formats of like digits.
    assert {f.split("+")[0] for f in found} == {pair.split("+")[0]}


@pytest.mark.parametrize("kind", KINDS)
def test_mistakes_outside_the_catalogue_have_no_cause(kind):
    layer, options, _, outside = KINDS[kind]
    run = right_run((8, 9, 5, 6), kind=layer, **options)
    for name in [name for name in outside if name in SOME or name not in OUTSIDE]:
        check = examined(run, Mistake("", outside[name]).observed(run))
        assert (check.verdict, check.causes) == ("diverged", ()), name


def test_a_divergence_after_hundreds_of_timesteps():
    """A hidden state is known at the beginning alone: what differs late is tried from there."""
    run = right_run((3, 400, 4, 5), kind=LSTM)
    mask = np.ones((3, 400), bool)
    mask[:, 380:390] = False
    masked = run.but(mask=mask)
    check = examined(masked, simulate(run))
    assert check.first_divergence.timestep == 380
    assert [cause.fault for cause in check.causes] == ["mask-ignored"]


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_samples_that_are_all_masked(kind):
    run = right_run((4, 9, 5, 6), kind=kind, mask=True, state=True)
    run.mask[1] = False
    assert examined(run, simulate(run)).verdict == "parity"
    assert causes(run, simulate(run.but(state=None))) == ["initial-state-ignored"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite(value):
    run = right_run((8, 9, 5, 6), kind=GRU, **BEFORE)
    wrong = simulate(run.but(order="rzh"))
    wrong[2, 6, 1] = value
    assert causes(run, wrong) == ["gates-permuted"]


@pytest.mark.parametrize("name", NARROW)
def test_operands_next_to_a_tie_may_be_rounded_either_way(name):
    """`r h` is one, and not observed."""
    run = right_run((32, 60, 16, 16), kind=GRU, **BEFORE)
    outputs = simulate(run.but(operand=NARROW[name]))
    check = examined(run, outputs)
    assert [cause.fault for cause in check.causes] == ["lower-precision"]
    assert f"operands in {name}" in check.causes[0].explanation


def test_other_axes():
    run = right_run((8, 9, 5, 6), kind=LSTM)
    assert causes(run, simulate(run).swapaxes(0, 1)) == ["batch-time-swapped"]
    assert causes(run, np.ones((8, 9, 24), np.float32)) == []


def test_outputs_one_step_early_of_numbers_that_grow():
    """The first output is not there, and what it was rounded to must not matter."""
    run = right_run((4, 60, 16, 16), 14, "relu", kind=GRU, **KINDS["GRU"][1])
    assert causes(run, np.roll(simulate(run), -1, axis=1)) == ["time-shifted"]


def unexplained(kind, options, what):
    """A run with outputs that no fault explains, where the first timestep may tell nothing."""
    run = right_run((4, 20, 6, 8), 1, kind=kind, state=True, **options)
    if what == "NaN among the inputs":
        run.x[0, 0, 1] = np.nan
    if what == "left padded":
        mask = np.ones((4, 20), bool)
        mask[:, :3] = False
        run = run.but(mask=mask)
    with np.errstate(invalid="ignore"):
        outputs = np.nan_to_num(simulate(run), nan=0.25)
    return run, outputs + np.float32(1e-3) * np.sin(np.arange(8, dtype=np.float32))


@pytest.mark.parametrize("what", ["plain", "NaN among the inputs", "left padded"])
@pytest.mark.parametrize("name", KINDS)
def test_one_step_refutes_nearly_all_candidates(name, what, monkeypatch):
    """Thousands of pairs are tried: what is left takes a hundred times as long for each."""
    kind, options, *_ = KINDS[name]
    run, outputs = unexplained(kind, options, what)
    tried, counted = [], diagnose.closest_fit
    monkeypatch.setattr(diagnose, "closest_fit", lambda *a: tried.append(1) or counted(*a))
    assert causes(run, outputs) == []
    assert len(tried) < 20
