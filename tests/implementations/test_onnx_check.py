"""The operators of an ONNX model, run by ONNX Runtime and held against their own weights."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from onnx_models import FLOAT, B, F, H, T, arrays, helper, model, node, onnx, saved, single

from rnn_parity.api.functions import check_onnx
from rnn_parity.cli import main as cli
from rnn_parity.errors import InputError

FIFTH, THIRD, SIXTH = (float(np.float32(x)) for x in (0.2, 0.3, 1 / 6))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op_type", ["RNN", "LSTM", "GRU"])
def test_operators_are_in_parity(path, op_type, direction):
    variants = [{"linear_before_reset": n} for n in (0, 1)] if op_type == "GRU" else [{}]
    options = itertools.product((True, False), (True, False), (None, [T, 2, 1]), variants)
    for bias, states, lengths, more in options:
        made = single(
            op_type, direction=direction, bias=bias, states=states, lengths=lengths, **more
        )
        report = check_onnx(saved(made, path))
        assert len(report.checks) == (2 if direction == "bidirectional" else 1)
        assert report.verdict == "parity", (bias, states, lengths, more, str(report))
        for check in report.checks:
            assert len(check.timesteps) == T
            rows = [row.name for row in check.final_state]
            assert rows == (["h", "c"] if op_type == "LSTM" else ["h"])


@pytest.mark.parametrize("op_type", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize(
    ("name", "alpha", "beta"),
    [
        ("Relu", [], []),
        ("Sigmoid", [], []),
        ("Softsign", [], []),
        ("Elu", [1.0], []),
        ("LeakyRelu", [FIFTH], []),
        ("LeakyRelu", [THIRD], []),
        ("HardSigmoid", [SIXTH], [0.5]),
        ("HardSigmoid", [], []),
    ],
)
def test_activations(path, op_type, name, alpha, beta):
    names = {"RNN": [name], "LSTM": ["Sigmoid", name, name], "GRU": ["Sigmoid", name]}[op_type]
    count = 2 if op_type == "LSTM" else 1
    attributes = {"activation_alpha": alpha * count, "activation_beta": beta * count}
    attributes = {key: values for key, values in attributes.items() if values}
    report = check_onnx(saved(single(op_type, activations=names, **attributes), path))
    assert report.verdict == "parity", report


def test_what_the_report_says(path):
    (check,) = check_onnx(saved(single("GRU", direction="reverse"), path)).checks
    assert (check.subject.kind, check.subject.path) == ("model", path)
    assert (check.subject.layer_class, check.subject.layer_name) == ("GRU", "cell")
    assert check.subject.against.startswith("ONNX Runtime 1.")
    assert check.subject.config == {"direction": "reverse", "hidden_size": H}
    assert (check.shape.batch, check.shape.timesteps) == (B, T)
    assert (check.shape.features, check.shape.units) == (F, H)


def test_both_directions_have_names(path):
    report = check_onnx(saved(single("LSTM", direction="bidirectional"), path))
    assert [c.subject.layer_name for c in report.checks] == ["cell/forward", "cell/backward"]


def test_what_the_operator_leaves_out_is_seen_as_well(path):
    given = arrays("LSTM")
    made = model([node("LSTM", given, ["", "", "Y_c"])], given, outputs=["Y_c"])
    (check,) = check_onnx(saved(made, path)).checks
    assert (check.verdict, len(check.timesteps), len(check.final_state)) == ("parity", T, 2)


def test_what_is_not_replayed_is_named_beside_what_is(path):
    first, second = arrays("RNN"), arrays("RNN")
    nodes = [
        node("RNN", first, ["Y", "a"], "first"),
        node("RNN", second, ["b", "c"], "", activations=["Affine"]),
    ]
    report = check_onnx(saved(model(nodes, first), path))
    assert [check.verdict for check in report.checks] == ["parity", "inconclusive"]
    assert report.exit_code == 3
    assert report.checks[1].subject.layer_name == "RNN_1"
    said = "not compared: the activation Affine alpha=None beta=None is not replayed"
    assert report.checks[1].summary.startswith(said)


def body(nodes, name="body"):
    """A branch of an If, which computes `out`."""
    outputs = [helper.make_tensor_value_info("out", FLOAT, None)]
    return helper.make_graph(nodes, name, [], outputs)


def choice(given, others, condition, **more):
    """A model with one operator in each branch of an If, of other weights."""
    branches = {
        "then_branch": body([node("RNN", given, ["out", ""], "inside")]),
        "else_branch": body([node("RNN", others, ["out", ""], "other")], "other"),
    }
    branch = helper.make_node("If", ["yes"], ["Y"], name="branch", **branches)
    constant = {"yes": np.array(condition)} if isinstance(condition, bool) else {}
    nodes = [*([] if constant else condition), branch]
    return model(nodes, given | others | constant | more)


@pytest.mark.parametrize(("condition", "ran"), [(True, "inside"), (False, "other")])
def test_the_branch_of_an_if_that_runs_is_checked(path, condition, ran):
    given = arrays("RNN")
    report = check_onnx(saved(choice(given, given, condition), path))
    (check,) = report.checks
    assert (check.verdict, check.subject.layer_name) == ("parity", f"branch/{ran}")
    other = {"inside": "other", "other": "inside"}[ran]
    assert report.notes[0].startswith(f"If branch: its condition was {condition}, so that its ")
    assert report.notes[0].endswith(f"branch: branch/{other}")


def test_a_branch_without_recurrence_proves_nothing(path):
    given = arrays("RNN")
    branches = {
        "then_branch": body([node("RNN", given, ["out", ""], "inside")]),
        "else_branch": body([helper.make_node("Relu", ["X"], ["out"])], "other"),
    }
    branch = helper.make_node("If", ["yes"], ["Y"], name="branch", **branches)
    report = check_onnx(saved(model([branch], given | {"yes": np.array(False)}), path))
    assert (report.checks, report.exit_code) == ((), 3)
    assert "has no recurrent operator" in report.summary
    assert "not run in its then_branch: branch/inside" in report.summary


@pytest.mark.parametrize("sign", [1, -1])
def test_a_condition_on_the_data_is_computed_first(path, sign):
    given = arrays("RNN")
    condition = [
        helper.make_node("ReduceSum", ["X"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["yes"]),
    ]
    zero = {"zero": np.float32(0)}
    made = choice(given, given, condition, **zero)
    X = sign * np.abs(np.random.default_rng(1).normal(size=(T, B, F)))
    (check,) = check_onnx(saved(made, path), X).checks
    names = {1: "branch/inside", -1: "branch/other"}
    assert (check.verdict, check.subject.layer_name) == ("parity", names[sign])


def test_branches_in_branches_with_names_that_occur_twice(path):
    given = arrays("LSTM")
    # Each branch has a tensor "half" of its own; X and the weights come from the graph around it.
    inner = [
        helper.make_node("Mul", ["X", "quarter"], ["half"]),
        helper.make_node("LSTM", ["half", *given], ["out"], name="cell", hidden_size=H),
    ]
    deep = helper.make_node(
        "If", ["yes"], ["out"], then_branch=body(inner), else_branch=body(inner)
    )
    outer = [helper.make_node("Identity", ["quarter"], ["kept"]), deep]
    nodes = [
        helper.make_node(
            "If",
            ["yes"],
            [f"Y{i}"],
            name=f"if{i}",
            then_branch=body(outer),
            else_branch=body(inner),
        )
        for i in (1, 2)
    ]
    more = {"yes": np.array(True), "quarter": np.float32(0.25)}
    report = check_onnx(saved(model(nodes, given | more, outputs=["Y1", "Y2"]), path))
    assert [check.verdict for check in report.checks] == ["parity"] * 2
    names = [check.subject.layer_name for check in report.checks]
    assert names == ["if1/If_1/cell", "if2/If_1/cell"]
    assert report.checks[0].max_ratio > 0


def test_a_branch_in_a_loop_is_named(path):
    given = arrays("RNN")
    inner = [node("RNN", given, ["out", ""], "inside")]
    branch = helper.make_node(
        "If", ["yes"], ["Z"], name="if", then_branch=body(inner), else_branch=body(inner, "other")
    )
    boolean = onnx.TensorProto.BOOL
    step = helper.make_graph(
        [branch, helper.make_node("Identity", ["go"], ["on"])],
        "step",
        [
            helper.make_tensor_value_info("i", onnx.TensorProto.INT64, []),
            helper.make_tensor_value_info("go", boolean, []),
        ],
        [
            helper.make_tensor_value_info("on", boolean, []),
            helper.make_tensor_value_info("Z", FLOAT, None),
        ],
    )
    loop = helper.make_node("Loop", ["count", "yes"], ["Y"], name="loop", body=step)
    more = {"yes": np.array(True), "count": np.array(2)}
    report = check_onnx(saved(model([loop], given | more), path))
    assert {check.verdict for check in report.checks} == {"inconclusive"}
    assert "it is in the body of If loop/if" in report.checks[0].summary


def test_a_loop_is_named(path):
    state = helper.make_tensor_value_info("state", FLOAT, [B, F])
    step = helper.make_graph(
        [helper.make_node("Add", ["state", "x"], ["next"])],
        "step",
        [state, helper.make_tensor_value_info("x", FLOAT, [B, F])],
        [helper.make_tensor_value_info("next", FLOAT, [B, F])],
    )
    scan = helper.make_node("Scan", ["start", "X"], ["Y"], name="sum", body=step, num_scan_inputs=1)
    start = {"start": np.zeros((B, F), np.float32)}
    (check,) = check_onnx(saved(model([scan], start), path)).checks
    assert (check.verdict, check.subject.layer_name) == ("inconclusive", "sum")
    assert "--against" in check.summary


def test_an_operator_of_another_domain_is_named(path):
    imports = [helper.make_opsetid("com.microsoft", 1)]
    other = helper.make_node(
        "DynamicQuantizeLSTM", ["X"], ["Y"], name="small", domain="com.microsoft", hidden_size=H
    )
    (check,) = check_onnx(saved(model([other], {}, imports=imports), path)).checks
    assert check.verdict == "inconclusive"
    assert "com.microsoft.DynamicQuantizeLSTM is not one of ONNX's own" in check.summary


def test_an_operator_inside_a_function_is_checked(path):
    given = arrays("GRU")
    names = ["X", *given]
    opset = [helper.make_opsetid("", 14)]
    cell = node("GRU", given, ["Y"])
    function = helper.make_function("own", "Layer", names, ["Y"], [cell], opset)
    call = helper.make_node("Layer", names, ["Y"], domain="own")
    imports = [helper.make_opsetid("own", 1)]
    made = model([call], given, imports=imports, functions=[function])
    assert check_onnx(saved(made, path)).verdict == "parity"


def test_a_model_without_recurrence(path):
    made = model([helper.make_node("Relu", ["X"], ["Y"])], {})
    report = check_onnx(saved(made, path))
    assert (report.checks, report.exit_code) == ((), 3)
    assert "has no recurrent operator" in report.summary


def test_weights_that_are_computed_are_read_where_they_arrive(path):
    given = arrays("LSTM")
    halves = {f"{name}_half": array / 2 for name, array in given.items()}
    doubles = [helper.make_node("Add", [f"{name}_half"] * 2, [name]) for name in given]
    report = check_onnx(saved(model([*doubles, node("LSTM", given)], halves), path))
    assert report.verdict == "parity"


def test_inputs_that_are_given(path):
    saved(single("RNN"), path)
    X = np.zeros((T, B, F), np.float64)
    assert check_onnx(path, X).checks[0].verdict == "parity"
    seen = check_onnx(path, {"X": X}).checks[0].sensitivity.blind
    assert "kernel-transposed" not in [spot.fault for spot in seen if F == H]
    with pytest.raises(InputError, match=r"input 'X': expected tensor\(float\) of shape \(5, 3, 8"):
        check_onnx(path, X[:2])
    known = r"inputs: expected some of X tensor\(float\) \(5, 3, 8\), received 'Z'"
    with pytest.raises(InputError, match=known):
        check_onnx(path, {"Z": X})


def test_inputs_by_name(path, tmp_path, capsys):
    given = arrays("RNN", states=True)
    cell = node("RNN", given)
    state = given.pop("initial_h")
    saved(model([cell], given, {"X": (T, B, F), "initial_h": (1, B, H)}), path)
    X = np.random.default_rng(2).normal(size=(T, B, F)).astype("f")
    for name, array in {"x": X, "state": state}.items():
        np.save(tmp_path / f"{name}.npy", array)
    one, other = f"--input X={tmp_path}/x.npy", f"--input initial_h={tmp_path}/state.npy"
    assert cli.main(["check", path, *one.split(), *other.split(), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["notes"] == []
    blind = [spot["fault"] for spot in document["checks"][0]["sensitivity"]["blind"]]
    assert "initial-state-ignored" not in blind
    assert cli.main(["check", path, *one.split(), "--format", "json"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert notes == [f"{path}: not given, and random: initial_h"]
    assert cli.main(["check", path, "--input", f"{tmp_path}/x.npy"]) == 2
    assert "the model takes X tensor(float) (5, 3, 8), initial_h" in capsys.readouterr().err


def test_fractions_for_integers_are_refused(path):
    table = np.random.default_rng(3).normal(size=(6, F)).astype("f")
    rows = helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, (T, B))
    made = model(
        [helper.make_node("Gather", ["table", "ids"], ["X"]), node("RNN", arrays("RNN"))],
        {**arrays("RNN"), "table": table},
        {},
    )
    made.graph.input.append(rows)
    ids = np.arange(T * B).reshape(T, B) % 6
    assert check_onnx(saved(made, path), {"ids": ids}).verdict == "parity"
    assert check_onnx(path, {"ids": ids.astype("f")}).verdict == "parity"
    with pytest.raises(InputError, match="expected whole numbers, as tensor"):
        check_onnx(path, {"ids": ids + 0.5})


@pytest.mark.parametrize("name", ["T", ""])
def test_open_axes_are_filled(path, name):
    given = arrays("LSTM", states=False)
    states = {"initial_h": (1, "B", H), "initial_c": (1, name and "B", H)}
    more = {"sequence_lens": None}
    inputs = {"X": (name or None, "B", F), **states}
    cell = node("LSTM", given | states | more)
    made = model([cell], given, inputs=inputs)
    lengths = helper.make_tensor_value_info("sequence_lens", onnx.TensorProto.INT32, ["B"])
    made.graph.input.append(lengths)
    report = check_onnx(saved(made, path), batch=6, timesteps=9)
    (check,) = report.checks
    assert check.verdict == "parity", report
    assert (check.shape.batch, check.shape.timesteps) == (6, 9)
    # What is given settles the open axes of the others.
    X = np.random.default_rng(0).normal(size=(4, 2, F))
    (check,) = check_onnx(path, {"X": X}).checks
    assert (check.verdict, check.shape.batch, check.shape.timesteps) == ("parity", 2, 4)


def test_integers_are_looked_up_where_there_is_something(path):
    given = arrays("RNN") | {"table": np.arange(3 * F, dtype=np.float32).reshape(3, F) / 9}
    nodes = [
        helper.make_node("Gather", ["table", "words"], ["batch_first"]),
        helper.make_node("Transpose", ["batch_first"], ["X"], perm=[1, 0, 2]),
        node("RNN", given),
    ]
    del given["table"]
    table = {"table": np.random.default_rng(0).normal(size=(3, F)).astype(np.float32)}
    made = model(nodes, given | table, inputs={})
    words = helper.make_tensor_value_info("words", onnx.TensorProto.INT64, ["N", None])
    made.graph.input.append(words)
    (check,) = check_onnx(saved(made, path), batch=4, timesteps=6).checks
    assert (check.verdict, check.shape.batch, check.shape.timesteps) == ("parity", 4, 6)


def test_one_operator_by_name(path):
    given = arrays("RNN")
    nodes = [node("RNN", given, ["Y", ""], "a"), node("RNN", given, ["b", ""], "b", clip=1.0)]
    saved(model(nodes, given), path)
    assert check_onnx(path, layer_name="a").verdict == "parity"
    with pytest.raises(InputError, match="expected one of a, b, received 'c'"):
        check_onnx(path, layer_name="c")


def test_on_the_command_line(path, capsys):
    saved(single("LSTM", direction="bidirectional"), path)
    assert cli.main(["check", path, "--seed", "3", "--format", "json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [check["verdict"] for check in checks] == ["parity", "parity"]
    assert checks[0]["subject"]["against"].startswith("ONNX Runtime")
    assert cli.main(["check", path, "--mode", "xla"]) == 2
    assert "not for an ONNX model" in capsys.readouterr().err


def test_without_tensorflow(path):
    saved(single("GRU"), path)
    code = (
        "import sys; from rnn_parity.cli.main import main; "
        f"assert main(['check', {path!r}, '-q']) == 0; "
        "assert not {'tensorflow', 'keras', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("PARITY")
