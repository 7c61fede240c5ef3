"""Files that are no `state_dict` of a recurrent module: each refused in one line."""

import json

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.errors import InputError, UnsupportedError
from rnn_parity.implementations.request import Request
from rnn_parity.implementations.torch_weights import implementation

torch = pytest.importorskip("torch")
save_file = pytest.importorskip("safetensors.torch").save_file


def saved(folder, **tensors):
    path = str(folder / "weights.safetensors")
    save_file(tensors, path)
    return path


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
