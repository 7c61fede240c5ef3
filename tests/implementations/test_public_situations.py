"""Situations that people describe in public, rebuilt with other numbers: the cause is named.

Real Keras layers, and ports by hand that make the mistake; files as other programs write them.
"""

import json
import re

import numpy as np
import pytest
from corpus import sigmoid

import rnn_parity as rp
from rnn_parity.cli import main as cli
from rnn_parity.keras_adapter import tensorflow_module

B, T, F, H = 6, 10, 5, 8
RNG = np.random.default_rng(7)
X = RNG.normal(size=(B, T, F)).astype("float32")


def layers():
    return tensorflow_module().keras.layers


def built(kind, units=H, **options):
    """A Keras layer with random weights, bias included."""
    layer = getattr(layers(), kind)(units, **options)
    layer.build((None, None, F))
    rng = np.random.default_rng(3)
    layer.set_weights(
        [(rng.normal(size=w.shape) * 0.5).astype(w.dtype) for w in layer.get_weights()]
    )
    return layer


def gru_steps(kernel, recurrent_kernel, bias, x, first_bias=True):
    """A GRU with `reset_after`, which may leave out its recurrent bias in the first step."""
    h, outputs = np.zeros((len(x), len(recurrent_kernel)), x.dtype), []
    for t in range(x.shape[1]):
        own = bias[1] if t or first_bias else 0 * bias[1]
        xz, xr, xh = np.split(x[:, t] @ kernel + bias[0], 3, axis=1)
        hz, hr, hh = np.split(h @ recurrent_kernel + own, 3, axis=1)
        z = sigmoid(xz + hz)
        h = z * h + (1 - z) * np.tanh(xh + sigmoid(xr + hr) * hh)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def lstm_steps(kernel, recurrent_kernel, bias, x, h=None, c=None):
    """An LSTM, all outputs and the final states."""
    h = np.zeros((len(x), len(recurrent_kernel)), x.dtype) if h is None else h
    c = np.zeros_like(h) if c is None else c
    outputs = []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent_kernel + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1), h, c


def faults(report):
    return [[cause.fault for cause in check.causes] for check in report.checks]


# The last output alone.


def test_keras_s_default_returns_one_output_and_the_port_forgot_the_gate_order():
    layer = built("LSTM")
    kernel, recurrent_kernel, bias = layer.get_weights()
    mixed = [np.concatenate(np.split(w, 4, axis=-1)[::-1], axis=-1) for w in (kernel, bias)]
    last = lstm_steps(mixed[0], recurrent_kernel, mixed[1], X)[1]
    report = rp.check(layer, X, against=last)
    assert "gates-misaligned" in faults(report)[0]
    whole = [np.concatenate(np.split(w, 4, axis=-1)[::-1], axis=-1) for w in layer.get_weights()]
    report = rp.check(layer, X, against=lstm_steps(*whole, X)[1])
    assert faults(report) == [["gates-permuted"]]
    assert "o, c, f, i" in report.checks[0].causes[0].explanation


@pytest.mark.parametrize("last", [False, True])
def test_the_backward_half_is_taken_at_the_wrong_end(last):
    inner = layers().LSTM(H, return_sequences=not last)
    both = layers().Bidirectional(inner, name="both")
    both.build((None, T, F))
    rng = np.random.default_rng(5)
    both.set_weights([(rng.normal(size=w.shape) * 0.5).astype("f") for w in both.get_weights()])
    weights = both.get_weights()
    forward = lstm_steps(*weights[:3], X)[0]
    backward = lstm_steps(*weights[3:], X[:, ::-1])[0]
    wrong = np.concatenate([forward, backward], axis=-1)
    if last:
        wrong = np.concatenate([forward[:, -1], backward[:, 0]], axis=-1)
    report = rp.check(both, X, against=wrong)
    assert [check.verdict for check in report.checks] == ["parity", "diverged"]
    fault = "backward-output-misplaced" if last else "outputs-not-reversed"
    assert faults(report)[1] == [fault]


# Printed numbers.


@pytest.mark.parametrize("form", ["%f", "%.3f", "%.9g", "%.4e"])
def test_a_c_program_prints_its_outputs(tmp_path, form):
    layer = built("GRU", return_sequences=True)
    kernel, recurrent_kernel, bias = layer.get_weights()
    y = gru_steps(kernel, recurrent_kernel, 0 * bias, X)
    path = tmp_path / "y.csv"
    np.savetxt(path, y.reshape(B * T, H), form, delimiter=",")
    report = rp.check(layer, X, against=str(path))
    assert faults(report) == [["bias-dropped"]]


def test_the_rows_of_a_table_stand_time_first(tmp_path):
    layer = built("SimpleRNN", return_sequences=True)
    y = np.asarray(layer(X)).swapaxes(0, 1)
    path = tmp_path / "y.csv"
    np.savetxt(path, y.reshape(B * T, H), "%f", delimiter=",")
    report = rp.check(layer, X, against=str(path))
    assert faults(report) == [["batch-time-swapped"]]
    assert "time first" in report.checks[0].causes[0].explanation


