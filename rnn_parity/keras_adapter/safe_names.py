"""Which names the description of a saved model may hold: such as run no code when Keras loads it.

Keras turns a description into objects by the names in it. Some of its classes hold Python code or
read other files, and Keras 2 imports whatever module the description names and calls what it finds
there; its own safe mode stops some of this in some versions. So names are let through by a list,
before Keras sees the file: Keras's own classes and functions, what was registered with Keras in
this process, and TensorFlow's operations on numbers. Nothing is imported by what is decided here.
"""

from __future__ import annotations

import builtins
from collections.abc import Collection, Mapping
from typing import Any

from rnn_parity.keras_adapter.old_files import objects_in

RUNS_CODE = {
    "Lambda": "a Lambda layer",
    "__lambda__": "a lambda",
    "ClassMethod": "a layer that calls a method of any class",
    "TensorFlowOpLayer": "a layer of an unknown operation",
    "TFSMLayer": "a layer that runs another file",
    "TorchModuleWrapper": "a pickled PyTorch module",
    "FlaxLayer": "a layer of Python code",
    "JaxLayer": "a layer of Python code",
}
"""Keras's own classes whose description holds code, or says where code is."""
OPERATIONS = ("TFOpLambda", "SlicingOpLambda")
"""Keras 2's layers of one operation of TensorFlow's each, which they name."""
METHODS = ("InstanceMethod", "InstanceProperty")
"""Keras 2's layers of one method or property of a tensor each."""
FAMILIES = ("__operators__.", "math.", "nn.", "linalg.", "bitwise.", "signal.", "strings.")
"""Beginnings of the names of TensorFlow's operations on tensors alone: nothing is read or written.

`compat.v1.` may stand before them.
"""
READS_FILE = "sampler"
"""In the names of the operations of `FAMILIES` that read a vocabulary."""
PLAIN_TEXT = """
abs acos acosh add add_n argmax argmin argsort asin asinh atan atan2 atanh batch_to_space
bitcast boolean_mask broadcast_to cast clip_by_norm clip_by_value complex concat constant
convert_to_tensor cos cosh cumsum divide einsum ensure_shape equal exp expand_dims eye fill
floor gather gather_nd greater greater_equal identity less less_equal linspace logical_and
logical_not logical_or matmul maximum meshgrid minimum multiply negative norm not_equal one_hot
ones ones_like pad pow range rank realdiv reduce_all reduce_any reduce_logsumexp reduce_max
reduce_mean reduce_min reduce_prod reduce_sum repeat reshape reverse reverse_sequence roll round
scatter_nd searchsorted sequence_mask shape sigmoid sign sin sinh size slice sort space_to_batch
split sqrt square squeeze stack stop_gradient strided_slice subtract tan tanh tensordot tile
transpose truediv unique unstack where zeros zeros_like image.resize random.normal
random.uniform random.stateless_normal random.stateless_uniform keras.activations.relu
keras.backend.batch_dot keras.backend.concatenate keras.backend.dot keras.backend.expand_dims
keras.backend.mean keras.backend.permute_dimensions keras.backend.repeat keras.backend.reshape
keras.backend.reverse keras.backend.softmax keras.backend.squeeze keras.backend.stack
keras.backend.sum keras.backend.tanh
"""
PLAIN = frozenset(PLAIN_TEXT.split())
"""TensorFlow's other operations on tensors alone, by their whole names."""
PACKAGES = ("keras", "tf_keras")
CLASS_ROOMS_TEXT = """
activations backend constraints dtype_policies engine initializers layers legacy losses metrics
mixed_precision models operations ops optimizer_v2 optimizers quantizers random regularizers
"""
CLASS_ROOMS = frozenset(CLASS_ROOMS_TEXT.split())
"""Where Keras has the classes that a description may name."""
FUNCTION_ROOMS = frozenset(
    ("activations", "constraints", "initializers", "losses", "metrics", "ops")
)
"""Where Keras has functions of tensors."""
TENSOR_SPECS = ("TensorSpec", "RaggedTensorSpec", "SparseTensorSpec")


def runs_code(config: Any, known: Collection[str] = ()) -> str | None:
    """What in a model's description would run code or read other files when it is loaded.

    None where there is nothing of that kind; `known` names what was registered with Keras.
    """
    return next((what for part in objects_in(config) if (what := code_in(part, known))), None)


