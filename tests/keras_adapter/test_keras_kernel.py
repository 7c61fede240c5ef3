"""Which implementation Keras runs: held against its own conditions, and what a CPU really ran."""

import importlib
import itertools

import numpy as np
import pytest

from rnn_parity import check
from rnn_parity import keras_adapter as ka
from rnn_parity.keras_adapter.observing import fits_cudnn, is_right_padded, kernel_of

tf = ka.tensorflow_module()
keras = tf.keras
KERAS_3 = hasattr(keras, "ops")
CPU_LOOP = "loop" if KERAS_3 else "standard"
RIGHT = np.array([[True, True, False], [True, True, True]])
LEFT = ~RIGHT


def internal(path):
    """A module of the Keras behind `tf.keras`."""
    return importlib.import_module(f"{keras.layers.LSTM.__module__.split('.')[0]}.src.{path}")


def layer(kind="lstm", **arguments):
    return ka.build_layer(kind, 2, 3, arguments, None, seed=1, batch=2)


OTHER_OPTIONS = [
    {"activation": "relu"},
    {"recurrent_activation": "hard_sigmoid"},
    {"use_bias": False},
    {"recurrent_dropout": 0.25},
    {"unroll": True},
]


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_the_defaults_fit_the_fused_kernel_and_other_options_do_not(kind):
    assert fits_cudnn(layer(kind))
    assert fits_cudnn(layer(kind, go_backwards=True, stateful=True, activation=tf.tanh))
    for options in OTHER_OPTIONS:
        assert not fits_cudnn(layer(kind, **options)), options


def test_what_has_no_fused_kernel():
    assert not fits_cudnn(layer("simple_rnn"))
    assert not fits_cudnn(layer("gru", reset_after=False))
    assert not fits_cudnn(keras.layers.RNN(keras.layers.LSTMCell(2)))


@pytest.mark.skipif(not KERAS_3, reason="an option of Keras 3")
def test_a_refused_fused_kernel_is_not_used():
    assert not fits_cudnn(layer(use_cudnn=False))
    assert fits_cudnn(layer(use_cudnn=True))


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("options", [{}, *OTHER_OPTIONS], ids=str)
def test_keras_own_condition(kind, options, monkeypatch):
    """Keras asks for a GPU along with the options: here it is told that there is one."""
    built = layer(kind, **options)
    if KERAS_3:
        rnn = internal("backend.tensorflow.rnn")
        monkeypatch.setattr(rnn, "_is_gpu_available", lambda: True)
        cell = built.cell
        after = {"reset_after": cell.reset_after} if kind == "gru" else {}
        given = (cell.activation, cell.recurrent_activation, built.unroll, cell.use_bias)
        # The layer itself looks at the dropout, see its `inner_loop`.
        expected = rnn.cudnn_ok(*given, **after) and not cell.recurrent_dropout
    else:
        expected = built._could_use_gpu_kernel
    assert fits_cudnn(built) == expected


@pytest.mark.parametrize("timesteps", [1, 2, 3])
def test_keras_own_condition_for_masks(timesteps):
    rows = list(itertools.product([False, True], repeat=timesteps))
    for pair in itertools.product(rows, repeat=2):
        mask = np.array(pair)
        if KERAS_3:
            rnn = internal("backend.tensorflow.rnn")
            padded = rnn._is_sequence_right_padded(mask)
            expected = bool(padded) and not bool(rnn._has_fully_masked_sequence(mask))
        else:
            utils = internal("layers.rnn.gru_lstm_utils")
            expected = bool(utils.is_cudnn_supported_inputs(tf.constant(mask), False, None))
        assert is_right_padded(mask) == expected, mask


@pytest.mark.parametrize(
    ("mode", "mask", "has_gpu", "expected"),
    [
        ("graph", None, False, CPU_LOOP),
        ("graph", None, True, "cudnn"),
        ("eager", RIGHT, True, "cudnn"),
        ("predict", LEFT, True, CPU_LOOP),
        ("xla", None, True, "cudnn" if KERAS_3 else "standard"),
    ],
)
def test_a_gpu_and_the_mask_decide(mode, mask, has_gpu, expected):
    assert kernel_of(layer(), mode, mask, has_gpu) == expected


def test_other_options_leave_the_cells_own_step():
    assert kernel_of(layer(unroll=True), "graph", None, True) == "unrolled"
    assert kernel_of(layer(activation="relu"), "graph", None, True) == "loop"
    assert kernel_of(layer("simple_rnn"), "graph", None, True) == "loop"


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="about a CPU")
@pytest.mark.parametrize("options", [{}, {"unroll": True}, {"activation": "relu"}], ids=str)
def test_what_a_cpu_really_ran(options):
    x = np.ones((2, 3, 3), np.float32)
    built = layer(return_sequences=True, **options)
    found = check(built, x).checks[0].subject.kernel
    graph = tf.function(built).get_concrete_function(x).graph
    nodes = [*graph.as_graph_def().node]
    nodes += [
        node for function in graph.as_graph_def().library.function for node in function.node_def
    ]
    loops = any(node.op in ("While", "StatelessWhile") for node in nodes)
    assert loops == (found != "unrolled")
    if not KERAS_3:
        told = keras.layers.LSTM(2, return_runtime=True, **options)
        runtime = float(told(x)[1])
        assert runtime == {"standard": 1.0, "loop": 0.0, "unrolled": 0.0}[found]