def test_float32_numbers_under_float64_weights():
    rng = np.random.default_rng(0)
    shapes = (F, 4 * H), (H, 4 * H), (4 * H,)
    weights = [rng.normal(size=shape) * 0.5 for shape in shapes]
    narrow = [w.astype("f") for w in weights]
    y = lstm_steps(*narrow, X)[0]
    report = rp.compare(rp.LSTM(*weights), X, y)
    (cause,) = report.checks[0].causes
    assert cause.fault == "lower-precision"
    assert "computed, or stored, in float32" in cause.explanation
    assert "cast to float32" in cause.remedy
    last = rp.compare(rp.LSTM(*weights), X, y[:, -1]).checks[0]
    assert [cause.fault for cause in last.causes] == ["lower-precision"]


# The first step.


@pytest.mark.parametrize("digits", [None, 6])
def test_a_gru_skips_its_recurrent_bias_in_the_first_step(digits):
    layer = built("GRU", return_sequences=True)
    y = gru_steps(*layer.get_weights(), X, first_bias=False)
    y = y if digits is None else np.round(y.astype(float), digits)
    report = rp.check(layer, X, against=y)
    assert faults(report) == [["first-state-differs"]]
    assert "kernel" not in report.checks[0].causes[0].remedy


def test_a_port_that_never_resets_its_state():
    layer = built("LSTM", return_sequences=True)
    kept = {}

    def port(x):
        y, h, c = lstm_steps(*layer.get_weights(), x, kept.get("h"), kept.get("c"))
        kept.update(h=h, c=c)
        return y

    again = np.random.default_rng(8).normal(size=X.shape).astype("f")
    first = rp.check(layer, X, against=port)
    second = rp.check(layer, again, against=port)
    assert (first.verdict, second.verdict) == ("parity", "diverged")
    # A second check knows nothing of the first one: what the step starts from is told.
    assert faults(second) == [["first-state-differs"]]
    samples = np.concatenate(
        [lstm_steps(*layer.get_weights(), X.reshape(1, B * T, F))[0].reshape(B, T, H)]
    )
    assert faults(rp.check(layer, X, against=samples)) == [["state-leaked"]]


PORT = """
import numpy as np

KEPT = []


def run(x, layer):
    U, W, b = (w.astype("f") for w in (layer.kernel, layer.recurrent_kernel, layer.bias))
    h = KEPT[-1] if KEPT else np.zeros((len(x), len(W)), "f")
    outputs = []
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ U + h @ W + b)
        outputs.append(h)
    KEPT.append(h)
    return np.stack(outputs, axis=1)
"""


def test_a_state_that_is_left_over_from_the_call_before(tmp_path, capsys, monkeypatch):
    """Several calls of one layer in one check."""
    (tmp_path / "leaking_port.py").write_text(PORT)
    monkeypatch.chdir(tmp_path)
    options = ["--calls", "2", "--batch", "4", "--format", "json"]
    code = cli.main(["check", "--against", "leaking_port:run", *options])
    answer = capsys.readouterr()
    checks = json.loads(answer.out)["checks"]
    assert code == 1
    assert [check["verdict"] for check in checks] == ["parity", "diverged"]
    (cause,) = checks[1]["causes"]
    assert cause["fault"] == "state-leaked"
    assert "the call starts from the final state of the call before" in cause["explanation"]


@pytest.mark.parametrize("which", ["given", "returned"])
def test_one_state_stands_for_both(which):
    layer = built("LSTM", return_sequences=True, return_state=True)
    rng = np.random.default_rng(4)
    state = [rng.uniform(-1, 1, (B, H)).astype("f") for _ in range(2)]
    h, c = state if which == "returned" else (state[0], state[0])
    y, h, c = lstm_steps(*layer.get_weights(), X, h, c)
    states = (h, h) if which == "returned" else (h, c)
    weights = rp.LSTM(*layer.get_weights())
    check = rp.compare(weights, X, y, states, initial_state=state).checks[0]
    assert [cause.fault for cause in check.causes] == ["state-mixed"]


def test_a_backward_layer_reads_its_initial_state_from_the_wrong_place():
    weights = rp.GRU(*built("GRU").get_weights(), go_backwards=True)
    state = np.random.default_rng(6).uniform(-1, 1, (B, H)).astype("f")
    wrong = rp.replay(weights, X, initial_state=np.roll(state, 1, axis=0)).outputs.astype("f")
    check = rp.compare(weights, X, wrong, initial_state=state).checks[0]
    (cause,) = check.causes
    assert cause.fault == "first-state-differs"
    sample, number = re.search(
        r"sample (\d+) starts as if from h = \[([^,]*),", cause.explanation
    ).groups()
    assert float(number) == pytest.approx(state[int(sample) - 1, 0], abs=1e-4)