def unregistered(config: Any, known: Collection[str] = ()) -> str | None:
    """The first name, quoted, that is neither Keras's nor `known`; None where there is none."""
    return next((name for part in objects_in(config) if (name := foreign(part, known))), None)


def names_of(part: Mapping[str, Any]) -> list[str]:
    """The names by which Keras would look for what `part` describes."""
    keys = ("class_name", "registered_name", "spec_name")
    found = [part.get(key) for key in keys]
    found += [part.get("config")] if part.get("class_name") == "function" else []
    return [name for name in found if isinstance(name, str)]


def is_known(part: Mapping[str, Any], known: Collection[str]) -> bool:
    """Whether Keras finds it among what was registered, and looks nowhere else."""
    key = "config" if part.get("class_name") == "function" else "registered_name"
    name = part.get(key, part.get("class_name"))
    return isinstance(name, str) and name in known


def code_in(part: Mapping[str, Any], known: Collection[str]) -> str | None:
    """What in one object of a description runs code or reads other files."""
    if any(key.endswith("_type") and part[key] in ("lambda", "function") for key in part):
        return RUNS_CODE["Lambda"]  # of a Lambda layer's function, mask or output shape
    for name in names_of(part):
        if name in known:
            continue
        last = name.replace(">", ".").rpartition(".")[2]
        if last in RUNS_CODE:
            return RUNS_CODE[last]
        own = part.get("config")
        if isinstance(own, Mapping) and (what := code_of_layer(last, own)):
            return what
    return None


def code_of_layer(name: str, config: Mapping[str, Any]) -> str | None:
    """What a layer of the class `name` runs or reads because of its own entries."""
    if name in OPERATIONS and not is_operation(config.get("function")):
        return f"the operation {config.get('function')!r:.80}, not on the list of safe ones"
    attribute = config.get("attr_name")
    is_public = isinstance(attribute, str) and attribute.isidentifier() and attribute[0] != "_"
    if name in METHODS and not is_public:
        return f"a layer of the method {attribute!r:.80}"
    if isinstance(config.get("vocabulary"), str):
        return "a layer that reads its vocabulary from another file"
    return None


def is_operation(name: Any) -> bool:
    """Whether it names one of TensorFlow's public operations on tensors alone."""
    if not isinstance(name, str):
        return False
    plain = name.removeprefix("compat.v1.")
    if plain in PLAIN:
        return True
    family = next((one for one in FAMILIES if plain.startswith(one)), None)
    return (
        family is not None and READS_FILE not in plain and plain.removeprefix(family).isidentifier()
    )


def foreign(part: Mapping[str, Any], known: Collection[str]) -> str | None:
    """The name in one object of a description, quoted, if it is not Keras's."""
    module = part.get("module")
    described = "class_name" in part or "spec_name" in part
    if module is None or not described or is_known(part, known):
        return None
    names = names_of(part)
    is_function = part.get("class_name") == "function"
    kept = isinstance(module, str) and all(
        is_kerass(module, name, is_function) for name in names if name != "function"
    )
    if kept or is_tensor_spec(part):
        return None
    name = part.get("config") if is_function else part.get("class_name")
    return f"{name!r:.80}"


def is_kerass(module: str, name: str, is_function: bool) -> bool:
    """Whether Keras would find `name` in a part of its own that computes."""
    if module == "builtins":  # Keras looks among its own functions first, then really there
        return is_function and name.isidentifier() and not hasattr(builtins, name)
    package, *rooms = module.split(".")
    rooms = [room for room in rooms if room != "src" and not room.startswith("_")]
    if package not in PACKAGES or not name.isidentifier():
        return False
    if is_function:
        return bool(rooms) and rooms[0] in FUNCTION_ROOMS
    return name[:1].isupper() and (not rooms or rooms[0] in CLASS_ROOMS)


def is_tensor_spec(part: Mapping[str, Any]) -> bool:
    """Whether it describes the type of one of TensorFlow's tensors."""
    return (
        part.get("class_name") == "__typespec__"
        and part.get("spec_name") in TENSOR_SPECS
        and part.get("registered_name") is None
        and str(part.get("module")).startswith("tensorflow.python.")
    )
