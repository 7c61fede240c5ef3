"""ONNX models of one recurrent operator with distinct random weights, and what they compute.

A module of tests that imports this one is skipped where ONNX or its runtime is missing.
"""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
FLOAT, INT32 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32
T, B, F, H = 5, 3, 8, 4
X = np.random.default_rng(5).normal(size=(B, T, F)).astype(np.float32)
STATE = np.random.default_rng(6).uniform(-1, 1, (B, H)).astype(np.float32)


def arrays(op_type, directions=1, *, bias=True, states=False, lengths=None, seed=0):
    """The constant inputs of an operator by the names that ONNX gives them, X left out."""
    rng = np.random.default_rng(seed)
    rows = GATES[op_type] * H
    found = {
        "W": rng.normal(size=(directions, rows, F)),
        "R": 0.6 * rng.normal(size=(directions, rows, H)),
    }
    if bias:
        found["B"] = 0.5 * rng.normal(size=(directions, 2 * rows))
    if states:
        for name in ("initial_h", "initial_c")[: 2 if op_type == "LSTM" else 1]:
            found[name] = rng.uniform(-1, 1, (directions, B, H))
    found = {name: array.astype(np.float32) for name, array in found.items()}
    if lengths is not None:
        found["sequence_lens"] = np.array(lengths, np.int32)
    return found


def node(op_type, given, outputs=None, name="cell", **attributes):
    """The operator, which reads X and the arrays `given` by their names."""
    order = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
    inputs = [key if key == "X" or key in given else "" for key in order]
    while not inputs[-1]:
        inputs.pop()
    if outputs is None:
        outputs = ["Y", "Y_h", "Y_c"][: 3 if op_type == "LSTM" else 2]
    return helper.make_node(op_type, inputs, outputs, name=name, hidden_size=H, **attributes)


def model(nodes, given, inputs=None, outputs=("Y",), **more):
    """A model of `nodes` with constants `given`; `inputs` and `outputs` are shapes by name."""
    inputs = {"X": (T, B, F)} if inputs is None else inputs
    outputs = outputs if isinstance(outputs, dict) else dict.fromkeys(outputs)
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in given.items()],
    )
    imports = [helper.make_opsetid("", 14), *more.pop("imports", ())]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, **more)


def single(op_type, *, direction="forward", bias=True, states=False, lengths=None, **attributes):
    """A model of one operator, X its only input, all of its outputs the model's."""
    directions = 2 if direction == "bidirectional" else 1
    given = arrays(op_type, directions, bias=bias, states=states, lengths=lengths)
    cell = node(op_type, given, direction=direction, **attributes)
    return model([cell], given, outputs=cell.output)


def run(made, **feeds):
    """The outputs of a model by name, as ONNX Runtime computes them."""
    session = onnxruntime.InferenceSession(made.SerializeToString())
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def saved(made, path):
    """The path of the file that `made` was written to."""
    onnx.save(made, path)
    return str(path)