# The order in memory.


def test_raw_cudnn_weights_as_keras_s_own_loader_finds_them():
    """What `keras.src.legacy.saving.legacy_h5_format` undoes for the weights of CuDNNLSTM."""
    layer = built("LSTM", return_sequences=True)
    kernel, recurrent_kernel, bias = layer.get_weights()
    raw_kernel = np.hstack([k.T.reshape(k.shape, order="C") for k in np.hsplit(kernel, 4)])
    raw_recurrent = np.hstack([k.T for k in np.hsplit(recurrent_kernel, 4)])
    back = np.hstack([k.T.reshape(k.shape, order="F") for k in np.hsplit(raw_kernel, 4)])
    np.testing.assert_array_equal(back, kernel)
    report = rp.check(layer, X, against=lstm_steps(raw_kernel, raw_recurrent, bias, X)[0])
    assert faults(report) == [["kernel-misread"]]
    assert "cuDNN" in report.checks[0].causes[0].explanation


def test_a_matrix_that_fortran_or_matlab_wrote(tmp_path):
    layer = built("SimpleRNN", return_sequences=True)
    kernel, recurrent_kernel, bias = layer.get_weights()
    read = np.frombuffer(kernel.tobytes(order="F"), "f").reshape(kernel.shape)
    port = rp.SimpleRNN(read, recurrent_kernel, bias)
    report = rp.check(layer, X, against=rp.replay(port, X).outputs.astype("f"))
    assert faults(report) == [["kernel-misread"]]
    assert "column by column" in report.checks[0].causes[0].explanation


# Biases.


def test_pytorch_has_two_biases_and_one_is_left_behind():
    layer = built("GRU", return_sequences=True)
    kernel, recurrent_kernel, bias = layer.get_weights()
    left = bias.copy()
    left[1, : 2 * H] = 0
    report = rp.check(layer, X, against=gru_steps(kernel, recurrent_kernel, left, X))
    (cause,) = report.checks[0].causes
    assert cause.fault == "bias-differs"
    assert "the recurrent bias of the gates z and r is left out" in cause.explanation


# Masks and padding.


MASK = np.arange(T) < np.array([10, 7, 3, 10, 5, 8])[:, None]


def packed(weights, x):
    """What packed sequences give: zeros after the end of each."""
    y = rp.replay(rp.LSTM(*weights), x, mask=MASK).outputs.astype("f")
    return y * MASK[..., None]


def test_packed_sequences_give_zeros_where_keras_repeats():
    layer = built("LSTM", return_sequences=True)
    report = rp.check(layer, X, mask=MASK, against=packed(layer.get_weights(), X))
    assert faults(report) == [["masked-output-zeroed"]]


@pytest.mark.parametrize("zeroed", [False, True])
def test_the_advice_on_an_ignored_mask_fits_the_layer(zeroed):
    options = {"zero_output_for_mask": True} if zeroed else {}
    weights = built("SimpleRNN").get_weights()
    layer = rp.SimpleRNN(*weights, **options)
    wrong = rp.replay(layer, X).outputs.astype("f")
    (cause,) = rp.compare(layer, X, wrong, mask=MASK).checks[0].causes
    assert cause.fault == "mask-ignored"
    assert ("write zeros" in cause.remedy) is zeroed


# Layout.


def test_inputs_that_are_reshaped_where_they_should_be_transposed():
    layer = built("GRU", return_sequences=True)
    time_major = np.ascontiguousarray(X.swapaxes(0, 1)).reshape(X.shape)
    y = gru_steps(*layer.get_weights(), time_major)
    assert faults(rp.check(layer, X, against=y)) == [["inputs-reshaped"]]


def test_a_buffer_that_is_filled_after_the_step():
    layer = built("SimpleRNN", return_sequences=True)
    late = np.concatenate([0 * X[:, :1], X[:, :-1]], axis=1)
    y = rp.replay(rp.SimpleRNN(*layer.get_weights()), late).outputs.astype("f")
    assert faults(rp.check(layer, X, against=y)) == [["inputs-shifted"]]


# Nothing fits.


def test_a_lookup_table_for_tanh_looks_like_few_bits():
    weights = built("SimpleRNN").get_weights()
    layer, h, outputs = rp.SimpleRNN(*weights), np.zeros((B, H), "f"), []
    for t in range(T):
        z = X[:, t] @ weights[0] + h @ weights[1] + weights[2]
        h = np.tanh(np.round(z * 256) / 256).astype("f")
        outputs.append(h)
    check = rp.compare(layer, np.asarray(X), np.stack(outputs, axis=1)).checks[0]
    assert check.causes == ()
    notes = " ".join(check.notes)
    assert f"all {H} units, in all {B} samples, in all {T} timesteps" in notes
    assert "stays about constant" in notes
    assert "look like noise" in notes
