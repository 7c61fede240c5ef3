"""Calls in training: the replay takes the dropout masks that Keras used in the very call."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
from keras_layers import MASK, B, F, H, T, X, keras, layers, plain, tf, verdicts

import rnn_parity as rp
from rnn_parity import keras_adapter as ka
from rnn_parity.cases import read_case
from rnn_parity.check import judged
from rnn_parity.cli import main
from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.dropout import EACH_STEP, IN_TRAINING, REDRAWN
from rnn_parity.recheck import check_case, record

KERAS_3 = hasattr(keras, "ops")
BOTH = {"dropout": 0.4, "recurrent_dropout": 0.3}
TRAINED = [mode for mode in ka.MODES if mode != "predict"]
GATES = {"simple_rnn": 1, "lstm": 4, "gru": 3}


def build(kind, **arguments):
    return ka.build_layer(kind, H, F, arguments, None, seed=1, batch=B)


def judge(found):
    return list(judged(found, "layer"))


def redrawn(mode, unroll=False):
    """Keras 2 draws other masks in every step of a graph's loop: a finding, see REDRAWN."""
    return not KERAS_3 and mode != "eager" and not unroll


KINDS = {
    "simple_rnn": ("simple_rnn", BOTH),
    "lstm": ("lstm", BOTH),
    "gru": ("gru", BOTH),
    "gru before": ("gru", {"reset_after": False, **BOTH}),
    "rnn, a mask for each gate": ("rnn", {"cell": "gru", "implementation": 1, "dropout": 0.4}),
    "stacked": ("stacked", BOTH),
    "bidirectional": ("bidirectional", {"layer": "gru", **BOTH}),
}


@pytest.mark.parametrize("mode", TRAINED)
@pytest.mark.parametrize("kind", KINDS)
def test_in_training_every_layer_is_in_parity(kind, mode):
    name, arguments = KINDS[kind]
    layer = build(name, return_sequences=True, **arguments)
    report = rp.check(layer, X, MASK, mode=mode, training=True)
    for check in report.checks:
        if check.subject.layer_class == "Bidirectional":
            continue
        assert IN_TRAINING in check.notes
        assert (REDRAWN in check.notes) == redrawn(mode)
        assert check.verdict == ("diverged" if redrawn(mode) else "parity")


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("kind", ["simple_rnn", "lstm", "gru"])
def test_unrolled_and_of_the_last_output_alone(kind, mode):
    layer = build(kind, unroll=True, go_backwards=True, **BOTH)
    (check,) = rp.check(layer, X, mode=mode, training=True).checks
    assert (check.verdict, check.notes) == ("parity", (IN_TRAINING,))
    assert "output" in [row.name for row in check.final_state]


@pytest.mark.parametrize("mode", ["graph", "xla"])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_one_mask_for_all_gates(kind, mode):
    """Keras 2's path for cuDNN has one for every timestep, which the inputs are seen after."""
    layer = build(kind, dropout=0.4, return_sequences=True)
    (seen,) = ka.observe_layer(layer, X, mode=mode, training=True)
    assert judge([seen])[0].verdict == "parity"
    if KERAS_3:
        assert seen.dropout_inputs.shape == (GATES[kind], B, F)
        assert (seen.dropout_inputs == seen.dropout_inputs[0]).all()
        assert np.array_equal(seen.inputs, X)
    else:
        assert seen.notes == (EACH_STEP,)
        ratio = np.unique((seen.inputs / X).round(5))
        assert ratio.tolist() == pytest.approx([0, 1 / 0.6], abs=1e-5)


def adds(rates):
    """One unit that adds up: kernel and recurrent kernel 1, no bias, linear."""
    ones = {"kernel_initializer": "ones", "recurrent_initializer": "ones"}
    return layers.SimpleRNN(
        1, activation=None, use_bias=False, return_sequences=True, **ones, **rates
    )


@pytest.mark.parametrize("seed", range(4))
def test_by_hand_what_the_masks_do(seed):
    """At a rate of 1/2 a mask m is 0 or 2, and of inputs 1 the outputs are 1, 1 + m, 1 + m + mm."""
    keras.utils.set_random_seed(seed)
    ones = np.ones((1, 3, 1), "float32")
    (seen,) = ka.observe_layer(adds({"recurrent_dropout": 0.5}), ones, mode="eager", training=True)
    m = float(seen.dropout_recurrent[0, 0, 0])
    assert m in (0.0, 2.0)
    assert seen.outputs.ravel().tolist() == ([1, 1, 1] if m == 0 else [1, 3, 7])
    (seen,) = ka.observe_layer(adds({"dropout": 0.5}), ones, mode="eager", training=True)
    m = float(seen.dropout_inputs[0, 0, 0])
    assert seen.outputs.ravel().tolist() == ([0, 0, 0] if m == 0 else [2, 4, 6])


