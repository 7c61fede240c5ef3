"""Layers and models called in training: parity, asked for in every way."""

import json

import numpy as np
import pytest
from keras_layers import MASK, B, F, H, T, X, keras, layers, tf, verdicts
from keras_training import BOTH, GATES, KERAS_3, TRAINED, build, judge

import rnn_parity as rp
from rnn_parity import keras_adapter as ka
from rnn_parity.api.recorded import check_case, record
from rnn_parity.cases.case import read_case
from rnn_parity.cli.main import main
from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.dropout import IN_TRAINING, REDRAWN
from rnn_parity.pytest_plugin.fixture import RnnParity


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


@pytest.mark.skipif(KERAS_3, reason="Keras 3 needs to know it beforehand")
@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("training", [True, False])
def test_a_tensor_that_says_whether_it_is_training(training, mode):
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.rnn = layers.SimpleRNN(H, unroll=True, **BOTH)

        def call(self, x):
            return self.rnn(x, training=(tf.reduce_sum(x * x) > 0) == training)

    model = Model()
    model(X)
    (seen,) = ka.observe_model(model, X, mode)
    assert judge([seen])[0].verdict == "parity"
    assert (seen.dropout_inputs is None or (seen.dropout_inputs == 1).all()) == (not training)


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


def test_the_fixture_of_a_test_suite(tmp_path):
    fixture = RnnParity([], lambda name: tmp_path, root=tmp_path)
    layer = build("simple_rnn", unroll=True, return_sequences=True, **BOTH)
    assert fixture.check(layer, X, training=True).checks[0].notes == (IN_TRAINING,)


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
