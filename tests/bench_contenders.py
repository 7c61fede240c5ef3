"""What `make bench` times: other implementations of the same SimpleRNN, and this tool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import rnn_parity as rp

EXTRA = 'needs the bench extra: pip install "rnn-parity[bench]"'


@dataclass(frozen=True)
class Problem:
    """One float32 layer and its data; `outputs` are what the tf.function computed."""

    shape: tuple[int, int, int, int]
    layer: Any
    inputs: np.ndarray
    outputs: np.ndarray
    final_state: np.ndarray

    @property
    def flops(self) -> float:
        """Multiplications and additions of one forward pass's matrix products."""
        batch, timesteps, features, units = self.shape
        return 2.0 * batch * timesteps * units * (features + units)


def problem(shape: tuple[int, int, int, int]) -> Problem:
    """A layer with random weights, bias included, and standard normal inputs."""
    import tensorflow as tf

    batch, timesteps, features, units = shape
    rng = np.random.default_rng(0)
    layer = tf.keras.layers.SimpleRNN(units, return_sequences=True, return_state=True)
    layer.build((batch, timesteps, features))
    layer.cell.bias.assign(rng.uniform(-0.5, 0.5, units).astype("float32"))
    inputs = rng.standard_normal((batch, timesteps, features)).astype("float32")
    outputs, state = tf.function(layer)(tf.constant(inputs))
    return Problem(shape, layer, inputs, outputs.numpy(), state.numpy())


def contenders(p: Problem) -> dict[str, Callable[[], object]]:
    """Name to a function that does the work once."""
    return {**keras(p), **numpy_loops(p), **runtimes(p), **this_tool(p)}


def keras(p: Problem) -> dict[str, Callable[[], object]]:
    import tensorflow as tf

    x = tf.constant(p.inputs)
    graph = tf.function(lambda x: p.layer(x))
    return {
        "Keras, tf.function": lambda: graph(x)[0].numpy(),
        "Keras, eager": lambda: p.layer(x)[0].numpy(),
    }


def numpy_loops(p: Problem) -> dict[str, Callable[[], object]]:
    cell = p.layer.cell
    variables = (cell.kernel, cell.recurrent_kernel, cell.bias)
    arrays = tuple(v.numpy() for v in variables)

    def loop(kernel: Any, recurrent_kernel: Any, bias: Any) -> np.ndarray:
        h = np.zeros((p.shape[0], p.shape[3]), np.float32)
        outputs = []
        for t in range(p.shape[1]):
            h = np.tanh(np.dot(p.inputs[:, t], kernel) + np.dot(h, recurrent_kernel) + bias)
            outputs.append(h)
        return np.stack(outputs, axis=1)

    return {
        "notebook's loop, on variables": lambda: loop(*variables),
        "notebook's loop, on arrays": lambda: loop(*arrays),
    }


def runtimes(p: Problem) -> dict[str, Callable[[], object]]:
    try:
        import onnx
        import onnxruntime
        import torch
        from onnx.reference import ReferenceEvaluator
    except ImportError as error:
        raise SystemExit(f"{error.name}: {EXTRA}") from None
    model = onnx_model(p, onnx)
    feed = {"X": np.ascontiguousarray(p.inputs.swapaxes(0, 1))}
    reference = ReferenceEvaluator(model)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    module = torch_module(p, torch)
    x = torch.from_numpy(p.inputs)

    def run_torch() -> object:
        with torch.no_grad():
            return module(x)[0]

    return {
        "torch.nn.RNN": run_torch,
        "ONNX Runtime RNN": lambda: session.run(None, feed),
        "onnx.reference RNN": lambda: reference.run(None, feed),
    }


def weights(p: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    cell = p.layer.cell
    return cell.kernel.numpy(), cell.recurrent_kernel.numpy(), cell.bias.numpy()


def onnx_model(p: Problem, onnx: Any) -> Any:
    """One RNN operator: X is time first, the weights are transposed, with a bias for each."""
    kernel, recurrent_kernel, bias = weights(p)
    batch, timesteps, features, units = p.shape
    constants = {
        "W": kernel.T[np.newaxis],
        "R": recurrent_kernel.T[np.newaxis],
        "B": np.concatenate([bias, np.zeros(units, np.float32)])[np.newaxis],
    }
    node = onnx.helper.make_node("RNN", ["X", *constants], ["Y", "Y_h"], hidden_size=units)
    tensor, float32 = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node],
        "rnn",
        [tensor("X", float32, [timesteps, batch, features])],
        [tensor("Y", float32, [timesteps, 1, batch, units])],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in constants.items()],
    )
    imports = [onnx.helper.make_opsetid("", 14)]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=8)


def torch_module(p: Problem, torch: Any) -> Any:
    kernel, recurrent_kernel, bias = weights(p)
    module = torch.nn.RNN(p.shape[2], p.shape[3], batch_first=True)
    state = {
        "weight_ih_l0": kernel.T,
        "weight_hh_l0": recurrent_kernel.T,
        "bias_ih_l0": bias,
        "bias_hh_l0": np.zeros_like(bias),
    }
    module.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
    return module


def this_tool(p: Problem) -> dict[str, Callable[[], object]]:
    layer = rp.SimpleRNN(*weights(p))
    return {
        "rnn-parity: replay": lambda: rp.replay(layer, p.inputs),
        "rnn-parity: compare": lambda: rp.compare(layer, p.inputs, p.outputs, p.final_state),
    }
