"""A PyTorch `state_dict` as the target: every layer and direction, against PyTorch and others."""

import importlib.util
import json

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.api.functions import check_state_dict
from rnn_parity.cli import main as cli
from rnn_parity.errors import InputError, MissingPackageError, UnsupportedError

HAS_TORCH = importlib.util.find_spec("torch") and importlib.util.find_spec("safetensors")
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="PyTorch and safetensors are an extra")
KINDS = ("RNN", "LSTM", "GRU")
B, T, F, H = 3, 6, 4, 5
X = np.random.default_rng(7).normal(size=(B, T, F)).astype(np.float32)


@pytest.mark.skipif(bool(HAS_TORCH), reason="PyTorch is here")
def test_without_pytorch_the_extra_is_named():
    with pytest.raises(MissingPackageError, match=r"pip install 'rnn-parity\[torch\]'"):
        check_state_dict("weights.safetensors")


def test_a_pickled_checkpoint_is_refused_unopened(tmp_path, capsys):
    path = tmp_path / "weights.pt"
    path.write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    assert cli.main(["check", str(path)]) == 2
    assert "a pickled checkpoint runs code of its own and is never" in capsys.readouterr().err


def made(kind, layers=2, directions=1, prefix="", seed=0, **options):
    """A module with distinct random weights, and its tensors by their names."""
    import torch

    torch.manual_seed(seed)
    options |= {"num_layers": layers, "bidirectional": directions > 1, "batch_first": True}
    module = getattr(torch.nn, kind)(F, H, **options).eval()
    return module, {f"{prefix}{name}": tensor for name, tensor in module.state_dict().items()}


def saved(folder, tensors, name="weights.safetensors"):
    from safetensors.torch import save_file

    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, folder / name)
    return str(folder / name)


def run(module, x=X):
    """The outputs of a module, computed by PyTorch."""
    import torch

    with torch.no_grad():
        return module(torch.from_numpy(np.asarray(x)))[0].numpy()


def verdicts(report):
    return [check.verdict for check in report.checks]


def names(report):
    return [check.subject.layer_name for check in report.checks]


@needs_torch
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_and_direction_is_run(tmp_path, kind, directions, dtype):
    import torch

    _, tensors = made(kind, 3, directions, "net.rnn.", dtype=getattr(torch, dtype))
    report = check_state_dict(saved(tmp_path, tensors), batch=4, timesteps=9)
    assert verdicts(report) == ["parity"] * 3 * directions, report
    sides = {1: [""], 2: ["/forward", "/backward"]}[directions]
    assert names(report) == [f"net.rnn.l{k}{side}" for k in range(3) for side in sides]
    first = report.checks[0]
    assert first.subject.layer_class == f"nn.{kind}"
    assert first.subject.against == f"PyTorch {torch.__version__}"
    assert (first.shape.batch, first.shape.timesteps, first.shape.units) == (4, 9, H)
    assert (first.dtype, report.checks[-1].shape.features) == (dtype, directions * H)
    assert len(first.final_state) == (2 if kind == "LSTM" else 1)


@needs_torch
def test_the_nonlinearity_is_told_or_assumed(tmp_path):
    module, tensors = made("RNN", 1, nonlinearity="relu")
    path = saved(tmp_path, tensors)
    report = check_state_dict(path)
    assert verdicts(report) == ["parity"]  # PyTorch runs what is assumed
    assert report.notes[0].startswith("a state_dict does not hold the nonlinearity of an nn.RNN: ")
    y = run(module)
    report = check_state_dict(path, X, arguments={"nonlinearity": "relu"}, against=y)
    assert verdicts(report) == ["parity"]
    assert not any("nonlinearity" in note for note in report.notes)
    report = check_state_dict(path, X, against=y)
    assert verdicts(report) == ["diverged"]
    assert report.checks[0].causes[0].fault == "activation-swapped"


@needs_torch
def test_time_first_inputs(tmp_path):
    _, tensors = made("GRU", 1)
    path = saved(tmp_path, tensors)
    report = check_state_dict(path, X)
    assert report.notes[0].startswith("the inputs are taken as (batch, timesteps, features)")
    report = check_state_dict(path, X, arguments={"batch_first": False})
    assert (report.notes, report.checks[0].shape.batch) == ((), T)


@needs_torch
@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_masked_in_both_directions(tmp_path, kind):
    _, tensors = made(kind, 2, 2)
    path = saved(tmp_path, tensors)
    mask = np.arange(T) < np.array([[2], [T], [4]])
    report = check_state_dict(path, X, mask)
    assert verdicts(report) == ["parity"] * 4, report
    blind = [spot.fault for spot in report.checks[0].sensitivity.blind]
    assert "mask-ignored" not in blind
    with pytest.raises(InputError, match="packed sequences can express"):
        check_state_dict(path, X, mask[:, ::-1])


