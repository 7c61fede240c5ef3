"""Both directions of a wrapper: numbers worked out by hand, and which part is to blame."""

import inspect

import numpy as np
import pytest
from keras_layers import (
    ADDS,
    COUNT,
    MASK,
    B,
    F,
    H,
    T,
    X,
    layers,
    plain,
    randomised,
    states,
    tf,
    verdicts,
)

import rnn_parity as rp
from rnn_parity import keras_adapter as ka
from rnn_parity.errors import UnsupportedError

KERAS_3 = hasattr(tf.keras, "ops")


def adder(**options):
    return layers.SimpleRNN(1, **ADDS, **{"return_sequences": True, **options})


@pytest.mark.parametrize("mode", ka.MODES)
@pytest.mark.parametrize("merge_mode", ["concat", None])
def test_both_directions_by_hand(mode, merge_mode):
    layer = layers.Bidirectional(adder(name="add"), merge_mode=merge_mode, name="both")
    forward, backward, merged = ka.observe_layer(layer, COUNT, mode=mode)
    names = [seen.layer_name for seen in (forward, backward, merged)]
    assert names == ["both/forward/add", "both/backward/add", "both/merge"]
    assert forward.outputs.ravel().tolist() == [1, 3, 7]
    assert backward.outputs.ravel().tolist() == [4, 6, 7]
    assert (forward.weights.go_backwards, backward.weights.go_backwards) == (False, True)
    assert np.array_equal(backward.inputs, COUNT)
    returned = np.concatenate(merged.merge.whole.returned, axis=-1)
    assert returned.tolist() == [[[1, 7], [3, 6], [7, 4]]]
    assert merged.weights is None
    assert len(rp.check(layer, COUNT, mode=mode).checks) == 3


@pytest.mark.parametrize(
    ("merge_mode", "expected"),
    [("sum", [8, 9, 11]), ("mul", [7, 18, 28]), ("ave", [4, 4.5, 5.5])],
)
def test_merged_by_hand(merge_mode, expected):
    layer = layers.Bidirectional(adder(), merge_mode=merge_mode)
    *_, merged = ka.observe_layer(layer, COUNT, mode="eager")
    assert merged.merge.whole.returned[0].ravel().tolist() == expected
    assert merged.merge.mode == merge_mode
    assert rp.check(layer, COUNT).verdict == "parity"


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("sequences", [True, False])
def test_two_different_layers_with_states_and_mask(mode, sequences):
    options = {"return_sequences": sequences, "return_state": True}
    back = layers.GRU(H, go_backwards=True, name="back", **options)
    there = layers.SimpleRNN(H, name="there", **options)
    layer = randomised(layers.Bidirectional(there, "sum", backward_layer=back, name="both"))
    given = states(H, H)
    expected = plain(layer, X, mask=tf.constant(MASK), initial_state=[*map(tf.constant, given)])
    forward, backward, merged = ka.observe_layer(layer, X, MASK, given, mode)
    assert (forward.layer_class, backward.layer_class) == ("SimpleRNN", "GRU")
    assert backward.layer_name == "both/backward/back"
    assert np.array_equal(*forward.initial_state, given[0])
    assert np.array_equal(*backward.initial_state, given[1])
    assert np.array_equal(forward.mask, MASK)
    assert np.array_equal(backward.mask, MASK)
    assert forward.outputs.shape == backward.outputs.shape == (B, T, H)
    for array, wanted in zip(merged.merge.whole.returned, expected, strict=True):
        np.testing.assert_allclose(array, wanted, atol=1e-6)
    assert forward.weights.zero_output_for_mask == sequences
    report = rp.check(layer, X, MASK, given, mode=mode)
    assert verdicts(report) == dict.fromkeys(verdicts(report), "parity")
    rows = [row.name for row in report.checks[2].final_state]
    assert rows == ["output"] * (not sequences) + ["forward h", "backward h"]


@pytest.mark.parametrize("mode", ka.MODES)
def test_stateful_directions_keep_their_own_states(mode):
    layer = randomised(layers.Bidirectional(layers.LSTM(H, stateful=True), name="both"))
    found = ka.observe_layer(layer, [X, X + 1], mode=mode)
    assert [seen.call for seen in found] == [0, 0, 0, 1, 1, 1]
    for first, second in zip(found[:2], found[3:5], strict=True):
        assert not np.any(first.initial_state)
        assert all(map(np.array_equal, first.final_state, second.initial_state))
    assert not np.array_equal(found[3].initial_state, found[4].initial_state)


def test_stack_inside_both_directions():
    stack = layers.RNN([layers.LSTMCell(H), layers.GRUCell(2)], return_sequences=True, name="rnn")
    layer = randomised(layers.Bidirectional(stack, name="both"))
    found = verdicts(rp.check(layer, X, MASK))
    cells = [cell.name for cell in layer.forward_layer.cell.cells]
    assert found == dict.fromkeys(
        [
            *(
                f"both/{side}/rnn/cell_{i}/{cells[i]}"
                for side in ("forward", "backward")
                for i in (0, 1)
            ),
            "both/merge",
        ],
        "parity",
    )