HALF, ONE = 0.5, 1.0
STEPS = {
    # z = h m W = 1/2, r = 1; the candidate is (r h m) W = 2; z h + (1 - z) 2, h without a mask.
    "gru": ([0.25, HALF, ONE], [2, 2, 2], 1.5),
    # r = 0: the candidate is 0.
    "gru, r dropped": ([0.25, HALF, ONE], [2, 0, 2], 0.5),
    # z = 0: the candidate alone.
    "gru, z dropped": ([0.25, HALF, ONE], [0, 2, 2], 2.0),
    # i = 1/2, f = 0, g = 2, o = 1: c = 0 * 1 + 1/2 * 2 = 1.
    "lstm, f dropped": ([0.25, HALF, ONE, HALF], [2, 0, 2, 2], 1.0),
    # i = 1/2, f = 1, g = 0, o = 1: c = 1 * 1 + 0.
    "lstm, c dropped": ([0.25, HALF, ONE, HALF], [2, 2, 0, 2], 1.0),
    # o = 0.
    "lstm, o dropped": ([0.25, HALF, ONE, HALF], [2, 2, 2, 0], 0.0),
}


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("name", STEPS)
def test_one_step_by_hand(name, reset_after):
    """One linear unit without inputs or biases, from a state of ones, with masks handed to it."""
    kind = name.partition(",")[0]
    weights, masks, expected = STEPS[name]
    own = {"reset_after": reset_after} if kind == "gru" else {}
    layer = ka.build_layer(
        kind,
        1,
        1,
        {"activation": None, "recurrent_activation": None, "use_bias": False}
        | {"recurrent_dropout": 0.5, "return_sequences": True, **own},
        None,
        seed=0,
        batch=1,
    )
    layer.cell.recurrent_kernel.assign([weights])
    masks = np.array(masks, "float32").reshape(-1, 1, 1)
    states = [np.ones((1, 1), "float32")] * (2 if kind == "lstm" else 1)
    (seen,) = ka.observe_layer(
        layer, np.zeros((1, 1, 1)), None, states, "graph", True, {"dropout_recurrent": masks}
    )
    assert seen.outputs.item() == expected
    assert np.array_equal(seen.dropout_recurrent, masks)
    assert judge([seen])[0].verdict == "parity"


def layer_and_cells(layer):
    return [layer, *([layer.cell] if hasattr(layer, "cell") else [])]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("sequences", [True, False])
def test_the_layer_is_left_as_after_one_plain_call(sequences, training):
    observed, called = (build("lstm", return_sequences=sequences, **BOTH) for _ in range(2))
    before = [set(vars(one)) for one in layer_and_cells(observed)]
    if KERAS_3:
        state = observed.cell.seed_generator.state
        called.cell.seed_generator.state.assign(state)
    (seen,) = ka.observe_layer(observed, X, mode="eager", training=training)
    plain_result = plain(called, X, training=training)[0]
    methods = ("call", "get_dropout_mask", "get_dropout_mask_for_cell")
    for own, one in zip(before, layer_and_cells(observed), strict=True):
        assert not {n for n in set(vars(one)) - own if n in methods}
    if KERAS_3:
        returned = seen.outputs if sequences else seen.last_output
        assert np.array_equal(returned, plain_result)
        assert np.array_equal(state, called.cell.seed_generator.state)


def test_without_training_nothing_is_dropped():
    layer = build("simple_rnn", return_sequences=True, **BOTH)
    (seen,) = ka.observe_layer(layer, X, mode="eager")
    assert (seen.dropout_inputs, seen.dropout_recurrent, seen.notes) == (None, None, ())
    (check,) = rp.check(layer, X).checks
    assert check.verdict == "parity"
    assert "dropout-active" in check.sensitivity.visible
    assert "dropout-ignored" not in check.sensitivity.visible


class Trained(keras.Model):
    """Dropout between recurrent layers, one of them in training whatever the model is."""

    def __init__(self):
        super().__init__()
        self.first = layers.LSTM(H, return_sequences=True, unroll=True, name="first", **BOTH)
        self.between = layers.Dropout(0.5)
        self.always = layers.GRU(
            H, return_sequences=True, unroll=True, name="always", recurrent_dropout=0.5
        )
        inner = keras.Sequential(
            [keras.Input((T, H)), layers.LSTM(2, unroll=True, name="in", **BOTH)]
        )
        self.each = layers.TimeDistributed(inner, name="each")

    def call(self, x, training=None):
        x = self.between(self.first(x, training=training), training=training)
        x = self.always(x, training=True)
        return self.each(tf.stack([x, 2 * x], axis=1), training=training)


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("training", [True, False])
def test_whole_models(mode, training):
    model = Trained()
    model(X)
    report = rp.check(model, X, mode=mode, training=training)
    assert set(verdicts(report).values()) == {"parity"}
    in_training = {c.subject.layer_name for c in report.checks if IN_TRAINING in c.notes}
    assert len(verdicts(report)) == 3
    assert in_training == ({*verdicts(report)} if training else {"always"})