@needs_torch
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_a_stack_are_those_of_its_last_layer(tmp_path, kind):
    module, tensors = made(kind, 2)
    path = saved(tmp_path, tensors)
    y = run(module)
    report = check_state_dict(path, X, against=y)
    assert (verdicts(report), report.exit_code) == (["inconclusive", "parity"], 3)
    assert names(report) == ["l0", "l1"]
    assert "if that is all that is meant, name it: --layer-name l1" in report.checks[0].summary
    assert "the numbers are taken for those of the last layer, l1" in report.checks[1].notes[0]
    report = check_state_dict(path, X, layer_name="l1", against=y)
    assert (verdicts(report), report.exit_code) == (["parity"], 0)
    # The outputs of the wrong layer.
    assert verdicts(check_state_dict(path, X, layer_name="l0", against=y)) == ["diverged"]


@needs_torch
def test_layers_below_that_are_chaotic_excuse_what_rests_on_them(tmp_path):
    """A right stack in float64: its lower layers are far from PyTorch's in float32, by rounding."""
    import torch

    for seed in (0, 1):
        module, tensors = made("RNN", 3, seed=seed)
        tensors = {name: 12 * tensor for name, tensor in tensors.items()}
        path = saved(tmp_path, tensors)
        module.load_state_dict(tensors)
        x = np.random.default_rng(seed).normal(size=(4, 60, F)).astype(np.float32)
        y = run(module.double(), x.astype(np.float64)).astype(np.float32)
        (check,) = check_state_dict(path, x, layer_name="l2", against=y).checks
        assert check.verdict != "diverged", check.summary
        # The layer itself, from what it is handed, is right; and the first layer needs no excuse.
        same = {"weight_ih_l0": tensors["weight_ih_l2"], "weight_hh_l0": tensors["weight_hh_l2"]}
        same |= {f"bias_{n}_l0": tensors[f"bias_{n}_l2"] for n in ("ih", "hh")}
        last = torch.nn.RNN(H, H, batch_first=True)
        last.load_state_dict(same)
        report = check_state_dict(path, x, layer_name="l2", against=lambda x, m=last: run(m, x))
        assert verdicts(report) == ["parity"]
        assert verdicts(check_state_dict(path, x, layer_name="l0", against=y)) == ["diverged"]


MISTAKES = {
    # In ONNX's order, i o f c for an LSTM and z r h for a GRU.
    "gates-permuted": {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)},
    "bias-dropped": None,
}


@needs_torch
@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_mistakes_of_others_are_found_in_the_right_layer(tmp_path, kind, mistake):
    import torch

    module, tensors = made(kind, 2, 2)
    path = saved(tmp_path, tensors)
    wrong = dict(tensors)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        own = f"{name}_l1_reverse"
        if mistake == "bias-dropped":
            wrong[own] = 0 * tensors[own] if "bias" in name else tensors[own]
        else:
            order = MISTAKES[mistake][kind]
            wrong[own] = torch.cat([tensors[own].chunk(len(order))[i] for i in order])
    module.load_state_dict(wrong)
    report = check_state_dict(path, X, layer_name="l1", against=run(module))
    assert names(report) == ["l1/forward", "l1/backward"]
    assert verdicts(report) == ["parity", "diverged"]
    assert mistake in [cause.fault for cause in report.checks[1].causes], report


@needs_torch
def test_the_halves_exchanged_and_one_direction_alone(tmp_path):
    module, tensors = made("LSTM", 1, 2)
    path = saved(tmp_path, tensors)
    y = run(module)
    assert verdicts(check_state_dict(path, X, against=y)) == ["parity"] * 2
    swapped = np.concatenate([y[..., H:], y[..., :H]], axis=-1)
    assert verdicts(check_state_dict(path, X, against=swapped)) == ["diverged"] * 2
    for name in ("l0_reverse", "l0/backward"):
        report = check_state_dict(path, X, layer_name=name, against=y[..., H:])
        assert (names(report), verdicts(report)) == (["l0/backward"], ["parity"])
    report = check_state_dict(path, X, layer_name="l0_reverse", against=y[:, ::-1, H:])
    assert verdicts(report) == ["diverged"]
    assert verdicts(check_state_dict(path, X, against=lambda x: run(module, x))) == ["parity"] * 2


