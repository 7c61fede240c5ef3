"""A layer's weights and options: what is kept, and the one line that refuses the rest."""

import ml_dtypes
import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.errors import InputError
from rnn_parity.recurrence.precision import FORMATS

pytestmark = pytest.mark.filterwarnings("error")
KERNEL, RECURRENT = np.ones((3, 2), np.float32), np.eye(2, dtype=np.float32)


def test_the_sizes_are_those_of_the_kernel():
    layer = rp.SimpleRNN(KERNEL, RECURRENT)
    assert (layer.features, layer.units) == (3, 2)


def test_the_defaults_are_keras_defaults():
    layer = rp.SimpleRNN(KERNEL, RECURRENT)
    assert layer.activation.name == "tanh"
    assert layer.bias is None
    assert not layer.go_backwards
    assert not layer.zero_output_for_mask


@pytest.mark.parametrize(
    ("kernel", "name"),
    [
        (KERNEL.astype(np.float16), "float16"),
        (KERNEL.astype(ml_dtypes.bfloat16), "bfloat16"),
        (KERNEL, "float32"),
        (KERNEL.astype(np.float64), "float64"),
        (KERNEL.astype(np.int32), "float32"),
        ([[1, 2], [3, 4]], "float32"),
    ],
)
def test_the_precision_is_that_of_the_kernel(kernel, name):
    assert rp.SimpleRNN(kernel, RECURRENT).precision == FORMATS[name]


def test_weights_are_rounded_to_the_given_dtype():
    layer = rp.SimpleRNN([[0.1]], [[0.3]], [1 + 2**-9], dtype="bfloat16")
    assert layer.kernel == [[0.10009765625]]
    assert layer.recurrent_kernel == [[0.30078125]]
    assert layer.bias == [1.0]
    assert {w.dtype for w in (layer.kernel, layer.recurrent_kernel, layer.bias)} == {
        np.dtype("float64")
    }


def test_the_weights_are_copies():
    kernel = np.ones((1, 1))
    layer = rp.SimpleRNN(kernel, [[0.5]])
    kernel[0, 0] = 9
    assert layer.kernel == [[1.0]]


def test_a_layer_cannot_be_changed():
    with pytest.raises(AttributeError):
        rp.SimpleRNN(KERNEL, RECURRENT).bias = np.ones(2)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"kernel": np.ones(3)}, r"kernel: expected shape \(any, any\), received \(3,\)"),
        ({"kernel": np.ones((3, 0))}, r"kernel: expected shape \(any, any\), received \(3, 0\)"),
        ({"kernel": np.ones((0, 2))}, r"kernel: expected shape \(any, 2\), received \(0, 2\)"),
        (
            {"recurrent_kernel": np.ones((2, 3))},
            r"recurrent_kernel: expected shape \(2, 2\), received \(2, 3\)",
        ),
        ({"recurrent_kernel": 0.5}, r"recurrent_kernel: expected shape \(2, 2\), received \(\)"),
        ({"bias": np.ones((2, 3))}, r"bias: expected shape \(2,\), received \(2, 3\)"),
        ({"bias": np.ones(3)}, r"bias: expected shape \(2,\), received \(3,\)"),
        ({"bias": ["a", "b"]}, "bias: expected real numbers, received dtype <U1"),
        ({"bias": [1j, 2]}, "bias: expected real numbers, received dtype complex128"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, message):
    everything = {"kernel": KERNEL, "recurrent_kernel": RECURRENT, **weights}
    with pytest.raises(InputError, match=f"^{message}$"):
        rp.SimpleRNN(**everything)


@pytest.mark.parametrize("kernel", [[["a"]], [[1j]], [[None]], [[1, 2], [3]]])
def test_a_kernel_of_no_real_numbers_is_refused_in_one_line(kernel):
    with pytest.raises(InputError) as refused:
        rp.SimpleRNN(kernel, [[1.0]])
    assert "expected" in str(refused.value)
    assert "received" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, "dtype: expected one of .*, received 'int8'"),
        (
            {"activation": "tanhh"},
            "activation: received 'tanhh'; did you mean tanh[?] expected one of .*",
        ),
        ({"activation": 3}, "activation: expected a name, such as tanh, or a callable, received 3"),
    ],
)
def test_options_that_do_not_exist_are_refused(options, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        rp.SimpleRNN(KERNEL, RECURRENT, **options)


def test_no_activation_is_linear():
    assert rp.SimpleRNN(KERNEL, RECURRENT, activation=None).activation.name == "linear"


def test_the_addends_of_a_bias_go_with_it():
    layer = rp.LSTM(np.ones((1, 4)), np.ones((1, 4)), [1.0, 2, 3, 4])
    assert [a.tolist() for a in layer.input_addends] == [[1, 2, 3, 4]]
    pair = (np.full(4, 9.0), np.arange(1.0, 5) - 9)
    two = layer.changed(addends=pair)
    assert two.input_addends == pair
    assert two.changed(go_backwards=True).input_addends == pair
    assert [a.tolist() for a in two.changed(bias=np.ones(4)).input_addends] == [[1, 1, 1, 1]]
    assert two.changed(bias=None).input_addends == ()
