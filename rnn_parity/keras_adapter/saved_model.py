"""A SavedModel folder: its function for serving, run with every tensor of its graph to be seen."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, one_line
from rnn_parity.keras_adapter.runtime import quiet, tensorflow_module
from rnn_parity.system.files import content, readable
from rnn_parity.system.limits import check_content

GRAPH = "saved_model.pb"
"""The file by which a folder is a SavedModel."""
SERVING = "serving_default"
FILES = r"(Read|Write|Whole|Matching)\w*Files?\w*|\w*(PyFunc|Dataset|TextFile|Debug)\w*|Load\w+"
"""Operations that read or write files, or run code that is not in the folder.

Those of checkpoints are in every SavedModel and left out: they restore its own variables.
"""


class SavedModel:
    """The function for serving of a SavedModel, with its variables in it.

    `inputs` are the names, shapes (None where open) and dtypes of what it takes, in its own order.
    Raises `InputError` for a folder that is damaged, or that holds operations on files or code.
    """

    def __init__(self, path: str, where: str) -> None:
        self.where = where
        self._check(path)
        tf = tensorflow_module()
        try:
            with quiet():
                self._loaded = tf.saved_model.load(path)  # its variables live as long as it does
                signatures = self._loaded.signatures
                function = signatures.get(SERVING) or next(iter(signatures.values()))
                self._frozen(function)
        except StopIteration:
            raise InputError(
                f"{where}: expected a function for serving, received none; export the model again"
            ) from None
        except Exception as error:  # a damaged folder surfaces as any exception
            if "AssignVariableOp" in str(error):
                raise InputError(
                    f"{self.where}: a call of it changes variables (a stateful layer, or random "
                    "numbers for dropout in a recurrent layer), so that its tensors are not seen; "
                    "export it to ONNX or LiteRT, or without these options"
                ) from error
            raise InputError(f"{where}: TensorFlow cannot load it: {one_line(error)}") from error

    def _check(self, path: str) -> None:
        from tensorflow.core.protobuf import saved_model_pb2

        with readable(self.where):
            data = content(os.path.join(path, GRAPH), self.where)
            sizes = [
                os.path.getsize(os.path.join(folder, name))
                for folder, _, names in os.walk(path)
                for name in names
            ]
        check_content(sum(sizes), self.where, "content")
        try:
            saved = saved_model_pb2.SavedModel.FromString(data)
        except Exception as error:  # protobuf's own class of errors
            raise InputError(
                f"{self.where}: damaged ({one_line(error)}); export it again"
            ) from error
        for graph in (one.graph_def for one in saved.meta_graphs):
            nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
            for node in nodes:
                if re.fullmatch(FILES, node.op):
                    raise InputError(
                        f"{self.where}: holds the operation {node.op}, which may read or write "
                        "files or run code; export the model without it"
                    )

    def _frozen(self, function: Any) -> None:
        # There is no public way to one graph without calls and variables.
        from tensorflow.python.framework import convert_to_constants

        tf = tensorflow_module()
        freeze = convert_to_constants.convert_variables_to_constants_v2
        graph = freeze(function, lower_control_flow=False).graph
        named = function.structured_input_signature[1]
        self.inputs = [
            (name, tuple(spec.shape), np.dtype(spec.dtype.as_numpy_dtype))
            for name, spec in named.items()
        ]
        keys = [f"{spec.name}:0" for spec in named.values()]
        self.outputs = list(function.structured_outputs)
        self.tensors = [
            tensor.name
            for operation in graph.get_operations()
            if operation.type not in ("Const", "Placeholder")
            for tensor in operation.outputs
            if tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_bool
        ]
        definition = graph.as_graph_def()
        whole = tf.compat.v1.wrap_function(
            lambda: tf.graph_util.import_graph_def(definition, name=""), []
        )
        self._run = whole.prune(keys, self.tensors)
        self._serve = function

    def run(
        self, arrays: Mapping[str, NDArray[Any]]
    ) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """All tensors by their names, and the outputs by theirs, of a run on inputs by name.

        Raises `InputError` for what TensorFlow refuses.
        """
        tf = tensorflow_module()
        given = [tf.constant(arrays[name]) for name, _, _ in self.inputs]
        try:
            with quiet():
                tensors = [one.numpy() for one in self._run(*given)]
                named = dict(zip((name for name, _, _ in self.inputs), given, strict=True))
                outputs = {name: one.numpy() for name, one in self._serve(**named).items()}
        except Exception as error:  # TensorFlow's own, of many classes
            raise InputError(f"{self.where}: TensorFlow refused: {one_line(error)}") from error
        return dict(zip(self.tensors, tensors, strict=True)), outputs