def test_a_model_that_drops_out_in_predict():
    inputs = keras.Input((T, F))
    outputs = layers.SimpleRNN(H, unroll=True, **BOTH)(inputs, training=True)
    (check,) = rp.check(keras.Model(inputs, outputs), X, mode="predict").checks
    assert (check.verdict, check.notes) == ("parity", (IN_TRAINING,))


def test_modes_in_training():
    layer = build("simple_rnn", dropout=0.5)
    found = rp.check(layer, X, mode="all", training=True).checks
    assert [check.subject.mode for check in found] == TRAINED
    with pytest.raises(InputError, match="expected one of eager, graph, xla, all, received 'predi"):
        rp.check(layer, X, mode="predict", training=True)
    with pytest.raises(InputError, match="no other implementation gets the dropout masks"):
        rp.check(layer, X, against=np.zeros((B, T, H)), training=True)


@pytest.mark.parametrize("kind", ["simple_rnn", "lstm", "gru"])
def test_a_case_is_checked_again_with_its_masks(tmp_path, kind):
    layer = build(kind, return_sequences=True, unroll=True, **BOTH)
    path = tmp_path / "case.npz"
    assert record(ka.observe_layer(layer, X, mode="eager", training=True), path)
    case = read_case(path)
    assert case.dropout_inputs.shape == (GATES[kind], B, F)
    assert case.dropout_recurrent.shape == (GATES[kind], B, H)
    assert (case.dropout_inputs == 0).any()
    then, now = check_case(path).checks
    assert then.verdict == now.verdict == "parity"
    assert "the same, bit for bit" in now.notes[-1]
    assert IN_TRAINING in then.notes
    (alone,) = check_case(path, keras=False).checks
    assert alone.verdict == "parity"
    (other,) = check_case(path, against=lambda x: np.zeros((B, T, H))).checks
    assert (other.verdict, other.subject.mode) == ("inconclusive", None)
    assert "no other implementation gets its dropout masks" in other.summary


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("sequences", [True, False])
def test_masks_handed_to_one_mask_for_all_gates(sequences, mode):
    """Of Keras 2's path for cuDNN they are spread over the timesteps."""
    layer = build("gru", return_sequences=sequences, dropout=0.5)
    mask = np.array([[[0, 2, 2, 0], [2, 2, 0, 2], [2, 0, 0, 2]]] * 3, "float32")
    (seen,) = ka.observe_layer(layer, X, None, None, mode, True, {"dropout_inputs": mask})
    assert judge([seen])[0].verdict == "parity"
    if KERAS_3:
        assert np.array_equal(seen.dropout_inputs, mask)
    else:
        assert np.array_equal(seen.inputs, X * mask[0][:, np.newaxis])


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_keras_3_fails_where_every_gate_has_a_mask_for_the_inputs_alone(kind):
    """It takes the list of masks for one: `expand_dims` of several is no mask of the inputs."""
    layer = build(kind, dropout=0.5, implementation=1, unroll=True)
    refused = pytest.raises(InputError, match="Keras refused") if KERAS_3 else nullcontext()
    with refused:
        rp.check(layer, X, mode="eager", training=True)


@pytest.mark.skipif(not KERAS_3, reason="Keras 2 refuses a rate of 1")
@pytest.mark.parametrize("rate", ["dropout", "recurrent_dropout"])
@pytest.mark.parametrize("kind", GATES)
def test_keras_3_drops_nothing_at_a_rate_of_1_in_layers_with_gates(kind, rate):
    """Their cells multiply with masks where `0 < rate < 1`, a SimpleRNN's where there are any."""
    layer = build(kind, return_sequences=True, **{rate: 1.0})
    (check,) = rp.check(layer, X, mode="eager", training=True).checks
    assert check.verdict == ("parity" if kind == "simple_rnn" else "diverged")
    assert [cause.fault for cause in check.causes] == ["dropout-ignored"] * (kind != "simple_rnn")


def test_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sizes = "--layer gru --units 3 --features 2 --timesteps 3 --batch 2 --arg unroll=True"
    line = [
        *f"--training {sizes}".split(),
        "--arg",
        "dropout=0.4",
        "--arg",
        "recurrent_dropout=0.3",
    ]
    assert main(["record", *line, "-o", "case.npz"]) == 0
    assert " ".join(IN_TRAINING.split()) in " ".join(capsys.readouterr().out.split())
    assert main(["check", "case.npz", "-q"]) == 0
    assert main(["record", *line, "-o", "same.npz"]) == 0
    for name in ("dropout_inputs", "dropout_recurrent"):  # which follow from --seed
        masks, again = (getattr(read_case(path), name) for path in ("case.npz", "same.npz"))
        assert np.array_equal(masks, again)
    inputs = keras.Input((3, 2))
    layer = layers.SimpleRNN(3, unroll=True, dropout=0.4)
    keras.Model(inputs, layer(inputs)).save("model.keras")
    capsys.readouterr()
    assert main(["check", "model.keras", "--training", "--format", "json"]) == 0
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert check["notes"] == [IN_TRAINING]
