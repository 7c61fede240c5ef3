"""Other implementations of a layer, a model or a case, checked in place of Keras."""

import numpy as np
import pytest
from hand_case import OUTPUTS, make
from helpers import loop, random_weights

import rnn_parity as rp
from rnn_parity.api.functions import check_generated, check_model
from rnn_parity.api.generated import GeneratedLayer
from rnn_parity.api.judging import judged
from rnn_parity.api.recorded import check_case, refuse_cases
from rnn_parity.cases.case import write_case
from rnn_parity.errors import InputError, MissingPackageError
from rnn_parity.implementations.against import call_to_compute, layer_computed_by
from rnn_parity.implementations.request import Answer
from rnn_parity.implementations.sources import Source, implementation
from rnn_parity.keras_adapter import tensorflow_module
from rnn_parity.recurrence.cells import Cell

BACKWARDS = {"go_backwards": True}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def weights(rng):
    return random_weights(rng, 3, 4)


@pytest.fixture
def inputs(rng):
    return rng.normal(size=(2, 5, 3)).astype("float32")


def without_bias(weights):
    return {**weights, "bias": None}


def keras_layer(weights, name=None, **options):
    layers = tensorflow_module().keras.layers
    layer = layers.SimpleRNN(weights["kernel"].shape[1], name=name, **options)
    layer.build((None, None, weights["kernel"].shape[0]))
    layer.set_weights(list(weights.values()))
    return layer


def test_weights_alone_without_tensorflow(weights, inputs):
    layer = rp.SimpleRNN(**weights)
    report = rp.check(layer, inputs, against=lambda x: loop(weights, x))
    (check,) = report.checks
    assert (report.verdict, check.subject.against, check.subject.mode) == (
        "parity",
        "<lambda>",
        None,
    )
    wrong = rp.check(layer, inputs, against=lambda x: loop(without_bias(weights), x))
    assert [cause.fault for cause in wrong.checks[0].causes] == ["bias-dropped"]


def test_weights_alone_compute_nothing(weights, inputs):
    with pytest.raises(InputError, match="expected an implementation of these weights"):
        rp.check(rp.SimpleRNN(**weights), inputs)


def test_the_mask_and_the_state_are_those_of_the_check(weights, inputs, rng):
    mask, state = rng.random((2, 5)) < 0.6, rng.normal(size=(2, 4)).astype("float32")
    found = {}

    def port(x, mask, initial_state):
        found.update(mask=mask, state=initial_state)
        return loop(weights, x, state=initial_state)

    layer = rp.SimpleRNN(**weights)
    report = rp.check(layer, inputs, mask, state, against=port)
    assert (found["mask"] == mask).all()
    assert (found["state"] == state).all()
    assert [cause.fault for cause in report.checks[0].causes] == ["mask-ignored"]
    assert rp.check(layer, inputs, None, state, against=port)


def test_several_are_checked_one_by_one(weights, inputs):
    right, wrong = loop(weights, inputs), loop(without_bias(weights), inputs)
    report = rp.check(rp.SimpleRNN(**weights), inputs, against=[right, wrong, lambda x: right])
    assert [c.verdict for c in report.checks] == ["parity", "diverged", "parity"]
    assert [c.subject.against for c in report.checks] == ["array 1", "array 2", "<lambda>"]


def test_a_final_state_is_checked(weights, inputs):
    outputs = loop(weights, inputs)
    layer = rp.SimpleRNN(**weights)
    assert rp.check(layer, inputs, against=lambda x: (outputs, outputs[:, -1]))
    report = rp.check(layer, inputs, against=lambda x: (outputs, outputs[:, -2]))
    assert [cause.fault for cause in report.checks[0].causes] == ["final-state-stale"]
    with pytest.raises(InputError, match="expected outputs and the final state h, received 2 st"):
        rp.check(layer, inputs, against=lambda x: (outputs, outputs[:, -1], outputs[:, -1]))


def test_an_implementation_may_have_weights_of_its_own(weights, inputs):
    theirs = rp.SimpleRNN(**without_bias(weights))
    seen = call_to_compute(rp.SimpleRNN(**weights), inputs, None, None)
    answer = Answer(loop(without_bias(weights), inputs), (), ("a note",), theirs)
    now = layer_computed_by(seen, Source("theirs", lambda request: answer))
    assert now.weights is theirs
    assert now.notes == ("a note",)
    (check,) = judged([seen], "layer", others=[Source("theirs", lambda request: answer)])
    assert (check.verdict, check.notes) == ("parity", ("a note",))


def test_another_shape_is_a_result(weights, inputs):
    outputs = loop(weights, inputs)
    report = rp.check(rp.SimpleRNN(**weights), inputs, against=outputs.swapaxes(0, 1))
    assert report.verdict == "diverged"
    assert "transpose(1, 0, 2) would help" in report.summary


def test_no_numbers_have_diverged(weights, inputs):
    outputs = loop(weights, inputs)
    outputs[1, 3, 2] = np.nan
    report = rp.check(rp.SimpleRNN(**weights), inputs, against=outputs)
    assert report.verdict == "diverged"
    assert report.checks[0].first_divergence.timestep == 3