def instead(monkeypatch, change):
    """Bidirectional's `call` returns `change(call, self, arguments)`, as a wrong one would."""
    own = layers.Bidirectional.call

    def call(self, *args, **kwargs):
        return change(lambda *a, **k: own(self, *a, **k), args, kwargs)

    call.__signature__ = inspect.signature(own)
    monkeypatch.setattr(layers.Bidirectional, "call", call)


def bidirectional(**options):
    layer = layers.LSTM(H, return_sequences=True, return_state=True, name="lstm")
    return randomised(layers.Bidirectional(layer, name="both", **options))


def test_wrong_merge_is_named(monkeypatch):
    layer = bidirectional()

    def swapped(call, args, kwargs):
        outputs, *rest = call(*args, **kwargs)
        return (tf.concat([outputs[..., H:], outputs[..., :H]], -1), *rest)

    instead(monkeypatch, swapped)
    report = rp.check(layer, X)
    assert verdicts(report) == {
        "both/forward/lstm": "parity",
        "both/backward/lstm": "parity",
        "both/merge": "diverged",
    }
    assert "both/merge (Bidirectional, mode graph)" in report.summary
    assert report.exit_code == 1
    instead(monkeypatch, lambda call, args, kwargs: tuple(reversed(call(*args, **kwargs))))
    assert verdicts(rp.check(layer, X))["both/merge"] == "diverged"


def test_wrong_hand_over_is_named(monkeypatch):
    layer = bidirectional()
    given = states(H, H, H, H)

    def unmasked(call, args, kwargs):
        return call(*args, **{**kwargs, "mask": None})

    instead(monkeypatch, unmasked)
    check = rp.check(layer, X, MASK).checks[2]
    assert check.summary == (
        "the forward layer was given another mask than the wrapper; "
        "the backward layer was given another mask than the wrapper"
    )
    monkeypatch.undo()
    instead(
        monkeypatch,
        lambda call, args, kwargs: call(
            *args, **{**kwargs, "initial_state": kwargs["initial_state"][::-1]}
        ),
    )
    check = rp.check(layer, X, None, given).checks[2]
    assert check.summary.startswith("the forward layer was not given its half of the initial ")


def test_wrong_part_is_named():
    layer = bidirectional()
    own = layer.backward_layer.call

    def shifted(sequences, initial_state=None, mask=None, training=False):
        result = own(sequences, initial_state=initial_state, mask=mask)
        return type(result)([result[0] + 0.01, *result[1:]])

    layer.backward_layer.__dict__["call"] = shifted
    report = rp.check(layer, X)
    assert verdicts(report) == {
        "both/forward/lstm": "parity",
        "both/backward/lstm": "diverged",
        "both/merge": "parity",
    }
    assert layer.backward_layer.__dict__["call"] is shifted


@pytest.mark.parametrize("method", ["call", "__call__"])
def test_a_merge_of_ones_own_is_not_compared(method):
    def doubled(self, *args, **kwargs):
        return getattr(layers.Bidirectional, method)(self, *args, **kwargs) * 2

    attentive = type("Attentive", (layers.Bidirectional,), {method: doubled})
    layer = randomised(attentive(layers.GRU(H), name="both"))
    report = rp.check(layer, X)
    assert list(verdicts(report).values()) == ["parity", "parity", "inconclusive"]
    assert "Attentive overrides Bidirectional's call" in report.checks[2].summary
    assert report.exit_code == 3


def test_a_mask_that_keras_loses_is_noted_for_every_part():
    """Keras 3 drops a propagated mask as soon as the wrapper is given initial states."""
    tokens = tf.keras.Input((T,), dtype="int32")
    start = [tf.keras.Input((H,)) for _ in range(2)]
    embedded = layers.Embedding(5, F, mask_zero=True)(tokens)
    both = layers.Bidirectional(layers.GRU(H, return_sequences=True, name="gru"), name="both")
    model = tf.keras.Model([tokens, *start], both(embedded, initial_state=start))
    data = np.array([[1, 2, 0, 3, 0, 0]] * B, "int32")
    for check in rp.check(model, [data, *states(H, H)]).checks:
        assert check.verdict == "parity"
        assert ["Keras does not hand it" in note for note in check.notes] == [True] * KERAS_3


def test_weights_are_those_of_the_layers_inside():
    layer = bidirectional()
    with pytest.raises(UnsupportedError, match="replayed in parts alone"):
        rp.replay(layer, X)
    assert rp.replay(layer.backward_layer, X).outputs.shape == (B, T, H)
