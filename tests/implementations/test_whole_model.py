"""Whole models against their exports: right ones, such with mistakes, and what does not belong."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from exports import (
    ARCHITECTURES,
    BATCH,
    K,
    L,
    built,
    exported,
    inputs_of,
    mistaken,
    randomised,
    recurrent,
)

import rnn_parity as rp
from rnn_parity.cli import main as cli
from rnn_parity.errors import InputError
from rnn_parity.implementations.tensors import (
    EIGHT_BITS,
    FULL,
    HALF,
    NEAR,
    Tensors,
    distance,
    nearness_of,
    views,
)

pytest.importorskip("onnx")
pytest.importorskip("tf2onnx")
pytest.importorskip("ai_edge_litert")

FORMS = ("onnx", "tflite")
FIXTURES = Path(__file__).parents[2] / "fixtures"


def written(folder, model, form):
    path = folder / f"model.{form}"
    path.write_bytes(exported(model, form))
    return str(path)


def found(report):
    """The verdict of each layer by its name, with the ids of its causes."""
    return {
        one.subject.layer_name: (one.verdict, *(cause.fault for cause in one.causes))
        for one in report.checks
    }


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_right_exports_are_in_parity(name, tmp_path):
    model = built(name)
    inputs = inputs_of(model)
    report = rp.check(model, inputs, against=[written(tmp_path, model, form) for form in FORMS])
    assert {one.verdict for one in report.checks} == {"parity"}, report
    assert report, report
    assert len(report.model_outputs) == len(FORMS) * len(model.outputs)
    assert all(one.effective_bits > 16 for one in report.model_outputs)
    assert not any(one.subject.layer_name.endswith("/merge") for one in report.checks)


@pytest.mark.parametrize(
    ("model", "export", "names"),
    [
        # A node for each operation of each step.
        ("torch.keras", "torch.onnx", ["first", "second"]),
        # Fused operators, which name their own state.
        (
            "fused.h5",
            "fused.tflite",
            ["first", "both/forward/lstm", "both/backward/lstm", "last"],
        ),
    ],
)
def test_exports_by_other_programs(model, export, names, tmp_path, capsys):
    paths = [str(FIXTURES / "exports" / name) for name in (model, export)]
    options = ["--batch", str(BATCH), "--format", "json"]
    assert cli.main(["check", paths[0], "--against", paths[1], *options]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["subject"]["layer_name"] for one in document["checks"]] == names
    assert document["model_outputs"][0]["effective_bits"] > 16


@pytest.mark.parametrize(
    ("name", "layer", "form"),
    [
        ("stacked", "second", "onnx"),
        ("both_directions", "outer/backward/lstm", "onnx"),
        ("encoder_decoder", "encoder", "tflite"),
        ("masked", "second", "tflite"),
    ],
)
@pytest.mark.parametrize("mistake", ["weights", "gates", "direction", "activation", "mask"])
def test_a_mistake_is_found_in_its_layer_and_named(name, layer, form, mistake, tmp_path):
    if mistake == "mask" and name != "masked":
        pytest.skip("nothing is masked")
    other, fault = mistaken(name, layer, mistake)
    model = built(name)
    report = rp.check(model, inputs_of(model), against=written(tmp_path, other, form))
    lost = {key: value for key, value in found(report).items() if value != ("parity",)}
    assert [*lost] == [layer], report
    verdict, *causes = lost[layer]
    assert verdict == "diverged"
    assert fault in causes if fault else not causes
    (output,) = report.model_outputs
    assert (output.differs, output.first_layer) == (True, layer)


@pytest.mark.parametrize("form", FORMS)
def test_a_state_that_was_exported_with_the_model_is_found(form, tmp_path, monkeypatch):
    """The model was called before it was exported, and starts from the state of that call."""
    model, other = built("stateful"), built("stateful")
    monkeypatch.setattr("rnn_parity.keras_adapter.reset_states", lambda model: None)
    export = written(tmp_path, other, form)
    monkeypatch.undo()
    report = rp.check(model, inputs_of(model), against=export)
    assert found(report) == {"rnn": ("diverged", "first-state-differs")}


def test_a_saved_model_is_judged_like_other_exports(tmp_path):
    model = built("encoder_decoder")
    for name, one in (
        ("right", model),
        ("wrong", mistaken("encoder_decoder", "decoder", "gates")[0]),
    ):
        one.export(tmp_path / name, format="tf_saved_model", verbose=False)
    inputs = inputs_of(model)
    assert rp.check(model, inputs, against=str(tmp_path / "right"))
    report = rp.check(model, inputs, against=f"{tmp_path / 'wrong'}/")
    assert found(report) == {"encoder": ("parity",), "decoder": ("diverged", "gates-permuted")}


def test_a_saved_model_that_reads_files_is_refused_before_it_is_loaded(tmp_path):
    import tensorflow as tf

    class Reads(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 9, 5))])
        def serve(self, x):
            return x + tf.strings.to_number(tf.io.read_file("/etc/hostname"))

    tf.saved_model.save(Reads(), str(tmp_path / "reads"))
    model = built("sequence")
    with pytest.raises(InputError, match="holds the operation ReadFile"):
        rp.check(model, inputs_of(model), against=str(tmp_path / "reads"))


@pytest.mark.parametrize("form", FORMS)
def test_other_layers_are_no_proof_and_no_pass(form, tmp_path):
    """Every recurrent layer is right, and the Dense after them is not."""
    model, other = built("stacked"), built("stacked")
    dense = other.layers[-1]
    dense.kernel.assign(dense.kernel[::-1])
    report = rp.check(model, inputs_of(model), against=written(tmp_path, other, form))
    assert {one.verdict for one in report.checks} == {"parity"}
    assert (report.verdict, report.exit_code, bool(report)) == ("inconclusive", 3, False)
    assert report.model_outputs[0].first_layer == model.layers[-1].name
    assert f"after the layer '{model.layers[-1].name}'" in " ".join(str(report).split())
    assert '"first_layer": "dense' in report.to_json()


def test_a_layer_in_another_order_of_outputs_is_the_first_that_is_lost(tmp_path):
    """The two directions of a `Bidirectional` are joined the wrong way round."""
    x = L.Input((9, 5))
    forward = L.LSTM(4, return_sequences=True, name="forward")
    backward = L.LSTM(4, return_sequences=True, go_backwards=True, name="backward")
    both = L.Bidirectional(forward, backward_layer=backward, name="both")
    model = randomised(K.Model(x, L.Dense(2)(L.GRU(3, name="after")(both(x)))))
    parts = [L.LSTM(4, return_sequences=True, go_backwards=back) for back in (True, False)]
    last, first = parts[0](x), parts[1](x)
    wrong = L.Concatenate()([K.ops.flip(last, axis=1), first])
    other = K.Model(x, L.Dense(2)(L.GRU(3, name="after")(wrong)))
    parts[0].set_weights(both.backward_layer.get_weights())
    parts[1].set_weights(both.forward_layer.get_weights())
    for mine, theirs in zip(model.layers[-2:], other.layers[-2:], strict=True):
        theirs.set_weights(mine.get_weights())
    report = rp.check(model, inputs_of(model), against=written(tmp_path, other, "onnx"))
    assert not report
    verdicts = found(report)
    assert verdicts["both/forward/forward"] == verdicts["both/backward/backward"] == ("parity",)
    assert verdicts["after"][0] == "inconclusive"
    assert report.model_outputs[0].first_layer == "both"


def padded(mask):
    x = L.Input((30,), dtype="int32")
    y = L.GRU(6, name="rnn")(L.Embedding(20, 5, mask_zero=mask)(x))
    return K.Model(x, L.Dense(2)(y))


def test_a_mask_that_is_forgotten_in_the_end_is_seen_in_an_open_loop(tmp_path):
    """The last output alone would pass: its bound over 30 timesteps is wide."""
    model, other = randomised(padded(True)), padded(False)
    other.set_weights(model.get_weights())
    tokens = np.random.default_rng(0).integers(1, 20, (BATCH, 30)).astype("int32")
    tokens[:, :12] = 0
    report = rp.check(model, tokens, against=written(tmp_path, other, "onnx"))
    assert found(report) == {"rnn": ("diverged", "mask-ignored")}
    assert rp.check(model, tokens, against=written(tmp_path, model, "onnx"))
    alone = rp.check(model, tokens, against=written(tmp_path, model, "tflite"))
    assert "may be forgotten by then" in str(alone)


def test_slices_of_an_outer_axis(tmp_path):
    x = L.Input((3, 9, 5))
    y = L.TimeDistributed(L.LSTM(4, return_sequences=True, name="rnn"), name="each")(x)
    model = randomised(K.Model(x, L.Dense(2)(y)))
    report = rp.check(model, inputs_of(model), against=written(tmp_path, model, "onnx"))
    assert report.verdict in ("parity", "inconclusive")
    assert report.model_outputs[0].effective_bits > 16


def two_outputs(swapped=False):
    x = L.Input((9, 5))
    y = L.LSTM(4, name="rnn")(x)
    outputs = [L.Dense(3, name=name)(y) for name in ("start", "end")]
    return K.Model(x, outputs[::-1] if swapped else outputs)


def test_outputs_in_another_order_differ(tmp_path):
    model, other = randomised(two_outputs()), two_outputs(swapped=True)
    for name in ("rnn", "start", "end"):
        other.get_layer(name).set_weights(model.get_layer(name).get_weights())
    report = rp.check(model, inputs_of(model), against=written(tmp_path, other, "onnx"))
    assert (report.verdict, report.exit_code) == ("inconclusive", 3)
    assert all(one.differs for one in report.model_outputs)


def test_outputs_with_other_axes_differ(tmp_path):
    import onnx

    model = built("sequence")
    whole = onnx.ModelProto.FromString(exported(model, "onnx"))
    (output,) = whole.graph.output
    turned = onnx.helper.make_node("Transpose", [output.name], ["turned"], perm=[1, 0, 2])
    whole.graph.node.append(turned)
    del whole.graph.output[:]
    whole.graph.output.append(
        onnx.helper.make_tensor_value_info("turned", onnx.TensorProto.FLOAT, None)
    )
    onnx.save(whole, tmp_path / "turned.onnx")
    report = rp.check(model, inputs_of(model), against=str(tmp_path / "turned.onnx"))
    assert (report.verdict, report.exit_code) == ("inconclusive", 3)


def test_one_wrong_unit_of_an_output_is_not_hidden_by_large_ones(tmp_path):
    model, other = built("sequence"), built("sequence")
    for one in (model, other):
        one.layers[-1].bias.assign([5000.0, 0.1, 0.2])
    kernel = other.layers[-1].kernel
    kernel.assign(kernel * [1.0, -1.0, 1.0])
    report = rp.check(model, inputs_of(model), against=written(tmp_path, other, "onnx"))
    assert (report.verdict, report.exit_code) == ("inconclusive", 3)


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    model = built("sequence")
    inputs = inputs_of(model)
    inputs[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="holds NaN or infinity"):
        rp.check(model, inputs, against=written(tmp_path, model, "onnx"))


def test_an_export_that_computes_nan_says_so_in_its_sentence(tmp_path):
    model, other = built("sequence"), built("sequence")
    (layer,) = recurrent(other).values()
    kernel = np.array(layer.cell.kernel)
    kernel[0, 0] = np.nan
    layer.cell.kernel.assign(kernel)
    report = rp.check(model, inputs_of(model), against=written(tmp_path, other, "tflite"))
    assert report.exit_code == 3
    assert "numbers of the export are not finite where Keras's are" in report.render(quiet=True)
    assert "holds NaN or infinity where Keras's is finite" in " ".join(str(report).split())


def test_an_export_of_another_batch_says_how_many_samples_it_takes(tmp_path):
    model = built("stacked")
    export = written(tmp_path, model, "tflite")
    with pytest.raises(InputError, match=f"takes {BATCH} samples at once and no others: give it a"):
        rp.check(model, inputs_of(model)[:2], against=export)


def test_layers_that_are_nowhere_are_named(tmp_path):
    model = built("sequence")
    x = L.Input((9, 5))
    other = randomised(K.Model(x, L.Dense(3)(L.Dense(7)(x))))
    report = rp.check(model, inputs_of(model), against=written(tmp_path, other, "onnx"))
    (check,) = report.checks
    assert (check.verdict, report.exit_code) == ("inconclusive", 3)
    assert "found nowhere in the export" in check.summary
    assert "no tensor has the shape of its outputs" in check.summary


def test_eight_bit_weights_are_never_parity_and_not_lost(tmp_path):
    import tensorflow as tf

    x = L.Input((9, 40))  # LiteRT leaves matrices of less than 1,024 numbers as they are
    model = randomised(K.Model(x, L.Dense(2)(L.GRU(40, return_sequences=True, name="rnn")(x))))
    fixed = K.Model(port := K.Input(batch_shape=(BATCH, 9, 40)), model(port))
    converter = tf.lite.TFLiteConverter.from_keras_model(fixed)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    (tmp_path / "model.tflite").write_bytes(converter.convert())
    report = rp.check(model, inputs_of(model), against=str(tmp_path / "model.tflite"))
    assert report.verdict != "parity"
    assert "not compared" not in str(report)


def test_the_command_line_takes_the_sizes_that_an_export_fixes(tmp_path, capsys):
    model = built("several_inputs_and_outputs")
    model.save(tmp_path / "model.keras")
    export = written(tmp_path, model, "tflite")
    assert cli.main(["check", str(tmp_path / "model.keras"), "--against", export]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"batch {BATCH}, timesteps 9" in shown
    assert "model output each: " in shown
    assert "bits in common" in shown


@pytest.mark.parametrize("source", ["other.onnx", "other.tflite", "other/"])
def test_models_that_do_not_belong_together_are_shown_side_by_side(source, tmp_path, capsys):
    built("stacked").save(tmp_path / "model.keras")
    other = built("encoder_decoder")
    if source.endswith("/"):
        other.export(tmp_path / "other", format="tf_saved_model", verbose=False)
    else:
        (tmp_path / source).write_bytes(exported(other, source.partition(".")[2]))
    capsys.readouterr()
    model = str(tmp_path / "model.keras")
    assert cli.main(["check", model, "--against", str(tmp_path / source)]) == 2
    shown = capsys.readouterr().err.splitlines()[-1]
    assert "expected the inputs of the model" in shown
    assert "source (" in shown
    assert "target (" in shown


def test_operators_of_tensorflow_are_refused_in_one_line(tmp_path, capsys):
    import tensorflow as tf

    model = built("sequence")
    model.save(tmp_path / "model.keras")
    model.export(tmp_path / "folder", format="tf_saved_model", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "folder"))
    sets = tf.lite.OpsSet
    converter.target_spec.supported_ops = [sets.TFLITE_BUILTINS, sets.SELECT_TF_OPS]
    (tmp_path / "flex.tflite").write_bytes(converter.convert())
    paths = [str(tmp_path / name) for name in ("model.keras", "flex.tflite")]
    capsys.readouterr()
    assert cli.main(["check", paths[0], "--against", paths[1]]) == 2
    assert "holds operators of TensorFlow itself (Flex)" in capsys.readouterr().err


def test_a_folder_that_is_no_saved_model_is_refused_before_keras_is_loaded(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"")
    model = str(tmp_path / "model.keras")
    program = (
        "import sys\nfrom rnn_parity.cli.main import main\n"
        f"code = main(['check', {model!r}, '--against', {str(tmp_path)!r} + '/'])\n"
        "assert 'keras' not in sys.modules and 'tensorflow' not in sys.modules\nsys.exit(code)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 2, ran.stderr
    assert "expected a SavedModel folder" in ran.stderr


def test_the_branch_of_an_if_that_is_taken_is_seen_into(tmp_path):
    """The LSTM of an export, put into a branch as PyTorch's exporter does it."""
    import onnx
    from onnx import helper

    model = built("sequence")
    whole = onnx.ModelProto.FromString(exported(model, "onnx"))
    graph = whole.graph
    (place,) = (k for k, node in enumerate(graph.node) if node.op_type == "LSTM")
    inner = onnx.NodeProto()
    inner.CopyFrom(graph.node[place])
    outputs = [name for name in inner.output if name]
    kind = onnx.TensorProto.FLOAT
    body = helper.make_graph(
        [inner], "then", [], [helper.make_tensor_value_info(n, kind, None) for n in outputs]
    )
    zero = helper.make_tensor("zero", kind, [1], [0.0])
    other = helper.make_graph(
        [helper.make_node("Constant", [], [f"other_{n}"], value=zero) for n in outputs],
        "else",
        [],
        [helper.make_tensor_value_info(f"other_{n}", kind, None) for n in outputs],
    )
    condition = helper.make_tensor("yes", onnx.TensorProto.BOOL, [], [True])
    graph.initializer.append(condition)
    choice = helper.make_node(
        "If", ["yes"], [f"taken_{n}" for n in outputs], then_branch=body, else_branch=other
    )
    graph.node[place].CopyFrom(choice)
    for node in graph.node[place + 1 :]:
        node.input[:] = [f"taken_{n}" if n in outputs else n for n in node.input]
    path = str(tmp_path / "branched.onnx")
    onnx.save(whole, path)
    report = rp.check(model, inputs_of(model), against=path)
    assert report
    assert any("found by its weights" in note for note in report.checks[0].notes)