def test_a_keras_layer_with_its_options(weights, inputs):
    layer = keras_layer(weights, **BACKWARDS)
    right = loop(weights, inputs[:, ::-1])
    report = rp.check(layer, inputs, against=[right, loop(weights, inputs)], mode="all")
    # Keras returned the last output alone; nothing of it is left.
    assert report.checks[0].final_state == ()
    assert [c.verdict for c in report.checks] == ["parity", "diverged"]
    assert report.checks[1].causes[0].fault == "inputs-reversed"
    assert report.checks[0].subject.config["go_backwards"] is True


def model(rng):
    keras = tensorflow_module().keras
    first = keras_layer(random_weights(rng, 3, 4), "first", return_sequences=True)
    second = keras_layer(random_weights(rng, 4, 2), "second")
    return keras.Sequential([keras.Input((5, 3)), first, second])


def test_one_layer_of_a_model_is_computed_by_the_source(rng, inputs):
    net = model(rng)
    names = ("kernel", "recurrent_kernel", "bias")
    weights = dict(zip(names, net.layers[1].get_weights(), strict=True))

    def port(x):
        assert x.shape == (2, 5, 4)  # what reaches the second layer, not the model
        return loop(weights, x)

    with pytest.raises(InputError) as error:
        rp.check(net, inputs, against=port)
    assert str(error.value) == (
        "against 'port': expected one recurrent layer, received 2: first, second; name the one "
        "that it computes (--layer-name), or let its signature have `layer`: then it is asked for "
        "each"
    )
    (check,) = rp.check(net, inputs, against=port, layer_name="second").checks
    assert (check.verdict, check.subject.layer_name) == ("parity", "second")


def test_a_saved_model(rng, inputs, here):
    model(rng).save("net.keras")
    outputs = np.zeros((2, 5, 4))
    report = check_model("net.keras", inputs=inputs, layer_name="first", against=outputs)
    (check,) = report.checks
    assert (check.verdict, check.subject.kind) == ("diverged", "model")


def test_numbers_answer_for_one_call(here):
    spec = GeneratedLayer(batch=2, calls=2, arguments={"stateful": True})
    np.save("y.npy", np.zeros((2, 28, 16)))
    with pytest.raises(InputError, match="expected one call of a layer, whose outputs it holds"):
        check_generated(spec, against="y.npy")


def test_every_call_is_asked_of_a_function():
    spec = GeneratedLayer(batch=2, timesteps=3, calls=2, arguments={"stateful": True})
    states = []

    def port(x, initial_state):
        states.append(initial_state)
        return np.zeros((2, 3, 16))

    report = check_generated(spec, against=port)
    assert [c.subject.call for c in report.checks] == [0, 1]
    assert not states[0].any()
    assert states[1].any()


def test_what_is_not_replayed_is_named(inputs):
    keras = tensorflow_module().keras
    net = keras.Sequential([keras.Input((5, 4, 4, 1)), keras.layers.ConvLSTM2D(2, 2)])
    data = np.zeros((2, 5, 4, 4, 1), "float32")
    report = rp.check(net, data, against=lambda x: x)
    assert (report.exit_code, report.checks[0].verdict) == (3, "inconclusive")
    assert "not compared: ConvLSTM2D" in report.summary


def test_a_case_asks_the_source_alone(here):
    write_case("case.npz", make())
    np.save("y.npy", OUTPUTS)
    np.savetxt("y.csv", OUTPUTS.reshape(2, 1))
    report = check_case("case.npz", against=["y.npy", "y.csv", lambda x: OUTPUTS - 1])
    assert [c.verdict for c in report.checks] == ["parity", "parity", "diverged"]
    assert {c.subject.kind for c in report.checks} == {"case"}


def test_a_folder_of_cases_needs_a_source_for_all_of_them(here):
    write_case("a.npz", make())
    write_case("b.npz", make(layer_name="b"))
    with pytest.raises(InputError, match="expected one recurrent layer, received 2: a, b"):
        refuse_cases(["a.npz", "b.npz"], lambda x: OUTPUTS)
    write_case("b.npz", make())
    refuse_cases(["a.npz", "b.npz"], lambda x: OUTPUTS)
    np.save("y.npy", OUTPUTS)
    with pytest.raises(InputError, match="expected one call of a layer"):
        refuse_cases(["a.npz", "b.npz"], "y.npy")


class Halved(Cell):
    """A cell of a user's own, which no framework has."""

    GATES = ("h",)

    @staticmethod
    def formula(x, h, U, W, b, a):
        return 0.5 * h + a(x @ U + h @ W + b)


@pytest.mark.parametrize("source", ["keras:numpy", "litert", "onnx"])
def test_a_cell_that_only_its_user_has_is_refused_by_name(source):
    layer = Halved([[1.0]], [[0.0]], activation="linear")
    x = np.ones((1, 2, 1))
    # 1, then 1 / 2 + 1.
    assert rp.check(layer, x, against=[[[1.0], [1.5]]])
    try:
        implementation(source)
    except MissingPackageError as error:
        pytest.skip(str(error))
    with pytest.raises(InputError, match="expected one of SimpleRNN, LSTM, GRU, received Halved"):
        rp.check(layer, x, against=source)