@needs_torch
def test_a_function_or_another_file_for_every_layer(tmp_path):
    _, tensors = made("GRU", 2, 2)
    path = saved(tmp_path, tensors)
    with pytest.raises(InputError, match=r"expected one recurrent layer, received 2: l0, l1; name"):
        check_state_dict(path, X, against=lambda x: x)
    other = saved(tmp_path, {f"moved.{k}": v for k, v in tensors.items()}, "other.safetensors")
    report = check_state_dict(path, X, against=other)
    assert verdicts(report) == ["parity"] * 4, report
    assert report.checks[0].subject.against == other
    tensors["weight_hh_l1"] = tensors["weight_hh_l1"] * 1.01
    saved(tmp_path, tensors, "other.safetensors")
    report = check_state_dict(path, X, against=other)
    assert verdicts(report) == ["parity", "parity", "diverged", "parity"]


@needs_torch
def test_several_modules_cells_and_other_tensors(tmp_path):
    import torch

    _, tensors = made("LSTM", 1, prefix="encoder.")
    tensors |= made("GRU", 1, prefix="decoder.", seed=1)[1]
    cell = torch.nn.GRUCell(F, H).state_dict()
    tensors |= {f"cell.{name}": tensor for name, tensor in cell.items()}
    tensors["fc.weight"] = torch.zeros(2, H)
    path = saved(tmp_path, tensors)
    report = check_state_dict(path)
    assert names(report) == ["decoder.l0", "encoder.l0", "cell"]
    assert verdicts(report) == ["parity", "parity", "inconclusive"]
    assert "a cell alone does not tell what its inputs are" in report.checks[2].summary
    assert "fc.weight" in report.notes[0]
    with pytest.raises(InputError, match="expected one module to take it, received decoder, enc"):
        check_state_dict(path, X)
    for name in ("encoder", "encoder.l0"):
        assert names(check_state_dict(path, X, layer_name=name)) == ["encoder.l0"]
    with pytest.raises(InputError, match=r"expected one of decoder.l0, encoder.l0, received 'l0'"):
        check_state_dict(path, layer_name="l0")


@needs_torch
def test_files_that_do_not_hold_together(tmp_path):
    import torch

    def refused(words, **changes):
        _, tensors = made("LSTM", 2, 2)
        for name, tensor in changes.items():
            tensors.pop(name, None)
            tensors |= {name: tensor} if tensor is not None else {}
        with pytest.raises(InputError, match=words):
            check_state_dict(saved(tmp_path, tensors))

    refused(r"\*_l0: expected weight_ih, and a weight_hh of", weight_hh_l0=torch.zeros(10, H))
    refused(r"\*_l0: expected weight_ih, and a weight_hh of", weight_hh_l0=None)
    refused(r"\*_l0: expected weight_ih, and a weight_hh of", weight_ih_l0=None)
    refused(r"\*_l1: expected .*'weight_ih': \(20, 10\)", weight_ih_l1=torch.zeros(20, H))
    refused(r"\*_l1_reverse: expected .*'bias_ih'", bias_ih_l1_reverse=None)
    refused("expected one dtype", bias_ih_l1=torch.zeros(20, dtype=torch.float64))
    ends = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    refused("without a gap, each of the same", **{f"{name}_l1_reverse": None for name in ends})
    for end in ("_l0", "_l0_reverse"):
        refused("without a gap, each of the same", **{f"{name}{end}": None for name in ends})
    _, tensors = made("LSTM", 1, proj_size=2)
    with pytest.raises(UnsupportedError, match=r"weight_hr_l0: a projection \(proj_size\) is not"):
        check_state_dict(saved(tmp_path, tensors))


@needs_torch
def test_arguments(tmp_path):
    path = saved(tmp_path, made("LSTM", 1)[1])
    for given, words in {
        ("num_layers", 2): "--arg num_layers: told by the file itself; leave it out",
        ("units", 2): "--arg units: expected one of nonlinearity, batch_first, dropout",
        ("batch_first", 1): "--arg batch_first: expected True or False, received 1",
        ("nonlinearity", "gelu"): "--arg nonlinearity: expected tanh or relu, received gelu",
        ("nonlinearity", "relu"): "--arg nonlinearity: expected an nn.RNN to have it",
        ("dropout", 2): "--arg dropout: expected a rate from 0 to 1, received 2",
    }.items():
        with pytest.raises(InputError, match=words):
            check_state_dict(path, arguments=dict([given]))
    report = check_state_dict(path, arguments={"dropout": 0.5})
    assert report.notes == ("PyTorch runs in evaluation mode, in which dropout does nothing",)
    with pytest.raises(InputError, match=r"--input: expected \(batch, timesteps, 4\)"):
        check_state_dict(path, X[..., :2])