# Where a tensor is looked for.


def test_a_tensor_is_found_in_any_order_of_its_axes():
    wanted = np.random.default_rng(0).normal(size=(2, 3, 4))
    noise = np.random.default_rng(1).normal(size=(3, 4, 2))
    stored = {"noise": noise, "it": wanted.transpose(1, 0, 2)[:, None], "less": wanted[:, :2]}
    match = Tensors(stored).match(wanted)
    assert match.tensor == "it"
    assert np.array_equal(match.array, wanted)
    assert Tensors({"noise": noise}).match(wanted) is None
    backwards = Tensors({"it": wanted[:, ::-1]})
    assert backwards.match(wanted) is None
    assert backwards.match(wanted, reversed_too=True).distance == 0


def test_numbers_that_are_all_the_same_tell_nothing():
    assert Tensors({"zeros": np.zeros((4, 6))}).match(np.zeros((4, 6))) is None


def test_what_is_near_depends_on_most_of_the_weights():
    weights = [("float32", 1000), ("int8", 10)]
    assert nearness_of(weights) == FULL
    assert nearness_of([*weights, ("int8", 5000)]) == EIGHT_BITS
    assert nearness_of([("float16", 5000), ("float32", 40)]) == HALF


def test_nearness_is_relative_to_the_whole_array():
    wanted = np.array([[3.0, -4.0]])
    assert distance(wanted * (1 + NEAR / 2), wanted) == pytest.approx(NEAR / 2)
    assert distance(wanted, np.zeros((1, 2))) == np.inf
    assert distance(np.zeros((1, 2)), np.zeros((1, 2))) == 0
    assert distance(wanted * np.nan, wanted) == np.inf
    assert len(list(views(np.zeros((2, 2)), (2, 2)))) == 2
