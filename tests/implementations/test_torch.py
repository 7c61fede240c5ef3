"""PyTorch's weights in a `.safetensors` file: mapped by hand, run and compared."""

import json

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.errors import InputError, UnsupportedError
from rnn_parity.implementations.request import Request
from rnn_parity.implementations.torch_weights import implementation

torch = pytest.importorskip("torch")
save_file = pytest.importorskip("safetensors.torch").save_file

KINDS = {
    rp.SimpleRNN: (torch.nn.RNN, (0,)),
    rp.LSTM: (torch.nn.LSTM, (0, 1, 2, 3)),
    # PyTorch has r, z, n where Keras has z, r, h.
    rp.GRU: (torch.nn.GRU, (1, 0, 2)),
}


def f32(value):
    return np.array(value, np.float32)


def saved(folder, **tensors):
    path = str(folder / "weights.safetensors")
    save_file({name: torch.as_tensor(tensor) for name, tensor in tensors.items()}, path)
    return path


def as_keras(kind, module, end="_l0", dtype=None, **options):
    """The layer with the weights of a module, by the formulas of PyTorch's documentation."""
    order = KINDS[kind][1]

    def part(name):
        blocks = np.split(getattr(module, name + end).detach().double().numpy(), len(order))
        return np.concatenate([blocks[i] for i in order]).T

    bias = None
    if module.bias:
        pair = part("bias_ih"), part("bias_hh")
        bias = np.stack(pair) if kind is rp.GRU else pair[0] + pair[1]
    weights = (part("weight_ih"), part("weight_hh"), bias)
    return kind(*weights, dtype=dtype or "float32", **options)


def checked(path, layer, x, mask=None, state=None):
    answer = implementation(path)(Request(layer, x, mask, state))
    several = len(layer.STATES) > 1
    final = list(answer.final_state) if several else answer.final_state[0]
    given = state if state is None or several else state[0]
    report = rp.compare(layer, x, answer.outputs, final, mask=mask, initial_state=given)
    return report, answer


def test_rnn_by_hand(tmp_path):
    path = saved(
        tmp_path,
        weight_ih_l0=f32([[2]]),
        weight_hh_l0=f32([[1]]),
        bias_ih_l0=f32([1]),
        bias_hh_l0=f32([3]),
    )
    layer = rp.SimpleRNN(f32([[2]]), f32([[1]]), f32([4]), activation="relu")
    answer = implementation(path)(Request(layer, f32([[[1], [2]]])))
    # 2 1 + 1 + 3 = 6, then 2 2 + 6 + 4 = 14.
    assert answer.outputs[0, :, 0].tolist() == [6, 14]
    assert [s.tolist() for s in answer.final_state] == [[[14]]]
    assert [bias.tolist() for bias in answer.layer.addends] == [[1], [3]]
    ran, weights = answer.notes
    assert ran == f"PyTorch {torch.__version__}, nn.RNN with *_l0, float32"
    assert weights == "its weights are the layer's exactly"


def test_lstm_by_hand(tmp_path):
    # Gates of 1 and a candidate of tanh(100) = 1: c counts the steps, h = tanh(c).
    path = saved(
        tmp_path,
        **{"lstm.weight_ih_l0": torch.zeros(4, 1), "lstm.weight_hh_l0": torch.zeros(4, 1)},
        **{"lstm.bias_ih_l0": f32([100] * 4), "lstm.bias_hh_l0": torch.zeros(4)},
    )
    layer = rp.LSTM(f32([[0] * 4]), f32([[0] * 4]), f32([100] * 4))
    answer = implementation(path)(Request(layer, f32([[[0], [0]]])))
    assert answer.outputs[0, :, 0] == pytest.approx([0.761594156, 0.964027580], rel=1e-6)
    assert [s[0, 0] for s in answer.final_state] == pytest.approx([0.964027580, 2.0], rel=1e-6)
    assert " with lstm.*_l0, " in answer.notes[0]