@needs_torch
def test_on_the_command_line(tmp_path, capsys):
    module, tensors = made("RNN", 2, nonlinearity="relu", prefix="a.")
    path = saved(tmp_path, tensors)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", run(module).swapaxes(0, 1))
    line = ["check", path, "--input", str(tmp_path / "x.npy"), "--arg", "nonlinearity=relu"]
    source = f"{tmp_path / 'y.npy'}?axes=TBH"
    line += ["--layer-name", "a.l1", "--against", source, "--format", "json"]
    assert cli.main(line) == 0
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert (check["subject"]["layer_name"], check["subject"]["against"]) == ("a.l1", source)
    np.save(tmp_path / "m.npy", np.arange(T) < np.array([[2], [T], [4]]))
    line = ["check", path, "--input", str(tmp_path / "x.npy"), "-q"]
    assert cli.main([*line, "--mask-file", str(tmp_path / "m.npy")]) == 0
    assert cli.main(["check", path, "--mode", "xla"]) == 2
    assert "not for PyTorch's weights" in capsys.readouterr().err
    assert cli.main(["check", path, "--units", "3"]) == 2
    assert "only for a generated layer" in capsys.readouterr().err


def keras_weights(module, kind, k, end=""):
    """Weights for Keras's layer, by the documented order of gates, from layer `k` of a module."""
    order = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2), "RNN": (0,)}[kind]

    def part(name):
        value = getattr(module, f"{name}_l{k}{end}").detach().numpy()
        return np.concatenate([np.split(value, len(order))[i] for i in order]).T

    biases = part("bias_ih"), part("bias_hh")
    bias = np.stack(biases) if kind == "GRU" else biases[0] + biases[1]
    return [part("weight_ih"), part("weight_hh"), bias]


@needs_torch
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_keras_model_of_several_layers_against_a_state_dict(tmp_path, kind):
    keras = pytest.importorskip("tensorflow").keras
    module, tensors = made(kind, 2, 2, prefix="net.")
    path = saved(tmp_path, tensors)
    layer = getattr(keras.layers, kind)
    wrapped = [
        keras.layers.Bidirectional(layer(H, return_sequences=True), name=f"both{k}")
        for k in range(2)
    ]
    model = keras.Sequential([keras.Input((T, F)), *wrapped])

    def set_weights(k, change=lambda weights: weights):
        sides = (change(keras_weights(module, kind, k, end)) for end in ("", "_reverse"))
        wrapped[k].set_weights([array for side in sides for array in side])

    for k in range(2):
        set_weights(k)
    report = rp.check(model, X, against=path)
    found = {check.subject.layer_name: check for check in report.checks}
    layers = {name: check for name, check in found.items() if not name.endswith("/merge")}
    assert [check.verdict for check in layers.values()] == ["parity"] * 4, report
    # Wrong weights in one layer: it is still the one that is held against l1.
    set_weights(1, lambda weights: [weights[0] * 1.01, *weights[1:]])
    report = rp.check(model, X, against=path)
    found = {check.subject.layer_name: check.verdict for check in report.checks}
    diverged = [name for name, verdict in found.items() if verdict == "diverged"]
    assert len(diverged) == 2
    assert all(name.startswith("both1/") for name in diverged)


@needs_torch
def test_stacked_layers_of_one_shape_with_one_wrong(tmp_path):
    keras = pytest.importorskip("tensorflow").keras
    module, tensors = made("GRU", 3)
    path = saved(tmp_path, tensors)
    layers = [keras.layers.GRU(H, return_sequences=True, name=f"gru{k}") for k in range(3)]
    model = keras.Sequential([keras.Input((T, F)), *layers])
    for k, layer in enumerate(layers):
        layer.set_weights(keras_weights(module, "GRU", k))
    assert verdicts(rp.check(model, X, against=path)) == ["parity"] * 3
    kernel, recurrent, bias = layers[1].get_weights()
    layers[1].set_weights([kernel, recurrent.T.reshape(recurrent.shape), bias])
    report = rp.check(model, X, against=path)
    assert verdicts(report) == ["parity", "diverged", "parity"]
    assert any(" with *_l1," in note for note in report.checks[1].notes)
    # A layer more than the file has, and one less.
    more = keras.Sequential([*layers, keras.layers.GRU(H, return_sequences=True, name="gru3")])
    more.build((None, T, F))
    with pytest.raises(InputError, match="expected as many layers of this shape as gru1, gru3, "):
        rp.check(more, X, against=path)
    less = keras.Sequential([keras.Input((T, F)), *layers[:1]])
    report = rp.check(less, X, against=path)
    assert verdicts(report) == ["inconclusive"]
    assert "not compared: the layer *_l1, the layer *_l2 of" in report.checks[0].summary
