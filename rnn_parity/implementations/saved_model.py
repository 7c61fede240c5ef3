"""A SavedModel folder, as `model.export()` or an older Keras writes it, run by TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from rnn_parity import keras_adapter
from rnn_parity.errors import InputError
from rnn_parity.implementations.ports import (
    Port,
    answer_from_outputs,
    feeds,
    inputs_misfit,
    outputs_misfit,
)
from rnn_parity.implementations.request import Answer, Implementation, Request
from rnn_parity.implementations.tensors import Tensors, nearness_of
from rnn_parity.implementations.whole_model import Export, Run
from rnn_parity.system.environment import version_of
from rnn_parity.system.files import absent


def implementation(path: str) -> Implementation:
    """The SavedModel in the folder `path` as an implementation of one layer.

    What it takes and gives is as for an ONNX model. Raises `InputError` for another folder, and,
    when it is asked, for one that TensorFlow cannot load or that has operations on files.
    """
    if not os.path.isdir(path):
        raise InputError(f"against {path!r}: {absent(path)}")
    if not os.path.isfile(os.path.join(path, keras_adapter.GRAPH)):
        raise InputError(
            f"against {path!r}: expected a SavedModel folder, received one without "
            f"{keras_adapter.GRAPH!r}"
        )

    def compute(request: Request) -> Answer:
        model = export(path)
        fed = feeds(request, model.ports, dict.fromkeys((p.name for p in model.ports), False))
        if fed is None:
            raise InputError(f"{model.where}: {inputs_misfit(request, list(model.ports))}")
        outputs = dict(model.run(fed.arrays).outputs)
        found = answer_from_outputs(request, outputs, fed.time_first)
        if found is None:
            raise InputError(f"{model.where}: {outputs_misfit(request, outputs)}")
        return Answer(
            found.outputs,
            found.final_state,
            (*model.notes, *fed.notes, *found.notes),
            left_out=found.left_out,
        )

    return compute


def export(path: str) -> Export:
    """The SavedModel in the folder `path` as the export of a whole Keras model.

    Raises `InputError` as `SavedModel` does.
    """
    where = f"SavedModel {path!r}"
    model = keras_adapter.SavedModel(path, where)
    ports = [Port(name, shape, dtype) for name, shape, dtype in model.inputs]

    def run(arrays: Mapping[str, NDArray[Any]]) -> Run:
        tensors, outputs = model.run(arrays)
        nearness = nearness_of((str(one.dtype), one.size) for one in tensors.values())
        return Run(Tensors({**arrays, **tensors}, nearness), outputs)

    return Export(where, ports, run, (f"TensorFlow {version_of('tensorflow')} ran the folder",))
