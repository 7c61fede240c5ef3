"""What `make bench` times side by side: this tool and other implementations of the same layer.

Each family of contenders lives in a process of its own, so that the waiting threads of one cannot
take time from another; a `Worker` runs one of them when it is asked to, and sleeps otherwise.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

EXTRA = 'needs the bench extra: pip install "rnn-parity[bench]"'
QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",
    "GOMP_SPINCOUNT": "0",
}
"""Threads that have nothing to do sleep, and do not spin."""

# Keras's gates by name, and the order that PyTorch and ONNX keep them in.
GATES = {"SimpleRNN": "h", "LSTM": "ifco", "GRU": "zrh"}
TORCH = {"SimpleRNN": "h", "LSTM": "ifco", "GRU": "rzh"}
ONNX = {"SimpleRNN": "h", "LSTM": "iofc", "GRU": "zrh"}
TENSORFLOW, TORCH_32, TORCH_64 = "Keras, tf.function", "PyTorch, float32", "PyTorch, float64"
REPLAY, COMPARE = "rnn-parity: replay", "rnn-parity: compare"


@dataclass(frozen=True)
class Problem:
    """One float32 layer and its data; `outputs` and `final_state` are what Keras computed."""

    kind: str
    shape: tuple[int, int, int, int]
    weights: tuple[np.ndarray, np.ndarray, np.ndarray]
    inputs: np.ndarray
    outputs: np.ndarray | None = None
    final_state: Any = None

    @property
    def flops(self) -> float:
        """Multiplications and additions of one forward pass's matrix products."""
        batch, timesteps, features, units = self.shape
        return 2.0 * batch * timesteps * len(GATES[self.kind]) * units * (features + units)


def problem(kind: str, shape: tuple[int, int, int, int]) -> Problem:
    """A layer with random weights, bias included, and standard normal inputs."""
    batch, timesteps, features, units = shape
    rng, width = np.random.default_rng(0), len(GATES[kind]) * units
    rows = (2,) if kind == "GRU" else ()
    weights = (
        rng.standard_normal((features, width)) / np.sqrt(features),
        rng.standard_normal((units, width)) / np.sqrt(units) / 2,
        rng.uniform(-0.5, 0.5, (*rows, width)),
    )
    inputs = rng.standard_normal((batch, timesteps, features), "float32")
    return Problem(kind, shape, tuple(w.astype("float32") for w in weights), inputs)


# Contenders: from a problem to functions that do the work once.


def keras(p: Problem, threads: int) -> dict[str, Callable[[], Any]]:
    """The layer as Keras runs it in a graph."""
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    layer = getattr(tf.keras.layers, p.kind)(p.shape[3], return_sequences=True, return_state=True)
    layer.build(p.inputs.shape)
    layer.set_weights(p.weights)
    x, graph = tf.constant(p.inputs), tf.function(lambda x: layer(x))
    return {TENSORFLOW: lambda: [one.numpy() for one in graph(x)]}


def torch(p: Problem, threads: int) -> dict[str, Callable[[], Any]]:
    """PyTorch's module, in both precisions."""
    import torch

    torch.set_num_threads(threads)
    name = "RNN" if p.kind == "SimpleRNN" else p.kind
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    arrays = transposed(p, TORCH[p.kind])

    def runner(dtype: Any) -> Callable[[], Any]:
        module = getattr(torch.nn, name)(*p.shape[2:], batch_first=True).to(dtype)
        module.load_state_dict({n: torch.tensor(a) for n, a in zip(names, arrays, strict=True)})
        x = torch.from_numpy(p.inputs).to(dtype)

        def run() -> Any:
            with torch.no_grad():
                return module(x)[0]

        return run

    return {TORCH_32: runner(torch.float32), TORCH_64: runner(torch.float64)}


def onnxruntime(p: Problem, threads: int) -> dict[str, Callable[[], Any]]:
    """ONNX Runtime on one operator, without threads that spin."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = onnx_model(p).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return {"ONNX Runtime": lambda: session.run(None, time_first(p))}


def onnx(p: Problem, threads: int) -> dict[str, Callable[[], Any]]:
    """The reference implementation of the same operator, in NumPy."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(onnx_model(p))
    return {"onnx.reference": lambda: evaluator.run(None, time_first(p))}