def test_the_gates_of_a_gru_are_mapped(tmp_path):
    tensors = {
        "weight_ih_l0": f32([[1], [2], [3]]),
        "weight_hh_l0": f32([[4], [5], [6]]),
        "bias_ih_l0": f32([7, 8, 9]),
        "bias_hh_l0": f32([10, 11, 12]),
    }
    path = saved(tmp_path, **tensors)
    kernel, recurrent = f32([[2, 1, 3]]), f32([[5, 4, 6]])
    right = rp.GRU(kernel, recurrent, f32([[8, 7, 9], [11, 10, 12]]))
    x = f32([[[1]]])
    assert implementation(path)(Request(right, x)).notes[1] == "its weights are the layer's exactly"
    wrong = rp.GRU(kernel, recurrent, f32([[8, 7, 9], [11, 10, 12.5]]))
    expected = "its weights are not the layer's: bias[1, 2] is 12 there and 12.5 in the layer"
    assert implementation(path)(Request(wrong, x)).notes[1] == expected


def test_the_weight_that_differs_most_is_named(tmp_path):
    module = torch.nn.LSTM(2, 3)
    path = saved(tmp_path, **module.state_dict())
    layer = as_keras(rp.LSTM, module)
    kernel = layer.kernel.copy()
    kernel[1, 7], kernel[0, 0] = 0.5, kernel[0, 0] + 1e-3
    report, answer = checked(path, layer.changed(kernel=kernel), f32(np.ones((2, 3, 2))))
    assert report.verdict == "diverged"
    there = module.weight_ih_l0[7, 1].item()
    expected = f"kernel[1, 7] is {there:.9g} there and 0.5 in the layer"
    assert answer.notes[1] == f"its weights are not the layer's: {expected}"
    answer = implementation(path)(Request(layer.changed(bias=None), f32([[[1, 1]]])))
    expected = "its weights are not the layer's: the file has a bias and the layer none"
    assert answer.notes[1] == expected


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_module_and_dtype_is_in_parity(tmp_path, kind, dtype):
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    module = KINDS[kind][0](4, 5, dtype=getattr(torch, dtype))
    path = saved(tmp_path, **module.state_dict())
    layer = as_keras(kind, module, dtype=dtype, go_backwards=True)
    x = layer.precision.round(rng.normal(size=(3, 6, 4)))
    state = tuple(layer.precision.round(rng.normal(size=(3, 5))) for _ in layer.STATES)
    report, answer = checked(path, layer, x, None, state)
    assert report.verdict == "parity", report.summary
    assert answer.notes[0].endswith(f"with *_l0, {dtype}")
    assert answer.notes[1] == "its weights are the layer's exactly"


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_right_padded_masks(tmp_path, kind, zero):
    rng = np.random.default_rng(4)
    module = KINDS[kind][0](2, 3, bias=False)
    path = saved(tmp_path, **module.state_dict())
    layer = as_keras(kind, module, zero_output_for_mask=zero)
    x, state = f32(rng.normal(size=(3, 5, 2))), tuple(f32(rng.normal(size=(3, 3))) for _ in "hc")
    mask = np.arange(5) < np.array([[2], [5], [1]])
    report, answer = checked(path, layer, x, mask, state[: len(layer.STATES)])
    assert report.verdict == "parity", report.summary
    assert answer.notes[2] == "PyTorch's padding is filled as Keras fills masked steps"
    # Where the layer goes backwards, the padding that comes last is on the left.
    back = layer.changed(go_backwards=True)
    assert checked(path, back, x, mask[:, ::-1])[0].verdict == "parity"
    with pytest.raises(InputError, match="mask: expected one that PyTorch's packed sequences can"):
        checked(path, back, x, mask)


@pytest.mark.parametrize("row", [[False, True, True], [False, False, False], [True, False, True]])
def test_other_masks_are_refused(tmp_path, row):
    module = torch.nn.RNN(2, 3)
    path = saved(tmp_path, **module.state_dict())
    x, mask = f32(np.ones((2, 3, 2))), np.array([[True, True, True], row])
    with pytest.raises(InputError, match="at least one step, then the masked ones"):
        checked(path, as_keras(rp.SimpleRNN, module), x, mask)


