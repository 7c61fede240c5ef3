"""A layer that was converted to LiteRT (TensorFlow Lite), run by LiteRT on the CPU."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, MissingPackageError, one_line
from rnn_parity.implementations.ports import (
    Feeds,
    Port,
    answer_from_outputs,
    feeds,
    inputs_misfit,
    named_outputs,
    outputs_misfit,
)
from rnn_parity.implementations.request import Answer, Implementation, Request, path_and_part
from rnn_parity.implementations.tensors import Tensors, nearness_of
from rnn_parity.implementations.whole_model import Export, Run
from rnn_parity.system.environment import version_of
from rnn_parity.system.files import content, readable
from rnn_parity.system.limits import check_numbers

Detail = Mapping[str, Any]
"""What LiteRT tells about one input or output: index, name, shape, dtype, quantization."""
NARROW = {"float16": "float16", "int8": "8-bit integers", "uint8": "8-bit integers"}

FLEX = "Select TensorFlow op"
"""How LiteRT begins to complain of TensorFlow's own operators."""


def implementation(source: str) -> Implementation:
    """The model in a `.tflite` file as an implementation of one layer.

    `source` is its path, followed by `#NAME` for the only one of its outputs that is to be
    compared, or `#NAME,NAME`. Its inputs are the layer's inputs, batch first, and where it takes
    them the initial states and the mask; its outputs the sequence or the last output, and any final
    states. Open sizes are resized; a model of batch 1 gets one sample at a time. Raises
    `InputError` for a file that LiteRT cannot load, and when called for inputs and outputs that are
    not the layer's; `MissingPackageError` without the extra `litert`.
    """
    path, part = path_and_part(source, "tflite")
    where = f"LiteRT model {path!r}"
    required(where)
    with readable(where):
        found = content(path, where)
    make = partial(required(where), model_content=found)
    model = Model(make, where, path, part)
    model.refuse_flex()
    return model.compute


def export(source: str) -> Export | None:
    """The model in a `.tflite` file as the export of a whole Keras model.

    None where one of its outputs is named, which is that of a single layer.
    """
    path, part = path_and_part(source, "tflite")
    where = f"LiteRT model {path!r}"
    make = required(where)
    with readable(where):
        data = content(path, where)
    model = Model(partial(make, model_content=data), where)
    taps = Model(partial(preserving(make), model_content=data), where)
    ports = [open_batch(port_of(*one)) for one in details(model.interpreter, "input").items()]
    return None if part else Export(where, ports, taps.run, model.notes)


