"""What a description of a model may name: decided without Keras, on plain data."""

import pytest

from rnn_parity.keras_adapter.safe_names import is_operation, runs_code, unregistered


def part(class_name, module=None, config=None, **more):
    found = {"class_name": class_name, "config": {} if config is None else config, **more}
    return found if module is None else {"module": module, **found}


def function(module, name, registered=None):
    return part("function", module, name, registered_name=registered or name)


def nested(value):
    """`value` in every place of a model that Keras makes objects of."""
    lstm = {"units": 3, "activation": "tanh"}
    return {
        "a layer": value,
        "an activation": part("LSTM", "keras.layers", {**lstm, "activation": value}),
        "a wrapper": part("Bidirectional", "keras.layers", {"layer": value}),
        "a cell": part("RNN", config={"cell": part("StackedRNNCells", config={"cells": [value]})}),
        "a nested model": part("Functional", config={"layers": [{"name": "m", **value}]}),
        "an initializer": part("LSTM", config={**lstm, "kernel_initializer": value}),
        "how it was built": part("LSTM", "keras.layers", lstm, build_config={"x": [value]}),
        "how a part was compiled": {"layers": [part("Model", compile_config={"loss": value})]},
        "an argument of a call": part("Add", inbound_nodes=[[["x", 0, 0, {"y": value}]]]),
        "custom objects": {"custom_objects": {"relu": value}},
    }


