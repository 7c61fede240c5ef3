"""Activations as ONNX Runtime computes them: operators of their own, and those of its RNN."""

from collections.abc import Callable

import numpy as np
from onnx import GraphProto, TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

ONNX = {
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "relu": ("Relu", {}),
    "exponential": ("Exp", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.2}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "hard_sigmoid_keras2": ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
    "hard_silu": ("HardSwish", {}),
    "softsign": ("Softsign", {}),
    "softplus": ("Softplus", {}),
    "elu": ("Elu", {}),
    "celu": ("Celu", {}),
    "selu": ("Selu", {}),
    "gelu": ("Gelu", {}),
    "mish": ("Mish", {}),
    "softmax": ("Softmax", {"axis": -1}),
    "log_softmax": ("LogSoftmax", {"axis": -1}),
}
WEIGHTS = (("W", 1.0), ("R", 0.0))


def onnx_rnn(function: str) -> Callable[..., np.ndarray]:
    """The activation of ONNX's RNN: one step of one unit with weight 1, on float32."""
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy"]
    ends[0] = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, None, 1])
    weights = [numpy_helper.from_array(np.full((1, 1, 1), v, np.float32), n) for n, v in WEIGHTS]
    node = helper.make_node("RNN", ["x", "W", "R"], ["y"], hidden_size=1, activations=[function])
    run = session(helper.make_graph([node], "RNN", ends[:1], ends[1:], weights))
    return lambda x: run(x.reshape(1, -1, 1)).reshape(x.shape)


def onnxruntime(operator: str, attributes: dict[str, float]) -> Callable[..., np.ndarray]:
    """One operator on float32."""
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy"]
    node = helper.make_node(operator, ["x"], ["y"], **attributes)
    return session(helper.make_graph([node], operator, ends[:1], ends[1:]))


def session(graph: GraphProto) -> Callable[..., np.ndarray]:
    """A graph with one input x, run by ONNX Runtime on the CPU."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    runtime = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda x: runtime.run(None, {"x": x})[0]