def rnn_parity(p: Problem, threads: int) -> dict[str, Callable[[], Any]]:
    """This tool."""
    import rnn_parity as rp

    layer = getattr(rp, p.kind)(*p.weights)
    return {
        REPLAY: lambda: rp.replay(layer, p.inputs),
        COMPARE: lambda: rp.compare(layer, p.inputs, p.outputs, p.final_state),
    }


def time_first(p: Problem) -> dict[str, np.ndarray]:
    """The inputs as ONNX takes them."""
    return {"X": np.ascontiguousarray(p.inputs.swapaxes(0, 1))}


def transposed(p: Problem, order: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Kernel, recurrent kernel and both biases `(G H, ...)`, with the gates in another order."""
    kernel, recurrent_kernel, bias = p.weights
    both = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    places = [GATES[p.kind].index(gate) for gate in order]

    def ordered(a: np.ndarray) -> np.ndarray:
        gates = np.split(a, len(order), axis=-1)
        return np.ascontiguousarray(np.concatenate([gates[i] for i in places], axis=-1).T)

    return ordered(kernel), ordered(recurrent_kernel), ordered(both[0]), ordered(both[1])


def onnx_model(p: Problem) -> Any:
    """One recurrent operator: X is time first, the weights are transposed, a bias for each."""
    import onnx

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


CONTENDERS = {
    "keras": keras,
    "torch": torch,
    "onnxruntime": onnxruntime,
    "onnx": onnx,
    "rnn_parity": rnn_parity,
}
"""Those of each process, which is called by the name of its function."""


# Processes of their own.


@dataclass(frozen=True)
class Spent:
    """Seconds that one run took: on the clock, and of the processor in all threads."""

    wall: float
    cpu: float


class Worker:
    """The contenders of one family, in a process that sleeps until it is asked."""

    def __init__(self, family: str, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(family, threads, theirs), daemon=True)
        self.process.start()

    def ask(self, *message: Any) -> Any:
        """Send a request and wait for the answer; exits where the other process could not."""
        self.pipe.send(message)
        found = self.pipe.recv()
        if isinstance(found, str):
            raise SystemExit(found)
        return found

    def stop(self) -> None:
        """End the process."""
        self.pipe.send(None)
        self.process.join(10)


def serve(family: str, threads: int, pipe: Any) -> None:
    """Answer requests: ("prepare", problem), ("compute", name), ("time", name, seconds)."""
    ready: dict[str, Callable[[], Any]] = {}
    while (message := pipe.recv()) is not None:
        what, *rest = message
        try:
            if what == "prepare":
                ready = CONTENDERS[family](rest[0], threads)
                pipe.send(list(ready))
            elif what == "compute":
                pipe.send(ready[rest[0]]())
            else:
                pipe.send(best(ready[rest[0]], rest[1]))
        except ImportError as error:
            pipe.send(f"{error.name}: {EXTRA}")


FEWEST, MOST, LONG = 3, 20, 1.0
"""Runs of one turn: the first, after others have had the processors, may find both of its threads
on one of them for a while. What takes longer than a second in all is not run again."""


def best(work: Callable[[], Any], seconds: float) -> Spent:
    """The least that a run takes, of as many as go into so many seconds, 3 to 20."""
    runs = [once(work)]
    while len(runs) < MOST:
        spent = sum(run.wall for run in runs)
        if spent >= (LONG if len(runs) < FEWEST else seconds):
            break
        runs.append(once(work))
    return Spent(min(run.wall for run in runs), min(run.cpu for run in runs))


def once(work: Callable[[], Any]) -> Spent:
    """What one run takes."""
    cpu, start = time.process_time(), time.perf_counter()
    work()
    return Spent(time.perf_counter() - start, time.process_time() - cpu)


def workers(threads: int) -> dict[str, Worker]:
    """A process for each family, all with the same number of threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    os.environ.update(QUIET | dict.fromkeys(names, str(threads)))
    return {family: Worker(family, threads) for family in CONTENDERS}


def observed(p: Problem, who: dict[str, Worker]) -> Problem:
    """The problem with what Keras computes, which all are told."""
    who["keras"].ask("prepare", p)
    outputs, *states = who["keras"].ask("compute", TENSORFLOW)
    return replace(p, outputs=outputs, final_state=states[0] if len(states) == 1 else states)