PLACES = list(nested({}))
CODE = {
    "Keras 3's lambda": part("__lambda__", config={"value": "4wEA"}),
    "a Lambda of a lambda": part(
        "Lambda", config={"function": ["4wEA"], "function_type": "lambda"}
    ),
    "a Lambda of a name": part("Lambda", "keras.layers", {"function": function("os", "system")}),
    "a Lambda of a mask": part("Lambda", config={"mask": ["4wEA", None, None]}),
    "entries of a Lambda alone": {"mask": ["4wEA", None, None], "mask_type": "lambda"},
    "an output shape": {"output_shape": ["4wEA", None, None], "output_shape_type": "lambda"},
    "a function by name": {"function": "f", "function_type": "function", "module": "os"},
    "a Lambda by its place": part("Lambda", "keras.src.layers.core.lambda_layer"),
    "a Lambda by a path": part("layers.Lambda", "keras"),
    "a Lambda by its registered name": part("X", "keras.layers", registered_name="Lambda"),
    "a Lambda of a package": part("Custom>Lambda"),
    "another file": part("TFSMLayer", "keras.layers", {"filepath": "/model"}),
    "a pickle": part("TorchModuleWrapper", "keras.layers", {"module": "gASV"}),
    "any method": part("ClassMethod", config={"cls_symbol": "io.gfile.GFile", "method_name": "x"}),
    "a hidden method": part("InstanceMethod", config={"attr_name": "__reduce__"}),
    "a graph's node": part("TensorFlowOpLayer", config={"node_def": '{"op": "WriteFile"}'}),
    "a file written": part("TFOpLambda", config={"function": "io.write_file"}),
    "a file read": part("SlicingOpLambda", config={"function": "io.read_file"}),
    "no operation": part("TFOpLambda", "keras.src.layers.core.tf_op_layer", {}),
    "a vocabulary": part("StringLookup", "keras.layers", {"vocabulary": "/etc/passwd"}),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", CODE)
def test_code_is_found_wherever_it_stands(name, place):
    config = nested(CODE[name])[place]
    assert runs_code(config)
    assert runs_code([{"deep": [config]}])


@pytest.mark.parametrize("name", ["a Lambda of a name", "a Lambda by its place"])
def test_a_registered_name_is_no_way_around(name):
    """Older files go by the class, newer ones by the name that it was registered under."""
    config = {**CODE[name], "registered_name": "Scale"}
    assert runs_code(config, {"Scale"})


FOREIGN = {
    "a function of Python": function("os", "system"),
    "a function of Python's own": function("builtins", "eval"),
    "a function of a path": function("keras.src.saving", "serialization_lib.importlib"),
    "a function of Keras that reads": function("keras.utils", "get_file"),
    "a function that loads": function("keras.models", "load_model"),
    "a function of TensorFlow": function("tensorflow.python.ops.io_ops", "write_file"),
    "a class of Python": part("Popen", "subprocess"),
    "a class of Python's own": part("object", "builtins"),
    "a module that a class's module imports": part("importlib", "keras.layers"),
    "an attribute of it": part("importlib.import_module", "keras.layers"),
    "a class that another name leads to": part("Dense", "keras.layers", registered_name="os.x"),
    "a look-alike": part("Dense", "kerassy.layers"),
    "Keras's tools": part("FeatureSpace", "keras.utils"),
    "Keras's savers": part("H5IOStore", "keras.src.saving.saving_lib"),
    "a type": part("__typespec__", "os", [], spec_name="system", registered_name=None),
    "a type of TensorFlow": part(
        "__typespec__", "tensorflow.python.framework", [], spec_name="x", registered_name=None
    ),
    "no module": part("Dense", ["os"]),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_not_kerass_is_found_wherever_it_stands(name, place):
    assert unregistered(nested(FOREIGN[name])[place])


def test_what_was_registered_is_let_through():
    mine = part("Scale", "mine", registered_name="my>Scale")
    assert unregistered(mine) == "'Scale'"
    assert unregistered(mine, {"my>Scale"}) is None
    assert unregistered(function("mine", "bent"), {"bent"}) is None
    # Keras looks for a class by its registered name, and imports the module where it is unknown.
    assert unregistered(mine, {"Scale"}) == "'Scale'"
    assert unregistered(part("Scale", "mine"), {"Scale"}) is None


FINE = {
    "Keras 3's layer": part("LSTM", "keras.layers", registered_name=None),
    "Keras 3's model": part("Functional", "keras.src.models.functional", registered_name="X"),
    "Keras 3's operation": part("GetItem", "keras.src.ops.numpy", registered_name="GetItem"),
    "Keras 2's model": part("Functional", "tf_keras.src.engine.functional"),
    "an older model of Keras 2": part("Functional", "keras.engine.functional"),
    "a policy": part("DTypePolicy", "keras", {"name": "float32"}, registered_name=None),
    "a schedule": part("ExponentialDecay", "keras.optimizers.schedules"),
    "an activation": function("builtins", "relu"),
    "a loss": function("keras.losses", "mean_squared_error"),
    "a slice": part("__slice__", config={"start": None, "stop": 4, "step": None}),
    "numbers": part("__numpy__", config={"value": [1.0], "dtype": "float32"}),
    "an input": part("__keras_tensor__", config={"shape": [None, 3], "dtype": "float32"}),
    "a tensor's type": part(
        "__typespec__",
        "tensorflow.python.framework.tensor_spec",
        [[None, 3], "float32"],
        spec_name="TensorSpec",
        registered_name=None,
    ),
    "an operation": part("TFOpLambda", config={"function": "math.multiply"}),
    "part of a tensor": part("SlicingOpLambda", config={"function": "__operators__.getitem"}),
    "a property": part("InstanceProperty", config={"attr_name": "shape"}),
    "a file of older times": part("LSTM", config={"units": 3}),
    "words": {"name": "lambda", "layers": ["Lambda", "os.system"], "vocabulary": "x"},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", FINE)
def test_what_keras_writes_itself_is_let_through(name, place):
    config = nested(FINE[name])[place]
    assert runs_code(config) is None
    assert unregistered(config) is None


OPERATIONS = """
concat math.reduce_mean nn.relu linalg.matmul compat.v1.transpose cast __operators__.add
keras.backend.batch_dot strings.upper
"""


@pytest.mark.parametrize("name", OPERATIONS.split())
def test_operations_on_tensors(name):
    assert is_operation(name)


OTHERS = """
io.write_file io.read_file py_function numpy_function print load_op_library raw_ops.WriteFile
nn.fixed_unigram_candidate_sampler saved_model.load function keras.utils.get_file math.x.y math.
import_graph_def map_fn compat.v1.py_func debugging.Assert queue.FIFOQueue data.Dataset
"""


@pytest.mark.parametrize("name", [*OTHERS.split(), "", None, ["cast"]])
def test_everything_else_of_tensorflow(name):
    assert not is_operation(name)


def test_a_description_may_be_nested_deeply():
    config = part("Lambda")
    for _ in range(100_000):
        config = [config]
    assert runs_code(config) == "a Lambda layer"
    assert unregistered(config) is None