def test_the_layer_that_fits_is_chosen(tmp_path):
    module = torch.nn.GRU(2, 3, num_layers=2, bidirectional=True)
    path = saved(tmp_path, **{"fc.weight": torch.zeros(2, 2)}, **module.state_dict())
    x = {n: f32(np.ones((2, 4, n))) for n in (2, 6)}
    for end, features in {"_l0": 2, "_l1": 6}.items():
        forward = as_keras(rp.GRU, module, end)
        report, answer = checked(path, forward, x[features])
        assert (report.verdict, f"*{end}," in answer.notes[0]) == ("parity", True)
        back = as_keras(rp.GRU, module, f"{end}_reverse", go_backwards=True)
        report, answer = checked(path, back, x[features])
        assert (report.verdict, f"*{end}_reverse," in answer.notes[0]) == ("parity", True)


def test_the_direction_decides_before_the_weights(tmp_path):
    module = torch.nn.GRU(2, 3, bidirectional=True)
    path = saved(tmp_path, **module.state_dict())
    for back, end in {False: "_l0", True: "_l0_reverse"}.items():
        layer = as_keras(rp.GRU, torch.nn.GRU(2, 3), go_backwards=back)
        report, answer = checked(path, layer, f32(np.ones((2, 4, 2))))
        assert (report.verdict, f"*{end}," in answer.notes[0]) == ("diverged", True)


def test_of_several_that_fit_the_one_with_the_layers_weights_is_chosen(tmp_path):
    module = torch.nn.RNN(3, 3, num_layers=2)
    path = saved(tmp_path, **module.state_dict())
    x = f32(np.ones((2, 4, 3)))
    report, answer = checked(path, as_keras(rp.SimpleRNN, module, "_l1"), x)
    assert (report.verdict, "*_l1," in answer.notes[0]) == ("parity", True)
    other = as_keras(rp.SimpleRNN, torch.nn.RNN(3, 3))
    with pytest.raises(InputError, match=r"received \*_l0, \*_l1; name one"):
        checked(path, other, x)


def test_a_second_layer_in_the_file_is_no_parity(tmp_path):
    torch.manual_seed(1)
    module = torch.nn.LSTM(3, 4, num_layers=2, batch_first=True)
    path = saved(tmp_path, **module.state_dict())
    layer, x = as_keras(rp.LSTM, module), f32(np.random.default_rng(5).normal(size=(2, 6, 3)))
    with torch.no_grad():
        theirs = module(torch.from_numpy(x))[0].numpy()
    assert np.abs(theirs - rp.replay(layer, x).outputs).max() > 0.1
    report = rp.check(layer, x, against=path)
    assert (report.verdict, report.exit_code) == ("inconclusive", 3)
    assert report.summary.startswith(f"not compared: the layer *_l1 of {path}; ")
    assert rp.check(layer, x, against=f"{path}#_l0").verdict == "parity"


def test_biases_that_cancel_by_hand(tmp_path):
    # float32 has steps of 2**-14 near 1000: 0.3 + 1000 is rounded to 16388915 of them, and 999.9 is
    # 16382362. PyTorch's difference is 6553 / 2**14 = 0.3999634; right is 0.3 + 1638 / 2**14 =
    # 0.3999756, which is 170 times as far off as rounding 0.3 + 0.1 explains.
    path = saved(
        tmp_path,
        weight_ih_l0=f32([[1]]),
        weight_hh_l0=f32([[0]]),
        bias_ih_l0=f32([1000]),
        bias_hh_l0=f32([-999.9]),
    )
    layer = rp.SimpleRNN(f32([[1]]), f32([[0]]), f32([1638 / 2**14]), activation="relu")
    x = f32([[[0.3]]])
    answer = implementation(path)(Request(layer, x))
    assert answer.outputs.item() == 6553 / 2**14
    assert answer.notes[1] == "its weights are the layer's exactly"
    assert rp.compare(layer, x, answer.outputs).verdict == "diverged"
    (check,) = rp.check(layer, x, against=path).checks
    # Two products and two biases: 1.222e-5 in 4 / 2**24 (0.3 + 1000 + 999.9) = 4.769e-4.
    assert (check.verdict, check.max_ratio) == ("parity", pytest.approx(0.02562, rel=1e-3))


