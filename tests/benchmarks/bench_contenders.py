"""What `make bench` times: other implementations of the same layer, and this tool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import rnn_parity as rp

EXTRA = 'needs the bench extra: pip install "rnn-parity[bench]"'


# Keras's gates by name, and the order that PyTorch and ONNX keep them in.
GATES = {"SimpleRNN": "h", "LSTM": "ifco", "GRU": "zrh"}
TORCH = {"SimpleRNN": "h", "LSTM": "ifco", "GRU": "rzh"}
ONNX = {"SimpleRNN": "h", "LSTM": "iofc", "GRU": "zrh"}


@dataclass(frozen=True)
class Problem:
    """One float32 layer and its data; `outputs` are what the tf.function computed."""

    kind: str
    shape: tuple[int, int, int, int]
    layer: Any
    inputs: np.ndarray
    outputs: np.ndarray
    final_state: Any

    @property
    def flops(self) -> float:
        """Multiplications and additions of one forward pass's matrix products."""
        batch, timesteps, features, units = self.shape
        return 2.0 * batch * timesteps * len(GATES[self.kind]) * units * (features + units)


def problem(kind: str, shape: tuple[int, int, int, int]) -> Problem:
    """A layer with random weights, bias included, and standard normal inputs."""
    import tensorflow as tf

    batch, timesteps, features, units = shape
    rng = np.random.default_rng(0)
    layer = getattr(tf.keras.layers, kind)(units, return_sequences=True, return_state=True)
    layer.build((batch, timesteps, features))
    layer.cell.bias.assign(rng.uniform(-0.5, 0.5, layer.cell.bias.shape).astype("float32"))
    inputs = rng.standard_normal((batch, timesteps, features)).astype("float32")
    outputs, *states = tf.function(layer)(tf.constant(inputs))
    final_state = states[0].numpy() if len(states) == 1 else [s.numpy() for s in states]
    return Problem(kind, shape, layer, inputs, outputs.numpy(), final_state)


def contenders(p: Problem) -> dict[str, Callable[[], object]]:
    """Name to a function that does the work once."""
    loops = numpy_loops(p) if p.kind == "SimpleRNN" else {}
    return {**keras(p), **loops, **runtimes(p), **this_tool(p)}


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
        "PyTorch": run_torch,
        "ONNX Runtime": lambda: session.run(None, feed),
        "onnx.reference": lambda: reference.run(None, feed),
    }


def weights(p: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    cell = p.layer.cell
    return cell.kernel.numpy(), cell.recurrent_kernel.numpy(), cell.bias.numpy()


def transposed(p: Problem, order: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Kernel, recurrent kernel and both biases `(G H, ...)`, with the gates in another order."""
    kernel, recurrent_kernel, bias = weights(p)
    both = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    places = [GATES[p.kind].index(gate) for gate in order]

    def ordered(a: np.ndarray) -> np.ndarray:
        gates = np.split(a, len(order), axis=-1)
        return np.ascontiguousarray(np.concatenate([gates[i] for i in places], axis=-1).T)

    return ordered(kernel), ordered(recurrent_kernel), ordered(both[0]), ordered(both[1])


def onnx_model(p: Problem, onnx: Any) -> Any:
    """One recurrent operator: X is time first, the weights are transposed, a bias for each."""
    kernel, recurrent_kernel, *biases = transposed(p, ONNX[p.kind])
    batch, timesteps, features, units = p.shape
    constants = {
        "W": kernel[np.newaxis],
        "R": recurrent_kernel[np.newaxis],
        "B": np.concatenate(biases)[np.newaxis],
    }
    name = "RNN" if p.kind == "SimpleRNN" else p.kind
    options = {"linear_before_reset": 1} if p.kind == "GRU" else {}
    node = onnx.helper.make_node(name, ["X", *constants], ["Y"], hidden_size=units, **options)
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
    name = "RNN" if p.kind == "SimpleRNN" else p.kind
    module = getattr(torch.nn, name)(p.shape[2], p.shape[3], batch_first=True)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    arrays = transposed(p, TORCH[p.kind])
    module.load_state_dict({n: torch.tensor(a) for n, a in zip(names, arrays, strict=True)})
    return module


def this_tool(p: Problem) -> dict[str, Callable[[], object]]:
    layer = getattr(rp, p.kind)(*weights(p))
    return {
        "rnn-parity: replay": lambda: rp.replay(layer, p.inputs),
        "rnn-parity: compare": lambda: rp.compare(layer, p.inputs, p.outputs, p.final_state),
    }