def preserving(make: Any) -> Any:
    """An interpreter that keeps every tensor; it warns that this takes memory."""

    def quietly(**options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make(experimental_preserve_all_tensors=True, **options)

    return quietly


def open_batch(port: Port) -> Port:
    """An input that takes any batch: a model of batch 1 gets one sample at a time."""
    return replace(port, shape=(None, *port.shape[1:])) if port.shape[:1] == (1,) else port


def of_content(data: bytes, where: str) -> Implementation:
    """A model in memory as an implementation of one layer; `where` begins its messages."""
    return Model(partial(required(where), model_content=data), where).compute


def required(where: str) -> Any:
    """LiteRT's `Interpreter`; raises `MissingPackageError` without it."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingPackageError(
            f"{where} needs LiteRT ({one_line(error)}); install it with: "
            "pip install 'rnn-parity[litert]'"
        ) from error
    return Interpreter


class Model:
    """A model and how to ask it; each request gets an interpreter of its own, without a past."""

    def __init__(self, make: Any, where: str, path: str = "", part: str | None = None) -> None:
        self.make, self.where = make, where
        self.path, self.part = path, part
        self.interpreter = self._attempt("cannot be loaded", make)
        self.notes = stored_as(self.interpreter)

    def refuse_flex(self) -> None:
        """Raise `InputError` for a model with operators that LiteRT does not have here."""
        check_tensors(self.interpreter, self.where)
        try:
            self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            # What else is wrong with sizes that are still open is said when they are known.
            if FLEX in str(error):
                raise lacks_flex(self.where) from error

    def compute(self, request: Request) -> Answer:
        """What the model computes, and what is known about its arithmetic."""
        inputs = details(self.interpreter, "input")
        ports = {name: port_of(name, detail) for name, detail in inputs.items()}
        requests = [request]
        fed = self._feeds(request, ports)
        if fed is None and all(port.shape[:1] == (1,) for port in ports.values()):
            requests = [sample(request, i) for i in range(len(request.inputs))]
            fed = self._feeds(requests[0], ports)
        if fed is None:
            raise InputError(f"{self.where}: {inputs_misfit(request, list(ports.values()))}")
        answers = [self._answer(one, ports) for one in requests]
        states = zip(*(one.final_state for one in answers), strict=True)
        alone = ("each sample ran alone: the model's batch is 1",) * (len(answers) > 1)
        first = answers[0]
        return Answer(
            np.concatenate([one.outputs for one in answers]),
            tuple(np.concatenate(state) for state in states),
            (*self.notes, *fed.notes, *alone, *first.notes),
            left_out=() if self.part else (*first.left_out, *other_signatures(self.interpreter)),
            part=f"{self.path}#{first.part}" if self.path and first.part else "",
        )

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> Run:
        """All tensors of a run; a model of batch 1 runs each sample, and they are stacked."""
        inputs = details(self.interpreter, "input")
        alone = all(tuple(inputs[name]["shape_signature"][:1]) == (1,) for name in arrays)
        batch = len(next(iter(arrays.values())))
        if not alone or batch == 1:
            tensors, outputs = self._tapped(arrays)
        else:
            each = [
                self._tapped({name: one[i : i + 1] for name, one in arrays.items()})
                for i in range(batch)
            ]
            tensors, outputs = (
                {name: np.stack([one[part][name] for one in each]) for name in each[0][part]}
                for part in (0, 1)
            )
        return Run(Tensors({**arrays, **tensors}, nearness_of(self.matrices())), outputs)

    def matrices(self) -> list[tuple[str, int]]:
        """The dtypes of the matrices in all graphs of the model, and how many numbers each has.

        What is constant is not told from what is computed; images that go in are left out.
        """
        inputs = {detail["index"] for detail in details(self.interpreter, "input").values()}
        return [
            (np.dtype(one["dtype"]).name, math.prod(int(n) for n in one["shape"]))
            for graph in range(self.interpreter.num_subgraphs())
            for one in self.interpreter.get_tensor_details(graph)
            if len(one["shape"]) == 2 and not (graph == 0 and one["index"] in inputs)
        ]

    def _tapped(
        self, arrays: Mapping[str, NDArray[Any]]
    ) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """All tensors of one run, and its outputs."""
        interpreter = self.make()
        outputs = self._attempt("LiteRT refused", partial(invoke, interpreter, arrays))
        check_tensors(interpreter, self.where)
        found = {}
        for detail in interpreter.get_tensor_details():
            if np.dtype(detail["dtype"]).kind not in "fiub":
                continue  # a variable; LiteRT may crash when it is asked for one
            with suppress(ValueError):  # a tensor of a delegate, or one that holds nothing
                array = interpreter.get_tensor(detail["index"])
                found[f"{detail['index']} {detail['name']}"] = dequantized(array, detail)
        return found, outputs

    def _feeds(self, request: Request, ports: Mapping[str, Port]) -> Feeds | None:
        return feeds(request, list(ports.values()), dict.fromkeys(ports, False))

    def _answer(self, request: Request, ports: Mapping[str, Port]) -> Answer:
        fed = self._feeds(request, ports)
        assert fed is not None  # it fits as the first one did
        check_tensors(self.interpreter, self.where)
        outputs = self._attempt("LiteRT refused", partial(invoke, self.make(), fed.arrays))
        found = answer_from_outputs(
            request, named_outputs(outputs, self.part, self.where), fed.time_first
        )
        if found is None:
            raise InputError(f"{self.where}: {outputs_misfit(request, outputs)}")
        return found

    def _attempt(self, what: str, action: Any) -> Any:
        try:
            return action()
        except (ValueError, RuntimeError) as error:
            if FLEX in str(error):
                raise lacks_flex(self.where) from error
            raise InputError(f"{self.where}: {what}: {one_line(error)}") from error


def lacks_flex(where: str) -> InputError:
    """What is said of a model with operators of TensorFlow itself."""
    return InputError(
        f"{where}: holds operators of TensorFlow itself (Flex), which LiteRT does not have here; "
        "convert the model with a fixed batch size and without SELECT_TF_OPS, or check the "
        "SavedModel instead"
    )


def check_tensors(interpreter: Any, where: str) -> None:
    """Raise `InputError` where the tensors of a model take more than may be computed."""
    graphs = range(interpreter.num_subgraphs())
    tensors = [one for graph in graphs for one in interpreter.get_tensor_details(graph)]
    sizes = [math.prod(max(int(n), 1) for n in one["shape"]) for one in tensors]
    check_numbers(sum(sizes), where, "convert it for a smaller batch", "tensors")


def invoke(interpreter: Any, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The outputs by name; quantized inputs and outputs are numbers of their own scale."""
    inputs = details(interpreter, "input")
    for name, array in arrays.items():
        if tuple(inputs[name]["shape"]) != array.shape:
            interpreter.resize_tensor_input(inputs[name]["index"], array.shape)
    interpreter.allocate_tensors()
    for name, array in arrays.items():
        interpreter.set_tensor(inputs[name]["index"], quantized(array, inputs[name]))
    interpreter.invoke()
    outputs = details(interpreter, "output")
    return {
        name: dequantized(interpreter.get_tensor(detail["index"]), detail)
        for name, detail in outputs.items()
    }


def details(interpreter: Any, kind: str) -> dict[str, Detail]:
    """The inputs or the outputs in the order of the converted function, which its names tell."""
    signatures = list(interpreter.get_signature_list())
    if len(signatures) == 1:
        runner = interpreter.get_signature_runner(signatures[0])
        found = getattr(runner, f"get_{kind}_details")()
        # output_0, output_1, ... and keras_tensor_9, keras_tensor_10, ...
        return {name: found[name] for name in sorted(found, key=lambda name: (len(name), name))}
    return {detail["name"]: detail for detail in getattr(interpreter, f"get_{kind}_details")()}


def other_signatures(interpreter: Any) -> tuple[str, ...]:
    """The functions of a model beside the first, which is the one that runs."""
    return tuple(f"the signature {name}" for name in list(interpreter.get_signature_list())[1:])


def port_of(name: str, detail: Detail) -> Port:
    """An input as LiteRT describes it; a quantized one takes numbers, too."""
    shape = tuple(None if n < 0 else int(n) for n in detail["shape_signature"])
    dtype = np.float32 if detail["quantization"][0] else detail["dtype"]
    return Port(name, shape, np.dtype(dtype))


def sample(request: Request, i: int) -> Request:
    """The request for one sample alone."""
    part = slice(i, i + 1)
    return replace(
        request,
        inputs=request.inputs[part],
        mask=None if request.mask is None else request.mask[part],
        initial_state=request.initial_state and tuple(s[part] for s in request.initial_state),
    )


def quantized(array: NDArray[Any], detail: Detail) -> NDArray[Any]:
    """`array` as the input `detail` takes it: `q = round(x / scale + zero)`, within its range."""
    scale, zero = detail["quantization"]
    if not scale:
        return array
    limits = np.iinfo(detail["dtype"])
    steps: NDArray[Any] = np.clip(np.rint(array / scale + zero), limits.min, limits.max)
    return steps.astype(detail["dtype"])


def dequantized(array: NDArray[Any], detail: Detail) -> NDArray[Any]:
    """The numbers that an output stands for: `x = scale (q - zero)`."""
    scale, zero = detail["quantization"]
    return (array.astype(np.float32) - zero) * np.float32(scale) if scale else array


def stored_as(interpreter: Any) -> tuple[str, ...]:
    """The runtime, and in which narrow formats the model holds numbers, in any of its subgraphs."""
    found = {
        NARROW.get(np.dtype(tensor["dtype"]).name)
        for graph in range(interpreter.num_subgraphs())
        for tensor in interpreter.get_tensor_details(graph)
    }
    notes = [f"LiteRT {version_of('ai-edge-litert')}"]
    if narrow := sorted(name for name in found if name):
        notes.append(f"the model holds numbers as {' and '.join(narrow)}")
    steps = {detail["quantization"][0] for detail in details(interpreter, "output").values()}
    if largest := max(steps):
        notes.append(f"its outputs are multiples of {largest:.3g}, and its inputs are rounded, too")
    return tuple(notes)
