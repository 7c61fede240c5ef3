"""Models of TensorFlow.js in files, written from Keras models as the format is documented.

The topology is that of Keras 2, which TensorFlow.js reads: Keras 3 names some things otherwise.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from rnn_parity.errors import MissingPackageError
from rnn_parity.implementations.tfjs.node import runtime

ROOT = Path(__file__).parents[1]
INSTALLED = ROOT / ".venv" / "tfjs" / "node_modules"
"""Where `make tfjs` installs it."""
SAVE = Path(__file__).with_name("tfjs_save.js")
LEFT_OUT = ("initializer", "regularizer", "constraint", "dtype", "seed", "module", "registered")


def found():
    """Node with TensorFlow.js; the test is skipped without."""
    if INSTALLED.exists():
        os.environ["NODE_PATH"] = str(INSTALLED)
    try:
        return runtime("the test")
    except MissingPackageError as error:
        pytest.skip(f"{error} (make tfjs)", allow_module_level=True)


def keras_2(value):
    """A layer's configuration without what changes no result, and Keras 3's own names."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not any(word in k for word in LEFT_OUT)}
        if "batch_shape" in kept:
            kept["batch_input_shape"] = kept.pop("batch_shape")
        return {key: keras_2(one) for key, one in kept.items() if key != "build_config"}
    return [keras_2(one) for one in value] if isinstance(value, (list, tuple)) else value


def topology(model):
    """The topology of a functional or sequential model."""
    layers = [described(layer) for layer in model._layers if hasattr(layer, "_inbound_nodes")]
    ends = {"input_layers": model.inputs, "output_layers": model.outputs}
    places = {
        key: [reference(tensor._keras_history) for tensor in tensors]
        for key, tensors in ends.items()
    }
    config = {"name": model.name, "layers": layers, **places}
    return {"class_name": "Functional", "config": config}


def reference(place):
    """A tensor: the layer, which of its calls, and which output. A model's call 0 is its own."""
    return [place[0].name, int(hasattr(place[0], "_nodes_by_depth")), place[2]]


def described(layer):
    """One layer, and what it is called with."""
    if hasattr(layer, "_nodes_by_depth") and layer.inputs:
        own = topology(layer)
    else:
        own = {"class_name": type(layer).__name__, "config": keras_2(layer.get_config())}
    nodes = []
    for node in layer._inbound_nodes:
        if node.input_tensors:
            # Keras 3 hands masks on as tensors, too, which no layer made.
            places = [tensor._keras_history for tensor in node.input_tensors]
            made = [place for place in places if hasattr(place[0], "get_weights")]
            nodes.append([[*reference(place), {}] for place in made])
    return {**own, "name": layer.name, "inbound_nodes": nodes}


def weights_of(model):
    """The weights by TensorFlow.js's names."""
    found = {}
    for layer in model.layers:
        halves = {}
        if hasattr(layer, "forward_layer"):
            halves = {"forward_": layer.forward_layer, "backward_": layer.backward_layer}
        if hasattr(layer, "_nodes_by_depth"):
            found |= weights_of(layer)
        elif halves:
            inner = layer.get_config()["layer"]["config"]["name"]
            for side, half in halves.items():
                found |= own_weights(half, f"{layer.name}/{side}{inner}")
        else:
            found |= own_weights(layer, layer.name)
    return found


def own_weights(layer, name):
    cell = getattr(layer, "cell", layer)
    return {f"{name}/{w.name}": w.numpy() for w in cell.weights if "seed" not in w.name}


def write(folder, topology, weights, shards=1, quantized=None, **document):
    """Write a model; `quantized` is uint8, uint16 or float16 for all weights. Its path."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    specs, data = [], b""
    for name, array in weights.items():
        spec = {"name": name, "shape": list(array.shape), "dtype": str(array.dtype)}
        if quantized:
            spec["quantization"], array = quantize(array, quantized)
        specs.append(spec)
        data += array.tobytes()
    size = -(-len(data) // shards)
    names = [f"group1-shard{i + 1}of{shards}.bin" for i in range(shards)]
    for i, name in enumerate(names):
        (folder / name).write_bytes(data[i * size : (i + 1) * size])
    whole = {
        "format": "layers-model",
        "modelTopology": {"keras_version": "2.15.0", "model_config": topology},
        "weightsManifest": [{"paths": names, "weights": specs}],
        **document,
    }
    path = folder / "model.json"
    path.write_text(json.dumps(whole))
    return str(path)


def quantize(array, dtype):
    """An affine quantization, or float16; and what the manifest says of it."""
    if dtype == "float16":
        return {"dtype": dtype}, array.astype(np.float16)
    low, high = float(array.min()), float(array.max())
    scale = (high - low) / np.iinfo(dtype).max
    steps = np.rint((array.astype(np.float64) - low) / scale).astype(dtype)
    return {"dtype": dtype, "scale": scale, "min": low}, steps


def written(model, folder, **options):
    """A Keras model as a TensorFlow.js model; the path of its `model.json`."""
    return write(folder, topology(model), weights_of(model), **options)


def saved_again(path, folder):
    """The model at `path`, loaded by TensorFlow.js and saved by its own `model.save`."""
    own = found()
    command = [own.node, str(SAVE), own.main, str(path), str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return str(Path(folder) / "model.json")
