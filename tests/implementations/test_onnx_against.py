"""An ONNX model as the reference: what others compute is held against its operators' weights."""

import json
import sys

import numpy as np
import pytest
from onnx_models import B, F, H, T, arrays, helper, model, node, onnx, saved

import rnn_parity as rp
from rnn_parity.api.functions import check_onnx
from rnn_parity.cli import main as cli
from rnn_parity.errors import InputError

KINDS = ("RNN", "LSTM", "GRU")
rng = np.random.default_rng(3)
X = rng.normal(size=(T, B, F)).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(op_type, x, h, c, W, R, Wb, Rb):
    """One step by ONNX's documentation; gates i o f c of an LSTM, z r h of a GRU."""
    if op_type == "RNN":
        return np.tanh(x @ W.T + h @ R.T + Wb + Rb), c
    if op_type == "LSTM":
        i, o, f, g = np.split(x @ W.T + h @ R.T + Wb + Rb, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    (xz, xr, xh), (hz, hr, _) = (np.split(v, 3, axis=-1) for v in (x @ W.T, h @ R.T))
    (wz, wr, wh), (rz, rr, rh) = np.split(Wb, 3), np.split(Rb, 3)
    z, r = sigmoid(xz + hz + wz + rz), sigmoid(xr + hr + wr + rr)
    n = np.tanh(xh + (r * h) @ R[2 * H :].T + rh + wh)
    return (1 - z) * n + z * h, c


def by_hand(op_type, given, x=X, backward=(False,)):
    """Y `(T, D, B, H)`, Y_h and Y_c `(D, B, H)`, in float64."""
    found = np.zeros((len(x), len(backward), x.shape[1], H))
    states = np.zeros((2, len(backward), x.shape[1], H))
    for d, is_backward in enumerate(backward):
        h, c = (given[n][d] if n in given else states[0, d] for n in ("initial_h", "initial_c"))
        biases = np.split(given["B"][d].astype(float), 2)
        for t in range(len(x))[:: -1 if is_backward else 1]:
            h, c = step(op_type, x[t], h, c, given["W"][d], given["R"][d], *biases)
            found[t, d] = h
        states[:, d] = h, c
    return found.astype(np.float32), *states.astype(np.float32)


def written(folder, name, array):
    np.save(folder / name, array)
    return str(folder / name)


def verdicts(report):
    return [check.verdict for check in report.checks]


@pytest.mark.parametrize("op_type", KINDS)
def test_numbers_of_others_in_any_axes(path, tmp_path, op_type):
    given = arrays(op_type)
    saved(model([node(op_type, given)], given), path)
    Y, Y_h, _ = by_hand(op_type, given)
    batch_first = Y[:, 0].swapaxes(0, 1)
    for array, axes in (
        (batch_first, ""),
        (Y, ""),
        (Y[:, 0], "?axes=TBH"),
        (batch_first[:, -1], ""),
        (Y_h, ""),
    ):
        source = written(tmp_path, "y.npy", array) + axes
        report = check_onnx(path, X, against=source)
        assert verdicts(report) == ["parity"], (array.shape, axes, str(report))
        assert report.checks[0].subject.against == source
    off = written(tmp_path, "y.npy", Y * np.float32(1 + 1e-4))
    assert verdicts(check_onnx(path, X, against=off)) == ["diverged"]
    with pytest.raises(
        InputError, match=r"expected 5 \(T\) x 3 \(B\) x 4 \(H\) .* shape \(5, 1, 3, 4"
    ):
        check_onnx(path, X, against=f"{off}?axes=TBH")


@pytest.mark.parametrize("op_type", KINDS)
def test_both_directions(path, tmp_path, op_type):
    given = arrays(op_type, 2)
    saved(model([node(op_type, given, direction="bidirectional")], given), path)
    Y, Y_h, _ = by_hand(op_type, given, backward=(False, True))
    side_by_side = Y.transpose(2, 0, 1, 3).reshape(B, T, 2 * H)
    sources = {"y.npy": side_by_side, "own.npy": Y, "last.npy": Y_h}
    for name, array in sources.items():
        report = check_onnx(path, X, against=written(tmp_path, name, array))
        assert verdicts(report) == ["parity"] * 2, (name, str(report))
        names = [check.subject.layer_name for check in report.checks]
        assert names == ["cell/forward", "cell/backward"]
    # The backward half at the wrong end; and the two exchanged.
    wrong = np.concatenate([side_by_side[..., :H], side_by_side[:, ::-1, H:]], axis=-1)
    report = check_onnx(path, X, against=wrong)
    assert verdicts(report) == ["parity", "diverged"]
    assert report.checks[1].causes[0].fault == "outputs-not-reversed"
    assert verdicts(check_onnx(path, X, against=Y[:, ::-1])) == ["diverged"] * 2
    for i, side in enumerate(("forward", "backward")):
        one = Y[:, i].swapaxes(0, 1)
        report = check_onnx(path, X, layer_name=f"cell/{side}", against=one)
        assert verdicts(report) == ["parity"], (side, str(report))
    with pytest.raises(InputError, match=r"expected outputs of both layers of cell side by side"):
        check_onnx(path, X, against=Y[:, 0].swapaxes(0, 1))
    with pytest.raises(InputError, match="expected one of cell/forward, cell/backward, received"):
        check_onnx(path, layer_name="forward")


@pytest.mark.parametrize("op_type", KINDS)
def test_a_reverse_operator_answers_in_the_order_of_time(path, op_type):
    given = arrays(op_type)
    saved(model([node(op_type, given, direction="reverse")], given), path)
    Y, *_ = by_hand(op_type, given, backward=(True,))
    y = Y[:, 0].swapaxes(0, 1)
    assert verdicts(check_onnx(path, X, against=y)) == ["parity"]
    assert verdicts(check_onnx(path, X, against=lambda x: y)) == ["parity"]
    assert verdicts(check_onnx(path, X, against=y[:, ::-1])) == ["diverged"]


MISTAKES = {
    "gates-permuted": lambda given: {
        # The order of PyTorch, i f g o, where ONNX has i o f c.
        name: np.concatenate([np.split(a, 4, axis=1)[i] for i in (0, 2, 3, 1)], axis=1)
        if name in "WR"
        else np.concatenate([np.split(a, 8, axis=1)[i] for i in (0, 2, 3, 1, 4, 6, 7, 5)], axis=1)
        for name, a in given.items()
    },
    "bias-dropped": lambda given: {**given, "B": 0 * given["B"]},
}


@pytest.mark.parametrize("mistake", ["gates-permuted", "bias-dropped"])
def test_mistakes_of_others_are_named(path, mistake):
    given = arrays("LSTM")
    saved(model([node("LSTM", given)], given), path)
    Y, *_ = by_hand("LSTM", MISTAKES[mistake](given))
    (check,) = check_onnx(path, X, against=Y).checks
    assert check.verdict == "diverged"
    assert mistake in [cause.fault for cause in check.causes], check.summary


def test_states_and_lengths_of_the_model_are_used(path, tmp_path):
    given = arrays("LSTM", states=True)
    saved(model([node("LSTM", given)], given), path)
    Y, Y_h, Y_c = by_hand("LSTM", given)
    np.savez(tmp_path / "y.npz", Y=Y, Y_h=Y_h, Y_c=Y_c)
    (check,) = check_onnx(path, X, against=str(tmp_path / "y.npz")).checks
    assert (check.verdict, len(check.final_state)) == ("parity", 2)
    zeros = {**given, "initial_h": 0 * given["initial_h"]}
    assert verdicts(check_onnx(path, X, against=by_hand("LSTM", zeros)[0])) == ["diverged"]


def test_a_function_gets_what_reached_the_operator(path):
    """Two operators, the second on what the first computed: a function computes each of them."""
    first, second = arrays("RNN"), arrays("RNN", seed=1)
    second["W"] = second["W"][:, :, :H]
    inputs = {f"{name}_2": array for name, array in second.items()}
    nodes = [
        node("RNN", first, ["first", ""], "a"),
        helper.make_node("Squeeze", ["first", "one"], ["between"]),
        helper.make_node("RNN", ["between", *inputs], ["Y"], name="b", hidden_size=H),
    ]
    saved(model(nodes, first | inputs | {"one": np.array([1])}), path)
    seen = []

    def computed(x, layer):
        seen.append(x)
        return rp.replay(layer, x).outputs.astype(np.float32)

    assert verdicts(check_onnx(path, X, against=computed)) == ["parity", "parity"]
    seen.clear()
    (check,) = check_onnx(path, X, layer_name="b", against=computed).checks
    assert (check.verdict, check.subject.layer_name) == ("parity", "b")
    Y, *_ = by_hand("RNN", first)
    np.testing.assert_allclose(seen[0], Y[:, 0].swapaxes(0, 1), atol=1e-6)
    Y2, *_ = by_hand("RNN", second, Y[:, 0])
    assert verdicts(check_onnx(path, X, layer_name="b", against=Y2)) == ["parity"]
    assert verdicts(check_onnx(path, X, layer_name="a", against=Y2)) == ["diverged"]


@pytest.mark.parametrize("op_type", KINDS)
def test_another_model_is_judged_operator_by_operator(path, tmp_path, op_type):
    given = arrays(op_type, 2)
    both = {"direction": "bidirectional"}
    saved(model([node(op_type, given, **both)], given), path)
    other = str(tmp_path / "other.onnx")
    saved(model([node(op_type, given, name="renamed", **both)], given), other)
    report = check_onnx(path, against=other)
    assert verdicts(report) == ["parity"] * 2
    assert report.checks[0].subject.against == other
    assert f"its counterpart in {other} is renamed/forward" in report.checks[0].notes
    report = check_onnx(path, layer_name="cell/backward", against=other)
    assert [check.subject.layer_name for check in report.checks] == ["cell/backward"]
    wrong = {**given, "B": given["B"] * np.array([[1], [0]], np.float32)}
    saved(model([node(op_type, wrong, **both)], wrong), other)
    report = check_onnx(path, against=other)
    assert verdicts(report) == ["parity", "diverged"]
    assert "bias-dropped" in [cause.fault for cause in report.checks[1].causes]


def test_the_direction_of_another_model_is_seen(path, tmp_path):
    given = arrays("GRU")
    saved(model([node("GRU", given)], given), path)
    other = saved(model([node("GRU", given, direction="reverse")], given), tmp_path / "other.onnx")
    (check,) = check_onnx(path, against=other).checks
    assert check.verdict == "diverged"
    assert check.causes[0].fault == "inputs-reversed+outputs-not-reversed"


def test_models_that_do_not_belong_together(path, tmp_path):
    given = arrays("RNN")
    saved(model([node("RNN", given)], given), path)
    two = [node("RNN", given, ["Y", ""], "a"), node("RNN", given, ["Z", ""], "b")]
    other = saved(model(two, given), tmp_path / "other.onnx")
    with pytest.raises(InputError, match="expected the recurrent operators cell, received a, b"):
        check_onnx(path, against=other)
    saved(model([node("LSTM", lstm := arrays("LSTM"))], lstm), other)
    with pytest.raises(InputError, match=r"for cell RNN of 8 features and 4 units, received cell,"):
        check_onnx(path, against=other)


def test_an_output_of_another_model_by_name(path, tmp_path):
    """A model without operators of ONNX's own is a source for one layer, as for a Keras layer."""
    given = arrays("RNN")
    saved(model([node("RNN", given)], given), path)
    cells = [helper.make_node("Gather", ["X", f"t{t}"], [f"x{t}"], axis=0) for t in range(T)]
    constants = {f"t{t}": np.array(t) for t in range(T)}
    constants |= {"U": given["W"][0].T, "V": given["R"][0].T, "b": given["B"].reshape(2, H).sum(0)}
    state = None
    for t in range(T):
        cells.append(helper.make_node("MatMul", [f"x{t}", "U"], [f"xu{t}"]))
        cells.append(helper.make_node("Add", [f"xu{t}", "b"], [f"z{t}"]))
        if state is not None:
            cells.append(helper.make_node("MatMul", [state, "V"], [f"hv{t}"]))
            cells.append(helper.make_node("Add", [f"z{t}", f"hv{t}"], [f"s{t}"]))
        cells.append(helper.make_node("Tanh", [f"s{t}" if state else f"z{t}"], [f"h{t}"]))
        state = f"h{t}"
    axes = {"axis0": np.array([0])}
    cells += [helper.make_node("Unsqueeze", [f"h{t}", "axis0"], [f"u{t}"]) for t in range(T)]
    cells.append(helper.make_node("Concat", [f"u{t}" for t in range(T)], ["Y"], axis=0))
    made = model(cells, constants | axes, outputs={"Y": (T, B, H)})
    other = saved(made, tmp_path / "unrolled.onnx")
    assert verdicts(check_onnx(path, against=other)) == ["parity"]
    constants["b"] = 0 * constants["b"]
    saved(model(cells, constants | axes, outputs={"Y": (T, B, H)}), other)
    (check,) = check_onnx(path, against=other).checks
    assert (check.verdict, check.causes[0].fault) == ("diverged", "bias-dropped")


def test_sizes_that_constants_and_given_arrays_settle(path):
    given = arrays("GRU", lengths=[2, T, 1])
    inputs = {"X": ("t", "b", F), "initial_h": (1, "n", H)}
    cell = node("GRU", {**given, "initial_h": None})
    saved(model([cell], given, inputs=inputs), path)
    (check,) = check_onnx(path, timesteps=3).checks
    assert (check.verdict, check.shape.batch, check.shape.timesteps) == ("parity", B, T)
    del given["sequence_lens"]
    cell = node("GRU", {**given, "initial_h": None, "sequence_lens": None})
    made = model([cell], given, inputs=inputs)
    lengths = helper.make_tensor_value_info("sequence_lens", onnx.TensorProto.INT32, ["m"])
    made.graph.input.append(lengths)
    saved(made, path)
    (check,) = check_onnx(path, {"initial_h": np.ones((1, 2, H))}, timesteps=3).checks
    assert (check.verdict, check.shape.batch, check.shape.timesteps) == ("parity", 2, 3)
    (check,) = check_onnx(path, {"sequence_lens": np.array([1, 9])}, timesteps=3).checks
    assert (check.verdict, check.shape.batch, check.shape.timesteps) == ("parity", 2, 9)


def test_a_fixed_number_of_steps_bounds_the_lengths(path):
    given = arrays("RNN")
    cell = node("RNN", {**given, "sequence_lens": None})
    made = model([cell], given, inputs={"X": (2, 1, F)})
    lengths = helper.make_tensor_value_info("sequence_lens", onnx.TensorProto.INT32, ["m"])
    made.graph.input.append(lengths)
    (check,) = check_onnx(saved(made, path)).checks
    assert (check.verdict, check.shape.batch, check.shape.timesteps) == ("parity", 1, 2)


def test_on_the_command_line(path, tmp_path, capsys):
    given = arrays("LSTM")
    saved(model([node("LSTM", given)], given), path)
    x = written(tmp_path, "x.npy", X)
    Y, _, Y_c = by_hand("LSTM", given)
    tensor = str(tmp_path / "y.pb")
    onnx.save_tensor(onnx.numpy_helper.from_array(Y, "Y"), tensor)
    assert cli.main(["check", path, "--input", x, "--against", tensor, "--format", "json"]) == 0
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert (check["subject"]["against"], check["verdict"]) == (tensor, "parity")
    onnx.save_tensor(onnx.numpy_helper.from_array(Y_c, "Y_c"), tensor)
    assert cli.main(["check", path, "--input", x, "--against", tensor]) == 2
    assert "received Y_c alone, the state c" in capsys.readouterr().err
    (tmp_path / "y.pb").write_bytes(b"\x00" * 40)
    assert cli.main(["check", path, "--input", x, "--against", tensor]) == 2
    assert "expected one tensor of ONNX (a TensorProto)" in capsys.readouterr().err
    (tmp_path / "port.py").write_text(
        "import sys, numpy as np\n"
        f"np.save(sys.argv[2], np.load({written(tmp_path, 'y.npy', Y)!r})[:, 0].swapaxes(0, 1))\n"
    )
    source = f"cmd:{sys.executable} {tmp_path}/port.py {{input}} {{output}}"
    assert cli.main(["check", path, "--input", x, "--against", source, "-q"]) == 0


def test_for_other_targets_four_axes_are_other_numbers(tmp_path):
    layer = rp.SimpleRNN(np.ones((F, H), np.float32), np.ones((H, H), np.float32))
    source = written(tmp_path, "y.npy", np.zeros((T, 1, B, H), np.float32))
    report = rp.check(layer, X.swapaxes(0, 1), against=source)
    assert (report.verdict, "(5, 1, 3, 4)" in report.summary) == ("diverged", True)