@pytest.mark.parametrize("scale", [1e-2, 1.0])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", KINDS)
def test_biases_that_cancel_are_no_false_alarm(tmp_path, kind, seed, scale):
    torch.manual_seed(seed)
    module = KINDS[kind][0](3, 8)
    large, small = 1000 * torch.randn(module.bias_ih_l0.shape), torch.randn(module.bias_ih_l0.shape)
    with torch.no_grad():
        module.bias_ih_l0.copy_(large)
        module.bias_hh_l0.copy_(0.3 * small - large)
    path = saved(tmp_path, **module.state_dict())
    x = f32(scale * np.random.default_rng(seed).normal(size=(8, 60, 3)))
    (check,) = rp.check(as_keras(kind, module), x, against=path).checks
    assert check.verdict == "parity", check.summary


def test_what_pytorch_has_not_is_diverged_or_refused(tmp_path):
    module = torch.nn.RNN(2, 3)
    path = saved(tmp_path, **module.state_dict())
    x = f32(np.random.default_rng(5).normal(size=(2, 4, 2)))
    layer = as_keras(rp.SimpleRNN, module, activation="linear")
    with pytest.raises(InputError, match=r"expected tanh or relu, which nn.RNN has, received lin"):
        checked(path, layer, x)
    module = torch.nn.GRU(2, 3)
    path = saved(tmp_path, **module.state_dict())
    layer = as_keras(rp.GRU, module, recurrent_activation="hard_sigmoid")
    report, answer = checked(path, layer, x)
    assert (report.verdict, answer.notes[1]) == ("diverged", "its weights are the layer's exactly")


def test_other_shapes_are_listed_side_by_side(tmp_path):
    path = saved(tmp_path, **{f"rnn.{k}": v for k, v in torch.nn.RNN(2, 3).state_dict().items()})
    layer = rp.LSTM(np.zeros((2, 12), np.float32), np.zeros((3, 12), np.float32))
    with pytest.raises(InputError) as caught:
        implementation(path)(Request(layer, np.ones((1, 1, 2), np.float32)))
    message = str(caught.value)
    assert "expected an nn.LSTM with 2 features and 3 units, {'weight_hh': (12, 3)" in message
    assert "received rnn.*_l0 {'bias_hh': (3,), 'bias_ih': (3,), 'weight_hh': (3, 3)" in message
    assert "\n" not in message


def test_files_that_are_no_state_dict(tmp_path):
    path = saved(tmp_path, **torch.nn.RNN(2, 3).state_dict())
    whole = (tmp_path / "weights.safetensors").read_bytes()
    for size in (0, 5, 20, len(whole) - 1):
        (tmp_path / "weights.safetensors").write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"expected a .safetensors file, received a damaged"):
            implementation(path)
    (tmp_path / "weights.safetensors").write_text(json.dumps({"weight_ih_l0": [[1.0]]}))
    with pytest.raises(InputError, match=r"expected a .safetensors file, received a damaged"):
        implementation(path)
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(InputError, match="received a directory"):
        implementation(str(tmp_path / "folder.safetensors"))
    with pytest.raises(InputError, match="cannot be read: No such file"):
        implementation(str(tmp_path / "absent.safetensors"))


def test_other_tensors(tmp_path):
    path = saved(tmp_path, **torch.nn.Linear(2, 3).state_dict())
    with pytest.raises(
        InputError, match=r"as in the state_dict of an nn.RNN, .* received bias, we"
    ):
        implementation(path)
    path = saved(tmp_path, **torch.nn.LSTM(2, 3, proj_size=2).state_dict())
    with pytest.raises(UnsupportedError, match="weight_hr_l0: a projection"):
        implementation(path)
    path = saved(tmp_path, weight_ih_l0=torch.zeros(3, 2, dtype=torch.int8))
    with pytest.raises(InputError, match=r"weight_ih_l0: expected float16, .* received int8"):
        implementation(path)
